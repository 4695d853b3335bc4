//! Starting and stopping: configuration, database, clusters, background work, router; and the way back.

mod connections;

use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};
use tower_http::trace::TraceLayer;

use self::connections::Patience;
use crate::app::{App, AppState};
use crate::auth::{self, CiIssuers, Provider};
use crate::clock::Clock;
use crate::config::Config;
use crate::kube::{Clusters, Watch};
use crate::prometheus::Prometheus;
use crate::registry::Registry;
use crate::web::{self, Access, Error, Route, Routes};
use crate::{api, audit, catalogue, db, deploy, grants, guard, home, inbox, logs, metrics, notices};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Forms are small; nothing is uploaded.
const MAX_BODY: usize = 256 * 1024;
/// How long a page may take to begin; streams begin at once and may last.
const PATIENCE: Duration = Duration::from_secs(30);
const SET_CLOCK: Duration = Duration::from_secs(10);
/// A client that sends nothing more of its form for this long is dropped.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// Once per process, before anything opens a connection or logs a line.
pub fn prepare_process() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,sqlx=warn,kube=warn,kube_client=off"));
    // Set already is fine: tests start several portals in one process.
    let _ = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// `platform check`.
pub fn check(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    println!(
        "{} is fine: {} environments, {} clusters.",
        path.display(),
        config.environments.len(),
        config.clusters.len()
    );
    for remark in config.remarks() {
        println!("Worth knowing: {remark}");
    }
    Ok(())
}

/// `platform serve`: runs until SIGTERM or Ctrl-C, then lets open requests end.
pub async fn serve(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    let listen = config.server.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen}: change `listen` in [server], or stop what uses it")
    })?;
    for remark in config.remarks() {
        tracing::warn!("{remark}");
    }
    let app = build(config, Clock::System).await?;
    tokio::spawn(stop_on_signal(app.shutdown.clone()));
    tracing::info!(%listen, base_url = %app.config.server.base_url.get_ref(), "the portal is up");
    tokio::select! {
        ended = run(app.clone(), listener) => ended,
        wrong = app.provider.refuse_wrong_kind() => Err(wrong),
    }
}

/// Everything a portal needs, connected. Tests build their own and drive it without a listener.
pub async fn build(config: Config, clock: Clock) -> anyhow::Result<App> {
    let db = db::connect(&config.database.url, config.database.max_connections).await?;
    let clock = clock.corrected();
    set_right(&db, &clock).await?;
    let clusters = Clusters::connect(&config.clusters).await?;
    let registry = Registry::new(&config.registry)?;
    let prometheus = Prometheus::new(&config.clusters)?;
    let provider = Provider::new(&config)?;
    let ci_issuers = CiIssuers::new()?;
    let shutdown = CancellationToken::new();
    // They fill in the background: a portal that starts while a cluster is away starts all the same.
    let watches =
        clusters.iter().map(|portal| (portal.cluster().to_string(), Watch::start(portal, shutdown.clone())));
    let watches = watches.collect();
    let app = Arc::new(AppState {
        company: config.server.company.as_str().into(),
        config,
        db,
        clock,
        clusters,
        watches,
        registry,
        prometheus,
        logs: Default::default(),
        catalogue: Default::default(),
        pages: Default::default(),
        provider,
        ci_issuers,
        sessions: Default::default(),
        tokens: Default::default(),
        refreshes: Default::default(),
        sign_in_limit: Default::default(),
        streams: Default::default(),
        failed_tokens: Default::default(),
        reviews: Default::default(),
        counts: Default::default(),
        audit: Default::default(),
        deploy_pages: Default::default(),
        api: Default::default(),
        shutdown,
    });
    tokio::spawn(auth::session::forget_ended(app.clone()));
    tokio::spawn(keep_right(app.clone()));
    tokio::spawn(metrics::keep_up(app.shutdown.clone()));
    catalogue::start(&app);
    Ok(app)
}

/// Gives the clock the database's time.
async fn set_right(db: &PgPool, clock: &Clock) -> sqlx::Result<()> {
    let now: jiff_sqlx::Timestamp = sqlx::query_scalar("select clock_timestamp()").fetch_one(db).await?;
    if let Some(off) = clock.set_right(now.to_jiff()) {
        tracing::warn!(
            seconds = off.as_secs_f64(),
            "this machine's clock differs from the database's, whose time is used"
        );
    }
    Ok(())
}

async fn keep_right(app: App) {
    let mut ticks = tokio::time::interval(SET_CLOCK);
    while app.shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        // While the database is away the last correction stands.
        let _ = set_right(&app.db, &app.clock).await;
    }
}

/// Serves until the token is cancelled.
pub async fn run(app: App, listener: TcpListener) -> anyhow::Result<()> {
    let shutdown = app.shutdown.clone();
    let background = [
        tokio::spawn(deploy::run_engine(app.clone())),
        tokio::spawn(deploy::run_pages(app.clone())),
        tokio::spawn(grants::run_engine(app.clone())),
        tokio::spawn(guard::run_watch(app.clone())),
    ];
    connections::serve(listener, router(app), Patience::default(), shutdown).await;
    // What the engine is writing right now is written to its end; everything else is another replica's.
    for task in background {
        task.await?;
    }
    Ok(())
}

/// Every route of the portal with who may come in. The authorization test walks its table.
pub fn routes() -> Routes {
    Routes::default()
        .get("/static/{version}/{*path}", Access::Public, web::assets::serve)
        .get("/healthz", Access::Public, healthz)
        .get("/readyz", Access::Public, readyz)
        .get("/metrics", Access::Public, metrics::show)
        .and(auth::routes())
        .and(catalogue::routes())
        .and(deploy::routes())
        .and(grants::routes())
        .and(inbox::routes())
        .and(notices::routes())
        .and(logs::routes())
        .and(home::routes())
        .and(audit::routes())
        .and(api::routes())
}

/// `platform routes`: the table, for tests and reviews.
pub fn print_routes() {
    for Route { method, path, access } in routes().table {
        println!("{method} {path} {access:?}");
    }
}

/// The routes inside the layers that every request passes, outermost last.
pub fn router(app: App) -> Router {
    let layers = ServiceBuilder::new()
        .layer(SetRequestIdLayer::new(X_REQUEST_ID, MakeRequestUuid))
        .layer(TraceLayer::new_for_http().make_span_with(span))
        .layer(PropagateRequestIdLayer::new(X_REQUEST_ID))
        .layer(from_fn(metrics::count))
        .layer(CompressionLayer::new())
        .layer(from_fn_with_state(app.clone(), web::middleware::security_headers))
        .layer(from_fn_with_state(app.clone(), auth::session::load))
        .layer(from_fn_with_state(app.clone(), auth::load_token))
        .layer(from_fn_with_state(app.clone(), web::middleware::error_pages))
        .layer(from_fn_with_state(app.clone(), api::problems))
        .layer(from_fn_with_state(app.clone(), api::limit))
        .layer(from_fn_with_state(app.clone(), web::form::verify_same_origin))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, PATIENCE))
        .layer(RequestBodyTimeoutLayer::new(BODY_PATIENCE))
        .layer(DefaultBodyLimit::max(MAX_BODY));
    routes().into_router().fallback(not_found).layer(layers).with_state(app)
}

fn span(request: &Request) -> tracing::Span {
    let id = web::request_id(request.headers());
    tracing::info_span!("request", method = %request.method(), path = request.uri().path(), id)
}

/// A page like every other, with its headers and its request id; the log says what happened.
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Error::Internal(anyhow::anyhow!("panicked: {text}")).into_response()
}

async fn not_found() -> Error {
    Error::NotFound
}

/// `GET /healthz`: the process answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: what the portal needs is there; a line for each thing that is not.
async fn readyz(State(app): State<App>) -> Response {
    if app.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping: ask another replica\n").into_response();
    }
    let mut missing = Vec::new();
    if sqlx::query("select 1").execute(&app.db).await.is_err() {
        missing.push("database: does not answer".to_string());
    }
    for cluster in app.clusters.iter() {
        match tokio::time::timeout(Duration::from_secs(2), cluster.ping()).await {
            Ok(Ok(_)) => {}
            // A cluster that is away must not take the portal away with it: last known state is still served.
            _ => missing.push(format!(
                "cluster {}: does not answer (pages show the last known state)",
                cluster.cluster()
            )),
        }
    }
    for watch in app.watches.values() {
        let unsynced = watch.unsynced();
        if !unsynced.is_empty() {
            missing.push(format!("cluster {}: not listed yet: {}", watch.cluster(), unsynced.join(", ")));
        }
    }
    let ready = !missing.iter().any(|line| line.starts_with("database"));
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, if missing.is_empty() { "ready\n".into() } else { missing.join("\n") + "\n" }).into_response()
}

async fn stop_on_signal(shutdown: CancellationToken) {
    stop_signal().await;
    tracing::info!("stopping: open requests end, streams close");
    shutdown.cancel();
}

/// Until somebody wants this process to stop.
pub async fn stop_signal() {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .expect("a process may always listen for SIGTERM");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
