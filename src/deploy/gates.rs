//! Who may decide, and whether what was approved is still what would happen. Pure: handlers and the engine bring
//! the facts and the time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::deploy::{Deploy, Digest, Policy, State};
use super::wording;
use crate::auth::{Identity, Person, machine};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Approve,
    Reject,
}

/// Why a click on Approve, Reject or Withdraw does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The words of its state.
    NotWaiting(&'static str),
    Expired(Timestamp),
    OwnRequest,
    /// They set off the machine that asks.
    OwnPipeline,
    /// Whatever group it is in.
    Machine,
    NotAnApprover(Vec<String>),
    DecidedAlready,
    /// The page showed another digest than the one that would run.
    SeenOther,
    NoteNeeded,
    /// A name has to be typed before this is approved.
    NameNeeded(String),
    TooLateToCancel(&'static str),
    /// A migration that has ended.
    TooLateToStop(&'static str),
    NotYoursToCancel,
    /// The words of its state: it does not wait for a hand.
    NothingToPromote(&'static str),
    NotYoursToPromote(Vec<String>),
}

/// Something that waits for people: what decides who may decide is the same for a deploy and for an access request.
#[derive(Clone, Copy, Debug)]
pub struct Awaited<'a> {
    /// Until when; where it does not wait, the words of its state.
    pub until: Result<Timestamp, &'static str>,
    pub requester: &'a Person,
    /// Groups, as the provider names them.
    pub approvers: &'a [String],
    pub decided: &'a [Identity],
    pub digest: &'a Digest,
}

impl Awaited<'_> {
    /// Ordered from the cheapest surprise to the dearest: the first refusal is the one a person reads.
    pub fn may_decide(&self, person: &Person, now: Timestamp) -> Result<(), Refusal> {
        let expires = self.until.map_err(Refusal::NotWaiting)?;
        if now >= expires {
            return Err(Refusal::Expired(expires));
        }
        if person.identity == self.requester.identity {
            return Err(Refusal::OwnRequest);
        }
        if person.set_off(self.requester) {
            return Err(Refusal::OwnPipeline);
        }
        if machine::is_machine(&person.identity) {
            return Err(Refusal::Machine);
        }
        if !person.is_in_any(self.approvers) {
            return Err(Refusal::NotAnApprover(self.approvers.to_vec()));
        }
        if self.decided.contains(&person.identity) {
            return Err(Refusal::DecidedAlready);
        }
        Ok(())
    }

    /// Whether this very decision can be taken: the person saw what would happen, and a rejection says why.
    pub fn is_sound(&self, verdict: Verdict, note: &str, seen: &Digest) -> Result<(), Refusal> {
        if seen != self.digest {
            return Err(Refusal::SeenOther);
        }
        if verdict == Verdict::Reject && note.trim().is_empty() {
            return Err(Refusal::NoteNeeded);
        }
        Ok(())
    }
}

fn awaited<'a>(deploy: &'a Deploy, decided: &'a [Identity]) -> Awaited<'a> {
    Awaited {
        until: match &deploy.state {
            State::AwaitingApproval { expires } => Ok(*expires),
            other => Err(wording::words(other.name())),
        },
        requester: &deploy.requester,
        approvers: &deploy.policy.approvers,
        decided,
        digest: &deploy.digest,
    }
}

/// Who may decide on a deploy that waits.
pub fn may_decide(
    person: &Person,
    deploy: &Deploy,
    decided: &[Identity],
    now: Timestamp,
) -> Result<(), Refusal> {
    awaited(deploy, decided).may_decide(person, now)
}

/// Whether this very decision on a deploy can be taken.
pub fn is_sound(verdict: Verdict, note: &str, seen: &Digest, deploy: &Deploy) -> Result<(), Refusal> {
    awaited(deploy, &[]).is_sound(verdict, note, seen)
}

/// Only the requester, or who set it off, withdraws, or stops what can be stopped (a migration that runs, a version that
/// is tried beside what runs); an approver who wants it stopped
/// rejects it, and says why.
pub fn may_cancel(person: &Person, deploy: &Deploy) -> Result<(), Refusal> {
    if person.identity != deploy.requester.identity && !person.set_off(&deploy.requester) {
        return Err(Refusal::NotYoursToCancel);
    }
    if deploy.action.migration().is_some() {
        return match deploy.state.can_be_cancelled() || deploy.runs_a_job() {
            true => Ok(()),
            false => Err(Refusal::TooLateToStop(deploy.state.name())),
        };
    }
    let is_tried = matches!(deploy.state, State::Shifting { stopped_by: None, .. });
    if !deploy.state.can_be_cancelled() && !is_tried {
        return Err(Refusal::TooLateToCancel(deploy.state.name()));
    }
    Ok(())
}

/// Who says that a canary or blue-green that waits for a hand may go on: who asked, who set it off, and whoever could
/// have approved it. Nothing else is decided by it: what goes on was approved before it began.
pub fn may_promote(person: &Person, deploy: &Deploy) -> Result<(), Refusal> {
    if !deploy.waits_for_a_hand() {
        return Err(Refusal::NothingToPromote(deploy.state.name()));
    }
    let asked = person.identity == deploy.requester.identity || person.set_off(&deploy.requester);
    if asked || person.is_in_any(&deploy.policy.approvers) {
        return Ok(());
    }
    Err(Refusal::NotYoursToPromote(deploy.policy.approvers.clone()))
}

/// A person who said yes, with the groups they have now as far as the portal knows.
#[derive(Clone, Debug)]
pub struct Approver {
    pub person: Person,
    pub seen: Digest,
}

/// How many approvals count: of different people other than the requester, entitled, for these very bytes.
pub fn approvals_that_count(deploy: &Deploy, approvers: &[Approver]) -> u32 {
    let mut counted: Vec<&Identity> = Vec::new();
    for approver in approvers {
        let identity = &approver.person.identity;
        let entitled = approver.person.is_in_any(&deploy.policy.approvers);
        if approver.seen == deploy.digest
            && entitled
            && *identity != deploy.requester.identity
            && !approver.person.set_off(&deploy.requester)
            && !machine::is_machine(identity)
            && !counted.contains(&identity)
        {
            counted.push(identity);
        }
    }
    u32::try_from(counted.len()).unwrap_or(u32::MAX)
}

/// What is true now of the things an approval is bound to.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the tag points at now; None where that can't be asked or nothing depends on it.
    pub tag_digest: Option<String>,
    /// The environment's rules now; None when the environment is gone from the configuration.
    pub policy: Option<Policy>,
    /// What runs now, container to image; None when the cluster does not answer.
    pub running: Option<BTreeMap<String, String>>,
    /// A release that landed on this target after the request.
    pub newer_release: Option<String>,
    /// Whether the requester may still make this change (the cluster's authorizer).
    pub requester_may: bool,
    pub approvers: Vec<Approver>,
}

/// Why an approved or waiting deploy is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    Environment,
    Policy,
    Tag { was: String, is: String },
    NewerRelease { version: String },
    Running,
    RequesterLostRight,
    ApprovalsLost { have: u32, needed: u32 },
}

/// The first thing that moved since the request, in the order in which people would want to know.
pub fn what_moved(deploy: &Deploy, facts: &Facts) -> Option<Moved> {
    let Some(policy) = &facts.policy else { return Some(Moved::Environment) };
    if *policy != deploy.policy {
        return Some(Moved::Policy);
    }
    if let Some(change) = deploy.action.change() {
        if let (Some(was), Some(is)) = (&change.digest, &facts.tag_digest)
            && was != is
        {
            return Some(Moved::Tag { was: was.clone(), is: is.clone() });
        }
        if let Some(version) = &facts.newer_release {
            return Some(Moved::NewerRelease { version: version.clone() });
        }
        if facts.running.as_ref().is_some_and(|running| *running != change.replaces) {
            return Some(Moved::Running);
        }
    }
    if let Some(migration) = deploy.action.migration() {
        if let (Some(was), Some(is)) = (&migration.digest, &facts.tag_digest)
            && was != is
        {
            return Some(Moved::Tag { was: was.clone(), is: is.clone() });
        }
        if let (Some(ran), Some(running)) = (&migration.runs, &facts.running)
            && running.get(&migration.container) != Some(ran)
        {
            return Some(Moved::Running);
        }
    }
    if !facts.requester_may {
        return Some(Moved::RequesterLostRight);
    }
    None
}

/// As [`what_moved`], and there must be enough approvals: asked right before anything is written.
pub fn may_execute(deploy: &Deploy, facts: &Facts) -> Result<(), Moved> {
    if let Some(moved) = what_moved(deploy, facts) {
        return Err(moved);
    }
    let (have, needed) = (approvals_that_count(deploy, &facts.approvers), deploy.policy.approvals);
    if deploy.needs_approval() && have < needed {
        return Err(Moved::ApprovalsLost { have, needed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::samples::{MAYA, NINA, OMAR, deploy, person};

    fn now() -> Timestamp {
        "2026-11-23T14:00:00Z".parse().unwrap()
    }

    fn waiting() -> Deploy {
        Deploy {
            state: State::AwaitingApproval { expires: "2026-11-24T14:00:00Z".parse().unwrap() },
            ..deploy()
        }
    }

    fn facts(deploy: &Deploy) -> Facts {
        let change = deploy.action.change().unwrap();
        Facts {
            tag_digest: change.digest.clone(),
            policy: Some(deploy.policy.clone()),
            running: Some(change.replaces.clone()),
            newer_release: None,
            requester_may: true,
            approvers: vec![Approver { person: person(OMAR), seen: deploy.digest.clone() }],
        }
    }

    #[test]
    fn omar_may_decide_and_maya_and_nina_may_not() {
        let deploy = waiting();
        assert_eq!(may_decide(&person(OMAR), &deploy, &[], now()), Ok(()));
        assert_eq!(may_decide(&person(MAYA), &deploy, &[], now()), Err(Refusal::OwnRequest));
        let refused = may_decide(&person(NINA), &deploy, &[], now());
        assert_eq!(refused, Err(Refusal::NotAnApprover(vec!["payments-managers".into()])));
    }

    #[test]
    fn the_requester_is_recognised_by_identity_whatever_groups_a_second_session_has() {
        let mut maya = person(MAYA);
        maya.groups.insert("payments-managers".into());
        maya.name = "Somebody Else".into();
        assert_eq!(may_decide(&maya, &waiting(), &[], now()), Err(Refusal::OwnRequest));
    }

    #[test]
    fn a_machine_decides_nothing_whatever_group_it_is_in() {
        let mut ci = person(OMAR);
        ci.identity.issuer = "machine".into();
        assert_eq!(may_decide(&ci, &waiting(), &[], now()), Err(Refusal::Machine));
        let deploy = waiting();
        let yes = Approver { person: ci, seen: deploy.digest.clone() };
        assert_eq!(approvals_that_count(&deploy, &[yes]), 0);
    }

    #[test]
    fn nobody_decides_twice_or_too_late() {
        let deploy = waiting();
        let omar = person(OMAR);
        let again = may_decide(&omar, &deploy, std::slice::from_ref(&omar.identity), now());
        assert_eq!(again, Err(Refusal::DecidedAlready));
        let late = "2026-11-24T14:00:00Z".parse().unwrap();
        assert_eq!(may_decide(&omar, &deploy, &[], late), Err(Refusal::Expired(late)));
    }

    #[test]
    fn a_stale_page_decides_nothing_and_a_rejection_says_why() {
        let deploy = waiting();
        let other = Digest("other".into());
        assert_eq!(is_sound(Verdict::Approve, "", &other, &deploy), Err(Refusal::SeenOther));
        assert_eq!(is_sound(Verdict::Reject, "  ", &deploy.digest, &deploy), Err(Refusal::NoteNeeded));
        assert_eq!(is_sound(Verdict::Approve, "", &deploy.digest, &deploy), Ok(()));
    }

    #[test]
    fn only_different_entitled_people_who_saw_these_bytes_count() {
        let deploy = waiting();
        let yes = |person: Person, seen: &Digest| Approver { person, seen: seen.clone() };
        let other = Digest("other".into());
        let list = [
            yes(person(OMAR), &deploy.digest),
            yes(person(OMAR), &deploy.digest),
            yes(person(MAYA), &deploy.digest),
            yes(person(NINA), &deploy.digest),
            yes(person(OMAR), &other),
        ];
        assert_eq!(approvals_that_count(&deploy, &list), 1);
    }

    #[test]
    fn nothing_moved_means_it_may_run() {
        let deploy = waiting();
        assert_eq!(may_execute(&deploy, &facts(&deploy)), Ok(()));
    }

    #[test]
    fn each_thing_that_moves_voids_the_approval() {
        let deploy = waiting();
        let moved = |change: fn(&mut Facts)| {
            let mut facts = facts(&deploy);
            change(&mut facts);
            may_execute(&deploy, &facts).unwrap_err()
        };
        assert_eq!(moved(|f| f.policy = None), Moved::Environment);
        assert_eq!(moved(|f| f.policy.as_mut().unwrap().approvals = 2), Moved::Policy);
        assert!(matches!(moved(|f| f.tag_digest = Some("sha256:other".into())), Moved::Tag { .. }));
        assert!(matches!(moved(|f| f.newer_release = Some("v2".into())), Moved::NewerRelease { .. }));
        assert_eq!(moved(|f| f.running = Some(BTreeMap::new())), Moved::Running);
        assert_eq!(moved(|f| f.requester_may = false), Moved::RequesterLostRight);
        assert_eq!(moved(|f| f.approvers.clear()), Moved::ApprovalsLost { have: 0, needed: 1 });
    }

    #[test]
    fn an_approver_who_lost_the_group_no_longer_counts() {
        let deploy = waiting();
        let mut facts = facts(&deploy);
        facts.approvers[0].person.groups.clear();
        assert_eq!(may_execute(&deploy, &facts), Err(Moved::ApprovalsLost { have: 0, needed: 1 }));
    }

    #[test]
    fn a_hand_is_the_requesters_or_an_approvers_and_only_where_one_is_waited_for() {
        use crate::deploy::deploy::{Stage, Written};
        let written = Written { generation: 1, marked: true };
        let of = |stage: Stage| Deploy {
            state: State::Shifting { since: now(), step: 0, stage, stopped_by: None },
            ..deploy()
        };
        let waits = of(Stage::Holding { written: written.clone(), until: None });
        assert_eq!(may_promote(&person(MAYA), &waits), Ok(()));
        assert_eq!(may_promote(&person(OMAR), &waits), Ok(()));
        assert!(matches!(may_promote(&person(NINA), &waits), Err(Refusal::NotYoursToPromote(_))));
        let starts = of(Stage::Starting { written });
        assert_eq!(may_promote(&person(MAYA), &starts), Err(Refusal::NothingToPromote("shifting")));
        assert_eq!(may_cancel(&person(MAYA), &starts), Ok(()), "nothing that runs was touched yet");
    }

    #[test]
    fn only_who_asked_stops_a_migration_and_only_while_it_runs() {
        use crate::deploy::deploy::{Action, Written};
        let migration = serde_json::json!({
            "version": "v1", "reference": "r/shop:v1", "digest": null, "image": "r/shop:v1", "workload": "shop",
            "container": "shop", "command": ["/m"], "deadline_seconds": 60, "job": {},
        });
        let action = Action::Migrate(serde_json::from_value(migration).unwrap());
        let written = Written { generation: 1, marked: true };
        let runs = State::RollingOut { since: now(), written, stopped_by: None };
        let of = |state: State| Deploy { action: action.clone(), state, ..deploy() };
        assert_eq!(may_cancel(&person(MAYA), &of(runs.clone())), Ok(()));
        assert_eq!(may_cancel(&person(OMAR), &of(runs)), Err(Refusal::NotYoursToCancel));
        assert_eq!(may_cancel(&person(MAYA), &of(State::Queued)), Ok(()));
        let ended = may_cancel(&person(MAYA), &of(State::Succeeded));
        assert_eq!(ended, Err(Refusal::TooLateToStop("succeeded")));
    }
}
