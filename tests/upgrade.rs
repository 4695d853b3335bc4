//! One replica after the other is stopped and started anew, as a rolling upgrade does, under load and in the middle of a
//! deploy: no request fails, and the deploy lands once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::api::{json as read, mint, send_json};
use crate::deploys::{Shop, generations};
use crate::invariants;
use serde_json::json;

/// What a Service does: a replica that takes no connections is passed over.
#[derive(Clone)]
struct Load {
    replicas: Arc<Mutex<[String; 2]>>,
    token: String,
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
}

impl Load {
    async fn go_on(self, first: usize) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut n = first;
        while !self.over.load(Ordering::Relaxed) {
            n += 1;
            if let Err(why) = self.ask(&client, n).await {
                self.failed.lock().unwrap().push(why);
            }
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn ask(&self, client: &reqwest::Client, n: usize) -> Result<(), String> {
        let replicas = self.replicas.lock().unwrap().clone();
        let path = ["/api/v1/services/shop", "/api/v1/deploys?limit=5", "/healthz"][n % 3];
        for base in [&replicas[n % 2], &replicas[(n + 1) % 2]] {
            match client.get(format!("{base}{path}")).bearer_auth(&self.token).send().await {
                Ok(answer) if answer.status() == 200 => {
                    return answer.bytes().await.map(drop).map_err(|error| format!("{path}: {error:?}"));
                }
                Ok(answer) => return Err(format!("{path}: {}", answer.status())),
                Err(error) if error.is_connect() => {}
                Err(error) => return Err(format!("{path}: {error:?}")),
            }
        }
        Err(format!("{path}: no replica takes connections"))
    }
}

#[tokio::test]
async fn a_rolling_upgrade_under_load_fails_no_request() {
    let shop = Shop::open().await;
    shop.world.app.shutdown.cancel();
    let mut processes = [shop.world.process().await, shop.world.process().await];
    let browser = processes[1].browser();
    browser.sign_in(&shop.world.people, "maya", "/").await;
    let token = mint(&browser, "a test", &["read", "deploy"]).await;
    let load = Load {
        replicas: Arc::new(Mutex::new([processes[0].base.clone(), processes[1].base.clone()])),
        token: token.clone(),
        over: Arc::default(),
        answered: Arc::default(),
        failed: Arc::default(),
    };
    let asking: Vec<_> = (0..8).map(|first| tokio::spawn(load.clone().go_on(first))).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;

    let body = json!({"version": "v1.1.0", "reason": "in the middle of it", "take_over": true});
    let program = processes[1].browser().with_token(&token);
    let asked = send_json(&program, "/api/v1/services/shop/environments/staging/deploys", body).await;
    assert_eq!(asked.status, 201, "{}", asked.text);
    for (n, process) in processes.iter_mut().enumerate() {
        process.terminate();
        // A cluster takes a pod that ends out of its Service, which gets around a moment later.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ending = {
            let mut replicas = load.replicas.lock().unwrap();
            let other = replicas[1 - n].clone();
            std::mem::replace(&mut replicas[n], other)
        };
        assert_eq!(reqwest::get(format!("{ending}/readyz")).await.unwrap().status(), 503);
        process.ended().await;
        *process = shop.world.process().await;
        load.replicas.lock().unwrap()[n] = process.base.clone();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    shop.ends_as(read(&asked)["id"].as_i64().unwrap(), "succeeded").await;
    load.over.store(true, Ordering::Relaxed);
    for task in asking {
        task.await.unwrap();
    }

    let (answered, failed) = (load.answered.load(Ordering::Relaxed), load.failed.lock().unwrap().clone());
    println!("{answered} requests during a rolling upgrade, {} failed", failed.len());
    // A few thousand alone on a machine, and some hundred beside other tests.
    assert!(answered > 100, "{answered} requests are no load");
    assert_eq!(failed, [""; 0]);
    assert_eq!(generations(&shop.staging).len(), 2);
    invariants::hold(&shop).await;
}
