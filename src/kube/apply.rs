//! Writing, as the person. Server-side apply with a field manager for each kind of change, so that a deploy, a
//! restart and a scale never undo one another; without force, but for the one take-over that a person agreed to.
//!
//! | manager | owns on an adopted workload |
//! |---|---|
//! | `pilothouse` | the image of each deployed container, the deploy's mark on the template, the approval |
//! | `pilothouse-restart` | the restart mark on the template |
//! | `pilothouse-scale` | `spec.replicas`, through the scale subresource |
//! | `pilothouse-switch` | of its Services and its autoscaler: where they lead, see `beside.rs` |
//!
//! An apply gives up what its manager owned and the request leaves out; that is why a restart has a manager of its
//! own and why an image patch names every image the portal owns. The marks are annotations of our own: nobody else
//! sets them, so they never conflict. Every write is safe to repeat: the same object again changes nothing, not
//! even the generation. Any annotation of a Deployment counts for its generation, so a repeated write must not
//! carry a time, a lease or a fence.
//!
//! Every write is read → [`Fence`] → send, bound to the version that was read. Whoever stops anywhere in between, or
//! whose request is held up on its way, then finds the fence closed or the object newer: a late write hits nothing.
//! Only what is not there yet can't be bound to a version.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};

use super::UserClient;
use super::call::{self, Place};
use super::ownership::{self, ImageOwner};
use super::refusal::{Holder, Refusal};
use super::workload::{LiveWorkload, MakesPods, WorkloadKind, WorkloadRef};

pub const FIELD_MANAGER: &str = "pilothouse";
pub const RESTART_MANAGER: &str = "pilothouse-restart";
pub const SCALE_MANAGER: &str = "pilothouse-scale";
/// Where traffic goes: the selector of a Service, the target of an autoscaler.
pub const SWITCH_MANAGER: &str = "pilothouse-switch";

/// On the pod template: the deploy that set the images.
pub const DEPLOY_ANNOTATION: &str = "pilothouse.dev/deploy";
/// On the pod template: the deploy that restarted the pods, and when it was asked for.
pub const RESTART_ANNOTATION: &str = "pilothouse.dev/restart";
pub const RESTARTED_AT_ANNOTATION: &str = "pilothouse.dev/restarted-at";
/// On the object: the digest that was approved, for clusters that demand it.
pub const APPROVAL_ANNOTATION: &str = "pilothouse.dev/approval";
/// On a Deployment that stands beside another while a new version proves itself: the other one's name.
pub const BESIDE_LABEL: &str = "pilothouse.dev/beside";
/// Stands in place of the digest while a change is tried out: the guard of an environment lets it through for dry runs.
pub const TRYING: &str = "dry-run";

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

/// A deploy's marks on what it writes: annotations that differ with every deploy, and are part of no digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The deploy id. None: a dry run before there is one.
    pub deploy: Option<String>,
    /// The approved digest, where the environment needs approval.
    pub approval: Option<String>,
}

/// Asked between the read and the write. Its refusal ends the write.
pub trait Fence: Sync {
    /// Whether the writer still is the one to write, for at least as long as one call may take.
    fn stands(&self) -> impl Future<Output = Result<(), Refusal>> + Send;
}

/// What a fence says when it was asked who owns the work. Unknown is closed.
pub fn owned<E: std::fmt::Display>(ours: Result<bool, E>) -> Result<(), Refusal> {
    match ours {
        Ok(true) => Ok(()),
        Ok(false) => Err(stale("somebody else owns this by now")),
        Err(error) => Err(stale(&format!("who owns this can’t be asked: {error}"))),
    }
}

/// The smallest object that gives an adopted workload new images. `images` (container to reference) must name
/// every container whose image the portal owns already, see [`owned_images`].
pub fn image_patch(at: WorkloadRef<'_>, images: &BTreeMap<String, String>, marks: &Marks) -> Value {
    let containers: Vec<_> =
        images.iter().map(|(name, image)| json!({"name": name, "image": image})).collect();
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": at.kind,
        "metadata": {"name": at.name, "namespace": at.namespace},
        "spec": {"template": {"spec": {"containers": containers}}},
    });
    marked(object, marks)
}

/// New pods of the same template. Applied as [`RESTART_MANAGER`]. `asked` is the time of the request, never of the
/// write: a repeated write has to be the same write.
pub fn restart_patch(at: WorkloadRef<'_>, deploy: &str, asked: Timestamp) -> Value {
    let annotations = json!({RESTART_ANNOTATION: deploy, RESTARTED_AT_ANNOTATION: asked.to_string()});
    json!({
        "apiVersion": "apps/v1",
        "kind": at.kind,
        "metadata": {"name": at.name, "namespace": at.namespace},
        "spec": {"template": {"metadata": {"annotations": annotations}}},
    })
}

/// The object with the deploy's marks. Only workloads carry any.
pub fn marked(mut object: Value, marks: &Marks) -> Value {
    if is_workload(&object) {
        if let Some(deploy) = &marks.deploy {
            object["spec"]["template"]["metadata"]["annotations"][DEPLOY_ANNOTATION] = json!(deploy);
        }
        if let Some(approval) = &marks.approval {
            object["metadata"]["annotations"][APPROVAL_ANNOTATION] = json!(approval);
        }
    }
    object
}

/// The object with an approval that nothing but its client carries: what a dry run adds.
pub(super) fn claiming(mut object: Value, user: &UserClient) -> Value {
    let makes_pods = is_workload(&object) || ["Job", "Pod"].iter().any(|kind| object["kind"] == *kind);
    if let Some(approval) = user.approval().filter(|_| makes_pods) {
        object["metadata"]["annotations"][APPROVAL_ANNOTATION] = json!(approval);
    }
    object
}

/// The images that the portal owns already, by container: they belong into the next patch.
pub fn owned_images(workload: &impl MakesPods) -> BTreeMap<String, String> {
    let containers = workload.containers().iter();
    containers
        .filter(|container| ownership::owns_image(workload, FIELD_MANAGER, &container.name))
        .filter_map(|container| Some((container.name.clone(), container.image.clone()?)))
        .collect()
}

/// Whether the pod template says that this deploy (of an image, or a restart) wrote it.
pub fn carries_marker(workload: &impl MakesPods, deploy: &str) -> bool {
    let metadata = workload.template().and_then(|template| template.metadata.as_ref());
    let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
    [DEPLOY_ANNOTATION, RESTART_ANNOTATION]
        .iter()
        .any(|key| annotations.and_then(|all| all.get(*key)).is_some_and(|value| value == deploy))
}

/// Whether the template has exactly these images in these containers. A marker alone does not say so: whoever
/// changes the image by hand leaves it there.
pub fn runs_images(workload: &impl MakesPods, images: &BTreeMap<String, String>) -> bool {
    images.iter().all(|(name, image)| {
        let mut containers = workload.containers().iter();
        containers.any(|container| container.name == *name && container.image.as_ref() == Some(image))
    })
}

/// Container to image of the template.
pub fn images(workload: &impl MakesPods) -> BTreeMap<String, String> {
    let containers = workload.containers().iter();
    containers
        .map(|container| (container.name.clone(), container.image.clone().unwrap_or_default()))
        .collect()
}

/// Applies one object as the person, without force.
pub async fn apply(
    user: &UserClient,
    object: &Value,
    manager: &str,
    fence: &impl Fence,
) -> Result<Applied, Refusal> {
    let place = Place::of(object)?;
    write(user, &place, PatchParams::apply(manager), |_| Ok(object.clone()), fence).await
}

/// Gives an adopted workload new images, in place of those that `replaces` names (container to reference; empty:
/// whatever runs). Where something else runs by now, nothing is written: the answer is [`Refusal::Stale`].
pub async fn set_images(
    user: &UserClient,
    at: WorkloadRef<'_>,
    images: &BTreeMap<String, String>,
    replaces: &BTreeMap<String, String>,
    marks: &Marks,
    fence: &impl Fence,
) -> Result<Applied, Refusal> {
    let object = image_patch(at, images, marks);
    let onto = |before: Option<&Value>| still_replaces(before, replaces, images).map(|()| object.clone());
    write(user, &Place::of(&object)?, PatchParams::apply(FIELD_MANAGER), onto, fence).await
}

/// As [`set_images`], and takes them over from whoever holds them, as agreed on the form: an apply with force that
/// carries nothing but these images and the deploy's marks. `agreed` are the managers that the form named, as
/// [`ownership::listed`] gives them; if somebody else holds an image by now, or a repository keeps the object, nothing
/// is forced. Later applies need no force.
pub async fn take_over(
    user: &UserClient,
    at: WorkloadRef<'_>,
    images: &BTreeMap<String, String>,
    replaces: &BTreeMap<String, String>,
    agreed: &str,
    marks: &Marks,
    fence: &impl Fence,
) -> Result<Applied, Refusal> {
    let object = image_patch(at, images, marks);
    let place = Place::of(&object)?;
    let unless_strangers_hold_it = |before: Option<&Value>| {
        still_replaces(before, replaces, images)?;
        let live = before.and_then(LiveWorkload::of).ok_or_else(|| not_found(&place))?;
        let strangers: Vec<Holder> =
            images.keys().flat_map(|container| strangers(&live, container, agreed)).collect();
        if strangers.is_empty() { Ok(object.clone()) } else { Err(Refusal::Conflict { holders: strangers }) }
    };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    write(user, &place, params, unless_strangers_hold_it, fence).await
}

/// Whether these images still run and can be replaced, or the new ones run already.
pub fn replaceable(
    live: &impl MakesPods,
    replaces: &BTreeMap<String, String>,
    images: &BTreeMap<String, String>,
) -> bool {
    runs_images(live, replaces) || runs_images(live, images)
}

fn still_replaces(
    before: Option<&Value>,
    replaces: &BTreeMap<String, String>,
    images: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    let live = before.and_then(LiveWorkload::of);
    if live.is_none_or(|live| replaceable(&live, replaces, images)) {
        return Ok(());
    }
    Err(stale("something else runs by now"))
}

/// Who holds the image of a container and was not named when the person agreed.
fn strangers(live: &LiveWorkload, container: &str, agreed: &str) -> Vec<Holder> {
    let field = format!(".spec.template.spec.containers[name=\"{container}\"].image");
    let holder = |manager: String| Holder { manager, field: field.clone() };
    match ownership::image_owner(live, container) {
        ImageOwner::Ours | ImageOwner::Nobody => Vec::new(),
        ImageOwner::GitOps(gitops) => vec![holder(gitops.tool)],
        ImageOwner::TakeOver { managers } => managers
            .into_iter()
            .filter(|manager| !agreed.split(", ").any(|name| name == manager.name))
            .map(|manager| holder(manager.name))
            .collect(),
    }
}

/// All objects of a managed service, in their order: the Deployment comes last, so that pods start when everything
/// else was accepted. Before it, the autoscaler and disruption budget that are no longer rendered are deleted.
pub async fn apply_managed(
    user: &UserClient,
    objects: &[Value],
    marks: &Marks,
    fence: &impl Fence,
) -> Result<Vec<Applied>, Refusal> {
    let mut applied = Vec::with_capacity(objects.len());
    for object in objects {
        let place = Place::of(object)?;
        if place.kind == "Deployment" {
            delete_unrendered(user, &place, objects, fence).await?;
        }
        let object = |before: Option<&Value>| Ok(settled(marked(object.clone(), marks), before));
        applied.push(write(user, &place, PatchParams::apply(FIELD_MANAGER), object, fence).await?);
    }
    Ok(applied)
}

/// Leaves the size of a managed service to whoever holds it: a person who scaled it, or an autoscaler. A service at
/// zero is left there too: the API server forgets who set a zero, but it was somebody. And where the size is to be
/// the autoscaler's but still is ours, keeps the number until it writes one: giving the field up would drop the
/// service to one pod.
pub(super) fn settled(mut object: Value, live: Option<&Value>) -> Value {
    let Some(metadata) = live.and_then(metadata) else { return object };
    for field in ["replicas", "minReplicas", "maxReplicas"] {
        let holders = ownership::holders(&metadata, &["f:spec", &format!("f:{field}")]);
        let ours = holders.iter().any(|holder| holder.name == FIELD_MANAGER);
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { continue };
        let at_zero = field == "replicas" && live.is_some_and(|live| live["spec"][field] == 0);
        if !ours && (at_zero || !holders.is_empty()) {
            spec.remove(field);
        } else if field == "replicas" && ours && !spec.contains_key(field) && holders.len() == 1 {
            let kept = live.and_then(|live| live.pointer("/spec/replicas")).cloned();
            spec.extend(kept.map(|replicas| (field.to_string(), replicas)));
        }
    }
    object
}

async fn delete_unrendered(
    user: &UserClient,
    deployment: &Place,
    rendered: &[Value],
    fence: &impl Fence,
) -> Result<(), Refusal> {
    for kind in ["HorizontalPodAutoscaler", "PodDisruptionBudget"] {
        if rendered.iter().any(|object| object["kind"] == kind) {
            continue;
        }
        let place = Place::new(kind, &deployment.namespace, &deployment.name)?;
        let ours = |live: &Value| live["metadata"]["labels"]["app.kubernetes.io/managed-by"] == FIELD_MANAGER;
        delete_ours(user, &place, ours, fence).await?;
    }
    Ok(())
}

/// Deletes an object, and what it owns, in the version that was looked at: what somebody else makes theirs meanwhile stays.
/// What is gone already, or is not ours, is fine.
pub(super) async fn delete_ours(
    user: &UserClient,
    place: &Place,
    ours: impl Fn(&Value) -> bool,
    fence: &impl Fence,
) -> Result<(), Refusal> {
    for _ in 0..ATTEMPTS {
        let live = call::read(user, place).await?.filter(&ours);
        let Some(seen) = live.as_ref().and_then(metadata) else { return Ok(()) };
        fence.stands().await?;
        let only_this = Preconditions { uid: seen.uid, resource_version: seen.resource_version };
        let params = DeleteParams { preconditions: Some(only_this), ..DeleteParams::background() };
        match call::send(user, place.request().delete(&place.name, &params)).await {
            Ok(_) | Err(Refusal::NotFound { .. }) => return Ok(()),
            // Its status moves all the time.
            Err(Refusal::Stale { .. }) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Err(stale("it keeps changing"))
}

/// Sets the number of replicas through the scale subresource. `seen` is what the person saw: when it is neither
/// that nor the new number any more, the answer is [`Refusal::Stale`]. Ask [`ownership::replicas_owner`] first:
/// a patch of the subresource asks no field manager.
pub async fn scale(
    user: &UserClient,
    at: WorkloadRef<'_>,
    seen: i32,
    replicas: i32,
    fence: &impl Fence,
) -> Result<Applied, Refusal> {
    let WorkloadRef { kind, namespace, name } = at;
    let place = Place::new(kind.word(), namespace, name)?;
    let size = |object: &Value| object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or_default();
    let params = PatchParams { field_manager: Some(SCALE_MANAGER.into()), ..PatchParams::default() };
    for _ in 0..ATTEMPTS {
        let scale = place.request().get_subresource("scale", name);
        let scale = call::send(user, scale).await?.object;
        if size(&scale) == i64::from(replicas) {
            return after_scale(user, &place, false).await;
        }
        if size(&scale) != i64::from(seen) {
            return Err(stale(&format!("{} replicas instead of {seen}", size(&scale))));
        }
        fence.stands().await?;
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": scale["metadata"]["resourceVersion"]},
            "spec": {"replicas": replicas},
        }));
        match call::send(user, place.request().patch_subresource("scale", name, &params, &patch)).await {
            Ok(_) => return after_scale(user, &place, true).await,
            // The status of a workload moves all the time; only a changed size is the person's concern.
            Err(Refusal::Stale { .. }) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Err(stale("it keeps changing"))
}

const ATTEMPTS: u8 = 5;

/// A Scale has no generation; the workload does.
async fn after_scale(user: &UserClient, place: &Place, changed: bool) -> Result<Applied, Refusal> {
    let object = call::read(user, place).await?.ok_or_else(|| not_found(place))?;
    Ok(applied(place, object, changed, Vec::new()))
}

/// Sets the bounds of an autoscaler, as [`scale`] sets replicas. Nothing is written where a repository keeps it.
pub async fn set_bounds(
    user: &UserClient,
    namespace: &str,
    name: &str,
    seen: (i32, i32),
    bounds: (i32, i32),
    fence: &impl Fence,
) -> Result<Applied, Refusal> {
    let place = Place::new("HorizontalPodAutoscaler", namespace, name)?;
    let change = |live: &Value| {
        not_kept(live, ".spec.maxReplicas")?;
        let number =
            |field: &str, absent: i32| live["spec"][field].as_i64().map_or(absent.into(), i128::from);
        let now = (number("minReplicas", 1), number("maxReplicas", 0));
        if now == (bounds.0.into(), bounds.1.into()) {
            return Ok(None);
        }
        if now != (seen.0.into(), seen.1.into()) {
            let (min, max) = now;
            return Err(stale(&format!("{min} to {max} replicas instead of {} to {}", seen.0, seen.1)));
        }
        Ok(Some(json!({"spec": {"minReplicas": bounds.0, "maxReplicas": bounds.1}})))
    };
    merge(user, &place, SCALE_MANAGER, change, fence).await
}

/// Refuses what a repository would set back.
pub(super) fn not_kept(live: &Value, field: &str) -> Result<(), Refusal> {
    match metadata(live).as_ref().and_then(ownership::keeper) {
        Some(gitops) => {
            let holder = Holder { manager: gitops.tool, field: field.into() };
            Err(Refusal::Conflict { holders: vec![holder] })
        }
        None => Ok(()),
    }
}

/// Merges what `change` makes of the live object into it. None: it is as it should be.
pub(super) async fn merge(
    user: &UserClient,
    place: &Place,
    manager: &str,
    change: impl Fn(&Value) -> Result<Option<Value>, Refusal>,
    fence: &impl Fence,
) -> Result<Applied, Refusal> {
    let params = PatchParams { field_manager: Some(manager.into()), ..PatchParams::default() };
    for _ in 0..ATTEMPTS {
        let live = call::read(user, place).await?.ok_or_else(|| not_found(place))?;
        let Some(patch) = change(&live)? else { return Ok(applied(place, live, false, Vec::new())) };
        fence.stands().await?;
        let patch = Patch::Merge(bound_to(patch, Some(&live)));
        match call::send(user, place.request().patch(&place.name, &params, &patch)).await {
            Ok(answer) => return Ok(applied(place, answer.object, true, answer.warnings)),
            Err(Refusal::Stale { .. }) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Err(stale("it keeps changing"))
}

/// Applies what `object` makes of the live one.
pub(super) async fn write(
    user: &UserClient,
    place: &Place,
    params: PatchParams,
    object: impl Fn(Option<&Value>) -> Result<Value, Refusal>,
    fence: &impl Fence,
) -> Result<Applied, Refusal> {
    for _ in 0..ATTEMPTS {
        let before = call::read(user, place).await?;
        let object = object(before.as_ref())?;
        if params.field_manager.as_deref() == Some(FIELD_MANAGER) {
            may_patch(place, &object, before.as_ref())?;
        } else if before.is_none() {
            return Err(not_found(place));
        }
        fence.stands().await?;
        let patch = Patch::Apply(bound_to(object, before.as_ref()));
        match call::send(user, place.request().patch(&place.name, &params, &patch)).await {
            Ok(answer) => {
                let changed = before.is_none_or(|before| wanted(&before) != wanted(&answer.object));
                return Ok(applied(place, answer.object, changed, answer.warnings));
            }
            // The status of a workload moves all the time.
            Err(Refusal::Stale { .. }) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Err(stale("it keeps changing"))
}

/// The object, to be written onto this version of it and no other.
fn bound_to(mut object: Value, before: Option<&Value>) -> Value {
    if let Some(before) = before {
        object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
    }
    object
}

/// What people and controllers ask for. The version of an object also moves with its status.
fn wanted(object: &Value) -> [&Value; 3] {
    [&object["metadata"]["generation"], &object["metadata"]["labels"], &object["spec"]]
}

/// An apply creates what is missing, and removes what its manager set before and now leaves out. A patch of a
/// workload must do neither: not make one that is gone, nor empty one that the portal rendered.
pub(super) fn may_patch(place: &Place, object: &Value, live: Option<&Value>) -> Result<(), Refusal> {
    if !is_patch(object) {
        return Ok(());
    }
    let Some(live) = live else { return Err(not_found(place)) };
    let holders = metadata(live).map(|live| ownership::holders(&live, &["f:spec", "f:selector"]));
    if holders.is_some_and(|holders| holders.iter().any(|holder| holder.name == FIELD_MANAGER)) {
        let message = "the portal made this Deployment, so it needs its run section in the catalogue".into();
        return Err(Refusal::Invalid { fields: Vec::new(), message });
    }
    Ok(())
}

/// A whole workload has a selector.
pub(super) fn is_patch(object: &Value) -> bool {
    is_workload(object) && object.pointer("/spec/selector").is_none()
}

fn is_workload(object: &Value) -> bool {
    object["kind"].as_str().is_some_and(|kind| WorkloadKind::of(kind).is_some())
}

fn applied(place: &Place, object: Value, changed: bool, warnings: Vec<String>) -> Applied {
    Applied {
        kind: place.kind.clone(),
        name: place.name.clone(),
        generation: object["metadata"]["generation"].as_i64().unwrap_or_default(),
        resource_version: object["metadata"]["resourceVersion"].as_str().unwrap_or_default().into(),
        changed,
        object,
        warnings,
    }
}

fn stale(message: &str) -> Refusal {
    Refusal::Stale { message: message.into() }
}

fn not_found(place: &Place) -> Refusal {
    Refusal::NotFound { kind: place.kind.clone(), name: place.name.clone() }
}

fn metadata(object: &Value) -> Option<ObjectMeta> {
    serde_json::from_value(object["metadata"].clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(managers: &[&str], replicas: i32) -> Value {
        let entries: Vec<_> = managers
            .iter()
            .map(|name| json!({"manager": name, "fieldsV1": {"f:spec": {"f:replicas": {}}}}))
            .collect();
        json!({"kind": "Deployment", "metadata": {"managedFields": entries}, "spec": {"replicas": replicas}})
    }

    /// The number of replicas in the request after it was settled against what is there.
    fn asked(rendered: Option<i32>, live: Option<&Value>) -> Option<i64> {
        let mut object = json!({"kind": "Deployment", "spec": {}});
        if let Some(replicas) = rendered {
            object["spec"]["replicas"] = json!(replicas);
        }
        settled(object, live)["spec"]["replicas"].as_i64()
    }

    #[test]
    fn what_has_no_spec_gets_none() {
        let binding = json!({"kind": "RoleBinding", "metadata": {"name": "access"}});
        assert_eq!(settled(binding.clone(), Some(&live(&["pilothouse"], 2))), binding);
    }

    #[test]
    fn the_size_is_ours_where_nobody_else_set_it() {
        assert_eq!(asked(Some(2), None), Some(2));
        assert_eq!(asked(Some(3), Some(&live(&["pilothouse"], 2))), Some(3));
        assert_eq!(asked(Some(3), Some(&live(&[], 1))), Some(3));
    }

    #[test]
    fn a_size_that_somebody_set_is_left_alone() {
        for manager in ["pilothouse-scale", "kube-controller-manager", "kubectl-scale"] {
            assert_eq!(asked(Some(2), Some(&live(&[manager], 5))), None, "{manager}");
            assert_eq!(asked(None, Some(&live(&[manager], 5))), None, "{manager}");
        }
        assert_eq!(asked(Some(2), Some(&live(&[], 0))), None, "scaled to zero");
    }

    #[test]
    fn a_size_of_ours_is_not_dropped_before_the_autoscaler_wrote_one() {
        assert_eq!(asked(None, Some(&live(&["pilothouse"], 4))), Some(4));
        assert_eq!(asked(None, Some(&live(&["pilothouse", "kube-controller-manager"], 4))), None);
        assert_eq!(asked(None, None), None);
    }

    #[test]
    fn a_patch_never_empties_a_deployment_that_the_portal_rendered() {
        let place = Place::new("Deployment", "shop", "web").unwrap();
        let patch = image_patch(at(WorkloadKind::Deployment), &BTreeMap::new(), &Marks::default());
        let of = |manager: &str| {
            let entry = json!({"manager": manager, "fieldsV1": {"f:spec": {"f:selector": {}}}});
            json!({"kind": "Deployment", "metadata": {"managedFields": [entry]}})
        };
        assert_eq!(may_patch(&place, &patch, Some(&of("kubectl"))), Ok(()));
        assert!(matches!(may_patch(&place, &patch, Some(&of("pilothouse"))), Err(Refusal::Invalid { .. })));
        assert!(matches!(may_patch(&place, &patch, None), Err(Refusal::NotFound { .. })));
    }

    fn at(kind: WorkloadKind) -> WorkloadRef<'static> {
        WorkloadRef { kind, namespace: "shop", name: "web" }
    }

    #[test]
    fn marks_are_for_workloads_only() {
        let marks = Marks { deploy: Some("7".into()), approval: Some("abc".into()) };
        for kind in WorkloadKind::ALL {
            let patch = image_patch(at(kind), &BTreeMap::from([("web".into(), "web:2".into())]), &marks);
            assert_eq!(
                patch,
                json!({
                    "apiVersion": "apps/v1",
                    "kind": kind.word(),
                    "metadata": {"name": "web", "namespace": "shop", "annotations": {APPROVAL_ANNOTATION: "abc"}},
                    "spec": {"template": {
                        "metadata": {"annotations": {DEPLOY_ANNOTATION: "7"}},
                        "spec": {"containers": [{"name": "web", "image": "web:2"}]},
                    }},
                })
            );
        }
        let service = json!({"kind": "Service"});
        assert_eq!(marked(service.clone(), &marks), service);
    }
}
