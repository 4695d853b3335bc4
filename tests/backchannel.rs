//! Back-channel logout: what ends when the provider says that a session is over, and whom the portal believes.
//! `keycloak.rs` shows the same with a real provider; here the provider says whatever a test wants.

use std::time::Duration;

use jiff::Timestamp;
use pilothouse::demo::Keys;
use reqwest::Method;
use serde_json::{Value, json};

use crate::program_sign_in::{ask, begin, grant, poll};
use crate::support::forger::{Forger, honest};
use crate::support::mutations::{Honest, Mutation, OF_ANY_TOKEN};
use crate::support::{Browser, Page, World, listen, until, with_form};

async fn world() -> (World, std::sync::Arc<Forger>) {
    let forger = Forger::start(true).await;
    let world = World::builder().issuer(&forger.issuer).start().await;
    (world, forger)
}

/// A browser in which this person signed in, in this session at the provider.
async fn signed_in(
    world: &World,
    forger: &Forger,
    subject: &'static str,
    sid: Option<&'static str>,
) -> Browser {
    forger.claim(move |claims| {
        claims["sub"] = json!(subject);
        if let Some(sid) = sid {
            claims["sid"] = json!(sid);
        }
    });
    let browser = world.browser();
    let page = browser.sign_in_forged().await;
    assert_eq!(page.location(), "/", "{}", page.text);
    forger.forge(honest);
    browser
}

/// As a provider sends it: no cookie, and no page that it would be from.
async fn tell(world: &World, logout_token: &str) -> Page {
    let provider = world.browser();
    let request = provider.request(Method::POST, "/auth/backchannel-logout");
    provider.send(with_form(request, &[("logout_token", logout_token)])).await
}

async fn is_signed_in(browser: &Browser) -> bool {
    browser.get("/sign-in").await.status == 303
}

/// The token of a command that the person in this browser lets in by a code.
async fn command(world: &World, browser: &Browser) -> Browser {
    let program = world.browser();
    let code = begin(&program).await;
    let user_code = code["user_code"].as_str().unwrap();
    browser.post("/device", &[("user_code", user_code), ("decision", "allow")]).await;
    let (status, token) = poll(&program, &code).await;
    assert_eq!(status, 200, "{token}");
    program.with_token(token["access_token"].as_str().unwrap())
}

/// The token of a command beside this browser, in which the person says yes.
async fn command_beside(world: &World, browser: &Browser) -> Browser {
    let (status, token) = fetch(world, &grant(browser).await).await;
    assert_eq!(status, 200, "{token}");
    world.browser().with_token(token["access_token"].as_str().unwrap())
}

async fn fetch(world: &World, grant: &[(&'static str, String)]) -> (u16, Value) {
    let form: Vec<_> = grant.iter().map(|(name, value)| (*name, value.as_str())).collect();
    ask(&world.browser(), "/api/v1/token", &form).await
}

/// A token that the person in this browser makes on the settings page.
async fn personal(world: &World, browser: &Browser) -> Browser {
    let page = browser
        .post("/settings/tokens", &[("name", "script"), ("expires_days", "1"), ("scope", "read")])
        .await;
    let (_, rest) = page.text.split_once("value=\"ph_").unwrap_or_else(|| panic!("{}", page.text));
    world.browser().with_token(&format!("ph_{}", rest.split('"').next().unwrap()))
}

async fn works(program: &Browser) -> bool {
    program.get("/api/v1/whoami").await.status == 200
}

/// Action, target and detail of what the trail has about ends, oldest first.
async fn ends(world: &World) -> Vec<(String, String, Value)> {
    sqlx::query_as(
        "select action, target, detail from audit where action in ('session.end_by_provider', 'token.end_by_provider') order by id",
    )
    .fetch_all(&world.app.db)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_session_that_is_over_takes_along_what_came_from_it() {
    let (world, forger) = world().await;
    let (desk, phone) = (
        signed_in(&world, &forger, "1", Some("desk")).await,
        signed_in(&world, &forger, "1", Some("phone")).await,
    );
    let (of_desk, of_phone) = (command(&world, &desk).await, command(&world, &phone).await);
    let (beside, script) = (command_beside(&world, &desk).await, personal(&world, &desk).await);
    let (_, elsewhere) = world.replica().await;
    *elsewhere.cookies.lock().unwrap() = desk.cookies.lock().unwrap().clone();
    let is_there = async || (elsewhere.get("/services/checkout-api").await.status == 200).then_some(());
    until("the catalogue", is_there).await;
    let stream = elsewhere.open(elsewhere.request(Method::GET, "/services/checkout-api/live")).await;
    assert_eq!(stream.status(), 200);

    let page = tell(&world, &forger.logout_token(Some("desk"), Some("1"))).await;

    assert_eq!((page.status.as_u16(), page.header("cache-control")), (200, "no-store"), "{}", page.text);
    assert!(!is_signed_in(&desk).await && !works(&of_desk).await && !works(&beside).await);
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.text()).await;
    assert!(ended.is_ok(), "the stream on another replica goes on");
    assert!(!is_signed_in(&elsewhere).await);
    assert!(is_signed_in(&phone).await && works(&of_phone).await, "another session goes on");
    assert!(works(&script).await, "a personal token lives on");
    let [(action, who, detail)] = &ends(&world).await[..] else { panic!("not one row for the sign-in") };
    assert_eq!((action.as_str(), who.as_str()), ("session.end_by_provider", "maya"));
    assert_eq!((&detail["sessions"], detail["programs"].as_array().unwrap().len()), (&json!(1), 2));
}

#[tokio::test]
async fn a_logout_that_names_only_the_person_ends_everything_of_theirs() {
    let (world, forger) = world().await;
    let desk = signed_in(&world, &forger, "1", Some("desk")).await;
    let phone = signed_in(&world, &forger, "1", None).await;
    let other = signed_in(&world, &forger, "2", Some("other")).await;
    let (of_desk, script, of_other) =
        (command(&world, &desk).await, personal(&world, &phone).await, personal(&world, &other).await);

    assert_eq!(tell(&world, &forger.logout_token(None, Some("1"))).await.status, 200);

    assert!(!is_signed_in(&desk).await && !is_signed_in(&phone).await);
    assert!(!works(&of_desk).await && !works(&script).await);
    assert!(is_signed_in(&other).await && works(&of_other).await);
    assert_eq!(
        ends(&world).await.len(),
        3,
        "each browser with its programs in a row, and the token in its own"
    );
}

#[tokio::test]
async fn a_logout_without_a_person_and_one_for_a_sign_in_without_a_session_are_understood() {
    let (world, forger) = world().await;
    let desk = signed_in(&world, &forger, "1", Some("desk")).await;
    let nameless = signed_in(&world, &forger, "2", None).await;
    assert_eq!(tell(&world, &forger.logout_token(Some("desk"), None)).await.status, 200);
    assert!(!is_signed_in(&desk).await);
    assert!(is_signed_in(&nameless).await);
    // Her sign-in came without a sid, so it may be the one that is meant.
    assert_eq!(tell(&world, &forger.logout_token(Some("any"), Some("2"))).await.status, 200);
    assert!(!is_signed_in(&nameless).await);
    // Somebody else's session is not ended by a person's name beside it.
    let desk = signed_in(&world, &forger, "1", Some("desk")).await;
    assert_eq!(tell(&world, &forger.logout_token(Some("desk"), Some("2"))).await.status, 200);
    assert!(is_signed_in(&desk).await);
}

#[tokio::test]
async fn who_was_let_in_and_has_not_come_yet_stays_outside() {
    let (world, forger) = world().await;
    let desk = signed_in(&world, &forger, "1", Some("desk")).await;
    let program = world.browser();
    let code = begin(&program).await;
    let user_code = code["user_code"].as_str().unwrap();
    desk.post("/device", &[("user_code", user_code), ("decision", "allow")]).await;
    let beside = grant(&desk).await;

    assert_eq!(tell(&world, &forger.logout_token(Some("desk"), None)).await.status, 200);

    let (status, answer) = poll(&program, &code).await;
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")));
    let (status, answer) = fetch(&world, &beside).await;
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")));
}

#[tokio::test]
async fn a_logout_token_counts_once() {
    let (world, forger) = world().await;
    let token = forger.logout_token(Some("desk"), None);
    assert_eq!(tell(&world, &token).await.status, 200, "a session that nobody has here is over as well");
    signed_in(&world, &forger, "1", Some("desk")).await;
    let page = tell(&world, &token).await;
    assert_eq!(page.status, 400);
    assert!(page.text.contains("was used already"), "{}", page.text);
    assert_eq!(ends(&world).await, []);
}

/// What only a logout token can get wrong.
const OF_LOGOUT_TOKENS: &[Mutation] = &[
    ("an ID token", |mut honest| {
        honest.header["typ"] = json!("JWT");
        honest.claims.as_object_mut().unwrap().remove("events");
        honest.with("nonce", json!("any"))
    }),
    ("an ID token by its type", |honest| honest.with_header("typ", json!("JWT"))),
    ("no type", |mut honest| {
        honest.header.as_object_mut().unwrap().remove("typ");
        honest.token()
    }),
    ("a nonce", |honest| honest.with("nonce", json!("any"))),
    ("no nonce, but its name", |honest| honest.with("nonce", json!(null))),
    ("no events", |honest| honest.without("events")),
    ("another event", |honest| honest.with("events", json!({ "https://evil.example/event": {} }))),
    ("a list of events", |honest| {
        honest.with("events", json!(["http://schemas.openid.net/event/backchannel-logout"]))
    }),
    ("an event that is no object", |honest| {
        honest.with("events", json!({ "http://schemas.openid.net/event/backchannel-logout": true }))
    }),
    ("no jti", |honest| honest.without("jti")),
    ("an empty jti", |honest| honest.with("jti", json!(""))),
    ("neither session nor person", |mut honest| {
        honest.claims.as_object_mut().unwrap().remove("sub");
        honest.without("sid")
    }),
    ("no text for a session", |honest| honest.with("sid", json!(["desk"]))),
    ("an empty session", |honest| honest.with("sid", json!(""))),
    ("two sessions", |honest| honest.with_text("", r#""sid":"other","#)),
];

#[tokio::test]
async fn only_an_honest_logout_token_ends_anything() {
    let (world, forger) = world().await;
    forger.publish_also(&Keys::generate().unwrap());
    let desk = signed_in(&world, &forger, "1", Some("desk")).await;
    let now = Timestamp::now().as_second();
    for (what, make) in OF_ANY_TOKEN.iter().chain(OF_LOGOUT_TOKENS).copied() {
        forger.forge(move |keys, header, claims| make(Honest { keys, header, claims, now }));
        let page = tell(&world, &forger.logout_token(Some("desk"), Some("1"))).await;
        let said: Value =
            serde_json::from_str(&page.text).unwrap_or_else(|_| panic!("{what}: {}", page.text));
        assert_eq!((page.status.as_u16(), &said["error"]), (400, &json!("invalid_request")), "{what}");
        assert_eq!(page.header("cache-control"), "no-store");
        assert!(is_signed_in(&desk).await, "{what}");
    }
    forger.forge(honest);
    for odd in ["", "any", "a.b.c"] {
        assert_eq!(tell(&world, odd).await.status, 400, "{odd}");
    }
    assert_eq!(tell(&world, &forger.logout_token(Some("desk"), Some("1"))).await.status, 200);
    assert!(!is_signed_in(&desk).await);
}

#[tokio::test]
async fn a_logout_that_can_not_be_checked_is_told_apart() {
    let forger = Forger::start(true).await;
    let (listener, issuer) = listen().await;
    drop(listener);
    let world = World::builder().issuer(&issuer).start().await;
    let page = tell(&world, &forger.logout_token(Some("desk"), None)).await;
    assert_eq!(page.status, 400);
    assert!(page.text.contains("temporarily_unavailable"), "{}", page.text);
}
