//! The engine carries deploys from "queued" to their end. Any number of replicas run one each; a deploy is claimed
//! with a lease (the database's clock) and a fence that grows with every claim, and put back as soon as it has to wait.
//!
//! One look is: observe → decide (`step.rs`, pure) → act → record. Dying between any two of them loses nothing: the
//! lease ends, another replica claims, and every act is safe to repeat.

use anyhow::Context;
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::act::{self, Wrote};
use super::deploy::{Deploy, Progress};
use super::reads::{self, Prints};
use super::state::{Event, State};
use super::step::{Note, Seen, Step, leaves_beside, next_step, not_taken_away, refused};
use super::store::{self, NotRecorded};
use super::wording;
use super::{glass, look};
use crate::app::App;
use crate::events::{self, Entry, Origin};
use crate::kube::Refusal;
use crate::kube::apply::{self, Fence};
use crate::queue::{self, LEASE_SECONDS, Queue};

/// The actor of events that nobody but the portal itself makes.
pub const ENGINE: &str = "Pilothouse";

/// Runs until shutdown.
pub async fn run(app: App) {
    queue::run(Engine(app)).await;
}

#[derive(Clone)]
struct Engine(App);

impl Queue for Engine {
    type Row = Deploy;
    const NAME: &'static str = "deploys";

    fn db(&self) -> &PgPool {
        &self.0.db
    }

    fn shutdown(&self) -> &CancellationToken {
        &self.0.shutdown
    }

    async fn claim(&self, owner: Uuid) -> anyhow::Result<Option<Deploy>> {
        let mut db = self.0.db.acquire().await?;
        let Some(id) = store::claim(&mut db, owner, LEASE_SECONDS).await? else { return Ok(None) };
        Ok(Some(store::load(&mut db, id).await?.context("a claimed deploy is gone")?))
    }

    async fn look(&self, deploy: Deploy) -> anyhow::Result<()> {
        let id = deploy.id;
        carry_on(&self.0, deploy).await.with_context(|| format!("deploy {id}"))
    }
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
        Step::TakeAway { then } => take_away(app, deploy, then, &seen).await,
        Step::Write => {
            match act::write(app, deploy, &seen, &Lease { app, deploy }).await {
                Wrote::Done(event) => record(app, deploy, event, &seen).await,
                Wrote::Refused(why) => {
                    let event = refused(deploy, why);
                    match leaves_beside(deploy, &seen.decisive, &event) {
                        true => take_away(app, deploy, event, &seen).await,
                        false => record(app, deploy, event, &seen).await,
                    }
                }
                // It may have landed all the same: the next look finds the marker, or writes the same again.
                Wrote::Unknown(why) => {
                    let note = Note { sentence: why, ..Note::default() };
                    rest(app, deploy, 1.0, note, &seen).await
                }
            }
        }
    }
}

/// Takes away what the deploy made beside what runs, then writes down what happened, and whether it stayed.
async fn take_away(app: &App, deploy: &mut Deploy, then: Event, seen: &look::Look) -> anyhow::Result<Claim> {
    match act::take_away(app, deploy, &Lease { app, deploy }).await {
        Ok(()) => record(app, deploy, then, seen).await,
        Err(refusal) if refusal.retryable() => {
            let note = Note { sentence: refusal.sentence(), ..Note::default() };
            rest(app, deploy, 1.0, note, seen).await
        }
        Err(refusal) => {
            let still_there = wording::still_there(&act::made_beside(deploy), &refusal.sentence());
            record(app, deploy, not_taken_away(then, still_there), seen).await
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
        apply::owned(asked.await)
    }
}

/// Writes an event down; the end of a deploy also becomes a release and a row of the audit trail.
async fn record(app: &App, deploy: &mut Deploy, event: Event, seen: &look::Look) -> anyhow::Result<Claim> {
    let now = app.clock.now();
    let reads = match event {
        Event::Succeeded | Event::RolledBack if deploy.action.change().is_some() => {
            look::reads(app, deploy).await
        }
        _ => None,
    };
    let mut tx = app.db.begin().await?;
    if let Some(progress) = seen.progress(deploy, None) {
        store::rest(&mut tx, deploy, 0.0, Some(&progress)).await?;
    }
    if let Some(log) = &seen.log {
        store::keep_log(&mut tx, deploy.id, log).await?;
    }
    if let Some(noted) = not_brought_back(&mut tx, deploy, reads.as_ref()).await? {
        store::record(&mut tx, deploy, ENGINE, &noted, now).await?;
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
        store::release(&mut tx, deploy, change, reads.as_ref(), now).await?;
    }
    // Each of these events leads to it once; a look that changes nothing records none.
    if deploy.state.is_end() || deploy.waits_for_a_hand() {
        glass::tell_who_wanted_it(&mut tx, deploy, now).await?;
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

/// What was put back may read something else than when it ran well, and whoever looks should know.
async fn not_brought_back(
    tx: &mut PgConnection,
    deploy: &Deploy,
    now: Option<&Prints>,
) -> sqlx::Result<Option<Event>> {
    let (State::RollingBack { to, .. }, Some(now)) = (&deploy.state, now) else { return Ok(None) };
    let before = store::last_good_reads(tx, &deploy.place, &to.version).await?.unwrap_or_default();
    let changed = reads::changed(&before, now);
    Ok((!changed.is_empty()).then(|| Event::Noted { text: wording::not_brought_back(&changed, &to.version) }))
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
