//! Pipelines: a CI system's signed token becomes a machine's, and what a machine may and may not do with it. The CI
//! system is one that says whatever a test wants; the portal, the cluster and the `platform` command are real.

use jiff::Timestamp;
use pilothouse::demo::Keys;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{json as read, program, refused, send_json};
use crate::deploys::{Shop, generations, image, seen};
use crate::support::desk::{COMMAND, finished};
use crate::support::forger::Forger;
use crate::support::mutations::{Honest, Mutation, OF_ANY_TOKEN};
use crate::support::{Browser, Builder, KEY, Page, World, too_often, with_form};

const SUBJECT: &str = "repo:acme/shop:ref:refs/heads/main";

/// The portal of a company whose CI system signs tokens for three machines.
fn trusting(ci: &Forger) -> Builder {
    let machine = |name: &str, team: &str, environments: &str, repository: &str| {
        format!(
            r#"
[[machine]]
name = "{name}"
team = "{team}"
environments = [{environments}]
scopes = ["read", "deploy", "production"]
groups = ["payments", "payments-managers"]
[[machine.trust]]
issuer = "{}"
audience = "pilothouse"
subject = "repo:acme/{repository}:ref:refs/heads/*"
claims = {{ repository_owner = "acme" }}
actor_claim = "actor"
"#,
            ci.issuer
        )
    };
    let machines = [
        machine("shop-ci", "payments", r#""staging", "production""#, "shop"),
        machine("careful-ci", "payments", r#""staging""#, "careful"),
        machine("storefront-ci", "storefront", r#""staging", "production""#, "storefront"),
    ];
    World::builder().replace("[catalogue]", &format!("{}\n[catalogue]", machines.concat()))
}

/// What the CI system would honestly say of a job on main that this person set off.
fn job<'a>(ci: &Forger, keys: &'a Keys, actor: &str) -> Honest<'a> {
    let now = Timestamp::now().as_second();
    let claims = json!({
        "iss": ci.issuer, "aud": "pilothouse", "sub": SUBJECT, "iat": now, "exp": now + 300,
        "repository_owner": "acme", "actor": actor,
    });
    Honest { keys, header: keys.header(), claims, now }
}

async fn exchange(world: &World, ci_token: &str) -> Page {
    let pipeline = world.browser();
    let request = pipeline.request(Method::POST, "/api/v1/token");
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ("subject_token", ci_token),
    ];
    pipeline.send(with_form(request, &form)).await
}

/// The pipeline, signed in.
async fn pipeline(world: &World, ci_token: &str) -> Browser {
    let page = exchange(world, ci_token).await;
    assert_eq!(page.status, 200, "{}", page.text);
    world.browser().with_token(read(&page)["access_token"].as_str().unwrap())
}

async fn ask(who: &Browser, environment: &str, version: &str) -> Page {
    let body = json!({"version": version, "reason": "a pipeline asks", "take_over": true});
    send_json(who, &format!("/api/v1/services/shop/environments/{environment}/deploys"), body).await
}

async fn decide(shop: &Shop, who: &Browser, id: i64) -> Page {
    let digest = read(&who.get(&format!("/api/v1/deploys/{id}")).await)["digest"].clone();
    assert!(digest.is_string(), "deploy {id} is not to be seen");
    let page =
        send_json(who, &format!("/api/v1/deploys/{id}/decision"), json!({"approve": true, "seen": digest}))
            .await;
    assert!(
        ["awaiting_approval", "queued", "applying", "rolling_out", "verifying", "succeeded"]
            .contains(&&*shop.state(id).await)
    );
    page
}

async fn tokens(world: &World) -> i64 {
    sqlx::query_scalar("select count(*) from tokens where issuer = 'machine'")
        .fetch_one(&world.app.db)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_pipeline_deploys_as_its_machine_and_who_set_it_off_does_not_approve() {
    let (ci, keys) = (Forger::start(false).await, Keys::from_pem(&KEY).unwrap());
    let shop = Shop::open_in(trusting(&ci)).await;
    let (maya, omar) = (shop.maya().await, shop.omar().await);
    let machine = pipeline(&shop.world, &job(&ci, &keys, "Omar").token()).await;
    let me = read(&machine.get("/api/v1/whoami").await);
    assert_eq!(
        (&me["username"], &me["name"]),
        (&json!("machine:shop-ci"), &json!("shop-ci for Omar")),
        "{me}"
    );

    let asked = ask(&machine, "staging", "v1.1.0").await;
    assert_eq!(asked.status, 201, "{}", asked.text);
    shop.ends_as(read(&asked)["id"].as_i64().unwrap(), "succeeded").await;
    assert!(image(&shop.staging).await.contains(":v1.1.0@sha256:"));
    assert_eq!(generations(&shop.staging).last(), Some(&("machine:shop-ci".to_string(), 2)));

    let id = read(&ask(&machine, "production", "v1.1.0").await)["id"].as_i64().unwrap();
    assert_eq!(shop.state(id).await, "awaiting_approval");
    let itself = refused(&decide(&shop, &machine, id).await, 403);
    assert_eq!(itself, "Machines ask for changes; people decide on them.");
    // By the page and by the API, whatever group he is in.
    let digest = seen(&maya, id).await;
    let page = omar
        .post(
            &format!("/deploys/{id}/approval"),
            &[("decision", "approve"), ("seen", &digest), ("confirm", "shop")],
        )
        .await;
    assert!(page.text.contains("You set off the pipeline that asks for this deploy"), "{}", page.text);
    let program_of_omar = program(&shop.world, "omar", &["read", "approve"]).await;
    refused(&decide(&shop, &program_of_omar, id).await, 403);
    assert_eq!(shop.state(id).await, "awaiting_approval");

    shop.world.provider().put_into("noor", &["engineering", "payments", "payments-managers"]);
    let noor = program(&shop.world, "noor", &["read", "approve"]).await;
    assert_eq!(decide(&shop, &noor, id).await.status, 200);
    shop.ends_as(id, "succeeded").await;
    assert_eq!(generations(&shop.production).last(), Some(&("machine:shop-ci".to_string(), 2)));
    let page = maya.get(&format!("/deploys/{id}")).await.text;
    assert!(page.contains("shop-ci for Omar"), "who is behind it is on the page");
}

#[tokio::test]
async fn a_machine_keeps_to_its_team_and_its_environments() {
    let (ci, keys) = (Forger::start(false).await, Keys::from_pem(&KEY).unwrap());
    let shop = Shop::open_in(trusting(&ci)).await;
    let of = |repository: &str| {
        job(&ci, &keys, "maya").with("sub", json!(format!("repo:acme/{repository}:ref:refs/heads/main")))
    };
    let (careful, storefront) =
        (pipeline(&shop.world, &of("careful")).await, pipeline(&shop.world, &of("storefront")).await);
    let sentence = refused(&ask(&careful, "production", "v1.1.0").await, 403);
    assert_eq!(
        sentence,
        "This machine may not change production. The environments it may change stand in the portal’s configuration."
    );
    let sentence = refused(&ask(&storefront, "staging", "v1.1.0").await, 403);
    assert_eq!(sentence, "shop is a service of payments, and this machine belongs to another team.");
    for (what, body) in [("restart", json!({})), ("scale", json!({"replicas": 2}))] {
        let path = format!("/api/v1/services/shop/environments/staging/{what}");
        refused(&send_json(&storefront, &path, body).await, 403);
    }
    let asked: i64 =
        sqlx::query_scalar("select count(*) from deploys").fetch_one(&shop.world.app.db).await.unwrap();
    assert_eq!(asked, 0, "nothing was asked for");
    refused(&careful.get("/api/v1/machines/shop-ci/tokens").await, 404);
    let wanted = json!({"name": "more", "scopes": ["read"], "expires_days": 1});
    assert!(
        refused(&send_json(&careful, "/api/v1/tokens", wanted).await, 403)
            .starts_with("Machines make no tokens.")
    );
}

#[tokio::test]
async fn the_command_signs_a_pipeline_in_and_deploys() {
    let (ci, keys) = (Forger::start(false).await, Keys::from_pem(&KEY).unwrap());
    let shop = Shop::open_in(trusting(&ci)).await;
    let home = tempfile::tempdir().unwrap();
    let token = job(&ci, &keys, "maya").token();
    let run = async |line: &[&str]| {
        let mut command = tokio::process::Command::new(COMMAND);
        command.env_clear().env("HOME", home.path()).env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere");
        command.env("PLATFORM_ID_TOKEN", &token);
        command.args(line).current_dir(home.path());
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        finished(command, "").await
    };
    let ran = run(&["login", "--ci", &shop.world.base]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ran = run(&["deploy", "shop", "--version=v1.1.0", "--env=staging", "--take-over", "--yes"]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(image(&shop.staging).await.contains(":v1.1.0@sha256:"));
    let ran = run(&[
        "deploy",
        "shop",
        "--version=v1.1.0",
        "--env=production",
        "--reason=a release",
        "--take-over",
        "--yes",
        "--no-wait",
    ])
    .await;
    assert_eq!(ran.code, 4, "{}{}", ran.out, ran.err);
}

/// What a CI system says and an identity provider does not.
const OF_A_JOB: &[Mutation] = &[
    ("another repository", |honest| honest.with("sub", json!("repo:acme/shop-evil:ref:refs/heads/main"))),
    ("another owner", |honest| honest.with("sub", json!("repo:evil/shop:ref:refs/heads/main"))),
    ("no branch", |honest| honest.with("sub", json!("repo:acme/shop:ref:refs/heads/"))),
    ("a branch of a branch", |honest| honest.with("sub", json!("repo:acme/shop:ref:refs/heads/main/evil"))),
    ("a tail after the branch", |honest| honest.with("sub", json!("repo:acme/shop:ref:refs/heads/main\nx"))),
    ("a pull request", |honest| honest.with("sub", json!("repo:acme/shop:pull_request"))),
    ("the pattern itself, in other letters", |honest| {
        honest.with("sub", json!("REPO:acme/shop:ref:refs/heads/*"))
    }),
    ("an endless branch", |honest| honest.with("sub", json!(format!("{SUBJECT}{}", "a".repeat(300))))),
    ("another claim", |honest| honest.with("repository_owner", json!("evil"))),
    ("another claim as a list", |honest| honest.with("repository_owner", json!(["acme"]))),
    ("without a claim", |honest| honest.without("repository_owner")),
];

#[tokio::test]
async fn a_ci_token_that_is_not_right_in_every_way_gives_nothing() {
    let (ci, keys) = (Forger::start(false).await, Keys::from_pem(&KEY).unwrap());
    ci.publish_also(&Keys::from_pem(&Keys::new_pem().unwrap()).unwrap());
    let world = trusting(&ci).start().await;
    assert_eq!(
        exchange(&world, &job(&ci, &keys, "maya").token()).await.status,
        200,
        "the honest one is let in"
    );
    let honest = tokens(&world).await;
    let mut tried = 0;
    for (what, mutation) in OF_ANY_TOKEN.iter().chain(OF_A_JOB) {
        let page = exchange(&world, &mutation(job(&ci, &keys, "maya"))).await;
        // Of one address, only so many are looked at in a minute.
        assert!([400, 429].contains(&page.status.as_u16()), "{what}: {} {}", page.status, page.text);
        if page.status == 400 {
            assert_eq!(read(&page)["error"], "invalid_grant", "{what}: {}", page.text);
            tried += 1;
        }
        assert_eq!(tokens(&world).await, honest, "{what}");
    }
    assert!(tried >= 55, "{tried}");
    too_often(async || exchange(&world, "odd").await).await;
    assert_eq!(
        exchange(&world, &job(&ci, &keys, "maya").token()).await.status,
        200,
        "an honest neighbour is not"
    );
}

#[tokio::test]
async fn a_machines_token_ends_with_what_it_was_exchanged_for() {
    let (ci, keys) = (Forger::start(false).await, Keys::from_pem(&KEY).unwrap());
    let world = trusting(&ci).start().await;
    let lives = async |seconds: i64| {
        let honest = job(&ci, &keys, "maya");
        let ends = honest.now + seconds;
        read(&exchange(&world, &honest.with("exp", json!(ends))).await)["expires_in"].as_i64().unwrap()
    };
    assert!((1..=60).contains(&lives(60).await));
    assert!((890..=900).contains(&lives(3_600).await), "a quarter of an hour at most");

    // With another key from one moment to the next, as after a rotation: the issuer is asked again.
    let new = Keys::from_pem(&Keys::new_pem().unwrap()).unwrap();
    let before = exchange(&world, &job(&ci, &new, "maya").token()).await;
    assert_eq!(before.status, 400, "nobody published it");
    ci.rotate(Keys::from_pem(&Keys::new_pem().unwrap()).unwrap());
    assert_eq!(
        exchange(&world, &job(&ci, &keys, "maya").token()).await.status,
        200,
        "known keys do for an hour"
    );
}

#[tokio::test]
async fn a_team_makes_tokens_for_its_machine_and_takes_them_away() {
    let ci = Forger::start(false).await;
    let world = trusting(&ci).start().await;
    let maya = program(&world, "maya", &["read", "deploy"]).await;
    let names = |page: &Page| -> Vec<String> {
        let items = read(page)["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(names(&maya.get("/api/v1/machines").await), ["shop-ci", "careful-ci"]);
    let path = "/api/v1/machines/shop-ci/tokens";
    let wanted = |scopes: Value| json!({"name": "jenkins", "scopes": scopes, "expires_days": 7});
    let sentence = refused(&send_json(&maya, path, wanted(json!(["approve"]))).await, 422);
    assert!(sentence.contains("approve"), "{sentence}");
    refused(&send_json(&maya, path, wanted(json!(["production"]))).await, 422);
    let made = send_json(&maya, path, wanted(json!(["read"]))).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = read(&made);
    let machine = world.browser().with_token(made["secret"].as_str().unwrap());
    let me = read(&machine.get("/api/v1/whoami").await);
    assert_eq!(me["username"], "machine:shop-ci");
    assert!(me["name"].as_str().unwrap().starts_with("shop-ci for Maya"), "{me}");
    assert_eq!(names(&maya.get(path).await), ["jenkins"]);

    // Of another team they are nobody's.
    let nina = program(&world, "nina", &["read", "deploy"]).await;
    refused(&nina.get(path).await, 404);
    refused(&send_json(&nina, path, wanted(json!(["read"]))).await, 404);

    // A portal whose configuration no longer has the machine knows nobody by its token.
    let (_app, without) = world.replica_where("name = \"shop-ci\"", "name = \"other-ci\"").await;
    refused(&without.with_token(made["secret"].as_str().unwrap()).get("/api/v1/whoami").await, 401);

    let revoked = maya.send(maya.request(Method::DELETE, &format!("{path}/{}", made["id"]))).await;
    assert_eq!(revoked.status, 204, "{}", revoked.text);
    refused(&machine.get("/api/v1/whoami").await, 401);
    let lines: Vec<(String, String)> = sqlx::query_as(
        "select action, name from audit where action like 'token.%' and target = 'jenkins' order by id",
    )
    .fetch_all(&world.app.db)
    .await
    .unwrap();
    let maya = "Maya Okafor".to_string();
    assert_eq!(lines, [("token.mint".to_string(), maya.clone()), ("token.revoke".to_string(), maya)]);
}
