//! The `platform` command: reads the command line and hands over.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::CompleteEnv;
use pilothouse::cli::{Exit, Globals, MANUAL, Verb};
use pilothouse::kube::rights::{Impersonation, rbac};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Pilothouse, the developer portal that acts as you: its command, and the portal itself.
#[derive(Parser)]
#[command(name = "platform", version, after_long_help = MANUAL, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    globals: Globals,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Client(Verb),
    #[command(flatten)]
    Portal(Portal),
}

/// What the platform team runs.
#[derive(Subcommand)]
enum Portal {
    /// Runs the portal.
    Serve {
        /// The configuration file; pilothouse.example.toml documents every key.
        #[arg(long, default_value = "pilothouse.toml", env = "PILOTHOUSE_CONFIG")]
        config: PathBuf,
    },
    /// Reads the configuration and says what is wrong with it.
    Check {
        /// The configuration file.
        #[arg(long, default_value = "pilothouse.toml", env = "PILOTHOUSE_CONFIG")]
        config: PathBuf,
    },
    /// Imports the catalogue now and says what is wrong with its files; fails if anything is.
    Import {
        /// Files or folders; without any, those of the configuration.
        paths: Vec<PathBuf>,
        /// The configuration file.
        #[arg(long, default_value = "pilothouse.toml", env = "PILOTHOUSE_CONFIG")]
        config: PathBuf,
    },
    /// Prints every route: method, path, who may come in.
    Routes,
    /// Prints the OpenAPI document of the API.
    Openapi,
    /// Prints the rights that the portal needs in a cluster, as RBAC.
    Rbac {
        /// For Kubernetes before 1.36, which knows only the verb impersonate.
        #[arg(long)]
        classic: bool,
    },
    /// Makes the cluster refuse what nobody approved, and proves that it does.
    #[command(subcommand)]
    Guard(pilothouse::guard::Verb),
    /// Runs the identity provider for development: sample people, no passwords, this machine only.
    IdentityProvider(pilothouse::demo::Arguments),
}

/// No runtime yet: a call like `platform status` is over before the portal's would have started.
fn main() -> ExitCode {
    CompleteEnv::with_factory(Cli::command).complete();
    let Cli { command, globals } = Cli::parse();
    match command {
        Command::Client(verb) => pilothouse::cli::run(verb, &globals, Cli::command()).into(),
        Command::Portal(_) if !globals.is_empty() => {
            let why = "--context, --ca-file and --output are for commands that ask a portal";
            Cli::command().error(ErrorKind::ArgumentConflict, why).exit()
        }
        Command::Portal(verb) => run(verb),
    }
}

#[tokio::main]
async fn run(verb: Portal) -> ExitCode {
    pilothouse::server::prepare_process();
    let done = match verb {
        Portal::Serve { config } => pilothouse::server::serve(&config).await,
        Portal::Check { config } => pilothouse::server::check(&config),
        Portal::Import { paths, config } => pilothouse::catalogue::command::run(&config, paths).await,
        Portal::Routes => {
            pilothouse::server::print_routes();
            Ok(())
        }
        Portal::Openapi => {
            pilothouse::api::print();
            Ok(())
        }
        Portal::Rbac { classic } => {
            let impersonation = if classic { Impersonation::Classic } else { Impersonation::Constrained };
            print!("{}", rbac(impersonation));
            Ok(())
        }
        Portal::Guard(verb) => pilothouse::guard::run(verb).await,
        Portal::IdentityProvider(arguments) => pilothouse::demo::run(arguments).await,
    };
    match done {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            eprintln!("{error:#}");
            Exit::Failed.into()
        }
    }
}
