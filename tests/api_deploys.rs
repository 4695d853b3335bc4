//! Changes by the API, from the question to the cluster: the same engine and rules as the forms.

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{json as read, program, refused, send_json};
use crate::deploys::{Shop, generations, image};
use crate::support::{Browser, until};

const ALL: &[&str] = &["read", "deploy", "production", "approve"];

fn at(environment: &str) -> String {
    format!("/api/v1/services/shop/environments/{environment}")
}

async fn deploy(shop: &Shop, who: &Browser, environment: &str, version: &str) -> Value {
    let body = json!({"version": version, "reason": "a test asks", "take_over": true});
    let page = send_json(who, &format!("{}/deploys", at(environment)), body).await;
    assert_eq!(page.status, 201, "{}", page.text);
    let deploy = read(&page);
    assert_eq!(page.location(), format!("/api/v1/deploys/{}", deploy["id"]));
    assert!(deploy["url"].as_str().unwrap().starts_with(&shop.world.base));
    deploy
}

/// The deploy as each event of its stream tells it, to the stream's end.
async fn follow(who: &Browser, id: &Value) -> Vec<Value> {
    let answer = who.open(who.request(Method::GET, &format!("/api/v1/deploys/{id}/events"))).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let text = answer.text().await.unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test]
async fn a_program_deploys_to_staging_and_watches_it_to_its_end() {
    let shop = Shop::open().await;
    let maya = program(&shop.world, "maya", &["read", "deploy"]).await;

    let path = format!("{}/plan?version=v1.1.0", at("staging"));
    let plan = read(&maya.get(&path).await);
    assert_eq!(
        (&plan["replaces"], &plan["take_over_from"]),
        (&json!("v1.0.0"), &json!("kubectl-create")),
        "{plan}"
    );
    assert!(plan["diffs"][0]["unified"].as_str().unwrap().contains("v1.1.0"), "{plan}");

    let asked = deploy(&shop, &maya, "staging", "v1.1.0").await;
    let told = follow(&maya, &asked["id"]).await;
    let last = told.last().unwrap();
    assert_eq!(
        (&last["state"], &last["ended"], &last["version"]),
        (&json!("succeeded"), &json!(true), &json!("v1.1.0"))
    );
    assert!(last["steps"].as_array().unwrap().iter().all(|step| step["state"] == "done"), "{last}");
    assert!(told.len() > 2, "the way there is told, too: {told:?}");
    assert!(image(&shop.staging).await.contains(":v1.1.0@sha256:"));
    assert_eq!(generations(&shop.staging).last(), Some(&("maya".to_string(), 2)));

    let list = read(&maya.get("/api/v1/deploys?service=shop&environment=staging&state=succeeded").await);
    assert_eq!(list["items"][0]["id"], asked["id"]);
    let versions = read(&maya.get(&format!("{}/versions", at("staging"))).await);
    assert!(versions["items"].as_array().unwrap().iter().any(|offer| offer["version"] == "v1.1.0"));
    let status = read(&maya.get(&at("staging")).await);
    assert_eq!(status["last_deploy"]["id"], asked["id"], "{status}");
}

#[tokio::test]
async fn every_version_is_listed_page_by_page() {
    let shop = Shop::open().await;
    let maya = program(&shop.world, "maya", &["read"]).await;
    let versions = format!("{}/versions", at("staging"));
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["version"].as_str().unwrap().to_string()).collect()
    };
    let all = names(&read(&maya.get(&format!("{versions}?limit=100")).await));
    assert!(all.len() > 3, "{all:?}");
    let (mut walked, mut next) = (Vec::new(), String::new());
    loop {
        let page = read(&maya.get(&format!("{versions}?limit=3{next}")).await);
        walked.extend(names(&page));
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(walked, all);
    let page = maya.get(&format!("{versions}?cursor=v0.0.0-none")).await;
    refused(&page, 422);
    assert_eq!(read(&page)["errors"][0]["field"], "cursor");
}

#[tokio::test]
async fn the_same_key_asks_for_the_same_deploy() {
    let shop = Shop::open().await;
    let maya = program(&shop.world, "maya", &["read", "deploy"]).await;
    let ask = async || {
        let request = maya.request(Method::POST, &format!("{}/restart", at("staging")));
        maya.send(request.header("idempotency-key", "once").json(&json!({"reason": "twice"}))).await
    };
    let (first, again) = (ask().await, ask().await);
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 200), "{}", again.text);
    assert_eq!(read(&first)["id"], read(&again)["id"]);
}

#[tokio::test]
async fn production_by_programs_takes_the_scope_and_somebody_else() {
    let shop = Shop::open().await;
    let maya = program(&shop.world, "maya", &["read", "deploy"]).await;
    let staged = deploy(&shop, &maya, "staging", "v1.1.0").await;
    shop.ends_as(staged["id"].as_i64().unwrap(), "succeeded").await;

    let body = json!({"version": "v1.1.0", "take_over": true, "reason": "a test asks"});
    let page = send_json(&maya, &format!("{}/deploys", at("production")), body).await;
    assert!(refused(&page, 403).contains("“production”"));

    let maya = program(&shop.world, "maya", ALL).await;
    let waiting = deploy(&shop, &maya, "production", "v1.1.0").await;
    assert_eq!((&waiting["state"], &waiting["approvals_needed"]), (&json!("awaiting_approval"), &json!(1)));

    let omar = program(&shop.world, "omar", ALL).await;
    assert_eq!(read(&omar.get("/api/v1/approvals").await)["yours"][0]["id"], waiting["id"]);
    assert_eq!(read(&maya.get("/api/v1/approvals").await)["others"][0]["id"], waiting["id"]);
    let path = format!("/api/v1/deploys/{}/decision", waiting["id"]);
    let yes = json!({"approve": true, "seen": waiting["digest"]});
    let own = send_json(&maya, &path, yes.clone()).await;
    assert_eq!(refused(&own, 403), "You asked for this deploy, so somebody else has to approve it.");
    let stale = send_json(&omar, &path, json!({"approve": true, "seen": "another"})).await;
    assert!(refused(&stale, 409).contains("What would run is not what your page showed."));
    let mute = send_json(&omar, &path, json!({"approve": false, "seen": waiting["digest"]})).await;
    assert!(refused(&mute, 422).contains("Say why."));
    let request = omar.request(Method::POST, &path).header("if-match", "\"another\"").json(&yes);
    refused(&omar.send(request).await, 412);
    let reader = program(&shop.world, "omar", &["read", "deploy", "production"]).await;
    assert!(refused(&send_json(&reader, &path, yes.clone()).await, 403).contains("“approve”"));

    let tag = omar.get(&format!("/api/v1/deploys/{}", waiting["id"])).await.header("etag").to_string();
    let request = omar.request(Method::POST, &path).header("if-match", tag).json(&yes);
    let decided = omar.send(request).await;
    assert_eq!(decided.status, 200, "{}", decided.text);
    assert_eq!(read(&decided)["decisions"][0]["approved"], true);
    shop.ends_as(waiting["id"].as_i64().unwrap(), "succeeded").await;
    assert_eq!(generations(&shop.production).last(), Some(&("maya".to_string(), 2)));
}

#[tokio::test]
async fn what_checks_refuse_is_refused_with_the_checks() {
    let shop = Shop::open().await;
    let maya = program(&shop.world, "maya", ALL).await;
    let path = format!("{}/deploys", at("staging"));
    let page = send_json(&maya, &path, json!({"version": "v9.9.9"})).await;
    refused(&page, 422);
    let checks = read(&page)["checks"].clone();
    assert!(checks.as_array().unwrap().iter().any(|check| check["verdict"] == "failed"), "{checks}");
    let plan = read(&maya.get(&format!("{}/plan?version=v9.9.9", at("staging"))).await);
    assert_eq!(plan["digest"], Value::Null);

    let body = json!({"version": "v1.1.0"});
    let page = send_json(&maya, &path, body).await;
    assert!(refused(&page, 422).contains("kubectl-create"));
    assert_eq!(read(&page)["errors"][0]["field"], "take_over");
    let body = json!({"version": "v1.1.0", "take_over": true, "digest": "of another plan"});
    assert!(refused(&send_json(&maya, &path, body).await, 422).contains("Look at it again"));
    let page = send_json(&maya, &format!("{}/scale", at("staging")), json!({"replicas": 1})).await;
    assert!(refused(&page, 422).contains("That is what it is now."));
    let page = send_json(&maya, &format!("{}/rollback", at("staging")), json!({"version": "v0.1"})).await;
    refused(&page, 422);
    assert!(page.text.contains("It has not deployed v0.1 here."), "{}", page.text);
}

#[tokio::test]
async fn a_release_is_rolled_back_to_by_its_version() {
    let shop = Shop::open().await;
    let maya = program(&shop.world, "maya", &["read", "deploy"]).await;
    for version in ["v1.1.0", "v1.5.0"] {
        let asked = deploy(&shop, &maya, "staging", version).await;
        shop.ends_as(asked["id"].as_i64().unwrap(), "succeeded").await;
    }
    let page = send_json(&maya, &format!("{}/rollback", at("staging")), json!({"version": "v1.1.0"})).await;
    assert_eq!(page.status, 201, "{}", page.text);
    let asked = read(&page);
    assert_eq!((&asked["action"], &asked["version"]), (&json!("rollback"), &json!("v1.1.0")));
    shop.ends_as(asked["id"].as_i64().unwrap(), "succeeded").await;
    assert!(image(&shop.staging).await.contains(":v1.1.0@sha256:"));
}

#[tokio::test]
async fn logs_come_as_a_page_or_as_a_stream_that_ends_with_the_token() {
    let shop = Shop::open().await;
    let browser = shop.world.as_("maya").await;
    let maya = program(&shop.world, "maya", &["read"]).await;
    let path = format!("{}/logs", at("staging"));
    let line = until("a line", async || {
        let page = read(&maya.get(&path).await);
        page["items"].as_array().unwrap().iter().find(|item| item["kind"] == "line").cloned()
    })
    .await;
    assert!(line["pod"].as_str().unwrap().starts_with("shop-"), "{line}");

    refused(&maya.get(&format!("{path}?follow=true")).await, 406);
    let request = maya.request(Method::GET, &format!("{path}?follow=true"));
    let mut answer = maya.open(request.header("accept", "text/event-stream")).await;
    assert_eq!(answer.status(), 200);
    let first = String::from_utf8(answer.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(first.contains("\"kind\":\"line\""), "{first}");

    let id = read(&maya.get("/api/v1/whoami").await)["token"]["id"].as_i64().unwrap();
    browser.post(&format!("/settings/tokens/{id}/revocation"), &[]).await;
    let ends = async { while answer.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(std::time::Duration::from_secs(3), ends)
        .await
        .expect("the stream ends with its token");
}
