//! Logs of a service in an environment: what is there, or what comes.

use std::convert::Infallible;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::ask::{Asked, Path};
use super::problem::{Refused, Result};
use super::types::{LogItem, Page};
use crate::app::App;
use crate::auth::{CurrentUser, StreamDoor};
use crate::deploy::DeployId;
use crate::kube::job::LastLine;
use crate::kube::logs::{Item, Level, Line, Marker, Positions};
use crate::logs::{self, Open, PROGRAM, Row, Since, Workload};
use crate::web::Error;

#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Go on with what comes, as server-sent events; send `Accept: text/event-stream` with it.
    follow: bool,
    /// How far back.
    #[param(inline)]
    since: Since,
    /// Only these pods; may be given more than once.
    pod: Vec<String>,
    /// Only these containers; may be given more than once.
    container: Vec<String>,
    /// Only these levels; may be given more than once.
    #[param(inline)]
    level: Vec<Level>,
    /// Of the run before the last restart.
    previous: bool,
}

/// Logs
///
/// At most the newest 10 000 lines, oldest first. With `follow`, each event is a JSON array of items, first of what is
/// there; its id is a position, and `Last-Event-ID` goes on after it, at whichever replica. An event `refused` says why
/// the stream ends for good.
#[utoipa::path(
    get,
    path = "/api/v1/services/{name}/environments/{environment}/logs",
    tag = "Logs",
    params(
        ("name" = String, Path, description = "Of the service"),
        ("environment" = String, Path, description = "Its name"),
        Wanted,
        ("Last-Event-ID" = Option<String>, Header, description = "Where a stream broke off"),
    ),
    responses((status = 200, description = "Lines, and marks between them",
        content((Page<LogItem> = "application/json"), (String = "text/event-stream"))))
)]
pub async fn logs(
    State(app): State<App>,
    user: CurrentUser,
    door: StreamDoor,
    headers: HeaderMap,
    Path((name, environment)): Path<(String, String)>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response> {
    if wanted.follow && !takes_events(&headers) {
        let how = "What is followed comes as server-sent events: send `Accept: text/event-stream`.";
        return Err(Refused::not_acceptable(how));
    }
    let asked = logs::Asked {
        env: environment,
        pod: wanted.pod.into_iter().collect(),
        container: wanted.container.into_iter().collect(),
        level: wanted.level.into_iter().collect(),
        previous: wanted.previous,
        since: wanted.since,
        ..logs::Asked::default()
    };
    let open = logs::open(&app, &user, &name, &asked).await?;
    let resume = logs::resume(&headers, "")?;
    let place = match &open.workload {
        Workload::One(place) => place.clone(),
        other => return Err(nothing_to_read(&open, other).into()),
    };
    if wanted.follow && resume.is_some() {
        return Ok(door.open(logs::follow(app, user, open, place, asked, resume, drawn))?);
    }
    let loaded = logs::load(&open.client, &place, &asked, app.clock.now(), &PROGRAM).await?;
    let items: Vec<LogItem> = loaded.rows.iter().map(row).collect();
    if !wanted.follow {
        return Ok(Json(Page { items, next: None }).into_response());
    }
    let first = stream::iter(first_event(&items, &loaded.positions).map(Ok::<_, Infallible>));
    let rest = logs::follow(app, user, open, place, asked, Some(loaded.positions), drawn);
    Ok(door.open(first.chain(rest))?)
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct WantedOfDeploy {
    /// Go on with what comes until the migration has ended, as server-sent events; send `Accept: text/event-stream`
    /// with it.
    follow: bool,
}

/// Logs of a migration
///
/// What a migration's Job wrote, oldest first; where the Job is deleted, its last lines, which are kept. With `follow`,
/// each event is a JSON array of items, from the beginning or after `Last-Event-ID`; an event `end` says that all of it
/// was sent, an event `refused` why the stream ends before. Other deploys have no log of their own.
#[utoipa::path(
    get,
    path = "/api/v1/deploys/{id}/logs",
    tag = "Logs",
    params(
        ("id" = i64, Path, description = "Its number"),
        WantedOfDeploy,
        ("Last-Event-ID" = Option<String>, Header, description = "Where a stream broke off"),
    ),
    responses((status = 200, description = "Lines, and marks between them",
        content((Page<LogItem> = "application/json"), (String = "text/event-stream"))))
)]
pub async fn of_deploy(
    State(app): State<App>,
    user: CurrentUser,
    door: StreamDoor,
    headers: HeaderMap,
    Path(id): Path<DeployId>,
    Asked(wanted): Asked<WantedOfDeploy>,
) -> Result<Response> {
    if wanted.follow && !takes_events(&headers) {
        let how = "What is followed comes as server-sent events: send `Accept: text/event-stream`.";
        return Err(Refused::not_acceptable(how));
    }
    let resume = logs::resume(&headers, "")?;
    let log = logs::open_job(&app, &user, id).await?;
    if wanted.follow {
        return Ok(door.open(logs::follow_job(app, user, log, resume, drawn))?);
    }
    let loaded = logs::load(&log.client, &log.place, &log.asked(), app.clock.now(), &PROGRAM).await?;
    let mut items: Vec<LogItem> = loaded.rows.iter().map(row).collect();
    if items.is_empty() {
        let kept = log.kept(&app).await?;
        let container = log.deploy.action.migration().map(|migration| migration.container.clone());
        let line = |line: LastLine| LogItem::Line {
            at: line.at,
            pod: kept.pod.clone(),
            container: container.clone().unwrap_or_default(),
            level: line.level,
            text: line.text,
        };
        items.extend(kept.lines.into_iter().map(line));
    }
    Ok(Json(Page { items, next: None }).into_response())
}

fn takes_events(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.contains("text/event-stream"))
}

fn nothing_to_read(open: &Open, workload: &Workload) -> Error {
    let (title, why) = match workload {
        Workload::Many(names) => logs::ambiguous(&open.service.name, names),
        Workload::None | Workload::One(_) => {
            logs::nothing(&open.service.name, &open.target.environment, &open.target.namespace)
        }
    };
    Error::Conflict(format!("{title}. {why}"))
}

/// What is there already, if anything is.
fn first_event(items: &[LogItem], positions: &Positions) -> Option<Event> {
    let data = serde_json::to_string(items).ok().filter(|_| !items.is_empty())?;
    Some(Event::default().id(positions.to_string()).data(data))
}

fn row(row: &Row) -> LogItem {
    match row {
        Row::Line { pod, container, line, .. } => line_item(pod, container, line),
        Row::Marker(marker) => mark(marker),
    }
}

fn drawn(item: &Item) -> Value {
    let item = match item {
        Item::Line { pod, container, line } => line_item(pod, container, line),
        Item::Marker(marker) => mark(marker),
    };
    serde_json::to_value(item).unwrap_or_default()
}

fn line_item(pod: &str, container: &str, line: &Line) -> LogItem {
    LogItem::Line {
        at: line.at,
        pod: pod.into(),
        container: container.into(),
        level: line.level.name().into(),
        text: line.text(),
    }
}

fn mark(marker: &Marker) -> LogItem {
    LogItem::Mark { text: logs::marker(marker).1 }
}
