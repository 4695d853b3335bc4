//! What a service has in an environment, looked up as the person, and the clients that look.

use std::collections::BTreeMap;

use crate::app::App;
use crate::auth::{CurrentUser, access};
use crate::catalogue::Service;
use crate::config::Environment;
use crate::kube::{
    LiveWorkload, MakesPods, Named, Refusal, Target, UserClient, Workload, WorkloadKind, WorkloadRef, apply,
    workload as workloads,
};
use crate::registry::ImageRef;
use crate::web::filters::short_digest;
use crate::web::{Error, Result};

/// What a service has in an environment, as the person sees it.
pub(super) enum Found {
    /// Somebody else's, of which the portal changes the images; or a Deployment that the portal made itself.
    Workload { live: Box<LiveWorkload>, managed: bool },
    /// Nothing yet, and a `run` section says how it is made.
    ToMake,
    /// Nothing can be done; the sentence says why.
    Nothing(String),
}

impl Found {
    pub(super) fn live(&self) -> Option<&LiveWorkload> {
        match self {
            Self::Workload { live, .. } => Some(live),
            Self::ToMake | Self::Nothing(_) => None,
        }
    }

    pub(super) fn images(&self) -> BTreeMap<String, String> {
        self.live().map(apply::images).unwrap_or_default()
    }

    /// The repository that versions come from: of the `run` section, else of the first container.
    pub(super) fn repository(&self, service: &Service) -> Option<String> {
        let first = self.main_container().and_then(|container| self.images().remove(&container));
        match self {
            Self::Workload { managed: false, .. } => {
                first.and_then(|image| Some(image.parse::<ImageRef>().ok()?.name()))
            }
            Self::Workload { managed: true, .. } | Self::ToMake => {
                service.run.as_ref().map(|run| run.image.clone())
            }
            Self::Nothing(_) => None,
        }
    }

    /// The container that is deployed: the one named as the workload or as "app", else the first.
    pub(super) fn main_container(&self) -> Option<String> {
        let live = self.live()?;
        let named = live
            .containers()
            .iter()
            .find(|container| container.name == live.name() || container.name == "app");
        named.or(live.containers().first()).map(|container| container.name.clone())
    }

    pub(super) fn version(&self) -> String {
        let image = self.main_container().and_then(|container| self.images().remove(&container));
        image.as_deref().map(version_of).unwrap_or_default()
    }
}

/// What people call an image: its tag, else a short digest.
pub fn version_of(image: &str) -> String {
    match image.parse::<ImageRef>() {
        Ok(image) => match (image.tag(), image.digest()) {
            (Some(tag), _) => tag.to_string(),
            (None, Some(digest)) => short_digest(digest.as_str()),
            (None, None) => "latest".into(),
        },
        Err(_) => image.to_string(),
    }
}

pub(super) async fn find(app: &App, user: &CurrentUser, service: &Service, target: &Target) -> Result<Found> {
    let Named { kind, name } = match app.watch(&target.cluster).find(target) {
        Workload::One(named) => named,
        Workload::None if service.run.is_some() => {
            Named { kind: WorkloadKind::Deployment, name: service.name.clone() }
        }
        Workload::None => {
            return Ok(Found::Nothing(format!(
                "Nothing in {} belongs to {}, and its catalog-info.yaml has no run section to make it from.",
                target.namespace, service.name
            )));
        }
        Workload::Many(many) => {
            let (count, names) = Named::told(&many);
            return Ok(Found::Nothing(format!(
                "{count} in {} match {}: {names}. Set backstage.io/kubernetes-id so that one does.",
                target.namespace, service.name
            )));
        }
    };
    let client = as_user(app, user, &target.cluster)?;
    let call = workloads::get(&client, WorkloadRef { kind, namespace: &target.namespace, name: &name });
    match tokio::time::timeout(crate::kube::CALL_TIMEOUT, call).await {
        Ok(Ok(Some(live))) => {
            let labels = live.metadata().labels.as_ref();
            let managed_by = labels.and_then(|labels| labels.get("app.kubernetes.io/managed-by"));
            let managed = service.run.is_some()
                && kind == WorkloadKind::Deployment
                && managed_by.is_some_and(|by| by == apply::FIELD_MANAGER);
            Ok(Found::Workload { live: Box::new(live), managed })
        }
        Ok(Ok(None)) if service.run.is_some() => Ok(Found::ToMake),
        Ok(Ok(None)) => Ok(Found::Nothing(format!("The {kind} {name} was deleted a moment ago."))),
        Ok(Err(error)) => Ok(Found::Nothing(Refusal::from(error).sentence())),
        Err(_) => Err(away(&target.cluster)),
    }
}

pub(super) fn as_user(app: &App, user: &CurrentUser, cluster: &str) -> Result<UserClient> {
    Ok(app.clusters.get(cluster).as_user(&access::kube_identity(app, user)?))
}

/// For dry runs. Where the cluster demands approvals, they carry the one that is good for nothing else; who breaks the
/// glass will have none.
pub(super) fn trying(
    app: &App,
    user: &CurrentUser,
    environment: &Environment,
    glass: bool,
) -> Result<UserClient> {
    let identity = access::kube_identity(app, user)?;
    let cluster = app.clusters.get(environment.cluster.get_ref());
    Ok(match environment.guard {
        Some(_) if !glass => cluster.as_user_trying(&identity),
        Some(_) | None => cluster.as_user(&identity),
    })
}

/// A read as the person that failed: in the words of the refusal, or as the cluster that is away.
pub(super) fn away_from(cluster: &str) -> impl Fn(kube::Error) -> Error + '_ {
    move |error| {
        let refusal = Refusal::from(error);
        if refusal.retryable() { away(cluster) } else { Error::Forbidden(refusal.sentence()) }
    }
}

fn away(cluster: &str) -> Error {
    Error::Unavailable(format!(
        "The cluster {cluster} does not answer, so nothing can be checked. Try again in a moment."
    ))
}
