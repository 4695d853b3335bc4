//! A Secret as far as the portal reads one: which keys it has, and for a pull secret its passwords of registries, to try
//! them. Any other value is dropped right here. It is read as the person, who could mount it into a pod they deploy.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretSlice;

use super::{CALL_TIMEOUT, Refusal, UserClient};

/// A pull secret's file, by its type. One of another type is none to the kubelet, whatever its keys are called.
pub enum DockerConfig {
    /// `kubernetes.io/dockerconfigjson`
    Json(SecretSlice<u8>),
    /// `kubernetes.io/dockercfg`
    Cfg(SecretSlice<u8>),
}

/// What is seen of a Secret.
pub struct Seen {
    pub keys: BTreeSet<String>,
    /// Another one as soon as anybody writes to it, or makes it anew.
    pub version: String,
    pub docker_config: Option<DockerConfig>,
}

/// None: there is none of this name.
pub async fn look(user: &UserClient, namespace: &str, name: &str) -> Result<Option<Seen>, Refusal> {
    let api = user.api::<Secret>(namespace);
    let found =
        tokio::time::timeout(CALL_TIMEOUT, api.get_opt(name)).await.map_err(|_| Refusal::Timeout)??;
    Ok(found.map(|secret| {
        let mut data = secret.data.unwrap_or_default();
        let version = [secret.metadata.uid, secret.metadata.resource_version].map(Option::unwrap_or_default);
        let keys = data.keys().cloned().collect();
        let mut file = |key: &str| data.remove(key).map(|file| SecretSlice::from(file.0));
        let docker_config = match secret.type_.as_deref() {
            Some("kubernetes.io/dockerconfigjson") => file(".dockerconfigjson").map(DockerConfig::Json),
            Some("kubernetes.io/dockercfg") => file(".dockercfg").map(DockerConfig::Cfg),
            _ => None,
        };
        Seen { keys, version: version.join("/"), docker_config }
    }))
}
