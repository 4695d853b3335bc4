//! A service that the portal makes itself, from the `run` section of its catalog-info.yaml: all of its objects, and what
//! becomes of those that the section no longer wants.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, DeleteParams};

use crate::deploys::{CATALOGUE, REPOSITORY, Shop, deployments, image, number};
use crate::invariants;
use crate::support::{World, until};

fn catalogue(size: &str) -> String {
    let run = format!(
        "spec:\n  type: service\n  lifecycle: production\n  owner: payments\n  run:\n    image: {REPOSITORY}\n    port: 8080\n    \
         probes: {{readiness: /readyz}}\n    resources: {{memory: 64Mi}}\n    {size}\n"
    );
    CATALOGUE.replace("spec: {type: service, lifecycle: production, owner: payments}\n", &run)
}

/// Where nothing runs yet.
async fn open() -> Shop {
    let world = World::builder().replace("[catalogue]\n", "[catalogue]\nrefresh = \"1s\"\n");
    let shop = Shop::open_as(world, &catalogue("min: 2\n    max: 3"), "production").await;
    deployments(&shop.staging).delete("shop", &DeleteParams::foreground()).await.unwrap();
    until("the Deployment goes", async || {
        deployments(&shop.staging).get_opt("shop").await.unwrap().is_none().then_some(())
    })
    .await;
    let maya = shop.maya().await;
    until("the form makes it anew", async || {
        let page = maya.get("/services/shop/staging/deploy?version=v1.1.0").await;
        (page.text.contains("4 objects change") && page.text.contains("Nothing runs in staging."))
            .then_some(())
    })
    .await;
    shop
}

async fn names<K>(shop: &Shop) -> Vec<String>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(shop.staging.admin.clone(), &shop.staging.namespace);
    let found = api.list(&Default::default()).await.unwrap().items;
    found.iter().map(|object| object.meta().name.clone().unwrap()).collect()
}

#[tokio::test]
async fn a_run_section_becomes_objects_that_follow_it() {
    let shop = open().await;
    let maya = shop.maya().await;
    let id = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(id, "succeeded").await;
    assert!(image(&shop.staging).await.starts_with(&format!("{REPOSITORY}:v1.1.0@")));
    assert_eq!(names::<Service>(&shop).await, ["shop"]);
    assert_eq!(names::<HorizontalPodAutoscaler>(&shop).await, ["shop"]);
    assert_eq!(names::<PodDisruptionBudget>(&shop).await, ["shop"]);

    // Scaling changes the autoscaler's bounds, since the size is its own.
    let form = until("the form of an autoscaler", async || {
        let page = maya.get("/services/shop/staging/scale").await;
        page.text.contains("name=\"max\"").then_some(page)
    })
    .await;
    let key = crate::deploys::hidden(&form.text, "key");
    let sent = maya.post("/services/shop/staging/scale", &[("min", "1"), ("max", "2"), ("key", &key)]).await;
    shop.ends_as(number(&sent), "succeeded").await;

    std::fs::write(shop.files.path().join("catalog-info.yaml"), catalogue("replicas: 1")).unwrap();
    until("the catalogue is read again", async || {
        let page = maya.get("/services/shop/staging/deploy?version=v1.5.0").await;
        page.text.contains("2 objects change").then_some(())
    })
    .await;
    let id = shop.deploy(&maya, "staging", "v1.5.0").await;
    shop.ends_as(id, "succeeded").await;
    assert_eq!(names::<HorizontalPodAutoscaler>(&shop).await, [""; 0]);
    assert_eq!(names::<PodDisruptionBudget>(&shop).await, [""; 0]);
    assert_eq!(names::<Deployment>(&shop).await, ["shop"]);
    invariants::hold(&shop).await;
}
