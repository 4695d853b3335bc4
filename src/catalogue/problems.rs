//! `GET /catalogue/problems`: what the last import could not take in, for the platform team.

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use jiff::Timestamp;

use super::wording;
use crate::app::App;
use crate::web::{Layout, Nav, Result};

/// Who has more than this mends the first ones first.
const MOST: i64 = 500;

#[derive(Template)]
#[template(path = "catalogue/problems.html")]
struct ProblemsPage {
    layout: Layout,
    lead: String,
    rows: Vec<Row>,
    now: Timestamp,
}

struct Row {
    place: String,
    class: &'static str,
    word: &'static str,
    what: String,
    mend: String,
    found: Timestamp,
}

pub async fn show(State(app): State<App>, layout: Layout) -> Result<Html<String>> {
    let rows = sqlx::query!(
        r#"
        select source, line, col, severity, what, mend, found as "found: jiff_sqlx::Timestamp"
        from import_problems
        order by severity, source, line, col
        limit $1
        "#,
        MOST
    )
    .map(|row| Row {
        place: match row.line {
            0 => row.source,
            line => format!("{}:{line}:{}", row.source, row.col),
        },
        class: if row.severity == "error" { "bad" } else { "warn" },
        word: if row.severity == "error" { "Not imported" } else { "Imported, look again" },
        what: row.what,
        mend: row.mend,
        found: row.found.to_jiff(),
    })
    .fetch_all(&app.db)
    .await?;
    let count = app.catalogue.load().problems.max(rows.len() as u32);
    let page = ProblemsPage {
        layout: layout.at(Nav::Services, &[("Services", "/services"), ("Problems", "")]),
        lead: wording::problems_lead(count, rows.len()),
        rows,
        now: app.clock.now(),
    };
    Ok(Html(page.render()?))
}
