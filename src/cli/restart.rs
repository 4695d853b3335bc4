//! `platform restart`: new pods, same version, as `kubectl rollout restart` does it.

use clap::Args;

use super::args::{Because, Globals, InEnvironment, OfService, Watching};
use super::change::Target;
use super::failure::{Exit, Failure};
use crate::api::types::NewRestart;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    of: OfService,
    #[command(flatten)]
    environment: InEnvironment,
    #[command(flatten)]
    because: Because,
    #[command(flatten)]
    watching: Watching,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let target = Target::of(&arguments.of, &arguments.environment, globals).await?;
    let deploy = target.ask("restart", &NewRestart { reason: arguments.because.reason }).await?;
    target.watch(deploy, &arguments.watching).await
}
