//! Which service and which environment are meant, where the command line leaves it open.

use super::args::{InEnvironment, OfService};
use super::ask::{self, Missing};
use super::failure::Failure;
use super::folder;
use super::portal::Portal;
use super::print::note;
use crate::api::types::{ServiceDetail, Status};

/// As given, else the one of the folder.
pub fn service(of: &OfService) -> Result<String, Failure> {
    of.given().map_or_else(service_of_folder, |name| Ok(name.into()))
}

/// Several in its file: one of them.
pub fn service_of_folder() -> Result<String, Failure> {
    let found = folder::find(&std::env::current_dir()?)?;
    match found.services.as_slice() {
        [only] => {
            note(&format!("{only}, from {}", found.file.display()));
            Ok(only.clone())
        }
        several if ask::somebody_is_there() => {
            let missing = Missing { what: "the service", flag: "--service", choices: several };
            ask::one_of("Which service?", missing)
        }
        several => Err(Failure::SeveralServices { file: found.file, names: several.to_vec() }),
    }
}

/// For completion, which can't ask.
pub fn only_service_of_folder() -> Option<String> {
    let found = folder::find(&std::env::current_dir().ok()?).ok()?;
    <[String; 1]>::try_from(found.services).ok().map(|[only]| only)
}

/// For a change: as given, else the context's, else the only one, else it is asked.
pub async fn environment_to_change(
    portal: &Portal,
    service: &str,
    given: &InEnvironment,
) -> Result<String, Failure> {
    if let Some(name) = settled(portal, given) {
        return Ok(name);
    }
    let names: Vec<String> =
        environments(portal, service).await?.into_iter().map(|status| status.environment).collect();
    match names.as_slice() {
        [] => Err(Failure::nothing_runs(service)),
        [only] => Ok(only.clone()),
        names => {
            let missing = Missing { what: "the environment", flag: "--env", choices: names };
            ask::one_of("Which environment?", missing)
        }
    }
}

/// For a look: as given, else the context's, else the first where it runs, production last.
pub async fn environment_to_read(
    portal: &Portal,
    service: &str,
    given: &InEnvironment,
) -> Result<String, Failure> {
    if let Some(name) = settled(portal, given) {
        return Ok(name);
    }
    let all = environments(portal, service).await?;
    let chosen = to_read(&all).ok_or_else(|| Failure::nothing_runs(service))?;
    note(&format!("{service} in {chosen}; --env chooses another environment"));
    Ok(chosen.into())
}

fn settled(portal: &Portal, given: &InEnvironment) -> Option<String> {
    given.env.clone().or_else(|| portal.context.environment.clone())
}

fn to_read(all: &[Status]) -> Option<&str> {
    let runs = |status: &&Status| !status.version.is_empty();
    let first = all.iter().filter(runs).find(|status| !status.production);
    first.or_else(|| all.iter().find(runs)).map(|status| status.environment.as_str())
}

async fn environments(portal: &Portal, service: &str) -> Result<Vec<Status>, Failure> {
    let detail: ServiceDetail = portal.get(portal.url(&["services", service])).await?;
    Ok(detail.service.environments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Health;

    fn runs(environment: &str, version: &str) -> Status {
        Status {
            environment: environment.into(),
            production: environment == "production",
            cluster: String::new(),
            namespace: String::new(),
            health: Health::Healthy,
            reason: String::new(),
            version: version.into(),
            ready: 0,
            wanted: 0,
            stale: false,
            seen: None,
            last_deploy: None,
        }
    }

    #[test]
    fn a_look_goes_where_it_runs_and_to_production_last() {
        let all = [runs("dev", ""), runs("production", "v1"), runs("staging", "v2")];
        assert_eq!(to_read(&all), Some("staging"));
        assert_eq!(to_read(&all[..2]), Some("production"));
        assert_eq!(to_read(&all[..1]), None);
    }
}
