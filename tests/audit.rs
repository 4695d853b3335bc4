//! The audit trail as the platform team sees it: filters, pages, files, and a chain that shows tampering.

use std::sync::Arc;

use jiff::Timestamp;
use pilothouse::auth::{Identity, Person};
use pilothouse::events::{self, Entry, Origin};
use serde_json::{Value, json};

use crate::support::World;

/// `count` deploys of checkout-api by this person, one a second.
async fn record(world: &World, name: &str, count: i64) {
    let person = Arc::new(Person {
        identity: Identity { issuer: "https://id.example".into(), subject: name.into() },
        username: name.to_lowercase(),
        name: name.into(),
        groups: Default::default(),
        set_off_by: None,
    });
    let mut tx = world.app.db.begin().await.unwrap();
    for n in 0..count {
        let origin = Origin { address: "10.4.2.17".into(), request_id: format!("{name}-{n}") };
        let entry = Entry {
            action: "deploy.request",
            target: "checkout-api/production".into(),
            outcome: "awaiting_approval",
            detail: json!({ "change": "v1.0.0 to v1.1.0" }),
        };
        let at: Timestamp = world.app.clock.now();
        events::audit(&mut tx, &person, &origin, at, entry).await.unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn the_trail_is_shown_filtered_and_paged() {
    let world = World::new().await;
    record(&world, "Jonas", 70).await;
    record(&world, "Lin", 2).await;
    let petra = world.as_("petra").await;

    let page = petra.get("/audit").await;
    assert!(
        page.text.contains("Chain verified") && page.text.contains("Asked for a deploy"),
        "{}",
        page.text
    );
    assert!(page.text.contains("checkout-api v1.0.0 to v1.1.0"));
    let rows = page.text.matches("<tr><td class=\"num\">").count();
    assert_eq!(rows, 50);
    let next =
        page.text.split("\" rel=\"next\"").next().unwrap().rsplit("href=\"").next().unwrap().to_string();

    let older = petra.get(&next.replace("&#38;", "&")).await;
    assert!(older.text.matches("<tr><td class=\"num\">").count() >= 22);
    assert!(older.text.contains(r#"<a class="btn sm" href="/audit" rel="prev">"#), "one page lies before it");

    let lin = petra.get("/audit?person=lin&action=deploy.request&span=24h").await;
    assert_eq!(lin.text.matches("<tr><td class=\"num\">").count(), 2);
    let nobody = petra.get("/audit?q=nobody-of-this-name").await;
    assert!(nobody.text.contains("No entry fits") && nobody.text.contains("Clear filters"));
}

#[tokio::test]
async fn a_changed_row_breaks_the_chain_in_sight() {
    let world = World::new().await;
    record(&world, "Jonas", 5).await;
    for sql in ["drop rule audit_no_update on audit", "update audit set name = 'Nobody' where id = 3"] {
        sqlx::query(sql).execute(&world.app.db).await.unwrap();
    }

    let page = world.as_("petra").await.get("/audit").await;

    assert!(page.text.contains("Chain broken at 3"), "{}", page.text);
}

#[tokio::test]
async fn exports_hold_every_row_defused_and_are_recorded_themselves() {
    let world = World::new().await;
    record(&world, "=HYPERLINK(\"http://evil.example\")", 3).await;
    let petra = world.as_("petra").await;

    let file = petra.get("/audit.csv?action=deploy.request").await;
    assert!(file.header("content-disposition").starts_with("attachment; filename=\"audit-"));
    let lines: Vec<_> = file.text.lines().collect();
    assert_eq!(lines.len(), 4, "headings and three rows: {}", file.text);
    assert!(lines[1].contains("\"'=HYPERLINK(\"\"http://evil.example\"\")\""), "{}", lines[1]);

    let file = petra.get("/audit.json").await;
    let rows: Vec<Value> = serde_json::from_str(&file.text).unwrap();
    assert_eq!(rows[0]["target"], "checkout-api/production");
    assert!(rows.iter().any(|row| row["action"] == "audit.export"), "the first export is in the second");
    assert_eq!(rows[1]["previous"], rows[0]["hash"], "the chain can be walked from the file");
}

#[tokio::test]
async fn the_trail_names_the_person_s_address_and_not_the_proxy_s() {
    let world = World::builder().replace("[database]", "proxies = 1\n\n[database]").start().await;
    let petra = world.as_("petra").await;

    let file =
        petra.request(reqwest::Method::GET, "/audit.csv").header("x-forwarded-for", "6.6.6.6, 203.0.113.9");
    assert_eq!(petra.send(file).await.status, 200);

    let origin: String = sqlx::query_scalar("select origin from audit where action = 'audit.export'")
        .fetch_one(&world.app.db)
        .await
        .unwrap();
    assert_eq!(origin, "203.0.113.9");
}
