//! Many deploys at once, over as many services, by several people; their pods are simulated. All of them end.
//!
//! `bin/test` runs a few; `bench/faults` sets `PILOTHOUSE_DEPLOYS` to 200 and prints what it measured.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, PostParams};
use serde_json::json;

use crate::api::{json as read, program, send_json};
use crate::deploys::REPOSITORY;
use crate::support::cluster::Sandbox;
use crate::support::{self, World, until};

/// One person may ask for 60 changes at once.
const EACH: usize = 50;

fn deployment(name: &str) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": name}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "nodeSelector": {"type": "kwok"},
                    "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
                    "containers": [{"name": name, "image": format!("{REPOSITORY}:v1.0.0")}],
                },
            },
        },
    }))
    .unwrap()
}

#[tokio::test]
async fn deploys_of_many_services_that_are_asked_for_at_once_all_end() {
    let count: usize = support::rounds("PILOTHOUSE_DEPLOYS", 12);
    let sandbox = Sandbox::new("many", json!({})).await;
    let names: Vec<String> = (0..count).map(|n| format!("svc-{n:03}")).collect();
    let api: Api<Deployment> = Api::namespaced(sandbox.admin.clone(), &sandbox.namespace);
    for name in &names {
        api.create(&PostParams::default(), &deployment(name)).await.unwrap();
    }
    let files = tempfile::tempdir().unwrap();
    let group = "apiVersion: backstage.io/v1alpha1\nkind: Group\nmetadata: {name: payments}\nspec: {type: team, children: []}\n";
    let service = |name: &String| {
        format!(
            "---\napiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\n\
                 spec: {{type: service, lifecycle: production, owner: payments}}\n"
        )
    };
    let catalogue: String = std::iter::once(group.to_string()).chain(names.iter().map(service)).collect();
    std::fs::write(files.path().join("catalog-info.yaml"), catalogue).unwrap();
    let people: Vec<String> = (0..count.div_ceil(EACH)).map(|n| format!("engineer{n}")).collect();
    let more = |name: &String| {
        format!(
            "\n[[people]]\nsub = \"{name}\"\nusername = \"{name}\"\nname = \"Engineer {name}\"\nemail = \"{name}@acme.example\"\n\
                 groups = [\"engineering\", \"payments\"]\nsays = \"Deploys.\"\n"
        )
    };
    let staging = "name = \"staging\"\ncluster = \"dev\"\nnamespace = ";
    let world = World::builder()
        .people(&people.iter().map(more).collect::<String>())
        .replace("paths = [\"demo/catalogue\"]", &format!("paths = [{:?}]", files.path()))
        .replace(
            &format!("{staging}\"{{team}}-{{environment}}\""),
            &format!("{staging}\"{}\"", sandbox.namespace),
        )
        .start()
        .await;
    let mut programs = Vec::new();
    for person in &people {
        programs.push(program(&world, person, &["read", "deploy"]).await);
    }
    until("every service runs", async || {
        let list = api.list(&Default::default()).await.unwrap().items;
        let ready =
            |it: &Deployment| it.status.as_ref().is_some_and(|status| status.available_replicas == Some(2));
        let page =
            programs[0].get(&format!("/api/v1/services/svc-{:03}/environments/staging", count - 1)).await;
        (list.iter().all(ready) && page.text.contains("v1.0.0")).then_some(())
    })
    .await;

    let db = &world.app.db;
    let in_use = || db.size() as usize - db.num_idle();
    // The listener's is never given back, and the engines borrow one now and then.
    let usual = (0..50).map(|_| in_use()).min().unwrap().max(1);
    let lent = Lent::now();
    let began = Instant::now();
    let asked = stream::iter(names.iter().enumerate()).map(|(n, name)| {
        let who = &programs[n / EACH];
        async move {
            let body = json!({"version": "v1.1.0", "reason": "many at once", "take_over": true});
            let page =
                send_json(who, &format!("/api/v1/services/{name}/environments/staging/deploys"), body).await;
            assert_eq!(page.status, 201, "{}", page.text);
            read(&page)["id"].as_i64().unwrap()
        }
    });
    let ids: Vec<i64> = asked.buffer_unordered(32).collect().await;
    let accepted = began.elapsed();

    let states = async || -> Vec<(String, f64)> {
        sqlx::query_as(
            "select state, extract(epoch from coalesce(ended, now()) - requested)::float8 from deploys where id = any ($1)",
        )
        .bind(&ids)
        .fetch_all(&world.app.db)
        .await
        .unwrap()
    };
    let limit = Duration::from_secs(60 + 3 * count as u64);
    let ended = loop {
        let states = states().await;
        if states.iter().all(|(state, _)| state == "succeeded" || state == "failed") {
            break states;
        }
        assert!(began.elapsed() < limit, "not all ended: {states:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let took = began.elapsed();
    assert_eq!(ended.len(), count);
    assert!(ended.iter().all(|(state, _)| state == "succeeded"), "{ended:?}");
    let runs = api.list(&Default::default()).await.unwrap().items;
    let image = |it: &Deployment| {
        it.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].image.clone()
    };
    assert!(runs.iter().all(|it| image(it).unwrap().contains(":v1.1.0@sha256:")));
    // One change of each: the one with which it was made, and the deploy's.
    let generations: Vec<_> = runs.iter().map(|it| it.metadata.generation.unwrap()).collect();
    assert!(generations.iter().all(|generation| *generation == 2), "{generations:?}");
    let slowest = ended.iter().map(|(_, seconds)| *seconds).fold(0.0, f64::max);
    println!(
        "{count} deploys: {:.0} a minute, asked for within {:.1} s, the slowest ended after {slowest:.1} s",
        count as f64 * 60.0 / took.as_secs_f64(),
        accepted.as_secs_f64(),
    );

    // The connections of those who asked end with them; what the portal keeps open to the cluster, a minute and a half later.
    drop(programs);
    until("the pool has its connections back", async || (in_use() <= usual).then_some(())).await;
    if support::is_alone("PILOTHOUSE_DEPLOYS") {
        let mut after = Lent::now();
        while !after.is_back_at(lent) && began.elapsed() < took + Duration::from_secs(150) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            after = Lent::now();
        }
        println!("after {count} deploys: {after:?}, and before them: {lent:?}");
        assert!(after.is_back_at(lent), "{after:?} after {lent:?}");
    }
}

/// What a process must have back once everything has ended (I10).
#[derive(Clone, Copy, Debug)]
struct Lent {
    tasks: usize,
    descriptors: usize,
}

impl Lent {
    fn now() -> Self {
        Self {
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
        }
    }

    /// A connection or two may just be opened anew.
    fn is_back_at(self, before: Self) -> bool {
        self.tasks <= before.tasks + 4 && self.descriptors <= before.descriptors + 4
    }
}
