//! Who is asking, and what that lets them do.
//!
//! ```text
//!  /sign-in ──▶ /sign-in/start ──▶ the company's provider ──▶ /auth/callback ──▶ where the person was
//!  (sign_in.rs)  state, nonce, PKCE        (oidc.rs)           claims.rs: who?     session.rs: a cookie, a row
//! ```
//! A person signs in at the company's identity provider, which leaves a session: a random secret in a cookie, its
//! hash in a row. `session::load` turns the cookie back into a [`CurrentUser`] before any handler runs; `guard.rs`
//! is the door of each route, `streams.rs` that of what lasts longer than a page. What the person may do in a cluster is asked of the cluster itself (`access.rs`).

pub mod access;
mod claims;
mod current_user;
mod guard;
mod limit;
mod next;
mod oidc;
pub mod session;
mod sign_in;
mod sign_out;
mod streams;
mod wording;

pub use current_user::{CurrentUser, Identity, KubeIdentity, OddClaim, Person, initials};
pub use guard::{require_platform, require_signed_in};
pub use limit::SignInLimit;
pub use next::Next;
pub use oidc::Provider;
pub use session::Sessions;
pub use streams::{Place, StreamDoor, Streams};

use crate::web::{Access, Routes};

pub fn routes() -> Routes {
    Routes::default()
        .get("/sign-in", Access::Public, sign_in::page)
        .get("/sign-in/start", Access::Public, sign_in::start)
        .get("/auth/callback", Access::Public, sign_in::callback)
        .post("/sign-out", Access::Public, sign_out::sign_out)
        .get("/signed-out", Access::Public, sign_out::signed_out)
}
