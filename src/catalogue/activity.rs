//! What happened to a service: its deploys, newest first, and what of them runs or waits now.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::types::Json;

use super::wording;
use crate::app::App;
use crate::deploy::{Action, State};

/// Rows of the feed, and a few more, because some of them may not be this person's to see.
const RECENT: i64 = 40;

/// Of one service, everybody's; what a person may see of it is decided when it is shown.
#[derive(Default)]
pub struct History {
    /// The newest, newest first; all that have not ended are among them.
    pub recent: Vec<Entry>,
    /// What runs in an environment: its last deploy that succeeded.
    pub landed: HashMap<String, Entry>,
    /// How many there are, by cluster and namespace.
    pub counts: Vec<(String, String, i64)>,
    /// Descriptions of the resources it calls.
    pub resources: HashMap<String, Resource>,
    /// APIs and what it does with them: `spec.providesApis`, `spec.consumesApis`.
    pub apis: Vec<(String, String)>,
}

/// A database, a queue: what the catalogue knows of it.
pub struct Resource {
    pub namespace: String,
    pub about: String,
}

/// A deploy in the feed.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: i64,
    pub environment: String,
    pub cluster: String,
    pub namespace: String,
    pub production: bool,
    pub action: Action,
    pub by: String,
    pub state: State,
    pub requested: Timestamp,
    pub ended: Option<Timestamp>,
    pub approvals: i64,
    pub needed: i64,
}

/// A row of the feed: a sentence with a link in it.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedRow {
    /// An icon, or else a status with its label.
    pub symbol: &'static str,
    pub status: &'static str,
    pub label: &'static str,
    pub before: String,
    pub link: String,
    pub after: String,
    pub href: String,
    pub environment: String,
    pub production: bool,
    pub at: Timestamp,
}

/// What is known of a service, at most a second old.
pub async fn history(app: &App, service: &str, calls: &[String]) -> sqlx::Result<Arc<History>> {
    let read = async { read(app, service, calls).await.map(Arc::new) };
    let known = app.pages.histories.try_get_with(service.to_string(), read).await;
    known.map_err(|error| sqlx::Error::Protocol(error.to_string()))
}

async fn read(app: &App, service: &str, calls: &[String]) -> sqlx::Result<History> {
    let recent = entries(app, service, None, RECENT).await?;
    let landed = sqlx::query_scalar!(
        "select distinct on (environment) id from deploys
         where service = $1 and state = 'succeeded' and action ->> 'kind' in ('deploy', 'roll_back')
         order by environment, id desc",
        service
    )
    .fetch_all(&app.db)
    .await?;
    let older: Vec<i64> =
        landed.iter().copied().filter(|id| recent.iter().all(|entry| entry.id != *id)).collect();
    let mut known = recent.clone();
    if !older.is_empty() {
        known.extend(by_id(app, &older).await?);
    }
    let landed = known
        .into_iter()
        .filter(|entry| landed.contains(&entry.id))
        .map(|entry| (entry.environment.clone(), entry))
        .collect();
    let counts = sqlx::query!(
        r#"select cluster, namespace, count(*) as "count!" from deploys where service = $1 group by cluster, namespace"#,
        service
    )
    .map(|row| (row.cluster, row.namespace, row.count))
    .fetch_all(&app.db)
    .await?;
    let resources = sqlx::query!(
        r#"
        select name, namespace,
               coalesce(document #>> '{metadata,description}', document #>> '{spec,type}', '') as "about!"
        from entities
        where kind = 'Resource' and name = any ($1)
        "#,
        calls
    )
    .map(|row| (row.name, Resource { namespace: row.namespace, about: row.about }))
    .fetch_all(&app.db)
    .await?;
    let apis = sqlx::query!(
        r#"
        select field, target from entity_references
        where entity = (select id from entities where kind = 'Component' and name = $1
                        order by namespace <> 'default', namespace limit 1)
          and field in ('spec.providesApis', 'spec.consumesApis')
        order by field desc, target
        "#,
        service
    )
    .map(|row| (row.field, row.target))
    .fetch_all(&app.db)
    .await?;
    Ok(History { recent, landed, counts, resources: resources.into_iter().collect(), apis })
}

/// The deploys of a service, newest first, older than `before`. What has not ended counts as newest.
pub async fn entries(app: &App, service: &str, before: Option<i64>, most: i64) -> sqlx::Result<Vec<Entry>> {
    let ids = sqlx::query_scalar!(
        "select id from deploys where service = $1 and ($2::bigint is null or id < $2)
         order by ($2::bigint is null and ended is null) desc, id desc limit $3",
        service,
        before,
        most
    )
    .fetch_all(&app.db)
    .await?;
    by_id(app, &ids).await
}

async fn by_id(app: &App, ids: &[i64]) -> sqlx::Result<Vec<Entry>> {
    sqlx::query!(
        r#"
        select id, environment, cluster, namespace, (policy ->> 'production')::boolean as "production!",
               action - 'objects' as "action!: Json<Action>", requester ->> 'name' as "by!",
               detail as "state: Json<State>", requested as "requested: jiff_sqlx::Timestamp",
               ended as "ended: jiff_sqlx::Timestamp", (policy ->> 'approvals')::bigint as "needed!",
               (select count(*) from approvals
                where deploy = d.id and verdict = 'approve' and seen = d.digest) as "approvals!"
        from deploys d
        where id = any ($1)
        order by id desc
        "#,
        ids
    )
    .map(|row| Entry {
        id: row.id,
        environment: row.environment,
        cluster: row.cluster,
        namespace: row.namespace,
        production: row.production,
        action: row.action.0,
        by: row.by,
        state: row.state.0,
        requested: row.requested.to_jiff(),
        ended: row.ended.map(|ended| ended.to_jiff()),
        approvals: row.approvals,
        needed: row.needed,
    })
    .fetch_all(&app.db)
    .await
}

impl Entry {
    pub fn href(&self) -> String {
        format!("/deploys/{}", self.id)
    }

    /// "v1.1.0", or what else is changed.
    pub fn what(&self) -> String {
        match &self.action {
            Action::Deploy(change) | Action::RollBack { change, .. } => change.version.clone(),
            Action::Restart { .. } => "Restart".into(),
            Action::Scale { to, .. } => format!("Scale to {}", to.words()),
            Action::Migrate(migration) => format!("Migration with {}", migration.version),
        }
    }

    pub fn row(&self) -> FeedRow {
        let (symbol, status, label) = self.mark();
        let (before, link, after) = wording::happened(self);
        FeedRow {
            symbol,
            status,
            label,
            before,
            link,
            after,
            href: self.href(),
            environment: self.environment.clone(),
            production: self.production,
            at: self.ended.unwrap_or(self.requested),
        }
    }

    /// Icon, or status and label.
    fn mark(&self) -> (&'static str, &'static str, &'static str) {
        match (&self.state, &self.action) {
            (State::Succeeded, Action::RollBack { .. }) => ("", "rolled", "Rolled back"),
            (State::Succeeded, action) => (action.icon(), "", ""),
            (State::AwaitingApproval { .. }, _) => ("", "hold", "Waiting"),
            (state, action) => ("", state.class(), action.badge(state)),
        }
    }
}
