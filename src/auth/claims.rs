//! From claims to a person. What a provider says about somebody is checked here, once, before there is a session
//! and before any cluster hears of them. Pure: claims in, [`Person`] or [`Refused`] out.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::machine::PREFIX;
use super::{Identity, KubeIdentity, OddClaim, Person};
use crate::config::Oidc;

pub type Claims = Map<String, Value>;

/// A claim that can't become a Kubernetes identity, by its name at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub claim: String,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Missing,
    Empty,
    /// Neither text nor, for groups, a list of texts.
    WrongType,
    /// Control characters, letters beyond ASCII, blanks around it, or too long.
    Odd,
    /// Begins with `machine:`, as those of pipelines do.
    Machine,
    /// Begins with `system:`, the cluster's own.
    System(String),
}

/// Whether the ID token says everything we ask for, or the userinfo endpoint has to be asked too.
pub fn is_complete(config: &Oidc, claims: &Claims) -> bool {
    claims.contains_key(&config.username_claim) && claims.contains_key(&config.groups_claim)
}

/// The person the claims speak of. No groups claim means no groups; a username there must be.
pub fn person(config: &Oidc, identity: Identity, claims: &Claims) -> Result<Person, Refused> {
    let refused = |claim: &str, why| Refused { claim: claim.into(), why };
    let username = match claims.get(&config.username_claim) {
        Some(Value::String(username)) => username.clone(),
        Some(Value::Null) | None => return Err(refused(&config.username_claim, Why::Missing)),
        Some(_) => return Err(refused(&config.username_claim, Why::WrongType)),
    };
    if username.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)) {
        return Err(refused(&config.username_claim, Why::Machine));
    }
    let groups = groups(claims.get(&config.groups_claim))
        .ok_or_else(|| refused(&config.groups_claim, Why::WrongType))?;
    let name = match claims.get("name") {
        Some(Value::String(name)) if !name.trim().is_empty() => name.trim().chars().take(100).collect(),
        _ => username.clone(),
    };
    let person = Person { identity, username, name, groups, set_off_by: None };
    match KubeIdentity::new(&person, &config.groups_prefix) {
        Ok(_) => Ok(person),
        Err(odd) => Err(translate(config, odd)),
    }
}

/// A list of texts, or one text; absent is none.
fn groups(claim: Option<&Value>) -> Option<BTreeSet<String>> {
    match claim {
        None | Some(Value::Null) => Some(BTreeSet::new()),
        Some(Value::String(one)) => Some(BTreeSet::from([one.clone()])),
        Some(Value::Array(list)) => list.iter().map(|group| group.as_str().map(Into::into)).collect(),
        Some(_) => None,
    }
}

/// [`KubeIdentity`] speaks of "user name" and "groups"; people at the provider know the claim by its own name.
fn translate(config: &Oidc, odd: OddClaim) -> Refused {
    let (which, why) = match odd {
        OddClaim::Empty(which) => (which, Why::Empty),
        OddClaim::Odd(which) => (which, Why::Odd),
        OddClaim::System(which, value) => (which, Why::System(value)),
    };
    let claim = if which == "groups" { &config.groups_claim } else { &config.username_claim };
    Refused { claim: claim.clone(), why }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(claims: Value) -> Result<Person, Refused> {
        let config: Oidc =
            toml::from_str("issuer = \"https://id.example\"\nclient_id = \"pilothouse\"").unwrap();
        let identity = Identity { issuer: "https://id.example".into(), subject: "1".into() };
        let Value::Object(claims) = claims else { unreachable!("tests give objects") };
        person(&config, identity, &claims)
    }

    fn refused(claim: &str, why: Why) -> Result<Person, Refused> {
        Err(Refused { claim: claim.into(), why })
    }

    #[test]
    fn claims_become_a_person() {
        let maya = read(json!({"preferred_username": "maya", "name": " Maya Okafor ", "groups": ["payments", "engineering"]})).unwrap();
        assert_eq!((maya.username.as_str(), maya.name.as_str()), ("maya", "Maya Okafor"));
        assert_eq!(maya.groups, BTreeSet::from(["engineering".into(), "payments".into()]));
    }

    #[test]
    fn groups_may_be_one_text_or_absent() {
        assert_eq!(
            read(json!({"preferred_username": "maya", "groups": "payments"})).unwrap().groups.len(),
            1
        );
        assert!(read(json!({"preferred_username": "noor"})).unwrap().groups.is_empty());
        assert!(read(json!({"preferred_username": "noor", "groups": []})).unwrap().groups.is_empty());
        assert_eq!(read(json!({"preferred_username": "noor"})).unwrap().name, "noor");
    }

    #[test]
    fn a_refusal_names_the_claim() {
        let system = || Why::System("system:masters".into());
        for (claims, expected) in [
            (json!({}), refused("preferred_username", Why::Missing)),
            (json!({"preferred_username": null}), refused("preferred_username", Why::Missing)),
            (json!({"preferred_username": ""}), refused("preferred_username", Why::Empty)),
            (json!({"preferred_username": "  "}), refused("preferred_username", Why::Empty)),
            (json!({"preferred_username": 7}), refused("preferred_username", Why::WrongType)),
            (json!({"preferred_username": "may\na"}), refused("preferred_username", Why::Odd)),
            (json!({"preferred_username": "mäya"}), refused("preferred_username", Why::Odd)),
            (json!({"preferred_username": "system:masters"}), refused("preferred_username", system())),
            (
                json!({"preferred_username": "maya", "groups": ["system:masters"]}),
                refused("groups", system()),
            ),
            (json!({"preferred_username": "maya", "groups": "system:masters"}), refused("groups", system())),
            (json!({"preferred_username": "maya", "groups": [""]}), refused("groups", Why::Empty)),
            (json!({"preferred_username": "maya", "groups": ["a", 1]}), refused("groups", Why::WrongType)),
            (json!({"preferred_username": "maya", "groups": {"a": true}}), refused("groups", Why::WrongType)),
            (json!({"preferred_username": "maya", "groups": ["a\u{0}b"]}), refused("groups", Why::Odd)),
        ] {
            assert_eq!(read(claims.clone()), expected, "{claims}");
        }
    }
}
