//! Back-channel logout: the provider tells the portal, server to server, that a session of its own is over
//! (somebody signed out there, or an administrator ended it), and everything that came from that session ends here.
//!
//! ```text
//!  the provider ──▶ POST /auth/backchannel-logout ──▶ logout_token.rs: is it true? ──▶ one transaction:
//!                   logout_token=…                                                     the token is used up,
//!                                                            browsers, codes on their way, tokens go, audit rows
//! ```
//! With a session's id (`sid`) these are its browsers, and the tokens of the command that a person let in from one of
//! them. Personal tokens live on: scripts and pipelines live by them, and people sign out every evening. A logout
//! that names only the person (`sub`) means all of it, personal tokens too: that is how a provider says that somebody
//! is gone. Every replica hears of each end (`session::forget_ended`), and open streams end with it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::{Form, FormRejection};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use sqlx::types::Json as Stored;

use super::jwt::SKEW;
use super::logout_token::{Logout, Whose};
use super::oidc::Failure;
use super::{OauthError, Person, provider_session, wording};
use crate::app::App;
use crate::events::{self, Entry, Origin};
use crate::web::Result;

#[derive(Deserialize)]
pub struct Notice {
    logout_token: String,
}

/// `POST /auth/backchannel-logout`, by the provider. No cookie counts here; the token is its own proof.
pub async fn logout(
    State(app): State<App>,
    origin: Origin,
    form: Result<Form<Notice>, FormRejection>,
) -> Result<Response> {
    let Ok(Form(notice)) = form else { return Ok(refused("invalid_request", wording::NO_LOGOUT_TOKEN)) };
    let now = app.clock.now();
    let logout = match app.provider.logout(&notice.logout_token, now).await {
        Ok(logout) => logout,
        Err(failure @ Failure::Token(_)) => {
            tracing::warn!(failure = format!("{failure:#}"), "a logout token was refused");
            return Ok(refused("invalid_request", wording::LOGOUT_REFUSED));
        }
        Err(failure) => {
            tracing::error!(failure = format!("{failure:#}"), "a logout token can’t be checked");
            return Ok(refused("temporarily_unavailable", wording::LOGOUT_UNCHECKED));
        }
    };
    let mut tx = app.db.begin().await?;
    if !use_up(&mut tx, &logout, now).await? {
        return Ok(refused("invalid_request", wording::LOGOUT_TWICE));
    }
    let ended = end(&mut tx, app.provider.issuer(), &logout.whose, &origin, now).await?;
    tx.commit().await?;
    // Ours too: the notices come back to this replica as well, but the next page may be faster.
    app.sessions.forget_all();
    app.tokens.forget_all();
    tracing::info!(
        sign_ins = ended.sign_ins,
        personal_tokens = ended.personal,
        "the provider ended sessions"
    );
    Ok(StatusCode::OK.into_response())
}

/// Section 2.8: whatever it is, 400, in the words of OAuth.
fn refused(error: &str, sentence: &str) -> Response {
    let body = OauthError { error: error.into(), error_description: sentence.into() };
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

/// Whether the token is used for the first time. It is remembered until it would be too old anyway.
async fn use_up(tx: &mut PgConnection, logout: &Logout, now: Timestamp) -> sqlx::Result<bool> {
    sqlx::query!("delete from logout_tokens where expires < $1", (now - SKEW).to_sqlx() as _)
        .execute(&mut *tx)
        .await?;
    let key = Sha256::digest(&logout.jti);
    let first = sqlx::query!(
        "insert into logout_tokens (jti_hash, expires) values ($1, $2) on conflict do nothing",
        key.as_slice(),
        logout.expires.to_sqlx() as _,
    )
    .execute(&mut *tx)
    .await?;
    Ok(first.rows_affected() == 1)
}

/// How much went.
struct Ended {
    sign_ins: usize,
    personal: usize,
}

/// The sign-ins that are meant, each with all that was born of it; and all of a person's tokens, if that is meant.
async fn end(
    tx: &mut PgConnection,
    issuer: &str,
    whose: &Whose,
    origin: &Origin,
    now: Timestamp,
) -> sqlx::Result<Ended> {
    let (sid, subject) = match whose {
        Whose::Session { sid, subject } => (Some(sid.as_str()), subject.as_deref()),
        Whose::Person { subject } => (None, Some(subject.as_str())),
    };
    // One that came without a sid may be the one that is meant, so it ends with all of the person's.
    let sign_ins = sqlx::query!(
        r#"select v.id, p.person as "person: Stored<Person>"
           from provider_sessions v join people p on p.issuer = v.issuer and p.subject = v.subject
           where v.issuer = $1
             and ($2::text is null or v.sid = $2 or (v.sid is null and $3::text is not null))
             and ($3::text is null or v.subject = $3)
           order by v.id for update of v"#,
        issuer,
        sid,
        subject,
    )
    .fetch_all(&mut *tx)
    .await?;
    for sign_in in &sign_ins {
        provider_session::end(tx, sign_in.id, &sign_in.person, wording::ENDED_AT_PROVIDER, now).await?;
    }
    end_older(tx, issuer, sid, subject).await?;
    let personal = match whose {
        Whose::Session { .. } => 0,
        Whose::Person { subject } => end_tokens(tx, issuer, subject, origin, now).await?,
    };
    Ok(Ended { sign_ins: sign_ins.len(), personal })
}

/// Sessions that an older replica began stand on no sign-in.
async fn end_older(
    tx: &mut PgConnection,
    issuer: &str,
    sid: Option<&str>,
    subject: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        with ended as (
            delete from sessions
            where issuer = $1 and provider_session is null
              and ($2::text is null or provider_sid = $2 or (provider_sid is null and $3::text is not null))
              and ($3::text is null or subject = $3)
            returning id_hash
        )
        select pg_notify('session_ended', encode(id_hash, 'hex')) as told from ended
        "#,
        issuer,
        sid,
        subject,
    )
    .fetch_all(tx)
    .await?;
    Ok(())
}

/// All that are left, each with a row of the trail, as there was when it was made.
async fn end_tokens(
    tx: &mut PgConnection,
    issuer: &str,
    subject: &str,
    origin: &Origin,
    now: Timestamp,
) -> sqlx::Result<usize> {
    let tokens = sqlx::query!(
        r#"
        with ended as (
            delete from tokens where issuer = $1 and subject = $2 returning id, hash, name, person
        )
        select id as "id!", name as "name!", person as "person!: Stored<Person>",
               pg_notify('token_revoked', encode(hash, 'hex')) as told
        from ended
        "#,
        issuer,
        subject,
    )
    .fetch_all(&mut *tx)
    .await?;
    for token in &tokens {
        let entry = Entry {
            action: "token.end_by_provider",
            target: token.name.clone(),
            outcome: "done",
            detail: json!({ "token": token.id }),
        };
        events::audit(tx, &token.person, origin, now, entry).await?;
    }
    Ok(tokens.len())
}
