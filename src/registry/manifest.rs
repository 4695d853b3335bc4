//! Manifests: what a reference stands for. Every body is checked against its digest before anything in it is
//! believed, so neither the registry nor the storage behind it can swap the bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use serde::Deserialize;

use super::client::Registry;
use super::login::Login;
use super::reference::Digest;
use super::{ImageRef, RegistryError};

/// Indexes first: the digest of an image for several platforms is the index's.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";
const MAX_MANIFEST: usize = 4 * 1024 * 1024;
const MAX_CONFIG: usize = 4 * 1024 * 1024;

/// The bytes that a reference stands for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub digest: Digest,
    pub media_type: String,
    /// `linux/amd64`, `linux/arm64/v8`.
    pub platforms: Vec<String>,
}

/// Where an image comes from, as its build wrote into it (annotations and labels `org.opencontainers.image.*`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub created: Option<Timestamp>,
    /// The commit.
    pub revision: Option<String>,
    /// The repository the commit is in.
    pub source: Option<String>,
}

/// A manifest or an index, as far as the portal reads it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Manifest {
    /// From the answer's header: what the body says of itself may be missing.
    #[serde(skip)]
    media_type: String,
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Descriptor {
    digest: Digest,
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// The image's own description, a blob.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ImageConfig {
    os: String,
    architecture: String,
    variant: Option<String>,
    /// As text: an odd time must not make the image unreadable.
    created: Option<String>,
    config: Option<Labels>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Labels {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

impl Registry {
    /// The digest that the reference stands for at this moment, and what it can run on.
    pub async fn resolve(&self, image: &ImageRef) -> Result<Resolved, RegistryError> {
        let (digest, manifest) = self.manifest(image).await?;
        let mut platforms: Vec<String> =
            manifest.manifests.iter().filter_map(|entry| entry.platform.as_ref()?.name()).collect();
        if manifest.manifests.is_empty() {
            let config = self.config(image, &manifest).await?;
            let Some(platform) = config.platform().name() else {
                return Err(RegistryError::odd(image.host(), "it is not a container image"));
            };
            platforms.push(platform);
        }
        Ok(Resolved { digest, media_type: manifest.media_type.clone(), platforms })
    }

    /// Whether this password lets the image be read (None: whether anybody may), as a node asks before it pulls.
    /// `Ok(false)`: it does without a password. `Err(Denied)`: it does not.
    pub async fn lets_pull(&self, image: &ImageRef, login: Option<&Login>) -> Result<bool, RegistryError> {
        let url = self.http.url(image, &format!("manifests/{}", image.wanted()))?;
        self.http.lets_in(image, url, ACCEPT, login).await
    }

    /// When and from what the image was built.
    pub async fn origin(&self, image: &ImageRef) -> Result<Origin, RegistryError> {
        Ok(self.described(image).await?.1)
    }

    pub(super) async fn described(&self, image: &ImageRef) -> Result<(Digest, Origin), RegistryError> {
        let (digest, index) = self.manifest(image).await?;
        let one = match index.one_platform() {
            Some(digest) => self.manifest(&image.with_digest(digest)).await?.1,
            None => index.clone(),
        };
        let config = self.config(image, &one).await?;
        let annotated = |key: &str| {
            let labels = config.config.as_ref().and_then(|config| config.labels.as_ref());
            let places = [Some(&index.annotations), Some(&one.annotations), labels];
            let key = format!("org.opencontainers.image.{key}");
            places
                .into_iter()
                .flatten()
                .find_map(|place| place.get(&key))
                .filter(|value| !value.is_empty())
                .cloned()
        };
        // Reproducible builds write the epoch, which says nothing.
        let created = config.created.clone().or_else(|| annotated("created"));
        let created = created.and_then(|at| at.parse::<Timestamp>().ok());
        let origin = Origin {
            created: created.filter(|at| *at > Timestamp::UNIX_EPOCH),
            revision: annotated("revision"),
            source: annotated("source"),
        };
        Ok((digest, origin))
    }

    /// HEAD says which digest a tag has, without counting as a pull; the body comes from memory if it can.
    async fn manifest(&self, image: &ImageRef) -> Result<(Digest, Arc<Manifest>), RegistryError> {
        let digest = match image.digest() {
            Some(digest) => Some(digest.clone()),
            None => {
                let url = self.http.url(image, &format!("manifests/{}", image.wanted()))?;
                let head = self.http.call(Method::HEAD, image, url, ACCEPT, 0).await?;
                let digest = head.headers.get("docker-content-digest").and_then(|value| value.to_str().ok());
                digest.and_then(|digest| digest.parse().ok())
            }
        };
        if let Some(digest) = digest {
            let key = (image.name(), digest.clone());
            let fetch = self.fetch_manifest(image, Some(&digest));
            let known = self.manifests.try_get_with(key, async { Ok(fetch.await?.1) });
            return Ok((digest.clone(), known.await.map_err(|error: Arc<RegistryError>| (*error).clone())?));
        }
        self.fetch_manifest(image, None).await
    }

    async fn fetch_manifest(
        &self,
        image: &ImageRef,
        digest: Option<&Digest>,
    ) -> Result<(Digest, Arc<Manifest>), RegistryError> {
        let wanted = digest.map_or_else(|| image.wanted(), Digest::as_str);
        let url = self.http.url(image, &format!("manifests/{wanted}"))?;
        let answer = self.http.call(Method::GET, image, url, ACCEPT, MAX_MANIFEST).await?;
        let digest = match digest {
            Some(digest) if !digest.is_of(&answer.body) => {
                return Err(RegistryError::odd(image.host(), format!("the bytes it sent are not {digest}")));
            }
            Some(digest) => digest.clone(),
            None => Digest::sha256_of(&answer.body),
        };
        let mut manifest: Manifest = serde_json::from_slice(&answer.body).map_err(|error| {
            RegistryError::odd(image.host(), format!("the manifest can’t be read, {error}"))
        })?;
        let media_type =
            answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        manifest.media_type = media_type.into();
        if !ACCEPT.split(", ").any(|known| known == media_type) {
            return Err(RegistryError::odd(image.host(), format!("{media_type:?} is no format of today")));
        }
        Ok((digest, Arc::new(manifest)))
    }

    async fn config(&self, image: &ImageRef, manifest: &Manifest) -> Result<Arc<ImageConfig>, RegistryError> {
        let Some(Descriptor { digest, .. }) = &manifest.config else {
            return Err(RegistryError::odd(image.host(), "it is not a container image"));
        };
        let fetch = async {
            let url = self.http.url(image, &format!("blobs/{digest}"))?;
            let body = self.http.blob(image, url, MAX_CONFIG).await?;
            if !digest.is_of(&body) {
                return Err(RegistryError::odd(image.host(), format!("the bytes it sent are not {digest}")));
            }
            serde_json::from_slice(&body)
                .map(Arc::new)
                .map_err(|_| RegistryError::odd(image.host(), "it is not a container image"))
        };
        let known = self.configs.try_get_with((image.name(), digest.clone()), fetch);
        known.await.map_err(|error: Arc<RegistryError>| (*error).clone())
    }
}

impl Manifest {
    /// The image inside an index to ask about its origin: linux/amd64, else the first that runs anywhere.
    fn one_platform(&self) -> Option<&Digest> {
        let named = |entry: &&Descriptor| entry.platform.as_ref().and_then(Platform::name);
        let usual = self.manifests.iter().find(|entry| named(entry).as_deref() == Some("linux/amd64"));
        let any = || self.manifests.iter().find(|entry| named(entry).is_some());
        usual.or_else(any).or(self.manifests.first()).map(|entry| &entry.digest)
    }
}

impl ImageConfig {
    fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
        }
    }
}

impl Platform {
    /// None for attestations, which builders file under the platform `unknown/unknown`.
    fn name(&self) -> Option<String> {
        match (self.os.as_str(), self.architecture.as_str(), &self.variant) {
            ("unknown" | "", ..) | (_, "", _) => None,
            (os, architecture, Some(variant)) => Some(format!("{os}/{architecture}/{variant}")),
            (os, architecture, None) => Some(format!("{os}/{architecture}")),
        }
    }
}
