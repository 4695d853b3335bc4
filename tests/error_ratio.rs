//! A canary that is watched by Prometheus: real requests through a real Service, and the share of them that fails.

use std::time::Duration;

use http::Request;
use kube::api::{Patch, PatchParams};
use kube::client::Body;
use serde_json::json;
use tokio::task::AbortHandle;

use crate::deploys::{CATALOGUE, Shop, deployments, image};
use crate::invariants;
use crate::strategies::{deploy, detail, serve, size, waits_for_a_hand};
use crate::support::cluster::Sandbox;
use crate::support::{Prometheus, World, until};

const QUERY: &str = r#"(sum(rate(http_requests_total{namespace="{namespace}",pod=~"{pods}",code=~"5.."}[10s])) or vector(0)) / sum(rate(http_requests_total{namespace="{namespace}",pod=~"{pods}"}[10s]))"#;

/// A shop with two pods behind a Service, a Prometheus that watches them, and canaries of one step.
async fn open() -> (Shop, Prometheus) {
    // Its address has to stand in the configuration before the shop has a namespace that it could watch.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let soak = "soak = \"5s\"";
    let errors = format!("errors = {{ query = '{QUERY}', at_most = 0.1 }}");
    let canary = "canary = [{ weight = 33, pause = \"20s\" }]";
    let world = World::builder()
        .replace("name = \"dev\"\n", &format!("name = \"dev\"\nprometheus = {{ url = \"{url}\" }}\n"))
        .replace("name = \"staging\"\n", &format!("{canary}\n{soak}\n{errors}\nname = \"staging\"\n"));
    let shop = Shop::open_as(world, CATALOGUE, "production").await;
    serve(&shop.staging).await;
    let two = Patch::Merge(json!({"spec": {"replicas": 2}}));
    deployments(&shop.staging).patch("shop", &PatchParams::default(), &two).await.unwrap();
    let prometheus = Prometheus::watching(&shop.staging, port).await;
    (shop, prometheus)
}

/// Requests through the Service, ten a second, until it is dropped.
struct Traffic(AbortHandle);

impl Traffic {
    fn of(sandbox: &Sandbox, path: &str) -> Self {
        let (client, namespace) = (sandbox.admin.clone(), sandbox.namespace.clone());
        let uri = format!("/api/v1/namespaces/{namespace}/services/shop:80/proxy{path}");
        let task = tokio::spawn(async move {
            let mut every = tokio::time::interval(Duration::from_millis(100));
            loop {
                every.tick().await;
                let request = Request::get(&uri).body(Body::empty()).unwrap();
                let client = client.clone();
                // Failing is what some of them are for. One that hangs holds up no other: with it all the traffic would
                // end, and nobody could measure any.
                tokio::spawn(tokio::time::timeout(Duration::from_secs(2), async move {
                    let _ = client.send(request).await;
                }));
            }
        });
        Self(task.abort_handle())
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test]
async fn a_canary_whose_requests_are_answered_goes_on_by_itself() {
    let (shop, _prometheus) = open().await;
    let maya = shop.maya().await;
    let form = maya.get("/services/shop/staging/deploy?version=v1.1.0&take_over=yes&strategy=canary").await;
    assert!(form.text.contains("Prometheus watches its requests"), "{}", form.text);
    assert!(form.text.contains("when more than 10 % of the requests to the new pods fail"));
    let rolling =
        maya.get("/services/shop/staging/deploy?version=v1.1.0&take_over=yes&strategy=rolling").await;
    assert!(rolling.text.contains("Prometheus watches its requests"), "{}", rolling.text);

    let _traffic = Traffic::of(&shop.staging, "/work");
    let id = deploy(&shop, &maya, "v1.1.0", "canary").await;
    until("its requests are measured", async || {
        let page = maya.get(&format!("/deploys/{id}")).await.text;
        page.contains("0 % of the requests to the new pods fail, at most 10 % may.").then_some(())
    })
    .await;
    shop.ends_as(id, "succeeded").await;
    let events = maya.get(&format!("/deploys/{id}")).await.text;
    assert!(!events.contains("said to go on") && !events.contains("waits for somebody"), "{events}");
    assert_eq!(size(&shop.staging, "shop-canary").await, None);
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn a_canary_whose_requests_fail_is_taken_away() {
    let (shop, _prometheus) = open().await;
    let maya = shop.maya().await;
    let before = image(&shop.staging).await;
    let _traffic = Traffic::of(&shop.staging, "/work?status=503");
    let id = deploy(&shop, &maya, "v1.1.0", "canary").await;
    shop.ends_as(id, "failed").await;

    let why = detail(&shop, id).await["why"].as_str().unwrap().to_string();
    assert_eq!(why, "100 % of the requests to the new pods failed, by Prometheus; at most 10 % may.");
    assert_eq!(image(&shop.staging).await, before, "what runs was not touched");
    assert_eq!(size(&shop.staging, "shop-canary").await, None);
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn a_canary_that_nobody_can_measure_waits_for_a_person() {
    let (shop, mut prometheus) = open().await;
    let maya = shop.maya().await;
    prometheus.kill();
    let form = maya.get("/services/shop/staging/deploy?version=v1.1.0&take_over=yes&strategy=canary").await;
    assert!(form.text.contains("Nobody can say whether its requests fail"), "{}", form.text);

    let id = deploy(&shop, &maya, "v1.1.0", "canary").await;
    waits_for_a_hand(&shop, id).await;
    let page = maya.get(&format!("/deploys/{id}")).await.text;
    let asked = "Nobody can say how many requests to the new pods fail (Prometheus does not answer: ";
    assert!(page.contains(asked) && page.contains("Go on"), "{page}");
    let home = maya.get("/").await.text;
    assert!(home.contains("Notices, 1 new") && home.contains("waits for you to go on."), "{home}");
    assert_eq!(maya.post(&format!("/deploys/{id}/promotion"), &[]).await.status, 303);
    shop.ends_as(id, "succeeded").await;
    invariants::hold(&shop).await;
}
