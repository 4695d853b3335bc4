//! `platform deploy`: a version, given or the newest, in an environment.

use clap::Args;
use clap_complete::ArgValueCompleter;

use super::args::{Agreed, Because, Globals, InEnvironment, OfService, Watching, WithoutApproval};
use super::change::Target;
use super::failure::{Exit, Failure};
use super::print::{note, say};
use super::{ask, complete, wording};
use crate::api::types::{Deploy, NewDeploy, Page, Plan, Strategy, Version};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    of: OfService,
    #[command(flatten)]
    environment: InEnvironment,
    /// A tag, a digest or a whole image reference. Without it: the newest version that may be deployed there.
    #[arg(long, value_name = "VERSION", add = ArgValueCompleter::new(complete::versions))]
    version: Option<String>,
    /// Agrees to take the image field over from whoever holds it, once.
    #[arg(long)]
    take_over: bool,
    /// How it takes over from what runs. Without it: as the environment has it.
    #[arg(long, value_enum)]
    strategy: Option<Strategy>,
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
    let version = match &arguments.version {
        Some(version) => version.clone(),
        None => match newest(&target).await? {
            Newest::Deploy { version, runs } => {
                let question =
                    wording::deploy_question(&target.service, &version, &target.environment, &runs);
                ask::agree(&question, arguments.agreed.yes)?;
                version
            }
            Newest::RunsAlready(version) => {
                say(&wording::runs_already(&target.service, &version, &target.environment));
                return Ok(Exit::Done);
            }
        },
    };
    let wanted = NewDeploy {
        version,
        reason: arguments.because.reason,
        take_over: arguments.take_over,
        strategy: arguments.strategy,
        digest: None,
        break_glass: arguments.without_approval.break_glass,
    };
    let deploy = request(&target, wanted, arguments.agreed.yes).await?;
    target.watch(deploy, &arguments.watching).await
}

#[derive(Debug, PartialEq)]
pub enum Newest {
    Deploy { version: String, runs: String },
    RunsAlready(String),
}

impl Newest {
    pub fn version(self) -> String {
        match self {
            Self::Deploy { version, .. } | Self::RunsAlready(version) => version,
        }
    }
}

pub async fn newest(target: &Target) -> Result<Newest, Failure> {
    let versions: Page<Version> = target.portal.get(target.portal.url(&target.parts(&["versions"]))).await?;
    choose(&versions.items, &target.environment)
        .ok_or_else(|| Failure::no_version(&target.service, &target.environment, versions.items.first()))
}

/// The portal lists the newest first.
fn choose(versions: &[Version], environment: &str) -> Option<Newest> {
    let runs_here = |version: &&Version| version.runs_in.iter().any(|name| name == environment);
    let runs = versions.iter().find(runs_here).map(|version| version.version.clone()).unwrap_or_default();
    // What runs here already may be refused for just that, and is still the newest.
    let newest =
        versions.iter().find(|version| version.refused.is_none() || runs_here(version))?.version.clone();
    Some(if newest == runs { Newest::RunsAlready(newest) } else { Newest::Deploy { version: newest, runs } })
}

/// A refusal because somebody else holds the image field is a question, once.
async fn request(target: &Target, wanted: NewDeploy, agreed: bool) -> Result<Deploy, Failure> {
    let refused = match target.ask("deploys", &wanted).await {
        Err(Failure::Problem(problem)) if problem.status == 422 && !wanted.take_over => problem,
        other => return other,
    };
    let query = [("version", Some(wanted.version.as_str()))];
    let plan = target.portal.get::<Plan>(target.portal.url_with(&target.parts(&["plan"]), &query)).await;
    let Ok(Plan { take_over_from: Some(owner), .. }) = plan else { return Err(Failure::Problem(refused)) };
    if !ask::somebody_is_there() || agreed {
        // An agreement beforehand was about the deploy, not about somebody else's field.
        note(&wording::take_over_hint(&owner));
        return Err(Failure::Problem(refused));
    }
    ask::agree(&wording::take_over_question(&owner), false)?;
    target.ask("deploys", &NewDeploy { take_over: true, ..wanted }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str, runs_in: &[&str], refused: bool) -> Version {
        Version {
            version: name.into(),
            created: None,
            runs_in: runs_in.iter().map(ToString::to_string).collect(),
            refused: refused.then(|| "Its signature is missing.".into()),
        }
    }

    fn deploys(version: &str, runs: &str) -> Option<Newest> {
        Some(Newest::Deploy { version: version.into(), runs: runs.into() })
    }

    #[test]
    fn the_newest_that_may_be_deployed_is_meant() {
        let all = [version("v3", &[], true), version("v2", &[], false), version("v1", &["staging"], false)];
        assert_eq!(choose(&all, "staging"), deploys("v2", "v1"));
        assert_eq!(choose(&all, "production"), deploys("v2", ""));
        assert_eq!(choose(&all[..1], "staging"), None);
        assert_eq!(choose(&[], "staging"), None);
    }

    #[test]
    fn what_runs_already_is_not_deployed_again() {
        let all = [version("v2", &["staging"], true), version("v1", &[], false)];
        assert_eq!(choose(&all, "staging"), Some(Newest::RunsAlready("v2".into())));
    }
}
