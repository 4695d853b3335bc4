//! A migration: the declared command of a service, run once to its end by a Job. The Job is rendered from the running
//! workload and is part of what an approval is bound to; only its name and marks wait for the deploy's number.
//!
//! It takes over what the command needs to reach the database (image, environment, volumes, service account, resources)
//! and leaves out what would make it part of the service: labels that a Service selects, probes, sidecars, and init
//! containers, which often wait for the very migration.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::deploy::DeployId;
use crate::catalogue::Migration as Declared;
use crate::kube::apply::{APPROVAL_ANNOTATION, FIELD_MANAGER};
use crate::kube::job::{DEPLOY_LABEL, KEPT};
use crate::kube::{MakesPods, WorkloadKind};

/// The Job's own deadline comes after the pod's: a pod that ends by its own keeps its log, one that the Job ends is
/// deleted. So the Job's is only for a pod that never got to run.
const TO_START: SignedDuration = SignedDuration::from_secs(60);
/// A Job's name is also the value of a label.
const LONGEST_NAME: usize = 63;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Migration {
    /// What people call the image: its tag, or a short digest.
    pub version: String,
    /// As it was asked for, or as it runs.
    pub reference: String,
    /// What the tag pointed at when it was asked for. None: the registry could not be asked.
    pub digest: Option<String>,
    /// What runs, by digest where known.
    pub image: String,
    /// The image of the running container, where nobody chose a version: when another one runs, this is void.
    #[serde(default)]
    pub runs: Option<String>,
    pub workload: String,
    #[serde(default, skip_serializing_if = "WorkloadKind::is_deployment")]
    pub workload_kind: WorkloadKind,
    pub container: String,
    /// Command and arguments, as one line of words.
    pub command: Vec<String>,
    pub deadline_seconds: i64,
    /// Without name and marks.
    pub job: Value,
}

impl Migration {
    pub fn deadline(&self) -> SignedDuration {
        SignedDuration::from_secs(self.deadline_seconds)
    }

    /// As one would type it.
    pub fn line(&self) -> String {
        let quoted = |word: &String| match word.contains(|c: char| c.is_whitespace() || "\"'$\\".contains(c))
        {
            true => format!("'{}'", word.replace('\'', "'\\''")),
            false => word.clone(),
        };
        self.command.iter().map(quoted).collect::<Vec<_>>().join(" ")
    }

    /// The same deploy always makes a Job of the same name: however often it is written, there is one.
    pub fn job_name(&self, id: DeployId) -> String {
        let end = format!("-migrate-{id}");
        let start: String = self.workload.chars().take(LONGEST_NAME - end.len()).collect();
        format!("{}{end}", start.trim_end_matches(['-', '.']))
    }

    /// The Job as it is written.
    pub fn job_of(&self, id: DeployId, approval: Option<&str>) -> Value {
        let mut job = self.job.clone();
        job["metadata"]["name"] = json!(self.job_name(id));
        job["metadata"]["labels"][DEPLOY_LABEL] = json!(id.to_string());
        job["spec"]["template"]["metadata"]["labels"][DEPLOY_LABEL] = json!(id.to_string());
        if let Some(digest) = approval {
            job["metadata"]["annotations"] = json!({ APPROVAL_ANNOTATION: digest });
        }
        job
    }

    /// The Job for a dry run, before it has a number.
    pub fn job_to_try(&self) -> Value {
        let mut job = self.job.clone();
        job["metadata"]["generateName"] = json!(format!("{}-migrate-", self.workload));
        job
    }
}

/// The container whose settings it takes: the declared one, else the one that is deployed.
pub fn container<'a>(
    workload: &'a impl MakesPods,
    declared: &Declared,
    main: Option<&str>,
) -> Option<&'a Container> {
    let wanted = declared.container.as_deref().or(main)?;
    workload.containers().iter().find(|container| container.name == wanted)
}

/// The Job. `container` is one of the workload's.
pub fn render(
    service: &str,
    namespace: &str,
    workload: &impl MakesPods,
    container: &Container,
    declared: &Declared,
    image: &str,
) -> Value {
    let pod = workload.template().and_then(|template| template.spec.clone()).unwrap_or_default();
    let labels = BTreeMap::from([
        ("app.kubernetes.io/component", "migration"),
        ("app.kubernetes.io/managed-by", FIELD_MANAGER),
        ("pilothouse.dev/service", service),
    ]);
    let deadline = declared.deadline;
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"namespace": namespace, "labels": labels},
        "spec": {
            // Once: a half-done migration is for people to look at, not to begin again.
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": (deadline + TO_START).as_secs(),
            "ttlSecondsAfterFinished": KEPT.as_secs(),
            "template": {
                "metadata": {"labels": labels},
                "spec": PodSpec {
                    containers: vec![only_command(container, declared, image)],
                    restart_policy: Some("Never".into()),
                    active_deadline_seconds: Some(deadline.as_secs()),
                    init_containers: None,
                    ephemeral_containers: None,
                    // Where the service's pods may be says nothing about this one.
                    affinity: None,
                    topology_spread_constraints: None,
                    readiness_gates: None,
                    ..pod
                },
            },
        },
    })
}

fn only_command(container: &Container, declared: &Declared, image: &str) -> Container {
    Container {
        image: Some(image.into()),
        command: Some(declared.command.clone()),
        args: (!declared.args.is_empty()).then(|| declared.args.clone()),
        ports: None,
        lifecycle: None,
        liveness_probe: None,
        readiness_probe: None,
        startup_probe: None,
        resize_policy: None,
        restart_policy: None,
        ..container.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::Deployment;

    fn deployment() -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "shop"},
            "spec": {"selector": {"matchLabels": {"app": "shop"}}, "template": {
                "metadata": {"labels": {"app": "shop"}, "annotations": {"sidecar": "yes"}},
                "spec": {
                    "serviceAccountName": "shop",
                    "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
                    "affinity": {"podAntiAffinity": {}},
                    "initContainers": [{"name": "wait", "image": "wait:1"}],
                    "containers": [
                        {"name": "shop", "image": "r/shop:v1", "args": ["serve"], "ports": [{"containerPort": 8080}],
                         "env": [{"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}],
                         "envFrom": [{"configMapRef": {"name": "shop"}}],
                         "volumeMounts": [{"name": "ca", "mountPath": "/ca"}],
                         "resources": {"limits": {"memory": "64Mi"}},
                         "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}}},
                        {"name": "proxy", "image": "proxy:1"},
                    ],
                },
            }},
        }))
        .unwrap()
    }

    fn declared(container: Option<&str>) -> Declared {
        Declared {
            command: vec!["/app/migrate".into()],
            args: vec!["up".into()],
            container: container.map(Into::into),
            deadline: SignedDuration::from_mins(2),
        }
    }

    fn migration() -> Migration {
        let (deployment, declared) = (deployment(), declared(None));
        let container = container(&deployment, &declared, Some("shop")).unwrap();
        let image = "r/shop:v2@sha256:abc";
        Migration {
            version: "v2".into(),
            reference: "r/shop:v2".into(),
            digest: Some("sha256:abc".into()),
            image: image.into(),
            runs: None,
            workload: "shop".into(),
            workload_kind: WorkloadKind::Deployment,
            container: "shop".into(),
            command: vec!["/app/migrate".into(), "up".into(), "it's all".into()],
            deadline_seconds: 120,
            job: render("shop", "payments", &deployment, container, &declared, image),
        }
    }

    #[test]
    fn a_job_takes_what_its_command_needs_and_nothing_of_the_service() {
        let job = migration().job_of(DeployId(7), Some("digest"));
        insta::assert_snapshot!(serde_saphyr::to_string(&job).unwrap());
    }

    #[test]
    fn the_container_is_the_declared_one_or_the_deployed_one() {
        let deployment = deployment();
        let name = |declared: &Declared| {
            container(&deployment, declared, Some("shop")).map(|container| container.name.clone())
        };
        assert_eq!(name(&declared(None)).as_deref(), Some("shop"));
        assert_eq!(name(&declared(Some("proxy"))).as_deref(), Some("proxy"));
        assert_eq!(name(&declared(Some("gone"))), None);
    }

    #[test]
    fn a_name_is_the_deploys_own_and_fits_into_a_label() {
        let mut migration = migration();
        assert_eq!(migration.job_name(DeployId(7)), "shop-migrate-7");
        migration.workload = format!("{}-{}", "a".repeat(48), "b".repeat(40));
        let name = migration.job_name(DeployId(123_456));
        assert_eq!(name, format!("{}-migrate-123456", "a".repeat(48)));
        assert!(name.len() <= LONGEST_NAME);
    }

    #[test]
    fn a_command_reads_as_one_would_type_it() {
        assert_eq!(migration().line(), r"/app/migrate up 'it'\''s all'");
    }
}
