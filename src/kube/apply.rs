//! Writing, as the person. Server-side apply with a field manager for each kind of change, so that a deploy, a
//! restart and a scale never undo one another; without force, but for the one take-over that a person agreed to.
//!
//! | manager | owns on an adopted Deployment |
//! |---|---|
//! | `pilothouse` | the image of each deployed container, the deploy's marker (template and object), the approval |
//! | `pilothouse-restart` | the restart annotations of the template |
//! | `pilothouse-scale` | `spec.replicas`, through the scale subresource |
//!
//! Every write is safe to repeat: applying the same object again changes nothing, not even the generation.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::Value;

use super::UserClient;
use super::refusal::Refusal;

pub const FIELD_MANAGER: &str = "pilothouse";
pub const RESTART_MANAGER: &str = "pilothouse-restart";
pub const SCALE_MANAGER: &str = "pilothouse-scale";

/// On the pod template and the object: the deploy that wrote the images.
pub const DEPLOY_ANNOTATION: &str = "pilothouse.dev/deploy";
/// On the pod template: the deploy that restarted the pods, and when.
pub const RESTART_ANNOTATION: &str = "pilothouse.dev/restart";
pub const RESTARTED_AT_ANNOTATION: &str = "pilothouse.dev/restarted-at";
/// On the object: the digest that was approved, for clusters that demand it.
pub const APPROVAL_ANNOTATION: &str = "pilothouse.dev/approval";

/// What a write left in the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    pub kind: String,
    pub name: String,
    /// 0 for kinds that have none.
    pub generation: i64,
    pub resource_version: String,
    /// False: the object was like this already.
    pub changed: bool,
    pub object: Value,
    /// What the API server said beside its yes.
    pub warnings: Vec<String>,
}

/// The deploy's marks on a write: annotations that change with every deploy and are part of no digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The deploy id. None: a dry run before there is one.
    pub deploy: Option<String>,
    /// The approved digest.
    pub approval: Option<String>,
}

/// The smallest object that gives an adopted Deployment new images. `images` must name every container whose image
/// the portal owns ([`owned_images`]): a field that is left out of an apply is given up.
pub fn image_patch(namespace: &str, name: &str, images: &BTreeMap<String, String>, marks: &Marks) -> Value {
    let _ = (namespace, name, images, marks);
    todo!()
}

/// The images that the portal owns already, by container.
pub fn owned_images(deployment: &Deployment) -> BTreeMap<String, String> {
    let _ = deployment;
    todo!()
}

/// New pods of the same template. Applied as [`RESTART_MANAGER`].
pub fn restart_patch(namespace: &str, name: &str, deploy: &str, at: Timestamp) -> Value {
    let _ = (namespace, name, deploy, at);
    todo!()
}

/// The smallest object that changes an autoscaler's bounds. Applied as [`SCALE_MANAGER`].
pub fn bounds_patch(namespace: &str, name: &str, min: i32, max: i32) -> Value {
    let _ = (namespace, name, min, max);
    todo!()
}

/// A rendered object with the deploy's marks. Only Deployments carry marks.
pub fn marked(object: Value, marks: &Marks) -> Value {
    let _ = marks;
    object
}

/// Whether this deploy (image or restart) is what the pod template says it runs for.
pub fn carries_marker(deployment: &Deployment, deploy: &str) -> bool {
    let _ = (deployment, deploy);
    todo!()
}

/// Whether the template has exactly these images for these containers.
pub fn runs_images(deployment: &Deployment, images: &BTreeMap<String, String>) -> bool {
    let _ = (deployment, images);
    todo!()
}

/// Applies one object as the person, with the manager that its fields belong to, without force.
pub async fn apply(user: &UserClient, object: &Value, manager: &str) -> Result<Applied, Refusal> {
    let _ = (user, object, manager);
    todo!()
}

/// Takes the images over from whoever holds them, as agreed on the form: an apply with force that carries nothing
/// but these images. Apply the whole object after it, without force.
pub async fn take_over(
    user: &UserClient,
    namespace: &str,
    name: &str,
    images: &BTreeMap<String, String>,
    marks: &Marks,
) -> Result<Applied, Refusal> {
    let _ = (user, namespace, name, images, marks);
    todo!()
}

/// All objects of a managed service, the Deployment last, so that pods start when everything else was accepted.
/// Leaves `replicas` to whoever holds it, and deletes the autoscaler and disruption budget that are no longer
/// rendered.
pub async fn apply_managed(
    user: &UserClient,
    objects: &[Value],
    marks: &Marks,
) -> Result<Vec<Applied>, Refusal> {
    let _ = (user, objects, marks);
    todo!()
}

/// Sets the number of replicas through the scale subresource. `seen` is the number the person saw: when it is no
/// longer that (nor already the new one), the answer is [`Refusal::Stale`].
pub async fn scale(
    user: &UserClient,
    namespace: &str,
    name: &str,
    seen: i32,
    replicas: i32,
) -> Result<Applied, Refusal> {
    let _ = (user, namespace, name, seen, replicas);
    todo!()
}

/// Sets the bounds of an autoscaler. As [`scale`], `seen` guards what the person saw.
pub async fn set_bounds(
    user: &UserClient,
    namespace: &str,
    name: &str,
    seen: (i32, i32),
    bounds: (i32, i32),
) -> Result<Applied, Refusal> {
    let _ = (user, namespace, name, seen, bounds);
    todo!()
}
