//! Talking to the identity provider: discovery, the way there, the exchange of the code, the check of the ID
//! token. Authorization code with PKCE S256; nothing here depends on whose provider it is.
//!
//! What a provider publishes about itself is asked for when first needed and kept for an hour, so the portal
//! starts, and serves people who are signed in, while the provider is away.

mod http;
mod renew;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, anyhow, ensure};
use jiff::Timestamp;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthenticationFlow, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod,
    CoreGenderClaim, CoreGrantType, CoreIdToken, CoreJsonWebKey, CoreJsonWebKeySet,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType,
};
use openidconnect::{
    AccessToken, AdditionalClaims, AdditionalProviderMetadata, AuthType, AuthorizationCode,
    ClaimsVerificationError, ClientId, ClientSecret, CsrfToken, EndSessionUrl, IdTokenVerifier, IssuerUrl,
    LogoutRequest, Nonce, NonceVerifier, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier,
    PostLogoutRedirectUrl, ProviderMetadata, RedirectUrl, Scope, SignatureVerificationError,
    SubjectIdentifier, TokenResponse, UserInfoClaims,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

pub(super) use self::http::Http;
pub use self::renew::NotRenewed;
use super::Identity;
use super::claims::{self, Claims};
use super::jwt::{ALGORITHMS, Jwt, SKEW};
use super::logout_token::{self, Logout};
use super::seal::Seal;
use crate::config::{Config, Oidc};

/// Discovery and keys are asked for again after this long.
const FRESH: Duration = Duration::from_secs(3_600);
/// Before somebody is sent there, the provider must have answered this lately.
const LATELY: Duration = Duration::from_secs(5);
/// After a failure nobody waits for another try before this.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// An unknown key id refreshes the keys at most this often: anybody can send one.
const KEYS_AT_MOST_EVERY: Duration = Duration::from_secs(10);

type Metadata = ProviderMetadata<
    Extra,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// Beyond the standard document: where to sign out, and the mark of our own development provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Extra {
    end_session_endpoint: Option<EndSessionUrl>,
    #[serde(default)]
    pilothouse_development: bool,
}
impl AdditionalProviderMetadata for Extra {}

/// Userinfo claims of any name.
#[derive(Debug, Serialize, Deserialize)]
struct AnyClaims(Claims);
impl AdditionalClaims for AnyClaims {}

/// Why nobody can sign in, or why this person can't.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The provider does not answer, or not as a provider does.
    #[error("the identity provider can’t be used: {0:#}")]
    Away(anyhow::Error),
    /// The provider and the configuration disagree about development.
    #[error("{0}")]
    WrongKind(&'static str),
    /// The provider does not know the code.
    #[error("the code was refused: {0:#}")]
    Code(anyhow::Error),
    /// The ID token does not hold.
    #[error("the ID token was refused: {0:#}")]
    Token(anyhow::Error),
}

/// The configured provider, as far as it is known.
pub struct Provider {
    issuer: IssuerUrl,
    client_id: ClientId,
    client_secret: Option<SecretString>,
    /// How refresh tokens are kept; a public client has nothing to seal them with, so it keeps none.
    seal: Option<Seal>,
    redirect: RedirectUrl,
    signed_out: PostLogoutRedirectUrl,
    scopes: Vec<Scope>,
    development: bool,
    http: Http,
    known: Mutex<Known>,
    /// Held by whoever asks the provider: one asks for all, and nobody else waits who has an answer.
    asking: tokio::sync::Mutex<()>,
}

/// The last answer, the last failure, the last extra look at the keys, and when each was.
#[derive(Default)]
struct Known {
    metadata: Option<(Arc<Metadata>, Instant)>,
    failed: Option<(String, Instant)>,
    keys_asked: Option<Instant>,
}

impl Known {
    /// What needs no asking: what was heard within this time, or a failure of a moment ago.
    fn answer(&self, within: Duration) -> Option<Result<Arc<Metadata>, String>> {
        match (&self.metadata, &self.failed) {
            (Some((metadata, at)), _) if at.elapsed() < within => Some(Ok(metadata.clone())),
            (_, Some((why, at))) if at.elapsed() < RETRY_AFTER => Some(Err(why.clone())),
            _ => None,
        }
    }
}

/// What must be kept between the way there and the way back.
pub struct Departure {
    pub to: Url,
    pub state: CsrfToken,
    pub nonce: Nonce,
    pub pkce: PkceCodeVerifier,
}

/// A verified answer: who, and everything the provider says about them.
#[derive(Debug)]
pub struct Arrival {
    pub identity: Identity,
    pub claims: Claims,
    /// The provider's own session, for back-channel logout.
    pub sid: Option<String>,
    pub id_token: String,
    /// For asking again later who this is.
    pub refresh_token: Option<SecretString>,
}

impl Provider {
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let oidc = &config.oidc;
        let client_secret = match (&oidc.client_secret, &oidc.client_secret_file) {
            (Some(secret), _) => Some(secret.clone()),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file.get_ref())
                    .with_context(|| format!("cannot read {}", file.get_ref().display()))?;
                Some(SecretString::from(text.trim().to_string()))
            }
            (None, None) => None,
        };
        let base = config.server.base_url.get_ref();
        Ok(Self {
            issuer: IssuerUrl::new(oidc.issuer.get_ref().clone()).context("oidc.issuer is not an address")?,
            client_id: ClientId::new(oidc.client_id.clone()),
            seal: client_secret.as_ref().map(Seal::from_client_secret),
            client_secret,
            redirect: RedirectUrl::from_url(base.join("/auth/callback")?),
            signed_out: PostLogoutRedirectUrl::from_url(base.join("/signed-out")?),
            scopes: oidc.scopes.iter().filter(|scope| *scope != "openid").cloned().map(Scope::new).collect(),
            development: oidc.development,
            http: Http::new()?,
            known: Mutex::default(),
            asking: Default::default(),
        })
    }

    /// Whether somebody could sign in now.
    pub async fn is_there(&self) -> Result<(), Failure> {
        self.heard(LATELY).await.map(drop)
    }

    pub fn issuer(&self) -> &str {
        self.issuer.as_str()
    }

    pub fn seal(&self) -> Option<&Seal> {
        self.seal.as_ref()
    }

    /// Where to send a person who wants to sign in.
    pub async fn depart(&self) -> Result<Departure, Failure> {
        let metadata = self.heard(LATELY).await?;
        let (challenge, pkce) = PkceCodeChallenge::new_random_sha256();
        let client = CoreClient::from_provider_metadata((*metadata).clone(), self.client_id.clone(), None)
            .set_redirect_uri(self.redirect.clone());
        let (to, state, nonce) = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                || CsrfToken::new_random_len(32),
                || Nonce::new_random_len(32),
            )
            .add_scopes(self.scopes.iter().cloned())
            .set_pkce_challenge(challenge)
            .url();
        Ok(Departure { to, state, nonce, pkce })
    }

    /// Exchanges the code a person came back with, and verifies what it was exchanged for.
    pub async fn arrive(
        &self,
        config: &Config,
        code: String,
        pkce: PkceCodeVerifier,
        nonce: &Nonce,
        now: Timestamp,
    ) -> Result<Arrival, Failure> {
        let metadata = self.metadata().await?;
        let client = CoreClient::from_provider_metadata(
            (*metadata).clone(),
            self.client_id.clone(),
            self.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose_secret().into())),
        )
        .set_redirect_uri(self.redirect.clone())
        .set_auth_type(auth_type(&metadata));
        let tokens = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|error| Failure::Away(error.into()))?
            .set_pkce_verifier(pkce)
            .request_async(&self.http)
            .await
            .map_err(refused_code)?;
        let id_token =
            tokens.id_token().ok_or_else(|| Failure::Token(anyhow!("the answer holds no ID token")))?;
        let mut claims = self.verify(&metadata, id_token, nonce, now).await?;
        let subject = text(&claims, "sub").ok_or_else(|| Failure::Token(anyhow!("no sub claim")))?;
        self.complete(&metadata, &config.oidc, &mut claims, tokens.access_token(), &subject).await?;
        Ok(Arrival {
            identity: Identity { issuer: self.issuer.to_string(), subject },
            sid: text(&claims, "sid"),
            id_token: id_token.to_string(),
            refresh_token: tokens.refresh_token().map(|token| token.secret().as_str().into()),
            claims,
        })
    }

    /// The provider's sign-out page for the holder of this ID token; `None` where it has none, or is away.
    pub async fn departure_page(&self, id_token: Option<&str>) -> Option<Url> {
        let endpoint = self.metadata().await.ok()?.additional_metadata().end_session_endpoint.clone()?;
        let request = LogoutRequest::from(endpoint)
            .set_client_id(self.client_id.clone())
            .set_post_logout_redirect_uri(self.signed_out.clone());
        // A token that was verified at sign-in parses; if not, the provider asks the person instead.
        let hint = id_token.and_then(|token| token.parse::<CoreIdToken>().ok());
        let request = match &hint {
            Some(token) => request.set_id_token_hint(token),
            None => request,
        };
        Some(request.http_get_url())
    }

    /// Background work of `serve`: ends, with what is wrong, only if the provider is of the wrong kind.
    pub async fn refuse_wrong_kind(&self) -> anyhow::Error {
        loop {
            match self.metadata().await {
                Ok(_) => return std::future::pending().await,
                Err(Failure::WrongKind(why)) => return anyhow!(why),
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "nobody can sign in yet");
                    tokio::time::sleep(Duration::from_secs(15)).await;
                }
            }
        }
    }

    /// What the provider says about itself, asked again once it is old. An old answer beats none.
    async fn metadata(&self) -> Result<Arc<Metadata>, Failure> {
        match (self.heard(FRESH).await, self.known().metadata.clone()) {
            (Err(Failure::Away(_)), Some((old, _))) => self.right_kind(old),
            (heard, _) => heard,
        }
    }

    /// What the provider says about itself, or said within this time.
    async fn heard(&self, within: Duration) -> Result<Arc<Metadata>, Failure> {
        let known = self.known().answer(within);
        let answer = match known {
            Some(answer) => answer,
            None => self.ask(within).await,
        };
        answer.map_err(|why| Failure::Away(anyhow!(why))).and_then(|metadata| self.right_kind(metadata))
    }

    /// Asks for discovery and keys, and keeps what comes of it, unless somebody did so meanwhile.
    async fn ask(&self, within: Duration) -> Result<Arc<Metadata>, String> {
        let _turn = self.asking.lock().await;
        if let Some(answer) = self.known().answer(within) {
            return answer;
        }
        match Metadata::discover_async(self.issuer.clone(), &self.http).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                let mut known = self.known();
                known.metadata = Some((metadata.clone(), Instant::now()));
                known.failed = None;
                Ok(metadata)
            }
            Err(error) => {
                let error = anyhow::Error::from(error).context(format!("asking {}", self.issuer.as_str()));
                let why = format!("{error:#}");
                tracing::warn!(error = why, "the identity provider does not answer");
                self.known().failed = Some((why.clone(), Instant::now()));
                Err(why)
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The development provider lets anybody be anybody. It is taken only where the configuration says so (and the
    /// configuration allows that on localhost only), and where it says so nothing else is taken.
    fn right_kind(&self, metadata: Arc<Metadata>) -> Result<Arc<Metadata>, Failure> {
        match (metadata.additional_metadata().pilothouse_development, self.development) {
            (true, false) => Err(Failure::WrongKind(
                "The issuer is the built-in development identity provider, where anybody can sign in as anybody. \
                 Name your company's provider in oidc.issuer; to try the portal on your own machine, set \
                 oidc.development = true and a base_url on http://localhost.",
            )),
            (false, true) => Err(Failure::WrongKind(
                "oidc.development = true is for the built-in development identity provider only, and the issuer is \
                 another one. Remove oidc.development.",
            )),
            (true, true) | (false, false) => Ok(metadata),
        }
    }

    /// The claims of an ID token that holds. A key the provider made since we asked is fetched once.
    async fn verify(
        &self,
        metadata: &Metadata,
        token: &CoreIdToken,
        nonce: impl NonceVerifier + Copy,
        now: Timestamp,
    ) -> Result<Claims, Failure> {
        let checked = match check(token, self.verifier(metadata.jwks().clone(), now), nonce) {
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey,
            )) => {
                let keys = self.fresh_keys(metadata).await?;
                check(token, self.verifier(keys, now), nonce)
            }
            checked => checked,
        };
        checked.map_err(|error| Failure::Token(error.into()))?;
        self.check_more(&token.to_string(), now).map_err(Failure::Token)
    }

    /// What openidconnect leaves to its callers: a name that stands twice, `nbf`, `azp`, and a subject that is none.
    fn check_more(&self, token: &str, now: Timestamp) -> anyhow::Result<Claims> {
        let jwt = Jwt::read(token)?;
        jwt.check_times(now)?;
        let party = jwt.text("azp")?;
        ensure!(party.is_none_or(|party| party == self.client_id.as_str()), "azp names another client");
        jwt.text("sub")?.context("no sub claim")?;
        Ok(jwt.claims)
    }

    /// What a logout token says, if it holds. Keys as with ID tokens.
    pub async fn logout(&self, token: &str, now: Timestamp) -> Result<Logout, Failure> {
        let jwt = Jwt::read(token).map_err(Failure::Token)?;
        let metadata = self.metadata().await?;
        let signed = match jwt.signed_by(metadata.jwks()) {
            Err(SignatureVerificationError::NoMatchingKey) => {
                jwt.signed_by(&self.fresh_keys(&metadata).await?)
            }
            signed => signed,
        };
        signed.map_err(|error| Failure::Token(error.into()))?;
        logout_token::read(&jwt, self.issuer(), &self.client_id, now).map_err(Failure::Token)
    }

    /// Exact issuer; our client id as the only audience; an allowed algorithm; not expired, not from the future.
    fn verifier(&self, keys: CoreJsonWebKeySet, now: Timestamp) -> IdTokenVerifier<'static, CoreJsonWebKey> {
        let (earlier, latest) = (SystemTime::from(now - SKEW), (now + SKEW).as_second());
        IdTokenVerifier::new_public_client(self.client_id.clone(), self.issuer.clone(), keys)
            .set_allowed_algs(ALGORITHMS)
            .set_time_fn(move || earlier.into())
            .set_issue_time_verifier_fn(move |issued| match issued.timestamp() <= latest {
                true => Ok(()),
                false => Err("the token was issued in the future".into()),
            })
    }

    async fn fresh_keys(&self, metadata: &Metadata) -> Result<CoreJsonWebKeySet, Failure> {
        let _turn = self.asking.lock().await;
        {
            let mut known = self.known();
            if known.keys_asked.is_some_and(|at| at.elapsed() < KEYS_AT_MOST_EVERY) {
                let newest = known.metadata.as_ref().map_or(metadata, |(newest, _)| newest);
                return Ok(newest.jwks().clone());
            }
            known.keys_asked = Some(Instant::now());
        }
        let keys = CoreJsonWebKeySet::fetch_async(metadata.jwks_uri(), &self.http)
            .await
            .map_err(|error| Failure::Away(error.into()))?;
        self.known().metadata = Some((Arc::new(metadata.clone().set_jwks(keys.clone())), Instant::now()));
        Ok(keys)
    }

    /// What the ID token leaves out is asked of the userinfo endpoint, where there is one.
    async fn complete(
        &self,
        metadata: &Metadata,
        config: &Oidc,
        claims: &mut Claims,
        token: &AccessToken,
        subject: &str,
    ) -> Result<(), Failure> {
        if !claims::is_complete(config, claims) && metadata.userinfo_endpoint().is_some() {
            for (name, value) in self.userinfo(metadata, token.clone(), subject).await? {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(())
    }

    async fn userinfo(
        &self,
        metadata: &Metadata,
        token: AccessToken,
        subject: &str,
    ) -> Result<Claims, Failure> {
        let client = CoreClient::from_provider_metadata(metadata.clone(), self.client_id.clone(), None);
        let claims: UserInfoClaims<AnyClaims, CoreGenderClaim> = client
            .user_info(token, Some(SubjectIdentifier::new(subject.into())))
            .map_err(|error| Failure::Away(error.into()))?
            .request_async(&self.http)
            .await
            .map_err(|error| Failure::Away(anyhow::Error::from(error).context("asking userinfo")))?;
        match serde_json::to_value(&claims) {
            Ok(Value::Object(claims)) => Ok(claims),
            _ => Err(Failure::Away(anyhow!("userinfo is not an object"))),
        }
    }
}

/// Basic is what every provider must take; some take only the other.
fn auth_type(metadata: &Metadata) -> AuthType {
    let takes = |method| {
        metadata.token_endpoint_auth_methods_supported().is_none_or(|methods| methods.contains(&method))
    };
    if takes(CoreClientAuthMethod::ClientSecretBasic) { AuthType::BasicAuth } else { AuthType::RequestBody }
}

fn check(
    token: &CoreIdToken,
    verifier: IdTokenVerifier<'_, CoreJsonWebKey>,
    nonce: impl NonceVerifier,
) -> Result<(), ClaimsVerificationError> {
    token.claims(&verifier, nonce).map(drop)
}

/// A code that is used, expired or another client's is the person's sign-in gone stale; the rest is the provider's.
fn refused_code<E: std::error::Error + Send + Sync + 'static>(
    error: openidconnect::RequestTokenError<
        E,
        openidconnect::StandardErrorResponse<openidconnect::core::CoreErrorResponseType>,
    >,
) -> Failure {
    match error {
        openidconnect::RequestTokenError::ServerResponse(answer) => Failure::Code(anyhow!("{answer}")),
        // The ID token is parsed with the rest of the answer: one that names an algorithm nobody knows ends here.
        openidconnect::RequestTokenError::Parse(error, _) => Failure::Token(error.into()),
        other => Failure::Away(other.into()),
    }
}

fn text(claims: &Claims, name: &str) -> Option<String> {
    claims.get(name).and_then(Value::as_str).map(Into::into)
}
