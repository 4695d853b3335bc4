//! Who is asking, and what that lets them do.
//!
//! ```text
//!  /sign-in ──▶ /sign-in/start ──▶ the company's provider ──▶ /auth/callback ──▶ where the person was
//!  (sign_in.rs)  state, nonce, PKCE        (oidc.rs)           claims.rs: who?     session.rs: a cookie, a row
//! ```
//! A person signs in at the company's identity provider, which leaves a session: a random secret in a cookie, its
//! hash in a row. `session::load` turns the cookie back into a [`CurrentUser`] before any handler runs; `guard.rs`
//! is the door of each route, `streams.rs` that of what lasts longer than a page. What the person may do in a cluster
//! is asked of the cluster itself (`access.rs`).
//!
//! Who somebody is was true at their sign-in; `refresh.rs` asks the provider again while they work
//! (`provider_session.rs` keeps what it needs for that, sealed by `seal.rs`).
//!
//! Programs show a token instead (`token.rs`; `bearer.rs` turns it into the same [`CurrentUser`], on the API only).
//! A person makes one on the settings page (`tokens_page.rs`), or lets a program in that asks for one (`program.rs`):
//! by a code (`device.rs`) or by the browser beside it (`authorize.rs`). The program then refreshes (`grant.rs`).
//!
//! A pipeline is no person: its CI system's token is exchanged for one of ours (`exchange.rs`), and what it may do
//! stands in the configuration (`machine.rs`).
//!
//! What began at the provider also ends there: it tells `backchannel.rs` of sessions that are over.

pub mod access;
pub mod authorize;
mod backchannel;
mod bearer;
mod ci_issuer;
mod claims;
mod current_user;
pub mod device;
mod exchange;
pub mod grant;
mod guard;
mod jwt;
mod limit;
mod logout_token;
pub mod machine;
mod next;
mod oidc;
mod program;
mod provider_session;
mod refresh;
mod scope;
mod seal;
pub mod session;
mod sign_in;
mod sign_out;
mod streams;
pub mod token;
mod tokens_page;
mod wording;

pub use bearer::{Tokens, UsedToken, load as load_token};
pub use ci_issuer::CiIssuers;
pub use current_user::{CurrentUser, Identity, KubeIdentity, OddClaim, Person, SetOffBy, initials};
pub use device::DeviceCode;
pub use guard::{require_platform, require_scope, require_signed_in};
pub use limit::AddressLimit;
pub use machine::OutOfBounds;
pub use next::Next;
pub use oidc::Provider;
pub use program::{AccessToken, OauthError};
pub use refresh::{DecidingUser, Refreshes};
pub use scope::{Scope, Scopes};
pub use session::Sessions;
pub use streams::{Place, StreamDoor, Streams};

use crate::web::{Access, BACKCHANNEL_LOGOUT, Routes};

pub fn routes() -> Routes {
    Routes::default()
        .get("/sign-in", Access::Public, sign_in::page)
        .get("/sign-in/start", Access::Public, sign_in::start)
        .get("/auth/callback", Access::Public, sign_in::callback)
        .post("/sign-out", Access::Public, sign_out::sign_out)
        .get("/signed-out", Access::Public, sign_out::signed_out)
        .post(BACKCHANNEL_LOGOUT, Access::Public, backchannel::logout)
        .get("/settings/tokens", Access::SignedIn, tokens_page::show)
        .post("/settings/tokens", Access::SignedIn, tokens_page::mint)
        .get("/settings/tokens/{id}/revocation", Access::SignedIn, tokens_page::revocation)
        .post("/settings/tokens/{id}/revocation", Access::SignedIn, tokens_page::revoke)
        .get("/device", Access::SignedIn, device::page)
        .post("/device", Access::SignedIn, device::decide)
        .post("/api/v1/device/code", Access::Public, device::code)
        .post("/api/v1/device/token", Access::Public, device::token)
        .get("/authorize", Access::SignedIn, authorize::page)
        .post("/authorize", Access::SignedIn, authorize::decide)
        .post("/api/v1/token", Access::Public, grant::token)
}
