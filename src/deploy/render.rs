//! Rendering: the objects of a managed service, from the `run` section of its catalogue entry. Pure, and in a
//! fixed order, because what it returns is part of what an approval is bound to.
//!
//! What every service gets: a rolling update that never goes below the wanted size, pods that pass PodSecurity
//! `restricted`, spread over nodes, drained before they stop, and kept by a disruption budget where there are two.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::catalogue::{Probes, Resources, Run, SecretRef, Service};
use crate::kube::apply::FIELD_MANAGER;
use crate::kube::quantity;

/// What is deployed where.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    pub environment: &'a str,
    pub namespace: &'a str,
    /// Full reference, by digest where known.
    pub image: &'a str,
    /// What people call it: the tag, or a short digest.
    pub version: &'a str,
}

/// Service, PodDisruptionBudget and HorizontalPodAutoscaler where wanted, and last the Deployment.
pub fn render(service: &Service, run: &Run, release: Release<'_>) -> Vec<Value> {
    let here = Here::new(run, release.environment);
    let object = Rendered { service, release, labels: labels(service, release.version) };
    let mut objects = vec![object.service()];
    if here.size.at_least() > 1 {
        objects.push(object.disruption_budget());
    }
    if let Size::Between { min, max } = here.size {
        objects.push(object.autoscaler(min, max));
    }
    objects.push(object.deployment(run, &here));
    objects
}

/// The `run` section as it is in one environment.
struct Here {
    env: BTreeMap<String, String>,
    secrets: BTreeMap<String, SecretRef>,
    resources: Resources,
    size: Size,
}

#[derive(Clone, Copy)]
enum Size {
    Fixed(u32),
    Between { min: u32, max: u32 },
}

impl Size {
    fn at_least(self) -> u32 {
        match self {
            Self::Fixed(replicas) => replicas,
            Self::Between { min, .. } => min,
        }
    }
}

impl Here {
    fn new(run: &Run, environment: &str) -> Self {
        let own = run.environments.get(environment).cloned().unwrap_or_default();
        let bounds = |min: Option<u32>, max: Option<u32>| Some(Size::Between { min: min?, max: max? });
        // A number in the environment means exactly that many, whatever the other environments do.
        let size = match own.replicas {
            Some(replicas) if own.min.is_none() && own.max.is_none() => Size::Fixed(replicas),
            _ => bounds(own.min.or(run.min), own.max.or(run.max))
                .unwrap_or(Size::Fixed(own.replicas.or(run.replicas).unwrap_or(1))),
        };
        // An environment may turn a plain value into a secret, and the other way round.
        let mut env = run.env.clone();
        let mut secrets = run.secrets.clone();
        env.retain(|name, _| !own.secrets.contains_key(name));
        secrets.retain(|name, _| !own.env.contains_key(name));
        env.extend(own.env);
        secrets.extend(own.secrets);
        env.retain(|name, _| !secrets.contains_key(name));
        let base = &run.resources;
        let own = own.resources.unwrap_or_default();
        let raise = own.memory_limit.is_none();
        let resources = Resources {
            cpu: own.cpu.or_else(|| base.cpu.clone()),
            memory: own.memory.or_else(|| base.memory.clone()),
            memory_limit: own.memory_limit.or_else(|| base.memory_limit.clone()),
        };
        let resources = with_a_limit_that_holds(resources, raise);
        Self { env, secrets, resources, size }
    }
}

/// An environment that asks for more memory than the common limit, and names none itself, raises the limit too.
fn with_a_limit_that_holds(mut resources: Resources, raise: bool) -> Resources {
    let amount = |text: &Option<String>| text.as_deref().and_then(quantity::parse);
    if raise && amount(&resources.memory_limit) < amount(&resources.memory) {
        resources.memory_limit = None;
    }
    resources
}

struct Rendered<'a> {
    service: &'a Service,
    release: Release<'a>,
    labels: BTreeMap<String, String>,
}

impl Rendered<'_> {
    fn object(&self, api_version: &str, kind: &str, spec: Value) -> Value {
        json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": self.service.name, "namespace": self.release.namespace, "labels": self.labels},
            "spec": spec,
        })
    }

    /// Never anything that can change: a Deployment's selector is for life.
    fn selector(&self) -> Value {
        json!({"app.kubernetes.io/name": label_value(&self.service.name)})
    }

    fn service(&self) -> Value {
        let ports = json!([{"name": "http", "port": 80, "targetPort": "http"}]);
        self.object("v1", "Service", json!({"selector": self.selector(), "ports": ports}))
    }

    fn disruption_budget(&self) -> Value {
        // Pods that are broken anyway must not keep a node from being drained.
        let spec = json!({
            "maxUnavailable": 1,
            "selector": {"matchLabels": self.selector()},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        });
        self.object("policy/v1", "PodDisruptionBudget", spec)
    }

    fn autoscaler(&self, min: u32, max: u32) -> Value {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        let spec = json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.service.name},
            "minReplicas": min,
            "maxReplicas": max,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        });
        self.object("autoscaling/v2", "HorizontalPodAutoscaler", spec)
    }

    fn deployment(&self, run: &Run, here: &Here) -> Value {
        let spread = json!({
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": self.selector()},
        });
        let mut spec = json!({
            "revisionHistoryLimit": 5,
            "selector": {"matchLabels": self.selector()},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": self.labels},
                "spec": {
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 30,
                    "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                    "topologySpreadConstraints": [spread],
                    "containers": [self.container(run, here)],
                },
            },
        });
        // Where an autoscaler decides, the number is not ours to write.
        if let Size::Fixed(replicas) = here.size {
            spec["replicas"] = json!(replicas);
        }
        self.object("apps/v1", "Deployment", spec)
    }

    fn container(&self, run: &Run, here: &Here) -> Value {
        let plain = here.env.iter().map(|(name, value)| json!({"name": name, "value": value}));
        let secret = here.secrets.iter().map(|(name, secret)| {
            json!({"name": name, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}}})
        });
        let env: Vec<_> = plain.chain(secret).collect();
        let mut container = json!({
            "name": self.service.name,
            "image": self.release.image,
            "ports": [{"name": "http", "containerPort": run.port}],
            // The endpoints forget a pod while it still answers: nobody is sent to a closed door.
            "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        });
        if !env.is_empty() {
            container["env"] = json!(env);
        }
        if let Some(resources) = resources(&here.resources) {
            container["resources"] = resources;
        }
        for (name, probe) in probes(&run.probes) {
            container[name] = probe;
        }
        container
    }
}

/// Ready when the path answers, or the port does. Restarted only where the service says what "alive" is, and not
/// before it had a minute to start.
fn probes(probes: &Probes) -> Vec<(&'static str, Value)> {
    let get = |path: &str| json!({"path": path, "port": "http"});
    let ready = match &probes.readiness {
        Some(path) => json!({"httpGet": get(path), "periodSeconds": 5, "timeoutSeconds": 3}),
        None => json!({"tcpSocket": {"port": "http"}, "periodSeconds": 5, "timeoutSeconds": 3}),
    };
    let mut rendered = vec![("readinessProbe", ready)];
    if let Some(path) = &probes.liveness {
        let alive = json!({"httpGet": get(path), "periodSeconds": 10, "timeoutSeconds": 3});
        let started =
            json!({"httpGet": get(path), "periodSeconds": 2, "timeoutSeconds": 3, "failureThreshold": 30});
        rendered.extend([("livenessProbe", alive), ("startupProbe", started)]);
    }
    rendered
}

/// Memory is limited to what was asked for unless said otherwise; CPU is not limited, it would only slow things down.
fn resources(resources: &Resources) -> Option<Value> {
    let requests: BTreeMap<_, _> = [("cpu", &resources.cpu), ("memory", &resources.memory)]
        .into_iter()
        .filter_map(|(name, amount)| Some((name, amount.as_ref()?)))
        .collect();
    let limit = resources.memory_limit.as_ref().or(resources.memory.as_ref());
    let mut rendered = serde_json::Map::new();
    if !requests.is_empty() {
        rendered.insert("requests".into(), json!(requests));
    }
    if let Some(limit) = limit {
        rendered.insert("limits".into(), json!({"memory": limit}));
    }
    (!rendered.is_empty()).then(|| rendered.into())
}

/// What dashboards, the portal and Backstage find the objects by.
fn labels(service: &Service, version: &str) -> BTreeMap<String, String> {
    let annotation = |key: &str| service.annotations.get(key).filter(|value| !value.is_empty());
    let id = annotation("backstage.io/kubernetes-id").unwrap_or(&service.name);
    let mut labels = BTreeMap::from([
        ("app.kubernetes.io/managed-by".to_string(), FIELD_MANAGER.to_string()),
        ("app.kubernetes.io/name".to_string(), label_value(&service.name)),
        ("backstage.io/kubernetes-id".to_string(), label_value(id)),
    ]);
    // A service that is found by labels of its own must carry them.
    let own = annotation("backstage.io/kubernetes-label-selector");
    for (key, value) in own.iter().flat_map(|own| own.split(',')).filter_map(|term| term.split_once('=')) {
        let value = label_value(value.trim_start_matches('=').trim());
        labels.entry(key.trim().trim_end_matches('!').to_string()).or_insert(value);
    }
    for (key, value) in [("part-of", service.system.as_str()), ("version", version)] {
        let value = label_value(value);
        if !value.is_empty() {
            labels.entry(format!("app.kubernetes.io/{key}")).or_insert(value);
        }
    }
    labels
}

/// The nearest thing that may be the value of a label: `sha256:9c41` becomes `sha256-9c41`.
fn label_value(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let end = |c: char| !c.is_ascii_alphanumeric();
    let text: String = text.chars().map(plain).take(63).collect();
    text.trim_matches(end).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::RunOverride;

    fn service() -> Service {
        Service {
            name: "invoices".into(),
            namespace: "default".into(),
            title: "Invoices".into(),
            description: String::new(),
            kind: "service".into(),
            team: "payments".into(),
            tier: Some(1),
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

    fn run() -> Run {
        Run {
            image: "registry.example/payments/invoices".into(),
            port: 8080,
            probes: Probes { readiness: Some("/readyz".into()), liveness: Some("/healthz".into()) },
            env: [("LOG_LEVEL".to_string(), "info".to_string())].into(),
            secrets: [(
                "DATABASE_URL".to_string(),
                SecretRef { name: "invoices-db".into(), key: "url".into() },
            )]
            .into(),
            resources: Resources {
                cpu: Some("10m".into()),
                memory: Some("16Mi".into()),
                memory_limit: Some("64Mi".into()),
            },
            replicas: Some(1),
            min: None,
            max: None,
            environments: BTreeMap::new(),
        }
    }

    const STAGING: Release<'_> = Release {
        environment: "staging",
        namespace: "payments-staging",
        image: "registry.example/payments/invoices@sha256:9c41e7d0",
        version: "v1.0.0",
    };

    fn kinds(objects: &[Value]) -> Vec<&str> {
        objects.iter().filter_map(|object| object["kind"].as_str()).collect()
    }

    #[test]
    fn one_replica() {
        insta::assert_snapshot!(yaml(&render(&service(), &run(), STAGING)));
    }

    #[test]
    fn production_with_an_autoscaler_and_overrides() {
        let production = RunOverride {
            env: [("LOG_LEVEL".to_string(), "warn".to_string())].into(),
            secrets: [("SENTRY_DSN".to_string(), SecretRef { name: "sentry".into(), key: "dsn".into() })]
                .into(),
            resources: Some(Resources {
                cpu: Some("100m".into()),
                memory: Some("128Mi".into()),
                memory_limit: None,
            }),
            replicas: None,
            min: Some(2),
            max: Some(6),
        };
        let mut run = run();
        run.environments.insert("production".into(), production);
        let release = Release { environment: "production", namespace: "payments-production", ..STAGING };
        insta::assert_snapshot!(yaml(&render(&service(), &run, release)));
    }

    #[test]
    fn the_least_that_can_be_said() {
        let run: Run =
            serde_json::from_value(json!({"image": "registry.example/hello", "port": 3000})).unwrap();
        let service = Service { name: "hello".into(), system: String::new(), ..service() };
        insta::assert_snapshot!(yaml(&render(&service, &run, Release { version: "sha256:9c41", ..STAGING })));
    }

    #[test]
    fn a_number_in_an_environment_beats_the_autoscaler_of_the_others() {
        let mut run = Run { min: Some(2), max: Some(4), ..run() };
        let fixed = RunOverride { replicas: Some(1), ..RunOverride::default() };
        run.environments.insert("staging".into(), fixed);
        assert_eq!(kinds(&render(&service(), &run, STAGING)), ["Service", "Deployment"]);
        let production = render(&service(), &run, Release { environment: "production", ..STAGING });
        assert_eq!(
            kinds(&production),
            ["Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "Deployment"]
        );
        assert_eq!(production[3]["spec"].get("replicas"), None);
    }

    #[test]
    fn an_environment_may_turn_a_value_into_a_secret() {
        let mut run = run();
        let secret = SecretRef { name: "levels".into(), key: "log".into() };
        let own =
            RunOverride { secrets: [("LOG_LEVEL".to_string(), secret)].into(), ..RunOverride::default() };
        run.environments.insert("staging".into(), own);
        let objects = render(&service(), &run, STAGING);
        let env = objects[1].pointer("/spec/template/spec/containers/0/env").unwrap();
        let names: Vec<_> = env.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["DATABASE_URL", "LOG_LEVEL"]);
        assert_eq!(env[1]["valueFrom"]["secretKeyRef"]["name"], "levels");
    }

    #[test]
    fn the_selector_never_changes_with_the_version_or_the_system() {
        let moved = Service { system: "checkout".into(), ..service() };
        let of = |service: &Service, version| {
            let objects = render(service, &run(), Release { version, ..STAGING });
            objects.last().unwrap()["spec"]["selector"].clone()
        };
        assert_eq!(of(&service(), "v1.0.0"), of(&moved, "v9-rc/1"));
    }

    #[test]
    fn a_service_that_is_found_by_labels_of_its_own_carries_them() {
        let mut service = service();
        let selector = "app.kubernetes.io/part-of=pricing, tier==gold";
        service.annotations.insert("backstage.io/kubernetes-label-selector".into(), selector.into());
        let labels = labels(&service, "v1");
        assert_eq!(labels["app.kubernetes.io/part-of"], "pricing");
        assert_eq!(labels["tier"], "gold");
    }

    #[test]
    fn any_text_becomes_a_label_value() {
        assert_eq!(label_value("sha256:9c41"), "sha256-9c41");
        assert_eq!(label_value("-v1+build/7-"), "v1-build-7");
        assert_eq!(label_value(&"x".repeat(80)).len(), 63);
    }

    fn yaml(objects: &[Value]) -> String {
        let documents: Vec<_> =
            objects.iter().map(|object| serde_saphyr::to_string(object).unwrap()).collect();
        documents.join("---\n")
    }
}
