//! What waits for approval, and deciding on it.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;

use super::answer::expect_unmoved;
use super::ask::{Body, Path};
use super::deploys::read;
use super::problem::{Refused, Result};
use super::types::{Deploy, GlassReview, Inbox, NewDecision, NewSignOff, Page};
use super::{access, draw};
use crate::app::App;
use crate::auth::{CurrentUser, DecidingUser};
use crate::deploy::{self, Decision, DeployId, Digest, Refusal, Report, State as At, Verdict};
use crate::events::Origin;
use crate::grants;
use crate::web::Error;

/// What waits for approval
///
/// Soonest to expire first.
#[utoipa::path(
    get,
    path = "/api/v1/approvals",
    tag = "Approvals",
    responses((status = 200, description = "What waits for you, and for others", body = Inbox))
)]
pub async fn inbox(State(app): State<App>, user: CurrentUser) -> Result<Json<Inbox>> {
    let waiting = deploy::waiting_deploys(&app, &user, app.clock.now()).await?;
    let access = grants::waiting_grants(&app, &user, app.clock.now()).await?;
    let access = access.into_iter().filter(|waiting| waiting.may.is_ok());
    let access = access.map(|waiting| access::draw(&app, waiting.grant)).collect();
    let broken = deploy::glass::to_review(&app, &user).await?;
    let glass =
        broken.iter().map(|broken| draw::glass(broken, &user)).filter(|review| review.yours).collect();
    let mut inbox = Inbox { yours: Vec::new(), others: Vec::new(), access, glass };
    let mut db = app.db.acquire().await?;
    for waiting in waiting {
        let yours = waiting.may.is_ok();
        let deploy = draw::deploy(&app, Report::of(&mut db, waiting.deploy).await?);
        if yours { inbox.yours.push(deploy) } else { inbox.others.push(deploy) }
    }
    Ok(Json(inbox))
}

/// Approve or reject
///
/// For exactly what was looked at: `seen` is the `digest` of the deploy. Where something moved since it was asked for,
/// the request becomes void and nobody can approve it any more.
#[utoipa::path(
    post,
    path = "/api/v1/deploys/{id}/decision",
    tag = "Approvals",
    params(
        ("id" = i64, Path, description = "Its number"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the deploy you looked at"),
    ),
    request_body = NewDecision,
    responses((status = 200, description = "Decided", body = Deploy))
)]
pub async fn decide(
    State(app): State<App>,
    user: DecidingUser,
    origin: Origin,
    headers: HeaderMap,
    Path(id): Path<DeployId>,
    Body(new): Body<NewDecision>,
) -> Result<Json<Deploy>> {
    let before = read(&app, &user, id).await?;
    expect_unmoved(&headers, &before)?;
    let decision = Decision {
        decision: if new.approve { Verdict::Approve } else { Verdict::Reject },
        note: new.note,
        seen: Digest(new.seen),
        // A page asks to type it, so that a hand that is quicker than the head is stopped; `seen` was looked up.
        confirm: before.service,
    };
    match deploy::take_decision(&app, &user, &origin, id, &decision).await? {
        Ok(deploy) => match &deploy.state {
            At::Superseded { why } => {
                Err(Error::Conflict(format!("{why} {}", deploy::ask_again(&deploy))).into())
            }
            _ => Ok(Json(read(&app, &user, id).await?)),
        },
        Err(refusal) => Err(refuse(&refusal)),
    }
}

/// Broken glass
///
/// What went ahead without approval and waits for a review, longest first.
#[utoipa::path(
    get,
    path = "/api/v1/glass-reviews",
    tag = "Approvals",
    responses((status = 200, description = "What waits for a review", body = Page<GlassReview>))
)]
pub async fn broken_glass(State(app): State<App>, user: CurrentUser) -> Result<Json<Page<GlassReview>>> {
    let broken = deploy::glass::to_review(&app, &user).await?;
    let items = broken.iter().map(|broken| draw::glass(broken, &user)).collect();
    Ok(Json(Page { items, next: None }))
}

/// Sign off
///
/// By somebody who could have approved it, and was not part of it.
#[utoipa::path(
    post,
    path = "/api/v1/glass-reviews/{id}/sign-off",
    tag = "Approvals",
    params(("id" = i64, Path, description = "Its number")),
    request_body = NewSignOff,
    responses((status = 200, description = "Signed off", body = GlassReview))
)]
pub async fn sign_off(
    State(app): State<App>,
    user: DecidingUser,
    origin: Origin,
    Path(id): Path<i64>,
    Body(new): Body<NewSignOff>,
) -> Result<Json<GlassReview>> {
    match deploy::glass::sign_off(&app, &user, &origin, id, &new.note).await? {
        Ok(broken) => Ok(Json(draw::glass(&broken, &user))),
        Err(refusal) => Err(refuse(&refusal)),
    }
}

/// A refusal as the status that says whose turn it is: the caller's rights, the deploy's state, or what was sent.
pub fn refuse(refusal: &Refusal) -> Refused {
    refuse_with(refusal, refusal.sentence())
}

/// The same about something else that waits, in its own words.
pub fn refuse_with(refusal: &Refusal, sentence: String) -> Refused {
    match refusal {
        Refusal::OwnRequest
        | Refusal::OwnPipeline
        | Refusal::Machine
        | Refusal::NotAnApprover(_)
        | Refusal::NotYoursToCancel
        | Refusal::NotYoursToPromote(_)
        | Refusal::GlassByMachine
        | Refusal::NoGlass(_)
        | Refusal::NotAGlassBreaker { .. }
        | Refusal::OwnGlass
        | Refusal::PerhapsOwnGlass(_)
        | Refusal::NotAReviewer(_) => Error::Forbidden(sentence).into(),
        Refusal::NotWaiting(_)
        | Refusal::Expired(_)
        | Refusal::DecidedAlready
        | Refusal::SeenOther
        | Refusal::TooLateToCancel(_)
        | Refusal::TooLateToStop(_)
        | Refusal::NothingToPromote(_)
        | Refusal::SignedOffAlready(_) => Error::Conflict(sentence).into(),
        Refusal::NoteNeeded | Refusal::FindingNeeded => Refused::field("note", sentence),
        Refusal::NameNeeded(_) => Refused::field("confirm", sentence),
    }
}
