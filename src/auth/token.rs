//! Personal tokens: what a program shows in place of a browser's cookie. A secret that is told once, its SHA-256 in
//! a row, the scopes that say what it may be used for, and an end. A token acts as its owner and never more.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::provider_session::ProviderSession;
use super::scope::{Scope, Scopes};
use super::session::Secret;
use super::{Identity, Person, machine};
use crate::app::App;
use crate::events::{self, Entry, Origin};

/// So that a secret in the wrong place is recognised for what it is, by people and by scanners.
const PREFIX: &str = "ph_";
/// Of one person, those that still count.
pub const MOST: i64 = 20;
pub const LONGEST_DAYS: u32 = 365;
const LONGEST_NAME: usize = 80;
/// Ended tokens stay on the list a while, so that one finds out why a program stopped working.
const KEPT_AFTER_END: SignedDuration = SignedDuration::from_hours(24 * 30);

/// `ph_` and 256 random bits. Never stored, never logged.
pub struct TokenSecret(String);

/// The SHA-256 of a [`TokenSecret`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenKey(pub [u8; 32]);

impl TokenSecret {
    pub fn random() -> Self {
        Self(format!("{PREFIX}{}", Secret::random().expose()))
    }

    /// What a program sent, if it has the shape of one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        Secret::parse(text.strip_prefix(PREFIX)?).map(|_| Self(text.into()))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn key(&self) -> TokenKey {
        TokenKey(Sha256::digest(&self.0).into())
    }
}

/// A token as it stands in its row, without its secret.
#[derive(Clone, Debug)]
pub struct Token {
    pub id: i64,
    pub key: TokenKey,
    pub owner: Arc<Person>,
    pub name: String,
    pub scopes: Scopes,
    pub created: Timestamp,
    pub expires: Timestamp,
    pub last_used: Option<Timestamp>,
}

/// A token that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub name: String,
    pub scopes: Scopes,
    pub days: u32,
}

impl Wanted {
    pub fn ends(&self, now: Timestamp) -> Timestamp {
        now + SignedDuration::from_hours(24 * i64::from(self.days))
    }
}

/// Why a token is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NoName,
    LongName(usize),
    NoScope,
    Days(u32),
    TooMany(i64),
    /// The token that asks has not got it itself.
    ScopeLacking(Scope),
    /// It would last longer than the token that asks.
    Outlives,
}

/// Everything that is wrong with a wish. `by`: the token it is made with, if it is not made on the page.
pub fn refusals(wanted: &Wanted, by: Option<&Token>, open: i64, now: Timestamp) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let length = wanted.name.trim().chars().count();
    if length == 0 {
        refusals.push(Refusal::NoName);
    } else if length > LONGEST_NAME || wanted.name.chars().any(char::is_control) {
        refusals.push(Refusal::LongName(LONGEST_NAME));
    }
    if wanted.scopes.is_empty() {
        refusals.push(Refusal::NoScope);
    }
    if !(1..=LONGEST_DAYS).contains(&wanted.days) {
        refusals.push(Refusal::Days(LONGEST_DAYS));
    }
    if open >= MOST {
        refusals.push(Refusal::TooMany(MOST));
    }
    if let Some(by) = by {
        refusals
            .extend(wanted.scopes.iter().find(|scope| !by.scopes.allow(*scope)).map(Refusal::ScopeLacking));
        if refusals.is_empty() && wanted.ends(now) > by.expires {
            refusals.push(Refusal::Outlives);
        }
    }
    refusals
}

/// Makes a person's token in the caller's transaction. The wish was looked at.
pub async fn mint(
    tx: &mut PgConnection,
    owner: &Arc<Person>,
    origin: &Origin,
    wanted: &Wanted,
    now: Timestamp,
) -> sqlx::Result<(Token, TokenSecret)> {
    let new = New {
        name: wanted.name.trim(),
        scopes: &wanted.scopes,
        expires: wanted.ends(now),
        action: "token.mint",
        by: owner,
        detail: serde_json::json!({}),
    };
    make(tx, owner, origin, new, now).await
}

/// A token that is made: what it is, and what the audit trail says of it.
pub struct New<'a> {
    pub name: &'a str,
    pub scopes: &'a Scopes,
    pub expires: Timestamp,
    pub action: &'a str,
    /// Its owner, or for a machine's stored token whoever asked for it.
    pub by: &'a Person,
    pub detail: serde_json::Value,
}

/// Makes a token in the caller's transaction, with its row in the audit trail.
pub async fn make(
    tx: &mut PgConnection,
    owner: &Arc<Person>,
    origin: &Origin,
    new: New<'_>,
    now: Timestamp,
) -> sqlx::Result<(Token, TokenSecret)> {
    let secret = TokenSecret::random();
    let key = secret.key();
    let scopes = new.scopes.names();
    sqlx::query!("delete from tokens where expires < $1", (now - KEPT_AFTER_END).to_sqlx() as _)
        .execute(&mut *tx)
        .await?;
    let minted_by = (new.by.identity != owner.identity).then_some(Json(new.by));
    let id = sqlx::query_scalar!(
        "insert into tokens (hash, issuer, subject, person, name, scopes, created, expires, minted_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning id",
        key.0.as_slice(),
        owner.identity.issuer,
        owner.identity.subject,
        Json(&**owner) as _,
        new.name,
        &scopes,
        now.to_sqlx() as _,
        new.expires.to_sqlx() as _,
        minted_by as _,
    )
    .fetch_one(&mut *tx)
    .await?;
    let mut detail = serde_json::json!({ "token": id, "scopes": scopes, "expires": new.expires });
    if let (Some(all), serde_json::Value::Object(more)) = (detail.as_object_mut(), new.detail) {
        all.extend(more);
    }
    let entry = Entry { action: new.action, target: new.name.into(), outcome: "done", detail };
    events::audit(tx, new.by, origin, now, entry).await?;
    let token = Token {
        id,
        key,
        owner: owner.clone(),
        name: new.name.into(),
        scopes: new.scopes.clone(),
        created: now,
        expires: new.expires,
        last_used: None,
    };
    Ok((token, secret))
}

/// Exchanged tokens come with every run of a pipeline; those that ended tell nobody anything.
pub async fn forget_exchanged(tx: &mut PgConnection, machine: &Identity, now: Timestamp) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from tokens where issuer = $1 and subject = $2 and minted_by is null and expires < $3",
        machine.issuer,
        machine.subject,
        now.to_sqlx() as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// How many tokens of a person still count; of a machine, those with a stored secret.
pub async fn count_open(db: &mut PgConnection, owner: &Identity, now: Timestamp) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "open!" from tokens where issuer = $1 and subject = $2 and expires > $3
           and (issuer <> $4 or minted_by is not null)"#,
        owner.issuer,
        owner.subject,
        now.to_sqlx() as _,
        machine::ISSUER,
    )
    .fetch_one(db)
    .await
}

/// The person's tokens, newest first; those that ended lately are among them.
pub async fn list(db: &mut PgConnection, owner: &Arc<Person>) -> sqlx::Result<Vec<Token>> {
    let rows = sqlx::query!(
        "select id, hash, name, scopes, created, expires, last_used from tokens
         where issuer = $1 and subject = $2 order by id desc",
        owner.identity.issuer,
        owner.identity.subject,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Token {
            id: row.id,
            key: TokenKey(row.hash.try_into().unwrap_or_default()),
            owner: owner.clone(),
            name: row.name,
            scopes: Scopes::from_names(&row.scopes),
            created: row.created.to_jiff(),
            expires: row.expires.to_jiff(),
            last_used: row.last_used.map(|at| at.to_jiff()),
        })
        .collect())
}

/// A token that a program shows: one made by hand, or the hour of a signed-in program (`grant.rs`).
#[derive(Debug)]
pub struct Shown {
    pub token: Arc<Token>,
    /// A program has to refresh by then.
    pub fresh_until: Timestamp,
    /// When the provider, or a sign-in, last told of the owner.
    pub heard: Timestamp,
    /// The provider's session that the program was let in by; else the owner's newest.
    pub behind: Option<ProviderSession>,
}

/// A token by its secret's hash, with its owner as they are now: as the provider last said, or as they were at their
/// newest sign-in, else as they were when the token was made.
pub async fn find(db: &sqlx::PgPool, key: TokenKey) -> sqlx::Result<Option<Arc<Shown>>> {
    let row = sqlx::query!(
        r#"select t.id, t.name, t.scopes, t.created, t.expires, t.last_used,
                  case when p.checked >= coalesce(s.created, p.checked) then p.person
                       else coalesce(s.person, t.person) end as "person!: Json<Person>",
                  greatest(p.checked, s.created, t.created) as "heard!",
                  least(t.expires, a.expires) as "fresh_until!",
                  v.id as "behind?", v.created as "begun?", v.checked as "checked?",
                  v.refresh_token is not null as "renewable!"
           from (
               select id as token, null::timestamptz as expires from tokens where hash = $1
               union all select token, expires from access_tokens where hash = $1
           ) a
           join tokens t on t.id = a.token
           left join people p on p.issuer = t.issuer and p.subject = t.subject
           left join lateral (
               select person, created from sessions
               where issuer = t.issuer and subject = t.subject order by created desc limit 1
           ) s on true
           left join lateral (
               select id, created, checked, refresh_token from provider_sessions
               where issuer = t.issuer and subject = t.subject and id = coalesce(t.provider_session, id)
               order by (refresh_token is not null) desc, checked desc limit 1
           ) v on true"#,
        key.0.as_slice(),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| {
        Arc::new(Shown {
            token: Arc::new(Token {
                id: row.id,
                key,
                owner: Arc::new(row.person.0),
                name: row.name,
                scopes: Scopes::from_names(&row.scopes),
                created: row.created.to_jiff(),
                expires: row.expires.to_jiff(),
                last_used: row.last_used.map(|at| at.to_jiff()),
            }),
            fresh_until: row.fresh_until.to_jiff(),
            heard: row.heard.to_jiff(),
            behind: ProviderSession::read(row.behind, row.begun, row.checked, row.renewable),
        })
    }))
}

/// Ends a token on every replica. It was taken from a list of what this person may take away.
pub async fn revoke(app: &App, token: &Token, by: &Person, origin: &Origin) -> sqlx::Result<()> {
    let mut tx = app.db.begin().await?;
    let gone = sqlx::query!("delete from tokens where id = $1", token.id).execute(&mut *tx).await?;
    if gone.rows_affected() == 1 {
        sqlx::query!("select pg_notify('token_revoked', $1)", hex::encode(token.key.0))
            .fetch_one(&mut *tx)
            .await?;
        let entry = Entry {
            action: "token.revoke",
            target: token.name.clone(),
            outcome: "done",
            detail: serde_json::json!({ "token": token.id }),
        };
        events::audit(&mut tx, by, origin, app.clock.now(), entry).await?;
    }
    tx.commit().await?;
    // Ours too: the notice comes back to this replica as well, but the next request may be faster.
    app.tokens.forget_all();
    Ok(())
}

impl Refusal {
    /// As the form and the API call it.
    pub fn field(self) -> &'static str {
        match self {
            Self::NoName | Self::LongName(_) | Self::TooMany(_) => "name",
            Self::NoScope | Self::ScopeLacking(_) => "scopes",
            Self::Days(_) | Self::Outlives => "expires_days",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T14:00:00Z".parse().unwrap()
    }

    fn wanted(scopes: &[Scope], days: u32) -> Wanted {
        Wanted { name: "laptop".into(), scopes: scopes.iter().copied().collect(), days }
    }

    fn token(scopes: &[Scope], days: i64) -> Token {
        let owner = Person {
            identity: Identity { issuer: "https://id.example".into(), subject: "1".into() },
            username: "maya".into(),
            name: "Maya Okafor".into(),
            groups: Default::default(),
            set_off_by: None,
        };
        Token {
            id: 1,
            key: TokenSecret::random().key(),
            owner: Arc::new(owner),
            name: "ci".into(),
            scopes: scopes.iter().copied().collect(),
            created: now(),
            expires: now() + SignedDuration::from_hours(24 * days),
            last_used: None,
        }
    }

    #[test]
    fn a_secret_has_its_prefix_and_only_its_shape_is_read() {
        let secret = TokenSecret::random();
        assert!(secret.expose().starts_with("ph_") && secret.expose().len() == 46);
        assert_eq!(TokenSecret::parse(secret.expose()).unwrap().key(), secret.key());
        for odd in ["", "ph_", "ph_short", &secret.expose()[3..], &secret.expose().replace("ph_", "PH_")] {
            assert!(TokenSecret::parse(odd).is_none(), "{odd:?}");
        }
    }

    #[test]
    fn a_wish_has_a_name_a_scope_and_an_end() {
        assert_eq!(refusals(&wanted(&[Scope::Read], 30), None, 0, now()), []);
        let nothing = Wanted { name: " ".into(), scopes: Scopes::default(), days: 0 };
        assert_eq!(
            refusals(&nothing, None, MOST, now()),
            [Refusal::NoName, Refusal::NoScope, Refusal::Days(365), Refusal::TooMany(MOST)]
        );
        let long = Wanted { name: "x".repeat(81), ..wanted(&[Scope::Read], 366) };
        assert_eq!(refusals(&long, None, 0, now()), [Refusal::LongName(80), Refusal::Days(365)]);
    }

    #[test]
    fn a_token_makes_none_that_may_more_or_lasts_longer() {
        let by = token(&[Scope::Read, Scope::Production], 30);
        let of = |scopes: &[Scope], days| refusals(&wanted(scopes, days), Some(&by), 0, now());
        assert_eq!(of(&[Scope::Read, Scope::Deploy], 30), []);
        assert_eq!(of(&[Scope::Read, Scope::Approve], 30), [Refusal::ScopeLacking(Scope::Approve)]);
        assert_eq!(of(&[Scope::Read], 31), [Refusal::Outlives]);
    }
}
