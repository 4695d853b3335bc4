//! A program's sign-in over time: one row of the person's tokens, an access token that lasts an hour, and a refresh token
//! that is good for the next hour, once.
//!
//! ```text
//! begin ──▶ access 1, refresh 1 ──refresh 1──▶ access 2, refresh 2 ──▶ … ──▶ 30 days after the beginning: sign in again
//!                                  └ again, at once ▶ the answer was lost, or two processes asked: one more pair
//!                                  └ again, later   ▶ somebody has a copy: all of it ends (RFC 9700, section 4.14.2)
//! ```

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::{Form, FormRejection};
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use sqlx::types::Json as Stored;
use utoipa::ToSchema;

use super::limit::Sender;
use super::program::{self, AccessToken, Denied, OauthError};
use super::session::Secret;
use super::token::{self, TokenSecret, Wanted};
use super::{Person, Scopes, authorize, exchange};
use crate::app::App;
use crate::events::{self, Entry, Origin};
use crate::web::Result;

/// From the sign-in: then the person signs in again, whatever was refreshed.
const DAYS: u32 = 30;
const ACCESS_LIVES: SignedDuration = SignedDuration::from_hours(1);
/// How long a replaced refresh token is taken for a lost answer, or for another process of the same person.
const GRACE: SignedDuration = SignedDuration::from_secs(30);
/// So that a secret in the wrong place is recognised for what it is, and neither is taken for the other.
const PREFIX: &str = "phr_";

#[derive(Deserialize, ToSchema)]
pub struct Grant {
    /// `authorization_code`, `refresh_token`, or for pipelines `urn:ietf:params:oauth:grant-type:token-exchange`
    grant_type: String,
    /// For `authorization_code`.
    code: Option<String>,
    /// What `code_challenge` is the SHA-256 of, for `authorization_code`.
    code_verifier: Option<String>,
    /// As it was asked with, for `authorization_code`.
    redirect_uri: Option<String>,
    /// The newest one, for `refresh_token`.
    refresh_token: Option<String>,
    /// The CI system's token, for `urn:ietf:params:oauth:grant-type:token-exchange`.
    subject_token: Option<String>,
    /// What that is: `urn:ietf:params:oauth:token-type:jwt` or `…:id_token`.
    subject_token_type: Option<String>,
    /// The machine's name, for an exchange where several machines trust the CI token.
    client_id: Option<String>,
}

/// Fetch a token, or the next one
///
/// For a code from `/authorize?response_type=code&client_id=platform-cli&redirect_uri=http://127.0.0.1:PORT/…` with
/// `code_challenge`, `code_challenge_method=S256` and `state`; or for a refresh token. That one is good once: the answer
/// has the next. Whoever uses an old one again ends the whole sign-in.
#[utoipa::path(
    post,
    path = "/api/v1/token",
    tag = "Signing in",
    security(()),
    request_body(content = Grant, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token", body = AccessToken),
        (status = 400, description = "No token", body = OauthError),
    )
)]
pub async fn token(
    State(app): State<App>,
    origin: Origin,
    sender: Sender,
    form: std::result::Result<Form<Grant>, FormRejection>,
) -> Result<Response> {
    let Ok(Form(form)) = form else { return Ok(Denied::OddRequest.into_response()) };
    if form.grant_type == exchange::GRANT_TYPE {
        let (Some(token), Some(kind)) = (&form.subject_token, &form.subject_token_type) else {
            return Ok(Denied::OddRequest.into_response());
        };
        let named = form.client_id.as_deref().filter(|name| *name != program::CLIENT);
        let asked = exchange::Asked { subject_token: token, subject_token_type: kind, named };
        return Ok(exchange::exchange(&app, &origin, &sender, asked)
            .await?
            .map(Json)
            .map_err(program::refused)
            .into_response());
    }
    let granted = match (form.grant_type.as_str(), form.code, form.refresh_token) {
        ("authorization_code", Some(code), _) => match (form.code_verifier, form.redirect_uri) {
            (Some(verifier), Some(redirect)) => {
                authorize::redeem(&app, &origin, &code, &verifier, &redirect).await?
            }
            _ => Err(Denied::OddRequest),
        },
        ("refresh_token", _, Some(secret)) => renew(&app, &origin, &secret).await?,
        ("authorization_code" | "refresh_token", ..) => Err(Denied::OddRequest),
        _ => Err(Denied::UnsupportedGrant),
    };
    Ok(granted.map(Json).into_response())
}

/// Signs a program in: all that the person may do. `behind`: the provider's session of the browser that let it in.
pub async fn begin(
    tx: &mut PgConnection,
    person: Person,
    origin: &Origin,
    host: &str,
    behind: Option<i64>,
    now: Timestamp,
) -> sqlx::Result<AccessToken> {
    let wanted = Wanted { name: program::name(host), scopes: Scopes::all(), days: DAYS };
    // The row is the sign-in; its own secret is shown to nobody.
    let (sign_in, _) = token::mint(tx, &Arc::new(person), origin, &wanted, now).await?;
    sqlx::query!("update tokens set provider_session = $2 where id = $1", sign_in.id, behind)
        .execute(&mut *tx)
        .await?;
    issue(tx, sign_in.id, &sign_in.scopes, now).await
}

/// The next pair for a refresh token.
async fn renew(app: &App, origin: &Origin, secret: &str) -> Result<std::result::Result<AccessToken, Denied>> {
    let now = app.clock.now();
    let hash = hash(secret);
    let mut tx = app.db.begin().await?;
    let shown = sqlx::query!(
        r#"select t.id, t.name, t.scopes, t.expires, t.person as "person: Stored<Person>", r.replaced
           from refresh_tokens r join tokens t on t.id = r.token
           where r.hash = $1 for update of t, r"#,
        hash,
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(shown) = shown else { return Ok(Err(Denied::OddRefresh)) };
    let replaced = shown.replaced.map(|at| at.to_jiff());
    let answer = match judge(replaced, shown.expires.to_jiff(), now) {
        Verdict::Renew => {
            sqlx::query!(
                "update refresh_tokens set replaced = coalesce(replaced, $2) where hash = $1",
                hash,
                now.to_sqlx() as _,
            )
            .execute(&mut *tx)
            .await?;
            Ok(issue(&mut tx, shown.id, &Scopes::from_names(&shown.scopes), now).await?)
        }
        Verdict::Over => Err(Denied::OddRefresh),
        Verdict::Stolen => {
            sqlx::query!("delete from tokens where id = $1", shown.id).execute(&mut *tx).await?;
            sqlx::query!("select pg_notify('token_revoked', '')").fetch_one(&mut *tx).await?;
            let entry = Entry {
                action: "token.reuse",
                target: shown.name,
                outcome: "refused",
                detail: serde_json::json!({ "token": shown.id }),
            };
            events::audit(&mut tx, &shown.person, origin, now, entry).await?;
            Err(Denied::OddRefresh)
        }
    };
    tx.commit().await?;
    if answer.is_err() {
        app.tokens.forget_all(); // ours, too
    }
    Ok(answer)
}

/// What to make of a refresh token that is shown.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Renew,
    /// The sign-in is at its end.
    Over,
    /// It was used before, and not just now: two have it, and one of them should not.
    Stolen,
}

fn judge(replaced: Option<Timestamp>, expires: Timestamp, now: Timestamp) -> Verdict {
    match replaced {
        _ if now >= expires => Verdict::Over,
        Some(at) if now >= at + GRACE => Verdict::Stolen,
        Some(_) | None => Verdict::Renew,
    }
}

/// A new pair. The hour before goes on to its end: another process may be in the middle of something.
async fn issue(
    tx: &mut PgConnection,
    sign_in: i64,
    scopes: &Scopes,
    now: Timestamp,
) -> sqlx::Result<AccessToken> {
    let access = TokenSecret::random();
    let (key, refresh) = (access.key(), format!("{PREFIX}{}", Secret::random().expose()));
    sqlx::query!("delete from access_tokens where token = $1 and expires <= $2", sign_in, now.to_sqlx() as _)
        .execute(&mut *tx)
        .await?;
    sqlx::query!(
        "insert into access_tokens (hash, token, expires) values ($1, $2, $3)",
        key.0.as_slice(),
        sign_in,
        (now + ACCESS_LIVES).to_sqlx() as _,
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into refresh_tokens (hash, token, issued) values ($1, $2, $3)",
        hash(&refresh),
        sign_in,
        now.to_sqlx() as _,
    )
    .execute(&mut *tx)
    .await?;
    Ok(AccessToken {
        access_token: access.expose().into(),
        token_type: "Bearer".into(),
        expires_in: ACCESS_LIVES.as_secs(),
        refresh_token: Some(refresh),
        scope: scopes.names().join(" "),
        issued_token_type: None,
    })
}

fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_764_000_000 + second).unwrap()
    }

    #[test]
    fn a_refresh_token_is_good_once_with_a_moment_for_a_lost_answer() {
        assert_eq!(judge(None, at(100), at(99)), Verdict::Renew);
        assert_eq!(judge(None, at(100), at(100)), Verdict::Over);
        assert_eq!(judge(Some(at(0)), at(100), at(29)), Verdict::Renew);
        assert_eq!(judge(Some(at(0)), at(100), at(30)), Verdict::Stolen);
        assert_eq!(judge(Some(at(0)), at(100), at(100)), Verdict::Over);
    }
}
