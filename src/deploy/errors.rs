//! The error ratio of a new version: what share of the requests to its pods fails, as Prometheus measures it, while it
//! proves itself. Too many failures end the deploy. What can't be measured proves nothing: a canary then waits for a person;
//! where all the traffic has moved already, there is nothing to wait for.

use super::checks::Check;
use super::deploy::{Deploy, Place};
use super::wording;
use crate::app::App;
use crate::config::{self, Strategy as Kind};
use crate::kube::WorkloadKind;
use crate::kube::rollout::Observed;
use crate::prometheus::NoNumber;

/// What is known of it now.
#[derive(Clone, Debug, PartialEq)]
pub enum Errors {
    /// The environment sets no limit.
    NoLimit,
    /// Both are shares, 0 to 1.
    Within {
        ratio: f64,
        at_most: f64,
    },
    TooMany {
        ratio: f64,
        at_most: f64,
    },
    /// Nobody can say, and why.
    Unknown(String),
}

impl Errors {
    /// Why the deploy fails.
    pub fn trouble(&self) -> Result<(), String> {
        match self {
            Self::TooMany { ratio, at_most } => Err(wording::too_many_errors(*ratio, *at_most)),
            Self::NoLimit | Self::Within { .. } | Self::Unknown(_) => Ok(()),
        }
    }
}

/// Asks about the new pods.
pub async fn measure(app: &App, deploy: &Deploy, observed: &Observed) -> Errors {
    let place = &deploy.place;
    let limit = app.config.environment(&place.environment).and_then(|found| found.errors.as_ref());
    let (Some(limit), Some(change)) = (limit, deploy.action.change()) else { return Errors::NoLimit };
    // Its pods keep their names from version to version: what the old one failed at would count for the new one.
    if change.workload_kind == WorkloadKind::StatefulSet {
        return Errors::NoLimit;
    }
    let pods: Vec<&str> = observed.new_pods().filter_map(|pod| pod.metadata.name.as_deref()).collect();
    // An empty name would match whatever has no name.
    if pods.is_empty() {
        return Errors::Unknown(wording::NO_NEW_PODS.into());
    }
    let query = limit.query_for(&place.namespace, &place.service, &pods);
    let measured = app.prometheus.number(&place.cluster, &query).await;
    judge(measured.map_err(|why| why.to_string()), *limit.at_most.get_ref())
}

/// Whether it can be measured: a line of the form. Of pods that don't run yet there is nothing to be known, so that the
/// query finds nothing is as good as a number.
pub async fn check(app: &App, place: &Place, workload: &str, kind: Kind, limit: &config::Errors) -> Check {
    let query = limit.query_for(&place.namespace, &place.service, &[workload]);
    match app.prometheus.number(&place.cluster, &query).await {
        Ok(_) | Err(NoNumber::Nothing) => {
            Check::ok(wording::ERRORS_ARE_WATCHED, wording::errors_limit(*limit.at_most.get_ref()))
        }
        Err(why @ (NoNumber::Several(_) | NoNumber::Refused(_) | NoNumber::Away(_))) => {
            Check::warn(wording::ERRORS_ARE_NOT_KNOWN, wording::not_measured(kind, &why.to_string()))
        }
    }
}

fn judge(measured: Result<f64, String>, at_most: f64) -> Errors {
    match measured {
        Ok(ratio) if ratio > at_most => Errors::TooMany { ratio, at_most },
        Ok(ratio) => Errors::Within { ratio, at_most },
        Err(why) => Errors::Unknown(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_limit_is_too_much_and_silence_is_neither() {
        assert_eq!(judge(Ok(0.01), 0.01), Errors::Within { ratio: 0.01, at_most: 0.01 });
        assert_eq!(judge(Ok(0.02), 0.01), Errors::TooMany { ratio: 0.02, at_most: 0.01 });
        assert!(judge(Ok(f64::INFINITY), 0.5).trouble().is_err());
        let unknown = judge(Err("the query finds nothing".into()), 0.01);
        assert_eq!(unknown, Errors::Unknown("the query finds nothing".into()));
        assert_eq!(unknown.trouble(), Ok(()));
    }
}
