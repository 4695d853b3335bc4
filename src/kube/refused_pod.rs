//! A pod that the controller may not make. The write of the Deployment passed; what refuses its pods says so only to
//! the controller, in the words it would have said to us, so they are read by the same [`Refusal`].

use kube::core::Status;

use super::refusal::Refusal;
use super::wording;

pub(super) struct RefusedPod {
    /// Follows "2 pods cannot be created: ", without a full stop.
    pub cause: String,
    pub action: String,
    pub hopeless: Hopeless,
}

/// Whether waiting can help.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Hopeless {
    /// It may come right by itself.
    Never,
    AtOnce,
    /// Others may make room in the next seconds.
    WhenItStands,
}

/// From the message of a ReplicaSet's `ReplicaFailure`.
pub(super) fn explain(message: &str) -> RefusedPod {
    if let Some((_, rest)) = message.split_once("failed calling webhook ") {
        return RefusedPod {
            cause: format!(
                "the admission webhook {} does not answer",
                rest.split(':').next().unwrap_or(rest).trim_matches('"')
            ),
            action: "Ask the platform team to look at this webhook; the cluster keeps trying.".into(),
            hopeless: Hopeless::Never,
        };
    }
    if message.contains("error looking up service account") {
        return RefusedPod {
            cause: format!(
                "the ServiceAccount {} is missing",
                message.rsplit('"').nth(1).unwrap_or_default()
            ),
            action: "Create it, or name one that exists.".into(),
            hopeless: Hopeless::WhenItStands,
        };
    }
    let refusal = Refusal::from_status(&Status::failure(message, "Forbidden").with_code(403));
    match &refusal {
        Refusal::Quota { .. } => RefusedPod {
            cause: clause(&refusal),
            action: "Ask for less, scale something else down, or ask the platform team for more quota."
                .into(),
            hopeless: Hopeless::WhenItStands,
        },
        Refusal::PodSecurity { profile, violations } => RefusedPod {
            cause: format!("the namespace only takes pods that follow the {profile} profile"),
            action: format!("Make sure the pod {}.", wording::list(&demands(violations))),
            hopeless: Hopeless::AtOnce,
        },
        Refusal::Policy { .. } => RefusedPod {
            cause: clause(&refusal),
            action: "Change what the policy names, or ask who keeps the policy.".into(),
            hopeless: Hopeless::AtOnce,
        },
        Refusal::LimitRange { .. } | Refusal::QuotaNeeds { .. } => RefusedPod {
            cause: clause(&refusal),
            action: "Change the resources that the containers ask for.".into(),
            hopeless: Hopeless::AtOnce,
        },
        _ => RefusedPod {
            cause: wording::quote(message, 300),
            action: "Mend what the message names.".into(),
            hopeless: Hopeless::WhenItStands,
        },
    }
}

/// A sentence as the second half of another.
fn clause(refusal: &Refusal) -> String {
    let sentence = refusal.sentence();
    let mut letters = sentence.trim_end_matches('.').chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// What PodSecurity finds wrong, turned into what it wants.
fn demands(violations: &[String]) -> Vec<String> {
    const KNOWN: [(&str, &str); 11] = [
        ("allowPrivilegeEscalation", "may not gain privileges (allowPrivilegeEscalation: false)"),
        ("unrestricted capabilities", "drops all capabilities (capabilities.drop: [ALL])"),
        ("non-default capabilities", "adds no capabilities"),
        ("runAsNonRoot", "does not run as root (runAsNonRoot: true)"),
        ("runAsUser=0", "does not run as user 0"),
        ("seccompProfile", "has a seccomp profile (seccompProfile.type: RuntimeDefault)"),
        ("host namespaces", "stays out of the host's network, processes and IPC"),
        ("hostPath", "mounts nothing of the host"),
        ("hostPort", "opens no port of the host"),
        ("privileged", "is not privileged"),
        ("restricted volume types", "mounts only allowed kinds of volume"),
    ];
    let demand = |violation: &String| {
        let known = KNOWN.iter().find(|(start, _)| violation.starts_with(start));
        known.map_or_else(|| wording::quote(violation, 120), |(_, demand)| (*demand).to_string())
    };
    violations.iter().map(demand).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_and_policies_speak_as_on_the_form() {
        let refused = explain(
            r#"pods "x" is forbidden: exceeded quota: team, requested: limits.memory=64Mi, used: limits.memory=2Gi, limited: limits.memory=2Gi"#,
        );
        assert_eq!(
            refused.cause,
            "not enough left in the quota team: the memory limit needs 64 MiB more, and 2 GiB of 2 GiB is taken"
        );
        assert_eq!(refused.hopeless, Hopeless::WhenItStands);
        let refused = explain(r#"admission webhook "images.acme" denied the request: not signed"#);
        assert_eq!(refused.cause, "the policy images.acme refuses this: not signed");
        assert_eq!(refused.hopeless, Hopeless::AtOnce);
    }

    #[test]
    fn what_may_come_right_is_not_hopeless() {
        let refused =
            explain(r#"Internal error occurred: failed calling webhook "images.acme": connection refused"#);
        assert_eq!(refused.cause, "the admission webhook images.acme does not answer");
        assert_eq!(refused.hopeless, Hopeless::Never);
        let refused = explain(
            r#"pods "x" is forbidden: error looking up service account shop/web: serviceaccount "web" not found"#,
        );
        assert_eq!(refused.cause, "the ServiceAccount web is missing");
    }
}
