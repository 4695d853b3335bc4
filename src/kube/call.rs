//! One request to an API server as a person: with a time limit, its warnings, and its refusal understood.

use http_body_util::BodyExt;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Resource;
use kube::api::GetParams;
use kube::core::{Request, Status};
use serde_json::Value;

use super::refusal::Refusal;
use super::{CALL_TIMEOUT, UserClient};

/// What the API server returned, and the `Warning` headers beside it.
pub(super) struct Answer {
    pub object: Value,
    pub warnings: Vec<String>,
}

type Built = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

pub(super) async fn send(user: &UserClient, request: Built) -> Result<Answer, Refusal> {
    let request = request
        .map_err(|error| Refusal::Invalid { fields: Vec::new(), message: error.to_string() })?
        .map(kube::client::Body::from);
    tokio::time::timeout(CALL_TIMEOUT, exchange(user, request)).await.unwrap_or(Err(Refusal::Timeout))
}

async fn exchange(user: &UserClient, request: http::Request<kube::client::Body>) -> Result<Answer, Refusal> {
    let response = user.client().send(request).await?;
    let status = response.status();
    let warnings = response
        .headers()
        .get_all("warning")
        .iter()
        .filter_map(|value| warning(value.to_str().ok()?))
        .collect();
    let body = response.into_body().collect().await?.to_bytes();
    if status.is_success() {
        let object = serde_json::from_slice(&body)
            .map_err(|error| Refusal::Unreachable { message: format!("unreadable answer: {error}") })?;
        return Ok(Answer { object, warnings });
    }
    // A proxy in between answers in its own words; its code still says what to do.
    let refusal = serde_json::from_slice::<Status>(&body)
        .unwrap_or_else(|_| Status::failure(&String::from_utf8_lossy(&body), ""))
        .with_code(status.as_u16());
    Err(Refusal::from_status(&refusal))
}

/// The object as it is, or None where there is none.
pub(super) async fn read(user: &UserClient, place: &Place) -> Result<Option<Value>, Refusal> {
    match send(user, place.request().get(&place.name, &GetParams::default())).await {
        Ok(answer) => Ok(Some(answer.object)),
        Err(Refusal::NotFound { .. }) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// Where an object lives. Only for the kinds that the portal writes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    path: String,
}

impl Place {
    pub fn new(kind: &str, namespace: &str, name: &str) -> Result<Self, Refusal> {
        fn path<K: Resource<DynamicType = ()>>(namespace: &str) -> String {
            K::url_path(&(), Some(namespace))
        }
        let path = match kind {
            "Deployment" => path::<Deployment>(namespace),
            "StatefulSet" => path::<StatefulSet>(namespace),
            "DaemonSet" => path::<DaemonSet>(namespace),
            "Service" => path::<Service>(namespace),
            "PodDisruptionBudget" => path::<PodDisruptionBudget>(namespace),
            "HorizontalPodAutoscaler" => path::<HorizontalPodAutoscaler>(namespace),
            "Pod" => path::<Pod>(namespace),
            "Job" => path::<Job>(namespace),
            "RoleBinding" => path::<RoleBinding>(namespace),
            other => {
                let message = format!("the portal does not write objects of the kind {other:?}");
                return Err(Refusal::Invalid { fields: Vec::new(), message });
            }
        };
        Ok(Self { kind: kind.into(), namespace: namespace.into(), name: name.into(), path })
    }

    pub fn of(object: &Value) -> Result<Self, Refusal> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        Self::new(text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
    }

    pub fn request(&self) -> Request {
        Request::new(self.path.clone())
    }
}

/// `299 - "text with \"quotes\""`
fn warning(header: &str) -> Option<String> {
    let (_, rest) = header.split_once('"')?;
    let text = rest.strip_suffix('"')?;
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_unquoted() {
        let header =
            r#"299 - "would violate PodSecurity \"restricted:latest\": host namespaces (hostNetwork=true)""#;
        let plain = "would violate PodSecurity \"restricted:latest\": host namespaces (hostNetwork=true)";
        assert_eq!(warning(header).as_deref(), Some(plain));
    }

    #[test]
    fn only_kinds_that_the_portal_writes_have_a_place() {
        assert!(Place::new("Deployment", "shop", "web").is_ok());
        assert!(Place::new("Secret", "shop", "web").is_err());
    }
}
