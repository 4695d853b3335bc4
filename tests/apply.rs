//! Writing to a real cluster, as a person: who owns what, what is refused and why, and that no kind of change
//! undoes another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, Patch, PatchParams, PostParams};
use pilothouse::catalogue::{Run, Service};
use pilothouse::deploy::render::{Release, render};
use pilothouse::kube::apply::{
    self, FIELD_MANAGER, Fence, Marks, RESTART_MANAGER, apply_managed, carries_marker, image_patch,
    owned_images, restart_patch, runs_images, set_bounds, take_over,
};
use pilothouse::kube::dry_run::{PodStart, dry_run, pod_would_start, quota_after, with_defaults};
use pilothouse::kube::ownership::{
    ImageOwner, Manager, ReplicasOwner, image_owner, listed, names, replicas_owner,
};
use pilothouse::kube::{Refusal, UserClient, WorkloadKind, WorkloadRef};
use serde_json::{Value, json};

use crate::support::cluster::{Sandbox, connect, writes};
use crate::support::listen;
use crate::support::{gateway, until};

const V1: &str = "127.0.0.1:5000/payments/checkout-api:v1.0.0";
const V2: &str = "127.0.0.1:5000/payments/checkout-api:v1.1.0";
const V3: &str = "127.0.0.1:5000/payments/checkout-api:v1.2.0";

/// As a team has it in its own files. No scheduler takes its pods, so none runs.
fn web() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"team": "payments"}},
                "spec": {
                    "schedulerName": "nobody",
                    "containers": [
                        {"name": "web", "image": V1, "env": [{"name": "LEVEL", "value": "info"}]},
                        {"name": "proxy", "image": V1},
                    ],
                },
            },
        },
    })
}

/// `kubectl apply` and then `kubectl set image`, as the API server sees them.
async fn made_by_kubectl(sandbox: &Sandbox) -> Api<Deployment> {
    let deployments: Api<Deployment> = Api::namespaced(sandbox.admin.clone(), &sandbox.namespace);
    let params =
        PostParams { field_manager: Some("kubectl-client-side-apply".into()), ..PostParams::default() };
    deployments.create(&params, &serde_json::from_value(web()).unwrap()).await.unwrap();
    set_image(&deployments, "kubectl-set", V1).await;
    deployments
}

async fn set_image(deployments: &Api<Deployment>, manager: &str, image: &str) {
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}});
    let params = PatchParams { field_manager: Some(manager.into()), ..PatchParams::default() };
    deployments.patch("web", &params, &Patch::Strategic(patch)).await.unwrap();
}

fn deployment<'a>(namespace: &'a str, name: &'a str) -> WorkloadRef<'a> {
    WorkloadRef { kind: WorkloadKind::Deployment, namespace, name }
}

fn web_in(namespace: &str) -> WorkloadRef<'_> {
    deployment(namespace, "web")
}

fn images(image: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("web".to_string(), image.to_string())])
}

fn marks(deploy: &str) -> Marks {
    Marks { deploy: Some(deploy.into()), approval: None }
}

/// Whoever writes here is the only one.
struct Open;

impl Fence for Open {
    async fn stands(&self) -> Result<(), Refusal> {
        Ok(())
    }
}

/// A deploy of the image, as the engine does it: without force.
async fn deploy(
    user: &UserClient,
    namespace: &str,
    image: &str,
    id: &str,
) -> Result<apply::Applied, Refusal> {
    apply::apply(user, &image_patch(web_in(namespace), &images(image), &marks(id)), FIELD_MANAGER, &Open)
        .await
}

fn holders(deployment: &Deployment) -> Vec<Manager> {
    match image_owner(deployment, "web") {
        ImageOwner::TakeOver { managers } => managers,
        other => panic!("{other:?}"),
    }
}

async fn restart(user: &UserClient, namespace: &str, id: &str) -> apply::Applied {
    let asked = "2026-11-23T14:02:00Z".parse().unwrap();
    apply::apply(user, &restart_patch(web_in(namespace), id, asked), RESTART_MANAGER, &Open).await.unwrap()
}

/// A Deployment whose image the portal has taken over already.
async fn taken_over(sandbox: &Sandbox) -> Api<Deployment> {
    let deployments = made_by_kubectl(sandbox).await;
    let agreed = listed(&holders(&deployments.get("web").await.unwrap())).unwrap();
    take_over(
        &sandbox.maya(),
        web_in(&sandbox.namespace),
        &images(V2),
        &images(V1),
        &agreed,
        &marks("1"),
        &Open,
    )
    .await
    .unwrap();
    deployments
}

#[tokio::test]
async fn an_image_that_kubectl_set_is_taken_over_once_when_agreed_and_never_forced_again() {
    let sandbox = Sandbox::new("take-over", json!({})).await;
    let (maya, namespace) = (sandbox.maya(), &sandbox.namespace);
    let deployments = made_by_kubectl(&sandbox).await;
    set_image(&deployments, "jenkins", V3).await;

    // The form names the owner, and the API server agrees.
    let before = deployments.get("web").await.unwrap();
    let managers = holders(&before);
    assert_eq!(names(&managers), "jenkins");
    let refusal = deploy(&maya, namespace, V2, "1").await.unwrap_err();
    assert_eq!(refusal.sentence(), "jenkins holds the image of web. The portal does not overwrite it.");

    // Agreed to for somebody else: nothing is forced.
    let refusal =
        take_over(&maya, web_in(namespace), &images(V2), &images(V3), "kubectl-set", &marks("1"), &Open)
            .await
            .unwrap_err();
    assert!(matches!(refusal, Refusal::Conflict { .. }), "{refusal:?}");
    assert!(runs_images(&deployments.get("web").await.unwrap(), &images(V3)));

    // The form shows one changed line, and that is what the take-over changes.
    let plans = dry_run(&maya, &[image_patch(web_in(namespace), &images(V2), &Marks::default())], true).await;
    assert_eq!(
        changed_lines(&plans[0].before, plans[0].after.as_ref().unwrap()),
        [format!("-image: {V3}"), format!("+image: {V2}"),]
    );
    let agreed = listed(&managers).unwrap();
    let applied = take_over(&maya, web_in(namespace), &images(V2), &images(V3), &agreed, &marks("1"), &Open)
        .await
        .unwrap();
    let after = deployments.get("web").await.unwrap();
    assert_eq!(applied.generation, before.metadata.generation.unwrap() + 1);
    assert!(carries_marker(&after, "1") && runs_images(&after, &images(V2)));
    assert_eq!(image_owner(&after, "web"), ImageOwner::Ours);
    assert_eq!(owned_images(&after), images(V2));
    let pod = |deployment: &Deployment| serde_json::to_value(deployment.spec.as_ref().unwrap()).unwrap();
    let (mut expected, after) = (pod(&before), pod(&after));
    expected["template"]["spec"]["containers"][0]["image"] = json!(V2);
    expected["template"]["metadata"]["annotations"]["pilothouse.dev/deploy"] = json!("1");
    assert_eq!(after, expected, "nothing else is touched");

    // Ever after: no force.
    let applied = deploy(&maya, namespace, V1, "2").await.unwrap();
    assert!(applied.changed);
    assert!(carries_marker(&deployments.get("web").await.unwrap(), "2"));
}

#[tokio::test]
async fn the_same_apply_again_changes_nothing() {
    let sandbox = Sandbox::new("again", json!({})).await;
    let maya = sandbox.maya();
    taken_over(&sandbox).await;

    let first = deploy(&maya, &sandbox.namespace, V1, "2").await.unwrap();
    let again = deploy(&maya, &sandbox.namespace, V1, "2").await.unwrap();

    assert!(first.changed && !again.changed);
    assert_eq!(first.generation, again.generation);
    // One write of a new generation, by maya and not by the portal.
    let writers = until("the write in the audit log", async || {
        let writers = generation_writers(&sandbox.namespace, "web", first.generation);
        (!writers.is_empty()).then_some(writers)
    })
    .await;
    assert_eq!(writers, [("pilothouse".to_string(), "maya@acme.example".to_string())]);
}

#[tokio::test]
async fn deploys_restarts_and_scales_never_undo_one_another() {
    let sandbox = Sandbox::new("together", json!({})).await;
    let (maya, namespace) = (sandbox.maya(), sandbox.namespace.as_str());
    let deployments = taken_over(&sandbox).await;
    // Somebody's `kubectl rollout restart` is theirs and stays.
    let by_kubectl = json!({"spec": {"template": {"metadata": {"annotations": {
        "kubectl.kubernetes.io/restartedAt": "2026-11-23T12:00:00Z"
    }}}}});
    let params = PatchParams { field_manager: Some("kubectl-rollout".into()), ..PatchParams::default() };
    deployments.patch("web", &params, &Patch::Strategic(by_kubectl)).await.unwrap();

    let restarted = restart(&maya, namespace, "2").await;
    assert!(restarted.changed && !restart(&maya, namespace, "2").await.changed);
    let scaled = apply::scale(&maya, web_in(namespace), 1, 3, &Open).await.unwrap();
    assert_eq!(scaled.generation, restarted.generation + 1);
    deploy(&maya, namespace, V3, "3").await.unwrap();
    restart(&maya, namespace, "4").await;

    let web = deployments.get("web").await.unwrap();
    assert!(runs_images(&web, &images(V3)) && carries_marker(&web, "3") && carries_marker(&web, "4"));
    let spec = web.spec.as_ref().unwrap();
    assert_eq!(spec.replicas, Some(3));
    let annotations = spec.template.metadata.as_ref().unwrap().annotations.as_ref().unwrap();
    let keys: Vec<_> = annotations.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "kubectl.kubernetes.io/restartedAt",
            "pilothouse.dev/deploy",
            "pilothouse.dev/restart",
            "pilothouse.dev/restarted-at",
            "team",
        ]
    );
}

#[tokio::test]
async fn a_scale_is_for_what_the_person_saw() {
    let sandbox = Sandbox::new("scale", json!({})).await;
    let (maya, namespace) = (sandbox.maya(), sandbox.namespace.as_str());
    let deployments = made_by_kubectl(&sandbox).await;
    let web = deployments.get("web").await.unwrap();
    assert!(
        matches!(replicas_owner(&web), ReplicasOwner::Others { managers } if names(&managers) == "kubectl apply")
    );

    let stale = apply::scale(&maya, web_in(namespace), 2, 4, &Open).await;
    assert!(matches!(stale, Err(Refusal::Stale { .. })), "{stale:?}");
    let applied = apply::scale(&maya, web_in(namespace), 1, 3, &Open).await.unwrap();
    assert!(applied.changed);
    assert_eq!(replicas_owner(&deployments.get("web").await.unwrap()), ReplicasOwner::Ours);
    let again = apply::scale(&maya, web_in(namespace), 1, 3, &Open).await.unwrap();
    assert_eq!((again.changed, again.generation), (false, applied.generation));

    // To zero and back. The API server does not remember who set a zero.
    assert!(apply::scale(&maya, web_in(namespace), 3, 0, &Open).await.unwrap().changed);
    assert_eq!(replicas_owner(&deployments.get("web").await.unwrap()), ReplicasOwner::Nobody);
    assert!(apply::scale(&maya, web_in(namespace), 0, 2, &Open).await.unwrap().changed);
}

#[tokio::test]
async fn an_autoscaler_keeps_the_replicas_and_a_person_its_bounds() {
    let sandbox = Sandbox::new("autoscaler", json!({})).await;
    let (maya, namespace) = (sandbox.maya(), sandbox.namespace.as_str());
    let deployments = taken_over(&sandbox).await;
    let spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 3, "maxReplicas": 5,
    });
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": spec,
    });
    sandbox.apply_as("kubectl", autoscaler).await;
    // It brings the Deployment up to its minimum at its next look, every 15 s.
    let owner = until("the autoscaler's write", async || {
        match replicas_owner(&deployments.get("web").await.unwrap()) {
            ReplicasOwner::Autoscaler { what, .. } => Some(what),
            _ => None,
        }
    })
    .await;
    assert_eq!(owner, "the HorizontalPodAutoscaler");

    deploy(&maya, namespace, V3, "2").await.unwrap();
    assert_eq!(deployments.get("web").await.unwrap().spec.unwrap().replicas, Some(3));

    let stale = set_bounds(&maya, namespace, "web", (1, 2), (2, 6), &Open).await;
    assert!(matches!(stale, Err(Refusal::Stale { .. })), "{stale:?}");
    assert!(set_bounds(&maya, namespace, "web", (3, 5), (2, 6), &Open).await.unwrap().changed);
    assert!(!set_bounds(&maya, namespace, "web", (3, 5), (2, 6), &Open).await.unwrap().changed);
}

#[tokio::test]
async fn who_may_not_is_told_what_and_who_can_grant_it() {
    let sandbox = Sandbox::new("rbac", json!({})).await;
    taken_over(&sandbox).await;
    let namespace = &sandbox.namespace;

    let refusal = deploy(&sandbox.lin(), namespace, V1, "2").await.unwrap_err();
    assert_eq!(refusal.sentence(), format!("lin@acme.example may not read Deployments in {namespace}."));
    let plans =
        dry_run(&sandbox.lin(), &[image_patch(web_in(namespace), &images(V1), &Marks::default())], true)
            .await;
    assert_eq!(plans[0].after.as_ref().unwrap_err(), &refusal);
    assert_eq!(plans[0].before, "", "what she may not read is not shown");
    assert_eq!(
        refusal.who_can_grant(&["platform".into()]).unwrap(),
        format!("The group platform can grant it with a RoleBinding in {namespace}.")
    );
}

#[tokio::test]
async fn a_deployment_that_is_gone_is_not_made_from_a_patch() {
    let sandbox = Sandbox::new("gone", json!({})).await;
    let expected = Refusal::NotFound { kind: "Deployment".into(), name: "web".into() };
    assert_eq!(deploy(&sandbox.maya(), &sandbox.namespace, V1, "1").await.unwrap_err(), expected);
    let plans = dry_run(
        &sandbox.maya(),
        &[image_patch(web_in(&sandbox.namespace), &images(V1), &Marks::default())],
        true,
    )
    .await;
    assert_eq!(plans[0].after, Err(expected));
}

#[tokio::test]
async fn pods_that_the_namespace_would_not_start_are_told_before_anybody_submits() {
    let labels = json!({
        "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
    });
    let sandbox = Sandbox::new("pod-security", labels).await;
    let (maya, namespace) = (sandbox.maya(), &sandbox.namespace);
    made_by_kubectl(&sandbox).await;
    let patch = image_patch(web_in(namespace), &images(V2), &Marks::default());

    // The Deployment itself is accepted, with a warning.
    let plan = dry_run(&maya, &[patch], true).await.remove(0);
    assert!(
        plan.warnings[0].starts_with("would violate PodSecurity \"restricted:latest\""),
        "{:?}",
        plan.warnings
    );
    let planned: Deployment = serde_json::from_value(plan.object.unwrap()).unwrap();
    let PodStart::Refused(Refusal::PodSecurity { profile, violations }) =
        pod_would_start(&maya, namespace, &planned.spec.unwrap().template).await
    else {
        panic!()
    };
    assert_eq!((profile.as_str(), violations.len()), ("restricted", 4));
    assert_eq!(pod_would_start(&sandbox.lin(), namespace, &Default::default()).await, PodStart::NotAsked);
}

#[tokio::test]
async fn a_quota_that_is_used_up_says_how_much_is_missing() {
    let sandbox = Sandbox::new("quota", json!({})).await;
    let (maya, namespace) = (sandbox.maya(), &sandbox.namespace);
    sandbox
        .apply_as(
            "kubectl",
            json!({
                "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"},
                "spec": {"hard": {"requests.memory": "64Mi"}},
            }),
        )
        .await;
    sandbox
        .apply_as("kubectl", json!({
            "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "defaults"},
            "spec": {"limits": [{"type": "Container", "defaultRequest": {"memory": "16Mi"}, "default": {"memory": "32Mi"}}]},
        }))
        .await;
    let with = |memory: &str| {
        let resources = json!({"requests": {"memory": memory}, "limits": {"memory": memory}});
        serde_json::from_value(
            json!({"spec": {"containers": [{"name": "web", "image": V1, "resources": resources}]}}),
        )
        .unwrap()
    };

    let refusal =
        until("the quota", async || match pod_would_start(&maya, namespace, &with("128Mi")).await {
            PodStart::Refused(refusal @ Refusal::Quota { .. }) => Some(refusal),
            _ => None,
        })
        .await;
    assert_eq!(
        refusal.sentence(),
        "Not enough left in the quota team: memory needs 128 MiB more, and 0 of 64 MiB is taken."
    );

    // What fits comes back with the namespace's defaults, ready to be counted.
    let bare =
        serde_json::from_value(json!({"spec": {"containers": [{"name": "web", "image": V1}]}})).unwrap();
    let start = pod_would_start(&maya, namespace, &bare).await;
    assert_eq!(start, PodStart::WouldStart { warnings: Vec::new(), pull_secrets: Vec::new() });
    let limits: Api<LimitRange> = maya.api(namespace);
    let pod = with_defaults(bare, &limits.list(&Default::default()).await.unwrap().items);
    let quotas: Api<ResourceQuota> = maya.api(namespace);
    let quotas = until("the quota's status", async || {
        let quotas = quotas.list(&Default::default()).await.unwrap().items;
        quotas[0].status.is_some().then_some(quotas)
    })
    .await;
    assert_eq!(quota_after(&quotas, &pod, 4), []);
    let short = quota_after(&quotas, &pod, 5);
    assert_eq!(
        short[0].sentence("payments-staging"),
        "The rollout needs 80 MiB more memory. payments-staging has 64 MiB of 64 MiB free."
    );
}

#[tokio::test]
async fn a_policy_speaks_in_its_own_words() {
    let sandbox = Sandbox::new("policy", json!({})).await;
    let (maya, namespace) = (sandbox.maya(), &sandbox.namespace);
    made_by_kubectl(&sandbox).await;
    let policy = Policy::forbid_tag(&sandbox, "v1.1.0").await;

    let patch = image_patch(web_in(namespace), &images(V2), &Marks::default());
    let refusal = until("the policy", async || {
        dry_run(&maya, std::slice::from_ref(&patch), true).await.remove(0).after.err()
    })
    .await;
    assert_eq!(refusal.sentence(), format!("The policy {} refuses this: v1.1.0 was recalled", policy.name));
    // What it does not mind passes.
    let patch = image_patch(web_in(namespace), &images(V3), &Marks::default());
    assert!(dry_run(&maya, &[patch], true).await[0].after.is_ok());
    policy.remove().await;
}

#[tokio::test]
async fn a_managed_service_is_made_updated_scaled_and_handed_to_an_autoscaler() {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let sandbox = Sandbox::new("managed", labels).await;
    let (maya, namespace) = (sandbox.maya(), sandbox.namespace.as_str());
    let deployments: Api<Deployment> = maya.api(namespace);
    let replicas = async || deployments.get("invoices").await.unwrap().spec.unwrap().replicas;
    let objects = |image: &str, size: Value| {
        let mut run = json!({"image": "invoices", "port": 8080, "probes": {"readiness": "/readyz"}});
        run.as_object_mut().unwrap().extend(size.as_object().unwrap().clone());
        let run: Run = serde_json::from_value(run).unwrap();
        let release = Release { environment: "staging", namespace, image, version: "v1" };
        render(&invoices(), &run, release)
    };

    // Made from nothing: the dry run shows whole objects, and their pods keep to PodSecurity restricted.
    let first = objects(V1, json!({"replicas": 2}));
    let plans = dry_run(&maya, &first, false).await;
    let shown: Vec<_> =
        plans.iter().map(|plan| (plan.kind.as_str(), plan.before.as_str(), plan.after.is_ok())).collect();
    assert_eq!(shown, [("Service", "", true), ("PodDisruptionBudget", "", true), ("Deployment", "", true)]);
    let planned: Deployment = serde_json::from_value(plans[2].object.clone().unwrap()).unwrap();
    let start = pod_would_start(&maya, namespace, &planned.spec.unwrap().template).await;
    assert!(matches!(start, PodStart::WouldStart { .. }), "{start:?}");
    let applied = apply_managed(&maya, &first, &marks("1"), &Open).await.unwrap();
    assert!(applied.iter().all(|applied| applied.changed) && applied.len() == 3);

    // The same again, and then a new image.
    let again = apply_managed(&maya, &first, &marks("1"), &Open).await.unwrap();
    assert!(again.iter().all(|applied| !applied.changed));
    apply_managed(&maya, &objects(V2, json!({"replicas": 2})), &marks("2"), &Open).await.unwrap();
    let live = deployments.get("invoices").await.unwrap();
    assert!(carries_marker(&live, "2") && !carries_marker(&live, "1"));

    // A person scales it; the next deploy leaves that alone.
    apply::scale(&maya, deployment(namespace, "invoices"), 2, 4, &Open).await.unwrap();
    apply_managed(&maya, &objects(V3, json!({"replicas": 2})), &marks("3"), &Open).await.unwrap();
    assert_eq!(replicas().await, Some(4));

    // Handed to an autoscaler: the size does not fall to one on the way.
    let scaling = objects(V3, json!({"min": 2, "max": 6}));
    apply_managed(&maya, &scaling, &marks("4"), &Open).await.unwrap();
    assert_eq!(replicas().await, Some(4));
    set_bounds(&maya, namespace, "invoices", (2, 6), (3, 8), &Open).await.unwrap();
    apply_managed(&maya, &objects(V1, json!({"min": 2, "max": 6})), &marks("5"), &Open).await.unwrap();
    let autoscalers: Api<HorizontalPodAutoscaler> = maya.api(namespace);
    assert_eq!(autoscalers.get("invoices").await.unwrap().spec.unwrap().max_replicas, 8);

    // And back to one: what is no longer rendered goes.
    apply_managed(&maya, &objects(V1, json!({"replicas": 1})), &marks("6"), &Open).await.unwrap();
    assert!(
        autoscalers
            .get_opt("invoices")
            .await
            .unwrap()
            .is_none_or(|gone| gone.metadata.deletion_timestamp.is_some())
    );
    let budgets: Api<PodDisruptionBudget> = maya.api(namespace);
    assert!(
        budgets
            .get_opt("invoices")
            .await
            .unwrap()
            .is_none_or(|gone| gone.metadata.deletion_timestamp.is_some())
    );
}

/// Somebody who writes to a budget right before the portal does.
struct Meddler {
    budgets: Api<PodDisruptionBudget>,
    writes: Value,
    left: AtomicU32,
}

impl Meddler {
    fn new(sandbox: &Sandbox, writes: Value, times: u32) -> Self {
        let budgets = Api::namespaced(sandbox.admin.clone(), &sandbox.namespace);
        Self { budgets, writes, left: times.into() }
    }
}

impl Fence for Meddler {
    async fn stands(&self) -> Result<(), Refusal> {
        let left = self.left.load(Ordering::Relaxed);
        if left > 0 {
            self.left.store(left - 1, Ordering::Relaxed);
            let mut patch = self.writes.clone();
            patch["metadata"]["annotations"]["left"] = json!(left.to_string());
            self.budgets.patch("invoices", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_moves_while_it_is_taken_away_goes_and_what_somebody_made_theirs_stays() {
    let sandbox = Sandbox::new("meddled", json!({})).await;
    let (maya, namespace) = (sandbox.maya(), sandbox.namespace.as_str());
    let budgets: Api<PodDisruptionBudget> = maya.api(namespace);
    let objects = |replicas: i32| {
        let run = json!({"image": "invoices", "port": 8080, "replicas": replicas});
        let release = Release { environment: "staging", namespace, image: V1, version: "v1" };
        render(&invoices(), &serde_json::from_value(run).unwrap(), release)
    };
    let there = async || {
        let found = budgets.get_opt("invoices").await.unwrap();
        found.is_some_and(|budget| budget.metadata.deletion_timestamp.is_none())
    };

    apply_managed(&maya, &objects(2), &marks("1"), &Open).await.unwrap();
    assert!(there().await);
    // As its controller does, all the time.
    let moves = Meddler::new(&sandbox, json!({}), 4);
    apply_managed(&maya, &objects(1), &marks("2"), &moves).await.unwrap();
    assert!(!there().await);

    apply_managed(&maya, &objects(2), &marks("3"), &Open).await.unwrap();
    let theirs = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}});
    let takes_it = Meddler::new(&sandbox, theirs, 4);
    apply_managed(&maya, &objects(1), &marks("4"), &takes_it).await.unwrap();
    assert!(there().await);
}

#[tokio::test]
async fn a_fixed_size_of_ours_is_kept_until_the_autoscaler_writes() {
    let sandbox = Sandbox::new("handover", json!({})).await;
    let (maya, namespace) = (sandbox.maya(), sandbox.namespace.as_str());
    let objects = |size: Value| {
        let mut run = json!({"image": "invoices", "port": 8080});
        run.as_object_mut().unwrap().extend(size.as_object().unwrap().clone());
        let release = Release { environment: "staging", namespace, image: V1, version: "v1" };
        render(&invoices(), &serde_json::from_value(run).unwrap(), release)
    };
    apply_managed(&maya, &objects(json!({"replicas": 3})), &marks("1"), &Open).await.unwrap();
    apply_managed(&maya, &objects(json!({"min": 2, "max": 6})), &marks("2"), &Open).await.unwrap();
    let deployments: Api<Deployment> = maya.api(namespace);
    assert_eq!(deployments.get("invoices").await.unwrap().spec.unwrap().replicas, Some(3));
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_is_told_apart_from_one_that_says_no() {
    let sandbox = Sandbox::new("away", json!({})).await;
    let identity = |portal: &pilothouse::kube::PortalClient| {
        let person = pilothouse::auth::Person {
            identity: pilothouse::auth::Identity { issuer: "i".into(), subject: "s".into() },
            username: "maya@acme.example".into(),
            name: "Maya".into(),
            groups: Default::default(),
            set_off_by: None,
        };
        portal.as_user(&pilothouse::auth::KubeIdentity::new(&person, "oidc:").unwrap())
    };
    // A gateway in front of an API server that takes too long: the write may have been carried out.
    let (listener, gateway) = listen().await;
    let late =
        axum::Router::new().fallback(|| async { (http::StatusCode::GATEWAY_TIMEOUT, "upstream timed out") });
    let late = tokio::spawn(async move { axum::serve(listener, late).await });
    let user = identity(&connect(kubeconfig(&sandbox.namespace, &gateway)).await);
    let refusal = deploy(&user, "anywhere", V1, "1").await.unwrap_err();
    assert_eq!(refusal, Refusal::Timeout);
    assert!(refusal.may_have_been_applied() && refusal.retryable());
    // And nobody at the door at all.
    late.abort();
    let (listener, nobody) = listen().await;
    drop(listener);
    let user = identity(&connect(kubeconfig(&sandbox.namespace, &nobody)).await);
    let refusal = deploy(&user, "anywhere", V1, "1").await.unwrap_err();
    assert_eq!(refusal.sentence(), "The cluster can't be reached.");
}

fn kubeconfig(name: &str, server: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("{name}-{}.kubeconfig", server.rsplit(':').next().unwrap()));
    std::fs::write(&path, gateway::kubeconfig_for(server)).unwrap();
    path
}

fn invoices() -> Service {
    Service {
        name: "invoices".into(),
        namespace: "default".into(),
        title: "Invoices".into(),
        description: String::new(),
        kind: "service".into(),
        team: "payments".into(),
        tier: None,
        lifecycle: "production".into(),
        system: "billing".into(),
        tags: Vec::new(),
        links: Vec::new(),
        annotations: BTreeMap::new(),
        depends_on: Vec::new(),
        used_by: Vec::new(),
        run: None,
        migration: None,
    }
}

/// The lines that differ, with the sign of a diff and without their indentation.
fn changed_lines(before: &str, after: &str) -> Vec<String> {
    similar::TextDiff::from_lines(before, after)
        .iter_all_changes()
        .filter(|change| change.tag() != similar::ChangeTag::Equal)
        .map(|change| format!("{}{}", change.tag(), change.value().trim().trim_start_matches("- ")))
        .collect()
}

/// Who wrote this generation of a Deployment, from the API server's audit log: (who asked, in whose name). The line of
/// a write comes after its answer, so it may not be there yet.
fn generation_writers(namespace: &str, name: &str, generation: i64) -> Vec<(String, String)> {
    let made = writes(namespace, "deployments", name).into_iter();
    let made = made.filter(|write| write.changed && write.generation == generation);
    made.map(|write| (write.asked_by, write.person.unwrap_or_default())).collect()
}

/// A ValidatingAdmissionPolicy for one namespace.
struct Policy {
    name: String,
    admin: kube::Client,
}

impl Policy {
    async fn forbid_tag(sandbox: &Sandbox, tag: &str) -> Self {
        use k8s_openapi::api::admissionregistration::v1::{
            ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
        };
        let name = sandbox.namespace.clone();
        let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                    "resourceRules": [{
                        "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                        "resources": ["deployments"],
                    }],
                },
                "validations": [{
                    "expression": format!("object.spec.template.spec.containers.all(c, !c.image.endsWith(':{tag}'))"),
                    "message": format!("{tag} was recalled"),
                }],
            },
        }))
        .unwrap();
        let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
            "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]},
        }))
        .unwrap();
        let admin = sandbox.admin.clone();
        Api::all(admin.clone()).create(&PostParams::default(), &policy).await.unwrap();
        Api::all(admin.clone()).create(&PostParams::default(), &binding).await.unwrap();
        Self { name, admin }
    }

    async fn remove(self) {
        use k8s_openapi::api::admissionregistration::v1::{
            ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
        };
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.admin.clone());
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(self.admin);
        bindings.delete(&self.name, &Default::default()).await.unwrap();
        policies.delete(&self.name, &Default::default()).await.unwrap();
    }
}
