//! `GET /services/{name}/logs/download`: every line of the range as it was written, in time order, as a file.

use std::pin::Pin;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::{Query, QueryRejection};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;

use super::asked::{self, Asked, Workload};
use super::wording;
use crate::app::App;
use crate::auth::{CurrentUser, Place, StreamDoor};
use crate::kube::logs::{Found, Instance, Raw, ReadError, Start, instances, raw_lines};
use crate::kube::{self, UserClient};
use crate::web::Error;

/// Sent in pieces of about this size.
const PIECE: usize = 32 * 1024;

pub async fn download(
    State(app): State<App>,
    user: CurrentUser,
    door: StreamDoor,
    Path(name): Path<String>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Error> {
    let asked = Asked::read(query)?;
    let open = asked::open(&app, &user, &name, &asked).await?;
    let Workload::One(place) = &open.workload else { return Err(Error::NotFound) };
    let name = format!("{}-{}", open.service.name, open.target.environment);
    file(&app, &door, &open.client, place, &asked, &name).await
}

/// Everything that is asked for, as a file whose name begins with `name`.
pub(super) async fn file(
    app: &App,
    door: &StreamDoor,
    client: &UserClient,
    place: &kube::logs::Place,
    asked: &Asked,
    name: &str,
) -> Result<Response, Error> {
    let seat = door.enter()?;
    let pods = client.api::<Pod>(&place.namespace);
    let Ok(listed) = place.pods(client).await else {
        return Err(Error::Unavailable(wording::cluster_away(&place.cluster)));
    };
    let selection = asked.selection();
    let mut merged = Merged { sources: Vec::new(), notes: Vec::new(), _seat: seat };
    for (instance, found) in listed.iter().flat_map(instances) {
        if selection.takes(&instance) && (!asked.previous || found == Found::Previous) {
            let start = Start::Since(app.clock.now() - asked.since.span());
            match raw_lines(&pods, &instance, found, start).await {
                Ok(lines) => merged.sources.push(Source::new(instance, Box::pin(lines))),
                Err(ReadError::Gone) => {}
                Err(error) => merged.note(&instance, &error),
            }
        }
    }
    let headers = headers(name, app.clock.now());
    let shutdown = app.shutdown.clone();
    let body = futures::stream::unfold(merged, |mut merged| async move {
        merged.piece().await.map(|piece| (Ok::<_, std::convert::Infallible>(piece), merged))
    });
    let body = Body::from_stream(body.take_until(shutdown.cancelled_owned()));
    Ok((headers, body).into_response())
}

/// A text file, with a name that is safe in a header and on any disk.
pub(super) fn headers(name: &str, now: jiff::Timestamp) -> [(header::HeaderName, String); 2] {
    let safe: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    let time = now.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{safe}-{time}.log\"")),
    ]
}

type Lines = Pin<Box<dyn Stream<Item = Result<Raw, ReadError>> + Send>>;

/// One container's log and the next line of it.
struct Source {
    instance: Instance,
    lines: Lines,
    head: Option<Raw>,
}

impl Source {
    fn new(instance: Instance, lines: Lines) -> Self {
        Self { instance, lines, head: None }
    }
}

/// All logs as one, oldest line first.
struct Merged {
    sources: Vec<Source>,
    /// What could not be read: said in the file, where somebody looks for it.
    notes: Vec<String>,
    _seat: Place,
}

impl Merged {
    fn note(&mut self, instance: &Instance, error: &ReadError) {
        self.notes
            .push(format!("# the log of {} {} breaks off here: {error}\n", instance.pod, instance.container));
    }

    /// The next part of the file; `None` at its end.
    async fn piece(&mut self) -> Option<Vec<u8>> {
        let mut piece = Vec::new();
        while piece.len() < PIECE {
            self.fill().await;
            self.notes.drain(..).for_each(|note| piece.extend_from_slice(note.as_bytes()));
            let heads = self.sources.iter_mut().filter(|source| source.head.is_some());
            let Some(next) = heads.min_by_key(|source| source.head.as_ref().map(|raw| raw.at)) else { break };
            let Some(raw) = next.head.take() else { break };
            let start = format!("{} {} {} ", raw.at, next.instance.pod, next.instance.container);
            piece.extend_from_slice(start.as_bytes());
            piece.extend_from_slice(&raw.bytes);
            if raw.dropped > 0 {
                piece.extend_from_slice(format!(" … {} KiB cut", raw.dropped.div_ceil(1024)).as_bytes());
            }
            piece.push(b'\n');
        }
        (!piece.is_empty()).then_some(piece)
    }

    /// Every log that goes on shows its next line.
    async fn fill(&mut self) {
        let mut ended = Vec::new();
        for (n, source) in self.sources.iter_mut().enumerate().filter(|(_, source)| source.head.is_none()) {
            match source.lines.next().await {
                Some(Ok(raw)) => source.head = Some(raw),
                Some(Err(error)) => ended.push((n, Some(error))),
                None => ended.push((n, None)),
            }
        }
        for (n, error) in ended.into_iter().rev() {
            let source = self.sources.remove(n);
            if let Some(error) = error {
                self.note(&source.instance, &error);
            }
        }
    }
}
