//! Letting a program in that has a person in front of it: what it is, and the words of OAuth in which
//! it is told. How the person says yes is in `device.rs` (a code) and `authorize.rs` (the browser beside it); what it gets
//! is in `grant.rs`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The one program that is known: the `platform` command.
pub const CLIENT: &str = "platform-cli";
const LONGEST_HOST: usize = 60;

/// A token for the program (RFC 6749, section 5.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AccessToken {
    pub access_token: String,
    pub token_type: String,
    /// Seconds.
    pub expires_in: i64,
    /// For the next one, once. A machine gets none: its CI token is exchanged again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// Scopes, separated by blanks.
    pub scope: String,
    /// After an exchange: `urn:ietf:params:oauth:token-type:access_token` (RFC 8693).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<String>,
}

/// Why there is no token (RFC 6749, section 5.2; RFC 8628, section 3.5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OauthError {
    pub error: String,
    pub error_description: String,
}

/// The refusals of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    UnknownClient,
    OddRequest,
    UnsupportedGrant,
    /// The code is none, was used, or belongs to another request.
    OddCode,
    /// The refresh token is none, was used, or its sign-in is over.
    OddRefresh,
    Pending,
    TooFast,
    Expired,
    SaidNo,
}

impl Denied {
    fn code(self) -> &'static str {
        match self {
            Self::UnknownClient => "invalid_client",
            Self::OddRequest => "invalid_request",
            Self::UnsupportedGrant => "unsupported_grant_type",
            Self::OddCode | Self::OddRefresh => "invalid_grant",
            Self::Pending => "authorization_pending",
            Self::TooFast => "slow_down",
            Self::Expired => "expired_token",
            Self::SaidNo => "access_denied",
        }
    }

    pub fn sentence(self) -> &'static str {
        match self {
            Self::UnknownClient => "This portal lets only the platform command in this way.",
            Self::OddRequest => "A part of the request is missing or not what it should be.",
            Self::UnsupportedGrant => "This address gives tokens for another kind of grant.",
            Self::OddCode => "The code is unknown, was used already, or belongs to another request.",
            Self::OddRefresh => {
                "This sign-in has ended, or the refresh token was used already. Sign in again."
            }
            Self::Pending => "Nobody has said yes yet.",
            Self::TooFast => "Ask less often.",
            Self::Expired => "Nobody said yes in time. Start again.",
            Self::SaidNo => "The person said no.",
        }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        refused(OauthError { error: self.code().into(), error_description: self.sentence().into() })
    }
}

pub fn refused(error: OauthError) -> Response {
    (StatusCode::BAD_REQUEST, Json(error)).into_response()
}

/// What a program calls the machine it runs on, as it may be shown.
pub fn host(told: &str) -> String {
    told.chars().filter(|c| !c.is_control()).take(LONGEST_HOST).collect::<String>().trim().into()
}

/// "platform on laptop".
pub fn name(host: &str) -> String {
    if host.is_empty() { "platform".into() } else { format!("platform on {host}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_short_line() {
        assert_eq!(host(" maya\u{0}-laptop\r\n"), "maya-laptop");
        assert_eq!(host(&"x".repeat(200)).len(), 60);
        assert_eq!((name("").as_str(), name("laptop").as_str()), ("platform", "platform on laptop"));
    }
}
