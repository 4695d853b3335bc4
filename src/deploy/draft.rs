//! What a restart, a scale, a rollback or a migration would do, found out before anybody asks for it: the twin of
//! `plan.rs` for the small forms.

use jiff::Timestamp;

use super::change::{Form, Input};
use super::checks::{self, Check, capitalised};
use super::deploy::{Action, Place, Policy, ShownDiff, Size};
use super::found::{self, Found};
use super::plan::{self, Wish};
use super::store::{self, Release};
use super::{migrate, wording};
use crate::app::App;
use crate::auth::{CurrentUser, access};
use crate::catalogue::Service;
use crate::config::Environment;
use crate::kube::workload::Reach;
use crate::kube::{LiveWorkload, Target, Wanted, WorkloadKind};
use crate::web::Result;

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
    pub(super) odd: Option<String>,
    pub(super) checked: Timestamp,
}

/// What can be filled in.
pub(super) enum Fields {
    Restart,
    Scale { from: Size, replicas: String, min: String, max: String },
    RollBack { releases: Vec<Offered>, take_over: Option<String> },
    Migrate { version: String, runs: String, line: String, container: String, deadline: String },
}

pub(super) struct Offered {
    pub(super) release: Release,
    pub(super) running: bool,
    pub(super) chosen: bool,
    pub(super) last_good: bool,
}

pub(super) async fn draft(
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
            place: Place::from(target),
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
