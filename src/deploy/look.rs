//! Looking things up for the engine: what stands in the way of a queued deploy, whether its write landed, how its
//! rollout is doing. Reads of the cluster are made as the requester, so a right that was taken away shows here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;

use super::back;
use super::deploy::{Action, Deploy, ImageChange, Policy, Progress, State, Written};
use super::gates::{Facts, may_break_glass, may_execute};
use super::step::{Note, Seen};
use super::store;
use crate::app::App;
use crate::auth::access;
use crate::auth::machine;
use crate::config::Environment;
use crate::kube::diagnosis;
use crate::kube::job::{self, LastLines};
use crate::kube::observe::observe as observe_workload;
use crate::kube::rollout::{self, Observed};
use crate::kube::{PodState, Refusal, UserClient, Wanted, apply};
use crate::registry::ImageRef;

/// What one look found: the part that decides, and the part that people see.
pub struct Look {
    pub decisive: Seen,
    pub pods: Option<Vec<PodState>>,
    /// The workload as it was read, for a write that must not land on anything newer.
    pub workload: Option<Deployment>,
    /// What a migration wrote last.
    pub log: Option<LastLines>,
}

impl Look {
    fn only(decisive: Seen) -> Self {
        Self { decisive, pods: None, workload: None, log: None }
    }

    /// For pages: what was last known, with what this look adds. None: nothing to show yet.
    pub fn progress(&self, deploy: &Deploy, note: Option<Note>) -> Option<Progress> {
        let before = deploy.progress.clone();
        if self.pods.is_none() && note.is_none() {
            return None;
        }
        let before = before.unwrap_or_default();
        Some(Progress { note: note.unwrap_or(before.note), pods: self.pods.clone().unwrap_or(before.pods) })
    }
}

/// Looks up what deciding the deploy's next step needs, and no more.
pub async fn observe(app: &App, deploy: &Deploy) -> anyhow::Result<Look> {
    match &deploy.state {
        State::Requested
        | State::AwaitingApproval { .. }
        | State::Succeeded
        | State::Rejected { .. }
        | State::Cancelled { .. }
        | State::Expired
        | State::Superseded { .. }
        | State::Failed { .. }
        | State::RolledBack { .. }
        | State::RollbackFailed { .. } => Ok(Look::only(Seen::Nothing)),
        State::Queued => gate(app, deploy).await,
        State::Applying { .. } => match deploy.job_name() {
            Some(job) => job_landed(app, deploy, &job).await,
            None => landed(app, deploy, &deploy.marker(), deploy.action.change()).await,
        },
        State::RollingOut { .. } if deploy.runs_a_job() => migration(app, deploy).await,
        State::RollingOut { written, .. } => {
            rollout(app, deploy, &Ours::forward(deploy, written, deploy.requested)).await
        }
        State::Verifying { since, written, .. } => {
            rollout(app, deploy, &Ours::forward(deploy, written, *since)).await
        }
        State::RollingBack { to, written: None, .. } => {
            landed(app, deploy, &deploy.back_marker(), Some(to)).await
        }
        State::RollingBack { to, since, written: Some(written), .. } => {
            let back = Ours { written, marker: deploy.back_marker(), change: Some(to), since: *since };
            rollout(app, deploy, &back).await
        }
    }
}

/// Acts as the person who asked, with the approved digest where one was needed.
pub fn client(app: &App, deploy: &Deploy) -> anyhow::Result<UserClient> {
    let identity = crate::auth::KubeIdentity::new(&deploy.requester, &app.config.oidc.groups_prefix)?;
    let cluster = app.clusters.get(&deploy.place.cluster);
    Ok(match deploy.approval() {
        Some(digest) => cluster.as_user_with_approval(&identity, digest),
        None => cluster.as_user(&identity),
    })
}

async fn gate(app: &App, deploy: &Deploy) -> anyhow::Result<Look> {
    let environment = app.config.environment(&deploy.place.environment);
    let frozen = environment.filter(|_| deploy.can_be_frozen()).and_then(|it| it.frozen(app.clock.now()));
    if let Some(frozen) = frozen {
        return Ok(Look::only(Seen::Frozen(frozen)));
    }
    let mut db = app.db.acquire().await?;
    let ahead = store::ahead(&mut db, deploy).await?;
    drop(db);
    if ahead.is_some() {
        return Ok(Look::only(Seen::Gate { ahead, verdict: Ok(()) }));
    }
    let facts = match facts(app, deploy).await {
        Ok(facts) => facts,
        Err(Missing::Away(why)) => return Ok(Look::only(Seen::Away(why))),
        Err(Missing::Fault(error)) => return Err(error),
    };
    let verdict = may_execute(deploy, &facts);
    Ok(Look::only(Seen::Gate { ahead: None, verdict }))
}

/// Why the facts could not be gathered.
pub enum Missing {
    Away(String),
    Fault(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Missing {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

/// Everything an approval is bound to, as it is now.
pub async fn facts(app: &App, deploy: &Deploy) -> Result<Facts, Missing> {
    let place = &deploy.place;
    let wanted = right(deploy);
    let stored = async {
        let mut db = app.db.acquire().await?;
        let newer_release = store::newer_release(&mut db, deploy).await?;
        Ok::<_, sqlx::Error>((newer_release, store::approvers(&mut db, deploy.id).await?))
    };
    let (stored, running, review, tag_digest) = tokio::join!(
        stored,
        running(app, deploy),
        access::review(app, &deploy.requester, &place.cluster, wanted),
        tag_digest(app, deploy),
    );
    let (newer_release, approvers) = stored?;
    let running = match running {
        Ok(running) => running,
        Err(refusal) if refusal.retryable() => return Err(Missing::Away(refusal.sentence())),
        // Not allowed to look any more is said as the lost right that it is, below.
        Err(_) => None,
    };
    let environment = app.config.environment(&place.environment);
    let in_bounds =
        machine::may_still_change(&app.config, &deploy.requester, &place.team, &place.environment);
    Ok(Facts {
        tag_digest,
        policy: environment.map(|environment| Policy::of(environment, &place.team)),
        running,
        newer_release,
        breaks_glass: environment.is_some_and(|found| {
            may_break_glass(&deploy.requester, found.name(), &found.glass_groups()).is_ok()
        }),
        requester_may: review.map_err(|error| Missing::Away(error.words().1))?.allowed && in_bounds,
        approvers,
    })
}

/// What the requester has to be allowed for this to be carried out.
fn right(deploy: &Deploy) -> Wanted<'_> {
    let namespace = deploy.place.namespace.as_str();
    match &deploy.action {
        Action::Deploy(_) | Action::RollBack { .. } | Action::Restart { .. } | Action::Scale { .. } => {
            Wanted {
                verb: "patch",
                group: "apps",
                resource: "deployments",
                subresource: None,
                namespace,
                name: Some(deploy.action.workload()),
            }
        }
        Action::Migrate(_) => Wanted {
            verb: "create",
            group: "batch",
            resource: "jobs",
            subresource: None,
            namespace,
            name: None,
        },
    }
}

/// Where the tag points now. A registry that can't be asked does not hold a deploy up: its bytes are pinned.
async fn tag_digest(app: &App, deploy: &Deploy) -> Option<String> {
    let reference = match &deploy.action {
        Action::Deploy(change) => &change.reference,
        Action::Migrate(migration) => &migration.reference,
        Action::RollBack { .. } | Action::Restart { .. } | Action::Scale { .. } => return None,
    };
    let reference: ImageRef = reference.parse().ok()?;
    if reference.digest().is_some() {
        return None;
    }
    Some(app.registry.resolve(&reference).await.ok()?.digest.as_str().to_string())
}

/// Container to image of what runs, for the containers the deploy is about. None: nothing to compare with.
async fn running(app: &App, deploy: &Deploy) -> Result<Option<BTreeMap<String, String>>, Refusal> {
    let change = deploy.action.change();
    if change.is_none() && deploy.action.migration().is_none() {
        return Ok(None);
    }
    let deployment = get(app, deploy).await?;
    let images = deployment.as_ref().map(apply::images).unwrap_or_default();
    let Some(change) = change else { return Ok(Some(images)) };
    Ok(Some(
        images
            .into_iter()
            .filter(|(name, _)| change.replaces.is_empty() || change.images.contains_key(name))
            .collect(),
    ))
}

async fn get(app: &App, deploy: &Deploy) -> Result<Option<Deployment>, Refusal> {
    let user = client(app, deploy).map_err(|error| Refusal::Other { code: 0, message: error.to_string() })?;
    let api = user.api::<Deployment>(&deploy.place.namespace);
    match tokio::time::timeout(crate::kube::CALL_TIMEOUT, api.get_opt(deploy.action.workload())).await {
        Ok(found) => Ok(found?),
        Err(_) => Err(Refusal::Timeout),
    }
}

/// Is our write there already? A reply may have been lost, or an owner may have died after writing.
async fn landed(
    app: &App,
    deploy: &Deploy,
    marker: &str,
    change: Option<&ImageChange>,
) -> anyhow::Result<Look> {
    let workload = match get(app, deploy).await {
        Ok(workload) => workload,
        Err(refusal) if refusal.retryable() => return Ok(Look::only(Seen::Away(refusal.sentence()))),
        // The write itself will be refused, with the same words and a place to record them.
        Err(_) => None,
    };
    let ours = workload.as_ref().filter(|workload| apply::carries_marker(workload, marker));
    let written = ours.map(|workload| Written {
        generation: workload.metadata.generation.unwrap_or_default(),
        marked: true,
    });
    let overtaken = match (&workload, change) {
        (Some(live), Some(change)) => !apply::replaceable(live, &change.replaces, &change.images),
        _ => false,
    };
    let decisive = if written.is_none() && overtaken { Seen::Overtaken } else { Seen::Landed(written) };
    Ok(Look { workload, ..Look::only(decisive) })
}

/// As [`landed`]: is the Job there, and ours?
async fn job_landed(app: &App, deploy: &Deploy, name: &str) -> anyhow::Result<Look> {
    let user = client(app, deploy)?;
    let job = match job::find(&user, &deploy.place.namespace, name).await {
        Ok(job) => job,
        Err(refusal) if refusal.retryable() => return Ok(Look::only(Seen::Away(refusal.sentence()))),
        Err(_) => None,
    };
    let ours = job.filter(|job| job::carries_marker(job, &deploy.marker()));
    let written =
        ours.map(|job| Written { generation: job.metadata.generation.unwrap_or_default(), marked: true });
    Ok(Look::only(Seen::Landed(written)))
}

/// How a migration's Job goes. Its last lines are read at every look: a Job that is deleted takes them with it.
async fn migration(app: &App, deploy: &Deploy) -> anyhow::Result<Look> {
    let Some(migration) = deploy.action.migration() else { return Ok(Look::only(Seen::Nothing)) };
    let user = client(app, deploy)?;
    let namespace = &deploy.place.namespace;
    let name = migration.job_name(deploy.id);
    let observed = match job::observe(&user, namespace, &name, deploy.requested).await {
        Ok(observed) => observed,
        Err(refusal) => return Ok(Look::only(unseen(&refusal))),
    };
    let log = job::last_lines(&user, namespace, &observed).await;
    let now = app.clock.now();
    Ok(Look {
        decisive: Seen::Job {
            status: observed.status(),
            reason: observed.reason(deploy.requested, now, migration.deadline()),
            stands: observed.stands(now),
        },
        pods: Some(observed.pods(now)).filter(|pods| !pods.is_empty()),
        workload: None,
        log,
    })
}

/// A cluster that is away comes back; a right that is gone may not.
fn unseen(refusal: &Refusal) -> Seen {
    if refusal.retryable() { Seen::Away(refusal.sentence()) } else { Seen::Blind(refusal.sentence()) }
}

/// The write whose rollout is watched: the deploy's own, or what it puts back.
struct Ours<'a> {
    written: &'a Written,
    marker: String,
    change: Option<&'a ImageChange>,
    /// Restarts count from then on.
    since: Timestamp,
}

impl<'a> Ours<'a> {
    fn forward(deploy: &'a Deploy, written: &'a Written, since: Timestamp) -> Self {
        Self { written, marker: deploy.marker(), change: deploy.action.change(), since }
    }
}

async fn rollout(app: &App, deploy: &Deploy, ours: &Ours<'_>) -> anyhow::Result<Look> {
    let user = client(app, deploy)?;
    let place = &deploy.place;
    let call = observe_workload(&user, &place.namespace, deploy.action.workload(), deploy.requested);
    let observed: Observed = match tokio::time::timeout(crate::kube::CALL_TIMEOUT, call).await {
        Ok(Ok(observed)) => observed,
        Ok(Err(error)) => return Ok(Look::only(unseen(&Refusal::from(error)))),
        Err(_) => return Ok(Look::only(Seen::Away(Refusal::Timeout.sentence()))),
    };
    let now = app.clock.now();
    let Ours { written, marker, change, since } = ours;
    let ours = rollout::Written {
        generation: written.generation,
        template_marker: (written.marked && change.is_some()).then(|| marker.clone()),
        images: change.map(|change| change.images.clone()).unwrap_or_default(),
    };
    Ok(Look {
        decisive: Seen::Rollout {
            status: rollout::status(&observed, &ours),
            reason: diagnosis::reason(&observed, deploy.requested, now),
            soak: rollout::soak(&observed, *since),
            back: to_put_back(app, deploy).await?.map(Box::new),
        },
        pods: Some(rollout::pods(&observed, now)),
        workload: None,
        log: None,
    })
}

/// What to put back if it fails, where the environment wants that.
async fn to_put_back(app: &App, deploy: &Deploy) -> anyhow::Result<Option<ImageChange>> {
    let environment = app.config.environment(&deploy.place.environment);
    if !environment.is_some_and(Environment::rolls_back) || deploy.action.change().is_none() {
        return Ok(None);
    }
    let mut db = app.db.acquire().await?;
    let last_good = store::last_good(&mut db, &deploy.place).await?;
    Ok(back::target(deploy, last_good.as_ref()))
}
