//! Access requests: a role in one namespace, for one person, for a while.
//!
//! Somebody asks (`request.rs`) for a role of the configuration. Others see exactly what would be given and decide
//! (`decision.rs`, rules in `gates.rs`). From there the engine carries it (`engine.rs`; `step.rs` decides, pure): it
//! writes one RoleBinding as the person who approved, since the portal can write nothing as itself, and takes it
//! back as them when the time is over. `ending.rs` takes it back earlier, `show.rs` and `list.rs` are the pages.
//!
//! ```text
//! requested ─┬─► granting ─► active ─► ending ─► ended
//!            │       │          └─────────────────► ended (somebody removed the binding)
//!            │       └─► failed · ending (too late to give it)
//!            └─► refused · withdrawn · expired · failed (the rules changed)
//! ```
//! `granting` and `ending` are written down before the cluster is asked, and both writes can be repeated: a process
//! that dies between a write and its record loses nothing. An `ending` that the cluster refuses stays one, is tried
//! again, and says so loudly: the person still has the role.
//!
//! `grant.rs` holds the states, the events and the legal transitions as data; `wording.rs` holds every sentence.

mod decision;
mod ending;
mod engine;
mod gates;
mod grant;
mod list;
mod request;
#[cfg(test)]
mod samples;
mod show;
mod step;
mod store;
mod wording;

pub use decision::{Decision, take as take_decision};
pub use ending::{end, withdraw};
pub use engine::run as run_engine;
pub use gates::Refusal;
pub use grant::{Grant, GrantId, State};
pub use list::{Which, numbers, waiting, waiting_grants};
pub use request::{Answer, Problem, Wanted, ask};
pub use show::visible;
pub use store::load_all;

use crate::web::{Access, Routes};

pub fn routes() -> Routes {
    use Access::SignedIn;
    Routes::default()
        .get("/access", SignedIn, list::list)
        .post("/access", SignedIn, request::request)
        .get("/access/new", SignedIn, request::form)
        .get("/access/{id}", SignedIn, show::show)
        .post("/access/{id}/decision", SignedIn, decision::decide)
        .post("/access/{id}/withdrawal", SignedIn, ending::take_back)
        .post("/access/{id}/end", SignedIn, ending::end_early)
}
