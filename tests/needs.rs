//! What the form says before any pod is replaced: whether its ConfigMaps, Secrets and keys are there, and whether the
//! passwords of its pull secrets work, tried at a registry that really asks for one.

use std::time::{Duration, Instant};

use base64::Engine;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::deploys::{CATALOGUE, Shop, deployments, image};
use crate::support::front::{Door, Front};
use crate::support::{World, until};

/// Changes the pods of the shop in staging, as an engineer with kubectl would.
async fn edit(shop: &Shop, pod: Value) {
    let patch = json!({"spec": {"template": {"spec": pod}}});
    let params = PatchParams { field_manager: Some("kubectl-edit".into()), ..PatchParams::default() };
    deployments(&shop.staging).patch("shop", &params, &Patch::Strategic(patch)).await.unwrap();
}

async fn form(shop: &Shop, version: &str) -> String {
    let maya = shop.maya().await;
    let path = format!("/services/shop/staging/deploy?version={version}&take_over=yes");
    let page = maya.get(&path).await;
    assert_eq!(page.status, 200, "{}", page.text);
    page.text
}

fn secrets(shop: &Shop) -> Api<Secret> {
    Api::namespaced(shop.staging.admin.clone(), &shop.staging.namespace)
}

async fn put_secret(shop: &Shop, name: &str, kind: &str, data: Value) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "stringData": data,
    });
    secrets(shop).patch(name, &PatchParams::apply("kubectl"), &Patch::Apply(secret)).await.unwrap();
}

async fn put_pull_secret(shop: &Shop, name: &str, host: &str, password: &str) {
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("portal:{password}"));
    let file = json!({"auths": {host: {"auth": auth}}}).to_string();
    put_secret(shop, name, "kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": file})).await;
}

#[tokio::test]
async fn the_form_says_which_config_maps_secrets_and_keys_are_missing() {
    let shop = Shop::open().await;
    let env = json!([
        {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "shop", "key": "mode"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
    ]);
    edit(&shop, json!({"containers": [{"name": "shop", "env": env}]})).await;

    let missing = form(&shop, "v1.1.0").await;
    assert!(missing.contains("The ConfigMap shop, the Secret db in "), "{missing}");

    let maps: Api<ConfigMap> = Api::namespaced(shop.staging.admin.clone(), &shop.staging.namespace);
    let with =
        |data: Value| serde_json::from_value(json!({"metadata": {"name": "shop"}, "data": data})).unwrap();
    maps.create(&PostParams::default(), &with(json!({"other": "x"}))).await.unwrap();
    put_secret(&shop, "db", "Opaque", json!({"user": "shop"})).await;
    let keys = form(&shop, "v1.1.0").await;
    assert!(
        keys.contains("The key mode of the ConfigMap shop, the key password of the Secret db in "),
        "{keys}"
    );

    maps.replace("shop", &PostParams::default(), &with(json!({"mode": "x"}))).await.unwrap();
    put_secret(&shop, "db", "Opaque", json!({"user": "shop", "password": "nobody may see this"})).await;
    let there = form(&shop, "v1.1.0").await;
    assert!(there.contains("Its ConfigMap and Secret are there"), "{there}");
    assert!(!there.contains("nobody may see"));
}

#[tokio::test]
async fn a_rollback_says_what_it_does_not_bring_back() {
    let shop = Shop::open().await;
    let maya = shop.maya().await;
    let env = json!([
        {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "shop", "key": "mode"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
    ]);
    let maps: Api<ConfigMap> = Api::namespaced(shop.staging.admin.clone(), &shop.staging.namespace);
    let mode = async |mode: &str| {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"}, "data": {"mode": mode}});
        maps.patch("shop", &PatchParams::apply("kubectl"), &Patch::Apply(map)).await.unwrap();
    };
    mode("fast").await;
    put_secret(&shop, "db", "Opaque", json!({"password": "one"})).await;
    edit(&shop, json!({"containers": [{"name": "shop", "env": env}]})).await;
    for version in ["v1.1.0", "v1.5.0"] {
        let id = shop.deploy(&maya, "staging", version).await;
        shop.ends_as(id, "succeeded").await;
    }
    let form = async || maya.get("/services/shop/staging/rollback").await.text;
    let as_it_was = "What its pods read is as it was";
    let page = form().await;
    assert!(
        page.contains(as_it_was) && page.contains("When v1.1.0 was deployed here with success"),
        "{page}"
    );

    mode("slow").await;
    put_secret(&shop, "db", "Opaque", json!({"password": "two"})).await;
    let page = form().await;
    assert!(page.contains("What its pods read has changed since"), "{page}");
    assert!(
        page.contains(
            "ConfigMap shop and Secret db were written to since v1.1.0 was deployed here with success"
        ),
        "{page}"
    );

    // A ConfigMap is known by what is in it, a Secret by who wrote to it last.
    mode("fast").await;
    assert!(form().await.contains("Secret db was written to since v1.1.0 was deployed here"));
    let kept: Value = sqlx::query_scalar("select reads from releases order by id limit 1")
        .fetch_one(&shop.world.app.db)
        .await
        .unwrap();
    assert_eq!(kept["ConfigMap shop"].as_str().unwrap().len(), 64, "{kept}");
    let version = kept["Secret db"].as_str().unwrap();
    assert!(version.len() > 37 && version.contains('/'), "uid/resourceVersion: {kept}");
}

#[tokio::test]
async fn who_may_not_read_secrets_is_told_that_nobody_looked() {
    let shop = Shop::open().await;
    let env = json!([{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]);
    edit(
        &shop,
        json!({"containers": [{"name": "shop", "env": env}], "imagePullSecrets": [{"name": "pull"}]}),
    )
    .await;
    let may = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({"apiGroups": groups, "resources": resources, "verbs": verbs});
    let everything_else = json!([
        may(&["apps"], &["*"], &["*"]),
        may(&[""], &["pods", "configmaps", "services", "events", "resourcequotas", "limitranges"], &["*"]),
    ]);
    shop.staging.allow("maya", everything_else).await;
    let bindings: Api<RoleBinding> = Api::namespaced(shop.staging.admin.clone(), &shop.staging.namespace);
    bindings.delete("team", &Default::default()).await.unwrap();

    let page = until("the authorizer knows", async || {
        let page = form(&shop, "v1.1.0").await;
        page.contains("Secrets not checked").then_some(page)
    })
    .await;
    assert!(page.contains("Pull secret not tried"), "{page}");
    assert!(!page.contains("is missing"), "{page}");
}

#[tokio::test]
async fn the_password_of_a_pull_secret_is_tried_where_the_pods_will_use_it() {
    let front = Front::start(Door::Basic).await;
    let known = format!(
        "[registry.\"{}\"]\ninsecure = true\nusername = \"portal\"\npassword = \"secret\"\n\n[registry.\"127",
        front.host
    );
    let shop =
        Shop::open_as(World::builder().replace("[registry.\"127", &known), CATALOGUE, "production").await;
    let version = format!("{}/payments/checkout-api:v1.1.0", front.host);
    edit(&shop, json!({"imagePullSecrets": [{"name": "pull"}]})).await;

    let none = form(&shop, &version).await;
    assert!(none.contains(&format!("No pull secret is for {}", front.host)), "{none}");
    assert!(none.contains("pull is not there, or holds no passwords."), "{none}");

    put_pull_secret(&shop, "pull", "registry.example", "secret").await;
    let elsewhere = form(&shop, &version).await;
    assert!(elsewhere.contains(&format!("No pull secret is for {}", front.host)), "{elsewhere}");
    assert!(!elsewhere.contains("is not there"), "{elsewhere}");

    put_pull_secret(&shop, "pull", &front.host, "a guess").await;
    let refused = form(&shop, &version).await;
    assert!(refused.contains("Its pull secret does not work"), "{refused}");
    assert!(refused.contains(&format!("{} refuses the password in pull", front.host)), "{refused}");

    // The kubelet stops at such a file, wherever its image is.
    let odd = json!({".dockerconfigjson": r#"{"auths": {"registry.example": {"auth": "?"}}}"#});
    secrets(&shop).delete("pull", &Default::default()).await.unwrap();
    put_secret(&shop, "pull", "kubernetes.io/dockerconfigjson", odd).await;
    let unreadable = form(&shop, &version).await;
    assert!(unreadable.contains("Its pull secret can’t be read"), "{unreadable}");

    // What every pod of the namespace gets, whatever its template says.
    edit(&shop, json!({"imagePullSecrets": [{"$patch": "delete", "name": "pull"}]})).await;
    let quiet = form(&shop, &version).await;
    assert!(!quiet.contains("ull secret"), "it names none: {quiet}");
    let accounts: Api<ServiceAccount> = Api::namespaced(shop.staging.admin.clone(), &shop.staging.namespace);
    let with = Patch::Merge(json!({"imagePullSecrets": [{"name": "of-the-account"}]}));
    accounts.patch("default", &PatchParams::default(), &with).await.unwrap();
    put_pull_secret(&shop, "of-the-account", &front.host, "secret").await;
    let works = until("admission knows the account's secret", async || {
        let page = form(&shop, &version).await;
        page.contains("ull secret").then_some(page)
    })
    .await;
    assert!(works.contains("The registry takes the password in of-the-account."), "{works}");
    let maya = shop.maya().await;
    let began = Instant::now();
    maya.get(&format!("/services/shop/staging/deploy?version={version}&take_over=yes")).await;
    let took = began.elapsed();
    println!("the form answered after {took:.1?}, with a dry run, a Secret and a password tried");
    assert!(took < Duration::from_secs(2), "{took:?}");

    // And the nodes say so, too: they pull with it.
    let id = shop.deploy(&maya, "staging", &version).await;
    shop.ends_as(id, "succeeded").await;
    assert!(image(&shop.staging).await.starts_with(&version));
}
