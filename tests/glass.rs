//! Breaking the glass: who may goes ahead without approval and through a freeze, everybody concerned is told, and somebody
//! else signs it off. And whom a deploy that failed is told of.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{json as read, program, refused, send_json, token};
use crate::deploys::{Shop, generations, hidden, image, number, seen};
use crate::invariants;
use crate::support::desk::{COMMAND, finished};
use crate::support::{Browser, Builder, Page, World, until};

const RAVI: &str = r#"
[[people]]
sub = "4d8f6f5e-3c57-4a55-9d2a-7f5d1c2b8e90"
username = "ravi"
name = "Ravi Sharma"
email = "ravi@acme.example"
groups = ["engineering", "payments", "on-call"]
says = "Engineer in payments, on call this week."
"#;

const FREEZE: &str = "[[environment.freeze]]\nname = \"The long winter\"\nfrom = \"2020-01-01 00:00\"\nto = \"2999-01-04 08:00\"\n\
                      time_zone = \"Europe/Berlin\"\n";

const WHY: &str = "Nobody can pay since 14:02.";

/// Production needs nothing but an approval, and ravi may do without.
fn world() -> Builder {
    World::builder()
        .people(RAVI)
        .replace("requires = \"staging\"\napprovals = 1\n", "approvals = 1\nbreak_glass = [\"on-call\"]\n")
}

/// Sends the form of the deploy with the button that breaks the glass.
pub async fn break_glass(who: &Browser, environment: &str, version: &str, why: &str) -> Page {
    let path = format!("/services/shop/{environment}/deploy");
    let form = who.get(&format!("{path}?version={version}&take_over=yes")).await;
    let seen = hidden(&form.text, "seen");
    let fields =
        [("version", version), ("take_over", "yes"), ("reason", why), ("seen", &seen), ("glass", "break")];
    who.post(&path, &fields).await
}

async fn approved(shop: &Shop, version: &str) -> i64 {
    let (maya, omar) = (shop.maya().await, shop.omar().await);
    let id = shop.deploy(&maya, "production", version).await;
    let form = [("decision", "approve"), ("seen", &*seen(&omar, id).await)];
    assert_eq!(omar.post(&format!("/deploys/{id}/approval"), &form).await.status, 303);
    id
}

/// The details of the audit rows of an action, oldest first.
async fn audited(shop: &Shop, action: &str) -> Vec<Value> {
    sqlx::query_scalar("select detail from audit where action = $1 order by id")
        .bind(action)
        .fetch_all(&shop.world.app.db)
        .await
        .unwrap()
}

async fn count(shop: &Shop, what: &'static str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {what}")))
        .fetch_one(&shop.world.app.db)
        .await
        .unwrap()
}

#[tokio::test]
async fn who_may_goes_ahead_without_approval_and_in_a_freeze_and_answers_for_it_afterwards() {
    let shop = Shop::open_in(world().replace("soak = \"1s\"\n", &format!("soak = \"1s\"\n{FREEZE}"))).await;
    let (maya, ravi, omar) = (shop.maya().await, shop.world.as_("ravi").await, shop.omar().await);
    let form = "/services/shop/production/deploy?version=v1.1.0&take_over=yes";
    let page = ravi.get(form).await.text;
    assert!(page.contains("Break the glass") && page.contains("Deploy now, without approval"), "{page}");
    assert!(page.contains("Request approval"), "the usual way is gone: {page}");
    assert!(!maya.get(form).await.text.contains("Break the glass"));

    let id = number(&break_glass(&ravi, "production", "v1.1.0", WHY).await);
    shop.ends_as(id, "succeeded").await;
    assert_eq!(generations(&shop.production).last(), Some(&("ravi".to_string(), 2)));
    let page = omar.get(&format!("/deploys/{id}")).await.text;
    assert!(page.contains("Ravi Sharma broke the glass: nobody approved this."), "{page}");
    assert!(page.contains("It waits for a review by payments-managers."), "{page}");
    assert!(omar.get("/deploys").await.text.contains("Glass broken"));
    let rows = audited(&shop, "deploy.break_glass").await;
    assert_eq!((rows.len(), &rows[0]["reason"]), (1, &json!(WHY)));
    assert_eq!(audited(&shop, "deploy.request").await.len(), 0, "it is told twice");

    // The approvers and the group are told; who did it knows.
    let home = omar.get("/").await.text;
    assert!(
        home.contains("Notices, 1 new") && home.contains("Ravi Sharma broke the glass in production"),
        "{home}"
    );
    assert!(shop.world.as_("nina").await.get("/").await.text.contains("Ravi Sharma broke the glass"));
    assert!(home.contains("1 broken glass waits for your review."), "{home}");
    assert!(!maya.get("/").await.text.contains("broke the glass"));
    assert!(!ravi.get("/").await.text.contains("Ravi Sharma broke the glass"));
    omar.post("/notices/read", &[("shown", &hidden(&home, "shown"))]).await;
    assert!(omar.get("/").await.text.contains("Notices, 0 new"));

    let inbox = omar.get("/approvals").await.text;
    assert!(inbox.contains("Broken glass, to be reviewed") && inbox.contains(WHY), "{inbox}");
    let review: i64 = sqlx::query_scalar("select id from glass_reviews where deploy = $1")
        .bind(id)
        .fetch_one(&shop.world.app.db)
        .await
        .unwrap();
    let path = format!("/approvals/glass/{review}");
    let own = ravi.post(&path, &[("note", "All good.")]).await;
    assert_eq!(own.status, 422);
    assert!(own.text.contains("You broke the glass, so somebody else has to sign it off."), "{}", own.text);
    let other = maya.post(&path, &[("note", "All good.")]).await;
    assert!(other.text.contains("Members of payments-managers can sign this off."), "{}", other.text);
    let mute = omar.post(&path, &[("note", " ")]).await;
    assert!(mute.status == 422 && mute.text.contains("Say what you found."), "{}", mute.text);
    assert_eq!(omar.post(&path, &[("note", "It was needed.")]).await.status, 303);
    assert!(!omar.get("/approvals").await.text.contains("Broken glass, to be reviewed"));
    assert!(!omar.get("/").await.text.contains("waits for your review"));
    let again = omar.post(&path, &[("note", "It was needed.")]).await;
    assert!(again.text.contains("Omar Haddad has signed this off already."), "{}", again.text);

    let page = ravi.get(&format!("/deploys/{id}")).await.text;
    assert!(page.contains("Omar Haddad signed it off at") && page.contains("It was needed."), "{page}");
    assert!(page.contains("Omar Haddad signed the broken glass off"), "{page}");
    let rows = audited(&shop, "glass.sign_off").await;
    assert_eq!((rows.len(), &rows[0]["note"]), (1, &json!("It was needed.")));
    // Nobody approved these bytes, so going back to them takes an approval, too.
    assert_eq!(count(&shop, "releases where approved").await, 0);
    assert_eq!(shop.state(id).await, "succeeded");
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn nobody_else_breaks_it_and_nobody_does_without_a_reason_or_past_a_check() {
    let machine = "[[machine]]\nname = \"shop-ci\"\nteam = \"payments\"\nenvironments = [\"production\"]\n\
                   scopes = [\"read\", \"deploy\", \"production\"]\ngroups = [\"payments\", \"on-call\"]\n";
    let shop = Shop::open_in(world().replace("[catalogue]", &format!("{machine}\n[catalogue]"))).await;
    let (maya, ravi) = (shop.maya().await, shop.world.as_("ravi").await);

    let other = break_glass(&maya, "production", "v1.1.0", WHY).await;
    assert_eq!(other.status, 403);
    assert!(other.text.contains("Members of on-call may break the glass in production."), "{}", other.text);
    let short = break_glass(&ravi, "production", "v1.1.0", "now!").await;
    assert_eq!(short.status, 422);
    assert!(short.text.contains("Say why it can’t wait, in 10 characters at least"), "{}", short.text);
    let unchecked = break_glass(&ravi, "production", "v9.9.9", WHY).await;
    assert!(unchecked.status == 422 && unchecked.text.contains("1 check fails"), "{}", unchecked.text);
    let nowhere = break_glass(&ravi, "staging", "v1.1.0", WHY).await;
    assert!(nowhere.text.contains("Nobody may break the glass in staging."), "{}", nowhere.text);

    let keeper = program(&shop.world, "maya", &["read", "deploy", "production"]).await;
    let new = json!({"name": "deploys", "scopes": ["read", "deploy", "production"], "expires_days": 1});
    let minted = send_json(&keeper, "/api/v1/machines/shop-ci/tokens", new).await;
    let pipeline = shop.world.browser().with_token(read(&minted)["secret"].as_str().unwrap());
    let body = json!({"version": "v1.1.0", "take_over": true, "reason": WHY, "break_glass": true});
    let path = "/api/v1/services/shop/environments/production/deploys";
    let answer = send_json(&pipeline, path, body).await;
    assert_eq!(refused(&answer, 403), "Machines wait for approval; only a person breaks the glass.");

    assert_eq!(count(&shop, "deploys").await, 0, "something was asked for all the same");
    assert_eq!(count(&shop, "glass_reviews").await, 0);
    assert_eq!(generations(&shop.production).len(), 1);
}

#[tokio::test]
async fn programs_and_the_command_break_it_under_the_same_rules() {
    let shop = Shop::open_in(world()).await;
    let ravi = token(&shop.world, "ravi", &["read", "deploy", "production", "approve"]).await;
    let home = tempfile::tempdir().unwrap();
    let run = async |token: &str, line: &[&str]| {
        let mut command = tokio::process::Command::new(COMMAND);
        command.env_clear().env("HOME", home.path()).env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere");
        command.env("PLATFORM_URL", &shop.world.base).env("PLATFORM_TOKEN", token);
        let pipe = std::process::Stdio::piped;
        command.stdin(std::process::Stdio::null()).stdout(pipe()).stderr(pipe());
        command.args(line).current_dir(home.path());
        finished(command, "").await
    };
    let line = ["deploy", "shop", "--env=production", "--version=v1.1.0", "--take-over", "--break-glass"];
    let ran = run(&ravi, &[&line[..], &["--reason", WHY]].concat()).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(image(&shop.production).await.contains(":v1.1.0@sha256:"));

    let ravi = shop.world.browser().with_token(&ravi);
    let secret = token(&shop.world, "omar", &["read", "approve"]).await;
    let omar = shop.world.browser().with_token(&secret);
    let list = read(&omar.get("/api/v1/glass-reviews").await);
    let row = &list["items"][0];
    assert_eq!(
        (&row["by"], &row["reason"], &row["yours"]),
        (&json!("Ravi Sharma"), &json!(WHY), &json!(true))
    );
    let deploy = read(&omar.get(&format!("/api/v1/deploys/{}", row["deploy"])).await);
    assert_eq!((&deploy["broken_glass"], &deploy["approvals_needed"]), (&json!(true), &json!(0)));
    let path = format!("/api/v1/glass-reviews/{}/sign-off", row["id"]);
    let own = send_json(&ravi, &path, json!({"note": "All good."})).await;
    assert_eq!(refused(&own, 403), "You broke the glass, so somebody else has to sign it off.");
    let mute = send_json(&omar, &path, json!({})).await;
    assert!(refused(&mute, 422).contains("Say what you found."));
    assert_eq!(read(&mute)["errors"][0]["field"], "note");
    let reader = program(&shop.world, "omar", &["read"]).await;
    let request = reader.request(Method::POST, &path).json(&json!({"note": "It was needed."}));
    refused(&reader.send(request).await, 403);
    let ran = run(&secret, &["inbox"]).await;
    assert!(ran.out.contains("Deploy shop v1.1.0") && ran.out.contains(WHY), "{}{}", ran.out, ran.err);
    let ran = run(&secret, &["sign-off", &row["id"].to_string(), "--note=It was needed."]).await;
    assert_eq!(ran.out, "Signed off: Deploy shop v1.1.0 in production, by Ravi Sharma.\n", "{}", ran.err);
    assert_eq!(read(&omar.get("/api/v1/glass-reviews").await)["items"], json!([]));
}

#[tokio::test]
async fn what_waits_for_an_approval_leads_those_who_need_not_wait_to_the_form() {
    let shop = Shop::open_in(world()).await;
    let (maya, ravi, omar) = (shop.maya().await, shop.world.as_("ravi").await, shop.omar().await);
    let waits = shop.deploy(&maya, "production", "v1.1.0").await;
    let page = format!("/deploys/{waits}");
    assert!(!maya.get(&page).await.text.contains("Break the glass"), "she may not");
    let shown = ravi.get(&page).await.text;
    let (_, link) = shown.split_once("<a class=\"btn danger\" href=\"").expect("ravi may");
    let (form, label) = link.split_once('"').unwrap();
    assert!(label.split("</a>").next().unwrap().ends_with("Break the glass…"), "{label}");
    let form = form.replace("&#38;", "&");
    assert_eq!(form, "/services/shop/production/deploy?version=v1.1.0&strategy=rolling");
    let button = "Deploy now, without approval";
    assert!(ravi.get(&format!("{form}&take_over=yes")).await.text.contains(button));

    let id = number(&break_glass(&ravi, "production", "v1.1.0", WHY).await);
    shop.ends_as(id, "succeeded").await;
    assert!(!ravi.get(&format!("/deploys/{id}")).await.text.contains("Break the glass…"), "it is over");
    // What was asked for before has nothing left to do.
    let form = [("decision", "approve"), ("seen", &*seen(&omar, waits).await)];
    omar.post(&format!("{page}/approval"), &form).await;
    shop.ends_as(waits, "superseded").await;
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn what_a_freeze_holds_leads_to_the_form_and_holds_up_no_emergency() {
    let shop = Shop::open_in(world().replace("soak = \"1s\"\n", &format!("soak = \"1s\"\n{FREEZE}"))).await;
    let (ravi, omar) = (shop.world.as_("ravi").await, shop.omar().await);
    let held = approved(&shop, "v1.1.0").await;
    let page = format!("/deploys/{held}");
    let (asked, shown) = until("it waits for the end of the freeze", async || {
        let page = ravi.get(&page).await.text;
        page.contains("is frozen until").then(|| (page.contains("Break the glass…"), page))
    })
    .await;
    assert!(asked, "{shown}");
    assert!(!omar.get(&page).await.text.contains("Break the glass…"), "he may not");
    let form = "/services/shop/production/deploy?version=v1.1.0&take_over=yes";
    let in_the_queue = format!("Deployment {held} is under way here.");
    assert!(ravi.get(form).await.text.contains(&in_the_queue), "the usual way waits behind it");

    let key = hidden(&ravi.get("/services/shop/production/restart").await.text, "key");
    let restarted = number(&ravi.post("/services/shop/production/restart", &[("key", &key)]).await);
    shop.ends_as(restarted, "succeeded").await;
    assert_eq!(shop.state(held).await, "queued");
    let id = number(&break_glass(&ravi, "production", "v1.1.0", WHY).await);
    shop.ends_as(id, "succeeded").await;
    assert!(!ravi.get(&format!("/deploys/{id}")).await.text.contains("Waits in the queue"));
    // It would never start any more, and says so before the freeze is over.
    shop.ends_as(held, "superseded").await;
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn a_right_that_is_lost_voids_what_waits_and_what_nobody_approved_is_no_rollback_without_asking() {
    let shop = Shop::open_in(world().confidential().replace("soak = \"1s\"", "soak = \"10s\"")).await;
    let ravi = shop.world.as_("ravi").await;
    let first = number(&break_glass(&ravi, "production", "v1.1.0", WHY).await);
    shop.ends_as(first, "succeeded").await;
    let second = number(&break_glass(&ravi, "production", "v1.5.0", WHY).await);
    shop.ends_as(second, "succeeded").await;

    // Something that brings no release keeps the third waiting.
    let restarted = number(&ravi.post("/services/shop/production/restart", &[("key", "a restart")]).await);
    until("the soak", async || (shop.state(restarted).await == "verifying").then_some(())).await;
    let third = number(&break_glass(&ravi, "production", "v1.1.0", WHY).await);
    assert_eq!(shop.state(third).await, "queued");
    shop.world.provider().put_into("ravi", &["engineering", "payments"]);
    // Whoever decides is asked for anew at the provider.
    let review: i64 = sqlx::query_scalar("select id from glass_reviews where deploy = $1")
        .bind(third)
        .fetch_one(&shop.world.app.db)
        .await
        .unwrap();
    ravi.post(&format!("/approvals/glass/{review}"), &[("note", "All good.")]).await;
    shop.ends_as(third, "superseded").await;
    let page = ravi.get(&format!("/deploys/{third}")).await.text;
    assert!(
        page.contains("may no longer break the glass here") || page.contains("What runs here is not"),
        "{page}"
    );
    assert!(image(&shop.production).await.contains(":v1.5.0@sha256:"));

    let path = "/services/shop/production/rollback";
    let form = ravi.get(path).await.text;
    assert!(form.contains("v1.1.0") && !form.contains("Break the glass"), "{form}");
    let fields = [("confirm", "shop"), ("reason", WHY), ("key", &*hidden(&form, "key"))];
    let asked = number(&ravi.post(path, &fields).await);
    assert_eq!(shop.state(asked).await, "awaiting_approval", "what nobody approved went back in by itself");
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn who_asked_and_who_approved_are_told_when_a_deploy_is_rolled_back() {
    let shop = Shop::open_in(world()).await;
    let good = approved(&shop, "v1.1.0").await;
    shop.ends_as(good, "succeeded").await;
    assert_eq!(count(&shop, "notices").await, 0, "what went well needs no notice");

    let bad = approved(&shop, "v1.3.0").await;
    shop.ends_as(bad, "rolled_back").await;
    for who in ["maya", "omar"] {
        let home = shop.world.as_(who).await.get("/").await.text;
        assert!(home.contains("Deploy shop v1.3.0, production: failed, and v1.1.0 was put back."), "{home}");
        assert!(home.contains(&format!("href=\"/deploys/{bad}\"")), "{home}");
    }
    let ravi = shop.world.as_("ravi").await;
    assert!(!ravi.get("/").await.text.contains("was put back"));
    // Marking as read is for what one was told.
    let notice: i64 =
        sqlx::query_scalar("select id from notices").fetch_one(&shop.world.app.db).await.unwrap();
    ravi.post("/notices/read", &[("shown", &notice.to_string())]).await;
    assert_eq!(count(&shop, "notice_reads").await, 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(count(&shop, "notices").await, 1, "it was told twice");
    invariants::hold(&shop).await;
}
