//! Deploys that wait for approval, and those that were decided on: what the page of everything that waits shows of them.

use jiff::{SignedDuration, Timestamp};
use sqlx::types::Json;

use super::deploy::{Action, Deploy, DeployId};
use super::gates::{self, Refusal};
use super::state::State as At;
use super::{store, wording};
use crate::app::App;
use crate::auth::{CurrentUser, access};
use crate::web::Result;
use crate::web::filters::ago;

/// Soon enough to warn.
const SOON: SignedDuration = SignedDuration::from_hours(1);

/// A row of the inbox; the fields the `ask` part of the pages reads.
pub struct Ask {
    /// "Deploy" or "Access", with its icon.
    pub kind: &'static str,
    pub symbol: &'static str,
    pub href: String,
    pub title: String,
    pub tier: String,
    pub environment: String,
    pub production: bool,
    pub change: String,
    pub by: String,
    pub why: String,
    pub expires: String,
    pub expires_at: Timestamp,
    pub soon: bool,
    pub count: String,
    pub void: bool,
    pub hints: Vec<(&'static str, String)>,
}

/// A deploy that was decided on.
pub struct Decided {
    pub id: i64,
    pub title: String,
    pub environment: String,
    pub production: bool,
    pub class: &'static str,
    pub word: &'static str,
    pub by: String,
    pub note: String,
    pub at: Timestamp,
    pub end: &'static str,
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
    if matches!(may, Err(Refusal::OwnRequest | Refusal::OwnPipeline)) {
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
        kind: "Deploy",
        symbol: "rocket",
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
        expires_at: expires,
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

/// The newest decisions where the person may look.
pub async fn decided(app: &App, user: &CurrentUser) -> Result<Vec<Decided>> {
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
