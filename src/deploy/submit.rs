//! Asking for a change: one transaction inserts the deploy, its first events and the audit row. From the moment it
//! commits, the change is the engine's to carry out, whatever happens to this process.

use super::checks::Check;
use super::deploy::{Action, DeployId, Digest, Place, Policy, ShownDiff};
use super::glass::{self, Unapproved};
use super::state::Event;
use super::store::{self, NewDeploy};
use super::wording;
use crate::app::App;
use crate::auth::{CurrentUser, machine};
use crate::events::{self, Entry, Origin};
use crate::web::{Error, Result};

/// A change that passed every check.
pub struct Ask<'a> {
    pub place: &'a Place,
    pub policy: &'a Policy,
    pub action: &'a Action,
    pub reason: &'a str,
    pub shown: &'a [ShownDiff],
    pub checks: &'a [Check],
    /// Go ahead without the approval that is asked for here.
    pub glass: bool,
    /// From the form: sending it twice makes one deploy.
    pub key: &'a str,
}

/// What came of asking.
pub enum Answer<Refused> {
    /// It was asked for before, with the same key.
    Before(DeployId),
    Asked(DeployId),
    Refused(Refused),
}

/// The deploy that this person asked for with the same key. To be looked up before anything is checked again: the
/// first request may be rolling out by now, and a repeated one would be refused for what it has itself begun.
pub async fn asked_before(
    app: &App,
    user: &CurrentUser,
    service: &str,
    environment: &str,
    key: Option<&str>,
) -> Result<Option<DeployId>> {
    let Some(key) = key.and_then(|key| user.identity.stored_key(key)) else { return Ok(None) };
    let id = sqlx::query_scalar!(
        "select id from deploys where service = $1 and environment = $2 and idempotency_key = $3",
        service,
        environment,
        key,
    )
    .fetch_optional(&app.db)
    .await?;
    Ok(id.map(DeployId))
}

/// Refuses what is no business of a machine, before anything is looked up for it. Persons are bounded by their clusters.
pub fn in_bounds(app: &App, user: &CurrentUser, service: &str, team: &str, environment: &str) -> Result<()> {
    machine::may_change(&app.config, &user.identity, team, environment)
        .map_err(|why| Error::Forbidden(wording::out_of_bounds(why, service, team, environment)))
}

/// Stores the request and wakes the engine. The same key answers with the same deploy.
pub async fn submit(app: &App, user: &CurrentUser, origin: &Origin, ask: Ask<'_>) -> Result<DeployId> {
    let Place { service, team, environment, cluster, namespace } = ask.place;
    in_bounds(app, user, service, team, environment)?;
    let now = app.clock.now();
    let digest = Digest::of(ask.place, ask.action, ask.policy);
    let key = user.identity.stored_key(ask.key);
    let mut tx = app.db.begin().await?;
    let new = NewDeploy {
        place: ask.place,
        action: ask.action,
        requester: user,
        reason: ask.reason,
        policy: ask.policy,
        digest: &digest,
        shown: ask.shown,
        checks: ask.checks.iter().map(Check::made).collect(),
        idempotency_key: key.as_deref(),
    };
    let id = match store::insert(&mut tx, new, now).await? {
        Ok(id) => id,
        Err(earlier) => return Ok(earlier),
    };
    let mut deploy = store::load(&mut tx, id).await?.ok_or(Error::NotFound)?;
    store::record(&mut tx, &mut deploy, &user.name, &Event::Requested { reason: ask.reason.into() }, now)
        .await?;
    let target = format!("{service}/{environment}");
    // Where no approval is missing there is no glass.
    deploy.glass = ask.glass && deploy.needs_approval();
    if deploy.glass {
        let unapproved = Unapproved {
            deploy: Some(id),
            title: ask.action.title(service),
            target: &target,
            environment,
            team,
            cluster,
            namespace,
            by: user,
            reason: ask.reason,
        };
        glass::note(&mut tx, &app.config, &unapproved, now).await?;
        store::record(&mut tx, &mut deploy, &user.name, &Event::GlassBroken, now).await?;
    }

    if matches!(ask.action, Action::RollBack { .. }) {
        give_way(&mut tx, user, ask.place, id, now).await?;
    }
    let next = if deploy.needs_approval() {
        Event::ApprovalAsked { needed: ask.policy.approvals, expires: now + ask.policy.expires() }
    } else {
        Event::Queued { behind: store::ahead(&mut tx, &app.config, &deploy, now).await? }
    };
    store::record(&mut tx, &mut deploy, &user.name, &next, now).await?;
    let entry = Entry {
        action: &format!("{}.{}", ask.action.verb(), if deploy.glass { "break_glass" } else { "request" }),
        target,
        outcome: deploy.state.name(),
        detail: serde_json::json!({
            "deploy": id,
            "change": ask.action.short(),
            "digest": digest,
            "reason": ask.reason,
            "took_over": ask.action.change().and_then(|change| change.take_over.as_ref()),
        }),
    };
    events::audit(&mut tx, user, origin, now, entry).await?;
    tx.commit().await?;
    app.counts.forget();
    Ok(id)
}

/// A rollback does not wait for the rollout it undoes: what is rolling out on its target ends here. Its write is in
/// the cluster already, so nothing of it can land later. A migration's Job still works, so that is waited for.
async fn give_way(
    tx: &mut sqlx::PgConnection,
    user: &CurrentUser,
    place: &Place,
    by: DeployId,
    now: jiff::Timestamp,
) -> Result<()> {
    let moving = sqlx::query_scalar!(
        "select id from deploys
         where service = $1 and environment = $2 and id <> $3 and state in ('rolling_out', 'verifying')
           and action ->> 'kind' <> 'migrate'
         for update",
        place.service,
        place.environment,
        by.0,
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(moving) = moving else { return Ok(()) };
    let Some(mut moving) = store::lock(&mut *tx, DeployId(moving)).await? else { return Ok(()) };
    let why = format!("{} rolled back with deployment {by} while it rolled out.", user.name);
    store::record(tx, &mut moving, &user.name, &Event::Superseded { why }, now).await?;
    Ok(())
}
