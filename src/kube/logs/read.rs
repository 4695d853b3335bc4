//! Reading a log once, from a point to a point. The page, the download and whoever joins a stream late need it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};

use super::instance::{Found, Instance};
use super::line::{Bytes, Line, Lines, MAX_LINE, Raw};
use super::position::{Numbering, Position};

/// For the answer to begin, and for each next piece of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of one container's history in memory.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A line without an end must not fill the memory.
const MAX_RAW: usize = 1024 * 1024;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    Beginning,
    Tail(i64),
    Since(Timestamp),
    After(Position),
}

/// Where to stop, other than at the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stop {
    End,
    /// At this line, which is not read.
    Before(Position),
    /// After so many lines from this time on.
    Count(Timestamp, usize),
}

/// A part of one log: the newest lines of it, as many as asked for.
#[derive(Debug, Default)]
pub struct History {
    pub lines: VecDeque<Arc<Line>>,
    /// How many lines before these were read and let go.
    pub skipped: u64,
    /// The line to begin after was not there any more: the node has rotated the log, others may be missing too.
    pub rotated: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the log is not there any more")]
    Gone,
    /// By the cluster, in its words.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Broken(String),
}

impl From<kube::Error> for ReadError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 404 => Self::Gone,
            kube::Error::Api(status) if matches!(status.code, 401 | 403) => Self::Refused(status.message),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Opens a log. The caller knows how the instance was found, and checks that this is still so once bytes flow.
pub(super) async fn open(
    api: &Api<Pod>,
    instance: &Instance,
    found: Found,
    follow: bool,
    start: Start,
    limit: usize,
) -> Result<Lines, ReadError> {
    let (since_time, tail_lines) = match start {
        Start::Beginning => (None, None),
        Start::Tail(lines) => (None, Some(lines)),
        Start::Since(at) => (Some(at), None),
        Start::After(position) => (Some(position.since()), None),
    };
    let parameters = LogParams {
        container: Some(instance.container.clone()),
        follow,
        previous: found == Found::Previous,
        since_time,
        tail_lines,
        timestamps: true,
        ..LogParams::default()
    };
    let bytes: Bytes = Box::pin(api.log_stream(&instance.pod, &parameters).await?);
    Ok(Lines::new(bytes, limit))
}

/// Reads what is there now, keeping the newest `keep` lines.
pub async fn history(
    api: &Api<Pod>,
    instance: &Instance,
    found: Found,
    start: Start,
    stop: Stop,
    keep: usize,
) -> Result<History, ReadError> {
    let mut lines = patient(open(api, instance, found, false, start, MAX_LINE)).await?;
    let mut numbering = Numbering::default();
    let mut history = History::default();
    let (mut size, mut met, mut counted) = (0, false, 0);
    loop {
        let next = patient(async { Ok(lines.next().await?) }).await?;
        // Without a newline at its end a line may still grow, unless nobody is there to write it.
        let Some(raw) = next.or_else(|| lines.rest().filter(|_| found != Found::Running)) else { break };
        let position = numbering.next(raw.at);
        if let Start::After(had) = start {
            met |= position == had;
            if position <= had {
                continue;
            }
        }
        match stop {
            Stop::Before(end) if position >= end => break,
            Stop::Count(from, most) if raw.at >= from => {
                if counted == most {
                    break;
                }
                counted += 1;
            }
            Stop::End | Stop::Before(_) | Stop::Count(..) => {}
        }
        let line = Arc::new(Line::new(position, raw));
        size += line.size;
        history.lines.push_back(line);
        while history.lines.len() > keep || size > MAX_BYTES {
            size -= history.lines.pop_front().map_or(size, |line| line.size);
            history.skipped += 1;
        }
    }
    history.rotated = matches!(start, Start::After(_)) && !met;
    Ok(history)
}

/// Every line as it was written, for a download: cut only where no line should ever reach. Ends with the log; an
/// error ends it early.
pub async fn raw_lines(
    api: &Api<Pod>,
    instance: &Instance,
    found: Found,
    start: Start,
) -> Result<impl futures::Stream<Item = Result<Raw, ReadError>> + Send + 'static, ReadError> {
    let lines = patient(open(api, instance, found, false, start, MAX_RAW)).await?;
    Ok(futures::stream::try_unfold((lines, false), move |(mut lines, ended)| async move {
        if ended {
            return Ok(None);
        }
        match patient(async { Ok(lines.next().await?) }).await? {
            Some(raw) => Ok(Some((raw, (lines, false)))),
            None => Ok(lines.rest().filter(|_| found != Found::Running).map(|raw| (raw, (lines, true)))),
        }
    })
    .into_stream())
}

async fn patient<T>(what: impl Future<Output = Result<T, ReadError>>) -> Result<T, ReadError> {
    match tokio::time::timeout(PATIENCE, what).await {
        Ok(done) => done,
        Err(_) => Err(ReadError::Broken(format!("nothing came within {} s", PATIENCE.as_secs()))),
    }
}
