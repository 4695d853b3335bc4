//! The lines a page opens with: every container read once, as the person, and merged by time. What is read
//! ends at a known position in each container, so the stream goes on exactly there.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;

use super::asked::Asked;
use super::wording;
use crate::kube::UserClient;
use crate::kube::logs::{
    Found, History, Instance, Level, Line, Marker, Place, Positions, ReadError, Start, Stop, history,
    instances, restart_reason,
};
use crate::web::Error;

/// How much is read and given back, the newest of it.
pub struct Bounds {
    /// Lines of each container; counts and the histogram are over these.
    each: usize,
    /// Lines in all.
    shown: usize,
    bytes: usize,
}

/// The rest of the range is in the download.
pub const PAGE: Bounds = Bounds { each: 2_000, shown: 500, bytes: 96 * 1024 };
pub const PROGRAM: Bounds = Bounds { each: 10_000, shown: 10_000, bytes: 8 * 1024 * 1024 };
/// Before and after a linked line.
const AROUND: usize = 250;
const BEFORE_LINK: SignedDuration = SignedDuration::from_mins(10);
const AT_ONCE: usize = 16;
const MOST_CONTAINERS: usize = 200;

/// What was there when the page was asked for.
#[derive(Default)]
pub struct Loaded {
    /// Every pod of the workload, whether shown or not: name and version, newest first.
    pub pods: Vec<(String, String)>,
    /// Names of containers, with how many lines of each were read.
    pub containers: BTreeMap<String, usize>,
    /// By level, before the levels were filtered.
    pub counts: [usize; 4],
    pub times: Vec<(Timestamp, Level)>,
    pub rows: Vec<Row>,
    pub restarts: Vec<Timestamp>,
    /// Where the stream goes on.
    pub positions: Positions,
    /// Some lines of the range are not on the page.
    pub more: bool,
    /// The cluster's words on the logs that could not be read.
    pub failures: Vec<String>,
}

/// A row of the page.
pub enum Row {
    Line { pod: String, container: String, line: Arc<Line>, linked: bool },
    Marker(Marker),
}

type Read = (Instance, Result<History, ReadError>);

pub async fn load(
    client: &UserClient,
    place: &Place,
    asked: &Asked,
    now: Timestamp,
    bounds: &Bounds,
) -> Result<Loaded, Error> {
    let api = client.api::<Pod>(&place.namespace);
    let pods = list(client, place).await?;
    let mut read = read_all(&api, &wanted(&pods, asked), asked, bounds).await;
    // A log is asked for by name. If a container restarted meanwhile, its lines may be another run's: read again.
    let after = list(client, place).await?;
    let stale: Vec<(Instance, Found)> =
        wanted(&after, asked).into_iter().filter(|now| !wanted(&pods, asked).contains(now)).collect();
    if !stale.is_empty() {
        read.retain(|(instance, _)| stale.iter().all(|(again, _)| again != instance));
        read.extend(read_all(&api, &stale, asked, bounds).await);
    }
    Ok(merge(&after, read, asked, now, bounds))
}

async fn list(client: &UserClient, place: &Place) -> Result<Vec<Pod>, Error> {
    match place.pods(client).await {
        Ok(mut pods) => {
            pods.sort_by_key(|pod| {
                std::cmp::Reverse(pod.metadata.creation_timestamp.as_ref().map(|at| at.0))
            });
            Ok(pods)
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
            Err(Error::Forbidden(format!("The cluster refuses: {}.", status.message)))
        }
        Err(_) => Err(Error::Unavailable(wording::cluster_away(&place.cluster))),
    }
}

/// The logs that belong on this page.
fn wanted(pods: &[Pod], asked: &Asked) -> Vec<(Instance, Found)> {
    let selection = asked.selection();
    let mut found: Vec<_> = pods.iter().flat_map(instances).collect();
    found.retain(|(instance, found)| {
        selection.takes(instance) && (!asked.previous || *found == Found::Previous)
    });
    found.truncate(MOST_CONTAINERS);
    found
}

async fn read_all(api: &Api<Pod>, wanted: &[(Instance, Found)], asked: &Asked, bounds: &Bounds) -> Vec<Read> {
    let (start, stop) = match asked.at {
        Some(at) => (Start::Since(at - BEFORE_LINK), Stop::Count(at, AROUND)),
        None => (Start::Tail(bounds.each as i64), Stop::End),
    };
    let reads = wanted.iter().cloned().map(|(instance, found)| async move {
        let read = history(api, &instance, found, start, stop, bounds.each).await;
        (instance, read)
    });
    futures::stream::iter(reads).buffered(AT_ONCE).collect().await
}

/// Pure: what to show of what was read.
fn merge(pods: &[Pod], read: Vec<Read>, asked: &Asked, now: Timestamp, bounds: &Bounds) -> Loaded {
    let mut loaded = Loaded { pods: pods.iter().map(name_and_version).collect(), ..Loaded::default() };
    let from = match asked.at {
        Some(at) => at - BEFORE_LINK,
        None => now - asked.since.span(),
    };
    // Time and order within a container; a marker stands before the line of its time.
    let mut rows: Vec<((Timestamp, usize, usize), Row)> = Vec::new();
    for (n, (instance, read)) in read.into_iter().enumerate() {
        *loaded.containers.entry(instance.container.clone()).or_default() += 0;
        let history = match read {
            Ok(history) => history,
            Err(ReadError::Gone) => continue,
            Err(error) => {
                loaded.failures.push(format!("{}: {error}", wording::short(&instance.pod)));
                continue;
            }
        };
        if let Some(last) = history.lines.back() {
            loaded.positions.set(&instance.id, last.position);
        }
        loaded.more |= history.skipped > 0 || history.lines.len() == bounds.each;
        if let Some(first) = history.lines.front().filter(|first| first.at >= from) {
            let at = first.position.at();
            rows.extend(beginning(pods, &instance).map(|marker| ((at, n, 0), Row::Marker(marker))));
        }
        for (m, line) in history.lines.into_iter().enumerate().filter(|(_, line)| line.at >= from) {
            loaded.counts[line.level as usize] += 1;
            *loaded.containers.entry(instance.container.clone()).or_default() += 1;
            loaded.times.push((line.at, line.level));
            if asked.takes(line.level) {
                let (pod, container) = (instance.pod.clone(), instance.container.clone());
                let key = (line.position.at(), n, m + 1);
                rows.push((key, Row::Line { pod, container, linked: false, line }));
            }
        }
    }
    rows.sort_by_key(|(key, _)| *key);
    loaded.restarts = rows
        .iter()
        .filter(|(_, row)| matches!(row, Row::Marker(Marker::Restarted { .. })))
        .map(|((at, ..), _)| *at)
        .collect();
    loaded.more |= trim(&mut rows, asked.at, bounds);
    loaded.rows = rows.into_iter().map(|(_, row)| row).collect();
    link(&mut loaded.rows, asked.at);
    loaded
}

/// What to say before a container's first line: that it restarted, or that its pod is new.
fn beginning(pods: &[Pod], instance: &Instance) -> Option<Marker> {
    let pod = pods.iter().find(|pod| pod.metadata.uid.as_ref() == Some(&instance.uid))?;
    let runs: Vec<_> =
        instances(pod).into_iter().filter(|(other, _)| other.container == instance.container).collect();
    let (newest, _) = runs.last()?;
    (runs.len() > 1 && newest == instance).then(|| Marker::Restarted {
        pod: instance.pod.clone(),
        container: instance.container.clone(),
        why: restart_reason(pod, &instance.container),
    })
}

/// Keeps the newest rows, or those around a linked line, within bounds. True if any went.
fn trim<K>(rows: &mut Vec<(K, Row)>, at: Option<Timestamp>, bounds: &Bounds) -> bool {
    let before = rows.len();
    if let Some(at) = at {
        let linked = rows.partition_point(|(_, row)| matches!(row, Row::Line { line, .. } if line.at < at));
        rows.truncate(linked + AROUND);
        rows.drain(..linked.saturating_sub(AROUND));
    }
    let mut bytes = 0;
    let kept = rows.iter().rev().take(if at.is_some() { 2 * AROUND } else { bounds.shown }).take_while(
        |(_, row)| {
            bytes += if let Row::Line { line, .. } = row { line.size } else { 0 };
            bytes <= bounds.bytes
        },
    );
    let kept = kept.count();
    rows.drain(..rows.len() - kept);
    rows.len() < before
}

/// Marks the first line at the linked time, or the first after it.
fn link(rows: &mut [Row], at: Option<Timestamp>) {
    let Some(at) = at else { return };
    for row in rows {
        if let Row::Line { line, linked, .. } = row
            && line.at >= at
        {
            *linked = true;
            return;
        }
    }
}

fn name_and_version(pod: &Pod) -> (String, String) {
    let image = pod.spec.as_ref().and_then(|spec| spec.containers.first()?.image.clone());
    (pod.metadata.name.clone().unwrap_or_default(), wording::version(&image.unwrap_or_default()))
}
