//! Machines: pipelines that ask for changes. They are no persons: they have no session, no provider says who they are,
//! and whatever group they are given, they never decide. Who they are stands in the configuration (`[[machine]]`).

use jiff::SignedDuration;

use super::claims::Claims;
use super::{Identity, Person, Scopes, SetOffBy};
use crate::config::{Config, Machine, Trust};

/// The issuer of every machine. No provider's: those are addresses.
pub const ISSUER: &str = "machine";
/// Before every machine's user name in Kubernetes. No person's user name begins like that (`claims.rs`).
pub const PREFIX: &str = "machine:";
/// OpenID Connect Core allows 255 ASCII characters.
const LONGEST_SUBJECT: usize = 255;
/// A pipeline that runs longer exchanges its CI token again.
pub const LIVES: SignedDuration = SignedDuration::from_mins(15);

pub fn is_machine(identity: &Identity) -> bool {
    identity.issuer == ISSUER
}

/// The machine behind an identity, if the configuration still has it.
pub fn of<'c>(config: &'c Config, identity: &Identity) -> Option<&'c Machine> {
    if is_machine(identity) { config.machine(&identity.subject) } else { None }
}

/// As clusters and the audit trail know it.
pub fn person(machine: &Machine, set_off_by: Option<Box<SetOffBy>>) -> Person {
    let name = match &set_off_by {
        Some(by) => format!("{} for {}", machine.name(), by.name),
        None => machine.name().into(),
    };
    Person {
        identity: identity(machine),
        username: format!("{PREFIX}{}", machine.name()),
        name,
        groups: machine.groups.clone(),
        set_off_by,
    }
}

pub fn identity(machine: &Machine) -> Identity {
    Identity { issuer: ISSUER.into(), subject: machine.name().into() }
}

/// What it may be used for today, whatever it was allowed when a token was made.
pub fn scopes(machine: &Machine) -> Scopes {
    let names: Vec<String> = machine.scopes.iter().map(|scope| scope.get_ref().clone()).collect();
    Scopes::from_names(&names)
}

/// Why a machine may not change something. A cluster's own rights come on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfBounds {
    /// It is no longer in the configuration.
    Gone,
    Team,
    Environment,
}

/// Whether whoever asks may change a service of this team there. Persons are bounded by their clusters alone.
pub fn may_change(config: &Config, who: &Identity, team: &str, environment: &str) -> Result<(), OutOfBounds> {
    if !is_machine(who) {
        return Ok(());
    }
    let machine = of(config, who).ok_or(OutOfBounds::Gone)?;
    if machine.team != team {
        return Err(OutOfBounds::Team);
    }
    if !machine.may_enter(environment) {
        return Err(OutOfBounds::Environment);
    }
    Ok(())
}

/// Whether what was asked for earlier may still be done: a machine that is gone, or has fewer groups by now, is not
/// borrowed from.
pub fn may_still_change(config: &Config, who: &Person, team: &str, environment: &str) -> bool {
    may_change(config, &who.identity, team, environment).is_ok()
        && of(config, &who.identity).is_none_or(|machine| who.groups.is_subset(&machine.groups))
}

/// Who may make tokens for it and take them away.
pub fn may_keep(machine: &Machine, person: &Person, is_platform: bool) -> bool {
    !is_machine(&person.identity) && (is_platform || person.groups.contains(&machine.team))
}

/// Why a CI token is no machine's. The first of them that is wrong is told to the author of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoMachine {
    /// No trust names this issuer and audience together.
    Audience,
    Subject,
    Claim(String),
    /// Several fit: the pipeline has to say which it is.
    Several,
    /// It said which, and there is none of that name that trusts the issuer.
    Unknown,
}

/// The machine that trusts a token with these claims, whose signature and times were checked. `named`: what the
/// pipeline calls itself; needed only where several fit.
pub fn trusting<'c>(
    machines: &'c [Machine],
    claims: &Claims,
    named: Option<&str>,
) -> Result<(&'c Machine, &'c Trust), NoMachine> {
    let text = |name: &str| claims.get(name).and_then(|value| value.as_str());
    let trusts = machines.iter().flat_map(|machine| machine.trust.iter().map(move |trust| (machine, trust)));
    let mut left: Vec<_> = trusts
        .filter(|(machine, _)| named.is_none_or(|name| machine.name() == name))
        .filter(|(_, trust)| text("iss") == Some(trust.issuer.get_ref()))
        .collect();
    if left.is_empty() {
        return Err(NoMachine::Unknown);
    }
    left.retain(|(_, trust)| is_for(claims, &trust.audience));
    if left.is_empty() {
        return Err(NoMachine::Audience);
    }
    left.retain(|(_, trust)| text("sub").is_some_and(|subject| fits(trust.subject.get_ref(), subject)));
    if left.is_empty() {
        return Err(NoMachine::Subject);
    }
    let differs = |trust: &Trust| {
        trust.claims.iter().find(|(name, wanted)| text(name) != Some(wanted)).map(|(name, _)| name.clone())
    };
    let first = left[0].1;
    left.retain(|(_, trust)| differs(trust).is_none());
    match left[..] {
        [] => Err(NoMachine::Claim(differs(first).unwrap_or_default())),
        [found] => Ok(found),
        // Two rules of one machine may both fit; two machines may not.
        [found, ..] if left.iter().all(|(machine, _)| machine.name() == found.0.name()) => Ok(found),
        [..] => Err(NoMachine::Several),
    }
}

/// For us and nobody else, as with ID tokens.
fn is_for(claims: &Claims, audience: &str) -> bool {
    super::logout_token::is_for(claims.get("aud"), audience)
}

/// Whether a subject has the form of the pattern, in which `*` is one or more visible characters other than `:` and `/`.
fn fits(pattern: &str, subject: &str) -> bool {
    let odd = |letter: char| !letter.is_ascii_graphic();
    subject.len() <= LONGEST_SUBJECT && !subject.contains(odd) && follows(pattern, subject)
}

fn follows(pattern: &str, subject: &str) -> bool {
    let Some((literal, pattern)) = pattern.split_once('*') else { return pattern == subject };
    let Some(rest) = subject.strip_prefix(literal) else { return false };
    let run = rest.split([':', '/']).next().unwrap_or_default();
    (1..=run.len()).any(|end| follows(pattern, &rest[end..]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUED_BY: &str = "https://ci.example";

    fn machines(text: &str) -> Vec<Machine> {
        #[derive(serde::Deserialize)]
        struct Only {
            machine: Vec<Machine>,
        }
        toml::from_str::<Only>(text).unwrap().machine
    }

    fn payments() -> Vec<Machine> {
        machines(
            r#"
            [[machine]]
            name = "payments-ci"
            team = "payments"
            environments = ["staging"]
            scopes = ["read", "deploy"]
            [[machine.trust]]
            issuer = "https://ci.example"
            audience = "https://portal.example"
            subject = "repo:acme/checkout-api:ref:refs/heads/*"
            claims = { environment = "staging" }
            "#,
        )
    }

    fn claims() -> serde_json::Value {
        json!({ "iss": ISSUED_BY, "aud": "https://portal.example", "environment": "staging",
                "sub": "repo:acme/checkout-api:ref:refs/heads/main" })
    }

    fn tried(
        machines: &[Machine],
        claims: serde_json::Value,
        named: Option<&str>,
    ) -> Result<String, NoMachine> {
        trusting(machines, claims.as_object().unwrap(), named).map(|(machine, _)| machine.name().to_string())
    }

    #[test]
    fn a_star_is_one_part_of_a_name() {
        let fits_all = |pattern, subjects: &[&str]| subjects.iter().all(|subject| fits(pattern, subject));
        let pattern = "repo:acme/*:ref:refs/heads/main";
        assert!(fits_all(
            pattern,
            &["repo:acme/checkout-api:ref:refs/heads/main", "repo:acme/x:ref:refs/heads/main"]
        ));
        for other in [
            "repo:acme/:ref:refs/heads/main",
            "repo:acme/a/b:ref:refs/heads/main",
            "repo:acme/a:ref:refs/heads/main:ref:refs/heads/main",
            "repo:acme/a:ref:refs/heads/main ",
            "repo:acme/a:ref:refs/heads/main\n",
            "repo:acme/a:ref:refs/heads/mainline",
            " repo:acme/a:ref:refs/heads/main",
            "repo:ACME/a:ref:refs/heads/main",
            "repo:acme-evil/a:ref:refs/heads/main",
        ] {
            assert!(!fits(pattern, other), "{other:?}");
        }
        assert!(fits("a:*-*", "a:b-c") && fits("a:*-*", "a:b-c-d") && !fits("a:*-*", "a:b"));
        assert!(!fits("a:*", "a:") && !fits("a:*", "a:ü") && !fits("a:*", "a:b c") && !fits("a:*", "a:b\0"));
        assert!(fits("a:*", &format!("a:{}", "b".repeat(253))));
        assert!(!fits("a:*", &format!("a:{}", "b".repeat(254))));
    }

    #[test]
    fn the_first_thing_that_is_wrong_is_told() {
        let with = |name: &str, value: serde_json::Value| {
            let mut claims = claims();
            claims[name] = value;
            tried(&payments(), claims, None)
        };
        assert_eq!(tried(&payments(), claims(), None), Ok("payments-ci".into()));
        assert_eq!(tried(&payments(), claims(), Some("payments-ci")), Ok("payments-ci".into()));
        assert_eq!(tried(&payments(), claims(), Some("other")), Err(NoMachine::Unknown));
        assert_eq!(with("iss", json!("https://ci.example/")), Err(NoMachine::Unknown));
        assert_eq!(with("aud", json!("https://other.example")), Err(NoMachine::Audience));
        assert_eq!(
            with("aud", json!(["https://portal.example", "https://other.example"])),
            Err(NoMachine::Audience)
        );
        assert_eq!(
            with("sub", json!("repo:acme/checkout-api-evil:ref:refs/heads/main")),
            Err(NoMachine::Subject)
        );
        assert_eq!(with("sub", json!(7)), Err(NoMachine::Subject));
        assert_eq!(with("environment", json!("production")), Err(NoMachine::Claim("environment".into())));
        assert_eq!(with("environment", json!(["staging"])), Err(NoMachine::Claim("environment".into())));
    }

    #[test]
    fn of_two_that_fit_the_pipeline_says_which() {
        let mut both = payments();
        both.extend(payments());
        assert_eq!(tried(&both, claims(), None), Ok("payments-ci".into()), "two rules of one machine");
        both[1].name = toml::Spanned::new(0..0, "other-ci".into());
        assert_eq!(tried(&both, claims(), None), Err(NoMachine::Several));
        assert_eq!(tried(&both, claims(), Some("other-ci")), Ok("other-ci".into()));
    }

    #[test]
    fn a_team_keeps_its_machines_and_machines_keep_none() {
        let machine = &payments()[0];
        let mut someone = person(machine, None);
        someone.groups = ["payments".to_string()].into();
        assert!(!may_keep(machine, &someone, true), "a machine makes no tokens for machines");
        someone.identity.issuer = "https://id.example".into();
        assert!(may_keep(machine, &someone, false));
        someone.groups.clear();
        assert!(!may_keep(machine, &someone, false) && may_keep(machine, &someone, true));
    }
}
