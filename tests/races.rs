//! Decisions that meet in the same moment. Whoever wins, nothing is written that nobody let through, and nothing twice.
//!
//! `bin/test` runs a few rounds of each; `bench/faults` sets `PILOTHOUSE_RACE_ROUNDS` to 1,000. Pods are simulated: who
//! wins is decided before one starts, and real ones would make a thousand rounds a night's work.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::join;

use crate::api::{program, refused, send_json};
use crate::deploys::{REPOSITORY, Shop, generation, generations, image, seen};
use crate::invariants;
use crate::support::{self, Browser, Page, until};

/// Versions of the sample that start, asked for in turn, so that there always is something to change.
const GOOD: [&str; 2] = ["v1.1.0", "v1.5.0"];

fn rounds(short: usize) -> usize {
    support::rounds("PILOTHOUSE_RACE_ROUNDS", short)
}

/// A shop whose staging has run both versions, so that production may have them.
async fn open() -> Shop {
    let shop = Shop::with_simulated_pods().await;
    let maya = shop.maya().await;
    for version in GOOD {
        let id = shop.deploy(&maya, "staging", version).await;
        shop.ends_as(id, "succeeded").await;
    }
    shop
}

/// The one of the two that does not run.
fn another(runs: &str) -> &'static str {
    GOOD.into_iter().find(|version| !runs.contains(version)).unwrap()
}

/// Asks for whichever of the two does not run in production.
async fn ask(shop: &Shop, maya: &Browser) -> i64 {
    let version = another(&image(&shop.production).await);
    shop.deploy(maya, "production", version).await
}

async fn decide(who: &Browser, id: i64, decision: &str, seen: &str) -> Page {
    let form = [("decision", decision), ("note", "a race"), ("seen", seen), ("confirm", "shop")];
    who.post(&format!("/deploys/{id}/approval"), &form).await
}

async fn rows(shop: &Shop, id: i64, action: &str) -> i64 {
    sqlx::query_scalar("select count(*) from audit where action = $1 and detail->>'deploy' = $2::text")
        .bind(action)
        .bind(id.to_string())
        .fetch_one(&shop.world.app.db)
        .await
        .unwrap()
}

async fn ended(shop: &Shop, id: i64) -> String {
    until("the deploy ends", async || {
        let state = shop.state(id).await;
        ["succeeded", "cancelled", "rejected", "superseded", "failed"]
            .contains(&state.as_str())
            .then_some(state)
    })
    .await
}

/// Besides: each write that changed what runs is in the API server's own log once, and after the first, kubectl's, all of them
/// are by this person. How many there have to be is counted in each round.
async fn holds(shop: &Shop, writer: &str) {
    invariants::hold(shop).await;
    let logged = generations(&shop.production);
    assert!(logged.iter().skip(1).all(|(who, _)| who == writer), "{logged:?}");
    let logged: Vec<i64> =
        generations(&shop.production).into_iter().map(|(_, generation)| generation).collect();
    let counted: Vec<i64> = (1..=generation(&shop.production).await as i64).collect();
    assert_eq!(logged, counted);
}

#[tokio::test]
async fn an_approval_and_a_withdrawal_in_the_same_moment() {
    let shop = open().await;
    let (maya, omar) = (shop.maya().await, shop.omar().await);
    let first = generation(&shop.production).await;
    let mut written = first;
    for _ in 0..rounds(6) {
        let id = ask(&shop, &maya).await;
        let digest = seen(&omar, id).await;
        let withdrawal = format!("/deploys/{id}/cancellation");
        let (approved, withdrawn) = join!(decide(&omar, id, "approve", &digest), maya.post(&withdrawal, &[]));

        let state = ended(&shop, id).await;
        let now = generation(&shop.production).await;
        match state.as_str() {
            "cancelled" => {
                assert_eq!((now, withdrawn.status.as_u16()), (written, 303), "written all the same")
            }
            "succeeded" => {
                assert_eq!((now, approved.status.as_u16()), (written + 1, 303));
                assert_ne!(withdrawn.status, 303, "she was told that it is withdrawn");
                assert_eq!(rows(&shop, id, "deploy.approve").await, 1);
            }
            other => panic!("deploy {id} is {other}"),
        }
        written = now;
    }
    println!("{} races of a yes and a withdrawal: {} went ahead", rounds(6), written - first);
    holds(&shop, "maya").await;
}

#[tokio::test]
async fn two_clicks_of_one_approver_are_one_approval() {
    let shop = open().await;
    let (maya, one, other) = (shop.maya().await, shop.omar().await, shop.omar().await);
    for _ in 0..rounds(3) {
        let before = generation(&shop.production).await;
        let id = ask(&shop, &maya).await;
        let digest = seen(&one, id).await;
        let (first, second) =
            join!(decide(&one, id, "approve", &digest), decide(&other, id, "approve", &digest));
        let done = [first.status, second.status].iter().filter(|status| **status == 303).count();
        assert_eq!(done, 1, "{} and {}", first.status, second.status);
        shop.ends_as(id, "succeeded").await;
        assert_eq!(rows(&shop, id, "deploy.approve").await, 1);
        assert_eq!(generation(&shop.production).await, before + 1);
    }
    println!("{} races of a click and the same click: each went ahead once", rounds(3));
    holds(&shop, "maya").await;
}

#[tokio::test]
async fn a_yes_and_a_no_of_different_people_are_one_decision() {
    let shop = open().await;
    let (maya, omar) = (shop.maya().await, shop.omar().await);
    shop.world.provider().put_into("noor", &["engineering", "payments", "payments-managers"]);
    let noor = shop.world.as_("noor").await;
    let first = generation(&shop.production).await;
    for _ in 0..rounds(3) {
        let before = generation(&shop.production).await;
        let id = ask(&shop, &maya).await;
        let digest = seen(&omar, id).await;
        let (yes, no) = join!(decide(&omar, id, "approve", &digest), decide(&noor, id, "reject", &digest));
        let state = ended(&shop, id).await;
        let written = generation(&shop.production).await - before;
        match state.as_str() {
            "rejected" => assert_eq!((written, no.status.as_u16()), (0, 303)),
            "succeeded" => assert_eq!((written, yes.status.as_u16()), (1, 303)),
            other => panic!("deploy {id} is {other}"),
        }
        assert_eq!(rows(&shop, id, "deploy.approve").await + rows(&shop, id, "deploy.reject").await, 1);
    }
    let ahead = generation(&shop.production).await - first;
    println!("{} races of a yes and a no: {ahead} went ahead", rounds(3));
    holds(&shop, "maya").await;
}

#[tokio::test]
async fn the_requester_counts_in_no_session_and_with_no_token_whatever_groups_it_has() {
    let shop = open().await;
    let maya = shop.maya().await;
    shop.world.provider().put_into("maya", &["engineering", "payments", "payments-managers"]);
    let again = shop.maya().await;
    let command = program(&shop.world, "maya", &["read", "deploy", "production", "approve"]).await;
    let before = generation(&shop.production).await;
    // A program may ask for 60 changes a minute.
    let mut pace = tokio::time::interval(Duration::from_millis(1_050));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for _ in 0..rounds(3) {
        pace.tick().await;
        let id = ask(&shop, &maya).await;
        let digest = seen(&again, id).await;
        let path = format!("/api/v1/deploys/{id}/decision");
        let (old, new, token) = join!(
            decide(&maya, id, "approve", &digest),
            decide(&again, id, "approve", &digest),
            send_json(&command, &path, json!({"approve": true, "seen": digest}))
        );
        assert_eq!((old.status.as_u16(), new.status.as_u16()), (422, 422));
        assert_eq!(refused(&token, 403), "You asked for this deploy, so somebody else has to approve it.");
        assert_eq!(shop.state(id).await, "awaiting_approval");
        maya.post(&format!("/deploys/{id}/cancellation"), &[]).await;
    }
    assert_eq!(generation(&shop.production).await, before);
    println!("{} races of the requester's two sessions and token: none went ahead", rounds(3));
    holds(&shop, "maya").await;
}

#[tokio::test]
async fn what_somebody_changes_between_the_look_and_the_click_stays() {
    let shop = open().await;
    let (maya, omar) = (shop.maya().await, shop.omar().await);
    let deployments: Api<Deployment> =
        Api::namespaced(shop.production.admin.clone(), &shop.production.namespace);
    for _ in 0..rounds(4) {
        let runs = image(&shop.production).await;
        let id = ask(&shop, &maya).await;
        let digest = seen(&omar, id).await;
        let asked = another(&runs);
        let by_hand = ["v1.0.0", "v1.1.0", "v1.5.0"]
            .into_iter()
            .find(|version| *version != asked && !runs.contains(version))
            .map(|version| format!("{REPOSITORY}:{version}"))
            .unwrap();
        let containers = json!([{"name": "shop", "image": by_hand}]);
        let patch = Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": containers}}}}));
        let params = PatchParams { field_manager: Some("kubectl-edit".into()), ..PatchParams::default() };
        let (_, changed) =
            join!(decide(&omar, id, "approve", &digest), deployments.patch("shop", &params, &patch));
        changed.unwrap();
        let state = ended(&shop, id).await;
        assert_eq!(state, "superseded", "deploy {id}");
        assert_eq!(image(&shop.production).await, by_hand, "the change by hand was written over");
    }
    println!("{} races of a yes and a change by hand: the hand's stayed", rounds(4));
    holds(&shop, "somebody without impersonation").await;
}
