//! Who owns a field. Server-side apply refuses to change what another manager set, so before the first deploy
//! the page has to know who set the image, and whether that is somebody to agree with or a controller that
//! would set it back. Read from `metadata.managedFields`; nothing here guesses: several owners are all named.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use serde::{Deserialize, Serialize};

/// One entry of `managedFields` that owns the field in question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    pub name: String,
    pub when: Option<Timestamp>,
}

/// A controller that keeps the object as a repository has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitOps {
    /// "Argo CD", "Flux" or "Helm".
    pub tool: String,
    /// The application, release or kustomization, where the object says.
    pub source: Option<String>,
}

/// Who owns the image of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "owner", rename_all = "snake_case")]
pub enum ImageOwner {
    /// The portal alone: apply without force.
    Ours,
    /// Nobody, or the container does not exist: apply without force.
    Nobody,
    /// People and pipelines. The form asks to take this one field over, once.
    TakeOver { managers: Vec<Manager> },
    /// A controller that would set it back. The portal stops and explains its path.
    GitOps(GitOps),
}

/// Who owns the number of replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "owner", rename_all = "snake_case")]
pub enum ReplicasOwner {
    Nobody,
    /// The portal: by a deploy of a managed service, or by a scale.
    Ours,
    /// An autoscaler wrote it last ("the HorizontalPodAutoscaler", "KEDA").
    Autoscaler {
        manager: Manager,
        what: String,
    },
    GitOps(GitOps),
    /// People and pipelines.
    Others {
        managers: Vec<Manager>,
    },
}

pub fn image_owner(deployment: &Deployment, container: &str) -> ImageOwner {
    let _ = (deployment, container);
    todo!()
}

pub fn replicas_owner(deployment: &Deployment) -> ReplicasOwner {
    let _ = deployment;
    todo!()
}

/// The controller that keeps this object, if one does.
pub fn gitops(deployment: &Deployment) -> Option<GitOps> {
    let _ = deployment;
    todo!()
}

impl GitOps {
    /// Why the portal does not write, and the way that does.
    pub fn sentence(&self) -> String {
        todo!()
    }
}
