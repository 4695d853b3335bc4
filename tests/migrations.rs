//! Migrations from the form and the command to the Job: real pods that end well and badly, in the name of people who
//! really signed in.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};

use crate::api::{json as read, program, refused, send_json};
use crate::deploys::{CATALOGUE, REPOSITORY, Shop, deployments, number, seen};
use crate::invariants;
use crate::support::cluster::{Sandbox, audited};
use crate::support::desk::{COMMAND, Ran, finished};
use crate::support::{Browser, until};

const FORM: &str = "/services/shop/staging/migrate";

/// A shop that declares `/app migrate WORDS`. my-api is another name of the same Deployment.
async fn shop(words: &[&str], deadline: &str) -> Shop {
    let args: Vec<&str> = ["migrate"].iter().chain(words).copied().collect();
    shop_that_runs("/app", &args, deadline).await
}

async fn shop_that_runs(command: &str, args: &[&str], deadline: &str) -> Shop {
    let migration = json!({"command": [command], "args": args, "deadline": deadline});
    let declared =
        CATALOGUE.replace("owner: payments}", &format!("owner: payments, migration: {migration}}}"));
    let my_api = declared.split("---").last().unwrap().replace(
        "name: shop",
        "name: my-api\n  annotations: {backstage.io/kubernetes-label-selector: app.kubernetes.io/name=shop}",
    );
    Shop::with(&format!("{declared}---{my_api}")).await
}

impl Shop {
    /// Asks for a migration as the form does, and gives back the number of the deploy.
    async fn migrate(&self, who: &Browser, fields: &[(&str, &str)]) -> i64 {
        number(&who.post(FORM, fields).await)
    }

    async fn becomes(&self, id: i64, wanted: &str) {
        until(wanted, async || (self.state(id).await == wanted).then_some(())).await;
    }

    async fn why(&self, id: i64) -> String {
        let detail: Value = sqlx::query_scalar("select detail from deploys where id = $1")
            .bind(id)
            .fetch_one(&self.world.app.db)
            .await
            .unwrap();
        detail["why"].as_str().unwrap_or_default().into()
    }

    async fn kept(&self, id: i64) -> Vec<String> {
        let lines: Option<Value> = sqlx::query_scalar("select lines from deploy_logs where deploy = $1")
            .bind(id)
            .fetch_optional(&self.world.app.db)
            .await
            .unwrap();
        let text = |line: &Value| line["text"].as_str().unwrap().to_string();
        lines.iter().flat_map(|lines| lines.as_array().unwrap()).map(text).collect()
    }
}

fn jobs(sandbox: &Sandbox) -> Api<Job> {
    Api::namespaced(sandbox.admin.clone(), &sandbox.namespace)
}

/// Who really did this to Jobs of the namespace, from the API server's audit log.
fn did(sandbox: &Sandbox, verb: &str) -> Vec<String> {
    let is_it = |event: &Value| {
        event["objectRef"]["resource"] == "jobs"
            && event["objectRef"]["namespace"] == sandbox.namespace.as_str()
            && event["verb"] == verb
            && event["responseStatus"]["code"].as_i64().is_some_and(|code| code < 300)
            && !event["requestURI"].as_str().unwrap_or_default().contains("dryRun")
    };
    let who = |event: &Value| event["impersonatedUser"]["username"].as_str().map(String::from);
    audited(&sandbox.namespace).iter().filter(|event| is_it(event)).filter_map(who).collect()
}

async fn limit_pods(sandbox: &Sandbox, most: &str) {
    let quota = json!({"metadata": {"name": "team"}, "spec": {"hard": {"pods": most}}});
    let quotas: Api<ResourceQuota> = Api::namespaced(sandbox.admin.clone(), &sandbox.namespace);
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    until("the quota counts", async || {
        quotas
            .get("team")
            .await
            .unwrap()
            .status
            .and_then(|status| status.used)
            .filter(|used| !used.is_empty())
    })
    .await;
}

#[tokio::test]
async fn a_migration_runs_once_as_the_person_with_what_runs_and_is_no_release() {
    let shop = shop(&[], "1m").await;
    let maya = shop.maya().await;
    // It does so from when the watch has told that something runs.
    until("the page of the service leads to the form", async || {
        maya.get("/services/shop").await.text.contains(FORM).then_some(())
    })
    .await;
    let form = maya.get(FORM).await.text;
    for told in ["/app migrate", "Empty: the one that runs, v1.0.0", "restartPolicy: Never", "Run migration"]
    {
        assert!(form.contains(told), "the form says nothing of {told:?}");
    }

    let id = shop.migrate(&maya, &[("reason", "new columns")]).await;
    shop.ends_as(id, "succeeded").await;

    let job = jobs(&shop.staging).get(&format!("shop-migrate-{id}")).await.unwrap();
    assert_eq!(job.metadata.labels.unwrap()["pilothouse.dev/deploy"], id.to_string());
    let container = job.spec.unwrap().template.spec.unwrap().containers.remove(0);
    assert!(container.image.unwrap().starts_with(&format!("{REPOSITORY}:v1.0.0@sha256:")));
    assert_eq!(container.resources.unwrap().limits.unwrap()["memory"].0, "64Mi");
    assert_eq!(did(&shop.staging, "create"), ["maya"]);
    let kept = shop.kept(id).await;
    assert_eq!(kept.first().unwrap(), "migrating with v1.0.0: 4 steps");
    assert_eq!(kept.last().unwrap(), "done");

    let page = maya.get(&format!("/deploys/{id}")).await.text;
    for told in ["Migrate shop with v1.0.0", "Job made", "step 2 of 4: copy 12 480 rows"] {
        assert!(page.contains(told), "the page says nothing of {told:?}");
    }
    assert!(!page.contains("Roll back…"));
    let file = maya.get(&format!("/deploys/{id}/log")).await;
    assert!(file.text.contains("step 4 of 4"), "{}", file.text);
    let releases: i64 =
        sqlx::query_scalar("select count(*) from releases").fetch_one(&shop.world.app.db).await.unwrap();
    assert_eq!(releases, 0, "a migration is nothing to roll back to");
    let feed = maya.get("/services/shop").await.text;
    assert!(feed.contains("migrated"), "the feed does not tell it");
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn a_failed_migration_says_how_it_ended_and_its_last_lines_to_who_may_read_logs() {
    let shop = shop(&["fail=3"], "1m").await;
    let maya = shop.maya().await;
    let looks = json!([{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}]);
    shop.staging.allow("noor", looks).await;

    let id = shop.migrate(&maya, &[]).await;
    shop.ends_as(id, "failed").await;

    assert_eq!(shop.why(id).await, "It ended with exit code 3.");
    let page = format!("/deploys/{id}");
    let last = "relation &#34;invoice_lines&#34; already exists";
    let hers = maya.get(&page).await.text;
    assert!(hers.contains("It ended with exit code 3.") && hers.contains(last), "{hers}");
    let noor = shop.world.as_("noor").await;
    let his = until("noor may look", async || {
        let page = noor.get(&page).await;
        (page.status == 200).then_some(page.text)
    })
    .await;
    assert!(his.contains("It ended with exit code 3.") && !his.contains(last));
    assert_eq!(noor.get(&format!("{page}/log")).await.status, 403);

    // The log is there for as long as the pod is, and its last lines after that.
    jobs(&shop.staging)
        .delete(&format!("shop-migrate-{id}"), &kube::api::DeleteParams::foreground())
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(shop.staging.admin.clone(), &shop.staging.namespace);
    let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name=shop-migrate-{id}"));
    until("the pod is gone", async || pods.list(&of_job).await.unwrap().items.is_empty().then_some(())).await;
    let maya = program(&shop.world, "maya", &["read"]).await;
    let log = read(&maya.get(&format!("/api/v1/deploys/{id}/logs")).await);
    let texts: Vec<_> = log["items"].as_array().unwrap().iter().map(|item| item["text"].clone()).collect();
    assert_eq!(texts.last().unwrap(), "ERROR: relation \"invoice_lines\" already exists", "{log}");
}

#[tokio::test]
async fn memory_and_a_command_that_is_not_there_are_told_apart() {
    let shop = shop(&["memory"], "1m").await;
    let id = shop.migrate(&shop.maya().await, &[]).await;
    shop.ends_as(id, "failed").await;
    assert_eq!(shop.why(id).await, "It ran out of memory at 64 MiB.");

    let shop = shop_that_runs("/no/such/migrate", &[], "1m").await;
    let id = shop.migrate(&shop.maya().await, &[]).await;
    shop.ends_as(id, "failed").await;
    let why = shop.why(id).await;
    assert!(why.starts_with("The container shop cannot start: "), "{why}");
}

#[tokio::test]
async fn what_has_not_ended_by_its_deadline_is_ended() {
    let shop = shop(&["pause=30s"], "4s").await;
    let maya = shop.maya().await;
    let id = shop.migrate(&maya, &[]).await;
    shop.ends_as(id, "failed").await;
    assert_eq!(shop.why(id).await, "It had not ended after 4 s, its deadline, and was stopped.");
    let kept = shop.kept(id).await;
    assert_eq!(kept.get(1).unwrap(), "step 1 of 4: create table invoice_lines", "{kept:?}");
}

#[tokio::test]
async fn an_image_that_is_gone_when_its_turn_comes_ends_it_and_takes_its_job_away() {
    let shop = shop(&["pause=1500ms"], "1m").await;
    let maya = shop.maya().await;
    let missing = maya.get(&format!("{FORM}?version=v9.9.9")).await.text;
    assert!(missing.contains("No such image"), "{missing}");

    let gone = Gone::push(&shop.staging.namespace).await;
    let first = shop.migrate(&maya, &[]).await;
    let second = shop.migrate(&maya, &[("version", &gone.tag)]).await;
    assert_eq!(shop.state(second).await, "queued");
    gone.delete().await;

    shop.ends_as(first, "succeeded").await;
    shop.ends_as(second, "failed").await;
    let why = shop.why(second).await;
    assert!(why.contains(&gone.tag) && why.ends_with("does not exist."), "{why}");
    let name = format!("shop-migrate-{second}");
    until("its Job is gone", async || {
        jobs(&shop.staging).get_opt(&name).await.unwrap().is_none().then_some(())
    })
    .await;
    assert_eq!(did(&shop.staging, "delete"), ["maya"]);
}

/// An image of its own in the registry, that can be taken away.
struct Gone {
    tag: String,
    digest: String,
}

const MANIFESTS: &str = "http://127.0.0.1:5000/v2/payments/checkout-api/manifests";
const KIND: &str = "application/vnd.oci.image.manifest.v1+json";

impl Gone {
    async fn push(tag: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let good = http.get(format!("{MANIFESTS}/v1.0.0")).header("accept", KIND).send().await.unwrap();
        let mut manifest: Value = serde_json::from_str(&good.text().await.unwrap()).unwrap();
        manifest["annotations"] = json!({"test": tag});
        let put = http.put(format!("{MANIFESTS}/{tag}")).header("content-type", KIND);
        let put = put.body(manifest.to_string()).send().await.unwrap();
        assert_eq!(put.status(), 201);
        let digest = put.headers()["docker-content-digest"].to_str().unwrap().to_string();
        Self { tag: tag.into(), digest }
    }

    async fn delete(&self) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let deleted = http.delete(format!("{MANIFESTS}/{}", self.digest)).send().await.unwrap();
        assert_eq!(deleted.status(), 202);
    }
}

#[tokio::test]
async fn a_quota_refuses_it_on_the_form_and_where_it_comes_later_within_seconds() {
    let shop = shop(&["pause=1500ms"], "5m").await;
    let maya = shop.maya().await;
    let first = shop.migrate(&maya, &[]).await;
    let second = shop.migrate(&maya, &[("reason", "behind the first")]).await;
    shop.becomes(first, "rolling_out").await;
    limit_pods(&shop.staging, "1").await;

    let form = maya.get(FORM).await.text;
    assert!(
        form.contains("Its pods would be refused") && form.contains("the number of pods needs 1 more"),
        "{form}"
    );
    let sent = maya.post(FORM, &[]).await;
    assert_eq!(sent.status, 422);

    shop.ends_as(first, "succeeded").await;
    shop.ends_as(second, "failed").await;
    let why = shop.why(second).await;
    assert!(why.starts_with("Its pod cannot be created: not enough left in the quota team"), "{why}");
}

#[tokio::test]
async fn production_waits_for_somebody_else_who_sees_command_and_image() {
    let shop = shop(&[], "1m").await;
    let (maya, omar) = (shop.maya().await, shop.omar().await);
    let form = "/services/shop/production/migrate";
    let mute = maya.post(form, &[]).await;
    assert!(mute.text.contains("Say why: the approvers decide by it."), "{}", mute.text);
    let page = maya.post(form, &[("reason", "new columns")]).await;
    let id: i64 = page.location().trim_start_matches("/deploys/").parse().unwrap();
    assert_eq!(shop.state(id).await, "awaiting_approval");
    assert_eq!(did(&shop.production, "create"), [""; 0]);

    assert!(omar.get("/approvals").await.text.contains("migration with v1.0.0"));
    let his = omar.get(&format!("/deploys/{id}")).await.text;
    assert!(
        his.contains("<code>/app migrate</code>") && his.contains(&format!("{REPOSITORY}:v1.0.0@sha256:"))
    );
    let yes = [("decision", "approve"), ("seen", &seen(&omar, id).await)];
    let approved = omar.post(&format!("/deploys/{id}/approval"), &yes).await;
    assert_eq!(approved.status, 303, "{}", approved.text);
    shop.ends_as(id, "succeeded").await;

    assert_eq!(did(&shop.production, "create"), ["maya"]);
    let job = jobs(&shop.production).get(&format!("shop-migrate-{id}")).await.unwrap();
    let digest: String = sqlx::query_scalar("select digest from deploys where id = $1")
        .bind(id)
        .fetch_one(&shop.world.app.db)
        .await
        .unwrap();
    assert_eq!(job.metadata.annotations.unwrap()["pilothouse.dev/approval"], digest);
    invariants::hold(&shop).await;
}

#[tokio::test]
async fn an_approved_migration_is_void_once_something_else_runs() {
    let shop = shop(&[], "1m").await;
    let (maya, omar) = (shop.maya().await, shop.omar().await);
    let page = maya.post("/services/shop/production/migrate", &[("reason", "new columns")]).await;
    let id: i64 = page.location().trim_start_matches("/deploys/").parse().unwrap();
    let path = format!("/deploys/{id}/approval");
    let yes = [("decision", "approve"), ("seen", &seen(&omar, id).await)];

    let other = json!({"spec": {"template": {"spec": {"containers": [{"name": "shop", "image": format!("{REPOSITORY}:v1.1.0")}]}}}});
    let patch = kube::api::Patch::Strategic(other);
    deployments(&shop.production).patch("shop", &Default::default(), &patch).await.unwrap();

    omar.post(&path, &yes).await;
    assert_eq!(shop.why(id).await, "What runs here is not what ran when this was asked for.");
    assert_eq!(did(&shop.production, "create"), [""; 0]);
}

#[tokio::test]
async fn whoever_may_not_create_jobs_is_told_so_before_and_after() {
    let shop = shop(&[], "1m").await;
    let looks =
        json!([{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "patch"]}]);
    shop.staging.allow("noor", looks).await;
    let noor = shop.world.as_("noor").await;
    let form = until("noor may look", async || {
        let page = noor.get(FORM).await;
        (page.status == 200).then_some(page.text)
    })
    .await;
    let why = format!("It needs the right to create jobs in {}.", shop.staging.namespace);
    assert!(form.contains("You may not do this here") && form.contains(&why), "{form}");

    let noor = program(&shop.world, "noor", &["read", "deploy"]).await;
    let path = "/api/v1/services/shop/environments/staging/migrations";
    let page = send_json(&noor, path, json!({})).await;
    assert_eq!(refused(&page, 422), "A check fails. It says who can help.");
    assert!(page.text.contains(&why), "{}", page.text);
    assert_eq!(did(&shop.staging, "create"), [""; 0]);
}

/// The worst moment to die: the Job is made, and nobody wrote that down.
#[tokio::test]
async fn a_portal_that_dies_between_write_and_commit_makes_no_second_job() {
    let shop = shop(&["pause=500ms"], "1m").await;
    let maya = shop.maya().await;
    let db = &shop.world.app.db;
    for statement in [
        "create function die() returns trigger language plpgsql as $$ begin raise exception 'died'; end $$",
        "create trigger die before insert on events for each row when (new.event ->> 'event' = 'written') execute function die()",
    ] {
        sqlx::query(statement).execute(db).await.unwrap();
    }
    let id = shop.migrate(&maya, &[]).await;
    let name = format!("shop-migrate-{id}");
    until("the Job is made", async || jobs(&shop.staging).get_opt(&name).await.unwrap()).await;
    assert_eq!(shop.state(id).await, "applying");

    let (replica, _) = shop.world.replica().await;
    shop.world.app.shutdown.cancel();
    sqlx::query("drop trigger die on events").execute(&replica.db).await.unwrap();
    until("another portal ends it", async || {
        let state: String = sqlx::query_scalar("select state from deploys where id = $1")
            .bind(id)
            .fetch_one(&replica.db)
            .await
            .unwrap();
        (state == "succeeded").then_some(())
    })
    .await;
    assert_eq!(did(&shop.staging, "create"), ["maya"]);
    let made = jobs(&shop.staging).list(&ListParams::default()).await.unwrap().items;
    assert_eq!(made.len(), 1);
    replica.shutdown.cancel();
}

#[tokio::test]
async fn a_deploy_and_a_migration_of_one_target_never_run_at_once() {
    let shop = shop(&["pause=1500ms"], "1m").await;
    let maya = shop.maya().await;
    let first = shop.migrate(&maya, &[]).await;
    let deploy = shop.deploy(&maya, "staging", "v1.1.0").await;
    assert_eq!(shop.state(deploy).await, "queued");
    let last = shop.migrate(&maya, &[("version", "v1.1.0")]).await;
    let page = maya.get(&format!("/deploys/{deploy}")).await.text;
    assert!(page.contains(&format!("Queued behind deployment {first}")), "{page}");
    for id in [first, deploy, last] {
        shop.ends_as(id, "succeeded").await;
    }
    let order: Vec<i64> = sqlx::query_scalar(
        "select deploy from events where event ->> 'event' in ('started', 'succeeded') order by at, seq",
    )
    .fetch_all(&shop.world.app.db)
    .await
    .unwrap();
    assert_eq!(order, [first, first, deploy, deploy, last, last]);
}

/// A rollback overtakes a rollout; a Job that is at work it waits for.
#[tokio::test]
async fn a_rollback_waits_for_a_migration_that_is_at_work() {
    let shop = shop(&["pause=1s"], "1m").await;
    let maya = shop.maya().await;
    for version in ["v1.1.0", "v1.0.0"] {
        let id = shop.deploy(&maya, "staging", version).await;
        shop.ends_as(id, "succeeded").await;
    }
    let program = program(&shop.world, "maya", &["read", "deploy"]).await;
    let migration = shop.migrate(&maya, &[]).await;
    shop.becomes(migration, "rolling_out").await;
    let path = "/api/v1/services/shop/environments/staging/rollback";
    let rollback = read(&send_json(&program, path, json!({"version": "v1.1.0"})).await);
    assert_eq!(rollback["state"], "queued", "{rollback}");
    shop.ends_as(migration, "succeeded").await;
    shop.ends_as(rollback["id"].as_i64().unwrap(), "succeeded").await;
}

#[tokio::test]
async fn whoever_asked_stops_it_and_what_it_wrote_is_kept() {
    let shop = shop(&["pause=20s"], "5m").await;
    let maya = shop.maya().await;
    let id = shop.migrate(&maya, &[]).await;
    until("the first step is kept", async || (shop.kept(id).await.len() > 1).then_some(())).await;
    let path = format!("/deploys/{id}/cancellation");
    assert!(maya.get(&format!("/deploys/{id}")).await.text.contains("Stop</button>"));
    let omars = shop.omar().await.post(&path, &[]).await;
    assert!(omars.text.contains("Only the person who asked can withdraw this deploy."), "{}", omars.text);

    let stopped = maya.post(&path, &[]).await;
    assert_eq!(stopped.status, 303, "{}", stopped.text);
    shop.ends_as(id, "failed").await;

    assert_eq!(shop.why(id).await, "Maya Okafor stopped it while it ran. What it had done by then stays.");
    assert!(jobs(&shop.staging).list(&ListParams::default()).await.unwrap().items.is_empty());
    assert_eq!(did(&shop.staging, "delete"), ["maya"]);
    let kept = shop.kept(id).await;
    assert!(kept.iter().any(|line| line.starts_with("step 1 of 4")), "{kept:?}");
    let page = maya.get(&format!("/deploys/{id}")).await.text;
    assert!(page.contains("step 1 of 4") && page.contains("Maya Okafor stopped it"));
    assert_eq!(maya.post(&path, &[]).await.status, 422);
    let audit: Vec<String> = sqlx::query_scalar("select action from audit order by id")
        .fetch_all(&shop.world.app.db)
        .await
        .unwrap();
    for action in ["migrate.request", "migrate.stop", "migrate.end"] {
        assert!(audit.iter().any(|row| row == action), "{action} is not in {audit:?}");
    }
}

/// The real command against the real portal.
async fn run(shop: &Shop, token: &str, line: &str) -> Ran {
    let mut command = tokio::process::Command::new(COMMAND);
    command
        .env_clear()
        .env("HOME", "/nowhere")
        .env("PLATFORM_URL", &shop.world.base)
        .env("PLATFORM_TOKEN", token);
    command.args(line.split_whitespace().skip(1)).stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).kill_on_drop(true);
    finished(command, "").await
}

#[tokio::test]
async fn the_command_streams_the_log_and_its_exit_code_tells() {
    let shop = shop(&["pause=700ms"], "1m").await;
    let token = crate::api::token(&shop.world, "maya", &["read", "deploy", "production"]).await;
    let line = "platform db migrate my-api --env=staging";
    let ran = run(&shop, &token, line).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 6, "{}", ran.out);
    assert_eq!((lines[0], lines[5]), ("migrating with v1.0.0: 4 steps", "done"));
    assert!(ran.err.contains("Done: Migrate my-api with v1.0.0 in staging."), "{}", ran.err);

    let ran = run(&shop, &token, "platform db migrate my-api --env=production --reason columns").await;
    assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{}", ran.err);
    let ran = run(&shop, &token, "platform db migrate my-api --env=staging --version v9.9.9").await;
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("No such image"), "{}", ran.err);
    let ran = run(&shop, &token, "platform db migrate my-api --env=staging --timeout 1s").await;
    assert_eq!(ran.code, 5, "{}", ran.err);
}

#[tokio::test]
async fn the_log_comes_while_it_is_written_and_a_failure_ends_with_1() {
    let shop = shop(&["fail=3", "pause=2s"], "1m").await;
    let token = crate::api::token(&shop.world, "maya", &["read", "deploy"]).await;
    let started = std::time::Instant::now();
    let (ran, seen) = tokio::join!(run(&shop, &token, "platform db migrate my-api --env=staging"), async {
        let maya = shop.maya().await;
        until("a step", async || {
            let page = maya.get("/deploys?state=running").await.text;
            page.contains("Migrating").then_some(started.elapsed())
        })
        .await
    });
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.out.ends_with("ERROR: relation \"invoice_lines\" already exists\n"), "{}", ran.out);
    assert!(ran.err.contains("It ended with exit code 3."), "{}", ran.err);
    assert!(seen < Duration::from_secs(60));
}
