//! Every sentence of the logs pages.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::asked::Asked;
use super::load::Loaded;
use crate::kube::Named;
use crate::kube::logs::Marker;

/// A pod as people tell it from others: the last letters of its ReplicaSet and its own five.
pub fn short(pod: &str) -> &str {
    let start = pod.len().saturating_sub(10);
    pod.get(start..).unwrap_or(pod).trim_start_matches('-')
}

/// Status and sentence of what stands between the lines.
pub fn marker(marker: &Marker) -> (&'static str, String) {
    match marker {
        Marker::Started { pod, image } => ("prog", format!("{} starts, {}", short(pod), version(image))),
        Marker::Restarted { pod, container, why } => {
            let why = why.as_ref().map(|(at, why)| format!(": {why}, {}", time(*at))).unwrap_or_default();
            ("bad", format!("{} restarted ({container}){why}", short(pod)))
        }
        Marker::Gone { pod } => ("idle", format!("{} is gone", short(pod))),
        Marker::Skipped { pod, lines, .. } => (
            "warn",
            format!(
                "{} of {} skipped: they came faster than this view could take",
                lines_of(*lines),
                short(pod)
            ),
        ),
        Marker::Missing { pod, .. } => {
            ("warn", format!("Lines of {} may be missing here: its node has removed them", short(pod)))
        }
        Marker::TooMany { shown } => {
            ("warn", format!("Only {shown} containers are followed at once: choose pods to see the others"))
        }
        Marker::ClusterAway => ("warn", "The cluster does not answer. Lines follow when it does".into()),
        Marker::ClusterBack => ("ok", "The cluster answers again".into()),
    }
}

pub fn lines_of(count: u64) -> String {
    if count == 1 { "1 line".into() } else { format!("{} lines", grouped(count)) }
}

/// `24 100`, with no-break spaces.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

/// `24.1k` for a chip.
pub fn rough(count: usize) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..100_000 => format!("{:.1}k", count as f64 / 1_000.0).replace(".0k", "k"),
        _ => format!("{}k", count / 1_000),
    }
}

/// The tag of an image, else the start of its digest.
pub fn version(image: &str) -> String {
    let (name, digest) = image.split_once('@').unwrap_or((image, ""));
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => tag.into(),
        None if digest.is_empty() => "latest".into(),
        None => crate::web::filters::short_digest(digest),
    }
}

/// `14:10:01`, UTC.
pub fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string()
}

/// `14:10:01.204`, UTC.
pub fn precise(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%H:%M:%S%.3f").to_string()
}

pub fn may_not_read(service: &str, environment: &str, namespace: &str, team: &str) -> String {
    format!(
        "You can’t read the logs of {service} in {environment}: it needs “get pods/log” in the namespace {namespace}. \
         The team {team} or the platform team can grant it."
    )
}

pub fn cluster_away(cluster: &str) -> String {
    format!("The cluster {cluster} does not answer, so its logs can’t be read. Try again in a moment.")
}

/// Title and sentence where no workload is.
pub fn nothing(service: &str, environment: &str, namespace: &str) -> (String, String) {
    (
        format!("Nothing runs in {environment}"),
        format!("There is no workload of {service} in the namespace {namespace}, so there are no logs."),
    )
}

/// Title and sentence where several workloads could be the service.
pub fn ambiguous(service: &str, many: &[Named]) -> (String, String) {
    let (count, names) = Named::told(many);
    (
        format!("{count} could be {service}"),
        format!(
            "These match: {names}. Give the right one the label backstage.io/kubernetes-id, or the catalogue entry a selector."
        ),
    )
}

/// Status and words of the bar above the lines.
pub fn state(asked: &Asked, loaded: &Loaded) -> (&'static str, String) {
    let range = asked.since.words().replace("Last", "the last");
    if asked.at.is_some() {
        return ("hold", "Not following: this link names a line".into());
    }
    if asked.previous {
        let some = if loaded.rows.is_empty() {
            "No container has restarted"
        } else {
            "What containers said before they restarted"
        };
        return ("idle", some.into());
    }
    if loaded.rows.is_empty() {
        return ("idle", format!("No line in {range}. New ones appear here"));
    }
    match loaded.more {
        true => ("idle", format!("The newest lines of {range}. All of them are in the download")),
        false => ("idle", format!("All lines of {range}")),
    }
}

pub const ODD_PLACE: &str =
    "This address names a place in a log that can’t be read. Open the page without it.";
pub const ODD_QUERY: &str =
    "This address asks for logs in a way the portal does not know. Open the page without it.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_and_versions_are_told_short() {
        assert_eq!(short("checkout-api-6d4f8b9c7d-x2x9z"), "9c7d-x2x9z");
        assert_eq!(short("ledger-0"), "ledger-0");
        assert_eq!(version("127.0.0.1:5000/payments/checkout-api:v1.1.0"), "v1.1.0");
        assert_eq!(version(&format!("a/b@sha256:{}", "ab".repeat(32))), "sha256:abababab…abab");
    }

    #[test]
    fn counts_stay_readable() {
        assert_eq!([rough(14), rough(3_000), rough(24_130), rough(123_456)], ["14", "3k", "24.1k", "123k"]);
        assert_eq!(lines_of(1), "1 line");
        assert_eq!(lines_of(24_100), "24\u{a0}100 lines");
    }

    #[test]
    fn a_skip_says_how_many() {
        let skipped = Marker::Skipped { pod: "a-b".into(), container: "app".into(), lines: 312 };
        assert_eq!(
            marker(&skipped).1,
            "312 lines of a-b skipped: they came faster than this view could take"
        );
    }
}
