//! Signing a program in that has no browser beside it (RFC 8628): it shows a code, a signed-in person types that code
//! on `/device` and says yes, and the program, which has been asking, gets its token.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Response};
use axum::{Extension, Json};
use axum_extra::extract::Form;
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::types::Json as Stored;
use utoipa::ToSchema;

use super::limit::Unhurried;
use super::program::{self, AccessToken, CLIENT, Denied, OauthError};
use super::session::{Secret, SessionKey};
use super::{CurrentUser, Person, Scope, guard, session, token, wording};
use crate::app::App;
use crate::events::Origin;
use crate::web::{Error, Layout, Nav, Result, VerifiedForm};

/// How long a person may take.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);
/// How often the program may ask.
const INTERVAL: SignedDuration = SignedDuration::from_secs(5);
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// RFC 8628, section 6.1: no vowels, so no words; nothing that looks like something else.
const LETTERS: &[u8] = b"BCDFGHJKLMNPQRSTVWXZ";
const LETTERS_OF_CODE: usize = 8;

#[derive(Deserialize, ToSchema)]
pub struct CodeRequest {
    /// `platform-cli`
    client_id: String,
    /// What the machine is called, for the person who is asked and for the token's name.
    #[serde(default)]
    host: String,
}

/// What the program shows, and what it asks with (RFC 8628, section 3.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceCode {
    pub device_code: String,
    pub user_code: String,
    pub verification_uri: String,
    pub verification_uri_complete: String,
    /// Seconds.
    pub expires_in: i64,
    /// Seconds between two questions.
    pub interval: i64,
}

/// Begin to sign in with a code
#[utoipa::path(
    post,
    path = "/api/v1/device/code",
    tag = "Signing in",
    security(()),
    request_body(content = CodeRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "What to show, and what to ask with", body = DeviceCode),
        (status = 400, description = "Not begun", body = OauthError),
    )
)]
pub async fn code(
    State(app): State<App>,
    _: Unhurried,
    origin: Origin,
    form: Result<Form<CodeRequest>, axum_extra::extract::FormRejection>,
) -> Result<Response> {
    let Ok(Form(form)) = form else { return Ok(Denied::OddRequest.into_response()) };
    if form.client_id != CLIENT {
        return Ok(Denied::UnknownClient.into_response());
    }
    let (secret, user_code) = (Secret::random(), new_user_code());
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    sqlx::query!("delete from device_requests where expires < $1", now.to_sqlx() as _)
        .execute(&mut *tx)
        .await?;
    sqlx::query!(
        "insert into device_requests (device_hash, user_code, host, origin, created, expires)
         values ($1, $2, $3, $4, $5, $6)",
        hash(secret.expose()),
        user_code,
        program::host(&form.host),
        origin.address,
        now.to_sqlx() as _,
        (now + PATIENCE).to_sqlx() as _,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    let page = format!("{}/device", app.config.origin());
    let shown = shown(&user_code);
    let code = DeviceCode {
        device_code: secret.expose().into(),
        verification_uri_complete: format!("{page}?user_code={shown}"),
        verification_uri: page,
        user_code: shown,
        expires_in: PATIENCE.as_secs(),
        interval: INTERVAL.as_secs(),
    };
    Ok(Json(code).into_response())
}

#[derive(Deserialize, ToSchema)]
pub struct TokenRequest {
    /// `urn:ietf:params:oauth:grant-type:device_code`
    grant_type: String,
    device_code: String,
}

/// Ask whether the person said yes
///
/// Every `interval` seconds, until there is a token or an error other than `authorization_pending` and `slow_down`.
#[utoipa::path(
    post,
    path = "/api/v1/device/token",
    tag = "Signing in",
    security(()),
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The person said yes", body = AccessToken),
        (status = 400, description = "Not yet, or no", body = OauthError),
    )
)]
pub async fn token(
    State(app): State<App>,
    origin: Origin,
    form: Result<Form<TokenRequest>, axum_extra::extract::FormRejection>,
) -> Result<Response> {
    let Ok(Form(form)) = form else { return Ok(Denied::OddRequest.into_response()) };
    if form.grant_type != GRANT {
        return Ok(Denied::UnsupportedGrant.into_response());
    }
    let now = app.clock.now();
    let key = hash(&form.device_code);
    let mut tx = app.db.begin().await?;
    let asked = sqlx::query!(
        r#"select host, expires, polled, allowed, provider_sid, person as "person: Stored<Person>"
           from device_requests where device_hash = $1 for update"#,
        key,
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(asked) = asked else { return Ok(Denied::OddCode.into_response()) };
    let polled = asked.polled.map(|at| at.to_jiff());
    let answer = answer(asked.expires.to_jiff(), polled, asked.allowed, now);
    let done = match (answer, asked.person) {
        (Ok(()), Some(person)) => {
            forget(&mut tx, &key).await?;
            let sid = asked.provider_sid.as_deref();
            let token = program::let_in(&mut tx, person.0, sid, &origin, &asked.host, now).await?;
            Json(token).into_response()
        }
        (Ok(()), None) => Denied::Pending.into_response(),
        (Err(denied @ (Denied::Pending | Denied::TooFast)), _) => {
            let now = now.to_sqlx();
            sqlx::query!("update device_requests set polled = $2 where device_hash = $1", key, now as _)
                .execute(&mut *tx)
                .await?;
            denied.into_response()
        }
        (Err(denied), _) => {
            forget(&mut tx, &key).await?;
            denied.into_response()
        }
    };
    tx.commit().await?;
    Ok(done)
}

/// Whether there is a token by now.
fn answer(
    expires: Timestamp,
    polled: Option<Timestamp>,
    allowed: Option<bool>,
    now: Timestamp,
) -> std::result::Result<(), Denied> {
    match allowed {
        _ if now >= expires => Err(Denied::Expired),
        Some(true) => Ok(()),
        Some(false) => Err(Denied::SaidNo),
        None if polled.is_some_and(|polled| now < polled + INTERVAL) => Err(Denied::TooFast),
        None => Err(Denied::Pending),
    }
}

async fn forget(tx: &mut sqlx::PgConnection, key: &[u8]) -> sqlx::Result<()> {
    sqlx::query!("delete from device_requests where device_hash = $1", key).execute(tx).await?;
    Ok(())
}

#[derive(Template)]
#[template(path = "auth/device.html")]
struct DevicePage {
    layout: Layout,
    username: String,
    typed: String,
    /// Why the code can't be used.
    problem: String,
    view: View,
}

enum View {
    /// Type the code.
    Ask,
    /// Say yes or no.
    Confirm {
        name: String,
        origin: String,
        created: Timestamp,
    },
    Done {
        allowed: bool,
    },
}

impl DevicePage {
    fn uses(&self) -> [&'static str; 4] {
        Scope::ALL.map(wording::use_of)
    }
}

#[derive(Deserialize)]
pub struct Wanted {
    #[serde(default)]
    user_code: String,
}

/// `GET /device?user_code=…`
pub async fn page(
    State(app): State<App>,
    _: Unhurried,
    user: CurrentUser,
    layout: Layout,
    Query(wanted): Query<Wanted>,
) -> Result<Html<String>> {
    let (view, problem) = match read_user_code(&wanted.user_code) {
        _ if wanted.user_code.is_empty() => (View::Ask, ""),
        Some(code) => match find(&app, &code).await? {
            Some(view) => (view, ""),
            None => (View::Ask, wording::UNKNOWN_USER_CODE),
        },
        None => (View::Ask, wording::UNKNOWN_USER_CODE),
    };
    draw(layout, &user, wanted.user_code, problem.into(), view)
}

fn draw(
    layout: Layout,
    user: &CurrentUser,
    typed: String,
    problem: String,
    view: View,
) -> Result<Html<String>> {
    let layout = layout.at(Nav::None, &[("Sign in a program", "")]);
    Ok(Html(DevicePage { layout, username: user.username.clone(), typed, problem, view }.render()?))
}

async fn find(app: &App, user_code: &str) -> Result<Option<View>> {
    let asked = sqlx::query!(
        "select host, origin, created from device_requests
         where user_code = $1 and expires > $2 and allowed is null",
        user_code,
        app.clock.now().to_sqlx() as _,
    )
    .fetch_optional(&app.db)
    .await?;
    Ok(asked.map(|asked| View::Confirm {
        name: program::name(&asked.host),
        origin: asked.origin,
        created: asked.created.to_jiff(),
    }))
}

#[derive(Deserialize)]
pub struct Decision {
    user_code: String,
    decision: String,
}

/// `POST /device`: yes or no to the program with this code.
pub async fn decide(
    State(app): State<App>,
    _: Unhurried,
    user: CurrentUser,
    Extension(session): Extension<SessionKey>,
    layout: Layout,
    form: VerifiedForm<Decision>,
) -> Result<Html<String>> {
    let Decision { user_code, decision } = form.into_inner();
    let allowed = decision == "allow";
    let code = read_user_code(&user_code).ok_or(Error::NotFound)?;
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let from = session::provider_sid(&mut tx, session).await?.ok_or_else(guard::signed_out)?;
    if allowed && token::count_open(&mut tx, &user.identity, now).await? >= token::MOST {
        return Err(Error::Conflict(token::Refusal::TooMany(token::MOST).sentence()));
    }
    let decided = sqlx::query!(
        "update device_requests set allowed = $2, person = $3, provider_sid = $5
         where user_code = $1 and expires > $4 and allowed is null",
        code,
        allowed,
        Stored(&*user) as _,
        now.to_sqlx() as _,
        from.sid,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    if decided.rows_affected() == 0 {
        return draw(layout, &user, user_code, wording::UNKNOWN_USER_CODE.into(), View::Ask);
    }
    draw(layout, &user, String::new(), String::new(), View::Done { allowed })
}

fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret).to_vec()
}

fn new_user_code() -> String {
    let mut random = rand::rng();
    let letter = |_| LETTERS.choose(&mut random).copied().map_or('B', char::from);
    (0..LETTERS_OF_CODE).map(letter).collect()
}

/// In two halves, to be read and typed.
fn shown(code: &str) -> String {
    let (first, second) = code.split_at(LETTERS_OF_CODE / 2);
    format!("{first}-{second}")
}

/// As it was typed: in any case, with or without what stands between.
fn read_user_code(typed: &str) -> Option<String> {
    let code: String =
        typed.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_uppercase()).collect();
    (code.len() == LETTERS_OF_CODE && code.bytes().all(|c| LETTERS.contains(&c))).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_764_000_000 + second).unwrap()
    }

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = new_user_code();
        assert_eq!(read_user_code(&shown(&code)), Some(code.clone()));
        assert_eq!(read_user_code(&format!(" {} ", code.to_lowercase())), Some(code));
        for odd in ["", "BCDF", "BCDF-GHJA", "BCDF-GHJKL"] {
            assert_eq!(read_user_code(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_program_waits_and_does_not_hurry() {
        let (end, now) = (at(600), at(60));
        assert_eq!(answer(end, None, None, now), Err(Denied::Pending));
        assert_eq!(answer(end, Some(at(58)), None, now), Err(Denied::TooFast));
        assert_eq!(answer(end, Some(at(55)), None, now), Err(Denied::Pending));
        assert_eq!(answer(end, Some(at(58)), Some(true), now), Ok(()));
        assert_eq!(answer(end, None, Some(false), now), Err(Denied::SaidNo));
        assert_eq!(answer(end, None, Some(true), at(600)), Err(Denied::Expired));
    }
}
