//! Why a cluster said no, or could not be asked. The API server answers with a `Status` whose meaning hides in
//! its wording; it is translated once, here, so that pages and the engine read a type and people read a sentence.

use std::fmt;

use kube::core::Status;
use serde::{Deserialize, Serialize};

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
    /// RBAC: the portal may not do this for anybody (its own role is too small).
    PortalForbidden {
        verb: String,
        resource: String,
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
    LimitRange {
        messages: Vec<String>,
    },
    /// Other field managers hold what the request wants to set.
    Conflict {
        managers: Vec<Holder>,
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
    /// From the answer of an API server.
    pub fn from_status(status: &Status) -> Self {
        todo!("{status:?}")
    }

    /// What to tell a person, in plain words.
    pub fn sentence(&self) -> String {
        todo!()
    }

    /// Who can make the same request pass. `platform` are the groups that run the portal, as the provider names them.
    pub fn who_can_grant(&self, platform: &[String]) -> Option<String> {
        let _ = platform;
        todo!()
    }

    /// The same request may pass a little later, without anybody doing anything.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Stale { .. } | Self::Throttled | Self::Unreachable { .. } | Self::Timeout => true,
            Self::Other { code, .. } => *code >= 500,
            Self::Forbidden { .. }
            | Self::PortalForbidden { .. }
            | Self::Policy { .. }
            | Self::PodSecurity { .. }
            | Self::Quota { .. }
            | Self::LimitRange { .. }
            | Self::Conflict { .. }
            | Self::Invalid { .. }
            | Self::NotFound { .. } => false,
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
