//! How a new version takes over: pod by pod (rolling), beside what runs and then with all the traffic (blue-green), or
//! beside it with a growing share (canary). On plain Deployments and Services. Pure; `kube/beside.rs` writes.
//!
//! ```text
//!             shop (v1) ──────────────────────────────► rolls to v2 ─────────► shop (v2)
//! beside it   shop-canary (v2): 10 % ─► 50 % ──────────────────────┴─► gone
//! ```
//! What runs is not touched until the new version has proven itself in a second Deployment. Then the workload itself gets
//! it, in a rolling update as ever, and what stood beside it goes. So it costs pods for a while, and in return a try that
//! fails leaves nothing to undo, nobody's `replicas` are written, and a Deployment keeps its name, its owner and its
//! history whoever it belongs to. (Two colours that change places, as often seen, would delete somebody's Deployment.)

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::deploy::ImageChange;
use crate::config::{CanaryStep, Pause, Strategy as Kind};
use crate::kube::apply::{BESIDE_LABEL, DEPLOY_ANNOTATION, FIELD_MANAGER, RESTART_ANNOTATION};
use crate::kube::beside::{self, CANARY, GREEN};
use crate::kube::{WorkloadKind, WorkloadRef};

/// As it is asked for and approved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Strategy {
    #[default]
    Rolling,
    BlueGreen {
        beside: Beside,
        pause: Pause,
    },
    Canary {
        beside: Beside,
        steps: Vec<CanaryStep>,
    },
}

/// The second Deployment, and what leads traffic to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    pub name: String,
    /// The label that tells its pods from those of the workload.
    pub label: String,
    pub value: String,
    /// What the workload's pods have in that label; None: they don't have it.
    pub was: Option<String>,
    /// The Services that send traffic to the workload.
    pub services: Vec<String>,
    /// The autoscaler of the workload; under blue-green it goes where the traffic goes.
    pub autoscaler: Option<String>,
}

impl Strategy {
    pub fn is_rolling(&self) -> bool {
        matches!(self, Self::Rolling)
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Rolling => Kind::Rolling,
            Self::BlueGreen { .. } => Kind::BlueGreen,
            Self::Canary { .. } => Kind::Canary,
        }
    }

    pub fn beside(&self) -> Option<&Beside> {
        match self {
            Self::Rolling => None,
            Self::BlueGreen { beside, .. } | Self::Canary { beside, .. } => Some(beside),
        }
    }

    /// The pause once the pods of this step are ready.
    pub fn pause(&self, step: usize) -> Option<Pause> {
        match self {
            Self::Rolling => None,
            Self::BlueGreen { pause, .. } => Some(*pause),
            Self::Canary { steps, .. } => steps.get(step).map(|step| step.pause),
        }
    }

    /// How many pods the second Deployment is to have in this step, beside so many of the workload.
    pub fn pods(&self, step: usize, running: i32) -> i32 {
        match self {
            Self::Rolling => 0,
            Self::BlueGreen { .. } => running.max(1),
            Self::Canary { steps, .. } => canary_pods(running, steps.get(step).map_or(1, |step| step.weight)),
        }
    }
}

impl Beside {
    pub fn at<'a>(&'a self, namespace: &'a str) -> WorkloadRef<'a> {
        WorkloadRef { kind: WorkloadKind::Deployment, namespace, name: &self.name }
    }

    /// Whether a pod of this name is one of its own.
    pub fn owns(&self, pod: &str) -> bool {
        pod.strip_prefix(&self.name).is_some_and(|rest| rest.starts_with('-'))
    }
}

/// Whole pods beside `running` ones, as near to this share as whole pods get, and at least one.
fn canary_pods(running: i32, weight: u8) -> i32 {
    let (running, wanted) = (f64::from(running.max(0)), f64::from(weight.min(99)) / 100.0);
    let exact = running * wanted / (1.0 - wanted);
    let off = |pods: f64| (pods / (running + pods) - wanted).abs();
    let (fewer, more) = (exact.floor().max(1.0), exact.ceil().max(1.0));
    (if off(fewer) <= off(more) { fewer } else { more }) as i32
}

/// What is known of the workload that a second one is to stand beside.
#[derive(Clone, Debug, Default)]
pub struct Around {
    pub workload: String,
    pub selector: BTreeMap<String, String>,
    /// Labels of its pods.
    pub pods: BTreeMap<String, String>,
    /// Services of the namespace with their selectors.
    pub services: Vec<(String, BTreeMap<String, String>)>,
    pub autoscaler: Option<String>,
}

impl Around {
    /// Those that send traffic to its pods.
    fn serving(&self) -> impl Iterator<Item = &(String, BTreeMap<String, String>)> {
        let leads_here = |(_, selector): &&(String, BTreeMap<String, String>)| {
            !selector.is_empty() && selector.iter().all(|(key, value)| self.pods.get(key) == Some(value))
        };
        self.services.iter().filter(leads_here)
    }

    fn beside(&self, suffix: &str, label: &str, value: String, was: Option<&String>) -> Beside {
        Beside {
            name: format!("{}-{suffix}", self.workload),
            label: label.into(),
            value,
            was: was.cloned(),
            services: self.serving().map(|(name, _)| name.clone()).collect(),
            autoscaler: self.autoscaler.clone(),
        }
    }

    /// Blue-green: a label that the workload *and* all its Services select by, so that changing it in a Service moves all
    /// of its traffic. Err: why that can't be.
    pub fn blue_green(&self) -> Result<Beside, String> {
        if self.serving().next().is_none() {
            return Err(format!(
                "No Service sends traffic to {}, so there is nothing to switch.",
                self.workload
            ));
        }
        let in_all = |key: &String| self.serving().all(|(_, selector)| selector.contains_key(key));
        let Some((key, was)) = self.selector.iter().find(|(key, _)| in_all(key)) else {
            return Err(format!(
                "The Services of {0} select none of the labels that the Deployment {0} selects by, so they can’t tell its \
                 pods from others.",
                self.workload
            ));
        };
        Ok(self.beside(GREEN, key, other(was, GREEN)?, Some(was)))
    }

    /// Canary: a label that the workload selects by and its Services don't, so that they send traffic to both and neither
    /// Deployment takes the other's pods for its own. Where there is none, a label more has to do: owners tell the pods
    /// apart, but an autoscaler would count them all.
    pub fn canary(&self) -> Result<Beside, String> {
        let in_any = |key: &String| self.serving().any(|(_, selector)| selector.contains_key(key));
        if let Some((key, was)) = self.selector.iter().find(|(key, _)| !in_any(key)) {
            return Ok(self.beside(CANARY, key, other(was, CANARY)?, Some(was)));
        }
        match &self.autoscaler {
            None => Ok(self.beside(CANARY, TRACK_LABEL, CANARY.into(), None)),
            Some(autoscaler) => Err(format!(
                "The autoscaler {autoscaler} counts all pods that {} selects, and would count the canary’s too. Give the \
                 Deployment a label to select by that its Services leave out, or pick another way.",
                self.workload
            )),
        }
    }
}

/// Tells the pods of a canary where no label of the workload can.
const TRACK_LABEL: &str = "pilothouse.dev/track";

fn other(value: &str, suffix: &str) -> Result<String, String> {
    let value = beside::value(value, suffix);
    if value.len() > 63 {
        Err(format!("The label value {value} would be longer than 63 characters."))
    } else {
        Ok(value)
    }
}

/// The second Deployment: a copy of the workload as it would be, under its own name and label, with so many pods. `live`
/// is the workload as it is.
pub fn track(change: &ImageChange, beside: &Beside, namespace: &str, live: &Value, replicas: i32) -> Value {
    let rendered = change.objects.iter().find(|object| object["kind"] == "Deployment");
    let mut template = rendered.unwrap_or(live)["spec"]["template"].clone();
    for container in template["spec"]["containers"].as_array_mut().into_iter().flatten() {
        let image = container["name"].as_str().and_then(|name| change.images.get(name));
        if let Some(image) = image {
            container["image"] = json!(image);
        }
    }
    template["metadata"]["labels"][&beside.label] = json!(beside.value);
    // Whoever reads the workload's logs finds these pods by it.
    template["metadata"]["labels"][BESIDE_LABEL] = json!(change.workload);
    if let Some(annotations) = template["metadata"]["annotations"].as_object_mut() {
        annotations.retain(|key, _| key != DEPLOY_ANNOTATION && key != RESTART_ANNOTATION);
    }
    let mut selector = live["spec"]["selector"]["matchLabels"].clone();
    selector[&beside.label] = json!(beside.value);
    let mut spec = json!({
        "replicas": replicas,
        "revisionHistoryLimit": 0,
        "selector": {"matchLabels": selector},
        "template": template,
    });
    for kept in ["minReadySeconds", "progressDeadlineSeconds"] {
        if let Some(value) = live["spec"].get(kept) {
            spec[kept] = value.clone();
        }
    }
    // None of the workload's own labels: the portal, and whoever else looks services up by label, would find two.
    let labels = json!({"app.kubernetes.io/managed-by": FIELD_MANAGER, BESIDE_LABEL: change.workload});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": beside.name, "namespace": namespace, "labels": labels},
        "spec": spec,
    })
}

/// The rendered objects while the traffic is on the other side: applying them must not move it back yet.
pub fn while_green(objects: &[Value], beside: &Beside) -> Vec<Value> {
    let mut objects = objects.to_vec();
    for object in &mut objects {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        match object["kind"].as_str() {
            Some("Service") if beside.services.iter().any(|service| service == name) => {
                object["spec"]["selector"][&beside.label] = json!(beside.value);
            }
            Some("HorizontalPodAutoscaler") if beside.autoscaler.as_deref() == Some(name) => {
                object["spec"]["scaleTargetRef"]["name"] = json!(beside.name);
            }
            _ => {}
        }
    }
    objects
}

/// Per cent of the traffic, where it is spread evenly over so many pods.
pub fn share(new: usize, all: usize) -> Option<u8> {
    let share = (new * 100 + all / 2).checked_div(all)?;
    u8::try_from(share).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::samples;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn around(selector: &[(&str, &str)], service: &[(&str, &str)]) -> Around {
        Around {
            workload: "shop".into(),
            selector: labels(selector),
            pods: labels(&[("app", "shop"), ("tier", "web"), ("track", "stable")]),
            services: vec![("shop".into(), labels(service)), ("other".into(), labels(&[("app", "other")]))],
            autoscaler: None,
        }
    }

    #[test]
    fn a_canary_has_the_nearest_whole_pods_and_at_least_one() {
        assert_eq!(canary_pods(9, 10), 1);
        assert_eq!(canary_pods(2, 10), 1, "a third of the traffic, for there is no smaller pod");
        assert_eq!(canary_pods(4, 50), 4);
        assert_eq!(canary_pods(3, 25), 1);
        assert_eq!(canary_pods(10, 30), 4);
        assert_eq!(canary_pods(0, 50), 1);
        assert_eq!(canary_pods(1, 99), 99);
    }

    #[test]
    fn the_share_is_what_the_pods_really_get() {
        assert_eq!(share(1, 3), Some(33));
        assert_eq!(share(2, 3), Some(67));
        assert_eq!(share(0, 4), Some(0));
        assert_eq!(share(0, 0), None);
    }

    #[test]
    fn traffic_is_switched_by_a_label_that_both_select_by() {
        let green = around(&[("app", "shop")], &[("app", "shop"), ("tier", "web")]).blue_green().unwrap();
        assert_eq!((green.name.as_str(), green.label.as_str()), ("shop-green", "app"));
        assert_eq!((green.value.as_str(), green.was.as_deref()), ("shop-green", Some("shop")));
        assert_eq!(green.services, ["shop"]);
        assert!(
            around(&[("app", "shop")], &[("tier", "web")]).blue_green().unwrap_err().contains("can’t tell")
        );
        assert!(around(&[("app", "shop")], &[]).blue_green().unwrap_err().contains("nothing to switch"));
    }

    #[test]
    fn a_canary_is_selected_by_the_services_and_not_by_the_workload() {
        let selector = [("app", "shop"), ("track", "stable")];
        let canary = around(&selector, &[("app", "shop")]).canary().unwrap();
        assert_eq!((canary.label.as_str(), canary.value.as_str()), ("track", "stable-canary"));

        let same = around(&[("app", "shop")], &[("app", "shop")]);
        let canary = same.canary().unwrap();
        assert_eq!((canary.label.as_str(), canary.was), (TRACK_LABEL, None));
        let scaled = Around { autoscaler: Some("shop".into()), ..same };
        assert!(scaled.canary().unwrap_err().contains("would count the canary’s too"));
    }

    #[test]
    fn what_stands_beside_is_the_workload_as_it_would_be() {
        let change = samples::change();
        let beside = Beside {
            name: "checkout-api-canary".into(),
            label: TRACK_LABEL.into(),
            value: "canary".into(),
            was: None,
            services: vec!["checkout-api".into()],
            autoscaler: None,
        };
        let live = json!({
            "metadata": {"labels": {"backstage.io/kubernetes-id": "checkout-api"}},
            "spec": {
                "replicas": 4,
                "minReadySeconds": 5,
                "selector": {"matchLabels": {"app": "checkout-api"}},
                "template": {
                    "metadata": {
                        "labels": {"app": "checkout-api", "backstage.io/kubernetes-id": "checkout-api"},
                        "annotations": {DEPLOY_ANNOTATION: "3", "team.example/kept": "yes"},
                    },
                    "spec": {"containers": [{"name": "app", "image": "old"}, {"name": "proxy", "image": "proxy:1"}]},
                },
            },
        });
        insta::assert_json_snapshot!(track(&change, &beside, "payments-production", &live, 2));
    }

    #[test]
    fn applying_what_is_rendered_leaves_the_traffic_where_it_is() {
        let beside = around(&[("app", "shop")], &[("app", "shop")]).blue_green().unwrap();
        let beside = Beside { autoscaler: Some("shop".into()), ..beside };
        let objects = [
            json!({"kind": "Service", "metadata": {"name": "shop"}, "spec": {"selector": {"app": "shop"}}}),
            json!({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "shop"}, "spec": {"scaleTargetRef": {"name": "shop"}}}),
            json!({"kind": "Deployment", "metadata": {"name": "shop"}}),
        ];
        let green = while_green(&objects, &beside);
        assert_eq!(green[0]["spec"]["selector"]["app"], "shop-green");
        assert_eq!(green[1]["spec"]["scaleTargetRef"]["name"], "shop-green");
        assert_eq!(green[2], objects[2]);
    }
}
