//! Signing a program in by the browser beside it (RFC 8252): it listens on the loopback, sends the browser here, the
//! signed-in person says yes, and the browser carries a code back. The code is good once, for a minute, and only for
//! the program that holds the PKCE verifier.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use axum_extra::extract::Form;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use jiff_sqlx::ToSqlx;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use sqlx::types::Json as Stored;
use url::{Host, Url};
use utoipa::ToSchema;

use super::program::{self, AccessToken, CLIENT, Denied, OauthError};
use super::session::{Secret, SessionKey};
use super::{CurrentUser, Person, Scope, guard, session, token, wording};
use crate::app::App;
use crate::events::Origin;
use crate::web::{Error, FormTarget, Layout, Nav, Result, VerifiedForm};

/// From the click to the program's question.
const PATIENCE: SignedDuration = SignedDuration::from_mins(1);
const LONGEST_STATE: usize = 500;

/// What the program asks for, in the address and again in the form.
#[derive(Clone, Deserialize)]
pub struct Wanted {
    response_type: String,
    client_id: String,
    redirect_uri: String,
    code_challenge: String,
    code_challenge_method: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    host: String,
}

impl Wanted {
    /// Where the browser goes afterwards. Without a good address it goes nowhere.
    fn back(&self) -> Result<Url> {
        let back = loopback(&self.redirect_uri).filter(|_| self.is_sound());
        back.ok_or_else(|| Error::BadRequest(wording::ODD_PROGRAM.into()))
    }

    fn is_sound(&self) -> bool {
        let challenge = URL_SAFE_NO_PAD.decode(&self.code_challenge);
        self.response_type == "code"
            && self.client_id == CLIENT
            && self.code_challenge_method == "S256"
            && challenge.is_ok_and(|hash| hash.len() == 32)
            && self.state.len() <= LONGEST_STATE
    }
}

/// RFC 8252, section 7.3: plain http on the machine the browser runs on, whatever the port.
fn loopback(text: &str) -> Option<Url> {
    let url: Url = text.parse().ok()?;
    let local = match url.host()? {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => name == "localhost",
    };
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (local && plain && url.scheme() == "http" && url.port().is_some()).then_some(url)
}

#[derive(Template)]
#[template(path = "auth/authorize.html")]
struct AuthorizePage {
    layout: Layout,
    username: String,
    name: String,
    wanted: Wanted,
}

impl AuthorizePage {
    fn uses(&self) -> [&'static str; 4] {
        Scope::ALL.map(wording::use_of)
    }
}

/// `GET /authorize?response_type=code&…`: asks the person.
pub async fn page(
    user: CurrentUser,
    layout: Layout,
    wanted: std::result::Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response> {
    let Ok(Query(wanted)) = wanted else { return Err(Error::BadRequest(wording::ODD_PROGRAM.into())) };
    let back = wanted.back()?;
    let page = AuthorizePage {
        layout: layout.at(Nav::None, &[("Sign in a program", "")]),
        username: user.username.clone(),
        name: program::name(&program::host(&wanted.host)),
        wanted,
    };
    let mut answer = Html(page.render()?).into_response();
    // The form's answer leads there, which browsers count as a target of the form.
    answer.extensions_mut().insert(FormTarget(back.origin().ascii_serialization()));
    Ok(answer)
}

#[derive(Deserialize)]
pub struct Decision {
    #[serde(flatten)]
    wanted: Wanted,
    decision: String,
}

/// `POST /authorize`: back to the program, with a code or with a no.
pub async fn decide(
    State(app): State<App>,
    user: CurrentUser,
    Extension(session): Extension<SessionKey>,
    form: VerifiedForm<Decision>,
) -> Result<Redirect> {
    let Decision { wanted, decision } = form.into_inner();
    let mut back = wanted.back()?;
    if decision != "allow" {
        back.query_pairs_mut().append_pair("error", "access_denied").append_pair("state", &wanted.state);
        return Ok(Redirect::to(back.as_str()));
    }
    let code = Secret::random();
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let from = session::provider_sid(&mut tx, session).await?.ok_or_else(guard::signed_out)?;
    if token::count_open(&mut tx, &user.identity, now).await? >= token::MOST {
        return Err(Error::Conflict(token::Refusal::TooMany(token::MOST).sentence()));
    }
    sqlx::query!("delete from authorization_codes where expires < $1", now.to_sqlx() as _)
        .execute(&mut *tx)
        .await?;
    let key = Sha256::digest(code.expose());
    sqlx::query!(
        "insert into authorization_codes (code_hash, challenge, redirect_uri, host, person, expires, provider_sid)
         values ($1, $2, $3, $4, $5, $6, $7)",
        key.as_slice(),
        wanted.code_challenge,
        wanted.redirect_uri,
        program::host(&wanted.host),
        Stored(&*user) as _,
        (now + PATIENCE).to_sqlx() as _,
        from.sid,
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    back.query_pairs_mut().append_pair("code", code.expose()).append_pair("state", &wanted.state);
    Ok(Redirect::to(back.as_str()))
}

#[derive(Deserialize, ToSchema)]
pub struct CodeGrant {
    /// `authorization_code`
    grant_type: String,
    code: String,
    /// What `code_challenge` is the SHA-256 of.
    code_verifier: String,
    /// As it was asked with.
    redirect_uri: String,
}

/// Fetch the token for a code
///
/// The code comes from `/authorize?response_type=code&client_id=platform-cli&redirect_uri=http://127.0.0.1:PORT/…` with
/// `code_challenge`, `code_challenge_method=S256` and `state`.
#[utoipa::path(
    post,
    path = "/api/v1/token",
    tag = "Signing in",
    security(()),
    request_body(content = CodeGrant, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token", body = AccessToken),
        (status = 400, description = "No token", body = OauthError),
    )
)]
pub async fn token(
    State(app): State<App>,
    origin: Origin,
    form: std::result::Result<Form<CodeGrant>, axum_extra::extract::FormRejection>,
) -> Result<Response> {
    let Ok(Form(form)) = form else { return Ok(Denied::OddRequest.into_response()) };
    if form.grant_type != "authorization_code" {
        return Ok(Denied::UnsupportedGrant.into_response());
    }
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let key = Sha256::digest(&form.code);
    // Taken away whatever comes of it: a code is good for one try.
    let taken = sqlx::query!(
        r#"delete from authorization_codes where code_hash = $1
           returning challenge, redirect_uri, host, provider_sid, person as "person: Stored<Person>", expires"#,
        key.as_slice(),
    )
    .fetch_optional(&mut *tx)
    .await?;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&form.code_verifier));
    let good = taken.filter(|taken| {
        taken.challenge == challenge
            && taken.redirect_uri == form.redirect_uri
            && now < taken.expires.to_jiff()
    });
    let answer = match good {
        Some(good) => {
            let sid = good.provider_sid.as_deref();
            Json(program::let_in(&mut tx, good.person.0, sid, &origin, &good.host, now).await?)
                .into_response()
        }
        None => Denied::OddCode.into_response(),
    };
    tx.commit().await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_is_sent_only_to_its_own_machine() {
        for good in
            ["http://127.0.0.1:4711/callback", "http://[::1]:4711/", "http://localhost:4711/callback?x=1"]
        {
            assert!(loopback(good).is_some(), "{good}");
        }
        for bad in [
            "https://evil.example/",
            "http://evil.example:80/",
            "http://127.0.0.1/callback",
            "http://127.0.0.1:4711@evil.example/",
            "http://user@127.0.0.1:4711/",
            "http://localhost.evil.example:4711/",
            "https://127.0.0.1:4711/",
            "javascript:alert(1)",
            "",
        ] {
            assert!(loopback(bad).is_none(), "{bad}");
        }
    }
}
