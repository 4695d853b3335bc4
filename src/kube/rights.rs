//! Every right the portal needs in a cluster: the one list that `platform rbac` prints as RBAC, and that the files in
//! `install/` are made from. Add what new code calls; the API server refuses in the tests what is missing here, and
//! `tests/rights.rs` reads in its audit log what nobody called.

use askama::Template;

/// What is done to a kind.
pub struct Right {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural, with the subresource ("deployments/scale").
    pub resource: &'static str,
    pub verbs: &'static [&'static str],
    /// What for, in the file that an administrator reads.
    pub why: &'static str,
}

const fn right(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    why: &'static str,
) -> Right {
    Right { group, resource, verbs, why }
}

/// As itself the portal watches what it shows, and asks what people may do. No secrets, no configmaps, no logs: those
/// are read as a person or not at all.
pub const AS_ITSELF: &[Right] = &[
    right("", "pods", &["list", "watch"], ""),
    right("", "resourcequotas", &["list", "watch"], ""),
    right("apps", "deployments", &["list", "watch"], ""),
    right("apps", "statefulsets", &["list", "watch"], ""),
    right("apps", "daemonsets", &["list", "watch"], ""),
    right("apps", "replicasets", &["list", "watch"], ""),
    right("autoscaling", "horizontalpodautoscalers", &["list", "watch"], ""),
    right("policy", "poddisruptionbudgets", &["list", "watch"], ""),
    right(
        "",
        "namespaces",
        &["list", "watch"],
        "Where the guard holds, what runs there, and whether somebody approved it.",
    ),
    right("", "nodes", &["list"], "Their labels: which platforms an image has to be built for."),
    right("", "replicationcontrollers", &["list", "watch"], ""),
    right("batch", "jobs", &["list", "watch"], ""),
    right("batch", "cronjobs", &["list", "watch"], ""),
    right(
        "authorization.k8s.io",
        "subjectaccessreviews",
        &["create"],
        "\"May maya read this namespace?\", asked before anything watched is shown to her.",
    ),
];

/// As a person, and only where that person may do it too.
pub const AS_PEOPLE: &[Right] = &[
    right("apps", "deployments", &["get", "list", "patch"], "Deploy, restart and roll back."),
    right(
        "apps",
        "deployments",
        &["delete"],
        "Only what stands beside a workload while a new version proves itself (blue-green, canary): the portal made it.",
    ),
    right("apps", "deployments/scale", &["get", "patch"], ""),
    right("apps", "statefulsets", &["get", "patch"], ""),
    right("apps", "statefulsets/scale", &["get", "patch"], ""),
    right("apps", "daemonsets", &["get", "patch"], ""),
    right("apps", "replicasets", &["list"], "How a rollout goes, and why it does not."),
    right("", "pods", &["get", "list"], ""),
    right(
        "",
        "pods",
        &["delete"],
        "A StatefulSet waits for ever for a pod that can't get ready, also when the version before is put back: such a pod \
         is deleted.",
    ),
    right("", "events", &["list"], ""),
    right("", "pods/log", &["get"], ""),
    right(
        "",
        "pods",
        &["create"],
        "Only ever a dry run: one pod of a new template, so that quota, limits, PodSecurity and policies answer on the \
         form. It adds no power to changing Deployments, which make the same pods.",
    ),
    right("", "resourcequotas", &["list"], "Whether there is room for a bigger size."),
    right("", "limitranges", &["list"], ""),
    right("", "configmaps", &["get"], "Whether those that a template names are there, with their keys."),
    right(
        "",
        "secrets",
        &["get"],
        "Whether those that a template names are there, with their keys, and whether the passwords of its pull secrets \
         work. It adds no power to changing Deployments, whose pods may mount any of them. Leave it out and the form \
         says that nobody looked.",
    ),
    right(
        "",
        "pods/proxy",
        &["get"],
        "The smoke request of a service that names one: a path, asked of a new pod.",
    ),
    right(
        "",
        "services",
        &["get", "list", "patch"],
        "What the portal makes for a service with a run section; where traffic goes in blue-green.",
    ),
    right("policy", "poddisruptionbudgets", &["get", "list", "patch", "delete"], ""),
    right("autoscaling", "horizontalpodautoscalers", &["get", "list", "patch", "delete"], ""),
    right(
        "batch",
        "jobs",
        &["get", "create", "delete"],
        "Migrations: a Job that runs once. Deleting one is how it is stopped.",
    ),
    right(
        "rbac.authorization.k8s.io",
        "rolebindings",
        &["get", "patch", "delete"],
        "Access requests: the RoleBinding is written and taken back as the person who approved it. The API server asks \
         about that person whether they may bind the role. Leave it out where nobody shall ask the portal for access.",
    ),
];

/// The user extra that carries the digest of an approval, as the RBAC of impersonation names it.
pub const APPROVAL_EXTRA: &str = "pilothouse.dev/approval";

/// How a cluster lets somebody act as others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impersonation {
    /// Kubernetes 1.36 and newer: as whom, and what for (KEP-5284).
    Constrained,
    /// Before: only as whom.
    Classic,
}

#[derive(Template)]
#[template(path = "kube/rbac.yaml", escape = "none")]
struct Constrained;

#[derive(Template)]
#[template(path = "kube/rbac-classic.yaml", escape = "none")]
struct Classic;

/// The right to carry an approval, and who has it: the portal. Part of its RBAC, and of what the guard is made of.
#[derive(Template)]
#[template(path = "kube/approvals.yaml", escape = "none")]
pub struct Approvals {
    pub impersonation: Impersonation,
}

/// Roles and bindings, as YAML.
pub fn rbac(impersonation: Impersonation) -> String {
    let text = match impersonation {
        Impersonation::Constrained => Constrained.render(),
        Impersonation::Classic => Classic.render(),
    };
    format!("{}\n", text.expect("templates over constants render").trim_end())
}

/// The reason as comment lines, wrapped.
fn comment(why: &str) -> String {
    const WIDTH: usize = 118;
    let mut lines: Vec<String> = Vec::new();
    for word in why.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut().filter(|line| line.len() + 1 + word.len() <= WIDTH) {
            Some(line) => *line += &format!(" {word}"),
            None => lines.push(format!("# {word}")),
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// A rule of a role, with each verb behind this prefix.
fn rule(right: &Right, prefix: &str) -> String {
    let verbs: Vec<_> = right.verbs.iter().map(|verb| format!("\"{prefix}{verb}\"")).collect();
    let Right { group, resource, why, .. } = right;
    format!(
        "{}- {{apiGroups: [\"{group}\"], resources: [{resource}], verbs: [{}]}}\n",
        comment(why),
        verbs.join(", ")
    )
}

fn as_itself() -> String {
    AS_ITSELF.iter().map(|right| rule(right, "")).collect::<String>().trim_end().to_string()
}

fn as_people() -> String {
    AS_PEOPLE
        .iter()
        .map(|right| rule(right, "impersonate-on:user-info:"))
        .collect::<String>()
        .trim_end()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_installation_are_made_from_the_list() {
        let files = [
            (Impersonation::Constrained, include_str!("../../install/rbac.yaml"), ""),
            (Impersonation::Classic, include_str!("../../install/rbac-classic.yaml"), " --classic"),
        ];
        for (form, file, flag) in files {
            let made = rbac(form);
            assert!(made == file, "run: platform rbac{flag} >install/…");
            for document in serde_saphyr::from_multiple::<serde_json::Value>(&made).unwrap() {
                assert!(document["kind"].is_string(), "{document}");
            }
        }
    }
}
