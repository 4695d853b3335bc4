//! What can be wrong with a catalogue file. The sentences stand in `wording.rs`.

use std::sync::Arc;

use super::yaml::Place;

/// One thing to mend, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub file: Arc<str>,
    pub at: Place,
    pub severity: Severity,
    pub what: String,
    pub mend: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The entity, or the file, was not taken in.
    Error,
    /// It was taken in, but somebody should look.
    Warning,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A mistake, with what its sentences need. `field` is the path as one would say it: `metadata.name`.
#[derive(Clone, Debug, PartialEq)]
pub enum Mistake {
    Unreadable { why: String },
    NotText,
    TooLarge { megabytes: u64 },
    TooMany { what: &'static str, most: usize },
    LeadsOutside,
    Malformed { what: String },
    Tab,
    NotAMap,
    Nul,
    Missing { field: String, instead: Option<String> },
    WrongType { field: String, is: &'static str, wanted: &'static str },
    Empty { field: String },
    OddKind { kind: String },
    KindCase { meant: &'static str },
    KindTypo { kind: String, meant: &'static str },
    ApiVersion { given: String },
    Name { given: String },
    Namespace { given: String },
    Tag { given: String },
    LabelKey { field: &'static str, given: String },
    LabelValue { key: String },
    Tier { given: String },
    Address { field: String, given: String },
    Smoke { given: String },
    Reference { field: String, given: String },
    ReferenceNoKind { field: String, given: String },
    Duplicate { reference: String, file: Arc<str>, line: u32 },
    SameServiceName { name: String, namespace: String },
    Dangling { field: String, reference: String, near: Option<String> },
    Unknown { field: String, near: Option<String> },
    Image { given: String },
    Port,
    ProbePath { field: String },
    EnvName { given: String },
    EnvTwice { name: String },
    SecretName { given: String },
    SecretKey { given: String },
    Quantity { field: String, given: String },
    LimitBelowRequest,
    Replicas { field: String },
    MinAndMax,
    MinOverMax { min: i64, max: i64 },
    ReplicasAndAutoscaler,
    NoSuchEnvironment { name: String, known: String },
    ContainerName { given: String },
    Deadline { given: String },
}

impl Mistake {
    pub fn severity(&self) -> Severity {
        match self {
            Self::Dangling { .. }
            | Self::KindTypo { .. }
            | Self::SameServiceName { .. }
            | Self::NoSuchEnvironment { .. } => Severity::Warning,
            _ => Severity::Error,
        }
    }

    pub fn at(&self, file: &Arc<str>, at: Place) -> Problem {
        Problem { file: file.clone(), at, severity: self.severity(), what: self.what(), mend: self.mend() }
    }
}

/// The word somebody probably meant: at most two letters off.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (strsim::osa_distance(&given.to_lowercase(), &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance <= 2 && *distance * 2 < word.len().max(3))
        .min()
        .map(|(_, word)| word)
}
