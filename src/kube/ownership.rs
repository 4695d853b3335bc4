//! Who owns a field. Server-side apply refuses to change what another manager set, so before the first deploy
//! the page has to know who set the image, and whether that is somebody to agree with or a controller that
//! would set it back. Read from `metadata.managedFields`; nothing here guesses: several owners are all named.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::apply::{FIELD_MANAGER, SCALE_MANAGER};
use super::wording;
use super::workload::{MakesPods, WorkloadKind};

/// A field manager that owns the field in question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    pub name: String,
    /// When it last wrote any field it owns.
    pub when: Option<Timestamp>,
}

/// Something that keeps the object as a repository or a chart has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitOps {
    /// "Argo CD", "Flux" or "Helm".
    pub tool: String,
    /// The application, release or kustomization, where the object says which.
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
    /// An autoscaler wrote it ("the HorizontalPodAutoscaler", "KEDA"). Its bounds are what a person can change.
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

/// Who has to be asked before the portal sets this container's image.
pub fn image_owner(workload: &impl MakesPods, container: &str) -> ImageOwner {
    if let Some(gitops) = gitops(workload) {
        return ImageOwner::GitOps(gitops);
    }
    let owners = holders(workload.metadata(), &image_path(&container_key(container)));
    if owners.is_empty() {
        return ImageOwner::Nobody;
    }
    let managers: Vec<_> = owners.into_iter().filter(|manager| manager.name != FIELD_MANAGER).collect();
    if managers.is_empty() { ImageOwner::Ours } else { ImageOwner::TakeOver { managers } }
}

/// Who set the number of replicas. An autoscaler that has not written yet is not seen here: see [`autoscaler`].
pub fn replicas_owner(workload: &impl MakesPods) -> ReplicasOwner {
    let owners = holders(workload.metadata(), &["f:spec", "f:replicas"]);
    if let Some((manager, what)) =
        owners.iter().find_map(|owner| Some((owner, autoscaler_words(&owner.name)?)))
    {
        return ReplicasOwner::Autoscaler { manager: manager.clone(), what: what.into() };
    }
    if let Some(tool) = owners.iter().find_map(|owner| tool(&owner.name)) {
        let source = gitops(workload).and_then(|gitops| gitops.source);
        return ReplicasOwner::GitOps(GitOps { tool: tool.into(), source });
    }
    let ours = |manager: &Manager| [FIELD_MANAGER, SCALE_MANAGER].contains(&manager.name.as_str());
    if owners.is_empty() {
        ReplicasOwner::Nobody
    } else if owners.iter().all(ours) {
        ReplicasOwner::Ours
    } else {
        ReplicasOwner::Others { managers: owners.into_iter().filter(|owner| !ours(owner)).collect() }
    }
}

/// The autoscaler that targets this workload, whether it has written yet or not. KEDA works through one as well.
pub fn autoscaler<'a>(
    autoscalers: &'a [HorizontalPodAutoscaler],
    kind: WorkloadKind,
    name: &str,
) -> Option<&'a HorizontalPodAutoscaler> {
    autoscalers.iter().find(|autoscaler| scales(autoscaler, kind, name))
}

pub(super) fn scales(autoscaler: &HorizontalPodAutoscaler, kind: WorkloadKind, name: &str) -> bool {
    let target = autoscaler.spec.as_ref().map(|spec| &spec.scale_target_ref);
    target.is_some_and(|target| target.kind == kind.word() && target.name == name)
}

/// The controller that keeps this workload, if one does.
pub fn gitops(workload: &impl MakesPods) -> Option<GitOps> {
    keeper(workload.metadata())
}

/// The controller that keeps an object: by the fields it set in the spec, or by the marks it left.
/// The marks count alone too, because the last hand on the image may have been somebody's kubectl.
pub fn keeper(metadata: &ObjectMeta) -> Option<GitOps> {
    let annotation = |key: &str| metadata.annotations.as_ref().and_then(|all| all.get(key)).cloned();
    let label = |key: &str| metadata.labels.as_ref().and_then(|all| all.get(key)).cloned();
    let marks = [
        // `application:group/kind:namespace/name`
        ("Argo CD", annotation("argocd.argoproj.io/tracking-id").map(|id| before(&id, ':'))),
        ("Argo CD", label("argocd.argoproj.io/instance")),
        ("Flux", label("kustomize.toolkit.fluxcd.io/name")),
        ("Flux", label("helm.toolkit.fluxcd.io/name")),
        ("Helm", annotation("meta.helm.sh/release-name")),
    ];
    if let Some((tool, source)) = marks.into_iter().find(|(_, source)| source.is_some()) {
        return Some(GitOps { tool: tool.into(), source });
    }
    let entries = metadata.managed_fields.iter().flatten();
    let tool = entries
        .filter(|entry| field(entry, &["f:spec"]).is_some())
        .find_map(|entry| tool(entry.manager.as_deref()?))?;
    Some(GitOps { tool: tool.into(), source: None })
}

impl GitOps {
    /// Why the portal does not write, and the way that does.
    pub fn sentence(&self, workload: WorkloadKind) -> String {
        let Self { tool, source } = self;
        let source = source.as_deref();
        match tool.as_str() {
            "Helm" => {
                let release = source.map(|name| format!(" {name}")).unwrap_or_default();
                format!(
                    "Helm keeps this {workload}, and its next upgrade would set the image back. Change the image in the \
                     values of the release{release}."
                )
            }
            tool => {
                let kind = if tool == "Argo CD" { "application" } else { "source" };
                let place = source.map(|name| format!(" of the {kind} {name}")).unwrap_or_default();
                format!(
                    "{tool} keeps this {workload} as its repository has it, and would set the image back. Change the \
                     image in the repository{place}."
                )
            }
        }
    }
}

impl Manager {
    pub fn words(&self) -> String {
        words(&self.name)
    }
}

/// The managers as a sentence names them: "kubectl apply and jenkins".
pub fn names(managers: &[Manager]) -> String {
    wording::list(&managers.iter().map(Manager::words).collect::<Vec<_>>())
}

/// Their own names in one line, each once: what a person agrees to take a field over from. None: nobody.
pub fn listed(managers: &[Manager]) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for manager in managers {
        if !names.contains(&manager.name.as_str()) {
            names.push(&manager.name);
        }
    }
    (!names.is_empty()).then(|| names.join(", "))
}

/// A field manager as people know it.
pub fn words(manager: &str) -> String {
    if let Some(what) = autoscaler_words(manager) {
        return what.into();
    }
    if let Some(tool) = tool(manager) {
        return tool.into();
    }
    match manager {
        "" => "a client without a name".into(),
        "kubectl-client-side-apply" | "kubectl-last-applied" => "kubectl apply".into(),
        FIELD_MANAGER | SCALE_MANAGER => "the portal".into(),
        // Browsers that speak to the API through a console name themselves like this.
        browser if browser.starts_with("Mozilla") => "a web console".into(),
        command => match command.strip_prefix("kubectl-") {
            Some(verb) => format!("kubectl {verb}"),
            None => command.into(),
        },
    }
}

fn autoscaler_words(manager: &str) -> Option<&'static str> {
    match manager {
        "kube-controller-manager" | "horizontal-pod-autoscaler" => Some("the HorizontalPodAutoscaler"),
        "keda" | "keda-operator" => Some("KEDA"),
        _ => None,
    }
}

fn tool(manager: &str) -> Option<&'static str> {
    let manager = manager.to_ascii_lowercase();
    if manager.starts_with("argocd") || manager == "argo-cd" {
        Some("Argo CD")
    } else if ["kustomize-controller", "helm-controller"].contains(&manager.as_str())
        || manager.starts_with("flux")
    {
        Some("Flux")
    } else if manager == "helm" {
        Some("Helm")
    } else {
        None
    }
}

/// Whether this manager, alone or with others, owns the image of a container.
pub(super) fn owns_image(workload: &impl MakesPods, manager: &str, container: &str) -> bool {
    let key = container_key(container);
    holders(workload.metadata(), &image_path(&key)).iter().any(|holder| holder.name == manager)
}

fn container_key(container: &str) -> String {
    format!("k:{{\"name\":\"{container}\"}}")
}

fn image_path(key: &str) -> [&str; 6] {
    ["f:spec", "f:template", "f:spec", "f:containers", key, "f:image"]
}

/// The managers that own the field at `path`, each once, in the order of the object.
pub(super) fn holders(metadata: &ObjectMeta, path: &[&str]) -> Vec<Manager> {
    let mut owners: Vec<Manager> = Vec::new();
    for entry in metadata.managed_fields.iter().flatten().filter(|entry| field(entry, path).is_some()) {
        let name = entry.manager.clone().unwrap_or_default();
        let when = entry.time.as_ref().map(|time| time.0);
        match owners.iter_mut().find(|owner| owner.name == name) {
            Some(owner) => owner.when = owner.when.max(when),
            None => owners.push(Manager { name, when }),
        }
    }
    owners
}

fn field<'a>(entry: &'a ManagedFieldsEntry, path: &[&str]) -> Option<&'a Value> {
    let fields = &entry.fields_v1.as_ref()?.0;
    path.iter().try_fold(fields, |at, key| at.get(key))
}

fn before(text: &str, end: char) -> String {
    text.split(end).next().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::json;

    /// A Deployment with these entries of managedFields: manager, operation, subresource, what it owns.
    fn deployment(entries: &[(&str, &str, &str, Value)]) -> Deployment {
        let entries: Vec<_> = entries
            .iter()
            .map(|(manager, operation, subresource, fields)| {
                json!({
                    "manager": manager, "operation": operation, "subresource": subresource,
                    "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "time": "2026-11-23T15:56:26Z", "fieldsV1": fields,
                })
            })
            .collect();
        let object = json!({"metadata": {"name": "web", "managedFields": entries}});
        serde_json::from_value(object).unwrap()
    }

    fn image() -> Value {
        json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}}}}}}})
    }

    fn replicas() -> Value {
        json!({"f:spec": {"f:replicas": {}}})
    }

    fn names_of(owner: ImageOwner) -> Vec<String> {
        match owner {
            ImageOwner::TakeOver { managers } => managers.into_iter().map(|manager| manager.name).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn people_and_pipelines_are_asked() {
        for manager in
            ["kubectl-set", "kubectl-client-side-apply", "kubectl", "Mozilla", "jenkins", "anything"]
        {
            let owner = image_owner(&deployment(&[(manager, "Update", "", image())]), "web");
            assert_eq!(names_of(owner), [manager]);
        }
    }

    #[test]
    fn several_owners_are_all_named() {
        let both = deployment(&[
            ("pilothouse", "Apply", "", image()),
            ("kubectl", "Apply", "", image()),
            ("jenkins", "Update", "", image()),
        ]);
        let owner = image_owner(&both, "web");
        let ImageOwner::TakeOver { managers } = &owner else { panic!("{owner:?}") };
        assert_eq!(names(managers), "kubectl and jenkins");
        assert_eq!(managers[0].when, Some("2026-11-23T15:56:26Z".parse().unwrap()));
    }

    #[test]
    fn what_is_ours_or_nobodys_needs_no_force() {
        let ours = deployment(&[("pilothouse", "Apply", "", image()), ("kubectl", "Update", "", replicas())]);
        assert_eq!(image_owner(&ours, "web"), ImageOwner::Ours);
        assert_eq!(image_owner(&ours, "sidecar"), ImageOwner::Nobody);
    }

    #[test]
    fn gitops_is_never_fought_even_where_kubectl_set_the_image_last() {
        for (manager, tool) in [
            ("argocd-controller", "Argo CD"),
            ("argocd-application-controller", "Argo CD"),
            ("kustomize-controller", "Flux"),
            ("helm-controller", "Flux"),
            ("helm", "Helm"),
        ] {
            let object =
                deployment(&[(manager, "Apply", "", replicas()), ("kubectl-set", "Update", "", image())]);
            let owner = image_owner(&object, "web");
            assert_eq!(owner, ImageOwner::GitOps(GitOps { tool: tool.into(), source: None }));
        }
        let mut tracked = deployment(&[("kubectl-client-side-apply", "Update", "", image())]);
        let annotation =
            ("argocd.argoproj.io/tracking-id".into(), "checkout:apps/Deployment:payments/web".into());
        tracked.metadata.annotations = Some([annotation].into());
        let ImageOwner::GitOps(gitops) = image_owner(&tracked, "web") else { panic!() };
        assert_eq!(
            gitops.sentence(WorkloadKind::Deployment),
            "Argo CD keeps this Deployment as its repository has it, and would set the image back. Change the image \
             in the repository of the application checkout."
        );
    }

    #[test]
    fn a_controller_that_only_reports_status_keeps_nothing() {
        let status = json!({"f:status": {"f:conditions": {}}});
        let object = deployment(&[("argocd-controller", "Update", "status", status)]);
        assert_eq!(gitops(&object), None);
    }

    #[test]
    fn an_autoscaler_on_the_replicas_is_seen_before_anybody_else() {
        let object = deployment(&[
            ("kubectl", "Update", "", replicas()),
            ("kube-controller-manager", "Update", "scale", replicas()),
        ]);
        let ReplicasOwner::Autoscaler { what, .. } = replicas_owner(&object) else { panic!() };
        assert_eq!(what, "the HorizontalPodAutoscaler");
        let keda = deployment(&[("keda-operator", "Update", "scale", replicas())]);
        assert!(matches!(replicas_owner(&keda), ReplicasOwner::Autoscaler { what, .. } if what == "KEDA"));
    }

    #[test]
    fn replicas_belong_to_the_portal_a_repository_people_or_nobody() {
        let of = |manager: &str| replicas_owner(&deployment(&[(manager, "Update", "", replicas())]));
        assert_eq!(of("pilothouse"), ReplicasOwner::Ours);
        assert_eq!(of("pilothouse-scale"), ReplicasOwner::Ours);
        assert!(matches!(of("argocd-controller"), ReplicasOwner::GitOps(_)));
        assert!(
            matches!(of("kubectl-scale"), ReplicasOwner::Others { managers } if managers[0].words() == "kubectl scale")
        );
        assert_eq!(replicas_owner(&deployment(&[])), ReplicasOwner::Nobody);
    }

    #[test]
    fn an_autoscaler_is_of_a_kind_and_a_name() {
        let target = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web"});
        let of_set =
            json!({"metadata": {"name": "web"}, "spec": {"maxReplicas": 3, "scaleTargetRef": target}});
        let all = [serde_json::from_value(of_set).unwrap()];
        assert!(autoscaler(&all, WorkloadKind::StatefulSet, "web").is_some());
        assert_eq!(autoscaler(&all, WorkloadKind::Deployment, "web"), None);
        assert_eq!(autoscaler(&all, WorkloadKind::StatefulSet, "db"), None);
    }
}
