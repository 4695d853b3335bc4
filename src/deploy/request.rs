//! The deploy form: pick a version, read what would happen and what refuses it, and ask for it. The form is drawn
//! and answered by the same page; with 422 it says what to mend and keeps what was typed.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use uuid::Uuid;

use super::confirm;
use super::glass::{self, Glass};
use super::plan::{Plan, Wish, plan};
use super::submit::{Answer, Ask, asked_before, submit};
use super::wording;
use crate::app::App;
use crate::auth::{CurrentUser, access};
use crate::catalogue::Service;
use crate::config::{Environment, Strategy as Kind};
use crate::events::Origin;
use crate::kube::Target;
use crate::web::diff::Diff;
use crate::web::form::VerifiedForm;
use crate::web::{Error, Layout, Nav, Result};

#[derive(Template)]
#[template(path = "deploy/form.html")]
struct FormPage {
    layout: Layout,
    service: String,
    title: String,
    lead: String,
    plan: Plan,
    diffs: Vec<Diff>,
    environments: Vec<EnvironmentTile>,
    ways: Vec<WayTile>,
    /// The typed version, where it is none of those on offer.
    other: String,
    reason: String,
    key: String,
    seen: String,
    problems: Vec<Problem>,
    verb: &'static str,
    username: String,
    /// Where this person may break the glass, and something could be sent.
    glass: Option<GlassForm>,
}

/// The second way to send a form that asks for approval.
pub struct GlassForm {
    /// "Deploy now, without approval"
    pub verb: String,
    pub text: String,
    /// Where the form does not ask to type it anyway.
    pub name_to_type: Option<String>,
}

struct EnvironmentTile {
    name: String,
    says: String,
    checked: bool,
}

/// How it can take over.
struct WayTile {
    value: &'static str,
    name: &'static str,
    says: &'static str,
    checked: bool,
}

/// A field that has to be mended.
pub struct Problem {
    pub field: &'static str,
    pub sentence: String,
}

impl FormPage {
    fn problem(&self, field: &str) -> Option<&str> {
        self.problems.iter().find(|problem| problem.field == field).map(|problem| problem.sentence.as_str())
    }

    fn is_chosen(&self, version: &str) -> bool {
        self.plan.chosen.as_ref().is_some_and(|chosen| chosen.version == version)
    }
}

/// What is in the address of the form: the choice so far.
#[derive(Default, Deserialize)]
pub struct Choice {
    env: Option<String>,
    version: Option<String>,
    other: Option<String>,
    reason: Option<String>,
    take_over: Option<String>,
    strategy: Option<String>,
    key: Option<String>,
    /// The digest of what the page showed; only in the form itself.
    seen: Option<String>,
    /// Sent with the button that breaks the glass.
    glass: Option<String>,
    /// The service's name, where it has to be typed.
    confirm: Option<String>,
}

impl Choice {
    /// A typed version wins over a picked one.
    fn version(&self) -> Option<&str> {
        let typed = self.other.as_deref().map(str::trim).filter(|typed| !typed.is_empty());
        typed.or(self.version.as_deref())
    }

    /// A way that nobody knows: kept apart, because falling back to another one would deploy otherwise than was asked.
    fn odd_way(&self) -> Option<&str> {
        self.strategy.as_deref().filter(|name| Kind::named(name).is_none())
    }

    /// None: as the environment has it.
    fn way(&self) -> Option<Kind> {
        self.strategy.as_deref().and_then(Kind::named)
    }
}

/// `GET /services/{name}/{environment}/deploy`
pub async fn form(
    State(app): State<App>,
    user: CurrentUser,
    layout: Layout,
    Path((name, environment)): Path<(String, String)>,
    Query(choice): Query<Choice>,
) -> Result<Response> {
    if let Some(other) = choice.env.as_deref().filter(|other| *other != environment) {
        return Ok(Redirect::to(&format!("/services/{name}/{other}/deploy")).into_response());
    }
    let catalogue = app.catalogue.load();
    let (service, environment) = find(&app, &user, catalogue.service(&name), &environment).await?;

    let wish = Wish {
        version: choice.version(),
        take_over: choice.take_over.is_some(),
        way: choice.way(),
        ..Wish::default()
    };
    let mut plan = plan(&app, &user, service, environment, &wish).await?;
    plan.offer(&app, service).await?;

    Ok(page(&app, &user, layout, service, plan, &choice, Vec::new())?.into_response())
}

/// `POST /services/{name}/{environment}/deploy`
pub async fn request(
    State(app): State<App>,
    user: CurrentUser,
    layout: Layout,
    origin: Origin,
    Path((name, environment)): Path<(String, String)>,
    form: VerifiedForm<Choice>,
) -> Result<Response> {
    let choice = form.into_inner();
    let catalogue = app.catalogue.load();
    let (service, environment) = find(&app, &user, catalogue.service(&name), &environment).await?;

    if let Some(odd) = choice.odd_way() {
        let problem = Problem { field: "strategy", sentence: super::wording::no_such_way(odd) };
        let wish = Wish { version: choice.version(), ..Wish::default() };
        let mut plan = plan(&app, &user, service, environment, &wish).await?;
        plan.offer(&app, service).await?;
        let page = page(&app, &user, layout, service, plan, &choice, vec![problem])?;
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
    }
    let wanted = Wanted {
        version: choice.version(),
        take_over: choice.take_over.is_some(),
        way: choice.way(),
        reason: choice.reason.as_deref().unwrap_or_default(),
        seen: Some(choice.seen.as_deref().unwrap_or_default()),
        glass: choice
            .glass
            .as_ref()
            .map(|_| Glass { confirm: choice.confirm.as_deref().unwrap_or_default() }),
        key: choice.key.as_deref(),
    };
    match ask(&app, &user, &origin, service, environment, wanted).await? {
        Answer::Before(id) | Answer::Asked(id) => Ok(Redirect::to(&format!("/deploys/{id}")).into_response()),
        Answer::Refused((mut plan, problems)) => {
            plan.offer(&app, service).await?;
            let page = page(&app, &user, layout, service, plan, &choice, problems)?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

/// A version that somebody asks for, with the form or with a program.
pub struct Wanted<'a> {
    pub version: Option<&'a str>,
    /// Agree to take the image field over from its owner.
    pub take_over: bool,
    /// How it takes over. None: as the environment has it.
    pub way: Option<Kind>,
    pub reason: &'a str,
    /// The digest of what they looked at. None: whatever the checks find now.
    pub seen: Option<&'a str>,
    /// Go ahead without approval.
    pub glass: Option<Glass<'a>>,
    pub key: Option<&'a str>,
}

/// Checks everything anew and asks for it, or says what to mend. The person may look into the place.
pub async fn ask(
    app: &App,
    user: &CurrentUser,
    origin: &Origin,
    service: &Service,
    environment: &Environment,
    wanted: Wanted<'_>,
) -> Result<Answer<(Plan, Vec<Problem>)>> {
    if let Some(id) = asked_before(app, user, &service.name, environment.name(), wanted.key).await? {
        return Ok(Answer::Before(id));
    }
    if wanted.glass.is_some() {
        glass::let_break(user, environment)?;
    }
    let wish = Wish {
        version: wanted.version,
        take_over: wanted.take_over,
        way: wanted.way,
        glass: wanted.glass.is_some(),
        release: None,
    };
    let plan = plan(app, user, service, environment, &wish).await?;
    let reason = wanted.reason.trim();
    let mut problems = problems(&plan, reason, wanted.seen);
    if let Some(glass) = wanted.glass {
        let name = confirm::name_to_type(app, &plan.place, &plan.policy);
        let problem = glass.problem(reason, name.as_deref()).err();
        // A missing reason is told once, in the words for those who read this one.
        problems.retain(|told| problem.as_ref().is_none_or(|(field, _)| told.field != *field));
        problems.extend(problem.map(|(field, sentence)| Problem { field, sentence }));
    }
    let (true, Some(action)) = (problems.is_empty(), &plan.action) else {
        return Ok(Answer::Refused((plan, problems)));
    };
    let ask = Ask {
        place: &plan.place,
        policy: &plan.policy,
        action,
        reason,
        shown: &plan.shown,
        checks: &plan.checks,
        glass: wanted.glass.is_some(),
        key: wanted.key.unwrap_or_default(),
    };
    Ok(Answer::Asked(submit(app, user, origin, ask).await?))
}

/// The service and environment, if the person may look into it. Not there and not yours look the same.
pub async fn find<'a>(
    app: &'a App,
    user: &CurrentUser,
    service: Option<&'a Service>,
    environment: &str,
) -> Result<(&'a Service, &'a Environment)> {
    let (Some(service), Some(environment)) = (service, app.config.environment(environment)) else {
        return Err(Error::NotFound);
    };
    let target = Target::new(service, environment);
    if !access::may_view(app, user, &target.cluster, &target.namespace).await? {
        return Err(Error::NotFound);
    }
    Ok((service, environment))
}

fn problems(plan: &Plan, reason: &str, seen: Option<&str>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |field, sentence: String| problems.push(Problem { field, sentence });
    match &plan.chosen {
        None if plan.fails() == 0 => add("version", "Pick a version, or type one.".into()),
        Some(_) | None if plan.fails() > 0 => {
            let (fail, say) = if plan.fails() == 1 { ("fails", "It says") } else { ("fail", "They say") };
            add("checks", format!("{} {fail}. {say} who can help.", count(plan.fails(), "check")));
        }
        Some(_) | None => {}
    }
    if plan.policy.approvals > 0 && reason.is_empty() {
        add("reason", "Say why: the approvers decide by it.".into());
    }
    if reason.chars().count() > 2_000 {
        add("reason", "At most 2,000 characters. Link the rest.".into());
    }
    if let Some(held) = plan.take_over.as_ref().filter(|held| !held.agreed) {
        add(
            "take_over",
            format!("Agree to take the image field over from {}, or leave it to them.", held.manager),
        );
    }
    if plan.digest().zip(seen).is_some_and(|(digest, seen)| digest.0 != seen) {
        add("seen", "What would change is not what your page showed. Look at it again, then send it.".into());
    }
    problems
}

fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

fn page(
    app: &App,
    user: &CurrentUser,
    layout: Layout,
    service: &Service,
    plan: Plan,
    choice: &Choice,
    problems: Vec<Problem>,
) -> Result<Html<String>> {
    let environments = app
        .config
        .environments
        .iter()
        .map(|environment| {
            let status = app
                .watch(environment.cluster.get_ref())
                .status(&Target::new(service, environment), plan.checked);
            let runs = if status.version.is_empty() {
                "nothing runs".into()
            } else {
                format!("runs {}", status.version)
            };
            let approvals = match environment.approvals {
                0 => String::new(),
                n => format!(", {}", count(n as usize, "approval")),
            };
            EnvironmentTile {
                name: environment.name().into(),
                says: format!("{runs}{approvals}"),
                checked: environment.name() == plan.place.environment,
            }
        })
        .collect();
    let tile = |kind: Kind| {
        let (name, says) = super::wording::way(kind);
        WayTile { value: kind.name(), name, says, checked: plan.way == Some(kind) }
    };
    let ways = Kind::ALL.into_iter().map(tile).filter(|_| plan.way.is_some()).collect();
    let on_offer = |version: &str| plan.versions.iter().any(|offer| offer.version == version);
    let other = choice.version().filter(|version| !on_offer(version)).unwrap_or_default().to_string();
    let place = &plan.place;
    let url = format!("/services/{}", place.service);
    let here = app.config.environment(&place.environment).filter(|_| plan.action.is_some());
    let breaks = here.is_some_and(|here| glass::let_break(user, here).is_ok());
    let glass = breaks.then(|| GlassForm {
        verb: wording::glass_verb("Deploy"),
        text: wording::glass_offer(&place.environment),
        name_to_type: confirm::name_to_type(app, place, &plan.policy),
    });
    let page = FormPage {
        layout: layout
            .at(Nav::Deployments, &[("Services", "/services"), (&place.service, &url), ("Deploy", "")]),
        title: format!("Deploy {}", place.service),
        lead: lead(&plan),
        service: place.service.clone(),
        diffs: plan.shown.iter().map(|shown| shown.diff(&place.namespace)).collect(),
        environments,
        ways,
        other,
        reason: choice.reason.clone().unwrap_or_default(),
        key: choice.key.clone().unwrap_or_else(|| Uuid::new_v4().to_string()),
        seen: plan.digest().map(|digest| digest.0).unwrap_or_default(),
        problems,
        verb: if plan.policy.approvals > 0 { "Request approval" } else { "Deploy" },
        username: user.username.clone(),
        glass,
        plan,
    };
    Ok(Html(page.render()?))
}

/// The sentence under the title: what runs, and what the rule asks for.
fn lead(plan: &Plan) -> String {
    let environment = &plan.place.environment;
    let runs = match plan.running.as_str() {
        "" => format!("Nothing runs in {environment}."),
        version => format!("{} runs {version}.", super::checks::capitalised(environment)),
    };
    match plan.policy.approvals {
        0 => runs,
        1 => format!("{runs} It needs 1 approval, yours doesn’t count."),
        n => format!("{runs} It needs {n} approvals, yours doesn’t count."),
    }
}
