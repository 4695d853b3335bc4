//! What every response gets: security headers, and an error page in place of a bare status.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::{Error, ErrorPage};
use super::layout::Layout;
use crate::app::App;

/// Draws the page of an [`Error`], in the frame, with the sentence and the request id.
pub async fn error_pages(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let layout = Layout::from_request_parts(&mut parts, &app).await;
    let response = next.run(Request::from_parts(parts, body)).await;
    let (Some(error), Ok(layout)) = (response.extensions().get::<Arc<Error>>().cloned(), layout) else {
        return response;
    };
    let (title, sentence) = error.words();
    let page = ErrorPage { layout, status: error.status().as_u16(), title, sentence: &sentence };
    let mut drawn = match askama::Template::render(&page) {
        Ok(html) => (error.status(), axum::response::Html(html)).into_response(),
        Err(_) => error.status().into_response(),
    };
    if let Some(retry) = response.headers().get(header::RETRY_AFTER) {
        drawn.headers_mut().insert(header::RETRY_AFTER, retry.clone());
    }
    drawn
}

/// security.md, "Headers". Pages hold people's data, so nothing but static files may be stored.
pub async fn security_headers(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let issuer = app.config.oidc.issuer.get_ref();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'; form-action 'self' {issuer}; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
    );
    let fixed = [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ];
    for (name, value) in fixed {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if app.config.server.base_url.get_ref().scheme() == "https" {
        let year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
