//! `platform scale`: how many pods, or within which bounds the autoscaler chooses.

use clap::Args;

use super::args::{Because, Globals, InEnvironment, OfService, Watching};
use super::ask::{self, Missing};
use super::change::Target;
use super::failure::{Exit, Failure};
use super::wording;
use crate::api::types::{NewScale, Status};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    of: OfService,
    #[command(flatten)]
    environment: InEnvironment,
    /// How many pods. Asked for where neither this nor a bound is given.
    #[arg(long, short, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    replicas: Option<i32>,
    /// The fewest that an autoscaler may choose.
    #[arg(long, value_name = "NUMBER", conflicts_with = "replicas", value_parser = clap::value_parser!(i32).range(0..))]
    min: Option<i32>,
    /// The most that an autoscaler may choose.
    #[arg(long, value_name = "NUMBER", conflicts_with = "replicas", value_parser = clap::value_parser!(i32).range(1..))]
    max: Option<i32>,
    #[command(flatten)]
    because: Because,
    #[command(flatten)]
    watching: Watching,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let target = Target::of(&arguments.of, &arguments.environment, globals).await?;
    let Arguments { mut replicas, min, max, .. } = arguments;
    if replicas.is_none() && min.is_none() && max.is_none() {
        replicas = Some(ask_for_number(&target).await?);
    }
    let wanted = NewScale { replicas, min, max, reason: arguments.because.reason };
    let deploy = target.ask("scale", &wanted).await?;
    target.watch(deploy, &arguments.watching).await
}

async fn ask_for_number(target: &Target) -> Result<i32, Failure> {
    let missing = Missing { what: "the number of pods", flag: "--replicas", choices: &[] };
    if !ask::somebody_is_there() {
        return Err(missing.into());
    }
    let status: Status = target.portal.get(target.portal.url(&target.parts(&[]))).await?;
    ask::until(&wording::replicas_question(&target.service, &status), None, missing, |answer| {
        let number = answer.parse().ok().filter(|number: &i32| *number >= 0);
        number.ok_or_else(|| "A whole number, 0 or more.".to_string())
    })
}
