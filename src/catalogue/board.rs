//! What runs where, of every service: a version and a health for each cell of the list. Made when a cluster changes,
//! not when somebody looks, so that a page of ten thousand services costs as much as its fifty rows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use tokio_stream::wrappers::BroadcastStream;

use super::sight;
use super::snapshot::Catalogue;
use crate::app::App;
use crate::auth::Person;
use crate::kube::{Health, Target, Workload};

/// Changes come in bursts, and making a board of ten thousand services takes some tens of milliseconds.
const GATHER: Duration = Duration::from_millis(200);
/// At most a tenth of the time goes into making boards.
const PATIENCE: u32 = 10;
const LOOK: Duration = Duration::from_secs(1);
/// A review each; more at once would only wait in the cluster.
const REVIEWS_AT_ONCE: usize = 16;

/// Every service in every environment, of one catalogue.
#[derive(Default)]
pub struct Board {
    pub catalogue: Arc<Catalogue>,
    /// By service, then by environment, in the order of the configuration.
    cells: Vec<Cell>,
    environments: usize,
    /// Cluster and namespace, wherever something runs.
    places: Vec<(String, String)>,
}

/// A service in an environment.
#[derive(Clone, Debug)]
pub struct Cell {
    pub health: Health,
    pub version: Box<str>,
    /// How many Deployments match: more than one is said, not guessed.
    pub matches: u8,
    place: u32,
}

/// Nothing runs there, so there is no place to ask about.
const NOWHERE: u32 = u32::MAX;

impl Board {
    /// Looks at every service in every environment. Takes a moment: off the async threads.
    fn make(app: &App, catalogue: Arc<Catalogue>) -> Self {
        let environments = &app.config.environments;
        let mut places = Vec::new();
        let mut numbers: HashMap<(String, String), u32> = HashMap::new();
        let mut cells = Vec::with_capacity(catalogue.services().len() * environments.len());
        for service in catalogue.services() {
            for environment in environments {
                let target = Target::new(service, environment);
                let watch = app.watch(&target.cluster);
                let glance = watch.glance(&target);
                let matches = match &glance.workload {
                    Workload::None => 0,
                    Workload::One(_) => 1,
                    Workload::Many(many) => u8::try_from(many.len()).unwrap_or(u8::MAX),
                };
                let mut place = NOWHERE;
                if matches > 0 {
                    let at = (target.cluster, target.namespace);
                    place = *numbers.entry(at).or_insert_with_key(|at| {
                        places.push(at.clone());
                        places.len() as u32 - 1
                    });
                }
                let version =
                    glance.summary.map(|summary| summary.version.as_str().into()).unwrap_or_default();
                let health = if watch.is_stale() && matches > 0 { Health::Unknown } else { glance.health };
                cells.push(Cell { health, version, matches, place });
            }
        }
        Self { catalogue, cells, environments: environments.len(), places }
    }

    fn row(&self, n: u32) -> &[Cell] {
        let start = n as usize * self.environments;
        &self.cells[start..start + self.environments]
    }
}

/// A board as one person may see it.
#[derive(Default)]
pub struct Overview {
    pub board: Arc<Board>,
    sees: Vec<bool>,
    health: Vec<Health>,
}

impl Overview {
    /// Asks for every place where something runs.
    pub async fn of(app: &App, person: &Person) -> Self {
        let board = app.pages.board.load_full();
        let mut sees = Vec::with_capacity(board.places.len());
        for some in board.places.chunks(REVIEWS_AT_ONCE) {
            let asked = some.iter().map(|(cluster, namespace)| {
                app.pages.sight.sees(app, person, (cluster, namespace), sight::FOR_LISTS)
            });
            sees.extend(futures::future::join_all(asked).await.into_iter().map(|sees| sees == Some(true)));
        }
        let mut overview = Self { health: Vec::new(), board, sees };
        let services = 0..overview.board.catalogue.services().len() as u32;
        overview.health = services.map(|n| overview.worst(n)).collect();
        overview
    }

    /// The cell, or None where the person may not look.
    pub fn cells(&self, n: u32) -> impl Iterator<Item = Option<&Cell>> {
        self.board.row(n).iter().map(|cell| self.may_see(cell).then_some(cell))
    }

    pub fn health(&self, n: u32) -> Health {
        self.health[n as usize]
    }

    /// Whether a place is one that the person may look into. Only places where something runs are known.
    pub fn sees(&self, cluster: &str, namespace: &str) -> bool {
        let at = self.board.places.iter().position(|(c, n)| c == cluster && n == namespace);
        at.is_some_and(|at| self.sees[at])
    }

    fn may_see(&self, cell: &Cell) -> bool {
        cell.place == NOWHERE || self.sees[cell.place as usize]
    }

    /// The worst of where it runs. Missing: nowhere that the person may see.
    fn worst(&self, n: u32) -> Health {
        let running = self.board.row(n).iter().filter(|cell| cell.matches > 0 && self.may_see(cell));
        running.map(|cell| cell.health).min().unwrap_or(Health::Missing)
    }
}

/// Makes a new board whenever a cluster or the catalogue changed.
pub async fn keep(app: App) {
    let changes = app.watches.values().map(|watch| BroadcastStream::new(watch.changes()));
    let mut changes = stream::select_all(changes);
    let mut seen = None;
    loop {
        let now = state(&app);
        if seen.as_ref() != Some(&now) {
            let start = Instant::now();
            let (maker, catalogue) = (app.clone(), now.0.clone());
            if let Ok(board) = tokio::task::spawn_blocking(move || Board::make(&maker, catalogue)).await {
                app.pages.board.store(Arc::new(board));
            }
            seen = Some(now);
            tokio::select! {
                () = tokio::time::sleep(GATHER.max(start.elapsed() * PATIENCE)) => {}
                // An import comes seldom, and whoever made it waits to see it.
                () = app.pages.catalogue_changed.notified() => continue,
            }
        }
        tokio::select! {
            Some(_) = changes.next() => seen = None,
            () = app.pages.catalogue_changed.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
        // The rest of a burst makes the same board.
        while futures::FutureExt::now_or_never(changes.next()).flatten().is_some() {}
    }
}

/// What a board depends on besides the workloads themselves.
fn state(app: &App) -> (Arc<Catalogue>, Vec<(bool, bool)>) {
    let clusters = app.watches.values().map(|watch| (watch.is_synced(), watch.is_stale())).collect();
    (app.catalogue.load_full(), clusters)
}

impl PartialEq for Catalogue {
    /// One snapshot is never changed, so being the same is being at the same place.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}
