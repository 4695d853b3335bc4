//! Why a cluster said no, or could not be asked. The API server answers with a `Status` whose meaning hides in
//! its wording; it is translated once, here, so that pages and the engine read a type and people read a sentence.

use std::fmt;

use kube::core::Status;
use serde::{Deserialize, Serialize};

use super::{ownership, quantity};

/// Stored with a failed deploy, so its form is part of the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    /// RBAC: this person may not.
    Forbidden {
        user: String,
        verb: String,
        resource: String,
        namespace: String,
        message: String,
    },
    /// RBAC: the portal may not do this for anybody, because its own role is too small.
    PortalForbidden {
        verb: String,
        resource: String,
        message: String,
    },
    /// RBAC: nobody hands out rights that they don't hold themselves, unless they may `bind` the role.
    Escalation {
        user: String,
        message: String,
    },
    /// A ValidatingAdmissionPolicy or a webhook, in its own words.
    Policy {
        policy: String,
        message: String,
    },
    PodSecurity {
        profile: String,
        violations: Vec<String>,
    },
    Quota {
        quota: String,
        exceeded: Vec<Exceeded>,
    },
    /// A quota counts something that the pods don't say ("limits.cpu for: web").
    QuotaNeeds {
        quota: String,
        missing: String,
    },
    LimitRange {
        message: String,
    },
    /// Other field managers hold what the request wants to set.
    Conflict {
        holders: Vec<Holder>,
    },
    /// The object changed since it was read.
    Stale {
        message: String,
    },
    Invalid {
        fields: Vec<InvalidField>,
        message: String,
    },
    NotFound {
        kind: String,
        name: String,
    },
    /// The namespace is being deleted.
    NamespaceGoing {
        message: String,
    },
    /// Too many requests right now.
    Throttled,
    /// The API server could not be asked. A write may have been carried out all the same.
    Unreachable {
        message: String,
    },
    /// It did not answer in time. A write may have been carried out all the same.
    Timeout,
    /// Anything else it said.
    Other {
        code: u16,
        message: String,
    },
}

/// One resource of a quota that would be exceeded, with the server's own quantities ("64Mi").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exceeded {
    pub resource: String,
    pub requested: String,
    pub used: String,
    pub limited: String,
}

/// A field and the manager that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub manager: String,
    pub field: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvalidField {
    pub field: String,
    pub message: String,
}

impl Refusal {
    /// From the answer of an API server. The order matters: admission answers borrow the codes of RBAC and of
    /// validation, so what they say is read before the code is believed.
    pub fn from_status(status: &Status) -> Self {
        admission(status).unwrap_or_else(|| by_code(status))
    }

    /// The same request may pass a little later, without anybody doing anything.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Stale { .. } | Self::Throttled | Self::Unreachable { .. } | Self::Timeout => true,
            Self::Other { code, .. } => *code >= 500,
            Self::Forbidden { .. }
            | Self::PortalForbidden { .. }
            | Self::Escalation { .. }
            | Self::Policy { .. }
            | Self::PodSecurity { .. }
            | Self::Quota { .. }
            | Self::QuotaNeeds { .. }
            | Self::LimitRange { .. }
            | Self::Conflict { .. }
            | Self::Invalid { .. }
            | Self::NotFound { .. }
            | Self::NamespaceGoing { .. } => false,
        }
    }

    /// A write answered like this may have been carried out: read again and look for the marker.
    pub fn may_have_been_applied(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout => true,
            Self::Other { code, .. } => *code >= 500,
            _ => false,
        }
    }

    /// What to tell a person, in plain words.
    pub fn sentence(&self) -> String {
        match self {
            Self::Forbidden { user, verb, resource, namespace, .. } if namespace.is_empty() => {
                format!("{user} may not {} {}.", doing(verb), things(resource))
            }
            Self::Forbidden { user, verb, resource, namespace, .. } => {
                format!("{user} may not {} {} in {namespace}.", doing(verb), things(resource))
            }
            Self::PortalForbidden { verb, resource, .. } => {
                format!(
                    "The portal may not {} {} for anybody in this cluster.",
                    doing(verb),
                    things(resource)
                )
            }
            Self::Escalation { user, .. } => format!(
                "{user} may not hand out this role: that takes the right to bind it, or every right that it holds."
            ),
            Self::Policy { policy, message } if policy.is_empty() => {
                format!("A policy of the cluster refuses this: {message}")
            }
            Self::Policy { policy, message } => format!("The policy {policy} refuses this: {message}"),
            Self::PodSecurity { profile, violations } => {
                format!("Pods here must keep to PodSecurity {profile}: {}.", violations.join("; "))
            }
            Self::Quota { quota, exceeded } => {
                let lines: Vec<_> = exceeded.iter().map(Exceeded::words).collect();
                format!("Not enough left in the quota {quota}: {}.", lines.join("; "))
            }
            Self::QuotaNeeds { quota, missing } => {
                format!("The quota {quota} counts what the pods leave out: {missing}.")
            }
            Self::LimitRange { message } => format!("The limits of the namespace refuse this: {message}."),
            Self::Conflict { holders } => {
                let lines: Vec<_> = holders.iter().map(Holder::words).collect();
                format!("{}. The portal does not overwrite it.", lines.join("; "))
            }
            Self::Stale { .. } => "Somebody changed this in the meantime. Look again, then repeat it.".into(),
            Self::Invalid { fields, message } if fields.is_empty() => {
                format!("The cluster calls this invalid: {message}")
            }
            Self::Invalid { fields, .. } => {
                let lines: Vec<_> = fields.iter().map(|f| format!("{}: {}", f.field, f.message)).collect();
                format!("The cluster calls this invalid: {}.", lines.join("; "))
            }
            Self::NotFound { kind, name } => format!("There is no {kind} {name} any more."),
            Self::NamespaceGoing { message } => format!("Nothing can be made here: {message}."),
            Self::Throttled => "The cluster has too many requests right now.".into(),
            Self::Unreachable { .. } => "The cluster can't be reached.".into(),
            Self::Timeout => "The cluster did not answer in time.".into(),
            Self::Other { code: 401, .. } => "The cluster does not know the portal any more.".into(),
            Self::Other { code, message } => format!("The cluster answered {code}: {message}"),
        }
    }

    /// Who can make the same request pass. `platform` are the groups that run the portal, as the provider names them.
    pub fn who_can_grant(&self, platform: &[String]) -> Option<String> {
        let who = match platform {
            [] => "Whoever runs the cluster".to_string(),
            groups => format!("The group {}", groups.join(" or ")),
        };
        match self {
            Self::Forbidden { namespace, .. } => {
                Some(format!("{who} can grant it with a RoleBinding in {namespace}."))
            }
            Self::PortalForbidden { .. } => {
                Some(format!("{who} can widen the portal's role in the cluster."))
            }
            Self::Escalation { .. } => Some(format!("{who} can grant the verb bind on the role.")),
            Self::Policy { policy, .. } if policy.is_empty() => Some(format!("{who} keeps the policies.")),
            Self::Policy { policy, .. } => Some(format!("{who} can change the policy {policy}.")),
            Self::PodSecurity { .. } => {
                Some(format!("The service's own settings have to change, or {} allows more.", lower(&who)))
            }
            Self::Quota { quota, .. } | Self::QuotaNeeds { quota, .. } => {
                Some(format!("{who} can raise the quota {quota}."))
            }
            Self::LimitRange { .. } => Some(format!("{who} can raise the limits.")),
            Self::Conflict { .. }
            | Self::Stale { .. }
            | Self::Invalid { .. }
            | Self::NotFound { .. }
            | Self::NamespaceGoing { .. }
            | Self::Throttled
            | Self::Unreachable { .. }
            | Self::Timeout
            | Self::Other { .. } => None,
        }
    }
}

impl Exceeded {
    fn words(&self) -> String {
        let show = |text: &str| quantity::show_text(&self.resource, text);
        format!(
            "{} needs {} more, and {} of {} is taken",
            counted(&self.resource),
            show(&self.requested),
            show(&self.used),
            show(&self.limited),
        )
    }
}

impl Holder {
    fn words(&self) -> String {
        let what = match self.container_image() {
            Some(container) => format!("the image of {container}"),
            None if self.field == ".spec.replicas" => "the number of replicas".into(),
            None => format!("the field {}", self.field.trim_start_matches('.')),
        };
        format!("{} holds {what}", ownership::words(&self.manager))
    }

    /// The container, where the field is the image of one.
    pub fn container_image(&self) -> Option<&str> {
        let rest = self.field.strip_prefix(".spec.template.spec.containers[name=\"")?;
        rest.strip_suffix("\"].image")
    }
}

fn lower(who: &str) -> String {
    let mut letters = who.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn doing(verb: &str) -> &str {
    match verb {
        "patch" | "update" => "change",
        "get" | "list" | "watch" => "read",
        "impersonate" => "act as",
        other => other,
    }
}

fn things(resource: &str) -> &str {
    match resource {
        "deployments" => "Deployments",
        "statefulsets" => "StatefulSets",
        "daemonsets" => "DaemonSets",
        "deployments/scale" | "statefulsets/scale" => "the number of replicas",
        "horizontalpodautoscalers" => "autoscalers",
        "poddisruptionbudgets" => "disruption budgets",
        "services" => "Services",
        "jobs" => "Jobs",
        "pods/log" => "logs",
        "rolebindings" => "RoleBindings",
        other => other,
    }
}

/// What a quota counts, in plain words.
pub(super) fn counted(resource: &str) -> &str {
    match resource {
        "requests.memory" | "memory" => "memory",
        "requests.cpu" | "cpu" => "CPU",
        "limits.memory" => "the memory limit",
        "limits.cpu" => "the CPU limit",
        "pods" | "count/pods" => "the number of pods",
        "count/jobs.batch" => "the number of Jobs",
        "count/deployments.apps" => "the number of Deployments",
        "count/statefulsets.apps" => "the number of StatefulSets",
        "count/daemonsets.apps" => "the number of DaemonSets",
        other => other,
    }
}

fn admission(status: &Status) -> Option<Refusal> {
    let message = status.message.as_str();
    let causes = status.details.iter().flat_map(|details| &details.causes);
    if causes.clone().any(|cause| cause.reason == "NamespaceTerminating") {
        let message = causes.map(|cause| cause.message.clone()).next().unwrap_or_default();
        return Some(Refusal::NamespaceGoing { message });
    }
    if let Some((_, rest)) = message.split_once("violates PodSecurity \"") {
        let (profile, rest) = rest.split_once("\": ")?;
        let violations = rest.split("), ").map(|one| one.trim_end_matches(')').to_string() + ")").collect();
        let profile = profile.trim_end_matches(":latest").to_string();
        return Some(Refusal::PodSecurity { profile, violations });
    }
    if let Some((_, rest)) = message.split_once("exceeded quota: ") {
        return exceeded_quota(rest);
    }
    if let Some((_, rest)) = message.split_once("failed quota: ") {
        let (quota, missing) = rest.split_once(": ")?;
        let missing = missing.trim_start_matches("must specify ").to_string();
        return Some(Refusal::QuotaNeeds { quota: quota.into(), missing });
    }
    if let Some((_, rest)) = message.split_once("ValidatingAdmissionPolicy '") {
        let (policy, rest) = rest.split_once('\'')?;
        let (_, said) = rest.split_once("denied request: ")?;
        return Some(Refusal::Policy { policy: policy.into(), message: said.into() });
    }
    if let Some((_, rest)) = message.split_once("admission webhook \"") {
        let (policy, rest) = rest.split_once('"')?;
        let said = rest.split_once("denied the request").map_or(rest, |(_, said)| said);
        let message =
            said.trim_start_matches([':', ' ']).trim_start_matches("without explanation").to_string();
        return Some(Refusal::Policy { policy: policy.into(), message });
    }
    // The LimitRanger has no name of its own in the answer, only these wordings.
    let limit = message.split_once("is forbidden: ").map(|(_, rest)| rest.trim_matches(['[', ']']))?;
    let is_limit = [" usage per ", " limit to request ratio per "].iter().any(|part| limit.contains(part));
    is_limit.then(|| Refusal::LimitRange { message: limit.into() })
}

/// `team, requested: pods=1,requests.memory=128Mi, used: …, limited: …`
fn exceeded_quota(text: &str) -> Option<Refusal> {
    let (quota, rest) = text.split_once(", requested: ")?;
    let (requested, rest) = rest.split_once(", used: ")?;
    let (used, limited) = rest.split_once(", limited: ")?;
    let pairs = |list: &str| -> Vec<(String, String)> {
        list.split(',').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    };
    let (used, limited) = (pairs(used), pairs(limited));
    let find = |list: &[(String, String)], name: &str| {
        list.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let exceeded = pairs(requested)
        .into_iter()
        .map(|(resource, requested)| Exceeded {
            used: find(&used, &resource),
            limited: find(&limited, &resource),
            resource,
            requested,
        })
        .collect();
    Some(Refusal::Quota { quota: quota.into(), exceeded })
}

fn by_code(status: &Status) -> Refusal {
    let details = status.details.as_ref();
    let causes = details.map(|details| details.causes.as_slice()).unwrap_or_default();
    let message = status.message.clone();
    match (status.code, status.reason.as_str()) {
        (403, _) => forbidden(message),
        (404, _) => Refusal::NotFound {
            kind: details.map(|details| details.kind.clone()).unwrap_or_default(),
            name: details.map(|details| details.name.clone()).unwrap_or_default(),
        },
        (409, _) => {
            let holders: Vec<_> = causes
                .iter()
                .filter(|cause| cause.reason == "FieldManagerConflict")
                .map(|cause| Holder {
                    manager: quoted(&cause.message).unwrap_or_default().into(),
                    field: cause.field.clone(),
                })
                .collect();
            if holders.is_empty() { Refusal::Stale { message } } else { Refusal::Conflict { holders } }
        }
        (422 | 400, _) => Refusal::Invalid {
            fields: causes
                .iter()
                .filter(|cause| !cause.field.is_empty())
                .map(|cause| InvalidField { field: cause.field.clone(), message: cause.message.clone() })
                .collect(),
            message,
        },
        (429, _) => Refusal::Throttled,
        (504, _) | (_, "Timeout" | "ServerTimeout") => Refusal::Timeout,
        (502 | 503, _) => Refusal::Unreachable { message },
        (code, _) => Refusal::Other { code, message },
    }
}

/// `… is forbidden: User "U" cannot VERB resource "R" in API group "G" in the namespace "N"`
fn forbidden(message: String) -> Refusal {
    let after = |key: &str| {
        message.split_once(key).and_then(|(_, rest)| rest.split_once('"')).map(|(x, _)| x.to_string())
    };
    let verb = message
        .split_once(" cannot ")
        .and_then(|(_, rest)| rest.split_once(" resource "))
        .map(|(verb, _)| verb.to_string())
        .unwrap_or_default();
    if message.contains("is attempting to grant RBAC permissions not currently held") {
        // `user "U" (groups=[…]) is attempting to …`
        return Refusal::Escalation { user: after("user \"").unwrap_or_default(), message };
    }
    let user = after("User \"").unwrap_or_default();
    let resource = after(" resource \"").unwrap_or_default();
    let namespace = after("in the namespace \"").unwrap_or_default();
    // Constrained impersonation asks twice about the portal: may it pose as the person, may it do this as anybody.
    if let Some(verb) = verb.strip_prefix("impersonate-on:user-info:") {
        return Refusal::PortalForbidden { verb: verb.into(), resource, message };
    }
    if verb.starts_with("impersonate") {
        return Refusal::PortalForbidden { verb: "impersonate".into(), resource, message };
    }
    if verb.is_empty() {
        return Refusal::Other { code: 403, message };
    }
    Refusal::Forbidden { user, verb, resource, namespace, message }
}

fn quoted(text: &str) -> Option<&str> {
    text.split_once('"')?.1.split_once('"').map(|(inner, _)| inner)
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence())
    }
}

impl std::error::Error for Refusal {}

impl From<kube::Error> for Refusal {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::from_status(&status),
            other => Self::Unreachable { message: other.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of a Kubernetes 1.36.3 API server, recorded.
    fn refusal(recorded: &str) -> Refusal {
        Refusal::from_status(&serde_json::from_str(recorded).unwrap())
    }

    #[test]
    fn rbac_names_the_person_and_what_they_may_not() {
        let refusal = refusal(
            r#"{"status":"Failure","message":"deployments.apps \"web\" is forbidden: User \"maya@acme.example\" cannot patch resource \"deployments\" in API group \"apps\" in the namespace \"storefront-staging\"","reason":"Forbidden","details":{"name":"web","group":"apps","kind":"deployments"},"code":403}"#,
        );
        assert_eq!(refusal.sentence(), "maya@acme.example may not change Deployments in storefront-staging.");
        assert_eq!(
            refusal.who_can_grant(&["platform".into()]).unwrap(),
            "The group platform can grant it with a RoleBinding in storefront-staging."
        );
        assert!(!refusal.retryable());
    }

    #[test]
    fn the_portals_own_role_is_told_apart_from_the_persons() {
        let refusal = refusal(
            r#"{"status":"Failure","message":"pods is forbidden: User \"pilothouse\" cannot impersonate-on:user-info:create resource \"pods\" in API group \"\" in the namespace \"apply-rec\"","reason":"Forbidden","details":{"kind":"pods"},"code":403}"#,
        );
        assert!(
            matches!(&refusal, Refusal::PortalForbidden { verb, resource, .. } if verb == "create" && resource == "pods")
        );
        assert_eq!(refusal.sentence(), "The portal may not create pods for anybody in this cluster.");
    }

    #[test]
    fn a_conflict_names_who_holds_which_field() {
        let refusal = refusal(
            r#"{"status":"Failure","message":"Apply failed with 1 conflict: conflict with \"kubectl-set\" using apps/v1: .spec.template.spec.containers[name=\"web\"].image","reason":"Conflict","details":{"causes":[{"reason":"FieldManagerConflict","message":"conflict with \"kubectl-set\" using apps/v1","field":".spec.template.spec.containers[name=\"web\"].image"}]},"code":409}"#,
        );
        let Refusal::Conflict { holders } = &refusal else { panic!("{refusal:?}") };
        assert_eq!(holders[0].manager, "kubectl-set");
        assert_eq!(holders[0].container_image(), Some("web"));
        assert_eq!(
            refusal.sentence(),
            "kubectl set holds the image of web. The portal does not overwrite it."
        );
    }

    #[test]
    fn an_old_resource_version_is_stale_and_worth_a_retry() {
        let refusal = refusal(
            r#"{"status":"Failure","message":"Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified; please apply your changes to the latest version and try again","reason":"Conflict","details":{"name":"web","group":"apps","kind":"deployments"},"code":409}"#,
        );
        assert!(matches!(refusal, Refusal::Stale { .. }));
        assert!(refusal.retryable() && !refusal.may_have_been_applied());
    }

    #[test]
    fn a_quota_says_how_much_is_missing() {
        let refusal = refusal(
            r#"{"status":"Failure","message":"pods \"x-nk55n\" is forbidden: exceeded quota: team, requested: pods=1,requests.memory=128Mi, used: pods=2,requests.memory=0, limited: pods=2,requests.memory=64Mi","reason":"Forbidden","details":{"name":"x-nk55n","kind":"pods"},"code":403}"#,
        );
        assert_eq!(
            refusal.sentence(),
            "Not enough left in the quota team: the number of pods needs 1 more, and 2 of 2 is taken; \
             memory needs 128 MiB more, and 0 of 64 MiB is taken."
        );
        let needs = super::tests::refusal(
            r#"{"status":"Failure","message":"pods \"x-p7f4w\" is forbidden: failed quota: nomem: must specify limits.cpu for: a","reason":"Forbidden","details":{"name":"x-p7f4w","kind":"pods"},"code":403}"#,
        );
        assert_eq!(needs.sentence(), "The quota nomem counts what the pods leave out: limits.cpu for: a.");
    }

    #[test]
    fn pod_security_lists_each_violation() {
        let refusal = refusal(
            r#"{"status":"Failure","message":"pods \"x-nh9bd\" is forbidden: violates PodSecurity \"restricted:latest\": host namespaces (hostNetwork=true), runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true)","reason":"Forbidden","details":{"name":"x-nh9bd","kind":"pods"},"code":403}"#,
        );
        let Refusal::PodSecurity { profile, violations } = refusal else { panic!("{refusal:?}") };
        assert_eq!(profile, "restricted");
        assert_eq!(
            violations,
            [
                "host namespaces (hostNetwork=true)",
                "runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true)",
            ]
        );
    }

    #[test]
    fn a_policy_speaks_in_its_own_words_whatever_its_code() {
        for (code, reason) in [(422, "Invalid"), (403, "Forbidden")] {
            let recorded = format!(
                r#"{{"status":"Failure","message":"deployments.apps \"nope\" is forbidden: ValidatingAdmissionPolicy 'names' with binding 'names' denied request: Names that begin with no are taken.","reason":"{reason}","details":{{"name":"nope","group":"apps","kind":"deployments","causes":[{{"message":"ValidatingAdmissionPolicy 'names' with binding 'names' denied request: Names that begin with no are taken."}}]}},"code":{code}}}"#
            );
            assert_eq!(
                refusal(&recorded),
                Refusal::Policy {
                    policy: "names".into(),
                    message: "Names that begin with no are taken.".into()
                }
            );
        }
        let webhook = refusal(
            r#"{"status":"Failure","message":"admission webhook \"images.acme.example\" denied the request: unsigned image","code":400}"#,
        );
        assert_eq!(webhook.sentence(), "The policy images.acme.example refuses this: unsigned image");
    }

    #[test]
    fn limits_and_validation_keep_their_field() {
        let limit = refusal(
            r#"{"status":"Failure","message":"pods \"x-88f6q\" is forbidden: maximum memory usage per Container is 256Mi, but limit is 512Mi","reason":"Forbidden","details":{"name":"x-88f6q","kind":"pods"},"code":403}"#,
        );
        assert_eq!(
            limit,
            Refusal::LimitRange {
                message: "maximum memory usage per Container is 256Mi, but limit is 512Mi".into()
            }
        );
        let invalid = refusal(
            r#"{"status":"Failure","message":"Deployment.apps \"nope\" is invalid: spec.selector: Required value","reason":"Invalid","details":{"name":"nope","group":"apps","kind":"Deployment","causes":[{"reason":"FieldValueRequired","message":"Required value","field":"spec.selector"}]},"code":422}"#,
        );
        assert_eq!(invalid.sentence(), "The cluster calls this invalid: spec.selector: Required value.");
    }

    #[test]
    fn what_is_gone_or_going_is_said() {
        let gone = refusal(
            r#"{"status":"Failure","message":"deployments.apps \"nope\" not found","reason":"NotFound","details":{"name":"nope","group":"apps","kind":"deployments"},"code":404}"#,
        );
        assert_eq!(gone, Refusal::NotFound { kind: "deployments".into(), name: "nope".into() });
        let going = refusal(
            r#"{"status":"Failure","message":"deployments.apps \"one\" is forbidden: unable to create new content in namespace apply-rec2 because it is being terminated","reason":"Forbidden","details":{"name":"one","group":"apps","kind":"deployments","causes":[{"reason":"NamespaceTerminating","message":"namespace apply-rec2 is being terminated","field":"metadata.namespace"}]},"code":403}"#,
        );
        assert_eq!(going.sentence(), "Nothing can be made here: namespace apply-rec2 is being terminated.");
    }

    #[test]
    fn an_answer_that_never_came_may_have_been_carried_out() {
        let timeout = refusal(
            r#"{"status":"Failure","message":"Timeout: request did not complete","reason":"Timeout","code":504}"#,
        );
        assert_eq!(timeout, Refusal::Timeout);
        assert!(timeout.may_have_been_applied() && timeout.retryable());
        let throttled = refusal(
            r#"{"status":"Failure","message":"Too many requests","reason":"TooManyRequests","code":429}"#,
        );
        assert!(throttled.retryable() && !throttled.may_have_been_applied());
    }

    #[test]
    fn a_refusal_survives_the_database() {
        let refusal = Refusal::Quota {
            quota: "team".into(),
            exceeded: vec![Exceeded {
                resource: "pods".into(),
                requested: "1".into(),
                used: "2".into(),
                limited: "2".into(),
            }],
        };
        let stored = serde_json::to_value(&refusal).unwrap();
        assert_eq!(stored["refusal"], "quota");
        assert_eq!(serde_json::from_value::<Refusal>(stored).unwrap(), refusal);
    }
}
