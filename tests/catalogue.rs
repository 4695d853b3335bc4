//! The catalogue: importing files, the list, the pages of services and other entities.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pilothouse::catalogue::{self, Report, Request};
use pilothouse::db;
use sqlx::PgPool;

use crate::support::{Browser, Database, Page, World, until};

/// A folder of its own, gone when the test is over.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("pilothouse-{}", uuid::Uuid::now_v7().simple()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn pool(database: &Database) -> PgPool {
    db::connect(&database.url().into(), 4).await.unwrap()
}

async fn import(db: &PgPool, paths: &[&Path]) -> Report {
    let request = Request {
        paths: paths.iter().map(|path| path.to_path_buf()).collect(),
        by_hand: false,
        environments: vec!["staging".into(), "production".into()],
    };
    catalogue::import(db, request, None).await.unwrap().unwrap()
}

fn component(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\n\
         spec: {{type: service, lifecycle: production, owner: payments{more}}}\n"
    )
}

const TEAM: &str = "---\napiVersion: backstage.io/v1alpha1\nkind: Group\nmetadata: {name: payments}\n\
                    spec: {type: team, children: [], profile: {displayName: Payments}}\n";

/// Who is stored, with the transaction that wrote each row.
async fn rows(db: &PgPool) -> Vec<(String, String)> {
    sqlx::query_as("select kind || ' ' || name, xmin::text from entities order by 1")
        .fetch_all(db)
        .await
        .unwrap()
}

async fn names(db: &PgPool) -> Vec<String> {
    rows(db).await.into_iter().map(|(name, _)| name).collect()
}

fn told(report: &Report, files: &Files) -> Vec<String> {
    let folder = format!("{}/", files.0.display());
    report.problems.iter().map(|problem| problem.to_string().replace(&folder, "")).collect()
}

#[tokio::test]
async fn the_sample_world_has_no_mistake() {
    let database = Database::new().await;
    let db = pool(&database).await;
    let report = import(&db, &[Path::new("demo/catalogue")]).await;
    let told: Vec<_> = report.problems.iter().map(ToString::to_string).collect();
    assert_eq!(told, [""; 0]);
    let catalogue = catalogue::load(&db).await.unwrap();
    assert_eq!(catalogue.services().len(), 40);
    let checkout = catalogue.service("checkout-api").unwrap();
    assert_eq!((checkout.team.as_str(), checkout.tier, checkout.links.len()), ("payments", Some(0), 3));
    assert!(checkout.depends_on.contains(&"ledger".to_string()));
    assert!(catalogue.service("ledger").unwrap().used_by.contains(&"checkout-api".to_string()));
    assert_eq!(catalogue.service("invoices").unwrap().run.as_ref().unwrap().port, 8080);
    assert!(catalogue.has_team("payments"));
}

#[tokio::test]
async fn importing_twice_changes_nothing() {
    let database = Database::new().await;
    let db = pool(&database).await;
    let files = Files::new();
    files
        .write("catalog-info.yaml", &format!("{TEAM}{}{}", component("a", ""), component("b", ", owner: [")));
    let first = import(&db, &[&files.0]).await;
    assert_eq!((first.written, first.problems.len()), (2, 1));
    let (before, problems) = (rows(&db).await, problem_rows(&db).await);

    let second = import(&db, &[&files.0]).await;

    assert_eq!((second.written, second.deleted), (0, 0));
    assert_eq!(rows(&db).await, before, "same rows, written by the same transaction");
    assert_eq!(problem_rows(&db).await, problems);
}

async fn problem_rows(db: &PgPool) -> Vec<(String, String)> {
    sqlx::query_as("select source || line, xmin::text from import_problems order by 1")
        .fetch_all(db)
        .await
        .unwrap()
}

#[tokio::test]
async fn only_what_changed_is_written_and_what_vanished_is_deleted() {
    let database = Database::new().await;
    let db = pool(&database).await;
    let files = Files::new();
    files.write("org.yaml", TEAM);
    files.write("a/catalog-info.yaml", &component("a", ""));
    files.write("b/catalog-info.yaml", &component("b", ""));
    import(&db, &[&files.0]).await;
    let before = rows(&db).await;

    files.write("a/catalog-info.yaml", &component("a", ", system: shop"));
    fs::remove_file(files.0.join("b/catalog-info.yaml")).unwrap();
    files.write("c/catalog-info.yaml", &component("c", ""));
    let report = import(&db, &[&files.0]).await;

    assert_eq!((report.written, report.deleted), (2, 1));
    assert_eq!(names(&db).await, ["Component a", "Component c", "Group payments"]);
    let after = rows(&db).await;
    assert_eq!(before.last(), after.last(), "the team was left alone");
    let references: Vec<String> =
        sqlx::query_scalar("select target from entity_references order by 1").fetch_all(&db).await.unwrap();
    assert_eq!(references, ["group:default/payments", "group:default/payments", "system:default/shop"]);
}

#[tokio::test]
async fn mistakes_are_told_and_the_rest_is_imported() {
    let database = Database::new().await;
    let db = pool(&database).await;
    let files = Files::new();
    files.write(
        "catalog-info.yaml",
        &format!("{TEAM}{}---\nkind: [\n{}", component("a", ""), component("b c", "")),
    );
    files.write("twice.yaml", &component("A", ""));
    files.write("far.yaml", &component("far", ", dependsOn: ['component:aa']"));
    let report = import(&db, &[&files.0]).await;
    assert_eq!(names(&db).await, ["Component a", "Component far", "Group payments"]);
    let told = told(&report, &files);
    assert_eq!(told.len(), 4, "{told:#?}");
    assert!(told[0].starts_with("catalog-info.yaml:12:7: is not YAML here: "), "{told:#?}");
    assert!(
        told[1].starts_with("catalog-info.yaml:16:18: metadata.name \"b c\" is not a name\n    Use "),
        "{told:#?}"
    );
    assert!(
        told[2]
            .starts_with("far.yaml:5:75: warning: spec.dependsOn names component:default/aa, which is not"),
        "{told:#?}"
    );
    assert!(
        told[3].starts_with(
            "twice.yaml:2:1: component:default/a is described twice, first in catalog-info.yaml:7"
        ),
        "{told:#?}"
    );
}

#[tokio::test]
async fn what_cannot_be_read_keeps_what_was_there() {
    let database = Database::new().await;
    let db = pool(&database).await;
    let files = Files::new();
    let a =
        files.write("a/catalog-info.yaml", &format!("{TEAM}{}{}", component("a", ""), component("b", "")));
    import(&db, &[&files.0]).await;
    let before = rows(&db).await;

    for broken in [&b"\xff\xfe"[..], b"kind: [", &[b' '; 33 * 1024 * 1024]] {
        fs::write(&a, broken).unwrap();
        let report = import(&db, &[&files.0]).await;
        assert_eq!(
            (report.problems.len(), report.written, report.deleted),
            (1, 0, 0),
            "{:?}",
            told(&report, &files)
        );
        assert_eq!(rows(&db).await, before);
    }
    fs::rename(&files.0, files.0.with_extension("gone")).unwrap();
    let report = import(&db, &[&files.0]).await;
    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].to_string().contains("cannot be read"), "{}", report.problems[0]);
    assert_eq!(rows(&db).await, before);

    fs::rename(files.0.with_extension("gone"), &files.0).unwrap();
    fs::write(&a, TEAM).unwrap();
    assert_eq!(import(&db, &[&files.0]).await.deleted, 2);
}

#[tokio::test]
async fn paths_that_are_no_longer_configured_are_forgotten_but_those_by_hand_stay() {
    let database = Database::new().await;
    let db = pool(&database).await;
    let (one, two, hand) = (Files::new(), Files::new(), Files::new());
    one.write("catalog-info.yaml", &format!("{TEAM}{}", component("a", "")));
    two.write("catalog-info.yaml", &component("b", ""));
    let by_hand = hand.write("catalog-info.yaml", &format!("{}{}", component("c", ""), component("a", "")));
    import(&db, &[&one.0, &two.0]).await;
    let request = Request { paths: vec![by_hand], by_hand: true, environments: Vec::new() };
    let report = catalogue::import(&db, request, None).await.unwrap().unwrap();
    assert_eq!((report.written, report.problems.len()), (1, 1), "a is taken");

    import(&db, &[&one.0]).await;

    assert_eq!(names(&db).await, ["Component a", "Component c", "Group payments"]);
}

#[tokio::test]
async fn ten_thousand_entities_are_imported_and_searched() {
    let database = Database::new().await;
    let db = pool(&database).await;
    let files = Files::new();
    files.write("org.yaml", TEAM);
    for team in 0..100 {
        let text: String = (0..100).map(|n| component(&format!("service-{team}-{n}"), "")).collect();
        files.write(&format!("{team}/catalog-info.yaml"), &text);
    }
    let start = Instant::now();
    let report = import(&db, &[&files.0]).await;
    println!("10 001 entities imported in {:?}", start.elapsed());
    assert_eq!((report.written, report.problems.len()), (10_001, 0));
    let start = Instant::now();
    let again = import(&db, &[&files.0]).await;
    println!("and again in {:?}", start.elapsed());
    assert_eq!((again.written, again.deleted), (0, 0));
    let start = Instant::now();
    let catalogue = catalogue::load(&db).await.unwrap();
    println!("loaded in {:?}", start.elapsed());
    assert_eq!(catalogue.search("service-42-17")[0].name, "service-42-17");
}

#[tokio::test]
async fn every_replica_loads_what_any_of_them_imports_even_after_the_database_was_away() {
    let world = World::new().await;
    world.has_read("checkout-api").await;
    world.database.go_away().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        world.app.catalogue.load().service("ledger").is_some(),
        "the last known catalogue is still there"
    );
    world.database.come_back().await;
    store_by_hand(&world, &component("newcomer", "")).await;
    world.has_read("newcomer").await;
}

#[tokio::test]
async fn who_imported_a_service_opens_its_page_at_once() {
    let world = World::new().await;
    world.has_read("checkout-api").await;
    let maya = world.as_("maya").await;
    let omar = crate::api::program(&world, "omar", &["read"]).await;
    let nina = crate::api::program(&world, "nina", &["read"]).await;
    for round in 0..3 {
        for (n, (who, list, of_a_service)) in [
            (&maya, "/services", "/services/{name}"),
            (&omar, "/api/v1/services", "/api/v1/services/{name}"),
            (&nina, "/api/v1/services", "/api/v1/services/{name}/environments/staging"),
        ]
        .into_iter()
        .enumerate()
        {
            // What is remembered of their last look does not know it.
            assert_eq!(who.get(list).await.status, 200);
            let name = format!("newcomer-{round}-{n}");
            store_by_hand(&world, &component(&name, "")).await;
            world.has_read(&name).await;
            let page = who.get(&of_a_service.replace("{name}", &name)).await;
            assert_eq!(page.status, 200, "{name}: {}", page.text);
        }
    }
}

async fn store_by_hand(world: &World, text: &str) {
    let files = Files::new();
    let path = files.write("catalog-info.yaml", text);
    let db = pool(&world.database).await;
    let request = Request { paths: vec![path], by_hand: true, environments: Vec::new() };
    catalogue::import(&db, request, None).await.unwrap();
}

/// Imports by hand into a world, and waits until its portal shows it.
async fn import_by_hand(world: &World, text: &str, newcomer: &str) {
    store_by_hand(world, text).await;
    let browser = world.as_("maya").await;
    until("the newcomer is listed", async || {
        let page = browser.get(&format!("/services?q={newcomer}")).await;
        page.text.contains(&format!("id=\"s-{newcomer}\"")).then_some(())
    })
    .await;
}

/// Names of the rows, in order.
fn listed(page: &Page) -> Vec<String> {
    let rows = page.text.split("<tr id=\"s-").skip(1);
    rows.map(|row| row.split('"').next().unwrap().to_string()).collect()
}

/// The row of a service, as text between its tags.
fn row<'a>(page: &'a Page, service: &str) -> &'a str {
    let (_, rest) = page.text.split_once(&format!("<tr id=\"s-{service}\"")).unwrap();
    rest.split_once("</tr>").unwrap().0
}

/// Until the portal knows what runs in the cluster.
async fn watching(world: &World) -> Browser {
    world.has_read("checkout-api").await;
    let maya = world.as_("maya").await;
    until("it is known what runs (by demo/apply)", async || {
        let page = maya.get("/services").await;
        let listed = page.text.contains("<tr id=\"s-checkout-api\"");
        (listed && row(&page, "checkout-api").contains("<code")).then_some(())
    })
    .await;
    maya
}

#[tokio::test]
async fn the_list_is_searched_filtered_sorted_and_paged_by_its_address() {
    let world = World::new().await;
    world.has_read("checkout-api").await;
    let many: String = (100..160).map(|n| component(&format!("zone-{n}"), "")).collect();
    import_by_hand(&world, &many, "zone-159").await;
    let maya = world.as_("maya").await;

    let page = maya.get("/services").await;
    assert_eq!(listed(&page).len(), 50);
    assert!(page.text.contains("100 services run by 4 teams."), "{}", page.text);
    assert!(page.text.contains("1 to 50 of 100") && page.text.contains("href=\"/services?page=2\""));
    let page = maya.get("/services?sort=name&page=2").await;
    assert_eq!(listed(&page).last().unwrap(), "zone-159");

    assert_eq!(listed(&maya.get("/services?q=legder").await)[0], "ledger");
    assert_eq!(listed(&maya.get("/services?q=checkout").await)[0], "checkout-api");
    let page = maya.get("/services?team=payments&team=storefront&tier=0").await;
    assert!(
        listed(&page).contains(&"checkout-api".to_string()) && !listed(&page).contains(&"tax".to_string())
    );
    assert!(page.text.contains("value=\"payments\" checked"));
    assert_eq!(listed(&maya.get("/services?lifecycle=deprecated&q=voucher").await), ["vouchers"]);
    assert_eq!(page.header("hx-replace-url"), "/services?team=payments&team=storefront&tier=0");

    let page = maya.get("/services?q=zzzzzzz&kind=service").await;
    assert!(page.text.contains("No service matches") && page.text.contains("Clear filters"));
    assert_eq!(maya.get("/services?page=99&tier=nonsense&sort=%00&team=%ff").await.status, 200);
}

#[tokio::test]
async fn the_list_shows_what_runs_to_whoever_may_look() {
    let world = World::new().await;
    let maya = watching(&world).await;
    let page = maya.get("/services").await;
    let checkout = row(&page, "checkout-api");
    assert!(
        checkout.contains("aria-label=\"Healthy\"") || checkout.contains("aria-label=\"Rolling out\""),
        "{checkout}"
    );
    assert!(row(&page, "pricing").contains("2 match"), "{}", row(&page, "pricing"));
    assert!(row(&page, "tax").contains("not deployed"));

    let noor = world.as_("noor").await;
    let page = noor.get("/services").await;
    assert!(!row(&page, "checkout-api").contains("<code"), "{}", row(&page, "checkout-api"));
    assert!(row(&page, "checkout-api").contains("nothing that you may see"));
}

#[tokio::test]
async fn a_service_page_says_what_it_is_what_runs_and_what_you_may_do() {
    let world = World::new().await;
    let maya = watching(&world).await;
    let page = maya.get("/services/checkout-api").await;
    for part in [
        "Basket to paid order",
        "panel-production",
        "panel-staging",
        "pods ready",
        "Tier 0, customer critical",
        "/services/checkout-api/staging/deploy",
        "/catalogue/resource/default/orders-db",
        "/services/ledger",
        "https://runbooks.acme.example/payments/checkout-api",
        "/catalogue/api/default/order-events",
    ] {
        assert!(page.text.contains(part), "{part} is missing: {}", page.text);
    }
    let page = maya.get("/services/pricing").await;
    assert!(
        page.text.contains("2 Deployments match") && page.text.contains("kubernetes-id"),
        "{}",
        page.text
    );
    // Another team's: she may look, and reads why she may not change it.
    let page = maya.get("/services/shipping-rates").await;
    assert!(
        page.text.contains("You can’t change anything here") && page.text.contains("aria-disabled=\"true\"")
    );

    let page = world.as_("noor").await.get("/services/checkout-api").await;
    assert!(page.text.contains("You can’t see what runs here"), "{}", page.text);
    assert!(!page.text.contains("pods ready") && !page.text.contains("/staging/deploy"), "{}", page.text);

    let page = maya.get("/services/chekout-api").await;
    assert_eq!(page.status, 404);
    assert!(page.text.contains("checkout-api"), "{}", page.text);
}

#[tokio::test]
async fn what_waits_and_what_happened_stand_on_the_page() {
    let world = World::new().await;
    let maya = watching(&world).await;
    let change = r#"{"kind": "deploy", "version": "v9.9.9", "reference": "r:v9.9.9", "digest": null, "workload": "checkout-api",
                     "images": {}, "replaces": {}, "replaces_version": "v1.0.0", "objects": []}"#;
    for (state, environment, ended) in [
        (r#"{"state": "succeeded"}"#, "staging", true),
        (r#"{"state": "awaiting_approval", "expires": "2030-01-01T18:02:00Z"}"#, "production", false),
    ] {
        sqlx::query(
            "insert into deploys (service, team, environment, cluster, namespace, action, requester, policy, digest,
                                  state, detail, requested, ended)
             values ('checkout-api', 'payments', $1, 'dev', 'payments-' || $1, $2::jsonb,
                     '{\"name\": \"Maya Okafor\", \"identity\": {\"issuer\": \"i\", \"subject\": \"s\"}}',
                     '{\"production\": true, \"approvals\": 2, \"approvers\": []}', 'sha256:x',
                     $3::jsonb ->> 'state', $3::jsonb, now() - interval '4 min', case when $4 then now() end)",
        )
        .bind(environment)
        .bind(change)
        .bind(state)
        .bind(ended)
        .execute(&world.app.db)
        .await
        .unwrap();
    }
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let page = maya.get("/services/checkout-api").await;
    for part in [
        "v9.9.9 waits for approval to production.",
        "0 of 2 approvals, expires 18:02.",
        "Maya Okafor deployed ",
        "Deploys<span class=\"n\">2</span>",
    ] {
        assert!(page.text.contains(part), "{part} is missing: {}", page.text);
    }
    assert!(maya.get("/services/checkout-api/deploys").await.text.contains("asked for by Maya Okafor"));
    assert!(row(&maya.get("/services").await, "checkout-api").contains("Awaiting approval"));
    let noor = world.as_("noor").await;
    assert!(!noor.get("/services/checkout-api").await.text.contains("v9.9.9"));
    assert!(!noor.get("/services/checkout-api/deploys").await.text.contains("v9.9.9"));
    assert!(!noor.get("/services").await.text.contains("Awaiting approval"));
}

#[tokio::test]
async fn the_stream_draws_the_panels() {
    let world = World::new().await;
    let maya = watching(&world).await;
    let cookies: Vec<String> =
        maya.cookies.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = maya.request(reqwest::Method::GET, "/services/checkout-api/live");
    let mut answer = request.header("cookie", cookies.join("; ")).send().await.unwrap();
    let mut text = String::new();
    while !text.contains("\n\n") {
        let part =
            tokio::time::timeout(Duration::from_secs(10), answer.chunk()).await.unwrap().unwrap().unwrap();
        text.push_str(std::str::from_utf8(&part).unwrap());
    }
    assert!(text.contains("<hx-partial hx-target=\"#now\" hx-swap=\"outerMorph\">"), "{text}");
    assert!(text.contains("panel-production") && text.contains("id: "), "{text}");
}

#[tokio::test]
async fn problems_are_shown_to_the_platform_team_alone() {
    let world = World::new().await;
    world.has_read("checkout-api").await;
    let broken = format!("{}---\nkind: [\n", component("<b>bold", "").replace("<b>bold", "newcomer"));
    import_by_hand(&world, &broken, "newcomer").await;
    let petra = world.as_("petra").await;
    let page = petra.get("/catalogue/problems").await;
    assert!(
        page.text.contains("catalog-info.yaml:7:7") && page.text.contains("is not YAML here"),
        "{}",
        page.text
    );
    assert!(petra.get("/services").await.text.contains("href=\"/catalogue/problems\""));
    let maya = world.as_("maya").await;
    assert_eq!(maya.get("/catalogue/problems").await.status, 404);
    assert!(!maya.get("/services").await.text.contains("/catalogue/problems"));
}

#[tokio::test]
async fn hostile_text_is_shown_as_text() {
    let world = World::new().await;
    world.has_read("checkout-api").await;
    let hostile = "---\napiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: hostile\n  \
                   title: \"<script>alert(1)</script>\"\n  description: \"<img src=x onerror=alert(2)> {{ 7*7 }}\"\n\
                   spec: {type: \"<b>\", lifecycle: \"'\\\"\", owner: payments}\n";
    import_by_hand(&world, hostile, "hostile").await;
    let maya = world.as_("maya").await;
    for path in ["/services?q=hostile", "/services/hostile", "/services?q=%3Cscript%3E"] {
        let page = maya.get(path).await;
        assert_eq!(page.status, 200);
        assert!(
            !page.text.contains("<script>alert") && !page.text.contains("<img src=x"),
            "{path}: {}",
            page.text
        );
    }
}

#[tokio::test]
async fn other_entities_have_a_page_with_their_relations() {
    let world = World::new().await;
    world.has_read("checkout-api").await;
    let maya = world.as_("maya").await;
    let page = maya.get("/catalogue/API/default/checkout").await;
    for part in [
        "Place and pay an order",
        "checkout-api",
        "Provides",
        "/catalogue/group/default/payments",
        "openapi: 3.1.0",
    ] {
        assert!(page.text.contains(part), "{part} is missing: {}", page.text);
    }
    assert!(maya.get("/catalogue/resource/default/orders-db").await.text.contains("Depends on"));
    assert_eq!(maya.get("/catalogue/component/default/ledger").await.location(), "/services/ledger");
    assert_eq!(maya.get("/catalogue/api/default/nothing").await.status, 404);
}
