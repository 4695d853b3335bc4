//! Deciding: a person with the right says yes or no to exactly what will run. The page shows a digest, the click
//! names that digest, and one transaction re-reads everything and either records the decision or says what moved.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::Deserialize;
use sqlx::types::Json;

use super::confirm;
use super::deploy::{Deploy, DeployId, Digest};
use super::gates::{self, Refusal, Verdict};
use super::look::{self, Missing};
use super::show;
use super::state::{Event, State as At};
use super::store;
use crate::app::App;
use crate::auth::{CurrentUser, DecidingUser};
use crate::events::{self, Entry, Origin};
use crate::web::form::VerifiedForm;
use crate::web::{Error, Layout, Result};

/// What the approver had on screen. Part of the form, so a stale page can't approve new bytes.
#[derive(Deserialize)]
pub struct Decision {
    pub decision: Verdict,
    #[serde(default)]
    pub note: String,
    pub seen: Digest,
    /// The service's name, where it has to be typed.
    #[serde(default)]
    pub confirm: String,
}

/// `POST /deploys/{id}/approval`
pub async fn decide(
    State(app): State<App>,
    user: DecidingUser,
    layout: Layout,
    origin: Origin,
    Path(id): Path<DeployId>,
    form: VerifiedForm<Decision>,
) -> Result<Response> {
    let decision = form.into_inner();
    match take(&app, &user, &origin, id, &decision).await? {
        Ok(deploy) => Ok(Redirect::to(&deploy.url()).into_response()),
        Err(refusal) => refused(&app, &user, layout, id, &refusal, &decision.note).await,
    }
}

/// Takes a person's decision: records it, or, where something moved meanwhile, that the request is void.
pub async fn take(
    app: &App,
    user: &DecidingUser,
    origin: &Origin,
    id: DeployId,
    decision: &Decision,
) -> Result<std::result::Result<Deploy, Refusal>> {
    let Decision { decision, note, seen, confirm } = decision;
    let decision = *decision;
    // Asked before the transaction, because a cluster or a registry may take its time and a row must not wait for it.
    let before = show::visible(app, user, id).await?;
    if let Some(name) = confirm::name_to_type(app, &before.place, &before.policy)
        && decision == Verdict::Approve
        && confirm.trim() != name
    {
        return Ok(Err(Refusal::NameNeeded(name)));
    }
    let moved = match decision {
        Verdict::Approve if matches!(before.state, At::AwaitingApproval { .. }) => {
            moved(app, &before).await?
        }
        Verdict::Approve | Verdict::Reject => None,
    };

    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let mut deploy = store::lock(&mut tx, id).await?.ok_or(Error::NotFound)?;
    let decided: Vec<_> =
        store::decisions(&mut tx, id).await?.into_iter().map(|decided| decided.person.identity).collect();

    let allowed = gates::may_decide(user, &deploy, &decided, now)
        .and_then(|()| gates::is_sound(decision, note, seen, &deploy));
    if let Err(refusal) = allowed {
        tx.rollback().await?;
        return Ok(Err(refusal));
    }
    if let Some(why) = moved {
        let event = Event::Superseded { why };
        store::record(&mut tx, &mut deploy, super::engine::ENGINE, &event, now).await?;
        audit(&mut tx, user, origin, &deploy, "deploy.void", now, note).await?;
    } else {
        insert(&mut tx, user, &deploy, decision, note, now).await?;
        for event in outcome(app, &mut tx, &deploy, decision, note, now).await? {
            store::record(&mut tx, &mut deploy, &user.name, &event, now).await?;
        }
        let action = if decision == Verdict::Approve { "deploy.approve" } else { "deploy.reject" };
        audit(&mut tx, user, origin, &deploy, action, now, note).await?;
    }
    tx.commit().await?;
    app.counts.forget();
    Ok(Ok(deploy))
}

/// What moved since the request, in words; None while everything still is as it was asked for.
async fn moved(app: &App, deploy: &Deploy) -> Result<Option<String>> {
    match look::facts(app, deploy).await {
        Ok(facts) => Ok(gates::what_moved(deploy, &facts).map(|moved| moved.sentence())),
        // Unknown is closed: nobody approves what can't be checked.
        Err(Missing::Away(why)) => {
            Err(Error::Unavailable(format!("{why} Nothing can be approved until it answers.")))
        }
        Err(Missing::Fault(error)) => Err(Error::Internal(error)),
    }
}

/// A refused decision shows the deploy again, with the sentence on top and the note still there.
async fn refused(
    app: &App,
    user: &CurrentUser,
    layout: Layout,
    id: DeployId,
    refusal: &Refusal,
    note: &str,
) -> Result<Response> {
    let deploy = show::visible(app, user, id).await?;
    show::answer(app, user, layout, deploy, Some(refusal), note).await
}

async fn insert(
    tx: &mut sqlx::PgConnection,
    user: &CurrentUser,
    deploy: &Deploy,
    verdict: Verdict,
    note: &str,
    now: jiff::Timestamp,
) -> Result<()> {
    sqlx::query!(
        "insert into approvals (deploy, issuer, subject, person, verdict, note, seen, at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        deploy.id.0,
        user.identity.issuer,
        user.identity.subject,
        Json(&**user) as _,
        if verdict == Verdict::Approve { "approve" } else { "reject" },
        note.trim(),
        deploy.digest.0,
        now.to_sqlx() as _,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The events that follow from a decision: the last approval also queues the deploy, by itself.
async fn outcome(
    app: &App,
    tx: &mut sqlx::PgConnection,
    deploy: &Deploy,
    verdict: Verdict,
    note: &str,
    now: Timestamp,
) -> Result<Vec<Event>> {
    let note = note.trim().to_string();
    if verdict == Verdict::Reject {
        return Ok(vec![Event::Rejected { note }]);
    }
    let needed = deploy.policy.approvals;
    let have = gates::approvals_that_count(deploy, &store::approvers(tx, deploy.id).await?);
    let mut events = vec![Event::Approved { note, have, needed }];
    if have >= needed {
        events.push(Event::Queued { behind: store::ahead(tx, &app.config, deploy, now).await? });
    }
    Ok(events)
}

async fn audit(
    tx: &mut sqlx::PgConnection,
    user: &CurrentUser,
    origin: &Origin,
    deploy: &Deploy,
    action: &str,
    now: jiff::Timestamp,
    note: &str,
) -> Result<()> {
    let entry = Entry {
        action,
        target: format!("{}/{}", deploy.place.service, deploy.place.environment),
        outcome: deploy.state.name(),
        detail: serde_json::json!({ "deploy": deploy.id, "digest": deploy.digest, "note": note.trim() }),
    };
    Ok(events::audit(tx, user, origin, now, entry).await?)
}
