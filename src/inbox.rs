//! The approvals inbox: what waits for this person, what waits for others, what was decided, of every kind. One
//! approves what one has opened, so there is a Review link here and no Approve button.

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use jiff::Timestamp;

use crate::app::App;
use crate::auth::CurrentUser;
use crate::deploy::{self, Ask, Decided};
use crate::grants;
use crate::web::{Access, Layout, Nav, Result, Routes};

pub fn routes() -> Routes {
    Routes::default().get("/approvals", Access::SignedIn, show)
}

#[derive(Template)]
#[template(path = "inbox.html")]
struct InboxPage {
    layout: Layout,
    lead: String,
    yours: Vec<Ask>,
    others: Vec<Ask>,
    decided: Vec<Decided>,
    now: Timestamp,
}

/// `GET /approvals`
async fn show(State(app): State<App>, user: CurrentUser, layout: Layout) -> Result<Html<String>> {
    let now = app.clock.now();
    let (yours, others) = waiting(&app, &user, now).await?;
    let decided = deploy::decided(&app, &user).await?;
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

/// Deploys and access requests: what waits for this person, and what for others. Soonest to expire first.
pub async fn waiting(app: &App, user: &CurrentUser, now: Timestamp) -> Result<(Vec<Ask>, Vec<Ask>)> {
    let (mut yours, mut others) = deploy::waiting(app, user, now).await?;
    let (more_yours, more_others) = grants::waiting(app, user, now).await?;
    yours.extend(more_yours);
    others.extend(more_others);
    for asks in [&mut yours, &mut others] {
        asks.sort_by_key(|ask| ask.expires_at);
    }
    Ok((yours, others))
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
