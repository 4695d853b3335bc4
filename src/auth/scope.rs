//! What a token may be used for. A scope never gives anything: it says which of its owner's rights may be used.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a token may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// See everything that its owner sees.
    Read,
    /// Ask for changes in environments that need no approval.
    Deploy,
    /// Ask for changes in every environment.
    Production,
    /// Decide on other people's requests. Never given to machines.
    Approve,
}

impl Scope {
    pub const ALL: [Self; 4] = [Self::Read, Self::Deploy, Self::Production, Self::Approve];

    /// As in the database, the API and the forms.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Deploy => "deploy",
            Self::Production => "production",
            Self::Approve => "approve",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// The scopes of one token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Names that are none of ours are dropped: an older replica reads what a newer one wrote.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a String>) -> Self {
        names.into_iter().filter_map(|name| Scope::parse(name)).collect()
    }

    /// Whether something that needs this scope may be done. Who may change production may change the rest.
    pub fn allow(&self, scope: Scope) -> bool {
        self.0.contains(&scope) || (scope == Scope::Deploy && self.0.contains(&Scope::Production))
    }

    pub fn allow_all(&self, other: &Self) -> bool {
        other.iter().all(|scope| self.allow(scope))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }

    pub fn names(&self) -> Vec<String> {
        self.iter().map(|scope| scope.name().into()).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_includes_the_rest_and_nothing_includes_approving() {
        let may = |have: Scope, wanted: Scope| Scopes::from_iter([have]).allow(wanted);
        assert!(may(Scope::Production, Scope::Deploy) && !may(Scope::Deploy, Scope::Production));
        assert!(!may(Scope::Production, Scope::Read) && !may(Scope::Production, Scope::Approve));
        assert!(Scope::ALL.iter().all(|scope| Scopes::all().allow(*scope)));
    }

    #[test]
    fn a_scope_is_read_as_it_is_written() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.name()), Some(scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.name());
        }
        assert_eq!(
            Scopes::from_names(&["read".to_string(), "later".into()]),
            Scopes::from_iter([Scope::Read])
        );
    }
}
