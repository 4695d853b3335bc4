//! Every sentence of this slice, in one place, so that one person can read and improve them all.

use super::mistake::Mistake;
use super::yaml::MAX_TEXT;

impl Mistake {
    /// What is wrong.
    pub fn what(&self) -> String {
        match self {
            Self::Unreadable { why } => format!("cannot be read: {why}"),
            Self::NotText => "is not UTF-8 text".into(),
            Self::TooLarge { megabytes } => format!("is larger than {megabytes} MiB"),
            Self::TooMany { what, most } => format!("holds more than {most} {what}"),
            Self::LeadsOutside => "is a link that leads out of the catalogue’s folder".into(),
            Self::Malformed { what } => format!("is not YAML here: {what}"),
            Self::Tab => "is not YAML here: a tab stands in the indentation".into(),
            Self::NotAMap => "the document is not a map of apiVersion, kind, metadata and spec".into(),
            Self::Nul => "a text holds the character NUL".into(),
            Self::Missing { field, .. } => format!("{field} is missing"),
            Self::WrongType { field, is, wanted } => format!("{field} has to be {wanted}, and is {is}"),
            Self::Empty { field } => format!("{field} is empty"),
            Self::OddKind { kind } => format!("kind {kind:?} is not a kind"),
            Self::KindCase { meant } => format!("kinds are written with capitals: {meant}"),
            Self::KindTypo { kind, .. } => {
                format!("{kind} is no kind of the Backstage format; kept as it is")
            }
            Self::ApiVersion { given } => format!("apiVersion {given:?} is not one of the Backstage format"),
            Self::Name { given } => format!("metadata.name {given:?} is not a name"),
            Self::Namespace { given } => format!("metadata.namespace {given:?} is not a namespace"),
            Self::Tag { given } => format!("{given:?} is not a tag"),
            Self::LabelKey { field, given } => format!("{given:?} can’t be a key in {field}"),
            Self::LabelValue { key } => format!("the value of the label {key} can’t be one"),
            Self::Tier { given } => format!("the tier {given:?} is not 0, 1, 2 or 3"),
            Self::Address { field, given } => format!("{field} {given:?} is not an http or https address"),
            Self::Reference { field, given } => format!("{field} {given:?} names no entity"),
            Self::ReferenceNoKind { field, given } => format!("{field} {given:?} doesn’t say of which kind"),
            Self::Duplicate { reference, file, line } => {
                format!("{reference} is described twice, first in {file}:{line}")
            }
            Self::SameServiceName { name, namespace } => {
                format!("another component is called {name}; the one in {namespace} has no page of its own")
            }
            Self::Dangling { field, reference, .. } => {
                format!("{field} names {reference}, which is not in the catalogue")
            }
            Self::Unknown { field, .. } => format!("{field} means nothing here"),
            Self::Image { given } => {
                format!("spec.run.image {given:?} is not an image without tag and digest")
            }
            Self::Port => "spec.run.port has to be a number from 1 to 65535".into(),
            Self::ProbePath { field } => format!("{field} has to be a path that begins with /"),
            Self::EnvName { given } => format!("{given:?} can’t be the name of an environment variable"),
            Self::EnvTwice { name } => format!("{name} stands in env and in secrets"),
            Self::SecretName { given } => format!("{given:?} can’t be the name of a Secret"),
            Self::SecretKey { given } => format!("{given:?} can’t be a key of a Secret"),
            Self::Quantity { field, given } => format!("{field} {given:?} is not a quantity"),
            Self::LimitBelowRequest => "memoryLimit is less than memory".into(),
            Self::Replicas { field } => format!("{field} has to be a whole number from 0 to 1000"),
            Self::MinAndMax => "min and max only work together".into(),
            Self::MinOverMax { min, max } => format!("min {min} is over max {max}"),
            Self::ReplicasAndAutoscaler => "replicas stands beside min and max".into(),
            Self::NoSuchEnvironment { name, .. } => format!("no environment is called {name}"),
        }
    }

    /// How to mend it.
    pub fn mend(&self) -> String {
        match self {
            Self::Unreadable { .. } => {
                "Make it readable for the portal. Until then what was imported from it before is kept.".into()
            }
            Self::NotText => "Save the file as UTF-8.".into(),
            Self::TooLarge { .. } => {
                "Split the file, or keep large API definitions in a file of their own and link to it.".into()
            }
            Self::TooMany { .. } => {
                "Point catalogue.paths at the folder that holds only the catalogue.".into()
            }
            Self::LeadsOutside => "Put the file itself into the folder.".into(),
            Self::Malformed { what } if what.contains("mapping values") => {
                "Put the value in quotes if it holds “: ”, or check the indentation of this line.".into()
            }
            Self::Malformed { what } if what.contains("duplicate") => "Keep one of the two.".into(),
            Self::Malformed { what }
                if ["limit", "budget", "exceed", "nest"].iter().any(|word| what.contains(word)) =>
            {
                format!(
                    "A document may be {} MiB long and moderately deep; anchors may not multiply it.",
                    MAX_TEXT >> 20
                )
            }
            Self::Malformed { .. } => {
                "Check brackets, quotes and the indentation of this line and the one above.".into()
            }
            Self::Tab => "Indent with spaces.".into(),
            Self::NotAMap => "Begin with apiVersion: backstage.io/v1alpha1 and kind: Component.".into(),
            Self::Nul => "Remove it; it can’t be stored or shown.".into(),
            Self::Missing { field, instead: Some(instead) } => {
                let name = field.rsplit('.').next().unwrap_or(field);
                format!("{instead} stands there: did you mean {name}?")
            }
            Self::Missing { field, instead: None } => match field.as_str() {
                "apiVersion" => "Add apiVersion: backstage.io/v1alpha1.".into(),
                "spec.owner" => "Add owner: the name of the group that runs it.".into(),
                "spec.children" => "Add children: a list of groups, [] if there are none.".into(),
                _ => format!("Add {}.", field.rsplit('.').next().unwrap_or(field)),
            },
            Self::WrongType { wanted: "a text", is: "a number" | "true or false", .. } => {
                "Put it in quotes.".into()
            }
            Self::WrongType { wanted: "a list of texts", is: "a text", .. } => {
                "Put it in brackets: one item is a list, too.".into()
            }
            Self::WrongType { wanted, .. } => format!("Write {wanted}."),
            Self::Empty { .. } => "Give it a value, or remove the line.".into(),
            Self::OddKind { .. } => "Use letters and digits, 63 at most, a letter first.".into(),
            Self::KindCase { meant } => format!("Write kind: {meant}."),
            Self::KindTypo { meant, .. } => format!("Did you mean {meant}?"),
            Self::ApiVersion { .. } => {
                "Write backstage.io/v1alpha1, or scaffolder.backstage.io/v1beta3 for a Template.".into()
            }
            Self::Name { .. } => {
                "Use letters, digits, -, _ and ., 63 at most, a letter or digit at both ends.".into()
            }
            Self::Namespace { .. } => {
                "Use lower-case letters, digits and dashes, 63 at most, a letter or digit at both ends."
                    .into()
            }
            Self::Tag { .. } => {
                "Use lower-case letters, digits, +, # and :, words joined by single dashes, 63 at most."
                    .into()
            }
            Self::LabelKey { .. } => "Write it as name or as domain.example/name.".into(),
            Self::LabelValue { .. } => {
                "Use letters, digits, -, _ and ., 63 at most. Put numbers in quotes.".into()
            }
            Self::Tier { .. } => {
                "0 is customer critical, 1 important, 2 internal, 3 the rest. Put it in quotes.".into()
            }
            Self::Address { .. } => "Write the whole address, beginning with https://.".into(),
            Self::Reference { .. } => "Write name, kind:name or kind:namespace/name.".into(),
            Self::ReferenceNoKind { given, .. } => format!("Write component:{given} or resource:{given}."),
            Self::Duplicate { .. } => "Keep one of the two; the first one counts.".into(),
            Self::SameServiceName { .. } => "Give it a name that no other namespace uses.".into(),
            Self::Dangling { near: Some(near), .. } => format!("Did you mean {near}?"),
            Self::Dangling { near: None, .. } => "Add its description, or correct the name.".into(),
            Self::Unknown { near: Some(near), .. } => format!("Did you mean {near}?"),
            Self::Unknown { near: None, .. } => "Remove it, or check its name and its indentation.".into(),
            Self::Image { .. } => {
                "Write registry.example/team/name. Which tag runs is decided at every deploy.".into()
            }
            Self::Port => "Give the port the container listens on for HTTP.".into(),
            Self::ProbePath { .. } => "Write it like /readyz.".into(),
            Self::EnvName { .. } => "Use letters, digits, _, - and ., not a digit first.".into(),
            Self::EnvTwice { .. } => "Keep one of the two.".into(),
            Self::SecretName { .. } => {
                "Use lower-case letters, digits, - and ., as kubectl get secrets shows it.".into()
            }
            Self::SecretKey { .. } => "Use letters, digits, -, _ and ..".into(),
            Self::Quantity { .. } => {
                "Write it as in Kubernetes, in quotes where it is a bare number: 100m, \"1\", 64Mi.".into()
            }
            Self::LimitBelowRequest => {
                "Raise memoryLimit, or remove it: then the request is the limit.".into()
            }
            Self::Replicas { .. } => "Write how many pods there should be.".into(),
            Self::MinAndMax => "Give both for an autoscaler, or replicas for a fixed number.".into(),
            Self::MinOverMax { .. } => "Make min the smaller one; it is at least 1.".into(),
            Self::ReplicasAndAutoscaler => {
                "Keep replicas for a fixed number, or min and max for an autoscaler.".into()
            }
            Self::NoSuchEnvironment { known, .. } => format!("Environments here: {known}."),
        }
    }
}

/// What a tier means to people.
pub fn tier(tier: &str) -> String {
    match tier {
        "0" => "Tier 0, customer critical".into(),
        "1" => "Tier 1, important".into(),
        "2" => "Tier 2, internal".into(),
        "3" => "Tier 3, the rest".into(),
        _ => "No tier".into(),
    }
}
