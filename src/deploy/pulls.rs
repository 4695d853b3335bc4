//! Whether the pull secrets of the pods let the nodes read their images. Each password is tried at its registry, as the
//! kubelet would: all that are for the image, the most specific first; and none where none is for it.

use futures::future::join_all;
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::checks::Check;
use super::wording;
use crate::kube::{UserClient, secrets};
use crate::registry::{ImageRef, Login, Registry, RegistryError};

/// What came of one image.
#[derive(Debug, PartialEq)]
pub(super) enum Pull {
    /// With this secret.
    With(String),
    /// Without any, and none is for it.
    Anybody,
    /// By all of these.
    Refused { image: ImageRef, secrets: Vec<String> },
    /// No secret is for it, and not everybody may.
    NoneFor(ImageRef),
    /// Nobody could say.
    Unknown(RegistryError),
}

/// The pull secrets as they are: of which names there is none, or one that holds no passwords; and all the passwords.
struct Held {
    useless: Vec<String>,
    logins: Vec<(String, Login)>,
}

/// `admitted`: the pull secrets of a pod that was let in; else those of the template. None: they name none.
pub(super) async fn check(
    registry: &Registry,
    client: &UserClient,
    namespace: &str,
    template: &PodTemplateSpec,
    admitted: Option<Vec<String>>,
) -> Option<Check> {
    let spec = template.spec.as_ref()?;
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

    let held = match held(client, namespace, &names).await {
        Ok(held) => held,
        Err(why) => return Some(wording::pull_secrets_not_asked(&why)),
    };
    let pulls = join_all(images.into_iter().map(|image| pull(registry, image, &held.logins))).await;
    Some(wording::pulls(&pulls, &held.useless))
}

async fn held(client: &UserClient, namespace: &str, names: &[String]) -> Result<Held, String> {
    let mut held = Held { useless: Vec::new(), logins: Vec::new() };
    let seen = join_all(names.iter().map(|name| secrets::look(client, namespace, name))).await;
    for (name, seen) in names.iter().zip(seen) {
        use secrecy::ExposeSecret;
        let file = seen.map_err(|refusal| refusal.sentence())?.and_then(|seen| seen.docker_config);
        match file.and_then(|file| Login::read(file.expose_secret())) {
            Some(logins) => held.logins.extend(logins.into_iter().map(|login| (name.clone(), login))),
            None => held.useless.push(name.clone()),
        }
    }
    Ok(held)
}

async fn pull(registry: &Registry, image: ImageRef, logins: &[(String, Login)]) -> Pull {
    let mut refused = Vec::new();
    for (secret, login) in logins.iter().filter(|(_, login)| login.is_for(&image)) {
        match registry.lets_pull(&image, Some(login)).await {
            Ok(()) => return Pull::With(secret.clone()),
            Err(RegistryError::Denied { .. }) => refused.push(secret.clone()),
            Err(error) => return Pull::Unknown(error),
        }
    }
    if !refused.is_empty() {
        return Pull::Refused { image, secrets: refused };
    }
    match registry.lets_pull(&image, None).await {
        Ok(()) => Pull::Anybody,
        Err(RegistryError::Denied { .. }) => Pull::NoneFor(image),
        Err(error) => Pull::Unknown(error),
    }
}
