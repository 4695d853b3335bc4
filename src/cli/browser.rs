//! Signing in through the browser of this machine (RFC 8252, 7.3): it comes back to a port that only this command
//! listens on, with a code that is worth nothing without the verifier kept here (PKCE, RFC 7636).

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::Html;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::failure::Failure;
use super::login::{CLIENT, TokenAnswer, host};
use super::portal::Portal;
use super::print::say;
use super::refresh::Credential;
use super::wording;

/// Signing in at the provider takes people a while.
const WITHIN: Duration = Duration::from_secs(600);

/// What the browser brings back.
#[derive(Debug, Deserialize)]
struct Back {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
}

pub async fn sign_in(portal: &Portal) -> Result<Credential, Failure> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let redirect = format!("http://{}/callback", listener.local_addr()?);
    let (verifier, state) = (secret(), secret());
    let address = address(portal, &redirect, &verifier, &state)?;
    let (tell, mut told) = mpsc::channel(1);
    let server = tokio::spawn(axum::serve(listener, router(state, tell)).into_future());
    if open(&address).is_ok() {
        say(&wording::browser_opened(&address));
    } else {
        say(&wording::open_yourself(&address));
    }
    let code = tokio::time::timeout(WITHIN, told.recv()).await;
    // A moment for the page that says "done"; then nobody listens any more.
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.abort();
    let code = match code {
        Ok(Some(Ok(code))) => code,
        Ok(Some(Err(error))) => return Err(Failure::SignIn(wording::refused_sign_in(&error))),
        Ok(None) | Err(_) => return Err(Failure::SignIn(wording::browser_never_came())),
    };
    let form = [
        ("client_id", CLIENT),
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("code_verifier", &verifier),
        ("redirect_uri", &redirect),
    ];
    match portal.post_form(portal.url(&["token"]), &form).await? {
        TokenAnswer::Granted(granted) => Ok(Credential::granted(granted, Timestamp::now())),
        TokenAnswer::Refused { error } => Err(Failure::SignIn(wording::refused_sign_in(&error))),
    }
}

fn address(portal: &Portal, redirect: &str, verifier: &str, state: &str) -> Result<String, Failure> {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    let mut url = portal.context.url.join("authorize").context("the portal’s address can’t be extended")?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", CLIENT)
        .append_pair("redirect_uri", redirect)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256")
        .append_pair("state", state)
        .append_pair("host", &host());
    Ok(url.into())
}

/// 256 bits, as RFC 7636, 7.1 wants them.
fn secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

type Tell = mpsc::Sender<Result<String, String>>;

fn router(state: String, tell: Tell) -> Router {
    Router::new().route("/callback", get(back)).with_state((state, tell))
}

/// Any page of this machine can send a browser here, so only the one with our state counts.
async fn back(State((state, tell)): State<(String, Tell)>, Query(back): Query<Back>) -> Html<&'static str> {
    if back.state.as_ref() != Some(&state) {
        return Html(wording::PAGE_NOT_OURS);
    }
    let (answer, page) = match back {
        Back { code: Some(code), .. } => (Ok(code), wording::PAGE_DONE),
        Back { error, .. } => (Err(error.unwrap_or_else(|| "no code".into())), wording::PAGE_REFUSED),
    };
    // The second of two answers is nobody's.
    let _ = tell.try_send(answer);
    Html(page)
}

/// Whether a browser can be opened where the person sits: not through SSH, and on Linux only with a display.
pub fn is_there() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if set("BROWSER") {
        return true;
    }
    let remote = set("SSH_CONNECTION") || set("SSH_TTY");
    !remote && (cfg!(target_os = "macos") || set("DISPLAY") || set("WAYLAND_DISPLAY"))
}

/// BROWSER, else the system's way. The address is an argument of its own: no shell reads it.
pub fn open(address: &str) -> Result<(), Failure> {
    let usual = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let program = std::env::var_os("BROWSER").filter(|program| !program.is_empty());
    let program = program.unwrap_or_else(|| usual.into());
    let mut command = Command::new(&program);
    command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| format!("can’t start {}", program.to_string_lossy()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_an_answer_with_our_state_counts() {
        let (tell, mut told) = mpsc::channel(1);
        let shared = State(("ours".to_string(), tell));
        let with = |state: &str, code: Option<&str>| {
            Query(Back {
                state: Some(state.into()),
                code: code.map(Into::into),
                error: Some("access_denied".into()),
            })
        };

        let Html(page) = back(shared.clone(), with("theirs", Some("code"))).await;
        assert_eq!(page, wording::PAGE_NOT_OURS);
        assert!(told.try_recv().is_err());

        let Html(page) = back(shared.clone(), with("ours", Some("code"))).await;
        assert_eq!(page, wording::PAGE_DONE);
        assert_eq!(told.try_recv(), Ok(Ok("code".into())));

        let Html(page) = back(shared, with("ours", None)).await;
        assert_eq!(page, wording::PAGE_REFUSED);
        assert_eq!(told.try_recv(), Ok(Err("access_denied".into())));
    }
}
