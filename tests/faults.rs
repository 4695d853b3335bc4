//! Writes to the cluster that come too late or whose answer is lost: a deploy is carried on, once, and nothing old is
//! written over anything new. What stands between portal and cluster really holds a write up.

use http::StatusCode;

use crate::deploys::{Shop, generations, image, invariants_hold};
use crate::support::gateway::Gateway;
use crate::support::{Builder, World, state};

fn through(gateway: &Gateway) -> Builder {
    let direct = state().join("cluster/pilothouse.kubeconfig").display().to_string();
    World::builder().replace(&direct, &gateway.path().display().to_string())
}

#[tokio::test]
async fn a_write_that_was_held_up_does_not_land_on_anything_newer() {
    let gateway = Gateway::open().await;
    let shop = Shop::open_in(through(&gateway)).await;
    let maya = shop.maya().await;

    let caught = gateway.hold();
    let first = shop.deploy(&maya, "staging", "v1.1.0").await;
    let held = caught.await.unwrap();
    // Given up and repeated by the portal; then somebody deploys something else.
    shop.ends_as(first, "succeeded").await;
    let second = shop.deploy(&maya, "staging", "v1.5.0").await;
    shop.ends_as(second, "succeeded").await;

    assert_eq!(held.arrives().await, StatusCode::CONFLICT);
    assert!(image(&shop.staging).await.contains(":v1.5.0@"), "the late write brought the old version back");
    assert_eq!(generations(&shop.staging).len(), 3, "one write a deploy, after the one with kubectl");
    invariants_hold(&shop).await;
}

#[tokio::test]
async fn a_write_that_was_carried_out_and_answered_504_is_not_done_twice() {
    let gateway = Gateway::open().await;
    let shop = Shop::open_in(through(&gateway)).await;
    gateway.spoil();
    let id = shop.deploy(&shop.maya().await, "staging", "v1.1.0").await;
    shop.ends_as(id, "succeeded").await;
    assert_eq!(generations(&shop.staging).len(), 2);
    invariants_hold(&shop).await;
}
