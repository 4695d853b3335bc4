//! `[[machine]]`: identities for pipelines. A machine belongs to a team, may change that team's services in the
//! environments it names, and is let in by tokens of a CI system that the company trusts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;
use url::{Host, Url};

use super::{Check, Config, is_dns_label};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    pub name: Spanned<String>,
    /// Whose services it may change, and whose people may make tokens for it.
    pub team: String,
    pub environments: Vec<Spanned<String>>,
    /// Of `read`, `deploy` and `production`; never `approve`.
    pub scopes: Vec<Spanned<String>>,
    /// Its groups in Kubernetes, which get `oidc.groups_prefix` like a person's.
    #[serde(default)]
    pub groups: BTreeSet<String>,
    #[serde(default)]
    pub trust: Vec<Trust>,
}

/// Tokens of a CI system that are taken as this machine's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// Exactly as in the token; its keys are found by OpenID Connect Discovery.
    pub issuer: Spanned<String>,
    /// What the pipeline asks its token for; the token may be for nobody else.
    pub audience: String,
    /// The token's `sub`. `*` stands for one or more characters other than `:` and `/`.
    pub subject: Spanned<String>,
    /// Further claims that must be there with exactly this text.
    #[serde(default)]
    pub claims: BTreeMap<String, String>,
    /// The claim that names who set the pipeline off, for the audit trail.
    pub actor_claim: Option<String>,
}

impl Machine {
    pub fn name(&self) -> &str {
        self.name.get_ref()
    }

    pub fn may_enter(&self, environment: &str) -> bool {
        self.environments.iter().any(|name| name.get_ref() == environment)
    }
}

impl Config {
    pub fn machine(&self, name: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.name() == name)
    }

    pub(super) fn check_machines(&self, check: &mut Check) {
        let mut seen = BTreeSet::new();
        for machine in &self.machines {
            let name = &machine.name;
            if !is_dns_label(name.get_ref()) || !seen.insert(name.get_ref()) {
                check.add(
                    name.span(),
                    "two machines have this name, or it is not a DNS label",
                    "Use lower-case letters, digits and dashes, 63 at most; names must differ.",
                );
            }
            for environment in &machine.environments {
                if self.environment(environment.get_ref()).is_none() {
                    check.add(
                        environment.span(),
                        "no [[environment]] has this name",
                        "Name environments that stand in this file.",
                    );
                }
            }
            for scope in &machine.scopes {
                match scope.get_ref().as_str() {
                    "read" | "deploy" | "production" => {}
                    "approve" => check.add(
                        scope.span(),
                        "a machine never approves",
                        "Take “approve” from its scopes: approvals are people's.",
                    ),
                    _ => check.add(scope.span(), "no such scope", "Use read, deploy and production."),
                }
            }
            if machine.environments.is_empty() || machine.scopes.is_empty() {
                check.add(
                    name.span(),
                    "this machine may do nothing",
                    "Name at least one environment and one scope.",
                );
            }
            for trust in &machine.trust {
                trust.check(check);
            }
        }
    }
}

impl Trust {
    fn check(&self, check: &mut Check) {
        if !Url::parse(self.issuer.get_ref()).is_ok_and(|url| is_safe(&url)) {
            check.add(
                self.issuer.span(),
                "a CI system's issuer must be an https address",
                "Its keys are fetched from there; only http://localhost and http://127.0.0.1 are let off.",
            );
        }
        if !is_narrow(self.subject.get_ref()) {
            check.add(
                self.subject.span(),
                "this subject would fit tokens of anybody's pipelines",
                "Before the first * there must be more than the first part, e.g. repo:acme/checkout-api:*.",
            );
        }
        if self.subject.get_ref().split([':', '/']).any(|part| part.matches('*').count() > 1) {
            check.add(
                self.subject.span(),
                "one part of this subject has several *",
                "Between two of : and / there is one * at most.",
            );
        }
        if self.audience.trim().is_empty() {
            check.add(self.issuer.span(), "machine.trust.audience is empty", "Give the portal's base_url.");
        }
    }
}

/// Whether what comes from this address can't be changed on its way.
pub fn is_safe(url: &Url) -> bool {
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && local)
}

/// CI systems name the kind first and the owner second (`repo:acme/…`, `project_path:acme/…`, `org/acme/…`). A pattern
/// that leaves the owner open lets every customer of the CI system in.
fn is_narrow(pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => !pattern.trim().is_empty(),
        Some((literal, _)) => literal
            .split_once([':', '/'])
            .is_some_and(|(kind, owner)| !kind.is_empty() && owner.contains([':', '/'])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_the_owner_before_anything_is_left_open() {
        for narrow in [
            "repo:acme/checkout-api:ref:refs/heads/main",
            "repo:acme/checkout-api:*",
            "repo:acme/*:environment:production",
            "project_path:acme/checkout-api:ref_type:branch:ref:*",
            "build-server",
        ] {
            assert!(is_narrow(narrow), "{narrow}");
        }
        for wide in [
            "",
            " ",
            "*",
            "repo:*",
            "repo:*/checkout-api:*",
            "repo:acme*/checkout-api:*",
            "*:acme/x",
            ":acme/*",
        ] {
            assert!(!is_narrow(wide), "{wide}");
        }
    }

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        let safe = |url: &str| is_safe(&url.parse().unwrap());
        assert!(safe("https://ci.example") && safe("http://127.0.0.1:8080") && safe("http://localhost"));
        assert!(
            !safe("http://ci.example") && !safe("http://localhost.evil.example") && !safe("ftp://localhost")
        );
    }
}
