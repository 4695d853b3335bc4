//! What to do next while a new version proves itself beside what runs: the part of `step.rs` that blue-green and canary
//! add. Pure.

use jiff::{SignedDuration, Timestamp};

use super::deploy::Deploy;
use super::errors::Errors;
use super::gates::Moved;
use super::state::{Event, Stage};
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

/// After the pause, for the first measures: Prometheus asks the pods only now and then.
const UNTIL_MEASURED: SignedDuration = SignedDuration::from_mins(1);

/// Where [`super::state::State::Shifting`] is.
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
    /// Restarts since this stage began, or a smoke request that failed.
    pub trouble: Result<(), String>,
    /// While it has traffic and is watched.
    pub errors: Errors,
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
    if let Err(why) = seen.errors.trouble() {
        return failed(why);
    }
    match at.stage {
        Stage::Sizing => Step::Write,
        Stage::Starting { .. } => starting(deploy, at, seen, &failed, now),
        Stage::Holding { until, by_hand, .. } => match &seen.trouble {
            Err(why) => failed(why.clone()),
            Ok(()) => holding(deploy, at, seen, *until, *by_hand, now),
        },
        Stage::Switched { until, .. } => match &seen.trouble {
            Err(why) => failed(why.clone()),
            Ok(()) if now >= *until && seen.status == Rollout::Done => Step::Record(Event::Promoted),
            Ok(()) => Step::Wait {
                until: soon(*until, now),
                note: watched(wording::WATCHED_WITH_ALL_TRAFFIC, &seen.errors),
            },
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

fn holding(
    deploy: &Deploy,
    at: &Shift,
    seen: &SeenBeside,
    until: Option<Timestamp>,
    by_hand: bool,
    now: Timestamp,
) -> Step {
    let Some(until) = until else {
        let note = watched(wording::WAITS_FOR_A_HAND, &seen.errors);
        return Step::Wait { until: now + UNTIL_A_HAND, note };
    };
    if now < until || seen.status != Rollout::Done {
        return Step::Wait { until: soon(until, now), note: watched(wording::WATCHED_BESIDE, &seen.errors) };
    }
    match &seen.errors {
        Errors::Unknown(why) if !by_hand && now >= until + UNTIL_MEASURED => {
            return Step::Record(Event::Unmeasured { why: why.clone() });
        }
        Errors::Unknown(_) if !by_hand => {
            let note = Note::says(wording::WAITS_FOR_MEASURES);
            return Step::Wait { until: now + LOOK_AGAIN, note };
        }
        Errors::NoLimit | Errors::Within { .. } | Errors::TooMany { .. } | Errors::Unknown(_) => {}
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

/// What is told while nothing is to be done, with how the requests go.
fn watched(sentence: &str, errors: &Errors) -> Note {
    match errors {
        Errors::Within { ratio, at_most } => {
            Note::says(format!("{sentence} {}", wording::within_errors(*ratio, *at_most)))
        }
        Errors::NoLimit | Errors::TooMany { .. } | Errors::Unknown(_) => Note::says(sentence),
    }
}

/// How long all the traffic is watched on the new version before what ran is replaced.
pub fn watched_until(deploy: &Deploy, now: Timestamp) -> Timestamp {
    now + deploy.policy.soak().max(KEEP_WARM)
}

fn soon(until: Timestamp, now: Timestamp) -> Timestamp {
    (now + LOOK_AGAIN).min(until.max(now + SignedDuration::from_millis(200)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::samples;
    use crate::deploy::state::{State, Written, apply};
    use crate::deploy::step::next_step;
    use crate::deploy::step::tests::{at, beside, blue_green, canary, carry_out, step, verifying, well};
    use crate::deploy::step::{Seen, leaves_beside};

    /// What was recorded or written, until the deploy is no longer tried beside what runs.
    fn walk(mut deploy: Deploy, seen: &SeenBeside) -> (Deploy, Vec<String>) {
        let mut now = at("2026-11-23T14:00:00Z");
        let mut happened = Vec::new();
        deploy.state = apply(&State::Queued, &Event::ShiftBegan, "", now).unwrap();
        while matches!(deploy.state, State::Shifting { .. }) && happened.len() < 20 {
            now += SignedDuration::from_secs(1);
            let step = next_step(&deploy, &Seen::Beside(Box::new(seen.clone())), now);
            if deploy.waits_for_a_hand() && matches!(step, Step::Wait { .. }) {
                deploy.state = apply(&deploy.state, &Event::WentOn, "Maya", now).unwrap();
                happened.push("hand".into());
                continue;
            }
            let before = deploy.state.clone();
            carry_out(&mut deploy, step.clone(), 2, now).unwrap();
            if deploy.state != before {
                happened.push(match step {
                    Step::Write => "write".into(),
                    Step::TakeAway { .. } => "take away".into(),
                    Step::Record(event) => {
                        serde_json::to_value(event).unwrap()["event"].as_str().unwrap().into()
                    }
                    Step::Wait { .. } => "wait".into(),
                });
            }
        }
        (deploy, happened)
    }

    #[test]
    fn a_canary_grows_step_by_step_and_only_then_is_the_workload_touched() {
        let (deploy, happened) = walk(beside(canary()), &well());
        let wanted = ["write", "beside_ready", "step_taken", "write", "beside_ready", "hand", "promoted"];
        assert_eq!(happened, wanted);
        assert!(matches!(deploy.state, State::Applying { .. }));
        let done = Deploy { state: verifying().state, ..deploy.clone() };
        let rolled_out = Deploy {
            state: State::RollingOut {
                since: at("2026-11-23T14:00:00Z"),
                written: Written { generation: 3, marked: true },
                stopped_by: None,
            },
            ..done
        };
        let still =
            Seen::Rollout { status: Rollout::Done, reason: None, trouble: Ok(()), back: None, beside: true };
        assert!(
            matches!(step(&rolled_out, &still), Step::TakeAway { then: Event::RolledOut { .. } }),
            "the canary goes once the workload has the version"
        );
    }

    #[test]
    fn green_gets_the_traffic_is_watched_and_then_the_workload_gets_the_version() {
        let (_, happened) = walk(beside(blue_green()), &well());
        assert_eq!(happened, ["write", "beside_ready", "write", "promoted"]);
        let (_, grown) = walk(beside(blue_green()), &SeenBeside { short: true, ..well() });
        assert_eq!(
            grown[..5],
            ["write", "beside_ready", "step_taken", "write", "beside_ready"],
            "as large first"
        );
    }

    #[test]
    fn what_cannot_be_measured_is_left_to_a_person() {
        let unknown = SeenBeside { errors: Errors::Unknown("the query finds nothing".into()), ..well() };
        let (deploy, happened) = walk(beside(canary()), &unknown);
        let asked_each_time =
            ["beside_ready", "unmeasured", "hand", "step_taken", "write", "beside_ready", "hand"];
        assert_eq!(happened[1..8], asked_each_time, "{happened:?}");
        assert!(matches!(deploy.state, State::Applying { .. }));

        let began = at("2026-11-23T14:00:00Z");
        let written = Written { generation: 1, marked: true };
        let stage = Stage::Holding { written, until: Some(began), by_hand: false };
        let held = State::Shifting { since: began, step: 0, stage, stopped_by: None };
        let held = Deploy { state: held, ..beside(canary()) };
        let seconds = |later| {
            next_step(
                &held,
                &Seen::Beside(Box::new(unknown.clone())),
                began + SignedDuration::from_secs(later),
            )
        };
        assert!(
            matches!(seconds(59), Step::Wait { note, .. } if note.sentence == wording::WAITS_FOR_MEASURES)
        );
        assert!(matches!(seconds(60), Step::Record(Event::Unmeasured { .. })));

        let few = SeenBeside { errors: Errors::Within { ratio: 0.002, at_most: 0.01 }, ..well() };
        let looked = next_step(&held, &Seen::Beside(Box::new(few)), began - SignedDuration::from_secs(1));
        let told = "0.2 % of the requests to the new pods fail, at most 1 % may.";
        assert!(matches!(looked, Step::Wait { note, .. } if note.sentence.ends_with(told)));
    }

    #[test]
    fn what_fails_beside_is_taken_away_and_nothing_else_is_touched() {
        let fails = |seen: SeenBeside| {
            let (deploy, happened) = walk(beside(canary()), &seen);
            assert_eq!(happened.last().map(String::as_str), Some("take away"), "{happened:?}");
            deploy.state.name()
        };
        assert_eq!(fails(SeenBeside { trouble: Err("It restarted.".into()), ..well() }), "failed");
        assert_eq!(fails(SeenBeside { status: Rollout::Failed("Too slow.".into()), ..well() }), "failed");
        assert_eq!(fails(SeenBeside { status: Rollout::Gone, ..well() }), "failed");
        assert_eq!(fails(SeenBeside { overtaken: true, ..well() }), "superseded");

        let (promoted, _) = walk(beside(blue_green()), &well());
        let no = Event::Failed { why: "No.".into(), reason: None };
        assert!(leaves_beside(&promoted, &Seen::Landed(None), &no), "the write of the workload was refused");
        assert!(matches!(step(&promoted, &Seen::Overtaken), Step::TakeAway { .. }));
        let rolling = Deploy { state: promoted.state, ..samples::deploy() };
        assert!(!leaves_beside(&rolling, &Seen::Landed(None), &no), "nothing stands beside it");
    }
}
