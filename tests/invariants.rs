//! The invariants of the engine (I1 to I9 of its design), read off the outside after any run: from Postgres, from the API
//! server's audit log, and from what runs. What a test has not let end may still be open.
//!
//! I10, that everything lent comes back, is asserted where many deploys ran (throughput.rs).

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::Timestamp as Stored;
use kube::api::{Patch, PatchParams};
use pilothouse::deploy::{self, Deploy, DeployId, Event, State};
use pilothouse::events::{Chain, verify_chain};
use pilothouse::kube::WorkloadKind;
use pilothouse::kube::apply::{DEPLOY_ANNOTATION, FIELD_MANAGER, RESTART_ANNOTATION};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::deploys::{Shop, deployments, seen};
use crate::support::cluster::{Sandbox, writes};
use crate::support::until;

/// What is wrong makes every later statement of the engine fail, so that no test passes it by.
pub async fn watch(db: &PgPool) {
    for statement in [
        "create function fence_grows() returns trigger language plpgsql as $$
         begin
             if new.fence < old.fence then raise exception 'the fence of deploy % shrank', old.id; end if;
             return new;
         end $$",
        "create trigger fence_grows before update on deploys for each row execute function fence_grows()",
    ] {
        sqlx::query(statement).execute(db).await.unwrap();
    }
}

pub async fn hold(shop: &Shop) {
    let db = &shop.world.app.db;
    let deploys = every_deploy(db).await;
    for deploy in &deploys {
        it_is_the_fold_of_its_events(db, deploy).await;
        it_was_approved_before_it_was_written(db, deploy).await;
    }
    nothing_accepted_is_lost(db).await;
    no_two_ran_at_once(db).await;
    each_action_is_audited_once(db).await;
    for sandbox in [&shop.staging, &shop.production] {
        each_wrote_at_most_once(sandbox, &deploys);
        the_last_success_runs(db, sandbox, &deploys).await;
    }
}

async fn every_deploy(db: &PgPool) -> Vec<Deploy> {
    let ids: Vec<i64> = sqlx::query_scalar("select id from deploys order by id").fetch_all(db).await.unwrap();
    let mut deploys = Vec::new();
    for id in ids {
        let found = deploy::load(&mut db.acquire().await.unwrap(), DeployId(id)).await.unwrap();
        deploys.push(found.unwrap());
    }
    deploys
}

/// I4 is [`watch`]. I5, and I8 with it: after an end no event leads on.
async fn it_is_the_fold_of_its_events(db: &PgPool, deploy: &Deploy) {
    let rows: Vec<(i32, Stored, String, Value)> =
        sqlx::query_as("select seq, at, actor, event from events where deploy = $1 order by seq")
            .bind(deploy.id.0)
            .fetch_all(db)
            .await
            .unwrap();
    let mut state = State::Requested;
    let mut cancelled = false;
    for (expected, (seq, at, actor, event)) in (1..).zip(rows) {
        assert_eq!(seq, expected, "the events of deploy {} have a gap", deploy.id);
        let event: Event = serde_json::from_value(event).unwrap();
        let writes = matches!(event, Event::Written { .. } | Event::BesideWritten { .. });
        assert!(!(cancelled && writes), "deploy {} was written after it was cancelled", deploy.id);
        cancelled |= matches!(event, Event::Cancelled);
        state = deploy::apply(&state, &event, &actor, at.to_jiff())
            .unwrap_or_else(|| panic!("deploy {}: {event:?} after {}", deploy.id, state.name()));
    }
    let (folded, stored) =
        (serde_json::to_value(&state).unwrap(), serde_json::to_value(&deploy.state).unwrap());
    assert!(is_same(&folded, &stored), "deploy {} is {stored}, and its events say {folded}", deploy.id);
    assert_eq!(deploy.ended.is_some(), deploy.state.is_end(), "deploy {} is {stored}", deploy.id);
}

/// The database keeps microseconds of the times that a state has whole.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|it| is_same(value, it)))
        }
        (Value::String(one), Value::String(other)) if one != other => {
            let times = one.parse::<Timestamp>().ok().zip(other.parse::<Timestamp>().ok());
            times.is_some_and(|(one, other)| one.duration_since(other).abs() < SignedDuration::from_millis(1))
        }
        _ => one == other,
    }
}

/// I6: by as many others as the rules wanted, of the same digest, before anything was written.
async fn it_was_approved_before_it_was_written(db: &PgPool, deploy: &Deploy) {
    if !deploy.needs_approval() {
        return;
    }
    let (written, approvals): (bool, i64) = sqlx::query_as(
        "with written as (
             select min(at) as at from events
             where deploy = $1 and event ->> 'event' in ('started', 'shift_began', 'written', 'beside_written')
         )
         select written.at is not null,
                (select count(*) from approvals a
                 where a.deploy = $1 and a.verdict = 'approve' and a.seen = $2 and a.at <= written.at
                   and (a.issuer, a.subject) <> ($3, $4))
         from written",
    )
    .bind(deploy.id.0)
    .bind(&deploy.digest.0)
    .bind(&deploy.requester.identity.issuer)
    .bind(&deploy.requester.identity.subject)
    .fetch_one(db)
    .await
    .unwrap();
    let needed = i64::from(deploy.policy.approvals);
    assert!(!written || approvals >= needed, "deploy {} ran with {approvals} of {needed}", deploy.id);
}

/// I1: who was told a number finds it.
async fn nothing_accepted_is_lost(db: &PgPool) {
    let lost: i64 = sqlx::query_scalar(
        "select count(*) from audit
         where (action like '%.request' or action like '%.break_glass') and action not like 'access.%'
           and not exists (select from deploys where id::text = audit.detail ->> 'deploy')",
    )
    .fetch_one(db)
    .await
    .unwrap();
    assert_eq!(lost, 0, "accepted, and not there");
}

/// I2, by the times at which they ran, which replicas take from clocks that agree to a second.
async fn no_two_ran_at_once(db: &PgPool) {
    let both: Vec<(i64, i64)> = sqlx::query_as(
        "with runs as (
             select id, service, environment, coalesce(ended, 'infinity') as ended,
                    (select min(at) from events where deploy = id and event ->> 'event' in ('started', 'shift_began')) as began
             from deploys
         )
         select one.id, other.id from runs one
         join runs other using (service, environment)
         where one.id < other.id
           and one.began + interval '1 second' < other.ended and other.began + interval '1 second' < one.ended",
    )
    .fetch_all(db)
    .await
    .unwrap();
    assert_eq!(both, [], "under way at once");
}

/// I9, in a chain that nobody tampered with.
async fn each_action_is_audited_once(db: &PgPool) {
    let twice: Vec<(String, String)> = sqlx::query_as(
        "select action, detail ->> 'deploy' from audit
         where detail ->> 'deploy' is not null
           and (action like '%.request' or action like '%.break_glass' or action like '%.end')
         group by 1, 2 having count(*) > 1",
    )
    .fetch_all(db)
    .await
    .unwrap();
    assert_eq!(twice, [], "audited twice");
    let silent: Vec<i64> = sqlx::query_scalar(
        "select id from deploys where not exists (
             select from audit
             where detail ->> 'deploy' = deploys.id::text and (action like '%.request' or action like '%.break_glass')
         )",
    )
    .fetch_all(db)
    .await
    .unwrap();
    assert_eq!(silent, [0; 0], "asked for, and not in the audit trail");
    let chain = verify_chain(db).await.unwrap();
    assert!(matches!(chain, Chain::Intact(rows) if rows > 0), "the chain of the audit trail is {chain:?}");
}

/// I3, by the API server's audit log: writes that gave the Deployment another generation, by the marks they carried.
fn each_wrote_at_most_once(sandbox: &Sandbox, deploys: &[Deploy]) {
    let mut marked = BTreeMap::<[String; 2], u32>::new();
    for write in writes(&sandbox.namespace, "deployments", "shop").iter().filter(|write| write.changed) {
        let annotations = &write.sent["spec"]["template"]["metadata"]["annotations"];
        let mark = |key: &str| annotations[key].as_str().unwrap_or_default().to_string();
        let marks = [DEPLOY_ANNOTATION, RESTART_ANNOTATION].map(mark);
        if marks.iter().any(|mark| !mark.is_empty()) {
            *marked.entry(marks).or_default() += 1;
        }
    }
    let twice: Vec<_> = marked.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "written more than once, by deploy and restart: {twice:?}");
    let landed = |deploy: &&Deploy| {
        deploy.place.namespace == sandbox.namespace
            && matches!(deploy.state, State::Succeeded)
            && deploy.action.change().is_some_and(|change| {
                change.workload == "shop" && change.workload_kind == WorkloadKind::Deployment
            })
    };
    assert!(!marked.is_empty() || deploys.iter().find(landed).is_none(), "the audit log shows no mark");
}

/// I7, where nobody wrote by hand after the portal and nothing is under way.
async fn the_last_success_runs(db: &PgPool, sandbox: &Sandbox, deploys: &[Deploy]) {
    let mut here = deploys.iter().filter(|deploy| deploy.place.namespace == sandbox.namespace).rev();
    let writes = writes(&sandbox.namespace, "deployments", "shop");
    // A controller notes what it did.
    let last = writes.iter().rfind(|write| !write.asked_by.starts_with("system:"));
    let by_the_portal = last.is_some_and(|write| write.field_manager.as_deref() == Some(FIELD_MANAGER));
    let succeeded = here.next().is_some_and(|last| matches!(last.state, State::Succeeded));
    if !by_the_portal || !succeeded {
        return;
    }
    let wanted: Option<String> = sqlx::query_scalar(
        "select change -> 'images' ->> 'shop' from releases r join deploys d on d.id = r.deploy
         where d.namespace = $1 order by r.id desc limit 1",
    )
    .bind(&sandbox.namespace)
    .fetch_optional(db)
    .await
    .unwrap()
    .flatten();
    let live = deployments(sandbox).get_opt("shop").await.unwrap();
    let Some((wanted, live)) = wanted.zip(live) else { return };
    let containers = live.spec.unwrap().template.spec.unwrap().containers;
    let runs = containers.into_iter().find(|container| container.name == "shop").and_then(|it| it.image);
    assert_eq!(runs.as_deref(), Some(wanted.as_str()), "not the last success");
}

/// A check that can't fail proves nothing: each is shown what it is for, by what it says then, and what is right again.
#[tokio::test]
async fn what_is_wrong_is_noticed() {
    let shop = Shop::open().await;
    let (maya, omar) = (shop.maya().await, shop.omar().await);
    for version in ["v1.5.0", "v1.1.0"] {
        let staged = shop.deploy(&maya, "staging", version).await;
        shop.ends_as(staged, "succeeded").await;
    }
    let id = shop.deploy(&maya, "production", "v1.1.0").await;
    let yes = [("decision", "approve"), ("seen", &seen(&omar, id).await)];
    assert_eq!(omar.post(&format!("/deploys/{id}/approval"), &yes).await.status, 303);
    shop.ends_as(id, "succeeded").await;
    hold(&shop).await;

    let db = &shop.world.app.db;
    let run = async |statement| {
        sqlx::query(statement).execute(db).await.unwrap();
    };
    run("alter table audit disable rule audit_no_delete").await;
    run("alter table audit disable rule audit_no_update").await;
    run("create table trail as select id, action, outcome from audit").await;
    run("create table kept as select * from events").await;
    run("create table ends as select id, ended from deploys").await;
    let shrunk = sqlx::query("update deploys set fence = fence - 1").execute(db).await;
    assert!(shrunk.unwrap_err().to_string().contains("shrank"), "I4");
    for (what_it_says, wrong, and_back) in [
        (
            "accepted, and not there",
            "insert into audit (at, issuer, subject, name, username, action, target, outcome, origin, request_id, detail, previous, hash)
             select at, issuer, subject, name, username, action, target, outcome, origin, request_id, '{\"deploy\": 999}', previous, hash
             from audit where action = 'deploy.request' limit 1",
            "delete from audit where id = (select max(id) from audit)",
        ),
        (
            "under way at once",
            "update events set at = at - interval '1 hour' where deploy = 2 and event ->> 'event' = 'started'",
            "update events set at = at + interval '1 hour' where deploy = 2 and event ->> 'event' = 'started'",
        ),
        (
            "have a gap",
            "update events set seq = 99 where seq = 1",
            "update events set seq = 1 where seq = 99",
        ),
        (
            "and its events say",
            "update deploys set state = 'expired', detail = '{\"state\": \"expired\"}' where id = 1",
            "update deploys set (state, detail) = (select state, detail from deploys where id = 2) where id = 1",
        ),
        (
            "deploy 1 is",
            "update deploys set ended = null",
            "update deploys set ended = ends.ended from ends where ends.id = deploys.id",
        ),
        (
            "written after it was cancelled",
            "update events set event = '{\"event\": \"cancelled\"}' where event ->> 'event' = 'started' and deploy = 1",
            "update events set event = kept.event from kept where kept.deploy = events.deploy and kept.seq = events.seq",
        ),
        (
            "Expired after queued",
            "update events set event = '{\"event\": \"expired\"}' where event ->> 'event' = 'started' and deploy = 1",
            "update events set event = kept.event from kept where kept.deploy = events.deploy and kept.seq = events.seq",
        ),
        (
            "ran with 0 of 1",
            "update approvals set seen = 'another digest'",
            "update approvals set seen = (select digest from deploys where id = deploy)",
        ),
        (
            "ran with 0 of 1",
            "update approvals set at = now()",
            "update approvals set at = '2020-01-01'",
        ),
        (
            "not the last success",
            "update releases set change = jsonb_set(change, '{images,shop}', '\"other\"')",
            "update releases set change = action from deploys where deploys.id = deploy",
        ),
        (
            "audited twice",
            "insert into audit (at, issuer, subject, name, username, action, target, outcome, origin, request_id, detail, previous, hash)
             select at, issuer, subject, name, username, action, target, outcome, origin, request_id, detail, previous, hash
             from audit where action = 'deploy.end' limit 1",
            "delete from audit where id = (select max(id) from audit)",
        ),
        (
            "asked for, and not in the audit trail",
            "update audit set action = 'deploy.other' where action = 'deploy.request' and detail ->> 'deploy' = '1'",
            "update audit set action = trail.action from trail where trail.id = audit.id",
        ),
        (
            "the chain of the audit trail is",
            "update audit set outcome = 'other' where id = (select min(id) from audit)",
            "update audit set outcome = trail.outcome from trail where trail.id = audit.id",
        ),
    ] {
        run(wrong).await;
        let said = complaint(&shop).await;
        assert!(said.contains(what_it_says), "{wrong}: {said}");
        run(and_back).await;
        hold(&shop).await;
    }

    // I3, in the cluster: two writes with the mark of the same deploy.
    for value in ["one", "two"] {
        let template = json!({
            "metadata": {"annotations": {DEPLOY_ANNOTATION: "999"}},
            "spec": {"containers": [{"name": "shop", "env": [{"name": "WRITTEN", "value": value}]}]},
        });
        let patch = Patch::Strategic(json!({"spec": {"template": template}}));
        deployments(&shop.staging).patch("shop", &PatchParams::default(), &patch).await.unwrap();
    }
    until("it is in the audit log that it was written twice", async || {
        complaint(&shop).await.contains("written more than once").then_some(())
    })
    .await;
}

/// What is said of what does not hold; empty where everything does.
async fn complaint(shop: &Shop) -> String {
    match AssertUnwindSafe(hold(shop)).catch_unwind().await {
        Ok(()) => String::new(),
        Err(said) => said.downcast_ref::<String>().cloned().expect("each check says what is wrong"),
    }
}
