//! Signing a program in: by a code that is typed, and by the browser beside it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use pilothouse::clock::Clock;
use reqwest::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{Browser, Page, World, with_form};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const BACK: &str = "http://127.0.0.1:4711/callback";
const VERIFIER: &str = "a-verifier-that-only-the-program-knows-0123456789";

/// As a program sends a form: without saying which page it is from.
pub async fn ask(program: &Browser, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let page = program.send(with_form(program.request(Method::POST, path), form)).await;
    (page.status.as_u16(), serde_json::from_str(&page.text).unwrap_or_else(|_| panic!("{}", page.text)))
}

pub async fn begin(program: &Browser) -> Value {
    let form = [("client_id", "platform-cli"), ("host", "maya's laptop")];
    let (status, code) = ask(program, "/api/v1/device/code", &form).await;
    assert_eq!(status, 200, "{code}");
    code
}

pub async fn poll(program: &Browser, code: &Value) -> (u16, Value) {
    let form = [("grant_type", GRANT), ("device_code", code["device_code"].as_str().unwrap())];
    ask(program, "/api/v1/device/token", &form).await
}

fn error(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"].as_str().unwrap_or_default())
}

async fn whoami(world: &World, token: &str) -> Value {
    let browser = world.browser();
    let page = browser.send(browser.request(Method::GET, "/api/v1/whoami").bearer_auth(token)).await;
    serde_json::from_str(&page.text).unwrap()
}

fn moved(clock: &Clock, by: i64) {
    clock.advance(SignedDuration::from_secs(by));
}

async fn standing_still() -> (World, Clock) {
    let clock = Clock::fixed(Timestamp::now());
    (World::builder().clock(clock.clone()).start().await, clock)
}

#[tokio::test]
async fn a_code_that_is_typed_lets_the_program_in() {
    let (world, clock) = standing_still().await;
    let (program, maya) = (world.browser(), world.as_("maya").await);
    let code = begin(&program).await;
    assert_eq!(code["verification_uri"], format!("{}/device", world.base));
    assert_eq!(error(&poll(&program, &code).await), (400, "authorization_pending"));
    assert_eq!(error(&poll(&program, &code).await), (400, "slow_down"));
    moved(&clock, 6);
    assert_eq!(error(&poll(&program, &code).await), (400, "authorization_pending"));

    let typed = code["user_code"].as_str().unwrap().to_lowercase().replace('-', " ");
    let page = maya.get(&format!("/device?user_code={}", typed.replace(' ', "+"))).await;
    assert!(
        page.text.contains("platform on maya&#39;s laptop") && page.text.contains("127.0.0.1"),
        "{}",
        page.text
    );
    let page = maya.post("/device", &[("user_code", &typed), ("decision", "allow")]).await;
    assert!(page.text.contains("It is signed in"), "{}", page.text);

    let (status, token) = poll(&program, &code).await;
    assert_eq!((status, &token["token_type"]), (200, &Value::from("Bearer")), "{token}");
    assert_eq!(token["scope"], "read deploy production approve");
    assert_eq!(token["expires_in"], 3_600);
    let me = whoami(&world, token["access_token"].as_str().unwrap()).await;
    assert_eq!(
        (&me["username"], &me["token"]["name"]),
        (&"maya".into(), &"platform on maya's laptop".into())
    );
    assert_eq!(error(&poll(&program, &code).await), (400, "invalid_grant"), "a code is good once");
}

#[tokio::test]
async fn a_no_and_a_late_yes_let_nobody_in() {
    let (world, clock) = standing_still().await;
    let (program, maya) = (world.browser(), world.as_("maya").await);
    let code = begin(&program).await;
    let user_code = code["user_code"].as_str().unwrap();
    maya.post("/device", &[("user_code", user_code), ("decision", "deny")]).await;
    assert_eq!(error(&poll(&program, &code).await), (400, "access_denied"));

    let code = begin(&program).await;
    moved(&clock, 601);
    let page = maya.get(&format!("/device?user_code={}", code["user_code"].as_str().unwrap())).await;
    assert!(page.text.contains("No program waits with this code"), "{}", page.text);
    assert_eq!(error(&poll(&program, &code).await), (400, "expired_token"));
}

#[tokio::test]
async fn odd_questions_are_answered_in_the_words_of_the_protocol() {
    let world = World::new().await;
    let program = world.browser();
    let device = "/api/v1/device/token";
    for (path, form, said) in [
        ("/api/v1/device/code", vec![], "invalid_request"),
        ("/api/v1/device/code", vec![("client_id", "somebody")], "invalid_client"),
        (device, vec![("grant_type", "password"), ("device_code", "x")], "unsupported_grant_type"),
        (device, vec![("grant_type", GRANT), ("device_code", "x")], "invalid_grant"),
        ("/api/v1/token", vec![("grant_type", "authorization_code")], "invalid_request"),
        ("/api/v1/token", vec![("grant_type", "refresh_token")], "invalid_request"),
        ("/api/v1/token", vec![("grant_type", "refresh_token"), ("refresh_token", "phr_x")], "invalid_grant"),
        ("/api/v1/token", vec![("grant_type", "password"), ("code", "x")], "unsupported_grant_type"),
    ] {
        assert_eq!(error(&ask(&program, path, &form).await), (400, said), "{path} {form:?}");
    }
}

fn query(change: &[(&str, &str)]) -> Vec<(String, String)> {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let pairs = [
        ("response_type", "code"),
        ("client_id", "platform-cli"),
        ("redirect_uri", BACK),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("state", "s&1"),
        ("host", "laptop"),
    ];
    let changed = |name: &str| change.iter().find(|(changed, _)| *changed == name).map(|(_, value)| *value);
    pairs.iter().map(|(name, value)| (name.to_string(), changed(name).unwrap_or(value).to_string())).collect()
}

fn address(pairs: &[(String, String)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("/authorize?{query}")
}

/// What the program fetches its token with, once the person in this browser said yes.
pub async fn grant(browser: &Browser) -> [(&'static str, String); 4] {
    let code = parameter(say(browser, "allow").await.location(), "code");
    [
        ("grant_type", "authorization_code".into()),
        ("code", code),
        ("code_verifier", VERIFIER.into()),
        ("redirect_uri", BACK.into()),
    ]
}

async fn say(browser: &Browser, decision: &str) -> Page {
    let pairs = query(&[]);
    let mut form: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    form.push(("decision", decision));
    browser.post("/authorize", &form).await
}

/// Signs a program in by the browser beside it.
pub async fn let_in(browser: &Browser) -> Value {
    let code = parameter(say(browser, "allow").await.location(), "code");
    let grant = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("code_verifier", VERIFIER),
        ("redirect_uri", BACK),
    ];
    let (status, token) = ask(browser, "/api/v1/token", &grant).await;
    assert_eq!(status, 200, "{token}");
    token
}

fn parameter(location: &str, name: &str) -> String {
    let url: url::Url = location.parse().unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

#[tokio::test]
async fn the_browser_beside_it_carries_a_code_back() {
    let world = World::new().await;
    let (program, maya) = (world.browser(), world.as_("maya").await);
    let page = maya.get(&address(&query(&[]))).await;
    assert!(page.text.contains("platform on laptop"), "{}", page.text);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("form-action 'self'") && policy.contains(" http://127.0.0.1:4711;"), "{policy}");

    let back = say(&maya, "allow").await;
    assert!(back.location().starts_with(BACK), "{}", back.location());
    assert_eq!(parameter(back.location(), "state"), "s&1");
    let code = parameter(back.location(), "code");
    let grant = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("code_verifier", VERIFIER),
        ("redirect_uri", BACK),
    ];
    let (status, token) = ask(&program, "/api/v1/token", &grant).await;
    assert_eq!(status, 200, "{token}");
    let me = whoami(&world, token["access_token"].as_str().unwrap()).await;
    assert_eq!(me["token"]["name"], "platform on laptop");
    assert_eq!(error(&ask(&program, "/api/v1/token", &grant).await), (400, "invalid_grant"), "good once");
}

#[tokio::test]
async fn a_code_is_worth_nothing_without_its_verifier_its_address_and_its_minute() {
    let (world, clock) = standing_still().await;
    let (program, maya) = (world.browser(), world.as_("maya").await);
    for (verifier, back, wait) in
        [("another", BACK, 0), (VERIFIER, "http://127.0.0.1:4712/callback", 0), (VERIFIER, BACK, 61)]
    {
        let code = parameter(say(&maya, "allow").await.location(), "code");
        moved(&clock, wait);
        let grant = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("code_verifier", verifier),
            ("redirect_uri", back),
        ];
        assert_eq!(error(&ask(&program, "/api/v1/token", &grant).await), (400, "invalid_grant"));
    }
    let no = say(&maya, "deny").await;
    assert_eq!(parameter(no.location(), "error"), "access_denied");
}

#[tokio::test]
async fn nobody_is_sent_to_another_machine() {
    let world = World::new().await;
    let maya = world.as_("maya").await;
    for change in [
        ("redirect_uri", "https://evil.example/"),
        ("redirect_uri", "http://127.0.0.1:4711@evil.example/"),
        ("client_id", "somebody"),
        ("code_challenge_method", "plain"),
        ("code_challenge", "short"),
        ("response_type", "token"),
    ] {
        let page = maya.get(&address(&query(&[change]))).await;
        assert_eq!(page.status, 400, "{change:?}");
        assert!(page.text.contains("nothing was given to it"), "{change:?}");
    }
}
