//! How a service is in each environment, as one person may see it.

use futures::future::join_all;
use jiff::Timestamp;

use crate::app::App;
use crate::auth::{Person, access};
use crate::catalogue::Service;
use crate::kube::{Health, Target};

/// A service in an environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    pub environment: String,
    pub production: bool,
    /// Unknown where the cluster does not answer or was not asked yet.
    pub health: Health,
    /// Empty where nothing runs.
    pub version: String,
    /// One sentence, said of what is not well.
    pub reason: String,
}

/// In the order of the configuration; environments the person may not look into are left out.
pub async fn look(app: &App, person: &Person, service: &Service, now: Timestamp) -> Vec<Look> {
    let each = app.config.environments.iter().map(|environment| async move {
        let target = Target::new(service, environment);
        let unknown = Look {
            environment: environment.name().into(),
            production: environment.production,
            health: Health::Unknown,
            version: String::new(),
            reason: "Its cluster does not answer.".into(),
        };
        match access::may_view(app, person, &target.cluster, &target.namespace).await {
            Ok(false) => None,
            Err(_) => Some(unknown),
            Ok(true) => {
                let status = app.watch(&target.cluster).status(&target, now);
                let health = if status.stale { Health::Unknown } else { status.health };
                Some(Look { health, version: status.version, reason: status.reason, ..unknown })
            }
        }
    });
    join_all(each).await.into_iter().flatten().collect()
}

/// The worst of where it runs; a service that runs nowhere is missing.
pub fn worst(looks: &[Look]) -> Health {
    let running = looks.iter().map(|look| look.health).filter(|health| *health != Health::Missing);
    running.min().unwrap_or(Health::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_as_well_as_the_worst_place_it_runs_in() {
        let look = |health| Look {
            environment: "staging".into(),
            production: false,
            health,
            version: String::new(),
            reason: String::new(),
        };
        assert_eq!(worst(&[look(Health::Healthy), look(Health::Degraded)]), Health::Degraded);
        assert_eq!(worst(&[look(Health::Healthy), look(Health::Missing)]), Health::Healthy);
        assert_eq!(worst(&[]), Health::Missing);
    }
}
