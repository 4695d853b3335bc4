//! An image reference, `host[:port]/repository[:tag][@digest]`, parsed once at the edge by the grammar of
//! the distribution project (github.com/distribution/reference), with the defaults that Docker has.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

const DOCKER_HUB: &str = "docker.io";
/// Of host and repository together.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// Host and repository are always there, completed as Docker does: `nginx` is `docker.io/library/nginx`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl ImageRef {
    /// Host and port, as references spell it: `docker.io`, `localhost:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Host and repository, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    /// The same image at another version; the digest goes, because it belonged to the old one.
    pub fn with_tag(&self, tag: &str) -> Result<Self, OddReference> {
        if !is_tag(tag) {
            return Err(OddReference::Tag(tag.into()));
        }
        Ok(Self { tag: Some(tag.into()), digest: None, ..self.clone() })
    }

    /// The same reference, pinned to these bytes. The tag stays, for people to read.
    pub fn with_digest(&self, digest: &Digest) -> Self {
        Self { digest: Some(digest.clone()), ..self.clone() }
    }

    /// What the registry is asked for: the digest before the tag, and `latest` where neither is given.
    pub(super) fn wanted(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => "latest",
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Why a text is not an image reference. `Display` is a sentence for the field it was typed into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OddReference {
    #[error("Give an image, like registry.example/team/service:v1.2.3.")]
    Empty,
    #[error("{0:?} is not a registry host.")]
    Host(String),
    #[error("{0:?} is not an image name: lower-case letters, digits, and single . _ - between them.")]
    Repository(String),
    #[error("{0:?} is not a tag: letters, digits, and . _ - after the first, {MAX_TAG} at most.")]
    Tag(String),
    #[error("{0:?} is not a digest: sha256: and 64 lower-case hexadecimal digits.")]
    Digest(String),
    #[error("The image name is over {MAX_NAME} characters long.")]
    Long,
}

impl FromStr for ImageRef {
    type Err = OddReference;

    fn from_str(text: &str) -> Result<Self, OddReference> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon after the last slash begins the tag; one before it belongs to the host's port.
        let name_end = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[name_end..].split_once(':') {
            Some((last, tag)) => (&rest[..name_end + last.len()], Some(tag)),
            None => (rest, None),
        };
        if name.is_empty() {
            return Err(OddReference::Empty);
        }
        let (host, repository) = split_host(name);
        if !is_host(host) {
            return Err(OddReference::Host(host.into()));
        }
        let repository = match host {
            DOCKER_HUB if !repository.contains('/') => format!("library/{repository}"),
            _ => repository.to_string(),
        };
        if !repository.split('/').all(is_path_component) || is_identifier(name) {
            return Err(OddReference::Repository(repository));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(OddReference::Tag(tag.into()));
        }
        if host.len() + 1 + repository.len() > MAX_NAME {
            return Err(OddReference::Long);
        }
        Ok(Self { host: host.into(), repository, tag: tag.map(Into::into), digest })
    }
}

impl TryFrom<String> for ImageRef {
    type Error = OddReference;
    fn try_from(text: String) -> Result<Self, OddReference> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> Self {
        image.to_string()
    }
}

/// What stands before the first slash is a host only if it looks like one: a dot, a colon, a capital or `localhost`.
fn split_host(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.contains(|c: char| c.is_ascii_uppercase()) =>
        {
            (if first == "index.docker.io" { DOCKER_HUB } else { first }, rest)
        }
        _ => (DOCKER_HUB, name),
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_component = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let is_name = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(is_component),
    };
    is_name && port.is_none_or(is_port)
}

/// `[a-z0-9]+` groups with one of `.`, `_`, `__` or any number of `-` between them.
fn is_path_component(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends =
        bytes.first().is_some_and(|b| alphanumeric(*b)) && bytes.last().is_some_and(|b| alphanumeric(*b));
    ends && part
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    bytes.first().is_some_and(|b| word(*b))
        && bytes.len() <= MAX_TAG
        && bytes.iter().all(|b| word(*b) || matches!(b, b'.' | b'-'))
}

/// 64 hexadecimal digits are an image id, which Docker refuses as a name.
fn is_identifier(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A content digest that the portal can verify itself: SHA-256, or SHA-512.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn sha256_of(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes))))
    }

    /// Are these the bytes it names?
    pub(super) fn is_of(&self, bytes: &[u8]) -> bool {
        match self.0.split_once(':') {
            Some(("sha512", hex)) => hex == hex::encode(sha2::Sha512::digest(bytes)),
            _ => *self == Self::sha256_of(bytes),
        }
    }
}

impl FromStr for Digest {
    type Err = OddReference;

    fn from_str(text: &str) -> Result<Self, OddReference> {
        let length = match text.split_once(':') {
            Some(("sha256", hex)) if hex.len() == 64 => hex,
            Some(("sha512", hex)) if hex.len() == 128 => hex,
            _ => return Err(OddReference::Digest(text.into())),
        };
        if length.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            Ok(Self(text.into()))
        } else {
            Err(OddReference::Digest(text.into()))
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = OddReference;
    fn try_from(text: String) -> Result<Self, OddReference> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "e07a52c3e07a52c3e07a52c3e07a52c3e07a52c3e07a52c3e07a52c3e07a52c3";

    fn printed(text: &str) -> String {
        text.parse::<ImageRef>().map_or_else(|odd| format!("! {odd}"), |image| image.to_string())
    }

    #[test]
    fn short_names_are_completed_as_docker_does() {
        assert_eq!(printed("nginx"), "docker.io/library/nginx");
        assert_eq!(printed("nginx:1.27"), "docker.io/library/nginx:1.27");
        assert_eq!(printed("acme/checkout"), "docker.io/acme/checkout");
        assert_eq!(printed("docker.io/nginx"), "docker.io/library/nginx");
        assert_eq!(printed("index.docker.io/nginx"), "docker.io/library/nginx");
        assert_eq!(printed("localhost/checkout"), "localhost/checkout");
        assert_eq!(printed("Registry/checkout"), "Registry/checkout");
        assert_eq!(
            printed("127.0.0.1:5000/payments/checkout-api:v1.0.0"),
            "127.0.0.1:5000/payments/checkout-api:v1.0.0"
        );
        assert_eq!(printed("[2001:db8::1]:5000/a"), "[2001:db8::1]:5000/a");
        assert_eq!(printed(&format!("ghcr.io/a/b:v1@sha256:{HEX}")), format!("ghcr.io/a/b:v1@sha256:{HEX}"));
    }

    #[test]
    fn what_the_grammar_forbids_is_refused() {
        let long = format!("ghcr.io/{}", "a".repeat(256));
        let tag = format!("a:{}", "t".repeat(129));
        let digest = format!("a@sha256:{}", HEX.to_uppercase());
        for text in [
            "",
            ":v1",
            "@",
            "/a",
            "a//b",
            "a/",
            "A",
            "acme/Checkout",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a b",
            "a\n",
            "a:",
            "a:-v1",
            "a:v1:v2",
            "a:v1/b",
            "-host.example/a",
            "host-.example/a",
            "host.example:port/a",
            "host.example:99999/a",
            "host..example/a",
            "[::1/a",
            "a@sha256:abc",
            "a@md5:abcd",
            "https://ghcr.io/a",
            "user@host.example/a",
            HEX,
            &long,
            &tag,
            &digest,
        ] {
            assert!(text.parse::<ImageRef>().is_err(), "{text:?} was let through");
        }
    }

    #[test]
    fn a_new_tag_leaves_the_old_digest_behind() {
        let image: ImageRef = format!("ghcr.io/a/b:v1@sha256:{HEX}").parse().unwrap();
        assert_eq!(image.with_tag("v2").unwrap().to_string(), "ghcr.io/a/b:v2");
        assert!(image.with_tag("v2/../x").is_err());
    }

    proptest! {
        #[test]
        fn what_the_grammar_makes_is_read_and_printed_unchanged(
            host in r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?\.[a-z]{2,3}(:[1-9][0-9]{0,3})?",
            repository in r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}(/[a-z0-9]{1,8}){0,3}",
            tag in proptest::option::of(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
            digest in proptest::option::of(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}"),
        ) {
            let mut text = format!("{host}/{repository}");
            text += &tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
            text += &digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
            let image: ImageRef = text.parse().unwrap();
            prop_assume!(host != "index.docker.io" && host != DOCKER_HUB);
            prop_assert_eq!(image.to_string(), text);
            prop_assert_eq!((image.host(), image.repository()), (host.as_str(), repository.as_str()));
            prop_assert_eq!((image.tag(), image.digest().map(Digest::as_str)), (tag.as_deref(), digest.as_deref()));
        }

        #[test]
        fn whatever_is_read_prints_to_something_that_reads_the_same(text in r"[a-zA-Z0-9:/@._\[\]-]{0,40}|\PC{0,20}") {
            if let Ok(image) = text.parse::<ImageRef>() {
                prop_assert_eq!(image.to_string().parse::<ImageRef>().unwrap(), image);
            }
        }
    }
}
