//! Notices: what people are told inside the portal without having asked. One is written in the transaction of what it tells
//! of: to people, or to groups, whose members are found when they look, because the portal knows nobody before they sign in.
//! Nothing is sent outside.

use axum::extract::State;
use axum::response::Redirect;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

use crate::app::App;
use crate::auth::{CurrentUser, Identity, Person};
use crate::web::form::VerifiedForm;
use crate::web::{Access, Result, Routes};

/// How many a page shows. Older ones come up when these are read.
const SHOWN: i64 = 10;

pub fn routes() -> Routes {
    Routes::default().post("/notices/read", Access::SignedIn, read)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    DeployFailed,
    GlassBroken,
    WaitsForAHand,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::DeployFailed => "deploy_failed",
            Self::GlassBroken => "glass_broken",
            Self::WaitsForAHand => "waits_for_a_hand",
        }
    }

    /// Status class of the design kit and the word for its shape. A kind of a newer replica is just a notice.
    fn look(name: &str) -> (&'static str, &'static str) {
        match name {
            "deploy_failed" => ("bad", "Failed"),
            "glass_broken" => ("warn", "Glass broken"),
            "waits_for_a_hand" => ("hold", "Waits"),
            _ => ("idle", "Notice"),
        }
    }
}

/// Something that others have to know.
pub struct News<'a> {
    pub kind: Kind,
    /// The number of the deploy that it is about, if any.
    pub deploy: Option<i64>,
    pub text: String,
    pub people: &'a [&'a Identity],
    /// As the provider names them.
    pub groups: &'a [String],
    /// Whose doing it was: they know.
    pub by: Option<&'a Identity>,
}

/// Writes it down for everybody it is addressed to, in the caller's transaction.
pub async fn tell(tx: &mut PgConnection, news: &News<'_>, now: Timestamp) -> sqlx::Result<()> {
    let id = sqlx::query_scalar!(
        "insert into notices (kind, deploy, text, people, groups, at) values ($1, $2, $3, $4, $5, $6) returning id",
        news.kind.name(),
        news.deploy,
        news.text,
        Json(news.people) as _,
        news.groups,
        now.to_sqlx() as _,
    )
    .fetch_one(&mut *tx)
    .await?;
    if let Some(by) = news.by {
        sqlx::query!(
            "insert into notice_reads (notice, issuer, subject, at) values ($1, $2, $3, $4)",
            id,
            by.issuer,
            by.subject,
            now.to_sqlx() as _,
        )
        .execute(tx)
        .await?;
    }
    Ok(())
}

/// As a page shows it.
pub struct Notice {
    pub id: i64,
    pub class: &'static str,
    pub word: &'static str,
    pub href: String,
    pub text: String,
    pub at: Timestamp,
}

/// What this person has not read yet, newest first.
pub async fn unread(db: &PgPool, person: &Person) -> sqlx::Result<Vec<Notice>> {
    let (me, groups) = address(person);
    let rows = sqlx::query!(
        r#"select id, kind, deploy, text, at from notices n
           where (people @> $1 or groups && $2)
             and not exists (select from notice_reads r where r.notice = n.id and r.issuer = $3 and r.subject = $4)
           order by id desc limit $5"#,
        me,
        &groups,
        person.identity.issuer,
        person.identity.subject,
        SHOWN,
    )
    .fetch_all(db)
    .await?;
    let notice = |kind: &str, id, deploy: Option<i64>, text, at| {
        let (class, word) = Kind::look(kind);
        let href = deploy.map_or("/approvals".into(), |deploy| format!("/deploys/{deploy}"));
        Notice { id, class, word, href, text, at }
    };
    Ok(rows
        .into_iter()
        .map(|row| notice(&row.kind, row.id, row.deploy, row.text, row.at.to_jiff()))
        .collect())
}

/// How many of them there are.
pub async fn count(db: &PgPool, person: &Person) -> sqlx::Result<i64> {
    let (me, groups) = address(person);
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from notices n
           where (people @> $1 or groups && $2)
             and not exists (select from notice_reads r where r.notice = n.id and r.issuer = $3 and r.subject = $4)"#,
        me,
        &groups,
        person.identity.issuer,
        person.identity.subject,
    )
    .fetch_one(db)
    .await
}

/// How a person's notices are found: by who they are, and by the groups they are in now.
fn address(person: &Person) -> (Value, Vec<String>) {
    (json!([person.identity]), person.groups.iter().cloned().collect())
}

#[derive(Deserialize)]
pub struct Read {
    /// The numbers of those the page showed, so that one that came meanwhile stays.
    shown: String,
}

/// `POST /notices/read`. Not in the audit trail: it changes what one person is shown, and nothing else.
async fn read(State(app): State<App>, user: CurrentUser, form: VerifiedForm<Read>) -> Result<Redirect> {
    let shown: Vec<i64> = form.shown.split(',').filter_map(|id| id.parse().ok()).collect();
    let (me, groups) = address(&user);
    sqlx::query!(
        "insert into notice_reads (notice, issuer, subject, at)
         select id, $3, $4, $5 from notices where id = any ($6) and (people @> $1 or groups && $2)
         on conflict do nothing",
        me,
        &groups,
        user.identity.issuer,
        user.identity.subject,
        app.clock.now().to_sqlx() as _,
        &shown,
    )
    .execute(&app.db)
    .await?;
    app.counts.forget();
    Ok(Redirect::to("/"))
}
