//! The ways in which a new version takes over, and what is watched meanwhile.

use crate::config::{CanaryStep, Pause, Strategy as Kind};
use crate::deploy::deploy::Deploy;
use crate::deploy::state::State;
use crate::deploy::strategy::{Beside, Strategy};
use crate::kube::ownership::GitOps;

/// What came instead of an answer to the smoke request.
pub fn smoke_failed(path: &str, pod: &str, what: &str) -> String {
    format!("The smoke request to {path} of pod {pod} failed: {}.", what.trim_end_matches('.'))
}

pub fn too_many_errors(ratio: f64, at_most: f64) -> String {
    format!(
        "{} of the requests to the new pods failed, by Prometheus; at most {} may.",
        percent(ratio),
        percent(at_most)
    )
}

pub fn within_errors(ratio: f64, at_most: f64) -> String {
    format!("{} of the requests to the new pods fail, at most {} may.", percent(ratio), percent(at_most))
}

pub const NO_NEW_PODS: &str = "no new pod runs";
pub const ERRORS_ARE_WATCHED: &str = "Prometheus watches its requests";
pub const ERRORS_ARE_NOT_KNOWN: &str = "Nobody can say whether its requests fail";

pub fn errors_limit(at_most: f64) -> String {
    format!("It ends as failed when more than {} of the requests to the new pods fail.", percent(at_most))
}

pub fn not_measured(kind: Kind, why: &str) -> String {
    let then = match kind {
        Kind::Canary => "Until that is mended, the canary waits for somebody to go on.",
        Kind::BlueGreen => "Until that is mended, green goes on without being measured.",
        Kind::Rolling => "Until that is mended, it goes on without being measured.",
    };
    format!("{why}. {then}")
}

pub fn unmeasured(why: &str) -> String {
    format!("Nobody can say how many requests to the new pods fail ({why}): it waits for somebody to go on")
}

/// Of a share, to a tenth.
fn percent(share: f64) -> String {
    let tenths = (share * 1000.0).round() / 10.0;
    if tenths == 0.0 && share > 0.0 { "less than 0.1 %".into() } else { format!("{tenths} %") }
}

/// A Deployment that has the name of what would stand beside, and is somebody's.
pub fn name_is_taken(name: &str) -> String {
    format!("There is a Deployment {name} already, and it is not one that the portal put beside another.")
}

pub const BESIDE_IS_GONE: &str = "The Deployment with the new version was deleted meanwhile.";
pub const WAITS_FOR_A_HAND: &str =
    "The new version is ready beside what runs. It waits for somebody to go on.";
pub const WATCHED_BESIDE: &str = "The new version is ready beside what runs, and watched.";
pub const WAITS_FOR_MEASURES: &str =
    "The pause is over, but nobody can say yet how many requests to the new pods fail.";
pub const WATCHED_FOR_TROUBLE: &str = "All pods are ready, and watched.";
pub const WATCHED_WITH_ALL_TRAFFIC: &str = "All traffic goes to the new version. What ran before stands by.";

pub fn beside_was_changed(by: &str) -> String {
    format!("{by} changed the Deployment with the new version meanwhile.")
}

/// Why one of the ways to take over is refused: the title of a check.
pub fn not_this_way(kind: Kind) -> String {
    match kind {
        Kind::Rolling => "It can’t roll here".into(),
        Kind::BlueGreen => "Blue-green can’t be done here".into(),
        Kind::Canary => "A canary can’t be done here".into(),
    }
}

pub const PICK_ROLLING: &str = "Rolling works all the same: pick it, or ask the team that keeps this.";

/// A Service, or the autoscaler, that a repository has.
pub fn kept_by(gitops: &GitOps) -> String {
    let place = gitops.source.as_ref().map(|source| format!(" ({source})")).unwrap_or_default();
    format!("{}{place} keeps what leads the traffic, and would lead it back at once.", gitops.tool)
}

pub fn autoscaler_is_owned(kind: &str, name: &str) -> String {
    format!("The autoscaler belongs to the {kind} {name}, which would lead it back at once.")
}

/// `before` is empty where no such Deployment is there yet.
pub fn would_stand_beside(beside: &Beside, before: &str) -> String {
    match before.is_empty() {
        true => format!("{} would stand beside it", beside.name),
        false => format!("{} stands beside it already, and is taken over", beside.name),
    }
}

/// "1 pod of 10 for 5m (10 %), then 4 of 13 until somebody goes on (31 %)"
pub fn steps(strategy: &Strategy, running: i32) -> String {
    let wait = |pause: Pause| match pause {
        Pause::Hand => "until somebody goes on".to_string(),
        Pause::For(_) => format!("for {pause}"),
    };
    match strategy {
        Strategy::Rolling => String::new(),
        Strategy::BlueGreen { pause, .. } => {
            let pods = strategy.pods(0, running);
            let held = match pause {
                Pause::For(time) if time.is_zero() => "the traffic is switched once all are ready".into(),
                pause => format!("the traffic is switched once all were ready {}", wait(*pause)),
            };
            let noun = if pods == 1 { "pod" } else { "pods" };
            format!("{pods} {noun} of the new version, {held}")
        }
        Strategy::Canary { steps, .. } => {
            let step = |(number, step): (usize, &CanaryStep)| {
                let pods = strategy.pods(number, running);
                let all = pods + running;
                let share = (pods * 100 + all / 2) / all.max(1);
                format!("{pods} of {all} pods {} ({share} %)", wait(step.pause))
            };
            steps.iter().enumerate().map(step).collect::<Vec<_>>().join(", then ")
        }
    }
}

/// Of a deploy that failed while it was tried beside what runs.
pub fn never_replaced(deploy: &Deploy) -> String {
    let version = deploy.action.change().map_or("", |change| &change.replaces_version);
    format!("{version} was not replaced and has all the traffic.")
}

/// Its step on the page.
pub fn step_beside(deploy: &Deploy) -> &'static str {
    match deploy.action.change().map(|change| &change.strategy) {
        Some(Strategy::BlueGreen { .. }) => "Green",
        Some(Strategy::Canary { .. } | Strategy::Rolling) | None => "Canary",
    }
}

/// "step 1 of 2, 33 % of the traffic"
pub fn how_far_beside(deploy: &Deploy, beside: &Beside) -> String {
    let State::Shifting { step, .. } = &deploy.state else { return String::new() };
    let share = match deploy.progress.as_ref().and_then(|progress| progress.share) {
        Some(share) if beside.services.is_empty() => format!("{share} % of the pods"),
        Some(share) => format!("{share} % of the traffic"),
        None => "no traffic yet".into(),
    };
    match deploy.action.change().map(|change| &change.strategy) {
        Some(Strategy::Canary { steps, .. }) => format!("step {} of {}, {share}", step + 1, steps.len()),
        Some(Strategy::BlueGreen { .. } | Strategy::Rolling) | None => share,
    }
}

/// What people call the two sides: of what ran, and of what is new.
pub fn track_names(strategy: &Strategy) -> (&'static str, &'static str) {
    match strategy {
        Strategy::BlueGreen { .. } => ("Blue", "Green"),
        Strategy::Canary { .. } | Strategy::Rolling => ("Stable", "Canary"),
    }
}

/// What the two sides get of the traffic, where that is known.
pub fn shares(state: &State, new: Option<u8>) -> [String; 2] {
    match (state.is_end(), new) {
        (false, Some(new)) => [100 - new.min(100), new].map(|share| format!("{share} % of the traffic")),
        _ => [String::new(), String::new()],
    }
}

/// What came in place of one of the ways.
pub fn no_such_way(odd: &str) -> String {
    let ways = Kind::ALL.map(Kind::name).join(", ");
    format!("“{odd}” is no way to take over. Pick one of: {ways}.")
}

/// One of the ways, on a tile of the form: name and what it does.
pub fn way(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Rolling => ("Rolling", "pod by pod"),
        Kind::BlueGreen => ("Blue-green", "all beside, then switch"),
        Kind::Canary => ("Canary", "a growing share"),
    }
}
