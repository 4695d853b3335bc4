//! The made-up people of `people.toml`.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// One of them. What they claim is passed on as it stands, also when it is hostile: the portal has to cope.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    pub sub: String,
    pub username: String,
    pub name: String,
    pub email: String,
    pub groups: Vec<String>,
    /// Who they are, in a sentence, for the page.
    pub says: String,
}

impl Sample {
    /// The claims of ID token and userinfo. Whoever is in no group has no `groups` claim, as at Keycloak.
    pub fn claims(&self) -> Map<String, Value> {
        let claims = json!({
            "sub": self.sub,
            "preferred_username": self.username,
            "name": self.name,
            "email": self.email,
            "email_verified": true,
            "groups": self.groups,
        });
        let Value::Object(mut claims) = claims else { unreachable!("json! was given an object") };
        if self.groups.is_empty() {
            claims.remove("groups");
        }
        claims
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct People {
    people: Vec<Sample>,
}

impl People {
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} can’t be used", path.display()))
    }

    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let people: Self = toml::from_str(text)?;
        for (n, person) in people.people.iter().enumerate() {
            let twice = people.people[..n].iter().any(|other| other.sub == person.sub);
            ensure!(!person.sub.is_empty() && !twice, "the sub of {} is empty or taken", person.name);
        }
        Ok(people)
    }

    pub fn all(&self) -> &[Sample] {
        &self.people
    }

    pub fn by_sub(&self, sub: &str) -> Option<&Sample> {
        self.people.iter().find(|person| person.sub == sub)
    }

    pub fn named(&mut self, username: &str) -> Option<&mut Sample> {
        self.people.iter_mut().find(|person| person.username == username)
    }

    pub fn remove(&mut self, username: &str) {
        self.people.retain(|person| person.username != username);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_people_are_usable_and_one_is_hostile() {
        let people = People::load(Path::new("demo/people.toml")).unwrap();
        let names: Vec<_> = people.all().iter().map(|person| person.username.as_str()).collect();
        assert!(["maya", "omar", "nina", "petra"].iter().all(|name| names.contains(name)), "{names:?}");
        assert!(
            people.all().iter().any(|person| person.groups.iter().any(|group| group.starts_with("system:")))
        );
    }

    #[test]
    fn nobody_shares_a_subject() {
        let one = "[[people]]\nsub = \"1\"\nusername = \"a\"\nname = \"A\"\nemail = \"\"\ngroups = []\nsays = \"\"\n";
        assert!(People::parse(one).is_ok());
        assert!(People::parse(&one.repeat(2)).is_err());
    }

    #[test]
    fn no_groups_is_no_claim() {
        let people = "[[people]]\nsub = \"1\"\nusername = \"a\"\nname = \"A\"\nemail = \"\"\ngroups = []\nsays = \"\"\n";
        assert!(!People::parse(people).unwrap().all()[0].claims().contains_key("groups"));
    }
}
