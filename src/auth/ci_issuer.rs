//! The keys of CI systems whose tokens are exchanged (`exchange.rs`). Only issuers that the configuration names are ever
//! asked; their discovery documents have not all that a sign-in needs, so only the address of the keys is read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use arc_swap::ArcSwapOption;
use openidconnect::core::CoreJsonWebKeySet;
use openidconnect::{AsyncHttpClient, SignatureVerificationError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::jwt::Jwt;
use super::oidc::Http;
use crate::config::is_safe;

/// Keys are asked for again after this long.
const FRESH: Duration = Duration::from_secs(3_600);
/// An unknown key id, or a failure, leads to another question at most this often: anybody can send one.
const AGAIN: Duration = Duration::from_secs(10);

/// Why a signature could not be relied on.
#[derive(Debug, thiserror::Error)]
pub enum Unproven {
    #[error("its issuer gives no keys: {0:#}")]
    Away(anyhow::Error),
    #[error("{0}")]
    Signature(#[from] SignatureVerificationError),
}

/// The keys of every issuer that was asked.
pub struct CiIssuers {
    http: Http,
    known: Mutex<HashMap<String, Arc<Issuer>>>,
}

/// Whoever can be answered with known keys waits for nobody: only asking takes turns.
#[derive(Default)]
struct Issuer {
    keys: ArcSwapOption<Keys>,
    asking: tokio::sync::Mutex<LastAsked>,
}

struct Keys {
    set: CoreJsonWebKeySet,
    at: Instant,
}

#[derive(Default)]
struct LastAsked {
    at: Option<Instant>,
    /// Why it came to nothing, for those who ask too soon after.
    failed: Option<String>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: Url,
}

impl CiIssuers {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { http: Http::new()?, known: Mutex::default() })
    }

    /// Whether one of the issuer's keys signed the token. `name` is one that the configuration names.
    pub async fn prove(&self, name: &str, jwt: &Jwt<'_>) -> Result<(), Unproven> {
        let issuer =
            self.known.lock().unwrap_or_else(PoisonError::into_inner).entry(name.into()).or_default().clone();
        if let Some(keys) = issuer.keys.load_full().filter(|keys| keys.at.elapsed() < FRESH) {
            match jwt.signed_by(&keys.set) {
                Err(SignatureVerificationError::NoMatchingKey) => {} // it may be a new one
                answer => return Ok(answer?),
            }
        }
        let asked = self.ask(name, &issuer).await;
        match (issuer.keys.load_full(), asked) {
            // Old keys beat none.
            (Some(keys), _) => Ok(jwt.signed_by(&keys.set)?),
            (None, Err(error)) => Err(Unproven::Away(error)),
            (None, Ok(())) => Err(SignatureVerificationError::NoMatchingKey.into()),
        }
    }

    async fn ask(&self, name: &str, issuer: &Issuer) -> anyhow::Result<()> {
        let mut last = issuer.asking.lock().await;
        if last.at.is_some_and(|at| at.elapsed() < AGAIN) {
            bail!("{}", last.failed.as_deref().unwrap_or("it was asked a moment ago"));
        }
        last.at = Some(Instant::now());
        let answer = self.keys(name).await;
        last.failed = answer.as_ref().err().map(|error| format!("{error:#}"));
        issuer.keys.store(Some(Arc::new(Keys { set: answer?, at: Instant::now() })));
        Ok(())
    }

    async fn keys(&self, name: &str) -> anyhow::Result<CoreJsonWebKeySet> {
        let address = format!("{}/.well-known/openid-configuration", name.trim_end_matches('/'));
        let discovery: Discovery = self.fetch(&address).await.context("asking for its configuration")?;
        ensure!(discovery.issuer == name, "it calls itself {:?}", discovery.issuer);
        ensure!(is_safe(&discovery.jwks_uri), "its keys are not at an https address");
        self.fetch(discovery.jwks_uri.as_str()).await.context("asking for its keys")
    }

    async fn fetch<T: DeserializeOwned>(&self, address: &str) -> anyhow::Result<T> {
        let request = http::Request::get(address).header("accept", "application/json").body(Vec::new())?;
        let answer = self.http.call(request).await?;
        ensure!(answer.status().is_success(), "{address} answers with {}", answer.status());
        serde_json::from_slice(answer.body()).with_context(|| format!("{address} is not what it should be"))
    }
}
