//! Who may decide, and whether what was approved is still what would happen. Pure: handlers and the engine bring
//! the facts and the time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::deploy::{Deploy, Digest, Policy};
use super::state::State;
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
    /// Machines never break the glass.
    GlassByMachine,
    /// Nobody may break it in this environment.
    NoGlass(String),
    /// Groups that may.
    NotAGlassBreaker {
        environment: String,
        groups: Vec<String>,
    },
    /// They broke it themselves.
    OwnGlass,
    /// The guard found it, so it may have been anybody in these groups.
    PerhapsOwnGlass(Vec<String>),
    NotAReviewer(Vec<String>),
    /// By this person.
    SignedOffAlready(String),
    FindingNeeded,
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

/// Who may go ahead without approval, for now: `groups` are those of the environment.
pub fn may_break_glass(person: &Person, environment: &str, groups: &[String]) -> Result<(), Refusal> {
    if machine::is_machine(&person.identity) {
        return Err(Refusal::GlassByMachine);
    }
    if groups.is_empty() {
        return Err(Refusal::NoGlass(environment.into()));
    }
    if !person.is_in_any(groups) {
        return Err(Refusal::NotAGlassBreaker { environment: environment.into(), groups: groups.to_vec() });
    }
    Ok(())
}

/// A broken glass, as far as it decides who may sign it off.
#[derive(Clone, Copy, Debug)]
pub struct Broken<'a> {
    pub by: &'a Person,
    /// Who did so already.
    pub signed_off_by: Option<&'a str>,
    /// Groups that may approve there.
    pub reviewers: &'a [String],
    /// Groups whose members it may have been, where a cluster did not say who it was.
    pub suspects: &'a [String],
}

impl Broken<'_> {
    /// Somebody who could have approved it, and was not part of it.
    pub fn may_sign_off(&self, person: &Person) -> Result<(), Refusal> {
        if let Some(name) = self.signed_off_by {
            return Err(Refusal::SignedOffAlready(name.into()));
        }
        if person.identity == self.by.identity {
            return Err(Refusal::OwnGlass);
        }
        if machine::is_machine(&person.identity) {
            return Err(Refusal::Machine);
        }
        if !person.is_in_any(self.reviewers) {
            return Err(Refusal::NotAReviewer(self.reviewers.to_vec()));
        }
        if person.is_in_any(self.suspects) {
            return Err(Refusal::PerhapsOwnGlass(self.suspects.to_vec()));
        }
        Ok(())
    }
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
    /// Whether the requester may still break the glass here.
    pub breaks_glass: bool,
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
    GlassLost,
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

/// As [`what_moved`], and there must be enough approvals, or the right to do without: asked right before anything is
/// written. The digest does not say that the glass is broken: it stands for what was approved, and nobody approved this.
pub fn may_execute(deploy: &Deploy, facts: &Facts) -> Result<(), Moved> {
    if let Some(moved) = what_moved(deploy, facts) {
        return Err(moved);
    }
    if deploy.glass && !facts.breaks_glass {
        return Err(Moved::GlassLost);
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
            breaks_glass: false,
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
        use crate::deploy::state::{Stage, Written};
        let written = Written { generation: 1, marked: true };
        let of = |stage: Stage| Deploy {
            state: State::Shifting { since: now(), step: 0, stage, stopped_by: None },
            ..deploy()
        };
        let waits = of(Stage::Holding { written: written.clone(), until: None, by_hand: false });
        assert_eq!(may_promote(&person(MAYA), &waits), Ok(()));
        assert_eq!(may_promote(&person(OMAR), &waits), Ok(()));
        assert!(matches!(may_promote(&person(NINA), &waits), Err(Refusal::NotYoursToPromote(_))));
        let starts = of(Stage::Starting { written });
        assert_eq!(may_promote(&person(MAYA), &starts), Err(Refusal::NothingToPromote("shifting")));
        assert_eq!(may_cancel(&person(MAYA), &starts), Ok(()), "nothing that runs was touched yet");
    }

    #[test]
    fn only_people_of_the_environments_groups_break_the_glass() {
        let groups = ["on-call".to_string()];
        assert_eq!(may_break_glass(&person(NINA), "production", &groups), Ok(()));
        let refused = may_break_glass(&person(MAYA), "production", &groups);
        let whom = Refusal::NotAGlassBreaker { environment: "production".into(), groups: groups.to_vec() };
        assert_eq!(refused, Err(whom));
        assert_eq!(may_break_glass(&person(NINA), "staging", &[]), Err(Refusal::NoGlass("staging".into())));
        let mut pipeline = person(NINA);
        pipeline.identity.issuer = machine::ISSUER.into();
        assert_eq!(may_break_glass(&pipeline, "production", &groups), Err(Refusal::GlassByMachine));
    }

    #[test]
    fn a_broken_glass_stands_in_for_the_approval_and_for_nothing_else() {
        let deploy = Deploy { state: State::Queued, glass: true, ..deploy() };
        let alone = Facts { approvers: Vec::new(), breaks_glass: true, ..facts(&deploy) };
        assert_eq!(may_execute(&deploy, &alone), Ok(()));
        assert_eq!(
            may_execute(&deploy, &Facts { breaks_glass: false, ..alone.clone() }),
            Err(Moved::GlassLost)
        );
        let barred = Facts { requester_may: false, ..alone.clone() };
        assert_eq!(may_execute(&deploy, &barred), Err(Moved::RequesterLostRight));
        let overtaken = Facts { running: Some(BTreeMap::new()), ..alone.clone() };
        assert_eq!(may_execute(&deploy, &overtaken), Err(Moved::Running));
        // The right alone, without anybody having broken anything, is no approval.
        let asked = Deploy { glass: false, ..deploy.clone() };
        assert_eq!(may_execute(&asked, &alone), Err(Moved::ApprovalsLost { have: 0, needed: 1 }));
        assert!(deploy.approval().is_none() && !deploy.can_be_frozen() && asked.can_be_frozen());
    }

    #[test]
    fn a_broken_glass_is_signed_off_by_an_approver_who_was_not_part_of_it() {
        let (nina, reviewers) = (person(NINA), ["payments-managers".to_string()]);
        let broken = Broken { by: &nina, signed_off_by: None, reviewers: &reviewers, suspects: &[] };
        assert_eq!(broken.may_sign_off(&person(OMAR)), Ok(()));
        assert_eq!(broken.may_sign_off(&person(MAYA)), Err(Refusal::NotAReviewer(reviewers.to_vec())));
        let mut own = person(NINA);
        own.groups.insert("payments-managers".into());
        assert_eq!(broken.may_sign_off(&own), Err(Refusal::OwnGlass));
        let mut robot = person(OMAR);
        robot.identity.issuer = machine::ISSUER.into();
        assert_eq!(broken.may_sign_off(&robot), Err(Refusal::Machine));
        let over = Broken { signed_off_by: Some("Omar Haddad"), ..broken };
        assert_eq!(over.may_sign_off(&person(OMAR)), Err(Refusal::SignedOffAlready("Omar Haddad".into())));
    }

    #[test]
    fn who_may_have_done_what_the_guard_found_does_not_sign_it_off() {
        let (somebody, reviewers) = (person(MAYA), ["payments-managers".to_string(), "on-call".into()]);
        let suspects = ["on-call".to_string()];
        let found = Broken { by: &somebody, signed_off_by: None, reviewers: &reviewers, suspects: &suspects };
        assert_eq!(found.may_sign_off(&person(OMAR)), Ok(()));
        assert_eq!(found.may_sign_off(&person(NINA)), Err(Refusal::PerhapsOwnGlass(suspects.to_vec())));
    }

    #[test]
    fn only_who_asked_stops_a_migration_and_only_while_it_runs() {
        use crate::deploy::deploy::Action;
        use crate::deploy::state::Written;
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
