//! Access requests.

use super::{clean, state, until};
use crate::api::types::AccessRequest;
use crate::cli::failure::Failure;
use crate::cli::print::Tint;
use crate::web::filters;

pub fn access_reason_question(role: &str, environment: &str) -> String {
    clean(&format!("Why do you need {role} in {environment}? Whoever decides reads it:"))
}

/// What somebody who decides has to know.
pub fn access_lines(request: &AccessRequest) -> Vec<String> {
    let mut lines = vec![
        format!("{} ({})", request.title, state(&request.state)),
        format!("who          {} ({})", request.requester, request.username),
        format!("ClusterRole  {} in {} and nowhere else", request.cluster_role, request.namespace),
        format!("for          {}", span(request.seconds)),
    ];
    lines.extend(request.until.map(|end| format!("ends         {end}")));
    lines.push(format!("reason       {}", request.reason));
    if !request.contact.is_empty() {
        lines.push(format!("reach at     {}", request.contact));
    }
    lines.extend(request.why.as_ref().map(|why| format!("why          {why}")));
    lines.push(format!("digest       {}", request.digest));
    lines.push(format!("page         {}", request.url));
    lines.into_iter().map(|line| clean(&line)).collect()
}

pub fn access_outcome(request: &AccessRequest) -> String {
    let title = &request.title;
    let why = request.why.as_ref().map(|why| format!(" {why}")).unwrap_or_default();
    let text = match request.state.as_str() {
        "requested" => format!(
            "Asked for {} in {} for {}. It waits for {}: it stands in their approvals in the portal, which sends no \
             message, so give them this address.",
            request.role,
            request.namespace,
            span(request.seconds),
            any_of(&request.approvers)
        ),
        "granting" | "active" => {
            let end = request.until.map(|end| until(end, jiff::Timestamp::now())).unwrap_or_default();
            format!("Approved: {title}. It ends by itself {end}.")
        }
        "ending" => format!("Being taken back: {title}.{why}"),
        "refused" => format!("Rejected: {title}."),
        "withdrawn" => format!("Withdrawn: {title}."),
        other => format!("{}: {title}.{why}", super::capitalised(&state(other))),
    };
    clean(&text)
}

pub fn access_tint(request: &AccessRequest) -> Tint {
    match request.state.as_str() {
        "active" => Tint::Good,
        "requested" => Tint::Warn,
        "granting" => Tint::Busy,
        // With a reason it was tried, and the person still has it.
        "ending" if request.why.is_some() => Tint::Bad,
        "ending" => Tint::Busy,
        "failed" | "refused" => Tint::Bad,
        _ => Tint::Dim,
    }
}

fn span(seconds: i64) -> String {
    filters::span(seconds).replace('\u{a0}', " ")
}

fn any_of(groups: &[String]) -> String {
    if groups.is_empty() { "somebody who may approve".into() } else { groups.join(" or ") }
}

impl Failure {
    pub fn no_roles() -> Self {
        Self::Nothing {
            what: "This portal has no role that can be asked for.".into(),
            mend: "Ask the platform team to add one: [[access.role]] in pilothouse.toml".into(),
        }
    }
}
