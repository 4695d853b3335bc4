//! The smoke request: one GET to a pod, through the API server and as the person, before the pod is trusted.

use std::time::Duration;

use http_body_util::BodyExt;
use kube::client::Body;
use kube::core::Status;

use super::UserClient;
use super::refusal::Refusal;

/// A pod that needs longer for one answer is not ready for traffic.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks a pod for a path; at its own port where none is given. The inner error says what came instead of an answer below
/// 400, the outer one that the API server did not answer.
pub async fn ask(
    user: &UserClient,
    namespace: &str,
    pod: &str,
    port: Option<u16>,
    path: &str,
) -> Result<Result<(), String>, Refusal> {
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let uri = format!("/api/v1/namespaces/{namespace}/pods/{pod}{port}/proxy{path}");
    let asked = tokio::time::timeout(PATIENCE, exchange(user, &uri)).await;
    asked.unwrap_or_else(|_| Ok(Err(format!("no answer within {} s", PATIENCE.as_secs()))))
}

async fn exchange(user: &UserClient, uri: &str) -> Result<Result<(), String>, Refusal> {
    let request = match http::Request::get(uri).body(Body::empty()) {
        Ok(request) => request,
        Err(odd) => return Ok(Err(odd.to_string())),
    };
    let response = user.client().send(request).await?;
    let status = response.status().as_u16();
    if status < 400 {
        return Ok(Ok(()));
    }
    let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    // What the API server itself says, and not the pod, is a Status of Kubernetes.
    Ok(Err(match serde_json::from_slice::<Status>(&body) {
        Ok(said) if said.code == status && said.code == 403 => Refusal::from_status(&said).sentence(),
        Ok(said) if said.code == status && !said.message.is_empty() => said.message,
        _ => format!("it answered {status}"),
    }))
}
