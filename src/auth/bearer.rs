//! Programs that sign in with a token. [`load`] turns `Authorization: Bearer ph_…` into a [`CurrentUser`], as
//! `session::load` does with a cookie, and only on the API: a page never acts on a token's word, so a token's scopes
//! can't be walked around.
//!
//! Like a session, a token is remembered for two seconds, and its end is told to every replica.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use moka::future::Cache;
use tokio::sync::Notify;

use super::refresh::{self, Standing};
use super::token::{self, Shown, Token, TokenKey, TokenSecret};
use super::{CurrentUser, Person, Scope, machine, wording};
use crate::app::App;
use crate::web::{self, Error};

/// Whoever holds something open asks this often whether the token still counts, told of an end or not.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// How long a token is believed without asking the database.
const REMEMBERED: Duration = Duration::from_secs(2);
/// `last_used` is written this often.
const USED_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// The token that a request was made with.
#[derive(Clone, Debug)]
pub struct UsedToken(pub Arc<Token>);

impl std::ops::Deref for UsedToken {
    type Target = Token;
    fn deref(&self) -> &Token {
        &self.0
    }
}

impl UsedToken {
    /// Refuses what the token may not be used for.
    pub fn may(&self, scope: Scope) -> Result<(), Error> {
        if scope == Scope::Approve && machine::is_machine(&self.owner.identity) {
            return Err(Error::Forbidden(wording::DECIDES_NOTHING.into()));
        }
        if self.scopes.allow(scope) {
            return Ok(());
        }
        Err(Error::Forbidden(wording::scope_missing(scope, &self.name)))
    }
}

/// Why a request with an `Authorization` header is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// Not one header with one of our tokens in it.
    Malformed,
    /// Never made, or revoked.
    Unknown,
    Expired,
    /// Nothing was heard of its owner for too long.
    Unseen,
    /// Too many tokens from this address were none.
    TooMany,
    /// The database does not answer and the token is not remembered.
    Undecided,
}

/// What this replica knows of tokens.
pub struct Tokens {
    /// Those of the last two seconds. `None`: there is no such token.
    known: Cache<TokenKey, Option<Arc<Shown>>>,
    /// Some token was revoked: whoever holds something open with one looks again.
    revoked: Notify,
}

impl Default for Tokens {
    fn default() -> Self {
        let known = Cache::builder().max_capacity(50_000).time_to_live(REMEMBERED).build();
        Self { known, revoked: Notify::new() }
    }
}

impl Tokens {
    pub fn forget_all(&self) {
        self.known.invalidate_all();
        self.revoked.notify_waiters();
    }
}

/// Middleware: who is asking, by their token. Puts [`CurrentUser`], [`UsedToken`] and the owner's `ProviderSession`, or
/// [`Stranger`], into the request.
pub async fn load(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    if web::is_api(parts.uri.path()) && parts.headers.contains_key(header::AUTHORIZATION) {
        match recognise(&app, &parts.headers).await {
            Ok((shown, token, person)) => {
                if let Some(behind) = shown.behind {
                    parts.extensions.insert(behind);
                }
                parts.extensions.insert(CurrentUser(person));
                parts.extensions.insert(UsedToken(token));
            }
            Err(stranger) => {
                let stranger = held_back(&app, &parts, stranger);
                parts.extensions.insert(stranger);
            }
        }
    }
    next.run(Request::from_parts(parts, body)).await
}

/// Only tokens that are none count: whoever shares an address with a broken script is not held up.
fn held_back(app: &App, parts: &Parts, stranger: Stranger) -> Stranger {
    let address = web::client_address(parts, app.config.server.proxies);
    match (stranger, address) {
        (Stranger::Malformed | Stranger::Unknown, Some(address)) if !app.failed_tokens.allows(address) => {
            Stranger::TooMany
        }
        (stranger, _) => stranger,
    }
}

async fn recognise(
    app: &App,
    headers: &HeaderMap,
) -> Result<(Arc<Shown>, Arc<Token>, Arc<Person>), Stranger> {
    let secret = bearer(headers).ok_or(Stranger::Malformed)?;
    let now = app.clock.now();
    let shown = look_up(app, secret.key()).await?.ok_or(Stranger::Unknown)?;
    let owner = standing(app, &shown, now).await?;
    let token = bounded(app, &shown.token);
    if token.last_used.is_none_or(|used| now >= used + USED_EVERY) {
        tokio::spawn(mark_used(app.clone(), token.clone(), now)); // the answer does not wait for it
    }
    Ok((shown, token, owner))
}

/// A machine's token is good for no more than the configuration gives the machine by now.
fn bounded(app: &App, token: &Arc<Token>) -> Arc<Token> {
    let Some(machine) = machine::of(&app.config, &token.owner.identity) else { return token.clone() };
    let may = machine::scopes(machine);
    let scopes = token.scopes.iter().filter(|scope| may.allow(*scope)).collect();
    Arc::new(Token { scopes, ..(**token).clone() })
}

/// Whose it is now, if it still counts.
async fn standing(app: &App, shown: &Shown, now: Timestamp) -> Result<Arc<Person>, Stranger> {
    if now >= shown.fresh_until {
        return Err(Stranger::Expired);
    }
    let known = &shown.token.owner.identity;
    if machine::is_machine(known) {
        // As the configuration has it, and no longer than it does.
        let machine = machine::of(&app.config, known).ok_or(Stranger::Unknown)?;
        return Ok(Arc::new(machine::person(machine, shown.token.owner.set_off_by.clone())));
    }
    let key = shown.token.key;
    let (heard, owner) = match refresh::keep_fresh(app, shown.behind, now).await {
        Standing::AsKnown => (shown.heard, shown.token.owner.clone()),
        Standing::Renewed(person) => {
            app.tokens.known.invalidate(&key).await; // the next request reads when that was
            (now, person)
        }
        // What was born of that sign-in is gone; a token made by hand goes on with what is known.
        Standing::Ended => {
            let shown = look_up(app, key).await?.ok_or(Stranger::Unknown)?;
            (shown.heard, shown.token.owner.clone())
        }
    };
    if refresh::is_unseen(heard, app.config.oidc.unseen, now) {
        app.tokens.known.invalidate(&key).await; // a sign-in counts from the next request on
        return Err(Stranger::Unseen);
    }
    Ok(owner)
}

/// Returns once the token does not count any more: revoked, at its end, or of nobody who was seen lately; or once its
/// owner's groups are others, so that what is open begins again at the door.
pub async fn over(app: &App, key: TokenKey) {
    let mut opened_as: Option<Arc<Person>> = None;
    loop {
        let mut told = pin!(app.tokens.revoked.notified());
        told.as_mut().enable(); // an end that is told while we look counts, too
        let owner = match look_up(app, key).await {
            Ok(Some(shown)) => standing(app, &shown, app.clock.now()).await,
            Ok(None) => return,
            Err(stranger) => Err(stranger),
        };
        match owner {
            Ok(owner) if opened_as.get_or_insert_with(|| owner.clone()).groups == owner.groups => {}
            Err(Stranger::Undecided) => {}
            Ok(_) | Err(_) => return,
        }
        tokio::select! {
            () = told => {}
            () = tokio::time::sleep(ASK_AGAIN) => {}
        }
    }
}

async fn look_up(app: &App, key: TokenKey) -> Result<Option<Arc<Shown>>, Stranger> {
    app.tokens.known.try_get_with(key, token::find(&app.db, key)).await.map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "the database can’t say whose token this is");
        Stranger::Undecided
    })
}

/// RFC 6750, section 2.1; the scheme's letters may be of any case.
fn bearer(headers: &HeaderMap) -> Option<TokenSecret> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, secret) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| TokenSecret::parse(secret.trim()))?
}

/// Many requests may get here at once; the first one writes, and the next one reads what it wrote.
async fn mark_used(app: App, token: Arc<Token>, now: Timestamp) {
    let written = sqlx::query!(
        "update tokens set last_used = $2 where id = $1 and (last_used is null or last_used <= $3)",
        token.id,
        now.to_sqlx() as _,
        (now - USED_EVERY).to_sqlx() as _,
    )
    .execute(&app.db)
    .await;
    match written {
        Ok(_) => app.tokens.known.invalidate(&token.key).await,
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "could not write when a token was last used")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<TokenKey> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        bearer(&headers).map(|secret| secret.key())
    }

    #[test]
    fn one_header_with_one_of_our_tokens_is_read() {
        let secret = TokenSecret::random();
        let of = |scheme: &str| format!("{scheme} {}", secret.expose());
        assert_eq!(read(&[&of("Bearer")]), Some(secret.key()));
        assert_eq!(read(&[&of("bearer")]), Some(secret.key()));
        for odd in [
            vec![],
            vec!["Bearer"],
            vec!["Bearer x"],
            vec![&*of("Basic")],
            vec![&*of("Bearer"), &*of("Bearer")],
        ] {
            assert_eq!(read(&odd), None, "{odd:?}");
        }
    }
}
