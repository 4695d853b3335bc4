//! Every sentence of this slice, in one place, so that one person can read and improve them all: here of states, events,
//! refusals and news; of what the pods need in needs.rs, of the ways to take over in ways.rs, of broken glass in glass.rs.

mod glass;
mod needs;
mod ways;

pub use glass::*;
pub use needs::*;
pub use ways::*;

use jiff::Timestamp;

use super::checks::{Check, capitalised};
use super::deploy::{Action, Deploy, ImageChange, Place, Size};
use super::gates::{Moved, Refusal};
use super::state::{Event, Stage, State};
use super::strategy::Strategy;
use crate::auth::OutOfBounds;
use crate::config::Frozen;
use crate::kube::LiveWorkload;
use crate::kube::workload::Reach;
use crate::web::filters::{clock, short_digest, until};

impl Refusal {
    pub fn sentence(&self) -> String {
        self.about("deploy")
    }

    /// The sentence about a thing of another kind that waits for approval ("access request").
    pub fn about(&self, thing: &str) -> String {
        match self {
            Self::NotWaiting(state) => format!("This {thing} no longer waits for approval: it is {state}."),
            Self::Expired(at) => {
                format!("This request expired at {}. It has to be asked for again.", clock(*at))
            }
            Self::OwnRequest => format!("You asked for this {thing}, so somebody else has to approve it."),
            Self::OwnPipeline => {
                format!(
                    "You set off the pipeline that asks for this {thing}, so somebody else has to approve it."
                )
            }
            Self::Machine => "Machines ask for changes; people decide on them.".into(),
            Self::NotAnApprover(groups) => {
                format!("Members of {} can approve this. You are in none of those groups.", any_of(groups))
            }
            Self::DecidedAlready => "You have decided already. Each person counts once.".into(),
            Self::SeenOther => {
                "What would run is not what your page showed. Look at it again, then decide.".into()
            }
            Self::NoteNeeded => "Say why. The requester reads it, and it is kept in the audit trail.".into(),
            Self::NameNeeded(name) => format!("Type {name} to confirm. Nothing was approved."),
            Self::TooLateToCancel(state) => {
                format!(
                    "This deploy is {}, so there is nothing left to cancel. Roll back instead.",
                    words(state)
                )
            }
            Self::TooLateToStop(state) => {
                format!("This migration is {}, so there is nothing left to stop.", words(state))
            }
            Self::NothingToPromote(state) => {
                format!("This deploy is {}, so it waits for nobody to go on.", words(state))
            }
            Self::NotYoursToPromote(groups) if groups.is_empty() => {
                "Only the person who asked can say that it goes on.".into()
            }
            Self::NotYoursToPromote(groups) => {
                format!("The person who asked and members of {} can say that it goes on.", any_of(groups))
            }
            Self::NotYoursToCancel => {
                "Only the person who asked can withdraw this deploy. An approver can reject it.".into()
            }
            Self::GlassByMachine => "Machines wait for approval; only a person breaks the glass.".into(),
            Self::NoGlass(environment) => format!("Nobody may break the glass in {environment}."),
            Self::NotAGlassBreaker { environment, groups } => format!(
                "Members of {} may break the glass in {environment}. You are in none of those groups.",
                any_of(groups)
            ),
            Self::OwnGlass => "You broke the glass, so somebody else has to sign it off.".into(),
            Self::PerhapsOwnGlass(groups) => format!(
                "The cluster does not say who did this, and it may have been anybody in {}. You are, so somebody \
                 else has to sign it off.",
                any_of(groups)
            ),
            Self::NotAReviewer(groups) => {
                format!("Members of {} can sign this off. You are in none of those groups.", any_of(groups))
            }
            Self::SignedOffAlready(name) => format!("{name} has signed this off already."),
            Self::FindingNeeded => "Say what you found. It is kept in the audit trail.".into(),
        }
    }
}

/// Why a machine may not ask for a change.
pub fn out_of_bounds(why: OutOfBounds, service: &str, team: &str, environment: &str) -> String {
    match why {
        OutOfBounds::Gone => "This machine is no longer in the portal’s configuration.".into(),
        OutOfBounds::Team => {
            format!("{service} is a service of {team}, and this machine belongs to another team.")
        }
        OutOfBounds::Environment => format!(
            "This machine may not change {environment}. The environments it may change stand in the portal’s configuration."
        ),
    }
}

impl Moved {
    /// What moved; the page adds who has to act.
    pub fn sentence(&self) -> String {
        match self {
            Self::Environment => "The environment is no longer in the portal’s configuration.".into(),
            Self::Policy => "The rules of this environment changed after it was asked for.".into(),
            Self::Tag { was, is } => format!(
                "The image behind the tag changed: asked for was {}, the tag now is {}.",
                short_digest(was),
                short_digest(is)
            ),
            Self::NewerRelease { version } => {
                format!("{version} was released here after this was asked for.")
            }
            Self::Running => "What runs here is not what ran when this was asked for.".into(),
            Self::RequesterLostRight => "The person who asked may no longer change this workload.".into(),
            Self::ApprovalsLost { have, needed } => {
                format!("{have} of {needed} approvals still count: an approver lost the right to approve.")
            }
            Self::GlassLost => "The person who asked may no longer break the glass here.".into(),
        }
    }
}

/// "v1.0.0 to v1.1.0", or the version alone where nothing ran.
pub fn from_to(from: &str, to: &str) -> String {
    if from.is_empty() { to.into() } else { format!("{from} to {to}") }
}

/// What happens when somebody approves; `last`: nobody else has to.
pub fn what_approving_does(deploy: &Deploy, last: bool) -> String {
    let environment = &deploy.place.environment;
    let title = deploy.action.title(&deploy.place.service);
    if last {
        format!("Yours is the last approval, so this starts in {environment} at once: {title}.")
    } else {
        format!("{title} waits for more approvals after yours before anything changes in {environment}.")
    }
}

/// "payments-managers or platform".
pub fn any_of(groups: &[String]) -> String {
    match groups {
        [] => "no group".into(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}

/// "a, b and c"
fn all_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).into(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// What the checks beside a form come to: "4 passed, 1 fails".
pub fn tally(checks: &[Check]) -> String {
    let count = |class| checks.iter().filter(|check| check.class == class).count();
    match (count("ok"), count("bad")) {
        (passed, 0) => format!("{passed} passed"),
        (passed, 1) => format!("{passed} passed, 1 fails"),
        (passed, fail) => format!("{passed} passed, {fail} fail"),
    }
}

/// A state's name as people say it.
pub fn words(state: &str) -> &'static str {
    match state {
        "requested" => "requested",
        "awaiting_approval" => "awaiting approval",
        "queued" => "queued",
        "shifting" => "being tried beside what runs",
        "applying" => "being applied",
        "rolling_out" => "rolling out",
        "verifying" => "being verified",
        "succeeded" => "done",
        "rejected" => "rejected",
        "cancelled" => "withdrawn",
        "expired" => "expired",
        "superseded" => "void",
        "rolling_back" => "rolling back",
        "rolled_back" => "rolled back",
        _ => "failed",
    }
}

impl State {
    /// Words of the badge.
    pub fn badge(&self) -> &'static str {
        match self {
            Self::Requested => "Requested",
            Self::AwaitingApproval { .. } => "Awaiting approval",
            Self::Queued => "Queued",
            Self::Shifting { .. } => "Trying beside",
            Self::Applying { .. } => "Applying",
            Self::RollingOut { .. } => "Rolling out",
            Self::Verifying { .. } => "Verifying",
            Self::Succeeded => "Done",
            Self::Rejected { .. } => "Rejected",
            Self::Cancelled { .. } => "Withdrawn",
            Self::Expired => "Expired",
            Self::Superseded { .. } => "Void",
            Self::Failed { .. } => "Failed",
            Self::RollingBack { .. } => "Rolling back",
            Self::RolledBack { .. } => "Rolled back",
            Self::RollbackFailed { .. } => "Rollback failed",
        }
    }

    /// Status class of the design kit, without `is-`.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Requested | Self::Queued | Self::Cancelled { .. } | Self::Expired => "idle",
            Self::AwaitingApproval { .. }
            | Self::Shifting { stage: Stage::Holding { until: None, .. }, stopped_by: None, .. } => "hold",
            Self::Shifting { .. }
            | Self::Applying { .. }
            | Self::RollingOut { .. }
            | Self::Verifying { .. }
            | Self::RollingBack { .. } => "prog",
            Self::Succeeded => "ok",
            Self::Superseded { .. } => "warn",
            Self::Rejected { .. }
            | Self::Failed { .. }
            | Self::RolledBack { .. }
            | Self::RollbackFailed { .. } => "bad",
        }
    }
}

impl Action {
    /// "Deploy checkout-api v1.1.0".
    pub fn title(&self, service: &str) -> String {
        match self {
            Self::Deploy(change) => format!("Deploy {service} {}", change.version),
            Self::RollBack { change, .. } => format!("Roll back {service} to {}", change.version),
            Self::Restart { .. } => format!("Restart {service}"),
            Self::Scale { to, .. } => format!("Scale {service} to {}", to.words()),
            Self::Migrate(migration) => format!("Migrate {service} with {}", migration.version),
        }
    }

    /// "v1.0.0 to v1.1.0", for rows that name the service beside it.
    pub fn short(&self) -> String {
        match self {
            Self::Deploy(change) | Self::RollBack { change, .. } if change.replaces_version.is_empty() => {
                change.version.clone()
            }
            Self::Deploy(change) | Self::RollBack { change, .. } => {
                format!("{} to {}", change.replaces_version, change.version)
            }
            Self::Restart { .. } => "restart".into(),
            Self::Scale { from, to, .. } => format!("{} to {}", from.words(), to.words()),
            Self::Migrate(migration) => format!("migration with {}", migration.version),
        }
    }

    /// The noun of the audit trail's `noun.verb`.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Deploy(_) => "deploy",
            Self::RollBack { .. } => "rollback",
            Self::Restart { .. } => "restart",
            Self::Scale { .. } => "scale",
            Self::Migrate(_) => "migrate",
        }
    }

    /// Icon of the sprite.
    pub fn icon(&self) -> &'static str {
        match self {
            Self::Deploy(_) => "rocket",
            Self::RollBack { .. } => "undo-2",
            Self::Restart { .. } => "rotate-cw",
            Self::Scale { .. } => "scaling",
            Self::Migrate(_) => "database",
        }
    }

    /// Words of the badge: a migration rolls nothing out.
    pub fn badge(&self, state: &State) -> &'static str {
        match (self, state) {
            (Self::Migrate(_), State::RollingOut { stopped_by: Some(_), .. }) => "Stopping",
            (Self::Migrate(_), State::RollingOut { .. }) => "Migrating",
            (Self::Migrate(_), State::Applying { .. }) => "Starting",
            (Self::Deploy(change), State::Shifting { stage, stopped_by, .. }) => {
                match (&change.strategy, stage, stopped_by) {
                    (_, _, Some(_)) => "Stopping",
                    (_, Stage::Holding { until: None, .. }, None) => "Waits to go on",
                    (Strategy::Canary { .. }, _, None) => "Canary",
                    (_, Stage::Switched { .. }, None) => "Green has the traffic",
                    (_, Stage::Holding { .. }, None) => "Green is ready",
                    (_, Stage::Sizing | Stage::Starting { .. }, None) => "Green starts",
                }
            }
            _ => state.badge(),
        }
    }
}

impl Size {
    pub fn words(&self) -> String {
        match self {
            Self::Replicas { replicas: 1 } => "1 replica".into(),
            Self::Replicas { replicas } => format!("{replicas} replicas"),
            Self::Autoscaler { min, max, .. } => format!("{min} to {max} replicas"),
        }
    }
}

/// One row of the timeline: status class and sentence.
pub fn told(event: &Event, actor: &str) -> (&'static str, String) {
    match event {
        Event::Requested { .. } => ("idle", format!("{actor} asked for this")),
        Event::GlassBroken => {
            ("warn", format!("{actor} broke the glass: no approval, no waiting for a freeze"))
        }
        Event::SignedOff { .. } => ("ok", format!("{actor} signed the broken glass off")),
        Event::ApprovalAsked { needed: 1, .. } => ("hold", "Waits for 1 approval".into()),
        Event::ApprovalAsked { needed, .. } => ("hold", format!("Waits for {needed} approvals")),
        Event::Approved { have, needed, .. } => ("ok", format!("{actor} approved, {have} of {needed}")),
        Event::Queued { behind: Some(id) } => ("idle", format!("Queued behind deployment {id}")),
        Event::Queued { behind: None } => ("idle", "Queued".into()),
        Event::Rejected { .. } => ("bad", format!("{actor} rejected it")),
        Event::Cancelled => ("idle", format!("{actor} withdrew it")),
        Event::Expired => ("idle", "Expired: nobody decided in time".into()),
        Event::Superseded { why } => ("warn", format!("Void. {why}")),
        Event::Started => ("prog", "Every check passed again, applying".into()),
        Event::Written { took_over: Some(manager), .. } => {
            ("ok", format!("The cluster took the change; the image field was taken over from {manager}"))
        }
        Event::Written { took_over: None, .. } => ("ok", "The cluster took the change".into()),
        Event::Stopped => ("warn", format!("{actor} stopped it")),
        Event::ShiftBegan => {
            ("prog", "Every check passed again, the new version starts beside what runs".into())
        }
        Event::BesideWritten { pods: 1, .. } => ("prog", "1 pod of the new version beside what runs".into()),
        Event::BesideWritten { pods, .. } => {
            ("prog", format!("{pods} pods of the new version beside what runs"))
        }
        Event::BesideReady { until: Some(until) } => {
            ("ok", format!("Ready, watched until {}", clock(*until)))
        }
        Event::BesideReady { until: None } => ("hold", "Ready, waits for somebody to go on".into()),
        Event::Unmeasured { why } => ("hold", unmeasured(why)),
        Event::WentOn => ("ok", format!("{actor} said to go on")),
        Event::StepTaken { step } => ("prog", format!("Step {}", step + 1)),
        Event::Switched { until } => {
            ("ok", format!("All traffic goes to the new version, watched until {}", clock(*until)))
        }
        Event::Promoted => ("ok", "It proved itself, the workload gets it now".into()),
        Event::Noted { text } => ("prog", text.clone()),
        Event::RolledOut { .. } => ("ok", "All pods are new and ready".into()),
        Event::Succeeded => ("ok", "Done".into()),
        Event::Failed { why, .. } => ("bad", why.clone()),
        Event::RollbackBegan { why, to, .. } => ("bad", format!("{why} {} is put back", to.version)),
        Event::WrittenBack { .. } => ("prog", "The cluster took the change back".into()),
        Event::RolledBack => ("ok", "What ran before runs again".into()),
        Event::RollbackFailed { why } => ("bad", format!("It could not be put back: {why}")),
    }
}

/// Somebody ended it while it was tried beside what runs.
pub fn stopped_beside(by: &str) -> String {
    format!("{by} stopped it before anything that runs was replaced.")
}

/// What one has to type.
pub fn type_the_name(name: &str) -> String {
    format!("Type {name} to confirm.")
}

/// What those who may let it go on are told when it waits for them.
pub fn hand_news(deploy: &Deploy) -> String {
    format!(
        "{}, {}: waits for you to go on.",
        deploy.action.title(&deploy.place.service),
        deploy.place.environment
    )
}

/// What those who wanted a deploy are told when it fails. None: it did not.
pub fn failure_news(deploy: &Deploy) -> Option<String> {
    let what = format!("{}, {}", deploy.action.title(&deploy.place.service), deploy.place.environment);
    match &deploy.state {
        State::Failed { why } => Some(format!("{what}: failed. {why}")),
        State::RolledBack { why, to } => {
            Some(format!("{what}: failed, and {} was put back. {why}", to.version))
        }
        State::RollbackFailed { why, failure, to } => {
            Some(format!("{what}: failed, and {} could not be put back: {failure} {why}", to.version))
        }
        State::Requested
        | State::AwaitingApproval { .. }
        | State::Queued
        | State::Shifting { .. }
        | State::Applying { .. }
        | State::RollingOut { .. }
        | State::Verifying { .. }
        | State::Succeeded
        | State::Rejected { .. }
        | State::Cancelled { .. }
        | State::Expired
        | State::Superseded { .. }
        | State::RollingBack { .. } => None,
    }
}

/// A right to look that was lost on the way.
pub fn blind(why: &str) -> String {
    format!("Nobody can see how it goes any more: {why} Look with kubectl.")
}

/// Why a deploy does not begin yet.
pub fn frozen(environment: &str, frozen: &Frozen) -> String {
    let Frozen { name, until_there, .. } = frozen;
    let environment = capitalised(environment);
    format!("{environment} is frozen until {until_there} ({name}). It starts by itself then.")
}

/// What to do by hand where the last good version could not be put back.
pub fn by_hand(place: &Place, to: &ImageChange) -> String {
    let images: Vec<_> = to.images.iter().map(|(container, image)| format!("{container}={image}")).collect();
    format!(
        "What runs now is half changed. Ask for a rollback here once that is mended, or put {} back by hand: \
         kubectl -n {} set image {}/{} {}",
        to.version,
        place.namespace,
        to.workload_kind.word().to_lowercase(),
        to.workload,
        images.join(" ")
    )
}

/// Title and sentence about the pods that a new template does not reach by itself. None: it reaches all.
pub fn left_alone(live: &LiveWorkload) -> Option<(String, String)> {
    let (kind, name, wanted) = (live.kind(), live.name(), live.wanted());
    match live.reach() {
        Reach::All => None,
        Reach::OnDelete => Some((
            "No pod changes by itself".into(),
            format!(
                "The {kind}’s update strategy is OnDelete: the change is written and nothing else happens. Each pod takes \
                 it when somebody deletes that pod."
            ),
        )),
        Reach::From(partition) if partition >= wanted => Some((
            "No pod changes by itself".into(),
            format!(
                "The {kind}’s update strategy has the partition {partition} and there are {}: the change is written, and \
                 no pod takes it before the partition is lowered.",
                pods(wanted)
            ),
        )),
        Reach::From(partition) => Some((
            format!("Only {} of {wanted} pods change", wanted - partition),
            format!(
                "The {kind}’s update strategy has the partition {partition}: {name}-{partition} and above take the change, \
                 the others stay as they are until it is lowered."
            ),
        )),
    }
}

/// Why a restart would be none.
pub fn nothing_restarts(live: &LiveWorkload) -> String {
    format!(
        "By the {}’s update strategy a restart would restart nothing. Delete its pods instead: they come back new.",
        live.kind()
    )
}

/// Pods that a StatefulSet would wait for without end.
pub fn deleted_first(names: &[&str]) -> (String, String) {
    let detail = "A StatefulSet changes no pod while one is not ready, and this does not get ready. So it is deleted, as you, and \
                  comes back as the new version.";
    let many = "A StatefulSet changes no pod while one is not ready, and these do not get ready. So they are deleted, as you, and \
                come back as the new version.";
    match names {
        [one] => (format!("The pod {one} is deleted"), detail.into()),
        more => (format!("The pods {} are deleted", more.join(", ")), many.into()),
    }
}

/// Why a DaemonSet can't be scaled.
pub fn has_no_size(live: &LiveWorkload) -> (String, String) {
    (
        "A DaemonSet can’t be scaled".into(),
        format!(
            "{} runs one pod on each node that it fits on. To have more or fewer, change its node selector or the nodes.",
            live.name()
        ),
    )
}

fn pods(number: i32) -> String {
    if number == 1 { "1 pod".into() } else { format!("{number} pods") }
}

/// How large a DaemonSet is.
pub fn pods_on_nodes(number: i32) -> String {
    format!("It runs {} now, one on each node.", pods(number))
}

/// And what still stands beside the workload then: it serves, so it is left alone until the workload is well.
pub fn beside_by_hand(deploy: &Deploy) -> Option<String> {
    let (change, namespace) = (deploy.action.change()?, &deploy.place.namespace);
    let beside = change.strategy.beside()?;
    let back = match (&change.strategy, &beside.was) {
        (Strategy::BlueGreen { .. }, Some(was)) => {
            let patch = serde_json::json!({"spec": {"selector": {&beside.label: was}}});
            let services = beside.services.join(" service/");
            format!(
                "lead the traffic back: kubectl -n {namespace} patch service/{services} -p '{patch}', then "
            )
        }
        _ => String::new(),
    };
    Some(format!(
        " {} still serves beside it. Once the workload is well, {back}take it away: kubectl -n {namespace} delete \
         deployment/{}",
        beside.name, beside.name
    ))
}

/// After a day nobody can tell an ended migration from one that never began.
pub const NOBODY_KNOWS: &str = "It is not known whether it ran: the portal was away for too long. Look at the database, then ask again if needed.";

/// A Job that was deleted before it ended.
pub fn job_is_gone(stopped_by: Option<&str>) -> String {
    match stopped_by {
        Some(by) => format!("{by} stopped it while it ran. What it had done by then stays."),
        None => "Its Job was deleted before it was seen to end. What it had done by then stays.".into(),
    }
}

/// What a deploy made beside what runs (a Job, a second Deployment) can't be taken away.
pub fn still_there(what: &str, why: &str) -> String {
    format!("{what} is still there and has to be taken away by hand: {why}")
}

/// Who has to act after a deploy became void.
pub fn ask_again(deploy: &Deploy) -> String {
    format!("{} has to ask again.", deploy.requester.name)
}

/// How long a request still waits for approval.
pub fn expires(at: Timestamp, now: Timestamp) -> String {
    format!("Expires {}", until(at, now))
}
