//! Whether the pull secrets of the pods let the nodes read their images. Each password is tried at its registry, as the
//! kubelet would: all that are for the image, the most specific first; and none where none is for it.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use secrecy::ExposeSecret;

use super::checks::Check;
use super::needs::Needs;
use super::wording;
use crate::kube::UserClient;
use crate::kube::secrets::{self, DockerConfig};
use crate::registry::{ImageRef, Login, Registry, RegistryError};

/// The form does not wait longer for registries: a side container's may be one that only the nodes can reach.
const PATIENCE: Duration = Duration::from_secs(2);

/// What came of one image.
#[derive(Debug, PartialEq)]
pub(super) enum Pull {
    /// With this secret.
    With(String),
    /// Without any.
    Anybody,
    /// By all of these.
    Refused { image: ImageRef, secrets: BTreeSet<String> },
    /// No secret is for it, and not everybody may.
    NoneFor { image: ImageRef, runs_already: bool },
    /// Nobody could say.
    Unknown(String),
}

/// The pull secrets as they are: those that are not there or of another type, those whose file is broken, and all the
/// passwords of the others.
struct Held {
    useless: Vec<String>,
    unreadable: Vec<String>,
    logins: Vec<(String, Login)>,
}

/// `admitted`: the pull secrets of a pod that was let in; else those of the template. None: they name none.
pub(super) async fn check(
    registry: &Registry,
    client: &UserClient,
    needs: &Needs<'_>,
    admitted: Option<Vec<String>>,
) -> Option<Check> {
    let spec = needs.template?.spec.as_ref()?;
    let of_template = || {
        let secrets = spec.image_pull_secrets.iter().flatten();
        secrets.map(|secret| secret.name.clone()).filter(|name| !name.is_empty()).collect::<Vec<_>>()
    };
    let names = admitted.unwrap_or_else(of_template);
    if names.is_empty() {
        return None;
    }
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mut images: Vec<ImageRef> =
        containers.filter_map(|container| container.image.as_ref()?.parse().ok()).collect();
    images.sort_by_key(ImageRef::name);
    images.dedup_by_key(|image| image.name());
    let running: Vec<ImageRef> = needs.running.iter().filter_map(|image| image.parse().ok()).collect();

    let held = match held(client, needs.namespace, &names).await {
        Ok(held) => held,
        Err(why) => return Some(wording::pull_secrets_not_asked(&why)),
    };
    if !held.unreadable.is_empty() {
        return Some(wording::unreadable_pull_secrets(&held.unreadable));
    }
    let pulls = join_all(images.into_iter().map(async |image| {
        let runs_already = running.iter().any(|it| it.name() == image.name());
        let tried = tokio::time::timeout(PATIENCE, pull(registry, image.clone(), &held.logins, runs_already));
        tried.await.unwrap_or_else(|_| Pull::Unknown(wording::registry_is_slow(image.host(), PATIENCE)))
    }));
    Some(wording::pulls(&pulls.await, &held.useless))
}

async fn held(client: &UserClient, namespace: &str, names: &[String]) -> Result<Held, String> {
    let mut held = Held { useless: Vec::new(), unreadable: Vec::new(), logins: Vec::new() };
    let seen = join_all(names.iter().map(|name| secrets::look(client, namespace, name))).await;
    for (name, seen) in names.iter().zip(seen) {
        let logins = match seen.map_err(|refusal| refusal.sentence())?.and_then(|seen| seen.docker_config) {
            Some(DockerConfig::Json(file)) => Login::read_config_json(file.expose_secret()),
            Some(DockerConfig::Cfg(file)) => Login::read_cfg(file.expose_secret()),
            None => {
                held.useless.push(name.clone());
                continue;
            }
        };
        match logins {
            Some(logins) => held.logins.extend(logins.into_iter().map(|login| (name.clone(), login))),
            None => held.unreadable.push(name.clone()),
        }
    }
    Ok(held)
}

async fn pull(registry: &Registry, image: ImageRef, logins: &[(String, Login)], runs_already: bool) -> Pull {
    let mut secrets = BTreeSet::new();
    for (secret, login) in Login::for_image(logins, &image) {
        match registry.lets_pull(&image, Some(login)).await {
            Ok(true) => return Pull::With(secret.clone()),
            Ok(false) => return Pull::Anybody,
            Err(RegistryError::Denied { .. }) => drop(secrets.insert(secret.clone())),
            Err(error) => return Pull::Unknown(error.to_string()),
        }
    }
    if !secrets.is_empty() {
        return Pull::Refused { image, secrets };
    }
    match registry.lets_pull(&image, None).await {
        Ok(_) => Pull::Anybody,
        Err(RegistryError::Denied { .. }) => Pull::NoneFor { image, runs_already },
        Err(error) => Pull::Unknown(error.to_string()),
    }
}
