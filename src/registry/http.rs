//! The wire: one question to a registry, with the token it wants, within limits of time and size.
//! Registries of the configuration are trusted to name addresses (their token service, their storage); any other
//! is spoken to by https at public addresses only.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use http::header::{ACCEPT, AUTHORIZATION, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use moka::future::Cache;
use reqwest::{Client, Response, redirect};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::auth::{self, Challenge};
use super::guard::{self, NotPublic, PublicOnly};
use super::login::Login;
use super::{ImageRef, RegistryError};
use crate::config;

const CONNECT: Duration = Duration::from_secs(3);
const WHOLE: Duration = Duration::from_secs(8);
/// Tokens live for at least a minute by their specification.
const KEEP_TOKEN: Duration = Duration::from_secs(50);
const MAX_TOKEN: usize = 256 * 1024;

pub struct Http {
    trusted: Client,
    guarded: Client,
    configured: BTreeMap<String, config::Registry>,
    tokens: Cache<String, HeaderValue>,
}

/// A registry's answer, read to its end.
pub struct Answer {
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Http {
    pub fn new(configured: &BTreeMap<String, config::Registry>) -> anyhow::Result<Self> {
        let client = || {
            Client::builder()
                .user_agent(concat!("pilothouse/", env!("CARGO_PKG_VERSION")))
                .redirect(redirect::Policy::none())
                .connect_timeout(CONNECT)
                .timeout(WHOLE)
        };
        // A proxy would resolve names itself, behind the guard's back.
        let guarded = client().no_proxy().dns_resolver(PublicOnly).build();
        Ok(Self {
            trusted: client().build().context("cannot set up TLS for registries")?,
            guarded: guarded.context("cannot set up TLS for registries")?,
            configured: configured.clone(),
            tokens: Cache::builder().max_capacity(1_000).time_to_live(KEEP_TOKEN).build(),
        })
    }

    /// The address of something in the image's repository.
    pub fn url(&self, image: &ImageRef, path: &str) -> Result<Url, RegistryError> {
        let host = match image.host() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let scheme = if self.configured.get(image.host()).is_some_and(|known| known.insecure) {
            "http"
        } else {
            "https"
        };
        format!("{scheme}://{host}/v2/{}/{path}", image.repository())
            .parse()
            .map_err(|_| RegistryError::NotConfigured(image.host().into()))
    }

    /// An API call. A redirect is refused: nothing in the API has reason to live elsewhere.
    pub async fn call(
        &self,
        method: Method,
        image: &ImageRef,
        url: Url,
        accept: &'static str,
        limit: usize,
    ) -> Result<Answer, RegistryError> {
        let response = self.authorized(method, image, &url, accept).await?;
        finish(image, response, limit).await
    }

    /// A blob. Registries send these from their storage, often another host: that one redirect is followed,
    /// without the token. The caller checks the digest, so the storage need not be trusted.
    pub async fn blob(&self, image: &ImageRef, url: Url, limit: usize) -> Result<Vec<u8>, RegistryError> {
        let mut response = self.authorized(Method::GET, image, &url, "*/*").await?;
        if response.status().is_redirection() {
            let storage = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            let storage = storage.and_then(|to| url.join(to).ok());
            let storage =
                storage.ok_or_else(|| RegistryError::odd(image.host(), "it redirects to nowhere"))?;
            response = self.once(Method::GET, image, &storage, "*/*", None).await?;
        }
        Ok(finish(image, response, limit).await?.body)
    }

    /// Asks, and asks again with the token that the first answer wanted.
    async fn authorized(
        &self,
        method: Method,
        image: &ImageRef,
        url: &Url,
        accept: &'static str,
    ) -> Result<Response, RegistryError> {
        let name = image.name();
        let known = self.tokens.get(&name).await;
        let response = self.once(method.clone(), image, url, accept, known).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        self.tokens.invalidate(&name).await;
        let ours = self.configured.get(image.host()).and_then(ours);
        let Some(authorization) = self.authorization(image, response.headers(), ours).await? else {
            return Ok(response);
        };
        self.tokens.insert(name, authorization.clone()).await;
        self.once(method, image, url, accept, Some(authorization)).await
    }

    /// Whether somebody else's password lets the image be read; with None, whether anybody may. `Ok(false)`: it was not
    /// even asked for. Nothing is remembered.
    pub async fn lets_in(
        &self,
        image: &ImageRef,
        url: Url,
        accept: &'static str,
        login: Option<&Login>,
    ) -> Result<bool, RegistryError> {
        let response = self.once(Method::HEAD, image, &url, accept, None).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return finish(image, response, 0).await.map(|_| false);
        }
        let theirs = login.and_then(|login| basic(&login.username, &login.password));
        let response = match self.authorization(image, response.headers(), theirs).await? {
            Some(authorization) => self.once(Method::HEAD, image, &url, accept, Some(authorization)).await?,
            None => response,
        };
        finish(image, response, 0).await.map(|_| login.is_some())
    }

    /// What to send after a 401: the password where that is asked for, else a token bought with it.
    /// Without a password the token service is asked anonymously, which is how public images are read.
    async fn authorization(
        &self,
        image: &ImageRef,
        headers: &HeaderMap,
        basic: Option<HeaderValue>,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        match Challenge::of(headers) {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(basic),
            Some(Challenge::Bearer { realm, service }) => {
                let url = auth::token_url(&realm, service.as_deref(), image.repository());
                let response = self.once(Method::GET, image, &url, "application/json", basic).await?;
                let body = finish(image, response, MAX_TOKEN).await?.body;
                let token = auth::token(&body).and_then(|token| secret(&format!("Bearer {token}")));
                token
                    .map(Some)
                    .ok_or_else(|| RegistryError::odd(image.host(), "its token service gave no token"))
            }
        }
    }

    async fn once(
        &self,
        method: Method,
        image: &ImageRef,
        url: &Url,
        accept: &'static str,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let configured = self.configured.get(image.host());
        if url.scheme() != "https" && !configured.is_some_and(|known| known.insecure) {
            return Err(RegistryError::odd(image.host(), "it leads away from https"));
        }
        if configured.is_none() && !guard::names_public_host(url) {
            return Err(RegistryError::NotConfigured(image.host().into()));
        }
        let client = if configured.is_some() { &self.trusted } else { &self.guarded };
        let mut request = client.request(method, url.clone()).header(ACCEPT, accept);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.map_err(|error| failure(image, &error))
    }
}

fn ours(registry: &config::Registry) -> Option<HeaderValue> {
    basic(registry.username.as_ref()?, registry.password.as_ref()?)
}

fn basic(username: &str, password: &SecretString) -> Option<HeaderValue> {
    let pair = format!("{username}:{}", password.expose_secret());
    secret(&format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Turns the status into an error, or reads the body as far as `limit` bytes.
async fn finish(image: &ImageRef, mut response: Response, limit: usize) -> Result<Answer, RegistryError> {
    let host = image.host();
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(RegistryError::Denied { host: host.into(), repository: image.repository().into() });
        }
        StatusCode::NOT_FOUND => return Err(RegistryError::NotFound(image.to_string())),
        StatusCode::TOO_MANY_REQUESTS => {
            return Err(RegistryError::unreachable(host, "too many requests, it asks to wait"));
        }
        status if status.is_server_error() => {
            return Err(RegistryError::unreachable(host, format!("it says {status}")));
        }
        status => return Err(RegistryError::odd(host, format!("it says {status}"))),
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(image, &error))? {
        if body.len() + chunk.len() > limit {
            return Err(RegistryError::odd(host, format!("it is over {} KiB long", limit / 1024)));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { url: response.url().clone(), headers: response.headers().clone(), body })
}

/// A failed exchange in words: the innermost cause says it best ("Connection refused").
fn failure(image: &ImageRef, error: &reqwest::Error) -> RegistryError {
    let mut cause = error.source();
    let mut innermost = String::from("the connection broke");
    while let Some(inner) = cause {
        if inner.is::<NotPublic>() {
            return RegistryError::NotConfigured(image.host().into());
        }
        innermost = inner.to_string();
        cause = inner.source();
    }
    if error.is_timeout() {
        innermost = format!("nothing came within {} s", WHOLE.as_secs());
    }
    RegistryError::unreachable(image.host(), innermost)
}
