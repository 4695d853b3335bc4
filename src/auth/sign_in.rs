//! Signing in. `/sign-in` says why one stands there; `/sign-in/start` remembers where the person wanted to go and
//! sends them to the provider; `/auth/callback` takes them back, checks everything, and begins a session.
//!
//! The state in the address and a secret in a cookie belong together: the row of a sign-in is found by the hash of
//! both, and taking it deletes it. So an answer counts once, and only in the browser that asked.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum_extra::extract::cookie::CookieJar;
use jiff::SignedDuration;
use jiff_sqlx::ToSqlx;
use openidconnect::{Nonce, PkceCodeVerifier};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::claims::{self, Refused};
use super::limit::Unhurried;
use super::next::Next;
use super::oidc::{Arrival, Failure};
use super::provider_session::FromProvider;
use super::session::{self, Ended, Secret, SessionKey, Unknown};
use super::{CurrentUser, wording};
use crate::app::App;
use crate::config::Config;
use crate::web::{Error, Layout};

/// How long a person may take at the provider.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

#[derive(Template)]
#[template(path = "auth/sign_in.html")]
struct SignInPage {
    layout: Layout,
    company: String,
    /// Why one was sent here; empty when one came by oneself.
    why: String,
    /// Where the person goes after signing in; empty for the home page.
    next: String,
    start: String,
    provider: String,
    away: Option<&'static str>,
}

#[derive(Deserialize)]
pub struct Wanted {
    next: Option<String>,
}

/// `GET /sign-in?next=…`
pub async fn page(
    State(app): State<App>,
    user: Option<CurrentUser>,
    layout: Layout,
    Query(wanted): Query<Wanted>,
    known: axum::http::Extensions,
) -> Result<Response, Error> {
    let next = Next::or_home(wanted.next.as_deref());
    if user.is_some() {
        return Ok(Redirect::to(next.as_str()).into_response());
    }
    if known.get::<Unknown>().is_some() {
        return Err(super::guard::database_away());
    }
    let page = SignInPage {
        layout,
        company: app.config.server.company.clone(),
        why: known.get::<Ended>().map(|ended| wording::ended(*ended)).unwrap_or_default(),
        next: if next.is_home() { String::new() } else { next.as_str().into() },
        start: next.on("/sign-in/start"),
        provider: provider_name(&app.config),
        away: app.provider.is_there().await.err().map(|failure| explain(&failure).1),
    };
    Ok(Html(page.render()?).into_response())
}

/// `GET /sign-in/start?next=…`: to the provider.
pub async fn start(
    State(app): State<App>,
    _: Unhurried,
    layout: Layout,
    jar: CookieJar,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Error> {
    let next = Next::or_home(wanted.next.as_deref());
    let departure = match app.provider.depart().await {
        Ok(departure) => departure,
        Err(failure) => return turned_away(layout, &next, &failure),
    };
    // One secret serves all tabs of a browser, so that signing in in two of them works.
    let secret = browser_secret(&app.config, &jar).unwrap_or_else(Secret::random);
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    sqlx::query!("delete from sign_ins where expires < $1", now.to_sqlx() as _).execute(&mut *tx).await?;
    sqlx::query!(
        "insert into sign_ins (state_hash, nonce, pkce, next, expires) values ($1, $2, $3, $4, $5)",
        row_key(departure.state.secret(), &secret),
        departure.nonce.secret(),
        departure.pkce.secret(),
        next.as_str(),
        (now + PATIENCE).to_sqlx() as _,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    let cookie =
        session::strict_cookie(&app.config, cookie_name(&app.config), secret.expose().into(), PATIENCE);
    Ok((jar.add(cookie), Redirect::to(departure.to.as_str())).into_response())
}

/// What the provider sends a browser back with: a code, or an error.
#[derive(Deserialize)]
pub struct Answer {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

/// `GET /auth/callback`: back from the provider.
pub async fn callback(
    State(app): State<App>,
    _: Unhurried,
    layout: Layout,
    jar: CookieJar,
    before: Option<axum::Extension<SessionKey>>,
    Query(answer): Query<Answer>,
) -> Result<Response, Error> {
    let Some(begun) = take(&app, &jar, answer.state.as_deref()).await? else {
        return stale(layout, &Next::or_home(None));
    };
    let next = Next::or_home(Some(&begun.next));
    if let Some(code) = answer.error {
        tracing::info!(code, "the provider ended a sign-in");
        return Ok(door(layout, StatusCode::FORBIDDEN, wording::provider_said(&code), None, &next)?);
    }
    let Some(code) = answer.code else { return stale(layout, &next) };
    // RFC 9207: an answer that names its issuer names ours.
    if answer.iss.is_some_and(|issuer| issuer != app.provider.issuer()) {
        return turned_away(
            layout,
            &next,
            &Failure::Token(anyhow::anyhow!("the answer names another issuer")),
        );
    }
    let now = app.clock.now();
    let arrived = app.provider.arrive(&app.config, code, begun.pkce, &begun.nonce, now).await;
    let arrival = match arrived {
        Ok(arrival) => arrival,
        Err(failure) => return turned_away(layout, &next, &failure),
    };
    let person = match claims::person(&app.config.oidc, arrival.identity.clone(), &arrival.claims) {
        Ok(person) => person,
        Err(refused) => return refuse(layout, &next, &refused),
    };
    let Arrival { sid, id_token, refresh_token, .. } = arrival;
    let from = FromProvider { sid, id_token, refresh_token };
    let secret = session::begin(&app, &person, from, before.map(|key| key.0)).await?;
    tracing::info!(username = person.username, subject = person.identity.subject, "signed in");
    let jar = jar.add(session::cookie(&app.config, &secret));
    Ok((jar, Redirect::to(next.as_str())).into_response())
}

/// A sign-in that was begun, as it stood in its row.
struct Begun {
    nonce: Nonce,
    pkce: PkceCodeVerifier,
    next: String,
}

/// Takes the row away, whatever comes of it: a state is good for one try.
async fn take(app: &App, jar: &CookieJar, state: Option<&str>) -> sqlx::Result<Option<Begun>> {
    let (Some(state), Some(secret)) = (state, browser_secret(&app.config, jar)) else { return Ok(None) };
    let row = sqlx::query!(
        "delete from sign_ins where state_hash = $1 returning nonce, pkce, next, expires",
        row_key(state, &secret),
    )
    .fetch_optional(&app.db)
    .await?;
    Ok(row.filter(|row| row.expires.to_jiff() > app.clock.now()).map(|row| Begun {
        nonce: Nonce::new(row.nonce),
        pkce: PkceCodeVerifier::new(row.pkce),
        next: row.next,
    }))
}

fn row_key(state: &str, secret: &Secret) -> Vec<u8> {
    // The secret has a fixed length, so the two can't be cut apart in another place.
    Sha256::new().chain_update(secret.expose()).chain_update(state).finalize().to_vec()
}

fn browser_secret(config: &Config, jar: &CookieJar) -> Option<Secret> {
    jar.get(cookie_name(config)).and_then(|cookie| Secret::parse(cookie.value()))
}

fn cookie_name(config: &Config) -> &'static str {
    if config.is_localhost() { "pilothouse-sign-in" } else { "__Host-pilothouse-sign-in" }
}

/// What people know the provider by: the name of its host.
fn provider_name(config: &Config) -> String {
    if config.oidc.development {
        return "a sample person".into();
    }
    let issuer = config.oidc.issuer.get_ref();
    url::Url::parse(issuer)
        .ok()
        .and_then(|url| url.host_str().map(Into::into))
        .unwrap_or_else(|| issuer.clone())
}

/// The page for everything that ends a sign-in without a session.
#[derive(Template)]
#[template(path = "auth/turned_away.html")]
struct TurnedAwayPage {
    layout: Layout,
    sentence: String,
    mend: Option<String>,
    again: String,
}

fn door(
    layout: Layout,
    status: StatusCode,
    sentence: String,
    mend: Option<String>,
    next: &Next,
) -> askama::Result<Response> {
    let page = TurnedAwayPage { layout, sentence, mend, again: next.on("/sign-in/start") };
    Ok((status, Html(page.render()?)).into_response())
}

fn stale(layout: Layout, next: &Next) -> Result<Response, Error> {
    Ok(door(layout, StatusCode::BAD_REQUEST, wording::STALE.into(), None, next)?)
}

fn refuse(layout: Layout, next: &Next, refused: &Refused) -> Result<Response, Error> {
    tracing::warn!(claim = refused.claim, why = ?refused.why, "a claim was refused at sign-in");
    let (sentence, mend) = (wording::refused(refused), wording::mend(refused));
    Ok(door(layout, StatusCode::FORBIDDEN, sentence, Some(mend), next)?)
}

fn turned_away(layout: Layout, next: &Next, failure: &Failure) -> Result<Response, Error> {
    tracing::warn!(failure = format!("{failure:#}"), "a sign-in failed");
    let (status, sentence) = explain(failure);
    Ok(door(layout, status, sentence.into(), None, next)?)
}

fn explain(failure: &Failure) -> (StatusCode, &'static str) {
    match failure {
        Failure::Away(_) => (StatusCode::SERVICE_UNAVAILABLE, wording::PROVIDER_AWAY),
        Failure::WrongKind(_) => (StatusCode::SERVICE_UNAVAILABLE, wording::PROVIDER_WRONG_KIND),
        Failure::Code(_) => (StatusCode::BAD_REQUEST, wording::CODE_REFUSED),
        Failure::Token(_) => (StatusCode::FORBIDDEN, wording::TOKEN_REFUSED),
    }
}
