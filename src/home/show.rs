//! The home page.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use futures::future::join_all;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use sqlx::types::Json;

use super::look::{Look, look, worst};
use super::wording;
use crate::app::App;
use crate::auth::{CurrentUser, Person, access};
use crate::catalogue::Service;
use crate::deploy::{Action, Ask, State as At};
use crate::inbox;
use crate::kube::Health;
use crate::notices::{self, Notice};
use crate::web::{Layout, Nav, Result};

/// Rows of "Your services": the list page has the rest.
const SERVICES: usize = 12;
const WAITING: usize = 6;
const CHANGES: usize = 10;
const OWN: i64 = 5;
const TODAY: SignedDuration = SignedDuration::from_hours(24);

#[derive(Template)]
#[template(path = "home/show.html")]
struct HomePage {
    layout: Layout,
    greeting: String,
    lead: String,
    waiting: Vec<Ask>,
    /// Broken glasses that this person can sign off.
    reviews: usize,
    notices: Vec<Notice>,
    mine: Vec<Mine>,
    /// "staging, production", or how many services are not shown.
    mine_end: String,
    all_mine: String,
    today: Vec<Change>,
    own: Vec<Change>,
}

/// A service of the person's teams.
struct Mine {
    name: String,
    about: String,
    health: Health,
    looks: Vec<Look>,
    /// What is asked for or under way: status and words.
    note: Option<(&'static str, String)>,
}

/// A deploy, as the feed and "Your recent deploys" say it.
struct Change {
    id: i64,
    environment: String,
    production: bool,
    title: String,
    class: &'static str,
    badge: &'static str,
    by: String,
    at: Timestamp,
}

/// `GET /`
pub async fn home(State(app): State<App>, user: CurrentUser, layout: Layout) -> Result<Html<String>> {
    let now = app.clock.now();
    let catalogue = app.catalogue.load_full();
    let own: Vec<&Service> =
        catalogue.services().iter().filter(|service| user.groups.contains(&service.team)).collect();

    let (waiting, _) = inbox::waiting(&app, &user, now).await?;
    let mut mine = mine(&app, &user, &own, now).await?;
    let health: Vec<Health> = mine.iter().map(|row| row.health).collect();
    let reviews = inbox::to_sign_off(&app, &user).await?;
    let lead = wording::lead(&health, waiting.len(), reviews);
    mine.sort_by_key(|row| (row.health == Health::Missing, row.health));
    let all = mine.len();
    mine.truncate(SERVICES);

    let hour = now.to_zoned(TimeZone::system()).hour();
    let page = HomePage {
        greeting: wording::greeting(hour, &user.name),
        lead,
        waiting: waiting.into_iter().take(WAITING).collect(),
        reviews,
        notices: notices::unread(&app.db, &user).await?,
        mine_end: if all > mine.len() { format!("All {all}") } else { columns(&app) },
        all_mine: if all > mine.len() { team_filter(&layout.teams) } else { String::new() },
        mine,
        today: today(&app, &user, &own, now).await?,
        own: requested_by(&app, &user).await?,
        layout: layout.at(Nav::Home, &[("Home", "")]),
    };
    Ok(Html(page.render()?))
}

async fn mine(app: &App, user: &Person, own: &[&Service], now: Timestamp) -> Result<Vec<Mine>> {
    let names: Vec<String> = own.iter().map(|service| service.name.clone()).collect();
    let active = sqlx::query!(
        r#"select distinct on (service) service, id, environment, cluster, namespace,
                  action as "action: Json<Action>", detail as "state: Json<At>"
           from deploys
           where ended is null and service = any ($1)
           order by service, id desc"#,
        &names
    )
    .fetch_all(&app.db)
    .await?;
    let looks = join_all(own.iter().map(|service| look(app, user, service, now))).await;
    let rows = own.iter().zip(looks).map(|(service, looks)| {
        let row = active.iter().find(|row| row.service == service.name);
        let visible = row.filter(|row| looks.iter().any(|look| look.environment == row.environment));
        Mine {
            name: service.name.clone(),
            about: service.description.clone(),
            health: worst(&looks),
            note: visible.map(|row| {
                let words = format!(
                    "{}, {}: {}",
                    row.action.short(),
                    row.environment,
                    row.action.badge(&row.state).to_lowercase()
                );
                (row.state.class(), words)
            }),
            looks,
        }
    });
    Ok(rows.collect())
}

impl HomePage {
    /// What is marked as read: no more than is on the page.
    fn shown(&self) -> String {
        self.notices.iter().map(|notice| notice.id.to_string()).collect::<Vec<_>>().join(",")
    }
}

impl Mine {
    /// What is under way, else what is wrong: the first place that is not well. No link: the service's name above it is
    /// one, and two so close are hard to hit.
    fn told(&self) -> Option<(&'static str, String)> {
        self.note.clone().or_else(|| self.trouble())
    }

    fn trouble(&self) -> Option<(&'static str, String)> {
        let unwell = |look: &&Look| matches!(look.health, Health::Degraded | Health::Suspended);
        let place = self.looks.iter().find(unwell)?;
        Some((place.health.class(), format!("{}: {}", place.environment, place.reason)))
    }
}

/// What moved in the last day among the services of the person's teams and what those call; everything the person
/// may see, when their groups own nothing.
async fn today(app: &App, user: &Person, own: &[&Service], now: Timestamp) -> Result<Vec<Change>> {
    let mut names = BTreeSet::new();
    for service in own {
        names.insert(service.name.clone());
        names.extend(service.depends_on.iter().cloned());
    }
    let names: Vec<String> = names.into_iter().collect();
    let rows = sqlx::query!(
        r#"select id, service, environment, cluster, namespace, action as "action: Json<Action>",
                  detail as "state: Json<At>", requester ->> 'name' as "by!",
                  (policy ->> 'production')::boolean as "production!", coalesce(ended, requested) as "at!"
           from deploys
           where coalesce(ended, requested) > $1 and (cardinality($2::text[]) = 0 or service = any ($2))
           order by coalesce(ended, requested) desc
           limit 60"#,
        (now - TODAY).to_sqlx() as _,
        &names,
    )
    .fetch_all(&app.db)
    .await?;
    let mut changes = Vec::new();
    for row in rows {
        if changes.len() == CHANGES {
            break;
        }
        if !access::may_view(app, user, &row.cluster, &row.namespace).await.unwrap_or(false) {
            continue;
        }
        changes.push(Change {
            id: row.id,
            title: row.action.title(&row.service),
            environment: row.environment,
            production: row.production,
            class: row.state.class(),
            badge: row.action.badge(&row.state),
            by: row.by,
            at: row.at.to_jiff(),
        });
    }
    Ok(changes)
}

/// The person's own requests, newest first.
async fn requested_by(app: &App, user: &Person) -> Result<Vec<Change>> {
    let rows = sqlx::query!(
        r#"select id, service, environment, action as "action: Json<Action>", detail as "state: Json<At>",
                  requester ->> 'name' as "by!", (policy ->> 'production')::boolean as "production!",
                  coalesce(ended, requested) as "at!"
           from deploys
           where (requester -> 'identity' ->> 'issuer', requester -> 'identity' ->> 'subject') = ($1, $2)
           order by id desc
           limit $3"#,
        user.identity.issuer,
        user.identity.subject,
        OWN,
    )
    .fetch_all(&app.db)
    .await?;
    let change = rows.into_iter().map(|row| Change {
        id: row.id,
        title: format!("{} {}", row.service, row.action.short()),
        environment: row.environment,
        production: row.production,
        class: row.state.class(),
        badge: row.action.badge(&row.state),
        by: row.by,
        at: row.at.to_jiff(),
    });
    Ok(change.collect())
}

fn columns(app: &App) -> String {
    app.config.environments.iter().map(|environment| environment.name()).collect::<Vec<_>>().join(", ")
}

fn team_filter(teams: &[String]) -> String {
    let pairs = teams.iter().map(|team| ("team", team));
    format!("/services?{}", url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
}
