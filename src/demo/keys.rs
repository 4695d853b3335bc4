//! The key that signs ID tokens: RSA, made at start or kept in a file.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, anyhow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreJsonWebKeySet, CoreJwsSigningAlgorithm, CoreRsaPrivateSigningKey};
use openidconnect::{JsonWebKeyId, PrivateSigningKey};
use rsa::pkcs1::{EncodeRsaPrivateKey, LineEnding};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const BITS: usize = 2_048;

pub struct Keys {
    id: String,
    key: CoreRsaPrivateSigningKey,
}

impl Keys {
    pub fn generate() -> anyhow::Result<Self> {
        Self::from_pem(&Self::new_pem()?)
    }

    /// A new key, as PKCS#1 PEM text.
    pub fn new_pem() -> anyhow::Result<String> {
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, BITS).context("cannot make a key")?;
        Ok(key.to_pkcs1_pem(LineEnding::LF)?.to_string())
    }

    /// A key as [`Keys::new_pem`] writes it.
    pub fn from_pem(pem: &str) -> anyhow::Result<Self> {
        let id = hex::encode(&Sha256::digest(pem)[..8]);
        let key = CoreRsaPrivateSigningKey::from_pem(pem, Some(JsonWebKeyId::new(id.clone())))
            .map_err(|error| anyhow!("not a PKCS#1 RSA key: {error}"))?;
        Ok(Self { id, key })
    }

    /// The key in `file`, which is made, readable by its owner only, when it does not exist.
    pub fn kept_in(file: &Path) -> anyhow::Result<Self> {
        if !file.exists() {
            let mut new = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(file)
                .with_context(|| format!("cannot make {}", file.display()))?;
            new.write_all(Self::new_pem()?.as_bytes())?;
        }
        let pem = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::from_pem(&pem).with_context(|| format!("{} can’t be used", file.display()))
    }

    /// The public half, as a JSON Web Key Set.
    pub fn public(&self) -> Value {
        json!(CoreJsonWebKeySet::new(vec![self.key.as_verification_key()]))
    }

    /// The header of an honest token.
    pub fn header(&self) -> Value {
        json!({ "alg": "RS256", "typ": "JWT", "kid": self.id })
    }

    /// A compact JWS, signed with RS256 whatever the header says.
    pub fn sign(&self, header: &Value, claims: &Value) -> anyhow::Result<String> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self
            .key
            .sign(&CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256, message.as_bytes())
            .map_err(|error| anyhow!("cannot sign: {error}"))?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
