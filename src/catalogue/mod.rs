//! The service catalogue: Backstage `catalog-info.yaml` files, imported into Postgres, held in memory as one
//! immutable snapshot that every page reads without a lock.

mod service;

pub use service::{Catalogue, Link, Run, RunOverride, SecretRef, Service};
