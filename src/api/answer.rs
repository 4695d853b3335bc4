//! How the API answers: JSON, with a tag that says which state it was, and answers that are a moment old where many
//! ask for the same.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use moka::future::Cache;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::limit::ChangeLimit;
use super::problem::{Refused, Result};
use crate::app::App;
use crate::auth::{CurrentUser, Identity};

/// Nobody notices a second; thousands of requests in it cost one.
const A_MOMENT: Duration = Duration::from_secs(1);

/// What the API shares between requests.
pub struct ApiState {
    answers: Cache<(Identity, String), Bytes>,
    pub(super) changes: ChangeLimit,
}

impl Default for ApiState {
    fn default() -> Self {
        Self {
            answers: Cache::builder().max_capacity(256).time_to_live(A_MOMENT).build(),
            changes: ChangeLimit::default(),
        }
    }
}

/// The answer to the same question by the same person, at most a second old. `question` tells questions apart.
pub async fn remembered<T: Serialize>(
    app: &App,
    user: &CurrentUser,
    headers: &HeaderMap,
    question: String,
    make: impl Future<Output = Result<T>>,
) -> Result<Response> {
    let key = (user.identity.clone(), question);
    let body = match app.api.answers.get(&key).await {
        Some(body) => body,
        None => {
            let body = Bytes::from(serde_json::to_vec(&make.await?)?);
            app.api.answers.insert(key, body.clone()).await;
            body
        }
    };
    Ok(tagged_bytes(headers, body))
}

/// JSON with its `ETag`; nothing but the tag where the caller has it already.
pub fn tagged<T: Serialize>(headers: &HeaderMap, value: &T) -> Result<Response> {
    Ok(tagged_bytes(headers, serde_json::to_vec(value)?.into()))
}

fn tagged_bytes(asked: &HeaderMap, body: Bytes) -> Response {
    let tag = tag(&body);
    let headers = [
        (header::ETAG, HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""))),
        // To be kept only by who asked, and to be asked about every time.
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
    ];
    if names(asked, header::IF_NONE_MATCH, &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// `If-Match`, where it is sent: the caller acts on a state it saw.
pub fn expect_unmoved<T: Serialize>(asked: &HeaderMap, value: &T) -> Result<()> {
    if !asked.contains_key(header::IF_MATCH) {
        return Ok(());
    }
    let tag = tag(&serde_json::to_vec(value)?);
    if names(asked, header::IF_MATCH, &tag) { Ok(()) } else { Err(Refused::moved()) }
}

fn tag(body: &[u8]) -> String {
    format!("\"{}\"", hex::encode(&Sha256::digest(body)[..16]))
}

/// Whether a list of tags names this one. A cache on the way may have made it a weak one.
fn names(asked: &HeaderMap, header: HeaderName, tag: &str) -> bool {
    let values = asked.get_all(header).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|other| other == "*" || other.trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn who_has_it_already_gets_the_tag_alone() {
        let first = tagged(&HeaderMap::new(), &"checkout").unwrap();
        let tag = first.headers()[header::ETAG].to_str().unwrap();
        assert_eq!(first.status(), 200);
        for known in [tag.to_string(), format!("\"other\", W/{tag}"), "*".into()] {
            let again = tagged(&with(header::IF_NONE_MATCH, &known), &"checkout").unwrap();
            assert_eq!(again.status(), 304, "{known}");
        }
        assert_eq!(tagged(&with(header::IF_NONE_MATCH, tag), &"ledger").unwrap().status(), 200);
        assert!(expect_unmoved(&with(header::IF_MATCH, tag), &"checkout").is_ok());
        assert!(expect_unmoved(&with(header::IF_MATCH, tag), &"ledger").is_err());
        assert!(expect_unmoved(&HeaderMap::new(), &"ledger").is_ok());
    }
}
