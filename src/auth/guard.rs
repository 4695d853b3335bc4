//! The door: which requests reach a handler at all (`web::routes` names the guard of each route).

use std::convert::Infallible;

use axum::extract::{FromRequestParts, OptionalFromRequestParts, Request};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::CurrentUser;
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
    if request.method() == Method::GET {
        let here = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", here).finish();
        return Redirect::to(&format!("/sign-in?{query}")).into_response();
    }
    Error::Forbidden("Your sign-in has ended. Sign in again; nothing was changed.".into()).into_response()
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
