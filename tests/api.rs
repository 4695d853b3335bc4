//! The API as programs use it: with a token, over HTTP, against the rules of the pages.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Browser, Page, World, too_often, until, with_form, within};

/// Signed in as this person, with a token made on the settings page.
pub async fn program(world: &World, username: &str, scopes: &[&str]) -> Browser {
    world.browser().with_token(&token(world, username, scopes).await)
}

/// A token of this person's, made on the settings page.
pub async fn token(world: &World, username: &str, scopes: &[&str]) -> String {
    mint(&world.as_(username).await, "a test", scopes).await
}

pub async fn send_json(program: &Browser, path: &str, body: Value) -> Page {
    program.send(program.request(Method::POST, path).json(&body)).await
}

/// Makes a token as a person does, and reads its secret off the page.
pub async fn mint(browser: &Browser, name: &str, scopes: &[&str]) -> String {
    let mut form = vec![("name", name), ("expires_days", "30")];
    form.extend(scopes.iter().map(|scope| ("scope", *scope)));
    let page = browser.post("/settings/tokens", &form).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let (_, rest) = page.text.split_once("value=\"ph_").expect("the secret is shown");
    format!("ph_{}", rest.split('"').next().unwrap())
}

pub fn json(page: &Page) -> Value {
    serde_json::from_str(&page.text).unwrap_or_else(|_| panic!("{}: {}", page.status, page.text))
}

/// The sentence of a refusal, which is problem details with the id of the request.
pub fn refused(page: &Page, status: u16) -> String {
    assert_eq!(page.status.as_u16(), status, "{}", page.text);
    assert_eq!(page.header("content-type"), "application/problem+json");
    let problem = json(page);
    assert_eq!(problem["status"], status);
    assert_eq!(problem["request_id"], page.header("x-request-id"));
    problem["detail"].as_str().unwrap().into()
}

async fn world() -> World {
    let world = World::new().await;
    world.has_read("checkout-api").await;
    world
}

#[tokio::test]
async fn a_token_says_who_it_is_and_what_it_may() {
    let world = world().await;
    let maya = program(&world, "maya", &["read", "deploy"]).await;
    let me = json(&maya.get("/api/v1/whoami").await);
    assert_eq!(me["username"], "maya");
    assert!(me["groups"].as_array().unwrap().contains(&json!("payments")));
    assert_eq!(me["token"]["scopes"], json!(["read", "deploy"]));
    assert_eq!(me["machine"], false);
    assert!(!maya.get("/api/v1/whoami").await.text.contains("ph_"), "a secret is told once");
}

#[tokio::test]
async fn a_browser_reads_and_changes_nothing() {
    let world = world().await;
    let maya = world.as_("maya").await;
    let me = maya.get("/api/v1/whoami").await;
    assert_eq!(json(&me)["token"], Value::Null);
    let path = "/api/v1/services/checkout-api/environments/staging/restart";
    let request = maya.request(Method::POST, path).header("sec-fetch-site", "same-origin").json(&json!({}));
    let page = maya.send(request).await;
    assert!(refused(&page, 401).contains("Bearer ph_"));
    assert_eq!(page.header("www-authenticate"), "Bearer");
}

#[tokio::test]
async fn what_is_no_token_is_nobody_and_runs_out_of_tries() {
    let world = world().await;
    let nobody = world.browser();
    assert!(refused(&nobody.get("/api/v1/whoami").await, 401).contains("This needs a token"));
    for odd in ["Basic bWF5YTptYXlh", "Bearer ph_short", "Bearer"] {
        let request = nobody.request(Method::GET, "/api/v1/whoami").header("authorization", odd);
        assert!(refused(&nobody.send(request).await, 401).contains("no token of this portal"), "{odd}");
    }
    let unknown = format!("ph_{}", "A".repeat(43));
    let ask = || nobody.request(Method::GET, "/api/v1/whoami").bearer_auth(&unknown);
    assert!(refused(&nobody.send(ask()).await, 401).contains("does not know this token"));
    let page = too_often(async || nobody.send(ask()).await).await;
    assert_eq!(page.header("retry-after"), "5");
    let maya = program(&world, "maya", &["read"]).await;
    assert_eq!(
        maya.get("/api/v1/whoami").await.status,
        200,
        "a good token from the same address still counts"
    );
}

#[tokio::test]
async fn a_cookie_beside_a_token_counts_for_nothing() {
    let world = world().await;
    let omar = world.as_("omar").await;
    let maya = mint(&world.as_("maya").await, "hers", &["read"]).await;
    let page = omar.send(omar.request(Method::GET, "/api/v1/whoami").bearer_auth(maya)).await;
    assert_eq!(json(&page)["username"], "maya");
    let page = omar.send(omar.request(Method::GET, "/api/v1/whoami").bearer_auth("ph_nonsense")).await;
    refused(&page, 401);
}

#[tokio::test]
async fn a_token_opens_no_page() {
    let world = world().await;
    let maya = program(&world, "maya", &["read", "deploy", "production", "approve"]).await;
    for path in ["/deploys", "/settings/tokens", "/services/checkout-api"] {
        let page = maya.get(path).await;
        assert!(page.location().starts_with("/sign-in"), "{path}: {}", page.text);
    }
    let form = with_form(maya.request(Method::POST, "/settings/tokens"), &[("name", "x"), ("scope", "read")]);
    assert_eq!(maya.send(form).await.status, 403);
}

#[tokio::test]
async fn a_missing_scope_is_said() {
    let world = world().await;
    let maya = program(&world, "maya", &["read"]).await;
    let at = "/api/v1/services/checkout-api/environments/staging";
    let page = send_json(&maya, &format!("{at}/deploys"), json!({"version": "v1.1.0"})).await;
    let sentence = refused(&page, 403);
    assert!(sentence.contains("“deploy”") && sentence.contains("“a test”"), "{sentence}");
    let page = send_json(&maya, "/api/v1/deploys/1/decision", json!({"approve": true, "seen": ""})).await;
    assert!(refused(&page, 403).contains("“approve”"));
    let writer = program(&world, "maya", &["deploy"]).await;
    assert!(refused(&writer.get("/api/v1/services").await, 403).contains("“read”"));
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_everywhere() {
    let world = world().await;
    let (_, other) = world.replica().await;
    let browser = world.as_("maya").await;
    let token = mint(&browser, "laptop", &["read"]).await;
    let (maya, other) = (world.browser().with_token(&token), other.with_token(&token));
    world.hears(2).await;
    let ask = async |program: &Browser| program.get("/api/v1/whoami").await.status.as_u16();
    assert_eq!((ask(&maya).await, ask(&other).await), (200, 200));

    let id = json(&maya.get("/api/v1/whoami").await)["token"]["id"].as_i64().unwrap();
    let page = browser.get(&format!("/settings/tokens/{id}/revocation")).await;
    assert!(page.text.contains("Revoke “laptop”"), "{}", page.text);
    let page = browser.post(&format!("/settings/tokens/{id}/revocation"), &[]).await;
    assert_eq!(page.location(), "/settings/tokens");

    assert_eq!(ask(&maya).await, 401);
    let told = async || (ask(&other).await == 401).then_some(());
    within(Duration::from_secs(1), "the other replica is told", told).await;
}

#[tokio::test]
async fn somebody_elses_token_is_not_there() {
    let world = world().await;
    let maya = program(&world, "maya", &["read"]).await;
    let id = json(&maya.get("/api/v1/whoami").await)["token"]["id"].as_i64().unwrap();
    let omar = program(&world, "omar", &["read", "approve"]).await;
    let page = omar.send(omar.request(Method::DELETE, &format!("/api/v1/tokens/{id}"))).await;
    refused(&page, 404);
    let page = world.as_("omar").await.get(&format!("/settings/tokens/{id}/revocation")).await;
    assert_eq!(page.status, 404);
    assert_eq!(json(&omar.get("/api/v1/tokens").await)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_makes_another_that_may_no_more_and_revokes_itself() {
    let world = world().await;
    let maya = program(&world, "maya", &["read", "deploy"]).await;
    let page =
        send_json(&maya, "/api/v1/tokens", json!({"name": "ci", "scopes": ["read"], "expires_days": 7}))
            .await;
    assert_eq!(page.status, StatusCode::CREATED, "{}", page.text);
    let minted = json(&page);
    let ci = world.browser().with_token(minted["secret"].as_str().unwrap());
    assert_eq!(json(&ci.get("/api/v1/whoami").await)["token"]["name"], "ci");

    let wide = json!({"name": "more", "scopes": ["read", "approve"], "expires_days": 7});
    assert!(refused(&send_json(&maya, "/api/v1/tokens", wide).await, 422).contains("“approve”"));
    let long = json!({"name": "longer", "scopes": ["read"], "expires_days": 90});
    let page = send_json(&maya, "/api/v1/tokens", long).await;
    assert!(refused(&page, 422).contains("outlives"));
    assert_eq!(json(&page)["errors"][0]["field"], "expires_days");
    let page =
        send_json(&maya, "/api/v1/tokens", json!({"name": " ", "scopes": [], "expires_days": 0})).await;
    assert_eq!(json(&page)["errors"].as_array().unwrap().len(), 3);
    let odd = json!({"name": "odd", "scopes": ["everything"], "expires_days": 1});
    let page = send_json(&maya, "/api/v1/tokens", odd).await;
    assert_eq!(json(&page)["errors"][0]["field"], "scopes[0]", "{}", page.text);

    let hers = json(&maya.get("/api/v1/whoami").await)["token"]["id"].as_i64().unwrap();
    let page = ci.send(ci.request(Method::DELETE, &format!("/api/v1/tokens/{hers}"))).await;
    refused(&page, 403);
    let own = minted["id"].as_i64().unwrap();
    let page = ci.send(ci.request(Method::DELETE, &format!("/api/v1/tokens/{own}"))).await;
    assert_eq!((page.status, page.text.as_str()), (StatusCode::NO_CONTENT, ""));
    refused(&ci.get("/api/v1/whoami").await, 401);
}

#[tokio::test]
async fn the_groups_of_the_newest_sign_in_count() {
    let world = world().await;
    let maya = program(&world, "maya", &["read"]).await;
    let groups = async || json(&maya.get("/api/v1/whoami").await)["groups"].clone();
    assert!(groups().await.as_array().unwrap().contains(&json!("payments")));
    // Her provider says other groups by now.
    sqlx::query("update people set person = jsonb_set(person, '{groups}', '[\"storefront\"]')")
        .execute(&world.app.db)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(groups().await, json!(["storefront"]));
}

#[tokio::test]
async fn minting_and_revoking_are_in_the_audit_trail_and_no_secret_is() {
    let world = world().await;
    let maya = program(&world, "maya", &["read"]).await;
    let id = json(&maya.get("/api/v1/whoami").await)["token"]["id"].as_i64().unwrap();
    maya.send(maya.request(Method::DELETE, &format!("/api/v1/tokens/{id}"))).await;
    let rows: Vec<(String, String, Value)> =
        sqlx::query_as("select action, target, detail from audit order by id")
            .fetch_all(&world.app.db)
            .await
            .unwrap();
    let actions: Vec<_> = rows.iter().map(|(action, target, _)| (action.as_str(), target.as_str())).collect();
    assert_eq!(actions, [("token.mint", "a test"), ("token.revoke", "a test")]);
    assert!(!format!("{rows:?}").contains("ph_"));
    let kept: Vec<Vec<u8>> =
        sqlx::query_scalar("select hash from tokens").fetch_all(&world.app.db).await.unwrap();
    assert!(kept.is_empty());
}

#[tokio::test]
async fn a_form_with_nothing_in_it_says_what_to_mend() {
    let world = world().await;
    let maya = world.as_("maya").await;
    let page = maya.post("/settings/tokens", &[("name", ""), ("expires_days", "900")]).await;
    assert_eq!(page.status, 422);
    for sentence in ["Say where it will live", "at least one thing", "1 to 365 days"] {
        assert!(page.text.contains(sentence), "{sentence}: {}", page.text);
    }
}

#[tokio::test]
async fn services_come_by_pages_and_an_unknown_one_names_the_nearest() {
    let world = world().await;
    let maya = program(&world, "maya", &["read"]).await;
    // What runs where is put together a moment after the catalogue was read, and an answer is kept for a second.
    let listed = async || {
        let page = json(&maya.get("/api/v1/services?limit=7").await);
        page["items"].as_array().filter(|items| !items.is_empty()).map(drop)
    };
    until("services are listed", listed).await;
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = json(&maya.get(&format!("/api/v1/services?limit=7{cursor}")).await);
        let items = page["items"].as_array().unwrap();
        assert!(!items.is_empty() && items.len() <= 7);
        names.extend(items.iter().map(|service| service["name"].as_str().unwrap().to_string()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let catalogue = world.app.catalogue.load();
    let all: Vec<_> = catalogue.services().iter().map(|service| service.name.clone()).collect();
    assert_eq!(names, all, "each once, by name");

    let found = json(&maya.get("/api/v1/services?q=chekout&team=payments").await);
    assert!(found["items"].as_array().unwrap().iter().any(|service| service["name"] == "checkout-api"));
    let page = maya.get("/api/v1/services/chekout-api").await;
    assert!(refused(&page, 404).contains("“chekout-api”"));
    assert!(json(&page)["nearest"].as_array().unwrap().contains(&json!("checkout-api")));
    let nobody = world.browser().get("/api/v1/services/chekout-api").await;
    assert_eq!(json(&nobody)["nearest"], Value::Null, "names are for those who may know them");
    refused(&maya.get("/api/v1/services?limit=0").await, 422);
    refused(&maya.get("/api/v1/services?limit=many").await, 422);
}

#[tokio::test]
async fn an_answer_that_one_has_is_not_sent_again() {
    let world = world().await;
    let maya = program(&world, "maya", &["read"]).await;
    // Other tests move what runs in the same cluster, so what is asked for here runs nowhere; and again, because the
    // watch may still be reading.
    let address = "/api/v1/services/feature-store";
    until("the same answer twice", async || {
        let page = maya.get(address).await;
        if page.status == 503 {
            // On a busy machine the board may take longer than a page waits for it.
            eprintln!("{}", page.text);
            return None;
        }
        let tag = page.header("etag").to_string();
        assert!(tag.starts_with('"'), "{} {tag} {}", page.status, page.text);
        let again = maya.send(maya.request(Method::GET, address).header("if-none-match", &tag)).await;
        assert!(again.status != StatusCode::NOT_MODIFIED || again.text.is_empty());
        (again.status == StatusCode::NOT_MODIFIED && again.header("etag") == tag).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_refusal_is_problem_details() {
    let world = world().await;
    let maya = program(&world, "maya", &["read", "deploy", "production", "approve"]).await;
    let at = "/api/v1/services/checkout-api/environments/staging";
    refused(&maya.get("/api/v1/nothing").await, 404);
    refused(&maya.get("/api/v1/deploys/1").await, 404);
    refused(&maya.get("/api/v1/deploys/x").await, 404);
    refused(&maya.get("/api/v1/deploys?cursor=x").await, 422);
    let page = maya.send(maya.request(Method::PUT, "/api/v1/whoami")).await;
    assert!(refused(&page, 405).contains("PUT"));
    assert_eq!(page.header("allow"), "GET,HEAD");
    let page = maya.send(maya.request(Method::POST, &format!("{at}/restart")).body("{")).await;
    assert!(refused(&page, 415).contains("application/json"));
    let request = maya.request(Method::POST, &format!("{at}/restart"));
    refused(&maya.send(request.header("content-type", "application/json").body("{")).await, 400);
    let page = send_json(&maya, &format!("{at}/deploys"), json!({})).await;
    assert_eq!(
        (refused(&page, 422).as_str(), &json(&page)["errors"][0]["field"]),
        ("“version” is missing.", &json!("version"))
    );
    let long =
        maya.request(Method::POST, &format!("{at}/restart")).header("idempotency-key", "x".repeat(300));
    assert!(refused(&maya.send(long.json(&json!({}))).await, 422).contains("Idempotency-Key"));
    let big = "x".repeat(300 * 1024);
    refused(&send_json(&maya, &format!("{at}/restart"), json!({"reason": big})).await, 413);
}

#[tokio::test]
async fn changes_are_counted_and_told_in_headers() {
    let world = world().await;
    let maya = program(&world, "maya", &["read"]).await;
    let ask = || send_json(&maya, "/api/v1/tokens", json!({"name": "", "scopes": [], "expires_days": 1}));
    let page = ask().await;
    assert_eq!(page.header("ratelimit-policy"), "\"changes\";q=60;w=60");
    assert_eq!(page.header("ratelimit"), "\"changes\";r=59;t=1");
    let last = too_often(ask).await;
    assert!(refused(&last, 429).contains("60 changes"));
    assert!(last.header("ratelimit").starts_with("\"changes\";r=0"));
    assert_eq!(maya.get("/api/v1/whoami").await.header("ratelimit"), "", "reading is not counted");
}

#[tokio::test]
async fn the_document_is_served_and_the_reference_needs_nothing_from_outside() {
    let world = world().await;
    let page = world.browser().get("/api/openapi.json").await;
    let document = json(&page);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let page = world.as_("maya").await.get("/api").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("/api/v1/services/{name}/environments/{environment}/deploys"));
    let outside =
        page.text.split("href=\"").chain(page.text.split("src=\"")).filter(|part| part.starts_with("http"));
    assert_eq!(outside.count(), 0);
}

#[tokio::test]
async fn while_the_database_is_away_nobody_is_told_that_their_token_is_bad() {
    let world = world().await;
    let maya = program(&world, "maya", &["read"]).await;
    assert_eq!(maya.get("/api/v1/whoami").await.status, 200);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    world.database.go_away().await;
    let page = maya.get("/api/v1/whoami").await;
    assert!(refused(&page, 503).contains("database"));
    assert_eq!(page.header("retry-after"), "5");
    world.database.come_back().await;
}
