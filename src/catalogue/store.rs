//! From rows to the snapshot, and keeping it fresh: imports tell every replica by NOTIFY, and a replica that lost
//! its connection loads anew when it has one again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgPool;
use sqlx::postgres::PgListener;

use super::board;
use super::entity::EntityRef;
use super::import::{self, Request};
use super::parse::TIER;
use super::service::{Link, Migration, Run, Service};
use super::snapshot::Catalogue;
use crate::app::App;

/// How long to wait before the database is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// Loads the snapshot, keeps it fresh and imports the configured paths, until the process stops.
pub fn start(app: &App) {
    tokio::spawn(app.shutdown.clone().run_until_cancelled_owned(follow(app.clone())));
    tokio::spawn(app.shutdown.clone().run_until_cancelled_owned(refresh(app.clone())));
    tokio::spawn(app.shutdown.clone().run_until_cancelled_owned(board::keep(app.clone())));
}

/// Loads after every import of any replica, and after every reconnect.
async fn follow(app: App) {
    loop {
        if let Err(error) = follow_once(&app).await {
            tracing::warn!(error = format!("{error:#}"), "the catalogue can't be followed; trying again");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow_once(app: &App) -> anyhow::Result<()> {
    let mut listener = PgListener::connect_with(&app.db).await?;
    // Listen first, then load: an import between the two is not missed.
    listener.listen("catalogue").await?;
    loop {
        app.catalogue.store(Arc::new(load(&app.db).await?));
        app.pages.catalogue_changed.notify_one();
        tracing::info!(services = app.catalogue.load().services().len(), "the catalogue is loaded");
        // None: the connection was lost and is back; something may have been missed meanwhile.
        listener.try_recv().await?;
        // One import of several paths notifies several times.
        tokio::time::sleep(Duration::from_millis(50)).await;
        while listener.next_buffered().is_some() {}
    }
}

/// Imports the configured paths at the start and then every `catalogue.refresh`.
async fn refresh(app: App) {
    let every = Duration::try_from(app.config.catalogue.refresh).unwrap_or(Duration::from_secs(60));
    let mut last = None;
    loop {
        match import::import(&app.db, configured(&app), last).await {
            Ok(None) => {}
            Ok(Some(report)) => {
                last = Some(report.fingerprint);
                let (written, deleted) = (report.written, report.deleted);
                tracing::info!(
                    written,
                    deleted,
                    problems = report.problems.len(),
                    "the catalogue's files are imported"
                );
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the catalogue's files can't be imported")
            }
        }
        tokio::time::sleep(every.max(Duration::from_secs(1))).await;
    }
}

fn configured(app: &App) -> Request {
    Request {
        paths: app.config.catalogue.paths.iter().map(|path| path.get_ref().clone()).collect::<Vec<PathBuf>>(),
        by_hand: false,
        environments: app.config.environments.iter().map(|environment| environment.name().into()).collect(),
    }
}

/// Reads everything that the snapshot holds.
pub async fn load(db: &PgPool) -> anyhow::Result<Catalogue> {
    let mut services = Vec::new();
    // In order of namespace, `default` first: of two components with one name it has the page.
    let mut rows = sqlx::query!(
        r#"
        select namespace, name, document ->> 'metadata' as "metadata!", document ->> 'spec' as "spec!"
        from entities
        where kind = 'Component'
        order by name, namespace <> 'default', namespace
        "#
    )
    .fetch(db);
    while let Some(row) = rows.try_next().await? {
        let (Ok(metadata), Ok(spec)) = (serde_json::from_str(&row.metadata), serde_json::from_str(&row.spec))
        else {
            // The import checked it; somebody else wrote this row.
            tracing::warn!(row.namespace, row.name, "a stored component can't be read");
            continue;
        };
        services.push(service(row.namespace, row.name, metadata, spec));
    }
    drop(rows);
    services.dedup_by(|b, a| a.name == b.name);
    link(&mut services);
    let titles = sqlx::query!(
        r#"
        select name, coalesce(document #>> '{spec,profile,displayName}', document #>> '{metadata,title}') as "title!"
        from entities
        where kind = 'Group' and coalesce(document #>> '{spec,profile,displayName}', document #>> '{metadata,title}') <> ''
        "#
    )
    .map(|row| (row.name, row.title))
    .fetch_all(db)
    .await?;
    let problems =
        sqlx::query_scalar!(r#"select count(*) as "count!" from import_problems"#).fetch_one(db).await?;
    let problems = u32::try_from(problems).unwrap_or(u32::MAX);
    let mut catalogue = Catalogue::new(services, titles.into_iter().collect());
    catalogue.problems = problems;
    Ok(catalogue)
}

#[derive(Deserialize)]
struct Metadata {
    title: Option<String>,
    description: Option<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    tags: Option<Vec<String>>,
    links: Option<Vec<LinkDocument>>,
}

#[derive(Deserialize)]
struct LinkDocument {
    url: String,
    title: Option<String>,
    icon: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "type")]
    kind: String,
    lifecycle: String,
    owner: String,
    system: Option<String>,
    depends_on: Option<Vec<String>>,
    dependency_of: Option<Vec<String>>,
    run: Option<Value>,
    migration: Option<Value>,
}

fn service(namespace: String, name: String, metadata: Metadata, spec: Spec) -> Service {
    let bare = |text: &str, kind| {
        EntityRef::parse(text, Some(kind), &namespace).map_or(text.into(), |found| found.name)
    };
    let names = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter().flatten().map(|text| bare(text, "component")).collect()
    };
    let where_it_runs =
        |key: &String| key.starts_with("backstage.io/kubernetes-") || key.starts_with("pilothouse.dev/");
    Service {
        title: metadata.title.unwrap_or_default(),
        description: metadata.description.unwrap_or_default(),
        kind: spec.kind,
        team: bare(&spec.owner, "group"),
        tier: metadata.labels.unwrap_or_default().get(TIER).and_then(|tier| tier.parse().ok()),
        lifecycle: spec.lifecycle,
        system: spec.system.as_deref().map(|system| bare(system, "system")).unwrap_or_default(),
        tags: metadata.tags.unwrap_or_default(),
        links: metadata.links.unwrap_or_default().into_iter().map(Link::from).collect(),
        annotations: metadata
            .annotations
            .unwrap_or_default()
            .into_iter()
            .filter(|(key, _)| where_it_runs(key))
            .collect(),
        depends_on: names(&spec.depends_on),
        // For now the ones it names itself; `link` adds those that name it.
        used_by: names(&spec.dependency_of),
        run: spec.run.and_then(|run| serde_json::from_value::<Run>(run).ok()).map(Box::new),
        migration: spec
            .migration
            .and_then(|migration| serde_json::from_value::<Migration>(migration).ok())
            .map(Box::new),
        namespace,
        name,
    }
}

impl From<LinkDocument> for Link {
    fn from(link: LinkDocument) -> Self {
        Self {
            url: link.url,
            title: link.title.unwrap_or_default(),
            icon: link.icon.unwrap_or_default(),
            kind: link.kind.unwrap_or_default(),
        }
    }
}

/// `dependsOn` and `dependencyOf` say the same from two ends: makes both ends know. `services` are sorted by name.
fn link(services: &mut [Service]) {
    let place = |services: &[Service], name: &str| {
        services.binary_search_by(|service| service.name.as_str().cmp(name)).ok()
    };
    for n in 0..services.len() {
        let name = services[n].name.clone();
        for called in services[n].depends_on.clone() {
            if let Some(at) = place(services, &called).filter(|at| !services[*at].used_by.contains(&name)) {
                services[at].used_by.push(name.clone());
            }
        }
        for caller in services[n].used_by.clone() {
            if let Some(at) = place(services, &caller).filter(|at| !services[*at].depends_on.contains(&name))
            {
                services[at].depends_on.push(name.clone());
            }
        }
    }
    for service in services {
        service.used_by.sort();
        service.used_by.dedup();
        service.used_by.shrink_to_fit();
        service.depends_on.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_dependency_know() {
        let named = |name: &str, depends_on: &[&str], used_by: &[&str]| Service {
            name: name.into(),
            depends_on: depends_on.iter().map(ToString::to_string).collect(),
            used_by: used_by.iter().map(ToString::to_string).collect(),
            ..Service::default()
        };
        let mut services = [named("a", &["b", "db"], &[]), named("b", &[], &["c"]), named("c", &["a"], &[])];
        link(&mut services);
        assert_eq!(services[0].used_by, ["c"]);
        assert_eq!(services[1].used_by, ["a", "c"]);
        assert_eq!(services[2].depends_on, ["a", "b"]);
    }
}
