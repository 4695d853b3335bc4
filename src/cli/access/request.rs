//! `platform access request`: what is not given is taken from the folder, from the only possibility, or asked.

use clap::Args;
use clap_complete::ArgValueCompleter;

use super::tell;
use crate::api::types::{AccessRequest, AccessRole, NewAccessRequest, Page};
use crate::cli::ask::{self, Missing};
use crate::cli::failure::{Exit, Failure};
use crate::cli::portal::Portal;
use crate::cli::print::{Out, note};
use crate::cli::{args, complete, pick, wording};

#[derive(Debug, Args)]
pub struct Arguments {
    /// How those who decide can reach you. They see it; the portal sends no message.
    #[arg(long, value_name = "@NAME", default_value = "", hide_default_value = true)]
    slack: String,
    /// The role. Without it: the only one there is, or it is asked.
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// The service whose namespace it is. Without it and --team: the one of the nearest catalog-info.yaml.
    #[arg(long, short, value_name = "SERVICE", conflicts_with = "team", add = ArgValueCompleter::new(complete::services))]
    service: Option<String>,
    /// The team whose namespace it is.
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    #[command(flatten)]
    environment: args::InEnvironment,
    /// How long, for example 30m or 8h. Without it: 8 hours, or the longest that the role allows.
    #[arg(long = "for", value_name = "TIME", value_parser = args::duration)]
    lasts: Option<std::time::Duration>,
    /// Why. Whoever decides reads it, and it is kept in the audit trail. Asked for where it is not given.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub async fn run(arguments: Arguments, portal: &Portal, out: Out) -> Result<Exit, Failure> {
    let roles: Page<AccessRole> = portal.get(portal.url(&["access-roles"])).await?;
    if roles.items.is_empty() {
        return Err(Failure::no_roles());
    }
    let place = Place::of(&arguments);
    let given = Given {
        role: one(arguments.role, roles.items.iter().map(|role| role.name.clone()).collect()),
        environment: arguments.environment.env.or_else(|| portal.context.environment.clone()),
        place,
        reason: arguments.reason,
    };
    if !ask::somebody_is_there() {
        let missing = given.missing(&roles.items);
        if !missing.is_empty() {
            return Err(Failure::OptionsMissing { flags: missing });
        }
    }
    let wanted = fill_in(given, &roles.items)?;
    let wanted = NewAccessRequest {
        seconds: arguments.lasts.map(|lasts| i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX)),
        contact: arguments.slack,
        ..wanted
    };
    let request: AccessRequest = portal.post(portal.url(&["access-requests"]), &wanted).await?;
    tell(&request, out)
}

/// A service or a team.
#[derive(Debug, PartialEq)]
enum Place {
    Service(String),
    Team(String),
}

impl Place {
    /// As given, else the service of the folder, where there is just one.
    fn of(arguments: &Arguments) -> Option<Self> {
        if let Some(team) = &arguments.team {
            return Some(Self::Team(team.clone()));
        }
        if let Some(service) = &arguments.service {
            return Some(Self::Service(service.clone()));
        }
        let service = pick::only_service_of_folder()?;
        note(&format!("{service}, from catalog-info.yaml"));
        Some(Self::Service(service))
    }
}

/// What is known before anybody is asked.
struct Given {
    role: Option<String>,
    environment: Option<String>,
    place: Option<Place>,
    reason: Option<String>,
}

impl Given {
    /// The environment, where there is only one choice.
    fn only_environment(&self, roles: &[AccessRole]) -> Option<String> {
        self.environment.clone().or_else(|| one(None, environments(roles, self.role.as_deref())))
    }

    /// The options that would have to be given where nobody can be asked.
    fn missing(&self, roles: &[AccessRole]) -> Vec<String> {
        let flag = |flag: &str, choices: Vec<String>| match choices.is_empty() {
            true => flag.to_string(),
            false => format!("{flag} ({})", choices.join(", ")),
        };
        let names = || roles.iter().map(|role| role.name.clone()).collect();
        let mut missing = Vec::new();
        missing.extend(self.place.is_none().then(|| "--team or --service".to_string()));
        missing.extend(self.role.is_none().then(|| flag("--role", names())));
        if self.only_environment(roles).is_none() {
            missing.push(flag("--env", environments(roles, self.role.as_deref())));
        }
        let reason = self.reason.as_deref().unwrap_or_default().trim();
        missing.extend(reason.is_empty().then(|| "--reason".to_string()));
        missing
    }
}

/// Asks for what is still open.
fn fill_in(given: Given, roles: &[AccessRole]) -> Result<NewAccessRequest, Failure> {
    let environment = given.only_environment(roles);
    let place = match given.place {
        Some(place) => place,
        None => {
            let missing = Missing { what: "the team", flag: "--team, or --service", choices: &[] };
            ask::until("The namespace of which team?", None, missing, |answer| match answer {
                "" => Err("A team of the catalogue, or --service NAME.".to_string()),
                team => Ok(Place::Team(team.into())),
            })?
        }
    };
    let role = match given.role {
        Some(role) => role,
        None => {
            let names: Vec<String> = roles.iter().map(|role| role.name.clone()).collect();
            ask::one_of("Which role?", Missing { what: "the role", flag: "--role", choices: &names })?
        }
    };
    let environment = match environment {
        Some(environment) => environment,
        None => {
            let names = environments(roles, Some(&role));
            let missing = Missing { what: "the environment", flag: "--env", choices: &names };
            match one(None, names.clone()) {
                Some(only) => only,
                None => ask::one_of("Which environment?", missing)?,
            }
        }
    };
    let reason = match given.reason.filter(|reason| !reason.trim().is_empty()) {
        Some(reason) => reason,
        None => {
            let missing = Missing { what: "the reason", flag: "--reason", choices: &[] };
            let question = wording::access_reason_question(&role, &environment);
            ask::until(&question, None, missing, |answer| match answer {
                "" => Err("Say why in a few words.".to_string()),
                _ => Ok(answer.to_string()),
            })?
        }
    };
    let (service, team) = match place {
        Place::Service(service) => (Some(service), None),
        Place::Team(team) => (None, Some(team)),
    };
    Ok(NewAccessRequest { role, environment, service, team, reason, ..NewAccessRequest::default() })
}

/// Where a role can be asked for; where any can, while it is open which.
fn environments(roles: &[AccessRole], role: Option<&str>) -> Vec<String> {
    let mut names = Vec::new();
    for name in
        roles.iter().filter(|it| role.is_none_or(|role| role == it.name)).flat_map(|it| &it.environments)
    {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// As given, else the only one.
fn one(given: Option<String>, choices: Vec<String>) -> Option<String> {
    given.or_else(|| <[String; 1]>::try_from(choices).ok().map(|[only]| only))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, environments: &[&str]) -> AccessRole {
        AccessRole {
            name: name.into(),
            description: String::new(),
            cluster_role: name.into(),
            environments: environments.iter().map(ToString::to_string).collect(),
            longest_seconds: 28_800,
            approvers: Vec::new(),
        }
    }

    fn given(role: Option<&str>) -> Given {
        Given { role: role.map(Into::into), environment: None, place: None, reason: None }
    }

    #[test]
    fn the_only_possibility_needs_no_question() {
        let roles = [role("edit", &["staging"])];
        let missing = given(one(None, vec!["edit".into()]).as_deref()).missing(&roles);
        assert_eq!(missing, ["--team or --service", "--reason"]);
    }

    #[test]
    fn what_is_missing_is_named_with_its_choices() {
        let roles = [role("edit", &["staging"]), role("view", &["staging", "production"])];
        assert_eq!(
            given(None).missing(&roles),
            ["--team or --service", "--role (edit, view)", "--env (staging, production)", "--reason"]
        );
        assert_eq!(given(Some("edit")).missing(&roles), ["--team or --service", "--reason"]);
    }
}
