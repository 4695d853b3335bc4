//! The versions of an image, newest first.

use std::sync::Arc;

use futures::StreamExt;
use http::Method;
use http::header::LINK;
use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use super::client::Registry;
use super::http::Answer;
use super::reference::Digest;
use super::version::newer;
use super::{ImageRef, Origin, RegistryError};

/// So many of the newest by name are looked at more closely; a form shows no more than that.
const LOOK_AT: usize = 40;
const AT_ONCE: usize = 8;
const PAGE: usize = 1_000;
const MAX_PAGES: usize = 20;
const MAX_LIST: usize = 4 * 1024 * 1024;

/// One version. What the registry was not asked, or does not know, is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    pub name: String,
    pub digest: Option<Digest>,
    pub created: Option<Timestamp>,
    /// The commit it was built from.
    pub revision: Option<String>,
    /// The repository of that commit.
    pub source: Option<String>,
}

#[derive(Deserialize)]
struct TagList {
    tags: Option<Vec<String>>,
}

impl Registry {
    /// Every tag of the image's repository, by the time of its build where that is known, else by version.
    /// A few seconds old at most.
    pub async fn tags(&self, image: &ImageRef) -> Result<Arc<[Tag]>, RegistryError> {
        let listed = self.lists.try_get_with(image.name(), async {
            let mut names = self.tag_names(image).await?;
            names.sort_by(|a, b| newer(b, a));
            let rest = names.split_off(names.len().min(LOOK_AT)).into_iter().map(Tag::unknown);
            let newest = futures::stream::iter(names).map(|name| self.look_at(image, name)).buffered(AT_ONCE);
            let mut newest: Vec<Tag> = newest.collect().await;
            newest.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| newer(&b.name, &a.name)));
            Ok(newest.into_iter().chain(rest).collect())
        });
        listed.await.map_err(|error: Arc<RegistryError>| (*error).clone())
    }

    /// A tag that can't be read any closer still is a version to choose.
    async fn look_at(&self, image: &ImageRef, name: String) -> Tag {
        let described = match image.with_tag(&name) {
            Ok(tagged) => self.described(&tagged).await,
            Err(odd) => Err(RegistryError::odd(image.host(), odd.to_string())),
        };
        match described {
            Ok((digest, Origin { created, revision, source })) => {
                Tag { name, digest: Some(digest), created, revision, source }
            }
            Err(error) => {
                tracing::debug!(image = image.name(), tag = name, %error, "a tag could not be looked at");
                Tag::unknown(name)
            }
        }
    }

    async fn tag_names(&self, image: &ImageRef) -> Result<Vec<String>, RegistryError> {
        let mut names = Vec::new();
        let mut next = Some(self.http.url(image, &format!("tags/list?n={PAGE}"))?);
        for _ in 0..MAX_PAGES {
            let Some(url) = next else { break };
            let answer = self.http.call(Method::GET, image, url, "application/json", MAX_LIST).await;
            let answer = answer.map_err(|error| match error {
                RegistryError::NotFound(_) => RegistryError::NotFound(image.name()),
                other => other,
            })?;
            let page: TagList = serde_json::from_slice(&answer.body)
                .map_err(|_| RegistryError::odd(image.host(), "it is not a list of tags"))?;
            names.extend(page.tags.unwrap_or_default());
            next = next_page(image, &answer)?;
        }
        names.retain(|name| image.with_tag(name).is_ok() && !is_signature(name));
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }
}

impl Tag {
    fn unknown(name: String) -> Self {
        Self { name, digest: None, created: None, revision: None, source: None }
    }
}

/// cosign files signatures under tags of their own: `sha256-….sig`.
fn is_signature(tag: &str) -> bool {
    tag.starts_with("sha256-") && tag.len() >= 71
}

/// `Link: </v2/…/tags/list?last=…>; rel="next"`, which must stay at the same registry.
fn next_page(image: &ImageRef, answer: &Answer) -> Result<Option<Url>, RegistryError> {
    let Some(link) = answer.headers.get(LINK).and_then(|link| link.to_str().ok()) else { return Ok(None) };
    let target = link.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(target, _)| target);
    let next = target.and_then(|target| answer.url.join(target).ok());
    match next.filter(|next| next.origin() == answer.url.origin()) {
        Some(next) => Ok(Some(next)),
        None => Err(RegistryError::odd(image.host(), "its list of tags goes on somewhere else")),
    }
}
