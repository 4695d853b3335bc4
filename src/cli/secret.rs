//! The token of a portal: in the system's keyring, and where there is none in a file that only its owner can read.
//! Which of the two it is stands in the configuration, so that nothing is asked in vain at every call.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use url::Url;

use super::config::{self, Kept};
use super::failure::Failure;
use super::refresh::{Credential, Token};

const SERVICE: &str = "platform";
const VARIABLE: &str = "PLATFORM_TOKEN";

/// PLATFORM_TOKEN, else what `login` has kept for this portal.
pub fn token(url: &Url, kept: Option<Kept>) -> Result<Option<Token>, Failure> {
    if let Ok(token) = std::env::var(VARIABLE)
        && !token.trim().is_empty()
    {
        return Ok(Some(Token::new(Credential::fixed(token.trim().into()), None)));
    }
    let Some(place) = kept else { return Ok(None) };
    Ok(self::kept(url, place)?.map(|credential| Token::new(credential, Some(place))))
}

/// What `login` has kept.
pub fn kept(url: &Url, place: Kept) -> Result<Option<Credential>, Failure> {
    match place {
        Kept::File => Ok(read_file()?.get(url.as_str()).map(|text| Credential::read(text))),
        Kept::Keyring => match entry(url).and_then(|entry| entry.get_password()) {
            Ok(text) => Ok(Some(Credential::read(&text))),
            Err(keyring::v1::Error::NoEntry) => Ok(None),
            Err(error) => {
                let why = "the system’s keyring does not answer: unlock it, or set PLATFORM_TOKEN";
                Err(Failure::Local(anyhow::Error::from(error).context(why)))
            }
        },
    }
}

/// Held by the one process that changes what is kept.
pub struct Locked(#[expect(dead_code, reason = "the lock is its life")] File);

/// Waits for the others. The system gives the lock back when a process ends, however it ends.
pub fn lock() -> Result<Locked, Failure> {
    let path = config::folder()?.join("tokens.lock");
    let locked = || {
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        file.lock()?;
        Ok::<_, io::Error>(Locked(file))
    };
    Ok(locked().with_context(|| format!("{} can’t be locked", path.display()))?)
}

/// Puts it where it is safest here, and says where.
pub fn keep(url: &Url, credential: &Credential) -> Result<Kept, Failure> {
    let lock = lock()?;
    let text = credential.written()?;
    if entry(url).and_then(|entry| entry.set_password(text.expose_secret())).is_ok() {
        return Ok(Kept::Keyring);
    }
    replace(&lock, url, Kept::File, credential)?;
    Ok(Kept::File)
}

/// Puts the next one where the one before is.
pub fn replace(_: &Locked, url: &Url, place: Kept, credential: &Credential) -> Result<(), Failure> {
    let text = credential.written()?;
    match place {
        Kept::Keyring => entry(url)
            .and_then(|entry| entry.set_password(text.expose_secret()))
            .context("the system’s keyring does not take the new token")?,
        Kept::File => {
            let mut tokens = read_file()?;
            tokens.insert(url.to_string(), text.expose_secret().into());
            write_file(&tokens)?;
        }
    }
    Ok(())
}

pub fn forget(url: &Url, kept: Option<Kept>) -> Result<(), Failure> {
    let _lock = lock()?;
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

/// Address of the portal to what is kept for it.
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
