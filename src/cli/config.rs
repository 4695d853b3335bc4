//! The portals somebody works with: `platform/config.toml` in the XDG configuration folder. Secrets are elsewhere
//! (secret.rs).
//!
//! ```toml
//! current = "work"
//! [contexts.work]
//! url = "https://portal.example.com/"
//! ca_file = "/etc/ssl/company.pem"
//! environment = "staging"
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use url::Url;

use super::args::Globals;
use super::failure::Failure;

const URL: &str = "PLATFORM_URL";

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub current: Option<String>,
    pub contexts: BTreeMap<String, Context>,
}

/// A portal, and what is particular to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    pub url: Url,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Meant where --env is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Where `login` has put the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Kept>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    Keyring,
    File,
}

impl Context {
    pub fn at(url: Url) -> Self {
        Self { url, ca_file: None, environment: None, token: None }
    }
}

impl Config {
    pub fn load() -> Result<Self, Failure> {
        let path = folder()?.join("config.toml");
        match fs::read_to_string(&path) {
            Ok(text) => {
                Ok(toml::from_str(&text).with_context(|| format!("{} can’t be read", path.display()))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::Local(
                anyhow::Error::from(error).context(format!("{} can’t be read", path.display())),
            )),
        }
    }

    pub fn save(&self) -> Result<(), Failure> {
        let text = toml::to_string(self).map_err(anyhow::Error::from)?;
        write_private(&folder()?.join("config.toml"), &text)
    }

    /// The portal that is meant: --context, else PLATFORM_URL, else the current one.
    pub fn chosen(&self, globals: &Globals) -> Result<Context, Failure> {
        let mut context = match (&globals.context, std::env::var(URL)) {
            (Some(name), _) => self.named(name)?.clone(),
            (None, Ok(text)) if !text.is_empty() => {
                let url = portal_url(&text).map_err(|why| Failure::Usage(format!("{URL}: {why}")))?;
                let known = self.contexts.values().find(|context| context.url == url);
                known.cloned().unwrap_or_else(|| Context::at(url))
            }
            (None, _) => self.named(self.current.as_deref().ok_or(Failure::NoPortal)?)?.clone(),
        };
        if globals.ca_file.is_some() {
            context.ca_file = globals.ca_file.clone();
        }
        Ok(context)
    }

    pub fn named(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| Failure::UnknownContext {
            name: name.into(),
            known: self.contexts.keys().cloned().collect(),
        })
    }
}

/// The address of a portal, as people type it: `portal.example.com` is https.
pub fn portal_url(text: &str) -> Result<Url, String> {
    let text = text.trim();
    let whole = if text.contains("://") { text.to_string() } else { format!("https://{text}") };
    let mut url = Url::parse(&whole).map_err(|error| format!("“{text}” is no address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("“{text}” is no address of a portal: it begins with https://"));
    }
    url.set_query(None);
    url.set_fragment(None);
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// `$XDG_CONFIG_HOME/platform`, else `~/.config/platform`.
pub fn folder() -> Result<PathBuf, Failure> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let base = base.or_else(|| set("HOME").map(|home| home.join(".config")));
    let base =
        base.context("neither XDG_CONFIG_HOME nor HOME is set, so there is no place for the settings")?;
    Ok(base.join("platform"))
}

/// Whole or not at all, and readable by its owner only.
pub fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let new = path.with_extension(format!("new-{}", std::process::id()));
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    Ok(write().with_context(|| format!("{} can’t be written", path.display()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Config {
        let context = |url: &str| Context::at(portal_url(url).unwrap());
        Config {
            current: Some("work".into()),
            contexts: [
                ("work".into(), context("portal.example.com")),
                ("home".into(), context("http://localhost:8080")),
            ]
            .into(),
        }
    }

    #[test]
    fn addresses_are_forgiving() {
        assert_eq!(portal_url("portal.example.com").unwrap().as_str(), "https://portal.example.com/");
        assert_eq!(portal_url(" http://localhost:8080/x?y#z ").unwrap().as_str(), "http://localhost:8080/x/");
        assert!(portal_url("ftp://portal").is_err());
        assert!(portal_url("").is_err());
    }

    #[test]
    fn a_context_is_the_current_one_or_the_one_that_is_named() {
        let config = two();
        let named = Globals { context: Some("home".into()), ..Globals::default() };
        assert_eq!(config.chosen(&named).unwrap().url.as_str(), "http://localhost:8080/");
        let wrong = Globals { context: Some("hom".into()), ..Globals::default() };
        assert!(matches!(config.chosen(&wrong), Err(Failure::UnknownContext { .. })));
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        let config = two();
        assert_eq!(toml::from_str::<Config>(&toml::to_string(&config).unwrap()).unwrap(), config);
    }
}
