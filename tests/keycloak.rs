//! The portal with a real identity provider: Keycloak, its login form, its keys and its administrator.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use pilothouse::auth::{KubeIdentity, Person};
use pilothouse::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};

use crate::program_sign_in::{begin, poll};
use crate::support::keycloak::{self, Front, Realm, TwoSites};
use crate::support::{Browser, World, until, within};

/// What "within seconds" means here.
const SECONDS: Duration = Duration::from_secs(5);

async fn is_signed_in(browser: &TwoSites) -> bool {
    browser.portal.get("/sign-in").await.status == 303
}

async fn works(program: &Browser) -> bool {
    program.get("/api/v1/whoami").await.status == 200
}

/// The command, let in by a code that the person in this browser typed.
async fn command(world: &World, browser: &TwoSites) -> Browser {
    let program = world.browser();
    let code = begin(&program).await;
    assert_eq!(poll(&program, &code).await.1["error"], "authorization_pending");
    let form = [("user_code", code["user_code"].as_str().unwrap()), ("decision", "allow")];
    let page = browser.portal.post("/device", &form).await;
    assert!(page.text.contains("It is signed in"), "{}", page.text);
    let (status, token) = poll(&program, &code).await;
    assert_eq!(status, 200, "{token}");
    program.with_token(token["access_token"].as_str().unwrap())
}

/// Waits for something that has to come within seconds, and says how long it took.
async fn measured(what: &str, look: impl AsyncFn() -> bool) {
    let began = Instant::now();
    within(SECONDS, what, async || look().await.then_some(())).await;
    // Past the capture of a test that passes, so that the figure stands in the log of every run.
    let _ = writeln!(std::io::stderr(), "ended at the provider, {what}: {} ms", began.elapsed().as_millis());
}

#[tokio::test]
async fn somebody_signs_in_by_keycloaks_form_and_is_known_to_the_cluster() {
    let (world, realm) = Realm::with_portal().await;
    let maya = realm.browser(&world);
    let form = maya.at_keycloak().await;
    assert!(form.text.contains("kc-form-login"), "{}", form.text);

    assert_eq!(maya.sign_in("maya").await.location(), "/");

    let row: (Value, Option<String>) =
        sqlx::query_as("select person, provider_sid from sessions").fetch_one(&world.app.db).await.unwrap();
    let person: Person = serde_json::from_value(row.0).unwrap();
    assert_eq!(person.identity.issuer, world.app.config.oidc.issuer.get_ref().as_str());
    assert_eq!((person.username.as_str(), person.name.as_str()), ("maya", "Maya Okafor"));
    let known = KubeIdentity::new(&person, "oidc:").unwrap();
    let known = format!("{known:?}");
    assert!(known.contains("oidc:payments") && known.contains("oidc:engineering"), "{known}");
    assert_eq!(realm.sessions("maya").await, [row.1.unwrap()], "the session is known by Keycloak's own id");
    // And the cluster agrees: she may look at what payments runs.
    let seen = async || {
        let page = maya.portal.get("/api/v1/services/checkout-api/environments/staging").await;
        (page.status == 200).then_some(())
    };
    until("her service in her namespace", seen).await;

    // Whoever is in no group is let in, and sees what everybody sees.
    let noor = realm.signed_in(&world, "noor").await;
    assert_eq!(noor.portal.get("/services").await.status, 200);
    // A wrong password is Keycloak's to refuse.
    let form = realm.browser(&world);
    let page = form.at_keycloak().await;
    let (_, rest) = page.text.split_once("action=\"").unwrap();
    let action = rest.split('"').next().unwrap().replace("&amp;", "&");
    let wrong = [("username", "maya"), ("password", "guessed"), ("credentialId", "")];
    let page = form.keycloak.post(form.keycloak.path_of(&action), &wrong).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains("Invalid username or password"), "{}", page.text);
}

#[tokio::test]
async fn signing_out_of_the_portal_signs_out_of_keycloak() {
    let (world, realm) = Realm::with_portal().await;
    let maya = realm.signed_in(&world, "maya").await;
    // While her session there lives, she is not asked again.
    let again = maya.at_keycloak().await;
    assert_eq!(maya.portal.get(maya.portal.path_of(again.location())).await.location(), "/");
    let command = command(&world, &maya).await;

    let out = maya.portal.post("/sign-out", &[]).await;
    let back = maya.keycloak.get(maya.keycloak.path_of(out.location())).await;

    assert_eq!(back.location(), format!("{}/signed-out", world.base));
    assert!(!is_signed_in(&maya).await);
    assert_eq!(realm.sessions("maya").await, Vec::<String>::new());
    assert!(maya.at_keycloak().await.text.contains("kc-form-login"), "the form again");
    measured("the command, after a sign-out in the browser", async || !works(&command).await).await;
}

#[tokio::test]
async fn what_came_from_a_session_ends_within_seconds_of_it() {
    let (world, realm) = Realm::with_portal().await;
    let (desk, phone) = (realm.signed_in(&world, "maya").await, realm.signed_in(&world, "maya").await);
    let (of_desk, of_phone) = (command(&world, &desk).await, command(&world, &phone).await);
    assert!(works(&of_desk).await && works(&of_phone).await);
    let (_, elsewhere) = world.replica().await;
    *elsewhere.cookies.lock().unwrap() = desk.portal.cookies.lock().unwrap().clone();
    let is_there = async || (elsewhere.get("/services/checkout-api").await.status == 200).then_some(());
    until("the catalogue", is_there).await;
    let stream = elsewhere.open(elsewhere.request(Method::GET, "/services/checkout-api/live")).await;
    assert_eq!(stream.status(), 200);
    let stream = tokio::spawn(stream.text());
    let desks: String = sqlx::query_scalar("select provider_sid from sessions order by created limit 1")
        .fetch_one(&world.app.db)
        .await
        .unwrap();

    realm.end_session(&desks).await;

    measured("the browser", async || !is_signed_in(&desk).await).await;
    measured("the command", async || !works(&of_desk).await).await;
    measured("the browser at another replica", async || elsewhere.get("/sign-in").await.status == 200).await;
    measured("the open stream", async || stream.is_finished()).await;
    assert!(is_signed_in(&phone).await && works(&of_phone).await, "another session goes on");

    realm.sign_out("maya").await;

    measured("the other browser, with everything", async || !is_signed_in(&phone).await).await;
    measured("the other command, with everything", async || !works(&of_phone).await).await;
    let trail: i64 =
        sqlx::query_scalar("select count(*) from audit where action = 'session.end_by_provider'")
            .fetch_one(&world.app.db)
            .await
            .unwrap();
    assert_eq!(trail, 2);
}

#[tokio::test]
async fn the_command_signs_in_by_a_code_with_keycloak_behind_the_portal() {
    let (world, realm) = Realm::with_portal().await;
    let program = world.browser();
    let code = begin(&program).await;
    // Whoever follows the address is sent to Keycloak first, and comes back to it.
    let omar = realm.browser(&world);
    let complete = code["verification_uri_complete"].as_str().unwrap();
    let page = omar.portal.get(omar.portal.path_of(complete)).await;
    assert!(page.location().starts_with("/sign-in?next=%2Fdevice"), "{}", page.location());
    assert_eq!(omar.sign_in("omar").await.location(), "/");
    let page = omar.portal.get(omar.portal.path_of(complete)).await;
    assert!(page.text.contains("platform on maya&#39;s laptop"), "{}", page.text);

    let command = command(&world, &omar).await;

    let me: Value = serde_json::from_str(&command.get("/api/v1/whoami").await.text).unwrap();
    assert_eq!((&me["username"], &me["name"]), (&json!("omar"), &json!("Omar Haddad")));
    assert_eq!(me["groups"], json!(["engineering", "payments", "payments-managers"]));
}

#[tokio::test]
async fn while_keycloak_is_away_sessions_live_and_nobody_signs_in() {
    let mut front = Front::open().await;
    let (world, realm) = Realm::with_portal_at(&front.at, Clock::System).await;
    let maya = realm.signed_in(&world, "maya").await;
    let command = command(&world, &maya).await;
    // Somebody stands at Keycloak's form as it goes away.
    let omar = realm.browser(&world);
    let form = omar.portal.get("/sign-in/start").await;
    assert!(form.location().starts_with(&front.at), "{}", form.location());

    front.close();

    // For as long as the portal believes that it was there lately.
    let says_so = async || {
        let page = world.browser().get("/sign-in").await;
        page.text.contains("The identity provider does not answer").then_some(())
    };
    until("the sign-in page says so", says_so).await;
    let page = world.browser().get("/sign-in/start").await;
    assert_eq!(page.status, 503);
    assert!(page.text.contains("Whoever is signed in stays so"), "{}", page.text);
    assert!(is_signed_in(&maya).await && works(&command).await);
    assert_eq!(maya.portal.get("/services").await.status, 200);
    // Signing out works as well, here at least.
    let out = maya.portal.post("/sign-out", &[]).await;
    assert!(out.location().starts_with(&front.at), "{}", out.location());

    front.open_again().await;

    let works = async || (world.browser().get("/sign-in/start").await.status == 303).then_some(());
    until("sign-in works again", works).await;
    realm.signed_in(&world, "omar").await;
}

#[tokio::test]
async fn a_new_key_at_keycloak_disturbs_nobody() {
    let (world, realm) = Realm::with_portal().await;
    let maya = realm.signed_in(&world, "maya").await;

    realm.rotate_keys().await;

    assert!(is_signed_in(&maya).await);
    realm.signed_in(&world, "omar").await;
    let keys = sqlx::query_scalar::<_, String>("select id_token from sessions").fetch_all(&world.app.db);
    let keys: BTreeSet<_> =
        keys.await.unwrap().iter().map(|token| token.split('.').next().unwrap().to_string()).collect();
    assert_eq!(keys.len(), 2, "each is signed with its own key");
    // Logout tokens are signed with the new one, too.
    realm.sign_out("maya").await;
    measured("the browser from before", async || !is_signed_in(&maya).await).await;
}

#[tokio::test]
async fn clocks_may_differ_by_half_a_minute() {
    // Keycloak's ID tokens live for five minutes.
    for (portal_is_ahead, lets_in) in
        [(20, true), (-20, true), (300 + 10, true), (300 + 40, false), (-45, false)]
    {
        let now = Timestamp::now() + SignedDuration::from_secs(portal_is_ahead);
        let clock = Clock::fixed(now);
        let (world, realm) = Realm::with_portal_at(&keycloak::address(), clock.clone()).await;
        let browser = realm.browser(&world);
        // Making the realm took a while, in which a fixed clock stood still.
        clock.advance(
            (Timestamp::now() + SignedDuration::from_secs(portal_is_ahead)).duration_since(clock.now()),
        );
        let page = browser.sign_in("maya").await;
        let expected = if lets_in { 303 } else { 403 };
        assert_eq!(page.status, expected, "{portal_is_ahead} s ahead: {}", page.text);
    }
}
