//! What every page shares: the frame, the home page, the palette, and what a person reads when something fails.

use reqwest::{Method, StatusCode};

use crate::support::{Browser, Page, World, until};

/// As htmx asks: for a part of the page it shows.
async fn htmx(browser: &Browser, base: &str, path: &str) -> Page {
    let request = browser.request(Method::GET, path);
    browser
        .send(
            request
                .header("hx-request", "true")
                .header("hx-current-url", format!("{base}/deploys?state=done")),
        )
        .await
}

#[tokio::test]
async fn a_failure_keeps_the_frame_and_names_the_request() {
    let world = World::new().await;
    let maya = world.as_("maya").await;

    let page = maya.get("/nothing/here").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text.contains("There is nothing here") && page.text.contains(r#"id="side""#));
    assert!(page.text.contains(page.header("x-request-id")), "{}", page.text);

    let page = world.browser().get("/nothing/here").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(!page.text.contains(r#"id="side""#) && page.text.contains("/sign-in"));
}

#[tokio::test]
async fn what_the_framework_refuses_is_said_in_a_sentence() {
    let world = World::new().await;
    let maya = world.as_("maya").await;
    let own = |method, path| {
        maya.request(method, path).header("sec-fetch-site", "same-origin").header("origin", &world.base)
    };

    let page = maya.send(own(Method::PUT, "/approvals")).await;
    assert_eq!(page.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(page.text.contains("It does not answer PUT requests."), "{}", page.text);

    let page = maya.get("/deploys/not-a-number").await;
    assert!(page.status.is_client_error() && page.text.contains(r#"id="side""#), "{}", page.text);

    let form = format!("reason={}", "x".repeat(300 * 1024));
    let kind = "application/x-www-form-urlencoded";
    let path = "/services/checkout-api/staging/deploy";
    let page = maya.send(own(Method::POST, path).header("content-type", kind).body(form)).await;
    assert!(page.status.is_client_error() && page.text.contains(r#"id="side""#), "{}", page.text);
}

#[tokio::test]
async fn htmx_gets_a_toast_and_the_page_stays() {
    let world = World::new().await;
    let maya = world.as_("maya").await;

    let part = htmx(&maya, &world.base, "/deploys/999999").await;
    assert_eq!((part.status, part.header("hx-reswap")), (StatusCode::NOT_FOUND, "none"));
    assert!(part.text.starts_with("<hx-partial") && part.text.contains(part.header("x-request-id")));

    let part = htmx(&world.browser(), &world.base, "/deploys").await;
    assert_eq!(part.status, StatusCode::UNAUTHORIZED);
    assert_eq!(part.header("hx-redirect"), "/sign-in?next=%2Fdeploys%3Fstate%3Ddone");
}

#[tokio::test]
async fn without_its_database_the_portal_says_so_in_the_frame() {
    let world = World::new().await;
    let maya = world.as_("maya").await;
    maya.get("/services").await;
    world.database.go_away().await;

    let page = maya.get("/deploys").await;

    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{}", page.text);
    assert!(page.text.contains("can’t reach its database") && !page.header("retry-after").is_empty());
    world.database.come_back().await;
}

#[tokio::test]
async fn home_greets_and_shows_the_services_of_ones_teams() {
    let world = World::new().await;
    let maya = world.as_("maya").await;
    // The frame is drawn before the page, so the import may come between the two: it is the frame that is waited for.
    let page = until_imported(&maya, "/", r#"<a href="/services?team=payments">"#).await;
    assert!(page.text.contains(", Maya</h1>"));
    assert!(page.text.contains(r#"<a class="name" href="/services/checkout-api">"#));
    assert!(!page.text.contains("/services/storefront-web"), "another team's service");
    assert!(!page.text.contains(r#"href="/audit""#), "the audit trail is the platform team's");
}

#[tokio::test]
async fn the_palette_finds_services_actions_and_pages() {
    let world = World::new().await;
    let petra = world.as_("petra").await;
    until_imported(&petra, "/services", "checkout-api").await;

    let found = htmx(&petra, &world.base, "/search?q=roll+back+chekout").await;
    assert!(found.text.contains(r#"data-href="/services/checkout-api""#), "{}", found.text);
    assert!(
        found.text.contains(r#"data-href="/services/checkout-api/production/rollback""#),
        "{}",
        found.text
    );
    let found = htmx(&petra, &world.base, "/search?q=audit").await;
    assert!(found.text.contains(r#"data-href="/audit""#));

    let page = petra.get("/search?q=ledger").await;
    assert_eq!(page.location(), "/services?q=ledger");
}

/// The import takes a moment after the start.
async fn until_imported(browser: &Browser, path: &str, text: &str) -> Page {
    until(text, async || Some(browser.get(path).await).filter(|page| page.text.contains(text))).await
}
