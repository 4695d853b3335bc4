//! Everything that says what pods run, in every namespace where a guard holds: Deployments and their like, Jobs, and pods
//! that nobody but a person made. What a controller makes of one of them says nothing new and is left out.
//!
//! A full list comes first and whenever a watch had to begin anew, so nothing that happened meanwhile is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Namespace, Pod, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::PortalClient;
use super::apply::{APPROVAL_ANNOTATION, DEPLOY_ANNOTATION};
use super::job::DEPLOY_LABEL;

/// On a namespace: the environment whose guard holds there.
pub const ENVIRONMENT_LABEL: &str = "pilothouse.dev/environment";
/// Where the template of its pods stands in an object; a pod is its own.
const TEMPLATE: &str = "/spec/template";
const POD: &str = "";
const WATCH_SECONDS: u32 = 60;
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// An object that says what pods run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Grows with every write to the object.
    pub resource_version: i64,
    /// Grows with every change of what is wanted. None: this kind has none in this cluster.
    pub generation: Option<i64>,
    /// SHA-256 (hex) of what its pods run.
    pub runs: String,
    /// Container to image.
    pub images: BTreeMap<String, String>,
    /// The deploy that the portal wrote into it, and the digest it was approved under.
    pub deploy: Option<String>,
    pub approval: Option<String>,
    /// Who wrote it last, as field managers are called ("kubectl-set"), and when.
    pub manager: String,
    pub written: Option<Timestamp>,
}

/// What a watch tells.
#[derive(Debug)]
pub enum Told {
    /// Everything of a kind that is there now.
    All {
        kind: String,
        sources: Vec<Source>,
    },
    Is(Box<Source>),
    Gone {
        uid: String,
    },
}

/// The namespaces where a guard holds, with the environment that their label names.
pub async fn guarded_namespaces(portal: &PortalClient) -> kube::Result<BTreeMap<String, String>> {
    let namespaces = Api::<Namespace>::all(portal.reader());
    let labelled = namespaces.list(&ListParams::default().labels(ENVIRONMENT_LABEL)).await?;
    Ok(labelled.items.into_iter().filter_map(environment_of).collect())
}

fn environment_of(namespace: Namespace) -> Option<(String, String)> {
    let environment = namespace.metadata.labels?.remove(ENVIRONMENT_LABEL)?;
    Some((namespace.metadata.name?, environment))
}

/// Says whenever a namespace was labelled, or a label taken away.
pub fn follow_namespaces(portal: &PortalClient, shutdown: CancellationToken) -> mpsc::Receiver<()> {
    let (tell, told) = mpsc::channel(1);
    let api = Api::<Namespace>::all(portal.reader());
    let config = watcher::Config::default().labels(ENVIRONMENT_LABEL).timeout(WATCH_SECONDS);
    tokio::spawn(shutdown.run_until_cancelled_owned(async move {
        let mut events = std::pin::pin!(watcher(api, config));
        while let Some(event) = events.next().await {
            match event {
                // One that is not taken yet says the same.
                Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone) => drop(tell.try_send(())),
                Ok(Event::Init | Event::InitApply(_)) => {}
                Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    }));
    told
}

/// Watches every kind until `shutdown`, or until nobody listens.
pub fn follow(
    portal: &PortalClient,
    namespaces: &BTreeSet<String>,
    shutdown: &CancellationToken,
) -> mpsc::Receiver<Told> {
    let (tell, told) = mpsc::channel(1_024);
    let follow = Follow { portal, namespaces, tell, shutdown };
    follow.kind::<Deployment>(TEMPLATE);
    follow.kind::<StatefulSet>(TEMPLATE);
    follow.kind::<DaemonSet>(TEMPLATE);
    follow.kind::<ReplicaSet>(TEMPLATE);
    follow.kind::<ReplicationController>(TEMPLATE);
    follow.kind::<Job>(TEMPLATE);
    follow.kind::<CronJob>("/spec/jobTemplate/spec/template");
    follow.kind::<Pod>(POD);
    told
}

struct Follow<'a> {
    portal: &'a PortalClient,
    namespaces: &'a BTreeSet<String>,
    tell: mpsc::Sender<Told>,
    shutdown: &'a CancellationToken,
}

impl Follow<'_> {
    fn kind<K: Resource<DynamicType = ()>>(&self, template: &'static str) {
        let kind = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = Api::all_with(self.portal.reader(), &kind);
        let (namespaces, tell) = (self.namespaces.clone(), self.tell.clone());
        let task = async move {
            let ours = |object| {
                source(&kind.kind, template, object).filter(|source| namespaces.contains(&source.namespace))
            };
            let mut events = std::pin::pin!(watcher(api, watcher::Config::default().timeout(WATCH_SECONDS)));
            let mut listed = Vec::new();
            while let Some(event) = events.next().await {
                let told = match event {
                    Ok(Event::Init) => {
                        listed.clear();
                        None
                    }
                    Ok(Event::InitApply(object)) => {
                        listed.extend(ours(object));
                        None
                    }
                    Ok(Event::InitDone) => {
                        Some(Told::All { kind: kind.kind.clone(), sources: std::mem::take(&mut listed) })
                    }
                    Ok(Event::Apply(object)) => ours(object).map(Box::new).map(Told::Is),
                    Ok(Event::Delete(object)) => ours(object).map(|source| Told::Gone { uid: source.uid }),
                    Err(_) => {
                        tokio::time::sleep(AGAIN_AFTER).await;
                        None
                    }
                };
                if let Some(told) = told
                    && tell.send(told).await.is_err()
                {
                    return;
                }
            }
        };
        tokio::spawn(self.shutdown.clone().run_until_cancelled_owned(task));
    }
}

/// None: a controller made it, or it has no pods.
fn source(kind: &str, template: &str, object: DynamicObject) -> Option<Source> {
    let metadata = &object.metadata;
    if metadata.owner_references.iter().flatten().any(|owner| owner.controller == Some(true)) {
        return None;
    }
    let spec = object.data.pointer(&format!("{template}/spec"))?;
    let pods: ObjectMeta = match template {
        POD => metadata.clone(),
        _ => {
            let metadata = object.data.pointer(&format!("{template}/metadata"));
            metadata.and_then(|it| serde_json::from_value(it.clone()).ok()).unwrap_or_default()
        }
    };
    let last = metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
    let find = |all: &Option<BTreeMap<String, String>>, key: &str| all.as_ref()?.get(key).cloned();
    Some(Source {
        kind: kind.into(),
        namespace: metadata.namespace.clone()?,
        name: metadata.name.clone()?,
        uid: metadata.uid.clone()?,
        resource_version: metadata.resource_version.as_ref()?.parse().ok()?,
        generation: metadata.generation,
        runs: runs(template, spec),
        images: containers(spec).filter_map(image).collect(),
        deploy: find(&pods.annotations, DEPLOY_ANNOTATION).or_else(|| find(&metadata.labels, DEPLOY_LABEL)),
        approval: find(&metadata.annotations, APPROVAL_ANNOTATION),
        manager: last.and_then(|entry| entry.manager.clone()).unwrap_or_default(),
        written: last.and_then(|entry| entry.time.as_ref()).map(|time| time.0),
    })
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    lists.into_iter().filter_map(|list| spec[list].as_array()).flatten()
}

fn image(container: &Value) -> Option<(String, String)> {
    let text = |key: &str| container[key].as_str().map(String::from);
    Some((text("name")?, text("image")?))
}

/// Of a pod only its containers: the scheduler and the node write into the rest. serde_json keeps maps sorted, so equal
/// content is equal bytes.
fn runs(template: &str, spec: &Value) -> String {
    let content = match template {
        POD => json!(containers(spec).collect::<Vec<_>>()).to_string(),
        _ => spec.to_string(),
    };
    hex::encode(Sha256::digest(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(change: impl FnOnce(&mut Value)) -> Option<Source> {
        let mut object = json!({
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "12",
                "annotations": {APPROVAL_ANNOTATION: "digest"},
                "managedFields": [
                    {"manager": "kubectl-set", "operation": "Update", "time": "2026-11-20T10:00:01Z"},
                    {"manager": "pilothouse", "operation": "Apply", "time": "2026-11-20T10:00:00Z"},
                    {"manager": "kube-controller-manager", "subresource": "status", "time": "2026-11-20T10:00:09Z"},
                ],
            },
            "spec": {"replicas": 1, "selector": {}, "template": {
                "metadata": {"annotations": {DEPLOY_ANNOTATION: "7"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            }},
        });
        change(&mut object);
        source("Deployment", TEMPLATE, serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_source_says_who_wrote_it_and_what_the_portal_wrote_into_it() {
        let source = deployment(|_| {}).unwrap();
        assert_eq!((source.deploy.as_deref(), source.approval.as_deref()), (Some("7"), Some("digest")));
        assert_eq!(source.manager, "kubectl-set");
        assert_eq!(source.images["web"], "web:1");
    }

    #[test]
    fn it_runs_something_else_when_its_pods_would_and_not_when_there_are_more_of_them() {
        let before = deployment(|_| {}).unwrap().runs;
        let more = deployment(|object| object["spec"]["replicas"] = json!(5)).unwrap().runs;
        let restarted = deployment(|object| {
            object["spec"]["template"]["metadata"]["annotations"]["restarted"] = json!("now");
        });
        let other = deployment(|object| {
            object["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "1"}]);
        });
        assert_eq!(before, more);
        assert_eq!(before, restarted.unwrap().runs);
        assert_ne!(before, other.unwrap().runs);
    }

    #[test]
    fn what_a_controller_made_says_nothing_new() {
        let owner = json!([{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x", "controller": true}]);
        assert_eq!(deployment(|object| object["metadata"]["ownerReferences"] = owner), None);
    }

    #[test]
    fn where_a_pod_was_put_is_not_what_it_runs() {
        let pod = |spec: Value| runs(POD, &spec);
        let containers = json!([{"name": "web", "image": "web:1"}]);
        let waiting = pod(json!({"containers": containers}));
        assert_eq!(waiting, pod(json!({"containers": containers, "nodeName": "node-1"})));
        let debugged = json!([{"name": "debug", "image": "busybox"}]);
        assert_ne!(waiting, pod(json!({"containers": containers, "ephemeralContainers": debugged})));
    }
}
