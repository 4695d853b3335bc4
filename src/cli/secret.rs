//! The token of a portal: in the system's keyring, and where there is none in a file that only its owner can read.
//! Which of the two it is stands in the configuration, so that nothing is asked in vain at every call.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::config::{self, Kept};
use super::failure::Failure;

const SERVICE: &str = "platform";
const VARIABLE: &str = "PLATFORM_TOKEN";

/// PLATFORM_TOKEN, else what `login` has kept for this portal.
pub fn token(url: &Url, kept: Option<Kept>) -> Result<Option<SecretString>, Failure> {
    if let Ok(token) = std::env::var(VARIABLE)
        && !token.trim().is_empty()
    {
        return Ok(Some(token.trim().into()));
    }
    kept.map_or(Ok(None), |place| self::kept(url, place))
}

/// What `login` has kept.
pub fn kept(url: &Url, place: Kept) -> Result<Option<SecretString>, Failure> {
    match place {
        Kept::File => Ok(read_file()?.remove(url.as_str()).map(Into::into)),
        Kept::Keyring => match entry(url).and_then(|entry| entry.get_password()) {
            Ok(token) => Ok(Some(token.into())),
            Err(keyring::v1::Error::NoEntry) => Ok(None),
            Err(error) => {
                let why = "the system’s keyring does not answer: unlock it, or set PLATFORM_TOKEN";
                Err(Failure::Local(anyhow::Error::from(error).context(why)))
            }
        },
    }
}

/// Puts it where it is safest here, and says where.
pub fn keep(url: &Url, token: &SecretString) -> Result<Kept, Failure> {
    let in_keyring = entry(url).and_then(|entry| entry.set_password(token.expose_secret()));
    if in_keyring.is_ok() {
        return Ok(Kept::Keyring);
    }
    let mut tokens = read_file()?;
    tokens.insert(url.to_string(), token.expose_secret().into());
    write_file(&tokens)?;
    Ok(Kept::File)
}

pub fn forget(url: &Url, kept: Option<Kept>) -> Result<(), Failure> {
    match kept {
        None => {}
        Some(Kept::File) => {
            let mut tokens = read_file()?;
            tokens.remove(url.as_str());
            write_file(&tokens)?;
        }
        // What can't be asked can't be cleared either; the portal has revoked the token.
        Some(Kept::Keyring) => drop(entry(url).and_then(|entry| entry.delete_credential())),
    }
    Ok(())
}

fn entry(url: &Url) -> keyring::v1::Result<keyring::v1::Entry> {
    keyring::v1::Entry::new(SERVICE, url.as_str())
}

fn file() -> Result<PathBuf, Failure> {
    Ok(config::folder()?.join("tokens.toml"))
}

/// Address of the portal to token.
fn read_file() -> Result<BTreeMap<String, String>, Failure> {
    let path = file()?;
    match fs::read_to_string(&path) {
        Ok(text) => Ok(toml::from_str(&text).with_context(|| format!("{} can’t be read", path.display()))?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error.into()),
    }
}

fn write_file(tokens: &BTreeMap<String, String>) -> Result<(), Failure> {
    config::write_private(&file()?, &toml::to_string(tokens).map_err(anyhow::Error::from)?)
}
