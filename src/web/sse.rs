//! Server-sent events. One stream a page; every event has an id, and a stream that ends with the server says so
//! by closing, so browsers come back to another replica by themselves.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;

/// Well under the 30 s after which proxies drop a silent connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A stream with our heartbeat.
pub fn stream<S>(events: S) -> Sse<axum::response::sse::KeepAliveStream<S>>
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}
