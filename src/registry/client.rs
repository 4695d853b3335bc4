//! The client that the rest of the portal holds: the wire and what is remembered of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use super::http::Http;
use super::manifest::{ImageConfig, Manifest};
use super::reference::Digest;
use super::tags::Tag;
use crate::config;

/// A new version should appear while somebody waits for it.
const KEEP_LIST: Duration = Duration::from_secs(15);
/// What a digest names never changes; this only bounds memory.
const KEEP_CONTENT: Duration = Duration::from_secs(24 * 60 * 60);

/// Registries, as the portal may read them. Cheap to share behind the application state.
pub struct Registry {
    pub(super) http: Http,
    /// By repository and digest: that one repository shows something is no leave to read it in another.
    pub(super) manifests: Cache<(String, Digest), Arc<Manifest>>,
    pub(super) configs: Cache<(String, Digest), Arc<ImageConfig>>,
    pub(super) lists: Cache<String, Arc<[Tag]>>,
}

impl Registry {
    /// `configured` is the `[registry."host"]` part of the configuration.
    pub fn new(configured: &BTreeMap<String, config::Registry>) -> anyhow::Result<Self> {
        Ok(Self {
            http: Http::new(configured)?,
            manifests: Cache::builder().max_capacity(2_000).time_to_idle(KEEP_CONTENT).build(),
            configs: Cache::builder().max_capacity(2_000).time_to_idle(KEEP_CONTENT).build(),
            lists: Cache::builder().max_capacity(500).time_to_live(KEEP_LIST).build(),
        })
    }
}
