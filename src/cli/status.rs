//! `platform status`: what runs, in one environment or in all. One request, so that it is there at once.

use clap::Args;
use jiff::Timestamp;

use super::args::{Globals, InEnvironment, OfService};
use super::failure::{Exit, Failure};
use super::pick;
use super::portal::Portal;
use super::print::{Out, Paint, Tint};
use super::table::{Cell, Table};
use super::wording;
use crate::api::types::{ServiceDetail, Status};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    of: OfService,
    #[command(flatten)]
    environment: InEnvironment,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let service = pick::service(&arguments.of)?;
    let portal = Portal::of(globals)?;
    let out = Out::new(globals);
    match &arguments.environment.env {
        Some(environment) => {
            let url = portal.url(&["services", &service, "environments", environment]);
            let status: Status = portal.get(url).await?;
            out.value(&status, |paint| rows(std::slice::from_ref(&status), Timestamp::now(), paint))
        }
        None => {
            let detail: ServiceDetail = portal.get(portal.url(&["services", &service])).await?;
            let all = &detail.service.environments;
            out.value(all, |paint| rows(all, Timestamp::now(), paint))
        }
    }
}

fn rows(all: &[Status], now: Timestamp, paint: Paint) -> String {
    let mut table = Table::new(["ENVIRONMENT", "HEALTH", "VERSION", "PODS", "LAST DEPLOY"]);
    for status in all {
        let (tint, health) = wording::health(status);
        let version = if status.version.is_empty() { "-" } else { &status.version };
        let pods = if status.version.is_empty() {
            "-".into()
        } else {
            format!("{}/{}", status.ready, status.wanted)
        };
        let last = status.last_deploy.as_ref();
        table.row([
            Cell::tinted(Tint::Bold, &status.environment),
            Cell::tinted(tint, health),
            version.into(),
            pods.into(),
            last.map_or_else(|| "-".to_string(), |last| wording::last_deploy(last, now)).into(),
        ]);
        if !status.reason.is_empty() {
            table.below(tint, &status.reason);
        }
        if status.stale {
            table.below(Tint::Warn, &wording::stale(status, now));
        }
    }
    table.text(paint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{Health, LastDeploy};

    #[test]
    fn a_row_for_each_environment_and_the_reason_below() {
        let now: Timestamp = "2026-11-23T14:00:00Z".parse().unwrap();
        let staging = Status {
            environment: "staging".into(),
            production: false,
            cluster: "one".into(),
            namespace: "payments".into(),
            health: Health::Healthy,
            reason: String::new(),
            version: "v1.1.0".into(),
            ready: 2,
            wanted: 2,
            stale: false,
            seen: None,
            last_deploy: Some(LastDeploy {
                id: 7,
                state: "succeeded".into(),
                by: "maya".into(),
                at: "2026-11-23T13:00:00Z".parse().unwrap(),
            }),
        };
        let production = Status {
            environment: "production".into(),
            health: Health::Degraded,
            reason: "1 of 2 pods: the image is not in the registry".into(),
            ready: 1,
            stale: true,
            seen: Some("2026-11-23T13:56:00Z".parse().unwrap()),
            last_deploy: None,
            ..staging.clone()
        };
        let expected = [
            "ENVIRONMENT  HEALTH    VERSION  PODS  LAST DEPLOY",
            "staging      healthy   v1.1.0   2/2   1 h ago by maya",
            "production   degraded  v1.1.0   1/2   -",
            "  1 of 2 pods: the image is not in the registry",
            "  one does not answer: this was seen 4 min ago.",
        ];
        let text = rows(&[staging, production], now, Paint::NONE);
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
