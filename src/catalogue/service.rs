//! What a service is, as the pages and the engine need it. Read from a Component entity.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::parse::SMOKE;

/// A Component of the catalogue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    pub name: String,
    pub title: String,
    pub description: String,
    /// Of the entity; almost always `default`.
    pub namespace: String,
    /// `spec.type`: service, website, worker, library…
    pub kind: String,
    /// The owning group's name, without kind and namespace.
    pub team: String,
    /// 0 (customer critical) to 3, from the label `pilothouse.dev/tier`.
    pub tier: Option<u8>,
    pub lifecycle: String,
    pub system: String,
    pub tags: Vec<String>,
    pub links: Vec<Link>,
    /// Those that say where it runs; the rest stays in the database.
    pub annotations: BTreeMap<String, String>,
    /// Names of components and resources it calls, and of components that call it.
    pub depends_on: Vec<String>,
    pub used_by: Vec<String>,
    /// How the portal runs it where nobody else does. Boxed: few services have one, and each is large.
    pub run: Option<Box<Run>>,
    /// How its database is brought to what a version expects.
    pub migration: Option<Box<Migration>>,
}

impl Service {
    /// What a new pod is asked before it is believed: port, if not its own, and path.
    pub fn smoke(&self) -> Option<(Option<u16>, &str)> {
        smoke_request(self.annotations.get(SMOKE)?)
    }
}

/// `/healthz`, or with a port `:8081/healthz`. None: it is neither.
pub fn smoke_request(text: &str) -> Option<(Option<u16>, &str)> {
    let (port, path) = match text.strip_prefix(':') {
        Some(rest) => {
            let (port, _) = rest.split_once('/')?;
            (Some(port.parse::<u16>().ok().filter(|port| *port > 0)?), &rest[port.len()..])
        }
        None => (None, text),
    };
    let plain = |c: char| c.is_ascii_graphic() && c != '#' && c != '\\';
    let is_path =
        path.starts_with('/') && path.chars().all(plain) && !path.split('/').any(|part| part == "..");
    is_path.then_some((port, path))
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub url: String,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub icon: String,
    #[serde(default, rename = "type")]
    pub kind: String,
}

/// `spec.run` of a Component: all the portal needs to render its Deployment, Service, PodDisruptionBudget and
/// HorizontalPodAutoscaler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Repository without tag or digest.
    pub image: String,
    pub port: u16,
    #[serde(default)]
    pub probes: Probes,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Environment variable to the key of a Secret that exists in the namespace.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretRef>,
    #[serde(default)]
    pub resources: Resources,
    pub replicas: Option<u32>,
    /// Both together: an autoscaler, on 80 % of the requested CPU.
    pub min: Option<u32>,
    pub max: Option<u32>,
    /// What differs in an environment, by its name.
    #[serde(default)]
    pub environments: BTreeMap<String, RunOverride>,
}

/// `spec.migration` of a Component: a command of its image that runs once, to its end, in a Job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// As in Kubernetes: in the place of the image's entrypoint, without a shell.
    pub command: Vec<String>,
    #[serde(default)]
    pub args: Vec<String>,
    /// Whose image, environment, volumes and resources it takes; absent: the container that is deployed.
    pub container: Option<String>,
    /// What has not ended by then is ended.
    #[serde(default = "ten_minutes")]
    pub deadline: SignedDuration,
}

fn ten_minutes() -> SignedDuration {
    SignedDuration::from_mins(10)
}

/// HTTP paths on `port`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probes {
    pub readiness: Option<String>,
    pub liveness: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    pub name: String,
    pub key: String,
}

/// Kubernetes quantities. Requests; the memory limit is `memoryLimit`, else the request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Resources {
    pub cpu: Option<String>,
    pub memory: Option<String>,
    pub memory_limit: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunOverride {
    pub env: BTreeMap<String, String>,
    pub secrets: BTreeMap<String, SecretRef>,
    pub resources: Option<Resources>,
    pub replicas: Option<u32>,
    pub min: Option<u32>,
    pub max: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smoke_request_is_a_path_and_maybe_a_port() {
        assert_eq!(smoke_request("/healthz?full=1"), Some((None, "/healthz?full=1")));
        assert_eq!(smoke_request(":8081/healthz"), Some((Some(8081), "/healthz")));
        for odd in ["healthz", ":0/x", ":8081", ":http/x", "/a/../../secrets", "/a b", "", "/x#y"] {
            assert_eq!(smoke_request(odd), None, "{odd:?}");
        }
    }
}
