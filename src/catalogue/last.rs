//! The last deploy of each row of the list: what runs or waits now, else what landed last, and who asked for it.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::board::Overview;
use crate::app::App;
use crate::kube::Target;

/// By service name: the newest of each environment.
pub type Lasts = HashMap<String, Vec<Last>>;

#[derive(Clone, Debug)]
pub struct Last {
    pub id: i64,
    environment: String,
    cluster: String,
    namespace: String,
    kind: String,
    pub state: String,
    pub by: String,
    requested: Timestamp,
    ended: Option<Timestamp>,
}

/// What the cell says.
#[derive(Clone, Debug, PartialEq)]
pub enum LastDeploy {
    Never,
    /// A badge: status, words, since when, the deploy.
    Badge {
        class: &'static str,
        words: &'static str,
        at: Timestamp,
        id: i64,
    },
    By {
        name: String,
        at: Timestamp,
    },
}

/// The last deploys of these services, at most a second old.
pub async fn lasts(app: &App, overview: &Overview, rows: &[u32]) -> sqlx::Result<Arc<Lasts>> {
    if let Some(known) = app.pages.lasts.get(rows).await {
        return Ok(known);
    }
    let services = overview.board.catalogue.services();
    let names: Vec<String> = rows.iter().map(|n| services[*n as usize].name.clone()).collect();
    let found = Arc::new(query(app, &names).await?);
    app.pages.lasts.insert(rows.to_vec(), found.clone()).await;
    Ok(found)
}

async fn query(app: &App, names: &[String]) -> sqlx::Result<Lasts> {
    let rows = sqlx::query!(
        r#"
        select distinct on (service, environment)
               id, service, environment, cluster, namespace, action ->> 'kind' as "kind!", state, requester ->> 'name' as "by!",
               requested as "requested: jiff_sqlx::Timestamp", ended as "ended: jiff_sqlx::Timestamp"
        from deploys
        where service = any ($1)
          and (ended is null
               or (state in ('succeeded', 'failed', 'rolled_back', 'rollback_failed') and action ->> 'kind' in ('deploy', 'roll_back')))
        order by service, environment, id desc
        "#,
        names
    )
    .fetch_all(&app.db)
    .await?;
    let mut lasts = Lasts::new();
    for row in rows {
        lasts.entry(row.service).or_default().push(Last {
            id: row.id,
            environment: row.environment,
            cluster: row.cluster,
            namespace: row.namespace,
            kind: row.kind,
            state: row.state,
            by: row.by,
            requested: row.requested.to_jiff(),
            ended: row.ended.map(|ended| ended.to_jiff()),
        });
    }
    Ok(lasts)
}

/// What runs or waits comes before what ended; within each, the newest.
pub fn shown(lasts: &[Last], sees: impl Fn(&str, &str) -> bool) -> LastDeploy {
    let visible = lasts.iter().filter(|last| sees(&last.cluster, &last.namespace));
    match visible.max_by_key(|last| (last.ended.is_none(), last.id)) {
        Some(last) => last.shown(),
        None => LastDeploy::Never,
    }
}

impl Last {
    pub fn is_at(&self, target: &Target) -> bool {
        self.environment == target.environment
            && self.cluster == target.cluster
            && self.namespace == target.namespace
    }

    /// When it ended, else when it was asked for.
    pub fn at(&self) -> Timestamp {
        self.ended.unwrap_or(self.requested)
    }

    fn shown(&self) -> LastDeploy {
        let at = self.at();
        let badge = |class, words| LastDeploy::Badge { class, words, at, id: self.id };
        match (self.state.as_str(), self.kind.as_str()) {
            ("awaiting_approval", _) => badge("hold", "Awaiting approval"),
            ("requested" | "queued", _) => badge("idle", "Queued"),
            ("failed" | "rolled_back" | "rollback_failed", _) => badge("bad", "Failed"),
            ("rolling_back", _) => badge("prog", "Rolling back"),
            ("succeeded", "roll_back") => badge("rolled", "Rolled back"),
            ("succeeded", _) => LastDeploy::By { name: self.by.clone(), at },
            (_, "scale") => badge("prog", "Scaling"),
            (_, "restart") => badge("prog", "Restarting"),
            (_, "migrate") => badge("prog", "Migrating"),
            _ => badge("prog", "Rolling out"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(id: i64, namespace: &str, state: &str, kind: &str) -> Last {
        let at: Timestamp = "2026-11-23T14:00:00Z".parse().unwrap();
        let ended = matches!(state, "succeeded" | "failed").then_some(at);
        let [environment, cluster, namespace, kind, state, by] =
            ["staging", "dev", namespace, kind, state, "Maya"].map(String::from);
        Last { id, environment, cluster, namespace, kind, state, by, requested: at, ended }
    }

    fn words(lasts: &[Last]) -> &'static str {
        match shown(lasts, |_, namespace| namespace != "hidden") {
            LastDeploy::Never => "never",
            LastDeploy::Badge { words, .. } => words,
            LastDeploy::By { .. } => "by",
        }
    }

    #[test]
    fn what_waits_or_runs_comes_first_and_the_hidden_stays_hidden() {
        let landed = last(9, "production", "succeeded", "deploy");
        assert_eq!(words(&[]), "never");
        assert_eq!(words(std::slice::from_ref(&landed)), "by");
        assert_eq!(
            words(&[landed.clone(), last(3, "staging", "awaiting_approval", "deploy")]),
            "Awaiting approval"
        );
        assert_eq!(words(&[landed.clone(), last(3, "staging", "verifying", "scale")]), "Scaling");
        assert_eq!(words(&[landed.clone(), last(12, "hidden", "failed", "deploy")]), "by");
        assert_eq!(words(&[landed, last(12, "staging", "succeeded", "roll_back")]), "Rolled back");
        assert_eq!(words(&[last(12, "hidden", "failed", "deploy")]), "never");
    }
}
