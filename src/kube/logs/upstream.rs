//! One follow per container, whoever looks. It is opened as the first viewer; when that viewer goes, or may no
//! longer read, it goes on as another. Viewers read from a ring of recent lines, each at their own pace; with
//! the last of them the follow ends.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;

use super::instance::{Found, Instance};
use super::line::{Line, Lines, MAX_LINE, Raw};
use super::position::{Numbering, Position};
use super::read::{ReadError, Start, open};
use crate::kube::{CALL_TIMEOUT, UserClient};

/// So far back a follow begins: most of whoever joins finds all it needs in the ring.
const RUN_UP: i64 = 1_000;
const RING_LINES: usize = 20_000;
const RING_BYTES: usize = 4 * 1024 * 1024;
const SILENCE: Duration = Duration::from_secs(120);
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    cluster: String,
    namespace: String,
    uid: String,
    id: String,
}

/// Every follow that is open in this process.
#[derive(Default)]
pub struct Hub(Mutex<HashMap<Key, Weak<Upstream>>>);

impl Hub {
    /// Joins the follow of a container, or opens it. The viewer's right to read was checked by the caller.
    pub(super) fn join(
        &self,
        cluster: &str,
        namespace: &str,
        instance: &Instance,
        client: &UserClient,
    ) -> Seat {
        let key = Key {
            cluster: cluster.into(),
            namespace: namespace.into(),
            uid: instance.uid.clone(),
            id: instance.id.clone(),
        };
        let mut open = lock(&self.0);
        open.retain(|_, upstream| upstream.strong_count() > 0);
        if let Some(seat) = open.get(&key).and_then(Weak::upgrade).and_then(|upstream| upstream.seat(client))
        {
            return seat;
        }
        let upstream = Arc::new(Upstream::new(namespace, instance));
        let seat = upstream.seat(client).expect("an upstream is open until its task ends");
        tokio::spawn(run(upstream.clone()));
        open.insert(key, Arc::downgrade(&upstream));
        seat
    }

    /// How many containers are being followed.
    pub fn open(&self) -> usize {
        lock(&self.0).values().filter(|upstream| upstream.strong_count() > 0).count()
    }
}

/// The follow of one container, with its recent lines.
pub(super) struct Upstream {
    namespace: String,
    instance: Instance,
    ring: Mutex<Ring>,
    viewers: Mutex<Viewers>,
    /// Changes whenever a viewer comes or goes.
    turnover: watch::Sender<u64>,
}

#[derive(Default)]
struct Ring {
    /// Number of the first line in it; every line ever read has the next number.
    first: u64,
    lines: VecDeque<Entry>,
    bytes: usize,
    ended: Option<Ending>,
}

/// Nothing will be added to the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The log was read to its end.
    Whole,
    /// The log went away while the stream was broken.
    Torn,
}

#[derive(Clone)]
pub(super) struct Entry {
    pub line: Arc<Line>,
    /// Lines may be missing right before this one.
    pub after_gap: bool,
}

#[derive(Default)]
struct Viewers {
    next: u64,
    seated: Vec<Viewer>,
    /// The task has ended for want of viewers: a newcomer opens another.
    closed: bool,
}

struct Viewer {
    id: u64,
    client: UserClient,
    refused: Option<String>,
}

/// A viewer's place; leaving it is dropping it.
pub(super) struct Seat {
    pub upstream: Arc<Upstream>,
    id: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.upstream.viewers).seated.retain(|viewer| viewer.id != self.id);
        self.upstream.turnover.send_modify(|turn| *turn += 1);
    }
}

impl Seat {
    /// The cluster's words, when it does not let this viewer read.
    pub fn refused(&self) -> Option<String> {
        let viewers = lock(&self.upstream.viewers);
        viewers.seated.iter().find(|viewer| viewer.id == self.id)?.refused.clone()
    }
}

impl Upstream {
    fn new(namespace: &str, instance: &Instance) -> Self {
        Self {
            namespace: namespace.into(),
            instance: instance.clone(),
            ring: Mutex::default(),
            viewers: Mutex::default(),
            turnover: watch::Sender::new(0),
        }
    }

    fn seat(self: &Arc<Self>, client: &UserClient) -> Option<Seat> {
        let mut viewers = lock(&self.viewers);
        if viewers.closed {
            return None;
        }
        let id = viewers.next;
        viewers.next += 1;
        viewers.seated.push(Viewer { id, client: client.clone(), refused: None });
        drop(viewers);
        self.turnover.send_modify(|turn| *turn += 1);
        Some(Seat { upstream: self.clone(), id })
    }

    /// Number and position of the oldest line in the ring.
    pub fn first(&self) -> Option<(u64, Position)> {
        let ring = lock(&self.ring);
        ring.lines.front().map(|entry| (ring.first, entry.line.position))
    }

    /// The number of the first line after a position.
    pub fn after(&self, position: Position) -> u64 {
        let ring = lock(&self.ring);
        ring.first + ring.lines.partition_point(|entry| entry.line.position <= position) as u64
    }

    /// Lines from a number on: how many were let go before the reader came, and the next `most` of them.
    pub fn read(&self, from: u64, most: usize) -> (u64, Vec<Entry>) {
        let ring = lock(&self.ring);
        let skipped = ring.first.saturating_sub(from);
        let start = usize::try_from(from.saturating_sub(ring.first)).unwrap_or(usize::MAX);
        (skipped, ring.lines.iter().skip(start).take(most).cloned().collect())
    }

    /// How the log ended, once nothing stands at this number or will.
    pub fn over(&self, from: u64) -> Option<Ending> {
        let ring = lock(&self.ring);
        ring.ended.filter(|_| from >= ring.first + ring.lines.len() as u64)
    }

    fn push(&self, line: Line, after_gap: bool) {
        let mut ring = lock(&self.ring);
        ring.bytes += line.size;
        ring.lines.push_back(Entry { line: Arc::new(line), after_gap });
        while ring.lines.len() > RING_LINES || (ring.bytes > RING_BYTES && ring.lines.len() > 1) {
            let gone = ring.lines.pop_front().map_or(0, |entry| entry.line.size);
            ring.bytes -= gone;
            ring.first += 1;
        }
    }

    /// The first viewer that the cluster has not refused. Closes the upstream when nobody is seated at all.
    fn opener(&self) -> Opener {
        let mut viewers = lock(&self.viewers);
        if viewers.seated.is_empty() {
            viewers.closed = true;
            return Opener::Nobody;
        }
        match viewers.seated.iter().find(|viewer| viewer.refused.is_none()) {
            Some(viewer) => Opener::Viewer(viewer.id, viewer.client.clone()),
            None => Opener::AllRefused,
        }
    }

    fn refuse(&self, id: u64, why: &str) {
        let mut viewers = lock(&self.viewers);
        if let Some(viewer) = viewers.seated.iter_mut().find(|viewer| viewer.id == id) {
            viewer.refused = Some(why.into());
        }
    }

    /// Waits until this viewer has gone.
    async fn left(&self, id: u64) {
        let mut turnover = self.turnover.subscribe();
        while lock(&self.viewers).seated.iter().any(|viewer| viewer.id == id) {
            if turnover.changed().await.is_err() {
                return;
            }
        }
    }
}

enum Opener {
    Viewer(u64, UserClient),
    AllRefused,
    Nobody,
}

/// Follows until the container has ended and all of its lines are read, or until nobody looks.
async fn run(upstream: Arc<Upstream>) {
    let mut turnover = upstream.turnover.subscribe();
    let mut follow = Follow { upstream: &upstream, last: None, torn: false };
    let mut pause = SHORTEST_PAUSE;
    let ending = loop {
        turnover.mark_unchanged();
        let (id, client) = match upstream.opener() {
            Opener::Nobody => return,
            Opener::Viewer(id, client) => (id, client),
            Opener::AllRefused => {
                let _ = turnover.changed().await;
                continue;
            }
        };
        let before = follow.last;
        let ended = tokio::select! {
            ended = follow.once(&client) => ended,
            () = upstream.left(id) => continue,
        };
        match ended {
            Ok(true) => break Ending::Whole,
            Ok(false) => {}
            Err(ReadError::Gone) if follow.torn => break Ending::Torn,
            Err(ReadError::Gone) => break Ending::Whole,
            Err(ReadError::Refused(why)) => upstream.refuse(id, &why),
            Err(ReadError::Broken(why)) => {
                tracing::debug!(pod = upstream.instance.pod, why, "a log stream broke")
            }
        }
        pause = if follow.last == before { (pause * 2).min(LONGEST_PAUSE) } else { SHORTEST_PAUSE };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = turnover.changed() => {}
        }
    };
    lock(&upstream.ring).ended = Some(ending);
    // The ring stays for those who still read it; their seats hold it.
}

struct Follow<'a> {
    upstream: &'a Upstream,
    last: Option<Position>,
    /// The last stream broke in the middle, so there may be lines that nobody has read.
    torn: bool,
}

impl Follow<'_> {
    /// One connection, from where the last one ended. True when the log is read to its end and will not grow.
    async fn once(&mut self, client: &UserClient) -> Result<bool, ReadError> {
        let instance = &self.upstream.instance;
        let api = client.api::<Pod>(&self.upstream.namespace);
        let found = instance.found_in(pod(&api, instance).await?.as_ref());
        if found == Found::Gone {
            return Err(ReadError::Gone);
        }
        let start = self.last.map_or(Start::Tail(RUN_UP), Start::After);
        self.torn = true;
        // A container that says nothing looks like a connection that has died: begin again now and then.
        let opened = async {
            let mut lines = open(&api, instance, found, found == Found::Running, start, MAX_LINE).await?;
            lines.begun().await?;
            Ok::<_, ReadError>(lines)
        };
        let Ok(opened) = tokio::time::timeout(SILENCE, opened).await else { return Ok(false) };
        let mut lines = opened?;
        // The log is asked for by name: only if the same run is still found so now, these are its lines.
        if instance.found_in(pod(&api, instance).await?.as_ref()) != found {
            return Ok(false);
        }
        self.read(&mut lines, found).await?;
        self.torn = false;
        Ok(found != Found::Running)
    }

    async fn read(&mut self, lines: &mut Lines, found: Found) -> Result<(), ReadError> {
        let resumed = self.last;
        let (mut numbering, mut met) = (Numbering::default(), resumed.is_none());
        let mut tell = |raw: Raw| {
            let position = numbering.next(raw.at);
            met |= resumed == Some(position);
            if resumed.is_some_and(|had| position <= had) {
                return;
            }
            self.upstream.push(Line::new(position, raw), !met);
            met = true;
            self.last = Some(position);
        };
        while let Ok(next) = tokio::time::timeout(SILENCE, lines.next()).await {
            let Some(raw) = next? else { break };
            tell(raw);
        }
        if let Some(raw) = lines.rest().filter(|_| found != Found::Running) {
            tell(raw);
        }
        Ok(())
    }
}

async fn pod(api: &kube::Api<Pod>, instance: &Instance) -> Result<Option<Pod>, ReadError> {
    match tokio::time::timeout(CALL_TIMEOUT, api.get_opt(&instance.pod)).await {
        Ok(found) => Ok(found?),
        Err(_) => Err(ReadError::Broken("the cluster does not answer".into())),
    }
}

/// A panic elsewhere must not take every viewer with it; each change under these locks is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
