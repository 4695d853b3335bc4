//! RoleBindings of the portal's own: one person, one ClusterRole, one namespace, until a time. Always written and
//! removed as a person: Kubernetes lets nobody hand out what they neither hold nor may `bind`.

use jiff::Timestamp;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::apply::FIELD_MANAGER;
use super::call::{self, Place};
use super::refusal::Refusal;
use super::{UserClient, dry_run};

/// On the binding: the number of the access request, as a label to find them all by.
pub const REQUEST_LABEL: &str = "pilothouse.dev/access-request";
/// On the binding: when the portal takes it back.
pub const EXPIRES_ANNOTATION: &str = "pilothouse.dev/expires";

/// Who gets which role where, and until when.
#[derive(Clone, Debug)]
pub struct Binding<'a> {
    pub request: i64,
    pub namespace: &'a str,
    pub cluster_role: &'a str,
    /// The user name that the cluster sees.
    pub username: &'a str,
    pub until: Timestamp,
}

/// The name follows from the number of the request, so that a repeated write is the same write.
pub fn name(request: i64) -> String {
    format!("pilothouse-access-{request}")
}

impl Binding<'_> {
    pub fn object(&self) -> Value {
        const GROUP: &str = "rbac.authorization.k8s.io";
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {
                "name": name(self.request),
                "namespace": self.namespace,
                "labels": {
                    "app.kubernetes.io/managed-by": FIELD_MANAGER,
                    REQUEST_LABEL: self.request.to_string(),
                },
                "annotations": {EXPIRES_ANNOTATION: self.until.to_string()},
            },
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": self.cluster_role},
            "subjects": [{"apiGroup": GROUP, "kind": "User", "name": self.username}],
        })
    }
}

/// Whether this person could write it: their RBAC, the right to bind the role, and what admission says.
pub async fn try_out(user: &UserClient, binding: &Binding<'_>) -> Result<(), Refusal> {
    let plans = dry_run::dry_run(user, &[binding.object()], false).await;
    plans.into_iter().try_for_each(|plan| plan.after.map(drop))
}

/// Whether it is there.
pub async fn exists(user: &UserClient, namespace: &str, request: i64) -> Result<bool, Refusal> {
    let place = Place::new("RoleBinding", namespace, &name(request))?;
    Ok(call::read(user, &place).await?.is_some())
}

/// Takes it back. One that is gone already is taken back.
pub async fn remove(user: &UserClient, namespace: &str, request: i64) -> Result<(), Refusal> {
    let place = Place::new("RoleBinding", namespace, &name(request))?;
    match call::send(user, place.request().delete(&place.name, &DeleteParams::default())).await {
        Ok(_) | Err(Refusal::NotFound { .. }) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_names_one_person_one_role_and_its_end() {
        let until = "2026-11-23T22:00:00Z".parse().unwrap();
        let binding =
            Binding { request: 7, namespace: "shop", cluster_role: "edit", username: "noor", until };
        let object = binding.object();
        assert_eq!(object["metadata"]["name"], "pilothouse-access-7");
        assert_eq!(object["metadata"]["annotations"][EXPIRES_ANNOTATION], "2026-11-23T22:00:00Z");
        assert_eq!(object["subjects"].as_array().unwrap().len(), 1);
        assert_eq!(
            (&object["subjects"][0]["kind"], &object["subjects"][0]["name"]),
            (&json!("User"), &json!("noor"))
        );
        assert_eq!(object["roleRef"]["name"], "edit");
    }
}
