//! What went wrong, why, and how to mend it.

use super::{capitalised, check, span};
use crate::api::types::{Verdict, Version};
use crate::cli::failure::Failure;
use crate::cli::print::clean;

impl Failure {
    /// What went wrong and why. None: nobody has to be told.
    pub fn sentence(&self) -> Option<String> {
        Some(match self {
            Self::Problem(problem) if problem.detail.is_empty() => clean(&problem.title),
            Self::Problem(problem) => clean(&problem.detail),
            Self::Away { portal, why } => format!("{portal} does not answer: {}.", clean(why)),
            Self::Untrusted { portal, why } => {
                format!("This machine does not trust the certificate of {portal}: {}.", clean(why))
            }
            Self::NotAPortal { portal, what } => {
                format!("What answers at {portal} is no portal that this command knows: {}.", clean(what))
            }
            Self::NotSignedIn { portal, said } if said.is_empty() => {
                format!("You are not signed in at {portal}.")
            }
            Self::NotSignedIn { portal, said } => {
                format!("{portal} does not take your token any more. {}", clean(said))
            }
            Self::NoPortal => "This command does not know your portal yet.".into(),
            Self::UnknownContext { name, .. } => format!("There is no context “{name}”."),
            Self::NoService { folder } => format!(
                "Which service? None is given, and neither {} nor a folder above it has a catalog-info.yaml with a \
                 Component.",
                folder.display()
            ),
            Self::SeveralServices { file, names } => {
                format!("Which service? {} has {}.", file.display(), names.join(", "))
            }
            Self::NobodyToAsk { what, .. } => {
                format!("{} is missing, and this is no terminal where you could be asked.", capitalised(what))
            }
            Self::OptionsMissing { .. } => {
                "Something is missing, and this is no terminal where you could be asked.".into()
            }
            Self::NotAgreed => "Nothing was changed.".into(),
            Self::Nothing { what, .. } => what.clone(),
            Self::Usage(what) => format!("{}.", clean(what).trim_end_matches('.')),
            Self::Timeout { id, seconds } => {
                format!("Deploy {id} has not ended after {}. It goes on.", span(*seconds))
            }
            Self::Interrupted { id } => format!("You no longer watch deploy {id}. It goes on."),
            Self::SignIn(why) => why.clone(),
            Self::Local(error) => clean(&format!("{error:#}.")),
            Self::NobodyReads => return None,
        })
    }

    /// How to mend it, line by line.
    pub fn mend(&self) -> Vec<String> {
        match self {
            Self::Problem(problem) => {
                let fields = problem.errors.iter().map(|error| format!("{}: {}", error.field, error.detail));
                let failed = problem.checks.iter().filter(|check| check.verdict == Verdict::Failed);
                let nearest = (!problem.nearest.is_empty()).then(|| did_you_mean(&problem.nearest));
                let request = (problem.status >= 500 && !problem.request_id.is_empty())
                    .then(|| format!("The platform team finds it by the request {}.", problem.request_id));
                let lines = fields.chain(failed.map(check)).chain(nearest).chain(request);
                lines.map(|line| clean(&line)).collect()
            }
            Self::Away { .. } => {
                vec!["Is the address right (platform context list), and the network there?".into()]
            }
            Self::Untrusted { .. } => {
                vec!["If your company has its own authority, name its certificate: --ca-file FILE".into()]
            }
            Self::NotAPortal { .. } => vec!["Look at the address: platform context list".into()],
            Self::NotSignedIn { .. } => vec!["Sign in: platform login".into()],
            Self::NoPortal => vec!["Sign in at it: platform login https://portal.example.com".into()],
            Self::UnknownContext { name, known } => match nearest(name, known) {
                Some(near) => vec![did_you_mean(&[near])],
                None if known.is_empty() => vec!["There is none yet: platform login URL".into()],
                None => vec![format!("These are known: {}.", known.join(", "))],
            },
            Self::NoService { .. } => vec!["Name it: --service NAME. platform services lists them.".into()],
            Self::SeveralServices { .. } => vec!["Name one: --service NAME".into()],
            Self::NobodyToAsk { flag, choices, .. } if choices.is_empty() => vec![format!("Give {flag}.")],
            Self::NobodyToAsk { flag, choices, .. } => {
                vec![format!("Give {flag}, one of: {}.", choices.join(", "))]
            }
            Self::OptionsMissing { flags } => vec![clean(&format!("Give {}.", flags.join(", ")))],
            Self::Nothing { mend, .. } => vec![mend.clone()],
            Self::Usage(_) => vec!["platform --help says more.".into()],
            Self::Timeout { id, .. } | Self::Interrupted { id } => {
                vec![format!("Watch it again: platform wait {id}")]
            }
            Self::SignIn(_) => {
                vec!["Try again: platform login. Without a browser: platform login --device".into()]
            }
            Self::NotAgreed | Self::Local(_) | Self::NobodyReads => Vec::new(),
        }
    }

    pub fn nothing_runs(service: &str) -> Self {
        Self::Nothing {
            what: format!("{service} runs nowhere that you can see."),
            mend: format!("Deploy it: platform deploy {service} --env ENVIRONMENT"),
        }
    }

    /// `newest` says why even the newest is refused.
    pub fn no_version(service: &str, environment: &str, newest: Option<&Version>) -> Self {
        let why =
            newest.and_then(|version| Some(format!(" {}: {}", version.version, version.refused.as_ref()?)));
        Self::Nothing {
            what: clean(&format!(
                "No version of {service} can be deployed to {environment}.{}",
                why.unwrap_or_default()
            )),
            mend: "Name one: --version VERSION".into(),
        }
    }

    pub fn no_deploy(service: &str, environment: Option<&str>) -> Self {
        let place = environment.map(|name| format!(" to {name}")).unwrap_or_default();
        Self::Nothing {
            what: format!("Nothing of {service} was ever deployed{place}."),
            mend: format!("Look at what runs: platform status {service}"),
        }
    }
}

fn did_you_mean(names: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [rest @ .., last] if !rest.is_empty() => format!("Did you mean {} or {last}?", rest.join(", ")),
        _ => format!("Did you mean {}?", names.concat()),
    }
}

fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let near = known.iter().map(|known| (strsim::osa_distance(name, known), known.as_str()));
    near.filter(|(slips, _)| *slips <= 2).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Problem;
    use crate::cli::failure::Exit;

    #[test]
    fn a_refusal_says_what_why_and_how_to_mend_it() {
        let failure = Failure::Problem(Box::new(Problem {
            status: 404,
            detail: "There is no service “chekout-api”.".into(),
            nearest: vec!["checkout-api".into(), "checkout".into()],
            ..Problem::default()
        }));
        assert_eq!(failure.exit(), Exit::NotFound);
        assert_eq!(failure.sentence().unwrap(), "There is no service “chekout-api”.");
        assert_eq!(failure.mend(), ["Did you mean checkout-api or checkout?"]);
    }

    #[test]
    fn contexts_forgive_a_slip() {
        let known = vec!["staging".to_string(), "production".to_string()];
        let unknown = |name: &str| Failure::UnknownContext { name: name.into(), known: known.clone() };
        assert_eq!(unknown("stagign").mend(), ["Did you mean staging?"]);
        assert_eq!(unknown("moon").mend(), ["These are known: staging, production."]);
    }
}
