//! Who is asking. A [`CurrentUser`] exists only after a sign-in was verified, and its claims were checked
//! so that they can never become an empty, odd or `system:` identity in a cluster.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A person as the provider knows them. Never the e-mail address: those move between people.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    pub issuer: String,
    pub subject: String,
}

impl Identity {
    /// An idempotency key as it is stored. It is its sender's own: two people who happen to choose the same one ask for
    /// two things. None: there is no key.
    pub fn stored_key(&self, key: &str) -> Option<String> {
        if key.is_empty() {
            return None;
        }
        let parts = serde_json::json!([self.issuer, self.subject, key]);
        Some(hex::encode(Sha256::digest(parts.to_string())))
    }
}

/// A person's claims, checked. Stored with a session and with every request they make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub identity: Identity,
    /// The user name Kubernetes sees.
    pub username: String,
    /// What people call them; the user name where the provider has none.
    pub name: String,
    /// Groups as the provider names them, without the cluster prefix.
    pub groups: BTreeSet<String>,
    /// Of a machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_off_by: Option<Box<SetOffBy>>,
}

/// The person behind a machine, as far as it is known. Four eyes stay four: they don't approve what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetOffBy {
    /// Who made the machine's stored token. None: a CI system named the person, by the name they have there.
    pub identity: Option<Identity>,
    pub name: String,
}

/// The signed-in person of this request.
#[derive(Clone, Debug)]
pub struct CurrentUser(pub Arc<Person>);

impl std::ops::Deref for CurrentUser {
    type Target = Person;
    fn deref(&self) -> &Person {
        &self.0
    }
}

impl Person {
    /// At most two letters for the avatar.
    pub fn initials(&self) -> String {
        initials(&self.name)
    }

    /// Whether a machine asks because of this person. A name in the CI system counts as theirs where it is their user
    /// name, or what stands before the @ of it.
    pub fn set_off(&self, requester: &Self) -> bool {
        requester.set_off_by.as_ref().is_some_and(|by| match &by.identity {
            Some(identity) => *identity == self.identity,
            None => {
                let local = self.username.split('@').next().unwrap_or_default();
                [self.username.as_str(), local].iter().any(|name| by.name.eq_ignore_ascii_case(name))
            }
        })
    }

    pub fn is_in_any<'a>(&self, groups: impl IntoIterator<Item = &'a String>) -> bool {
        groups.into_iter().any(|group| self.groups.contains(group))
    }
}

/// First letters of the first and last word: "Maya Okafor" is MO.
pub fn initials(name: &str) -> String {
    let mut words = name.split_whitespace();
    let first = words.next().and_then(|word| word.chars().next());
    let last = words.next_back().and_then(|word| word.chars().next());
    first.into_iter().chain(last).flat_map(char::to_uppercase).collect()
}

/// Why a claim can't become a Kubernetes identity.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum OddClaim {
    #[error("the {0} claim is empty")]
    Empty(&'static str),
    #[error("the {0} claim holds control characters or is over 256 bytes long")]
    Odd(&'static str),
    #[error("the {0} claim {1:?} begins with “system:”, which belongs to the cluster")]
    System(&'static str, String),
}

/// The identity that goes on the wire to a cluster. Can only be built from checked claims, so an impersonated
/// call always carries a user: without that header a request would run as the portal itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KubeIdentity {
    username: String,
    groups: Vec<String>,
}

impl KubeIdentity {
    /// Checks the claims and puts `prefix` before each group.
    pub fn new(person: &Person, prefix: &str) -> Result<Self, OddClaim> {
        let username = checked("user name", &person.username)?.to_string();
        let groups = person
            .groups
            .iter()
            .map(|group| checked("groups", group).map(|group| format!("{prefix}{group}")))
            .collect::<Result<_, _>>()?;
        Ok(Self { username, groups })
    }

    pub fn username(&self) -> &str {
        &self.username
    }

    pub fn groups(&self) -> &[String] {
        &self.groups
    }
}

/// One claim value, or why it is refused. The `system:` test ignores case and leading blanks on purpose.
fn checked<'a>(claim: &'static str, value: &'a str) -> Result<&'a str, OddClaim> {
    let trimmed = value.trim();
    if trimmed.is_empty() {
        return Err(OddClaim::Empty(claim));
    }
    if trimmed.to_ascii_lowercase().starts_with("system:") {
        return Err(OddClaim::System(claim, value.to_string()));
    }
    // Header values: what is not visible ASCII can't be sent faithfully, so it is refused, not mangled.
    if value.len() > 256 || value != trimmed || value.chars().any(|c| !(' '..='~').contains(&c)) {
        return Err(OddClaim::Odd(claim));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(username: &str, groups: &[&str]) -> Person {
        Person {
            identity: Identity { issuer: "https://id.example".into(), subject: "1".into() },
            username: username.into(),
            name: "Maya Okafor".into(),
            groups: groups.iter().map(ToString::to_string).collect(),
            set_off_by: None,
        }
    }

    #[test]
    fn who_set_a_machine_off_is_known_by_identity_or_by_name() {
        let maya = person("Maya@acme.example", &[]);
        let by = |identity, name: &str| Person {
            set_off_by: Some(Box::new(SetOffBy { identity, name: name.into() })),
            ..person("machine:payments-ci", &[])
        };
        assert!(maya.set_off(&by(Some(maya.identity.clone()), "whoever")));
        assert!(maya.set_off(&by(None, "maya")) && maya.set_off(&by(None, "maya@ACME.example")));
        let other = Identity { issuer: "https://id.example".into(), subject: "2".into() };
        assert!(!maya.set_off(&by(Some(other), "maya")) && !maya.set_off(&by(None, "mayab")));
        assert!(!maya.set_off(&maya));
    }

    #[test]
    fn a_key_is_its_senders_own() {
        let sender =
            |subject: &str| Identity { issuer: "https://id.example".into(), subject: subject.into() };
        assert_eq!(sender("maya").stored_key("1"), sender("maya").stored_key("1"));
        assert_ne!(sender("maya").stored_key("1"), sender("omar").stored_key("1"));
        assert_eq!(sender("maya").stored_key(""), None);
    }

    #[test]
    fn groups_are_prefixed_on_their_way_to_the_cluster() {
        let identity = KubeIdentity::new(&person("maya@acme.example", &["payments"]), "oidc:").unwrap();
        assert_eq!(identity.username(), "maya@acme.example");
        assert_eq!(identity.groups(), ["oidc:payments"]);
    }

    #[test]
    fn empty_odd_and_system_claims_never_reach_a_cluster() {
        for (username, groups) in [
            ("", vec![]),
            ("   ", vec![]),
            ("system:admin", vec![]),
            (" System:admin", vec![]),
            ("maya\nImpersonate-Group: system:masters", vec![]),
            ("maya\u{202e}", vec![]),
            ("maya", vec!["system:masters"]),
            ("maya", vec![""]),
        ] {
            assert!(
                KubeIdentity::new(&person(username, &groups), "oidc:").is_err(),
                "{username:?} {groups:?}"
            );
        }
    }

    #[test]
    fn initials_are_the_first_and_last_word() {
        assert_eq!(initials("Maya Okafor"), "MO");
        assert_eq!(initials("maya"), "M");
        assert_eq!(initials(""), "");
    }
}
