//! A grant: a role that somebody asks for, gets for a while, and loses again. Its state is one enum, and is the fold
//! of its events: nothing sets a state but an event that was written down.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::auth::Person;
use crate::config::AccessRole;
use crate::deploy::Digest;
use crate::kube::bindings::Binding;

/// The number in the address of an access request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantId(pub i64);

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the role counts: this namespace and no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub team: String,
    pub environment: String,
    pub production: bool,
    pub cluster: String,
    pub namespace: String,
}

/// A role of the configuration, as it stood at the request. Part of the digest: a changed role can't be approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    pub role: String,
    pub cluster_role: String,
    /// Groups, as the provider names them.
    pub approvers: Vec<String>,
    pub longest_seconds: i64,
}

impl Terms {
    pub fn of(role: &AccessRole, team: &str) -> Self {
        Self {
            role: role.name().into(),
            cluster_role: role.cluster_role.get_ref().clone(),
            approvers: role.approvers_for(team),
            longest_seconds: role.longest.as_secs(),
        }
    }
}

/// Where a grant stands. From `Granting` on there is somebody who gave it: without one, nothing is ever written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    Requested {
        expires: Timestamp,
    },
    /// Recorded before anything is written to the cluster.
    Granting {
        grantor: Person,
        until: Timestamp,
    },
    Active {
        grantor: Person,
        until: Timestamp,
    },
    /// Recorded before anything is removed from the cluster.
    Ending {
        /// As whom the binding is removed.
        by: Person,
        until: Timestamp,
        since: Timestamp,
        why: End,
        /// Why the cluster did not let it go, so far: the person still has the role.
        trouble: Option<String>,
    },
    Ended {
        why: End,
    },
    Refused {
        by: String,
        note: String,
    },
    Withdrawn,
    /// Nobody decided in time.
    Expired,
    Failed {
        why: String,
    },
}

/// Why a grant that was given is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    Time,
    Early {
        by: String,
    },
    /// Somebody removed the binding in the cluster.
    Elsewhere,
}

impl State {
    /// As in the `state` column and the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Requested { .. } => "requested",
            Self::Granting { .. } => "granting",
            Self::Active { .. } => "active",
            Self::Ending { .. } => "ending",
            Self::Ended { .. } => "ended",
            Self::Refused { .. } => "refused",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
            Self::Failed { .. } => "failed",
        }
    }

    pub fn is_end(&self) -> bool {
        match self {
            Self::Ended { .. }
            | Self::Refused { .. }
            | Self::Withdrawn
            | Self::Expired
            | Self::Failed { .. } => true,
            Self::Requested { .. } | Self::Granting { .. } | Self::Active { .. } | Self::Ending { .. } => {
                false
            }
        }
    }

    /// The portal is about to write: a page that shows this looks again by itself.
    pub fn is_moving(&self) -> bool {
        matches!(self, Self::Granting { .. } | Self::Ending { trouble: None, .. })
    }

    /// Until when the person has the role, or was to have it.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Granting { until, .. } | Self::Active { until, .. } | Self::Ending { until, .. } => {
                Some(*until)
            }
            _ => None,
        }
    }

    /// The legal transitions, as data; a test walks them.
    pub fn may_become(&self, next: &Self) -> bool {
        const LEGAL: &[(&str, &[&str])] = &[
            ("requested", &["granting", "refused", "withdrawn", "expired", "failed"]),
            ("granting", &["active", "ending", "failed"]),
            ("active", &["ending", "ended"]),
            ("ending", &["ending", "ended"]),
        ];
        let to = |(from, to): &(&str, &[&str])| *from == self.name() && to.contains(&next.name());
        LEGAL.iter().any(to)
    }
}

/// What happened to a grant. Written down in the transaction that makes it true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Requested,
    Approved {
        grantor: Person,
        note: String,
        until: Timestamp,
    },
    Refused {
        note: String,
    },
    Withdrawn,
    Expired,
    /// The binding is in the cluster.
    Granted,
    /// It is to be removed, in this person's name.
    EndDue {
        by: Person,
        why: End,
    },
    /// The cluster did not let it go.
    EndRefused {
        why: String,
    },
    Ended,
    /// Somebody removed it in the cluster.
    FoundGone,
    Failed {
        why: String,
    },
}

/// The state after an event. None: this event can't happen in that state.
pub fn apply(state: &State, event: &Event, actor: &str, at: Timestamp) -> Option<State> {
    let next = match (event, state) {
        (Event::Requested, State::Requested { .. }) => return Some(state.clone()),
        (Event::Requested, _) => return None,
        (Event::Approved { grantor, until, .. }, _) => {
            State::Granting { grantor: grantor.clone(), until: *until }
        }
        (Event::Refused { note }, _) => State::Refused { by: actor.into(), note: note.clone() },
        (Event::Withdrawn, _) => State::Withdrawn,
        (Event::Expired, _) => State::Expired,
        (Event::Granted, State::Granting { grantor, until }) => {
            State::Active { grantor: grantor.clone(), until: *until }
        }
        (Event::EndDue { by, why }, state) => State::Ending {
            by: by.clone(),
            until: state.until()?,
            since: at,
            why: why.clone(),
            trouble: None,
        },
        (Event::EndRefused { why: trouble }, State::Ending { by, until, since, why, .. }) => State::Ending {
            by: by.clone(),
            until: *until,
            since: *since,
            why: why.clone(),
            trouble: Some(trouble.clone()),
        },
        (Event::Ended, State::Ending { why, .. }) => State::Ended { why: why.clone() },
        (Event::FoundGone, State::Active { .. }) => State::Ended { why: End::Elsewhere },
        (Event::Failed { why }, _) => State::Failed { why: why.clone() },
        (Event::Granted | Event::EndRefused { .. } | Event::Ended | Event::FoundGone, _) => return None,
    };
    state.may_become(&next).then_some(next)
}

/// An access request as it is stored.
#[derive(Clone, Debug)]
pub struct Grant {
    pub id: GrantId,
    pub requester: Person,
    /// What they looked at when they asked; may be empty.
    pub service: String,
    pub place: Place,
    pub terms: Terms,
    pub seconds: i64,
    pub reason: String,
    pub contact: String,
    pub digest: Digest,
    pub state: State,
    pub requested: Timestamp,
    pub ended: Option<Timestamp>,
    pub fence: i64,
}

impl Grant {
    pub fn url(&self) -> String {
        format!("/access/{}", self.id)
    }

    pub fn lasts(&self) -> SignedDuration {
        SignedDuration::from_secs(self.seconds)
    }

    /// What is written to the cluster, where it is to last until then.
    pub fn binding(&self, until: Timestamp) -> Binding<'_> {
        Binding {
            request: self.id.0,
            namespace: &self.place.namespace,
            cluster_role: &self.terms.cluster_role,
            username: &self.requester.username,
            until,
        }
    }
}

/// Over everything an approval is bound to: who gets what, where, for how long, under which rules.
pub fn digest(requester: &Person, place: &Place, terms: &Terms, seconds: i64) -> Digest {
    Digest::over(&json!([requester.identity, requester.username, place, terms, seconds]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::samples::{NOOR, OMAR, at, every_state, grant, person};

    #[test]
    fn an_end_is_an_end() {
        for state in every_state().iter().filter(|state| state.is_end()) {
            for next in every_state() {
                assert!(!state.may_become(&next), "{} → {}", state.name(), next.name());
            }
        }
    }

    #[test]
    fn nothing_is_given_without_somebody_who_gave_it() {
        let waiting = State::Requested { expires: at("15:00") };
        assert_eq!(apply(&waiting, &Event::Granted, "Pilothouse", at("14:00")), None);
        let due = Event::EndDue { by: person(OMAR), why: End::Time };
        assert_eq!(apply(&waiting, &due, "Pilothouse", at("14:00")), None);
    }

    #[test]
    fn the_whole_way_is_the_fold_of_its_events() {
        let events = [
            Event::Requested,
            Event::Approved { grantor: person(OMAR), note: String::new(), until: at("22:00") },
            Event::Granted,
            Event::EndDue { by: person(OMAR), why: End::Time },
            Event::EndRefused { why: "The cluster can't be reached.".into() },
            Event::Ended,
        ];
        let start = State::Requested { expires: at("15:00") };
        let end = events.iter().fold(start, |state, event| {
            apply(&state, event, "Pilothouse", at("14:00"))
                .unwrap_or_else(|| panic!("{event:?} in {state:?}"))
        });
        assert_eq!(end, State::Ended { why: End::Time });
    }

    #[test]
    fn another_person_place_time_or_rule_is_another_digest() {
        let one = grant();
        let of = |change: fn(&mut Grant)| {
            let mut other = grant();
            change(&mut other);
            digest(&other.requester, &other.place, &other.terms, other.seconds)
        };
        assert_eq!(of(|_| {}), one.digest);
        assert_ne!(of(|it| it.requester.username = "mallory".into()), one.digest);
        assert_ne!(of(|it| it.place.namespace = "kube-system".into()), one.digest);
        assert_ne!(of(|it| it.seconds += 1), one.digest);
        assert_ne!(of(|it| it.terms.cluster_role = "admin".into()), one.digest);
        assert_ne!(person(NOOR).identity, person(OMAR).identity);
    }
}
