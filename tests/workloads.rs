//! Services that are no Deployment: a StatefulSet and a DaemonSet, adopted, from the form to their pods.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use pilothouse::kube::{Named, Target, Workload, WorkloadKind};
use serde_json::{Value, json};

use crate::api::{program, send_json};
use crate::deploys::{REPOSITORY, Shop, deployments, hidden};
use crate::invariants;
use crate::support::cluster::{Sandbox, writes};
use crate::support::{Browser, World, until};

/// As the team has it, put there with kubectl in the Deployment's place; `more` goes into its spec.
pub async fn put_in_place(sandbox: &Sandbox, kind: WorkloadKind, more: Value) {
    deployments(sandbox).delete("shop", &DeleteParams::foreground()).await.unwrap();
    until("the Deployment goes", async || {
        deployments(sandbox).get_opt("shop").await.unwrap().is_none().then_some(())
    })
    .await;
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": kind.word(),
        "metadata": {"name": "shop", "labels": {"app.kubernetes.io/name": "shop"}},
        "spec": {
            "selector": {"matchLabels": {"app": "shop"}},
            "template": {
                "metadata": {"labels": {"app": "shop"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
                    "name": "shop",
                    "image": format!("{REPOSITORY}:v1.0.0"),
                    "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
                    "resources": {"limits": {"memory": "64Mi"}},
                }]},
            },
        },
    });
    for (key, value) in more.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    let params = PostParams { field_manager: Some("kubectl-create".into()), ..PostParams::default() };
    workloads(sandbox, kind).create(&params, &serde_json::from_value(object).unwrap()).await.unwrap();
}

fn workloads(sandbox: &Sandbox, kind: WorkloadKind) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("apps", "v1", kind.word());
    Api::namespaced_with(sandbox.admin.clone(), &sandbox.namespace, &ApiResource::from_gvk(&kind))
}

/// A shop whose staging is of this kind, puts back what fails, and does not wait for long.
async fn open(kind: WorkloadKind, more: Value) -> Shop {
    open_in("automatic_rollback = true\nsoak = \"2s\"\n", kind, more).await
}

async fn open_in(settings: &str, kind: WorkloadKind, more: Value) -> Shop {
    let staging = "name = \"staging\"\ncluster = \"dev\"\nnamespace = \"{team}-{environment}\"\n\n";
    let with =
        format!("{}deadline = \"20s\"\n{settings}\n", staging.trim_end_matches('\n').to_string() + "\n");
    let shop = Shop::open_in(World::builder().replace(staging, &with)).await;
    put_in_place(&shop.staging, kind, more).await;
    is_found(&shop, "staging", kind).await;
    shop
}

/// The portal has seen that it is of this kind, and that all its pods are ready.
pub async fn is_found(shop: &Shop, environment: &str, kind: WorkloadKind) {
    let app = &shop.world.app;
    let target = Target::new(
        app.catalogue.load().service("shop").unwrap(),
        app.config.environment(environment).unwrap(),
    );
    until("the portal finds the workload", async || {
        let status = app.watch("dev").status(&target, jiff::Timestamp::now());
        let it = Workload::One(Named { kind, name: "shop".into() });
        (status.workload == it && status.ready > 0 && status.ready == status.wanted).then_some(())
    })
    .await;
}

async fn spec(shop: &Shop, kind: WorkloadKind) -> Value {
    let found = workloads(&shop.staging, kind).get("shop").await.unwrap();
    found.data["spec"].clone()
}

async fn image(shop: &Shop, kind: WorkloadKind) -> String {
    spec(shop, kind).await["template"]["spec"]["containers"][0]["image"].as_str().unwrap().into()
}

/// What its pods run, by name.
async fn pods(shop: &Shop) -> Vec<(String, String)> {
    let api: Api<Pod> = Api::namespaced(shop.staging.admin.clone(), &shop.staging.namespace);
    let found = api.list(&ListParams::default().labels("app=shop")).await.unwrap().items;
    let alive = found.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let image = |pod: Pod| {
        (pod.metadata.name.unwrap(), pod.spec.unwrap().containers.remove(0).image.unwrap_or_default())
    };
    alive.map(image).collect()
}

async fn form(who: &Browser, verb: &str) -> String {
    let page = who.get(&format!("/services/shop/staging/{verb}")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    page.text
}

/// Sends one of the small forms; the number of the deploy, or the refused page.
async fn send(who: &Browser, verb: &str, fields: &[(&str, &str)]) -> Result<i64, String> {
    let key = hidden(&form(who, verb).await, "key");
    let fields: Vec<_> = fields.iter().copied().chain([("key", key.as_str())]).collect();
    let page = who.post(&format!("/services/shop/staging/{verb}"), &fields).await;
    match page.status.as_u16() {
        303 => Ok(page.location().trim_start_matches("/deploys/").parse().unwrap()),
        _ => Err(page.text),
    }
}

/// Writes as maya that changed the generation, from the API server's audit log.
fn generations(shop: &Shop, kind: WorkloadKind) -> Vec<i64> {
    let writes = writes(&shop.staging.namespace, kind.resource(), "shop").into_iter();
    let hers = writes.filter(|write| write.changed && write.person.as_deref() == Some("maya"));
    hers.map(|write| write.generation).collect()
}

#[tokio::test]
async fn a_stateful_set_is_deployed_restarted_and_scaled_as_a_deployment_is() {
    use WorkloadKind::StatefulSet;
    let shop = open(StatefulSet, json!({"serviceName": "shop", "replicas": 2})).await;
    let maya = shop.maya().await;
    let page = maya.get("/services/shop").await;
    assert!(page.text.contains("2 of 2 pods ready"), "{}", page.text);

    let id = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(id, "succeeded").await;
    assert!(image(&shop, StatefulSet).await.starts_with(&format!("{REPOSITORY}:v1.1.0@sha256:")));
    assert!(pods(&shop).await.iter().all(|(_, image)| image.contains("v1.1.0")));
    let page = maya.get(&format!("/deploys/{id}")).await;
    assert!(page.text.contains("its own StatefulSet (adopted)"), "{}", page.text);
    assert_eq!(generations(&shop, StatefulSet), [2], "one write");

    let id = send(&maya, "restart", &[]).await.unwrap();
    shop.ends_as(id, "succeeded").await;
    let annotations = spec(&shop, StatefulSet).await["template"]["metadata"]["annotations"].clone();
    assert_eq!(annotations["pilothouse.dev/restart"], json!(id.to_string()), "{annotations}");

    let id = send(&maya, "scale", &[("replicas", "3")]).await.unwrap();
    shop.ends_as(id, "succeeded").await;
    assert_eq!(spec(&shop, StatefulSet).await["replicas"], 3);
    assert_eq!(pods(&shop).await.len(), 3);

    let id = shop.deploy(&maya, "staging", "v1.5.0").await;
    shop.ends_as(id, "succeeded").await;
    let id = send(&maya, "rollback", &[]).await.unwrap();
    shop.ends_as(id, "succeeded").await;
    assert!(pods(&shop).await.iter().all(|(_, image)| image.contains("v1.1.0")));
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn a_stateful_set_that_crashes_is_put_back_and_its_broken_pod_does_not_hold_it_up() {
    use WorkloadKind::StatefulSet;
    let shop = open(StatefulSet, json!({"serviceName": "shop", "replicas": 2})).await;
    let maya = shop.maya().await;
    let before = image(&shop, StatefulSet).await;

    let id = shop.deploy(&maya, "staging", "v1.3.0").await;
    shop.ends_as(id, "rolled_back").await;

    assert_eq!(image(&shop, StatefulSet).await, before);
    assert!(pods(&shop).await.iter().all(|(_, image)| *image == before));
    let page = maya.get(&format!("/deploys/{id}")).await;
    assert!(page.text.contains("1 of 1 pod: crashes with exit 1"), "{}", page.text);
    assert!(page.text.contains("FATAL config: DATABASE_URL is not set"), "the last log line is not shown");
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn a_stateful_set_that_was_left_broken_takes_the_next_version() {
    use WorkloadKind::StatefulSet;
    let shop = open_in("", StatefulSet, json!({"serviceName": "shop", "replicas": 1})).await;
    let maya = shop.maya().await;
    let id = shop.deploy(&maya, "staging", "v1.3.0").await;
    shop.ends_as(id, "failed").await;

    let text = form(&maya, "deploy?version=v1.5.0&take_over=yes").await;
    assert!(text.contains("The pod shop-0 is deleted"), "{text}");
    let id = shop.deploy(&maya, "staging", "v1.5.0").await;
    shop.ends_as(id, "succeeded").await;
    assert!(pods(&shop).await.iter().all(|(_, image)| image.contains("v1.5.0")));

    // One that only never gets ready may still be at work, so nobody deletes it: the page says what to do.
    let id = shop.deploy(&maya, "staging", "v1.2.0").await;
    shop.ends_as(id, "failed").await;
    let id = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(id, "failed").await;
    let page = maya.get(&format!("/deploys/{id}")).await;
    assert!(page.text.contains("The pod shop-0 is of an earlier version and not ready"), "{}", page.text);
    assert!(page.text.contains("delete pod shop-0"), "{}", page.text);
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn what_a_stateful_set_will_not_do_by_itself_is_said_before() {
    use WorkloadKind::StatefulSet;
    let on_delete = json!({"serviceName": "shop", "replicas": 1, "updateStrategy": {"type": "OnDelete"}});
    let shop = open(StatefulSet, on_delete).await;
    let maya = shop.maya().await;
    let text = form(&maya, "deploy?version=v1.1.0&take_over=yes").await;
    assert!(text.contains("No pod changes by itself") && text.contains("OnDelete"), "{text}");
    let id = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(id, "succeeded").await;
    assert!(image(&shop, StatefulSet).await.contains("v1.1.0"));
    assert!(pods(&shop).await[0].1.contains("v1.0.0"), "its pod waits to be deleted");
    let refused = send(&maya, "restart", &[]).await.unwrap_err();
    assert!(refused.contains("a restart would restart nothing"), "{refused}");

    // The same with a partition: the pods from it on.
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
    let patch = json!({"spec": {"replicas": 2, "updateStrategy": strategy}});
    let patch = kube::api::Patch::Merge(patch);
    workloads(&shop.staging, StatefulSet).patch("shop", &Default::default(), &patch).await.unwrap();
    let text = until("the form reads the partition", async || {
        let text = form(&maya, "deploy?version=v1.5.0&take_over=yes").await;
        text.contains("Only 1 of 2 pods change").then_some(text)
    })
    .await;
    assert!(text.contains("shop-1 and above take the change"), "{text}");
    let id = shop.deploy(&maya, "staging", "v1.5.0").await;
    shop.ends_as(id, "succeeded").await;
    let images = pods(&shop).await;
    assert!(images.iter().any(|(name, image)| name == "shop-1" && image.contains("v1.5.0")), "{images:?}");
    assert!(images.iter().any(|(name, image)| name == "shop-0" && !image.contains("v1.5.0")), "{images:?}");
}

#[tokio::test]
async fn a_daemon_set_is_deployed_put_back_and_restarted_and_has_no_size() {
    use WorkloadKind::DaemonSet;
    let shop = open(DaemonSet, json!({})).await;
    let maya = shop.maya().await;
    let page = maya.get("/services/shop").await;
    assert!(!page.text.contains("/services/shop/staging/scale"), "a size is offered");

    let id = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(id, "succeeded").await;
    let good = image(&shop, DaemonSet).await;
    assert!(good.starts_with(&format!("{REPOSITORY}:v1.1.0@sha256:")));
    assert!(pods(&shop).await.iter().all(|(_, image)| *image == good));

    let id = shop.deploy(&maya, "staging", "v1.3.0").await;
    shop.ends_as(id, "rolled_back").await;
    assert!(pods(&shop).await.iter().all(|(_, image)| *image == good));
    let page = maya.get(&format!("/deploys/{id}")).await;
    assert!(page.text.contains("1 of 1 pod: crashes with exit 1"), "{}", page.text);

    let before = pods(&shop).await;
    let id = send(&maya, "restart", &[]).await.unwrap();
    shop.ends_as(id, "succeeded").await;
    assert_ne!(pods(&shop).await, before, "its pods are the old ones");

    let refused = send(&maya, "scale", &[("replicas", "3")]).await.unwrap_err();
    assert!(refused.contains("A DaemonSet can’t be scaled"), "{refused}");
    assert!(refused.contains("shop runs one pod on each node"), "{refused}");
    let program = program(&shop.world, "maya", &["read", "deploy"]).await;
    let path = "/api/v1/services/shop/environments/staging/scale";
    let refused = send_json(&program, path, json!({"replicas": 3})).await;
    assert!(refused.status.is_client_error(), "{}", refused.text);
    assert!(refused.text.contains("A DaemonSet can’t be scaled"), "{}", refused.text);

    let patch = kube::api::Patch::Merge(
        json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}),
    );
    workloads(&shop.staging, DaemonSet).patch("shop", &Default::default(), &patch).await.unwrap();
    let text = form(&maya, "deploy?version=v1.5.0").await;
    assert!(text.contains("No pod changes by itself"), "{text}");
    let id = shop.deploy(&maya, "staging", "v1.5.0").await;
    shop.ends_as(id, "succeeded").await;
    assert!(pods(&shop).await.iter().all(|(_, image)| *image == good));
    invariants::hold(&shop).await;
}
