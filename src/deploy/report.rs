//! What is told of a deploy, on its page and by the API alike: how far it is, how it went or why it does not go on, and
//! what shows it.

use sqlx::PgConnection;

use super::deploy::{Deploy, DeployId};
use super::gates::Verdict;
use super::state::State as At;
use super::store::{self, Decided, Happened};
use super::wording;
use crate::kube::PodState;
use crate::kube::diagnosis::{Evidence, Reason};
use crate::web::filters::clock;

/// A deploy with everything that happened to it.
pub struct Report {
    pub deploy: Deploy,
    pub decided: Vec<Decided>,
    pub happened: Vec<Happened>,
    pub steps: Vec<Step>,
    pub outcome: Option<Outcome>,
    pub evidence: Vec<Shown>,
}

pub struct Step {
    pub title: &'static str,
    pub meta: String,
    /// `done`, `todo`, or the status class of the current one.
    pub state: &'static str,
}

/// The one sentence that says how it went or why it does not go on.
pub struct Outcome {
    pub class: &'static str,
    pub icon: &'static str,
    pub title: String,
    pub text: String,
}

/// A piece of evidence.
pub struct Shown {
    pub title: String,
    pub lines: Vec<String>,
}

impl Report {
    pub async fn of(db: &mut PgConnection, deploy: Deploy) -> sqlx::Result<Self> {
        let decided = store::decisions(db, deploy.id).await?;
        let happened = store::events(db, deploy.id).await?;
        Ok(Self::from(deploy, decided, happened))
    }

    /// Newest first. Those that are not there any more are left out.
    pub async fn of_all(db: &mut PgConnection, ids: &[DeployId]) -> sqlx::Result<Vec<Self>> {
        let deploys = store::load_all(db, ids).await?;
        let mut decided = store::decisions_of(db, ids).await?;
        let mut happened = store::events_of(db, ids).await?;
        Ok(deploys
            .into_iter()
            .map(|deploy| {
                let decided = decided.remove(&deploy.id).unwrap_or_default();
                let happened = happened.remove(&deploy.id).unwrap_or_default();
                Self::from(deploy, decided, happened)
            })
            .collect())
    }

    fn from(deploy: Deploy, decided: Vec<Decided>, happened: Vec<Happened>) -> Self {
        let pods = deploy.progress.as_ref().map(|progress| progress.pods.as_slice()).unwrap_or_default();
        let steps = steps(&deploy, &happened, &decided, pods);
        let (outcome, evidence) = outcome(&deploy, &happened);
        Self { deploy, decided, happened, steps, outcome, evidence }
    }
}

fn steps(deploy: &Deploy, happened: &[Happened], decided: &[Decided], pods: &[PodState]) -> Vec<Step> {
    use super::state::Event;
    let at = |is: fn(&Event) -> bool| happened.iter().find(|it| is(&it.event)).map(|it| it.at);
    let started = at(|event| matches!(event, Event::Started));
    let written = at(|event| matches!(event, Event::Written { .. }));
    let rolled_out = at(|event| matches!(event, Event::RolledOut { .. } | Event::Succeeded));
    let done = at(|event| matches!(event, Event::Succeeded));
    // The first step that is not done is where it stands; after an end that was no success it is where it stopped.
    let mut current = Some(match &deploy.state {
        At::RollingBack { .. } => "bad",
        state => state.class(),
    });
    let mut row = |title, meta: String, is_done: bool| {
        let state = if is_done { "done" } else { current.take().unwrap_or("todo") };
        Step { title, meta, state }
    };
    let mut rows =
        vec![row("Requested", format!("{} · {}", clock(deploy.requested), deploy.requester.name), true)];
    if deploy.glass {
        rows.push(row("Glass broken", "no approval".into(), true));
    }
    if deploy.needs_approval() {
        let yes = decided.iter().filter(|decided| decided.verdict == Verdict::Approve);
        let meta = format!("{} of {} approvals", yes.count(), deploy.policy.approvals);
        rows.push(row("Approval", meta, started.is_some() || matches!(deploy.state, At::Queued)));
    }
    let applied = match (written, started) {
        (Some(at), _) => clock(at),
        (None, Some(_)) => "writing".into(),
        (None, None) => String::new(),
    };
    if deploy.action.migration().is_some() {
        rows.push(row("Job made", applied, written.is_some()));
        rows.push(row("Migrated", done.map(clock).unwrap_or_default(), done.is_some()));
        return rows;
    }
    if let Some(beside) = deploy.beside() {
        let promoted = at(|event| matches!(event, Event::Promoted));
        let meta = promoted.map_or_else(|| wording::how_far_beside(deploy, beside), clock);
        rows.push(row(wording::step_beside(deploy), meta, promoted.is_some()));
    }
    rows.push(row("Applied", applied, written.is_some()));
    let began_back = at(|event| matches!(event, Event::RollbackBegan { .. }));
    let (ready, wanted) = ready(deploy, pods);
    let rollout = match began_back {
        // Its pods are those of what is put back.
        Some(at) => clock(at),
        None if written.is_some() && wanted > 0 => format!("{ready} of {wanted} pods"),
        None => String::new(),
    };
    rows.push(row("Rolling out", rollout, rolled_out.is_some()));
    let soak = match (done, deploy.policy.soak_seconds) {
        (Some(at), _) => clock(at),
        (None, 0) => "no soak here".into(),
        (None, seconds) => format!("{seconds} s without trouble"),
    };
    if began_back.is_none() || rolled_out.is_some() {
        rows.push(row("Verified", soak, done.is_some()));
    }
    if let Some(began) = began_back {
        let back = at(|event| matches!(event, Event::RolledBack));
        // It stopped before; this is where it stands now.
        let state = if back.is_some() { "done" } else { deploy.state.class() };
        rows.push(Step { title: "Rolled back", meta: clock(back.unwrap_or(began)), state });
    }
    rows
}

/// Ready pods of the new kind, and how many there are to be.
pub fn ready(deploy: &Deploy, pods: &[PodState]) -> (usize, usize) {
    let progress = deploy.progress.as_ref().and_then(|progress| progress.note.progress.as_ref());
    let new = pods.iter().filter(|pod| pod.new);
    let ready = new.clone().filter(|pod| pod.ready).count();
    let wanted =
        progress.map_or(new.count(), |progress| usize::try_from(progress.wanted).unwrap_or_default());
    (ready, wanted)
}

/// How it ended, or why it does not go on, with what shows it.
fn outcome(deploy: &Deploy, happened: &[Happened]) -> (Option<Outcome>, Vec<Shown>) {
    use super::state::Event;
    let say =
        |class, icon, title: &str, text: String| Some(Outcome { class, icon, title: title.into(), text });
    let note = deploy.progress.as_ref().map(|progress| &progress.note);
    match &deploy.state {
        At::RolledBack { why, to } => {
            let text = format!("{} was put back and runs again.", to.version);
            (say("bad", "undo-2", why, text), began(happened))
        }
        At::RollbackFailed { why, failure, to } => {
            let title = format!("{why} {} could not be put back: {failure}", to.version);
            let mut text = wording::by_hand(&deploy.place, to);
            text.extend(wording::beside_by_hand(deploy));
            (say("bad", "octagon-x", &title, text), began(happened))
        }
        At::RollingBack { why, to, .. } => {
            let title = format!("{why} {} is put back.", to.version);
            let sentence = note.map(|note| note.sentence.clone()).unwrap_or_default();
            (say("warn", "undo-2", &title, sentence), began(happened))
        }
        At::Failed { why } => {
            let stored = happened.iter().rev().find_map(|it| match &it.event {
                Event::Failed { reason, .. } => reason.clone(),
                _ => None,
            });
            let reason: Option<Reason> = stored.and_then(|value| serde_json::from_value(value).ok());
            let next = reason.as_ref().map(|reason| reason.action.clone()).unwrap_or_default();
            let next = match untouched(deploy, happened) {
                true => format!("{} {next}", wording::never_replaced(deploy)).trim().into(),
                false => next,
            };
            let evidence = reason.map(|reason| rows(&reason.evidence)).unwrap_or_default();
            (say("bad", "octagon-x", why, next), evidence)
        }
        At::Superseded { why } => {
            (say("warn", "triangle-alert", why, wording::ask_again(deploy)), Vec::new())
        }
        At::Rejected { by, note } => {
            (say("bad", "circle-x", &format!("{by} rejected it"), format!("“{note}”")), Vec::new())
        }
        At::Expired => {
            (say("idle", "hourglass", "Nobody decided in time", wording::ask_again(deploy)), Vec::new())
        }
        At::Cancelled { by } => {
            (say("idle", "circle-x", &format!("{by} withdrew it"), "Nothing was changed.".into()), Vec::new())
        }
        At::RollingOut { .. } if deploy.runs_a_job() && note.is_some_and(|note| note.reason.is_none()) => {
            let sentence = note.map(|note| note.sentence.as_str()).filter(|sentence| !sentence.is_empty());
            (sentence.and_then(|sentence| say("prog", "database", sentence, String::new())), Vec::new())
        }
        At::RollingOut { .. } => {
            let reason = note.and_then(|note| note.reason.as_ref());
            let outcome = reason
                .and_then(|reason| say("warn", "triangle-alert", &reason.sentence, reason.action.clone()));
            (outcome, reason.map(|reason| rows(&reason.evidence)).unwrap_or_default())
        }
        At::Shifting { .. } if note.is_some_and(|note| note.reason.is_some()) => {
            let reason = note.and_then(|note| note.reason.as_ref());
            let outcome = reason
                .and_then(|reason| say("warn", "triangle-alert", &reason.sentence, reason.action.clone()));
            (outcome, reason.map(|reason| rows(&reason.evidence)).unwrap_or_default())
        }
        At::Shifting { .. } if deploy.waits_for_a_hand() => {
            let title = note.map(|note| note.sentence.as_str()).filter(|sentence| !sentence.is_empty());
            let unmeasured = happened.iter().rev().find_map(|it| match &it.event {
                Event::Unmeasured { why } => Some(format!("{}.", wording::unmeasured(why))),
                Event::BesideReady { .. } => Some(String::new()),
                _ => None,
            });
            let title = title.unwrap_or(wording::WAITS_FOR_A_HAND);
            (say("hold", "play", title, unmeasured.unwrap_or_default()), Vec::new())
        }
        At::Shifting { stopped_by: Some(by), .. } => {
            (say("prog", "hourglass", &wording::stopped_beside(by), String::new()), Vec::new())
        }
        At::Queued | At::Applying { .. } | At::Shifting { .. } => {
            let sentence = note.map(|note| note.sentence.as_str()).filter(|sentence| !sentence.is_empty());
            (sentence.and_then(|sentence| say("prog", "hourglass", sentence, String::new())), Vec::new())
        }
        At::Requested | At::AwaitingApproval { .. } | At::Verifying { .. } | At::Succeeded => {
            (None, Vec::new())
        }
    }
}

/// It was only ever tried beside what runs.
fn untouched(deploy: &Deploy, happened: &[Happened]) -> bool {
    use super::state::Event;
    let had = |is: fn(&Event) -> bool| happened.iter().any(|it| is(&it.event));
    deploy.beside().is_some()
        && had(|event| matches!(event, Event::ShiftBegan))
        && !had(|event| matches!(event, Event::Promoted))
}

/// What showed that it had to be rolled back.
fn began(happened: &[Happened]) -> Vec<Shown> {
    let stored = happened.iter().rev().find_map(|it| match &it.event {
        super::state::Event::RollbackBegan { reason, .. } => reason.clone(),
        _ => None,
    });
    let reason: Option<Reason> = stored.and_then(|value| serde_json::from_value(value).ok());
    reason.map(|reason| rows(&reason.evidence)).unwrap_or_default()
}

fn rows(evidence: &[Evidence]) -> Vec<Shown> {
    evidence
        .iter()
        .map(|item| match item {
            Evidence::Event { object, text, .. } => {
                Shown { title: format!("Event of {object}"), lines: vec![text.clone()] }
            }
            Evidence::Log { pod, container, lines } => {
                Shown { title: format!("Last log lines of {container} in {pod}"), lines: lines.clone() }
            }
            Evidence::Probe { text } => Shown { title: "Probe".into(), lines: vec![text.clone()] },
            Evidence::Condition { text } => Shown { title: "Condition".into(), lines: vec![text.clone()] },
        })
        .collect()
}
