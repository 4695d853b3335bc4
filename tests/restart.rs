//! The API server goes away and comes back in the middle of a deploy. Every other test talks to it, so `bin/test` runs
//! this one alone, after the rest.

use std::time::{Duration, Instant};

use tokio::process::Command;

use crate::deploys::{Shop, image};
use crate::faults::{through, writes};
use crate::invariants;
use crate::support::gateway::Gateway;
use crate::support::{self, state};

/// How often, in each state: once in `bin/test`, as `PILOTHOUSE_RESTART_ROUNDS` says in `bench/faults`.
fn rounds() -> usize {
    support::rounds("PILOTHOUSE_RESTART_ROUNDS", 1)
}

#[tokio::test]
#[ignore = "it restarts the API server that every other test talks to"]
async fn an_api_server_that_restarts_in_the_middle_of_a_deploy_holds_it_up_and_no_more() {
    let gateway = Gateway::open().await;
    let shop = Shop::open_in(through(&gateway)).await;
    let maya = shop.maya().await;
    for round in 0..rounds() {
        // Away while the write is on its way to it: the write arrives at the new one, or was given up.
        let caught = gateway.hold();
        let id = shop.deploy(&maya, "staging", "v1.1.0").await;
        let held = caught.await.unwrap();
        assert_eq!(shop.state(id).await, "applying");
        restart().await;
        held.arrives().await;
        shop.ends_as(id, "succeeded").await;
        assert_eq!(writes(&shop.staging).await, 2 * round + 2, "not one write, away while applying");
        assert!(image(&shop.staging).await.contains(":v1.1.0@"));

        // Away while its pods start.
        let id = shop.deploy(&maya, "staging", "v1.0.0").await;
        let began = Instant::now();
        while shop.state(id).await != "rolling_out" {
            assert!(began.elapsed() < Duration::from_secs(60), "it never rolled out");
        }
        restart().await;
        shop.ends_as(id, "succeeded").await;
        assert_eq!(writes(&shop.staging).await, 2 * round + 3, "not one write, away while rolling out");
        assert!(image(&shop.staging).await.contains(":v1.0.0@"));
    }
    invariants::hold(&shop).await;
}

async fn restart() {
    let done = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/bin/cluster"))
        .args(["restart-apiserver", "--state"])
        .arg(state())
        .output()
        .await
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
