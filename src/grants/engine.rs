//! The engine carries a grant from "approved" to its end: it writes the binding, watches over it, and takes it back.
//! Any number of replicas run one each; a grant is claimed with a lease and a fence (`queue.rs`).
//!
//! One look is: observe → decide (`step.rs`, pure) → act → record. Dying between any two of them loses nothing: the
//! lease ends, another replica claims, and every act is safe to repeat.

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::gates;
use super::grant::{Event, Grant, State, Terms};
use super::step::{Seen, Step, next_step, try_again};
use super::store;
use crate::app::App;
use crate::auth::{KubeIdentity, Person};
use crate::events::{self, Entry, Origin};
use crate::kube::apply::{self, Fence};
use crate::kube::{Refusal, UserClient, bindings};
use crate::queue::{self, LEASE_SECONDS, Queue};

/// The actor of events that nobody but the portal itself makes.
const ENGINE: &str = "Pilothouse";
/// After a write without an answer.
const SOON: SignedDuration = SignedDuration::from_secs(1);

/// Runs until shutdown.
pub async fn run(app: App) {
    queue::run(Engine(app)).await;
}

#[derive(Clone)]
struct Engine(App);

impl Queue for Engine {
    type Row = Grant;
    const NAME: &'static str = "grants";

    fn db(&self) -> &PgPool {
        &self.0.db
    }

    fn shutdown(&self) -> &CancellationToken {
        &self.0.shutdown
    }

    async fn claim(&self, owner: Uuid) -> anyhow::Result<Option<Grant>> {
        let mut db = self.0.db.acquire().await?;
        let Some(id) = store::claim(&mut db, owner, LEASE_SECONDS).await? else { return Ok(None) };
        Ok(Some(store::load(&mut db, id).await?.context("a claimed access request is gone")?))
    }

    async fn look(&self, grant: Grant) -> anyhow::Result<()> {
        let id = grant.id;
        look(&self.0, grant).await.with_context(|| format!("access request {id}"))
    }
}

/// A recorded event wakes the next look, so each one does a single thing.
async fn look(app: &App, grant: Grant) -> anyhow::Result<()> {
    let seen = observe(app, &grant).await?;
    let now = app.clock.now();
    match next_step(&grant, &seen, now) {
        Step::Record(event) => record(app, grant, event).await,
        Step::Wait(until) => rest(app, &grant, until.duration_since(now)).await,
        Step::Bind => bind(app, grant).await,
        Step::Unbind => unbind(app, grant, now).await,
    }
}

/// Looks up what deciding the next step needs, as the person who gave it.
async fn observe(app: &App, grant: &Grant) -> anyhow::Result<Seen> {
    let (State::Granting { grantor, .. } | State::Active { grantor, .. }) = &grant.state else {
        return Ok(Seen::Nothing);
    };
    let grantor = newest(app, grantor).await?;
    let terms = app.config.access_role(&grant.terms.role).map(|role| Terms::of(role, &grant.place.team));
    let may = gates::may_grant(grant, terms.as_ref(), &grantor);
    let user = client(app, grant, &grantor)?;
    Ok(match bindings::exists(&user, &grant.place.namespace, grant.id.0).await {
        Ok(there) => Seen::Binding { there, may },
        Err(refusal) if refusal.retryable() => Seen::Away,
        Err(refusal) => Seen::Closed(refusal.sentence()),
    })
}

async fn bind(app: &App, grant: Grant) -> anyhow::Result<()> {
    let State::Granting { grantor, until } = &grant.state else {
        anyhow::bail!("only an approved request is given");
    };
    let user = client(app, &grant, &newest(app, grantor).await?)?;
    let object = grant.binding(*until).object();
    let lease = Lease { app, grant: &grant };
    match apply::apply(&user, &object, apply::FIELD_MANAGER, &lease).await {
        Ok(_) => record(app, grant, Event::Granted).await,
        // It may have landed all the same: the next look finds it, or writes the same again.
        Err(refusal) if refusal.retryable() => rest(app, &grant, SOON).await,
        Err(refusal) => record(app, grant, Event::Failed { why: refusal.sentence() }).await,
    }
}

async fn unbind(app: &App, grant: Grant, now: Timestamp) -> anyhow::Result<()> {
    let State::Ending { by, since, trouble, .. } = &grant.state else {
        anyhow::bail!("only what ends is taken back");
    };
    let again = try_again(*since, now);
    let user = client(app, &grant, &newest(app, by).await?)?;
    let removed = match (Lease { app, grant: &grant }).stands().await {
        Ok(()) => bindings::remove(&user, &grant.place.namespace, grant.id.0).await,
        Err(refusal) => Err(refusal),
    };
    let why = match removed {
        Ok(()) => return record(app, grant, Event::Ended).await,
        // What is about to pass by itself is no trouble yet.
        Err(Refusal::Stale { .. } | Refusal::Throttled) => return rest(app, &grant, SOON).await,
        Err(refusal) => refusal.sentence(),
    };
    if trouble.as_ref() == Some(&why) {
        return rest(app, &grant, again).await;
    }
    tracing::error!(grant = %grant.id, why, "access could not be taken back: the person still has it");
    record(app, grant, Event::EndRefused { why }).await
}

/// A write is made only by who owns the grant, with a lease that outlives the call.
struct Lease<'a> {
    app: &'a App,
    grant: &'a Grant,
}

impl Fence for Lease<'_> {
    async fn stands(&self) -> Result<(), Refusal> {
        let Self { app, grant } = self;
        let asked = async { store::still_ours(&mut *app.db.acquire().await?, grant, LEASE_SECONDS).await };
        apply::owned(asked.await)
    }
}

async fn newest(app: &App, person: &Person) -> sqlx::Result<Person> {
    store::newest(&mut *app.db.acquire().await?, person).await
}

pub fn client(app: &App, grant: &Grant, person: &Person) -> anyhow::Result<UserClient> {
    let identity = KubeIdentity::new(person, &app.config.oidc.groups_prefix)?;
    Ok(app.clusters.get(&grant.place.cluster).as_user(&identity))
}

async fn rest(app: &App, grant: &Grant, span: SignedDuration) -> anyhow::Result<()> {
    let seconds = span.as_secs_f64().max(0.0);
    Ok(store::rest(&mut *app.db.acquire().await?, grant, seconds).await?)
}

/// Writes an event down, and its row of the audit trail, in the name of whoever it was done for.
async fn record(app: &App, mut grant: Grant, event: Event) -> anyhow::Result<()> {
    let now = app.clock.now();
    let before = grant.state.clone();
    let mut tx = app.db.begin().await?;
    store::record(&mut tx, &mut grant, ENGINE, &event, now).await?;
    let (action, outcome) = match &event {
        Event::Granted => ("access.grant", "done"),
        Event::EndDue { .. } => ("access.end", "due"),
        Event::EndRefused { .. } => ("access.end", "failed"),
        Event::Ended | Event::FoundGone => ("access.end", "done"),
        _ => ("access.end", grant.state.name()),
    };
    let person = match &before {
        State::Granting { grantor, .. } | State::Active { grantor, .. } => grantor,
        State::Ending { by, .. } => by,
        _ => &grant.requester,
    };
    let entry =
        Entry { action, target: grant.target(), outcome, detail: grant.detail(json!({"event": event})) };
    events::audit(&mut tx, person, &Origin::engine(), now, entry).await?;
    tx.commit().await?;
    app.counts.forget();
    tracing::info!(grant = %grant.id, state = grant.state.name(), "access request moved on");
    Ok(())
}
