//! Every rule about a rollout, read off objects that a real cluster told (tests/fixtures/record), and a few that
//! are made worse by hand where a machine can't be talked into it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pilothouse::kube::diagnosis::{self, Evidence, Reason};
use pilothouse::kube::rollout::{self, Observed, Rollout, Written};
use pilothouse::kube::{Health, LiveWorkload, MakesPods, PodState, health};
use serde::Deserialize;

/// A recorded Deployment and the moment it was recorded.
#[derive(Deserialize)]
struct Recorded {
    at: Timestamp,
    deployment: Deployment,
    replica_sets: Vec<ReplicaSet>,
    pods: Vec<Pod>,
    events: Vec<Event>,
    last_logs: BTreeMap<String, Vec<String>>,
}

fn recorded(name: &str) -> (Observed, Timestamp) {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let it: Recorded = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let observed = Observed {
        workload: Some(LiveWorkload::Deployment(it.deployment)),
        replica_sets: it.replica_sets,
        pods: it.pods,
        events: it.events,
        last_logs: it.last_logs,
    };
    (observed, it.at)
}

/// A write that the current template carries.
fn ours(observed: &Observed) -> Written {
    let generation = observed.workload.as_ref().unwrap().metadata().generation.unwrap();
    Written { generation, ..Written::default() }
}

fn rollout_of(name: &str) -> Rollout {
    let (observed, _) = recorded(name);
    rollout::status(&observed, &ours(&observed))
}

/// The reason, asked when everything has stood for a while.
fn reason_of(name: &str) -> Reason {
    let (observed, at) = recorded(name);
    diagnosis::reason(&observed, Timestamp::MIN, at + SignedDuration::from_secs(30)).unwrap()
}

fn health_of(name: &str) -> Health {
    health::of_workload(&recorded(name).0)
}

fn deployment(observed: &mut Observed) -> &mut Deployment {
    match observed.workload.as_mut() {
        Some(LiveWorkload::Deployment(it)) => it,
        other => panic!("{other:?}"),
    }
}

fn new_words(name: &str) -> Vec<String> {
    let (observed, at) = recorded(name);
    rollout::pods(&observed, at).into_iter().filter(|pod| pod.new).map(|pod| pod.words).collect()
}

mod rollout_status {
    use super::*;

    #[test]
    fn rule_1_a_generation_the_controller_has_not_seen_is_waited_for_even_when_all_else_looks_done() {
        let (mut observed, _) = recorded("done");
        let written = ours(&observed);
        let generation = &mut deployment(&mut observed).metadata.generation;
        *generation = generation.map(|it| it + 1);
        assert!(matches!(rollout::status(&observed, &written), Rollout::Waiting(_)));
    }

    #[test]
    fn rule_2_the_progress_deadline_fails_it_in_kubectls_words() {
        assert_eq!(
            rollout_of("late"),
            Rollout::Failed("deployment \"late\" exceeded its progress deadline".into())
        );
    }

    #[test]
    fn rule_2_comes_after_rule_1_because_the_failure_may_be_of_the_rollout_before() {
        let (mut observed, _) = recorded("late");
        let written = ours(&observed);
        let generation = &mut deployment(&mut observed).metadata.generation;
        *generation = generation.map(|it| it + 1);
        assert!(matches!(rollout::status(&observed, &written), Rollout::Waiting(_)));
    }

    #[test]
    fn rule_3_too_few_new_pods() {
        let Rollout::Waiting(progress) = rollout_of("quota") else { panic!() };
        assert_eq!((progress.wanted, progress.updated, progress.old), (1, 0, 1));
        assert_eq!(progress.sentence, "0 of 1 pod started.");
    }

    #[test]
    fn rule_4_old_pods_still_run() {
        let Rollout::Waiting(progress) = rollout_of("never-ready") else { panic!() };
        assert_eq!((progress.wanted, progress.updated, progress.ready, progress.old), (2, 2, 0, 2));
        assert_eq!(progress.sentence, "2 of 2 new pods started, 2 old pods still run.");
    }

    #[test]
    fn rule_5_new_pods_are_not_available() {
        let Rollout::Waiting(progress) = rollout_of("liveness") else { panic!() };
        assert_eq!(progress.sentence, "0 of 2 pods ready.");
    }

    #[test]
    fn rule_6_otherwise_done() {
        assert_eq!(rollout_of("steady"), Rollout::Done);
        assert_eq!(rollout_of("done"), Rollout::Done);
    }

    #[test]
    fn in_the_middle_it_waits() {
        assert!(matches!(rollout_of("rolling"), Rollout::Waiting(_)));
    }

    #[test]
    fn paused_says_so() {
        assert_eq!(rollout_of("paused"), Rollout::Paused);
    }

    #[test]
    fn deleted_is_gone_also_while_it_is_being_deleted() {
        let (mut observed, at) = recorded("done");
        let written = ours(&observed);
        deployment(&mut observed).metadata.deletion_timestamp = Some(Time(at));
        assert_eq!(rollout::status(&observed, &written), Rollout::Gone);
        observed.workload = None;
        assert_eq!(rollout::status(&observed, &written), Rollout::Gone);
    }

    #[test]
    fn a_template_with_another_marker_at_a_later_generation_supersedes_us() {
        let (mut observed, _) = recorded("done");
        let mut written = ours(&observed);
        written.template_marker = Some("deploy-1".into());
        // Written, and the answer to our own write: the marker of an older read does not matter yet.
        assert_eq!(rollout::status(&observed, &written), Rollout::Done);
        let generation = &mut deployment(&mut observed).metadata.generation;
        *generation = generation.map(|it| it + 1);
        assert_eq!(rollout::status(&observed, &written), Rollout::Superseded { by: "kubectl-set".into() });
    }

    #[test]
    fn an_image_that_is_not_ours_supersedes_us_although_kubectl_kept_our_marker() {
        let (mut observed, _) = recorded("done");
        let mut written = ours(&observed);
        written.images = BTreeMap::from([("web".into(), "127.0.0.1:5000/payments/checkout-api:v9".into())]);
        let generation = &mut deployment(&mut observed).metadata.generation;
        *generation = generation.map(|it| it + 1);
        assert_eq!(rollout::status(&observed, &written), Rollout::Superseded { by: "kubectl-set".into() });
    }

    #[test]
    fn a_later_generation_that_leaves_our_template_alone_is_still_ours() {
        let (mut observed, _) = recorded("done");
        let mut written = ours(&observed);
        written.images =
            BTreeMap::from([("web".into(), "127.0.0.1:5000/payments/checkout-api:v1.1.0".into())]);
        let deployment = deployment(&mut observed);
        deployment.metadata.generation = deployment.metadata.generation.map(|it| it + 1);
        deployment.status.as_mut().unwrap().observed_generation = deployment.metadata.generation;
        assert_eq!(rollout::status(&observed, &written), Rollout::Done);
    }

    #[test]
    fn an_object_made_anew_under_our_name_is_not_ours() {
        let (mut observed, _) = recorded("done");
        let mut written = ours(&observed);
        written.template_marker = Some("deploy-1".into());
        deployment(&mut observed).metadata.generation = Some(1);
        assert!(matches!(rollout::status(&observed, &written), Rollout::Superseded { .. }));
    }
}

mod other_workloads {
    use super::*;
    use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};

    fn stateful_set(change: impl FnOnce(&mut serde_json::Value)) -> Rollout {
        let mut set = serde_json::json!({
            "metadata": {"name": "db", "generation": 3},
            "spec": {"replicas": 3, "serviceName": "db", "selector": {}, "template": {},
                     "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}},
            "status": {"observedGeneration": 3, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3,
                       "currentRevision": "db-2", "updateRevision": "db-2"},
        });
        change(&mut set);
        rollout::stateful_set_status(&serde_json::from_value::<StatefulSet>(set).unwrap())
    }

    fn daemon_set(change: impl FnOnce(&mut serde_json::Value)) -> Rollout {
        let mut set = serde_json::json!({
            "metadata": {"name": "agent", "generation": 2},
            "spec": {"selector": {}, "template": {}, "updateStrategy": {"type": "RollingUpdate"}},
            "status": {"observedGeneration": 2, "desiredNumberScheduled": 4, "updatedNumberScheduled": 4,
                       "numberAvailable": 4, "numberReady": 4, "currentNumberScheduled": 4, "numberMisscheduled": 0},
        });
        change(&mut set);
        rollout::daemon_set_status(&serde_json::from_value::<DaemonSet>(set).unwrap())
    }

    fn waits(rollout: Rollout) -> String {
        let Rollout::Waiting(progress) = rollout else { panic!("{rollout:?}") };
        progress.sentence
    }

    #[test]
    fn a_stateful_set_is_done_when_ready_and_on_one_revision() {
        assert_eq!(stateful_set(|_| {}), Rollout::Done);
        waits(stateful_set(|set| set["status"]["observedGeneration"] = 0.into()));
        waits(stateful_set(|set| set["status"]["observedGeneration"] = 2.into()));
        assert_eq!(
            waits(stateful_set(|set| set["status"]["readyReplicas"] = 2.into())),
            "2 of 3 pods ready."
        );
        assert_eq!(
            waits(stateful_set(|set| {
                set["status"]["updateRevision"] = "db-3".into();
                set["status"]["updatedReplicas"] = 1.into();
            })),
            "1 of 3 pods updated."
        );
    }

    #[test]
    fn an_on_delete_set_waits_for_its_pods_but_not_for_new_ones() {
        let on_delete = |set: &mut serde_json::Value| {
            set["spec"]["updateStrategy"] = serde_json::json!({"type": "OnDelete"});
            set["status"]["updateRevision"] = "db-3".into();
            set["status"]["updatedNumberScheduled"] = 0.into();
        };
        assert_eq!(stateful_set(on_delete), Rollout::Done);
        assert_eq!(daemon_set(on_delete), Rollout::Done);
        waits(stateful_set(|set| {
            on_delete(set);
            set["status"]["readyReplicas"] = 2.into();
        }));
        waits(daemon_set(|set| {
            on_delete(set);
            set["status"]["numberAvailable"] = 3.into();
        }));
    }

    #[test]
    fn a_partition_only_asks_for_the_pods_above_it() {
        let partitioned = |updated: i32| {
            stateful_set(move |set| {
                set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 2.into();
                set["status"]["updateRevision"] = "db-3".into();
                set["status"]["updatedReplicas"] = updated.into();
            })
        };
        waits(partitioned(0));
        assert_eq!(partitioned(1), Rollout::Done);
    }

    #[test]
    fn a_template_that_no_pod_takes_by_itself_is_done_once_it_is_written() {
        let set = serde_json::json!({
            "kind": "StatefulSet",
            "metadata": {"name": "db", "generation": 3},
            "spec": {"replicas": 3, "serviceName": "db", "selector": {}, "template": {},
                     "updateStrategy": {"type": "OnDelete"}},
            "status": {"observedGeneration": 3, "replicas": 3, "readyReplicas": 1},
        });
        let observed = Observed { workload: LiveWorkload::of(&set), ..Observed::default() };
        let template = Written { generation: 3, template_marker: Some("7".into()), ..Written::default() };
        assert_eq!(rollout::status(&observed, &template), Rollout::Done);
        let size = Written { template_marker: None, ..template };
        assert_eq!(waits(rollout::status(&observed, &size)), "1 of 3 pods ready.");
    }

    #[test]
    fn new_pods_are_told_by_their_revision() {
        let pod = |name: &str, revision: &str, generation: &str| -> Pod {
            serde_json::from_value(serde_json::json!({"metadata": {"name": name, "labels": {
                "controller-revision-hash": revision, "pod-template-generation": generation,
            }}}))
            .unwrap()
        };
        let new = |workload: serde_json::Value, pods: Vec<Pod>| -> Vec<String> {
            let observed = Observed { workload: LiveWorkload::of(&workload), pods, ..Observed::default() };
            observed.new_pods().map(|pod| pod.metadata.name.clone().unwrap()).collect()
        };
        let mut set = serde_json::json!({
            "kind": "StatefulSet", "metadata": {"generation": 2},
            "status": {"observedGeneration": 2, "replicas": 2, "updateRevision": "db-b"},
        });
        let pods = || vec![pod("db-0", "db-a", ""), pod("db-1", "db-b", "")];
        assert_eq!(new(set.clone(), pods()), ["db-1"]);
        set["metadata"]["generation"] = 3.into();
        assert_eq!(new(set, pods()), [""; 0], "the revision is of the template before");

        // The template of the first generation is back: its pods are new ones, too.
        let agent = serde_json::json!({
            "kind": "DaemonSet",
            "metadata": {"annotations": {"deprecated.daemonset.template.generation": "3"}},
        });
        let pods = vec![pod("x", "a", "1"), pod("y", "b", "2"), pod("z", "a", "3")];
        assert_eq!(new(agent, pods), ["x", "z"]);
    }

    #[test]
    fn a_stateful_set_that_waits_for_an_older_pod_says_which() {
        let set = serde_json::json!({
            "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "shop", "generation": 2},
            "status": {"observedGeneration": 2, "replicas": 1, "updateRevision": "db-b"},
        });
        let pod = serde_json::json!({
            "metadata": {"name": "db-0", "labels": {"controller-revision-hash": "db-a"}},
            "spec": {"containers": [{"name": "db", "image": "db:1"}]},
            "status": {"phase": "Running", "containerStatuses": [{
                "name": "db", "image": "db:1", "imageID": "", "ready": false, "restartCount": 0, "started": true,
                "state": {"running": {"startedAt": "2026-11-23T14:00:00Z"}},
            }]},
        });
        let pods = vec![serde_json::from_value(pod).unwrap()];
        let observed = Observed { workload: LiveWorkload::of(&set), pods, ..Observed::default() };
        let at = |text: &str| diagnosis::reason(&observed, Timestamp::MIN, text.parse().unwrap());
        assert_eq!(at("2026-11-23T14:00:05Z"), None, "it is just starting");
        let reason = at("2026-11-23T14:01:00Z").unwrap();
        assert!(reason.sentence.starts_with("The pod db-0 is of an earlier version"), "{}", reason.sentence);
        assert!(reason.action.ends_with("kubectl -n shop delete pod db-0"), "{}", reason.action);
    }

    #[test]
    fn a_daemon_set_needs_every_node_updated_and_available() {
        assert_eq!(daemon_set(|_| {}), Rollout::Done);
        waits(daemon_set(|set| set["metadata"]["generation"] = 3.into()));
        assert_eq!(
            waits(daemon_set(|set| set["status"]["updatedNumberScheduled"] = 1.into())),
            "1 of 4 pods updated."
        );
        assert_eq!(
            waits(daemon_set(|set| set["status"]["numberAvailable"] = 3.into())),
            "3 of 4 pods ready."
        );
    }
}

mod pods {
    use super::*;

    #[test]
    fn new_pods_come_first_and_say_what_they_do() {
        let (observed, at) = recorded("crashes");
        let pods = rollout::pods(&observed, at);
        assert_eq!(pods.iter().map(|pod| pod.new).collect::<Vec<_>>(), [true, true, false, false]);
        assert!(pods[0].words.starts_with("crashes: exit 1, "), "{}", pods[0].words);
        assert_eq!(pods[0].class, "bad");
        assert!(pods[2].words.starts_with("ready for "), "{}", pods[2].words);
        assert_eq!((pods[2].class.as_str(), pods[2].node.as_str()), ("idle", "node-1"));
    }

    #[test]
    fn each_state_has_its_words() {
        assert_eq!(new_words("no-image"), ["the image does not exist"; 2]);
        assert_eq!(new_words("no-registry"), ["cannot reach the image registry"; 2]);
        assert_eq!(new_words("no-secret"), ["cannot start: Secret checkout-db is missing"; 2]);
        assert_eq!(new_words("never-ready"), ["starting, readiness probe fails"; 2]);
        assert_eq!(new_words("no-node"), ["waits for a node"; 2]);
        assert_eq!(new_words("no-mount"), ["being created"; 2]);
        assert!(new_words("no-start")[0].starts_with("cannot start: exec: \"/usr/bin/no-such-program\""));
        assert!(new_words("done").iter().all(|words| words.starts_with("ready for ")));
        assert!(
            new_words("out-of-memory").iter().all(|words| words.starts_with("out of memory at 64 MiB, "))
        );
    }

    #[test]
    fn a_pull_under_way_is_seen_in_the_events() {
        let (mut observed, at) = recorded("no-image");
        for pod in &mut observed.pods {
            for status in pod.status.as_mut().unwrap().container_statuses.iter_mut().flatten() {
                if let Some(waiting) = status.state.as_mut().and_then(|state| state.waiting.as_mut()) {
                    waiting.reason = Some("ContainerCreating".into());
                    waiting.message = None;
                }
            }
        }
        let pods = rollout::pods(&observed, at);
        assert_eq!(pods[0].words, "pulling the image");
    }

    #[test]
    fn rows_keep_their_order_however_the_list_comes() {
        let (mut observed, at) = recorded("never-ready");
        let names = |pods: Vec<PodState>| pods.into_iter().map(|pod| pod.name).collect::<Vec<_>>();
        let before = names(rollout::pods(&observed, at));
        observed.pods.reverse();
        assert_eq!(names(rollout::pods(&observed, at)), before);
    }
}

mod soak {
    use super::*;

    #[test]
    fn a_restart_of_a_new_pod_in_the_soak_fails_it() {
        let (observed, at) = recorded("out-of-memory");
        let error = rollout::soak(&observed, at - SignedDuration::from_mins(5)).unwrap_err();
        assert!(error.ends_with("restarted after the rollout was done: out of memory at 64 MiB."), "{error}");
    }

    #[test]
    fn quiet_new_pods_and_restarts_before_the_soak_pass() {
        let (observed, at) = recorded("done");
        assert_eq!(rollout::soak(&observed, at - SignedDuration::from_mins(5)), Ok(()));
        let (observed, at) = recorded("liveness");
        assert_eq!(rollout::soak(&observed, at + SignedDuration::from_mins(1)), Ok(()));
    }

    #[test]
    fn what_old_pods_do_does_not_count() {
        let (mut observed, _) = recorded("crashes");
        let newest = observed.newest().unwrap().metadata.uid.clone();
        observed.pods.retain(|pod| {
            pod.metadata.owner_references.as_ref().unwrap()[0].uid != *newest.as_ref().unwrap()
        });
        assert_eq!(rollout::soak(&observed, Timestamp::MIN), Ok(()));
    }
}

mod one_reason {
    use super::*;

    fn logs(reason: &Reason) -> bool {
        reason
            .evidence
            .iter()
            .any(|evidence| matches!(evidence, Evidence::Log { lines, .. } if !lines.is_empty()))
    }

    fn events(reason: &Reason) -> bool {
        reason.evidence.iter().any(|evidence| matches!(evidence, Evidence::Event { .. }))
    }

    #[test]
    fn nothing_is_wrong_with_what_goes_well() {
        for name in ["steady", "done", "rolling", "paused"] {
            let (observed, at) = recorded(name);
            assert_eq!(diagnosis::reason(&observed, Timestamp::MIN, at), None, "{name}");
        }
    }

    #[test]
    fn rule_2_quota_names_what_is_used_up_and_is_fatal_only_without_any_progress() {
        let reason = reason_of("quota");
        assert_eq!(
            reason.sentence,
            "1 pod cannot be created: not enough left in the quota pods: the number of pods needs 1 more, and 1 of 1 is taken."
        );
        assert!(reason.fatal && events(&reason));

        let (mut observed, at) = recorded("quota");
        let newest = observed.newest().unwrap().metadata.uid.clone();
        let set = observed.replica_sets.iter_mut().find(|set| set.metadata.uid == newest).unwrap();
        set.spec.as_mut().unwrap().replicas = Some(3);
        set.status.as_mut().unwrap().replicas = 1;
        let reason =
            diagnosis::reason(&observed, Timestamp::MIN, at + SignedDuration::from_secs(30)).unwrap();
        assert!(!reason.fatal);
        assert!(
            reason.sentence.starts_with("2 pods cannot be created: not enough left in the quota pods"),
            "{}",
            reason.sentence
        );
    }

    #[test]
    fn rule_2_a_quota_just_met_is_not_fatal_yet() {
        let (mut observed, at) = recorded("quota");
        for set in &mut observed.replica_sets {
            for condition in set.status.as_mut().unwrap().conditions.iter_mut().flatten() {
                condition.last_transition_time = Some(Time(at));
            }
        }
        assert!(!diagnosis::reason(&observed, Timestamp::MIN, at).unwrap().fatal);
    }

    #[test]
    fn rule_2_pod_security_in_plain_words() {
        let reason = reason_of("pod-security");
        assert_eq!(
            reason.sentence,
            "2 pods cannot be created: the namespace only takes pods that follow the restricted profile."
        );
        assert!(reason.action.contains("does not run as root (runAsNonRoot: true)"), "{}", reason.action);
        assert!(reason.fatal);
    }

    #[test]
    fn rule_3_unschedulable_is_condensed_and_only_after_15_s() {
        let reason = reason_of("no-node");
        assert_eq!(reason.sentence, "2 of 2 pods: no room, 0 of 4 nodes: 1 too little memory, 3 tainted.");
        assert!(!reason.fatal);

        let (observed, _) = recorded("no-node");
        let pod = observed.new_pods().next().unwrap();
        let born = pod.metadata.creation_timestamp.as_ref().unwrap().0;
        assert_eq!(diagnosis::reason(&observed, Timestamp::MIN, born + SignedDuration::from_secs(10)), None);
    }

    #[test]
    fn rule_4_a_mount_that_keeps_failing() {
        let reason = reason_of("no-mount");
        assert_eq!(
            reason.sentence,
            "2 of 2 pods: the volume certificates cannot be mounted: Secret checkout-certificates is missing."
        );
        assert!(events(&reason));
    }

    #[test]
    fn rule_5_missing_configuration_is_named() {
        assert_eq!(reason_of("no-secret").sentence, "2 of 2 pods: Secret checkout-db is missing.");
        let reason = reason_of("no-key");
        assert_eq!(reason.sentence, "2 of 2 pods: Secret checkout-cache has no key url.");
        assert!(!reason.fatal, "it is told, and waited for");
    }

    #[test]
    fn rule_5_images_only_not_found_fails_fast() {
        let reason = reason_of("no-image");
        assert!(
            reason.sentence.ends_with("/payments/checkout-api:v9.9.9 does not exist."),
            "{}",
            reason.sentence
        );
        assert!(reason.fatal);
        let reason = reason_of("no-registry");
        assert!(reason.sentence.ends_with("cannot be fetched."), "{}", reason.sentence);
        assert!(!reason.fatal);

        let (mut observed, at) = recorded("no-image");
        for pod in &mut observed.pods {
            for status in pod.status.as_mut().unwrap().container_statuses.iter_mut().flatten() {
                if let Some(waiting) = status.state.as_mut().and_then(|state| state.waiting.as_mut()) {
                    waiting.message = Some("failed to authorize: 401 Unauthorized: access denied".into());
                }
            }
        }
        let reason = diagnosis::reason(&observed, Timestamp::MIN, at).unwrap();
        assert!(
            reason.sentence.contains("the registry refuses to hand out the image"),
            "{}",
            reason.sentence
        );
        assert!(!reason.fatal);
    }

    #[test]
    fn rule_5_a_process_that_cannot_start() {
        assert_eq!(
            reason_of("no-start").sentence,
            "2 of 2 pods: the container web cannot start: exec: \"/usr/bin/no-such-program\": \
             stat /usr/bin/no-such-program: no such file or directory."
        );
    }

    #[test]
    fn rule_6_out_of_memory_with_the_limit() {
        let reason = reason_of("out-of-memory");
        assert!(reason.sentence.starts_with("2 of 2 pods: out of memory at 64 MiB, "), "{}", reason.sentence);
        assert_eq!(reason.action, "Raise the memory limit of 64 MiB, or roll back.");
    }

    #[test]
    fn rule_6_a_crash_with_exit_code_and_last_words() {
        let reason = reason_of("crashes");
        assert!(reason.sentence.starts_with("2 of 2 pods: crashes with exit 1, "), "{}", reason.sentence);
        assert!(reason.sentence.contains(": “FATAL config: DATABASE_URL is not set”"), "{}", reason.sentence);
        assert!(logs(&reason));
    }

    #[test]
    fn rule_6_init_containers_too() {
        let reason = reason_of("init-crashes");
        assert!(
            reason.sentence.starts_with("2 of 2 pods: crashes with exit 1 in the init container migrate, "),
            "{}",
            reason.sentence
        );
        assert!(logs(&reason));
    }

    #[test]
    fn rule_6_killed_by_its_liveness_probe() {
        let reason = reason_of("liveness");
        assert!(
            reason.sentence.starts_with("2 of 2 pods: killed because the liveness probe fails, "),
            "{}",
            reason.sentence
        );
        assert_eq!(
            reason.action,
            "Make GET /no-such-page on port 8080 answer, mend the probe, or roll back."
        );
    }

    #[test]
    fn rule_7_not_ready_shows_the_probe_after_a_while() {
        let reason = reason_of("never-ready");
        assert_eq!(reason.sentence, "2 of 2 pods: not ready, GET /readyz on port 8080 answers 503.");
        assert!(
            matches!(&reason.evidence[0], Evidence::Probe { text } if text.starts_with("GET /readyz on port 8080"))
        );

        let (observed, _) = recorded("never-ready");
        let pod = observed.new_pods().next().unwrap();
        let born = pod.metadata.creation_timestamp.as_ref().unwrap().0;
        assert_eq!(diagnosis::reason(&observed, Timestamp::MIN, born + SignedDuration::from_secs(5)), None);
    }

    #[test]
    fn rule_8_evicted_is_transient() {
        let (mut observed, at) = recorded("done");
        let status = observed.pods[0].status.as_mut().unwrap();
        status.phase = Some("Failed".into());
        status.reason = Some("Evicted".into());
        status.message = Some("The node was low on resource: memory. ".into());
        let reason = diagnosis::reason(&observed, Timestamp::MIN, at).unwrap();
        assert_eq!(reason.sentence, "1 of 2 pods: evicted, The node was low on resource: memory.");
        assert!(!reason.fatal);
        assert_eq!(health::of_workload(&observed), Health::Healthy);
    }

    #[test]
    fn the_most_common_cause_is_the_reason_and_the_earlier_rule_wins_a_tie() {
        let (mut observed, at) = recorded("crashes");
        let (mut other, _) = recorded("no-secret");
        let newest = observed.newest().unwrap().metadata.uid.clone().unwrap();
        let mut broken = other
            .pods
            .iter_mut()
            .find(|pod| pod.status.as_ref().unwrap().phase.as_deref() == Some("Pending"));
        let broken = broken.take().unwrap();
        broken.metadata.owner_references.as_mut().unwrap()[0].uid = newest.clone();
        let sentence =
            |observed: &Observed| diagnosis::reason(observed, Timestamp::MIN, at).unwrap().sentence;

        observed.pods.push(broken.clone());
        assert!(sentence(&observed).starts_with("2 of 3 pods: crashes"), "{}", sentence(&observed));

        let one = observed
            .pods
            .iter()
            .position(|pod| pod.metadata.owner_references.as_ref().unwrap()[0].uid == newest);
        observed.pods.remove(one.unwrap());
        assert_eq!(sentence(&observed), "1 of 2 pods: Secret checkout-db is missing.");
    }

    #[test]
    fn a_throttled_surge_does_not_hide_what_the_new_pods_say() {
        let (mut observed, at) = recorded("no-image");
        let newest = observed.newest().unwrap().metadata.uid.clone();
        let set = observed.replica_sets.iter_mut().find(|set| set.metadata.uid == newest).unwrap();
        let (quota, _) = recorded("quota");
        set.status.as_mut().unwrap().conditions =
            quota.newest().unwrap().status.as_ref().unwrap().conditions.clone();
        let reason = diagnosis::reason(&observed, Timestamp::MIN, at).unwrap();
        assert!(reason.sentence.contains("does not exist"), "{}", reason.sentence);
    }

    #[test]
    fn what_happened_before_the_deploy_is_no_evidence() {
        let (observed, at) = recorded("liveness");
        let reason = diagnosis::reason(&observed, at + SignedDuration::from_secs(1), at).unwrap();
        assert!(!events(&reason), "{reason:?}");
        assert!(reason.sentence.contains("ends by itself"), "{}", reason.sentence);
    }

    #[test]
    fn a_ready_pod_that_crashed_lately_is_told_for_ten_minutes() {
        let (mut observed, at) = recorded("out-of-memory");
        for pod in &mut observed.pods {
            let status = pod.status.as_mut().unwrap();
            for condition in status.conditions.iter_mut().flatten() {
                condition.status = "True".into();
            }
            for container in status.container_statuses.iter_mut().flatten() {
                container.ready = true;
                container.state = Some(Default::default());
            }
        }
        let told = |after: SignedDuration| diagnosis::reason(&observed, Timestamp::MIN, at + after).is_some();
        assert!(told(SignedDuration::from_mins(5)));
        assert!(!told(SignedDuration::from_mins(15)));
        assert_eq!(rollout::pods(&observed, at)[0].class, "warn");
    }
}

mod health_rules {
    use super::*;
    use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
    use k8s_openapi::api::batch::v1::Job;
    use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
    use serde_json::json;

    fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_workload_is_as_healthy_as_its_worst_part() {
        for (name, wanted) in [
            ("steady", Health::Healthy),
            ("done", Health::Healthy),
            ("rolling", Health::Progressing),
            ("never-ready", Health::Progressing),
            ("no-node", Health::Progressing),
            ("no-mount", Health::Progressing),
            ("paused", Health::Suspended),
            ("late", Health::Degraded),
            ("quota", Health::Degraded),
            ("pod-security", Health::Degraded),
            ("crashes", Health::Degraded),
            ("init-crashes", Health::Degraded),
            ("out-of-memory", Health::Degraded),
            ("no-image", Health::Degraded),
            ("no-secret", Health::Degraded),
            ("no-start", Health::Degraded),
        ] {
            assert_eq!(health_of(name), wanted, "{name}");
        }
        assert_eq!(health::of_workload(&Observed::default()), Health::Missing);
    }

    #[test]
    fn deleting_is_progressing() {
        let (mut observed, at) = recorded("crashes");
        deployment(&mut observed).metadata.deletion_timestamp = Some(Time(at));
        assert_eq!(health::of_workload(&observed), Health::Progressing);
    }

    #[test]
    fn jobs_by_their_conditions() {
        let job =
            |kind: &str| read::<Job>(json!({"status": {"conditions": [{"type": kind, "status": "True"}]}}));
        assert_eq!(health::of_job(&job("Failed")), Health::Degraded);
        assert_eq!(health::of_job(&job("Complete")), Health::Healthy);
        assert_eq!(health::of_job(&job("Suspended")), Health::Suspended);
        assert_eq!(health::of_job(&Job::default()), Health::Progressing);
    }

    #[test]
    fn a_load_balancer_waits_for_its_address() {
        let waiting: Service =
            read(json!({"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {}}}));
        let there: Service = read(
            json!({"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}),
        );
        assert_eq!(health::of_service(&waiting), Health::Progressing);
        assert_eq!(health::of_service(&there), Health::Healthy);
        assert_eq!(health::of_service(&Service::default()), Health::Healthy);
    }

    #[test]
    fn volume_claims_by_phase() {
        let claim = |phase: &str| read::<PersistentVolumeClaim>(json!({"status": {"phase": phase}}));
        assert_eq!(health::of_volume_claim(&claim("Bound")), Health::Healthy);
        assert_eq!(health::of_volume_claim(&claim("Pending")), Health::Progressing);
        assert_eq!(health::of_volume_claim(&claim("Lost")), Health::Degraded);
        assert_eq!(health::of_volume_claim(&PersistentVolumeClaim::default()), Health::Unknown);
    }

    #[test]
    fn an_autoscaler_fails_if_any_condition_does() {
        let autoscaler = |conditions| {
            read::<HorizontalPodAutoscaler>(
                json!({"status": {"desiredReplicas": 1, "currentMetrics": null, "conditions": conditions}}),
            )
        };
        let able = json!({"type": "AbleToScale", "status": "True", "reason": "SucceededGetScale"});
        let blind = json!({"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric"});
        assert_eq!(health::of_autoscaler(&autoscaler(json!([able, blind]))), Health::Degraded);
        assert_eq!(health::of_autoscaler(&autoscaler(json!([able]))), Health::Healthy);
        assert_eq!(health::of_autoscaler(&autoscaler(json!([]))), Health::Progressing);
    }
}
