//! A target is a service in an environment: which cluster, which namespace, and how to recognise its workload.

use crate::catalogue::Service;
use crate::config::Environment;

/// How the workload of a service is found among those of its namespace, in Backstage's order:
/// the `backstage.io/kubernetes-id` label, a label selector of its own, `app.kubernetes.io/name`, else the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Label `backstage.io/kubernetes-id` equals this.
    KubernetesId(String),
    /// `backstage.io/kubernetes-label-selector`, equality terms: every pair must match.
    Labels(Vec<(String, String)>),
    /// Label `app.kubernetes.io/name` equals this; if nothing has it, the object's name does.
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub service: String,
    pub team: String,
    pub environment: String,
    pub cluster: String,
    pub namespace: String,
    pub selector: Selector,
}

impl Target {
    pub fn new(service: &Service, environment: &Environment) -> Self {
        let annotation =
            |key: &str| service.annotations.get(key).map(String::as_str).filter(|value| !value.is_empty());
        let selector = if let Some(id) = annotation("backstage.io/kubernetes-id") {
            Selector::KubernetesId(id.into())
        } else if let Some(labels) = annotation("backstage.io/kubernetes-label-selector") {
            let pair = |term: &str| {
                let (key, value) = term.split_once('=')?;
                Some((key.trim().to_string(), value.trim_start_matches('=').trim().to_string()))
            };
            Selector::Labels(labels.split(',').filter_map(pair).collect())
        } else {
            Selector::Name(service.name.clone())
        };
        let namespace = annotation("backstage.io/kubernetes-namespace")
            .map(Into::into)
            .unwrap_or_else(|| environment.namespace_for(&service.name, &service.team));
        Self {
            service: service.name.clone(),
            team: service.team.clone(),
            environment: environment.name().into(),
            cluster: environment.cluster.get_ref().clone(),
            namespace,
            selector,
        }
    }
}
