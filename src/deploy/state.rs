//! How far a deploy is, and what moves it: its state is one enum, and is the fold of its events. Nothing sets a state but an
//! event that was written down.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::deploy::{DeployId, ImageChange};

/// Where a deploy stands. The data of a state is what deciding the next step needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    Requested,
    AwaitingApproval {
        expires: Timestamp,
    },
    Queued,
    /// Blue-green and canary: the new version proves itself beside what runs, which is not touched yet.
    Shifting {
        /// Of this stage.
        since: Timestamp,
        /// Which step of a canary; 0 for blue-green.
        step: usize,
        stage: Stage,
        /// Who stopped it; what stands beside is on its way out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stopped_by: Option<String>,
    },
    /// Recorded before anything is written to the cluster: from here on it can't be cancelled.
    Applying {
        since: Timestamp,
    },
    /// A migration: its Job runs.
    RollingOut {
        since: Timestamp,
        written: Written,
        /// Who stopped it; its Job is on its way out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stopped_by: Option<String>,
    },
    Verifying {
        since: Timestamp,
        until: Timestamp,
        written: Written,
    },
    Succeeded,
    Rejected {
        by: String,
        note: String,
    },
    Cancelled {
        by: String,
    },
    Expired,
    /// Not carried out any more, because something moved: a newer deploy, the tag, the rules, a right.
    Superseded {
        why: String,
    },
    Failed {
        why: String,
    },
    /// What it wrote does not do; what ran well before is being put back.
    RollingBack {
        since: Timestamp,
        why: String,
        to: Box<ImageChange>,
        /// None: not written yet.
        written: Option<Written>,
    },
    /// It failed, and what ran before runs again.
    RolledBack {
        why: String,
        to: Box<ImageChange>,
    },
    /// It failed, and what ran before could not be put back.
    RollbackFailed {
        why: String,
        /// What kept it from being put back.
        failure: String,
        to: Box<ImageChange>,
    },
}

/// How far a step of [`State::Shifting`] is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Stage {
    /// The second Deployment is about to get its size.
    Sizing,
    /// Its pods start.
    Starting { written: Written },
    /// They are ready, and watched until then. None: until a person says to go on.
    Holding {
        written: Written,
        until: Option<Timestamp>,
        /// A person said so: nothing more is waited for.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_hand: bool,
    },
    /// Blue-green: it has all the traffic, and is watched until then.
    Switched { written: Written, until: Timestamp },
}

impl Stage {
    pub fn written(&self) -> Option<&Written> {
        match self {
            Self::Sizing => None,
            Self::Starting { written } | Self::Holding { written, .. } | Self::Switched { written, .. } => {
                Some(written)
            }
        }
    }
}

/// What our write left in the cluster, to recognise it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// `metadata.generation` that the write returned.
    pub generation: i64,
    /// The pod template carries our marker; a scale does not touch the template.
    pub marked: bool,
}

impl State {
    /// As in the `state` column, the API and the addresses of filters.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::AwaitingApproval { .. } => "awaiting_approval",
            Self::Queued => "queued",
            Self::Shifting { .. } => "shifting",
            Self::Applying { .. } => "applying",
            Self::RollingOut { .. } => "rolling_out",
            Self::Verifying { .. } => "verifying",
            Self::Succeeded => "succeeded",
            Self::Rejected { .. } => "rejected",
            Self::Cancelled { .. } => "cancelled",
            Self::Expired => "expired",
            Self::Superseded { .. } => "superseded",
            Self::Failed { .. } => "failed",
            Self::RollingBack { .. } => "rolling_back",
            Self::RolledBack { .. } => "rolled_back",
            Self::RollbackFailed { .. } => "rollback_failed",
        }
    }

    pub fn is_end(&self) -> bool {
        match self {
            Self::Succeeded
            | Self::Rejected { .. }
            | Self::Cancelled { .. }
            | Self::Expired
            | Self::Superseded { .. }
            | Self::Failed { .. }
            | Self::RolledBack { .. }
            | Self::RollbackFailed { .. } => true,
            Self::Requested
            | Self::AwaitingApproval { .. }
            | Self::Queued
            | Self::Shifting { .. }
            | Self::Applying { .. }
            | Self::RollingOut { .. }
            | Self::Verifying { .. }
            | Self::RollingBack { .. } => false,
        }
    }

    /// Whether its write may stand in the cluster.
    pub fn may_have_written(&self) -> bool {
        match self {
            Self::Shifting { .. }
            | Self::Applying { .. }
            | Self::RollingOut { .. }
            | Self::Verifying { .. }
            | Self::Succeeded
            | Self::Superseded { .. }
            | Self::Failed { .. }
            | Self::RollingBack { .. }
            | Self::RolledBack { .. }
            | Self::RollbackFailed { .. } => true,
            Self::Requested
            | Self::AwaitingApproval { .. }
            | Self::Queued
            | Self::Rejected { .. }
            | Self::Cancelled { .. }
            | Self::Expired => false,
        }
    }

    /// Nothing was written yet, so nothing has to be undone.
    pub fn can_be_cancelled(&self) -> bool {
        matches!(self, Self::Requested | Self::AwaitingApproval { .. } | Self::Queued)
    }

    /// The cluster changes because of it right now.
    pub fn is_active(&self) -> bool {
        matches!(
            self,
            Self::Shifting { .. }
                | Self::Applying { .. }
                | Self::RollingOut { .. }
                | Self::Verifying { .. }
                | Self::RollingBack { .. }
        )
    }

    /// The legal transitions, as data; a test walks them.
    pub fn may_become(&self, next: &Self) -> bool {
        const LEGAL: &[(&str, &[&str])] = &[
            ("requested", &["awaiting_approval", "queued"]),
            ("awaiting_approval", &["queued", "rejected", "cancelled", "expired", "superseded"]),
            ("queued", &["shifting", "applying", "cancelled", "superseded", "failed"]),
            ("shifting", &["shifting", "applying", "failed", "superseded"]),
            ("applying", &["rolling_out", "failed", "superseded"]),
            (
                "rolling_out",
                &["rolling_out", "verifying", "succeeded", "failed", "superseded", "rolling_back"],
            ),
            ("verifying", &["succeeded", "failed", "superseded", "rolling_back"]),
            ("rolling_back", &["rolling_back", "rolled_back", "rollback_failed"]),
        ];
        let to = |(from, to): &(&str, &[&str])| *from == self.name() && to.contains(&next.name());
        LEGAL.iter().any(to)
    }
}

/// What happened to a deploy. Written down in the transaction that makes it true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Requested {
        reason: String,
    },
    /// Who asked goes ahead without the approval that the environment asks for; the reason is that of the request.
    GlassBroken,
    /// Somebody else looked into the broken glass. Whether the deploy has ended by then does not matter.
    SignedOff {
        note: String,
    },
    ApprovalAsked {
        needed: u32,
        expires: Timestamp,
    },
    Approved {
        note: String,
        have: u32,
        needed: u32,
    },
    Queued {
        behind: Option<DeployId>,
    },
    Rejected {
        note: String,
    },
    Cancelled,
    Expired,
    Superseded {
        why: String,
    },
    Started,
    Written {
        generation: i64,
        marked: bool,
        took_over: Option<String>,
    },
    /// Blue-green and canary: the second Deployment comes first.
    ShiftBegan,
    /// It has its size for this step.
    BesideWritten {
        generation: i64,
        pods: i32,
    },
    /// Its pods are ready. `until` None: a person has to say to go on.
    BesideReady {
        until: Option<Timestamp>,
    },
    /// The pause is over, and nobody can say whether requests fail: a person has to look.
    Unmeasured {
        why: String,
    },
    /// A person says to go on.
    WentOn,
    /// On to this step of a canary, or the same step once more because the workload grew.
    StepTaken {
        step: usize,
    },
    /// Blue-green: all the traffic goes to the new version.
    Switched {
        until: Timestamp,
    },
    /// It proved itself: the workload gets it now.
    Promoted,
    /// A milestone on the way ("first new pod ready"); leaves the state as it is.
    Noted {
        text: String,
    },
    RolledOut {
        soak_until: Timestamp,
    },
    /// A person ends a migration that runs, or what stands beside the workload.
    Stopped,
    Succeeded,
    Failed {
        why: String,
        reason: Option<Value>,
    },
    /// It failed, and what ran well before is put back.
    RollbackBegan {
        why: String,
        reason: Option<Value>,
        to: Box<ImageChange>,
    },
    WrittenBack {
        generation: i64,
    },
    RolledBack,
    RollbackFailed {
        why: String,
    },
}

/// The state after an event. None: this event can't happen in that state.
pub fn apply(state: &State, event: &Event, actor: &str, at: Timestamp) -> Option<State> {
    let next = match event {
        Event::Requested { .. } | Event::GlassBroken => {
            return matches!(state, State::Requested).then_some(State::Requested);
        }
        Event::SignedOff { .. } => return Some(state.clone()),
        Event::Approved { .. } => {
            return matches!(state, State::AwaitingApproval { .. }).then(|| state.clone());
        }
        Event::Noted { .. } => return (!state.is_end()).then(|| state.clone()),
        Event::ApprovalAsked { expires, .. } => State::AwaitingApproval { expires: *expires },
        Event::Queued { .. } => State::Queued,
        Event::Rejected { note } => State::Rejected { by: actor.into(), note: note.clone() },
        Event::Cancelled => State::Cancelled { by: actor.into() },
        Event::Expired => State::Expired,
        Event::Superseded { why } => State::Superseded { why: why.clone() },
        Event::Started | Event::Promoted => State::Applying { since: at },
        Event::ShiftBegan => State::Shifting { since: at, step: 0, stage: Stage::Sizing, stopped_by: None },
        Event::StepTaken { step } => {
            let State::Shifting { stage: Stage::Holding { .. }, .. } = state else { return None };
            State::Shifting { since: at, step: *step, stage: Stage::Sizing, stopped_by: None }
        }
        Event::BesideWritten { generation, .. } => {
            let written = Written { generation: *generation, marked: true };
            let to = |stage: &Stage| matches!(stage, Stage::Sizing).then_some(Stage::Starting { written });
            return staged(state, at, to);
        }
        Event::BesideReady { until } => {
            let to = |stage: &Stage| match stage {
                Stage::Starting { written } => {
                    Some(Stage::Holding { written: written.clone(), until: *until, by_hand: false })
                }
                _ => None,
            };
            return staged(state, at, to);
        }
        Event::Unmeasured { .. } => {
            let to = |stage: &Stage| match stage {
                Stage::Holding { written, until: Some(_), by_hand: false } => {
                    Some(Stage::Holding { written: written.clone(), until: None, by_hand: false })
                }
                _ => None,
            };
            return staged(state, at, to);
        }
        Event::WentOn => {
            let to = |stage: &Stage| match stage {
                Stage::Holding { written, until: None, .. } => {
                    Some(Stage::Holding { written: written.clone(), until: Some(at), by_hand: true })
                }
                _ => None,
            };
            return staged(state, at, to);
        }
        Event::Switched { until } => {
            let to = |stage: &Stage| match stage {
                Stage::Holding { written, .. } => {
                    Some(Stage::Switched { written: written.clone(), until: *until })
                }
                _ => None,
            };
            return staged(state, at, to);
        }
        Event::Written { generation, marked, .. } => {
            let State::Applying { .. } = state else { return None };
            let written = Written { generation: *generation, marked: *marked };
            State::RollingOut { since: at, written, stopped_by: None }
        }
        Event::Stopped => match state {
            State::RollingOut { since, written, .. } => {
                State::RollingOut { since: *since, written: written.clone(), stopped_by: Some(actor.into()) }
            }
            State::Shifting { since, step, stage, .. } => State::Shifting {
                since: *since,
                step: *step,
                stage: stage.clone(),
                stopped_by: Some(actor.into()),
            },
            _ => return None,
        },
        Event::RolledOut { soak_until } => {
            let State::RollingOut { written, .. } = state else { return None };
            State::Verifying { since: at, until: *soak_until, written: written.clone() }
        }
        Event::Succeeded => State::Succeeded,
        Event::Failed { why, .. } => State::Failed { why: why.clone() },
        Event::RollbackBegan { why, to, .. } => {
            State::RollingBack { since: at, why: why.clone(), to: to.clone(), written: None }
        }
        Event::WrittenBack { generation } => {
            let State::RollingBack { why, to, written: None, .. } = state else { return None };
            let written = Some(Written { generation: *generation, marked: true });
            State::RollingBack { since: at, why: why.clone(), to: to.clone(), written }
        }
        Event::RolledBack => {
            let State::RollingBack { why, to, written: Some(_), .. } = state else { return None };
            State::RolledBack { why: why.clone(), to: to.clone() }
        }
        Event::RollbackFailed { why: failure } => {
            let State::RollingBack { why, to, .. } = state else { return None };
            State::RollbackFailed { why: why.clone(), failure: failure.clone(), to: to.clone() }
        }
    };
    state.may_become(&next).then_some(next)
}

/// The next stage of the same step, where it follows on the present one.
fn staged(state: &State, at: Timestamp, to: impl FnOnce(&Stage) -> Option<Stage>) -> Option<State> {
    let State::Shifting { step, stage, stopped_by, .. } = state else { return None };
    Some(State::Shifting { since: at, step: *step, stage: to(stage)?, stopped_by: stopped_by.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::samples;

    fn at() -> Timestamp {
        "2026-11-23T14:00:00Z".parse().unwrap()
    }

    fn every_state() -> Vec<State> {
        let written = Written { generation: 2, marked: true };
        vec![
            State::Requested,
            State::AwaitingApproval { expires: at() },
            State::Queued,
            State::Shifting { since: at(), step: 0, stage: Stage::Sizing, stopped_by: None },
            State::Applying { since: at() },
            State::RollingOut { since: at(), written: written.clone(), stopped_by: None },
            State::Verifying { since: at(), until: at(), written },
            State::Succeeded,
            State::Rejected { by: String::new(), note: String::new() },
            State::Cancelled { by: String::new() },
            State::Expired,
            State::Superseded { why: String::new() },
            State::Failed { why: String::new() },
            State::RollingBack {
                since: at(),
                why: String::new(),
                to: Box::new(samples::change()),
                written: None,
            },
            State::RolledBack { why: String::new(), to: Box::new(samples::change()) },
            State::RollbackFailed {
                why: String::new(),
                failure: String::new(),
                to: Box::new(samples::change()),
            },
        ]
    }

    #[test]
    fn an_end_is_an_end() {
        for state in every_state().iter().filter(|state| state.is_end()) {
            for next in every_state() {
                assert!(!state.may_become(&next), "{} → {}", state.name(), next.name());
            }
        }
    }

    #[test]
    fn every_state_but_the_ends_leads_on() {
        for state in every_state().iter().filter(|state| !state.is_end()) {
            assert!(every_state().iter().any(|next| state.may_become(next)), "{} is a trap", state.name());
        }
    }

    #[test]
    fn nothing_that_was_written_can_be_cancelled() {
        for state in every_state() {
            let cancelled = State::Cancelled { by: String::new() };
            assert_eq!(state.may_become(&cancelled), state.can_be_cancelled() && state != State::Requested);
            assert!(!(state.is_active() && state.can_be_cancelled()));
        }
    }

    #[test]
    fn a_production_deploy_is_the_fold_of_its_events() {
        let events = [
            Event::Requested { reason: "retry captures".into() },
            Event::ApprovalAsked { needed: 1, expires: at() },
            Event::Approved { note: String::new(), have: 1, needed: 1 },
            Event::Queued { behind: None },
            Event::Started,
            Event::Written { generation: 3, marked: true, took_over: None },
            Event::Noted { text: "first new pod ready".into() },
            Event::RolledOut { soak_until: at() },
            Event::Succeeded,
        ];
        let end = events.iter().try_fold(State::Requested, |state, event| apply(&state, event, "maya", at()));
        assert_eq!(end, Some(State::Succeeded));
    }

    #[test]
    fn a_canary_is_the_fold_of_its_events() {
        let beside = |generation| Event::BesideWritten { generation, pods: 1 };
        let events = [
            Event::ShiftBegan,
            beside(1),
            Event::BesideReady { until: Some(at()) },
            Event::StepTaken { step: 1 },
            beside(2),
            Event::BesideReady { until: None },
            Event::WentOn,
            Event::Promoted,
            Event::Written { generation: 3, marked: true, took_over: None },
        ];
        let end = events.iter().try_fold(State::Queued, |state, event| apply(&state, event, "maya", at()));
        assert!(matches!(end, Some(State::RollingOut { .. })), "{end:?}");
        let began = apply(&State::Queued, &Event::ShiftBegan, "", at()).unwrap();
        for early in [Event::WentOn, Event::StepTaken { step: 1 }, Event::Switched { until: at() }] {
            assert_eq!(apply(&began, &early, "maya", at()), None, "{early:?}");
        }
    }

    #[test]
    fn a_broken_glass_skips_the_wait_and_is_signed_off_whenever_somebody_gets_to_it() {
        let events = [
            Event::Requested { reason: "customers can’t pay".into() },
            Event::GlassBroken,
            Event::Queued { behind: None },
            Event::Started,
            Event::SignedOff { note: "Seen.".into() },
        ];
        let end = events.iter().try_fold(State::Requested, |state, event| apply(&state, event, "maya", at()));
        assert_eq!(end, Some(State::Applying { since: at() }));
        let waiting = State::AwaitingApproval { expires: at() };
        assert_eq!(apply(&waiting, &Event::GlassBroken, "maya", at()), None);
        for state in every_state() {
            let signed = apply(&state, &Event::SignedOff { note: String::new() }, "omar", at());
            assert_eq!(signed, Some(state));
        }
    }

    #[test]
    fn a_cancelled_deploy_is_never_written() {
        let state = State::Cancelled { by: "maya".into() };
        assert_eq!(apply(&state, &Event::Started, "engine", at()), None);
        assert_eq!(apply(&state, &Event::Noted { text: String::new() }, "engine", at()), None);
    }

    #[test]
    fn state_names_are_those_of_the_stored_form() {
        for state in every_state() {
            assert_eq!(serde_json::to_value(&state).unwrap()["state"], state.name());
        }
    }
}
