//! What would change, asked of the API server itself and as the person: so RBAC, quota, policies and defaults
//! answer before anybody submits. A server-side dry run goes through everything but the storage.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, LimitRange, PodSpec, PodTemplateSpec, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::apply::{
    APPROVAL_ANNOTATION, DEPLOY_ANNOTATION, FIELD_MANAGER, claiming, is_patch, may_patch, settled,
};
use super::call::{self, Place};
use super::refusal::{Refusal, counted};
use super::{UserClient, quantity};

/// One object, before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectPlan {
    pub kind: String,
    pub name: String,
    pub namespace: String,
    /// YAML of what is there, without what the server keeps for itself. Empty: nothing is there.
    pub before: String,
    /// The whole object as it is there.
    pub live: Option<Value>,
    /// YAML of what would be there, or who says no.
    pub after: Result<String, Refusal>,
    /// The whole object as the server would have it, where it says yes. Its pod template is what would run.
    pub object: Option<Value>,
    pub warnings: Vec<String>,
}

/// Dry-runs each object as the person, with the portal's field manager. `force` only to show an agreed take-over:
/// it is used for patches of an adopted Deployment and nothing else.
pub async fn dry_run(user: &UserClient, objects: &[Value], force: bool) -> Vec<ObjectPlan> {
    join_all(objects.iter().map(|object| plan(user, object, force))).await
}

async fn plan(user: &UserClient, object: &Value, force: bool) -> ObjectPlan {
    let text =
        |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string();
    let mut plan = ObjectPlan {
        kind: text("/kind"),
        name: text("/metadata/name"),
        namespace: text("/metadata/namespace"),
        before: String::new(),
        live: None,
        after: Ok(String::new()),
        object: None,
        warnings: Vec::new(),
    };
    match ask(user, object, force, &mut plan.live).await {
        Ok(answer) => {
            plan.after = Ok(yaml(&answer.object));
            plan.object = Some(answer.object);
            plan.warnings = answer.warnings;
        }
        Err(refusal) => plan.after = Err(refusal),
    }
    plan.before = plan.live.as_ref().map(yaml).unwrap_or_default();
    plan
}

async fn ask(
    user: &UserClient,
    object: &Value,
    force: bool,
    live: &mut Option<Value>,
) -> Result<call::Answer, Refusal> {
    let place = Place::of(object)?;
    *live = call::read(user, &place).await?;
    let live = live.as_ref();
    may_patch(&place, object, live)?;
    let object = claiming(settled(object.clone(), live), user);
    let params = PatchParams {
        dry_run: true,
        force: force && is_patch(&object),
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    };
    call::send(user, place.request().patch(&place.name, &params, &Patch::Apply(&object))).await
}

/// As people read an object that is not there yet.
pub fn shown(object: &Value) -> String {
    yaml(object)
}

/// As people read an object: without the server's own fields, and without the marks that every deploy changes.
fn yaml(object: &Value) -> String {
    // One line a value: a folded image reference would show as two changed lines.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&cleaned(object.clone()), options)
        .unwrap_or_else(|_| format!("{object:#}\n"))
}

fn cleaned(mut object: Value) -> Value {
    const SERVERS: [&str; 6] =
        ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"];
    const NOISE: [&str; 4] = [
        "kubectl.kubernetes.io/last-applied-configuration",
        "deployment.kubernetes.io/revision",
        DEPLOY_ANNOTATION,
        APPROVAL_ANNOTATION,
    ];
    if let Some(whole) = object.as_object_mut() {
        whole.remove("status");
    }
    // Given anew by every dry run of a Service that does not exist yet.
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.retain(|key, value| !key.starts_with("clusterIP") || value == "None");
    }
    for pointer in ["/metadata", "/spec/template/metadata"] {
        let Some(metadata) = object.pointer_mut(pointer).and_then(Value::as_object_mut) else { continue };
        metadata.retain(|key, _| !SERVERS.contains(&key.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|key, _| !NOISE.contains(&key.as_str()));
        }
        metadata
            .retain(|key, value| key != "annotations" || value.as_object().is_none_or(|all| !all.is_empty()));
    }
    object
}

/// What a dry-run pod of the new template says.
#[derive(Clone, Debug, PartialEq)]
pub enum PodStart {
    WouldStart {
        warnings: Vec<String>,
        /// Names, with those that admission added from the service account.
        pull_secrets: Vec<String>,
    },
    /// Quota, PodSecurity, a policy or a limit: the rollout would get stuck. Or the cluster could not be asked.
    Refused(Refusal),
    /// This person, or the portal for them, may not create pods, so nobody was asked. The controller may.
    NotAsked,
}

/// A Deployment is accepted even where its pods are not. So one pod of its template is dry-run, as the person.
pub async fn pod_would_start(user: &UserClient, namespace: &str, template: &PodTemplateSpec) -> PodStart {
    let labels = template.metadata.as_ref().and_then(|metadata| metadata.labels.clone());
    let annotations = template.metadata.as_ref().and_then(|metadata| metadata.annotations.clone());
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "pilothouse-dry-run-", "labels": labels, "annotations": annotations},
        "spec": template.spec,
    });
    let pod = claiming(pod, user);
    let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.into()) };
    let answer = match Place::new("Pod", namespace, "") {
        Ok(place) => call::send(user, place.request().create(&params, pod.to_string().into_bytes())).await,
        Err(refusal) => Err(refusal),
    };
    match answer {
        Ok(answer) => {
            let pull_secrets = answer.object["spec"]["imagePullSecrets"].as_array().into_iter().flatten();
            let pull_secrets = pull_secrets.filter_map(|it| Some(it["name"].as_str()?.to_string())).collect();
            PodStart::WouldStart { warnings: answer.warnings, pull_secrets }
        }
        Err(Refusal::Forbidden { .. } | Refusal::PortalForbidden { .. }) => PodStart::NotAsked,
        Err(refusal) => PodStart::Refused(refusal),
    }
}

/// How many pods more than wanted a rolling update makes, and how many of the old it may stop first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surge {
    pub more: i32,
    pub fewer: i32,
}

/// Resolves maxSurge (percentages round up) and maxUnavailable (they round down) as the Deployment controller does.
pub fn surge(deployment: &Deployment) -> Surge {
    let Some(spec) = &deployment.spec else { return Surge { more: 0, fewer: 0 } };
    let replicas = spec.replicas.unwrap_or(1);
    let strategy = spec.strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
        return Surge { more: 0, fewer: replicas };
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let resolve = |value: Option<&IntOrString>, up: bool| match value {
        Some(IntOrString::Int(number)) => *number,
        percent => {
            let text = match percent {
                Some(IntOrString::String(text)) => text.as_str(),
                _ => "25%",
            };
            let percent: i32 = text.trim_end_matches('%').parse().unwrap_or(25);
            (replicas * percent + if up { 99 } else { 0 }) / 100
        }
    };
    let more = resolve(rolling.and_then(|rolling| rolling.max_surge.as_ref()), true);
    let fewer = resolve(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), false);
    // Neither would be a rollout that can't move: the controller stops one.
    Surge { more, fewer: if more == 0 && fewer == 0 { 1 } else { fewer } }
}

/// A resource of a quota that the rollout would exceed, in thousandths of its unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    pub quota: String,
    pub resource: String,
    pub needed: i128,
    pub free: i128,
    pub hard: i128,
}

/// What `pods` more pods of this template would exceed. Empty: they fit. Give the template [`with_defaults`] of the
/// namespace. Quotas with scopes are left out: which pods they count is not ours to guess.
pub fn quota_after(quotas: &[ResourceQuota], template: &PodTemplateSpec, pods: i32) -> Vec<Shortage> {
    let needs = template.spec.as_ref().map(needs).unwrap_or_default();
    let mut shortages = Vec::new();
    for quota in quotas {
        let scoped =
            quota.spec.as_ref().is_some_and(|spec| spec.scopes.is_some() || spec.scope_selector.is_some());
        let Some(status) = quota.status.as_ref().filter(|_| !scoped) else { continue };
        let amount = |of: &Option<BTreeMap<String, Quantity>>, resource: &str| {
            of.as_ref().and_then(|all| quantity::parse(&all.get(resource)?.0))
        };
        for resource in status.hard.iter().flatten().map(|(resource, _)| resource) {
            let Some(each) = needs.get(canonical(resource)) else { continue };
            let Some(hard) = amount(&status.hard, resource) else { continue };
            let free = (hard - amount(&status.used, resource).unwrap_or(0)).max(0);
            let needed = each * i128::from(pods);
            if needed > free {
                let quota = quota.metadata.name.clone().unwrap_or_default();
                shortages.push(Shortage { quota, resource: resource.clone(), needed, free, hard });
            }
        }
    }
    shortages
}

/// The template with what the namespace's limits fill into its containers, as the admission of its pods will: a
/// quota counts that too.
pub fn with_defaults(mut template: PodTemplateSpec, limits: &[LimitRange]) -> PodTemplateSpec {
    let ranges = limits.iter().flat_map(|limits| limits.spec.iter().flat_map(|spec| &spec.limits));
    let ranges: Vec<_> = ranges.filter(|range| range.type_ == "Container").collect();
    let containers = template
        .spec
        .iter_mut()
        .flat_map(|pod| pod.containers.iter_mut().chain(pod.init_containers.iter_mut().flatten()));
    for container in containers {
        let resources = container.resources.get_or_insert_default();
        // A limit that is given is also the request where none is; only then come the defaults.
        let given = resources.limits.clone().unwrap_or_default();
        fill(&mut resources.requests, Some(&given));
        for range in &ranges {
            fill(&mut resources.limits, range.default.as_ref());
            fill(&mut resources.requests, range.default_request.as_ref());
        }
    }
    template
}

fn fill(amounts: &mut Option<BTreeMap<String, Quantity>>, defaults: Option<&BTreeMap<String, Quantity>>) {
    for (resource, amount) in defaults.into_iter().flatten() {
        amounts.get_or_insert_default().entry(resource.clone()).or_insert_with(|| amount.clone());
    }
}

/// `cpu` and `memory` in a quota mean the requests.
fn canonical(resource: &str) -> &str {
    match resource {
        "cpu" => "requests.cpu",
        "memory" => "requests.memory",
        "count/pods" => "pods",
        other => other,
    }
}

/// What one pod counts for: the sum of its containers, or its largest init container, whichever is more.
fn needs(pod: &PodSpec) -> BTreeMap<String, i128> {
    let mut needs = BTreeMap::from([("pods".to_string(), 1_000)]);
    for (prefix, limits) in [("requests", false), ("limits", true)] {
        for resource in ["cpu", "memory"] {
            let of = |container: &Container| amount(container, resource, limits);
            let (sidecars, first): (Vec<_>, Vec<_>) = pod
                .init_containers
                .iter()
                .flatten()
                .partition(|container| container.restart_policy.as_deref() == Some("Always"));
            let beside: i128 = sidecars.into_iter().map(of).sum();
            let main: i128 = pod.containers.iter().map(of).sum::<i128>() + beside;
            let init = first.into_iter().map(of).max().map_or(0, |most| most + beside);
            let overhead = pod.overhead.as_ref().and_then(|all| quantity::parse(&all.get(resource)?.0));
            needs.insert(format!("{prefix}.{resource}"), main.max(init) + overhead.unwrap_or(0));
        }
    }
    needs
}

/// A limit without a request is a request too.
fn amount(container: &Container, resource: &str, limits: bool) -> i128 {
    let Some(resources) = &container.resources else { return 0 };
    let find = |of: &Option<BTreeMap<String, Quantity>>| {
        of.as_ref().and_then(|all| quantity::parse(&all.get(resource)?.0))
    };
    let limit = find(&resources.limits);
    let amount = if limits { limit } else { find(&resources.requests).or(limit) };
    amount.unwrap_or(0)
}

impl Shortage {
    /// "The rollout needs 64 MiB more memory. payments-staging has 32 MiB of 2 GiB free."
    pub fn sentence(&self, namespace: &str) -> String {
        let show = |value| quantity::show(&self.resource, value);
        let (needed, free, hard) = (show(self.needed), show(self.free), show(self.hard));
        let what = match canonical(&self.resource) {
            "pods" => "pods",
            // "CPU" is the unit already.
            "requests.cpu" => "",
            "limits.cpu" => "in limits",
            "limits.memory" => "memory in limits",
            other => counted(other),
        };
        let space = if what.is_empty() { "" } else { " " };
        format!("The rollout needs {needed} more{space}{what}. {namespace} has {free} of {hard} free.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(hard: Value, used: Value) -> ResourceQuota {
        let object = json!({"metadata": {"name": "team"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}});
        serde_json::from_value(object).unwrap()
    }

    fn pod(containers: Value) -> PodTemplateSpec {
        serde_json::from_value(json!({"spec": {"containers": containers}})).unwrap()
    }

    fn web() -> PodTemplateSpec {
        let resources = json!({"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}});
        pod(json!([{"name": "web", "resources": resources}]))
    }

    #[test]
    fn a_surge_that_does_not_fit_is_told_in_numbers() {
        let quotas = [quota(json!({"requests.memory": "2Gi"}), json!({"requests.memory": "2016Mi"}))];
        let shortages = quota_after(&quotas, &web(), 1);
        assert_eq!(
            shortages[0].sentence("payments-staging"),
            "The rollout needs 64 MiB more memory. payments-staging has 32 MiB of 2 GiB free."
        );
    }

    #[test]
    fn what_fits_is_not_mentioned() {
        let hard =
            json!({"pods": "24", "requests.cpu": "500m", "requests.memory": "768Mi", "limits.memory": "2Gi"});
        let used =
            json!({"pods": "3", "requests.cpu": "490m", "requests.memory": "700Mi", "limits.memory": "1Gi"});
        assert_eq!(quota_after(&[quota(hard.clone(), used.clone())], &web(), 1), []);
        let two: Vec<_> = quota_after(&[quota(hard, used)], &web(), 2)
            .into_iter()
            .map(|shortage| shortage.resource)
            .collect();
        assert_eq!(two, ["requests.cpu", "requests.memory"]);
    }

    #[test]
    fn a_full_count_of_pods_stops_a_surge_whatever_it_asks_for() {
        let quotas = [quota(json!({"pods": "3", "limits.cpu": "1"}), json!({"pods": "3"}))];
        let shortages = quota_after(&quotas, &pod(json!([{"name": "web"}])), 1);
        assert_eq!(
            shortages[0].sentence("payments-staging"),
            "The rollout needs 1 more pods. payments-staging has 0 of 3 free."
        );
    }

    #[test]
    fn init_containers_count_where_they_need_more_and_sidecars_beside_the_rest() {
        let memory = |amount: &str| json!({"requests": {"memory": amount}});
        let spec: PodSpec = serde_json::from_value(json!({
            "initContainers": [
                {"name": "migrate", "resources": memory("256Mi")},
                {"name": "proxy", "restartPolicy": "Always", "resources": memory("16Mi")},
            ],
            "containers": [{"name": "web", "resources": memory("64Mi")}],
        }))
        .unwrap();
        assert_eq!(needs(&spec)["requests.memory"], quantity::parse("272Mi").unwrap());
    }

    #[test]
    fn the_limits_of_the_namespace_fill_in_what_a_template_leaves_out() {
        let limits = json!({"spec": {"limits": [{
            "type": "Container", "default": {"memory": "64Mi"}, "defaultRequest": {"cpu": "10m", "memory": "16Mi"},
        }]}});
        let limits: LimitRange = serde_json::from_value(limits).unwrap();
        let given = json!({"limits": {"memory": "32Mi"}});
        let template = pod(json!([{"name": "bare"}, {"name": "limited", "resources": given}]));
        let filled = with_defaults(template, &[limits]).spec.unwrap();
        assert_eq!(
            serde_json::to_value(&filled.containers).unwrap(),
            json!([
                {"name": "bare", "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "10m", "memory": "16Mi"}}},
                {"name": "limited", "resources": {"limits": {"memory": "32Mi"}, "requests": {"cpu": "10m", "memory": "32Mi"}}},
            ])
        );
    }

    #[test]
    fn scoped_quotas_are_not_guessed() {
        let mut scoped = quota(json!({"pods": "0"}), json!({}));
        scoped.spec.as_mut().unwrap().scopes = Some(vec!["BestEffort".into()]);
        assert_eq!(quota_after(&[scoped], &web(), 1), []);
    }

    #[test]
    fn a_surge_is_resolved_as_the_controller_does() {
        let of = |replicas: i32, strategy: Value| {
            let spec = json!({"replicas": replicas, "strategy": strategy, "selector": {}, "template": {}});
            surge(&serde_json::from_value(json!({"spec": spec})).unwrap())
        };
        assert_eq!(of(10, json!({})), Surge { more: 3, fewer: 2 });
        assert_eq!(of(1, json!({})), Surge { more: 1, fewer: 0 });
        assert_eq!(
            of(2, json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})),
            Surge { more: 1, fewer: 0 }
        );
        assert_eq!(
            of(2, json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "10%"}})),
            Surge { more: 0, fewer: 1 }
        );
        assert_eq!(of(2, json!({"type": "Recreate"})), Surge { more: 0, fewer: 2 });
    }

    #[test]
    fn people_see_neither_the_servers_fields_nor_our_marks() {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "web", "uid": "1", "generation": 4, "resourceVersion": "9", "managedFields": [],
                "annotations": {"deployment.kubernetes.io/revision": "3", APPROVAL_ANNOTATION: "x"},
            },
            "spec": {"replicas": 2, "template": {"metadata": {
                "creationTimestamp": null,
                "annotations": {DEPLOY_ANNOTATION: "7", "team": "payments"},
            }}},
            "status": {"replicas": 2},
        });
        assert_eq!(
            yaml(&object),
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 2\n  template:\n    \
             metadata:\n      annotations:\n        team: payments\n"
        );
    }
}
