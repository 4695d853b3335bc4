//! Every sentence of the guard.

use serde_json::json;

use crate::kube::sources::Source;

/// What the API server says to whoever it refuses, as an expression of CEL. Strings of JSON are strings of CEL.
pub fn refused(environment: &str, portal: &str, break_glass: &[String]) -> String {
    let before = json!(format!(
        "What runs in {environment} changes through Pilothouse, after an approval: {portal}/services"
    ));
    let glass = match break_glass {
        [] => String::new(),
        groups => format!(" When all else fails, {} may.", groups.join(" or ")),
    };
    let after = json!(format!(".{glass}"));
    // Other kinds are not called as their service is.
    format!(
        "{before} + (object.kind in ['Deployment', 'StatefulSet', 'DaemonSet'] ? '?q=' + object.metadata.?name.orValue('') : '') \
         + '. You are ' + request.userInfo.username + {after}"
    )
}

/// The same where that expression can't be worked out.
pub fn refused_in_short(environment: &str) -> String {
    format!("What runs in {environment} changes through Pilothouse, after an approval.")
}

/// Whom the audit trail names. A cluster's objects know the program that wrote them, not the person.
pub fn somebody(manager: &str) -> String {
    if manager.is_empty() { "Somebody".into() } else { format!("Somebody with {manager}") }
}

/// What stands on the list of what has to be reviewed.
pub fn changed(source: &Source) -> String {
    format!("{} {}, changed past the portal", source.kind, source.name)
}

/// A line of `platform guard check`.
pub fn line(good: bool, what: &str, detail: &str) -> String {
    let word = if good { "ok   " } else { "short" };
    if detail.is_empty() { format!("{word}  {what}") } else { format!("{word}  {what}: {detail}") }
}

pub const NO_GUARD: &str =
    "has no [environment.guard] in the configuration. Add the section; pilothouse.example.toml explains it.";
