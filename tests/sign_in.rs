//! Signing in and out, as a browser sees it: the whole way through a real provider, and every way to cheat on it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pilothouse::clock::Clock;
use pilothouse::demo::Keys;
use reqwest::Method;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::forger::{Forger, honest};
use crate::support::mutations::{Honest, Mutation, OF_ANY_TOKEN};
use crate::support::{Browser, World, listen, too_often, until, within};

/// How many sessions there are.
async fn sessions(world: &World) -> i64 {
    sqlx::query_scalar("select count(*) from sessions").fetch_one(&world.app.db).await.unwrap()
}

/// `/sign-in` sends people on who are signed in; the others see why they are not.
async fn is_signed_in(browser: &Browser) -> bool {
    browser.get("/sign-in").await.status == 303
}

#[tokio::test]
async fn maya_signs_in_and_comes_back_to_where_she_was() {
    let world = World::new().await;
    let maya = world.browser();
    let page = maya.get("/sign-in?next=/services/checkout?env=staging").await;
    assert!(
        page.text.contains("Sign in first. You go on to <b>/services/checkout?env=staging</b>"),
        "{}",
        page.text
    );
    assert!(
        page.text.contains("href=\"/sign-in/start?next=%2Fservices%2Fcheckout%3Fenv%3Dstaging\""),
        "{}",
        page.text
    );

    let page = maya.sign_in(&world.people, "maya", "/services/checkout?env=staging").await;
    assert_eq!((page.status.as_u16(), page.location()), (303, "/services/checkout?env=staging"));
    assert!(is_signed_in(&maya).await);

    let cookie = page.header("set-cookie");
    for part in ["pilothouse=", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let row: (Vec<u8>, String, String, serde_json::Value) =
        sqlx::query_as("select id_hash, issuer, subject, person from sessions")
            .fetch_one(&world.app.db)
            .await
            .unwrap();
    let secret = maya.cookies.lock().unwrap()["pilothouse"].clone();
    assert_eq!(row.0, Sha256::digest(&secret).to_vec());
    assert_eq!(row.1, world.app.config.oidc.issuer.get_ref().as_str());
    assert_eq!(row.2, world.people.all()[0].sub);
    assert_eq!(row.3["groups"], json!(["engineering", "payments"]));
}

#[tokio::test]
async fn a_new_sign_in_ends_the_session_before_it() {
    let world = World::new().await;
    let browser = world.as_("maya").await;
    let before = browser.cookies.lock().unwrap()["pilothouse"].clone();
    browser.sign_in(&world.people, "omar", "/").await;
    assert_ne!(browser.cookies.lock().unwrap()["pilothouse"], before);
    assert_eq!(sessions(&world).await, 1);
    browser.cookies.lock().unwrap().insert("pilothouse".into(), before);
    assert!(!is_signed_in(&browser).await);
}

#[tokio::test]
async fn an_answer_counts_once_and_in_the_browser_that_asked() {
    let world = World::new().await;
    let maya = world.browser();
    let back = maya.up_to_callback(&world.people, "maya", "/").await;

    // Stolen on its way: in a browser without a sign-in of its own, and in one with.
    let thief = world.browser();
    assert_eq!(thief.get(&back).await.status, 400);
    thief.get("/sign-in/start").await;
    assert_eq!(thief.get(&back).await.status, 400);

    // A made-up state, and none.
    let (_, code) = back.split_once("code=").unwrap();
    let code = code.split('&').next().unwrap();
    assert_eq!(maya.get(&format!("/auth/callback?code={code}&state=invented")).await.status, 400);
    assert_eq!(maya.get(&format!("/auth/callback?code={code}")).await.status, 400);
    assert_eq!(sessions(&world).await, 0);

    assert_eq!(maya.get(&back).await.location(), "/");
    let again = maya.get(&back).await;
    assert_eq!(again.status, 400);
    assert!(again.text.contains("was finished already"), "{}", again.text);
    assert_eq!(sessions(&world).await, 1);
}

#[tokio::test]
async fn an_answer_after_ten_minutes_is_too_late() {
    let clock = Clock::fixed(Timestamp::now());
    let world = World::builder().clock(clock.clone()).start().await;
    let maya = world.browser();
    let back = maya.up_to_callback(&world.people, "maya", "/").await;
    clock.advance(SignedDuration::from_mins(10));
    assert_eq!(maya.get(&back).await.status, 400);
}

#[tokio::test]
async fn what_the_provider_refuses_is_said() {
    let world = World::new().await;
    let maya = world.browser();
    let start = maya.get("/sign-in/start").await;
    let (_, state) = start.location().split_once("state=").unwrap();
    let state = state.split('&').next().unwrap();
    let page = maya.get(&format!("/auth/callback?error=access_denied&state={state}")).await;
    assert_eq!(page.status, 403);
    assert!(page.text.contains("did not let you in"), "{}", page.text);
}

/// What only an ID token can get wrong.
const OF_ID_TOKENS: &[Mutation] = &[
    ("a logout token by its type", |honest| honest.with_header("typ", json!("logout+jwt"))),
    ("another party", |honest| honest.with("azp", json!("another"))),
    ("no text for a party", |honest| honest.with("azp", json!(["pilothouse"]))),
    ("several audiences, of which we are the party", |mut honest| {
        honest.claims["aud"] = json!(["pilothouse", "another"]);
        honest.with("azp", json!("pilothouse"))
    }),
    ("several audiences, of which another is the party", |mut honest| {
        honest.claims["aud"] = json!(["pilothouse", "another"]);
        honest.with("azp", json!("another"))
    }),
    ("another nonce", |honest| honest.with("nonce", json!("invented"))),
    ("no nonce", |honest| honest.without("nonce")),
    ("no text for a nonce", |honest| honest.with("nonce", json!(1))),
    ("two nonces", |honest| honest.with_text("", r#""nonce":"invented","#)),
    ("no subject", |honest| honest.without("sub")),
    ("two lists of groups", |honest| honest.with_text("", r#""groups":["payments-managers"],"#)),
];

#[tokio::test]
async fn only_an_honest_token_signs_anybody_in() {
    let forger = Forger::start(true).await;
    forger.publish_also(&Keys::generate().unwrap());
    let now = Timestamp::now().as_second();
    let all: Vec<_> = OF_ANY_TOKEN.iter().chain(OF_ID_TOKENS).copied().collect();
    // A portal for so many: one address may not try to sign in more often than that.
    for some in all.chunks(25) {
        let world = World::builder().issuer(&forger.issuer).start().await;
        forger.forge(honest);
        assert_eq!(world.browser().sign_in_forged().await.location(), "/");
        sqlx::query("delete from sessions").execute(&world.app.db).await.unwrap();
        for (what, make) in some.iter().copied() {
            forger.forge(move |keys, header, claims| make(Honest { keys, header, claims, now }));
            let page = world.browser().sign_in_forged().await;
            assert_eq!(page.status, 403, "{what}: {}", page.text);
            assert!(page.text.contains("does not prove who you are"), "{what}: {}", page.text);
            assert_eq!(sessions(&world).await, 0, "{what}");
        }
    }
}

#[tokio::test]
async fn what_is_unusual_but_right_signs_somebody_in() {
    let forger = Forger::start(true).await;
    let world = World::builder().issuer(&forger.issuer).start().await;
    let now = Timestamp::now().as_second();
    let unusual: &[Mutation] = &[
        ("clocks differ", |honest| {
            let past = honest.now - 5;
            honest.with("exp", json!(past))
        }),
        ("valid from a moment ago", |honest| {
            let past = honest.now - 1;
            honest.with("nbf", json!(past))
        }),
        ("it names us as its party", |honest| honest.with("azp", json!("pilothouse"))),
        ("its audience is a list", |honest| honest.with("aud", json!(["pilothouse"]))),
        ("an address in the header, which nobody asks", |honest| {
            honest.with_header("jku", json!("http://127.0.0.1:9/jwks"))
        }),
        ("no kid, with one key", |mut honest| {
            honest.header.as_object_mut().unwrap().remove("kid");
            honest.token()
        }),
    ];
    for (what, make) in unusual.iter().copied() {
        forger.forge(move |keys, header, claims| make(Honest { keys, header, claims, now }));
        let page = world.browser().sign_in_forged().await;
        assert_eq!(page.status, 303, "{what}: {}", page.text);
    }
}

#[tokio::test]
async fn a_key_the_provider_made_since_is_fetched() {
    let forger = Forger::start(true).await;
    let world = World::builder().issuer(&forger.issuer).start().await;
    assert_eq!(world.browser().sign_in_forged().await.location(), "/");
    forger.rotate(Keys::generate().unwrap());
    assert_eq!(world.browser().sign_in_forged().await.location(), "/");
}

#[tokio::test]
async fn groups_the_token_leaves_out_are_asked_of_userinfo() {
    let forger = Forger::start(true).await;
    let world = World::builder().issuer(&forger.issuer).start().await;
    forger.claim(|claims| drop(claims.as_object_mut().unwrap().remove("groups")));

    forger.userinfo(json!({ "sub": "1", "groups": ["payments", "on-call"] }));
    assert_eq!(world.browser().sign_in_forged().await.location(), "/");
    let person: serde_json::Value =
        sqlx::query_scalar("select person from sessions").fetch_one(&world.app.db).await.unwrap();
    assert_eq!(person["groups"], json!(["on-call", "payments"]));

    // Userinfo about somebody else is not believed.
    forger.userinfo(json!({ "sub": "2", "groups": ["payments-managers"] }));
    assert_eq!(world.browser().sign_in_forged().await.status, 503);
    assert_eq!(sessions(&world).await, 1);

    // Absent everywhere is none.
    forger.userinfo(json!({ "sub": "1" }));
    assert_eq!(world.browser().sign_in_forged().await.location(), "/");
}

#[tokio::test]
async fn hostile_claims_end_at_the_door_with_the_claims_name() {
    let nobody = "\n[[people]]\nsub = \"none\"\nusername = \"\"\nname = \"Nobody\"\nemail = \"\"\ngroups = []\nsays = \"\"\n";
    let world = World::builder().people(nobody).start().await;
    for (username, claim, words) in
        [("mallory", "groups", "says “system:masters”"), ("", "preferred_username", "is empty")]
    {
        let browser = world.browser();
        let page = browser.sign_in(&world.people, username, "/").await;
        assert_eq!(page.status, 403, "{}", page.text);
        assert!(page.text.contains(&format!("The claim “{claim}” of your account {words}")), "{}", page.text);
        assert!(page.text.contains("Ask the people who run your identity provider"), "{}", page.text);
        assert!(!browser.cookies.lock().unwrap().contains_key("pilothouse"));
    }
    assert_eq!(sessions(&world).await, 0);

    let forger = Forger::start(true).await;
    let world = World::builder().issuer(&forger.issuer).start().await;
    for odd in [
        json!("system:admin"),
        json!("System:admin"),
        json!("may\na"),
        json!(7),
        json!(null),
        json!("ma\u{202e}ya"),
    ] {
        let shown = odd.to_string();
        forger.claim(move |claims| claims["preferred_username"] = odd.clone());
        assert_eq!(world.browser().sign_in_forged().await.status, 403, "{shown}");
    }
    assert_eq!(sessions(&world).await, 0);
}

#[tokio::test]
async fn nobody_is_sent_elsewhere_after_signing_in() {
    let world = World::new().await;
    for next in
        ["//evil.example", "/\\evil.example", "/%2fevil.example", "https://evil.example", "/\t/evil.example"]
    {
        let browser = world.browser();
        assert_eq!(browser.sign_in(&world.people, "maya", next).await.location(), "/", "{next}");
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        assert_eq!(browser.get(&format!("/sign-in?{query}")).await.location(), "/", "{next}");
        let page = world.browser().get(&format!("/sign-in?{query}")).await;
        assert!(!page.text.contains("evil"), "{next}: {}", page.text);
    }
}

#[tokio::test]
async fn a_session_ends_by_idleness_and_by_age_and_the_page_says_which() {
    let clock = Clock::fixed(Timestamp::now());
    let world = World::builder().clock(clock.clone()).start().await;
    let maya = world.as_("maya").await;
    let idle = world.as_("omar").await;

    for _ in 0..7 {
        clock.advance(SignedDuration::from_mins(100));
        assert!(is_signed_in(&maya).await); // every page counts
        wait_until_seen(&world, &clock).await;
    }
    let page = idle.get("/sign-in").await;
    assert!(page.text.contains("You were signed out after 2\u{a0}h without a page."), "{}", page.text);

    clock.advance(SignedDuration::from_mins(20));
    let page = maya.get("/sign-in?next=/services").await;
    assert!(
        page.text.contains("You were signed out after 12\u{a0}h. You go back to <b>/services</b>"),
        "{}",
        page.text
    );
}

/// `last_seen` is written beside the page, not before it.
async fn wait_until_seen(world: &World, clock: &Clock) {
    let now = jiff_sqlx::Timestamp::from(clock.now());
    until("last_seen is written", async || {
        let seen: bool =
            sqlx::query_scalar("select exists (select from sessions where last_seen >= $1 - interval '1 s')")
                .bind(now)
                .fetch_one(&world.app.db)
                .await
                .unwrap();
        seen.then_some(())
    })
    .await;
}

#[tokio::test]
async fn signing_out_ends_the_session_everywhere_it_is_known() {
    let world = World::new().await;
    let maya = world.as_("maya").await;
    let (_, elsewhere) = world.replica().await;
    let secret = maya.cookies.lock().unwrap().clone();
    *elsewhere.cookies.lock().unwrap() = secret.clone();
    world.hears(2).await;
    assert!(is_signed_in(&elsewhere).await);

    let page = maya.post("/sign-out", &[]).await;
    let to = page.location().to_string();
    assert!(to.starts_with(&format!("{}/end-session?", world.app.config.oidc.issuer.get_ref())), "{to}");
    assert!(to.contains("id_token_hint=ey") && to.contains("post_logout_redirect_uri="), "{to}");
    let back = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
        .get(&to)
        .send()
        .await
        .unwrap();
    assert_eq!(back.headers()["location"], format!("{}/signed-out", world.base));
    assert!(maya.get("/signed-out").await.text.contains("You are signed out"));

    assert!(!maya.cookies.lock().unwrap().contains_key("pilothouse"));
    *maya.cookies.lock().unwrap() = secret; // somebody kept it
    assert!(!is_signed_in(&maya).await);
    // Well under the two seconds for which it is remembered.
    let told = async || (!is_signed_in(&elsewhere).await).then_some(());
    within(Duration::from_secs(1), "the other replica is told", told).await;
}

#[tokio::test]
async fn signing_out_everywhere_ends_all_browsers_of_one_person() {
    let world = World::new().await;
    let (desk, phone, omar) = (world.as_("maya").await, world.as_("maya").await, world.as_("omar").await);
    desk.post("/sign-out", &[("everywhere", "yes")]).await;
    assert!(!is_signed_in(&phone).await);
    assert!(is_signed_in(&omar).await);
}

#[tokio::test]
async fn a_stream_ends_with_the_sign_in_that_opened_it() {
    let world = World::new().await;
    let (desk, phone) = (world.as_("maya").await, world.as_("maya").await);
    let is_there = async || (desk.get("/services/checkout-api").await.status == 200).then_some(());
    until("the catalogue", is_there).await;
    let stream = desk.open(desk.request(Method::GET, "/services/checkout-api/live")).await;
    assert_eq!(stream.status(), 200);

    phone.post("/sign-out", &[("everywhere", "yes")]).await;

    let ended = tokio::time::timeout(Duration::from_secs(5), stream.text()).await;
    assert!(ended.is_ok(), "the stream goes on for somebody who signed out");
}

#[tokio::test]
async fn a_form_from_elsewhere_does_nothing() {
    let world = World::new().await;
    let maya = world.as_("maya").await;
    let base = world.base.as_str();
    let refused: [&[(&str, &str)]; 8] = [
        &[],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site"), ("origin", base)],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1")],
        &[("referer", base)],
    ];
    for headers in refused {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let mut request = maya.request(method.clone(), "/sign-out");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let page = maya.send(request).await;
            assert_eq!(page.status, 403, "{method} {headers:?}");
            assert!(page.text.contains("nothing was done"), "{}", page.text);
        }
        assert!(is_signed_in(&maya).await, "{headers:?}");
    }
    let passes: [&[(&str, &str)]; 3] = [
        &[("origin", base)],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "same-origin"), ("origin", base)],
    ];
    for headers in passes {
        let maya = world.as_("maya").await;
        let mut request = maya
            .request(Method::POST, "/sign-out")
            .header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        assert_eq!(maya.send(request).await.status, 303, "{headers:?}");
        assert!(!is_signed_in(&maya).await, "{headers:?}");
    }
}

#[tokio::test]
async fn with_an_authorization_header_cookies_count_for_nothing() {
    let world = World::new().await;
    let maya = world.as_("maya").await;
    let page = maya.send(maya.request(Method::GET, "/sign-in").header("authorization", "Bearer any")).await;
    assert_eq!(page.status, 200);
}

#[tokio::test]
async fn every_response_carries_the_headers() {
    let world = World::new().await;
    let maya = world.as_("maya").await;
    let issuer = world.app.config.oidc.issuer.get_ref();
    let css = pilothouse::web::assets::url("css/portal.css");
    for path in [
        "/sign-in",
        "/healthz",
        "/readyz",
        "/metrics",
        "/nowhere",
        "/auth/callback?code=x&state=y",
        css.as_str(),
        "/static/x/y",
    ] {
        for browser in [&maya, &world.browser()] {
            let page = browser.get(path).await;
            let policy = page.header("content-security-policy");
            for part in [
                "default-src 'none'",
                "script-src 'self'",
                "base-uri 'none'",
                "object-src 'none'",
                "frame-ancestors 'none'",
            ] {
                assert!(policy.contains(part), "{path}: {policy}");
            }
            assert!(policy.contains(&format!("form-action 'self' {issuer};")), "{path}: {policy}");
            assert!(!policy.contains("unsafe"), "{path}: {policy}");
            assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(page.header("referrer-policy"), "same-origin", "{path}");
            assert_eq!(page.header("cross-origin-opener-policy"), "same-origin", "{path}");
            assert_eq!(page.header("cross-origin-resource-policy"), "same-origin", "{path}");
            assert!(page.header("permissions-policy").contains("camera=()"), "{path}");
            let kept = if path == css { "public, max-age=31536000, immutable" } else { "no-store" };
            assert_eq!(page.header("cache-control"), kept, "{path}");
            assert!(!page.header("x-request-id").is_empty(), "{path}");
        }
    }
}

#[tokio::test]
async fn the_portal_starts_without_its_provider_and_says_so() {
    let (listener, issuer) = listen().await;
    drop(listener);
    let world = World::builder().issuer(&issuer).start().await;
    let page = world.browser().get("/sign-in").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("The identity provider does not answer"), "{}", page.text);
    assert_eq!(world.browser().get("/sign-in/start").await.status, 503);
}

#[tokio::test]
async fn the_development_provider_and_the_configuration_must_agree() {
    let unwanted = World::builder().replace("development = true\n", "").start().await;
    let error = unwanted.app.provider.refuse_wrong_kind().await.to_string();
    assert!(error.contains("anybody can sign in as anybody"), "{error}");
    assert_eq!(unwanted.browser().get("/sign-in/start").await.status, 503);

    let company = Forger::start(false).await;
    let wrong = World::builder().issuer(&company.issuer).start().await;
    let error = wrong.app.provider.refuse_wrong_kind().await.to_string();
    assert!(error.contains("Remove oidc.development"), "{error}");
    assert_eq!(wrong.browser().get("/sign-in/start").await.status, 503);

    let right = World::builder().issuer(&company.issuer).replace("development = true\n", "").start().await;
    assert_eq!(right.browser().sign_in_forged().await.location(), "/");
    let waits = tokio::time::timeout(Duration::from_millis(200), right.app.provider.refuse_wrong_kind());
    assert!(waits.await.is_err(), "a provider of the right kind is not refused");
}

#[tokio::test]
async fn a_database_outage_is_a_503_and_not_a_sign_out() {
    let world = World::new().await;
    let maya = world.as_("maya").await;
    assert!(is_signed_in(&maya).await);
    world.database.go_away().await;
    // For at most two seconds she may still be remembered; after that the portal says that it can't know.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let page = maya.get("/sign-in").await;
    assert_eq!(page.status, 503);
    assert!(page.text.contains("You are still signed in"), "{}", page.text);
    assert!(!page.header("retry-after").is_empty());
    assert!(maya.cookies.lock().unwrap().contains_key("pilothouse"));
    world.database.come_back().await;
    assert!(is_signed_in(&maya).await);
}

#[tokio::test]
async fn too_many_sign_ins_from_one_address_are_refused() {
    let world = World::new().await;
    for _ in 0..60 {
        assert_eq!(world.browser().get("/sign-in/start").await.status, 303);
    }
    too_often(async || world.browser().get("/sign-in/start").await).await;
    assert_eq!(world.browser().get("/sign-in").await.status, 200);
}

#[tokio::test]
async fn the_figures_name_routes_not_paths() {
    let world = World::new().await;
    let maya = world.as_("maya").await;
    maya.get("/static/x/secret-path").await;
    let page = maya.get("/metrics").await;
    assert!(page.text.contains("pilothouse_sessions 1"), "{}", page.text);
    assert!(page.text.contains("route=\"/static/{version}/{*path}\",status=\"4xx\""), "{}", page.text);
    assert!(page.text.contains("pilothouse_http_request_duration_seconds_bucket"), "{}", page.text);
    assert!(page.text.contains("pilothouse_build_info{version=\""), "{}", page.text);
    assert!(page.text.contains("pilothouse_db_connections{state=\"idle\"}"), "{}", page.text);
    assert!(!page.text.contains("secret-path"), "{}", page.text);
}
