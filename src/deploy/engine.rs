//! The engine carries deploys from "queued" to their end. Any number of replicas run one each; a deploy is claimed
//! with a lease (the database's clock) and a fence that grows with every claim, and put back as soon as it has to wait.
//!
//! One look is: observe → decide (`step.rs`, pure) → act → record. Dying between any two of them loses nothing: the
//! lease ends, another replica claims, and every act is safe to repeat.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use sqlx::postgres::PgListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::act::{self, Wrote};
use super::deploy::{Deploy, Event, Progress, State};
use super::look;
use super::step::{Note, Seen, Step, next_step};
use super::store::{self, NotRecorded};
use super::wording;
use crate::app::App;
use crate::events::{self, Entry, Origin};
use crate::kube::Refusal;
use crate::kube::apply::Fence;

/// A dead owner's deploy waits this long, plus one poll, for the next owner. Longer than any one call takes.
const LEASE_SECONDS: f64 = 20.0;
/// How long the queue goes unread when no notification arrives.
const POLL: Duration = Duration::from_millis(500);
/// Looks at the same time in one process.
const PARALLEL: usize = 16;
/// The actor of events that nobody but the portal itself makes.
pub const ENGINE: &str = "Pilothouse";

/// Runs until shutdown. Looks that are under way then finish: at most one call's timeout.
pub async fn run(app: App) {
    let owner = Uuid::new_v4();
    let places = Arc::new(Semaphore::new(PARALLEL));
    let looks = TaskTracker::new();
    let mut listener = None;
    while !app.shutdown.is_cancelled() {
        match claim(&app, owner, &places, &looks).await {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the deploy queue can’t be read, trying again")
            }
        }
        wait_for_work(&app, &mut listener).await;
    }
    looks.close();
    looks.wait().await;
}

/// Claims what is due, as long as there is room for another look.
async fn claim(app: &App, owner: Uuid, places: &Arc<Semaphore>, looks: &TaskTracker) -> anyhow::Result<()> {
    while let Ok(place) = places.clone().try_acquire_owned() {
        let mut db = app.db.acquire().await?;
        let Some(id) = store::claim(&mut db, owner, LEASE_SECONDS).await? else { break };
        let deploy = store::load(&mut db, id).await?.context("a claimed deploy is gone")?;
        let app = app.clone();
        looks.spawn(async move {
            let _place = place;
            let id = deploy.id;
            // A panic in one look must not take the others' engine along; the lease hands the deploy on.
            match std::panic::AssertUnwindSafe(carry_on(&app, deploy)).catch_unwind().await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(deploy = %id, error = format!("{error:#}"), "a look failed, trying again")
                }
                Err(_) => tracing::error!(deploy = %id, "a look panicked"),
            }
        });
    }
    Ok(())
}

/// Until a deploy changes, or the next poll. A lost listener is opened again; until then the poll does.
async fn wait_for_work(app: &App, listener: &mut Option<PgListener>) {
    if listener.is_none() {
        *listener = listen(app).await.ok();
    }
    let notified = async {
        match listener.as_mut() {
            Some(open) => open.recv().await.is_ok(),
            None => std::future::pending().await,
        }
    };
    let alive = tokio::select! {
        alive = notified => alive,
        () = tokio::time::sleep(POLL) => true,
        () = app.shutdown.cancelled() => true,
    };
    if !alive {
        *listener = None;
    }
}

async fn listen(app: &App) -> sqlx::Result<PgListener> {
    let mut listener = PgListener::connect_with(&app.db).await?;
    listener.listen("deploys").await?;
    Ok(listener)
}

/// Looks at a claimed deploy, again and again while each look leads on at once: from "queued" to the write there is
/// nothing to wait for.
async fn carry_on(app: &App, mut deploy: Deploy) -> anyhow::Result<()> {
    while look_once(app, &mut deploy).await? == Claim::Held {
        if app.shutdown.is_cancelled() {
            // Another replica shall not have to wait for the lease to end.
            store::rest(&mut *app.db.acquire().await?, &deploy, 0.0, None).await?;
            break;
        }
    }
    Ok(())
}

/// Whether the deploy is still ours after a look.
#[derive(PartialEq, Eq)]
enum Claim {
    Held,
    PutBack,
}

async fn look_once(app: &App, deploy: &mut Deploy) -> anyhow::Result<Claim> {
    let seen = look::observe(app, deploy).await?;
    let now = app.clock.now();
    match next_step(deploy, &seen.decisive, now) {
        Step::Record(event) => record(app, deploy, event, &seen).await,
        Step::Wait { until, note } => {
            rest(app, deploy, (until - now).total(jiff::Unit::Second)?, note, &seen).await
        }
        Step::Stop { why, reason } => match act::stop(app, deploy).await {
            Err(refusal) if refusal.retryable() => {
                let note = Note { sentence: refusal.sentence(), ..Note::default() };
                rest(app, deploy, 1.0, note, &seen).await
            }
            stopped => {
                let why = wording::stopped_because(&why, stopped.err().as_ref());
                let reason = serde_json::to_value(reason).ok();
                record(app, deploy, Event::Failed { why, reason }, &seen).await
            }
        },
        Step::Write => {
            match act::write(app, deploy, &seen, &Lease { app, deploy }).await {
                Wrote::Done(event) => record(app, deploy, event, &seen).await,
                Wrote::Refused(why) => record(app, deploy, Event::Failed { why, reason: None }, &seen).await,
                // It may have landed all the same: the next look finds the marker, or writes the same again.
                Wrote::Unknown(why) => {
                    let note = Note { sentence: why, ..Note::default() };
                    rest(app, deploy, 1.0, note, &seen).await
                }
            }
        }
    }
}

/// Between the look and the write: a deploy that was claimed by somebody else is not written any more, and neither is
/// one whose owner can't be asked.
struct Lease<'a> {
    app: &'a App,
    deploy: &'a Deploy,
}

impl Fence for Lease<'_> {
    async fn stands(&self) -> Result<(), Refusal> {
        let Self { app, deploy } = self;
        let asked = async { store::still_ours(&mut *app.db.acquire().await?, deploy, LEASE_SECONDS).await };
        let refused = match asked.await {
            Ok(true) => return Ok(()),
            Ok(false) => format!("deploy {} has another owner by now", deploy.id),
            Err(error) => format!("the owner of deploy {} can’t be asked: {error}", deploy.id),
        };
        Err(Refusal::Stale { message: refused })
    }
}

/// Writes an event down; the end of a deploy also becomes a release and a row of the audit trail.
async fn record(app: &App, deploy: &mut Deploy, event: Event, seen: &look::Look) -> anyhow::Result<Claim> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    if let Some(progress) = seen.progress(deploy, None) {
        store::rest(&mut tx, deploy, 0.0, Some(&progress)).await?;
    }
    if let Some(log) = &seen.log {
        store::keep_log(&mut tx, deploy.id, log).await?;
    }
    match store::record(&mut tx, deploy, ENGINE, &event, now).await {
        Ok(()) => {}
        // Two deploys of one target raced for the start; the index lets one through, the other queues.
        Err(NotRecorded::Database(error)) if is_one_active(&error) => {
            drop(tx);
            return rest(app, deploy, 1.0, Note::default(), seen).await;
        }
        Err(error) => return Err(error.into()),
    }
    if let Some(change) = deploy.action.change().filter(|_| deploy.state == State::Succeeded) {
        store::release(&mut tx, deploy, change, now).await?;
    }
    if deploy.state.is_end() {
        let entry = Entry {
            action: &format!("{}.end", deploy.action.verb()),
            target: format!("{}/{}", deploy.place.service, deploy.place.environment),
            outcome: deploy.state.name(),
            detail: serde_json::json!({ "deploy": deploy.id, "event": event }),
        };
        events::audit(&mut tx, &deploy.requester, &Origin::engine(), now, entry).await?;
    } else {
        store::hold(&mut tx, deploy, LEASE_SECONDS).await?;
    }
    tx.commit().await?;
    app.counts.forget();
    tracing::info!(deploy = %deploy.id, state = deploy.state.name(), "deploy moved on");
    Ok(if deploy.state.is_end() { Claim::PutBack } else { Claim::Held })
}

fn is_one_active(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.constraint()) == Some("deploys_one_active")
}

async fn rest(
    app: &App,
    deploy: &Deploy,
    seconds: f64,
    note: Note,
    seen: &look::Look,
) -> anyhow::Result<Claim> {
    let mut tx = app.db.begin().await?;
    let progress = seen.progress(deploy, Some(note)).filter(|_| !matches!(seen.decisive, Seen::Nothing));
    store::rest(&mut tx, deploy, seconds.max(0.0), progress.as_ref()).await?;
    if let Some(log) = &seen.log {
        store::keep_log(&mut tx, deploy.id, log).await?;
    }
    if let Some(progress) = &progress
        && let Some(milestone) = milestone(deploy, progress)
    {
        let mut deploy = deploy.clone();
        let event = Event::Noted { text: milestone };
        store::record(&mut tx, &mut deploy, ENGINE, &event, app.clock.now()).await?;
    }
    tx.commit().await?;
    Ok(Claim::PutBack)
}

/// What is worth a line in the timeline: the first new pod that is ready.
fn milestone(deploy: &Deploy, after: &Progress) -> Option<String> {
    let ready = |progress: &Progress| progress.pods.iter().filter(|pod| pod.new && pod.ready).count();
    let had = deploy.progress.as_ref().map_or(0, ready);
    let words = if deploy.runs_a_job() { "Its pod runs" } else { "First new pod ready" };
    (had == 0 && ready(after) > 0).then(|| words.into())
}
