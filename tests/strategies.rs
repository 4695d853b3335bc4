//! Blue-green and canary on plain Deployments and Services: a second Deployment beside the first, real pods, real traffic.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::deploys::{CATALOGUE, REPOSITORY, Shop, deployments, hidden, image};
use crate::invariants;
use crate::support::cluster::Sandbox;
use crate::support::{Browser, World, until};

/// Staging has a canary of two steps, the second one by hand, and a soak that ends before the test does.
const STAGING: &str =
    "soak = \"3s\"\ncanary = [{ weight = 25, pause = \"2s\" }, { weight = 50, pause = \"hand\" }]\n";

/// A shop with two pods behind a Service.
async fn open(catalogue: &str) -> Shop {
    let staging = "cluster = \"dev\"\nnamespace = \"{team}-{environment}\"\n\n";
    let with = format!("{}{STAGING}\n", staging.trim_end_matches('\n').to_string() + "\n");
    let world = World::builder()
        .replace(&format!("name = \"staging\"\n{staging}"), &format!("name = \"staging\"\n{with}"));
    let shop = Shop::open_as(world, catalogue, "production").await;
    serve(&shop.staging).await;
    let two = Patch::Merge(json!({"spec": {"replicas": 2}}));
    deployments(&shop.staging).patch("shop", &PatchParams::default(), &two).await.unwrap();
    until("two pods are ready", async || {
        let status = deployments(&shop.staging).get("shop").await.unwrap().status?;
        (status.ready_replicas == Some(2)).then_some(())
    })
    .await;
    shop
}

/// Puts a Service before the shop.
pub async fn serve(sandbox: &Sandbox) {
    let service = json!({
        "metadata": {"name": "shop"},
        "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    let service = serde_json::from_value(service).unwrap();
    services(sandbox).create(&PostParams::default(), &service).await.unwrap();
}

fn services(sandbox: &Sandbox) -> Api<Service> {
    Api::namespaced(sandbox.admin.clone(), &sandbox.namespace)
}

/// What the Service selects by `app`.
pub async fn leads_to(sandbox: &Sandbox) -> String {
    services(sandbox).get("shop").await.unwrap().spec.unwrap().selector.unwrap()["app"].clone()
}

pub async fn size(sandbox: &Sandbox, name: &str) -> Option<i32> {
    deployments(sandbox).get_opt(name).await.unwrap()?.spec?.replicas
}

pub async fn deploy(shop: &Shop, who: &Browser, version: &str, strategy: &str) -> i64 {
    let path = "/services/shop/staging/deploy";
    let form = who.get(&format!("{path}?version={version}&take_over=yes&strategy={strategy}")).await;
    let fields = [
        ("version", version),
        ("take_over", "yes"),
        ("strategy", strategy),
        ("seen", &hidden(&form.text, "seen")),
        ("key", ""),
    ];
    let sent = who.post(path, &fields).await;
    assert_eq!(sent.status, 303, "{}", sent.text);
    let id = sent.location().trim_start_matches("/deploys/").parse().unwrap();
    assert!(shop.state(id).await != "requested");
    id
}

pub async fn detail(shop: &Shop, id: i64) -> Value {
    sqlx::query_scalar("select detail from deploys where id = $1")
        .bind(id)
        .fetch_one(&shop.world.app.db)
        .await
        .unwrap()
}

async fn share(shop: &Shop, id: i64) -> Option<i64> {
    let progress: Option<Value> = sqlx::query_scalar("select progress from deploys where id = $1")
        .bind(id)
        .fetch_one(&shop.world.app.db)
        .await
        .unwrap();
    progress?["share"].as_i64()
}

pub async fn waits_for_a_hand(shop: &Shop, id: i64) {
    until("it waits for a hand", async || {
        let detail = detail(shop, id).await;
        (detail["stage"]["is"] == "holding" && detail["stage"]["until"].is_null()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_canary_takes_its_shares_waits_for_a_hand_and_takes_over() {
    let shop = open(CATALOGUE).await;
    let (maya, omar) = (shop.maya().await, shop.omar().await);
    let before = image(&shop.staging).await;
    let form = maya.get("/services/shop/staging/deploy?version=v1.1.0&take_over=yes&strategy=canary").await;
    assert!(form.text.contains("shop-canary would stand beside it"), "{}", form.text);
    assert!(form.text.contains("1 of 3 pods for 2s (33 %), then 2 of 4 pods until somebody goes on (50 %)"));

    let id = deploy(&shop, &maya, "v1.1.0", "canary").await;
    until("the first share", async || (size(&shop.staging, "shop-canary").await == Some(1)).then_some(()))
        .await;
    waits_for_a_hand(&shop, id).await;
    assert_eq!(detail(&shop, id).await["step"], 1);
    assert_eq!(size(&shop.staging, "shop-canary").await, Some(2));
    assert_eq!(size(&shop.staging, "shop").await, Some(2), "what runs is left alone");
    assert_eq!(image(&shop.staging).await, before);
    until("half of the traffic", async || (share(&shop, id).await == Some(50)).then_some(())).await;
    let page = maya.get(&format!("/deploys/{id}")).await.text;
    for words in ["Stable v1.0.0", "Canary v1.1.0", "50 % of the traffic", "Waits to go on", "Go on"] {
        assert!(page.contains(words), "{words} is missing: {page}");
    }

    let early = omar.post(&format!("/deploys/{id}/promotion"), &[]).await;
    assert_eq!(early.status, 422, "staging asks nobody else, so nobody else lets it go on");
    assert!(early.text.contains("Only the person who asked can say that it goes on."));
    assert_eq!(maya.post(&format!("/deploys/{id}/promotion"), &[]).await.status, 303);
    shop.ends_as(id, "succeeded").await;

    assert!(image(&shop.staging).await.starts_with(&format!("{REPOSITORY}:v1.1.0@")));
    assert_eq!(size(&shop.staging, "shop-canary").await, None, "the canary is gone");
    assert_eq!(leads_to(&shop.staging).await, "shop");
    let audited: i64 = sqlx::query_scalar("select count(*) from audit where action = 'deploy.promote'")
        .fetch_one(&shop.world.app.db)
        .await
        .unwrap();
    assert_eq!(audited, 1);
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn a_canary_that_crashes_leaves_nothing_behind_and_never_touched_what_runs() {
    let shop = open(CATALOGUE).await;
    let maya = shop.maya().await;
    let good = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(good, "succeeded").await;
    let before = deployments(&shop.staging).get("shop").await.unwrap().metadata.generation;

    let id = deploy(&shop, &maya, "v1.3.0", "canary").await;
    shop.ends_as(id, "failed").await;
    assert_eq!(deployments(&shop.staging).get("shop").await.unwrap().metadata.generation, before);
    assert_eq!(size(&shop.staging, "shop-canary").await, None);
    let page = maya.get(&format!("/deploys/{id}")).await.text;
    assert!(page.contains("v1.1.0 was not replaced and has all the traffic."), "{page}");
    assert!(page.contains("FATAL config: DATABASE_URL is not set"), "the last log line is not shown");
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn a_canary_is_stopped_by_who_asked_for_it() {
    let shop = open(CATALOGUE).await;
    let maya = shop.maya().await;
    let before = deployments(&shop.staging).get("shop").await.unwrap().metadata.generation;
    let id = deploy(&shop, &maya, "v1.1.0", "canary").await;
    waits_for_a_hand(&shop, id).await;
    assert_eq!(maya.post(&format!("/deploys/{id}/cancellation"), &[]).await.status, 303);
    shop.ends_as(id, "failed").await;
    assert!(detail(&shop, id).await["why"].as_str().unwrap().starts_with("Maya Okafor stopped it"));
    assert_eq!(size(&shop.staging, "shop-canary").await, None);
    assert_eq!(deployments(&shop.staging).get("shop").await.unwrap().metadata.generation, before);
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn green_gets_all_the_traffic_at_once_and_the_autoscaler_goes_with_it() {
    let shop = open(CATALOGUE).await;
    let maya = shop.maya().await;
    let scalers: Api<HorizontalPodAutoscaler> =
        Api::namespaced(shop.staging.admin.clone(), &shop.staging.namespace);
    let scaler = json!({
        "metadata": {"name": "shop"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
            "minReplicas": 2,
            "maxReplicas": 3,
        },
    });
    scalers.create(&PostParams::default(), &serde_json::from_value(scaler).unwrap()).await.unwrap();
    let target = async || scalers.get("shop").await.unwrap().spec.unwrap().scale_target_ref.name;

    let id = deploy(&shop, &maya, "v1.1.0", "blue-green").await;
    until("the switch", async || (leads_to(&shop.staging).await == "shop-green").then_some(())).await;
    assert!(image(&shop.staging).await.ends_with(":v1.0.0"), "blue stands by, as it was");
    assert_eq!(size(&shop.staging, "shop").await, Some(2));
    until("the autoscaler follows", async || (target().await == "shop-green").then_some(())).await;
    until("green has all of it", async || (share(&shop, id).await == Some(100)).then_some(())).await;
    let page = maya.get(&format!("/deploys/{id}")).await.text;
    for words in ["Blue v1.0.0", "Green v1.1.0", "100 % of the traffic", "0 % of the traffic"] {
        assert!(page.contains(words), "{words} is missing: {page}");
    }
    let pods: Api<Pod> = Api::namespaced(shop.staging.admin.clone(), &shop.staging.namespace);
    let green = pods.list(&ListParams::default().labels("app=shop-green")).await.unwrap().items;
    let log = maya.get("/services/shop/logs?env=staging").await.text;
    let name = green[0].metadata.name.clone().unwrap();
    assert!(log.contains(&name), "what {name} says is not among the logs of its service");
    // Load made the autoscaler enlarge green: what comes back must be as large.
    let three = Patch::Merge(json!({"spec": {"replicas": 3}}));
    deployments(&shop.staging).patch("shop-green", &PatchParams::default(), &three).await.unwrap();

    shop.ends_as(id, "succeeded").await;
    assert!(image(&shop.staging).await.starts_with(&format!("{REPOSITORY}:v1.1.0@")));
    assert_eq!(size(&shop.staging, "shop").await, Some(3));
    assert_eq!((leads_to(&shop.staging).await.as_str(), target().await.as_str()), ("shop", "shop"));
    assert_eq!(size(&shop.staging, "shop-green").await, None, "green is gone");
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn green_that_fails_under_traffic_gives_it_back_to_blue() {
    let shop = open(CATALOGUE).await;
    let maya = shop.maya().await;
    let before = image(&shop.staging).await;
    let id = deploy(&shop, &maya, "v1.1.0", "blue-green").await;
    until("the switch", async || (detail(&shop, id).await["stage"]["is"] == "switched").then_some(())).await;

    let pods: Api<Pod> = Api::namespaced(shop.staging.admin.clone(), &shop.staging.namespace);
    let green = pods.list(&ListParams::default().labels("app=shop-green")).await.unwrap().items.remove(0);
    let crashes =
        json!({"spec": {"containers": [{"name": "shop", "image": format!("{REPOSITORY}:v1.3.0")}]}});
    let name = green.metadata.name.unwrap();
    pods.patch(&name, &PatchParams::default(), &Patch::Strategic(crashes)).await.unwrap();

    shop.ends_as(id, "failed").await;
    assert_eq!(leads_to(&shop.staging).await, "shop");
    assert_eq!(image(&shop.staging).await, before);
    assert_eq!(size(&shop.staging, "shop-green").await, None);
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn a_switch_that_the_cluster_refuses_takes_green_away_again() {
    let shop = open(CATALOGUE).await;
    let maya = shop.maya().await;
    let id = deploy(&shop, &maya, "v1.1.0", "blue-green").await;
    // From now on she may change Deployments, and no Service.
    let rules = json!([
        {"apiGroups": ["", "apps", "autoscaling"], "resources": ["*"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["*"]},
    ]);
    shop.staging.allow("maya", rules).await;
    let bindings: Api<RoleBinding> = Api::namespaced(shop.staging.admin.clone(), &shop.staging.namespace);
    bindings.delete("team", &DeleteParams::default()).await.unwrap();

    shop.ends_as(id, "failed").await;
    let why = detail(&shop, id).await["why"].as_str().unwrap().to_string();
    assert!(why.starts_with("maya may not change Services in "), "{why}");
    assert_eq!(leads_to(&shop.staging).await, "shop");
    assert!(image(&shop.staging).await.ends_with(":v1.0.0"));
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn what_somebody_changes_meanwhile_ends_the_try() {
    let shop = open(CATALOGUE).await;
    let maya = shop.maya().await;
    let id = deploy(&shop, &maya, "v1.1.0", "canary").await;
    waits_for_a_hand(&shop, id).await;
    let other = json!({"spec": {"template": {"spec": {"containers": [{"name": "shop", "image": format!("{REPOSITORY}:v1.5.0")}]}}}});
    deployments(&shop.staging)
        .patch("shop", &PatchParams::default(), &Patch::Strategic(other))
        .await
        .unwrap();
    shop.ends_as(id, "superseded").await;
    assert_eq!(size(&shop.staging, "shop-canary").await, None);
    assert!(image(&shop.staging).await.ends_with(":v1.5.0"), "what somebody put there stays");
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn a_deployment_of_that_name_that_is_somebodys_is_left_alone() {
    let shop = open(CATALOGUE).await;
    let maya = shop.maya().await;
    let mut theirs = deployments(&shop.staging).get("shop").await.unwrap();
    theirs.metadata = serde_json::from_value(json!({"name": "shop-canary"})).unwrap();
    let theirs = Deployment { status: None, ..theirs };
    deployments(&shop.staging).create(&PostParams::default(), &theirs).await.unwrap();

    let form = maya.get("/services/shop/staging/deploy?version=v1.1.0&take_over=yes&strategy=canary").await;
    assert!(
        form.text.contains("There is a Deployment shop-canary already, and it is not one"),
        "{}",
        form.text
    );
    deployments(&shop.staging).delete("shop-canary", &DeleteParams::default()).await.unwrap();

    // Somebody is faster than the deploy.
    let id = deploy(&shop, &maya, "v1.1.0", "canary").await;
    deployments(&shop.staging).delete("shop-canary", &DeleteParams::default()).await.ok();
    until("the name is taken", async || {
        deployments(&shop.staging).create(&PostParams::default(), &theirs).await.ok()
    })
    .await;
    shop.ends_as(id, "failed").await;
    assert!(size(&shop.staging, "shop-canary").await.is_some(), "what is theirs is still there");
}

#[tokio::test]
async fn the_form_says_why_a_way_can_not_be_gone() {
    let shop = open(CATALOGUE).await;
    let maya = shop.maya().await;
    let form = async |strategy: &str| {
        let path = format!("/services/shop/staging/deploy?version=v1.1.0&take_over=yes&strategy={strategy}");
        maya.get(&path).await.text
    };
    services(&shop.staging).delete("shop", &DeleteParams::default()).await.unwrap();
    assert!(
        form("blue-green").await.contains("No Service sends traffic to shop, so there is nothing to switch.")
    );
    assert!(form("rolling").await.contains("The cluster accepts it"));
    let fields =
        [("version", "v1.1.0"), ("strategy", "big-bang"), ("take_over", "yes"), ("seen", ""), ("key", "")];
    let odd = maya.post("/services/shop/staging/deploy", &fields).await;
    assert_eq!(odd.status, 422);
    assert!(
        odd.text.contains("“big-bang” is no way to take over. Pick one of: rolling, blue-green, canary.")
    );

    let rules = json!([{"apiGroups": ["", "apps", "autoscaling"], "resources": ["*"], "verbs": ["get", "list", "patch"]}]);
    shop.staging.allow("maya", rules).await;
    let bindings: Api<RoleBinding> = Api::namespaced(shop.staging.admin.clone(), &shop.staging.namespace);
    bindings.delete("team", &DeleteParams::default()).await.unwrap();
    until("the right is gone", async || {
        form("canary").await.contains("It needs the right to create deployments in").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_new_pod_that_does_not_answer_the_smoke_request_fails_the_deploy() {
    let with = |path: &str| {
        let annotated =
            format!("  description: Sells things\n  annotations: {{pilothouse.dev/smoke: {path:?}}}\n");
        CATALOGUE.replace("  description: Sells things\n", &annotated)
    };
    let shop = open(&with(":8080/readyz")).await;
    let maya = shop.maya().await;
    let good = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(good, "succeeded").await;

    let shop = open(&with(":8080/no-such-page")).await;
    let maya = shop.maya().await;
    let bad = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(bad, "failed").await;
    let why = detail(&shop, bad).await["why"].as_str().unwrap().to_string();
    assert!(
        why.starts_with("The smoke request to /no-such-page of pod shop-")
            && why.ends_with("failed: it answered 404."),
        "{why}"
    );
}
