//! Reading and writing deploys. Every write of a state goes through [`record`]: the event, the new state and the
//! wake-up of whoever waits for it, in the caller's transaction, under the fence.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::deploy::{
    Action, CheckMade, Deploy, DeployId, Digest, ImageChange, Place, Policy, Progress, ShownDiff,
};
use super::gates::{Approver, Verdict};
use super::reads::Prints;
use super::state::{Event, State, apply};
use crate::auth::Person;
use crate::config::Config;
use crate::kube::job::{LastLine, LastLines};

/// A deploy that is asked for, before it has a number.
pub struct NewDeploy<'a> {
    pub place: &'a Place,
    pub action: &'a Action,
    pub requester: &'a Person,
    pub reason: &'a str,
    pub policy: &'a Policy,
    pub digest: &'a Digest,
    pub shown: &'a [ShownDiff],
    pub checks: Vec<CheckMade>,
    pub idempotency_key: Option<&'a str>,
}

/// Inserts a deploy in state Requested. `Err(id)`: the idempotency key was used before, for that deploy.
pub async fn insert(
    tx: &mut PgConnection,
    new: NewDeploy<'_>,
    now: Timestamp,
) -> sqlx::Result<Result<DeployId, DeployId>> {
    let inserted = sqlx::query_scalar!(
        "insert into deploys (service, team, environment, cluster, namespace, action, requester, reason, policy,
                              digest, shown, checks, state, detail, idempotency_key, requested)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         on conflict on constraint deploys_idempotency do nothing
         returning id",
        new.place.service,
        new.place.team,
        new.place.environment,
        new.place.cluster,
        new.place.namespace,
        Json(new.action) as _,
        Json(new.requester) as _,
        new.reason,
        Json(new.policy) as _,
        new.digest.0,
        Json(new.shown) as _,
        Json(new.checks) as _,
        State::Requested.name(),
        Json(State::Requested) as _,
        new.idempotency_key,
        now.to_sqlx() as _,
    )
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(id) = inserted {
        return Ok(Ok(DeployId(id)));
    }
    let earlier = sqlx::query_scalar!(
        "select id from deploys where service = $1 and environment = $2 and idempotency_key = $3",
        new.place.service,
        new.place.environment,
        new.idempotency_key,
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(Err(DeployId(earlier)))
}

pub async fn load(db: &mut PgConnection, id: DeployId) -> sqlx::Result<Option<Deploy>> {
    Ok(load_all(db, &[id]).await?.pop())
}

/// Newest first. Those that are not there are left out. The requester is in the groups that the provider last told of:
/// who lost a right since they asked does not use it up.
pub async fn load_all(db: &mut PgConnection, ids: &[DeployId]) -> sqlx::Result<Vec<Deploy>> {
    let rows = sqlx::query!(
        r#"select id, service, team, environment, cluster, namespace, action as "action: Json<Action>",
                  case when p.checked >= requested
                       then requester || jsonb_build_object('groups', p.person -> 'groups')
                       else requester end as "requester!: Json<Person>",
                  reason, policy as "policy: Json<Policy>", digest,
                  shown as "shown: Json<Vec<ShownDiff>>", checks as "checks: Json<Vec<CheckMade>>", detail as "detail: Json<State>", requested, ended, fence,
                  progress as "progress: Json<Option<Progress>>",
                  exists (select from glass_reviews g where g.deploy = deploys.id) as "glass!"
           from deploys
           left join people p on p.issuer = requester -> 'identity' ->> 'issuer'
                             and p.subject = requester -> 'identity' ->> 'subject'
           where id = any ($1) order by id desc"#,
        &numbers(ids)
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Deploy {
            id: DeployId(row.id),
            place: Place {
                service: row.service,
                team: row.team,
                environment: row.environment,
                cluster: row.cluster,
                namespace: row.namespace,
            },
            action: row.action.0,
            requester: row.requester.0,
            reason: row.reason,
            policy: row.policy.0,
            digest: Digest(row.digest),
            state: row.detail.0,
            requested: row.requested.to_jiff(),
            ended: row.ended.map(|at| at.to_jiff()),
            fence: row.fence,
            shown: row.shown.0,
            checks: row.checks.0,
            progress: row.progress.0,
            glass: row.glass,
        })
        .collect())
}

fn numbers(ids: &[DeployId]) -> Vec<i64> {
    ids.iter().map(|id| id.0).collect()
}

/// Loads a deploy for a person's decision: locked until the transaction ends, and with a new fence, so that an
/// engine that is looking at it right now can't write over the decision.
pub async fn lock(tx: &mut PgConnection, id: DeployId) -> sqlx::Result<Option<Deploy>> {
    sqlx::query!("update deploys set fence = fence + 1, lease_until = null where id = $1", id.0)
        .execute(&mut *tx)
        .await?;
    load(tx, id).await
}

/// Why a recorded event did not take.
#[derive(Debug, thiserror::Error)]
pub enum NotRecorded {
    #[error("another owner holds deploy {0}: this one is fenced off")]
    Fenced(DeployId),
    #[error("{event} can’t happen to deploy {id}, which is {state}")]
    Illegal { id: DeployId, event: String, state: &'static str },
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Writes an event down and moves the deploy to the state that follows from it.
pub async fn record(
    tx: &mut PgConnection,
    deploy: &mut Deploy,
    actor: &str,
    event: &Event,
    at: Timestamp,
) -> Result<(), NotRecorded> {
    let Some(next) = apply(&deploy.state, event, actor, at) else {
        return Err(NotRecorded::Illegal {
            id: deploy.id,
            event: format!("{event:?}"),
            state: deploy.state.name(),
        });
    };
    let ended = next.is_end().then_some(at);
    // One statement: the state, the event and the word of it to engines and open pages, which hear it at the commit.
    sqlx::query!(
        r#"
        with moved as (
            update deploys
            set state = $3, detail = $4, ended = coalesce(ended, $5), next_event = next_event + 1, wake = now(), lease_until = null
            where id = $1 and fence = $2
            returning id, next_event - 1 as seq
        ), written as (
            insert into events (deploy, seq, at, actor, event) select id, seq, $6, $7, $8 from moved
        )
        select pg_notify('deploys', id::text) as told from moved
        "#,
        deploy.id.0,
        deploy.fence,
        next.name(),
        Json(&next) as _,
        ended.map(|at| at.to_sqlx()) as _,
        at.to_sqlx() as _,
        actor,
        Json(event) as _,
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(NotRecorded::Fenced(deploy.id))?;
    deploy.state = next;
    deploy.ended = deploy.ended.or(ended);
    Ok(())
}

/// One line of a deploy's timeline.
pub struct Happened {
    pub at: Timestamp,
    pub actor: String,
    pub event: Event,
}

/// Oldest first.
pub async fn events(db: &mut PgConnection, id: DeployId) -> sqlx::Result<Vec<Happened>> {
    Ok(events_of(db, &[id]).await?.remove(&id).unwrap_or_default())
}

/// By deploy, oldest first.
pub async fn events_of(
    db: &mut PgConnection,
    ids: &[DeployId],
) -> sqlx::Result<HashMap<DeployId, Vec<Happened>>> {
    let rows = sqlx::query!(
        r#"select deploy, at, actor, event as "event: Json<Event>" from events
           where deploy = any ($1) order by deploy, seq"#,
        &numbers(ids)
    )
    .fetch_all(db)
    .await?;
    let mut events: HashMap<_, Vec<_>> = HashMap::new();
    for row in rows {
        let happened = Happened { at: row.at.to_jiff(), actor: row.actor, event: row.event.0 };
        events.entry(DeployId(row.deploy)).or_default().push(happened);
    }
    Ok(events)
}

/// A decision on a deploy.
pub struct Decided {
    pub person: Person,
    pub verdict: Verdict,
    pub note: String,
    pub at: Timestamp,
}

/// Oldest first.
pub async fn decisions(db: &mut PgConnection, id: DeployId) -> sqlx::Result<Vec<Decided>> {
    Ok(decisions_of(db, &[id]).await?.remove(&id).unwrap_or_default())
}

/// By deploy, oldest first.
pub async fn decisions_of(
    db: &mut PgConnection,
    ids: &[DeployId],
) -> sqlx::Result<HashMap<DeployId, Vec<Decided>>> {
    let rows = sqlx::query!(
        r#"select deploy, person as "person: Json<Person>", verdict, note, at from approvals
           where deploy = any ($1) order by deploy, at"#,
        &numbers(ids)
    )
    .fetch_all(db)
    .await?;
    let mut decisions: HashMap<_, Vec<_>> = HashMap::new();
    for row in rows {
        let decided = Decided {
            person: row.person.0,
            verdict: if row.verdict == "approve" { Verdict::Approve } else { Verdict::Reject },
            note: row.note,
            at: row.at.to_jiff(),
        };
        decisions.entry(DeployId(row.deploy)).or_default().push(decided);
    }
    Ok(decisions)
}

/// Those who said yes, with the groups of their newest sign-in where they have one: somebody who was taken out
/// of the group since then no longer counts.
pub async fn approvers(db: &mut PgConnection, id: DeployId) -> sqlx::Result<Vec<Approver>> {
    let rows = sqlx::query!(
        r#"select case when p.checked >= coalesce(s.created, p.checked) then p.person
                       else coalesce(s.person, a.person) end as "person!: Json<Person>", a.seen
           from approvals a
           left join people p on p.issuer = a.issuer and p.subject = a.subject
           left join lateral (
               select person, created from sessions
               where issuer = a.issuer and subject = a.subject order by created desc limit 1
           ) s on true
           where a.deploy = $1 and a.verdict = 'approve'"#,
        id.0
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| Approver { person: row.person.0, seen: Digest(row.seen) }).collect())
}

/// A success on a target.
#[derive(Clone, Debug)]
pub struct Release {
    pub id: i64,
    pub version: String,
    /// Container to image, by digest.
    pub change: ImageChange,
    pub by: Person,
    pub approved: bool,
    pub at: Timestamp,
    /// What its pods read. None: nobody could look, or nobody looked yet when it ran.
    pub(super) reads: Option<Prints>,
}

/// Newest first, the last 20.
pub async fn releases(db: &mut PgConnection, service: &str, environment: &str) -> sqlx::Result<Vec<Release>> {
    let rows = sqlx::query!(
        r#"select id, version, change as "change: Json<ImageChange>", by_person as "by: Json<Person>",
                  approved, at, reads as "reads: Json<Prints>"
           from releases where service = $1 and environment = $2 order by id desc limit 20"#,
        service,
        environment,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Release {
            id: row.id,
            version: row.version,
            change: row.change.0,
            by: row.by.0,
            approved: row.approved,
            at: row.at.to_jiff(),
            reads: row.reads.map(|reads| reads.0),
        })
        .collect())
}

/// The newest release of a target: what ran there and passed its soak.
pub async fn last_good(db: &mut PgConnection, place: &Place) -> sqlx::Result<Option<ImageChange>> {
    let change = sqlx::query_scalar!(
        r#"select change as "change: Json<ImageChange>" from releases
           where service = $1 and environment = $2 order by id desc limit 1"#,
        place.service,
        place.environment,
    );
    Ok(change.fetch_optional(db).await?.map(|change| change.0))
}

/// What the pods of that one read.
pub(super) async fn last_good_reads(
    db: &mut PgConnection,
    place: &Place,
    version: &str,
) -> sqlx::Result<Option<Prints>> {
    let reads = sqlx::query_scalar!(
        r#"select case when version = $3 then reads end as "reads: Json<Prints>" from releases
           where service = $1 and environment = $2 order by id desc limit 1"#,
        place.service,
        place.environment,
        version,
    );
    Ok(reads.fetch_optional(db).await?.flatten().map(|reads| reads.0))
}

/// Writes the success down as a release, to be rolled back to.
pub(super) async fn release(
    tx: &mut PgConnection,
    deploy: &Deploy,
    change: &ImageChange,
    reads: Option<&Prints>,
    at: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into releases (deploy, service, environment, version, digest, change, by_person, approved, at, reads)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        deploy.id.0,
        deploy.place.service,
        deploy.place.environment,
        change.version,
        change.digest,
        Json(change) as _,
        Json(&deploy.requester) as _,
        deploy.approval().is_some(),
        at.to_sqlx() as _,
        reads.map(Json) as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// When an environment first ran a digest with success.
pub async fn first_success(
    db: &mut PgConnection,
    service: &str,
    environment: &str,
    digest: &str,
) -> sqlx::Result<Option<Timestamp>> {
    let at = sqlx::query_scalar!(
        "select at from releases where service = $1 and environment = $2 and digest = $3 order by id limit 1",
        service,
        environment,
        digest,
    )
    .fetch_optional(db)
    .await?;
    Ok(at.map(|at| at.to_jiff()))
}

/// Those of the digests that an environment ran with success.
pub async fn succeeded(
    db: &mut PgConnection,
    service: &str,
    environment: &str,
    digests: &[String],
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select distinct digest as "digest!" from releases
           where service = $1 and environment = $2 and digest = any ($3)"#,
        service,
        environment,
        digests,
    )
    .fetch_all(db)
    .await
}

/// A release that landed on the target after `since`, by another deploy.
pub async fn newer_release(db: &mut PgConnection, deploy: &Deploy) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "select version from releases
         where service = $1 and environment = $2 and at > $3 and deploy <> $4 order by id desc limit 1",
        deploy.place.service,
        deploy.place.environment,
        deploy.requested.to_sqlx() as _,
        deploy.id.0,
    )
    .fetch_optional(db)
    .await
}

/// What stands before a deploy on its target.
pub async fn ahead(
    db: &mut PgConnection,
    config: &Config,
    deploy: &Deploy,
    now: Timestamp,
) -> sqlx::Result<Option<DeployId>> {
    let environment = config.environment(&deploy.place.environment);
    let frozen = environment.is_some_and(|found| found.frozen(now).is_some());
    in_the_way(db, &deploy.place, Some(deploy.id), frozen && !deploy.can_be_frozen()).await
}

/// What one would wait for on a target: what is under way there, or an earlier one in the queue; any in the queue, for
/// one that is not asked for yet. Who `passes` is free of the freeze that holds others, and does not wait for those.
pub async fn in_the_way(
    db: &mut PgConnection,
    place: &Place,
    own: Option<DeployId>,
    passes: bool,
) -> sqlx::Result<Option<DeployId>> {
    let rows = sqlx::query!(
        r#"select id, state = 'queued' as "queued!", action as "action: Json<Action>",
                  exists (select from glass_reviews g where g.deploy = deploys.id) as "glass!"
           from deploys
           where service = $1 and environment = $2 and id is distinct from $3 and ended is null
             and (state in ('shifting', 'applying', 'rolling_out', 'verifying', 'rolling_back')
                  or (state = 'queued' and id < coalesce($3, 9223372036854775807)))
           order by id"#,
        place.service,
        place.environment,
        own.map(|id| id.0),
    )
    .fetch_all(db)
    .await?;
    let first = rows.iter().find(|row| {
        let is_held = row.queued && !row.glass && row.action.0.can_be_frozen();
        !(passes && is_held)
    });
    Ok(first.map(|row| DeployId(row.id)))
}

/// Takes the next due deploy: its lease and a new fence. `None`: nothing is due.
pub async fn claim(db: &mut PgConnection, owner: Uuid, lease_seconds: f64) -> sqlx::Result<Option<DeployId>> {
    let id = sqlx::query_scalar!(
        "update deploys
         set lease_owner = $1, lease_until = now() + make_interval(secs => $2), fence = fence + 1
         where id = (
             select id from deploys
             where ended is null and wake <= now() and (lease_until is null or lease_until < now())
             order by wake
             limit 1
             for update skip locked
         )
         returning id",
        owner,
        lease_seconds,
    )
    .fetch_optional(db)
    .await?;
    Ok(id.map(DeployId))
}

/// Keeps a claimed deploy for its next look, in the transaction that recorded the last one.
pub async fn hold(tx: &mut PgConnection, deploy: &Deploy, lease_seconds: f64) -> sqlx::Result<()> {
    sqlx::query!(
        "update deploys set lease_until = now() + make_interval(secs => $3) where id = $1 and fence = $2",
        deploy.id.0,
        deploy.fence,
        lease_seconds,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Makes the lease longer right before a write to the cluster. `false`: somebody else owns the deploy by now.
pub async fn still_ours(db: &mut PgConnection, deploy: &Deploy, lease_seconds: f64) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update deploys set lease_until = now() + make_interval(secs => $3)
         where id = $1 and fence = $2 and lease_until > now()",
        deploy.id.0,
        deploy.fence,
        lease_seconds,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Puts a deploy back until `seconds` from now, with what was seen. Pages are told only when that changed.
pub async fn rest(
    tx: &mut PgConnection,
    deploy: &Deploy,
    seconds: f64,
    progress: Option<&Progress>,
) -> Result<(), NotRecorded> {
    let done = sqlx::query!(
        "update deploys
         set wake = now() + make_interval(secs => $3), lease_until = null, progress = coalesce($4, progress)
         where id = $1 and fence = $2",
        deploy.id.0,
        deploy.fence,
        seconds,
        progress.map(|progress| Json(progress)) as _,
    )
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() != 1 {
        return Err(NotRecorded::Fenced(deploy.id));
    }
    if progress.is_some() && progress != deploy.progress.as_ref() {
        sqlx::query!("select pg_notify('deploy_pages', $1)", deploy.id.to_string()).fetch_one(tx).await?;
    }
    Ok(())
}

/// Keeps the newest lines of a migration's log, which its Job takes with it when it goes.
pub async fn keep_log(tx: &mut PgConnection, id: DeployId, log: &LastLines) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into deploy_logs (deploy, pod, lines) values ($1, $2, $3)
         on conflict (deploy) do update set pod = excluded.pod, lines = excluded.lines
         where (deploy_logs.pod, deploy_logs.lines) is distinct from (excluded.pod, excluded.lines)",
        id.0,
        log.pod,
        Json(&log.lines) as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Whether a deploy has come to its end. One that is not there has.
pub async fn has_ended(db: &mut PgConnection, id: DeployId) -> sqlx::Result<bool> {
    let ended =
        sqlx::query_scalar!(r#"select ended is not null as "ended!" from deploys where id = $1"#, id.0);
    Ok(ended.fetch_optional(db).await?.unwrap_or(true))
}

/// What was kept of a migration's log.
pub async fn kept_log(db: &mut PgConnection, id: DeployId) -> sqlx::Result<Option<LastLines>> {
    let row = sqlx::query!(
        r#"select pod, lines as "lines: Json<Vec<LastLine>>" from deploy_logs where deploy = $1"#,
        id.0
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| LastLines { pod: row.pod, lines: row.lines.0 }))
}
