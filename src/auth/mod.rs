//! Who is asking, and what that lets them do.
//!
//! A person signs in at the company's identity provider (`oidc.rs`), which leaves a session (`session.rs`): a
//! random secret in a cookie, its hash in a row. `session::load` turns the cookie back into a [`CurrentUser`]
//! before any handler runs. What the person may do in a cluster is asked of the cluster itself (`access.rs`).

pub mod access;
mod current_user;
mod guard;

pub use current_user::{CurrentUser, Identity, KubeIdentity, OddClaim, Person, initials};
pub use guard::{require_platform, require_signed_in};
