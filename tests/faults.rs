//! Whatever dies, hangs or comes too late in the middle of a deploy: it is carried on, once, and nothing old is written
//! over anything new. The portals are processes that really are killed and stopped; what stands between them and the
//! cluster really holds a write up.
//!
//! `bin/test` runs the short form; `bench/faults` sets `PILOTHOUSE_FAULT_ROUNDS` for the long one.

use std::time::{Duration, Instant};

use http::StatusCode;
use jiff::SignedDuration;
use pilothouse::clock::Clock;
use sqlx::PgPool;

use crate::deploys::{Shop, generation, generations, image};
use crate::invariants;
use crate::strategies;
use crate::support::cluster::Sandbox;
use crate::support::gateway::Gateway;
use crate::support::{self, Browser, Builder, Process, World, state, until};

/// The lease of a deploy, one poll, and a start of work on a busy machine.
const CARRIED_ON_WITHIN: Duration = Duration::from_secs(20 + 1 + 4);
/// Versions of the sample that start, asked for in turn.
const GOOD: [&str; 2] = ["v1.1.0", "v1.5.0"];

pub fn through(gateway: &Gateway) -> Builder {
    let direct = state().join("cluster/pilothouse.kubeconfig").display().to_string();
    World::builder().replace(&direct, &gateway.path().display().to_string())
}

#[tokio::test]
async fn a_write_that_was_held_up_does_not_land_on_anything_newer() {
    let gateway = Gateway::open().await;
    let shop = Shop::open_in(through(&gateway)).await;
    let maya = shop.maya().await;

    let caught = gateway.hold();
    let first = shop.deploy(&maya, "staging", "v1.1.0").await;
    let held = caught.await.unwrap();
    // Given up and repeated by the portal; then somebody deploys something else.
    shop.ends_as(first, "succeeded").await;
    let second = shop.deploy(&maya, "staging", "v1.5.0").await;
    shop.ends_as(second, "succeeded").await;

    assert_eq!(held.arrives().await, StatusCode::CONFLICT);
    assert!(image(&shop.staging).await.contains(":v1.5.0@"), "the late write brought the old version back");
    assert_eq!(generations(&shop.staging).len(), 3, "one write a deploy, after the one with kubectl");
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn a_write_that_was_carried_out_and_answered_504_is_not_done_twice() {
    let gateway = Gateway::open().await;
    let shop = Shop::open_in(through(&gateway)).await;
    gateway.spoil();
    let id = shop.deploy(&shop.maya().await, "staging", "v1.1.0").await;
    shop.ends_as(id, "succeeded").await;
    assert_eq!(generations(&shop.staging).len(), 2);
    invariants::hold(&shop).await;
}

/// Two portals as processes, on a shop whose own one has ended: one works, the other one stands still.
struct Watch {
    shop: Shop,
    working: Process,
    resting: Process,
}

/// Of staging, so that there is something to verify and to put back.
const RULES: &str = "soak = \"2s\"\nautomatic_rollback = true\ncanary = [{ weight = 50, pause = \"1s\" }]\n";

impl Watch {
    async fn begin() -> Self {
        let after_staging = "[[environment]]\nname = \"production\"";
        let soaking = World::builder().replace(after_staging, &format!("{RULES}\n{after_staging}"));
        let shop = Shop::open_in(soaking).await;
        shop.world.app.shutdown.cancel();
        let (working, resting) = (shop.world.process().await, shop.world.process().await);
        resting.stop();
        Self { shop, working, resting }
    }

    async fn maya(&self, portal: &Process) -> Browser {
        let browser = portal.browser();
        browser.sign_in(&self.shop.world.people, "maya", "/").await;
        browser
    }

    fn db(&self) -> &PgPool {
        &self.shop.world.app.db
    }

    /// As soon as the deploy is in this state.
    async fn until_in(&self, id: i64, wanted: &str) {
        let began = Instant::now();
        loop {
            let state = self.shop.state(id).await;
            if state == wanted {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "deploy {id} is {state}, never {wanted}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn claims(&self, id: i64) -> i64 {
        sqlx::query_scalar("select fence from deploys where id = $1")
            .bind(id)
            .fetch_one(self.db())
            .await
            .unwrap()
    }

    /// How long until somebody claims the deploy again.
    async fn claimed_again(&self, id: i64) -> Duration {
        let (began, before) = (Instant::now(), self.claims(id).await);
        until("somebody carries it on", async || (self.claims(id).await != before).then(|| began.elapsed()))
            .await
    }

    /// One write of every deploy, the one with kubectl before them, and the version that was asked for last.
    async fn holds(&self, deploys: usize, version: &str) {
        assert_eq!(writes(&self.shop.staging).await, 1 + deploys, "not one write for each deploy");
        assert!(image(&self.shop.staging).await.contains(&format!(":{version}@")));
        let rows: i64 = sqlx::query_scalar("select count(*) from audit where action = 'deploy.end'")
            .fetch_one(self.db())
            .await
            .unwrap();
        assert_eq!(usize::try_from(rows).unwrap(), deploys, "not one row of the audit trail for each end");
        let releases: i64 =
            sqlx::query_scalar("select count(*) from releases").fetch_one(self.db()).await.unwrap();
        assert_eq!(usize::try_from(releases).unwrap(), deploys);
        invariants::hold(&self.shop).await;
    }
}

/// A machine an hour ahead: what it carries on is judged by the database's time, as everywhere.
#[tokio::test]
async fn a_replica_whose_clock_is_an_hour_ahead_judges_as_the_others_do() {
    let shop = Shop::open().await;
    let (ahead, _) = shop.world.replica_at(Clock::Wrong(SignedDuration::from_hours(1))).await;
    let maya = shop.maya().await;
    for round in 0..rounds(4) {
        let id = shop.deploy(&maya, "staging", GOOD[round % GOOD.len()]).await;
        // With that clock the rollout would have had its ten minutes at the first look.
        shop.ends_as(id, "succeeded").await;
        assert_eq!(generations(&shop.staging).len(), round + 2);
    }
    let waits = shop.deploy(&maya, "production", "v1.1.0").await;
    assert_eq!(shop.state(waits).await, "awaiting_approval");
    invariants::hold(&shop).await;
    ahead.shutdown.cancel();
}

#[tokio::test]
async fn a_database_that_is_away_for_a_while_holds_a_deploy_up_and_no_more() {
    let shop = Shop::open().await;
    let maya = shop.maya().await;
    let away = Duration::from_secs(if rounds(1) > 1 { 60 } else { 5 });
    for (round, state) in ["applying", "rolling_out"].into_iter().enumerate() {
        let id = shop.deploy(&maya, "staging", GOOD[round]).await;
        let began = Instant::now();
        while shop.state(id).await != state {
            assert!(began.elapsed() < Duration::from_secs(60), "never {state}");
        }
        shop.world.database.go_away().await;
        tokio::time::sleep(away).await;
        shop.world.database.come_back().await;
        shop.ends_as(id, "succeeded").await;
        assert_eq!(
            generations(&shop.staging).len(),
            round + 2,
            "not one write, with the database away while {state}"
        );
    }
    invariants::hold(&shop).await;
}

/// The commit happened, and whoever made it never heard so: the request's, then each of the engine's. A deploy makes four at
/// least: it is asked for, begins, is written and ends.
#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_neither_forgotten_nor_done_twice() {
    let shop = Shop::open_in(World::builder().over_a_wire()).await;
    let maya = shop.maya().await;
    let wire = shop.world.wire.as_ref().unwrap();
    for round in 0..rounds(4) {
        let (lost, version) = (wire.lost(), GOOD[round % GOOD.len()]);
        let key = format!("round-{round}");
        wire.lose_an_answer_after(round % 4);
        let asked = shop.ask(&maya, "staging", version, &key).await;
        let id = match asked.parse() {
            Ok(id) => id,
            // Told that it went wrong, she clicks once more: it is the same deploy.
            Err(_) => shop.ask(&maya, "staging", version, &key).await.parse().unwrap(),
        };
        shop.ends_as(id, "succeeded").await;
        assert_eq!(wire.lost(), lost + 1, "no answer was lost in round {round}");
        assert_eq!(generations(&shop.staging).len(), round + 2, "not one write in round {round}");
        let deploys: i64 =
            sqlx::query_scalar("select count(*) from deploys").fetch_one(&shop.world.app.db).await.unwrap();
        assert_eq!(usize::try_from(deploys).unwrap(), round + 1);
        invariants::hold(&shop).await;
    }
}

#[tokio::test]
async fn a_portal_killed_while_it_puts_something_back_is_followed_by_the_next_one() {
    let mut watch = Watch::begin().await;
    let good = watch.shop.deploy(&watch.maya(&watch.working).await, "staging", "v1.1.0").await;
    watch.shop.ends_as(good, "succeeded").await;
    for round in 0..rounds(2).div_ceil(4) {
        let id = watch.shop.deploy(&watch.maya(&watch.working).await, "staging", "v1.3.0").await;
        watch.until_in(id, "rolling_back").await;
        tokio::time::sleep(Duration::from_micros(u64::from(rand_of(round)) % 30_000)).await;
        watch.working.kill();
        watch.resting.go_on();
        watch.shop.ends_as(id, "rolled_back").await;
        assert!(image(&watch.shop.staging).await.contains(":v1.1.0@"));
        let expected = 2 + 2 * (round + 1);
        assert_eq!(writes(&watch.shop.staging).await, expected, "not one write there and one back");
        invariants::hold(&watch.shop).await;
        let next = watch.shop.world.process().await;
        next.stop();
        watch.working = std::mem::replace(&mut watch.resting, next);
    }
}

/// How many writes changed the workload, whoever made them: each raised its generation by one. In the audit log one may
/// be missing, for the API server answers 504 to a portal that dies in the middle of its write, and carries it out.
pub async fn writes(sandbox: &Sandbox) -> usize {
    let generation = generation(sandbox).await;
    let logged = generations(sandbox);
    let ours = logged.iter().skip(1).all(|(who, _)| who == "maya");
    assert!(ours && logged.len() <= generation, "somebody else wrote: {logged:?}");
    generation
}

/// How often, in all states.
fn rounds(short: usize) -> usize {
    support::rounds("PILOTHOUSE_FAULT_ROUNDS", short)
}

#[tokio::test]
async fn a_portal_killed_in_any_state_is_followed_by_the_next_one() {
    let mut watch = Watch::begin().await;
    let states = ["queued", "applying", "rolling_out", "verifying"];
    let mut waits = Vec::new();
    for round in 0..rounds(states.len()) {
        let (state, version) = (states[round % states.len()], GOOD[round % GOOD.len()]);
        let id = watch.shop.deploy(&watch.maya(&watch.working).await, "staging", version).await;
        if state != "queued" {
            watch.until_in(id, state).await;
        }
        // Not always at the same instruction.
        tokio::time::sleep(Duration::from_micros(u64::from(rand_of(round)) % 30_000)).await;
        watch.working.kill();
        watch.resting.go_on();
        let ended = sqlx::query_scalar::<_, bool>("select ended is not null from deploys where id = $1")
            .bind(id)
            .fetch_one(watch.db())
            .await
            .unwrap();
        if !ended {
            let wait = watch.claimed_again(id).await;
            assert!(wait < CARRIED_ON_WITHIN, "carried on from {state} after {wait:?}");
            waits.push(wait);
        }
        watch.shop.ends_as(id, "succeeded").await;
        watch.holds(round + 1, version).await;
        let next = watch.shop.world.process().await;
        next.stop();
        watch.working = std::mem::replace(&mut watch.resting, next);
    }
    waits.sort();
    let at = |part: usize| waits[(waits.len() - 1) * part / 100].as_secs_f64();
    println!(
        "carried on by the next portal: median {:.1} s, 90 % {:.1} s, slowest {:.1} s, of {} kills",
        at(50),
        at(90),
        at(100),
        waits.len()
    );
}

#[tokio::test]
async fn a_portal_killed_while_a_version_proves_itself_is_followed_by_the_next_one() {
    let mut watch = Watch::begin().await;
    strategies::serve(&watch.shop.staging).await;
    let stages = [
        ("canary", "starting"),
        ("blue-green", "switched"),
        ("canary", "holding"),
        ("blue-green", "sizing"),
        ("canary", "sizing"),
        ("blue-green", "holding"),
    ];
    for round in 0..rounds(2) {
        let ((strategy, stage), version) = (stages[round % stages.len()], GOOD[round % GOOD.len()]);
        let maya = watch.maya(&watch.working).await;
        let id = strategies::deploy(&watch.shop, &maya, version, strategy).await;
        let began = Instant::now();
        while strategies::detail(&watch.shop, id).await["stage"]["is"] != stage {
            assert!(began.elapsed() < Duration::from_secs(60), "deploy {id} was never {stage}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(u64::from(rand_of(round)) % 30_000)).await;
        watch.working.kill();
        watch.resting.go_on();
        watch.shop.ends_as(id, "succeeded").await;
        watch.holds(round + 1, version).await;
        for beside in ["shop-canary", "shop-green"] {
            assert_eq!(strategies::size(&watch.shop.staging, beside).await, None, "{beside} is left over");
        }
        assert_eq!(strategies::leads_to(&watch.shop.staging).await, "shop");
        let next = watch.shop.world.process().await;
        next.stop();
        watch.working = std::mem::replace(&mut watch.resting, next);
    }
}

/// Spread over the rounds, the same in every run.
fn rand_of(round: usize) -> u32 {
    u32::try_from(round).unwrap().wrapping_add(1).wrapping_mul(2_654_435_761)
}

#[tokio::test]
async fn a_stopped_owner_that_wakes_after_its_lease_writes_nothing() {
    let watch = Watch::begin().await;
    for round in 0..rounds(1).div_ceil(20) {
        let maya = watch.maya(&watch.working).await;
        let first = watch.shop.deploy(&maya, "staging", "v1.1.0").await;
        watch.until_in(first, "applying").await;
        watch.working.stop();
        watch.resting.go_on();
        watch.shop.ends_as(first, "succeeded").await;
        let second = watch.shop.deploy(&watch.maya(&watch.resting).await, "staging", "v1.5.0").await;
        watch.shop.ends_as(second, "succeeded").await;

        watch.working.go_on();
        // What it was about to do, and its next looks.
        tokio::time::sleep(Duration::from_secs(3)).await;
        watch.holds(2 * (round + 1), "v1.5.0").await;
        watch.resting.stop();
    }
}
