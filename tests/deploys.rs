//! Deploys from the form to the cluster: real namespaces, real pods, people who really signed in.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams, PostParams};
use pilothouse::kube::sources::ENVIRONMENT_LABEL;
use serde_json::{Value, json};

use crate::invariants;
use crate::support::cluster::{Sandbox, writes};
use crate::support::{Browser, Builder, Page, World, found, until};

pub const REPOSITORY: &str = "127.0.0.1:5000/payments/checkout-api";

/// A portal with one service, `shop`, that runs v1.0.0 in two namespaces of its own, put there with kubectl.
pub struct Shop {
    pub world: World,
    pub staging: Sandbox,
    pub production: Sandbox,
    pub files: tempfile::TempDir,
}

impl Shop {
    pub async fn open() -> Self {
        Self::open_in(World::builder()).await
    }

    /// In a world that differs from the usual one.
    pub async fn open_in(world: Builder) -> Self {
        Self::open_with(world, CATALOGUE).await
    }

    /// With another catalogue, in which `shop` is a service of payments.
    pub async fn with(catalogue: &str) -> Self {
        Self::open_with(World::builder(), catalogue).await
    }

    /// Its pods are simulated (KWOK) and not watched once they are ready: for what does not ask how a pod fares.
    pub async fn with_simulated_pods() -> Self {
        let on_kwok = json!({
            "nodeSelector": {"type": "kwok"},
            "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
        });
        let world = World::builder().replace("soak = \"1s\"", "soak = \"0s\"");
        Self::open_on(world, CATALOGUE, "production", on_kwok).await
    }

    async fn open_with(world: Builder, catalogue: &str) -> Self {
        Self::open_as(world, catalogue, "production").await
    }

    /// In a world that calls its production this.
    pub async fn open_as(world: Builder, catalogue: &str, production_name: &str) -> Self {
        Self::open_on(world, catalogue, production_name, json!({})).await
    }

    /// `nodes`: where its pods run, as fields of their spec.
    async fn open_on(world: Builder, catalogue: &str, production_name: &str, nodes: Value) -> Self {
        let staging = Sandbox::new("staging", json!({})).await;
        let production = Sandbox::new("production", json!({ENVIRONMENT_LABEL: production_name})).await;
        for sandbox in [&staging, &production] {
            put_with_kubectl(sandbox, &nodes).await;
        }
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("catalog-info.yaml"), catalogue).unwrap();
        let namespace = |environment: &str, sandbox: &Sandbox| {
            let head = format!("name = \"{environment}\"\ncluster = \"dev\"\nnamespace = ");
            (format!("{head}\"{{team}}-{{environment}}\""), format!("{head}\"{}\"", sandbox.namespace))
        };
        let (from_staging, to_staging) = namespace("staging", &staging);
        let (from_production, to_production) = namespace(production_name, &production);
        let world = world
            .replace("paths = [\"demo/catalogue\"]", &format!("paths = [{:?}]", files.path()))
            .replace(&from_staging, &to_staging)
            .replace(&from_production, &to_production)
            .start()
            .await;
        invariants::watch(&world.app.db).await;
        let shop = Self { world, staging, production, files };
        // The import and the first look at the cluster take a moment.
        let maya = shop.maya().await;
        until("the form offers versions", async || {
            let page = maya.get("/services/shop/staging/deploy").await;
            (page.status == 200 && page.text.contains("runs v1.0.0")).then_some(())
        })
        .await;
        shop
    }

    pub async fn maya(&self) -> Browser {
        self.world.as_("maya").await
    }

    pub async fn omar(&self) -> Browser {
        self.world.as_("omar").await
    }

    /// Asks for a version as the form does, and gives back the number of the deploy.
    pub async fn deploy(&self, who: &Browser, environment: &str, version: &str) -> i64 {
        let page = self.ask(who, environment, version, "").await;
        page.parse().unwrap_or_else(|_| panic!("not sent: {page}"))
    }

    /// The number of the deploy, or the refused page.
    pub async fn ask(&self, who: &Browser, environment: &str, version: &str, key: &str) -> String {
        let path = format!("/services/shop/{environment}/deploy");
        let form = who.get(&format!("{path}?version={version}&take_over=yes")).await;
        let seen = hidden(&form.text, "seen");
        let fields = [
            ("version", version),
            ("take_over", "yes"),
            ("reason", "a test asks"),
            ("seen", &seen),
            ("key", key),
        ];
        let page = who.post(&path, &fields).await;
        match page.status.as_u16() {
            303 => page.location().trim_start_matches("/deploys/").to_string(),
            _ => page.text,
        }
    }

    pub async fn state(&self, id: i64) -> String {
        sqlx::query_scalar("select state from deploys where id = $1")
            .bind(id)
            .fetch_one(&self.world.app.db)
            .await
            .unwrap()
    }

    pub async fn ends_as(&self, id: i64, wanted: &str) {
        let ended = found(async || {
            let ended: bool = sqlx::query_scalar("select ended is not null from deploys where id = $1")
                .bind(id)
                .fetch_one(&self.world.app.db)
                .await
                .unwrap();
            ended.then_some(())
        })
        .await;
        let (state, detail): (String, Value) =
            sqlx::query_as("select state, detail from deploys where id = $1")
                .bind(id)
                .fetch_one(&self.world.app.db)
                .await
                .unwrap();
        let events: Vec<Value> =
            sqlx::query_scalar("select event from events where deploy = $1 order by seq")
                .bind(id)
                .fetch_all(&self.world.app.db)
                .await
                .unwrap();
        assert!(ended.is_some(), "not ended within two minutes, {state}: {detail}, after {events:?}");
        assert_eq!(state, wanted, "{detail}");
    }
}

pub const CATALOGUE: &str = "
apiVersion: backstage.io/v1alpha1
kind: Group
metadata: {name: payments}
spec: {type: team, children: []}
---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: shop
  description: Sells things
spec: {type: service, lifecycle: production, owner: payments}
";

async fn put_with_kubectl(sandbox: &Sandbox, nodes: &Value) {
    let mut deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", "labels": {"app.kubernetes.io/name": "shop"}},
        "spec": {
            "replicas": 1,
            "progressDeadlineSeconds": 30,
            "selector": {"matchLabels": {"app": "shop"}},
            "template": {
                "metadata": {"labels": {"app": "shop"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
                    "name": "shop",
                    "image": format!("{REPOSITORY}:v1.0.0"),
                    "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
                    "resources": {"limits": {"memory": "64Mi"}},
                }]},
            },
        },
    });
    let pod = deployment["spec"]["template"]["spec"].as_object_mut().unwrap();
    pod.extend(nodes.as_object().unwrap().clone());
    let params = PostParams { field_manager: Some("kubectl-create".into()), ..PostParams::default() };
    deployments(sandbox).create(&params, &serde_json::from_value(deployment).unwrap()).await.unwrap();
}

pub fn deployments(sandbox: &Sandbox) -> Api<Deployment> {
    Api::namespaced(sandbox.admin.clone(), &sandbox.namespace)
}

/// How often it was written to so that something else runs or is wanted: the API server counts it.
pub async fn generation(sandbox: &Sandbox) -> usize {
    let found = deployments(sandbox).get("shop").await.unwrap();
    found.metadata.generation.unwrap().try_into().unwrap()
}

pub async fn image(sandbox: &Sandbox) -> String {
    let found = deployments(sandbox).get("shop").await.unwrap();
    found.spec.unwrap().template.spec.unwrap().containers[0].image.clone().unwrap()
}

/// Writes to the Deployment that changed its generation, from the API server's audit log: (person, generation). What stands
/// beside it while a version proves itself is another one.
pub fn generations(sandbox: &Sandbox) -> Vec<(String, i64)> {
    let changes = writes(&sandbox.namespace, "deployments", "shop").into_iter().filter(|write| write.changed);
    let somebody = || String::from("somebody without impersonation");
    changes.map(|write| (write.person.unwrap_or_else(somebody), write.generation)).collect()
}

/// Of the deploy that the form asked for.
pub fn number(sent: &Page) -> i64 {
    assert_eq!(sent.status, 303, "{}", sent.text);
    sent.location().trim_start_matches("/deploys/").parse().unwrap()
}

pub fn hidden(html: &str, name: &str) -> String {
    let marker = format!("name=\"{name}\" value=\"");
    let rest = html.split_once(&marker).map(|(_, rest)| rest).unwrap_or_default();
    rest.split('"').next().unwrap_or_default().to_string()
}

#[tokio::test]
async fn a_staging_deploy_lands_once_and_in_the_name_of_the_person_who_asked() {
    let shop = Shop::open().await;
    let maya = shop.maya().await;

    let id = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(id, "succeeded").await;

    assert!(image(&shop.staging).await.starts_with(&format!("{REPOSITORY}:v1.1.0@sha256:")));
    assert_eq!(generations(&shop.staging).last(), Some(&("maya".to_string(), 2)));
    let page = maya.get(&format!("/deploys/{id}")).await;
    assert!(page.text.contains("Deploy shop v1.1.0") && page.text.contains("Done"));
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn production_wants_the_same_bytes_in_staging_first_and_the_form_says_so_before() {
    let shop = Shop::open().await;
    let maya = shop.maya().await;

    let form = maya.get("/services/shop/production/deploy?version=v1.1.0").await;
    assert!(form.text.contains("Staging has not run it"), "the form does not say what is missing");
    let refused = shop.ask(&maya, "production", "v1.1.0", "").await;
    assert!(refused.contains("Not sent."), "{refused}");
}

#[tokio::test]
async fn a_production_deploy_waits_for_somebody_else_and_then_lands_by_itself() {
    let shop = Shop::open().await;
    let (maya, omar) = (shop.maya().await, shop.omar().await);
    let staged = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(staged, "succeeded").await;

    let id = shop.deploy(&maya, "production", "v1.1.0").await;
    assert_eq!(shop.state(id).await, "awaiting_approval");
    assert!(omar.get("/approvals").await.text.contains("Waiting for you"));

    let path = format!("/deploys/{id}/approval");
    let own = maya.post(&path, &[("decision", "approve"), ("seen", &seen(&omar, id).await)]).await;
    assert_eq!(own.status, 422);
    assert!(own.text.contains("You asked for this deploy, so somebody else has to approve it."));

    let stale = omar.post(&path, &[("decision", "approve"), ("seen", "another digest")]).await;
    assert!(stale.text.contains("What would run is not what your page showed."));
    let mute = omar.post(&path, &[("decision", "reject"), ("seen", &seen(&omar, id).await)]).await;
    assert!(mute.text.contains("Say why."));
    assert_eq!(generations(&shop.production).len(), 1, "something was written before the approval");

    let yes = omar.post(&path, &[("decision", "approve"), ("seen", &seen(&omar, id).await)]).await;
    assert_eq!(yes.status, 303);
    shop.ends_as(id, "succeeded").await;
    assert_eq!(generations(&shop.production).last(), Some(&("maya".to_string(), 2)));
    invariants::hold(&shop).await;
}

/// The digest on the approver's page.
pub async fn seen(who: &Browser, id: i64) -> String {
    hidden(&who.get(&format!("/deploys/{id}")).await.text, "seen")
}

#[tokio::test]
async fn an_approval_is_void_once_something_else_runs() {
    let shop = Shop::open().await;
    let (maya, omar) = (shop.maya().await, shop.omar().await);
    let staged = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(staged, "succeeded").await;
    let id = shop.deploy(&maya, "production", "v1.1.0").await;

    let image = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "shop", "image": format!("{REPOSITORY}:v1.5.0")}
    ]}}}});
    let patch = Patch::Strategic(image);
    deployments(&shop.production).patch("shop", &PatchParams::default(), &patch).await.unwrap();

    omar.post(
        &format!("/deploys/{id}/approval"),
        &[("decision", "approve"), ("seen", &seen(&omar, id).await)],
    )
    .await;
    assert_eq!(shop.state(id).await, "superseded");
    let page = omar.get(&format!("/deploys/{id}")).await;
    assert!(page.text.contains("What runs here is not what ran when this was asked for."));
    assert!(page.text.contains("Maya Okafor has to ask again."));
    assert_eq!(generations(&shop.production).iter().filter(|(who, _)| who == "maya").count(), 0);
}

#[tokio::test]
async fn a_crashing_version_fails_with_its_reason_and_is_rolled_back() {
    let shop = Shop::open().await;
    let maya = shop.maya().await;
    let good = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(good, "succeeded").await;

    let bad = shop.deploy(&maya, "staging", "v1.3.0").await;
    shop.ends_as(bad, "failed").await;
    let page = maya.get(&format!("/deploys/{bad}")).await;
    assert!(page.text.contains("FATAL config: DATABASE_URL is not set"), "the last log line is not shown");

    let form = maya.get("/services/shop/staging/rollback").await;
    let key = hidden(&form.text, "key");
    let sent = maya.post("/services/shop/staging/rollback", &[("key", &key)]).await;
    let id = number(&sent);
    shop.ends_as(id, "succeeded").await;
    assert!(image(&shop.staging).await.starts_with(&format!("{REPOSITORY}:v1.1.0@")));
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn a_withdrawn_deploy_is_never_written() {
    let shop = Shop::open().await;
    let maya = shop.maya().await;
    let staged = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(staged, "succeeded").await;
    let id = shop.deploy(&maya, "production", "v1.1.0").await;

    let gone = maya.post(&format!("/deploys/{id}/cancellation"), &[]).await;
    assert_eq!(gone.status, 303, "{}", gone.text);
    assert_eq!(shop.state(id).await, "cancelled");
    let omar = shop.omar().await;
    let late = omar.post(&format!("/deploys/{id}/approval"), &[("decision", "approve"), ("seen", "x")]).await;
    assert!(late.text.contains("no longer waits for approval"));
    assert_eq!(generations(&shop.production).len(), 1);
}

#[tokio::test]
async fn sending_the_form_twice_makes_one_deploy() {
    let shop = Shop::open().await;
    let maya = shop.maya().await;
    let first = shop.ask(&maya, "staging", "v1.1.0", "the-same-key").await;
    let second = shop.ask(&maya, "staging", "v1.1.0", "the-same-key").await;
    assert_eq!(first, second);
    shop.ends_as(first.parse().unwrap(), "succeeded").await;
    assert_eq!(generations(&shop.staging).len(), 2);
}

#[tokio::test]
async fn scale_and_restart_go_the_same_way() {
    let shop = Shop::open().await;
    let maya = shop.maya().await;
    let scaled = maya.post("/services/shop/staging/scale", &[("replicas", "2"), ("key", "a")]).await;
    let id = number(&scaled);
    shop.ends_as(id, "succeeded").await;
    assert_eq!(deployments(&shop.staging).get("shop").await.unwrap().spec.unwrap().replicas, Some(2));

    let restarted = maya.post("/services/shop/staging/restart", &[("key", "b")]).await;
    let id = number(&restarted);
    shop.ends_as(id, "succeeded").await;
    let status = deployments(&shop.staging).get("shop").await.unwrap().status.unwrap();
    assert_eq!(status.updated_replicas, Some(2));

    for odd in ["", "-1", "many", "1001", "2"] {
        let refused = maya.post("/services/shop/staging/scale", &[("replicas", odd), ("key", "c")]).await;
        assert_eq!(refused.status, 422, "{odd:?} was taken");
    }
}

#[tokio::test]
async fn what_is_not_yours_does_not_exist() {
    let shop = Shop::open().await;
    let maya = shop.maya().await;
    let id = shop.deploy(&maya, "staging", "v1.1.0").await;
    let noor = shop.world.as_("noor").await;
    for path in [
        format!("/deploys/{id}"),
        format!("/deploys/{id}/live"),
        "/services/shop/staging/deploy".into(),
        "/services/shop/staging/scale".into(),
        "/services/shop/staging/restart".into(),
        "/services/shop/staging/rollback".into(),
    ] {
        assert_eq!(noor.get(&path).await.status, 404, "{path}");
    }
    let sent = noor.post("/services/shop/staging/restart", &[("key", "x")]).await;
    assert_eq!(sent.status, 404);
    assert_eq!(noor.post(&format!("/deploys/{id}/cancellation"), &[]).await.status, 404);
}

#[tokio::test]
async fn a_second_replica_carries_on_where_the_first_stopped() {
    let shop = Shop::open().await;
    let maya = shop.maya().await;
    let (_other, _browser) = shop.world.replica().await;
    let id = shop.deploy(&maya, "staging", "v1.1.0").await;
    // The first replica stops in the middle; what it had claimed is the other's.
    shop.world.app.shutdown.cancel();
    shop.ends_as(id, "succeeded").await;
    assert_eq!(generations(&shop.staging).len(), 2, "the change was written more than once");
}
