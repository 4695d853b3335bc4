//! Asking for a change: the same checks, rules and engine as the forms. What a form asks to be typed (the service's
//! name, before production changes) stands in the address here.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::ask::{Body, Caller, IdempotencyKey, Path};
use super::problem::{Refused, Result};
use super::types::{
    Deploy, FieldError, NewDeploy, NewMigration, NewRestart, NewRollback, NewScale, Strategy,
};
use super::{deploys, draw};
use crate::app::App;
use crate::deploy::{
    Answer, ChangeForm, ChangeInput, Check, DeployId, Glass, Wanted, ask_for_change, ask_for_version,
    find_target,
};
use crate::events::Origin;

type Place = Path<(String, String)>;

/// Deploy a version
///
/// Starts at once, or waits for the approvals that the environment asks for.
#[utoipa::path(
    post,
    path = "/api/v1/services/{name}/environments/{environment}/deploys",
    tag = "Changes",
    params(
        ("name" = String, Path, description = "Of the service"),
        ("environment" = String, Path, description = "Its name"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key asks for the same deploy"),
    ),
    request_body = NewDeploy,
    responses(
        (status = 201, description = "Asked for", body = Deploy, headers(("Location" = String, description = "The deploy"))),
        (status = 200, description = "Asked for before, with the same key", body = Deploy),
    )
)]
pub async fn deploy(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    IdempotencyKey(key): IdempotencyKey,
    Path((name, environment)): Place,
    Body(new): Body<NewDeploy>,
) -> Result<Response> {
    let user = &caller.user;
    let catalogue = app.catalogue.load();
    let (service, environment) = find_target(&app, user, catalogue.service(&name), &environment).await?;
    caller.may_change(&app, service, environment)?;

    let wanted = Wanted {
        version: Some(&new.version),
        take_over: new.take_over,
        way: new.strategy.map(Strategy::way),
        reason: &new.reason,
        seen: new.digest.as_deref(),
        glass: new.break_glass.then_some(Glass { confirm: &name }),
        key: key.as_deref(),
    };
    match ask_for_version(&app, user, &origin, service, environment, wanted).await? {
        Answer::Asked(id) => asked(&app, &caller, id, StatusCode::CREATED).await,
        Answer::Before(id) => asked(&app, &caller, id, StatusCode::OK).await,
        Answer::Refused((plan, problems)) => {
            let sentence = problems.first().map(|problem| problem.sentence.clone()).unwrap_or_default();
            let fields = problems.into_iter().filter(|problem| problem.field != "checks");
            let errors =
                fields.map(|it| FieldError { field: it.field.into(), detail: it.sentence }).collect();
            Err(refused(sentence, errors, plan.checks))
        }
    }
}

/// Scale
///
/// Replicas, or the bounds of the autoscaler where there is one.
#[utoipa::path(
    post,
    path = "/api/v1/services/{name}/environments/{environment}/scale",
    tag = "Changes",
    params(
        ("name" = String, Path, description = "Of the service"),
        ("environment" = String, Path, description = "Its name"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key asks for the same change"),
    ),
    request_body = NewScale,
    responses(
        (status = 201, description = "Asked for", body = Deploy, headers(("Location" = String, description = "The deploy"))),
        (status = 200, description = "Asked for before, with the same key", body = Deploy),
    )
)]
pub async fn scale(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    IdempotencyKey(key): IdempotencyKey,
    Path(place): Place,
    Body(new): Body<NewScale>,
) -> Result<Response> {
    let text = |number: Option<i32>| number.map(|number| number.to_string());
    let input = ChangeInput {
        replicas: text(new.replicas),
        min: text(new.min),
        max: text(new.max),
        reason: Some(new.reason),
        key,
        ..ChangeInput::default()
    };
    change(ChangeForm::Scale, &app, &caller, &origin, place, input).await
}

/// Restart
///
/// New pods of the same version, a few at a time.
#[utoipa::path(
    post,
    path = "/api/v1/services/{name}/environments/{environment}/restart",
    tag = "Changes",
    params(
        ("name" = String, Path, description = "Of the service"),
        ("environment" = String, Path, description = "Its name"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key asks for the same change"),
    ),
    request_body = NewRestart,
    responses(
        (status = 201, description = "Asked for", body = Deploy, headers(("Location" = String, description = "The deploy"))),
        (status = 200, description = "Asked for before, with the same key", body = Deploy),
    )
)]
pub async fn restart(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    IdempotencyKey(key): IdempotencyKey,
    Path(place): Place,
    Body(new): Body<NewRestart>,
) -> Result<Response> {
    let input = ChangeInput { reason: Some(new.reason), key, ..ChangeInput::default() };
    change(ChangeForm::Restart, &app, &caller, &origin, place, input).await
}

/// Roll back
///
/// To a version that the portal deployed here with success; without one, to the last good one.
#[utoipa::path(
    post,
    path = "/api/v1/services/{name}/environments/{environment}/rollback",
    tag = "Changes",
    params(
        ("name" = String, Path, description = "Of the service"),
        ("environment" = String, Path, description = "Its name"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key asks for the same change"),
    ),
    request_body = NewRollback,
    responses(
        (status = 201, description = "Asked for", body = Deploy, headers(("Location" = String, description = "The deploy"))),
        (status = 200, description = "Asked for before, with the same key", body = Deploy),
    )
)]
pub async fn rollback(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    IdempotencyKey(key): IdempotencyKey,
    Path(place): Place,
    Body(new): Body<NewRollback>,
) -> Result<Response> {
    let input = ChangeInput {
        version: new.version,
        take_over: new.take_over.then(|| "yes".into()),
        reason: Some(new.reason),
        glass: new.break_glass.then(|| "break".into()),
        key,
        ..ChangeInput::default()
    };
    change(ChangeForm::RollBack, &app, &caller, &origin, place, input).await
}

/// Migrate
///
/// Runs the command that the service declares in `spec.migration`, once, to its end, in a Kubernetes Job: at once, or
/// after the approvals that the environment asks for. `GET /api/v1/deploys/{id}/logs` is what it writes.
#[utoipa::path(
    post,
    path = "/api/v1/services/{name}/environments/{environment}/migrations",
    tag = "Changes",
    params(
        ("name" = String, Path, description = "Of the service"),
        ("environment" = String, Path, description = "Its name"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key asks for the same migration"),
    ),
    request_body = NewMigration,
    responses(
        (status = 201, description = "Asked for", body = Deploy, headers(("Location" = String, description = "The deploy"))),
        (status = 200, description = "Asked for before, with the same key", body = Deploy),
    )
)]
pub async fn migrate(
    State(app): State<App>,
    caller: Caller,
    origin: Origin,
    IdempotencyKey(key): IdempotencyKey,
    Path(place): Place,
    Body(new): Body<NewMigration>,
) -> Result<Response> {
    let input = ChangeInput {
        version: new.version,
        reason: Some(new.reason),
        glass: new.break_glass.then(|| "break".into()),
        key,
        ..ChangeInput::default()
    };
    change(ChangeForm::Migrate, &app, &caller, &origin, place, input).await
}

async fn change(
    form: ChangeForm,
    app: &App,
    caller: &Caller,
    origin: &Origin,
    (name, environment): (String, String),
    input: ChangeInput,
) -> Result<Response> {
    let catalogue = app.catalogue.load();
    let found = find_target(app, &caller.user, catalogue.service(&name), &environment).await?;
    let (service, environment) = found;
    caller.may_change(app, service, environment)?;

    let input = ChangeInput { confirm: Some(name), ..input };
    match ask_for_change(form, app, &caller.user, origin, service, environment, &input).await? {
        Answer::Asked(id) => asked(app, caller, id, StatusCode::CREATED).await,
        Answer::Before(id) => asked(app, caller, id, StatusCode::OK).await,
        Answer::Refused((draft, sentence)) => Err(refused(sentence, Vec::new(), draft.checks)),
    }
}

async fn asked(app: &App, caller: &Caller, id: DeployId, status: StatusCode) -> Result<Response> {
    let deploy = deploys::read(app, &caller.user, id).await?;
    let location = [(header::LOCATION, format!("/api/v1/deploys/{id}"))];
    Ok((status, location, Json(deploy)).into_response())
}

fn refused(sentence: String, errors: Vec<FieldError>, checks: Vec<Check>) -> Refused {
    Refused::unusable(sentence, errors, checks.into_iter().map(draw::check).collect())
}
