//! Access requests: asking for a role in a namespace for a while, deciding on it, ending it.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::answer::{expect_unmoved, tagged};
use super::approvals;
use super::ask::{self, Asked, Body, Caller, IdempotencyKey, Path};
use super::draw::address;
use super::problem::{Refused, Result};
use super::types::{AccessRequest, AccessRole, FieldError, NewAccessRequest, NewDecision, Page};
use crate::app::App;
use crate::auth::CurrentUser;
use crate::deploy::{Digest, Verdict};
use crate::events::Origin;
use crate::grants::{
    self, Answer, Decision, Grant, GrantId, Refusal, State as At, Wanted, Which, take_decision, visible,
};
use crate::web::Error;

/// Roles to ask for
///
/// From the portal's configuration, all on one page.
#[utoipa::path(
    get,
    path = "/api/v1/access-roles",
    tag = "Access",
    responses((status = 200, description = "Every role", body = Page<AccessRole>))
)]
pub async fn roles(State(app): State<App>) -> Result<Json<Page<AccessRole>>> {
    let role = |role: &crate::config::AccessRole| AccessRole {
        name: role.name().into(),
        description: role.description.clone(),
        cluster_role: role.cluster_role.get_ref().clone(),
        environments: role.environments.iter().map(|name| name.get_ref().clone()).collect(),
        longest_seconds: role.longest.as_secs(),
        approvers: role.approvers.clone(),
    };
    Ok(Json(Page { items: app.config.access.roles.iter().map(role).collect(), next: None }))
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only in this state; may be given more than once.
    state: Vec<String>,
    /// How many on a page.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Access requests
///
/// Your own, those that you may approve, and for the platform team all. Newest first.
#[utoipa::path(
    get,
    path = "/api/v1/access-requests",
    tag = "Access",
    params(Filter),
    responses((status = 200, description = "A page of access requests", body = Page<AccessRequest>))
)]
pub async fn list(
    State(app): State<App>,
    user: CurrentUser,
    Asked(filter): Asked<Filter>,
) -> Result<Json<Page<AccessRequest>>> {
    let part = ask::Part::asked(filter.limit, filter.cursor.as_deref())?;
    let states: Vec<&str> = filter.state.iter().map(String::as_str).collect();
    let which = Which { states: &states, before: part.before };
    let mut ids = grants::numbers(&app, &user, &which, part.to_find()).await?;
    let next = part.cut(&mut ids);
    let grants = grants::load_all(&mut *app.db.acquire().await?, &ids).await?;
    let items = grants.into_iter().map(|grant| draw(&app, grant)).collect();
    Ok(Json(Page { items, next }))
}

/// Ask for access
///
/// It waits until somebody who may approve it decides. Where the same was asked for and is not over, that one is the
/// answer.
#[utoipa::path(
    post,
    path = "/api/v1/access-requests",
    tag = "Access",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key asks for the same access")),
    request_body = NewAccessRequest,
    responses(
        (status = 201, description = "Asked for", body = AccessRequest, headers(("Location" = String, description = "The request"))),
        (status = 200, description = "Asked for before", body = AccessRequest),
    )
)]
pub async fn ask(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    IdempotencyKey(key): IdempotencyKey,
    Body(new): Body<NewAccessRequest>,
) -> Result<Response> {
    let wanted = Wanted {
        service: new.service.as_deref(),
        team: new.team.as_deref(),
        environment: &new.environment,
        role: &new.role,
        seconds: new.seconds,
        reason: &new.reason,
        contact: &new.contact,
        key: key.as_deref(),
    };
    let (status, id) = match grants::ask(&app, &caller.user, &origin, wanted).await? {
        Answer::Asked(id) => (StatusCode::CREATED, id),
        Answer::Before(id) => (StatusCode::OK, id),
        Answer::Refused(problems) => {
            let sentence = problems.first().map(|problem| problem.sentence.clone()).unwrap_or_default();
            let error =
                |it: grants::Problem| FieldError { field: field(it.field).into(), detail: it.sentence };
            return Err(Refused::unusable(sentence, problems.into_iter().map(error).collect(), Vec::new()));
        }
    };
    let location = format!("/api/v1/access-requests/{id}");
    let body = Json(draw(&app, visible(&app, &caller.user, id).await?));
    Ok((status, [(header::LOCATION, location)], body).into_response())
}

/// The form's name of a field in the API's words.
fn field(name: &str) -> &str {
    if name == "lasts" { "seconds" } else { name }
}

/// One access request
#[utoipa::path(
    get,
    path = "/api/v1/access-requests/{id}",
    tag = "Access",
    params(
        ("id" = i64, Path, description = "Its number"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` you have"),
    ),
    responses(
        (status = 200, description = "The request", body = AccessRequest, headers(("ETag" = String, description = "For `If-None-Match` and `If-Match`"))),
        (status = 304, description = "It is as you have it"),
    )
)]
pub async fn show(
    State(app): State<App>,
    user: CurrentUser,
    headers: HeaderMap,
    Path(id): Path<GrantId>,
) -> Result<Response> {
    tagged(&headers, &draw(&app, visible(&app, &user, id).await?))
}

/// Approve or reject access
///
/// For exactly what was looked at: `seen` is the `digest` of the request. Whoever approves hands it out as themselves,
/// so the cluster is asked first whether it lets them.
#[utoipa::path(
    post,
    path = "/api/v1/access-requests/{id}/decision",
    tag = "Access",
    params(
        ("id" = i64, Path, description = "Its number"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the request you looked at"),
    ),
    request_body = NewDecision,
    responses((status = 200, description = "Decided", body = AccessRequest))
)]
pub async fn decide(
    State(app): State<App>,
    user: CurrentUser,
    origin: Origin,
    headers: HeaderMap,
    Path(id): Path<GrantId>,
    Body(new): Body<NewDecision>,
) -> Result<Json<AccessRequest>> {
    expect_unmoved(&headers, &draw(&app, visible(&app, &user, id).await?))?;
    let decision = Decision {
        decision: if new.approve { Verdict::Approve } else { Verdict::Reject },
        note: new.note,
        seen: Digest(new.seen),
    };
    let grant = told(take_decision(&app, &user, &origin, id, &decision).await?)?;
    match &grant.state {
        At::Failed { why } => Err(Error::Conflict(why.clone()).into()),
        _ => Ok(Json(draw(&app, grant))),
    }
}

/// Withdraw an access request
///
/// By who asked, while it waits.
#[utoipa::path(
    post,
    path = "/api/v1/access-requests/{id}/withdrawal",
    tag = "Access",
    params(("id" = i64, Path, description = "Its number")),
    responses((status = 200, description = "Withdrawn", body = AccessRequest))
)]
pub async fn withdraw(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<GrantId>,
) -> Result<Json<AccessRequest>> {
    let grant = told(grants::withdraw(&app, &caller.user, &origin, id).await?)?;
    Ok(Json(draw(&app, grant)))
}

/// End access early
///
/// By who has it, who may approve it, or the platform team.
#[utoipa::path(
    post,
    path = "/api/v1/access-requests/{id}/end",
    tag = "Access",
    params(("id" = i64, Path, description = "Its number")),
    responses((status = 200, description = "It is being taken back", body = AccessRequest))
)]
pub async fn end(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<GrantId>,
) -> Result<Json<AccessRequest>> {
    let grant = told(grants::end(&app, &caller.user, &origin, id).await?)?;
    Ok(Json(draw(&app, grant)))
}

fn told(done: std::result::Result<Grant, Refusal>) -> Result<Grant> {
    done.map_err(|refusal| {
        let sentence = refusal.sentence();
        match &refusal {
            Refusal::Decision(decision) => approvals::refuse_with(decision, sentence),
            Refusal::Cluster(_) | Refusal::NotYoursToWithdraw | Refusal::NotYoursToEnd(_) => {
                Error::Forbidden(sentence).into()
            }
            Refusal::NothingToEnd(_) | Refusal::TooLateToWithdraw(_) => Error::Conflict(sentence).into(),
        }
    })
}

pub fn draw(app: &App, grant: Grant) -> AccessRequest {
    AccessRequest {
        id: grant.id.0,
        title: grant.title(),
        why: grant.why(),
        expires: match grant.state {
            At::Requested { expires } => Some(expires),
            _ => None,
        },
        until: grant.state.until(),
        state: grant.state.name().into(),
        ended: grant.state.is_end(),
        url: address(app, &grant.url()),
        role: grant.terms.role,
        cluster_role: grant.terms.cluster_role,
        team: grant.place.team,
        environment: grant.place.environment,
        production: grant.place.production,
        cluster: grant.place.cluster,
        namespace: grant.place.namespace,
        requester: grant.requester.name,
        username: grant.requester.username,
        reason: grant.reason,
        contact: grant.contact,
        seconds: grant.seconds,
        digest: grant.digest.0,
        approvers: grant.terms.approvers,
        requested_at: grant.requested,
        ended_at: grant.ended,
    }
}
