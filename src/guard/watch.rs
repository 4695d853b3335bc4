//! Finding what came past the guard: whoever may break the glass does, and an administrator can take a policy away. Every
//! change of what runs that no deploy explains becomes a row of the audit trail, once, within seconds, and waits for a review
//! like a glass that was broken in the portal. What happened while no portal ran is found when one starts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use super::store::{self, Noted};
use super::wording;
use crate::app::App;
use crate::auth::{Identity, Person};
use crate::deploy::glass::{self, Unapproved};
use crate::deploy::{self, Deploy, DeployId};
use crate::events::{self, Entry, Origin};
use crate::kube::sources::{self, Source, Told};
use crate::kube::{Named, Target, Workload, WorkloadKind};

const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Runs until shutdown. One task for each cluster with a guarded environment.
pub async fn run(app: App) {
    let environments = app.config.environments.iter().filter(|environment| environment.guard.is_some());
    let clusters: BTreeSet<&String> = environments.map(|environment| environment.cluster.get_ref()).collect();
    let watches = clusters.into_iter().map(|cluster| {
        let shutdown = app.shutdown.clone();
        shutdown.run_until_cancelled_owned(watch(app.clone(), cluster.clone()))
    });
    join_all(watches).await;
}

async fn watch(app: App, cluster: String) {
    let portal = app.clusters.get(&cluster);
    let mut relabelled = sources::follow_namespaces(portal, app.shutdown.clone());
    loop {
        let namespaces = patiently("the guarded namespaces", || guarded(&app, &cluster)).await;
        let known = patiently("what ran before", || store::all(&app.db, &cluster)).await;
        let mut seen = Seen { app: &app, cluster: &cluster, namespaces, known };
        let stop = app.shutdown.child_token();
        let _stopped = stop.clone().drop_guard();
        let watched = seen.namespaces.keys().cloned().collect();
        let mut told = sources::follow(portal, &watched, &stop);
        loop {
            tokio::select! {
                told = told.recv() => match told {
                    Some(told) => seen.take(told).await,
                    None => break,
                },
                again = relabelled.recv() => {
                    if again.is_none() || seen.namespaces != patiently("the guarded namespaces", || guarded(&app, &cluster)).await {
                        break;
                    }
                }
            }
        }
    }
}

/// Namespaces in which a guard of the configuration holds, with their environment.
async fn guarded(app: &App, cluster: &str) -> kube::Result<BTreeMap<String, String>> {
    let mut labelled = sources::guarded_namespaces(app.clusters.get(cluster)).await?;
    labelled.retain(|_, name| {
        let environment = app.config.environment(name);
        environment.is_some_and(|found| found.guard.is_some() && found.cluster.get_ref() == cluster)
    });
    Ok(labelled)
}

/// Asks until there is an answer. What happens meanwhile is found by the list that comes after.
async fn patiently<T, E, F>(what: &str, ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
    E: std::fmt::Display,
{
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => tracing::warn!(%error, "{what} can’t be read, trying again"),
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

struct Seen<'a> {
    app: &'a App,
    cluster: &'a str,
    /// With their environment.
    namespaces: BTreeMap<String, String>,
    /// What each object runs, by its uid: most of what a watch tells changes nothing of that.
    known: HashMap<String, String>,
}

impl Seen<'_> {
    async fn take(&mut self, told: Told) {
        match told {
            Told::Is(source) => self.source(&source).await,
            Told::All { kind, sources } => {
                for source in &sources {
                    self.source(source).await;
                }
                let namespaces = self.namespaces.keys().cloned().collect();
                let db = &self.app.db;
                patiently("a baseline", || store::take_baseline(db, self.cluster, &namespaces, &kind)).await;
            }
            Told::Gone { uid } => {
                self.known.remove(&uid);
                patiently("what is gone", || store::gone(&self.app.db, self.cluster, &uid)).await;
            }
        }
    }

    async fn source(&mut self, source: &Source) {
        if self.known.get(&source.uid) == Some(&source.runs) {
            return;
        }
        let Some(environment) = self.namespaces.get(&source.namespace) else { return };
        patiently("a guarded workload", || note(self.app, self.cluster, environment, source)).await;
        self.known.insert(source.uid.clone(), source.runs.clone());
    }
}

/// Notes what an object runs now; what nobody approved goes into the audit trail.
async fn note(app: &App, cluster: &str, environment: &str, source: &Source) -> anyhow::Result<()> {
    let mut tx = app.db.begin().await?;
    let Noted::Changed { before } = store::note(&mut tx, cluster, source).await? else {
        return Ok(tx.commit().await?);
    };
    let marker = source.deploy.as_deref().unwrap_or_default();
    let deploy = match marker.split('-').next().and_then(|id| id.parse().ok()) {
        // A deploy of a newer replica, in words that this one does not know, explains nothing here; the newer one
        // credits it. Waiting for it would hold up all that comes after.
        Some(id) => match deploy::load(&mut tx, DeployId(id)).await {
            Err(sqlx::Error::ColumnDecode { source, .. }) => {
                tracing::warn!(deploy = id, error = %source, "a deploy can’t be read");
                return Ok(());
            }
            found => found?,
        },
        None => None,
    };
    let explained = match deploy.filter(|deploy| explains(deploy, cluster, source)) {
        Some(deploy) => store::credit(&mut tx, deploy.id, marker, cluster, source).await?,
        None => false,
    };
    let is_first =
        before.is_none() && !store::has_baseline(&mut tx, cluster, &source.namespace, &source.kind).await?;
    if !explained && !is_first {
        let owner = owner(app, environment, source);
        let target = match &owner.service {
            Some(service) => format!("{service}/{environment}"),
            None => format!("{}/{}", source.namespace, source.name),
        };
        let (at, by) = (source.written.unwrap_or(app.clock.now()), somebody(cluster, source));
        let unapproved = Unapproved {
            deploy: None,
            title: wording::changed(source),
            target: &target,
            environment,
            team: &owner.team,
            cluster,
            namespace: &source.namespace,
            by: &by,
            reason: "",
        };
        glass::note(&mut tx, &app.config, &unapproved, at).await?;
        let entry = Entry {
            action: "guard.unapproved",
            target,
            outcome: "unapproved",
            detail: json!({
                "cluster": cluster,
                "namespace": source.namespace,
                "kind": source.kind,
                "name": source.name,
                "manager": source.manager,
                "before": before,
                "after": source.images,
            }),
        };
        events::audit(&mut tx, &by, &Origin::engine(), at, entry).await?;
        tracing::warn!(
            cluster,
            environment,
            namespace = source.namespace,
            kind = source.kind,
            name = source.name,
            manager = source.manager,
            "what runs was changed without an approval"
        );
    }
    Ok(tx.commit().await?)
}

/// Whether this is what the deploy wrote: there, under its approval, and with its images. Where the glass was broken there is
/// no approval to carry, and the deploy itself waits for the review.
fn explains(deploy: &Deploy, cluster: &str, source: &Source) -> bool {
    let here = deploy.place.cluster == cluster && deploy.place.namespace == source.namespace;
    let approved = match deploy.approval() {
        Some(digest) => source.approval.as_deref() == Some(digest),
        None => deploy.glass,
    };
    let marker = source.deploy.as_ref();
    let change = match deploy.put_back() {
        Some(back) if marker == Some(&deploy.back_marker()) => Some(back),
        _ => deploy.action.change().filter(|_| marker == Some(&deploy.marker())),
    };
    let stands_beside = deploy.beside().filter(|_| marker == Some(&deploy.beside_marker()));
    let change = change.or_else(|| deploy.action.change().filter(|_| stands_beside.is_some()));
    let runs = match (change, deploy.action.migration()) {
        (Some(change), _) => {
            source.name == stands_beside.map_or(change.workload.as_str(), |beside| beside.name.as_str())
                && source.kind == change.workload_kind.word()
                && change.images.iter().all(|(container, image)| source.images.get(container) == Some(image))
        }
        (None, Some(migration)) => {
            deploy.job_name().as_ref() == Some(&source.name)
                && source.images.get(&migration.container) == Some(&migration.image)
        }
        (None, None) => false,
    };
    here && approved && runs && deploy.state.may_have_written()
}

/// Whose it is, as far as the catalogue knows.
#[derive(Default)]
struct Owner {
    service: Option<String>,
    /// Of the service, else of any that runs in this namespace; empty where there is none.
    team: String,
}

fn owner(app: &App, environment: &str, source: &Source) -> Owner {
    let Some(found) = app.config.environment(environment) else { return Owner::default() };
    let watch = app.watch(found.cluster.get_ref());
    let it = WorkloadKind::of(&source.kind).map(|kind| Named { kind, name: source.name.clone() });
    let runs_it =
        |target: &Target| matches!(watch.find(target), Workload::One(found) if Some(&found) == it.as_ref());
    let catalogue = app.catalogue.load();
    let mut owner = Owner::default();
    for service in catalogue.services() {
        let target = Target::new(service, found);
        if target.namespace != source.namespace {
            continue;
        }
        owner.team.clone_from(&target.team);
        if runs_it(&target) {
            owner.service = Some(service.name.clone());
            break;
        }
    }
    owner
}

/// A cluster's objects name the program that wrote them, not the person: its own audit log does.
fn somebody(cluster: &str, source: &Source) -> Person {
    Person {
        identity: Identity { issuer: format!("cluster:{cluster}"), subject: source.manager.clone() },
        username: source.manager.clone(),
        name: wording::somebody(&source.manager),
        groups: BTreeSet::new(),
        set_off_by: None,
    }
}
