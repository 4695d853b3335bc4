//! What may stand between a portal and an API server: it passes requests on, and holds or spoils one when told to.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use super::{cluster, listen};

/// What happens to the next write.
enum Trap {
    /// It waits until it is let go.
    Hold { caught: oneshot::Sender<Held> },
    /// It is carried out, and answered as if it had taken too long.
    Spoil,
}

pub struct Gateway {
    pub kubeconfig: PathBuf,
    trap: Arc<Mutex<Option<Trap>>>,
    _folder: tempfile::TempDir,
}

/// A write on its way. The portal may long have given it up.
pub struct Held {
    go: oneshot::Sender<()>,
    arrived: oneshot::Receiver<StatusCode>,
}

impl Held {
    /// Lets it go, and tells what the API server says to it.
    pub async fn arrives(self) -> StatusCode {
        self.go.send(()).unwrap();
        self.arrived.await.unwrap()
    }
}

#[derive(Clone)]
struct Passage {
    upstream: kube::Client,
    trap: Arc<Mutex<Option<Trap>>>,
}

impl Gateway {
    /// In front of the development cluster, with the portal's own identity.
    pub async fn open() -> Self {
        let trap = Arc::new(Mutex::new(None));
        let passage = Passage { upstream: cluster::as_portal().await, trap: trap.clone() };
        let (listener, address) = listen().await;
        let router = axum::Router::new().fallback(pass).with_state(passage);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("gateway.kubeconfig");
        std::fs::write(&kubeconfig, kubeconfig_for(&address)).unwrap();
        Self { kubeconfig, trap, _folder: folder }
    }

    /// The next write to a Deployment is held.
    pub fn hold(&self) -> oneshot::Receiver<Held> {
        let (caught, held) = oneshot::channel();
        *self.trap.lock().unwrap() = Some(Trap::Hold { caught });
        held
    }

    /// The next write to a Deployment is carried out and answered with 504.
    pub fn spoil(&self) {
        *self.trap.lock().unwrap() = Some(Trap::Spoil);
    }

    pub fn path(&self) -> &Path {
        &self.kubeconfig
    }
}

/// A kubeconfig that names this address and nobody in particular.
pub fn kubeconfig_for(address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: \"{address}\"}}}}]\n\
         users: [{{name: c, user: {{}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: c}}}}]\n"
    )
}

async fn pass(State(passage): State<Passage>, request: Request) -> Response {
    let trap = if is_write(&request) { passage.trap.lock().unwrap().take() } else { None };
    // What is held goes on when whoever sent it has hung up.
    tokio::spawn(async move {
        match trap {
            None => forward(&passage.upstream, request).await,
            Some(Trap::Spoil) => {
                forward(&passage.upstream, request).await;
                (StatusCode::GATEWAY_TIMEOUT, "upstream timed out").into_response()
            }
            Some(Trap::Hold { caught }) => {
                // Read whole now: who hangs up later takes nothing of it along.
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let (go, gone) = oneshot::channel();
                let (arrived, outcome) = oneshot::channel();
                let _ = caught.send(Held { go, arrived: outcome });
                let _ = gone.await;
                let answer = forward(&passage.upstream, Request::from_parts(parts, Body::from(body))).await;
                let _ = arrived.send(answer.status());
                answer
            }
        }
    })
    .await
    .unwrap()
}

fn is_write(request: &Request) -> bool {
    let uri = request.uri();
    request.method() == Method::PATCH
        && uri.path().contains("/deployments/")
        && !uri.query().unwrap_or_default().contains("dryRun")
}

async fn forward(upstream: &kube::Client, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(http::header::HOST);
    let path = parts.uri.path_and_query().unwrap().as_str();
    parts.uri = path.parse().unwrap();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    let request = http::Request::from_parts(parts, kube::client::Body::from(body));
    match upstream.send(request).await {
        Ok(answer) => answer.map(Body::new).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
