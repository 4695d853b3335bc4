//! The command at a real portal, signed in for longer than an hour: it refreshes by itself, also where several run.

use std::path::PathBuf;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use pilothouse::clock::Clock;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::api::program;
use crate::support::World;
use crate::support::desk::{COMMAND, Desk};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A portal, and a desk where maya has signed in with a code.
async fn signed_in() -> (World, Clock, Desk) {
    let clock = Clock::fixed(Timestamp::now());
    let world = World::builder().confidential().clock(clock.clone()).start().await;
    let (desk, maya) = (Desk::fresh().await, world.as_("maya").await);
    let mut login = desk.command(COMMAND).args(["login", &world.base, "--device"]).spawn().unwrap();
    let mut told = BufReader::new(login.stderr.take().unwrap()).lines();
    let code = loop {
        let line = told.next_line().await.unwrap().expect("a code is shown");
        if let Some((_, code)) = line.split_once("user_code=") {
            break code.trim().to_string();
        }
    };
    let page = maya.post("/device", &[("user_code", &code), ("decision", "allow")]).await;
    assert!(page.text.contains("It is signed in"), "{}", page.text);
    while told.next_line().await.unwrap().is_some() {}
    assert!(login.wait().await.unwrap().success());
    (world, clock, desk)
}

/// How often the portal gave a refresh token.
async fn given(world: &World) -> i64 {
    sqlx::query_scalar("select count(*) from refresh_tokens").fetch_one(&world.app.db).await.unwrap()
}

fn file(desk: &Desk) -> PathBuf {
    desk.home.path().join(".config/platform/tokens.toml")
}

fn kept(desk: &Desk) -> String {
    std::fs::read_to_string(file(desk)).unwrap()
}

#[tokio::test]
async fn it_refreshes_when_the_portal_says_that_the_hour_is_over() {
    let (world, clock, desk) = signed_in().await;
    assert_eq!(desk.run("platform whoami").await.code, 0);
    assert_eq!(given(&world).await, 1);
    let before = kept(&desk);
    for hours in 1..=3 {
        clock.advance(HOUR);
        let ran = desk.run("platform whoami").await;
        assert_eq!((ran.code, given(&world).await), (0, 1 + hours), "{}", ran.err);
    }
    assert_ne!(kept(&desk), before);
}

#[tokio::test]
async fn it_refreshes_before_the_hour_is_over() {
    let (world, _, desk) = signed_in().await;
    // As it will look in an hour.
    let text = kept(&desk);
    let (before, rest) = text.split_once("\"fresh_until\":\"").unwrap();
    let (_, after) = rest.split_once('"').unwrap();
    let soon = Timestamp::now() + SignedDuration::from_secs(30);
    std::fs::write(file(&desk), format!("{before}\"fresh_until\":\"{soon}\"{after}")).unwrap();
    assert_eq!(desk.run("platform whoami").await.code, 0);
    assert_eq!(given(&world).await, 2);
    assert_eq!(desk.run("platform whoami").await.code, 0);
    assert_eq!(given(&world).await, 2, "once is enough");
}

#[tokio::test]
async fn commands_side_by_side_do_not_sign_each_other_out() {
    let (world, clock, desk) = signed_in().await;
    for round in 1..=2 {
        clock.advance(HOUR);
        let all = join_all((0..6).map(|_| desk.run("platform whoami"))).await;
        assert!(
            all.iter().all(|ran| ran.code == 0),
            "{:?}",
            all.iter().map(|ran| &ran.err).collect::<Vec<_>>()
        );
        assert_eq!(given(&world).await, 1 + round, "one asks, the others take what it got");
    }
}

#[tokio::test]
async fn a_stolen_sign_in_ends_for_both() {
    let (world, clock, desk) = signed_in().await;
    let stolen = kept(&desk);
    clock.advance(HOUR);
    assert_eq!(desk.run("platform whoami").await.code, 0);
    clock.advance(SignedDuration::from_mins(1));
    std::fs::write(file(&desk), stolen).unwrap();
    let ran = desk.run("platform whoami").await;
    assert_eq!(ran.code, 7);
    assert!(ran.err.contains("Your sign-in has ended") && ran.err.contains("platform login"), "{}", ran.err);
    assert_eq!(given(&world).await, 0);
}

#[tokio::test]
async fn signing_out_after_an_hour_still_ends_it_at_the_portal() {
    let (world, clock, desk) = signed_in().await;
    clock.advance(HOUR);
    let ran = desk.run("platform logout").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let left: i64 = sqlx::query_scalar("select count(*) from tokens").fetch_one(&world.app.db).await.unwrap();
    assert_eq!((left, given(&world).await), (0, 0));
    assert_eq!(desk.run("platform whoami").await.code, 7);
}

#[tokio::test]
async fn a_token_of_an_older_command_goes_on_to_its_own_end() {
    let (world, clock, desk) = signed_in().await;
    program(&world, "maya", &["read"]).await;
    // What older commands kept: the bare token, valid for 30 days.
    let bare = "ph_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    sqlx::query("update tokens set hash = sha256($1::bytea) where provider_session is null")
        .bind(bare.as_bytes())
        .execute(&world.app.db)
        .await
        .unwrap();
    let mut tokens: toml::Table = toml::from_str(&kept(&desk)).unwrap();
    for (_, token) in &mut tokens {
        *token = toml::Value::String(bare.into());
    }
    std::fs::write(file(&desk), toml::to_string(&tokens).unwrap()).unwrap();
    clock.advance(HOUR * 24 * 3);
    let ran = desk.run("platform whoami --output json").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let me: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(me["token"]["name"], "a test");
    clock.advance(HOUR * 24 * 28);
    let ran = desk.run("platform whoami").await;
    assert_eq!((ran.code, ran.err.contains("has expired")), (7, true), "{}", ran.err);
}
