//! Keeping groups fresh. A person's groups are what the identity provider said at their sign-in, so it is asked again
//! while they work: at most every five minutes on their requests, and at every decision they take.
//!
//! ```text
//! a request ──▶ due? ──no──▶ as known
//!                 └─yes─▶ one question at a time for a sign-in, on this replica (a flight) and on all (a row lock)
//!                           ├─ an answer      ▶ counts for all sessions and tokens of the person, everywhere
//!                           ├─ it has ended   ▶ so have the sessions and programs born of it
//!                           └─ none in time   ▶ a page goes on with what is known, a decision is refused
//! ```
//! The question outlives the request that asked it: a provider that replaces refresh tokens has done so by then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use jiff::{SignedDuration, Timestamp};
use moka::future::Cache;
use tokio::sync::Semaphore;

use super::bearer::UsedToken;
use super::oidc::NotRenewed;
use super::provider_session::{self, ProviderSession};
use super::{CurrentUser, Person, claims, machine, wording};
use crate::app::App;
use crate::web::Error;

/// Each holds a connection to the database while the provider thinks.
const AT_ONCE: usize = 4;
/// After a failure no page asks again, or waits again, for this long.
const FORGIVEN: Duration = Duration::from_secs(10);

/// What the groups are needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// A page, or a question of a program.
    Request,
    /// An approval: whoever was removed from the approvers must not decide any more.
    Decision,
}

impl Why {
    /// Groups that are older are asked for again.
    fn oldest(self) -> SignedDuration {
        match self {
            Self::Request => SignedDuration::from_mins(5),
            Self::Decision => SignedDuration::from_secs(5),
        }
    }

    /// How long the person waits for the provider.
    fn patience(self) -> Duration {
        match self {
            Self::Request => Duration::from_secs(2),
            Self::Decision => Duration::from_secs(10),
        }
    }
}

/// Whether the provider is asked again.
fn due(checked: Timestamp, now: Timestamp, why: Why) -> bool {
    now >= checked + why.oldest()
}

/// Whether nothing was heard of a token's owner for too long. Who signs in, or only works, is heard of.
pub fn is_unseen(heard: Timestamp, bound: SignedDuration, now: Timestamp) -> bool {
    now >= heard + bound
}

/// How a decision can rest on somebody's groups.
#[derive(Debug, PartialEq, Eq)]
enum Ground {
    /// Ask the provider.
    Ask(i64),
    /// The provider can't be asked again for this sign-in, which is recent.
    SignIn,
    /// Nothing: the sign-in is over.
    None,
}

/// `life`: how long a sign-in counts where the provider can't be asked again.
fn ground(behind: Option<&ProviderSession>, life: SignedDuration, now: Timestamp) -> Ground {
    match behind {
        Some(behind) if behind.renewable => Ground::Ask(behind.id),
        Some(behind) if now < behind.created + life => Ground::SignIn,
        Some(_) | None => Ground::None,
    }
}

/// What came of asking.
#[derive(Clone, Debug)]
enum Outcome {
    Known(Arc<Person>),
    Ended,
    Away,
}

/// What a request goes on with.
pub enum Standing {
    AsKnown,
    Renewed(Arc<Person>),
    Ended,
}

type Flight = Shared<BoxFuture<'static, Outcome>>;

/// The questions that this replica is asking.
pub struct Refreshes {
    flights: Mutex<HashMap<(i64, Why), Flight>>,
    turns: Semaphore,
    /// When the provider last gave no answer.
    silent: Mutex<Option<Instant>>,
    /// Sign-ins that it can't be asked about, whatever the reason.
    failed: Cache<i64, ()>,
}

impl Default for Refreshes {
    fn default() -> Self {
        Self {
            flights: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
            silent: Mutex::default(),
            failed: Cache::builder().max_capacity(50_000).time_to_live(FORGIVEN).build(),
        }
    }
}

impl Refreshes {
    fn is_silent(&self) -> bool {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.is_some_and(|at| at.elapsed() < FORGIVEN)
    }

    fn answered(&self, answered: bool) {
        *self.silent.lock().unwrap_or_else(PoisonError::into_inner) =
            if answered { None } else { Some(Instant::now()) };
    }
}

/// On a request: asks the provider if that is due.
pub async fn keep_fresh(app: &App, behind: Option<ProviderSession>, now: Timestamp) -> Standing {
    let Some(behind) = behind.filter(|behind| behind.renewable && due(behind.checked, now, Why::Request))
    else {
        return Standing::AsKnown;
    };
    if app.refreshes.is_silent() || app.refreshes.failed.contains_key(&behind.id) {
        return Standing::AsKnown;
    }
    match ask(app, behind.id, Why::Request).await {
        Outcome::Known(person) => Standing::Renewed(person),
        Outcome::Away => Standing::AsKnown,
        Outcome::Ended => Standing::Ended,
    }
}

/// Somebody who decides, with the groups they have at this moment. Whoever takes a decision asks for one of these.
pub struct DecidingUser(CurrentUser);

impl std::ops::Deref for DecidingUser {
    type Target = CurrentUser;
    fn deref(&self) -> &CurrentUser {
        &self.0
    }
}

impl FromRequestParts<App> for DecidingUser {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let user = CurrentUser::from_request_parts(parts, app).await?;
        if machine::is_machine(&user.identity) {
            return Err(Error::Forbidden(wording::DECIDES_NOTHING.into()));
        }
        let behind = parts.extensions.get::<ProviderSession>();
        let by_token = parts.extensions.get::<UsedToken>().is_some();
        match ground(behind, app.config.server.session.absolute, app.clock.now()) {
            Ground::Ask(id) => match ask(app, id, Why::Decision).await {
                Outcome::Known(person) => Ok(Self(CurrentUser(person))),
                Outcome::Away => Err(Error::Unavailable(wording::CANT_CONFIRM_GROUPS.into())),
                Outcome::Ended if by_token => Err(Error::Unauthorized(wording::TOKEN_ENDED.into())),
                Outcome::Ended => Err(Error::Forbidden(wording::ENDED_BY_PROVIDER.into())),
            },
            Ground::SignIn => Ok(Self(user)),
            // A session that an older replica began: it is a sign-in itself, and has its own end.
            Ground::None if !by_token => Ok(Self(user)),
            Ground::None => Err(Error::Forbidden(wording::OWNER_NOT_SIGNED_IN.into())),
        }
    }
}

/// Asks, or joins who is asking.
async fn ask(app: &App, id: i64, why: Why) -> Outcome {
    let flight = {
        let mut flights = app.refreshes.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.entry((id, why)).or_insert_with(|| take_off(app.clone(), id, why)).clone()
    };
    match tokio::time::timeout(why.patience(), flight).await {
        Ok(outcome) => outcome,
        Err(_) => {
            app.refreshes.answered(false);
            Outcome::Away
        }
    }
}

/// On a task of its own, so that it comes to its end even if nobody waits for it any more.
fn take_off(app: App, id: i64, why: Why) -> Flight {
    struct Landing(App, (i64, Why));
    impl Drop for Landing {
        fn drop(&mut self) {
            self.0.refreshes.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
        }
    }
    let flight = tokio::spawn(async move {
        let _landing = Landing(app.clone(), (id, why));
        match fly(&app, id, why).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "a person’s groups could not be asked for again"
                );
                Outcome::Away
            }
        }
    });
    async { flight.await.unwrap_or(Outcome::Away) }.boxed().shared()
}

async fn fly(app: &App, id: i64, why: Why) -> anyhow::Result<Outcome> {
    let _turn = app.refreshes.turns.acquire().await?;
    let mut tx = app.db.begin().await?;
    let Some(held) = provider_session::hold(&mut tx, id).await? else { return Ok(Outcome::Ended) };
    let now = app.clock.now();
    if !due(held.checked, now, why) {
        return Ok(Outcome::Known(Arc::new(held.person))); // somebody else was faster
    }
    if why == Why::Request && app.refreshes.is_silent() {
        return Ok(Outcome::Away); // found out while this one waited for its turn
    }
    let seal = app.provider.seal().context("there is no client secret any more")?;
    let token = held.refresh_token.and_then(|sealed| seal.open(&held.whose, &sealed)).context(
        "the refresh token can’t be opened: it was sealed with another client secret; the person has to sign in again",
    )?;
    let config = &app.config.oidc;
    let renewed = match app.provider.renew(config, &token, &held.whose.subject, now).await {
        Ok(renewed) => renewed,
        Err(NotRenewed::Away(error)) => {
            app.refreshes.answered(false);
            return Err(error);
        }
        Err(NotRenewed::Ended(error)) => {
            app.refreshes.answered(true);
            let why = format!("The identity provider no longer knows this sign-in: {error:#}");
            return end(app, tx, id, &held.person, &why, now).await;
        }
    };
    app.refreshes.answered(true);
    if let Some(next) = &renewed.refresh_token {
        provider_session::replace(&mut tx, id, &seal.seal(&held.whose, next)).await?;
    }
    let claims = match renewed.claims {
        Ok(claims) => claims,
        Err(error) => {
            tx.commit().await?;
            return Err(error);
        }
    };
    let person = match claims::person(config, held.whose, &claims) {
        Ok(person) => person,
        // At the next sign-in they read which claim it is, and who can mend it.
        Err(refused) => {
            let why = wording::refused(&refused);
            return end(app, tx, id, &held.person, &why, now).await;
        }
    };
    provider_session::checked(&mut tx, id, now).await?;
    let is_new = provider_session::remember(&mut tx, &person, now).await?;
    tx.commit().await?;
    if is_new {
        forget(app);
    }
    Ok(Outcome::Known(Arc::new(person)))
}

async fn end(
    app: &App,
    mut tx: sqlx::PgTransaction<'_>,
    id: i64,
    person: &Person,
    why: &str,
    now: Timestamp,
) -> anyhow::Result<Outcome> {
    provider_session::end(&mut tx, id, person, why, now).await?;
    tx.commit().await?;
    tracing::info!(username = person.username, why, "a sign-in was ended");
    forget(app);
    Ok(Outcome::Ended)
}

/// Ours, too: the notice comes back to this replica as well, but the next request may be faster.
fn forget(app: &App) {
    app.sessions.forget_all();
    app.tokens.forget_all();
    app.counts.forget();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64, second: i64) -> Timestamp {
        Timestamp::from_second(1_764_000_000 + minute * 60 + second).unwrap()
    }

    #[test]
    fn pages_ask_every_five_minutes_and_decisions_at_once() {
        let checked = at(0, 0);
        assert!(!due(checked, at(4, 59), Why::Request) && due(checked, at(5, 0), Why::Request));
        assert!(!due(checked, at(0, 4), Why::Decision) && due(checked, at(0, 5), Why::Decision));
        assert!(!due(at(1, 0), checked, Why::Decision), "another replica’s clock is ahead");
    }

    #[test]
    fn an_owner_is_unseen_after_the_bound() {
        let bound = SignedDuration::from_hours(24 * 7);
        let week = 7 * 24 * 60;
        assert!(!is_unseen(at(0, 0), bound, at(week - 1, 59)));
        assert!(is_unseen(at(0, 0), bound, at(week, 0)));
    }

    #[test]
    fn a_decision_rests_on_the_provider_or_on_a_recent_sign_in() {
        let life = SignedDuration::from_hours(12);
        let behind = |renewable| ProviderSession { id: 7, created: at(0, 0), checked: at(0, 0), renewable };
        assert_eq!(ground(Some(&behind(true)), life, at(10_000, 0)), Ground::Ask(7));
        assert_eq!(ground(Some(&behind(false)), life, at(719, 59)), Ground::SignIn);
        assert_eq!(ground(Some(&behind(false)), life, at(720, 0)), Ground::None);
        assert_eq!(ground(None, life, at(0, 0)), Ground::None);
    }
}
