//! The approvals inbox: what waits for this person, what waits for others, what was decided, of every kind. One
//! approves what one has opened, so there is a Review link here and no Approve button. A broken glass is signed off here:
//! what happened is over, and its row says all of it.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use jiff::Timestamp;
use serde::Deserialize;

use crate::app::App;
use crate::auth::{CurrentUser, DecidingUser};
use crate::deploy::{self, Ask, BrokenGlass, Decided, Refusal};
use crate::events::Origin;
use crate::grants;
use crate::web::form::VerifiedForm;
use crate::web::{Access, Layout, Nav, Result, Routes};

pub fn routes() -> Routes {
    Routes::default().get("/approvals", Access::SignedIn, show).post(
        "/approvals/glass/{id}",
        Access::SignedIn,
        sign_off,
    )
}

#[derive(Template)]
#[template(path = "inbox.html")]
struct InboxPage {
    layout: Layout,
    lead: String,
    yours: Vec<Ask>,
    others: Vec<Ask>,
    decided: Vec<Decided>,
    broken: Vec<Broken>,
    /// Refused just now: why.
    alert: Option<String>,
    now: Timestamp,
}

/// A glass to be reviewed.
struct Broken {
    glass: BrokenGlass,
    /// Why this person can't sign it off.
    refused: Option<String>,
    /// What they just wrote.
    note: String,
}

/// `GET /approvals`
async fn show(State(app): State<App>, user: CurrentUser, layout: Layout) -> Result<Html<String>> {
    Ok(Html(page(&app, &user, layout).await?.render()?))
}

#[derive(Deserialize)]
pub struct Finding {
    #[serde(default)]
    note: String,
}

/// `POST /approvals/glass/{id}`
async fn sign_off(
    State(app): State<App>,
    user: DecidingUser,
    layout: Layout,
    origin: Origin,
    Path(id): Path<i64>,
    form: VerifiedForm<Finding>,
) -> Result<Response> {
    match deploy::glass::sign_off(&app, &user, &origin, id, &form.note).await? {
        Ok(_) => Ok(Redirect::to("/approvals").into_response()),
        Err(refusal) => refused(&app, &user, layout, id, &refusal, &form.note).await,
    }
}

/// The page again, with the sentence on top and the note still there.
async fn refused(
    app: &App,
    user: &CurrentUser,
    layout: Layout,
    id: i64,
    refusal: &Refusal,
    note: &str,
) -> Result<Response> {
    let mut page = page(app, user, layout).await?;
    page.alert = Some(refusal.sentence());
    for broken in page.broken.iter_mut().filter(|broken| broken.glass.id == id) {
        broken.note = note.into();
    }
    Ok((StatusCode::UNPROCESSABLE_ENTITY, Html(page.render()?)).into_response())
}

async fn page(app: &App, user: &CurrentUser, layout: Layout) -> Result<InboxPage> {
    let now = app.clock.now();
    let (yours, others) = waiting(app, user, now).await?;
    let broken = deploy::glass::to_review(app, user).await?.into_iter().map(|glass| Broken {
        refused: glass.may_sign_off(user).err().map(|refusal| refusal.sentence()),
        note: String::new(),
        glass,
    });
    let broken: Vec<Broken> = broken.collect();
    let reviews = broken.iter().filter(|broken| broken.refused.is_none()).count();
    Ok(InboxPage {
        lead: lead(&yours, reviews),
        layout: layout.at(Nav::Approvals, &[("Approvals", "")]),
        yours,
        others,
        decided: deploy::decided(app, user).await?,
        broken,
        alert: None,
        now,
    })
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

/// How many broken glasses this person can sign off.
pub async fn to_sign_off(app: &App, user: &CurrentUser) -> Result<usize> {
    let broken = deploy::glass::to_review(app, user).await?;
    Ok(broken.iter().filter(|glass| glass.may_sign_off(user).is_ok()).count())
}

fn lead(yours: &[Ask], reviews: usize) -> String {
    let soon = yours
        .first()
        .filter(|ask| ask.soon)
        .map(|ask| format!(" The first one {}.", ask.expires.to_lowercase()));
    let waiting = match yours.len() {
        0 if reviews > 0 => "Nothing waits for your approval.".into(),
        0 => "Nothing waits for you.".into(),
        1 => format!("1 waits for you.{}", soon.unwrap_or_default()),
        n => format!("{n} wait for you.{}", soon.unwrap_or_default()),
    };
    match reviews {
        0 => waiting,
        reviews => format!("{waiting} {}.", deploy::broken_glasses(reviews)),
    }
}
