//! May this person do that in a cluster? The cluster's own authorizer decides (SubjectAccessReview); its answers
//! are kept for a few seconds, because one page asks the same thing for several buttons.

use std::time::Duration;

use anyhow::Context;
use moka::future::Cache;

use super::{KubeIdentity, Person};
use crate::app::App;
use crate::kube::{Allowed, CALL_TIMEOUT, Wanted};
use crate::web::Error;

/// Long enough for one page, short enough that a revoked right is gone before anybody notices.
const KEEP: Duration = Duration::from_secs(5);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Question {
    cluster: String,
    identity: KubeIdentity,
    verb: String,
    resource: String,
    namespace: String,
    name: Option<String>,
}

/// Recent answers of the clusters' authorizers.
pub struct Reviews(Cache<Question, Allowed>);

impl Default for Reviews {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(50_000).time_to_live(KEEP).build())
    }
}

/// The person's identity in clusters; claims were checked at sign-in, and are checked again here.
pub fn kube_identity(app: &App, person: &Person) -> Result<KubeIdentity, Error> {
    KubeIdentity::new(person, &app.config.oidc.groups_prefix)
        .map_err(|odd| Error::Forbidden(format!("No cluster can be asked in your name: {odd}.")))
}

/// Asks, or remembers asking a moment ago.
pub async fn review(app: &App, person: &Person, cluster: &str, wanted: Wanted<'_>) -> Result<Allowed, Error> {
    let identity = kube_identity(app, person)?;
    let question = Question {
        cluster: cluster.into(),
        identity: identity.clone(),
        verb: wanted.verb.into(),
        resource: format!("{}/{}/{}", wanted.group, wanted.resource, wanted.subresource.unwrap_or_default()),
        namespace: wanted.namespace.into(),
        name: wanted.name.map(Into::into),
    };
    if let Some(answer) = app.reviews.0.get(&question).await {
        return Ok(answer);
    }
    let asked =
        tokio::time::timeout(CALL_TIMEOUT, app.clusters.get(cluster).review(&identity, &wanted)).await;
    let answer = asked
        .context("timed out")
        .and_then(|answer| answer.context("refused the question"))
        .map_err(|error| {
            tracing::warn!(cluster, error = format!("{error:#}"), "access review failed");
            Error::Unavailable(format!(
                "The cluster {cluster} does not answer, so it can’t say what you may see."
            ))
        })?;
    app.reviews.0.insert(question, answer.clone()).await;
    Ok(answer)
}

/// Whether the person may look into a namespace at all: what the watch cache holds of it is shown only then.
pub async fn may_view(app: &App, person: &Person, cluster: &str, namespace: &str) -> Result<bool, Error> {
    let wanted = Wanted {
        verb: "get",
        group: "apps",
        resource: "deployments",
        subresource: None,
        namespace,
        name: None,
    };
    Ok(review(app, person, cluster, wanted).await?.allowed)
}
