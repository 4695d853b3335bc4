//! What to do next with a deploy. No I/O and no clock: the engine brings what it saw and the time, tests bring
//! a thousand of each.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::deploy::{Deploy, DeployId, ImageChange};
use super::gates::Moved;
use super::shift::{self, SeenBeside, Shift};
use super::state::{Event, State, Written};
use super::wording;
use crate::config::Frozen;
use crate::kube::diagnosis::Reason;
use crate::kube::job::{self, JobStatus};
use crate::kube::rollout::{Progress, Rollout};

/// How often a moving rollout is looked at when nothing wakes the engine earlier.
pub(super) const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(1);
/// Patience with a cluster that does not answer. Nothing is lost: the deploy waits where it is.
const CLUSTER_AWAY: SignedDuration = SignedDuration::from_secs(3);
const FREEZE_LOOK: SignedDuration = SignedDuration::from_secs(30);
/// How long a reason that can't mend itself may stand before the deploy is called failed.
pub(super) const FATAL_STANDS: SignedDuration = SignedDuration::from_secs(5);

/// What the engine looked up for the state the deploy is in.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Nothing has to be looked up in this state.
    Nothing,
    /// Queued: a freeze holds.
    Frozen(Frozen),
    /// Queued: what stands before it, and whether it may still run.
    Gate { ahead: Option<DeployId>, verdict: Result<(), Moved> },
    /// Applying: whether our write is in the cluster already (a reply may have been lost).
    Landed(Option<Written>),
    /// Applying: something else runs than what was to be replaced.
    Overtaken,
    /// Rolling out or verifying.
    Rollout {
        status: Rollout,
        reason: Option<Reason>,
        /// What makes one that is done a failure all the same: a smoke request, then a restart in the soak.
        trouble: Result<(), String>,
        /// What is put back if it fails. None: there is nothing, or the environment does not want it.
        back: Option<Box<ImageChange>>,
        /// A second Deployment still stands beside it.
        beside: bool,
    },
    /// Blue-green and canary, before the workload is touched.
    Beside(Box<SeenBeside>),
    /// A migration that runs. `stands`: it is not merely young.
    Job { status: JobStatus, reason: Option<Reason>, stands: bool },
    /// The cluster does not answer.
    Away(String),
    /// The requester may not look any more, so nobody can see how it goes.
    Blind(String),
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Look again then; pages are told why it waits.
    Wait { until: Timestamp, note: Note },
    /// Write the change into the cluster.
    Write,
    /// Take away what it made and what is not needed any more (a Job, what stands beside the workload), then write down
    /// what happened.
    TakeAway { then: Event },
    /// Write down what happened.
    Record(Event),
}

/// What pages show while a deploy is under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub sentence: String,
    #[serde(default)]
    pub progress: Option<Progress>,
    #[serde(default)]
    pub reason: Option<Reason>,
}

impl Note {
    pub(super) fn says(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), ..Self::default() }
    }
}

pub fn next_step(deploy: &Deploy, seen: &Seen, now: Timestamp) -> Step {
    match decide(deploy, seen, now) {
        Step::Record(then) if leaves_beside(deploy, seen, &then) => Step::TakeAway { then },
        step => step,
    }
}

/// Whether what stands beside the workload has done its service with this event. Where the workload itself is broken by
/// then, it goes on serving.
pub fn leaves_beside(deploy: &Deploy, seen: &Seen, event: &Event) -> bool {
    match (&deploy.state, event) {
        // Until it is written, the workload is as it was.
        (
            State::Shifting { .. } | State::Applying { .. },
            Event::Failed { .. } | Event::Superseded { .. },
        ) => deploy.beside().is_some(),
        (
            State::RollingOut { .. } | State::Verifying { .. } | State::RollingBack { .. },
            Event::RolledOut { .. } | Event::Succeeded | Event::Superseded { .. } | Event::RolledBack,
        ) => matches!(seen, Seen::Rollout { beside: true, .. }),
        _ => false,
    }
}

fn decide(deploy: &Deploy, seen: &Seen, now: Timestamp) -> Step {
    match (&deploy.state, seen) {
        (State::AwaitingApproval { expires }, _) if now >= *expires => Step::Record(Event::Expired),
        (State::AwaitingApproval { expires }, _) => Step::Wait { until: *expires, note: Note::default() },

        (_, Seen::Away(why)) => Step::Wait {
            until: now + CLUSTER_AWAY,
            note: Note::says(format!(
                "The cluster {} does not answer: {why}. The deploy waits.",
                deploy.place.cluster
            )),
        },

        // Looked at now and then all the same: a freeze can be taken out of the configuration.
        (State::Queued, Seen::Frozen(frozen)) => Step::Wait {
            until: frozen.until.min(now + FREEZE_LOOK),
            note: Note::says(wording::frozen(&deploy.place.environment, frozen)),
        },
        (State::Queued, Seen::Gate { ahead: Some(id), .. }) => {
            Step::Wait { until: now + LOOK_AGAIN, note: Note::says(format!("Waits behind deployment {id}.")) }
        }
        (State::Queued, Seen::Gate { verdict: Err(moved), .. }) => {
            Step::Record(Event::Superseded { why: moved.sentence() })
        }
        (State::Queued, Seen::Gate { ahead: None, verdict: Ok(()) }) => {
            Step::Record(if deploy.beside().is_some() { Event::ShiftBegan } else { Event::Started })
        }

        (State::Shifting { since, .. }, Seen::Blind(why)) => blind(deploy, *since, why, now),
        (State::Shifting { since, step, stage, stopped_by }, Seen::Beside(seen)) => {
            let at = Shift { since: *since, step: *step, stage, stopped_by: stopped_by.as_deref() };
            shift::next_step(deploy, &at, seen, now)
        }

        (State::Applying { .. }, Seen::Landed(Some(written))) => Step::Record(Event::Written {
            generation: written.generation,
            marked: written.marked,
            took_over: None,
        }),
        // A Job that ended long ago is deleted. Whether it was ever there nobody can say, and it must not run twice.
        (State::Applying { since }, Seen::Landed(None))
            if deploy.action.migration().is_some() && now >= *since + job::KEPT =>
        {
            Step::Record(Event::Failed { why: wording::NOBODY_KNOWS.into(), reason: None })
        }
        (State::Applying { .. }, Seen::Landed(None)) => Step::Write,
        (State::Applying { .. }, Seen::Overtaken) => {
            Step::Record(Event::Superseded { why: Moved::Running.sentence() })
        }

        (State::RollingOut { stopped_by, .. }, Seen::Job { status, reason, stands }) => {
            migrating(stopped_by.as_deref(), status, reason.as_ref(), *stands, now)
        }

        (
            State::RollingOut { since, .. }
            | State::Verifying { since, .. }
            | State::RollingBack { since, .. },
            Seen::Blind(why),
        ) => blind(deploy, *since, why, now),
        (State::RollingOut { since, .. }, Seen::Rollout { status, reason, back, trouble, .. }) => {
            rolling_out(
                deploy,
                *since,
                status,
                trouble,
                &Failing { reason: reason.as_ref(), back: back.as_deref() },
                now,
            )
        }
        (State::Verifying { until, .. }, Seen::Rollout { status, trouble, reason, back, .. }) => verifying(
            *until,
            status,
            trouble,
            &Failing { reason: reason.as_ref(), back: back.as_deref() },
            now,
        ),

        (State::RollingBack { written: None, .. }, Seen::Landed(Some(written))) => {
            Step::Record(Event::WrittenBack { generation: written.generation })
        }
        (State::RollingBack { written: None, .. }, Seen::Landed(None)) => Step::Write,
        (State::RollingBack { written: None, .. }, Seen::Overtaken) => {
            Step::Record(Event::RollbackFailed { why: Moved::Running.sentence() })
        }
        (State::RollingBack { since, written: Some(_), .. }, Seen::Rollout { status, reason, .. }) => {
            rolling_back(deploy, *since, status, reason.as_ref(), now)
        }

        // Looked up for another state than the one it is in: look again at once.
        (
            State::Requested
            | State::Queued
            | State::Shifting { .. }
            | State::Applying { .. }
            | State::RollingOut { .. }
            | State::Verifying { .. }
            | State::Succeeded
            | State::Rejected { .. }
            | State::Cancelled { .. }
            | State::Expired
            | State::Superseded { .. }
            | State::Failed { .. }
            | State::RollingBack { .. }
            | State::RolledBack { .. }
            | State::RollbackFailed { .. },
            _,
        ) => Step::Wait { until: now + LOOK_AGAIN, note: Note::default() },
    }
}

/// What it comes to when the cluster refuses the write.
pub fn refused(deploy: &Deploy, why: String) -> Event {
    match deploy.state {
        State::RollingBack { .. } => Event::RollbackFailed { why },
        _ => Event::Failed { why, reason: None },
    }
}

/// What it comes to when that which was to be taken away stays.
pub fn not_taken_away(then: Event, still_there: String) -> Event {
    match then {
        Event::Failed { why, reason } => Event::Failed { why: format!("{why} {still_there}"), reason },
        Event::Superseded { why } => Event::Superseded { why: format!("{why} {still_there}") },
        Event::RolledBack => Event::RollbackFailed { why: still_there },
        _ => Event::Failed { why: still_there, reason: None },
    }
}

/// A right to look that is gone may come back; what can't be seen until its deadline is over.
fn blind(deploy: &Deploy, since: Timestamp, why: &str, now: Timestamp) -> Step {
    if now < since + deploy.policy.deadline() {
        return Step::Wait { until: now + CLUSTER_AWAY, note: Note::says(wording::blind(why)) };
    }
    Step::Record(refused(deploy, wording::blind(why)))
}

/// What is known about why a rollout fails, and what to put back then.
struct Failing<'a> {
    reason: Option<&'a Reason>,
    back: Option<&'a ImageChange>,
}

impl Failing<'_> {
    /// What runs now is no good: what ran well before is put back, where there is something.
    fn because(&self, why: String) -> Step {
        let reason = self.reason.and_then(|reason| serde_json::to_value(reason).ok());
        Step::Record(match self.back {
            Some(to) => Event::RollbackBegan { why, reason, to: Box::new(to.clone()) },
            None => Event::Failed { why, reason },
        })
    }
}

/// The end, with nothing left to put anything back into.
fn gone(what: &str) -> Step {
    let why = format!("The workload was deleted while it {what}.");
    Step::Record(Event::Failed { why, reason: None })
}

fn rolling_out(
    deploy: &Deploy,
    since: Timestamp,
    status: &Rollout,
    trouble: &Result<(), String>,
    failing: &Failing,
    now: Timestamp,
) -> Step {
    let reason = failing.reason;
    let failed = |why: String| failing.because(why);
    let told = |fallback: String| reason.map_or(fallback, |reason| reason.sentence.clone());
    match status {
        Rollout::Done if let Err(why) = trouble => failed(why.clone()),
        Rollout::Done if deploy.policy.soak_seconds == 0 || deploy.soaked_beside() => {
            Step::Record(Event::Succeeded)
        }
        Rollout::Done => Step::Record(Event::RolledOut { soak_until: now + deploy.policy.soak() }),
        Rollout::Failed(why) => failed(told(why.clone())),
        Rollout::Gone => gone("rolled out"),
        Rollout::Superseded { by } => {
            Step::Record(Event::Superseded { why: format!("{by} changed the workload while it rolled out.") })
        }
        Rollout::Paused => Step::Wait {
            until: now + LOOK_AGAIN,
            note: Note::says("The rollout is paused. Resume it with kubectl, or roll back."),
        },
        Rollout::Waiting(_) if now >= since + deploy.policy.deadline() => {
            failed(told(format!("Not ready within {} min.", deploy.policy.deadline_seconds / 60)))
        }
        Rollout::Waiting(progress) => {
            if let Some(reason) = reason.filter(|reason| reason.fatal && now >= since + FATAL_STANDS) {
                return failed(reason.sentence.clone());
            }
            moves(progress, reason, now)
        }
    }
}

/// It goes on, or not yet.
pub(super) fn moves(progress: &Progress, reason: Option<&Reason>, now: Timestamp) -> Step {
    let note = Note {
        sentence: progress.sentence.clone(),
        progress: Some(progress.clone()),
        reason: reason.cloned(),
    };
    Step::Wait { until: now + LOOK_AGAIN, note }
}

fn migrating(
    stopped_by: Option<&str>,
    status: &JobStatus,
    reason: Option<&Reason>,
    stands: bool,
    now: Timestamp,
) -> Step {
    let failed = |why: String| {
        let reason = reason.and_then(|reason| serde_json::to_value(reason).ok());
        Step::Record(Event::Failed { why, reason })
    };
    match (status, reason) {
        (JobStatus::Done, _) => Step::Record(Event::Succeeded),
        (JobStatus::Failed, reason) => {
            failed(reason.map_or("Its Job failed.".into(), |reason| reason.sentence.clone()))
        }
        (JobStatus::Gone, _) => failed(wording::job_is_gone(stopped_by)),
        (JobStatus::Running(_), Some(reason)) if reason.fatal && stands && stopped_by.is_none() => {
            let then =
                Event::Failed { why: reason.sentence.clone(), reason: serde_json::to_value(reason).ok() };
            Step::TakeAway { then }
        }
        (JobStatus::Running(sentence), reason) => Step::Wait {
            until: now + LOOK_AGAIN,
            note: Note { reason: reason.cloned(), ..Note::says(*sentence) },
        },
    }
}

fn verifying(
    until: Timestamp,
    status: &Rollout,
    trouble: &Result<(), String>,
    failing: &Failing,
    now: Timestamp,
) -> Step {
    let failed = |why: String| failing.because(why);
    match (status, trouble) {
        (Rollout::Gone, _) => gone("was watched"),
        (Rollout::Superseded { by }, _) => Step::Record(Event::Superseded {
            why: format!("{by} changed the workload while it was watched."),
        }),
        (_, Err(why)) => failed(why.clone()),
        (Rollout::Failed(why), Ok(())) => failed(why.clone()),
        (Rollout::Done, Ok(())) if now >= until => Step::Record(Event::Succeeded),
        (Rollout::Done | Rollout::Waiting(_) | Rollout::Paused, Ok(())) => Step::Wait {
            until: (now + LOOK_AGAIN).min(until.max(now + SignedDuration::from_millis(200))),
            note: Note::says(wording::WATCHED_FOR_TROUBLE),
        },
    }
}

fn rolling_back(
    deploy: &Deploy,
    since: Timestamp,
    status: &Rollout,
    reason: Option<&Reason>,
    now: Timestamp,
) -> Step {
    let failed = |why: String| Step::Record(Event::RollbackFailed { why });
    let told = |fallback: String| reason.map_or(fallback, |reason| reason.sentence.clone());
    match status {
        Rollout::Done => Step::Record(Event::RolledBack),
        Rollout::Failed(why) => failed(told(why.clone())),
        Rollout::Gone => failed("The workload was deleted.".into()),
        Rollout::Superseded { by } => failed(format!("{by} changed the workload meanwhile.")),
        Rollout::Paused => failed("The rollout was paused meanwhile. Resume it with kubectl.".into()),
        Rollout::Waiting(_) if now >= since + deploy.policy.deadline() => {
            failed(told(format!("Not ready within {} min.", deploy.policy.deadline_seconds / 60)))
        }
        Rollout::Waiting(progress) => {
            match reason.filter(|reason| reason.fatal && now >= since + FATAL_STANDS) {
                Some(reason) => failed(reason.sentence.clone()),
                None => moves(progress, reason, now),
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::{Just, any, prop, prop_assert, prop_oneof, proptest};
    use proptest::strategy::Strategy as _;
    use proptest::test_runner::TestCaseError;

    use super::*;
    use crate::config::{CanaryStep, Pause};
    use crate::deploy::deploy::Action;
    use crate::deploy::errors::Errors;
    use crate::deploy::migration::Migration;
    use crate::deploy::samples;
    use crate::deploy::state::{Stage, apply};
    use crate::deploy::strategy::Strategy;

    pub(in crate::deploy) fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn migration(state: State) -> Deploy {
        let migration = Migration {
            version: "v1.1.0".into(),
            reference: "registry/shop:v1.1.0".into(),
            digest: None,
            image: "registry/shop:v1.1.0".into(),
            runs: None,
            workload: "shop".into(),
            workload_kind: Default::default(),
            container: "shop".into(),
            command: vec!["/app/migrate".into()],
            deadline_seconds: 600,
            job: serde_json::json!({}),
        };
        Deploy { action: Action::Migrate(migration), state, ..samples::deploy() }
    }

    fn running(stopped_by: Option<&str>) -> Deploy {
        let written = Written { generation: 1, marked: true };
        let since = at("2026-11-23T14:00:00Z");
        migration(State::RollingOut { since, written, stopped_by: stopped_by.map(Into::into) })
    }

    fn seen(status: JobStatus, fatal: Option<bool>, stands: bool) -> Seen {
        let reason = fatal.map(|fatal| Reason {
            sentence: "The image does not exist.".into(),
            evidence: Vec::new(),
            action: String::new(),
            fatal,
        });
        Seen::Job { status, reason, stands }
    }

    pub(in crate::deploy) fn step(deploy: &Deploy, seen: &Seen) -> Step {
        next_step(deploy, seen, at("2026-11-23T14:01:00Z"))
    }

    pub(in crate::deploy) fn verifying() -> Deploy {
        let written = Written { generation: 2, marked: true };
        let (since, until) = (at("2026-11-23T14:00:30Z"), at("2026-11-23T14:01:30Z"));
        Deploy { state: State::Verifying { since, until, written }, ..samples::deploy() }
    }

    fn rollout(status: Rollout, trouble: Result<(), &str>, back: bool) -> Seen {
        let back = back.then(|| Box::new(samples::change()));
        Seen::Rollout { status, reason: None, trouble: trouble.map_err(Into::into), back, beside: false }
    }

    pub(in crate::deploy) fn canary() -> Strategy {
        let steps = [(25, Pause::For(SignedDuration::from_secs(2))), (50, Pause::Hand)];
        let steps = steps.map(|(weight, pause)| CanaryStep { weight, pause }).to_vec();
        Strategy::Canary { beside: samples::beside("canary"), steps }
    }

    pub(in crate::deploy) fn blue_green() -> Strategy {
        Strategy::BlueGreen { beside: samples::beside("green"), pause: Pause::For(SignedDuration::ZERO) }
    }

    pub(in crate::deploy) fn beside(strategy: Strategy) -> Deploy {
        let action = Action::Deploy(ImageChange { strategy, ..samples::change() });
        Deploy { action, state: State::Queued, ..samples::deploy() }
    }

    /// It is ready beside what runs, and nothing is wrong.
    pub(in crate::deploy) fn well() -> SeenBeside {
        SeenBeside {
            overtaken: false,
            status: Rollout::Done,
            reason: None,
            trouble: Ok(()),
            errors: Errors::NoLimit,
            short: false,
        }
    }

    /// The deploy after what the step recorded.
    fn after(deploy: &Deploy, step: Step) -> Deploy {
        let Step::Record(event) = step else { panic!("{step:?}") };
        let state = apply(&deploy.state, &event, "Pilothouse", at("2026-11-23T14:01:00Z")).unwrap();
        Deploy { state, ..deploy.clone() }
    }

    #[test]
    fn what_restarts_in_its_soak_is_put_back_and_only_then_ends() {
        let verifying = verifying();
        let failing = rollout(Rollout::Done, Err("1 of 2 pods restarted."), true);
        let back = after(&verifying, step(&verifying, &failing));
        assert!(
            matches!(&back.state, State::RollingBack { why, written: None, .. } if why == "1 of 2 pods restarted.")
        );
        assert_eq!(step(&back, &Seen::Landed(None)), Step::Write);
        let written = after(&back, step(&back, &Seen::Landed(Some(Written { generation: 3, marked: true }))));
        let done = after(&written, step(&written, &rollout(Rollout::Done, Ok(()), true)));
        assert!(matches!(done.state, State::RolledBack { .. }));

        let alone = after(&verifying, step(&verifying, &rollout(Rollout::Done, Err("It restarted."), false)));
        assert!(matches!(alone.state, State::Failed { .. }), "there is nothing to put back");
        let gone = after(&verifying, step(&verifying, &rollout(Rollout::Gone, Ok(()), true)));
        assert!(matches!(gone.state, State::Failed { .. }), "there is nothing to put it back into");
    }

    #[test]
    fn a_rollback_that_does_not_work_says_so_and_is_not_tried_again() {
        let verifying = verifying();
        let failing = rollout(Rollout::Done, Err("It restarted."), true);
        let back = after(&verifying, step(&verifying, &failing));
        let refused = after(&back, Step::Record(refused(&back, "No.".into())));
        assert!(matches!(&refused.state, State::RollbackFailed { failure, .. } if failure == "No."));
        let overtaken = after(&back, step(&back, &Seen::Overtaken));
        assert!(matches!(overtaken.state, State::RollbackFailed { .. }));
        let written = after(&back, step(&back, &Seen::Landed(Some(Written { generation: 3, marked: true }))));
        let failed =
            after(&written, step(&written, &rollout(Rollout::Failed("Too slow.".into()), Ok(()), true)));
        assert!(matches!(&failed.state, State::RollbackFailed { failure, .. } if failure == "Too slow."));
        assert!(failed.state.is_end());
    }

    fn any_reason() -> impl prop::strategy::Strategy<Value = Option<Reason>> {
        let reason = |fatal| Reason {
            sentence: "It crashes.".into(),
            evidence: Vec::new(),
            action: String::new(),
            fatal,
        };
        proptest::option::of(any::<bool>().prop_map(reason))
    }

    fn any_status() -> impl prop::strategy::Strategy<Value = Rollout> {
        prop_oneof![
            3 => Just(Rollout::Waiting(Progress::default())),
            3 => Just(Rollout::Done),
            1 => Just(Rollout::Failed("Too slow.".into())),
            1 => Just(Rollout::Superseded { by: "kubectl".into() }),
            1 => Just(Rollout::Paused),
            1 => Just(Rollout::Gone),
        ]
    }

    fn any_seen() -> impl prop::strategy::Strategy<Value = Seen> {
        let written = Written { generation: 2, marked: true };
        let rollout = (any_status(), any_reason(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(status, reason, restarts, back, beside)| Seen::Rollout {
                status,
                reason,
                trouble: if restarts { Err("It restarted.".into()) } else { Ok(()) },
                back: back.then(|| Box::new(samples::change())),
                beside,
            },
        );
        let jobs =
            prop_oneof![Just(JobStatus::Running("It runs.")), Just(JobStatus::Done), Just(JobStatus::Gone)];
        let beside =
            (any_status(), any_reason(), any::<bool>(), 0..12u8).prop_map(|(status, reason, short, odd)| {
                Seen::Beside(Box::new(SeenBeside {
                    overtaken: odd == 0,
                    status,
                    reason,
                    trouble: if odd == 1 { Err("It restarted.".into()) } else { Ok(()) },
                    errors: match odd {
                        2 | 3 => Errors::Unknown("the query finds nothing".into()),
                        4 | 5 => Errors::Within { ratio: 0.0, at_most: 0.01 },
                        _ => Errors::NoLimit,
                    },
                    short,
                }))
            });
        prop_oneof![
            6 => beside,
            1 => Just(Seen::Nothing),
            1 => Just(Seen::Gate { ahead: Some(DeployId(3)), verdict: Ok(()) }),
            1 => Just(Seen::Gate { ahead: None, verdict: Err(Moved::Running) }),
            1 => Just(Seen::Gate { ahead: None, verdict: Ok(()) }),
            1 => proptest::option::of(Just(written)).prop_map(Seen::Landed),
            1 => Just(Seen::Overtaken),
            4 => rollout,
            1 => (jobs, any_reason(), any::<bool>()).prop_map(|(status, reason, stands)| Seen::Job { status, reason, stands }),
            1 => Just(Seen::Away("it is gone".into())),
            1 => Just(Seen::Blind("maya may not list pods".into())),
        ]
    }

    /// What the engine makes of a step: the write is taken, refused, or nobody knows.
    pub(in crate::deploy) fn carry_out(
        deploy: &mut Deploy,
        step: Step,
        answer: u8,
        now: Timestamp,
    ) -> Result<(), TestCaseError> {
        let event = match step {
            Step::Wait { until, .. } => {
                prop_assert!(until > now, "it would be looked at again without end");
                return Ok(());
            }
            Step::Record(event) => event,
            Step::TakeAway { then } if answer == 1 => not_taken_away(then, "No.".into()),
            Step::TakeAway { then } => then,
            Step::Write if answer == 0 => return Ok(()),
            Step::Write if answer == 1 => refused(deploy, "No.".into()),
            Step::Write if matches!(deploy.state, State::Shifting { stage: Stage::Sizing, .. }) => {
                Event::BesideWritten { generation: 1, pods: 1 }
            }
            Step::Write if matches!(deploy.state, State::Shifting { .. }) => {
                Event::Switched { until: now + SignedDuration::from_secs(3) }
            }
            Step::Write if matches!(deploy.state, State::RollingBack { .. }) => {
                Event::WrittenBack { generation: 3 }
            }
            Step::Write => Event::Written { generation: 2, marked: true, took_over: None },
        };
        let next = apply(&deploy.state, &event, "Pilothouse", now);
        prop_assert!(next.is_some(), "{event:?} can’t happen in {:?}", deploy.state);
        deploy.state = next.unwrap_or(State::Expired);
        Ok(())
    }

    proptest! {
        /// Whatever is seen, in whatever order: a deploy only moves where it may, writes only when it has the right to,
        /// and never after its end. And however it got where it is, silence ends it.
        #[test]
        fn a_deploy_only_moves_where_it_may_and_comes_to_an_end(
            seen in proptest::collection::vec((any_seen(), 0..4u8), 0..60), kind in 0..4u8,
        ) {
            let migrates = kind == 0;
            let mut deploy = match kind {
                0 => migration(State::Queued),
                1 => samples::deploy(),
                2 => beside(blue_green()),
                _ => beside(canary()),
            };
            deploy.state = State::Queued;
            let mut now = at("2026-11-23T14:00:00Z");
            let mut writes = 0;
            for (seen, answer) in seen {
                now += SignedDuration::from_secs(1);
                let step = next_step(&deploy, &seen, now);
                let writes_workload = matches!(deploy.state, State::Applying { .. } | State::RollingBack { written: None, .. });
                let may_write = writes_workload || matches!(deploy.state, State::Shifting { .. });
                prop_assert!(step != Step::Write || may_write, "a write in {:?}", deploy.state);
                writes += u32::from(step == Step::Write && writes_workload && answer > 1);
                prop_assert!(!deploy.state.is_end() || matches!(step, Step::Wait { .. }), "{step:?} after the end");
                carry_out(&mut deploy, step, answer, now)?;
                // A person, now and then.
                let by_hand = match answer {
                    3 if deploy.waits_for_a_hand() => Some(Event::WentOn),
                    0 if deploy.waits_for_a_hand() => Some(Event::Stopped),
                    _ => None,
                };
                if let Some(state) = by_hand.and_then(|event| apply(&deploy.state, &event, "Maya", now)) {
                    deploy.state = state;
                }
            }
            prop_assert!(writes <= 2, "one change, and once back");

            // Nothing stands in its way, its writes land, and then nothing moves any more, or nobody can see it.
            for n in 0..8 {
                now += SignedDuration::from_hours(1);
                let seen = match &deploy.state {
                    State::Queued => Seen::Gate { ahead: None, verdict: Ok(()) },
                    State::Applying { .. } | State::RollingBack { written: None, .. } => {
                        Seen::Landed(Some(Written { generation: 3, marked: true }))
                    }
                    State::Shifting { .. } => Seen::Beside(Box::new(SeenBeside {
                        trouble: Err("It restarted.".into()),
                        ..well()
                    })),
                    State::RollingOut { .. } | State::Verifying { .. } if n % 2 == 1 => Seen::Blind("No.".into()),
                    State::RollingOut { .. } if migrates => Seen::Job { status: JobStatus::Gone, reason: None, stands: true },
                    _ => rollout(Rollout::Waiting(Progress::default()), Err("It restarted."), true),
                };
                let step = next_step(&deploy, &seen, now);
                if !deploy.state.is_end() {
                    carry_out(&mut deploy, step, 2, now)?;
                }
            }
            prop_assert!(deploy.state.is_end(), "{:?} stands still", deploy.state);
        }
    }

    #[test]
    fn a_migration_ends_as_its_job_does() {
        let running = running(None);
        assert_eq!(step(&running, &seen(JobStatus::Done, None, true)), Step::Record(Event::Succeeded));
        let failed = step(&running, &seen(JobStatus::Failed, Some(false), true));
        assert!(
            matches!(failed, Step::Record(Event::Failed { why, .. }) if why == "The image does not exist.")
        );
        let waits = step(&running, &seen(JobStatus::Running("It runs."), None, true));
        assert!(matches!(waits, Step::Wait { note, .. } if note.sentence == "It runs."));
    }

    #[test]
    fn only_what_stands_and_can_never_run_is_taken_away() {
        let waiting = |fatal, stands| seen(JobStatus::Running("It runs."), Some(fatal), stands);
        assert!(matches!(step(&running(None), &waiting(true, true)), Step::TakeAway { .. }));
        assert!(matches!(step(&running(None), &waiting(true, false)), Step::Wait { .. }));
        assert!(matches!(step(&running(None), &waiting(false, true)), Step::Wait { .. }));
        assert!(matches!(step(&running(Some("Maya")), &waiting(true, true)), Step::Wait { .. }));
    }

    #[test]
    fn a_job_that_is_gone_was_stopped_by_somebody_or_nobody_knows() {
        let why = |deploy: &Deploy| match step(deploy, &seen(JobStatus::Gone, None, true)) {
            Step::Record(Event::Failed { why, .. }) => why,
            other => panic!("{other:?}"),
        };
        assert!(why(&running(Some("Maya"))).starts_with("Maya stopped it"));
        assert!(why(&running(None)).starts_with("Its Job was deleted"));
    }

    #[test]
    fn a_job_is_not_made_when_one_may_have_run_and_gone_already() {
        let made = |since: &str| migration(State::Applying { since: at(since) });
        assert_eq!(step(&made("2026-11-23T14:00:00Z"), &Seen::Landed(None)), Step::Write);
        let late = step(&made("2026-11-22T14:00:00Z"), &Seen::Landed(None));
        assert!(matches!(late, Step::Record(Event::Failed { why, .. }) if why == wording::NOBODY_KNOWS));
    }
}
