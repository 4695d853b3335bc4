//! Somebody changes by hand what the portal deployed: the service's page says who and what, with two ways on.

use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::deploys::{REPOSITORY, Shop, deployments, hidden, image, number};
use crate::support::until;

async fn set_image(shop: &Shop, version: &str) {
    let containers = json!([{"name": "shop", "image": format!("{REPOSITORY}:{version}")}]);
    let patch = Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": containers}}}}));
    let params = PatchParams { field_manager: Some("kubectl-set".into()), ..PatchParams::default() };
    deployments(&shop.staging).patch("shop", &params, &patch).await.unwrap();
}

const TOLD: &str = "What runs in staging was not deployed through the portal.";

#[tokio::test]
async fn a_change_by_hand_is_told_and_can_be_taken_back() {
    let shop = Shop::open().await;
    let maya = shop.maya().await;
    assert!(!maya.get("/services/shop").await.text.contains(TOLD), "nothing was deployed here yet");
    let id = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(id, "succeeded").await;
    assert!(!maya.get("/services/shop").await.text.contains(TOLD), "it runs what was deployed");

    set_image(&shop, "v1.5.0").await;
    let page = until("the page says so", async || {
        let page = maya.get("/services/shop").await;
        page.text.contains(TOLD).then_some(page)
    })
    .await;
    assert!(page.text.contains("kubectl set"), "{}", page.text);
    assert!(page.text.contains("shop <code>v1.1.0</code> → <code>v1.5.0</code>"), "{}", page.text);
    assert!(page.text.contains("Restore v1.1.0") && page.text.contains("Deploy what runs"));

    let form = maya.get("/services/shop/staging/rollback?version=v1.1.0&take_over=yes").await;
    let key = hidden(&form.text, "key");
    let release = hidden(&form.text, "release");
    let fields = [("key", &*key), ("take_over", "yes"), ("release", &*release), ("version", "v1.1.0")];
    let fields: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let sent = maya.post("/services/shop/staging/rollback", &fields).await;
    shop.ends_as(number(&sent), "succeeded").await;
    assert!(image(&shop.staging).await.starts_with(&format!("{REPOSITORY}:v1.1.0@")));
    until("nothing is told any more", async || {
        (!maya.get("/services/shop").await.text.contains(TOLD)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_runs_can_be_deployed_so_that_it_is_the_release() {
    let shop = Shop::open().await;
    let maya = shop.maya().await;
    let id = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(id, "succeeded").await;
    set_image(&shop, "v1.5.0").await;
    until("the page says so", async || maya.get("/services/shop").await.text.contains(TOLD).then_some(()))
        .await;

    let id = shop.deploy(&maya, "staging", &format!("{REPOSITORY}:v1.5.0")).await;
    shop.ends_as(id, "succeeded").await;
    assert!(image(&shop.staging).await.starts_with(&format!("{REPOSITORY}:v1.5.0@")));
    assert!(!maya.get("/services/shop").await.text.contains(TOLD));
}

#[tokio::test]
async fn a_deploy_that_failed_is_not_told_as_somebody_elses_change() {
    let shop = Shop::open().await;
    let maya = shop.maya().await;
    let good = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(good, "succeeded").await;
    let bad = shop.deploy(&maya, "staging", "v1.3.0").await;
    shop.ends_as(bad, "failed").await;
    assert!(!maya.get("/services/shop").await.text.contains(TOLD));
}
