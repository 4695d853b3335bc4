//! What every handler can reach: configuration, database, clock, clusters and the caches in front of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::api::ApiState;
use crate::audit;
use crate::auth::access::Reviews;
use crate::auth::{AddressLimit, CiIssuers, Provider, Refreshes, Sessions, Streams, Tokens};
use crate::catalogue::{self, Catalogue};
use crate::clock::Clock;
use crate::config::Config;
use crate::deploy::{Counts, DeployPages};
use crate::kube::{Clusters, Watch};
use crate::logs::Logs;
use crate::prometheus::Prometheus;
use crate::registry::Registry;

pub type App = Arc<AppState>;

pub struct AppState {
    pub company: Arc<str>,
    pub config: Config,
    pub db: PgPool,
    pub clock: Clock,
    pub clusters: Clusters,
    /// What the portal itself sees of each cluster, by name.
    pub watches: BTreeMap<String, Arc<Watch>>,
    pub registry: Registry,
    pub prometheus: Prometheus,
    pub logs: Logs,
    pub catalogue: ArcSwap<Catalogue>,
    pub pages: catalogue::Pages,
    pub provider: Provider,
    pub sessions: Sessions,
    pub tokens: Tokens,
    pub refreshes: Refreshes,
    /// CI systems whose tokens are exchanged for those of machines.
    pub ci_issuers: CiIssuers,
    pub sign_in_limit: AddressLimit,
    /// Tokens that were none, by address.
    pub failed_tokens: AddressLimit,
    pub streams: Streams,
    pub reviews: Reviews,
    pub counts: Counts,
    /// Whether the audit trail's chain held when it was last walked.
    pub audit: audit::Checks,
    pub deploy_pages: DeployPages,
    pub api: ApiState,
    /// Cancelled when the process is asked to stop: streams end, the engine puts its leases back.
    pub shutdown: CancellationToken,
}

impl AppState {
    /// The configuration was checked: every environment names a cluster that exists.
    pub fn watch(&self, cluster: &str) -> &Watch {
        self.watches.get(cluster).expect("every environment names a configured cluster")
    }
}
