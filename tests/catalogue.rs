//! The catalogue: importing files, the list, the pages of services and other entities.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pilothouse::catalogue::{self, Report, Request};
use pilothouse::db;
use sqlx::PgPool;

use crate::support::{Database, World};

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

/// Until the portal of this world has imported and loaded the sample catalogue.
async fn loaded(world: &World) {
    for _ in 0..100 {
        if world.app.catalogue.load().service("checkout-api").is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the catalogue was not loaded");
}

#[tokio::test]
async fn every_replica_loads_what_any_of_them_imports_even_after_the_database_was_away() {
    let world = World::new().await;
    loaded(&world).await;
    world.database.go_away().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        world.app.catalogue.load().service("ledger").is_some(),
        "the last known catalogue is still there"
    );
    world.database.come_back().await;
    let db = pool(&world.database).await;
    let files = Files::new();
    let path = files.write("catalog-info.yaml", &component("newcomer", ""));
    let request = Request { paths: vec![path], by_hand: true, environments: Vec::new() };
    catalogue::import(&db, request, None).await.unwrap();
    for _ in 0..100 {
        if world.app.catalogue.load().service("newcomer").is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the newcomer was never seen");
}
