//! The service catalogue: Backstage `catalog-info.yaml` files, imported into Postgres, held in memory as one
//! immutable snapshot that every page reads without a lock.
//!
//! ```text
//! files ─ walk ─ yaml ─ parse ─ import ─▶ Postgres ─ NOTIFY ─ store ─▶ Catalogue ─▶ list, show, search
//! ```

mod activity;
mod board;
pub mod command;
mod drift;
mod entities;
mod entity;
mod import;
mod last;
mod list;
mod migration;
mod mistake;
mod pages;
mod panel;
mod parse;
mod problems;
mod run;
mod search;
mod service;
mod show;
mod sight;
mod snapshot;
mod store;
pub mod view;
mod walk;
mod wording;
pub mod yaml;

pub use import::{Report, Request, import};
pub use mistake::{Problem, Severity};
pub use pages::Pages;
pub use service::{Link, Migration, Probes, Resources, Run, RunOverride, SecretRef, Service};
pub use snapshot::Catalogue;
pub use store::{load, start};
pub use yaml::Place;

use crate::web::{Access, Routes};

pub fn routes() -> Routes {
    Routes::default()
        .get("/services", Access::SignedIn, list::list)
        .get("/services/{name}", Access::SignedIn, show::show)
        .get("/services/{name}/live", Access::SignedIn, show::live)
        .get("/services/{name}/deploys", Access::SignedIn, show::deploys_page)
        .get("/catalogue/{kind}/{namespace}/{name}", Access::SignedIn, entities::show)
        .get("/catalogue/problems", Access::Platform, problems::show)
}
