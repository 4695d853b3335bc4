//! Image registries, read through the OCI distribution API: which versions an image has, and which bytes a
//! reference stands for. Everything here only reads.
//!
//! ```text
//! text of a form ── ImageRef (reference.rs) ── Registry (client.rs) ── tags.rs      versions, newest first
//!                   strict grammar             │                   └─ manifest.rs  reference → digest
//!                                              └─ http.rs: tokens, limits, no way into the private network
//! ```
//!
//! What a pull secret holds (`login.rs`) is tried and forgotten.
//!
//! References come from a form, so a registry that the configuration does not name may only be at a public
//! address (`guard.rs`).

mod auth;
mod client;
mod error;
mod guard;
mod http;
mod login;
mod manifest;
mod reference;
mod tags;
mod version;

pub use client::Registry;
pub use error::RegistryError;
pub use login::Login;
pub use manifest::{Origin, Resolved};
pub use reference::{Digest, ImageRef, OddReference};
pub use tags::Tag;
