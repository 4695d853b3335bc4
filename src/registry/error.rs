//! What can go wrong between the portal and a registry, each with a sentence for the person who typed the reference.

/// `Display` is the sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The repository, tag or digest named.
    #[error("The registry has no {0}.")]
    NotFound(String),
    /// Registries answer so for what does not exist, too: the two can't be told apart from outside.
    #[error("{host} does not let the portal read {repository}: it is private, or does not exist.")]
    Denied { host: String, repository: String },
    #[error("The registry {host} does not answer: {why}.")]
    Unreachable { host: String, why: String },
    /// An answer that breaks the protocol, and so can't be trusted.
    #[error("The registry {host} gave an answer that can’t be used: {why}.")]
    Odd { host: String, why: String },
    /// The reference leads into the private network, and the configuration names no such registry.
    #[error(
        "{0} is not at a public address, and no [registry] entry of the portal’s configuration names it. \
         Ask the platform team to add it."
    )]
    NotConfigured(String),
}

impl RegistryError {
    pub(super) fn odd(host: &str, why: impl Into<String>) -> Self {
        Self::Odd { host: host.into(), why: why.into() }
    }

    pub(super) fn unreachable(host: &str, why: impl Into<String>) -> Self {
        Self::Unreachable { host: host.into(), why: why.into() }
    }
}
