//! Named characters for the tests of this slice.

use std::collections::BTreeMap;

use super::deploy::{Action, Deploy, DeployId, Digest, ImageChange, Place, Policy};
use super::state::State;
use super::strategy::{Beside, Strategy};
use crate::auth::{Identity, Person};
use crate::kube::WorkloadKind;

pub type Character = (&'static str, &'static str, &'static [&'static str]);
pub const MAYA: Character = ("maya", "Maya Okafor", &["engineering", "payments"]);
pub const OMAR: Character = ("omar", "Omar Haddad", &["engineering", "payments", "payments-managers"]);
pub const NINA: Character = ("nina", "Nina Petrova", &["engineering", "on-call"]);

pub fn person((user, name, groups): Character) -> Person {
    Person {
        identity: Identity { issuer: "https://id.example".into(), subject: user.into() },
        username: format!("{user}@acme.example"),
        name: name.into(),
        groups: groups.iter().map(ToString::to_string).collect(),
        set_off_by: None,
    }
}

/// checkout-api v1.1.0 in place of v1.0.0.
pub fn change() -> ImageChange {
    let image = |digest: &str| {
        BTreeMap::from([("app".to_string(), format!("registry/payments/checkout-api@{digest}"))])
    };
    ImageChange {
        version: "v1.1.0".into(),
        reference: "registry/payments/checkout-api:v1.1.0".into(),
        digest: Some("sha256:new".into()),
        workload: "checkout-api".into(),
        workload_kind: WorkloadKind::Deployment,
        images: image("sha256:new"),
        replaces: image("sha256:old"),
        replaces_version: "v1.0.0".into(),
        objects: Vec::new(),
        take_over: None,
        strategy: Strategy::Rolling,
    }
}

/// What stands beside checkout-api.
pub fn beside(suffix: &str) -> Beside {
    Beside {
        name: format!("checkout-api-{suffix}"),
        label: "app".into(),
        value: format!("checkout-api-{suffix}"),
        was: Some("checkout-api".into()),
        services: vec!["checkout-api".into()],
        autoscaler: None,
    }
}

/// Maya asks for it in production.
pub fn deploy() -> Deploy {
    let action = Action::Deploy(change());
    let place = Place {
        service: "checkout-api".into(),
        team: "payments".into(),
        environment: "production".into(),
        cluster: "main".into(),
        namespace: "payments-production".into(),
    };
    let policy = Policy {
        production: true,
        approvals: 1,
        approvers: vec!["payments-managers".into()],
        requires: Some("staging".into()),
        soak_seconds: 60,
        deadline_seconds: 600,
        expires_seconds: 86_400,
    };
    Deploy {
        id: DeployId(7),
        digest: Digest::of(&place, &action, &policy),
        place,
        action,
        requester: person(MAYA),
        reason: "Captures time out. v1.1.0 retries them once.".into(),
        policy,
        state: State::Requested,
        requested: "2026-11-23T13:56:00Z".parse().expect("a valid time"),
        ended: None,
        fence: 0,
        shown: Vec::new(),
        checks: Vec::new(),
        progress: None,
        glass: false,
    }
}
