//! What would happen, before anybody asks for it: the versions on offer, the bytes behind the chosen one, what the
//! cluster says to a dry run *as the person*, and which check refuses. The form draws it, and sending the form
//! makes it anew: what is stored is what was checked a moment before, never what a browser claims.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::checks::{Check, frozen, granted_by, guarded, queue, requirement, resolve, who_grants};
use super::deploy::{Action, Digest, ImageChange, Place, Policy, ShownDiff};
use super::found::{Found, as_user, find, trying, version_of};
use super::needs::{self, Needs};
use super::offer::Offer;
use super::strategy::Strategy;
use super::{render, store, ways, wording};
use crate::app::App;
use crate::auth::{CurrentUser, access};
use crate::catalogue::Service;
use crate::config::{Environment, Strategy as Kind};
use crate::kube::apply::{self, Marks};
use crate::kube::dry_run::{self, ObjectPlan};
use crate::kube::ownership::{self, ImageOwner};
use crate::kube::stuck::{self, Given};
use crate::kube::{LiveWorkload, MakesPods, Target, Wanted, WorkloadKind};
use crate::registry::ImageRef;
use crate::web::Result;

/// Everything the form shows.
pub struct Plan {
    pub place: Place,
    pub policy: Policy,
    /// What runs there now; empty where nothing does.
    pub running: String,
    /// Where versions come from.
    pub(super) repository: Option<String>,
    /// Empty until [`Plan::offer`].
    pub versions: Vec<Offer>,
    /// Why the registry could not list its tags.
    pub no_versions: Option<String>,
    pub chosen: Option<Chosen>,
    pub checks: Vec<Check>,
    pub shown: Vec<ShownDiff>,
    /// Who holds the image field, when the person has to agree to take it over.
    pub take_over: Option<TakeOver>,
    /// How it would take over. None: there is one way only, because nothing runs yet or an earlier release comes back.
    pub way: Option<Kind>,
    /// What would be stored; None while a check fails.
    pub action: Option<Action>,
    pub checked: Timestamp,
}

pub struct TakeOver {
    pub manager: String,
    pub agreed: bool,
}

pub struct Chosen {
    pub version: String,
    pub reference: String,
    pub digest: Option<String>,
}

impl Plan {
    pub fn fails(&self) -> usize {
        self.checks.iter().filter(|check| check.class == "bad").count()
    }

    /// What an approval would be bound to.
    pub fn digest(&self) -> Option<Digest> {
        self.action.as_ref().map(|action| Digest::of(&self.place, action, &self.policy))
    }
}

/// What the person picked on the form.
#[derive(Default)]
pub struct Wish<'a> {
    /// A tag, or a whole image reference.
    pub version: Option<&'a str>,
    pub take_over: bool,
    /// None: as the environment has it.
    pub way: Option<Kind>,
    /// To go ahead without approval: then the cluster is tried without one, too.
    pub glass: bool,
    /// Roll back to this release instead of picking a version.
    pub release: Option<&'a store::Release>,
}

pub async fn plan(
    app: &App,
    user: &CurrentUser,
    service: &Service,
    environment: &Environment,
    wish: &Wish<'_>,
) -> Result<Plan> {
    let target = Target::new(service, environment);
    let workload = find(app, user, service, &target).await?;
    let mut plan = Plan {
        place: Place::from(&target),
        policy: Policy::of(environment, &target.team),
        running: workload.version(),
        repository: workload.repository(service),
        versions: Vec::new(),
        no_versions: None,
        chosen: None,
        checks: Vec::new(),
        shown: Vec::new(),
        take_over: None,
        // On the form from the start: script asks again for the fields that were there when the page came.
        way: ways::offered(&workload, wish).then(|| wish.way.unwrap_or(environment.strategy)),
        action: None,
        checked: app.clock.now(),
    };
    plan.may_deploy(app, user, &workload).await?;
    let Some(change) = plan.choose(app, service, environment, &workload, wish).await? else {
        return Ok(plan);
    };
    plan.requirement(app, &change).await?;
    plan.reach(app, user, &workload, &change, wish).await?;
    plan.ask_cluster(app, user, environment, &workload, &change, wish).await?;
    let strategy = plan.strategy(app, user, environment, &workload, &change, wish).await?;
    let (frozen, passes) = (frozen(environment, plan.checked), wish.release.is_some() || wish.glass);
    let queue = queue(app, &plan.place, passes && frozen.is_some()).await?;
    plan.checks.extend(frozen.filter(|_| !passes).into_iter().chain(queue));
    if plan.fails() == 0 {
        let take_over = plan.take_over.as_ref().map(|held| held.manager.clone());
        let change = ImageChange { take_over, strategy, ..change };
        plan.action = Some(match wish.release {
            Some(release) => Action::RollBack { release: release.id, approved: release.approved, change },
            None => Action::Deploy(change),
        });
    }
    Ok(plan)
}

impl Plan {
    /// RBAC, in the authorizer's own words.
    async fn may_deploy(&mut self, app: &App, user: &CurrentUser, workload: &Found) -> Result<()> {
        if let Found::Nothing(why) = workload {
            self.checks.push(Check::bad("Nothing to deploy to", why.clone(), None));
            return Ok(());
        }
        let verb = if workload.live().is_some() { "patch" } else { "create" };
        let resource = workload.live().map_or(WorkloadKind::Deployment, LiveWorkload::kind).resource();
        let wanted = Wanted {
            verb,
            group: "apps",
            resource,
            subresource: None,
            namespace: &self.place.namespace,
            name: None,
        };
        let answer = access::review(app, user, &self.place.cluster, wanted).await?;
        self.checks.push(if answer.allowed {
            Check::ok("You may deploy here", granted_by(&answer.reason))
        } else {
            let detail = format!("It needs the right to {verb} {resource} in {}.", self.place.namespace);
            Check::bad("You may not deploy here", detail, Some(who_grants(app, &self.place.team)))
        });
        Ok(())
    }

    /// The wished version as bytes: a digest that is looked up once, here.
    async fn choose(
        &mut self,
        app: &App,
        service: &Service,
        environment: &Environment,
        workload: &Found,
        wish: &Wish<'_>,
    ) -> Result<Option<ImageChange>> {
        if let Some(release) = wish.release {
            return Ok(self.choose_release(service, environment, workload, release));
        }
        let (Some(version), Some(repository)) =
            (wish.version.map(str::trim).filter(|v| !v.is_empty()), self.repository.clone())
        else {
            return Ok(None);
        };
        let reference = match reference(&repository, version) {
            Ok(reference) => reference,
            Err(why) => {
                let detail = format!(
                    "{why} Give a tag such as v1.2.3, or a whole reference such as {repository}:v1.2.3."
                );
                self.checks.push(Check::bad(format!("“{version}” names no image"), detail, None));
                return Ok(None);
            }
        };
        let resolved = match resolve(app, &reference, environment).await {
            Ok((resolved, checks)) => {
                self.checks.extend(checks);
                resolved
            }
            Err(check) => {
                self.checks.push(check);
                self.chosen = Some(Chosen {
                    version: version_of(&reference.to_string()),
                    reference: reference.to_string(),
                    digest: None,
                });
                return Ok(None);
            }
        };
        let image = match &resolved {
            Some(digest) => reference.with_digest(digest).to_string(),
            None => reference.to_string(),
        };
        let chosen = Chosen {
            version: version_of(&reference.to_string()),
            reference: reference.to_string(),
            digest: resolved.map(|digest| digest.as_str().to_string()),
        };
        let change = self.change(service, environment, workload, &chosen, &image);
        self.chosen = Some(chosen);
        Ok(change)
    }

    fn change(
        &self,
        service: &Service,
        environment: &Environment,
        workload: &Found,
        chosen: &Chosen,
        image: &str,
    ) -> Option<ImageChange> {
        let (name, images, replaces, objects) = match (workload, &service.run) {
            (Found::Workload { live, managed: false }, _) => {
                let container = workload.main_container()?;
                let replaced = workload.images().remove(&container)?;
                let only = |image: String| BTreeMap::from([(container.clone(), image)]);
                (live.name().to_string(), only(image.to_string()), only(replaced), Vec::new())
            }
            (Found::Workload { managed: true, .. } | Found::ToMake, Some(run)) => {
                let release = render::Release {
                    environment: environment.name(),
                    namespace: &self.place.namespace,
                    image,
                    version: &chosen.version,
                };
                let objects = render::render(service, run, release);
                let images = BTreeMap::from([(service.name.clone(), image.to_string())]);
                (service.name.clone(), images, workload.images(), objects)
            }
            (Found::Nothing(_), _) | (_, None) => return None,
        };
        Some(ImageChange {
            version: chosen.version.clone(),
            reference: chosen.reference.clone(),
            digest: chosen.digest.clone(),
            workload: name,
            workload_kind: workload.live().map_or(WorkloadKind::Deployment, LiveWorkload::kind),
            images,
            replaces,
            replaces_version: self.running.clone(),
            objects,
            take_over: None,
            strategy: Strategy::Rolling,
        })
    }

    /// A release as it ran: its images, and what was rendered for it.
    fn choose_release(
        &mut self,
        service: &Service,
        environment: &Environment,
        workload: &Found,
        release: &store::Release,
    ) -> Option<ImageChange> {
        let before = &release.change;
        let image = before.images.values().next()?.clone();
        let chosen = Chosen {
            version: release.version.clone(),
            reference: before.reference.clone(),
            digest: before.digest.clone(),
        };
        let change = self.change(service, environment, workload, &chosen, &image);
        self.chosen = Some(chosen);
        let change = change?;
        if change.replaces == before.images && !before.is_managed() {
            self.checks.push(Check::bad(
                "Already running",
                format!("{} runs here now.", release.version),
                None,
            ));
        }
        if workload.live().is_some_and(LiveWorkload::is_paused) {
            let detail = "A paused rollout takes no change. Resume it with kubectl rollout resume first.";
            self.checks.push(Check::bad("The Deployment is paused", detail, None));
        }
        Some(ImageChange {
            objects: if before.is_managed() { before.objects.clone() } else { change.objects },
            ..change
        })
    }

    /// The same bytes must have run in another environment before.
    async fn requirement(&mut self, app: &App, change: &ImageChange) -> Result<()> {
        let digest = change.digest.as_deref();
        let check =
            requirement(app, &self.place, &self.policy, &change.version, digest, self.checked).await?;
        self.checks.extend(check);
        Ok(())
    }

    /// How it takes over, as the person or the environment wants it.
    async fn strategy(
        &mut self,
        app: &App,
        user: &CurrentUser,
        environment: &Environment,
        workload: &Found,
        change: &ImageChange,
        wish: &Wish<'_>,
    ) -> Result<Strategy> {
        let (Some(kind), Some(LiveWorkload::Deployment(live))) = (self.way, workload.live()) else {
            return Ok(Strategy::Rolling);
        };
        let client = trying(app, user, environment, wish.glass)?;
        let here = ways::Here { app, user, client: &client, environment, place: &self.place };
        let (strategy, checks) = ways::find(&here, live, change, kind).await?;
        self.checks.extend(checks);
        Ok(strategy)
    }

    /// Which pods it does not reach by itself, and which have to be deleted for it to get anywhere.
    async fn reach(
        &mut self,
        app: &App,
        user: &CurrentUser,
        workload: &Found,
        change: &ImageChange,
        wish: &Wish<'_>,
    ) -> Result<()> {
        let Some(live) = workload.live() else { return Ok(()) };
        self.checks.extend(wording::left_alone(live).map(|(title, detail)| Check::warn(title, detail)));
        let client = as_user(app, user, &self.place.cluster)?;
        let given = if wish.release.is_some() { Given::Back } else { Given::Forward };
        // Who may not list pods can't roll anything out either, and reads so elsewhere.
        let stuck = stuck::in_the_way(&client, live, &change.images, given).await.unwrap_or_default();
        let names: Vec<&str> = stuck.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
        if !names.is_empty() {
            let (title, detail) = wording::deleted_first(&names);
            self.checks.push(Check::warn(title, detail));
        }
        Ok(())
    }

    /// The dry run, as the person: of the objects, and of one pod made from them.
    async fn ask_cluster(
        &mut self,
        app: &App,
        user: &CurrentUser,
        environment: &Environment,
        workload: &Found,
        change: &ImageChange,
        wish: &Wish<'_>,
    ) -> Result<()> {
        let client = trying(app, user, environment, wish.glass)?;
        let mut change_take_over = None;
        if let Found::Workload { live, managed: false } = workload {
            match self.ownership(live, change) {
                Ok(manager) => change_take_over = manager,
                Err(check) => {
                    self.checks.push(check);
                    return Ok(());
                }
            }
        }
        if let Some(manager) = change_take_over {
            self.checks.push(Check::warn(
                format!("The image belongs to {manager}"),
                "The portal takes this one field over, once. Later deploys need no such step.",
            ));
            self.take_over = Some(TakeOver { manager, agreed: wish.take_over });
        }
        let objects = self.objects(workload, change);
        let forced = self.take_over.is_some();
        let template = pod_template(workload, change, &objects);
        let without_approval = as_user(app, user, &self.place.cluster)?;
        let demanded = async {
            match &environment.guard {
                Some(_) => dry_run::dry_run(&without_approval, &objects, forced).await,
                None => Vec::new(),
            }
        };
        let needs = Needs {
            namespace: &self.place.namespace,
            template: template.as_ref(),
            running: workload.images().into_values().collect(),
            release: wish.release,
        };
        let needs = needs::ask(app, &client, &needs);
        let dry_run = dry_run::dry_run(&client, &objects, forced);
        let (plans, demanded, needs) = tokio::join!(dry_run, demanded, needs);
        if let (Some(guard), Some(policy)) = (&environment.guard, environment.guard_policy()) {
            let breaks_glass = user.is_in_any(guard.break_glass.iter().map(|group| group.get_ref()));
            self.checks.extend(guarded(&plans, &demanded, &policy, breaks_glass));
        }
        self.answers(app, plans);
        self.checks.extend(needs);
        Ok(())
    }

    /// Who holds the image field: Ok(None) nobody who matters, Ok(Some) somebody to take it over from.
    fn ownership(
        &self,
        live: &LiveWorkload,
        change: &ImageChange,
    ) -> std::result::Result<Option<String>, Check> {
        if let Some(gitops) = ownership::gitops(live) {
            return Err(Check::bad("Another tool deploys this", gitops.sentence(live.kind()), None));
        }
        let mut holders = Vec::new();
        for container in change.images.keys() {
            match ownership::image_owner(live, container) {
                ImageOwner::Ours | ImageOwner::Nobody => {}
                ImageOwner::TakeOver { managers } => holders.extend(managers),
                ImageOwner::GitOps(gitops) => {
                    return Err(Check::bad("Another tool deploys this", gitops.sentence(live.kind()), None));
                }
            }
        }
        Ok(ownership::listed(&holders))
    }

    fn objects(&self, workload: &Found, change: &ImageChange) -> Vec<Value> {
        if change.is_managed() {
            return change.objects.clone();
        }
        let mut images = workload.live().map(apply::owned_images).unwrap_or_default();
        images.extend(change.images.clone());
        vec![apply::image_patch(change.at(&self.place.namespace), &images, &Marks::default())]
    }

    fn answers(&mut self, app: &App, plans: Vec<ObjectPlan>) {
        let platform: Vec<String> = app.config.access.platform.iter().cloned().collect();
        let mut refused = false;
        for plan in plans {
            match plan.after {
                Ok(after) if after != plan.before => {
                    self.shown.push(ShownDiff {
                        kind: plan.kind,
                        name: plan.name,
                        before: plan.before,
                        after,
                    });
                }
                Ok(_) => {}
                Err(refusal) => {
                    refused = true;
                    let title = format!("The cluster refuses the {}", plan.kind);
                    self.checks.push(Check::bad(title, refusal.sentence(), refusal.who_can_grant(&platform)));
                }
            }
        }
        if !refused {
            let count = self.shown.len();
            let detail = match count {
                0 => "Server-side dry run: nothing would change".to_string(),
                1 => "Server-side dry run, 1 object changes".to_string(),
                _ => format!("Server-side dry run, {count} objects change"),
            };
            self.checks.push(Check::ok("The cluster accepts it", detail));
        }
    }
}

/// The pod template as it would be: of the rendered Deployment, or the running one with the new images.
fn pod_template(
    workload: &Found,
    change: &ImageChange,
    objects: &[Value],
) -> Option<k8s_openapi::api::core::v1::PodTemplateSpec> {
    if change.is_managed() {
        let deployment = objects.iter().find(|object| object["kind"] == "Deployment")?;
        return serde_json::from_value(deployment["spec"]["template"].clone()).ok();
    }
    let mut template = workload.live()?.template()?.clone();
    for container in template.spec.as_mut().map(|pod| pod.containers.as_mut_slice()).unwrap_or_default() {
        if let Some(image) = change.images.get(&container.name) {
            container.image = Some(image.clone());
        }
    }
    Some(template)
}

/// A typed version as a reference: a tag of the repository, or a whole reference of its own.
pub(super) fn reference(repository: &str, version: &str) -> std::result::Result<ImageRef, String> {
    let is_whole = version.contains('/') || version.contains('@');
    let text = match version {
        digest if digest.starts_with("sha256:") => format!("{repository}@{digest}"),
        whole if is_whole => whole.to_string(),
        tag => format!("{repository}:{tag}"),
    };
    text.parse::<ImageRef>().map_err(|odd| odd.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_tag_a_digest_or_a_whole_reference() {
        let read = |version: &str| {
            reference("127.0.0.1:5000/payments/checkout-api", version).map(|found| found.to_string())
        };
        assert_eq!(read("v1.1.0").unwrap(), "127.0.0.1:5000/payments/checkout-api:v1.1.0");
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(read(&digest).unwrap(), format!("127.0.0.1:5000/payments/checkout-api@{digest}"));
        assert_eq!(read("other.example/a/b:v2").unwrap(), "other.example/a/b:v2");
        assert!(read("v1 && rm").is_err());
    }
}
