//! The `platform` command: reads the command line and hands over.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Pilothouse, the developer portal that acts as you.
#[derive(Parser)]
#[command(name = "platform", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the portal.
    Serve {
        /// The configuration file; pilothouse.example.toml documents every key.
        #[arg(long, default_value = "pilothouse.toml", env = "PILOTHOUSE_CONFIG")]
        config: PathBuf,
    },
    /// Reads the configuration and says what is wrong with it.
    Check {
        #[arg(long, default_value = "pilothouse.toml", env = "PILOTHOUSE_CONFIG")]
        config: PathBuf,
    },
    /// Imports the catalogue now and says what is wrong with its files; fails if anything is.
    Import {
        /// Files or folders; without any, those of the configuration.
        paths: Vec<PathBuf>,
        #[arg(long, default_value = "pilothouse.toml", env = "PILOTHOUSE_CONFIG")]
        config: PathBuf,
    },
    /// Prints every route: method, path, who may come in.
    Routes,
    /// Prints the OpenAPI document of the API.
    Openapi,
    /// Runs the identity provider for development: sample people, no passwords, this machine only.
    IdentityProvider(pilothouse::demo::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    pilothouse::server::prepare_process();
    let done = match Cli::parse().command {
        Command::Serve { config } => pilothouse::server::serve(&config).await,
        Command::Check { config } => pilothouse::server::check(&config),
        Command::Import { paths, config } => pilothouse::catalogue::command::run(&config, paths).await,
        Command::Routes => {
            pilothouse::server::print_routes();
            Ok(())
        }
        Command::Openapi => {
            pilothouse::api::print();
            Ok(())
        }
        Command::IdentityProvider(arguments) => pilothouse::demo::run(arguments).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
