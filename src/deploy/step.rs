//! What to do next with a deploy. No I/O and no clock: the engine brings what it saw and the time, tests bring
//! a thousand of each.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::deploy::{Deploy, DeployId, Event, State, Written};
use super::gates::Moved;
use super::wording;
use crate::kube::diagnosis::Reason;
use crate::kube::job::{self, JobStatus};
use crate::kube::rollout::{Progress, Rollout};

/// How often a moving rollout is looked at when nothing wakes the engine earlier.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(1);
/// Patience with a cluster that does not answer. Nothing is lost: the deploy waits where it is.
const CLUSTER_AWAY: SignedDuration = SignedDuration::from_secs(3);
/// How long a reason that can't mend itself may stand before the deploy is called failed.
const FATAL_STANDS: SignedDuration = SignedDuration::from_secs(5);

/// What the engine looked up for the state the deploy is in.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Nothing has to be looked up in this state.
    Nothing,
    /// Queued: what stands before it, and whether it may still run.
    Gate { ahead: Option<DeployId>, verdict: Result<(), Moved> },
    /// Applying: whether our write is in the cluster already (a reply may have been lost).
    Landed(Option<Written>),
    /// Applying: something else runs than what was to be replaced.
    Overtaken,
    /// Rolling out or verifying.
    Rollout { status: Rollout, reason: Option<Reason>, soak: Result<(), String> },
    /// A migration that runs. `stands`: it is not merely young.
    Job { status: JobStatus, reason: Option<Reason>, stands: bool },
    /// The cluster does not answer.
    Away(String),
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Look again then; pages are told why it waits.
    Wait { until: Timestamp, note: Note },
    /// Write the change into the cluster.
    Write,
    /// A migration that can't get to run: take its Job away, then write down that it failed.
    Stop { why: String, reason: Reason },
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
    fn says(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), ..Self::default() }
    }
}

pub fn next_step(deploy: &Deploy, seen: &Seen, now: Timestamp) -> Step {
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

        (State::Queued, Seen::Gate { ahead: Some(id), .. }) => {
            Step::Wait { until: now + LOOK_AGAIN, note: Note::says(format!("Waits behind deployment {id}.")) }
        }
        (State::Queued, Seen::Gate { verdict: Err(moved), .. }) => {
            Step::Record(Event::Superseded { why: moved.sentence() })
        }
        (State::Queued, Seen::Gate { ahead: None, verdict: Ok(()) }) => Step::Record(Event::Started),

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

        (State::RollingOut { since, .. }, Seen::Rollout { status, reason, .. }) => {
            rolling_out(deploy, *since, status, reason.as_ref(), now)
        }
        (State::Verifying { until, .. }, Seen::Rollout { status, soak, reason }) => {
            verifying(*until, status, soak, reason.as_ref(), now)
        }

        // Looked up for another state than the one it is in: look again at once.
        (
            State::Requested
            | State::Queued
            | State::Applying { .. }
            | State::RollingOut { .. }
            | State::Verifying { .. }
            | State::Succeeded
            | State::Rejected { .. }
            | State::Cancelled { .. }
            | State::Expired
            | State::Superseded { .. }
            | State::Failed { .. },
            _,
        ) => Step::Wait { until: now + LOOK_AGAIN, note: Note::default() },
    }
}

fn rolling_out(
    deploy: &Deploy,
    since: Timestamp,
    status: &Rollout,
    reason: Option<&Reason>,
    now: Timestamp,
) -> Step {
    let failed = |why: String| {
        Step::Record(Event::Failed {
            why,
            reason: reason.and_then(|reason| serde_json::to_value(reason).ok()),
        })
    };
    let told = |fallback: String| reason.map_or(fallback, |reason| reason.sentence.clone());
    match status {
        Rollout::Done if deploy.policy.soak_seconds == 0 => Step::Record(Event::Succeeded),
        Rollout::Done => Step::Record(Event::RolledOut { soak_until: now + deploy.policy.soak() }),
        Rollout::Failed(why) => failed(told(why.clone())),
        Rollout::Gone => failed("The workload was deleted while it rolled out.".into()),
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
            Step::Wait {
                until: now + LOOK_AGAIN,
                note: Note {
                    sentence: progress.sentence.clone(),
                    progress: Some(progress.clone()),
                    reason: reason.cloned(),
                },
            }
        }
    }
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
            Step::Stop { why: reason.sentence.clone(), reason: reason.clone() }
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
    soak: &Result<(), String>,
    reason: Option<&Reason>,
    now: Timestamp,
) -> Step {
    let failed = |why: String| {
        Step::Record(Event::Failed {
            why,
            reason: reason.and_then(|reason| serde_json::to_value(reason).ok()),
        })
    };
    match (status, soak) {
        (Rollout::Gone, _) => failed("The workload was deleted while it was watched.".into()),
        (Rollout::Superseded { by }, _) => Step::Record(Event::Superseded {
            why: format!("{by} changed the workload while it was watched."),
        }),
        (_, Err(why)) => failed(why.clone()),
        (Rollout::Failed(why), Ok(())) => failed(why.clone()),
        (Rollout::Done, Ok(())) if now >= until => Step::Record(Event::Succeeded),
        (Rollout::Done | Rollout::Waiting(_) | Rollout::Paused, Ok(())) => Step::Wait {
            until: (now + LOOK_AGAIN).min(until.max(now + SignedDuration::from_millis(200))),
            note: Note::says("All pods are ready. Watching for restarts."),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::deploy::Action;
    use crate::deploy::migration::Migration;
    use crate::deploy::samples;

    fn at(text: &str) -> Timestamp {
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

    fn step(deploy: &Deploy, seen: &Seen) -> Step {
        next_step(deploy, seen, at("2026-11-23T14:01:00Z"))
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
        assert!(matches!(step(&running(None), &waiting(true, true)), Step::Stop { .. }));
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
