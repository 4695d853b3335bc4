//! The page of one access request: what exactly would be given, to whom, and who decided.

use askama::Template;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;

use super::decision::try_out;
use super::gates::{self, Refusal};
use super::grant::{Event, Grant, GrantId, State};
use super::{store, wording};
use crate::app::App;
use crate::auth::CurrentUser;
use crate::deploy::any_of;
use crate::kube::bindings;
use crate::web::filters::{full, span, until};
use crate::web::{Error, Layout, Nav, Result};

#[derive(Template)]
#[template(path = "grants/show.html")]
struct ShowPage {
    layout: Layout,
    grant: Grant,
    alert: Option<String>,
    overdue: Option<String>,
    decision: Decision,
    may_withdraw: bool,
    may_end: bool,
    facts: Vec<(&'static str, String)>,
    steps: Vec<Step>,
    timeline: Vec<Moment>,
    note: String,
}

/// What the person can do about a request that waits.
enum Decision {
    Open,
    Refused(String),
    NotWaiting,
}

struct Step {
    title: &'static str,
    meta: String,
    state: &'static str,
}

struct Moment {
    class: &'static str,
    at: Timestamp,
    text: String,
    quote: String,
}

/// `GET /access/{id}`
pub async fn show(
    Shared(app): Shared<App>,
    user: CurrentUser,
    layout: Layout,
    Path(id): Path<GrantId>,
) -> Result<Response> {
    let grant = visible(&app, &user, id).await?;
    answer(&app, &user, layout, grant, None, "").await
}

/// The access request, if it is the person's to know of. Not there and not theirs look the same.
pub async fn visible(app: &App, user: &CurrentUser, id: GrantId) -> Result<Grant> {
    let grant = store::loaded(app, id).await?.ok_or(Error::NotFound)?;
    if gates::may_see(user, &grant, &app.config.access.platform) { Ok(grant) } else { Err(Error::NotFound) }
}

/// The page, with what was refused on top.
pub async fn answer(
    app: &App,
    user: &CurrentUser,
    layout: Layout,
    grant: Grant,
    refusal: Option<&Refusal>,
    note: &str,
) -> Result<Response> {
    let now = app.clock.now();
    let happened = store::events(&mut *app.db.acquire().await?, grant.id).await?;
    let page = ShowPage {
        alert: refusal.map(Refusal::sentence),
        overdue: wording::overdue(&grant, now),
        decision: decision(app, user, &grant, now).await,
        may_withdraw: gates::may_withdraw(user, &grant).is_ok(),
        may_end: gates::may_end(user, &grant, &app.config.access.platform).is_ok(),
        facts: facts(&grant),
        steps: steps(&grant, now),
        timeline: happened
            .into_iter()
            .map(|happened| {
                let (class, text) = wording::told(&happened.event, &happened.actor);
                Moment { class, text, quote: quote(happened.event), at: happened.at }
            })
            .collect(),
        note: note.into(),
        layout: layout.at(Nav::Approvals, &[("Access", "/access"), (&grant.title(), "")]),
        grant,
    };
    let html = Html(page.render()?);
    Ok(match refusal {
        Some(_) => (StatusCode::UNPROCESSABLE_ENTITY, html).into_response(),
        None => html.into_response(),
    })
}

fn quote(event: Event) -> String {
    match event {
        Event::Approved { note, .. } | Event::Refused { note } => note,
        _ => String::new(),
    }
}

/// Asked as the person beforehand, so that the button is there only where it works.
async fn decision(app: &App, user: &CurrentUser, grant: &Grant, now: Timestamp) -> Decision {
    if !matches!(grant.state, State::Requested { .. }) {
        return Decision::NotWaiting;
    }
    let allowed = match gates::may_decide(user, grant, now) {
        Ok(()) => try_out(app, user, grant).await,
        Err(refusal) => Ok(Err(refusal)),
    };
    match allowed {
        Ok(Ok(())) => Decision::Open,
        Ok(Err(refusal)) => Decision::Refused(refusal.sentence()),
        Err(error) => Decision::Refused(error.words().1),
    }
}

fn facts(grant: &Grant) -> Vec<(&'static str, String)> {
    let Grant { requester, place, terms, .. } = grant;
    let mut facts = vec![
        ("Who", requester.name.clone()),
        ("As", requester.username.clone()),
        ("Role", terms.role.clone()),
        ("ClusterRole", terms.cluster_role.clone()),
        ("Namespace", place.namespace.clone()),
        ("Cluster", place.cluster.clone()),
        ("For", span(grant.seconds)),
    ];
    if let Some(end) = grant.state.until() {
        facts.push(("Ends", full(end)));
    }
    facts.push(("RoleBinding", bindings::name(grant.id.0)));
    if !grant.contact.is_empty() {
        facts.push(("Reachable as", grant.contact.clone()));
    }
    facts.push(("Who can approve", any_of(&terms.approvers)));
    facts
}

/// Asked, decided, active, ended.
fn steps(grant: &Grant, now: Timestamp) -> Vec<Step> {
    let step = |title, state, meta: String| Step { title, meta, state };
    let asked = step("Asked", "done", grant.requester.name.clone());
    let (decided, active, ended) = match &grant.state {
        State::Requested { expires } => {
            (("hold", wording::expires(*expires, now)), ("todo", String::new()), ("todo", String::new()))
        }
        State::Refused { by, .. } => {
            (("bad", format!("Rejected by {by}")), ("todo", String::new()), ("todo", String::new()))
        }
        State::Withdrawn | State::Expired => {
            (("idle", grant.state.badge().into()), ("todo", String::new()), ("todo", String::new()))
        }
        State::Failed { .. } => {
            (("done", String::new()), ("bad", "Not given".into()), ("todo", String::new()))
        }
        State::Granting { grantor, .. } => {
            (("done", grantor.name.clone()), ("prog", "Being given".into()), ("todo", String::new()))
        }
        State::Active { grantor, until: end } => (
            ("done", grantor.name.clone()),
            ("ok", format!("Ends {}", until(*end, now))),
            ("todo", String::new()),
        ),
        State::Ending { trouble, .. } => {
            let state = if trouble.is_some() { "bad" } else { "prog" };
            (("done", String::new()), ("done", String::new()), (state, grant.state.badge().into()))
        }
        State::Ended { .. } => (("done", String::new()), ("done", String::new()), ("done", String::new())),
    };
    vec![
        asked,
        step("Decided", decided.0, decided.1),
        step("Active", active.0, active.1),
        step("Ended", ended.0, ended.1),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::samples::{at, every_state, in_state};

    #[test]
    fn every_state_is_drawn_and_what_people_wrote_is_escaped() {
        for state in every_state() {
            let name = state.name();
            let mut grant = in_state(state);
            grant.reason = "<script>alert(1)</script> \u{202e}live".into();
            let page = ShowPage {
                alert: Some("Somebody <b>else</b>.".into()),
                overdue: wording::overdue(&grant, at("22:10")),
                decision: Decision::Open,
                may_withdraw: true,
                may_end: true,
                facts: facts(&grant),
                steps: steps(&grant, at("14:10")),
                timeline: Vec::new(),
                note: String::new(),
                layout: Layout::sample().at(Nav::Approvals, &[("Access", "/access"), ("One", "")]),
                grant,
            };
            let html = page.render().unwrap();
            assert!(!html.contains("<script>alert") && !html.contains('\u{202e}'), "{name}");
            assert!(html.contains("pilothouse-access-7"), "{name}");
        }
    }
}
