//! Forms are believed only when they were sent from our own pages. Browsers say so themselves: `Sec-Fetch-Site`,
//! and where that is missing, `Origin`. A request that carries neither is refused, so there is no token to forget.

use std::ops::Deref;

use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::Form;
use axum_extra::extract::FormRejection;
use serde::de::DeserializeOwned;

use super::error::Error;
use crate::app::App;

/// A form from one of our own pages, in the shape its handler asked for. Fields may repeat.
#[derive(Debug)]
pub struct VerifiedForm<T>(T);

impl<T> VerifiedForm<T> {
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for VerifiedForm<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned> FromRequest<App> for VerifiedForm<T> {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        same_origin(request.headers(), &app.config.origin()).map_err(Foreign::into_error)?;
        match Form::<T>::from_request(request, app).await {
            Ok(Form(form)) => Ok(Self(form)),
            Err(rejection) => Err(Error::BadRequest(shape(&rejection))),
        }
    }
}

/// Middleware: every request that may change something is checked, whatever its handler extracts. On the API, with an
/// `Authorization` header (`auth::session`), and where the provider calls, cookies count for nothing, so there is
/// nothing to protect.
pub async fn verify_same_origin(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let cookies_count = !super::is_api(path)
        && path != super::BACKCHANNEL_LOGOUT
        && !request.headers().contains_key(header::AUTHORIZATION);
    if !request.method().is_safe()
        && cookies_count
        && let Err(foreign) = same_origin(request.headers(), &app.config.origin())
    {
        tracing::warn!(?foreign, "a request from elsewhere was refused");
        return foreign.into_error().into_response();
    }
    next.run(request).await
}

/// Why a request does not count as sent from our pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Foreign {
    OtherSite,
    Unsaid,
}

impl Foreign {
    fn into_error(self) -> Error {
        Error::Forbidden(
            match self {
                Self::OtherSite => {
                    "This was sent from another site, so nothing was done. Open the page here and try again."
                }
                Self::Unsaid => {
                    "Your browser did not say which page this was sent from, so nothing was done. \
                     Use a browser from the last three years, or one that sends the Origin header."
                }
            }
            .into(),
        )
    }
}

/// `Sec-Fetch-Site` decides where it is there: scripts can't set it. `same-site` is not enough: a neighbour on
/// another subdomain is not us. Each header counts only if it is there once.
fn same_origin(headers: &HeaderMap, ours: &str) -> Result<(), Foreign> {
    match single(headers, "sec-fetch-site") {
        Said::Once("same-origin" | "none") => return Ok(()),
        Said::Once(_) | Said::Oddly => return Err(Foreign::OtherSite),
        Said::Not => {}
    }
    match single(headers, header::ORIGIN.as_str()) {
        Said::Once(origin) if origin == ours => Ok(()),
        Said::Once(_) | Said::Oddly => Err(Foreign::OtherSite),
        Said::Not => Err(Foreign::Unsaid),
    }
}

enum Said<'a> {
    Once(&'a str),
    Oddly,
    Not,
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Said<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (None, _) => Said::Not,
        (Some(Ok(value)), None) => Said::Once(value),
        (Some(_), _) => Said::Oddly,
    }
}

/// What is wrong with a form, naming the field. Our own pages send the right shape, so this is read by people who
/// write their own requests, and after an upgrade between opening a page and sending it.
fn shape(rejection: &FormRejection) -> String {
    let text = rejection.body_text();
    if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
        return "The form is larger than 256 KiB.".into();
    }
    if rejection.status() == axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE {
        return "Forms are sent as application/x-www-form-urlencoded.".into();
    }
    let detail = text.split_once(": ").map_or(text.as_str(), |(_, detail)| detail);
    if let Some(field) = quoted_after(detail, "missing field ") {
        return format!("The field “{field}” is missing. Open the page again and send it once more.");
    }
    if let Some(field) = quoted_after(detail, "unknown field ") {
        return format!(
            "There is no field “{field}” in this form. Open the page again and send it once more."
        );
    }
    match detail.split_once(": ") {
        Some((field, what)) => format!("The field “{field}” can’t be used: {what}."),
        None => format!("The form can’t be used: {detail}."),
    }
}

fn quoted_after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(words)?;
    rest.split('`').nth(1)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    const OURS: &str = "https://portal.example";

    fn verdict(pairs: &[(&'static str, &'static str)]) -> Result<(), Foreign> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        same_origin(&headers, OURS)
    }

    #[test]
    fn only_our_own_pages_and_the_person_themselves_may_send() {
        for ours in [
            vec![("sec-fetch-site", "same-origin")],
            vec![("sec-fetch-site", "none")],
            vec![("origin", OURS)],
            vec![("sec-fetch-site", "same-origin"), ("origin", OURS)],
        ] {
            assert_eq!(verdict(&ours), Ok(()), "{ours:?}");
        }
        for other in [
            vec![("sec-fetch-site", "cross-site")],
            vec![("sec-fetch-site", "same-site")],
            vec![("sec-fetch-site", "")],
            vec![("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
            vec![("sec-fetch-site", "cross-site"), ("origin", OURS)],
            vec![("origin", "https://evil.example")],
            vec![("origin", "null")],
            vec![("origin", "http://portal.example")],
            vec![("origin", "https://portal.example:444")],
            vec![("origin", "https://portal.example.evil.example")],
            vec![("origin", OURS), ("origin", "https://evil.example")],
        ] {
            assert_eq!(verdict(&other), Err(Foreign::OtherSite), "{other:?}");
        }
        assert_eq!(verdict(&[("referer", "https://portal.example/")]), Err(Foreign::Unsaid));
        assert_eq!(verdict(&[]), Err(Foreign::Unsaid));
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "read by the derive only")]
        replicas: u32,
        #[serde(default, rename = "pod")]
        pods: Vec<String>,
    }

    async fn parse(body: &'static str) -> Result<Sample, String> {
        let request = Request::builder()
            .method("POST")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.into())
            .unwrap();
        Form::<Sample>::from_request(request, &()).await.map(|Form(form)| form).map_err(|odd| shape(&odd))
    }

    #[tokio::test]
    async fn a_wrong_shape_is_told_by_its_field() {
        assert_eq!(parse("replicas=2&pod=a&pod=b").await.unwrap().pods, ["a", "b"]);
        let sentence = parse("pod=a").await.unwrap_err();
        assert!(sentence.starts_with("The field “replicas” is missing."), "{sentence}");
        let sentence = parse("replicas=two").await.unwrap_err();
        assert!(sentence.starts_with("The field “replicas” can’t be used: "), "{sentence}");
        let sentence = parse("replicas=1&extra=1").await.unwrap_err();
        assert!(sentence.contains("no field “extra”"), "{sentence}");
    }
}
