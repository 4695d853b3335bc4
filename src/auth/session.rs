//! Signed-in browsers: a random secret in a cookie, its SHA-256 in a row. [`load`] turns the one into the other
//! before any handler runs, and says [`CurrentUser`] to the rest of the portal.
//!
//! A page must not cost a query to know who asks, so a session is remembered for two seconds. Its end is told to
//! every replica over the `session_ended` channel, so a sign-out does not wait for that. While the database is
//! away, what is remembered still counts; after that nobody is signed out, pages answer 503.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use moka::future::Cache;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use sqlx::types::Json;
use tokio::sync::Notify;

use super::guard::IsPlatform;
use super::provider_session::{self, FromProvider, ProviderSession};
use super::refresh::{self, Standing};
use super::{CurrentUser, Identity, Person};
use crate::app::App;
use crate::config::{Config, SessionLife};
use crate::web;

/// How long a session is believed without asking the database.
const REMEMBERED: Duration = Duration::from_secs(2);
/// Whoever holds something open asks this often whether the session still counts, told of an end or not.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// `last_seen` is written this often: a write per request would cost most of the throughput.
const SEEN_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// Ended sessions are kept a while, so that the sign-in page can say why one stands before it.
const KEPT_AFTER_END: SignedDuration = SignedDuration::from_hours(24 * 7);
const SESSIONS: &str = "session_ended";
const TOKENS: &str = "token_revoked";
const PEOPLE: &str = "person_changed";

/// What a cookie holds: 256 random bits. Never stored, never logged.
pub struct Secret(String);

/// The SHA-256 of a [`Secret`]: the primary key of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey(pub [u8; 32]);

impl Secret {
    pub fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
    }

    /// What a browser sent, if it has the shape of one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let shaped = text.len() == 43 && URL_SAFE_NO_PAD.decode(text).is_ok();
        shaped.then(|| Self(text.into()))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn key(&self) -> SessionKey {
        SessionKey(Sha256::digest(&self.0).into())
    }
}

/// A session as it stands in its row.
#[derive(Debug)]
struct Session {
    person: Arc<Person>,
    last_seen: Timestamp,
    expires: Timestamp,
    /// `None`: an older replica began it.
    behind: Option<ProviderSession>,
}

/// Why a browser that carries a session cookie is not signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing was asked for this long.
    Idle(SignedDuration),
    /// The sign-in is older than this.
    Age(SignedDuration),
    /// Signed out, here or everywhere.
    Gone,
}

/// The database does not answer and the session is not remembered: it may well be alive.
#[derive(Clone, Copy, Debug)]
pub struct Unknown;

/// Whether a session still counts.
fn end(session: &Session, life: &SessionLife, now: Timestamp) -> Option<Ended> {
    if now >= session.expires {
        return Some(Ended::Age(life.absolute));
    }
    (now >= session.last_seen + life.idle).then_some(Ended::Idle(life.idle))
}

/// What this replica knows of sessions.
pub struct Sessions {
    /// Those of the last two seconds. `None`: there is no such session.
    known: Cache<SessionKey, Option<Arc<Session>>>,
    /// Some session ended: whoever holds something open for one looks again.
    ended: Notify,
}

impl Default for Sessions {
    fn default() -> Self {
        let known = Cache::builder().max_capacity(50_000).time_to_live(REMEMBERED).build();
        Self { known, ended: Notify::new() }
    }
}

impl Sessions {
    async fn forget(&self, key: &SessionKey) {
        self.known.invalidate(key).await;
        self.ended.notify_waiters();
    }

    pub fn forget_all(&self) {
        self.known.invalidate_all();
        self.ended.notify_waiters();
    }
}

/// Middleware: who is asking. Puts [`CurrentUser`], [`SessionKey`], [`ProviderSession`] and `IsPlatform`, or [`Ended`] or
/// [`Unknown`], into the request. With an `Authorization` header cookies count for nothing, and on the API they only
/// read: what changes something there takes a token, so no other site can have a browser ask for it.
pub async fn load(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let asks_for_a_file = path.starts_with("/static/");
    let brings_a_token = request.headers().contains_key(header::AUTHORIZATION);
    let takes_a_token = web::is_api(path) && !request.method().is_safe();
    if !asks_for_a_file && !brings_a_token && !takes_a_token {
        let jar = CookieJar::from_headers(request.headers());
        if let Some(secret) =
            jar.get(cookie_name(&app.config)).and_then(|cookie| Secret::parse(cookie.value()))
        {
            recognise(&app, secret.key(), &mut request).await;
        }
    }
    next.run(request).await
}

async fn recognise(app: &App, key: SessionKey, request: &mut Request) {
    let known = request.extensions_mut();
    let found = app.sessions.known.try_get_with(key, find(&app.db, key)).await;
    let session = match found {
        Ok(Some(session)) => session,
        Ok(None) => {
            known.insert(Ended::Gone);
            return;
        }
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the database can’t say who is asking");
            known.insert(Unknown);
            return;
        }
    };
    let now = app.clock.now();
    if let Some(ended) = end(&session, &app.config.server.session, now) {
        known.insert(ended);
        return;
    }
    if now >= session.last_seen + SEEN_EVERY {
        tokio::spawn(mark_seen(app.clone(), key, now)); // the page does not wait for it
    }
    let person = match refresh::keep_fresh(app, session.behind, now).await {
        Standing::AsKnown => session.person.clone(),
        Standing::Renewed(person) => {
            app.sessions.known.invalidate(&key).await; // the next request reads when that was
            person
        }
        Standing::Ended => {
            known.insert(Ended::Gone);
            return;
        }
    };
    if person.is_in_any(&app.config.access.platform) {
        known.insert(IsPlatform);
    }
    if let Some(behind) = session.behind {
        known.insert(behind);
    }
    known.insert(key);
    known.insert(CurrentUser(person));
}

/// Returns once the session does not count any more: signed out, too old, or idle for too long; or once the person's
/// groups are others, so that what is open begins again at the door. While the database is away nobody is signed out.
pub async fn over(app: &App, key: SessionKey) {
    let mut opened_as: Option<Arc<Person>> = None;
    loop {
        let mut told = pin!(app.sessions.ended.notified());
        told.as_mut().enable(); // an end that is told while we look counts, too
        let now = app.clock.now();
        match app.sessions.known.try_get_with(key, find(&app.db, key)).await {
            Ok(Some(session)) if end(&session, &app.config.server.session, now).is_none() => {
                let person = match refresh::keep_fresh(app, session.behind, now).await {
                    Standing::AsKnown => session.person.clone(),
                    Standing::Renewed(person) => person,
                    Standing::Ended => return,
                };
                if opened_as.get_or_insert_with(|| person.clone()).groups != person.groups {
                    return;
                }
            }
            Ok(_) => return,
            Err(_) => {}
        }
        tokio::select! {
            () = told => {}
            () = tokio::time::sleep(ASK_AGAIN) => {}
        }
    }
}

async fn find(db: &PgPool, key: SessionKey) -> sqlx::Result<Option<Arc<Session>>> {
    let row = sqlx::query!(
        r#"
        select case when p.checked >= s.created then p.person else s.person end as "person!: Json<Person>",
               s.last_seen, s.expires,
               v.id as "behind?", v.created as "begun?", v.checked as "checked?",
               v.refresh_token is not null as "renewable!"
        from sessions s
        left join people p on p.issuer = s.issuer and p.subject = s.subject
        left join provider_sessions v on v.id = s.provider_session
        where s.id_hash = $1
        "#,
        key.0.as_slice(),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| {
        Arc::new(Session {
            person: Arc::new(row.person.0),
            last_seen: row.last_seen.to_jiff(),
            expires: row.expires.to_jiff(),
            behind: ProviderSession::read(row.behind, row.begun, row.checked, row.renewable),
        })
    }))
}

/// Many requests may get here at once; the first one writes, and the next one reads what it wrote.
async fn mark_seen(app: App, key: SessionKey, now: Timestamp) {
    let written = sqlx::query!(
        "update sessions set last_seen = $2 where id_hash = $1 and last_seen <= $3",
        key.0.as_slice(),
        now.to_sqlx() as _,
        (now - SEEN_EVERY).to_sqlx() as _,
    )
    .execute(&app.db)
    .await;
    match written {
        Ok(_) => app.sessions.known.invalidate(&key).await,
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "could not write when a session was last seen")
        }
    }
}

/// Begins a session for a person whose claims were checked, and gives the secret for their cookie.
/// Always a new one: what the browser carried before is worth nothing from here on.
pub async fn begin(
    app: &App,
    person: &Person,
    from: FromProvider,
    before: Option<SessionKey>,
) -> sqlx::Result<Secret> {
    let secret = Secret::random();
    let key = secret.key();
    let now = app.clock.now();
    let expires = now + app.config.server.session.absolute;
    let mut tx = app.db.begin().await?;
    let behind = provider_session::begin(&mut tx, &app.provider, &person.identity, &from, now).await?;
    let left = sqlx::query_scalar!(
        "delete from sessions where expires < $1 or id_hash = $2 returning provider_session",
        (now - KEPT_AFTER_END).to_sqlx() as _,
        before.map(|key| key.0.to_vec()),
    )
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query!(
        r#"
        insert into sessions (id_hash, issuer, subject, provider_sid, person, id_token, created, last_seen, expires,
                              provider_session)
        values ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9)
        "#,
        key.0.as_slice(),
        person.identity.issuer,
        person.identity.subject,
        from.sid,
        Json(person) as _,
        from.id_token,
        now.to_sqlx() as _,
        expires.to_sqlx() as _,
        behind,
    )
    .execute(&mut *tx)
    .await?;
    for left in left.into_iter().flatten() {
        provider_session::leave(&mut tx, left).await?;
    }
    let is_new = provider_session::remember(&mut tx, person, now).await?;
    tx.commit().await?;
    if is_new {
        app.sessions.forget_all();
        app.tokens.forget_all();
    } else if let Some(key) = before {
        app.sessions.forget(&key).await;
    }
    Ok(secret)
}

/// Ends one session on every replica. Gives its ID token, by which the provider knows whom to sign out.
pub async fn end_one(app: &App, key: SessionKey) -> sqlx::Result<Option<String>> {
    let mut tx = app.db.begin().await?;
    let ended = sqlx::query!(
        r#"
        with ended as (delete from sessions where id_hash = $1 returning id_hash, id_token, provider_session),
             told  as (select pg_notify('session_ended', encode(id_hash, 'hex')) from ended)
        select id_token, provider_session from ended left join told on true
        "#,
        key.0.as_slice(),
    )
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(behind) = ended.as_ref().and_then(|ended| ended.provider_session) {
        provider_session::leave(&mut tx, behind).await?;
    }
    tx.commit().await?;
    app.sessions.forget(&key).await;
    Ok(ended.and_then(|ended| ended.id_token))
}

/// Ends every session of a person, on every replica.
pub async fn end_everywhere(app: &App, identity: &Identity) -> sqlx::Result<()> {
    let mut tx = app.db.begin().await?;
    let left = sqlx::query_scalar!(
        r#"
        with ended as (
            delete from sessions where issuer = $1 and subject = $2 returning id_hash, provider_session
        ), told as (select id_hash, pg_notify('session_ended', encode(id_hash, 'hex')) from ended)
        select provider_session from ended join told using (id_hash)
        "#,
        identity.issuer,
        identity.subject,
    )
    .fetch_all(&mut *tx)
    .await?;
    for left in left.into_iter().flatten() {
        provider_session::leave(&mut tx, left).await?;
    }
    tx.commit().await?;
    // Ours too: the notice comes back to this replica as well, but the next page may be faster.
    app.sessions.forget_all();
    Ok(())
}

/// How many sessions could still be used, for /metrics.
pub async fn count_open(app: &App) -> sqlx::Result<i64> {
    let now = app.clock.now();
    sqlx::query_scalar!(
        r#"select count(*) as "open!" from sessions where expires > $1 and last_seen > $2"#,
        now.to_sqlx() as _,
        (now - app.config.server.session.idle).to_sqlx() as _,
    )
    .fetch_one(&app.db)
    .await
}

/// Background work: forgets sessions and tokens that ended, here or at another replica. What was said while the connection
/// was down is unknown, so a new one begins by forgetting all.
pub async fn forget_ended(app: App) {
    let listen = async {
        loop {
            let Err(error) = listen_once(&app).await;
            tracing::warn!(
                error = format!("{error:#}"),
                "not told of ended sessions and tokens; trying again"
            );
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = app.shutdown.cancelled() => {}
        () = listen => {}
    }
}

async fn listen_once(app: &App) -> sqlx::Result<Infallible> {
    let mut listener = PgListener::connect_with(&app.db).await?;
    listener.listen_all([SESSIONS, TOKENS, PEOPLE]).await?;
    app.sessions.forget_all();
    app.tokens.forget_all();
    loop {
        // `None`: the connection was lost; the listener makes a new one by itself.
        let notice = listener.try_recv().await?;
        let key = notice.as_ref().and_then(|notice| key_from_hex(notice.payload()));
        match (notice.as_ref().map(|notice| notice.channel()), key) {
            (Some(SESSIONS), Some(key)) => app.sessions.forget(&SessionKey(key)).await,
            // A program's sign-in has several tokens, so none is found by its name.
            (Some(TOKENS), _) => app.tokens.forget_all(),
            (_, _) => {
                app.sessions.forget_all();
                app.tokens.forget_all();
                app.counts.forget();
            }
        }
    }
}

fn key_from_hex(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    hex::decode_to_slice(text, &mut key).ok().map(|()| key)
}

/// `__Host-` ties the cookie to this host, to TLS and to the root path; browsers refuse it on http://localhost.
pub fn cookie_name(config: &Config) -> &'static str {
    if config.is_localhost() { "pilothouse" } else { "__Host-pilothouse" }
}

pub fn cookie(config: &Config, secret: &Secret) -> Cookie<'static> {
    strict_cookie(config, cookie_name(config), secret.expose().into(), config.server.session.absolute)
}

/// The cookie that takes a session's place when it ends.
pub fn no_cookie(config: &Config) -> Cookie<'static> {
    strict_cookie(config, cookie_name(config), String::new(), SignedDuration::ZERO)
}

/// HttpOnly, SameSite=Lax (the way back from the provider is a navigation from another site), Secure.
pub fn strict_cookie(
    config: &Config,
    name: &'static str,
    value: String,
    life: SignedDuration,
) -> Cookie<'static> {
    let life = life.unsigned_abs().try_into().expect("a session's life fits any calendar");
    Cookie::build((name, value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(!config.is_localhost())
        .max_age(life)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(last_seen: &str, expires: &str) -> Session {
        let person = Person {
            identity: Identity { issuer: "https://id.example".into(), subject: "1".into() },
            username: "maya".into(),
            name: "Maya Okafor".into(),
            groups: Default::default(),
            set_off_by: None,
        };
        Session {
            person: Arc::new(person),
            last_seen: last_seen.parse().unwrap(),
            expires: expires.parse().unwrap(),
            behind: None,
        }
    }

    #[test]
    fn a_session_ends_by_idleness_or_by_age() {
        let life = SessionLife::default(); // 2 h idle, 12 h in all
        let session = session("2026-11-23T14:00:00Z", "2026-11-23T22:00:00Z");
        let at = |time: &str| end(&session, &life, time.parse().unwrap());
        assert_eq!(at("2026-11-23T15:59:59Z"), None);
        assert_eq!(at("2026-11-23T16:00:00Z"), Some(Ended::Idle(life.idle)));
        assert_eq!(at("2026-11-23T22:00:00Z"), Some(Ended::Age(life.absolute)));
    }

    #[test]
    fn secrets_differ_have_256_bits_and_only_their_shape_is_read() {
        let (one, other) = (Secret::random(), Secret::random());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(URL_SAFE_NO_PAD.decode(one.expose()).unwrap().len(), 32);
        assert_eq!(Secret::parse(one.expose()).unwrap().key(), one.key());
        for odd in ["", "short", &"a".repeat(44), &format!("{}=", &one.expose()[..42])] {
            assert!(Secret::parse(odd).is_none(), "{odd:?}");
        }
    }

    #[test]
    fn a_notice_names_a_key() {
        let key = Secret::random().key();
        assert_eq!(key_from_hex(&hex::encode(key.0)), Some(key.0));
        assert_eq!(key_from_hex("nonsense"), None);
    }
}
