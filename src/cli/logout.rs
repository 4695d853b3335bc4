//! `platform logout`: the token is worth nothing from now on, and is gone from this machine.

use super::args::Globals;
use super::config::Config;
use super::failure::{Exit, Failure};
use super::portal::Portal;
use super::print::say;
use super::refresh::Token;
use super::{secret, wording};
use crate::api::types::WhoAmI;

pub async fn run(globals: &Globals) -> Result<Exit, Failure> {
    let mut config = Config::load()?;
    let context = config.chosen(globals)?;
    let Some(kept) = context.token else {
        say(&wording::not_signed_in_anyway(&context.url));
        return Ok(Exit::Done);
    };
    let token = secret::kept(&context.url, kept)?.map(|credential| Token::new(credential, Some(kept)));
    let revoked = revoke(&Portal::at(context.clone(), token)?).await;
    secret::forget(&context.url, Some(kept))?;
    for other in config.contexts.values_mut().filter(|other| other.url == context.url) {
        other.token = None;
    }
    config.save()?;
    match revoked {
        // The portal has ended it already.
        Ok(()) | Err(Failure::NotSignedIn { .. }) => {
            say(&wording::signed_out(&context.url));
            Ok(Exit::Done)
        }
        Err(failure) => {
            say(&wording::forgotten_only(&context.url));
            Err(failure)
        }
    }
}

async fn revoke(portal: &Portal) -> Result<(), Failure> {
    let me: WhoAmI = portal.get(portal.url(&["whoami"])).await?;
    match me.token {
        Some(token) => portal.delete(portal.url(&["tokens", &token.id.to_string()])).await,
        None => Ok(()),
    }
}
