//! What one person sees: every container of the workload's pods as they come and go, merged in time order.
//! Pulled by the browser's connection: whoever reads slowly is told how many lines went by, and nobody waits.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::instance::{Found, Instance, instances, restart_reason};
use super::line::Line;
use super::position::{Position, Positions};
use super::read::{History, ReadError, Start, Stop, history};
use super::upstream::{Ending, Entry, Hub, Seat};
use crate::kube::apply::BESIDE_LABEL;
use crate::kube::{CALL_TIMEOUT, UserClient};

/// Lines that came within this time stand in the order of their own times.
const FLUSH: Duration = Duration::from_millis(100);
/// Of one batch; the rest waits for the next.
const MOST_LINES: usize = 2_000;
const MOST_BYTES: usize = 512 * 1024;
/// Of one container, when a reader comes back after a long time.
const CATCH_UP: usize = 5_000;
/// So long the first batch waits for all containers, so that it can be in order.
const SETTLE: Duration = Duration::from_millis(1_000);
const RETRY: Duration = Duration::from_secs(1);
const LIST_EVERY: Duration = Duration::from_millis(1_500);
const MOST_CONTAINERS: usize = 200;

/// Where the pods are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub cluster: String,
    pub namespace: String,
    /// As in `kubectl -l`.
    pub selector: String,
    /// Which of them it is about, where the selector takes in more. None: all.
    pub whose: Option<Whose>,
}

/// A workload, with what stands beside it while a new version proves itself (`kube/beside.rs`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    pub workload: String,
    /// Labels of its own pods.
    pub own: BTreeMap<String, String>,
}

impl Place {
    /// The pods, as the person may list them.
    pub async fn pods(&self, client: &UserClient) -> kube::Result<Vec<Pod>> {
        let pods = client.api::<Pod>(&self.namespace);
        let parameters = ListParams::default().labels(&self.selector);
        let mut listed = match tokio::time::timeout(CALL_TIMEOUT, pods.list(&parameters)).await {
            Ok(listed) => listed?.items,
            Err(late) => return Err(kube::Error::Service(late.into())),
        };
        listed.retain(|pod| self.whose.as_ref().is_none_or(|whose| whose.takes(pod)));
        Ok(listed)
    }
}

impl Whose {
    fn takes(&self, pod: &Pod) -> bool {
        let labels = pod.metadata.labels.as_ref();
        let label = |key: &str| labels.and_then(|labels| labels.get(key));
        match label(BESIDE_LABEL) {
            Some(workload) => *workload == self.workload,
            None => self.own.iter().all(|(key, value)| label(key) == Some(value)),
        }
    }
}

/// Which of them to show; empty is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub pods: BTreeSet<String>,
    pub containers: BTreeSet<String>,
}

impl Selection {
    pub fn takes(&self, instance: &Instance) -> bool {
        let any_or = |set: &BTreeSet<String>, name: &String| set.is_empty() || set.contains(name);
        any_or(&self.pods, &instance.pod) && any_or(&self.containers, &instance.container)
    }
}

/// What came since the last batch, and where the reader stands after it.
pub struct Batch {
    pub items: Vec<Item>,
    pub resume: Positions,
}

#[derive(Clone, Debug)]
pub enum Item {
    Line { pod: String, container: String, line: Arc<Line> },
    Marker(Marker),
}

/// Something that happened between the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    Started {
        pod: String,
        image: String,
    },
    Restarted {
        pod: String,
        container: String,
        why: Option<(Timestamp, String)>,
    },
    Gone {
        pod: String,
    },
    Skipped {
        pod: String,
        container: String,
        lines: u64,
    },
    /// The node rotated or removed the log while nobody could read it.
    Missing {
        pod: String,
        container: String,
    },
    TooMany {
        shown: usize,
    },
    ClusterAway,
    ClusterBack,
}

/// Why a view can't go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewEnd {
    /// In the cluster's words.
    #[error("{0}")]
    Refused(String),
}

pub struct View {
    hub: Arc<Hub>,
    client: UserClient,
    place: Place,
    selection: Selection,
    resume: Positions,
    /// Begun without a position: show what the rings have.
    fresh: bool,
    /// The newest line that the reader had before this view began.
    seen: Option<Timestamp>,
    pods: BTreeMap<String, Pod>,
    /// The pods as the person sees them, asked for again and again.
    listing: Option<JoinHandle<kube::Result<Vec<Pod>>>>,
    list_at: Instant,
    listed_once: bool,
    sources: HashMap<String, Source>,
    over: BTreeSet<String>,
    markers: VecDeque<Marker>,
    settled: bool,
    away: bool,
    told_too_many: bool,
    /// How often the pods were listed.
    listings: u64,
    began: Instant,
    tick: tokio::time::Interval,
}

/// A container's log, as far as this viewer has come in it.
struct Source {
    instance: Instance,
    seat: Seat,
    state: Reading,
    /// Read by itself, because the ring did not reach back far enough.
    backlog: VecDeque<Entry>,
}

enum Reading {
    /// For the ring's first line, to know whether it reaches back to where this viewer stands.
    Joining(From),
    /// What lies between; then the ring from this number on.
    CatchingUp {
        from: From,
        until: Position,
        then: u64,
        reading: Option<JoinHandle<Result<History, ReadError>>>,
        retry: Instant,
    },
    Live(u64),
}

#[derive(Clone, Copy)]
enum From {
    Ring,
    Beginning,
    After(Position),
}

impl View {
    /// `resume` is where the viewer stood; without it the view begins with what is recent.
    pub fn new(
        hub: Arc<Hub>,
        client: UserClient,
        place: Place,
        selection: Selection,
        resume: Option<Positions>,
    ) -> Self {
        let mut tick = tokio::time::interval(FLUSH);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            hub,
            client,
            place,
            selection,
            fresh: resume.is_none(),
            seen: resume.as_ref().and_then(Positions::latest),
            resume: resume.unwrap_or_default(),
            pods: BTreeMap::new(),
            listing: None,
            list_at: Instant::now(),
            listed_once: false,
            sources: HashMap::new(),
            over: BTreeSet::new(),
            markers: VecDeque::new(),
            settled: false,
            away: false,
            told_too_many: false,
            listings: 0,
            began: Instant::now(),
            tick,
        }
    }

    /// Waits for something to show.
    pub async fn next(&mut self) -> Result<Batch, ViewEnd> {
        loop {
            self.tick.tick().await;
            self.look_for_pods()?;
            let items = self.drain()?;
            if !items.is_empty() {
                return Ok(Batch { items, resume: self.resume.clone() });
            }
        }
    }

    /// For [`View::is_read`]: from when on it counts.
    pub fn listings(&self) -> u64 {
        self.listings
    }

    /// Nothing will come any more, where no pod does: what is there was read to its end. Before the first line that
    /// takes two lists since the pods ended, because one may have been under way then.
    pub fn is_read(&self, since: u64) -> bool {
        let looked = !self.over.is_empty() || self.listings >= since + 2;
        looked && self.sources.is_empty() && self.markers.is_empty()
    }

    /// Lists the pods now and then. A list needs no right that reading logs does not, where a watch would.
    fn look_for_pods(&mut self) -> Result<(), ViewEnd> {
        match &mut self.listing {
            None if Instant::now() >= self.list_at => {
                let (place, client) = (self.place.clone(), self.client.clone());
                self.listing = Some(tokio::spawn(async move { place.pods(&client).await }));
            }
            Some(task) if task.is_finished() => {
                let listed = futures::FutureExt::now_or_never(task);
                self.listing = None;
                self.list_at = Instant::now() + LIST_EVERY;
                match listed {
                    Some(Ok(Ok(pods))) => self.listed(pods),
                    Some(Ok(Err(error))) => return self.lost(&error),
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn listed(&mut self, pods: Vec<Pod>) {
        if std::mem::take(&mut self.away) {
            self.markers.push_back(Marker::ClusterBack);
        }
        let there: BTreeSet<&String> = pods.iter().filter_map(|pod| pod.metadata.uid.as_ref()).collect();
        let gone: Vec<String> = self.pods.keys().filter(|uid| !there.contains(uid)).cloned().collect();
        gone.iter().for_each(|uid| self.remove(uid));
        pods.into_iter().for_each(|pod| self.apply(pod));
        self.listed_once = true;
        self.listings += 1;
    }

    /// The cluster refuses: the view is over. It is away: say so once, and go on trying.
    fn lost(&mut self, error: &kube::Error) -> Result<(), ViewEnd> {
        if let kube::Error::Api(status) = error
            && matches!(status.code, 401 | 403)
        {
            return Err(ViewEnd::Refused(status.message.clone()));
        }
        if !std::mem::replace(&mut self.away, true) {
            self.markers.push_back(Marker::ClusterAway);
        }
        Ok(())
    }

    fn apply(&mut self, pod: Pod) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let name = pod.metadata.name.clone().unwrap_or_default();
        let shown = self.selection.pods.is_empty() || self.selection.pods.contains(&name);
        let is_new = if self.listed_once { !self.pods.contains_key(&uid) } else { self.came_meanwhile(&pod) };
        if is_new && shown {
            let containers = pod.spec.as_ref().map(|spec| &spec.containers);
            let image = containers.and_then(|all| all.first()?.image.clone()).unwrap_or_default();
            self.markers.push_back(Marker::Started { pod: name, image });
        }
        let before = self.pods.get(&uid).map(instances);
        for (instance, found) in instances(&pod) {
            let same = |other: &Instance| other.container == instance.container;
            let new = before.as_ref().is_some_and(|before| {
                before.iter().any(|(other, _)| same(other))
                    && before.iter().all(|(other, _)| *other != instance)
            });
            if new && found != Found::Previous && self.selection.takes(&instance) {
                self.markers.push_back(Marker::Restarted {
                    pod: instance.pod.clone(),
                    container: instance.container.clone(),
                    why: restart_reason(&pod, &instance.container),
                });
            }
            self.join(instance);
        }
        self.pods.insert(uid, pod);
    }

    /// Whether a pod came between what the reader has seen already and this view's first look. Kubernetes tells the
    /// second in which a pod was made.
    fn came_meanwhile(&self, pod: &Pod) -> bool {
        let (Some(seen), Some(made)) = (self.seen, pod.metadata.creation_timestamp.as_ref()) else {
            return false;
        };
        let unknown = instances(pod).iter().all(|(instance, _)| self.resume.get(&instance.id).is_none());
        unknown && made.0.as_second() >= seen.as_second()
    }

    fn remove(&mut self, uid: &str) {
        let Some(pod) = self.pods.remove(uid) else { return };
        let name = pod.metadata.name.unwrap_or_default();
        if self.selection.pods.is_empty() || self.selection.pods.contains(&name) {
            self.markers.push_back(Marker::Gone { pod: name });
        }
    }

    fn join(&mut self, instance: Instance) {
        let known = self.sources.contains_key(&instance.id) || self.over.contains(&instance.id);
        if known || !self.selection.takes(&instance) {
            return;
        }
        if self.sources.len() >= MOST_CONTAINERS {
            if !std::mem::replace(&mut self.told_too_many, true) {
                self.markers.push_back(Marker::TooMany { shown: MOST_CONTAINERS });
            }
            return;
        }
        let from = match self.resume.get(&instance.id) {
            Some(position) => From::After(position),
            None if self.fresh && !self.listed_once => From::Ring,
            None => From::Beginning,
        };
        let seat = self.hub.join(&self.place.cluster, &self.place.namespace, &instance, &self.client);
        let source = Source { seat, state: Reading::Joining(from), backlog: VecDeque::new(), instance };
        self.sources.insert(source.instance.id.clone(), source);
    }

    /// Takes what has come from every container, oldest first.
    fn drain(&mut self) -> Result<Vec<Item>, ViewEnd> {
        let mut markers = Vec::new();
        for source in self.sources.values_mut() {
            if let Some(why) = source.seat.refused() {
                return Err(ViewEnd::Refused(why));
            }
            source.advance(&self.client, &self.place.namespace, &mut markers);
        }
        if !self.settled {
            let ready = self.listed_once && self.sources.values().all(Source::is_live);
            self.settled = ready || self.began.elapsed() > SETTLE;
        }
        self.markers.extend(markers);
        if !self.settled {
            return Ok(Vec::new());
        }
        let mut items: Vec<Item> = self.markers.drain(..).map(Item::Marker).collect();
        self.take_lines(&mut items);
        self.let_go(!items.is_empty());
        Ok(items)
    }

    fn take_lines(&mut self, items: &mut Vec<Item>) {
        let mut skips = Vec::new();
        let mut candidates: Vec<(Timestamp, &str, usize, Entry)> = Vec::new();
        for (id, source) in &mut self.sources {
            let entries = source.peek(&mut skips);
            candidates.extend(
                entries
                    .into_iter()
                    .enumerate()
                    .map(|(n, entry)| (entry.line.position.at(), id.as_str(), n, entry)),
            );
        }
        candidates.sort_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
        let mut bytes = 0;
        let mut taken: Vec<(String, Entry)> = Vec::new();
        for (_, id, _, entry) in candidates.into_iter().take(MOST_LINES) {
            bytes += entry.line.size;
            if bytes > MOST_BYTES && !taken.is_empty() {
                break;
            }
            taken.push((id.to_string(), entry));
        }
        items.extend(skips.into_iter().map(Item::Marker));
        for (id, Entry { line, after_gap }) in taken {
            let Some(source) = self.sources.get_mut(&id) else { continue };
            source.took_one();
            let (pod, container) = (source.instance.pod.clone(), source.instance.container.clone());
            if after_gap {
                items.push(Item::Marker(Marker::Missing { pod: pod.clone(), container: container.clone() }));
            }
            self.resume.set(&id, line.position);
            items.push(Item::Line { pod, container, line });
        }
    }

    /// Containers whose log is read to its end need no seat; those that are gone need no position.
    fn let_go(&mut self, moved: bool) {
        let mut torn = Vec::new();
        self.sources.retain(|id, source| match source.over() {
            None => true,
            Some(ending) => {
                if ending == Ending::Torn {
                    torn.push(source.missing());
                }
                self.over.insert(id.clone());
                false
            }
        });
        self.markers.extend(torn);
        if !moved || !self.listed_once {
            return;
        }
        let listed: BTreeSet<String> =
            self.pods.values().flat_map(instances).map(|(instance, _)| instance.id).collect();
        self.over.retain(|id| listed.contains(id));
        self.resume.keep_only(self.sources.keys().chain(&listed).map(String::as_str));
    }
}

impl Source {
    fn is_live(&self) -> bool {
        matches!(self.state, Reading::Live(_))
    }

    /// Moves on from joining to reading, fetching what lies between where that is needed.
    fn advance(&mut self, client: &UserClient, namespace: &str, markers: &mut Vec<Marker>) {
        let upstream = &self.seat.upstream;
        match &mut self.state {
            Reading::Live(_) => {}
            Reading::Joining(from) => {
                let from = *from;
                self.state = match (upstream.first(), from) {
                    (None, _) if upstream.over(0).is_some() => Reading::Live(0),
                    (None, _) => return,
                    (Some((first, _)), From::Ring) => Reading::Live(first),
                    (Some((_, oldest)), From::After(had)) if oldest <= had => {
                        Reading::Live(upstream.after(had))
                    }
                    (Some((first, oldest)), _) => Reading::CatchingUp {
                        from,
                        until: oldest,
                        then: first,
                        reading: None,
                        retry: Instant::now(),
                    },
                };
            }
            Reading::CatchingUp { from, until, then, reading, retry } => match reading {
                None if Instant::now() >= *retry => {
                    *reading = Some(catch_up(client, namespace, &self.instance, *from, *until));
                }
                Some(task) if task.is_finished() => {
                    let then = *then;
                    match futures::FutureExt::now_or_never(task) {
                        Some(Ok(Ok(history))) => {
                            if history.skipped > 0 {
                                markers.push(self.skipped(history.skipped));
                            }
                            let mut after_gap = history.rotated;
                            self.backlog = history
                                .lines
                                .into_iter()
                                .map(|line| Entry { line, after_gap: std::mem::take(&mut after_gap) })
                                .collect();
                            if after_gap {
                                markers.push(self.missing());
                            }
                            self.state = Reading::Live(then);
                        }
                        Some(Ok(Err(ReadError::Gone))) => {
                            markers.push(self.missing());
                            self.state = Reading::Live(then);
                        }
                        _ => {
                            *reading = None;
                            *retry = Instant::now() + RETRY;
                        }
                    }
                }
                _ => {}
            },
        }
    }

    /// What could be shown next. Lines that the ring let go are counted, and told.
    fn peek(&mut self, skips: &mut Vec<Marker>) -> Vec<Entry> {
        let Reading::Live(next) = &mut self.state else { return Vec::new() };
        if !self.backlog.is_empty() {
            return self.backlog.iter().take(MOST_LINES).cloned().collect();
        }
        let (skipped, entries) = self.seat.upstream.read(*next, MOST_LINES);
        if skipped > 0 {
            *next += skipped;
            skips.push(self.skipped(skipped));
        }
        entries
    }

    fn took_one(&mut self) {
        if self.backlog.pop_front().is_none()
            && let Reading::Live(next) = &mut self.state
        {
            *next += 1;
        }
    }

    fn over(&self) -> Option<Ending> {
        match self.state {
            Reading::Live(next) if self.backlog.is_empty() => self.seat.upstream.over(next),
            _ => None,
        }
    }

    fn skipped(&self, lines: u64) -> Marker {
        let (pod, container) = (self.instance.pod.clone(), self.instance.container.clone());
        Marker::Skipped { pod, container, lines }
    }

    fn missing(&self) -> Marker {
        let (pod, container) = (self.instance.pod.clone(), self.instance.container.clone());
        Marker::Missing { pod, container }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Some(task) = &self.listing {
            task.abort();
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Reading::CatchingUp { reading: Some(task), .. } = &self.state {
            task.abort();
        }
    }
}

/// Reads from where the viewer stands up to where the ring begins.
fn catch_up(
    client: &UserClient,
    namespace: &str,
    instance: &Instance,
    from: From,
    until: Position,
) -> JoinHandle<Result<History, ReadError>> {
    let api = client.api::<Pod>(namespace);
    let instance = instance.clone();
    tokio::spawn(async move {
        let start = match from {
            From::After(position) => Start::After(position),
            From::Beginning | From::Ring => Start::Beginning,
        };
        let found = instance.found_in(api.get_opt(&instance.pod).await?.as_ref());
        let read = history(&api, &instance, found, start, Stop::Before(until), CATCH_UP).await?;
        // Asked for by name: a restart meanwhile would have given us another run's lines.
        match instance.found_in(api.get_opt(&instance.pod).await?.as_ref()) {
            now if now == found => Ok(read),
            _ => Err(ReadError::Broken("the container restarted meanwhile".into())),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_beside_belongs_to_its_workload_and_a_namesake_does_not() {
        let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
        };
        let whose = Whose { workload: "shop".into(), own: labels(&[("app", "shop")]) };
        let takes = |pairs: &[(&str, &str)]| {
            let mut pod = Pod::default();
            pod.metadata.labels = Some(labels(pairs));
            whose.takes(&pod)
        };
        assert!(takes(&[("app", "shop"), ("tier", "web")]));
        assert!(takes(&[("app", "shop-green"), (BESIDE_LABEL, "shop")]));
        assert!(!takes(&[("app", "shop-green")]), "another service that is called like this");
        assert!(!takes(&[("app", "shop"), (BESIDE_LABEL, "other")]));
    }
}
