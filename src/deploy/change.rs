//! Restart, scale, roll back and migrate (`migrate.rs`): small forms over one page. Each asks the same questions as a deploy (may
//! you, would the cluster take it) and ends in the same engine and the same audit trail.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use serde::Deserialize;
use uuid::Uuid;

use super::checks::{self, Check, capitalised};
use super::deploy::{Action, Place, Policy, ShownDiff, Size};
use super::found::{self, Found};
use super::glass::{self, Glass};
use super::migrate;
use super::plan::{self, Wish};
use super::request::{GlassForm, find as find_target};
use super::store::{self, Release};
use super::submit::{Answer, Ask, asked_before, submit};
use super::{confirm, wording};
use crate::app::App;
use crate::auth::{CurrentUser, access};
use crate::catalogue::Service;
use crate::config::Environment;
use crate::events::Origin;
use crate::kube::ownership::{self, ReplicasOwner};
use crate::kube::workload::Reach;
use crate::kube::{LiveWorkload, MakesPods, Target, UserClient, Wanted, WorkloadKind};
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

/// What can be filled in.
pub(super) enum Fields {
    Restart,
    Scale { from: Size, replicas: String, min: String, max: String },
    RollBack { releases: Vec<Offered>, take_over: Option<String> },
    Migrate { version: String, runs: String, line: String, container: String, deadline: String },
}

pub(super) struct Offered {
    release: Release,
    running: bool,
    chosen: bool,
    last_good: bool,
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

/// What would happen, and what refuses it.
pub struct Draft {
    pub(super) place: Place,
    pub(super) policy: Policy,
    pub(super) lead: String,
    pub(super) fields: Fields,
    pub checks: Vec<Check>,
    pub(super) shown: Vec<ShownDiff>,
    pub(super) action: Option<Action>,
    /// Why the input can't be used.
    odd: Option<String>,
    pub(super) checked: Timestamp,
}

async fn draft(
    form: Form,
    app: &App,
    user: &CurrentUser,
    service: &Service,
    environment: &Environment,
    input: &Input,
) -> Result<Draft> {
    if form == Form::RollBack {
        return roll_back_draft(app, user, service, environment, input).await;
    }
    let target = Target::new(service, environment);
    let found = found::find(app, user, service, &target).await?;
    let mut draft = Draft::of(environment, &target, app.clock.now());
    if form == Form::Migrate {
        migrate::fill(&mut draft, app, user, service, environment, &found, input).await?;
        return Ok(draft);
    }
    let live = match &found {
        Found::Workload { live, .. } => live.as_ref(),
        Found::ToMake => {
            draft.checks.push(Check::bad("Nothing runs here", "Deploy a version first.", None));
            return Ok(draft);
        }
        Found::Nothing(why) => {
            draft.checks.push(Check::bad("Nothing to change", why.clone(), None));
            return Ok(draft);
        }
    };
    if form == Form::Scale && live.kind() == WorkloadKind::DaemonSet {
        let (title, detail) = wording::has_no_size(live);
        draft.lead = wording::pods_on_nodes(live.wanted());
        draft.checks.push(Check::bad(title, detail, None));
        return Ok(draft);
    }
    let subresource = (form == Form::Scale).then_some("scale");
    draft.may(app, user, ("patch", "apps", live.kind().resource(), subresource)).await?;
    let client = app.clusters.get(&target.cluster).as_user(&access::kube_identity(app, user)?);
    match form {
        Form::Restart => draft.restart(live),
        Form::Scale => draft.scale(&client, live, input).await?,
        Form::RollBack | Form::Migrate => {}
    }
    Ok(draft)
}

impl Draft {
    fn of(environment: &Environment, target: &Target, now: Timestamp) -> Self {
        Self {
            place: Place {
                service: target.service.clone(),
                team: target.team.clone(),
                environment: target.environment.clone(),
                cluster: target.cluster.clone(),
                namespace: target.namespace.clone(),
            },
            policy: Policy::of(environment, &target.team),
            lead: String::new(),
            fields: Fields::Restart,
            checks: Vec::new(),
            shown: Vec::new(),
            action: None,
            odd: None,
            checked: now,
        }
    }

    /// RBAC, asked as the person: verb, group, resource, subresource.
    pub(super) async fn may(
        &mut self,
        app: &App,
        user: &CurrentUser,
        (verb, group, resource, subresource): (&str, &str, &str, Option<&str>),
    ) -> Result<()> {
        let namespace = &self.place.namespace;
        let wanted = Wanted { verb, group, resource, subresource, namespace, name: None };
        let answer = access::review(app, user, &self.place.cluster, wanted).await?;
        let verb = subresource.unwrap_or(verb);
        self.checks.push(if answer.allowed {
            Check::ok("You may do this here", checks::granted_by(&answer.reason))
        } else {
            let detail = format!("It needs the right to {verb} {resource} in {namespace}.");
            Check::bad("You may not do this here", detail, Some(checks::who_grants(app, &self.place.team)))
        });
        Ok(())
    }

    fn restart(&mut self, live: &LiveWorkload) {
        let replicas = live.wanted();
        self.lead = format!("New pods of the same version replace the {replicas} that run, a few at a time.");
        if let Some((title, detail)) = wording::left_alone(live) {
            let none = match live.reach() {
                Reach::All => false,
                Reach::From(partition) => partition >= replicas,
                Reach::OnDelete => true,
            };
            self.checks.push(match none {
                true => Check::bad(title, wording::nothing_restarts(live), None),
                false => Check::warn(title, detail),
            });
        }
        if live.is_paused() {
            let detail = "A paused rollout starts no pods. Resume it with kubectl rollout resume first.";
            self.checks.push(Check::bad("The Deployment is paused", detail, None));
        }
        self.action = Some(Action::Restart { workload: live.name().into(), workload_kind: live.kind() });
    }

    async fn scale(&mut self, client: &UserClient, live: &LiveWorkload, input: &Input) -> Result<()> {
        let namespace = self.place.namespace.clone();
        let all = ListParams::default();
        let (autoscalers, quotas, limits, budgets) = (
            client.api::<HorizontalPodAutoscaler>(&namespace),
            client.api::<ResourceQuota>(&namespace),
            client.api::<LimitRange>(&namespace),
            client.api::<PodDisruptionBudget>(&namespace),
        );
        let (autoscalers, quotas, limits, budgets) =
            tokio::join!(autoscalers.list(&all), quotas.list(&all), limits.list(&all), budgets.list(&all));
        let autoscalers = autoscalers.map_err(found::away_from(&self.place.cluster))?.items;
        let replicas = live.wanted();
        let from = match ownership::autoscaler(&autoscalers, live.kind(), live.name())
            .and_then(|found| Some((found.metadata.name.clone()?, found.spec.clone()?)))
        {
            Some((name, spec)) => {
                Size::Autoscaler { name, min: spec.min_replicas.unwrap_or(1), max: spec.max_replicas }
            }
            None => Size::Replicas { replicas },
        };
        self.lead = match &from {
            Size::Replicas { .. } => format!("{} run now.", from.words()),
            Size::Autoscaler { name, .. } => {
                format!(
                    "The autoscaler {name} sets the number, between {}. {replicas} now. Change its bounds here.",
                    from.words()
                )
            }
        };
        if let ReplicasOwner::GitOps(gitops) = ownership::replicas_owner(live) {
            let detail = gitops.sentence(live.kind());
            self.checks.push(Check::bad("Another tool scales this", detail, None));
        }
        let to = self.wished(&from, input);
        if let Some(to) = &to {
            let quotas = quotas.map(|list| list.items).unwrap_or_default();
            let limits = limits.map(|list| list.items).unwrap_or_default();
            self.room(live, replicas, to, &quotas, &limits);
        }
        if let Ok(budgets) = budgets {
            self.budgets(&budgets.items, live, to.as_ref());
        }
        let typed = |value: &Option<String>, now: i32| value.clone().unwrap_or_else(|| now.to_string());
        let (min, max) = match &from {
            Size::Autoscaler { min, max, .. } => (*min, *max),
            Size::Replicas { replicas } => (*replicas, *replicas),
        };
        self.fields = Fields::Scale {
            replicas: typed(&input.replicas, replicas),
            min: typed(&input.min, min),
            max: typed(&input.max, max),
            from: from.clone(),
        };
        let (workload, workload_kind) = (live.name().to_string(), live.kind());
        self.action = to.map(|to| Action::Scale { workload, workload_kind, from, to });
        Ok(())
    }

    /// The size that was typed, if it can be used.
    fn wished(&mut self, from: &Size, input: &Input) -> Option<Size> {
        let number = |text: &Option<String>| text.as_deref().map(|text| text.trim().parse::<i32>().ok());
        let to = match from {
            Size::Replicas { .. } => match number(&input.replicas)? {
                Some(replicas @ 0..=1000) => Size::Replicas { replicas },
                _ => return self.odd("Give a whole number of replicas from 0 to 1000."),
            },
            Size::Autoscaler { name, .. } => match (number(&input.min)?, number(&input.max)?) {
                (Some(min @ 1..=1000), Some(max @ 1..=1000)) if min <= max => {
                    Size::Autoscaler { name: name.clone(), min, max }
                }
                _ => return self.odd("Give two whole numbers from 1 to 1000, the least first."),
            },
        };
        if to == *from {
            return self.odd("That is what it is now.");
        }
        Some(to)
    }

    fn odd(&mut self, sentence: &str) -> Option<Size> {
        self.odd = Some(sentence.into());
        None
    }

    /// Whether the quotas leave room for the pods that come on top.
    fn room(
        &mut self,
        live: &LiveWorkload,
        replicas: i32,
        to: &Size,
        quotas: &[ResourceQuota],
        limits: &[LimitRange],
    ) {
        let most = match to {
            Size::Replicas { replicas } => *replicas,
            Size::Autoscaler { max, .. } => *max,
        };
        let namespace = self.place.namespace.as_str();
        self.checks.extend(checks::room(live, most - replicas, quotas, limits, namespace));
    }

    fn budgets(&mut self, budgets: &[PodDisruptionBudget], live: &LiveWorkload, to: Option<&Size>) {
        let labels = live.template().and_then(|template| template.metadata.as_ref()?.labels.clone());
        let labels = labels.unwrap_or_default();
        let matching = budgets.iter().find(|budget| {
            let selector =
                budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()?.match_labels.as_ref());
            selector.is_some_and(|wanted| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
        });
        let Some(budget) = matching else { return };
        let needs = budget.status.as_ref().map_or(0, |status| status.desired_healthy);
        let name = budget.metadata.name.as_deref().unwrap_or_default();
        let fewest = match to {
            Some(Size::Replicas { replicas }) => *replicas,
            Some(Size::Autoscaler { min, .. }) => *min,
            None => i32::MAX,
        };
        self.checks.push(if fewest < needs {
            let detail = format!("{name} wants {needs} healthy pods; nodes can’t be drained with fewer.");
            Check::warn("Below the disruption budget", detail)
        } else {
            Check::ok("The disruption budget holds", format!("{name} wants {needs} healthy pods"))
        });
    }
}

async fn roll_back_draft(
    app: &App,
    user: &CurrentUser,
    service: &Service,
    environment: &Environment,
    input: &Input,
) -> Result<Draft> {
    let mut db = app.db.acquire().await?;
    let releases = store::releases(&mut db, &service.name, environment.name()).await?;
    drop(db);
    let target = Target::new(service, environment);
    let running = found::find(app, user, service, &target).await?.images();
    // Last good: the newest success that is not what runs now.
    let last_good =
        releases.iter().find(|release| release.change.images != running).map(|release| release.id);
    let named = input.version.as_deref().filter(|version| !version.is_empty());
    let of_version =
        |version| releases.iter().find(|release| release.version == version).map(|release| release.id);
    let wanted = input.release.or_else(|| named.map_or(last_good, of_version));
    let release = releases.iter().find(|release| Some(release.id) == wanted).cloned();
    let wish = Wish {
        take_over: input.take_over.is_some(),
        glass: input.glass.is_some(),
        release: release.as_ref(),
        ..Wish::default()
    };
    let mut plan = plan::plan(app, user, service, environment, &wish).await?;
    if release.is_none() {
        let what = named.map_or("There is nothing but what runs now.".into(), |version| {
            format!("It has not deployed {version} here.")
        });
        let detail = format!("The portal rolls back to what it deployed itself with success. {what}");
        plan.checks.push(Check::bad("No earlier release", detail, None));
    }
    let offered = releases
        .into_iter()
        .map(|release| Offered {
            running: release.change.images == running,
            chosen: Some(release.id) == wanted,
            last_good: Some(release.id) == last_good,
            release,
        })
        .collect();
    Ok(Draft {
        lead: match plan.running.as_str() {
            "" => format!("Nothing runs in {}.", plan.place.environment),
            running => format!("{} runs {running}.", capitalised(&plan.place.environment)),
        },
        fields: Fields::RollBack {
            releases: offered,
            take_over: plan.take_over.as_ref().map(|held| held.manager.clone()),
        },
        odd: plan
            .take_over
            .as_ref()
            .filter(|held| !held.agreed)
            .map(|held| format!("Agree to take the image field over from {}.", held.manager)),
        place: plan.place,
        policy: plan.policy,
        checks: plan.checks,
        shown: plan.shown,
        action: plan.action,
        checked: plan.checked,
    })
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
