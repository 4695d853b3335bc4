//! Every sentence of the command. What the portal refuses is told in the portal's own words.

mod access;
mod change;
mod failure;
mod sign_in;

use jiff::Timestamp;

pub use access::*;
pub use change::*;
pub use sign_in::*;

use super::print::{Tint, clean};
use crate::api::types::{Health, LastDeploy, Service, Status, Version};
use crate::web::filters;

pub const MANUAL: &str = "\
Exit codes:
  0    done
  1    failed: the deploy did, or something on this machine
  2    the command line can’t be used as it is
  3    refused: by a right, a rule, a check or an approver
  4    waiting for approval
  5    it took longer than --timeout; what was asked for goes on
  6    the portal is away
  7    not signed in, or no longer
  8    there is nothing of that name
  130  Ctrl-C; what was asked for goes on

Environment:
  PLATFORM_URL    the portal to ask, before the current context
  PLATFORM_TOKEN  the token to ask with, before the one that login has kept
  NO_COLOR        no colours
  BROWSER         the program that opens addresses
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY, SSL_CERT_FILE  are heeded

Files:
  ~/.config/platform/config.toml  the contexts (XDG_CONFIG_HOME is heeded)
  ~/.config/platform/tokens.toml  tokens, where the system has no keyring; only you can read it";

pub fn health(status: &Status) -> (Tint, &'static str) {
    match status.health {
        _ if status.version.is_empty() => (Tint::Dim, "not there"),
        Health::Degraded => (Tint::Bad, "degraded"),
        Health::Missing => (Tint::Bad, "missing"),
        Health::Progressing => (Tint::Busy, "progressing"),
        Health::Suspended => (Tint::Dim, "suspended"),
        Health::Healthy => (Tint::Good, "healthy"),
        Health::Unknown => (Tint::Warn, "unknown"),
    }
}

/// The tint of the environment that is worst off.
pub fn worst(all: &[Status]) -> Tint {
    let tints: Vec<Tint> = all.iter().map(|status| health(status).0).collect();
    let order = [Tint::Bad, Tint::Warn, Tint::Busy];
    order.into_iter().find(|tint| tints.contains(tint)).unwrap_or_default()
}

/// "staging v1.1.0, production v1.0.0 degraded"
pub fn runs(service: &Service) -> String {
    let there = service.environments.iter().filter(|status| !status.version.is_empty());
    let each = there.map(|status| match health(status) {
        (Tint::Good, _) => format!("{} {}", status.environment, status.version),
        (_, health) => format!("{} {} {health}", status.environment, status.version),
    });
    each.collect::<Vec<_>>().join(", ")
}

pub fn stale(status: &Status, now: Timestamp) -> String {
    match status.seen {
        Some(seen) => format!("{} does not answer: this was seen {}.", status.cluster, when(seen, now)),
        None => format!("{} does not answer.", status.cluster),
    }
}

pub fn last_deploy(last: &LastDeploy, now: Timestamp) -> String {
    let how = if last.state == "succeeded" { String::new() } else { format!("{}, ", state(&last.state)) };
    format!("{how}{} by {}", when(last.at, now), last.by)
}

/// The pages join numbers and units with a no-break space, which a terminal has no need of.
pub fn when(at: Timestamp, now: Timestamp) -> String {
    filters::when(at, now).replace('\u{a0}', " ")
}

pub fn until(at: Timestamp, now: Timestamp) -> String {
    filters::until(at, now).replace('\u{a0}', " ")
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        _ => format!("{} min", seconds / 60),
    }
}

/// A pod as people tell it from others: the last letters of its ReplicaSet and its own five.
pub fn short(pod: &str) -> &str {
    let start = pod.len().saturating_sub(10);
    pod.get(start..).unwrap_or(pod).trim_start_matches('-')
}

pub fn no_lines(service: &str, environment: &str) -> String {
    format!("{service} wrote nothing in {environment} in this time; --since looks further back.")
}

pub fn more(shown: usize) -> String {
    format!("The first {shown}. --limit shows more.")
}

pub fn runs_in(version: &Version) -> String {
    if version.runs_in.is_empty() { String::new() } else { format!("runs in {}", version.runs_in.join(", ")) }
}

pub fn deploy_question(service: &str, version: &str, environment: &str, runs: &str) -> String {
    let was = if runs.is_empty() { String::new() } else { format!(", where {runs} runs") };
    clean(&format!("Deploy {service} {version} to {environment}{was}?"))
}

pub fn runs_already(service: &str, version: &str, environment: &str) -> String {
    clean(&format!("{service} {version} runs in {environment} already, and nothing newer is there."))
}

pub fn rollback_question(service: &str, environment: &str) -> String {
    format!("Roll {service} in {environment} back to its last good release?")
}

pub fn migrate_question(service: &str, version: Option<&str>, environment: &str) -> String {
    let image = version.map_or("the version that runs there".into(), |version| format!("version {version}"));
    clean(&format!("Run the migration of {service} in {environment} with {image}?"))
}

pub fn no_log(why: Option<&str>) -> String {
    format!("Its log can’t be shown. {}", why.unwrap_or_default())
}

pub const LOG_CUT: &str = "The rest of its log did not come; its page has it.";

pub fn take_over_question(owner: &str) -> String {
    clean(&format!("{owner} sets the image of this workload. Take it over, once?"))
}

pub fn take_over_hint(owner: &str) -> String {
    clean(&format!("{owner} sets the image of this workload: --take-over takes it over, once."))
}

pub fn replicas_question(service: &str, status: &Status) -> String {
    let Status { environment, ready, wanted, .. } = status;
    clean(&format!(
        "{ready} of {wanted} pods of {service} are ready in {environment}. How many shall there be?"
    ))
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}
