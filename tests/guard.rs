//! The guard on the real cluster: what it refuses and lets through, what the portal carries along, and what it finds that
//! came past. Each test has an environment of its own name, because a policy belongs to the whole cluster.

use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use pilothouse::auth::KubeIdentity;
use pilothouse::kube::{UserClient, WorkloadKind};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::deploys::{CATALOGUE, REPOSITORY, Shop, deployments, image, number, seen};
use crate::invariants;
use crate::support::cluster::{Sandbox, admin};
use crate::support::desk::COMMAND;
use crate::support::{World, state, until};
use crate::workloads::{is_found, put_in_place};

/// A shop whose production has a guard, and its policy in the cluster for as long.
struct Guarded {
    shop: Shop,
    environment: String,
    /// The portal's configuration, for `platform guard`.
    file: tempfile::NamedTempFile,
}

impl Guarded {
    async fn open() -> Self {
        Self::open_with(CATALOGUE, "soak = \"1s\"").await
    }

    /// `rules`: lines of the environment, its soak among them.
    async fn open_with(catalogue: &str, rules: &str) -> Self {
        let guarded = Self::not_yet(catalogue, rules).await;
        guarded.install().await;
        guarded
    }

    /// Without its policy.
    async fn not_yet(catalogue: &str, rules: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let environment = format!("guarded-{}-{number}", std::process::id());
        let world =
            World::builder().replace("name = \"production\"", &format!("name = \"{environment}\"")).replace(
                "soak = \"1s\"\n",
                &format!(
                    "break_glass = [\"on-call\"]\n{rules}\n[environment.guard]\nbreak_glass = [\"on-call\"]\nexempt = [\"an-operator\"]\n"
                ),
            );
        let shop = Shop::open_as(world, catalogue, &environment).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), shop.world.configuration()).unwrap();
        Self { shop, environment, file }
    }

    /// As `kubectl apply --server-side` does it. The right to carry approvals is in the cluster already.
    async fn install(&self) {
        let made = self.run("manifests", &[]).await;
        assert!(made.good, "{}", made.text);
        for document in serde_saphyr::from_multiple::<Value>(&made.text).unwrap() {
            let kind = document["kind"].as_str().unwrap();
            if !kind.starts_with("Validating") {
                continue;
            }
            let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
            let api: Api<DynamicObject> = Api::all_with(self.admin(), &ApiResource::from_gvk(&kind));
            let name = document["metadata"]["name"].as_str().unwrap();
            api.patch(name, &PatchParams::apply("test"), &Patch::Apply(&document)).await.unwrap();
        }
        // The API server needs a moment to take a policy up.
        let maya = self.shop.production.maya();
        until("the policy", async || set_image(&maya, &self.shop.production, "v1.1.0", true).await.err())
            .await;
    }

    async fn run(&self, verb: &str, arguments: &[&str]) -> Ran {
        let mut command = Command::new(COMMAND);
        command.args(["guard", verb, "--environment", &self.environment, "--config"]).arg(self.file.path());
        let output = command.args(arguments).stdin(Stdio::null()).output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        Ran { good: output.status.success(), text }
    }

    async fn check(&self) -> Ran {
        let kubeconfig = state().join("cluster/admin.kubeconfig");
        self.run("check", &["--kubeconfig", kubeconfig.to_str().unwrap()]).await
    }

    fn admin(&self) -> kube::Client {
        self.shop.production.admin.clone()
    }

    /// Nina is on call, so she may break the glass; and she may edit here.
    async fn nina(&self) -> UserClient {
        let production = &self.shop.production;
        let rules = json!([{
            "apiGroups": ["apps", ""],
            "resources": ["deployments", "pods", "replicasets", "events"],
            "verbs": ["*"],
        }]);
        production.allow("nina", rules).await;
        let nina = production.person("nina", "on-call");
        crate::support::cluster::until_allowed(&nina, &production.namespace).await;
        nina
    }

    async fn lands(&self, version: &str) -> i64 {
        let id = self.approved(version).await;
        self.shop.ends_as(id, "succeeded").await;
        id
    }

    async fn approved(&self, version: &str) -> i64 {
        let (maya, omar) = (self.shop.maya().await, self.shop.omar().await);
        let staged = self.shop.deploy(&maya, "staging", version).await;
        self.shop.ends_as(staged, "succeeded").await;
        let id = self.shop.deploy(&maya, &self.environment, version).await;
        let form = [("decision", "approve"), ("seen", &*seen(&omar, id).await), ("confirm", "shop")];
        let answer = omar.post(&format!("/deploys/{id}/approval"), &form).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        id
    }

    /// What the audit trail has as unapproved, oldest first: (target, detail).
    async fn unapproved(&self) -> Vec<(String, Value)> {
        sqlx::query_as("select target, detail from audit where action = 'guard.unapproved' order by id")
            .fetch_all(&self.shop.world.app.db)
            .await
            .unwrap()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let name = format!("pilothouse-guard-{}", self.environment);
        let clean = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let admin = admin().await;
                let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(admin.clone());
                let _ = bindings.delete(&name, &DeleteParams::default()).await;
                let policies: Api<ValidatingAdmissionPolicy> = Api::all(admin);
                let _ = policies.delete(&name, &DeleteParams::default()).await;
            });
        });
        let _ = clean.join();
    }
}

struct Ran {
    good: bool,
    text: String,
}

async fn change(
    user: &UserClient,
    sandbox: &Sandbox,
    patch: Value,
    dry_run: bool,
) -> Result<Deployment, kube::Error> {
    let params = PatchParams { dry_run, field_manager: Some("kubectl-set".into()), ..PatchParams::default() };
    user.api::<Deployment>(&sandbox.namespace).patch("shop", &params, &Patch::Strategic(patch)).await
}

async fn set_image(
    user: &UserClient,
    sandbox: &Sandbox,
    version: &str,
    dry_run: bool,
) -> Result<Deployment, kube::Error> {
    let containers = json!([{"name": "shop", "image": format!("{REPOSITORY}:{version}")}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    change(user, sandbox, patch, dry_run).await
}

fn bare_pod() -> Pod {
    let containers = json!([{"name": "bare", "image": format!("{REPOSITORY}:v1.1.0")}]);
    serde_json::from_value(json!({"metadata": {"name": "bare"}, "spec": {"containers": containers}})).unwrap()
}

#[tokio::test]
async fn the_cluster_refuses_an_engineer_what_nobody_approved_and_says_where_to_go() {
    let guarded = Guarded::open().await;
    let production = &guarded.shop.production;
    let maya = production.maya();

    let refused = set_image(&maya, production, "v1.1.0", false).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("{}/services?q=shop", guarded.shop.world.base)), "{refused}");
    assert!(refused.contains("You are maya@acme.example."), "{refused}");
    assert!(refused.contains("oidc:on-call may"), "{refused}");
    let pod = maya.api::<Pod>(&production.namespace).create(&PostParams::default(), &bare_pod()).await;
    assert!(pod.unwrap_err().to_string().contains("after an approval"));
    let mark = json!({"metadata": {"annotations": {"pilothouse.dev/approval": "dry-run"}}, "spec": {"template": {"spec": {
        "terminationGracePeriodSeconds": 2,
    }}}});
    assert!(change(&maya, production, mark, false).await.is_err(), "a forged mark is let through");

    change(&maya, production, json!({"spec": {"replicas": 2}}), false).await.unwrap();
    let restarted = json!({"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}});
    change(&maya, production, restarted, false).await.unwrap();
    assert_eq!(image(production).await, format!("{REPOSITORY}:v1.0.0"));
    assert_eq!(guarded.unapproved().await, []);
}

#[tokio::test]
async fn the_portals_approved_change_passes_and_its_form_has_tried_both_ways() {
    let guarded = Guarded::open().await;
    let maya = guarded.shop.maya().await;
    let staged = guarded.shop.deploy(&maya, "staging", "v1.1.0").await;
    guarded.shop.ends_as(staged, "succeeded").await;

    let path = format!("/services/shop/{}/deploy?version=v1.1.0&take_over=yes", guarded.environment);
    let form = maya.get(&path).await;
    assert!(form.text.contains("The cluster demands the approval too"), "{}", form.text);
    assert!(form.text.contains("The cluster accepts it") && form.text.contains("Its pods would be let in"));
    assert!(!form.text.contains("dry-run"), "the mark of the trial is shown");

    guarded.lands("v1.1.0").await;
    assert!(image(&guarded.shop.production).await.starts_with(&format!("{REPOSITORY}:v1.1.0@sha256:")));
    assert_eq!(guarded.unapproved().await, []);
    invariants::hold(&guarded.shop).await;
}

#[tokio::test]
async fn a_canary_passes_as_what_was_approved() {
    let rules = "soak = \"1s\"\nstrategy = \"canary\"\ncanary = [{ weight = 50, pause = \"1s\" }]";
    let guarded = Guarded::open_with(CATALOGUE, rules).await;
    guarded.lands("v1.1.0").await;
    let wrote: i64 = sqlx::query_scalar("select count(*) from guard_credits where marker like '%-beside'")
        .fetch_one(&guarded.shop.world.app.db)
        .await
        .unwrap();
    assert_eq!(wrote, 1, "the canary was seen, and explained");
    assert_eq!(guarded.unapproved().await, []);
    invariants::hold(&guarded.shop).await;
}

#[tokio::test]
async fn a_stateful_set_is_guarded_and_an_approved_deploy_of_it_is_explained() {
    let guarded = Guarded::not_yet(CATALOGUE, "soak = \"1s\"").await;
    let production = &guarded.shop.production;
    put_in_place(production, WorkloadKind::StatefulSet, json!({"serviceName": "shop"})).await;
    is_found(&guarded.shop, &guarded.environment, WorkloadKind::StatefulSet).await;
    // Nobody approved that, and the policy was not there yet.
    let by_hand = until("the audit row", async || guarded.unapproved().await.pop()).await;
    assert_eq!(by_hand.1["kind"], "StatefulSet");
    guarded.install().await;

    let sets = production.maya().api::<StatefulSet>(&production.namespace);
    let containers = json!([{"name": "shop", "image": format!("{REPOSITORY}:v1.5.0")}]);
    let patch = Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": containers}}}}));
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    let refused = until("the policy", async || sets.patch("shop", &params, &patch).await.err()).await;
    let refused = refused.to_string();
    assert!(refused.contains(&format!("{}/services?q=shop", guarded.shop.world.base)), "{refused}");

    guarded.lands("v1.1.0").await;
    let template = sets.get("shop").await.unwrap().spec.unwrap().template;
    assert!(template.spec.unwrap().containers[0].image.as_ref().unwrap().contains(":v1.1.0@sha256:"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(guarded.unapproved().await, [by_hand]);
}

#[tokio::test]
async fn an_approval_for_trying_is_good_for_nothing_else() {
    let guarded = Guarded::open().await;
    let production = &guarded.shop.production;
    let identity = KubeIdentity::new(&production.somebody("maya@acme.example", "payments"), "oidc:").unwrap();
    let trying = production.portal.as_user_trying(&identity);
    let patch = json!({
        "metadata": {"annotations": {"pilothouse.dev/approval": "dry-run"}},
        "spec": {"template": {"spec": {"terminationGracePeriodSeconds": 2}}},
    });

    change(&trying, production, patch.clone(), true).await.unwrap();
    let refused = change(&trying, production, patch, false).await.unwrap_err().to_string();
    assert!(refused.contains("after an approval"), "{refused}");
}

#[tokio::test]
async fn who_breaks_the_glass_is_in_the_audit_trail_within_seconds_and_once() {
    let guarded = Guarded::open().await;
    let (replica, _) = guarded.shop.world.replica().await;
    let nina = guarded.nina().await;
    let production = &guarded.shop.production;
    // Its marks stay on the object, and explain nothing but itself.
    guarded.lands("v1.1.0").await;

    let began = Instant::now();
    set_image(&nina, production, "v1.5.0", false).await.unwrap();
    let found = until("the audit row", async || guarded.unapproved().await.pop()).await;
    let after = began.elapsed();
    println!("in the audit trail {after:.1?} after the change");
    assert!(after < Duration::from_secs(5), "{after:?}");
    let (target, detail) = found;
    assert_eq!(target, format!("shop/{}", guarded.environment));
    assert_eq!(detail["manager"], "kubectl-set");
    assert_eq!(detail["after"]["shop"], format!("{REPOSITORY}:v1.5.0"));
    assert!(detail["before"]["shop"].as_str().unwrap().contains("v1.1.0"), "{detail}");

    nina.api::<Pod>(&production.namespace).create(&PostParams::default(), &bare_pod()).await.unwrap();
    until("the pod's row", async || {
        let rows = guarded.unapproved().await;
        rows.iter().any(|(_, detail)| detail["kind"] == "Pod").then_some(())
    })
    .await;
    change(&nina, production, json!({"spec": {"replicas": 2}}), false).await.unwrap();
    // Both replicas have had the time to see everything.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(guarded.unapproved().await.len(), 2, "a change was told twice, or one that changes nothing");
    replica.shutdown.cancel();

    guarded.shop.world.provider().put_into("petra", &["engineering", "platform"]);
    let petra = guarded.shop.world.as_("petra").await;
    let page = petra.get("/audit").await;
    assert!(page.text.contains("Changed what runs, without an approval"), "{}", page.text);
    assert!(page.text.contains("Somebody with kubectl-set") && page.text.contains("Unapproved"));
    invariants::hold(&guarded.shop).await;
}

#[tokio::test]
async fn a_glass_broken_in_the_portal_passes_and_is_explained_by_it_and_one_broken_by_hand_waits_for_the_same_review()
 {
    let guarded = Guarded::open().await;
    let shop = &guarded.shop;
    let kubectl = guarded.nina().await;
    let (maya, nina, omar) = (shop.maya().await, shop.world.as_("nina").await, shop.omar().await);
    let staged = shop.deploy(&maya, "staging", "v1.1.0").await;
    shop.ends_as(staged, "succeeded").await;

    let broken = crate::glass::break_glass(&nina, &guarded.environment, "v1.1.0", "nobody can pay").await;
    let id = number(&broken);
    shop.ends_as(id, "succeeded").await;
    assert!(image(&shop.production).await.starts_with(&format!("{REPOSITORY}:v1.1.0@sha256:")));

    set_image(&kubectl, &shop.production, "v1.5.0", false).await.unwrap();
    until("the audit row", async || guarded.unapproved().await.pop()).await;
    assert_eq!(guarded.unapproved().await.len(), 1, "what the portal wrote was told as unapproved as well");
    let inbox = omar.get("/approvals").await.text;
    assert!(
        inbox.contains("Deploy shop v1.1.0") && inbox.contains("Deployment shop, changed past the portal"),
        "{inbox}"
    );
    assert!(inbox.contains("Somebody with kubectl-set"), "{inbox}");
    let found: i64 = sqlx::query_scalar("select id from glass_reviews where deploy is null")
        .fetch_one(&shop.world.app.db)
        .await
        .unwrap();
    let done =
        omar.post(&format!("/approvals/glass/{found}"), &[("note", "It was Nina, by her own word.")]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert!(!omar.get("/approvals").await.text.contains("changed past the portal"));
    invariants::hold(shop).await;
}

#[tokio::test]
async fn what_is_put_back_passes_under_the_same_approval_and_is_explained_by_it() {
    let guarded = Guarded::open_with(CATALOGUE, "soak = \"12s\"").await;
    let production = &guarded.shop.production;
    guarded.lands("v1.1.0").await;
    let id = guarded.approved("v1.5.0").await;
    until("the soak", async || (guarded.shop.state(id).await == "verifying").then_some(())).await;

    // Its container starts anew and dies.
    let admin: Api<Pod> = Api::namespaced(guarded.admin(), &production.namespace);
    let runs =
        |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.as_ref().unwrap().contains("v1.5.0");
    let new = admin.list(&Default::default()).await.unwrap().items.into_iter().find(runs).unwrap();
    let crashes =
        json!({"spec": {"containers": [{"name": "shop", "image": format!("{REPOSITORY}:v1.3.0")}]}});
    let name = new.metadata.name.unwrap();
    let refused = admin.patch(&name, &PatchParams::default(), &Patch::Strategic(&crashes)).await.unwrap_err();
    assert!(refused.to_string().contains("after an approval"), "an administrator is let through: {refused}");
    in_glass(&guarded, &name, &crashes).await;

    guarded.shop.ends_as(id, "rolled_back").await;
    assert!(image(production).await.starts_with(&format!("{REPOSITORY}:v1.1.0@")));
    assert_eq!(guarded.unapproved().await, []);
    invariants::hold(&guarded.shop).await;
}

/// As an administrator who is in the group that may break the glass.
async fn in_glass(guarded: &Guarded, pod: &str, patch: &Value) {
    let namespace = &guarded.shop.production.namespace;
    let mut request = kube::core::Request::new(format!("/api/v1/namespaces/{namespace}/pods"))
        .patch(pod, &PatchParams::default(), &Patch::Strategic(patch))
        .unwrap();
    let headers = request.headers_mut();
    headers.insert("impersonate-user", "petra".parse().unwrap());
    for group in ["system:masters", "oidc:on-call"] {
        headers.append("impersonate-group", group.parse().unwrap());
    }
    guarded.admin().request::<Pod>(request).await.unwrap();
}

#[tokio::test]
async fn what_came_past_while_no_portal_ran_is_found_when_one_starts() {
    let guarded = Guarded::open().await;
    let nina = guarded.nina().await;
    let production = &guarded.shop.production;
    until("the baseline", async || {
        let kinds: i64 = sqlx::query_scalar("select count(*) from guard_baselines where namespace = $1")
            .bind(&production.namespace)
            .fetch_one(&guarded.shop.world.app.db)
            .await
            .unwrap();
        (kinds == 8).then_some(())
    })
    .await;
    let (later, _) = {
        guarded.shop.world.app.shutdown.cancel();
        set_image(&nina, production, "v1.5.0", false).await.unwrap();
        guarded.shop.world.replica().await
    };
    let rows = until("the audit row", async || {
        let rows: Vec<String> =
            sqlx::query_scalar("select target from audit where action = 'guard.unapproved'")
                .fetch_all(&later.db)
                .await
                .unwrap();
        (!rows.is_empty()).then_some(rows)
    })
    .await;
    // The catalogue of the new portal may not be read yet; then the object is named as it is.
    let names = [format!("shop/{}", guarded.environment), format!("{}/shop", production.namespace)];
    assert!(rows.len() == 1 && names.contains(&rows[0]), "{rows:?}");
    later.shutdown.cancel();
}

#[tokio::test]
async fn a_migration_passes_by_its_approval_and_a_job_by_hand_does_not() {
    let migration = json!({"command": ["/app"], "args": ["migrate", "pause=1s"], "deadline": "1m"});
    let catalogue =
        CATALOGUE.replace("owner: payments}", &format!("owner: payments, migration: {migration}}}"));
    let guarded = Guarded::open_with(&catalogue, "soak = \"1s\"").await;
    let production = &guarded.shop.production;
    let (maya, omar) = (guarded.shop.maya().await, guarded.shop.omar().await);
    let path = format!("/services/shop/{}/migrate", guarded.environment);
    let form = maya.get(&path).await;
    assert!(form.text.contains("Server-side dry run of the Job"), "{}", form.text);
    let asked = maya.post(&path, &[("reason", "a test asks"), ("confirm", "shop")]).await;
    let id = number(&asked);
    let yes = [("decision", "approve"), ("seen", &*seen(&omar, id).await), ("confirm", "shop")];
    let answer = omar.post(&format!("/deploys/{id}/approval"), &yes).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    guarded.shop.ends_as(id, "succeeded").await;

    let job: Job = serde_json::from_value(json!({
        "metadata": {"name": "by-hand"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [
            {"name": "main", "image": format!("{REPOSITORY}:v1.0.0")},
        ]}}},
    }))
    .unwrap();
    let jobs = production.maya().api::<Job>(&production.namespace);
    let refused = jobs.create(&PostParams::default(), &job).await.unwrap_err().to_string();
    assert!(refused.contains("after an approval"), "{refused}");
    assert_eq!(guarded.unapproved().await, []);
}

#[tokio::test]
async fn the_check_proves_every_case_and_says_what_is_short() {
    let guarded = Guarded::open().await;
    let good = guarded.check().await;
    println!("{}", good.text);
    assert!(good.good, "{}", good.text);
    assert_eq!(good.text.lines().count(), good.text.matches("ok     ").count());
    for case in [
        "a CronJob by hand",
        "a Pod that claims an owner",
        "another image for shop",
        "a member of oidc:on-call",
    ] {
        assert!(good.text.contains(case), "{case} was not tried: {}", good.text);
    }

    // Somebody weakens it: everybody who is in payments gets past.
    let name = format!("pilothouse-guard-{}", guarded.environment);
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(guarded.admin());
    let mut policy = policies.get(&name).await.unwrap();
    let conditions = policy.spec.as_mut().unwrap().match_conditions.as_mut().unwrap();
    conditions[0].expression = "false".into();
    policies.replace(&name, &PostParams::default(), &policy).await.unwrap();
    let short = until("the weakened policy", async || {
        let ran = guarded.check().await;
        ran.text.contains("short  Refused: a Deployment by hand: it passes").then_some(ran)
    })
    .await;
    assert!(!short.good);
    assert!(short.text.contains("short  The policy is what the configuration makes"), "{}", short.text);
    assert!(image(&guarded.shop.production).await.ends_with(":v1.0.0"), "the check changed something");
    assert_eq!(deployments(&guarded.shop.production).list(&Default::default()).await.unwrap().items.len(), 1);
}
