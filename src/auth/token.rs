//! Personal tokens: what a program shows in place of a browser's cookie. A secret that is told once, its SHA-256 in
//! a row, the scopes that say what it may be used for, and an end. A token acts as its owner and never more.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::scope::{Scope, Scopes};
use super::session::Secret;
use super::{Identity, Person};
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
        if refusals.is_empty() && ends(wanted.days, now) > by.expires {
            refusals.push(Refusal::Outlives);
        }
    }
    refusals
}

fn ends(days: u32, now: Timestamp) -> Timestamp {
    now + SignedDuration::from_hours(24 * i64::from(days))
}

/// Makes a token in the caller's transaction, with its row in the audit trail. The wish was looked at.
pub async fn mint(
    tx: &mut PgConnection,
    owner: &Arc<Person>,
    origin: &Origin,
    wanted: &Wanted,
    now: Timestamp,
) -> sqlx::Result<(Token, TokenSecret)> {
    let secret = TokenSecret::random();
    let key = secret.key();
    let expires = ends(wanted.days, now);
    let (name, scopes) = (wanted.name.trim(), wanted.scopes.names());
    sqlx::query!("delete from tokens where expires < $1", (now - KEPT_AFTER_END).to_sqlx() as _)
        .execute(&mut *tx)
        .await?;
    let id = sqlx::query_scalar!(
        "insert into tokens (hash, issuer, subject, person, name, scopes, created, expires)
         values ($1, $2, $3, $4, $5, $6, $7, $8) returning id",
        key.0.as_slice(),
        owner.identity.issuer,
        owner.identity.subject,
        Json(&**owner) as _,
        name,
        &scopes,
        now.to_sqlx() as _,
        expires.to_sqlx() as _,
    )
    .fetch_one(&mut *tx)
    .await?;
    let entry = Entry {
        action: "token.mint",
        target: name.into(),
        outcome: "done",
        detail: serde_json::json!({ "token": id, "scopes": scopes, "expires": expires }),
    };
    events::audit(tx, owner, origin, now, entry).await?;
    let token = Token {
        id,
        key,
        owner: owner.clone(),
        name: name.into(),
        scopes: wanted.scopes.clone(),
        created: now,
        expires,
        last_used: None,
    };
    Ok((token, secret))
}

/// Ties a new token to the provider's session it was let in from: a logout of that session ends it.
pub async fn tie(tx: &mut PgConnection, token: &Token, provider_sid: Option<&str>) -> sqlx::Result<()> {
    sqlx::query!("update tokens set provider_sid = $2 where id = $1", token.id, provider_sid)
        .execute(tx)
        .await?;
    Ok(())
}

/// How many tokens of a person still count.
pub async fn count_open(db: &mut PgConnection, owner: &Identity, now: Timestamp) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "open!" from tokens where issuer = $1 and subject = $2 and expires > $3"#,
        owner.issuer,
        owner.subject,
        now.to_sqlx() as _,
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

/// A token by its secret's hash, with its owner as they are now: the groups of their newest sign-in, else those they
/// had when the token was made.
pub async fn find(db: &sqlx::PgPool, key: TokenKey) -> sqlx::Result<Option<Arc<Token>>> {
    let row = sqlx::query!(
        r#"select t.id, t.name, t.scopes, t.created, t.expires, t.last_used,
                  coalesce(s.person, t.person) as "person!: Json<Person>"
           from tokens t
           left join lateral (
               select person from sessions
               where issuer = t.issuer and subject = t.subject order by created desc limit 1
           ) s on true
           where t.hash = $1"#,
        key.0.as_slice(),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| {
        Arc::new(Token {
            id: row.id,
            key,
            owner: Arc::new(row.person.0),
            name: row.name,
            scopes: Scopes::from_names(&row.scopes),
            created: row.created.to_jiff(),
            expires: row.expires.to_jiff(),
            last_used: row.last_used.map(|at| at.to_jiff()),
        })
    }))
}

/// Ends a token on every replica. The person owns it: it was taken from their list.
pub async fn revoke(app: &App, token: &Token, origin: &Origin) -> sqlx::Result<()> {
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
        events::audit(&mut tx, &token.owner, origin, app.clock.now(), entry).await?;
    }
    tx.commit().await?;
    // Ours too: the notice comes back to this replica as well, but the next request may be faster.
    app.tokens.forget(token.key).await;
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
