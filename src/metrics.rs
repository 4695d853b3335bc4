//! `/metrics`: figures for Prometheus. Requests are counted by the route's template, never by the path, so a
//! scanner can't make a million series.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::auth;

const REQUESTS: &str = "pilothouse_http_requests_total";
const DURATION: &str = "pilothouse_http_request_duration_seconds";
const BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];
/// Histograms are folded this often, so an unread portal does not grow.
const FOLD_EVERY: Duration = Duration::from_secs(15);

/// The recorder of the whole process, made by whoever asks first. The portal listens by itself, so nothing else does.
fn handle() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(DURATION.into()), &BUCKETS)
            .expect("there are buckets")
            .build_recorder();
        let handle = recorder.handle();
        // Somebody who embeds the portal may have a recorder already; ours then stays empty but for what we set.
        if metrics::set_global_recorder(recorder).is_ok() {
            describe();
        }
        handle
    })
}

fn describe() {
    metrics::describe_counter!(REQUESTS, "HTTP requests by route and status class.");
    metrics::describe_histogram!(DURATION, metrics::Unit::Seconds, "Time until the response began.");
    metrics::describe_gauge!("pilothouse_db_connections", "Connections of the database pool, by state.");
    metrics::describe_gauge!("pilothouse_sessions", "Sessions that could be used now.");
    metrics::describe_gauge!("pilothouse_build_info", "1, with the version as a label.");
}

/// Middleware, outermost: counts and times every request.
pub async fn count(request: Request, next: Next) -> Response {
    handle();
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_string();
    let method = known_method(request.method());
    let response = next.run(request).await;
    let class = match response.status().as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    let labels = [("method", method.to_string()), ("route", route), ("status", class.to_string())];
    histogram!(DURATION, &labels[..2]).record(began.elapsed());
    counter!(REQUESTS, &labels).increment(1);
    response
}

/// A method can be any word a client likes; ours are few.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    }
}

/// `GET /metrics`.
pub async fn show(State(app): State<App>) -> Response {
    let handle = handle();
    gauge!("pilothouse_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let idle = app.db.num_idle() as f64;
    gauge!("pilothouse_db_connections", "state" => "idle").set(idle);
    gauge!("pilothouse_db_connections", "state" => "used").set((f64::from(app.db.size()) - idle).max(0.0));
    match auth::session::count_open(&app).await {
        Ok(open) => gauge!("pilothouse_sessions").set(open as f64),
        // A figure that can't be known is not shown as zero: the last one stands, and the pool tells the rest.
        Err(error) => tracing::warn!(error = format!("{error:#}"), "sessions could not be counted"),
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], handle.render()).into_response()
}

/// Background work: folds what was recorded.
pub async fn keep_up(shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(FOLD_EVERY);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = tick.tick() => handle().run_upkeep(),
        }
    }
}
