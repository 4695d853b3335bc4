//! The admission policy, its binding, and the right to carry approvals: made from the configuration.

use askama::Template;
use serde_json::json;

use super::wording;
use crate::config::{Config, Environment, Guard};
use crate::kube::apply::{APPROVAL_ANNOTATION, TRYING};
use crate::kube::rights::{APPROVAL_EXTRA, Approvals, Impersonation};

#[derive(Template)]
#[template(path = "guard/manifests.yaml", escape = "none")]
struct Manifests<'a> {
    environment: &'a str,
    /// A namespace, for the comment.
    example: String,
    name: String,
    /// Lists of CEL.
    exempt: String,
    break_glass: String,
    extra: &'static str,
    annotation: &'static str,
    trying: &'static str,
    /// An expression of CEL, and what is said where it fails, as YAML.
    message: String,
    plain: String,
    approvals: String,
}

/// As YAML, for `kubectl apply`.
pub fn manifests(
    config: &Config,
    environment: &Environment,
    guard: &Guard,
    impersonation: Impersonation,
) -> String {
    let name = environment.name();
    let break_glass = break_glass(config, guard);
    let exempt: Vec<&str> = guard.exempt.iter().map(|user| user.get_ref().as_str()).collect();
    let list = |names: &[&str]| if names.is_empty() { String::new() } else { json!(names).to_string() };
    let groups: Vec<&str> = break_glass.iter().map(String::as_str).collect();
    let manifests = Manifests {
        environment: name,
        example: environment.namespace_for("checkout", "payments"),
        name: environment.guard_policy().unwrap_or_default(),
        exempt: list(&exempt),
        break_glass: list(&groups),
        extra: APPROVAL_EXTRA,
        annotation: APPROVAL_ANNOTATION,
        trying: TRYING,
        message: wording::refused(name, &config.origin(), &break_glass),
        plain: json!(wording::refused_in_short(name)).to_string(),
        approvals: Approvals { impersonation }.render().expect("a template over constants renders"),
    };
    format!("{}\n", manifests.render().expect("the template has no filter that can fail").trim_end())
}

/// The groups as the cluster names them.
pub fn break_glass(config: &Config, guard: &Guard) -> Vec<String> {
    let prefix = &config.oidc.groups_prefix;
    guard.break_glass.iter().map(|group| format!("{prefix}{}", group.get_ref())).collect()
}
