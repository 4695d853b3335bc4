//! What a person may see of a cluster. The cluster decides (`auth::access`); its last answer is remembered, so that a
//! cluster that went away does not blank the pages of the people who look after it.

use std::time::{Duration, Instant};

use moka::future::Cache;

use crate::app::App;
use crate::auth::{KubeIdentity, Person, access};

/// How long an answer counts while its cluster can't be asked again.
const REMEMBER: Duration = Duration::from_secs(30 * 60);
/// How old an answer may be for the many cells of a list. A service's own page asks anew.
pub const FOR_LISTS: Duration = Duration::from_secs(30);
pub const FOR_PAGES: Duration = Duration::ZERO;

type Question = (KubeIdentity, String, String);

pub struct Sight(Cache<Question, (bool, Instant)>);

impl Default for Sight {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(100_000).time_to_live(REMEMBER).build())
    }
}

impl Sight {
    /// Whether the person may look into a namespace. None: its cluster does not answer, and never did for them.
    pub async fn sees(
        &self,
        app: &App,
        person: &Person,
        (cluster, namespace): (&str, &str),
        fresh: Duration,
    ) -> Option<bool> {
        let identity = access::kube_identity(app, person).ok()?;
        let question = (identity, cluster.to_string(), namespace.to_string());
        let remembered = self.0.get(&question).await;
        let recent = remembered.filter(|(_, asked)| asked.elapsed() < fresh);
        // Asking a cluster that is known to be away would hold up the page for nothing.
        if recent.is_some() || (remembered.is_some() && app.watch(cluster).is_stale()) {
            return remembered.map(|(allowed, _)| allowed);
        }
        match access::may_view(app, person, cluster, namespace).await {
            Ok(allowed) => {
                self.0.insert(question, (allowed, Instant::now())).await;
                Some(allowed)
            }
            Err(_) => remembered.map(|(allowed, _)| allowed),
        }
    }
}
