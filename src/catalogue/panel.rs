//! The panel of an environment on a service's page: what runs, is it well, who put it there, what you may do.

use jiff::Timestamp;

use super::activity::Entry;
use super::wording;
use crate::kube::{EnvironmentStatus, Health, Target, Workload, WorkloadKind};
use crate::web::filters;

/// Bars of the row of pods; more would be too thin to see.
const MOST_BARS: usize = 60;

#[derive(Debug)]
pub struct Panel {
    pub name: String,
    pub production: bool,
    pub health: Health,
    pub class: &'static str,
    pub word: &'static str,
    pub version: String,
    pub digest: String,
    pub pods: String,
    pub segments: Vec<&'static str>,
    /// The one sentence, and where its evidence is.
    pub why: String,
    pub evidence: String,
    /// Who deployed what runs, and when.
    pub by: Option<(String, Timestamp)>,
    /// Why the locked actions are locked.
    pub refused: String,
    /// Where the missing right can be asked for; empty where it can't.
    pub ask: String,
    pub acts: Vec<Act>,
    pub stale: bool,
}

#[derive(Debug, PartialEq)]
pub struct Act {
    pub text: &'static str,
    pub href: String,
    pub locked: bool,
}

/// What the person may do in the namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum May {
    /// Not even look; the sentence says what is missing and who can grant it.
    Nothing(String),
    Look(String),
    Change,
}

/// Draws one. `migrates`: the service declares a migration. `landed`: the deploy that put it there, if the portal did.
pub fn panel(
    target: &Target,
    production: bool,
    migrates: bool,
    status: &EnvironmentStatus,
    may: May,
    landed: Option<&Entry>,
    now: Timestamp,
) -> Panel {
    if let May::Nothing(refused) = may {
        return closed(target, production, refused);
    }
    let stale = status.stale;
    let kind = match &status.workload {
        Workload::One(named) => Some(named.kind),
        Workload::None | Workload::Many(_) => None,
    };
    let runs = kind.is_some();
    let many = matches!(status.workload, Workload::Many(_));
    let health = if stale { Health::Unknown } else { status.health };
    let base = format!("/services/{}/{}", target.service, target.environment);
    let logs = format!("/services/{}/logs?env={}", target.service, target.environment);
    let pods = match (runs, status.seen.filter(|_| stale)) {
        (false, _) => String::new(),
        (true, None) => wording::pods(status.ready, status.wanted),
        (true, Some(seen)) => format!("{} of {} at {}", status.ready, status.wanted, filters::clock(seen)),
    };
    let refused = match may {
        May::Look(why) if !stale => why,
        _ if many => wording::WHICH_ONE.into(),
        _ if stale => wording::waits_for_cluster(&target.cluster, status.seen),
        _ => String::new(),
    };
    let locked = !refused.is_empty();
    Panel {
        name: target.environment.clone(),
        production,
        health,
        class: health.class(),
        word: if many { "More than one" } else { health.word() },
        version: status.version.clone(),
        digest: digest(&status.image),
        pods,
        segments: segments(status),
        why: match status.seen.filter(|_| stale) {
            Some(seen) => wording::when_last_seen(status.health, seen, now),
            None => status.reason.clone(),
        },
        evidence: if health == Health::Degraded { logs.clone() } else { String::new() },
        by: landed
            .filter(|entry| runs && entry.what() == status.version)
            .map(|entry| (entry.by.clone(), entry.ended.unwrap_or(entry.requested))),
        refused,
        ask: String::new(),
        acts: acts(&base, logs, kind, migrates, locked),
        stale,
    }
}

/// Nothing that the person may see.
fn closed(target: &Target, production: bool, refused: String) -> Panel {
    Panel {
        name: target.environment.clone(),
        production,
        health: Health::Missing,
        class: "idle",
        word: "Not yours to see",
        version: String::new(),
        digest: String::new(),
        pods: String::new(),
        segments: Vec::new(),
        why: String::new(),
        evidence: String::new(),
        by: None,
        refused,
        ask: String::new(),
        acts: Vec::new(),
        stale: false,
    }
}

/// The form that asks for a right, filled in with this place.
pub fn ask_for_access(target: &Target) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("service", &target.service).append_pair("environment", &target.environment);
    format!("/access/new?{}", query.finish())
}

/// Where nothing runs there is nothing to scale, restart, roll back or read. Nodes say how large a DaemonSet is.
fn acts(base: &str, logs: String, runs: Option<WorkloadKind>, migrates: bool, locked: bool) -> Vec<Act> {
    let act = |text, verb: &str| Act { text, href: format!("{base}/{verb}"), locked };
    let mut acts = vec![act("Deploy…", "deploy")];
    if let Some(kind) = runs {
        acts.extend((kind != WorkloadKind::DaemonSet).then(|| act("Scale…", "scale")));
        acts.extend([act("Restart", "restart"), act("Roll back…", "rollback")]);
        acts.extend(migrates.then(|| act("Migrate…", "migrate")));
        acts.push(Act { text: "Logs", href: logs, locked: false });
    }
    acts
}

/// A bar for each pod there should be; those of the newest version count first.
fn segments(status: &EnvironmentStatus) -> Vec<&'static str> {
    let wanted = usize::try_from(status.wanted).unwrap_or_default();
    let all = wanted.max(status.pods.len());
    if status.stale {
        return vec!["idle"; all.min(MOST_BARS)];
    }
    let mut bars: Vec<&'static str> = status
        .pods
        .iter()
        .map(|pod| match pod.class.as_str() {
            "ok" => "ok",
            "prog" => "prog",
            "warn" => "warn",
            "bad" => "bad",
            _ => "idle",
        })
        .collect();
    bars.resize(all, "idle");
    let rank = |bar: &&str| ["ok", "prog", "warn", "bad", "idle"].iter().position(|name| name == bar);
    bars.sort_by_key(rank);
    match bars.len() {
        0..=MOST_BARS => bars,
        // Every n-th, so that the shares stay.
        many => (0..MOST_BARS).map(|n| bars[n * many / MOST_BARS]).collect(),
    }
}

/// The first eight digits of an image's digest; empty for one named by its tag alone.
fn digest(image: &str) -> String {
    let hex = image.split_once("@sha256:").map_or("", |(_, hex)| hex);
    hex.chars().take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::{Named, PodState, Selector};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn target() -> Target {
        let [service, team, environment, cluster, namespace] =
            ["checkout-api", "payments", "production", "eu", "payments-production"].map(String::from);
        Target {
            service,
            team,
            environment,
            cluster,
            namespace,
            selector: Selector::Name("checkout-api".into()),
        }
    }

    fn pod(class: &str) -> PodState {
        let [uid, name, node, image, words] = ["u", "p", "n", "i", "w"].map(String::from);
        let (class, ready) = (class.to_string(), class == "ok");
        PodState { uid, name, node, new: true, image, class, words, ready, restarts: 0, started: None }
    }

    fn named(name: &str) -> Named {
        Named { kind: WorkloadKind::Deployment, name: name.into() }
    }

    fn healthy() -> EnvironmentStatus {
        EnvironmentStatus {
            workload: Workload::One(named("checkout-api")),
            health: Health::Healthy,
            reason: "All pods ready, no restart for 6 d.".into(),
            version: "v1.0.0".into(),
            image: format!("registry.example/checkout-api@sha256:9c41e7d0{}", "0".repeat(56)),
            ready: 2,
            wanted: 2,
            pods: vec![pod("ok"), pod("ok")],
            seen: Some(at("2026-11-23T13:48:00Z")),
            stale: false,
        }
    }

    fn drawn(status: &EnvironmentStatus, may: May) -> Panel {
        panel(&target(), true, false, status, may, None, at("2026-11-23T14:06:00Z"))
    }

    #[test]
    fn a_healthy_one_says_so_and_offers_everything() {
        let panel = drawn(&healthy(), May::Change);
        assert_eq!(
            (panel.class, panel.pods.as_str(), panel.digest.as_str()),
            ("ok", "2 of 2 pods ready", "9c41e7d0")
        );
        assert_eq!(panel.segments, ["ok", "ok"]);
        let open: Vec<_> = panel.acts.iter().filter(|act| !act.locked).map(|act| act.text).collect();
        assert_eq!(open, ["Deploy…", "Scale…", "Restart", "Roll back…", "Logs"]);
        assert_eq!(panel.acts[3].href, "/services/checkout-api/production/rollback");
    }

    #[test]
    fn a_daemon_set_is_not_offered_another_size() {
        let agent = Named { kind: WorkloadKind::DaemonSet, name: "agent".into() };
        let panel = drawn(&EnvironmentStatus { workload: Workload::One(agent), ..healthy() }, May::Change);
        let acts: Vec<_> = panel.acts.iter().map(|act| act.text).collect();
        assert_eq!(acts, ["Deploy…", "Restart", "Roll back…", "Logs"]);
    }

    #[test]
    fn what_is_refused_stays_and_says_why() {
        let panel = drawn(&healthy(), May::Look("You can’t.".into()));
        assert_eq!(panel.refused, "You can’t.");
        assert!(panel.acts.iter().all(|act| act.locked == (act.text != "Logs")));
    }

    #[test]
    fn an_environment_that_is_not_yours_shows_nothing_of_itself() {
        let panel = drawn(&healthy(), May::Nothing("You can’t look.".into()));
        let shown = format!("{panel:?}");
        assert!(!shown.contains("v1.0.0") && !shown.contains("9c41") && panel.acts.is_empty(), "{shown}");
    }

    #[test]
    fn a_cluster_that_is_away_shows_its_last_state_with_its_age() {
        let panel = drawn(&EnvironmentStatus { stale: true, ..healthy() }, May::Change);
        assert_eq!((panel.class, panel.word), ("idle", "Not reporting"));
        assert_eq!(panel.pods, "2 of 2 at 13:48");
        assert_eq!(panel.why, "Healthy when last seen, 18\u{a0}min ago.");
        assert_eq!(panel.segments, ["idle", "idle"]);
        assert!(panel.acts.iter().filter(|act| act.text != "Logs").all(|act| act.locked));
    }

    #[test]
    fn several_matches_are_said_and_nothing_is_guessed() {
        let names = vec![named("pricing"), named("pricing-batch")];
        let reason = "2 Deployments match: pricing and pricing-batch.".to_string();
        let many = EnvironmentStatus {
            workload: Workload::Many(names),
            health: Health::Unknown,
            reason: reason.clone(),
            pods: Vec::new(),
            wanted: 0,
            ..healthy()
        };
        let panel = drawn(&many, May::Change);
        assert_eq!(panel.why, reason);
        assert_eq!((panel.word, panel.refused.as_str()), ("More than one", wording::WHICH_ONE));
        assert_eq!(panel.acts.iter().map(|act| act.locked).collect::<Vec<_>>(), [true]);
    }

    #[test]
    fn bars_stay_in_proportion() {
        let pods = (0..200).map(|n| pod(if n < 150 { "ok" } else { "bad" })).collect();
        let bars = drawn(&EnvironmentStatus { pods, wanted: 200, ..healthy() }, May::Change).segments;
        assert_eq!((bars.len(), bars.iter().filter(|bar| **bar == "ok").count()), (60, 45));
    }
}
