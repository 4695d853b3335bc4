//! The door: which requests reach a handler at all (`web::routes` names the guard of each route).

use std::convert::Infallible;

use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use url::{Position, Url};

use super::bearer::{Stranger, UsedToken};
use super::next::Next as Target;
use super::session::Unknown;
use super::{CurrentUser, Scope, wording};
use crate::app::App;
use crate::web::Error;

/// Set by `Platform` members only; put into the request by `session::load`.
#[derive(Clone, Copy)]
pub struct IsPlatform;

/// Lets signed-in people through. A page sends everybody else to sign in and back; anything else is refused.
pub async fn require_signed_in(request: Request, next: Next) -> Response {
    if request.extensions().get::<CurrentUser>().is_some() {
        return next.run(request).await;
    }
    if request.extensions().get::<Unknown>().is_some() {
        return database_away().into_response();
    }
    if request.method() != Method::GET {
        return signed_out().into_response();
    }
    if request.headers().contains_key("hx-request") {
        return sign_in_whole_page(request.headers());
    }
    let here = request.uri().path_and_query().map(|path| path.as_str());
    Redirect::to(&Target::or_home(here).on("/sign-in")).into_response()
}

/// A part of a page was asked for: the whole page goes to sign in, and comes back to where it was. A redirect
/// would put the sign-in page into the part.
fn sign_in_whole_page(headers: &HeaderMap) -> Response {
    let page = headers.get("hx-current-url").and_then(|url| url.to_str().ok()?.parse::<Url>().ok());
    let here = page.map(|url| url[Position::BeforePath..Position::AfterQuery].to_string());
    let to = Target::or_home(here.as_deref()).on("/sign-in");
    (StatusCode::UNAUTHORIZED, [("hx-redirect", to)]).into_response()
}

pub fn signed_out() -> Error {
    Error::Forbidden("Your sign-in has ended. Sign in again; nothing was changed.".into())
}

/// Nobody is signed out because the database is away: the cookie is good again once it is back.
pub fn database_away() -> Error {
    Error::Unavailable(
        "The portal can’t reach its database, so it can’t tell who you are. You are still signed in. Try again in a moment.".into(),
    )
}

/// Lets through who shows a token with this scope, or is signed in in a browser. Everybody else is told what is
/// wrong, and is sent nowhere: it is a program that asks.
pub async fn require_scope(scope: Scope, request: Request, next: Next) -> Response {
    let known = request.extensions();
    if known.get::<CurrentUser>().is_none() {
        let refused = match (known.get::<Stranger>(), known.get::<Unknown>()) {
            (Some(Stranger::Undecided), _) | (None, Some(_)) => database_away(),
            (Some(Stranger::TooMany), _) => Error::TooMany(wording::TOO_MANY_TOKENS.into()),
            (stranger, _) => Error::Unauthorized(wording::stranger(stranger.copied()).into()),
        };
        return refused.into_response();
    }
    match known.get::<UsedToken>().map(|token| token.may(scope)) {
        Some(Err(refused)) => refused.into_response(),
        Some(Ok(())) | None => next.run(request).await,
    }
}

/// Lets the platform team through; to everybody else the page does not exist.
pub async fn require_platform(request: Request, next: Next) -> Response {
    if request.extensions().get::<CurrentUser>().is_some()
        && request.extensions().get::<IsPlatform>().is_none()
    {
        return Error::NotFound.into_response();
    }
    require_signed_in(request, next).await
}

impl FromRequestParts<App> for CurrentUser {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Error> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Error::Forbidden("Sign in first.".into()))
    }
}

impl OptionalFromRequestParts<App> for CurrentUser {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}
