//! The approvals inbox: what waits for this person, what waits for others, what was decided. One approves what one
//! has opened, so there is a Review link here and no Approve button.

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use jiff::{SignedDuration, Timestamp};
use sqlx::types::Json;

use super::deploy::{Action, Deploy, DeployId, State as At};
use super::gates::{self, Refusal};
use super::{store, wording};
use crate::app::App;
use crate::auth::{CurrentUser, access};
use crate::web::filters::ago;
use crate::web::{Layout, Nav, Result};

/// Soon enough to warn.
const SOON: SignedDuration = SignedDuration::from_hours(1);

#[derive(Template)]
#[template(path = "deploy/inbox.html")]
struct InboxPage {
    layout: Layout,
    lead: String,
    yours: Vec<Ask>,
    others: Vec<Ask>,
    decided: Vec<Decided>,
    now: Timestamp,
}

/// A row of the inbox; the fields the `ask` part of the pages reads.
pub struct Ask {
    pub href: String,
    pub title: String,
    pub tier: String,
    pub environment: String,
    pub production: bool,
    pub change: String,
    pub by: String,
    pub why: String,
    pub expires: String,
    pub soon: bool,
    pub count: String,
    pub void: bool,
    pub hints: Vec<(&'static str, String)>,
}

struct Decided {
    id: i64,
    title: String,
    environment: String,
    production: bool,
    class: &'static str,
    word: &'static str,
    by: String,
    note: String,
    at: Timestamp,
    end: &'static str,
}

/// `GET /approvals`
pub async fn inbox(State(app): State<App>, user: CurrentUser, layout: Layout) -> Result<Html<String>> {
    let now = app.clock.now();
    let (yours, others) = waiting(&app, &user, now).await?;
    let decided = decided(&app, &user).await?;
    let page = InboxPage {
        lead: lead(&yours),
        layout: layout.at(Nav::Approvals, &[("Approvals", "")]),
        yours,
        others,
        decided,
        now,
    };
    Ok(Html(page.render()?))
}

/// A deploy that waits, with what decides whose it is.
pub struct Waiting {
    pub deploy: Deploy,
    /// How many decided already.
    have: usize,
    pub may: std::result::Result<(), Refusal>,
    expires: Timestamp,
}

/// What waits where the person may look, soonest to expire first.
pub async fn waiting_deploys(app: &App, user: &CurrentUser, now: Timestamp) -> Result<Vec<Waiting>> {
    let mut db = app.db.acquire().await?;
    let ids: Vec<DeployId> = sqlx::query_scalar!(
        "select id from deploys where state = 'awaiting_approval' order by requested limit 200"
    )
    .fetch_all(&mut *db)
    .await?
    .into_iter()
    .map(DeployId)
    .collect();
    let deploys = store::load_all(&mut db, &ids).await?;
    let decisions = store::decisions_of(&mut db, &ids).await?;
    drop(db);
    let mut waiting = Vec::new();
    for deploy in deploys {
        let own = deploy.requester.identity == user.identity;
        if !own && !access::may_view(app, user, &deploy.place.cluster, &deploy.place.namespace).await? {
            continue;
        }
        let decided = decisions.get(&deploy.id).map(Vec::as_slice).unwrap_or_default();
        let identities: Vec<_> = decided.iter().map(|decided| decided.person.identity.clone()).collect();
        let may = gates::may_decide(user, &deploy, &identities, now);
        let expires = match deploy.state {
            At::AwaitingApproval { expires } => expires,
            _ => now,
        };
        waiting.push(Waiting { have: decided.len(), may, expires, deploy });
    }
    waiting.sort_by_key(|waiting| waiting.expires);
    Ok(waiting)
}

/// The rows of the pages: what waits for this person, and what for others.
pub async fn waiting(app: &App, user: &CurrentUser, now: Timestamp) -> Result<(Vec<Ask>, Vec<Ask>)> {
    let (mut yours, mut others) = (Vec::new(), Vec::new());
    let found = waiting_deploys(app, user, now).await?;
    let mut db = app.db.acquire().await?;
    for waiting in found {
        let ask = ask(app, &mut db, &waiting, now).await?;
        if waiting.may.is_ok() { yours.push(ask) } else { others.push(ask) }
    }
    Ok((yours, others))
}

async fn ask(app: &App, db: &mut sqlx::PgConnection, waiting: &Waiting, now: Timestamp) -> Result<Ask> {
    let Waiting { deploy, have, may, expires } = waiting;
    let (have, expires) = (*have, *expires);
    let catalogue = app.catalogue.load();
    let service = catalogue.service(&deploy.place.service);
    let mut hints = Vec::new();
    if let (Some(required), Some(change)) = (&deploy.policy.requires, deploy.action.change()) {
        let digest = change.digest.as_deref().unwrap_or_default();
        if let Some(since) = store::first_success(db, &deploy.place.service, required, digest).await? {
            hints.push(("ok", format!("Ran in {required} {} ago", ago(since, now))));
        }
    }
    if matches!(may, Err(Refusal::OwnRequest)) {
        hints.push(("warn", "You asked, so yours doesn’t count".into()));
    }
    let dependents = service.map_or(0, |service| service.used_by.len());
    match dependents {
        0 => {}
        1 => hints.push(("warn", "1 service depends on it".into())),
        n => hints.push(("warn", format!("{n} services depend on it"))),
    }
    let needed = deploy.policy.approvals;
    let objects = deploy.shown.len();
    Ok(Ask {
        href: deploy.url(),
        title: format!("{} {}", deploy.place.service, deploy.action.short()),
        tier: service.and_then(|service| service.tier).map(|tier| format!("T{tier}")).unwrap_or_default(),
        environment: deploy.place.environment.clone(),
        production: deploy.policy.production,
        change: match deploy.action.change() {
            Some(change) if change.is_managed() => {
                format!("1 image, {objects} objects rendered by the portal")
            }
            Some(change) => format!("1 image of {}", change.workload),
            None => deploy.action.migration().map_or(deploy.action.short(), |migration| migration.line()),
        },
        by: deploy.requester.name.clone(),
        why: deploy.reason.clone(),
        expires: wording::expires(expires, now),
        soon: expires < now + SOON,
        count: match may {
            Ok(()) if have as u32 + 1 == needed => format!("{have} of {needed}, yours is the last"),
            Ok(()) => format!("{have} of {needed} approvals"),
            Err(_) => format!("{have} of {needed}, waits for {}", wording::any_of(&deploy.policy.approvers)),
        },
        void: false,
        hints,
    })
}

async fn decided(app: &App, user: &CurrentUser) -> Result<Vec<Decided>> {
    let rows = sqlx::query!(
        r#"select d.id, d.service, d.environment, d.cluster, d.namespace, d.action as "action: Json<Action>",
                  (d.policy ->> 'production')::boolean as "production!", d.detail as "state: Json<At>",
                  a.person ->> 'name' as "by!", a.verdict, a.note, a.at
           from approvals a join deploys d on d.id = a.deploy
           order by a.at desc limit 30"#
    )
    .fetch_all(&app.db)
    .await?;
    let mut decided = Vec::new();
    for row in rows {
        if !access::may_view(app, user, &row.cluster, &row.namespace).await? {
            continue;
        }
        let (class, word) = if row.verdict == "approve" { ("ok", "Approved") } else { ("bad", "Rejected") };
        decided.push(Decided {
            id: row.id,
            title: format!("{} {}", row.service, row.action.short()),
            environment: row.environment,
            production: row.production,
            class,
            word,
            by: row.by,
            note: row.note,
            at: row.at.to_jiff(),
            end: row.action.badge(&row.state),
        });
    }
    Ok(decided)
}

fn lead(yours: &[Ask]) -> String {
    let soon = yours
        .first()
        .filter(|ask| ask.soon)
        .map(|ask| format!(" The first one {}.", ask.expires.to_lowercase()));
    match yours.len() {
        0 => "Nothing waits for you.".into(),
        1 => format!("1 waits for you.{}", soon.unwrap_or_default()),
        n => format!("{n} wait for you.{}", soon.unwrap_or_default()),
    }
}
