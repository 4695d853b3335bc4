//! The built-in development identity provider: a real OpenID Connect provider with made-up people, so that the
//! portal signs people in on a laptop exactly as it does at a company. `platform identity-provider` runs it.
//!
//! ```text
//! /.well-known/openid-configuration   who we are, with the mark `pilothouse_development`
//! /authorize ──▶ a page with the people ──▶ back with a code (once, 60 s, PKCE S256 only)
//! /token      the code becomes a signed ID token        (tokens.rs, keys.rs)
//!             with a refresh token, good once, for the next one
//! /userinfo   the same claims                           /end-session   back to the portal
//! ```
//! Anybody can be anybody here. So it listens on loopback only, sends people back to this machine only, and
//! `platform serve` takes it only where the configuration says so, on localhost.

mod authorize;
mod keys;
mod people;
mod tokens;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use axum_extra::extract::Query;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use url::Url;

pub use authorize::is_on_this_machine;
pub use keys::Keys;
pub use people::{People, Sample};

use crate::clock::Clock;
use crate::web::assets;
use tokens::{Code, SignIn, Ticket};

/// The arguments of `platform identity-provider`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where to listen; loopback only.
    #[arg(long, default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,
    /// Who can sign in.
    #[arg(long, default_value = "demo/people.toml")]
    pub people: PathBuf,
    /// The issuer, as the portal's configuration names it. Default: http:// and the address above.
    #[arg(long)]
    pub issuer: Option<Url>,
    /// Keeps the signing key in this file, so that a restart changes nothing. Made when absent.
    #[arg(long)]
    pub key: Option<PathBuf>,
}

/// `platform identity-provider`: runs until Ctrl-C or SIGTERM.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let listen = arguments.listen;
    ensure!(listen.ip().is_loopback(), "{listen} is not loopback: anybody can sign in as anybody here");
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}: give another address with --listen"))?;
    let issuer = match arguments.issuer {
        Some(issuer) => issuer.as_str().trim_end_matches('/').to_string(),
        None => format!("http://{listen}"),
    };
    let keys = match &arguments.key {
        Some(file) => Keys::kept_in(file)?,
        None => Keys::generate()?,
    };
    let people = People::load(&arguments.people)?;
    eprintln!("{} people can sign in at {issuer}", people.all().len());
    let provider = Provider::new(issuer, people, keys, Clock::System);
    axum::serve(listener, router(provider)).with_graceful_shutdown(crate::server::stop_signal()).await?;
    Ok(())
}

/// One provider: who it is, who it knows, and the codes and tickets that are out. Nothing of it outlives the process
/// but, if asked for, the key.
pub struct Provider {
    issuer: String,
    people: Mutex<People>,
    keys: Keys,
    clock: Clock,
    codes: Mutex<BTreeMap<String, Code>>,
    tickets: Mutex<BTreeMap<String, Ticket>>,
    sign_ins: Mutex<BTreeMap<String, SignIn>>,
}

impl Provider {
    /// `issuer` is without a slash at its end.
    pub fn new(issuer: String, people: People, keys: Keys, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            issuer,
            people: Mutex::new(people),
            keys,
            clock,
            codes: Mutex::default(),
            tickets: Mutex::default(),
            sign_ins: Mutex::default(),
        })
    }

    /// From now on this person is in these groups; whoever has signed in learns of it at their next refresh.
    pub fn put_into(&self, username: &str, groups: &[&str]) {
        if let Some(person) = self.people().named(username) {
            person.groups = groups.iter().map(ToString::to_string).collect();
        }
    }

    /// From now on nobody of this name can sign in or refresh.
    pub fn disable(&self, username: &str) {
        self.people().remove(username);
    }

    fn people(&self) -> MutexGuard<'_, People> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

/// All of the provider's addresses.
pub fn router(provider: Arc<Provider>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/jwks", get(jwks))
        .route("/authorize", get(authorize::page).post(authorize::choose))
        .route("/token", post(tokens::exchange))
        .route("/userinfo", get(tokens::userinfo))
        .route("/end-session", get(end_session))
        .route("/static/{version}/{*path}", get(assets::serve))
        .layer(from_fn(headers))
        .with_state(provider)
}

/// OpenID Connect Discovery 1.0, section 3.
async fn discovery(State(provider): State<Arc<Provider>>) -> Json<serde_json::Value> {
    let at = |path: &str| format!("{}{path}", provider.issuer);
    Json(json!({
        "issuer": provider.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"),
        "jwks_uri": at("/jwks"),
        "end_session_endpoint": at("/end-session"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["openid", "profile", "email", "groups"],
        "claims_supported": ["sub", "preferred_username", "name", "email", "groups"],
        "authorization_response_iss_parameter_supported": true,
        "pilothouse_development": true,
    }))
}

async fn jwks(State(provider): State<Arc<Provider>>) -> Json<serde_json::Value> {
    Json(provider.keys.public())
}

#[derive(Deserialize)]
struct EndSession {
    post_logout_redirect_uri: Option<String>,
    state: Option<String>,
}

/// RP-Initiated Logout 1.0. There is no session of our own to end: everybody is asked who they are each time.
async fn end_session(Query(wanted): Query<EndSession>) -> Response {
    let back = wanted.post_logout_redirect_uri.and_then(|back| Url::parse(&back).ok());
    match back.filter(|back| is_on_this_machine(back, "/signed-out")) {
        Some(mut back) => {
            if let Some(state) = wanted.state {
                back.query_pairs_mut().append_pair("state", &state);
            }
            Redirect::to(back.as_str()).into_response()
        }
        None => "You are signed out.\n".into_response(),
    }
}

/// As strict as the portal's own, but for the way back: browsers hold a form's redirect against `form-action`.
async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
                  form-action 'self' http://localhost:* http://127.0.0.1:*; base-uri 'none'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
