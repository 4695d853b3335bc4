//! The access requests that a person may know of: what waits for them, what is theirs, what is active now.

use askama::Template;
use axum::extract::{Query, State as Shared};
use axum::response::Html;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::gates::{self, Refusal};
use super::grant::{Grant, GrantId, State};
use super::{store, wording};
use crate::app::App;
use crate::auth::{CurrentUser, Person};
use crate::deploy::{self, Ask, any_of};
use crate::web::{Layout, Nav, Result};

const PAGE: usize = 50;
/// Soon enough to warn.
const SOON: SignedDuration = SignedDuration::from_hours(1);

#[derive(Template)]
#[template(path = "grants/list.html")]
struct ListPage {
    layout: Layout,
    lead: String,
    overdue: Vec<(String, String)>,
    yours: Vec<Ask>,
    rows: Vec<Grant>,
    previous: String,
    next: String,
    now: Timestamp,
}

#[derive(Deserialize)]
pub struct Filter {
    before: Option<i64>,
}

/// `GET /access`
pub async fn list(
    Shared(app): Shared<App>,
    user: CurrentUser,
    layout: Layout,
    Query(filter): Query<Filter>,
) -> Result<Html<String>> {
    let now = app.clock.now();
    let which = Which { states: &[], before: filter.before };
    let mut ids = numbers(&app, &user, &which, PAGE as i64 + 1).await?;
    let more = ids.len() > PAGE;
    ids.truncate(PAGE);
    let (yours, _) = waiting(&app, &user, now).await?;
    let ending = numbers(&app, &user, &Which { states: &["ending"], before: None }, PAGE as i64).await?;
    let mut db = app.db.acquire().await?;
    let overdue = store::load_all(&mut db, &ending).await?;
    let rows = store::load_all(&mut db, &ids).await?;
    let active = rows.iter().filter(|grant| matches!(grant.state, State::Active { .. })).count();
    let page = ListPage {
        lead: lead(yours.len(), active),
        overdue: overdue
            .iter()
            .filter_map(|grant| Some((wording::overdue(grant, now)?, grant.url())))
            .collect(),
        yours,
        next: ids.last().filter(|_| more).map(|id| format!("/access?before={id}")).unwrap_or_default(),
        previous: if filter.before.is_some() { "/access".into() } else { String::new() },
        rows,
        now,
        layout: layout.at(Nav::Approvals, &[("Access", "")]),
    };
    Ok(Html(page.render()?))
}

fn lead(yours: usize, active: usize) -> String {
    let waits = match yours {
        0 => "Nothing waits for you".to_string(),
        1 => "1 waits for you".into(),
        n => format!("{n} wait for you"),
    };
    format!("{waits}, {active} active on this page. Each ends by itself.")
}

/// Which access requests are asked for; an empty list of states is any.
#[derive(Default)]
pub struct Which<'a> {
    pub states: &'a [&'a str],
    pub before: Option<i64>,
}

/// Those that the person may know of, newest first. The rule is that of [`gates::may_see`].
pub async fn numbers(app: &App, person: &Person, which: &Which<'_>, most: i64) -> sqlx::Result<Vec<GrantId>> {
    let groups: Vec<String> = person.groups.iter().cloned().collect();
    // A state of no name is that of no row; Postgres has no NUL in its texts at all.
    let states: Vec<String> = which.states.iter().map(|state| state.replace('\0', "")).collect();
    let ids = sqlx::query_scalar!(
        "select id from grants
         where ($1 or (issuer = $2 and subject = $3) or terms -> 'approvers' ?| $4)
           and (cardinality($5::text[]) = 0 or state = any ($5))
           and ($6::bigint is null or id < $6)
         order by id desc limit $7",
        person.is_in_any(&app.config.access.platform),
        person.identity.issuer,
        person.identity.subject,
        &groups,
        &states,
        which.before,
        most,
    )
    .fetch_all(&app.db)
    .await?;
    Ok(ids.into_iter().map(GrantId).collect())
}

/// An access request that waits, and whether this person may decide on it.
pub struct Waiting {
    pub grant: Grant,
    pub may: std::result::Result<(), Refusal>,
    expires: Timestamp,
}

/// What waits, as far as the person may know of it, soonest to expire first.
pub async fn waiting_grants(app: &App, user: &CurrentUser, now: Timestamp) -> Result<Vec<Waiting>> {
    let ids = numbers(app, user, &Which { states: &["requested"], before: None }, 200).await?;
    let grants = store::load_all(&mut *app.db.acquire().await?, &ids).await?;
    let mut waiting: Vec<Waiting> = grants
        .into_iter()
        .filter_map(|grant| {
            let State::Requested { expires } = grant.state else { return None };
            Some(Waiting { may: gates::may_decide(user, &grant, now), expires, grant })
        })
        .collect();
    waiting.sort_by_key(|waiting| waiting.expires);
    Ok(waiting)
}

/// The rows of the inbox: what waits for this person, and what for others.
pub async fn waiting(app: &App, user: &CurrentUser, now: Timestamp) -> Result<(Vec<Ask>, Vec<Ask>)> {
    let (mut yours, mut others) = (Vec::new(), Vec::new());
    for waiting in waiting_grants(app, user, now).await? {
        let ask = ask(&waiting, now);
        if waiting.may.is_ok() { yours.push(ask) } else { others.push(ask) }
    }
    Ok((yours, others))
}

fn ask(waiting: &Waiting, now: Timestamp) -> Ask {
    let Waiting { grant, may, expires } = waiting;
    let mut hints = Vec::new();
    if matches!(may, Err(Refusal::Decision(deploy::Refusal::OwnRequest))) {
        hints.push(("warn", "You asked, so somebody else decides".into()));
    }
    if !grant.contact.is_empty() {
        hints.push(("ok", format!("Reachable as {}", grant.contact)));
    }
    Ask {
        kind: "Access",
        symbol: "key-round",
        href: grant.url(),
        title: grant.title(),
        tier: String::new(),
        environment: grant.place.environment.clone(),
        production: grant.place.production,
        change: grant.what(),
        by: grant.requester.name.clone(),
        why: grant.reason.clone(),
        expires: wording::expires(*expires, now),
        expires_at: *expires,
        soon: *expires < now + SOON,
        count: match may {
            Ok(()) => "Yours to decide".into(),
            Err(_) => format!("Waits for {}", any_of(&grant.terms.approvers)),
        },
        void: false,
        hints,
    }
}
