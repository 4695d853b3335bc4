//! `platform login`: a token of one's own, by way of the browser (RFC 8252) or, where none can be opened, of a code
//! that is typed into a browser elsewhere (RFC 8628); pipelines come in by `ci.rs`. The portal sends people to the company's provider, so the
//! command needs to know nothing but the portal's address.

use std::io::{self, Read as _};
use std::path::PathBuf;

use clap::Args;
use clap_complete::ArgValueCompleter;
use secrecy::SecretString;
use serde::Deserialize;

use super::args::Globals;
use super::config::{Config, portal_url};
use super::failure::{Exit, Failure};
use super::portal::Portal;
use super::print::{Out, say};
use super::refresh::{Credential, Token};
use super::{browser, ci, complete, device, secret, wording};
use crate::api::types::WhoAmI;

/// What the portal knows this command as.
pub const CLIENT: &str = "platform-cli";

#[derive(Debug, Args)]
pub struct Arguments {
    /// The address of the portal, the first time. Without it: the current context's.
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// What to call this portal; without it, by its host.
    #[arg(long, value_name = "NAME", requires = "url", add = ArgValueCompleter::new(complete::contexts))]
    name: Option<String>,
    /// Shows a code to type into a browser on any machine.
    #[arg(long)]
    device: bool,
    /// Reads a token from standard input instead of signing in. The portal's settings make such tokens.
    #[arg(long, conflicts_with = "device")]
    with_token: bool,
    /// In a pipeline: exchanges the CI system's token for one of a machine, which lasts 15 minutes.
    #[arg(long, conflicts_with_all = ["device", "with_token"])]
    ci: bool,
    /// The machine, where several trust this pipeline.
    #[arg(long, value_name = "NAME", requires = "ci")]
    machine: Option<String>,
    /// Where the CI system's token is. Without it: $PLATFORM_ID_TOKEN, or what GitHub Actions gives to jobs.
    #[arg(long, value_name = "FILE", requires = "ci")]
    token_file: Option<PathBuf>,
    /// Whom GitHub Actions makes the token for. Without it: the portal's address.
    #[arg(long, value_name = "TEXT", requires = "ci")]
    audience: Option<String>,
}

/// RFC 6749, 5.1 and 5.2.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum TokenAnswer {
    Granted(Granted),
    Refused { error: String },
}

#[derive(Debug, Deserialize)]
pub struct Granted {
    pub access_token: SecretString,
    /// An older portal gives none: its token lasts by itself.
    pub refresh_token: Option<SecretString>,
    /// Seconds.
    #[serde(default)]
    pub expires_in: i64,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let mut config = Config::load()?;
    let name = name(&arguments, globals, &mut config)?;
    let mut context = config.named(&name)?.clone();
    context.ca_file = globals.ca_file.clone().or(context.ca_file);
    let portal = Portal::at(context.clone(), None)?;
    let credential = if arguments.with_token {
        Credential::fixed(from_stdin()?)
    } else if arguments.ci {
        let Arguments { machine, token_file, audience, .. } = &arguments;
        ci::sign_in(&portal, machine.as_deref(), token_file.as_deref(), audience.as_deref()).await?
    } else if arguments.device || !browser::is_there() {
        device::sign_in(&portal).await?
    } else {
        browser::sign_in(&portal).await?
    };

    let portal = Portal::at(context.clone(), Some(Token::new(credential.clone(), None)))?;
    let me: WhoAmI = portal.get(portal.url(&["whoami"])).await?;
    let kept = secret::keep(&context.url, &credential)?;
    // Two contexts may be one portal: the token is the portal's.
    for other in config.contexts.values_mut().filter(|other| other.url == context.url) {
        other.token = Some(kept);
    }
    config.current = Some(name);
    config.save()?;

    say(&wording::signed_in(&me, &portal.name(), kept));
    Out::new(globals).value(&me, |_| String::new())
}

/// The context that is signed in at; made where it is new.
fn name(arguments: &Arguments, globals: &Globals, config: &mut Config) -> Result<String, Failure> {
    let Some(url) = &arguments.url else {
        let name = globals.context.clone().or_else(|| config.current.clone()).ok_or(Failure::NoPortal)?;
        config.named(&name)?;
        return Ok(name);
    };
    let url = portal_url(url).map_err(Failure::Usage)?;
    let known = config.contexts.iter().find(|(_, context)| context.url == url).map(|(name, _)| name.clone());
    let given = arguments.name.clone().or_else(|| globals.context.clone());
    let name = given.or(known).unwrap_or_else(|| url.host_str().unwrap_or("portal").to_string());
    let ca_file = globals.ca_file.as_ref().map(std::path::absolute).transpose()?;
    config.add(&name, url, ca_file);
    Ok(name)
}

fn from_stdin() -> Result<SecretString, Failure> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    match text.trim() {
        "" => {
            Err(Failure::Usage("--with-token reads the token from standard input, and there is none".into()))
        }
        token => Ok(token.into()),
    }
}

/// The name of this machine: it becomes part of the token's name, so that people know which one to revoke.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
