//! `platform rollback`: back to a release of before.

use clap::Args;
use clap_complete::ArgValueCompleter;

use super::args::{Agreed, Because, Globals, InEnvironment, OfService, Watching, WithoutApproval};
use super::change::Target;
use super::failure::{Exit, Failure};
use super::{ask, complete, wording};
use crate::api::types::NewRollback;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    of: OfService,
    #[command(flatten)]
    environment: InEnvironment,
    /// The version of the release to go back to. Without it: the last good one.
    #[arg(long, value_name = "VERSION", add = ArgValueCompleter::new(complete::versions))]
    to_version: Option<String>,
    /// Agrees to take the image field over from whoever holds it, once.
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    because: Because,
    #[command(flatten)]
    without_approval: WithoutApproval,
    #[command(flatten)]
    watching: Watching,
    #[command(flatten)]
    agreed: Agreed,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let target = Target::of(&arguments.of, &arguments.environment, globals).await?;
    if arguments.to_version.is_none() {
        let question = wording::rollback_question(&target.service, &target.environment);
        ask::agree(&question, arguments.agreed.yes)?;
    }
    let wanted = NewRollback {
        version: arguments.to_version,
        reason: arguments.because.reason,
        take_over: arguments.take_over,
        break_glass: arguments.without_approval.break_glass,
    };
    let deploy = target.ask("rollback", &wanted).await?;
    target.watch(deploy, &arguments.watching).await
}
