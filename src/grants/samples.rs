//! A small world for this slice's tests: noor of no team asks, omar manages payments, nina is on call.

use jiff::Timestamp;

use super::grant::{End, Grant, GrantId, Place, State, Terms, digest};
use crate::auth::{Identity, Person};

pub const NOOR: (&str, &[&str]) = ("noor", &[]);
pub const OMAR: (&str, &[&str]) = ("omar", &["payments", "payments-managers"]);
pub const NINA: (&str, &[&str]) = ("nina", &["on-call"]);

pub fn person((name, groups): (&str, &[&str])) -> Person {
    Person {
        identity: Identity { issuer: "https://id.example".into(), subject: name.into() },
        username: name.into(),
        name: name.into(),
        groups: groups.iter().map(ToString::to_string).collect(),
        set_off_by: None,
    }
}

/// A time of one day, "14:00".
pub fn at(clock: &str) -> Timestamp {
    format!("2026-11-23T{clock}:00Z").parse().unwrap()
}

/// Asked for at 14:00, for eight hours.
pub fn grant() -> Grant {
    let place = Place {
        team: "payments".into(),
        environment: "staging".into(),
        production: false,
        cluster: "main".into(),
        namespace: "payments-staging".into(),
    };
    let terms = Terms {
        role: "edit".into(),
        cluster_role: "edit".into(),
        approvers: vec!["payments-managers".into()],
        longest_seconds: 28_800,
    };
    Grant {
        id: GrantId(7),
        digest: digest(&person(NOOR), &place, &terms, 28_800),
        requester: person(NOOR),
        service: String::new(),
        place,
        terms,
        seconds: 28_800,
        reason: "The certificate changes tonight.".into(),
        contact: "@noor".into(),
        state: State::Requested { expires: at("15:00") },
        requested: at("14:00"),
        ended: None,
        fence: 1,
    }
}

pub fn in_state(state: State) -> Grant {
    Grant { state, ..grant() }
}

pub fn active() -> State {
    State::Active { grantor: person(OMAR), until: at("22:00") }
}

pub fn ending(trouble: Option<&str>) -> State {
    State::Ending {
        by: person(OMAR),
        until: at("22:00"),
        since: at("22:00"),
        why: End::Time,
        trouble: trouble.map(Into::into),
    }
}

pub fn every_state() -> Vec<State> {
    vec![
        State::Requested { expires: at("15:00") },
        State::Granting { grantor: person(OMAR), until: at("22:00") },
        active(),
        ending(None),
        State::Ended { why: End::Time },
        State::Refused { by: "omar".into(), note: "no".into() },
        State::Withdrawn,
        State::Expired,
        State::Failed { why: "no".into() },
    ]
}
