//! Every sentence of this slice, in one place, so that one person can read and improve them all.

use jiff::Timestamp;

use super::activity::Entry;
use super::mistake::Mistake;
use super::yaml::MAX_TEXT;
use crate::deploy::{Action, State};
use crate::kube::Health;
use crate::web::filters;

impl Mistake {
    /// What is wrong.
    pub fn what(&self) -> String {
        match self {
            Self::Unreadable { why } => format!("cannot be read: {why}"),
            Self::NotText => "is not UTF-8 text".into(),
            Self::TooLarge { megabytes } => format!("is larger than {megabytes} MiB"),
            Self::TooMany { what, most } => format!("holds more than {most} {what}"),
            Self::LeadsOutside => "is a link that leads out of the catalogue’s folder".into(),
            Self::Malformed { what } => format!("is not YAML here: {what}"),
            Self::Tab => "is not YAML here: a tab stands in the indentation".into(),
            Self::NotAMap => "the document is not a map of apiVersion, kind, metadata and spec".into(),
            Self::Nul => "a text holds the character NUL".into(),
            Self::Missing { field, .. } => format!("{field} is missing"),
            Self::WrongType { field, is, wanted } => format!("{field} has to be {wanted}, and is {is}"),
            Self::Empty { field } => format!("{field} is empty"),
            Self::OddKind { kind } => format!("kind {kind:?} is not a kind"),
            Self::KindCase { meant } => format!("kinds are written with capitals: {meant}"),
            Self::KindTypo { kind, .. } => {
                format!("{kind} is no kind of the Backstage format; kept as it is")
            }
            Self::ApiVersion { given } => format!("apiVersion {given:?} is not one of the Backstage format"),
            Self::Name { given } => format!("metadata.name {given:?} is not a name"),
            Self::Namespace { given } => format!("metadata.namespace {given:?} is not a namespace"),
            Self::Tag { given } => format!("{given:?} is not a tag"),
            Self::LabelKey { field, given } => format!("{given:?} can’t be a key in {field}"),
            Self::LabelValue { key } => format!("the value of the label {key} can’t be one"),
            Self::Tier { given } => format!("the tier {given:?} is not 0, 1, 2 or 3"),
            Self::Smoke { given } => {
                format!("metadata.annotations.pilothouse.dev/smoke {given:?} is not a path to ask")
            }
            Self::Address { field, given } => format!("{field} {given:?} is not an http or https address"),
            Self::Reference { field, given } => format!("{field} {given:?} names no entity"),
            Self::ReferenceNoKind { field, given } => format!("{field} {given:?} doesn’t say of which kind"),
            Self::Duplicate { reference, file, line } => {
                format!("{reference} is described twice, first in {file}:{line}")
            }
            Self::SameServiceName { name, namespace } => {
                format!("another component is called {name}; the one in {namespace} has no page of its own")
            }
            Self::Dangling { field, reference, .. } => {
                format!("{field} names {reference}, which is not in the catalogue")
            }
            Self::Unknown { field, .. } => format!("{field} means nothing here"),
            Self::Image { given } => {
                format!("spec.run.image {given:?} is not an image without tag and digest")
            }
            Self::Port => "spec.run.port has to be a number from 1 to 65535".into(),
            Self::ProbePath { field } => format!("{field} has to be a path that begins with /"),
            Self::EnvName { given } => format!("{given:?} can’t be the name of an environment variable"),
            Self::EnvTwice { name } => format!("{name} stands in env and in secrets"),
            Self::SecretName { given } => format!("{given:?} can’t be the name of a Secret"),
            Self::SecretKey { given } => format!("{given:?} can’t be a key of a Secret"),
            Self::Quantity { field, given } => format!("{field} {given:?} is not a quantity"),
            Self::LimitBelowRequest => "memoryLimit is less than memory".into(),
            Self::Replicas { field } => format!("{field} has to be a whole number from 0 to 1000"),
            Self::MinAndMax => "min and max only work together".into(),
            Self::MinOverMax { min, max } => format!("min {min} is over max {max}"),
            Self::ReplicasAndAutoscaler => "replicas stands beside min and max".into(),
            Self::NoSuchEnvironment { name, .. } => format!("no environment is called {name}"),
            Self::ContainerName { given } => {
                format!("spec.migration.container {given:?} is not a container’s name")
            }
            Self::Deadline { given } => {
                format!("spec.migration.deadline {given:?} is not a time from 1s to 24h")
            }
        }
    }

    /// How to mend it.
    pub fn mend(&self) -> String {
        match self {
            Self::Unreadable { .. } => {
                "Make it readable for the portal. Until then what was imported from it before is kept.".into()
            }
            Self::NotText => "Save the file as UTF-8.".into(),
            Self::TooLarge { .. } => {
                "Split the file, or keep large API definitions in a file of their own and link to it.".into()
            }
            Self::TooMany { .. } => {
                "Point catalogue.paths at the folder that holds only the catalogue.".into()
            }
            Self::LeadsOutside => "Put the file itself into the folder.".into(),
            Self::Malformed { what } if what.contains("mapping values") => {
                "Put the value in quotes if it holds “: ”, or check the indentation of this line.".into()
            }
            Self::Malformed { what } if what.contains("duplicate") => "Keep one of the two.".into(),
            Self::Malformed { what }
                if ["limit", "budget", "exceed", "nest"].iter().any(|word| what.contains(word)) =>
            {
                format!(
                    "A document may be {} MiB long and moderately deep; anchors may not multiply it.",
                    MAX_TEXT >> 20
                )
            }
            Self::Malformed { .. } => {
                "Check brackets, quotes and the indentation of this line and the one above.".into()
            }
            Self::Tab => "Indent with spaces.".into(),
            Self::NotAMap => "Begin with apiVersion: backstage.io/v1alpha1 and kind: Component.".into(),
            Self::Nul => "Remove it; it can’t be stored or shown.".into(),
            Self::Missing { field, instead: Some(instead) } => {
                let name = field.rsplit('.').next().unwrap_or(field);
                format!("{instead} stands there: did you mean {name}?")
            }
            Self::Missing { field, instead: None } => match field.as_str() {
                "apiVersion" => "Add apiVersion: backstage.io/v1alpha1.".into(),
                "spec.owner" => "Add owner: the name of the group that runs it.".into(),
                "spec.children" => "Add children: a list of groups, [] if there are none.".into(),
                _ => format!("Add {}.", field.rsplit('.').next().unwrap_or(field)),
            },
            Self::WrongType { wanted: "a text", is: "a number" | "true or false", .. } => {
                "Put it in quotes.".into()
            }
            Self::WrongType { wanted: "a list of texts", is: "a text", .. } => {
                "Put it in brackets: one item is a list, too.".into()
            }
            Self::WrongType { wanted, .. } => format!("Write {wanted}."),
            Self::Empty { .. } => "Give it a value, or remove the line.".into(),
            Self::OddKind { .. } => "Use letters and digits, 63 at most, a letter first.".into(),
            Self::KindCase { meant } => format!("Write kind: {meant}."),
            Self::KindTypo { meant, .. } => format!("Did you mean {meant}?"),
            Self::ApiVersion { .. } => {
                "Write backstage.io/v1alpha1, or scaffolder.backstage.io/v1beta3 for a Template.".into()
            }
            Self::Name { .. } => {
                "Use letters, digits, -, _ and ., 63 at most, a letter or digit at both ends.".into()
            }
            Self::Namespace { .. } => {
                "Use lower-case letters, digits and dashes, 63 at most, a letter or digit at both ends."
                    .into()
            }
            Self::Tag { .. } => {
                "Use lower-case letters, digits, +, # and :, words joined by single dashes, 63 at most."
                    .into()
            }
            Self::LabelKey { .. } => "Write it as name or as domain.example/name.".into(),
            Self::LabelValue { .. } => {
                "Use letters, digits, -, _ and ., 63 at most. Put numbers in quotes.".into()
            }
            Self::Tier { .. } => {
                "0 is customer critical, 1 important, 2 internal, 3 the rest. Put it in quotes.".into()
            }
            Self::Smoke { .. } => "Write a path such as /healthz, or with a port :8081/healthz.".into(),
            Self::Address { .. } => "Write the whole address, beginning with https://.".into(),
            Self::Reference { .. } => "Write name, kind:name or kind:namespace/name.".into(),
            Self::ReferenceNoKind { given, .. } => format!("Write component:{given} or resource:{given}."),
            Self::Duplicate { .. } => "Keep one of the two; the first one counts.".into(),
            Self::SameServiceName { .. } => "Give it a name that no other namespace uses.".into(),
            Self::Dangling { near: Some(near), .. } => format!("Did you mean {near}?"),
            Self::Dangling { near: None, .. } => "Add its description, or correct the name.".into(),
            Self::Unknown { near: Some(near), .. } => format!("Did you mean {near}?"),
            Self::Unknown { near: None, .. } => "Remove it, or check its name and its indentation.".into(),
            Self::Image { .. } => {
                "Write registry.example/team/name. Which tag runs is decided at every deploy.".into()
            }
            Self::Port => "Give the port the container listens on for HTTP.".into(),
            Self::ProbePath { .. } => "Write it like /readyz.".into(),
            Self::EnvName { .. } => "Use letters, digits, _, - and ., not a digit first.".into(),
            Self::EnvTwice { .. } => "Keep one of the two.".into(),
            Self::SecretName { .. } => {
                "Use lower-case letters, digits, - and ., as kubectl get secrets shows it.".into()
            }
            Self::SecretKey { .. } => "Use letters, digits, -, _ and ..".into(),
            Self::Quantity { .. } => {
                "Write it as in Kubernetes, in quotes where it is a bare number: 100m, \"1\", 64Mi.".into()
            }
            Self::LimitBelowRequest => {
                "Raise memoryLimit, or remove it: then the request is the limit.".into()
            }
            Self::Replicas { .. } => "Write how many pods there should be.".into(),
            Self::MinAndMax => "Give both for an autoscaler, or replicas for a fixed number.".into(),
            Self::MinOverMax { .. } => "Make min the smaller one; it is at least 1.".into(),
            Self::ReplicasAndAutoscaler => {
                "Keep replicas for a fixed number, or min and max for an autoscaler.".into()
            }
            Self::NoSuchEnvironment { known, .. } => format!("Environments here: {known}."),
            Self::ContainerName { .. } => {
                "Name a container of the workload, or remove the line: then it is the one that is deployed."
                    .into()
            }
            Self::Deadline { .. } => "Write it with its unit: 90s, 10m, 1h.".into(),
        }
    }
}

pub const STILL_LOADED: &str = "The catalogue is still being loaded. Try again in a moment.";
pub const JUST_IMPORTED: &str = "This service has just been imported, and what runs of it is still being looked up. Try again in a moment.";

/// What a tier means to people.
pub fn tier(tier: &str) -> String {
    match tier {
        "0" => "Tier 0, customer critical".into(),
        "1" => "Tier 1, important".into(),
        "2" => "Tier 2, internal".into(),
        "3" => "Tier 3, the rest".into(),
        _ => "No tier".into(),
    }
}

/// "40 services run by 4 teams. 2 are degraded."
pub fn lead(services: usize, teams: usize, degraded: usize) -> String {
    let count = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        _ => format!("{} {noun}s", thousands(count)),
    };
    let degraded = match degraded {
        0 => String::new(),
        1 => " One is degraded.".into(),
        some => format!(" {} are degraded.", thousands(some)),
    };
    format!("{} run by {}.{degraded}", count(services, "service"), count(teams, "team"))
}

/// "1 to 50 of 10 000".
pub fn range(start: usize, end: usize, all: usize) -> String {
    match all {
        0 => "Nothing".into(),
        _ => format!("{} to {} of {}", thousands(start + 1), thousands(end), thousands(all)),
    }
}

/// "3 problems in the catalogue’s files."
pub fn problems(count: u32) -> String {
    match count {
        1 => "1 problem in the catalogue’s files.".into(),
        _ => format!("{} problems in the catalogue’s files.", thousands(count as usize)),
    }
}

pub fn problems_lead(count: u32, shown: usize) -> String {
    match (count, count as usize > shown) {
        (0, _) => "The last import took in everything.".into(),
        (count, false) => format!("{} Everything else was imported.", problems(count)),
        (count, true) => format!("{} The first {shown} are shown.", problems(count)),
    }
}

/// Groups of three, joined by a narrow space that does not break.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) && digits.len() > 4 {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// A row of the feed: what stands before the link, the link, and what stands after it.
pub fn happened(entry: &Entry) -> (String, String, String) {
    let (by, what) = (&entry.by, entry.what());
    match &entry.state {
        State::Succeeded => match &entry.action {
            Action::Deploy(_) => (format!("{by} deployed "), what, took(entry)),
            Action::RollBack { .. } => (format!("{by} rolled back to "), what, took(entry)),
            Action::Restart { .. } => (format!("{by} "), "restarted".into(), " all pods".into()),
            Action::Scale { from, to, .. } => {
                (format!("{by} "), "scaled".into(), format!(" from {} to {}", from.words(), to.words()))
            }
            Action::Migrate(migration) => {
                let end = format!(" the database with {}{}", migration.version, took(entry));
                (format!("{by} "), "migrated".into(), end)
            }
        },
        State::AwaitingApproval { .. } => {
            let (have, needed) = (entry.approvals, entry.needed);
            (String::new(), what, format!(" asked for by {by}, {have} of {needed} approvals"))
        }
        State::Requested | State::Queued => (String::new(), what, format!(" asked for by {by}, queued")),
        State::Shifting { .. }
        | State::Applying { .. }
        | State::RollingOut { .. }
        | State::Verifying { .. }
        | State::RollingBack { .. } => {
            (String::new(), what, format!(" by {by}: {}", entry.action.badge(&entry.state).to_lowercase()))
        }
        State::Rejected { by: who, note } => (String::new(), what, format!(" rejected by {who}: {note}")),
        State::Cancelled { by: who } => (String::new(), what, format!(" withdrawn by {who}")),
        State::Expired => (String::new(), what, format!(" asked for by {by} expired")),
        State::Superseded { why } => (String::new(), what, format!(" became void: {why}")),
        State::Failed { why } => (String::new(), what, format!(" by {by} failed: {why}")),
        State::RolledBack { why, to } => {
            (String::new(), what, format!(" by {by} failed, and {} was put back: {why}", to.version))
        }
        State::RollbackFailed { why, to, failure } => {
            let end = format!(" by {by} failed: {why} {} could not be put back: {failure}", to.version);
            (String::new(), what, end)
        }
    }
}

/// What runs was not deployed through the portal.
pub fn drifted(environment: &str) -> String {
    format!("What runs in {environment} was not deployed through the portal.")
}

/// ", in 3 min"; nothing where it took no time worth telling.
fn took(entry: &Entry) -> String {
    let seconds = entry.ended.map_or(0, |ended| ended.duration_since(entry.requested).as_secs());
    match seconds {
        ..60 => String::new(),
        60..7_200 => format!(", in {}\u{a0}min", seconds / 60),
        _ => format!(", in {}\u{a0}h", seconds / 3_600),
    }
}

/// "3, one degraded", "2, all healthy".
pub fn dependencies(all: usize, degraded: usize, healthy: usize) -> String {
    match (all, degraded) {
        (0, _) => "none".into(),
        (all, 1) => format!("{all}, one degraded"),
        (all, 0) if all == healthy => format!("{all}, all healthy"),
        (all, 0) => all.to_string(),
        (all, some) => format!("{all}, {some} degraded"),
    }
}

/// How to say which of several Deployments is meant.
pub const WHICH_ONE: &str = "The portal changes none of them: say which one is meant with the annotation \
                             backstage.io/kubernetes-id, or a label selector that matches only one.";

/// The worst of its environments, for the title.
pub fn headline(health: Health, word: &str, environment: &str) -> String {
    match health {
        Health::Unknown if word != Health::Unknown.word() => format!("{word} in {environment}"),
        Health::Unknown => format!("{} not reporting", filters::team(environment)),
        Health::Missing => "Not deployed".into(),
        _ => format!("{} in {environment}", health.word()),
    }
}

/// What was known when its cluster was last heard of.
pub fn when_last_seen(health: Health, seen: Timestamp, now: Timestamp) -> String {
    let word = match health {
        Health::Progressing => "It was rolling out",
        Health::Missing => "Nothing ran here",
        Health::Unknown => "Not known",
        Health::Degraded | Health::Suspended | Health::Healthy => health.word(),
    };
    match filters::ago(seen, now).as_str() {
        "now" => format!("{word} when last seen, a moment ago."),
        ago => format!("{word} when last seen, {ago} ago."),
    }
}

pub fn pods(ready: i32, wanted: i32) -> String {
    match wanted {
        1 => format!("{ready} of 1 pod ready"),
        _ => format!("{ready} of {wanted} pods ready"),
    }
}

/// Why a person may not change a workload, and who can grant it.
pub fn may_not_change((verb, resource): (&str, &str), namespace: &str, who_grants: &str) -> String {
    format!(
        "You can’t change anything here: that needs the right to {verb} {resource} in {namespace}. {who_grants}"
    )
}

pub fn may_not_look(namespace: &str, who_grants: &str) -> String {
    format!(
        "You can’t see what runs here: that needs the right to get deployments in {namespace}. {who_grants}"
    )
}

pub fn waits_for_cluster(cluster: &str, seen: Option<Timestamp>) -> String {
    match seen {
        Some(seen) => format!(
            "Everything here waits for the cluster {cluster}, last heard of at {}.",
            filters::clock(seen)
        ),
        None => format!("Everything here waits for the cluster {cluster}, which has not answered yet."),
    }
}

/// "What you see of production is from then. Staging is live."
pub fn of_then(away: &[&str], live: &[&str]) -> String {
    let of_then = format!("What you see of {} is from then.", and(away));
    match live {
        [] => of_then,
        [one] => format!("{of_then} {} is live.", filters::team(one)),
        many => format!("{of_then} {} are live.", filters::team(&and(many))),
    }
}

/// An address without what every address has: "code.example/payments/checkout-api".
pub fn address(url: &str) -> String {
    let text = url.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    match text.char_indices().nth(48) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

pub fn host(url: &str) -> String {
    url::Url::parse(url).ok().and_then(|url| url.host_str().map(Into::into)).unwrap_or_default()
}

fn and(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).into(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_first_and_agree_with_their_nouns() {
        assert_eq!(lead(40, 4, 0), "40 services run by 4 teams.");
        assert_eq!(lead(1, 1, 1), "1 service run by 1 team. One is degraded.");
        assert_eq!(thousands(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(thousands(9_999), "9999");
    }
}
