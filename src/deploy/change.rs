//! Restart, scale (`resize.rs`), roll back and migrate (`migrate.rs`): small forms over one page. Each asks the same
//! questions as a deploy (may you, would the cluster take it: `draft.rs`) and ends in the same engine and the same audit
//! trail.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::checks::Check;
use super::deploy::Action;
use super::draft::{Draft, Fields, draft};
use super::glass::{self, Glass};
use super::request::{GlassForm, find as find_target};
use super::submit::{Answer, Ask, asked_before, submit};
use super::{confirm, wording};
use crate::app::App;
use crate::auth::CurrentUser;
use crate::catalogue::Service;
use crate::config::Environment;
use crate::events::Origin;
use crate::web::diff::Diff;
use crate::web::form::VerifiedForm;
use crate::web::{Error, Layout, Nav, Result};

#[derive(Template)]
#[template(path = "deploy/change.html")]
struct ChangePage {
    layout: Layout,
    title: String,
    lead: String,
    environment: String,
    production: bool,
    /// The service's name has to be typed before this can be sent.
    confirm: Option<String>,
    fields: Fields,
    checks: Vec<Check>,
    diffs: Vec<Diff>,
    problem: Option<String>,
    reason_is_optional: bool,
    reason: String,
    key: String,
    verb: String,
    icon: &'static str,
    username: String,
    /// When the checks were made.
    asked: Timestamp,
    fails: usize,
    url: String,
    /// Where this person may break the glass, and there is one.
    glass: Option<GlassForm>,
}

/// What was asked for so far, from the address, the form or a program.
#[derive(Default, Deserialize)]
pub struct Input {
    pub replicas: Option<String>,
    pub min: Option<String>,
    pub max: Option<String>,
    pub release: Option<i64>,
    /// Instead of a release's number: the newest release with this version. Of a migration: the image to run.
    pub version: Option<String>,
    pub reason: Option<String>,
    /// The service's name, where it has to be typed.
    pub confirm: Option<String>,
    pub take_over: Option<String>,
    /// Go ahead without approval.
    pub glass: Option<String>,
    pub key: Option<String>,
}

/// Which of the forms.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Restart,
    Scale,
    RollBack,
    Migrate,
}

type Where = Path<(String, String)>;

/// `GET /services/{name}/{environment}/restart`
pub async fn restart_form(
    app: State<App>,
    user: CurrentUser,
    layout: Layout,
    at: Where,
    input: Query<Input>,
) -> Result<Response> {
    show(Form::Restart, app.0, user, layout, at.0, input.0).await
}

/// `POST /services/{name}/{environment}/restart`
pub async fn restart(
    app: State<App>,
    user: CurrentUser,
    layout: Layout,
    origin: Origin,
    at: Where,
    form: VerifiedForm<Input>,
) -> Result<Response> {
    send(Form::Restart, app.0, user, layout, origin, at.0, form.into_inner()).await
}

/// `GET /services/{name}/{environment}/scale`
pub async fn scale_form(
    app: State<App>,
    user: CurrentUser,
    layout: Layout,
    at: Where,
    input: Query<Input>,
) -> Result<Response> {
    show(Form::Scale, app.0, user, layout, at.0, input.0).await
}

/// `POST /services/{name}/{environment}/scale`
pub async fn scale(
    app: State<App>,
    user: CurrentUser,
    layout: Layout,
    origin: Origin,
    at: Where,
    form: VerifiedForm<Input>,
) -> Result<Response> {
    send(Form::Scale, app.0, user, layout, origin, at.0, form.into_inner()).await
}

/// `GET /services/{name}/{environment}/rollback`
pub async fn rollback_form(
    app: State<App>,
    user: CurrentUser,
    layout: Layout,
    at: Where,
    input: Query<Input>,
) -> Result<Response> {
    show(Form::RollBack, app.0, user, layout, at.0, input.0).await
}

/// `POST /services/{name}/{environment}/rollback`
pub async fn rollback(
    app: State<App>,
    user: CurrentUser,
    layout: Layout,
    origin: Origin,
    at: Where,
    form: VerifiedForm<Input>,
) -> Result<Response> {
    send(Form::RollBack, app.0, user, layout, origin, at.0, form.into_inner()).await
}

/// `GET /services/{name}/{environment}/migrate`
pub async fn migrate_form(
    app: State<App>,
    user: CurrentUser,
    layout: Layout,
    at: Where,
    input: Query<Input>,
) -> Result<Response> {
    show(Form::Migrate, app.0, user, layout, at.0, input.0).await
}

/// `POST /services/{name}/{environment}/migrate`
pub async fn migrate(
    app: State<App>,
    user: CurrentUser,
    layout: Layout,
    origin: Origin,
    at: Where,
    form: VerifiedForm<Input>,
) -> Result<Response> {
    send(Form::Migrate, app.0, user, layout, origin, at.0, form.into_inner()).await
}

async fn show(
    form: Form,
    app: App,
    user: CurrentUser,
    layout: Layout,
    (name, environment): (String, String),
    input: Input,
) -> Result<Response> {
    let catalogue = app.catalogue.load();
    let (service, environment) = find_target(&app, &user, catalogue.service(&name), &environment).await?;
    let draft = draft(form, &app, &user, service, environment, &input).await?;
    page(form, &app, &user, layout, service, environment, draft, &input, None)
}

async fn send(
    form: Form,
    app: App,
    user: CurrentUser,
    layout: Layout,
    origin: Origin,
    (name, environment): (String, String),
    input: Input,
) -> Result<Response> {
    let catalogue = app.catalogue.load();
    let (service, environment) = find_target(&app, &user, catalogue.service(&name), &environment).await?;
    match ask(form, &app, &user, &origin, service, environment, &input).await? {
        Answer::Before(id) | Answer::Asked(id) => Ok(Redirect::to(&format!("/deploys/{id}")).into_response()),
        Answer::Refused((draft, problem)) => {
            page(form, &app, &user, layout, service, environment, draft, &input, Some(problem))
        }
    }
}

/// Checks everything anew and asks for it, or says what to mend. The person may look into the place.
pub async fn ask(
    form: Form,
    app: &App,
    user: &CurrentUser,
    origin: &Origin,
    service: &Service,
    environment: &Environment,
    input: &Input,
) -> Result<Answer<(Draft, String)>> {
    if let Some(id) = asked_before(app, user, &service.name, environment.name(), input.key.as_deref()).await?
    {
        return Ok(Answer::Before(id));
    }
    if input.glass.is_some() {
        glass::let_break(user, environment)?;
    }
    let draft = draft(form, app, user, service, environment, input).await?;
    let action = match usable(app, &draft, service, environment, form, input) {
        Ok(action) => action,
        Err(problem) => return Ok(Answer::Refused((draft, problem))),
    };
    let ask = Ask {
        place: &draft.place,
        policy: &draft.policy,
        action,
        reason: reason_of(input),
        shown: &draft.shown,
        checks: &draft.checks,
        glass: input.glass.is_some(),
        key: input.key.as_deref().unwrap_or_default(),
    };
    Ok(Answer::Asked(submit(app, user, origin, ask).await?))
}

/// The action, or what has to be mended before it can be asked for.
fn usable<'a>(
    app: &App,
    draft: &'a Draft,
    service: &Service,
    environment: &Environment,
    form: Form,
    input: &Input,
) -> std::result::Result<&'a Action, String> {
    let fails = draft.checks.iter().filter(|check| check.class == "bad").count();
    let typed = input.confirm.as_deref().unwrap_or_default().trim();
    if let Some(odd) = &draft.odd {
        return Err(odd.clone());
    }
    match &draft.action {
        _ if fails > 0 => Err("A check fails. It says who can help.".into()),
        None => Err("Fill in the form first.".into()),
        Some(_) if form == Form::Migrate && draft.policy.approvals > 0 && reason_of(input).is_empty() => {
            Err("Say why: the approvers decide by it.".into())
        }
        Some(_) if needs_typing(service, environment, form) && typed != service.name => {
            Err(wording::type_the_name(&service.name))
        }
        Some(action) => {
            let confirm = input.confirm.as_deref().unwrap_or_default();
            // A form that has it typed anyway has asked above.
            let name = confirm::name_to_type(app, &draft.place, &draft.policy);
            let problem = input
                .glass
                .as_ref()
                .and_then(|_| Glass { confirm }.problem(reason_of(input), name.as_deref()).err());
            problem.map_or(Ok(action), |(_, sentence)| Err(sentence))
        }
    }
}

fn reason_of(input: &Input) -> &str {
    input.reason.as_deref().unwrap_or_default().trim()
}

/// Production rollbacks and everything in tier 0 production are confirmed by typing the name (DESIGN.md, Confirm).
fn needs_typing(service: &Service, environment: &Environment, form: Form) -> bool {
    environment.production && (form == Form::RollBack || service.tier == Some(0))
}

#[expect(
    clippy::too_many_arguments,
    reason = "one page for all forms: each argument is one beat of the handler"
)]
fn page(
    form: Form,
    app: &App,
    user: &CurrentUser,
    layout: Layout,
    service: &Service,
    environment: &Environment,
    draft: Draft,
    input: &Input,
    problem: Option<String>,
) -> Result<Response> {
    let (word, path, icon) = match form {
        Form::Restart => ("Restart", "restart", "rotate-cw"),
        Form::Scale => ("Scale", "scale", "scaling"),
        Form::RollBack => ("Roll back", "rollback", "undo-2"),
        Form::Migrate => ("Migrate", "migrate", "database"),
    };
    let verb = match form {
        Form::Migrate if draft.policy.approvals > 0 => "Request approval",
        Form::Migrate => "Run migration",
        Form::Restart | Form::Scale | Form::RollBack => word,
    };
    let url = format!("/services/{}", service.name);
    let confirms = needs_typing(service, environment, form);
    let missing = draft.action.as_ref().is_some_and(|action| draft.policy.asks_for(action));
    let fails = draft.checks.iter().filter(|check| check.class == "bad").count();
    let breaks = missing && fails == 0 && glass::let_break(user, environment).is_ok();
    let glass = breaks.then(|| GlassForm {
        verb: wording::glass_verb(word),
        text: wording::glass_offer(environment.name()),
        name_to_type: confirm::name_to_type(app, &draft.place, &draft.policy).filter(|_| !confirms),
    });
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = ChangePage {
        layout: layout.at(Nav::Deployments, &[("Services", "/services"), (&service.name, &url), (word, "")]),
        title: format!("{word} {}", service.name),
        lead: draft.lead,
        environment: environment.name().into(),
        production: environment.production,
        confirm: confirms.then(|| service.name.clone()),
        diffs: draft.shown.iter().map(|shown| shown.diff(&draft.place.namespace)).collect(),
        fails,
        checks: draft.checks,
        fields: draft.fields,
        problem,
        reason_is_optional: form != Form::Migrate || draft.policy.approvals == 0,
        reason: input.reason.clone().unwrap_or_default(),
        key: input.key.clone().unwrap_or_else(|| Uuid::new_v4().to_string()),
        verb: verb.into(),
        icon,
        username: user.username.clone(),
        asked: draft.checked,
        glass,
        url: format!("{url}/{}/{path}", environment.name()),
    };
    Ok((status, Html(page.render().map_err(Error::from)?)).into_response())
}
