//! How changes stand, and what they would do.

use super::capitalised;
use crate::api::types::{Check, Deploy, GlassReview, Plan};
use crate::cli::failure::Exit;
use crate::cli::print::{Tint, clean};
use crate::web::filters;

/// How a change stands, in a sentence for the terminal and a number for the script.
pub struct Outcome {
    pub tint: Tint,
    pub sentence: String,
    pub hint: Option<String>,
    pub exit: Exit,
}

/// "Deploy checkout-api v1.1.0 to staging", "Restart checkout-api in staging".
pub fn titled(deploy: &Deploy) -> String {
    format!("{} {} {}", deploy.title, preposition(deploy), deploy.environment)
}

pub fn preposition(deploy: &Deploy) -> &'static str {
    if deploy.action == "deploy" { "to" } else { "in" }
}

pub fn outcome(deploy: &Deploy) -> Outcome {
    let id = deploy.id;
    let what = titled(deploy);
    let why = deploy.why.as_ref().map(|why| format!(" {why}")).unwrap_or_default();
    let (tint, sentence, hint, exit) = match deploy.state.as_str() {
        "succeeded" => (Tint::Good, format!("Done: {what}."), None, Exit::Done),
        "failed" => (Tint::Bad, format!("Failed: {what}.{why}"), deploy.next_action.clone(), Exit::Failed),
        "rolled_back" => (
            Tint::Bad,
            format!("Failed and rolled back: {what}.{why}"),
            deploy.next_action.clone(),
            Exit::Failed,
        ),
        "rollback_failed" => (
            Tint::Bad,
            format!("Failed, and could not be rolled back: {what}.{why}"),
            deploy.next_action.clone(),
            Exit::Failed,
        ),
        "awaiting_approval" => (
            Tint::Warn,
            format!("Waiting for approval: {what}. {}", who_approves(deploy)),
            Some(format!("platform wait {id} watches it.")),
            Exit::Waiting,
        ),
        "rejected" => {
            let no = deploy.decisions.iter().rfind(|decision| !decision.approved);
            let by = no.map(|no| format!(" by {}: {}", no.by, no.note)).unwrap_or_default();
            (Tint::Bad, format!("Rejected{by}. Nothing was changed."), None, Exit::Refused)
        }
        "cancelled" | "expired" | "superseded" => {
            let state = capitalised(&state(&deploy.state));
            // One that was overtaken after its write has changed something.
            let wrote = deploy.steps.iter().any(|step| step.title == "Applied" && step.state == "done");
            let untouched = if wrote { "" } else { " Nothing was changed." };
            (
                Tint::Bad,
                format!("{state}: {what}.{why}{untouched}"),
                deploy.next_action.clone(),
                Exit::Refused,
            )
        }
        _ if deploy.waits_for_promotion => (
            Tint::Warn,
            format!("Waiting to go on: {what}.{why}"),
            Some(format!("platform promote {id} lets it go on, platform wait {id} watches it.")),
            Exit::Waiting,
        ),
        _ => (
            Tint::Busy,
            format!("On its way: {what}."),
            Some(format!("platform wait {id} watches it.")),
            Exit::Done,
        ),
    };
    Outcome { tint, sentence: clean(&sentence), hint: hint.map(|hint| clean(&hint)), exit }
}

/// "Needs 1 of payments-managers."
fn who_approves(deploy: &Deploy) -> String {
    let given = deploy.decisions.iter().filter(|decision| decision.approved).count();
    let missing = (deploy.approvals_needed as usize).saturating_sub(given);
    let people = if missing == 1 { "1 person".to_string() } else { format!("{missing} people") };
    match deploy.approvers.as_slice() {
        [] => format!("Needs {people}."),
        groups => format!("Needs {people} of {}.", groups.join(" or ")),
    }
}

/// What the portal found out about a failure.
pub fn evidence(deploy: &Deploy) -> Vec<String> {
    let mut lines = Vec::new();
    for evidence in deploy.evidence.iter().filter(|_| is_failure(&deploy.state)) {
        lines.push(format!("{}:", clean(&evidence.title)));
        lines.extend(evidence.lines.iter().map(|line| format!("  {}", clean(line))));
    }
    lines
}

/// It did not come to run, or does not any more.
pub fn is_failure(state: &str) -> bool {
    matches!(state, "failed" | "rolled_back" | "rollback_failed")
}

pub const STATES: [&str; 16] = [
    "requested",
    "awaiting_approval",
    "queued",
    "shifting",
    "applying",
    "rolling_out",
    "verifying",
    "succeeded",
    "rejected",
    "cancelled",
    "expired",
    "superseded",
    "failed",
    "rolling_back",
    "rolled_back",
    "rollback_failed",
];

/// `awaiting_approval` is "awaiting approval".
pub fn state(state: &str) -> String {
    clean(&state.replace('_', " "))
}

pub fn state_tint(state: &str) -> Tint {
    match state {
        "succeeded" => Tint::Good,
        "failed" | "rolled_back" | "rollback_failed" | "rejected" => Tint::Bad,
        "awaiting_approval" => Tint::Warn,
        "cancelled" | "expired" | "superseded" => Tint::Dim,
        _ => Tint::Busy,
    }
}

/// "v1.0.0 → v1.1.0" for new bytes, "restart" for none.
pub fn what(deploy: &Deploy) -> String {
    match (&deploy.version, deploy.replaces.as_deref().unwrap_or_default()) {
        (Some(version), "") if deploy.migration.is_some() => format!("migrate with {version}"),
        (Some(version), "") => format!("{} {version}", deploy.action),
        (Some(version), was) => format!("{} {was} → {version}", deploy.action),
        (None, _) => deploy.title.clone(),
    }
}

/// "checkout-api v1.1.0 to production, where v1.0.0 runs: image sha256:…"
pub fn plan(plan: &Plan) -> String {
    let was = if plan.replaces.is_empty() { "nothing".into() } else { plan.replaces.clone() };
    let image = plan.image_digest.as_ref().map(|digest| format!(", {}", filters::short_digest(digest)));
    let Plan { service, version, environment, .. } = plan;
    format!("{service} {version}{} to {environment}, where {was} runs", image.unwrap_or_default())
}

pub fn approvals(plan: &Plan) -> Option<String> {
    let people = match plan.approvals {
        0 => return None,
        1 => "1 other person has to approve".to_string(),
        count => format!("{count} other people have to approve"),
    };
    let groups = plan.approvers.join(" or ");
    Some(if groups.is_empty() { format!("{people}.") } else { format!("{people}, of {groups}.") })
}

pub fn check(check: &Check) -> String {
    let help = check.help.as_ref().map(|help| format!(" {help}")).unwrap_or_default();
    format!("{}: {}{help}", check.title, check.detail)
}

/// What somebody who approves has to know.
pub fn decision(deploy: &Deploy) -> Vec<String> {
    let mut lines = vec![format!("{}, asked for by {}", titled(deploy), deploy.requester)];
    lines.extend(deploy.replaces.as_ref().map(|was| format!("replaces  {was}")));
    if let Some(migration) = &deploy.migration {
        lines.push(format!("runs      {}", migration.command));
        lines.push(format!("with      {}", migration.image));
    }
    lines.extend(deploy.image_digest.as_ref().map(|digest| format!("image     {digest}")));
    if !deploy.reason.is_empty() {
        lines.push(format!("reason    {}", deploy.reason));
    }
    lines.push(format!("digest    {}", deploy.digest));
    lines.push(format!("page      {}", deploy.url));
    lines.into_iter().map(|line| clean(&line)).collect()
}

pub fn approved(deploy: &Deploy) -> String {
    let what = clean(&titled(deploy));
    match deploy.state.as_str() {
        "awaiting_approval" => format!("Approved: {what}. {}", clean(&who_approves(deploy))),
        _ => format!("Approved: {what}. It runs by itself now."),
    }
}

pub fn promoted(deploy: &Deploy) -> String {
    clean(&format!("Goes on: {}.", titled(deploy)))
}

pub fn signed_off(review: &GlassReview) -> String {
    clean(&format!("Signed off: {} in {}, by {}.", review.title, review.environment, review.by))
}

pub fn rejected(deploy: &Deploy) -> String {
    clean(&format!("Rejected: {}. {} is told.", titled(deploy), deploy.requester))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples::deploy;

    #[test]
    fn every_end_has_its_exit_code() {
        let exit = |state: &str| outcome(&deploy(state)).exit;
        assert_eq!(exit("succeeded"), Exit::Done);
        assert_eq!(exit("failed"), Exit::Failed);
        assert_eq!(exit("rolled_back"), Exit::Failed);
        assert_eq!(exit("rollback_failed"), Exit::Failed);
        assert_eq!(exit("rejected"), Exit::Refused);
        assert_eq!(exit("expired"), Exit::Refused);
        assert_eq!(exit("awaiting_approval"), Exit::Waiting);
        assert_eq!(exit("queued"), Exit::Done);
    }

    #[test]
    fn a_canary_that_waits_says_how_it_goes_on() {
        let waits =
            Deploy { waits_for_promotion: true, why: Some("It is ready.".into()), ..deploy("shifting") };
        let told = outcome(&waits);
        assert_eq!(told.exit, Exit::Waiting);
        let sentence = "Waiting to go on: Deploy checkout-api v1.1.0 to staging. It is ready.";
        assert_eq!(told.sentence, sentence);
        assert!(told.hint.unwrap().starts_with(&format!("platform promote {} lets it go on", waits.id)));
        assert_eq!(outcome(&deploy("shifting")).exit, Exit::Done, "on its way");
    }

    #[test]
    fn a_wait_says_for_whom() {
        assert_eq!(
            outcome(&deploy("awaiting_approval")).sentence,
            "Waiting for approval: Deploy checkout-api v1.1.0 to staging. Needs 1 person of payments-managers."
        );
        assert_eq!(
            outcome(&deploy("rejected")).sentence,
            "Rejected by omar: not today. Nothing was changed."
        );
    }
}
