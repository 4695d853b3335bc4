//! Checks: what is asked beforehand, as the person who wants a change, and told beside its form: each a line that passes,
//! warns or refuses, and says who can help.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};
use serde_json::Value;

use super::deploy::{CheckMade, Place, Policy};
use super::{needs, store, wording};
use crate::app::App;
use crate::config::Environment;
use crate::kube::dry_run::{self, ObjectPlan, PodStart};
use crate::kube::{LiveWorkload, MakesPods, Refusal};
use crate::registry::{Digest as ImageDigest, ImageRef, RegistryError};
use crate::web::Result;
use crate::web::filters::{short_digest, when};

/// One line of "Checks, as you".
pub struct Check {
    /// `ok`, `warn`, `bad` or `idle` of the design kit.
    pub class: &'static str,
    pub title: String,
    pub detail: String,
    /// Who can help, for a check that fails.
    pub help: Option<String>,
}

impl Check {
    /// As it is kept with the deploy.
    pub(super) fn made(&self) -> CheckMade {
        CheckMade { class: self.class.into(), title: self.title.clone(), detail: self.detail.clone() }
    }

    pub(super) fn ok(title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { class: "ok", title: title.into(), detail: detail.into(), help: None }
    }
    pub(super) fn warn(title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { class: "warn", title: title.into(), detail: detail.into(), help: None }
    }
    pub(super) fn idle(title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { class: "idle", title: title.into(), detail: detail.into(), help: None }
    }
    pub(super) fn bad(title: impl Into<String>, detail: impl Into<String>, help: Option<String>) -> Self {
        Self { class: "bad", title: title.into(), detail: detail.into(), help }
    }
}

/// Whether the cluster refuses the same without an approval, as it should. None: it was refused anyway, or it changes
/// nothing that runs.
pub(super) fn guarded(
    plans: &[ObjectPlan],
    without_approval: &[ObjectPlan],
    policy: &str,
    breaks_glass: bool,
) -> Option<Check> {
    let is_guards =
        |plan: &ObjectPlan| matches!(&plan.after, Err(Refusal::Policy { policy: by, .. }) if by == policy);
    if without_approval.iter().any(is_guards) {
        let detail = format!("{policy} refuses this without an approval, whoever sends it");
        return Some(Check::ok("The cluster demands the approval too", detail));
    }
    let runs = |object: &Value| object.pointer("/spec/template/spec").cloned();
    let changes_nothing = |plan: &ObjectPlan| {
        plan.object
            .as_ref()
            .and_then(runs)
            .is_none_or(|after| Some(after) == plan.live.as_ref().and_then(runs))
    };
    if plans.iter().any(|plan| plan.after.is_err()) || plans.iter().all(changes_nothing) {
        return None;
    }
    Some(if breaks_glass {
        Check::idle(
            "The cluster lets you pass without approval",
            "You are in a group that may break the glass.",
        )
    } else {
        let detail = "It is configured to, and would let this through without one. The platform team can find out why: \
                      platform guard check";
        Check::warn("The cluster does not demand the approval", detail)
    })
}

/// What a dry run of one pod says.
pub(super) fn would_start(pod: PodStart, platform: &[String]) -> Check {
    match pod {
        PodStart::WouldStart { warnings, .. } if warnings.is_empty() => {
            Check::ok("Its pods would be let in", "Quota, limits and pod security, by a dry run of one pod")
        }
        PodStart::WouldStart { warnings, .. } => {
            Check::warn("Its pods would be let in, with a warning", warnings.join(" "))
        }
        PodStart::Refused(refusal) => {
            Check::bad("Its pods would be refused", refusal.sentence(), refusal.who_can_grant(platform))
        }
        PodStart::NotAsked => {
            Check::idle("Pods not checked", "You may not create pods here, so no pod could be tried as you.")
        }
    }
}

/// The digest behind a reference, and the check that says so. `Err`: it can't be used here.
pub(super) async fn resolve(
    app: &App,
    reference: &ImageRef,
    environment: &Environment,
) -> std::result::Result<(Option<ImageDigest>, Vec<Check>), Check> {
    let nodes = app.clusters.get(environment.cluster.get_ref());
    let (resolved, nodes) = tokio::join!(app.registry.resolve(reference), nodes.platforms());
    match (reference.digest(), resolved) {
        (_, Ok(resolved)) => {
            let exists = Check::ok("Image exists", short_digest(resolved.digest.as_str()));
            // A cluster that is away is told of by the checks that need it.
            let fits = needs::platform(&resolved.platforms, &nodes.unwrap_or_default());
            Ok((Some(resolved.digest), [exists].into_iter().chain(fits).collect()))
        }
        (digest, Err(error @ RegistryError::Unreachable { .. }))
            if environment.allow_unresolved || !environment.production =>
        {
            Ok((digest.cloned(), vec![Check::warn("Image not looked up", error.to_string())]))
        }
        (_, Err(error)) => Err(Check::bad("No such image", error.to_string(), None)),
    }
}

/// Whether the environment before this one has run the same bytes, where that is the rule.
pub(super) async fn requirement(
    app: &App,
    place: &Place,
    policy: &Policy,
    version: &str,
    digest: Option<&str>,
    now: Timestamp,
) -> Result<Option<Check>> {
    let Some(required) = &policy.requires else { return Ok(None) };
    let Some(digest) = digest else {
        let detail = format!("Without a digest nobody can say whether {required} ran these bytes.");
        return Ok(Some(Check::bad("Unknown bytes", detail, None)));
    };
    let mut db = app.db.acquire().await?;
    let since = store::first_success(&mut db, &place.service, required, digest).await?;
    Ok(Some(match since {
        Some(at) => {
            Check::ok(format!("{} ran it", capitalised(required)), format!("first {}", when(at, now)))
        }
        None => Check::bad(
            format!("{} has not run it", capitalised(required)),
            format!(
                "{} needs {} to have run the same digest with success.",
                capitalised(&place.environment),
                required
            ),
            Some(format!("Deploy {version} to {required} first.")),
        ),
    }))
}

/// Whether it would wait for the end of a freeze.
pub(super) fn frozen(environment: &Environment, now: Timestamp) -> Option<Check> {
    let frozen = environment.frozen(now)?;
    let title = format!("Frozen until {}", frozen.until_there);
    let detail = format!("{}. It can be asked for and approved now, and starts by itself then.", frozen.name);
    Some(Check::warn(title, detail))
}

/// Whether the quotas leave room for so many pods more.
pub(super) fn room(
    live: &LiveWorkload,
    more: i32,
    quotas: &[ResourceQuota],
    limits: &[LimitRange],
    namespace: &str,
) -> Option<Check> {
    let template = live.template().filter(|_| more > 0)?;
    let pod = dry_run::with_defaults(template.clone(), limits);
    Some(match dry_run::quota_after(quotas, &pod, more).first() {
        None => Check::ok(
            "The quota leaves room",
            format!("For {more} more {}", if more == 1 { "pod" } else { "pods" }),
        ),
        Some(short) => Check::bad("Not enough quota", short.sentence(namespace), None),
    })
}

/// What a change would wait for. Who `passes` does not wait for what a freeze holds.
pub(super) async fn queue(app: &App, place: &Place, passes: bool) -> Result<Option<Check>> {
    let mut db = app.db.acquire().await?;
    let first = store::in_the_way(&mut db, place, None, passes).await?;
    Ok(first.map(|id| {
        let detail = format!("Deployment {id} is under way here. Yours starts when it ends.");
        Check::warn("Waits in the queue", detail)
    }))
}

/// Who can give somebody a right in a team's namespaces.
pub fn who_grants(app: &App, team: &str) -> String {
    let platform: Vec<String> = app.config.access.platform.iter().cloned().collect();
    format!("The team {team} or {} can grant it.", wording::any_of(&platform))
}

/// "RBAC: allowed by RoleBinding "payments/payments-production" of ClusterRole "edit" to Group "oidc:payments"" in short.
pub(super) fn granted_by(reason: &str) -> String {
    let quoted: Vec<&str> = reason.split('"').skip(1).step_by(2).collect();
    match quoted.as_slice() {
        [_, role, subject, ..] => format!("Role {role}, through {subject}"),
        _ => "The cluster says so".into(),
    }
}

pub(super) fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authorizers_reason_is_told_in_short() {
        let reason = r#"RBAC: allowed by RoleBinding "payments/payments-production" of ClusterRole "edit" to Group "oidc:payments""#;
        assert_eq!(granted_by(reason), "Role edit, through oidc:payments");
        assert_eq!(granted_by(""), "The cluster says so");
    }
}
