//! What to do next while a new version proves itself beside what runs: the part of `step.rs` that blue-green and canary
//! add. Pure.

use jiff::{SignedDuration, Timestamp};

use super::deploy::{Deploy, Event, Stage};
use super::gates::Moved;
use super::step::{FATAL_STANDS, LOOK_AGAIN, Note, Step, moves};
use super::strategy::Strategy;
use super::wording;
use crate::config::Pause;
use crate::kube::diagnosis::Reason;
use crate::kube::rollout::Rollout;

/// What had all the traffic before stays at least as long: a switch back needs it warm.
const KEEP_WARM: SignedDuration = SignedDuration::from_secs(30);

/// Somebody's word wakes the engine at once; until then it only has to see what breaks.
const UNTIL_A_HAND: SignedDuration = SignedDuration::from_secs(5);

/// Where [`super::deploy::State::Shifting`] is.
pub struct Shift<'a> {
    pub since: Timestamp,
    pub step: usize,
    pub stage: &'a Stage,
    pub stopped_by: Option<&'a str>,
}

/// What one look found.
#[derive(Clone, Debug)]
pub struct SeenBeside {
    /// The workload does not run what was to be replaced any more.
    pub overtaken: bool,
    /// Of what stands beside it; of nothing, before that is written.
    pub status: Rollout,
    pub reason: Option<Reason>,
    /// Restarts since this stage began, a smoke request that failed, too many errors.
    pub trouble: Result<(), String>,
    /// The workload has more pods by now than what is to take its traffic.
    pub short: bool,
}

pub fn next_step(deploy: &Deploy, at: &Shift, seen: &SeenBeside, now: Timestamp) -> Step {
    let failed = |why: String| {
        let reason = seen.reason.as_ref().and_then(|reason| serde_json::to_value(reason).ok());
        Step::Record(Event::Failed { why, reason })
    };
    if let Some(by) = at.stopped_by {
        return Step::Record(Event::Failed { why: wording::stopped_beside(by), reason: None });
    }
    if seen.overtaken {
        return Step::Record(Event::Superseded { why: Moved::Running.sentence() });
    }
    if matches!(at.stage, Stage::Sizing) {
        return Step::Write;
    }
    match &seen.status {
        Rollout::Gone => return failed(wording::BESIDE_IS_GONE.into()),
        Rollout::Superseded { by } => return failed(wording::beside_was_changed(by)),
        Rollout::Failed(why) => {
            return failed(seen.reason.as_ref().map_or(why.clone(), |reason| reason.sentence.clone()));
        }
        Rollout::Waiting(_) | Rollout::Done | Rollout::Paused => {}
    }
    match at.stage {
        Stage::Sizing => Step::Write,
        Stage::Starting { .. } => starting(deploy, at, seen, &failed, now),
        Stage::Holding { until, .. } => match &seen.trouble {
            Err(why) => failed(why.clone()),
            Ok(()) => holding(deploy, at, seen, *until, now),
        },
        Stage::Switched { until, .. } => match &seen.trouble {
            Err(why) => failed(why.clone()),
            Ok(()) if now >= *until && seen.status == Rollout::Done => Step::Record(Event::Promoted),
            Ok(()) => {
                Step::Wait { until: soon(*until, now), note: Note::says(wording::WATCHED_WITH_ALL_TRAFFIC) }
            }
        },
    }
}

fn starting(
    deploy: &Deploy,
    at: &Shift,
    seen: &SeenBeside,
    failed: &impl Fn(String) -> Step,
    now: Timestamp,
) -> Step {
    let told = |fallback: String| seen.reason.as_ref().map_or(fallback, |reason| reason.sentence.clone());
    match &seen.status {
        Rollout::Done => match &seen.trouble {
            Err(why) => failed(why.clone()),
            Ok(()) => Step::Record(Event::BesideReady { until: pause(deploy, at.step, now) }),
        },
        _ if now >= at.since + deploy.policy.deadline() => {
            failed(told(format!("Not ready within {} min.", deploy.policy.deadline_seconds / 60)))
        }
        Rollout::Waiting(progress) => {
            match seen.reason.as_ref().filter(|reason| reason.fatal && now >= at.since + FATAL_STANDS) {
                Some(reason) => failed(reason.sentence.clone()),
                None => moves(progress, seen.reason.as_ref(), now),
            }
        }
        Rollout::Paused | Rollout::Failed(_) | Rollout::Gone | Rollout::Superseded { .. } => {
            Step::Wait { until: now + LOOK_AGAIN, note: Note::default() }
        }
    }
}

/// Until when a step is watched once it is ready. None: until somebody says to go on.
fn pause(deploy: &Deploy, step: usize, now: Timestamp) -> Option<Timestamp> {
    let strategy = &deploy.action.change()?.strategy;
    match strategy.pause(step)? {
        Pause::For(time) => Some(now + time),
        Pause::Hand => None,
    }
}

fn holding(deploy: &Deploy, at: &Shift, seen: &SeenBeside, until: Option<Timestamp>, now: Timestamp) -> Step {
    let Some(until) = until else {
        return Step::Wait { until: now + UNTIL_A_HAND, note: Note::says(wording::WAITS_FOR_A_HAND) };
    };
    if now < until || seen.status != Rollout::Done {
        return Step::Wait { until: soon(until, now), note: Note::says(wording::WATCHED_BESIDE) };
    }
    match deploy.action.change().map(|change| &change.strategy) {
        Some(Strategy::BlueGreen { .. }) if seen.short => Step::Record(Event::StepTaken { step: at.step }),
        Some(Strategy::BlueGreen { .. }) => Step::Write,
        Some(Strategy::Canary { steps, .. }) if at.step + 1 < steps.len() => {
            Step::Record(Event::StepTaken { step: at.step + 1 })
        }
        Some(Strategy::Canary { .. } | Strategy::Rolling) | None => Step::Record(Event::Promoted),
    }
}

/// How long all the traffic is watched on the new version before what ran is replaced.
pub fn watched_until(deploy: &Deploy, now: Timestamp) -> Timestamp {
    now + deploy.policy.soak().max(KEEP_WARM)
}

fn soon(until: Timestamp, now: Timestamp) -> Timestamp {
    (now + LOOK_AGAIN).min(until.max(now + SignedDuration::from_millis(200)))
}
