//! All deploys the person may see, newest first: what runs, what waits, what failed.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Html;
use jiff::Timestamp;
use serde::Deserialize;
use sqlx::types::Json;

use super::deploy::{Action, DeployId};
use super::state::State as At;
use crate::app::App;
use crate::auth::{CurrentUser, Person, access};
use crate::web::{Layout, Nav, Result};

const PAGE: i64 = 50;

#[derive(Template)]
#[template(path = "deploy/list.html")]
struct ListPage {
    layout: Layout,
    lead: String,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    next: String,
    previous: String,
    now: Timestamp,
}

struct Tab {
    href: String,
    text: &'static str,
    class: &'static str,
    count: String,
    on: bool,
}

struct Row {
    id: i64,
    title: String,
    environment: String,
    production: bool,
    class: &'static str,
    badge: &'static str,
    glass: bool,
    by: String,
    requested: Timestamp,
    took: String,
}

#[derive(Deserialize)]
pub struct Filter {
    #[serde(default)]
    state: String,
    before: Option<i64>,
}

/// A tab: its name in the address, its words, its shape, and the states behind it.
const TABS: [(&str, &str, &str, &[&str]); 5] = [
    ("", "All", "", &[]),
    (
        "running",
        "Running",
        "prog",
        &["queued", "shifting", "applying", "rolling_out", "verifying", "rolling_back"],
    ),
    ("waiting", "Waiting", "hold", &["awaiting_approval"]),
    ("done", "Done", "ok", &["succeeded"]),
    (
        "failed",
        "Failed",
        "bad",
        &["failed", "rolled_back", "rollback_failed", "rejected", "superseded", "expired"],
    ),
];

/// `GET /deploys`
pub async fn list(
    State(app): State<App>,
    user: CurrentUser,
    layout: Layout,
    Query(filter): Query<Filter>,
) -> Result<Html<String>> {
    let places = visible_places(&app, &user).await?;
    let (_, _, _, states) = TABS.iter().find(|tab| tab.0 == filter.state).unwrap_or(&TABS[0]);
    let which = Which { states, before: filter.before, ..Which::default() };
    let (mut rows, counts) = query(&app, &user, &places, &which).await?;

    let more = rows.len() > PAGE as usize;
    rows.truncate(PAGE as usize);
    let with = |before: Option<i64>| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if !filter.state.is_empty() {
            query.append_pair("state", &filter.state);
        }
        if let Some(id) = before {
            query.append_pair("before", &id.to_string());
        }
        format!("/deploys?{}", query.finish())
    };
    let count = |states: &[&str]| {
        counts.iter().filter(|(state, _)| states.contains(&state.as_str())).map(|(_, n)| n).sum::<i64>()
    };
    let (running, waiting) = (count(TABS[1].3), count(TABS[2].3));
    let page = ListPage {
        layout: layout.at(Nav::Deployments, &[("Deployments", "")]),
        lead: format!("{running} running, {waiting} waiting for approval."),
        tabs: TABS
            .iter()
            .map(|(name, text, class, states)| Tab {
                href: if name.is_empty() { "/deploys".into() } else { format!("/deploys?state={name}") },
                text,
                class,
                count: if states.is_empty() { counts.values().sum::<i64>() } else { count(states) }
                    .to_string(),
                on: *name == filter.state,
            })
            .collect(),
        next: if more { with(rows.last().map(|row| row.id)) } else { String::new() },
        previous: filter.before.map(|_| with(None)).unwrap_or_default(),
        rows,
        now: app.clock.now(),
    };
    Ok(Html(page.render()?))
}

/// The (cluster, namespace) pairs with deploys that the person may look into.
async fn visible_places(app: &App, user: &CurrentUser) -> Result<Vec<String>> {
    let places = sqlx::query!("select distinct cluster, namespace from deploys").fetch_all(&app.db).await?;
    let mut visible = Vec::new();
    for place in places {
        if app.config.clusters.iter().any(|cluster| *cluster.name.get_ref() == place.cluster)
            && access::may_view(app, user, &place.cluster, &place.namespace).await?
        {
            visible.push(format!("{}/{}", place.cluster, place.namespace));
        }
    }
    Ok(visible)
}

/// Which deploys; empty and None let everything through.
#[derive(Default)]
pub struct Which<'a> {
    pub service: Option<&'a str>,
    pub environment: Option<&'a str>,
    pub states: &'a [&'a str],
    /// Only older ones.
    pub before: Option<i64>,
}

/// The numbers of deploys that the person may see, newest first, at most `most`.
pub async fn numbers(app: &App, user: &CurrentUser, which: &Which<'_>, most: i64) -> Result<Vec<DeployId>> {
    let places = visible_places(app, user).await?;
    select(app, user, &places, which, most).await
}

async fn select(
    app: &App,
    user: &Person,
    places: &[String],
    which: &Which<'_>,
    most: i64,
) -> Result<Vec<DeployId>> {
    let states: Vec<String> = which.states.iter().map(ToString::to_string).collect();
    let ids = sqlx::query_scalar!(
        "select id from deploys
         where (cluster || '/' || namespace = any ($1)
                or (requester -> 'identity' ->> 'issuer', requester -> 'identity' ->> 'subject') = ($5, $6))
           and (cardinality($2::text[]) = 0 or state = any ($2))
           and ($3::bigint is null or id < $3)
           and ($7::text is null or service = $7)
           and ($8::text is null or environment = $8)
         order by id desc
         limit $4",
        places,
        &states,
        which.before,
        most,
        user.identity.issuer,
        user.identity.subject,
        which.service,
        which.environment,
    )
    .fetch_all(&app.db)
    .await?;
    Ok(ids.into_iter().map(DeployId).collect())
}

async fn query(
    app: &App,
    user: &Person,
    places: &[String],
    which: &Which<'_>,
) -> Result<(Vec<Row>, HashMap<String, i64>)> {
    let ids: Vec<i64> = select(app, user, places, which, PAGE + 1).await?.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"select id, service, environment, action as "action: Json<Action>", requester ->> 'name' as "by!",
                  (policy ->> 'production')::boolean as "production!", detail as "state: Json<At>", requested, ended,
                  exists (select from glass_reviews g where g.deploy = deploys.id) as "glass!"
           from deploys where id = any ($1) order by id desc"#,
        &ids
    )
    .fetch_all(&app.db)
    .await?;
    let counts = sqlx::query!(
        r#"select state, count(*) as "count!" from deploys where cluster || '/' || namespace = any ($1) group by state"#,
        places
    )
    .fetch_all(&app.db)
    .await?;
    let rows = rows
        .into_iter()
        .map(|row| Row {
            id: row.id,
            title: row.action.title(&row.service),
            environment: row.environment,
            production: row.production,
            class: row.state.class(),
            badge: row.action.badge(&row.state),
            glass: row.glass,
            by: row.by,
            requested: row.requested.to_jiff(),
            took: row.ended.map(|ended| took(row.requested.to_jiff(), ended.to_jiff())).unwrap_or_default(),
        })
        .collect();
    Ok((rows, counts.into_iter().map(|row| (row.state, row.count)).collect()))
}

/// "12 s", "4 min", "3 h".
fn took(from: Timestamp, to: Timestamp) -> String {
    match to.duration_since(from).as_secs() {
        seconds @ ..60 => format!("{seconds}\u{a0}s"),
        seconds @ 60..3_600 => format!("{}\u{a0}min", seconds / 60),
        seconds => format!("{}\u{a0}h", seconds / 3_600),
    }
}
