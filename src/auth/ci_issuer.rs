//! The keys of CI systems whose tokens are exchanged (`exchange.rs`). Only issuers that the configuration names are ever
//! asked; their discovery documents have not all that a sign-in needs, so only the address of the keys is read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use openidconnect::core::CoreJsonWebKeySet;
use openidconnect::{AsyncHttpClient, SignatureVerificationError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
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
    known: Mutex<HashMap<String, Arc<Mutex<Known>>>>,
}

#[derive(Default)]
struct Known {
    keys: Option<(CoreJsonWebKeySet, Instant)>,
    asked: Option<Instant>,
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

    /// Whether one of the issuer's keys signed the token. `issuer` is one that the configuration names.
    pub async fn prove(&self, issuer: &str, jwt: &Jwt<'_>) -> Result<(), Unproven> {
        let entry = self.known.lock().await.entry(issuer.into()).or_default().clone();
        // Held while the issuer is asked: one asks for all.
        let mut known = entry.lock().await;
        let is_old = known.keys.as_ref().is_none_or(|(_, at)| at.elapsed() >= FRESH);
        if is_old {
            match self.ask(issuer, &mut known).await {
                Err(error) if known.keys.is_none() => return Err(Unproven::Away(error)),
                // Old keys beat none.
                Ok(()) | Err(_) => {}
            }
        }
        match signed(&known, jwt) {
            Err(SignatureVerificationError::NoMatchingKey) if self.ask(issuer, &mut known).await.is_ok() => {
                Ok(signed(&known, jwt)?)
            }
            answer => Ok(answer?),
        }
    }

    async fn ask(&self, issuer: &str, known: &mut Known) -> anyhow::Result<()> {
        ensure!(known.asked.is_none_or(|at| at.elapsed() >= AGAIN), "it was asked a moment ago");
        known.asked = Some(Instant::now());
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let discovery: Discovery = self.fetch(&address).await.context("asking for its configuration")?;
        ensure!(discovery.issuer == issuer, "it calls itself {:?}", discovery.issuer);
        ensure!(is_safe(&discovery.jwks_uri), "its keys are not at an https address");
        let keys = self.fetch(discovery.jwks_uri.as_str()).await.context("asking for its keys")?;
        known.keys = Some((keys, Instant::now()));
        Ok(())
    }

    async fn fetch<T: DeserializeOwned>(&self, address: &str) -> anyhow::Result<T> {
        let request = http::Request::get(address).header("accept", "application/json").body(Vec::new())?;
        let answer = self.http.call(request).await?;
        ensure!(answer.status().is_success(), "{address} answers with {}", answer.status());
        serde_json::from_slice(answer.body()).with_context(|| format!("{address} is not what it should be"))
    }
}

fn signed(known: &Known, jwt: &Jwt<'_>) -> Result<(), SignatureVerificationError> {
    match &known.keys {
        Some((keys, _)) => jwt.signed_by(keys),
        None => Err(SignatureVerificationError::NoMatchingKey),
    }
}
