//! The audit page.

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use axum_extra::extract::Query;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use jiff_sqlx::ToSqlx;
use serde_json::Value as Json;

use super::check::{self, Value};
use super::filter::{Filter, Span};
use super::wording;
use crate::app::App;
use crate::web::{Layout, Nav, Result, filters};

const PAGE: i64 = 50;

#[derive(Template)]
#[template(path = "audit/show.html")]
struct AuditPage {
    layout: Layout,
    filter: Filter,
    chain: (&'static str, String, String),
    menus: Vec<Menu>,
    spans: Vec<(&'static str, &'static str, bool)>,
    span: &'static str,
    rows: Vec<Row>,
    count: String,
    range: String,
    previous: String,
    next: String,
    csv: String,
    json: String,
}

/// A filter with checkboxes.
struct Menu {
    name: &'static str,
    title: &'static str,
    chosen: usize,
    choices: Vec<Choice>,
}

struct Choice {
    value: String,
    text: String,
    count: i64,
    on: bool,
}

struct Row {
    id: i64,
    at: Timestamp,
    when: String,
    name: String,
    username: String,
    did: String,
    to: String,
    environment: String,
    production: bool,
    origin: String,
    class: &'static str,
    outcome: String,
}

/// `GET /audit`
pub async fn show(
    State(app): State<App>,
    layout: Layout,
    Query(filter): Query<Filter>,
) -> Result<Html<String>> {
    let checked = check::check(&app).await.map_err(|error| anyhow::anyhow!(error))?;
    let now = layout.now;
    let (rows, more) = rows(&app, &filter, now).await?;
    let total = count(&app, &filter, now).await?;

    let first = rows.first().map_or(0, |row| row.id);
    let newer = match filter.before {
        Some(_) => newer_than(&app, &filter, now, first).await?,
        None => Vec::new(),
    };
    let full = PAGE as usize;
    let previous = match newer.len() {
        0 => String::new(),
        // At most a page before this one: that is the newest page.
        n if n <= full => filter.address("/audit", None),
        _ => filter.address("/audit", Some(newer[full - 1] + 1)),
    };
    let next = match rows.last() {
        Some(row) if more => filter.address("/audit", Some(row.id)),
        _ => String::new(),
    };
    let menu = |name, title, values: &[Value], on: &[String], words: fn(&Value) -> String| Menu {
        name,
        title,
        chosen: on.len(),
        choices: values
            .iter()
            .map(|value| Choice {
                on: on.contains(&value.value),
                text: words(value),
                value: value.value.clone(),
                count: value.count,
            })
            .collect(),
    };
    let page = AuditPage {
        chain: wording::chain(&checked.chain, &filters::ago(checked.at, now)),
        menus: vec![
            menu("action", "Action", &checked.actions, &filter.action, |value| wording::did(&value.value)),
            menu("person", "Person", &checked.people, &filter.person, |value| value.text.clone()),
            menu("outcome", "Outcome", &checked.outcomes, &filter.outcome, |value| {
                wording::outcome(&value.value).1
            }),
        ],
        spans: Span::ALL.map(|span| (span.value(), wording::span(span), span == filter.span)).to_vec(),
        span: wording::span(filter.span),
        count: format!("{} found", wording::thousands(total.unsigned_abs())),
        range: match (rows.first(), rows.last()) {
            (Some(first), Some(last)) => format!("{} to {}", first.id, last.id),
            _ => String::new(),
        },
        previous,
        next,
        csv: filter.address("/audit.csv", None),
        json: filter.address("/audit.json", None),
        rows,
        filter,
        layout: layout.at(Nav::Audit, &[("Audit trail", "")]),
    };
    Ok(Html(page.render()?))
}

/// A page of entries, newest first, and whether there are older ones.
async fn rows(app: &App, filter: &Filter, now: Timestamp) -> Result<(Vec<Row>, bool)> {
    let found = sqlx::query!(
        r#"select id as "id!", at as "at!: jiff_sqlx::Timestamp", name as "name!", username as "username!",
                  action as "action!", target as "target!", outcome as "outcome!", origin as "origin!",
                  detail as "detail!"
           from audit_matching($1, $2, $3, $4, $5)
           where $6::bigint is null or id < $6
           order by id desc
           limit $7"#,
        filter.typed(),
        &filter.action,
        &filter.person,
        &filter.outcome,
        filter.since(now).map(ToSqlx::to_sqlx) as _,
        filter.before,
        PAGE + 1,
    )
    .fetch_all(&app.db)
    .await?;
    let more = found.len() > PAGE as usize;
    let rows = found.into_iter().take(PAGE as usize).map(|row| {
        let (service, environment) = row.target.split_once('/').unwrap_or((&row.target, ""));
        let known = app.config.environment(environment);
        let (class, outcome) = wording::outcome(&row.outcome);
        let at = row.at.to_jiff();
        Row {
            id: row.id,
            when: when(at, now),
            at,
            name: row.name,
            username: row.username,
            did: wording::did(&row.action),
            to: match row.detail.get("change").and_then(Json::as_str) {
                Some(change) => format!("{service} {change}"),
                None => service.to_string(),
            },
            environment: environment.to_string(),
            production: known.is_some_and(|environment| environment.production),
            origin: if row.origin == "engine" { "portal".into() } else { row.origin },
            class,
            outcome,
        }
    });
    Ok((rows.collect(), more))
}

/// Numbers of the entries that stand before this page, oldest first: a page of them and one more.
async fn newer_than(app: &App, filter: &Filter, now: Timestamp, id: i64) -> Result<Vec<i64>> {
    let ids = sqlx::query_scalar!(
        r#"select id as "id!" from audit_matching($1, $2, $3, $4, $5) where id > $6 order by id limit $7"#,
        filter.typed(),
        &filter.action,
        &filter.person,
        &filter.outcome,
        filter.since(now).map(ToSqlx::to_sqlx) as _,
        id,
        PAGE + 1,
    );
    Ok(ids.fetch_all(&app.db).await?)
}

async fn count(app: &App, filter: &Filter, now: Timestamp) -> Result<i64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from audit_matching($1, $2, $3, $4, $5)"#,
        filter.typed(),
        &filter.action,
        &filter.person,
        &filter.outcome,
        filter.since(now).map(ToSqlx::to_sqlx) as _,
    );
    Ok(count.fetch_one(&app.db).await?)
}

/// The time of day; with the date once it is another day.
fn when(at: Timestamp, now: Timestamp) -> String {
    let (at, now) = (at.to_zoned(TimeZone::UTC), now.to_zoned(TimeZone::UTC));
    let pattern = if at.date() == now.date() { "%H:%M:%S" } else { "%-d %b %H:%M:%S" };
    at.strftime(pattern).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_other_days_carry_their_date() {
        let now: Timestamp = "2026-11-23T14:00:00Z".parse().unwrap();
        assert_eq!(when("2026-11-23T09:31:48Z".parse().unwrap(), now), "09:31:48");
        assert_eq!(when("2026-11-22T23:59:59Z".parse().unwrap(), now), "22 Nov 23:59:59");
    }
}
