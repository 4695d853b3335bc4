//! Reading and writing grants, in the ways of `deploy/store.rs`. Every write of a state goes through [`record`]: the
//! event, the new state and the wake-up, in the caller's transaction, under the fence.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::grant::{Event, Grant, GrantId, Place, State, Terms, apply};
use crate::app::App;
use crate::auth::{Identity, Person};
use crate::deploy::Digest;

/// An access request before it has a number.
pub struct NewGrant<'a> {
    pub requester: &'a Person,
    pub service: &'a str,
    pub place: &'a Place,
    pub terms: &'a Terms,
    pub seconds: i64,
    pub reason: &'a str,
    pub contact: &'a str,
    pub digest: &'a Digest,
    pub expires: Timestamp,
    pub idempotency_key: Option<&'a str>,
}

/// Inserts one in state Requested, with its first event.
pub async fn insert(tx: &mut PgConnection, new: NewGrant<'_>, now: Timestamp) -> sqlx::Result<GrantId> {
    let state = State::Requested { expires: new.expires };
    let id = sqlx::query_scalar!(
        r#"
        with made as (
            insert into grants (requester, issuer, subject, service, place, terms, seconds, reason, contact, digest,
                                state, detail, idempotency_key, requested, next_event)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 2)
            returning id
        ), written as (
            insert into grant_events (grant_id, seq, at, actor, event) select id, 1, $14, $15, $16 from made
        )
        select id from made, pg_notify('grants', id::text)
        "#,
        Json(new.requester) as _,
        new.requester.identity.issuer,
        new.requester.identity.subject,
        new.service,
        Json(new.place) as _,
        Json(new.terms) as _,
        new.seconds,
        new.reason,
        new.contact,
        new.digest.0,
        state.name(),
        Json(&state) as _,
        new.idempotency_key,
        now.to_sqlx() as _,
        new.requester.name,
        Json(Event::Requested) as _,
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(GrantId(id))
}

/// The request that was made with this key.
pub async fn by_key(db: &mut PgConnection, key: &str) -> sqlx::Result<Option<GrantId>> {
    let id = sqlx::query_scalar!("select id from grants where idempotency_key = $1", key);
    Ok(id.fetch_optional(db).await?.map(GrantId))
}

pub async fn load(db: &mut PgConnection, id: GrantId) -> sqlx::Result<Option<Grant>> {
    Ok(load_all(db, &[id]).await?.pop())
}

/// The same on a connection of its own.
pub async fn loaded(app: &App, id: GrantId) -> sqlx::Result<Option<Grant>> {
    load(&mut *app.db.acquire().await?, id).await
}

/// Newest first. Those that are not there are left out.
pub async fn load_all(db: &mut PgConnection, ids: &[GrantId]) -> sqlx::Result<Vec<Grant>> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"select id, requester as "requester: Json<Person>", service, place as "place: Json<Place>",
                  terms as "terms: Json<Terms>", seconds, reason, contact, digest, detail as "detail: Json<State>",
                  requested, ended, fence
           from grants where id = any ($1) order by id desc"#,
        &ids
    )
    .fetch_all(db)
    .await?;
    let grant = rows.into_iter().map(|row| Grant {
        id: GrantId(row.id),
        requester: row.requester.0,
        service: row.service,
        place: row.place.0,
        terms: row.terms.0,
        seconds: row.seconds,
        reason: row.reason,
        contact: row.contact,
        digest: Digest(row.digest),
        state: row.detail.0,
        requested: row.requested.to_jiff(),
        ended: row.ended.map(|at| at.to_jiff()),
        fence: row.fence,
    });
    Ok(grant.collect())
}

/// Loads one for a person's decision: locked until the transaction ends, and with a new fence, so that an engine that
/// is looking at it right now can't write over the decision.
pub async fn lock(tx: &mut PgConnection, id: GrantId) -> sqlx::Result<Option<Grant>> {
    sqlx::query!("update grants set fence = fence + 1, lease_until = null where id = $1", id.0)
        .execute(&mut *tx)
        .await?;
    load(tx, id).await
}

/// Why a recorded event did not take.
#[derive(Debug, thiserror::Error)]
pub enum NotRecorded {
    #[error("another owner holds access request {0}: this one is fenced off")]
    Fenced(GrantId),
    #[error("{event} can’t happen to access request {id}, which is {state}")]
    Illegal { id: GrantId, event: String, state: &'static str },
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Writes an event down and moves the grant to the state that follows from it.
pub async fn record(
    tx: &mut PgConnection,
    grant: &mut Grant,
    actor: &str,
    event: &Event,
    at: Timestamp,
) -> Result<(), NotRecorded> {
    let Some(next) = apply(&grant.state, event, actor, at) else {
        let (id, state) = (grant.id, grant.state.name());
        return Err(NotRecorded::Illegal { id, event: format!("{event:?}"), state });
    };
    let ended = next.is_end().then_some(at);
    sqlx::query!(
        r#"
        with moved as (
            update grants
            set state = $3, detail = $4, ended = $5, next_event = next_event + 1, wake = now(), lease_until = null
            where id = $1 and fence = $2
            returning id, next_event - 1 as seq
        ), written as (
            insert into grant_events (grant_id, seq, at, actor, event) select id, seq, $6, $7, $8 from moved
        )
        select pg_notify('grants', id::text) as told from moved
        "#,
        grant.id.0,
        grant.fence,
        next.name(),
        Json(&next) as _,
        ended.map(|at| at.to_sqlx()) as _,
        at.to_sqlx() as _,
        actor,
        Json(event) as _,
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(NotRecorded::Fenced(grant.id))?;
    grant.state = next;
    grant.ended = ended;
    Ok(())
}

/// One line of the timeline.
pub struct Happened {
    pub at: Timestamp,
    pub actor: String,
    pub event: Event,
}

/// Oldest first.
pub async fn events(db: &mut PgConnection, id: GrantId) -> sqlx::Result<Vec<Happened>> {
    let rows = sqlx::query!(
        r#"select at, actor, event as "event: Json<Event>" from grant_events where grant_id = $1 order by seq"#,
        id.0
    )
    .fetch_all(db)
    .await?;
    let happened =
        rows.into_iter().map(|row| Happened { at: row.at.to_jiff(), actor: row.actor, event: row.event.0 });
    Ok(happened.collect())
}

/// A person with the groups of their newest sign-in, where they have one: somebody who was taken out of a group since
/// then no longer acts with it.
pub async fn newest(db: &mut PgConnection, person: &Person) -> sqlx::Result<Person> {
    let Identity { issuer, subject } = &person.identity;
    let found = sqlx::query_scalar!(
        r#"select person as "person: Json<Person>" from sessions
           where issuer = $1 and subject = $2 order by created desc limit 1"#,
        issuer,
        subject,
    )
    .fetch_optional(db)
    .await?;
    Ok(found.map_or_else(|| person.clone(), |found| found.0))
}

/// Takes the next due grant: its lease and a new fence. `None`: nothing is due.
pub async fn claim(db: &mut PgConnection, owner: Uuid, lease_seconds: f64) -> sqlx::Result<Option<GrantId>> {
    let id = sqlx::query_scalar!(
        "update grants
         set lease_owner = $1, lease_until = now() + make_interval(secs => $2), fence = fence + 1
         where id = (
             select id from grants
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
    Ok(id.map(GrantId))
}

/// Makes the lease longer right before a write to the cluster. `false`: somebody else owns the grant by now.
pub async fn still_ours(db: &mut PgConnection, grant: &Grant, lease_seconds: f64) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update grants set lease_until = now() + make_interval(secs => $3)
         where id = $1 and fence = $2 and lease_until > now()",
        grant.id.0,
        grant.fence,
        lease_seconds,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Puts a grant back until `seconds` from now.
pub async fn rest(db: &mut PgConnection, grant: &Grant, seconds: f64) -> Result<(), NotRecorded> {
    let done = sqlx::query!(
        "update grants set wake = now() + make_interval(secs => $3), lease_until = null
         where id = $1 and fence = $2",
        grant.id.0,
        grant.fence,
        seconds,
    )
    .execute(db)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(NotRecorded::Fenced(grant.id)) }
}
