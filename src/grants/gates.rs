//! Who may decide on a grant, and who may take it back. Pure: handlers and the engine bring the facts and the time.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::grant::{Grant, State, Terms};
use crate::auth::Person;
use crate::deploy::{self, Awaited, Digest, Verdict};

/// Why a click on Approve, Reject, Withdraw or End does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As of everything that waits for people.
    Decision(deploy::Refusal),
    /// The cluster would not let the approver give it; its sentence says why.
    Cluster(String),
    NotYoursToWithdraw,
    NotYoursToEnd(Vec<String>),
    /// The words of its state.
    NothingToEnd(&'static str),
    TooLateToWithdraw(&'static str),
}

fn awaited(grant: &Grant) -> Awaited<'_> {
    Awaited {
        until: match &grant.state {
            State::Requested { expires } => Ok(*expires),
            other => Err(other.words()),
        },
        requester: &grant.requester,
        approvers: &grant.terms.approvers,
        decided: &[],
        digest: &grant.digest,
    }
}

pub fn may_decide(person: &Person, grant: &Grant, now: Timestamp) -> Result<(), Refusal> {
    awaited(grant).may_decide(person, now).map_err(Refusal::Decision)
}

pub fn is_sound(verdict: Verdict, note: &str, seen: &Digest, grant: &Grant) -> Result<(), Refusal> {
    awaited(grant).is_sound(verdict, note, seen).map_err(Refusal::Decision)
}

/// Only the requester withdraws; an approver who does not want it rejects it, and says why.
pub fn may_withdraw(person: &Person, grant: &Grant) -> Result<(), Refusal> {
    if person.identity != grant.requester.identity {
        return Err(Refusal::NotYoursToWithdraw);
    }
    match &grant.state {
        State::Requested { .. } => Ok(()),
        other => Err(Refusal::TooLateToWithdraw(other.words())),
    }
}

/// Who may take it back before its time, and in whose name the binding is removed: an approver and the platform team
/// in their own, the requester in that of whoever gave it. An ending that the cluster refuses can be tried in
/// another name.
pub fn may_end(person: &Person, grant: &Grant, platform: &BTreeSet<String>) -> Result<Person, Refusal> {
    let own = person.identity == grant.requester.identity;
    let entitled = !own && (person.is_in_any(&grant.terms.approvers) || person.is_in_any(platform));
    if !own && !entitled {
        return Err(Refusal::NotYoursToEnd(grant.terms.approvers.clone()));
    }
    match &grant.state {
        State::Active { .. } | State::Ending { trouble: Some(_), .. } if entitled => Ok(person.clone()),
        State::Active { grantor, .. } => Ok(grantor.clone()),
        other => Err(Refusal::NothingToEnd(other.words())),
    }
}

/// Why an approval is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The role is gone from the configuration, or is another one now.
    Terms,
    GrantorLostRight,
}

/// Whether what was approved may still be given. `terms`: the role now. `grantor`: who gave it, with the groups of
/// their newest sign-in.
pub fn may_grant(grant: &Grant, terms: Option<&Terms>, grantor: &Person) -> Result<(), Moved> {
    if terms != Some(&grant.terms) {
        return Err(Moved::Terms);
    }
    if grantor.identity == grant.requester.identity || !grantor.is_in_any(&grant.terms.approvers) {
        return Err(Moved::GrantorLostRight);
    }
    Ok(())
}

/// Who may know of it: who asked, who may approve, and who runs the portal.
pub fn may_see(person: &Person, grant: &Grant, platform: &BTreeSet<String>) -> bool {
    person.identity == grant.requester.identity
        || person.is_in_any(&grant.terms.approvers)
        || person.is_in_any(platform)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::samples::{
        NINA, NOOR, OMAR, active, at, ending, every_state, grant, in_state, person,
    };

    #[test]
    fn omar_may_decide_and_noor_and_nina_may_not() {
        let waiting = grant();
        assert_eq!(may_decide(&person(OMAR), &waiting, at("14:01")), Ok(()));
        let refused = |who| may_decide(&person(who), &waiting, at("14:01")).unwrap_err();
        assert_eq!(refused(NOOR), Refusal::Decision(deploy::Refusal::OwnRequest));
        assert!(matches!(refused(NINA), Refusal::Decision(deploy::Refusal::NotAnApprover(_))));
    }

    #[test]
    fn nobody_decides_too_late_or_on_what_they_did_not_see() {
        let late = may_decide(&person(OMAR), &grant(), at("15:00")).unwrap_err();
        assert_eq!(late, Refusal::Decision(deploy::Refusal::Expired(at("15:00"))));
        let other = is_sound(Verdict::Approve, "", &Digest("other".into()), &grant()).unwrap_err();
        assert_eq!(other, Refusal::Decision(deploy::Refusal::SeenOther));
        let mute = is_sound(Verdict::Reject, " ", &grant().digest, &grant()).unwrap_err();
        assert_eq!(mute, Refusal::Decision(deploy::Refusal::NoteNeeded));
    }

    #[test]
    fn a_decision_is_taken_once() {
        for state in every_state().into_iter().skip(1) {
            let refused = may_decide(&person(OMAR), &in_state(state.clone()), at("14:01"));
            assert!(refused.is_err(), "{state:?}");
        }
    }

    #[test]
    fn it_is_removed_in_the_name_of_somebody_who_could_give_it() {
        let none = BTreeSet::new();
        assert_eq!(may_end(&person(NOOR), &in_state(active()), &none), Ok(person(OMAR)));
        assert_eq!(may_end(&person(OMAR), &in_state(active()), &none), Ok(person(OMAR)));
        assert!(may_end(&person(NINA), &in_state(active()), &none).is_err());
        let platform = BTreeSet::from(["on-call".to_string()]);
        assert_eq!(may_end(&person(NINA), &in_state(active()), &platform), Ok(person(NINA)));
    }

    #[test]
    fn an_ending_that_is_refused_can_be_tried_in_another_name() {
        let platform = BTreeSet::from(["on-call".to_string()]);
        let stuck = in_state(ending(Some("omar may not delete RoleBindings.")));
        assert_eq!(may_end(&person(NINA), &stuck, &platform), Ok(person(NINA)));
        assert!(may_end(&person(NINA), &in_state(ending(None)), &platform).is_err());
        assert!(may_end(&person(NOOR), &stuck, &platform).is_err(), "hers was tried already");
    }

    #[test]
    fn what_moved_after_the_approval_is_not_given() {
        let grant = grant();
        assert_eq!(may_grant(&grant, Some(&grant.terms), &person(OMAR)), Ok(()));
        let wider = Terms { cluster_role: "admin".into(), ..grant.terms.clone() };
        assert_eq!(may_grant(&grant, Some(&wider), &person(OMAR)), Err(Moved::Terms));
        assert_eq!(may_grant(&grant, None, &person(OMAR)), Err(Moved::Terms));
        let mut left = person(OMAR);
        left.groups.remove("payments-managers");
        assert_eq!(may_grant(&grant, Some(&grant.terms), &left), Err(Moved::GrantorLostRight));
    }

    #[test]
    fn only_those_concerned_know_of_it() {
        let none = BTreeSet::new();
        assert!(may_see(&person(NOOR), &grant(), &none) && may_see(&person(OMAR), &grant(), &none));
        assert!(!may_see(&person(NINA), &grant(), &none));
    }
}
