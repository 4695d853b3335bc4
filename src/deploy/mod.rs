//! Deploys: asking for a change, deciding on it, carrying it out, watching it.
//!
//! A person fills in a form (`request.rs`; `change.rs` for restart, scale, roll back and migrate). `plan.rs` finds
//! out what would happen and what refuses it, as that person (`draft.rs` and `resize.rs` for the small forms; each
//! check a line of `checks.rs`; what runs there is looked up by `found.rs`, the versions on offer by `offer.rs`).
//! `submit.rs` stores the request in one transaction. Where the environment asks for it, others decide (`inbox.rs`,
//! `approval.rs`, rules in `gates.rs`). From there the engine carries it (`engine.rs`): it looks (`look.rs`),
//! decides (`step.rs`, pure), writes to the cluster as the person (`act.rs`), and records what happened
//! (`store.rs`). `show.rs` is the page that follows it live.
//!
//! ```text
//!                                             ┌─► shifting ─┐ (blue-green, canary)
//! requested ─┬─► awaiting_approval ─┬─► queued ─┴───────────┴─► applying ─► rolling_out ─► verifying ─► succeeded
//!            │                      │     ▲         │              │             │             │
//!            └──────────────────────┼─────┘         └──────────────┴─────────────┴──────┬──────┴─► failed
//!                                   └─► rejected · expired                              ▼
//!                                                                   rolling_back ─► rolled_back · rollback_failed
//! ```
//! A new version takes over pod by pod, or proves itself in a second Deployment first (`strategy.rs`): `ways.rs`
//! asks whether that can be done, `shift.rs` decides what comes next, `promotion.rs` is the hand that lets it go on.
//! In every way, `needs.rs` looks beforehand whether the pods could start, `pulls.rs` whether their pull secrets
//! work and `reads.rs` whether what they read is there, `smoke.rs` asks a new one whether it works, and `errors.rs`
//! asks Prometheus how many of its requests fail.
//!
//! What fails in a rollout or its soak is put back where the environment wants that and there is something to put back
//! (`back.rs`): a second write of the same deploy, with a marker of its own. A freeze (`config/freeze.rs`) holds a deploy in
//! `queued`.
//!
//! Who may break the glass (`glass.rs`) goes from `requested` to `queued` where others wait for approval, is held by no
//! freeze, and has somebody else look into it afterwards.
//!
//! Until something is written (`applying`) a deploy can be withdrawn (`cancelled`); from `awaiting_approval` on it
//! becomes void (`superseded`) when something it depends on moves. `state.rs` holds the states, the events and the
//! legal transitions as data, `deploy.rs` what is asked for; `wording/` holds every sentence.
//!
//! A migration (`migration.rs`, `migrate.rs`) goes the same way: its write is a Job, `rolling_out` is the time in which
//! the Job runs, and it is no release. It can be stopped while it runs; what it had done by then stays. So
//! can a version that proves itself: what runs was not touched.

mod act;
mod approval;
mod back;
mod cancellation;
mod change;
mod checks;
mod confirm;
mod counts;
#[expect(clippy::module_inception, reason = "the noun of this slice")]
mod deploy;
mod draft;
mod engine;
mod errors;
mod found;
mod gates;
pub mod glass;
mod inbox;
mod list;
mod look;
mod migrate;
mod migration;
mod needs;
mod offer;
mod pages;
mod plan;
mod promotion;
mod pulls;
mod reads;
pub mod render;
mod report;
mod request;
mod resize;
#[cfg(test)]
mod samples;
mod shift;
mod show;
mod smoke;
mod state;
mod step;
mod store;
mod strategy;
mod submit;
mod ways;
mod wording;

pub use approval::{Decision, take as take_decision};
pub use cancellation::withdraw;
pub use change::{Form as ChangeForm, Input as ChangeInput, ask as ask_for_change};
pub use checks::{Check, who_grants};
pub use counts::Counts;
pub use deploy::{Action, Deploy, DeployId, Digest, Size};
pub use engine::run as run_engine;
pub use found::version_of;
pub use gates::{Awaited, Refusal, Verdict};
pub use glass::{BrokenGlass, Glass};
pub use inbox::{Ask, Decided, decided, waiting, waiting_deploys};
pub use list::{Which, numbers};
pub use migration::Migration;
pub use offer::Rest;
pub use pages::{DeployPages, Moves, run as run_pages};
pub use plan::{Plan, Wish, plan};
pub use promotion::go_on;
pub use report::{Report, Shown};
pub use request::{Wanted, ask as ask_for_version, find as find_target};
pub use show::visible;
pub use state::{Event, State, apply};
pub use store::{has_ended, kept_log, load};
pub use submit::{Answer, in_bounds};
pub use wording::{any_of, ask_again, broken_glasses, tally, told};

use crate::web::{Access, Routes};

pub fn routes() -> Routes {
    use Access::SignedIn;
    Routes::default()
        .get("/deploys", SignedIn, list::list)
        .get("/deploys/{id}", SignedIn, show::show)
        .get("/deploys/{id}/live", SignedIn, show::live)
        .post("/deploys/{id}/approval", SignedIn, approval::decide)
        .post("/deploys/{id}/cancellation", SignedIn, cancellation::cancel)
        .post("/deploys/{id}/promotion", SignedIn, promotion::promote)
        .get("/services/{name}/{environment}/deploy", SignedIn, request::form)
        .post("/services/{name}/{environment}/deploy", SignedIn, request::request)
        .get("/services/{name}/{environment}/restart", SignedIn, change::restart_form)
        .post("/services/{name}/{environment}/restart", SignedIn, change::restart)
        .get("/services/{name}/{environment}/scale", SignedIn, change::scale_form)
        .post("/services/{name}/{environment}/scale", SignedIn, change::scale)
        .get("/services/{name}/{environment}/migrate", SignedIn, change::migrate_form)
        .post("/services/{name}/{environment}/migrate", SignedIn, change::migrate)
        .get("/services/{name}/{environment}/rollback", SignedIn, change::rollback_form)
        .post("/services/{name}/{environment}/rollback", SignedIn, change::rollback)
}
