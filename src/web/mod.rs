//! What every page shares: the frame, the error page, static files, the router with its access table,
//! security headers, and the check that a form was sent from our own pages.

pub mod assets;
pub mod diff;
pub mod error;
pub mod escape;
mod failure;
pub mod filters;
pub mod form;
pub mod layout;
pub mod middleware;
mod origin;
#[cfg(test)]
mod parts;
pub mod routes;
pub mod sse;

pub use error::{Error, Result};
pub use failure::Failure;
pub use form::VerifiedForm;
pub use layout::{Layout, Nav};
pub use middleware::FormTarget;
pub use origin::client_address;
pub use routes::{Access, Route, Routes};

use axum::http::HeaderMap;

/// Where programs ask: a token in place of the cookie, problem details in place of error pages.
pub fn is_api(path: &str) -> bool {
    path.starts_with("/api/v1/")
}

/// Where the identity provider itself tells of sessions that are over. There is no browser, so no page that it could
/// have been sent from, and cookies count for nothing.
pub const BACKCHANNEL_LOGOUT: &str = "/auth/backchannel-logout";

/// The id that a person reads on an error page and an operator finds in the log.
pub fn request_id(headers: &HeaderMap) -> String {
    headers.get("x-request-id").and_then(|value| value.to_str().ok()).unwrap_or_default().to_string()
}
