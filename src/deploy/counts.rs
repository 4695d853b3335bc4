//! The numbers in the frame: deploys that run now, what waits for this person's approval, access requests among it, and
//! notices they have not read.
//! Kept for two seconds, because every page shows them and a dashboard must not cost a query a page.

use std::time::Duration;

use moka::future::Cache;

use crate::app::App;
use crate::auth::{Identity, Person};
use crate::notices;

pub struct Counts(Cache<Identity, (i64, i64, i64)>);

impl Default for Counts {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(2)).build())
    }
}

impl Counts {
    /// (running, waiting for this person, not read). Zero when the database is away: the page itself says so.
    pub async fn for_person(&self, app: &App, person: &Person) -> (i64, i64, i64) {
        let count = async { query(app, person).await.unwrap_or_default() };
        self.0.get_with(person.identity.clone(), count).await
    }

    /// After somebody decided or asked, their next page counts anew.
    pub fn forget(&self) {
        self.0.invalidate_all();
    }
}

async fn query(app: &App, person: &Person) -> sqlx::Result<(i64, i64, i64)> {
    let groups: Vec<String> = person.groups.iter().cloned().collect();
    let row = sqlx::query!(
        r#"
        select
            count(*) filter (where state in ('shifting', 'applying', 'rolling_out', 'verifying', 'rolling_back')) as "running!",
            count(*) filter (
                where state = 'awaiting_approval'
                  and policy -> 'approvers' ?| $3
                  and (requester -> 'identity' ->> 'issuer', requester -> 'identity' ->> 'subject') <> ($1, $2)
                  and not exists (select from approvals a where a.deploy = d.id and a.issuer = $1 and a.subject = $2)
            ) + (
                select count(*) from grants
                where state = 'requested' and terms -> 'approvers' ?| $3 and (issuer, subject) <> ($1, $2)
            ) as "waiting!"
        from deploys d
        where ended is null
        "#,
        person.identity.issuer,
        person.identity.subject,
        &groups,
    )
    .fetch_one(&app.db)
    .await?;
    Ok((row.running, row.waiting, notices::count(&app.db, person).await?))
}
