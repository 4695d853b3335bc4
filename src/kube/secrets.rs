//! A Secret as far as the portal reads one: which keys it has, and for a pull secret its passwords of registries, to try
//! them. Any other value is dropped right here. It is read as the person, who could mount it into a pod they deploy.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretSlice;

use super::{CALL_TIMEOUT, Refusal, UserClient};

/// Where the two types of pull secrets keep their file.
const DOCKER_CONFIGS: [&str; 2] = [".dockerconfigjson", ".dockercfg"];

/// What is seen of a Secret.
#[derive(Debug, Default)]
pub struct Seen {
    pub keys: BTreeSet<String>,
    /// Another one as soon as anybody writes to it, or makes it anew.
    pub version: String,
    /// Docker's configuration, as JSON, where it holds one.
    pub docker_config: Option<SecretSlice<u8>>,
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
        let docker_config = DOCKER_CONFIGS.iter().find_map(|key| data.remove(*key)).map(|file| file.0.into());
        Seen { keys, version: version.join("/"), docker_config }
    }))
}
