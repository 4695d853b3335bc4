//! Asking the provider again who somebody is, with the refresh token of their sign-in (OpenID Connect Core 1.0,
//! section 12).

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use openidconnect::core::{CoreClient, CoreErrorResponseType};
use openidconnect::{
    ClientSecret, Nonce, OAuth2TokenResponse, RefreshToken, RequestTokenError, TokenResponse,
};
use secrecy::{ExposeSecret, SecretString};

use super::{Provider, auth_type, text};
use crate::auth::claims::Claims;
use crate::config::Oidc;

/// What came back for a refresh token.
pub struct Renewed {
    /// The next one, where the provider replaces them. It has to be kept even if the claims are of no use.
    pub refresh_token: Option<SecretString>,
    pub claims: anyhow::Result<Claims>,
}

pub enum NotRenewed {
    /// The provider says that this sign-in is over: its session ended, the person was disabled.
    Ended(anyhow::Error),
    /// The provider does not answer, or not as a provider does.
    Away(anyhow::Error),
}

impl Provider {
    /// Asks once: whoever asks twice with a token that is replaced at each use loses it.
    pub async fn renew(
        &self,
        config: &Oidc,
        refresh_token: &SecretString,
        subject: &str,
        now: Timestamp,
    ) -> Result<Renewed, NotRenewed> {
        let metadata = self.metadata().await.map_err(|failure| NotRenewed::Away(failure.into()))?;
        let client = CoreClient::from_provider_metadata(
            (*metadata).clone(),
            self.client_id.clone(),
            self.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose_secret().into())),
        )
        .set_auth_type(auth_type(&metadata));
        let answer = client
            .exchange_refresh_token(&RefreshToken::new(refresh_token.expose_secret().into()))
            .map_err(|error| NotRenewed::Away(error.into()))?
            .request_async(&self.http)
            .await;
        let tokens = answer.map_err(|error| match error {
            RequestTokenError::ServerResponse(answer)
                if *answer.error() == CoreErrorResponseType::InvalidGrant =>
            {
                NotRenewed::Ended(anyhow!("{answer}"))
            }
            other => NotRenewed::Away(anyhow::Error::from(other).context("asking with a refresh token")),
        })?;
        let claims = async {
            let mut claims = match tokens.id_token() {
                // Section 12.2: the same issuer, audience and subject. A nonce need not be in it.
                Some(token) => self.verify(&metadata, token, |_: Option<&Nonce>| Ok(()), now).await?,
                None => Claims::new(),
            };
            if tokens.id_token().is_some() && text(&claims, "sub").as_deref() != Some(subject) {
                return Err(anyhow!("the new ID token speaks of somebody else"));
            }
            if claims.is_empty() && metadata.userinfo_endpoint().is_none() {
                return Err(anyhow!("neither an ID token nor a userinfo endpoint says who this is now"));
            }
            self.complete(&metadata, config, &mut claims, tokens.access_token(), subject).await?;
            Ok(claims)
        };
        Ok(Renewed {
            refresh_token: tokens.refresh_token().map(|token| token.secret().as_str().into()),
            claims: claims.await.context("reading what the provider says now"),
        })
    }
}
