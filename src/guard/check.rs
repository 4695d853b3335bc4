//! `platform guard check`: asks the live cluster, by dry runs, about everything that the guard should refuse and everything
//! that it should let through. Whoever is made up for it may do anything by RBAC, so a refusal is the guard's.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use super::manifests;
use crate::config::{Config, Environment, Guard};
use crate::kube::Refusal;
use crate::kube::apply::APPROVAL_ANNOTATION;
use crate::kube::rights::Impersonation;
use crate::kube::sources::ENVIRONMENT_LABEL;
use crate::kube::trial::{Administrator, MadeUp};

/// One thing that was tried.
pub struct Line {
    pub good: bool,
    pub what: String,
    pub detail: String,
}

/// What should come of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Should {
    BeRefused,
    Pass,
}

const APPROVAL: &str = "guard-check";

pub async fn check(
    config: &Config,
    environment: &Environment,
    guard: &Guard,
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    namespace: Option<String>,
) -> anyhow::Result<Vec<Line>> {
    let administrator = Administrator::connect(kubeconfig, context).await?;
    let namespaces: Api<Namespace> = Api::all(administrator.client());
    let namespaces =
        namespaces.list(&ListParams::default()).await.context("the namespaces can’t be listed")?;
    let (labelled, forgotten) = sort(environment, &namespaces.items);
    let mut lines = vec![policy_is_ours(&administrator, config, environment, guard).await?];
    lines.push(Line {
        good: forgotten.is_empty() && !labelled.is_empty(),
        what: format!("It holds in every namespace of {}", environment.name()),
        detail: match (labelled.is_empty(), forgotten.is_empty()) {
            (_, false) => format!(
                "these lack the label {ENVIRONMENT_LABEL}={}: {}",
                environment.name(),
                forgotten.join(", ")
            ),
            (true, true) => format!("no namespace has the label {ENVIRONMENT_LABEL}={}", environment.name()),
            (false, true) => labelled.join(", "),
        },
    });
    lines.push(nobody_else_carries_approvals(&administrator).await?);
    let Some(namespace) = namespace.or_else(|| labelled.first().cloned()) else { return Ok(lines) };
    let policy = environment.guard_policy().unwrap_or_default();
    let trial = Trial { administrator, namespace, policy };
    trial.refused(&mut lines).await?;
    trial.passed(&mut lines, &manifests::break_glass(config, guard), guard).await?;
    Ok(lines)
}

/// Namespaces with the label; and those that the configuration's pattern fits, without it.
fn sort(environment: &Environment, namespaces: &[Namespace]) -> (Vec<String>, Vec<String>) {
    let name = |namespace: &Namespace| namespace.metadata.name.clone().unwrap_or_default();
    let has_label = |namespace: &&Namespace| {
        let label = namespace.metadata.labels.as_ref().and_then(|labels| labels.get(ENVIRONMENT_LABEL));
        label.is_some_and(|label| label == environment.name())
    };
    let (labelled, others): (Vec<_>, Vec<_>) = namespaces.iter().partition(has_label);
    let forgotten = others.into_iter().map(name).filter(|name| fits(environment, name)).collect();
    (labelled.into_iter().map(name).collect(), forgotten)
}

/// Whether a namespace could be one of the environment's, by what stands around {service} and {team} in the pattern. One
/// with nothing around them fits everything, and says nothing.
fn fits(environment: &Environment, namespace: &str) -> bool {
    let pattern = environment.namespace_for("\0", "\0");
    let parts: Vec<&str> = pattern.split('\0').collect();
    if parts.iter().all(|part| part.len() < 2) {
        return false;
    }
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return false };
    if parts.len() == 1 {
        return namespace == pattern;
    }
    let middle = namespace.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    middle.is_some_and(|middle| !middle.is_empty())
}

/// Compares what decides: who is let off, and what is demanded.
async fn policy_is_ours(
    administrator: &Administrator,
    config: &Config,
    environment: &Environment,
    guard: &Guard,
) -> anyhow::Result<Line> {
    let text = manifests::manifests(config, environment, guard, Impersonation::Constrained);
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    let ours: ValidatingAdmissionPolicy = serde_json::from_value(documents[0].clone())?;
    let api: Api<ValidatingAdmissionPolicy> = Api::all(administrator.client());
    let name = environment.guard_policy().unwrap_or_default();
    let there = api.get_opt(&name).await.context("the admission policies can’t be read")?;
    let decides = |policy: &ValidatingAdmissionPolicy| {
        let spec = policy.spec.clone().unwrap_or_default();
        (spec.match_conditions, spec.validations, spec.variables, spec.failure_policy)
    };
    let detail = match &there {
        Some(there) if decides(there) == decides(&ours) => String::new(),
        Some(_) => format!("{name} differs: apply what platform guard manifests prints"),
        None => format!("{name} is not there: apply what platform guard manifests prints"),
    };
    let what = "The policy is what the configuration makes".into();
    Ok(Line { good: detail.is_empty(), what, detail })
}

/// Somebody with no rights of their own, who is nobody but signed in.
async fn nobody_else_carries_approvals(administrator: &Administrator) -> anyhow::Result<Line> {
    let reviews: Api<SubjectAccessReview> = Api::all(administrator.client());
    let mut may = BTreeSet::new();
    for verb in ["impersonate", "impersonate:user-info"] {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some("pilothouse-guard-check".into()),
                groups: Some(vec!["system:authenticated".into()]),
                resource_attributes: Some(ResourceAttributes {
                    group: Some("authentication.k8s.io".into()),
                    resource: Some("userextras".into()),
                    subresource: Some(APPROVAL_ANNOTATION.into()),
                    verb: Some(verb.into()),
                    ..Default::default()
                }),
                ..Default::default()
            },
            ..Default::default()
        };
        let answer = reviews.create(&PostParams::default(), &review).await?;
        if answer.status.is_some_and(|status| status.allowed) {
            may.insert(verb);
        }
    }
    let detail = if may.is_empty() { "" } else { "everybody who is signed in to the cluster may" };
    Ok(Line {
        good: may.is_empty(),
        what: "Carrying an approval is not for everybody".into(),
        detail: detail.into(),
    })
}

struct Trial {
    administrator: Administrator,
    namespace: String,
    policy: String,
}

impl Trial {
    async fn refused(&self, lines: &mut Vec<Line>) -> anyhow::Result<()> {
        use Should::BeRefused;
        let engineer = || anybody(None);
        for kind in KINDS {
            let what = format!("a {kind} by hand");
            lines.push(self.create(BeRefused, &what, &engineer(), self.object(kind)).await?);
        }
        let mut owned = self.object("Pod");
        owned["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "made-up", "controller": true,
            "uid": "00000000-0000-0000-0000-000000000000",
        }]);
        lines.push(self.create(BeRefused, "a Pod that claims an owner", &engineer(), owned).await?);
        let forged = claiming(self.object("Deployment"), APPROVAL);
        lines.push(self.create(BeRefused, "a forged approval on the object", &engineer(), forged).await?);
        let other = claiming(self.object("Deployment"), "another");
        let carried = anybody(Some(APPROVAL));
        lines.push(self.create(BeRefused, "an approval for something else", &carried, other).await?);
        if let Some(found) = self.a_deployment().await? {
            let containers = found.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
            let container = containers.and_then(|pod| pod.containers.first()).map(|it| it.name.clone());
            let image = json!({"spec": {"template": {"spec": {"containers": [
                {"name": container.unwrap_or_default(), "image": "pilothouse.dev/guard-check:never"},
            ]}}}});
            lines.push(self.patch(BeRefused, "another image", &found, image).await?);
        }
        Ok(())
    }

    async fn passed(&self, lines: &mut Vec<Line>, groups: &[String], guard: &Guard) -> anyhow::Result<()> {
        use Should::Pass;
        let approved = claiming(self.object("Deployment"), APPROVAL);
        lines.push(
            self.create(Pass, "an approved change of the portal", &anybody(Some(APPROVAL)), approved).await?,
        );
        for group in groups {
            let mut who = anybody(None);
            who.groups.push(group.clone());
            lines.push(
                self.create(Pass, &format!("a member of {group}"), &who, self.object("Deployment")).await?,
            );
        }
        let controller = "system:serviceaccount:kube-system:replicaset-controller";
        for user in [controller].into_iter().chain(guard.exempt.iter().map(|user| user.get_ref().as_str())) {
            let who = MadeUp { username: user.into(), ..anybody(None) };
            lines.push(self.create(Pass, &format!("a Pod of {user}"), &who, self.object("Pod")).await?);
        }
        if let Some(found) = self.a_deployment().await? {
            let more = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1) + 1;
            lines.push(self.patch(Pass, "another size", &found, json!({"spec": {"replicas": more}})).await?);
            let restart = json!({"spec": {"template": {"metadata": {"annotations": {
                "kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z",
            }}}}});
            lines.push(self.patch(Pass, "a restart", &found, restart).await?);
        }
        Ok(())
    }

    /// One that runs there, to try changes of what exists.
    async fn a_deployment(&self) -> anyhow::Result<Option<Deployment>> {
        let api: Api<Deployment> = Api::namespaced(self.administrator.client(), &self.namespace);
        Ok(api.list(&ListParams::default().limit(1)).await?.items.into_iter().next())
    }

    async fn create(&self, should: Should, what: &str, who: &MadeUp, object: Value) -> anyhow::Result<Line> {
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_string();
        let kind: GroupVersionKind =
            kube::core::TypeMeta { api_version: text("apiVersion"), kind: text("kind") }.try_into()?;
        let client = self.administrator.as_somebody(who)?;
        let api: Api<DynamicObject> =
            Api::namespaced_with(client, &self.namespace, &ApiResource::from_gvk(&kind));
        let answer = api.create(&PostParams::default(), &serde_json::from_value(object)?).await;
        Ok(self.judge(should, what, answer.map(drop)))
    }

    async fn patch(&self, should: Should, what: &str, of: &Deployment, patch: Value) -> anyhow::Result<Line> {
        let client = self.administrator.as_somebody(&anybody(None))?;
        let api: Api<Deployment> = Api::namespaced(client, &self.namespace);
        let name = of.metadata.name.clone().unwrap_or_default();
        let answer = api.patch(&name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        Ok(self.judge(should, &format!("{what} for {name}"), answer.map(drop)))
    }

    /// Something else in the cluster may say no to what the guard let through; that is told, and no fault of the guard.
    fn judge(&self, should: Should, what: &str, answer: kube::Result<()>) -> Line {
        let refusal = answer.err().map(Refusal::from);
        let by_guard = matches!(&refusal, Some(Refusal::Policy { policy, .. }) if *policy == self.policy);
        let other = refusal.filter(|_| !by_guard).map(|refusal| refusal.sentence()).unwrap_or_default();
        let (good, word) = match should {
            Should::BeRefused => (by_guard, "Refused"),
            Should::Pass => (!by_guard, "Passes"),
        };
        let detail = match (good, other.is_empty()) {
            (true, true) => String::new(),
            (_, false) => other,
            (false, true) if by_guard => "it is refused".into(),
            (false, true) => "it passes".into(),
        };
        Line { good, what: format!("{word}: {what}"), detail }
    }

    /// Something of this kind that PodSecurity's strictest profile lets in.
    fn object(&self, kind: &str) -> Value {
        let name = "pilothouse-guard-check";
        let labels = json!({"app": name});
        let restart = if ["Job", "CronJob"].contains(&kind) { "Never" } else { "Always" };
        let spec = json!({
            "restartPolicy": restart,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "main",
                "image": "pilothouse.dev/guard-check:never",
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"}},
            }],
        });
        let template = json!({"metadata": {"labels": labels}, "spec": spec});
        let selector = json!({"matchLabels": labels});
        let (version, spec) = match kind {
            "Pod" => ("v1", spec),
            "ReplicationController" => ("v1", json!({"selector": labels, "template": template})),
            "Job" => ("batch/v1", json!({"template": template})),
            "CronJob" => (
                "batch/v1",
                json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}),
            ),
            "StatefulSet" => {
                ("apps/v1", json!({"serviceName": name, "selector": selector, "template": template}))
            }
            _ => ("apps/v1", json!({"selector": selector, "template": template})),
        };
        json!({
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        })
    }
}

const KINDS: [&str; 8] = [
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
    "Job",
    "CronJob",
    "Pod",
];

/// Somebody who may do anything, by RBAC.
fn anybody(approval: Option<&str>) -> MadeUp {
    MadeUp {
        username: "pilothouse-guard-check".into(),
        groups: vec!["system:masters".into()],
        approval: approval.map(Into::into),
    }
}

fn claiming(mut object: Value, approval: &str) -> Value {
    object["metadata"]["annotations"] = json!({ APPROVAL_ANNOTATION: approval });
    object
}
