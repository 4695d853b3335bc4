//! Signing in with a code (RFC 8628): shown here, confirmed in a browser anywhere, asked for until it is.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;

use super::failure::Failure;
use super::login::{CLIENT, TokenAnswer, host};
use super::portal::Portal;
use super::print::{clean, say};
use super::refresh::Credential;
use super::wording;

/// RFC 8628, 3.2.
#[derive(Debug, Deserialize)]
struct Code {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    #[serde(default = "usual_interval")]
    interval: u64,
}

fn usual_interval() -> u64 {
    5
}

pub async fn sign_in(portal: &Portal) -> Result<Credential, Failure> {
    let form = [("client_id", CLIENT), ("host", &host())];
    let code: Code = portal.post_form(portal.url(&["device", "code"]), &form).await?;
    let address = code.verification_uri_complete.as_deref().unwrap_or(&code.verification_uri);
    say(&wording::code(&clean(address), &clean(&code.user_code)));

    let until = Instant::now() + Duration::from_secs(code.expires_in);
    let mut interval = Duration::from_secs(code.interval.max(1));
    let form = [
        ("client_id", CLIENT),
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", &code.device_code),
    ];
    while Instant::now() < until {
        tokio::time::sleep(interval).await;
        match portal.post_form(portal.url(&["device", "token"]), &form).await {
            Ok(TokenAnswer::Granted(granted)) => return Ok(Credential::granted(granted, Timestamp::now())),
            Ok(TokenAnswer::Refused { error }) => match error.as_str() {
                "authorization_pending" => {}
                "slow_down" => interval += Duration::from_secs(5),
                "expired_token" => break,
                error => return Err(Failure::SignIn(wording::refused_sign_in(error))),
            },
            // A portal that is away for a moment has not forgotten the code.
            Err(Failure::Away { .. }) => interval += Duration::from_secs(1),
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::SignIn(wording::code_expired()))
}
