//! A pipeline's token of its CI system for one of ours (RFC 8693), so that a pipeline needs no stored secret.
//!
//! ```text
//!  the CI system ──▶ a signed token: this repository, this branch, for this portal
//!  the pipeline ──▶ POST /api/v1/token ──▶ ci_issuer.rs: who signed it? ──▶ machine.rs: whose is it?
//!                                           ◀── a token of that machine, for 15 minutes at most
//! ```
//! A token may be exchanged again until it ends: a job that is tried again shows the same one, and whoever has it could
//! as well have used what it was exchanged for. What comes of it never outlives it.

use std::sync::Arc;

use jiff::Timestamp;

use super::ci_issuer::Unproven;
use super::jwt::Jwt;
use super::limit::Sender;
use super::machine::{self, NoMachine};
use super::program::{AccessToken, OauthError};
use super::token::{self, New};
use super::{SetOffBy, wording};
use crate::app::App;
use crate::config::{Machine, Trust};
use crate::events::Origin;
use crate::web::Result;

pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

const LONGEST_ACTOR: usize = 80;

/// Why a CI token is not exchanged, for the author of the pipeline.
#[derive(Debug)]
pub enum NotExchanged {
    /// Neither of the types that are read.
    Type,
    Unreadable(anyhow::Error),
    /// No machine trusts this issuer.
    Issuer,
    Unproven(Unproven),
    Times(anyhow::Error),
    NoMachine(NoMachine),
}

/// What was asked with.
pub struct Asked<'a> {
    pub subject_token: &'a str,
    pub subject_token_type: &'a str,
    /// The machine's name, where several would fit.
    pub named: Option<&'a str>,
}

/// The machine's token, or the words of OAuth for why there is none.
pub async fn exchange(
    app: &App,
    origin: &Origin,
    sender: &Sender,
    asked: Asked<'_>,
) -> Result<std::result::Result<AccessToken, OauthError>> {
    let now = app.clock.now();
    let (machine, trust, jwt) = match check(app, &asked, now).await {
        Ok(found) => found,
        Err(why) => {
            sender.fails(app)?;
            tracing::warn!(why = format!("{why:?}"), "a CI token was not exchanged");
            let error_description = wording::not_exchanged(&why);
            return Ok(Err(OauthError { error: "invalid_grant".into(), error_description }));
        }
    };
    let claim = |name: &str| jwt.claims.get(name).and_then(|value| value.as_str());
    let actor = trust.actor_claim.as_deref().and_then(claim).and_then(named);
    let set_off_by = actor.map(|name| Box::new(SetOffBy { identity: None, name }));
    let owner = Arc::new(machine::person(machine, set_off_by));
    let new = New {
        name: "exchanged",
        scopes: &machine::scopes(machine),
        expires: ends(&jwt, now),
        action: "token.exchange",
        by: &owner,
        detail: serde_json::json!({
            "issuer": trust.issuer.get_ref(),
            "subject": claim("sub"),
        }),
    };
    let mut tx = app.db.begin().await?;
    token::forget_exchanged(&mut tx, &owner.identity, now).await?;
    let (token, secret) = token::make(&mut tx, &owner, origin, new, now).await?;
    tx.commit().await?;
    Ok(Ok(AccessToken {
        access_token: secret.expose().into(),
        token_type: "Bearer".into(),
        expires_in: token.expires.duration_since(now).as_secs(),
        refresh_token: None,
        scope: token.scopes.names().join(" "),
        issued_token_type: Some(ACCESS_TOKEN.into()),
    }))
}

async fn check<'a>(
    app: &'a App,
    asked: &Asked<'a>,
    now: Timestamp,
) -> std::result::Result<(&'a Machine, &'a Trust, Jwt<'a>), NotExchanged> {
    if ![JWT, ID_TOKEN].contains(&asked.subject_token_type) {
        return Err(NotExchanged::Type);
    }
    let jwt = Jwt::read(asked.subject_token).map_err(NotExchanged::Unreadable)?;
    jwt.check_header(&["", "jwt"]).map_err(NotExchanged::Unreadable)?;
    let machines = &app.config.machines;
    let issuer = jwt.text("iss").map_err(NotExchanged::Unreadable)?.unwrap_or_default();
    let mut trusts = machines.iter().flat_map(|machine| &machine.trust);
    let trusted = trusts.find(|trust| trust.issuer.get_ref() == issuer).ok_or(NotExchanged::Issuer)?;
    app.ci_issuers.prove(trusted.issuer.get_ref(), &jwt).await.map_err(NotExchanged::Unproven)?;
    jwt.check_times(now).map_err(NotExchanged::Times)?;
    if ends(&jwt, now) <= now {
        return Err(NotExchanged::Times(anyhow::anyhow!("it has expired")));
    }
    let (machine, trust) =
        machine::trusting(machines, &jwt.claims, asked.named).map_err(NotExchanged::NoMachine)?;
    Ok((machine, trust, jwt))
}

/// The name of a person in the CI system, as it may be shown. It is text that they chose.
fn named(told: &str) -> Option<String> {
    let name: String = told.chars().filter(|letter| !letter.is_control()).take(LONGEST_ACTOR).collect();
    Some(name.trim().to_string()).filter(|name| !name.is_empty())
}

/// Never after the token it was exchanged for, whose times were checked.
fn ends(jwt: &Jwt<'_>, now: Timestamp) -> Timestamp {
    let seconds = jwt.claims.get("exp").and_then(|value| value.as_f64()).unwrap_or_default();
    // `as` keeps to the range of its type.
    let theirs = Timestamp::from_second(seconds.floor() as i64).unwrap_or(Timestamp::MAX);
    theirs.min(now + machine::LIVES)
}
