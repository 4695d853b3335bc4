//! May this person do that in a cluster? The cluster's own authorizer decides (SubjectAccessReview); its answers
//! are kept for a few seconds, because one page asks the same thing for several buttons.

use std::time::{Duration, Instant};

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

/// Recent answers of the clusters' authorizers, and which clusters gave none.
pub struct Reviews {
    answers: Cache<Question, Allowed>,
    /// Since when a cluster has not answered in time.
    silent: Cache<String, Instant>,
}

impl Default for Reviews {
    fn default() -> Self {
        Self {
            answers: Cache::builder().max_capacity(50_000).time_to_live(KEEP).build(),
            silent: Cache::builder().time_to_live(FORGIVEN).build(),
        }
    }
}

/// After this long a silent cluster is waited for like any other.
const FORGIVEN: Duration = Duration::from_secs(60);

/// How long to wait for a cluster that gave no answer this long ago; None: not at all. A page asks several questions
/// one after the other, and during an outage each of them would wait in full.
fn patience(silent_for: Option<Duration>) -> Option<Duration> {
    match silent_for {
        None => Some(CALL_TIMEOUT),
        Some(recent) if recent < Duration::from_secs(3) => None,
        Some(_) => Some(Duration::from_millis(500)),
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
    let Reviews { answers, silent } = &app.reviews;
    if let Some(answer) = answers.get(&question).await {
        return Ok(answer);
    }
    let away = || {
        Error::Unavailable(format!(
            "The cluster {cluster} does not answer, so it can’t say what you may see."
        ))
    };
    let silent_for = silent.get(cluster).await.map(|at| at.elapsed());
    let patience = patience(silent_for).ok_or_else(away)?;
    let asked = tokio::time::timeout(patience, app.clusters.get(cluster).review(&identity, &wanted)).await;
    match &asked {
        Err(_) => silent.insert(cluster.into(), Instant::now()).await,
        Ok(_) if silent_for.is_some() => silent.invalidate(cluster).await,
        Ok(_) => {}
    }
    let answer = asked
        .context("timed out")
        .and_then(|answer| answer.context("refused the question"))
        .map_err(|error| {
            tracing::warn!(cluster, error = format!("{error:#}"), "access review failed");
            away()
        })?;
    answers.insert(question, answer.clone()).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_gave_no_answer_is_not_waited_for_again_and_again() {
        let after = |millis| patience(Some(Duration::from_millis(millis)));
        assert_eq!(patience(None), Some(CALL_TIMEOUT));
        assert_eq!((after(0), after(2_999)), (None, None));
        assert_eq!(after(3_000), Some(Duration::from_millis(500)));
    }
}
