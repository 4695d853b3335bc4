//! The service catalogue: Backstage `catalog-info.yaml` files, imported into Postgres, held in memory as one
//! immutable snapshot that every page reads without a lock.
//!
//! ```text
//! files ─ walk ─ yaml ─ parse ─ import ─▶ Postgres ─ NOTIFY ─ store ─▶ Catalogue ─▶ list, show, search
//! ```

pub mod command;
mod entity;
mod import;
mod mistake;
mod parse;
mod run;
mod search;
mod service;
mod snapshot;
mod store;
mod walk;
mod wording;
mod yaml;

pub use import::{Report, Request, import};
pub use mistake::{Problem, Severity};
pub use service::{Link, Probes, Resources, Run, RunOverride, SecretRef, Service};
pub use snapshot::Catalogue;
pub use store::{load, start};
pub use yaml::Place;
