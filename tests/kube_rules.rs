//! Every rule about a rollout, read off objects that a real cluster told (tests/fixtures/record), and a few that
//! are made worse by hand where a machine can't be talked into it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use pilothouse::kube::diagnosis::{self, Evidence, Reason};
use pilothouse::kube::rollout::{self, Observed, Rollout, Written};
use pilothouse::kube::{Health, PodState, health};
use serde::Deserialize;

/// A recorded Deployment and the moment it was recorded.
#[derive(Deserialize)]
struct Recorded {
    at: Timestamp,
    deployment: k8s_openapi::api::apps::v1::Deployment,
    replica_sets: Vec<k8s_openapi::api::apps::v1::ReplicaSet>,
    pods: Vec<k8s_openapi::api::core::v1::Pod>,
    events: Vec<k8s_openapi::api::core::v1::Event>,
    last_logs: BTreeMap<String, Vec<String>>,
}

fn recorded(name: &str) -> (Observed, Timestamp) {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let it: Recorded = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let observed = Observed {
        deployment: Some(it.deployment),
        replica_sets: it.replica_sets,
        pods: it.pods,
        events: it.events,
        last_logs: it.last_logs,
    };
    (observed, it.at)
}
#[test]
fn look() {
    for entry in std::fs::read_dir("tests/fixtures").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".json") else { continue };
        let (observed, at) = recorded(name);
        println!(
            "=== {name} {:?} {:?}",
            health::of_workload(&observed),
            rollout::status(
                &observed,
                &Written {
                    generation: observed.deployment.as_ref().unwrap().metadata.generation.unwrap(),
                    ..Default::default()
                }
            )
        );
        for p in rollout::pods(&observed, at) {
            println!("   {} new={} {} {}: {}", p.name, p.new, p.node, p.class, p.words);
        }
        println!("   {:#?}", diagnosis::reason(&observed, Timestamp::MIN, at));
    }
}
