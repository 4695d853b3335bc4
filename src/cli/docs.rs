//! `platform docs`: the manual, from the very arguments that are parsed, so that it can't say anything else.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::failure::{Exit, Failure};
use super::markdown;
use super::print::text_out;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Writes a manual page for each command into a folder.
    Man { folder: PathBuf },
    /// Prints the reference: docs/cli.md.
    Markdown,
}

pub fn run(arguments: Arguments, command: clap::Command) -> Result<Exit, Failure> {
    match arguments.what {
        What::Man { folder } => {
            std::fs::create_dir_all(&folder)?;
            clap_mangen::generate_to(command, folder)?;
        }
        What::Markdown => text_out(&markdown::reference(command))?,
    }
    Ok(Exit::Done)
}
