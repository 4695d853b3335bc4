//! The API: what the pages do, for programs. Each handler asks the function that the page asks and draws its answer as
//! JSON (`types.rs`, the shapes that the `platform` command reads as well).
//!
//! ```text
//! Authorization: Bearer ph_… ─▶ auth::bearer (who) ─▶ limit.rs ─▶ the route's scope ─▶ handler ─▶ answer.rs
//!                                                                       every refusal ─▶ problem.rs
//! ```
//! `document.rs` puts the handlers' own descriptions together into the OpenAPI document, `reference.rs` draws it as a
//! page. docs/openapi.json is the same document under review: a test compares.

mod access;
mod answer;
mod approvals;
mod ask;
mod changes;
mod deploys;
mod document;
mod draw;
mod limit;
mod logs;
mod machines;
mod places;
mod problem;
mod reference;
mod services;
mod tokens;
pub mod types;
mod who;

pub use answer::ApiState;
pub use document::print;
pub use limit::limit;
pub use problem::problems;

use crate::auth::Scope::{Approve, Deploy, Read};
use crate::web::{Access, Routes};

pub fn routes() -> Routes {
    use Access::Api;
    Routes::default()
        .get("/api", Access::SignedIn, reference::show)
        .get("/api/openapi.json", Access::Public, document::show)
        .get("/api/v1/whoami", Api(Read), who::whoami)
        .get("/api/v1/environments", Api(Read), who::environments)
        .get("/api/v1/services", Api(Read), services::list)
        .get("/api/v1/services/{name}", Api(Read), services::show)
        .get("/api/v1/services/{name}/environments/{environment}", Api(Read), places::status)
        .get("/api/v1/services/{name}/environments/{environment}/versions", Api(Read), places::versions)
        .get("/api/v1/services/{name}/environments/{environment}/plan", Api(Read), places::plan)
        .get("/api/v1/services/{name}/environments/{environment}/logs", Api(Read), logs::logs)
        .post("/api/v1/services/{name}/environments/{environment}/deploys", Api(Deploy), changes::deploy)
        .post("/api/v1/services/{name}/environments/{environment}/scale", Api(Deploy), changes::scale)
        .post("/api/v1/services/{name}/environments/{environment}/restart", Api(Deploy), changes::restart)
        .post("/api/v1/services/{name}/environments/{environment}/rollback", Api(Deploy), changes::rollback)
        .post("/api/v1/services/{name}/environments/{environment}/migrations", Api(Deploy), changes::migrate)
        .get("/api/v1/deploys", Api(Read), deploys::list)
        .get("/api/v1/deploys/{id}", Api(Read), deploys::show)
        .get("/api/v1/deploys/{id}/events", Api(Read), deploys::events)
        .get("/api/v1/deploys/{id}/logs", Api(Read), logs::of_deploy)
        .get("/api/v1/approvals", Api(Read), approvals::inbox)
        .post("/api/v1/deploys/{id}/decision", Api(Approve), approvals::decide)
        .post("/api/v1/deploys/{id}/cancellation", Api(Deploy), deploys::cancel)
        .post("/api/v1/deploys/{id}/promotion", Api(Deploy), deploys::promote)
        .get("/api/v1/glass-reviews", Api(Read), approvals::broken_glass)
        .post("/api/v1/glass-reviews/{id}/sign-off", Api(Approve), approvals::sign_off)
        .get("/api/v1/access-roles", Api(Read), access::roles)
        .get("/api/v1/access-requests", Api(Read), access::list)
        .post("/api/v1/access-requests", Api(Deploy), access::ask)
        .get("/api/v1/access-requests/{id}", Api(Read), access::show)
        .post("/api/v1/access-requests/{id}/decision", Api(Approve), access::decide)
        .post("/api/v1/access-requests/{id}/withdrawal", Api(Deploy), access::withdraw)
        .post("/api/v1/access-requests/{id}/end", Api(Deploy), access::end)
        .get("/api/v1/machines", Api(Read), machines::list)
        .get("/api/v1/machines/{name}/tokens", Api(Read), machines::tokens)
        .post("/api/v1/machines/{name}/tokens", Api(Read), machines::mint)
        .delete("/api/v1/machines/{name}/tokens/{id}", Api(Read), machines::revoke)
        .get("/api/v1/tokens", Api(Read), tokens::list)
        .post("/api/v1/tokens", Api(Read), tokens::mint)
        .delete("/api/v1/tokens/{id}", Api(Read), tokens::revoke)
}
