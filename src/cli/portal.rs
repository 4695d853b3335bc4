//! The portal's API, asked as the person the token belongs to. What it refuses comes back as its own sentence.

use std::error::Error as _;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, redirect};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::args::Globals;
use super::config::{Config, Context};
use super::failure::Failure;
use super::refresh::Token;
use super::secret;
use crate::api::types::{Page, Problem};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// For everything that does not stream. The portal itself gives up after thirty seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);
/// The portal's streams show a sign of life more often than this.
const SILENCE: Duration = Duration::from_secs(90);
const MAX_ANSWER: usize = 64 * 1024 * 1024;

#[derive(Debug)]
pub struct Portal {
    http: Client,
    token: Option<Token>,
    pub context: Context,
}

impl Portal {
    /// The portal that is meant, with the token that is kept for it.
    pub fn of(globals: &Globals) -> Result<Self, Failure> {
        let context = Config::load()?.chosen(globals)?;
        let token = secret::token(&context.url, context.token)?;
        Self::at(context, token)
    }

    pub fn at(context: Context, token: Option<Token>) -> Result<Self, Failure> {
        // Set already is fine: there is only this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(concat!("platform/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENCE)
            // A token must not wander to another address.
            .redirect(redirect::Policy::none());
        if context.url.scheme() == "http" {
            // Reading the system's authorities takes longer than the request.
            builder = builder.tls_certs_only([]);
        } else if let Some(file) = &context.ca_file {
            let authorities =
                read_authorities(file).with_context(|| format!("--ca-file {}", file.display()))?;
            builder = builder.tls_certs_merge(authorities);
        }
        let http = builder.build().context("can’t prepare the connection")?;
        Ok(Self { http, token, context })
    }

    /// An address below `/api/v1`, each part escaped.
    pub fn url(&self, parts: &[&str]) -> Url {
        let mut url = self.context.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]).extend(parts);
        }
        url
    }

    /// The same with questions; what is `None` is not asked.
    pub fn url_with(&self, parts: &[&str], query: &[(&str, Option<&str>)]) -> Url {
        let mut url = self.url(parts);
        for (name, value) in query {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        url
    }

    pub async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, Failure> {
        self.read(self.request(Method::GET, url).timeout(ANSWER_WITHIN)).await
    }

    /// Up to `limit` items, over as many pages as that takes.
    pub async fn list<T: DeserializeOwned>(&self, url: Url, limit: usize) -> Result<Page<T>, Failure> {
        let mut found = Page { items: Vec::new(), next: None };
        loop {
            let mut url = url.clone();
            let wanted = (limit - found.items.len()).min(100).to_string();
            url.query_pairs_mut().append_pair("limit", &wanted);
            if let Some(cursor) = &found.next {
                url.query_pairs_mut().append_pair("cursor", cursor);
            }
            let page: Page<T> = self.get(url).await?;
            found.items.extend(page.items);
            found.next = page.next;
            if found.next.is_none() || found.items.len() >= limit {
                return Ok(found);
            }
        }
    }

    /// Asks for a change. The key makes it one change, even if the answer was lost and it is asked for again.
    pub async fn post<T: DeserializeOwned>(&self, url: Url, body: &impl Serialize) -> Result<T, Failure> {
        let key = uuid::Uuid::new_v4().to_string();
        let ask = || {
            let request = self.request(Method::POST, url.clone()).timeout(ANSWER_WITHIN);
            self.read(request.header("idempotency-key", &key).json(body))
        };
        match ask().await {
            Err(Failure::Away { .. }) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                ask().await
            }
            other => other,
        }
    }

    /// The sign-in endpoints take forms and answer refusals in OAuth's own shape.
    pub async fn post_form<T: DeserializeOwned>(
        &self,
        url: Url,
        form: &[(&str, &str)],
    ) -> Result<T, Failure> {
        self.post_form_within(url, form, ANSWER_WITHIN).await
    }

    pub async fn post_form_within<T: DeserializeOwned>(
        &self,
        url: Url,
        form: &[(&str, &str)],
        within: Duration,
    ) -> Result<T, Failure> {
        let request = self.request(Method::POST, url).timeout(within);
        let response = self.send_without_token(request.form(form)).await?;
        match response.status() {
            StatusCode::OK | StatusCode::BAD_REQUEST => self.body(response).await,
            _ => Err(self.refusal(response).await),
        }
    }

    pub async fn delete(&self, url: Url) -> Result<(), Failure> {
        self.checked(self.request(Method::DELETE, url).timeout(ANSWER_WITHIN)).await.map(drop)
    }

    /// A stream, from the place where the last one broke off.
    pub async fn stream(&self, url: Url, last_event: Option<&str>) -> Result<Response, Failure> {
        let mut request = self.request(Method::GET, url).header(ACCEPT, "text/event-stream");
        if let Some(id) = last_event {
            request = request.header("last-event-id", id);
        }
        self.checked(request).await
    }

    /// A piece of a stream; `None` where it ends.
    pub async fn chunk(&self, response: &mut Response) -> Result<Option<Vec<u8>>, Failure> {
        Ok(response.chunk().await.map_err(|error| self.away(&error))?.map(|bytes| bytes.to_vec()))
    }

    /// A request as it is, for `platform api`.
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// Its answer, whatever it says. A token that has had its time is replaced, and the request made again.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let Some(token) = &self.token else { return self.send_without_token(request).await };
        let (again, used) = (request.try_clone(), token.fresh(self).await?);
        let response = self.send_without_token(request.bearer_auth(used.expose_secret())).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(again) = again
            && let Some(next) = token.after(self, &used).await?
        {
            return self.send_without_token(again.bearer_auth(next.expose_secret())).await;
        }
        Ok(response)
    }

    /// Replaces the token if that is due. Whoever gives up on an answer should do so after this, not in the middle of it.
    pub async fn refresh(&self) -> Result<(), Failure> {
        match &self.token {
            Some(token) => token.fresh(self).await.map(drop),
            None => Ok(()),
        }
    }

    async fn send_without_token(&self, request: RequestBuilder) -> Result<Response, Failure> {
        request.send().await.map_err(|error| self.away(&error))
    }

    async fn checked(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = self.send(request).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let response = self.checked(request).await?;
        self.body(response).await
    }

    async fn body<T: DeserializeOwned>(&self, response: Response) -> Result<T, Failure> {
        let is_json = content_type(&response).contains("json");
        let bytes = self.bytes(response).await?;
        serde_json::from_slice(&bytes).map_err(|error| match is_json {
            true => self.not_a_portal(format!("its answer is of another version: {error}")),
            false => self.not_a_portal("its answer is no JSON".into()),
        })
    }

    async fn bytes(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            bytes.extend(chunk);
            if bytes.len() > MAX_ANSWER {
                return Err(self.not_a_portal("its answer does not end".into()));
            }
        }
        Ok(bytes)
    }

    async fn refusal(&self, response: Response) -> Failure {
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED && self.token.is_none() {
            return Failure::NotSignedIn { portal: self.name(), said: String::new() };
        }
        if status.is_redirection() {
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
            return self.not_a_portal(format!("it sends everybody on to {to}"));
        }
        let is_problem = content_type(&response).starts_with("application/problem+json");
        let bytes = match self.bytes(response).await {
            Ok(bytes) => bytes,
            Err(failure) => return failure,
        };
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) if is_problem && status == StatusCode::UNAUTHORIZED => {
                Failure::NotSignedIn { portal: self.name(), said: problem.detail }
            }
            Ok(problem) if is_problem => Failure::Problem(Box::new(problem)),
            // A proxy answers for a portal that is not there.
            _ if matches!(status.as_u16(), 502..=504) => {
                Failure::Away { portal: self.name(), why: format!("something before it answered {status}") }
            }
            _ => self.not_a_portal(format!("it answered {status}, and not in the portal’s form")),
        }
    }

    fn away(&self, error: &reqwest::Error) -> Failure {
        let why = causes(error);
        let portal = self.name();
        if why.contains("certificate") || why.contains("UnknownIssuer") {
            return Failure::Untrusted { portal, why };
        }
        let why = if error.is_timeout() { "no answer in time".into() } else { why };
        Failure::Away { portal, why }
    }

    pub fn not_a_portal(&self, what: String) -> Failure {
        Failure::NotAPortal { portal: self.name(), what }
    }

    /// As people know it: the address without the slash.
    pub fn name(&self) -> String {
        self.context.url.as_str().trim_end_matches('/').into()
    }
}

fn content_type(response: &Response) -> String {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_ascii_lowercase()
}

/// The innermost cause is the one that helps: "connection refused", "invalid peer certificate: UnknownIssuer".
fn causes(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

fn read_authorities(file: &std::path::Path) -> anyhow::Result<Vec<Certificate>> {
    let found = Certificate::from_pem_bundle(&std::fs::read(file)?)?;
    anyhow::ensure!(!found.is_empty(), "there is no certificate in this file; it has to be PEM");
    Ok(found)
}
