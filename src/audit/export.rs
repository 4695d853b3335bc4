//! The trail as a file, streamed row by row: a million entries need no more memory than one. Exporting is itself
//! recorded. Numbers, hashes and all, so that an auditor can walk the chain without the portal.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::Query;
use futures::TryStreamExt;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::filter::Filter;
use crate::app::App;
use crate::auth::CurrentUser;
use crate::events::{self, Entry, Origin};
use crate::web::Result;

/// Rows on their way to a slow reader.
const AHEAD: usize = 64;
const HEADINGS: &str =
    "number,time,issuer,subject,name,username,action,target,outcome,from,request,detail,previous,hash\r\n";

/// One entry, as it is handed out.
#[derive(Serialize)]
struct Row {
    number: i64,
    time: Timestamp,
    issuer: String,
    subject: String,
    name: String,
    username: String,
    action: String,
    target: String,
    outcome: String,
    from: String,
    request: String,
    detail: Value,
    previous: String,
    hash: String,
}

#[derive(Clone, Copy)]
enum Format {
    Csv,
    Json,
}

/// `GET /audit.csv`
pub async fn csv(
    State(app): State<App>,
    user: CurrentUser,
    origin: Origin,
    Query(filter): Query<Filter>,
) -> Result<Response> {
    export(app, user, origin, filter, Format::Csv).await
}

/// `GET /audit.json`
pub async fn json(
    State(app): State<App>,
    user: CurrentUser,
    origin: Origin,
    Query(filter): Query<Filter>,
) -> Result<Response> {
    export(app, user, origin, filter, Format::Json).await
}

async fn export(
    app: App,
    user: CurrentUser,
    origin: Origin,
    filter: Filter,
    format: Format,
) -> Result<Response> {
    let (extension, kind) = match format {
        Format::Csv => ("csv", "text/csv; charset=utf-8"),
        Format::Json => ("json", "application/json"),
    };
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let entry = Entry {
        action: "audit.export",
        target: format!("audit.{extension}"),
        outcome: "done",
        detail: json!({ "view": filter.address("/audit", None) }),
    };
    events::audit(&mut tx, &user, &origin, now, entry).await?;
    tx.commit().await?;

    let (send, receive) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        if let Err(error) = write(&app, &filter, now, format, &send).await {
            tracing::warn!(error = format!("{error:#}"), "an export of the audit trail broke off");
            // The reader sees a connection that broke, not a file that looks whole.
            let _ = send.send(Err(std::io::Error::other("the export broke off"))).await;
        }
    });
    let day = now.strftime("%Y-%m-%d");
    let headers = [
        (header::CONTENT_TYPE, kind.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"audit-{day}.{extension}\"")),
    ];
    Ok((headers, Body::from_stream(ReceiverStream::new(receive))).into_response())
}

type Chunks = mpsc::Sender<std::io::Result<String>>;

async fn write(
    app: &App,
    filter: &Filter,
    now: Timestamp,
    format: Format,
    out: &Chunks,
) -> anyhow::Result<()> {
    let mut rows = sqlx::query!(
        r#"select id as "id!", at as "at!: jiff_sqlx::Timestamp", issuer as "issuer!", subject as "subject!",
                  name as "name!", username as "username!", action as "action!", target as "target!",
                  outcome as "outcome!", origin as "origin!", request_id as "request_id!", detail as "detail!",
                  previous as "previous!", hash as "hash!"
           from audit_matching($1, $2, $3, $4, $5)
           order by id"#,
        filter.typed(),
        &filter.action,
        &filter.person,
        &filter.outcome,
        filter.since(now).map(ToSqlx::to_sqlx) as _,
    )
    .fetch(&app.db);
    out.send(Ok(match format {
        Format::Csv => HEADINGS.into(),
        Format::Json => "[".into(),
    }))
    .await?;
    let mut separator = "\n";
    while let Some(row) = rows.try_next().await? {
        let row = Row {
            number: row.id,
            time: row.at.to_jiff(),
            issuer: row.issuer,
            subject: row.subject,
            name: row.name,
            username: row.username,
            action: row.action,
            target: row.target,
            outcome: row.outcome,
            from: row.origin,
            request: row.request_id,
            detail: row.detail,
            previous: hex::encode(row.previous),
            hash: hex::encode(row.hash),
        };
        let line = match format {
            Format::Csv => row.csv(),
            Format::Json => format!("{separator}{}", serde_json::to_string(&row)?),
        };
        separator = ",\n";
        out.send(Ok(line)).await?;
    }
    if matches!(format, Format::Json) {
        out.send(Ok("\n]\n".into())).await?;
    }
    Ok(())
}

impl Row {
    fn csv(&self) -> String {
        let (number, time, detail) =
            (self.number.to_string(), self.time.to_string(), self.detail.to_string());
        let cells = [
            &number,
            &time,
            &self.issuer,
            &self.subject,
            &self.name,
            &self.username,
            &self.action,
            &self.target,
            &self.outcome,
            &self.from,
            &self.request,
            &detail,
            &self.previous,
            &self.hash,
        ];
        cells.map(|text| cell(text)).join(",") + "\r\n"
    }
}

/// Quoted, and defused: a spreadsheet runs what begins with one of these characters, so a quote mark goes before it.
fn cell(text: &str) -> String {
    let runs = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    format!("\"{}{}\"", if runs { "'" } else { "" }, text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_a_spreadsheet_would_run_is_defused() {
        assert_eq!(cell("=HYPERLINK(\"http://evil\")"), "\"'=HYPERLINK(\"\"http://evil\"\")\"");
        for text in ["+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert!(cell(text).starts_with("\"'"), "{text:?}");
        }
        assert_eq!(cell("checkout-api/production"), "\"checkout-api/production\"");
    }
}
