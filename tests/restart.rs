//! The API server goes away and comes back in the middle of a deploy. Every other test talks to it, so `bin/test` runs
//! this one alone, after the rest.

use std::time::Instant;

use tokio::process::Command;

use crate::deploys::{Shop, generations, image, invariants_hold};
use crate::support::state;

/// How often, in each state: once in `bin/test`, as `PILOTHOUSE_RESTART_ROUNDS` says in `bench/faults`.
fn rounds() -> usize {
    std::env::var("PILOTHOUSE_RESTART_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

#[tokio::test]
#[ignore = "it restarts the API server that every other test talks to"]
async fn an_api_server_that_restarts_in_the_middle_of_a_deploy_holds_it_up_and_no_more() {
    let shop = Shop::open().await;
    let maya = shop.maya().await;
    let mut deploys = 0;
    for version in ["v1.1.0", "v1.0.0"].into_iter().cycle().take(2 * rounds()) {
        for stage in ["applying", "rolling_out"] {
            // The other one of the two, so that there is something to change.
            let version = if stage == "applying" { version } else { "v1.5.0" };
            let id = shop.deploy(&maya, "staging", version).await;
            let began = Instant::now();
            while shop.state(id).await != stage {
                assert!(began.elapsed().as_secs() < 60, "never {stage}");
            }
            restart().await;
            shop.ends_as(id, "succeeded").await;
            deploys += 1;
            assert!(image(&shop.staging).await.contains(&format!(":{version}@")));
            assert_eq!(
                generations(&shop.staging).len(),
                1 + deploys,
                "not one write, restarted while {stage}"
            );
        }
    }
    invariants_hold(&shop).await;
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
