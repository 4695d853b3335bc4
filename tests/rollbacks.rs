//! What does not run well is put back by itself: real pods that crash, in the rollout and after it.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::deploys::{REPOSITORY, Shop, deployments, generations, image};
use crate::invariants;
use crate::support::{World, until};

/// Staging puts back what fails there.
async fn open() -> Shop {
    let staging = "name = \"staging\"\n";
    let shop = Shop::open_in(World::builder().replace(
        &format!("{staging}cluster = \"dev\"\nnamespace = \"{{team}}-{{environment}}\"\n\n"),
        &format!("{staging}cluster = \"dev\"\nnamespace = \"{{team}}-{{environment}}\"\nautomatic_rollback = true\nsoak = \"12s\"\n\n"),
    ))
    .await;
    let id = shop.deploy(&shop.maya().await, "staging", "v1.1.0").await;
    shop.ends_as(id, "succeeded").await;
    shop
}

async fn detail(shop: &Shop, id: i64) -> Value {
    sqlx::query_scalar("select detail from deploys where id = $1")
        .bind(id)
        .fetch_one(&shop.world.app.db)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_version_that_crashes_is_replaced_by_the_last_good_one() {
    let shop = open().await;
    let maya = shop.maya().await;
    let maps: Api<ConfigMap> = Api::namespaced(shop.staging.admin.clone(), &shop.staging.namespace);
    let from = json!([{"configMapRef": {"name": "shop"}}]);
    let names = json!({"spec": {"template": {"spec": {"containers": [{"name": "shop", "envFrom": from}]}}}});
    maps.create(&Default::default(), &map(json!({"mode": "fast"}))).await.unwrap();
    let params = PatchParams::default();
    deployments(&shop.staging).patch("shop", &params, &Patch::Strategic(names)).await.unwrap();
    let good = shop.deploy(&maya, "staging", "v1.5.0").await;
    shop.ends_as(good, "succeeded").await;
    maps.replace("shop", &Default::default(), &map(json!({"mode": "slow"}))).await.unwrap();
    let before = image(&shop.staging).await;

    let id = shop.deploy(&maya, "staging", "v1.3.0").await;
    shop.ends_as(id, "rolled_back").await;

    assert_eq!(image(&shop.staging).await, before);
    let written: Vec<_> = generations(&shop.staging).into_iter().filter(|(who, _)| who == "maya").collect();
    assert_eq!(written.len(), 4, "v1.1.0, v1.5.0, v1.3.0 and v1.5.0 again: {written:?}");
    let page = maya.get(&format!("/deploys/{id}")).await;
    assert!(page.text.contains("FATAL config: DATABASE_URL is not set"), "the last log line is not shown");
    assert!(page.text.contains("v1.5.0 was put back and runs again."), "{}", page.text);
    assert!(
        page.text.contains("ConfigMap shop was written to since v1.5.0 was deployed here with success"),
        "{}",
        page.text
    );
    let audited: String =
        sqlx::query_scalar("select outcome from audit where action = 'deploy.end' order by id desc limit 1")
            .fetch_one(&shop.world.app.db)
            .await
            .unwrap();
    assert_eq!(audited, "rolled_back");

    // The next one starts from what runs, as if nothing had been.
    let next = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(next, "succeeded").await;
    invariants::hold(&shop).await;
}

fn map(data: Value) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": "shop"}, "data": data})).unwrap()
}

#[tokio::test]
async fn a_version_that_dies_after_it_was_ready_fails_its_soak_and_is_replaced() {
    let shop = open().await;
    let maya = shop.maya().await;
    let id = shop.deploy(&maya, "staging", "v1.5.0").await;
    until("the soak", async || (shop.state(id).await == "verifying").then_some(())).await;

    // Its container starts anew and dies, as if it had run into its first real request.
    let pods: Api<Pod> = Api::namespaced(shop.staging.admin.clone(), &shop.staging.namespace);
    let runs =
        |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.as_ref().unwrap().contains("v1.5.0");
    let found = pods.list(&ListParams::default().labels("app=shop")).await.unwrap();
    let new = found.items.into_iter().find(runs).unwrap().metadata.name.unwrap();
    let crashes =
        json!({"spec": {"containers": [{"name": "shop", "image": format!("{REPOSITORY}:v1.3.0")}]}});
    pods.patch(&new, &PatchParams::default(), &Patch::Strategic(crashes)).await.unwrap();
    shop.ends_as(id, "rolled_back").await;
    assert!(image(&shop.staging).await.starts_with(&format!("{REPOSITORY}:v1.1.0@")));
    let why = detail(&shop, id).await["why"].as_str().unwrap().to_string();
    assert!(why.contains("restart"), "{why}");
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn where_it_can_not_be_put_back_the_page_says_what_to_do_by_hand() {
    let shop = open().await;
    let maya = shop.maya().await;
    let id = shop.deploy(&maya, "staging", "v1.3.0").await;
    until("the rollout", async || (shop.state(id).await == "rolling_out").then_some(())).await;

    // From now on she may look, and change nothing.
    shop.staging
        .allow("maya", json!([{"apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["get", "list"]}]))
        .await;
    let bindings: Api<RoleBinding> = Api::namespaced(shop.staging.admin.clone(), &shop.staging.namespace);
    bindings.delete("team", &DeleteParams::default()).await.unwrap();
    shop.ends_as(id, "rollback_failed").await;

    let page = maya.get(&format!("/deploys/{id}")).await;
    assert!(page.text.contains("v1.1.0 could not be put back"), "{}", page.text);
    assert!(
        page.text.contains(&format!("kubectl -n {} set image deployment/shop shop=", shop.staging.namespace))
    );
    invariants::hold(&shop).await;
}
