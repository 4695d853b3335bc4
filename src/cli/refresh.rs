//! A sign-in that this command keeps alive: what it shows the portal lasts an hour, and the next hour is fetched with a
//! refresh token that is good once. Several commands may run at the same time, so that happens under a lock beside the
//! credentials, and whoever comes second takes what the first one fetched.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::config::Kept;
use super::failure::Failure;
use super::login::{CLIENT, Granted, TokenAnswer};
use super::portal::Portal;
use super::{secret, wording};

/// Fetched this long before the end, so that no request arrives just too late.
const EARLY: SignedDuration = SignedDuration::from_secs(60);
/// The TAB key waits for it, too.
const WITHIN: Duration = Duration::from_secs(10);

/// What is kept for a portal.
#[derive(Clone, Debug)]
pub struct Credential {
    pub access: SecretString,
    /// None for a token that was made by hand, or by an older command: it has its own end.
    pub next: Option<Next>,
}

#[derive(Clone, Debug)]
pub struct Next {
    pub refresh_token: SecretString,
    pub fresh_until: Timestamp,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    access_token: String,
    refresh_token: String,
    fresh_until: Timestamp,
}

impl Credential {
    pub fn fixed(token: SecretString) -> Self {
        Self { access: token, next: None }
    }

    pub fn granted(granted: Granted, now: Timestamp) -> Self {
        let lasts = SignedDuration::from_secs(granted.expires_in);
        let next =
            |refresh_token| Next { refresh_token, fresh_until: now.saturating_add(lasts).unwrap_or(now) };
        Self { access: granted.access_token, next: granted.refresh_token.map(next) }
    }

    /// A bare token is one as older commands kept them.
    pub fn read(text: &str) -> Self {
        match serde_json::from_str::<Written>(text) {
            Ok(written) => {
                let next =
                    Next { refresh_token: written.refresh_token.into(), fresh_until: written.fresh_until };
                Self { access: written.access_token.into(), next: Some(next) }
            }
            Err(_) => Self::fixed(text.into()),
        }
    }

    pub fn written(&self) -> Result<SecretString, Failure> {
        let Some(next) = &self.next else { return Ok(self.access.clone()) };
        let written = Written {
            access_token: self.access.expose_secret().into(),
            refresh_token: next.refresh_token.expose_secret().into(),
            fresh_until: next.fresh_until,
        };
        Ok(serde_json::to_string(&written).map_err(anyhow::Error::from)?.into())
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.next.as_ref().is_some_and(|next| now >= next.fresh_until - EARLY)
    }

    fn is(&self, token: &SecretString) -> bool {
        self.access.expose_secret() == token.expose_secret()
    }
}

/// What requests are made with.
#[derive(Debug)]
pub struct Token {
    /// Where the next one is put; None for one that is used as it is.
    place: Option<Kept>,
    held: Mutex<Credential>,
}

impl Token {
    pub fn new(credential: Credential, place: Option<Kept>) -> Self {
        Self { place, held: Mutex::new(credential) }
    }

    /// The token of now.
    pub async fn fresh(&self, portal: &Portal) -> Result<SecretString, Failure> {
        let held = self.held.lock().await.clone();
        if !held.is_due(Timestamp::now()) {
            return Ok(held.access);
        }
        Ok(self.after(portal, &held.access).await?.unwrap_or(held.access))
    }

    /// The token after this one, which the portal does not take; None if there is no way to one.
    pub async fn after(&self, portal: &Portal, used: &SecretString) -> Result<Option<SecretString>, Failure> {
        let mut held = self.held.lock().await;
        if !held.is(used) {
            return Ok(Some(held.access.clone())); // another request of this process was faster
        }
        let (Some(place), Some(_)) = (self.place, &held.next) else { return Ok(None) };
        let lock = tokio::task::spawn_blocking(secret::lock).await.map_err(anyhow::Error::from)??;
        let ended = || Failure::NotSignedIn { portal: portal.name(), said: wording::sign_in_ended() };
        let kept = secret::kept(&portal.context.url, place)?.ok_or_else(ended)?;
        if !kept.is(used) && !kept.is_due(Timestamp::now()) {
            *held = kept; // another process was faster
            return Ok(Some(held.access.clone()));
        }
        let Some(next) = kept.next else { return Ok(None) };
        let form = [
            ("client_id", CLIENT),
            ("grant_type", "refresh_token"),
            ("refresh_token", next.refresh_token.expose_secret()),
        ];
        let granted = match portal.post_form_within(portal.url(&["token"]), &form, WITHIN).await? {
            TokenAnswer::Granted(granted) => granted,
            TokenAnswer::Refused { error } if error == "invalid_grant" => return Err(ended()),
            TokenAnswer::Refused { error } => {
                return Err(Failure::SignIn(wording::refused_sign_in(&error)));
            }
        };
        *held = Credential::granted(granted, Timestamp::now());
        secret::replace(&lock, &portal.context.url, place, &held)?;
        Ok(Some(held.access.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_764_000_000 + second).unwrap()
    }

    #[test]
    fn it_is_read_as_it_is_written_and_a_bare_token_stays_one() {
        let granted =
            Granted { access_token: "ph_a".into(), refresh_token: Some("phr_b".into()), expires_in: 3_600 };
        let credential = Credential::granted(granted, at(0));
        let again = Credential::read(credential.written().unwrap().expose_secret());
        assert!(again.is(&"ph_a".into()));
        let next = again.next.unwrap();
        assert_eq!((next.refresh_token.expose_secret(), next.fresh_until), ("phr_b", at(3_600)));

        let bare = Credential::read("ph_old");
        assert!(bare.is(&"ph_old".into()) && bare.next.is_none());
        assert_eq!(bare.written().unwrap().expose_secret(), "ph_old");
    }

    #[test]
    fn the_next_hour_is_fetched_a_minute_early() {
        let granted =
            Granted { access_token: "a".into(), refresh_token: Some("b".into()), expires_in: 3_600 };
        let credential = Credential::granted(granted, at(0));
        assert!(!credential.is_due(at(3_539)) && credential.is_due(at(3_540)));
        assert!(!Credential::fixed("a".into()).is_due(at(1_000_000)));
    }
}
