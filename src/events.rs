//! The audit trail: who, as what, did what, to what, from where, when, with which outcome. Append-only and
//! hash-chained: each row's hash covers its content and the hash before it, so a removed or edited row shows.

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};

use crate::auth::Person;

/// Any number, the same for every replica: appends to the chain wait for each other.
const CHAIN_LOCK: i64 = 0x0070_696c_6f74_0001;

/// Where a request came from, for the audit trail.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Address of the client and the token it showed, or "engine" for what the portal carries on by itself.
    pub address: String,
    pub request_id: String,
}

impl Origin {
    pub fn engine() -> Self {
        Self { address: "engine".into(), request_id: String::new() }
    }
}

/// What was done, in the form `noun.verb` ("deploy.request", "session.end").
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    pub action: &'a str,
    pub target: String,
    pub outcome: &'a str,
    pub detail: Value,
}

/// Appends a row in the caller's transaction: the trail has exactly what was committed.
/// Call it last, because it holds up other appends until the commit.
pub async fn audit(
    tx: &mut PgConnection,
    person: &Person,
    origin: &Origin,
    at: Timestamp,
    entry: Entry<'_>,
) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock($1)", CHAIN_LOCK).fetch_one(&mut *tx).await?;
    let previous = sqlx::query_scalar!("select hash from audit order by id desc limit 1")
        .fetch_optional(&mut *tx)
        .await?
        .unwrap_or_default();
    // Postgres keeps microseconds; hash what it will give back.
    let at = at.round(jiff::Unit::Microsecond).unwrap_or(at);
    let row = Row {
        at,
        issuer: &person.identity.issuer,
        subject: &person.identity.subject,
        name: &person.name,
        username: &person.username,
        action: entry.action,
        target: &entry.target,
        outcome: entry.outcome,
        origin: &origin.address,
        request_id: &origin.request_id,
        detail: &entry.detail,
    };
    let hash = row.hash(&previous);
    sqlx::query!(
        "insert into audit (at, issuer, subject, name, username, action, target, outcome, origin, request_id,
                            detail, previous, hash)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        jiff_sqlx::Timestamp::from(at) as _,
        row.issuer,
        row.subject,
        row.name,
        row.username,
        row.action,
        row.target,
        row.outcome,
        row.origin,
        row.request_id,
        row.detail,
        previous,
        hash,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// What a hash covers.
struct Row<'a> {
    at: Timestamp,
    issuer: &'a str,
    subject: &'a str,
    name: &'a str,
    username: &'a str,
    action: &'a str,
    target: &'a str,
    outcome: &'a str,
    origin: &'a str,
    request_id: &'a str,
    detail: &'a Value,
}

impl Row<'_> {
    /// SHA-256 over the hash before and the row as a JSON array: one unambiguous form, no separators to forge.
    fn hash(&self, previous: &[u8]) -> Vec<u8> {
        let content = json!([
            self.at.as_microsecond(),
            self.issuer,
            self.subject,
            self.name,
            self.username,
            self.action,
            self.target,
            self.outcome,
            self.origin,
            self.request_id,
            self.detail,
        ]);
        Sha256::new().chain_update(previous).chain_update(content.to_string()).finalize().to_vec()
    }
}

/// The result of walking the whole chain.
#[derive(Debug, PartialEq, Eq)]
pub enum Chain {
    /// Every row fits; the number of rows.
    Intact(u64),
    /// The first row whose content or place does not fit its hash.
    BrokenAt(i64),
}

/// Walks the trail from its beginning.
pub async fn verify_chain(db: &PgPool) -> sqlx::Result<Chain> {
    use futures::TryStreamExt;
    let mut rows = sqlx::query!(
        r#"select id, at as "at: jiff_sqlx::Timestamp", issuer, subject, name, username, action, target, outcome,
                  origin, request_id, detail, previous, hash
           from audit order by id"#
    )
    .fetch(db);
    let (mut before, mut count) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let expected = Row {
            at: row.at.to_jiff(),
            issuer: &row.issuer,
            subject: &row.subject,
            name: &row.name,
            username: &row.username,
            action: &row.action,
            target: &row.target,
            outcome: &row.outcome,
            origin: &row.origin,
            request_id: &row.request_id,
            detail: &row.detail,
        }
        .hash(&before);
        if row.previous != before || row.hash != expected {
            return Ok(Chain::BrokenAt(row.id));
        }
        before = row.hash;
        count += 1;
    }
    Ok(Chain::Intact(count))
}
