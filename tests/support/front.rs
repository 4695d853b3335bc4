//! A front of the development cluster's registry that asks for passwords and tokens the way public registries do: the name
//! is `portal`, the password `secret`. Nodes can pull from it, too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use pilothouse::server::prepare_process;

/// Where the development cluster's registry listens.
pub fn registry_host() -> String {
    let state =
        std::env::var("PILOTHOUSE_TEST_STATE").expect("PILOTHOUSE_TEST_STATE names the cluster's folder");
    let settings = std::fs::read_to_string(format!("{state}/cluster/settings")).unwrap();
    let port = settings.lines().find_map(|line| line.strip_prefix("REGISTRY_PORT=")).unwrap();
    format!("127.0.0.1:{port}")
}

/// What stands before the real registry.
#[derive(Clone, Copy, PartialEq)]
pub enum Door {
    Bearer,
    Basic,
    SwapsBytes,
    Redirects,
}

/// A reverse proxy to the real registry with a door in it.
pub struct Front {
    pub host: String,
    /// How many the token service gave.
    pub tokens: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Behind {
    door: Door,
    address: SocketAddr,
    tokens: Arc<AtomicUsize>,
    http: reqwest::Client,
}

impl Front {
    pub async fn start(door: Door) -> Self {
        prepare_process();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tokens = Arc::new(AtomicUsize::new(0));
        let behind = Behind { door, address, tokens: tokens.clone(), http: reqwest::Client::new() };
        let router = Router::new().route("/token", get(token)).fallback(pass).with_state(behind);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { host: address.to_string(), tokens }
    }
}

fn knows_password(headers: &HeaderMap) -> bool {
    let expected = base64::engine::general_purpose::STANDARD.encode("portal:secret");
    headers.get(header::AUTHORIZATION).is_some_and(|value| value == format!("Basic {expected}").as_str())
}

async fn token(State(behind): State<Behind>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    if !knows_password(request.headers())
        || !query.contains("scope=repository%3Apayments%2Fcheckout-api%3Apull")
    {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    behind.tokens.fetch_add(1, Ordering::SeqCst);
    r#"{"token":"good","access_token":"good","expires_in":300}"#.into_response()
}

async fn pass(State(behind): State<Behind>, request: Request) -> Response {
    let headers = request.headers();
    let challenge = match behind.door {
        Door::Bearer if headers.get(header::AUTHORIZATION).is_none_or(|value| value != "Bearer good") => {
            Some(format!(
                r#"Bearer realm="http://{}/token",service="front",scope="repository:x:push""#,
                behind.address
            ))
        }
        Door::Basic if !knows_password(headers) => Some(r#"Basic realm="front""#.to_string()),
        _ => None,
    };
    if let Some(challenge) = challenge {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response();
    }
    if behind.door == Door::Redirects {
        return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "http://127.0.0.1:9/")]).into_response();
    }
    let url = format!("http://{}{}", registry_host(), request.uri());
    let accept = headers.get(header::ACCEPT).cloned().unwrap();
    let real = behind.http.request(request.method().clone(), url).header(header::ACCEPT, accept);
    let real = real.send().await.unwrap();
    let mut answer = Response::builder().status(real.status());
    // The length of what a HEAD leaves out is its answer.
    let length = (request.method() == Method::HEAD).then_some(header::CONTENT_LENGTH.as_str());
    for name in [header::CONTENT_TYPE.as_str(), "docker-content-digest"].into_iter().chain(length) {
        if let Some(value) = real.headers().get(name) {
            answer = answer.header(name, value);
        }
    }
    let swap = behind.door == Door::SwapsBytes && request.method() == Method::GET;
    let body = if swap { "{}".into() } else { real.bytes().await.unwrap() };
    answer.body(Body::from(body)).unwrap()
}
