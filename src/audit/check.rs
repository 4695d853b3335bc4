//! Whether the chain of hashes holds. Walking all of it takes a moment, so its answer is kept for a minute, with the
//! values that the filters offer.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use moka::future::Cache;

use crate::app::App;
use crate::events::{self, Chain};

const KEEP: Duration = Duration::from_secs(60);

/// What was found when the trail was last walked.
pub struct Checked {
    pub chain: Chain,
    pub at: Timestamp,
    pub actions: Vec<Value>,
    pub people: Vec<Value>,
    pub outcomes: Vec<Value>,
}

/// A value to filter by, and how many rows have it.
pub struct Value {
    pub value: String,
    pub text: String,
    pub count: i64,
}

pub struct Checks(Cache<(), Arc<Checked>>);

impl Default for Checks {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(1).time_to_live(KEEP).build())
    }
}

/// Walks the trail, or remembers walking it less than a minute ago.
pub async fn check(app: &App) -> Result<Arc<Checked>, Arc<sqlx::Error>> {
    app.audit.0.try_get_with((), walk(app)).await
}

async fn walk(app: &App) -> sqlx::Result<Arc<Checked>> {
    let at = app.clock.now();
    let chain = events::verify_chain(&app.db).await?;
    if let Chain::BrokenAt(row) = chain {
        tracing::error!(row, "the audit trail was tampered with: a row does not fit its hash");
    }
    let actions = sqlx::query_as!(
        Value,
        r#"select action as value, action as text, count(*) as "count!" from audit group by action order by action"#
    )
    .fetch_all(&app.db)
    .await?;
    let people = sqlx::query_as!(
        Value,
        r#"select username as value, max(name) as "text!", count(*) as "count!"
           from audit group by username order by count(*) desc, username limit 40"#
    )
    .fetch_all(&app.db)
    .await?;
    let outcomes = sqlx::query_as!(
        Value,
        r#"select outcome as value, outcome as text, count(*) as "count!" from audit group by outcome order by outcome"#
    )
    .fetch_all(&app.db)
    .await?;
    Ok(Arc::new(Checked { chain, at, actions, people, outcomes }))
}
