//! Deciding: a person with the right says yes or no to exactly what the page showed. An approval is tried out on the
//! cluster first, as that person: nobody can hand out what the cluster does not let them.

use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::json;

use super::gates::{self, Refusal};
use super::grant::{Event, Grant, GrantId, Terms};
use super::{engine, show, store};
use crate::app::App;
use crate::auth::CurrentUser;
use crate::deploy::{Digest, Verdict};
use crate::events::{self, Entry, Origin};
use crate::kube::bindings;
use crate::web::form::VerifiedForm;
use crate::web::{Error, Layout, Result};

/// What the approver had on screen. Part of the form, so that a stale page can't approve anything else.
#[derive(Deserialize)]
pub struct Decision {
    pub decision: Verdict,
    #[serde(default)]
    pub note: String,
    pub seen: Digest,
}

/// `POST /access/{id}/decision`
pub async fn decide(
    Shared(app): Shared<App>,
    user: CurrentUser,
    layout: Layout,
    origin: Origin,
    Path(id): Path<GrantId>,
    form: VerifiedForm<Decision>,
) -> Result<Response> {
    let decision = form.into_inner();
    match take(&app, &user, &origin, id, &decision).await? {
        Ok(grant) => Ok(Redirect::to(&grant.url()).into_response()),
        Err(refusal) => {
            let grant = show::visible(&app, &user, id).await?;
            show::answer(&app, &user, layout, grant, Some(&refusal), &decision.note).await
        }
    }
}

/// Takes a person's decision: records it, or, where the rules changed meanwhile, that nothing comes of the request.
pub async fn take(
    app: &App,
    user: &CurrentUser,
    origin: &Origin,
    id: GrantId,
    decision: &Decision,
) -> Result<std::result::Result<Grant, Refusal>> {
    let before = show::visible(app, user, id).await?;
    let now = app.clock.now();
    let moved = moved(app, &before);
    // Asked before the transaction, because a cluster may take its time and a row must not wait for it.
    if decision.decision == Verdict::Approve
        && moved.is_none()
        && gates::may_decide(user, &before, now).is_ok()
        && let Err(refusal) = try_out(app, user, &before).await?
    {
        return Ok(Err(refusal));
    }

    let mut tx = app.db.begin().await?;
    let mut grant = store::lock(&mut tx, id).await?.ok_or(Error::NotFound)?;
    let allowed = gates::may_decide(user, &grant, now)
        .and_then(|()| gates::is_sound(decision.decision, &decision.note, &decision.seen, &grant));
    if let Err(refusal) = allowed {
        tx.rollback().await?;
        return Ok(Err(refusal));
    }

    // Postgres has no NUL in its texts.
    let note = decision.note.trim().replace('\0', "");
    let (action, event) = match (decision.decision, moved) {
        (Verdict::Reject, _) => ("access.reject", Event::Refused { note: note.clone() }),
        (Verdict::Approve, Some(moved)) => ("access.void", Event::Failed { why: moved.sentence() }),
        (Verdict::Approve, None) => {
            let until = now + grant.lasts();
            ("access.approve", Event::Approved { grantor: (**user).clone(), note: note.clone(), until })
        }
    };
    store::record(&mut tx, &mut grant, &user.name, &event, now).await?;
    let detail = grant.detail(json!({ "digest": grant.digest, "note": note }));
    let entry = Entry { action, target: grant.target(), outcome: grant.state.name(), detail };
    events::audit(&mut tx, user, origin, now, entry).await?;
    tx.commit().await?;
    app.counts.forget();
    Ok(Ok(grant))
}

/// What is no longer as it was asked for.
fn moved(app: &App, grant: &Grant) -> Option<gates::Moved> {
    let terms = app.config.access_role(&grant.terms.role).map(|role| Terms::of(role, &grant.place.team));
    (terms.as_ref() != Some(&grant.terms)).then_some(gates::Moved::Terms)
}

/// Whether the cluster would let this person give it: a dry run of the very binding.
pub async fn try_out(
    app: &App,
    user: &CurrentUser,
    grant: &Grant,
) -> Result<std::result::Result<(), Refusal>> {
    let client = engine::client(app, grant, user)?;
    let binding = grant.binding(app.clock.now() + grant.lasts());
    match bindings::try_out(&client, &binding).await {
        Ok(()) => Ok(Ok(())),
        // Unknown is closed: nobody approves what can't be checked.
        Err(refusal) if refusal.retryable() => {
            let sentence = refusal.sentence();
            Err(Error::Unavailable(format!("{sentence} Nothing can be approved until it answers.")))
        }
        Err(refusal) => {
            let platform: Vec<String> = app.config.access.platform.iter().cloned().collect();
            let who = refusal.who_can_grant(&platform).map(|who| format!(" {who}")).unwrap_or_default();
            Ok(Err(Refusal::Cluster(format!("{}{who}", refusal.sentence()))))
        }
    }
}
