//! A small portal that speaks the API's contract and nothing else, for the manners of the command: what it sends,
//! what it prints, how it ends. What the portal really does is tested with the portal.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{OriginalUri, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{delete, get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::stream::{self, StreamExt as _};
use pilothouse::api::types::*;
use serde_json::{Value, json};
use sha2::Digest as _;

use super::listen;

pub const TOKEN: &str = "ph_good";

/// What was asked: method and path with query, the body, the idempotency key.
#[derive(Clone, Debug)]
pub struct Heard {
    pub what: String,
    pub body: Value,
    pub key: Option<String>,
}

#[derive(Clone, Default)]
pub struct Api {
    pub base: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    challenge: Arc<Mutex<String>>,
    /// Deploys by number: what was asked for.
    deploys: Arc<Mutex<Vec<Deploy>>>,
    /// How often a stream or a code was asked for.
    asked: Arc<Mutex<u32>>,
}

impl Api {
    pub async fn start() -> Self {
        let (listener, base) = listen().await;
        let api = Self { base, ..Self::default() };
        let router = router(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        api
    }

    /// Requests since the last look, without those of the sign-in.
    pub fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }

    pub fn whats(&self) -> Vec<String> {
        self.heard().into_iter().map(|heard| heard.what).collect()
    }

    fn count(&self) -> u32 {
        let mut asked = self.asked.lock().unwrap();
        *asked += 1;
        *asked
    }

    fn add(&self, environment: &str, action: &str, title: String, version: Option<&str>) -> Response {
        let mut deploys = self.deploys.lock().unwrap();
        let id = deploys.len() as i64 + 1;
        let waits = environment == "production" && matches!(action, "deploy" | "migrate");
        let state = if waits { "awaiting_approval" } else { "queued" };
        let deploy = deploy(&self.base, id, environment, action, &title, state, version);
        deploys.push(deploy.clone());
        (StatusCode::CREATED, Json(deploy)).into_response()
    }
}

fn router(api: Api) -> Router {
    let signed_in = Router::new()
        .route("/whoami", get(who_am_i))
        .route("/tokens/{id}", delete(async || StatusCode::NO_CONTENT))
        .route("/environments", get(environments))
        .route(
            "/services",
            get(async || Json(page(vec![detail("checkout-api").service, detail("my-api").service]))),
        )
        .route("/services/{name}", get(service))
        .route("/services/{name}/environments/{env}", get(status))
        .route("/services/{name}/environments/{env}/versions", get(versions))
        .route("/services/{name}/environments/{env}/plan", get(plan))
        .route("/services/{name}/environments/{env}/logs", get(logs))
        .route("/services/{name}/environments/{env}/{action}", post(change))
        .route("/deploys", get(history))
        .route("/deploys/{id}", get(one))
        .route("/deploys/{id}/events", get(events))
        .route("/deploys/{id}/logs", get(log_of_migration))
        .route("/deploys/{id}/decision", post(decide))
        .route("/approvals", get(inbox))
        .layer(from_fn_with_state(api.clone(), guard));
    let sign_in = Router::new()
        .route("/api/v1/device/code", post(device_code))
        .route("/api/v1/device/token", post(device_token))
        .route("/authorize", get(authorize))
        .route("/api/v1/token", post(token));
    Router::new().nest("/api/v1", signed_in).merge(sign_in).with_state(api)
}

/// Writes down what is asked, and lets nobody in without the token.
async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let OriginalUri(uri) = request.extensions().get().cloned().unwrap();
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(String::from);
    api.heard.lock().unwrap().push(Heard {
        what: format!("{} {uri}", parts.method),
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
        key: header("idempotency-key"),
    });
    if header("authorization").as_deref() != Some(&format!("Bearer {TOKEN}")) {
        return problem(401, "Sign in first.", |_| {});
    }
    next.run(Request::from_parts(parts, bytes.into())).await
}

fn problem(status: u16, detail: &str, more: impl FnOnce(&mut Problem)) -> Response {
    let mut problem = Problem {
        kind: "about:blank".into(),
        title: "No".into(),
        status,
        detail: detail.into(),
        request_id: "r-1".into(),
        ..Problem::default()
    };
    more(&mut problem);
    let form = [(header::CONTENT_TYPE, "application/problem+json")];
    (StatusCode::from_u16(status).unwrap(), form, Json(problem)).into_response()
}

fn page<T>(items: Vec<T>) -> Page<T> {
    Page { items, next: None }
}

async fn who_am_i() -> Json<WhoAmI> {
    Json(WhoAmI {
        username: "maya@corp".into(),
        name: "Maya".into(),
        groups: vec!["payments".into()],
        issuer: "https://id".into(),
        subject: "1".into(),
        machine: false,
        team: None,
        environments: Vec::new(),
        token: Some(Token {
            id: 7,
            name: "platform on desk".into(),
            scopes: vec![Scope::Read, Scope::Deploy],
            created: at("2026-11-01T00:00:00Z"),
            expires: at("2026-12-01T00:00:00Z"),
            last_used: None,
        }),
    })
}

fn at(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

async fn environments() -> Json<Value> {
    let one = |name: &str, production| json!({ "name": name, "production": production, "approvals": 0, "cluster": "one" });
    Json(json!({ "items": [one("staging", false), one("production", true)] }))
}

fn detail(name: &str) -> ServiceDetail {
    ServiceDetail {
        service: Service {
            name: name.into(),
            title: format!("The {name}"),
            description: "Basket to paid order".into(),
            team: "payments".into(),
            tier: Some(1),
            lifecycle: "production".into(),
            kind: "service".into(),
            tags: vec![],
            url: format!("https://portal/services/{name}"),
            environments: vec![running("staging"), running("production")],
        },
        depends_on: vec![],
        used_by: vec![],
        links: vec![],
    }
}

fn running(environment: &str) -> Status {
    let production = environment == "production";
    Status {
        environment: environment.into(),
        production,
        cluster: "one".into(),
        namespace: "payments".into(),
        health: if production { Health::Degraded } else { Health::Healthy },
        reason: if production {
            "1 of 2 pods: the image is not in the registry".into()
        } else {
            String::new()
        },
        version: "v1.0.0".into(),
        ready: if production { 1 } else { 2 },
        wanted: 2,
        stale: false,
        seen: None,
        last_deploy: None,
    }
}

fn known(name: &str) -> Option<Response> {
    let unknown = || {
        problem(404, &format!("There is no service “{name}”."), |it| {
            it.nearest = vec!["checkout-api".into()]
        })
    };
    (!["checkout-api", "my-api", "api"].contains(&name)).then(unknown)
}

async fn service(Path(name): Path<String>) -> Response {
    known(&name).unwrap_or_else(|| Json(detail(&name)).into_response())
}

async fn status(Path((name, env)): Path<(String, String)>) -> Response {
    known(&name).unwrap_or_else(|| match env.as_str() {
        "staging" | "production" => Json(running(&env)).into_response(),
        _ => problem(404, &format!("There is no environment “{env}”."), |it| {
            it.nearest = vec!["staging".into()]
        }),
    })
}

async fn versions(Path((name, _)): Path<(String, String)>) -> Response {
    let version = |version: &str, runs_in: &[&str]| Version {
        version: version.into(),
        created: None,
        runs_in: runs_in.iter().map(ToString::to_string).collect(),
        refused: None,
    };
    let all = vec![version("v1.1.0", &[]), version("v1.0.0", &["staging", "production"])];
    known(&name).unwrap_or_else(|| Json(page(all)).into_response())
}

async fn plan(Path((service, environment)): Path<(String, String)>) -> Json<Plan> {
    Json(Plan {
        service,
        environment,
        version: "v1.1.0".into(),
        image_digest: None,
        replaces: "v1.0.0".into(),
        strategy: None,
        approvals: 0,
        approvers: vec![],
        checks: vec![Check {
            verdict: Verdict::Passed,
            title: "You may change it".into(),
            detail: "patch deployments".into(),
            help: None,
        }],
        diffs: vec![ObjectDiff {
            kind: "Deployment".into(),
            name: "checkout-api".into(),
            unified: "-  image: a:v1.0.0\n+  image: a:v1.1.0".into(),
        }],
        take_over_from: None,
        digest: Some("d1".into()),
    })
}

async fn change(
    State(api): State<Api>,
    Path((name, env, action)): Path<(String, String, String)>,
    Json(body): Json<Value>,
) -> Response {
    if let Some(unknown) = known(&name) {
        return unknown;
    }
    let version = body["version"].as_str();
    match (action.as_str(), version) {
        ("deploys", Some("v6.6.6")) => problem(422, "The image is not signed.", |it| {
            it.checks = vec![Check {
                verdict: Verdict::Failed,
                title: "Signature".into(),
                detail: "there is none".into(),
                help: Some("Ask security.".into()),
            }];
        }),
        ("deploys", version) => {
            api.add(&env, "deploy", format!("Deploy {name} {}", version.unwrap()), version)
        }
        ("scale", _) => api.add(&env, "scale", format!("Scale {name} to {} pods", body["replicas"]), None),
        ("rollback", version) => api.add(&env, "rollback", format!("Roll {name} back"), version),
        ("migrations", version) => {
            let version = version.unwrap_or("v1.0.0");
            api.add(&env, "migrate", format!("Migrate {name} with {version}"), Some(version))
        }
        _ => api.add(&env, "restart", format!("Restart {name}"), None),
    }
}

fn deploy(
    base: &str,
    id: i64,
    env: &str,
    action: &str,
    title: &str,
    state: &str,
    version: Option<&str>,
) -> Deploy {
    let ended = matches!(state, "succeeded" | "failed");
    let failed = state == "failed";
    let step =
        |title: &str, detail: &str, state: &str| json!({ "title": title, "detail": detail, "state": state });
    serde_json::from_value(json!({
        "id": id, "action": action, "title": title, "service": "checkout-api", "team": "payments",
        "environment": env, "namespace": "payments", "state": state, "ended": ended, "version": version,
        "replaces": "v1.0.0", "requester": "maya@corp", "reason": "", "digest": "d1", "approvals_needed": 1,
        "approvers": ["payments-managers"], "decisions": [], "requested_at": "2026-11-23T14:00:00Z",
        "steps": [
            step("Requested", "", "done"),
            step("Rolling out", "1 of 2 pods", if failed { "failed" } else if ended { "done" } else { "now" }),
        ],
        "pods": [], "why": failed.then_some("2 of 2 pods crash at their start."),
        "next_action": failed.then_some("Roll back."),
        "evidence": if failed { json!([{ "title": "Last words", "lines": ["no DATABASE_URL"] }]) } else { json!([]) },
        "url": format!("{base}/deploys/{id}"),
    }))
    .unwrap()
}

async fn one(State(api): State<Api>, Path(id): Path<usize>) -> Response {
    match api.deploys.lock().unwrap().get(id - 1) {
        Some(deploy) => Json(deploy).into_response(),
        None => problem(404, "There is no such deploy.", |_| {}),
    }
}

async fn history(State(api): State<Api>) -> Json<Page<Deploy>> {
    Json(page(api.deploys.lock().unwrap().iter().rev().cloned().collect()))
}

async fn inbox(State(api): State<Api>) -> Json<Inbox> {
    Json(Inbox { yours: api.deploys.lock().unwrap().clone(), others: vec![], access: vec![], glass: vec![] })
}

async fn decide(
    State(api): State<Api>,
    Path(id): Path<usize>,
    Json(decision): Json<NewDecision>,
) -> Response {
    let deploy = api.deploys.lock().unwrap()[id - 1].clone();
    if decision.seen != deploy.digest {
        return problem(409, "What would run is not what you looked at.", |_| {});
    }
    let state = if decision.approve { "queued" } else { "rejected" };
    Json(Deploy { state: state.into(), ..deploy }).into_response()
}

/// Rolls out and ends: v1.3.0 fails, v0.0.1 never ends, and the first connection for v2.0.0 breaks off.
async fn events(State(api): State<Api>, Path(id): Path<usize>) -> Response {
    let asked = api.deploys.lock().unwrap()[id - 1].clone();
    let is = |state: &str| {
        let Deploy { id, environment, action, title, version, .. } = &asked;
        let deploy = deploy(&api.base, *id, environment, action, title, state, version.as_deref());
        Ok::<_, Infallible>(Event::default().event("deploy").json_data(deploy).unwrap())
    };
    let rolling = stream::iter([is("rolling_out")]);
    match asked.version.as_deref() {
        Some("v1.3.0") => Sse::new(rolling.chain(stream::iter([is("failed")]))).into_response(),
        Some("v0.0.1") => Sse::new(rolling.chain(stream::pending())).into_response(),
        Some("v2.0.0") if api.count() == 1 => Sse::new(rolling).into_response(),
        _ => {
            let end = is("succeeded");
            let later = stream::once(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                end
            });
            Sse::new(rolling.chain(later)).into_response()
        }
    }
}

async fn logs(Query(asked): Query<BTreeMap<String, String>>, headers: HeaderMap) -> Response {
    let line = |text: &str| LogItem::Line {
        at: at("2026-11-23T14:10:01.204Z"),
        pod: "checkout-api-6d4f8b9c7d-x2x9z".into(),
        container: "app".into(),
        level: "info".into(),
        text: text.into(),
    };
    if !asked.contains_key("follow") {
        return Json(page(vec![line("first"), line("second")])).into_response();
    }
    let event = |id: &str, text: &str| {
        Ok::<_, Infallible>(Event::default().id(id).json_data(vec![line(text)]).unwrap())
    };
    // Breaks off after the first; whoever asks for what comes behind it gets the second, then a refusal ends it.
    match headers.get("last-event-id").and_then(|id| id.to_str().ok()) {
        None => Sse::new(stream::iter([event("1", "first")])).into_response(),
        Some("1") => Sse::new(stream::iter([event("2", "second")])).into_response(),
        Some(_) => problem(403, "You may no longer read these logs.", |_| {}),
    }
}

/// Breaks off after the first line, and has an end.
async fn log_of_migration(headers: HeaderMap) -> Response {
    let line = |text: &str| LogItem::Line {
        at: at("2026-11-23T14:10:01.204Z"),
        pod: "checkout-api-migrate-1-x2x9z".into(),
        container: "app".into(),
        level: "info".into(),
        text: text.into(),
    };
    let event = |id: &str, text: &str| {
        Ok::<_, Infallible>(Event::default().id(id).json_data(vec![line(text)]).unwrap())
    };
    let end = || Ok(Event::default().event("end").data("end"));
    match headers.get("last-event-id") {
        None => Sse::new(stream::iter([event("1", "step 1 of 2\u{1b}[2J")])).into_response(),
        Some(_) => Sse::new(stream::iter([event("2", "step 2 of 2"), end()])).into_response(),
    }
}

type Fields = Form<BTreeMap<String, String>>;

async fn device_code(State(api): State<Api>, Form(form): Fields) -> Json<Value> {
    assert_eq!(form["client_id"], "platform-cli");
    Json(json!({
        "device_code": "dc", "user_code": "ABCD-EFGH", "verification_uri": format!("{}/device", api.base),
        "expires_in": 60, "interval": 1,
    }))
}

async fn device_token(State(api): State<Api>, Form(form): Fields) -> Response {
    assert_eq!(form["device_code"], "dc");
    match api.count() {
        1 => (StatusCode::BAD_REQUEST, Json(json!({ "error": "authorization_pending" }))).into_response(),
        _ => granted(),
    }
}

fn granted() -> Response {
    Json(json!({ "access_token": TOKEN, "token_type": "Bearer", "expires_in": 2_592_000, "scope": "read deploy" }))
        .into_response()
}

/// The person agrees at once.
async fn authorize(State(api): State<Api>, Query(asked): Query<BTreeMap<String, String>>) -> Redirect {
    assert_eq!(
        (asked["client_id"].as_str(), asked["code_challenge_method"].as_str()),
        ("platform-cli", "S256")
    );
    *api.challenge.lock().unwrap() = asked["code_challenge"].clone();
    Redirect::to(&format!("{}?code=c0de&state={}", asked["redirect_uri"], asked["state"]))
}

async fn token(State(api): State<Api>, Form(form): Fields) -> Response {
    let challenge = URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(&form["code_verifier"]));
    if form["code"] != "c0de" || challenge != *api.challenge.lock().unwrap() {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response();
    }
    granted()
}
