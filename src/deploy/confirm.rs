//! The dialog before a production deploy is approved: exactly what changes, and for what customers depend on the
//! service's name has to be typed (DESIGN.md, Confirm). The server checks all of it again.

use super::deploy::{Deploy, Place, Policy};
use super::gates::Verdict;
use super::store::Decided;
use super::wording;
use crate::app::App;

/// Tier 0 is what customers notice at once.
const TYPED_TIER: u8 = 0;

pub struct Confirmation {
    pub title: &'static str,
    pub text: String,
    pub facts: Vec<(&'static str, String)>,
    /// What speaks against it.
    pub warnings: Vec<String>,
    pub name_to_type: Option<String>,
    pub verb: &'static str,
}

impl Confirmation {
    pub fn of(app: &App, deploy: &Deploy, decided: &[Decided]) -> Self {
        let have = decided.iter().filter(|decided| decided.verdict == Verdict::Approve).count();
        let last = have + 1 >= deploy.policy.approvals as usize;
        let change = deploy.action.change();
        let mut facts = vec![("Service", deploy.place.service.clone())];
        if let Some(change) = change {
            facts.push(("Image", wording::from_to(&change.replaces_version, &change.version)));
        }
        let migration = deploy.action.migration();
        if let Some(migration) = migration {
            facts.push(("Command", migration.line()));
            facts.push(("Image", migration.version.clone()));
        }
        facts.push(("Namespace", deploy.place.namespace.clone()));
        if deploy.policy.soak_seconds > 0 && migration.is_none() {
            facts.push(("Watched for", format!("{}\u{a0}s after the rollout", deploy.policy.soak_seconds)));
        }
        let warns = deploy.checks.iter().filter(|check| check.class == "warn");
        Self {
            title: match (last, migration) {
                (true, None) => "Approve and start the rollout?",
                (true, Some(_)) => "Approve and run the migration?",
                (false, _) => "Approve?",
            },
            text: wording::what_approving_does(deploy, last),
            facts,
            warnings: warns.map(|check| format!("{}. {}", check.title, check.detail)).collect(),
            name_to_type: name_to_type(app, &deploy.place, &deploy.policy),
            verb: match (last, migration) {
                (true, None) => "Approve and roll out",
                (true, Some(_)) => "Approve and run",
                (false, _) => "Approve",
            },
        }
    }
}

/// The name that has to be typed to approve this, or to do without an approval.
pub fn name_to_type(app: &App, place: &Place, policy: &Policy) -> Option<String> {
    let tier = app.catalogue.load().service(&place.service)?.tier;
    (policy.production && tier == Some(TYPED_TIER)).then(|| place.service.clone())
}
