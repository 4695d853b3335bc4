//! What a person reads when something can't be done: a sentence and a request id. The cause is logged once, here.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Why a request was not answered with a page. Slices turn their own refusals into one of these.
#[derive(Debug)]
pub enum Error {
    /// Not there, or not yours: the two can't be told apart from outside.
    NotFound,
    /// A program has to say who it is; the sentence says what is wrong with what it said.
    Unauthorized(String),
    /// Signed in, but not allowed: the sentence says what is missing and who can grant it.
    Forbidden(String),
    /// The request itself is wrong; the sentence says how to mend it.
    BadRequest(String),
    /// It was right when the page was drawn and is not any more.
    Conflict(String),
    /// Too many of them.
    TooMany(String),
    /// Something the portal needs is away: database, cluster or identity provider.
    Unavailable(String),
    /// A fault of ours. The person sees the request id, the log has the cause.
    Internal(anyhow::Error),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl<E: Into<anyhow::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        let error = error.into();
        match error.downcast_ref::<sqlx::Error>() {
            Some(cause) if is_away(cause) => {
                tracing::error!(error = format!("{error:#}"), "the database is away");
                Self::Unavailable(
                    "The portal can’t reach its database. Nothing was changed. Try again in a moment.".into(),
                )
            }
            _ => Self::Internal(error),
        }
    }
}

/// The database can't be reached, is going down or coming up (class 57P), or lets nobody in (55000).
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::PoolClosed => true,
        sqlx::Error::Database(refusal) => {
            refusal.code().is_some_and(|code| code.starts_with("57P") || code == "55000")
        }
        _ => false,
    }
}

impl Error {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Heading and sentence of the page.
    pub fn words(&self) -> (&'static str, String) {
        match self {
            Self::NotFound => (
                "There is nothing here",
                "It may have been renamed, or it is not yours to see. Search finds services and pages."
                    .into(),
            ),
            Self::Unauthorized(sentence) => ("You are not signed in", sentence.clone()),
            Self::Forbidden(sentence) => ("You can’t do this", sentence.clone()),
            Self::BadRequest(sentence) => ("That request can’t be used", sentence.clone()),
            Self::Conflict(sentence) => ("Something moved meanwhile", sentence.clone()),
            Self::TooMany(sentence) => ("Too many requests", sentence.clone()),
            Self::Unavailable(sentence) => ("Something the portal needs is away", sentence.clone()),
            Self::Internal(_) => (
                "This page broke, your deploys did not",
                "Nothing you asked for was lost. Running deploys go on, and the rest of the portal works."
                    .into(),
            ),
        }
    }
}

/// The error travels as a response extension; `web::failure` draws the page, where layout and request id are known.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Self::Internal(cause) = &self {
            tracing::error!(cause = format!("{cause:#}"), "request failed");
        }
        let mut response = self.status().into_response();
        if matches!(self, Self::Unavailable(_) | Self::TooMany(_)) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if matches!(self, Self::Unauthorized(_)) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(std::sync::Arc::new(self));
        response
    }
}
