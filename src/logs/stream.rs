//! `GET /services/{name}/logs/stream`: the page's lines go on. Each event is a batch, and its id is where the reader
//! stands after it, so a browser that comes back, to whichever replica, misses nothing and sees nothing twice.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use axum_extra::extract::{Query, QueryRejection};
use futures::Stream;
use serde_json::{Value, json};
use tokio::time::Interval;

use super::asked::{self, Asked, Open, Workload};
use super::wording;
use crate::app::App;
use crate::auth::{CurrentUser, StreamDoor};
use crate::kube::logs::{Batch, Item, Level, Line, Place, Positions, View};
use crate::kube::{Target, UserClient};
use crate::web::Error;

/// A right that was taken away ends the stream this soon.
const ASK_AGAIN: Duration = Duration::from_secs(15);

pub async fn stream(
    State(app): State<App>,
    user: CurrentUser,
    door: StreamDoor,
    Path(name): Path<String>,
    headers: HeaderMap,
    query: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Error> {
    let asked = Asked::read(query)?;
    let resume = resume(&headers, &asked.after)?;
    let open = asked::open(&app, &user, &name, &asked).await?;
    let Workload::One(place) = &open.workload else { return Err(Error::NotFound) };
    let place = place.clone();
    door.open(follow(app, user, open, place, asked, resume, item_json))
}

/// What comes from now on, or after a position, as events: each a list of items, drawn by `draw`.
pub fn follow(
    app: App,
    user: CurrentUser,
    open: Open,
    place: Place,
    asked: Asked,
    resume: Option<Positions>,
    draw: fn(&Item) -> Value,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    let Open { target, client, .. } = open;
    let running = Running::new(app, user, target, client, place, asked, resume, draw);
    futures::stream::unfold(Some(running), |running| async {
        let mut running = running?;
        match running.next().await {
            Next::Event(event) => Some((Ok(event), Some(running))),
            Next::Last(event) => Some((Ok(event), None)),
        }
    })
}

/// What the browser had last, by its own word; else what the page had.
pub fn resume(headers: &HeaderMap, after: &str) -> Result<Option<Positions>, Error> {
    let last = match headers.get("last-event-id") {
        Some(id) => id.to_str().map_err(|_| Error::BadRequest(wording::ODD_PLACE.into()))?,
        None => after,
    };
    if last.is_empty() {
        return Ok(None);
    }
    // "-" is the page's word for "I looked, and there was nothing yet".
    let last = if last == "-" { "" } else { last };
    last.parse().map(Some).map_err(|_| Error::BadRequest(wording::ODD_PLACE.into()))
}

pub(super) struct Running {
    app: App,
    user: CurrentUser,
    target: Target,
    asked: Asked,
    pub(super) view: View,
    ask_again: Interval,
    draw: fn(&Item) -> Value,
}

/// What a stream sends.
pub(super) enum Next {
    Event(Event),
    /// The person may not read here any more: the stream ends with this.
    Last(Event),
}

impl Running {
    #[expect(clippy::too_many_arguments, reason = "what a stream is made of")]
    pub(super) fn new(
        app: App,
        user: CurrentUser,
        target: Target,
        client: UserClient,
        place: Place,
        asked: Asked,
        resume: Option<Positions>,
        draw: fn(&Item) -> Value,
    ) -> Self {
        let view = View::new(app.logs.hub.clone(), client, place, asked.selection(), resume);
        let mut ask_again = tokio::time::interval(ASK_AGAIN);
        ask_again.reset();
        Self { app, user, target, asked, view, ask_again, draw }
    }

    /// Waits for something to send. Nothing is lost when the waiting is given up.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            tokio::select! {
                _ = self.ask_again.tick() => {
                    if let Some(why) = self.refused().await {
                        return Next::Last(refusal(&why));
                    }
                }
                batch = self.view.next() => match batch {
                    Err(end) => return Next::Last(refusal(&format!("The cluster refuses: {end}."))),
                    Ok(batch) => if let Some(event) = self.event(&batch) {
                        return Next::Event(event);
                    },
                },
            }
        }
    }

    /// The sentence, once the person may not read here any more. While the cluster does not answer nothing comes
    /// through the stream either, so waiting gives nothing away.
    async fn refused(&mut self) -> Option<String> {
        match asked::may_read(&self.app, &self.user, &self.target).await {
            Ok(false) => {
                let Target { service, environment, namespace, team, .. } = &self.target;
                Some(wording::may_not_read(service, environment, namespace, team))
            }
            Ok(true) | Err(_) => None,
        }
    }

    fn event(&self, batch: &Batch) -> Option<Event> {
        let wanted = batch.items.iter().filter(|item| match item {
            Item::Line { line, .. } => self.asked.takes(line.level),
            Item::Marker(_) => true,
        });
        let items: Vec<Value> = wanted.map(self.draw).collect();
        if items.is_empty() {
            return None;
        }
        Some(Event::default().id(batch.resume.to_string()).data(Value::from(items).to_string()))
    }
}

/// As logview.js draws it.
pub(super) fn item_json(item: &Item) -> Value {
    match item {
        Item::Line { pod, container, line } => line_json(pod, container, line),
        Item::Marker(marker) => {
            let (status, words) = wording::marker(marker);
            json!({ "status": status, "words": words })
        }
    }
}

/// `[time, level, pod, container, piece…]`; a piece is a text, or `[classes, text]`.
fn line_json(pod: &str, container: &str, line: &Arc<Line>) -> Value {
    let mut row = vec![json!(line.at.to_string()), json!(capitals(line.level)), json!(pod), json!(container)];
    row.extend(line.spans.iter().map(|span| {
        if span.style.is_plain() { json!(span.text) } else { json!([span.style.class(), span.text]) }
    }));
    Value::from(row)
}

/// As it stands in the line.
pub(super) fn capitals(level: Level) -> &'static str {
    match level {
        Level::Error => "ERROR",
        Level::Warn => "WARN",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
    }
}

/// The page shows the sentence and does not come back.
fn refusal(sentence: &str) -> Event {
    Event::default().event("refused").data(sentence)
}
