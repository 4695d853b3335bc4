//! `[[environment]]`: where services run, and what stands between a request and a change there.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use toml::Spanned;

use super::errors::Errors;
use super::strategy::{self, BlueGreen, CanaryStep, Strategy, default_canary};
use super::{Check, Config, Freeze, Frozen, default_expires, is_dns_label};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    pub name: Spanned<String>,
    pub cluster: Spanned<String>,
    /// `{service}`, `{team}` and `{environment}` are filled in; an entity's namespace annotation wins.
    pub namespace: Spanned<String>,
    /// Drawn as production, confirmed as production, soaked for a minute by default.
    #[serde(default)]
    pub production: bool,
    /// How many people other than the requester must approve.
    #[serde(default)]
    pub approvals: u32,
    /// Groups (as the provider names them) whose members may approve; `{team}` is filled in.
    #[serde(default)]
    pub approvers: Vec<String>,
    /// Groups (as the provider names them) whose members may go ahead without approval in an emergency.
    #[serde(default)]
    pub break_glass: Vec<Spanned<String>>,
    /// The environment that must have run the same image digest successfully before.
    pub requires: Option<Spanned<String>>,
    /// How long new pods are watched after the rollout is done. Default 60 s in production, else 0.
    pub soak: Option<SignedDuration>,
    /// How long a rollout may take before the portal calls it failed.
    #[serde(default = "default_deadline")]
    pub deadline: SignedDuration,
    /// Put the last good release back when a deploy fails. Default: in production.
    pub automatic_rollback: Option<bool>,
    /// How a new version takes over, where the person who asks does not pick another way.
    #[serde(default)]
    pub strategy: Strategy,
    /// The steps of a canary.
    #[serde(default = "default_canary")]
    pub canary: Vec<CanaryStep>,
    #[serde(default)]
    pub blue_green: BlueGreen,
    /// How long a request waits for approval.
    #[serde(default = "default_expires")]
    pub expires: SignedDuration,
    /// Let a tag through that the registry could not resolve to a digest.
    #[serde(default)]
    pub allow_unresolved: bool,
    /// What share of the requests may fail while a new version takes over.
    pub errors: Option<Errors>,
    /// When no deploy begins.
    #[serde(default, rename = "freeze")]
    pub freezes: Vec<Freeze>,
    /// The cluster itself demands the approval (`platform guard`). Only where approvals are asked for.
    pub guard: Option<Guard>,
}

/// Who gets past a cluster that demands approvals.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// Groups (as the provider names them) that may change things without approval when all else fails. The audit trail
    /// has every such change.
    pub break_glass: Vec<Spanned<String>>,
    /// Users, as the cluster names them, that make workloads of their own: operators outside kube-system.
    pub exempt: Vec<Spanned<String>>,
}

impl Environment {
    pub fn name(&self) -> &str {
        self.name.get_ref()
    }

    /// Fills in the namespace pattern.
    pub fn namespace_for(&self, service: &str, team: &str) -> String {
        self.namespace
            .get_ref()
            .replace("{service}", service)
            .replace("{team}", team)
            .replace("{environment}", self.name())
    }

    /// The groups that may approve for a team, as the provider names them.
    pub fn approvers_for(&self, team: &str) -> Vec<String> {
        self.approvers.iter().map(|group| group.replace("{team}", team)).collect()
    }

    /// The groups that may break the glass, as the provider names them.
    pub fn glass_groups(&self) -> Vec<String> {
        self.break_glass.iter().map(|group| group.get_ref().clone()).collect()
    }

    /// The freeze that holds now; of several, the one that ends last.
    pub fn frozen(&self, now: Timestamp) -> Option<Frozen> {
        self.freezes.iter().filter_map(|freeze| freeze.holds(now)).max_by_key(|frozen| frozen.until)
    }

    pub fn rolls_back(&self) -> bool {
        self.automatic_rollback.unwrap_or(self.production)
    }

    /// What the cluster calls the policy that demands approvals here; a refusal by it has this name.
    pub fn guard_policy(&self) -> Option<String> {
        self.guard.as_ref().map(|_| format!("pilothouse-guard-{}", self.name()))
    }

    pub fn soak(&self) -> SignedDuration {
        self.soak.unwrap_or(SignedDuration::from_secs(if self.production { 60 } else { 0 }))
    }
}

impl Config {
    pub(super) fn check_environments(&self, check: &mut Check) {
        let clusters: BTreeSet<_> = self.clusters.iter().map(|cluster| cluster.name.get_ref()).collect();
        let mut before = BTreeSet::new();
        for environment in &self.environments {
            let name = &environment.name;
            if !is_dns_label(name.get_ref()) {
                check.add(
                    name.span(),
                    "not a DNS label",
                    "Use lower-case letters, digits and dashes, 63 at most.",
                );
            }
            if !clusters.contains(environment.cluster.get_ref()) {
                let known = clusters.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
                check.add(
                    environment.cluster.span(),
                    "no [[cluster]] has this name",
                    &format!("Known: {known}."),
                );
            }
            if let Some(open) = unknown_placeholder(environment.namespace.get_ref()) {
                check.add(
                    environment.namespace.span(),
                    &format!("{open} means nothing here"),
                    "Use {service}, {team} and {environment}.",
                );
            }
            if environment.approvals > 0 && environment.approvers.is_empty() {
                check.add(
                    name.span(),
                    "approvals are asked for, but nobody may approve",
                    "Name groups in approvers.",
                );
            }
            for freeze in &environment.freezes {
                if let Some((span, what, help)) = freeze.mistake() {
                    check.add(span, what, help);
                }
            }
            if let Some(mistake) = strategy::mistake(&environment.canary) {
                check.add(
                    name.span(),
                    mistake,
                    "Mend canary, for example [{ weight = 10, pause = \"5m\" }].",
                );
            }
            environment.check_glass(check);
            if let Some(errors) = &environment.errors {
                errors.check(environment, self, check);
            }
            if let Some(required) =
                environment.requires.as_ref().filter(|name| !before.contains(name.get_ref()))
            {
                check.add(
                    required.span(),
                    "no environment above has this name",
                    "requires names an environment that stands before this one in the file.",
                );
            }
            if !before.insert(name.get_ref()) {
                check.add(name.span(), "two environments have this name", "Names must differ.");
            }
        }
    }
}

impl Environment {
    /// Who gets past an approval.
    fn check_glass(&self, check: &mut Check) {
        let name = &self.name;
        if self.guard.is_some() && self.approvals == 0 {
            check.add(
                name.span(),
                "the guard demands approvals that nobody is asked for",
                "Give approvals and approvers, or take [environment.guard] away.",
            );
        }
        if let Some(group) = self.break_glass.first().filter(|_| self.approvals == 0) {
            check.add(
                group.span(),
                "there is no glass to break where nobody has to approve",
                "Give approvals and approvers, or take break_glass away.",
            );
        }
        let guards = self.guard.as_ref().map(|guard| guard.break_glass.as_slice());
        let passes = |group: &&Spanned<String>| {
            guards.is_none_or(|passing| passing.iter().any(|other| other.get_ref() == group.get_ref()))
        };
        for stopped in self.break_glass.iter().filter(|group| !passes(group)) {
            check.add(
                stopped.span(),
                "the guard would refuse this group: the portal writes as the person",
                "Name it in break_glass of [environment.guard] as well.",
            );
        }
        let of_guard = self.guard.iter().flat_map(|guard| guard.break_glass.iter().chain(&guard.exempt));
        let named = self.break_glass.iter().chain(of_guard);
        for odd in named.filter(|name| !is_name(name.get_ref())) {
            check.add(
                odd.span(),
                "names nobody: it is empty, or has spaces or control characters at an end",
                "Write the name as the cluster's RoleBindings have it; groups without groups_prefix.",
            );
        }
    }
}

fn unknown_placeholder(pattern: &str) -> Option<&str> {
    let start = pattern.find('{')?;
    let end = start + pattern[start..].find('}').map_or(pattern.len() - start, |at| at + 1);
    match &pattern[start..end] {
        "{service}" | "{team}" | "{environment}" => unknown_placeholder(&pattern[end..]),
        other => Some(other),
    }
}

/// Whether a user or a group could be called this.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.trim() == name && !name.chars().any(char::is_control)
}

pub(super) fn default_deadline() -> SignedDuration {
    SignedDuration::from_mins(10)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::{GOOD, problems};
    use super::*;

    #[test]
    fn a_guard_needs_approvals_to_ask_for_and_names_that_somebody_can_have() {
        let guard = "[environment.guard]\nbreak_glass = [\"break-glass\"]\n";
        let config = Config::parse("pilothouse.toml", &format!("{GOOD}{guard}"), Path::new(".")).unwrap();
        let guard_of = |name: &str| config.environment(name).unwrap().guard.as_ref();
        assert_eq!(guard_of("production").unwrap().break_glass[0].get_ref(), "break-glass");
        assert!(guard_of("staging").is_none());

        let text =
            format!("{GOOD}{guard}").replace("approvals = 1\n", "").replace("\"break-glass\"", "\" \"");
        let whats: Vec<_> = problems(&text).into_iter().map(|(_, what)| what).collect();
        assert_eq!(
            whats,
            [
                "the guard demands approvals that nobody is asked for",
                "names nobody: it is empty, or has spaces or control characters at an end"
            ]
        );
    }

    #[test]
    fn glass_is_broken_where_somebody_would_have_to_approve_and_the_guard_lets_it_pass() {
        let with = |groups: &str| {
            GOOD.replace("approvals = 1\n", &format!("approvals = 1\nbreak_glass = [{groups}]\n"))
        };
        let whats = |text: &str| problems(text).into_iter().map(|(_, what)| what).collect::<Vec<_>>();
        let config = Config::parse("pilothouse.toml", &with("\"on-call\""), Path::new(".")).unwrap();
        assert_eq!(config.environment("production").unwrap().glass_groups(), ["on-call"]);
        assert_eq!(config.environment("staging").unwrap().glass_groups(), [""; 0]);

        let free = with("\"on-call\"").replace("approvals = 1\n", "");
        assert_eq!(whats(&free), ["there is no glass to break where nobody has to approve"]);
        let mend =
            &Config::parse("pilothouse.toml", &with("\" on-call\""), Path::new(".")).unwrap_err().0[0].mend;
        assert!(mend.starts_with("Write the name as the cluster's RoleBindings have it"), "{mend}");
        let odd = "names nobody: it is empty, or has spaces or control characters at an end";
        assert_eq!(whats(&with("\" on-call\"")), [odd]);
        let guard = "[environment.guard]\nbreak_glass = [\"break-glass\"]\n";
        let stopped = "the guard would refuse this group: the portal writes as the person";
        assert_eq!(whats(&format!("{}{guard}", with("\"on-call\", \"break-glass\""))), [stopped]);
    }
}
