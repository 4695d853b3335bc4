//! What every response gets: security headers, and an error page in place of a bare status.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::Error;
use super::failure::Failure;
use super::layout::Layout;
use crate::app::App;

/// Draws what failed: a handler's [`Error`], or what the router, an extractor or a limit refused with a bare status.
pub async fn error_pages(State(app): State<App>, request: Request, next: Next) -> Response {
    let asks_for_a_file = request.uri().path().starts_with("/static/");
    let (mut parts, body) = request.into_parts();
    let before = parts.clone();
    let response = next.run(Request::from_parts(parts, body)).await;
    parts = before;
    if parts.headers.contains_key("hx-request") && sends_to_sign_in(&response) {
        return whole_page_to_sign_in(&parts.headers);
    }
    if asks_for_a_file || response.status().as_u16() < 400 {
        return response;
    }
    let failure = match response.extensions().get::<Arc<Error>>() {
        Some(error) => Failure::of(error),
        None if is_page(&response) => return response,
        None => match Failure::bare(response.status(), &parts.method) {
            Some(failure) => failure,
            None => return response,
        },
    };
    let mut drawn = draw(&app, parts, failure).await;
    for name in [header::RETRY_AFTER, header::ALLOW] {
        if let Some(value) = response.headers().get(&name) {
            drawn.headers_mut().insert(name, value.clone());
        }
    }
    drawn
}

async fn draw(app: &App, mut parts: Parts, failure: Failure) -> Response {
    if parts.headers.contains_key("hx-request") {
        return failure.toast(&super::request_id(&parts.headers));
    }
    let Ok(layout) = Layout::from_request_parts(&mut parts, app).await else {
        return failure.status.into_response();
    };
    let path = parts.uri.path().strip_prefix("/services/").unwrap_or_default();
    let asked = path.split('/').next().filter(|name| app.catalogue.load().service(name).is_none());
    match (asked.filter(|name| !name.is_empty()), failure.status, &layout.user) {
        (Some(name), StatusCode::NOT_FOUND, Some(_)) => {
            let catalogue = app.catalogue.load();
            let near = catalogue.search(name).first().map(|service| service.name.clone());
            failure.no_service(name, near).page(layout)
        }
        _ => failure.page(layout),
    }
}

/// A page or a part of one that a handler drew itself, such as a form answered 422.
fn is_page(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| !kind.starts_with("text/plain"))
}

fn sends_to_sign_in(response: &Response) -> bool {
    let to = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    response.status().is_redirection() && to.is_some_and(|to| to.starts_with("/sign-in"))
}

/// A sign-in page inside a table would help nobody: the browser is sent there, and back to the page it shows.
fn whole_page_to_sign_in(headers: &HeaderMap) -> Response {
    let shown = headers.get("hx-current-url").and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|shown| url::Url::parse(shown).ok());
    let here = shown.map_or_else(|| "/".into(), |shown| shown[url::Position::BeforePath..].to_string());
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", &here).finish();
    (StatusCode::UNAUTHORIZED, [("hx-redirect", format!("/sign-in?{query}"))]).into_response()
}

/// Where the answer to a page's form may lead, besides the portal and the provider: an extension of its response.
#[derive(Clone)]
pub struct FormTarget(pub String);

/// security.md, "Headers". Pages hold people's data, so nothing but static files may be stored.
pub async fn security_headers(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let target = response.extensions().get::<FormTarget>().map(|FormTarget(to)| format!(" {to}"));
    let target = target.unwrap_or_default();
    let headers = response.headers_mut();
    let issuer = app.config.oidc.issuer.get_ref();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'; form-action 'self' {issuer}{target}; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
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
