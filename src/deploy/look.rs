//! Looking things up for the engine: what stands in the way of a queued deploy, whether its write landed, how its
//! rollout is doing. Reads of the cluster are made as the requester, so a right that was taken away shows here.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};

use super::deploy::{Action, Deploy, ImageChange, Place, Policy, Progress};
use super::errors::Errors;
use super::gates::{Facts, Moved, may_break_glass, may_execute};
use super::reads::{self, Prints};
use super::shift::SeenBeside;
use super::state::{Stage, State, Written};
use super::step::{Note, Seen};
use super::strategy::{self, Beside, Strategy};
use super::{act, back, errors, smoke, store};
use crate::app::App;
use crate::auth::access;
use crate::auth::machine;
use crate::config::Environment;
use crate::kube::diagnosis;
use crate::kube::job::{self, LastLines};
use crate::kube::observe::observe as observe_workload;
use crate::kube::pod::is_ready;
use crate::kube::rollout::{self, Observed, Rollout};
use crate::kube::{
    LiveWorkload, MakesPods, PodState, Refusal, UserClient, Wanted, WorkloadRef, apply, stuck, workload,
};
use crate::registry::ImageRef;

/// The end of a deploy does not wait longer to be told what its pods read.
const READS_PATIENCE: Duration = Duration::from_secs(3);

/// What one look found: the part that decides, and the part that people see.
pub struct Look {
    pub decisive: Seen,
    pub pods: Option<Vec<PodState>>,
    /// Per cent of the traffic that goes to what stands beside the workload.
    pub share: Option<u8>,
    /// The workload as it was read, for a write that must not land on anything newer.
    pub workload: Option<LiveWorkload>,
    /// What a migration wrote last.
    pub log: Option<LastLines>,
}

impl Look {
    fn only(decisive: Seen) -> Self {
        Self { decisive, pods: None, share: None, workload: None, log: None }
    }

    /// For pages: what was last known, with what this look adds. None: nothing to show yet.
    pub fn progress(&self, deploy: &Deploy, note: Option<Note>) -> Option<Progress> {
        let before = deploy.progress.clone();
        if self.pods.is_none() && note.is_none() {
            return None;
        }
        let before = before.unwrap_or_default();
        Some(Progress {
            note: note.unwrap_or(before.note),
            pods: self.pods.clone().unwrap_or(before.pods),
            share: if self.pods.is_some() { self.share } else { before.share },
        })
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
        State::Shifting { since, step, stage, .. } => shifting(app, deploy, *since, *step, stage).await,
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
    let now = app.clock.now();
    let environment = app.config.environment(&deploy.place.environment);
    let frozen = environment.filter(|_| deploy.can_be_frozen()).and_then(|it| it.frozen(now));
    let mut db = app.db.acquire().await?;
    if let Some(frozen) = frozen {
        // What went past it has made it void: that is said now, and not when the freeze is over.
        let newer = match deploy.action.change() {
            Some(_) => store::newer_release(&mut db, deploy).await?,
            None => None,
        };
        return Ok(Look::only(match newer {
            Some(version) => Seen::Gate { ahead: None, verdict: Err(Moved::NewerRelease { version }) },
            None => Seen::Frozen(frozen),
        }));
    }
    let ahead = store::ahead(&mut db, &app.config, deploy, now).await?;
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
                resource: deploy.action.workload_kind().resource(),
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
    let live = get(app, deploy).await?;
    let images = live.as_ref().map(apply::images).unwrap_or_default();
    let Some(change) = change else { return Ok(Some(images)) };
    Ok(Some(
        images
            .into_iter()
            .filter(|(name, _)| change.replaces.is_empty() || change.images.contains_key(name))
            .collect(),
    ))
}

async fn get(app: &App, deploy: &Deploy) -> Result<Option<LiveWorkload>, Refusal> {
    let user = client(app, deploy).map_err(|error| Refusal::Other { code: 0, message: error.to_string() })?;
    let call = workload::get(&user, deploy.action.at(&deploy.place.namespace));
    match tokio::time::timeout(crate::kube::CALL_TIMEOUT, call).await {
        Ok(found) => Ok(found?),
        Err(_) => Err(Refusal::Timeout),
    }
}

/// What the pods of the workload read now. None: nobody could look, which holds nothing up.
pub(super) async fn reads(app: &App, deploy: &Deploy) -> Option<Prints> {
    let user = client(app, deploy).ok()?;
    let looked = async {
        let live = get(app, deploy).await.ok()??;
        Some(reads::look(&user, &deploy.place.namespace, live.template()?).await.prints())
    };
    tokio::time::timeout(READS_PATIENCE, looked).await.ok().flatten()
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
    let ours = workload.as_ref().filter(|workload| apply::carries_marker(*workload, marker));
    // The write is one of two: what keeps it from rolling out has to go, too.
    let ours = match (ours, change) {
        (Some(live), Some(change)) if stands(app, deploy, live, change).await => None,
        _ => ours,
    };
    let written = ours.map(|workload| Written {
        generation: workload.metadata().generation.unwrap_or_default(),
        marked: true,
    });
    let overtaken = match (&workload, change) {
        (Some(live), Some(change)) => !apply::replaceable(live, &change.replaces, &change.images),
        _ => false,
    };
    let decisive = if written.is_none() && overtaken { Seen::Overtaken } else { Seen::Landed(written) };
    Ok(Look { workload, ..Look::only(decisive) })
}

/// Whether something stands in the way of the change. One that can't be asked about is no reason to write again.
async fn stands(app: &App, deploy: &Deploy, live: &LiveWorkload, change: &ImageChange) -> bool {
    let Ok(user) = client(app, deploy) else { return false };
    let pods = stuck::in_the_way(&user, live, &change.images, act::given(deploy)).await;
    pods.is_ok_and(|pods| !pods.is_empty())
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
        share: None,
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
    let workload = observed(&user, deploy, Some(deploy.action.at(&deploy.place.namespace)));
    let beside = observed(&user, deploy, deploy.beside().map(|beside| beside.at(&deploy.place.namespace)));
    let (observed, beside) = match tokio::try_join!(workload, beside) {
        Ok(observed) => observed,
        Err(unseen) => return Ok(Look::only(unseen)),
    };
    let now = app.clock.now();
    let Ours { written, marker, change, since } = ours;
    let ours = rollout::Written {
        generation: written.generation,
        template_marker: (written.marked && change.is_some()).then(|| marker.clone()),
        images: change.map(|change| change.images.clone()).unwrap_or_default(),
    };
    let status = rollout::status(&observed, &ours);
    let trouble = match deploy.state {
        State::RollingOut { .. } if status == Rollout::Done => {
            match smoke::passes(app, &user, deploy, &observed).await {
                Ok(passes) => passes,
                Err(away) => return Ok(Look::only(away)),
            }
        }
        State::RollingOut { .. } => Ok(()),
        State::Verifying { .. } => match rollout::soak(&observed, *since) {
            Ok(()) => errors::measure(app, deploy, &observed).await.trouble(),
            restarted => restarted,
        },
        _ => rollout::soak(&observed, *since),
    };
    let mut pods = rollout::pods(&observed, now);
    pods.extend(rollout::pods(&beside, now));
    Ok(Look {
        decisive: Seen::Rollout {
            status,
            reason: diagnosis::reason(&observed, deploy.requested, now),
            trouble,
            back: to_put_back(app, deploy).await?.map(Box::new),
            beside: beside.workload.is_some(),
        },
        pods: Some(pods),
        share: traffic(&user, place, deploy.beside(), &observed, &beside).await,
        workload: None,
        log: None,
    })
}

/// What stands beside the workload, and whether the workload is as it was.
async fn shifting(
    app: &App,
    deploy: &Deploy,
    since: Timestamp,
    step: usize,
    stage: &Stage,
) -> anyhow::Result<Look> {
    let user = client(app, deploy)?;
    let (Some(change), Some(beside)) = (deploy.action.change(), deploy.beside()) else {
        return Ok(Look::only(Seen::Nothing));
    };
    let workload = observed(&user, deploy, Some(change.at(&deploy.place.namespace)));
    let other = observed(&user, deploy, Some(beside.at(&deploy.place.namespace)));
    let (workload, other) = match tokio::try_join!(workload, other) {
        Ok(observed) => observed,
        Err(unseen) => return Ok(Look::only(unseen)),
    };
    let now = app.clock.now();
    let status = match stage.written() {
        Some(written) => {
            let template_marker = Some(deploy.beside_marker());
            let images = change.images.clone();
            rollout::status(
                &other,
                &rollout::Written { generation: written.generation, template_marker, images },
            )
        }
        None => Rollout::Gone,
    };
    let mut trouble = rollout::soak(&other, since);
    if trouble.is_ok() && status == Rollout::Done && matches!(stage, Stage::Starting { .. }) {
        trouble = match smoke::passes(app, &user, deploy, &other).await {
            Ok(passes) => passes,
            Err(away) => return Ok(Look::only(away)),
        };
    }
    // Green stands ready without any traffic until the switch; a canary has some from its first ready pods on.
    let is_canary = matches!(change.strategy, Strategy::Canary { .. });
    let gets_traffic = match stage {
        Stage::Sizing => false,
        Stage::Starting { .. } => is_canary && step > 0,
        Stage::Holding { .. } => is_canary,
        Stage::Switched { .. } => true,
    };
    let errors = if gets_traffic { errors::measure(app, deploy, &other).await } else { Errors::NoLimit };
    let replicas = |observed: &Observed| observed.workload.as_ref().map_or(0, LiveWorkload::wanted);
    let live = workload.workload.as_ref();
    let mut old = rollout::pods(&workload, now);
    for pod in &mut old {
        // New is what stands beside it.
        pod.new = false;
    }
    let share = traffic(&user, &deploy.place, Some(beside), &workload, &other).await;
    let seen = SeenBeside {
        overtaken: live.is_none_or(|live| !apply::runs_images(live, &change.replaces)),
        status,
        reason: diagnosis::reason(&other, deploy.requested, now),
        trouble,
        errors,
        short: replicas(&other) < replicas(&workload),
    };
    old.extend(rollout::pods(&other, now));
    Ok(Look { pods: Some(old), share, ..Look::only(Seen::Beside(Box::new(seen))) })
}

/// A workload with all that explains it. Of none, nothing.
async fn observed(user: &UserClient, deploy: &Deploy, at: Option<WorkloadRef<'_>>) -> Result<Observed, Seen> {
    let Some(at) = at else { return Ok(Observed::default()) };
    let call = observe_workload(user, at, deploy.requested);
    match tokio::time::timeout(crate::kube::CALL_TIMEOUT, call).await {
        Ok(Ok(observed)) => Ok(observed),
        Ok(Err(error)) => Err(unseen(&Refusal::from(error))),
        Err(_) => Err(Seen::Away(Refusal::Timeout.sentence())),
    }
}

/// Per cent of the traffic that really goes to the pods of what stands beside: by the ready pods that the first of the
/// Services selects; by all ready pods where there is none. For pages, so a refusal says nothing.
async fn traffic(
    user: &UserClient,
    place: &Place,
    beside: Option<&Beside>,
    workload: &Observed,
    other: &Observed,
) -> Option<u8> {
    let beside = beside.filter(|_| other.workload.is_some())?;
    let selector = match beside.services.first() {
        Some(name) => {
            let api = user.api::<Service>(&place.namespace);
            let read = tokio::time::timeout(crate::kube::CALL_TIMEOUT, api.get_opt(name)).await;
            read.ok()?.ok()??.spec?.selector.unwrap_or_default()
        }
        None => BTreeMap::new(),
    };
    let gets_traffic = |pod: &&Pod| {
        let labels = pod.metadata.labels.as_ref();
        is_ready(pod)
            && selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    };
    let of = |observed: &Observed| observed.pods.iter().filter(gets_traffic).count();
    strategy::share(of(other), of(other) + of(workload))
}

/// What to put back if it fails, where the environment wants that.
async fn to_put_back(app: &App, deploy: &Deploy) -> anyhow::Result<Option<ImageChange>> {
    let environment = app.config.environment(&deploy.place.environment);
    // A version that proved itself beside and does not run in the workload is always put back: half of it is no state to
    // leave a workload in that has a second one beside it.
    let wanted = environment.is_some_and(Environment::rolls_back) || deploy.beside().is_some();
    if !wanted || deploy.action.change().is_none() {
        return Ok(None);
    }
    let mut db = app.db.acquire().await?;
    let last_good = store::last_good(&mut db, &deploy.place).await?;
    Ok(back::target(deploy, last_good.as_ref()))
}
