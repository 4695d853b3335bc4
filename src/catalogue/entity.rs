//! The kinds of the Backstage format, what each must say, and how entities name each other.
//! Rules as in "Descriptor Format of Catalog Entities" and `@backstage/catalog-model`.

use std::fmt;

/// Names an entity: kind, namespace, name. Backstage compares these without regard to case, so all are lower case here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityRef {
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl EntityRef {
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self { kind: kind.to_lowercase(), namespace: namespace.to_lowercase(), name: name.to_lowercase() }
    }

    /// Reads `[kind:][namespace/]name`. What is left out comes from the field it stands in.
    pub fn parse(text: &str, kind: Option<&str>, namespace: &str) -> Result<Self, NotARef> {
        let (given_kind, rest) = match text.split_once(':') {
            Some((kind, rest)) => (Some(kind), rest),
            None => (None, text),
        };
        let (namespace, name) = rest.split_once('/').unwrap_or((namespace, rest));
        let kind = given_kind.or(kind).ok_or(NotARef::NoKind)?;
        if is_kind(kind) && is_namespace(&namespace.to_lowercase()) && is_name(name) {
            Ok(Self::new(kind, namespace, name))
        } else {
            Err(NotARef::Odd)
        }
    }
}

/// Why a text names no entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotARef {
    Odd,
    /// A name alone, where entities of several kinds may stand.
    NoKind,
}

impl fmt::Display for EntityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.kind, self.namespace, self.name)
    }
}

/// What may stand in a field of `spec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    TextList,
    /// One entity; the kind that is meant where none is written.
    Ref(Option<&'static str>),
    RefList(Option<&'static str>),
    Map,
    List,
    /// Text, or `$text: FILE`, which Backstage would fill in.
    Definition,
}

#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    pub shape: Shape,
    pub required: bool,
}

const fn must(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: true }
}

const fn may(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: false }
}

use Shape::{Definition, List, Map, Ref, RefList, Text, TextList};

const OWNER: Field = must("owner", Ref(Some("group")));
const SYSTEM: Field = may("system", Ref(Some("system")));

/// The kinds that the format defines, with the fields of their `spec`. Others are kept as they are.
pub const KINDS: &[(&str, &[Field])] = &[
    (
        "Component",
        &[
            must("type", Text),
            must("lifecycle", Text),
            OWNER,
            SYSTEM,
            may("subcomponentOf", Ref(Some("component"))),
            may("providesApis", RefList(Some("api"))),
            may("consumesApis", RefList(Some("api"))),
            may("dependsOn", RefList(None)),
            may("dependencyOf", RefList(None)),
            may("run", Map),
            may("migration", Map),
        ],
    ),
    ("API", &[must("type", Text), must("lifecycle", Text), OWNER, SYSTEM, must("definition", Definition)]),
    (
        "Resource",
        &[
            must("type", Text),
            OWNER,
            SYSTEM,
            may("dependsOn", RefList(None)),
            may("dependencyOf", RefList(None)),
        ],
    ),
    ("System", &[OWNER, may("domain", Ref(Some("domain"))), may("type", Text)]),
    ("Domain", &[OWNER, may("subdomainOf", Ref(Some("domain"))), may("type", Text)]),
    (
        "Group",
        &[
            must("type", Text),
            must("children", RefList(Some("group"))),
            may("parent", Ref(Some("group"))),
            may("members", RefList(Some("user"))),
            may("profile", Map),
        ],
    ),
    ("User", &[may("memberOf", RefList(Some("group"))), may("profile", Map)]),
    ("Location", &[may("type", Text), may("target", Text), may("targets", TextList), may("presence", Text)]),
    ("Template", &[must("type", Text), must("steps", List), may("owner", Ref(Some("group")))]),
];

/// The fields of a kind the format defines; the kind is written exactly so.
pub fn fields_of(kind: &str) -> Option<&'static [Field]> {
    KINDS.iter().find(|(name, _)| *name == kind).map(|(_, fields)| *fields)
}

/// `apiVersion` values of the format's own kinds.
pub fn is_backstage_version(text: &str) -> bool {
    matches!(text, "backstage.io/v1alpha1" | "backstage.io/v1beta1")
        || matches!(text, "scaffolder.backstage.io/v1beta2" | "scaffolder.backstage.io/v1beta3")
}

/// Letters and digits, joined by `-`, `_` and `.`, 63 at most.
pub fn is_name(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    (1..=63).contains(&text.len())
        && text.starts_with(ends)
        && text.ends_with(ends)
        && text.chars().all(|c| ends(c) || "-_.".contains(c))
}

/// A DNS label.
pub fn is_namespace(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.starts_with(ends)
        && text.ends_with(ends)
        && text.chars().all(|c| ends(c) || c == '-')
}

pub fn is_kind(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// Key of a label or an annotation: `[prefix/]name`, the prefix a DNS name.
pub fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => prefix.len() <= 253 && prefix.split('.').all(is_namespace) && is_name(name),
        None => is_name(text),
    }
}

pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_name(text)
}

/// Lower-case letters, digits, `+`, `#` and `:`, joined by dashes, 63 at most.
pub fn is_tag(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+#:".contains(c);
    text.len() <= 63 && text.split('-').all(|part| !part.is_empty() && part.chars().all(inner))
}

/// Only these can be followed without harm.
pub fn is_web_address(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_take_what_they_leave_out_from_their_field() {
        let parse = |text| EntityRef::parse(text, Some("group"), "default").map(|found| found.to_string());
        assert_eq!(parse("payments").unwrap(), "group:default/payments");
        assert_eq!(parse("user:maya").unwrap(), "user:default/maya");
        assert_eq!(parse("Group:Ops/Night.Shift").unwrap(), "group:ops/night.shift");
        for odd in ["", "a b", ":a", "group:", "a/b/c", "group:x:y", "-a", "a/"] {
            assert_eq!(parse(odd), Err(NotARef::Odd), "{odd:?}");
        }
        assert_eq!(EntityRef::parse("ledger", None, "default"), Err(NotARef::NoKind));
    }

    #[test]
    fn names_follow_the_format() {
        for good in ["a", "checkout-api", "A_b.c9", &"x".repeat(63)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "ä", "a/b", &"x".repeat(64)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(
            is_tag("c++")
                && is_tag("a-b:c")
                && !is_tag("A")
                && !is_tag("a--b")
                && !is_tag("")
                && !is_tag("a b")
        );
        assert!(
            is_key("pilothouse.dev/tier")
                && is_key("x")
                && !is_key("a/b/c")
                && !is_key("/x")
                && !is_key("A.b/x")
        );
        assert!(is_web_address("https://a.example/x?y") && !is_web_address("javascript:alert(1)"));
        assert!(
            !is_web_address("data:text/html,x")
                && !is_web_address("//a.example")
                && !is_web_address("https://")
        );
    }
}
