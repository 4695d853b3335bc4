//! Groups that change while people work: the portal asks the identity provider again, every five minutes and at every
//! decision, and looks after people as long as it can't.

use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use pilothouse::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{json as read, program, refused, send_json};
use crate::deploys::{Shop, seen};
use crate::program_sign_in::{ask, let_in};
use crate::support::at_provider::Answers;
use crate::support::{Browser, Builder, World, until, within};

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;

fn confidential(clock: &Clock) -> Builder {
    World::builder().confidential().clock(clock.clone())
}

async fn world() -> (World, Clock) {
    let clock = Clock::fixed(Timestamp::now());
    (confidential(&clock).start().await, clock)
}

fn pass(clock: &Clock, seconds: i64) {
    clock.advance(SignedDuration::from_secs(seconds));
}

/// What the portal takes somebody's groups to be; none if it does not know them any more.
async fn groups(who: &Browser) -> Option<Vec<String>> {
    let page = who.get("/api/v1/whoami").await;
    match page.status.as_u16() {
        200 => Some(serde_json::from_value(read(&page)["groups"].clone()).unwrap()),
        401 => None,
        other => panic!("{other}: {}", page.text),
    }
}

/// The audit page is the platform team's.
async fn is_platform(who: &Browser) -> bool {
    match who.get("/audit").await.status.as_u16() {
        200 => true,
        404 => false,
        other => panic!("{other}"),
    }
}

async fn audited(world: &World, action: &str) -> Vec<Value> {
    sqlx::query_scalar("select detail from audit where action = $1 order by id")
        .bind(action)
        .fetch_all(&world.app.db)
        .await
        .unwrap()
}

/// The same browser, at another replica.
fn carried_to(replica: Browser, from: &Browser) -> Browser {
    *replica.cookies.lock().unwrap() = from.cookies.lock().unwrap().clone();
    replica
}

#[tokio::test]
async fn access_follows_the_groups_within_five_minutes() {
    let (world, clock) = world().await;
    let (petra, maya) = (world.as_("petra").await, world.as_("maya").await);
    let script = program(&world, "petra", &["read"]).await;
    assert!(is_platform(&petra).await && !is_platform(&maya).await);
    world.provider().put_into("petra", &["engineering"]);
    world.provider().put_into("maya", &["engineering", "payments", "platform"]);
    world.provider().asked();

    pass(&clock, 5 * MINUTE - 1);
    assert!(is_platform(&petra).await && !is_platform(&maya).await);
    assert_eq!(world.provider().asked(), 0, "not more often than every five minutes");

    pass(&clock, 1);
    assert!(!is_platform(&petra).await, "removed");
    assert!(is_platform(&maya).await, "added");
    assert_eq!(groups(&script).await, Some(vec!["engineering".into()]), "her token, too");
    assert_eq!(
        audited(&world, "groups.change").await,
        [json!({"added": [], "removed": ["platform"]}), json!({"added": ["platform"], "removed": []})]
    );

    // In no group any more, the claim is absent.
    world.provider().put_into("maya", &[]);
    pass(&clock, 5 * MINUTE);
    assert_eq!(groups(&maya).await, Some(vec![]));
}

#[tokio::test]
async fn new_groups_count_for_every_session_on_every_replica() {
    let (world, clock) = world().await;
    let (first, second) = (world.as_("petra").await, world.as_("petra").await);
    let (_replica, browser) = world.replica().await;
    let elsewhere = carried_to(browser, &second);
    assert!(is_platform(&elsewhere).await);
    world.provider().put_into("petra", &["engineering"]);
    pass(&clock, 5 * MINUTE);
    assert!(!is_platform(&first).await);
    world.provider().answers(Answers::Never); // so that nobody else can ask
    assert!(!is_platform(&second).await);
    let told = async || (!is_platform(&elsewhere).await).then_some(());
    within(Duration::from_secs(2), "the other replica is told", told).await;
}

#[tokio::test]
async fn a_stream_ends_when_the_groups_it_was_opened_with_are_no_more() {
    let (world, clock) = world().await;
    let nina = world.as_("nina").await;
    until("the catalogue", async || (nina.get("/services/checkout-api").await.status == 200).then_some(()))
        .await;
    let mut stream = nina.open(nina.request(Method::GET, "/services/checkout-api/live")).await;
    assert_eq!(stream.status(), 200);
    world.provider().put_into("nina", &["engineering"]);
    pass(&clock, 5 * MINUTE);
    assert_eq!(groups(&nina).await, Some(vec!["engineering".into()]));
    let to_its_end = async { while stream.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(Duration::from_secs(5), to_its_end).await.expect("it goes on");
}

#[tokio::test]
async fn who_was_removed_from_the_approvers_approves_nothing_from_then_on() {
    let clock = Clock::fixed(Timestamp::now());
    let shop = Shop::open_in(confidential(&clock).replace("requires = \"staging\"\n", "")).await;
    let (maya, omar) = (shop.world.as_("maya").await, shop.world.as_("omar").await);
    let script = program(&shop.world, "omar", &["read", "approve"]).await;
    let id = shop.deploy(&maya, "production", "v1.1.0").await;
    assert_eq!(shop.state(id).await, "awaiting_approval");
    let seen = seen(&omar, id).await;
    let decide = async || {
        let by_page = [("decision", "approve"), ("seen", seen.as_str())];
        let page = omar.post(&format!("/deploys/{id}/approval"), &by_page).await;
        let api = send_json(
            &script,
            &format!("/api/v1/deploys/{id}/decision"),
            json!({"approve": true, "seen": seen}),
        )
        .await;
        (page, api)
    };

    // Whoever can't be asked about decides nothing.
    shop.world.provider().answers(Answers::Never);
    pass(&clock, 6);
    let (page, api) = decide().await;
    let sentence = "does not say whether you are still in your groups, so nothing was decided.";
    assert!(page.status == 503 && page.text.contains(sentence), "{}", page.text);
    assert!(refused(&api, 503).contains("Try again in a moment. If it stays so, sign in again."));

    shop.world.provider().answers(Answers::AtOnce);
    shop.world.provider().put_into("omar", &["engineering", "payments"]);
    let (page, api) = decide().await;
    assert!(page.text.contains("payments-managers"), "{}", page.text);
    assert!(refused(&api, 403).contains("payments-managers"));
    assert_eq!(shop.state(id).await, "awaiting_approval");

    shop.world.provider().put_into("omar", &["engineering", "payments", "payments-managers"]);
    pass(&clock, 6);
    assert_eq!(decide().await.0.status, 303, "and back again");
}

#[tokio::test]
async fn a_request_of_somebody_who_left_the_team_since_is_void() {
    let clock = Clock::fixed(Timestamp::now());
    let shop = Shop::open_in(confidential(&clock).replace("requires = \"staging\"\n", "")).await;
    let (maya, omar) = (shop.world.as_("maya").await, shop.world.as_("omar").await);
    let id = shop.deploy(&maya, "production", "v1.1.0").await;
    let seen = seen(&omar, id).await;
    shop.world.provider().put_into("maya", &["engineering"]);
    pass(&clock, 5 * MINUTE);
    maya.get("/").await;
    omar.post(&format!("/deploys/{id}/approval"), &[("decision", "approve"), ("seen", &seen)]).await;
    assert_eq!(shop.state(id).await, "superseded");
    let page = omar.get(&format!("/deploys/{id}")).await;
    assert!(page.text.contains("The person who asked may no longer change this workload."), "{}", page.text);
}

#[tokio::test]
async fn who_was_disabled_is_signed_out_with_what_was_born_of_it() {
    let (world, clock) = world().await;
    let maya = world.as_("maya").await;
    let grant = let_in(&maya).await;
    let command = world.browser().with_token(grant["access_token"].as_str().unwrap());
    let script = program(&world, "maya", &["read", "approve"]).await;
    assert!(groups(&command).await.is_some());
    world.provider().disable("maya");
    pass(&clock, 5 * MINUTE);

    assert_eq!(maya.get("/").await.location(), "/sign-in");
    assert_eq!(groups(&command).await, None, "the command was signed in by that browser");
    let refresh =
        [("grant_type", "refresh_token"), ("refresh_token", grant["refresh_token"].as_str().unwrap())];
    assert_eq!(ask(&world.browser(), "/api/v1/token", &refresh).await.1["error"], "invalid_grant");
    let ended = audited(&world, "session.end_by_provider").await;
    assert_eq!(ended[0]["programs"], json!(["platform on laptop"]), "{ended:?}");
    assert!(ended[0]["why"].as_str().unwrap().contains("no longer knows this sign-in"), "{ended:?}");

    // A token made by hand is hers until nobody has heard of her for a week, but decides nothing.
    assert_eq!(groups(&script).await, Some(vec!["engineering".into(), "payments".into()]));
    let decision =
        send_json(&script, "/api/v1/deploys/1/decision", json!({"approve": true, "seen": "x"})).await;
    assert!(refused(&decision, 403).contains("Sign in to the portal again, then decide."));
    pass(&clock, 7 * DAY);
    let page = script.get("/api/v1/whoami").await;
    assert!(refused(&page, 401).contains("Sign in to the portal again"), "{}", page.text);
}

#[tokio::test]
async fn a_token_counts_again_once_its_owner_was_seen() {
    let (world, clock) = world().await;
    let script = program(&world, "omar", &["read"]).await;
    world.provider().answers(Answers::Never);
    pass(&clock, 7 * DAY - 1);
    assert!(groups(&script).await.is_some());
    pass(&clock, 1);
    assert_eq!(groups(&script).await, None);
    world.provider().answers(Answers::AtOnce);
    world.as_("omar").await;
    assert!(groups(&script).await.is_some());
}

#[tokio::test]
async fn while_the_provider_is_away_people_work_on() {
    let (world, clock) = world().await;
    let petra = world.as_("petra").await;
    world.provider().put_into("petra", &[]);
    world.provider().answers(Answers::Never);
    pass(&clock, 5 * MINUTE);
    assert!(is_platform(&petra).await, "the last known groups");

    // Slow is as good as away, and is not waited for at every click.
    let (world, clock) = self::world().await;
    let petra = world.as_("petra").await;
    world.provider().answers(Answers::After(Duration::from_secs(4)));
    world.provider().put_into("petra", &["engineering"]);
    pass(&clock, 5 * MINUTE);
    let started = Instant::now();
    assert!(is_platform(&petra).await && is_platform(&petra).await);
    assert!(started.elapsed() < Duration::from_millis(3_500), "{:?}", started.elapsed());
    // Its late answer counts all the same, and the refresh token that came with it is the one that is good.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!is_platform(&petra).await);
    world.provider().answers(Answers::AtOnce);
    pass(&clock, 5 * MINUTE);
    assert_eq!(groups(&petra).await, Some(vec!["engineering".into()]), "still signed in");
}

#[tokio::test]
async fn two_replicas_ask_once_and_sign_nobody_out() {
    let (world, clock) = world().await;
    let here = world.as_("petra").await;
    let (_replica, browser) = world.replica().await;
    let there = carried_to(browser, &here);
    for _ in 0..3 {
        // The provider takes each refresh token once, so a second question would end the session.
        pass(&clock, 5 * MINUTE);
        world.provider().asked();
        world.provider().answers(Answers::After(Duration::from_millis(300)));
        let pages = join_all([&here, &there, &here, &there].map(|browser| browser.get("/audit"))).await;
        assert!(pages.iter().all(|page| page.status == 200), "{pages:?}");
        assert_eq!(world.provider().asked(), 1);
    }
}

#[tokio::test]
async fn without_a_client_secret_nothing_is_kept_and_groups_are_those_of_the_sign_in() {
    let clock = Clock::fixed(Timestamp::now());
    let world = World::builder().clock(clock.clone()).start().await;
    assert!(world.app.config.remarks()[0].contains("no client secret"));
    let petra = world.as_("petra").await;
    world.provider().put_into("petra", &[]);
    world.provider().asked();
    pass(&clock, 30 * MINUTE);
    assert!(is_platform(&petra).await);
    assert_eq!(world.provider().asked(), 0);
    let kept: i64 =
        sqlx::query_scalar("select count(*) from provider_sessions where refresh_token is not null")
            .fetch_one(&world.app.db)
            .await
            .unwrap();
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn the_providers_refresh_token_is_sealed_in_the_database() {
    let (world, _) = world().await;
    world.as_("maya").await;
    let sealed: Vec<u8> = sqlx::query_scalar("select refresh_token from provider_sessions")
        .fetch_one(&world.app.db)
        .await
        .unwrap();
    // The development provider's are 43 letters; sealed, there is a nonce before and a tag behind.
    assert_eq!(sealed.len(), 12 + 43 + 16);
    assert!(std::str::from_utf8(&sealed).is_err() || !sealed.is_ascii());
}

async fn refresh(world: &World, token: &Value) -> (u16, Value) {
    let form = [("grant_type", "refresh_token"), ("refresh_token", token["refresh_token"].as_str().unwrap())];
    ask(&world.browser(), "/api/v1/token", &form).await
}

async fn counts(world: &World, token: &Value) -> bool {
    groups(&world.browser().with_token(token["access_token"].as_str().unwrap())).await.is_some()
}

#[tokio::test]
async fn the_command_gets_its_next_hour_until_thirty_days_are_over() {
    let (world, clock) = world().await;
    let maya = world.as_("maya").await;
    let first = let_in(&maya).await;
    let listed = async || maya.get("/settings/tokens").await.text.matches("platform on laptop").count();
    let once = listed().await;
    pass(&clock, 60 * MINUTE - 1);
    assert!(counts(&world, &first).await);
    pass(&clock, 1);
    assert!(!counts(&world, &first).await, "an hour is over");

    let (status, second) = refresh(&world, &first).await;
    assert_eq!((status, second["expires_in"].as_i64()), (200, Some(3_600)), "{second}");
    assert!(counts(&world, &second).await);
    assert_eq!(listed().await, once, "it is one sign-in, however often it was refreshed");

    pass(&clock, 30 * DAY);
    assert_eq!(refresh(&world, &second).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn a_copied_refresh_token_ends_the_sign_in() {
    let (world, clock) = world().await;
    let first = let_in(&world.as_("maya").await).await;
    let (_, second) = refresh(&world, &first).await;

    // The answer may have been lost, or two processes asked: for a moment that is no crime.
    pass(&clock, 29);
    let (status, again) = refresh(&world, &first).await;
    assert_eq!(status, 200, "{again}");
    assert!(counts(&world, &second).await && counts(&world, &again).await);

    pass(&clock, 1);
    let (status, stolen) = refresh(&world, &first).await;
    assert_eq!((status, &stolen["error"]), (400, &json!("invalid_grant")));
    assert!(!counts(&world, &second).await && !counts(&world, &again).await, "all of it ends");
    assert_eq!(refresh(&world, &second).await.0, 400);
    assert_eq!(audited(&world, "token.reuse").await.len(), 1);
}

#[tokio::test]
async fn signing_the_command_out_ends_its_refresh_token() {
    let (world, _) = world().await;
    let token = let_in(&world.as_("maya").await).await;
    let command = world.browser().with_token(token["access_token"].as_str().unwrap());
    let id = read(&command.get("/api/v1/whoami").await)["token"]["id"].clone();
    let gone = command.send(command.request(Method::DELETE, &format!("/api/v1/tokens/{id}"))).await;
    assert_eq!(gone.status, 204);
    assert!(!counts(&world, &token).await);
    assert_eq!(refresh(&world, &token).await.0, 400);
}
