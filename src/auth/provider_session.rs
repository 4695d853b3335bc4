//! The provider's side of a sign-in, and what the provider last said of a person. One sign-in at the provider may stand
//! behind several sessions and programs here; when the provider ends it, all of them end.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use secrecy::SecretString;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::oidc::Provider;
use super::{Identity, Person};
use crate::events::{self, Entry, Origin};

/// Nobody has come back to these for so long that their refresh tokens are worth nothing either.
const KEPT_UNUSED: SignedDuration = SignedDuration::from_hours(24 * 90);

/// What a session or a token knows of the provider's session behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderSession {
    pub id: i64,
    pub created: Timestamp,
    /// When the provider last said who this is.
    pub checked: Timestamp,
    /// Whether the provider can be asked again. Else the groups are as old as the sign-in.
    pub renewable: bool,
}

impl ProviderSession {
    /// From the columns of an outer join.
    pub fn read(
        id: Option<i64>,
        created: Option<jiff_sqlx::Timestamp>,
        checked: Option<jiff_sqlx::Timestamp>,
        renewable: bool,
    ) -> Option<Self> {
        let (id, created, checked) = (id?, created?.to_jiff(), checked?.to_jiff());
        Some(Self { id, created, checked, renewable })
    }
}

/// What a sign-in leaves besides the person.
pub struct FromProvider {
    pub sid: Option<String>,
    pub id_token: String,
    pub refresh_token: Option<SecretString>,
}

/// Begins it, or goes on with the one of the same name.
pub async fn begin(
    tx: &mut PgConnection,
    provider: &Provider,
    whose: &Identity,
    from: &FromProvider,
    now: Timestamp,
) -> sqlx::Result<i64> {
    sqlx::query!("delete from provider_sessions where checked < $1", (now - KEPT_UNUSED).to_sqlx() as _)
        .execute(&mut *tx)
        .await?;
    if provider.seal().is_some() && from.refresh_token.is_none() {
        tracing::warn!(
            "the identity provider gave no refresh token, so this person keeps the groups of this sign-in: \
             add the scope that it gives one for, usually \"offline_access\", to oidc.scopes"
        );
    }
    let sealed = from.refresh_token.as_ref().and_then(|token| Some(provider.seal()?.seal(whose, token)));
    sqlx::query_scalar!(
        "insert into provider_sessions (issuer, subject, sid, refresh_token, created, checked)
         values ($1, $2, $3, $4, $5, $5)
         on conflict on constraint provider_sessions_sid
         do update set refresh_token = coalesce(excluded.refresh_token, provider_sessions.refresh_token),
                       created = excluded.created, checked = excluded.checked
         returning id",
        whose.issuer,
        whose.subject,
        from.sid,
        sealed,
        now.to_sqlx() as _,
    )
    .fetch_one(tx)
    .await
}

/// A session here is gone. If it was the last thing to stand on the provider's session, nobody asks for that any more.
pub async fn leave(tx: &mut PgConnection, id: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from provider_sessions p where id = $1
           and not exists (select from sessions where provider_session = p.id)
           and not exists (select from tokens where provider_session = p.id)",
        id,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A row that is held until the transaction ends: two replicas that ask at once would burn the refresh token.
pub struct Held {
    pub whose: Identity,
    pub refresh_token: Option<Vec<u8>>,
    pub checked: Timestamp,
    /// As last known.
    pub person: Person,
}

pub async fn hold(tx: &mut PgConnection, id: i64) -> sqlx::Result<Option<Held>> {
    let row = sqlx::query!(
        r#"select v.issuer, v.subject, v.refresh_token, v.checked, p.person as "person: Json<Person>"
           from provider_sessions v join people p on p.issuer = v.issuer and p.subject = v.subject
           where v.id = $1 for update of v"#,
        id,
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| Held {
        whose: Identity { issuer: row.issuer, subject: row.subject },
        refresh_token: row.refresh_token,
        checked: row.checked.to_jiff(),
        person: row.person.0,
    }))
}

/// The provider replaced the refresh token.
pub async fn replace(tx: &mut PgConnection, id: i64, sealed: &[u8]) -> sqlx::Result<()> {
    sqlx::query!("update provider_sessions set refresh_token = $2 where id = $1", id, sealed)
        .execute(tx)
        .await?;
    Ok(())
}

/// The provider said who this is now.
pub async fn checked(tx: &mut PgConnection, id: i64, now: Timestamp) -> sqlx::Result<()> {
    sqlx::query!("update provider_sessions set checked = $2 where id = $1", id, now.to_sqlx() as _)
        .execute(tx)
        .await?;
    Ok(())
}

/// It has ended, and with it every session and every token that was born of it, on every replica.
pub async fn end(
    tx: &mut PgConnection,
    id: i64,
    person: &Person,
    why: &str,
    now: Timestamp,
) -> sqlx::Result<()> {
    let ended = sqlx::query!(
        r#"with
               sessions_gone as (delete from sessions where provider_session = $1 returning id_hash),
               tokens_gone as (delete from tokens where provider_session = $1 returning name, hash),
               told as (
                   select pg_notify('session_ended', encode(id_hash, 'hex')) from sessions_gone
                   union all select pg_notify('token_revoked', encode(hash, 'hex')) from tokens_gone
               )
           select (select count(*) from told) as "told!",
                  (select count(*) from sessions_gone) as "sessions!",
                  (select coalesce(array_agg(name), '{}') from tokens_gone) as "programs!""#,
        id,
    )
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query!("delete from provider_sessions where id = $1", id).execute(&mut *tx).await?;
    let entry = Entry {
        action: "session.end_by_provider",
        target: person.username.clone(),
        outcome: "ended",
        detail: serde_json::json!({ "why": why, "sessions": ended.sessions, "programs": ended.programs }),
    };
    events::audit(tx, person, &from_provider(), now, entry).await
}

/// Keeps what the provider says of a person; gives whether that is new. Then every replica forgets what it remembers of
/// anybody, so that it counts at once.
pub async fn remember(tx: &mut PgConnection, person: &Person, now: Timestamp) -> sqlx::Result<bool> {
    let before = sqlx::query_scalar!(
        r#"select person as "person: Json<Person>" from people where issuer = $1 and subject = $2 for update"#,
        person.identity.issuer,
        person.identity.subject,
    )
    .fetch_optional(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into people (issuer, subject, person, checked) values ($1, $2, $3, $4)
         on conflict (issuer, subject) do update set person = excluded.person, checked = excluded.checked",
        person.identity.issuer,
        person.identity.subject,
        Json(person) as _,
        now.to_sqlx() as _,
    )
    .execute(&mut *tx)
    .await?;
    let Some(Json(before)) = before.filter(|before| before.0 != *person) else { return Ok(false) };
    sqlx::query!("select pg_notify('person_changed', '')").fetch_one(&mut *tx).await?;
    if before.groups != person.groups {
        let entry = Entry {
            action: "groups.change",
            target: person.username.clone(),
            outcome: "done",
            detail: changed(&before.groups, &person.groups),
        };
        events::audit(tx, person, &from_provider(), now, entry).await?;
    }
    Ok(true)
}

fn changed(before: &BTreeSet<String>, after: &BTreeSet<String>) -> serde_json::Value {
    let added: Vec<_> = after.difference(before).collect();
    let removed: Vec<_> = before.difference(after).collect();
    serde_json::json!({ "added": added, "removed": removed })
}

fn from_provider() -> Origin {
    Origin { address: "identity provider".into(), request_id: String::new() }
}
