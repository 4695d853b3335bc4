//! Sealing what the portal keeps for the identity provider. The key comes from the client secret, without which a stored
//! refresh token is of no use anyway: whoever reads the database alone can do nothing with it.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use secrecy::{ExposeSecret, SecretString};

use super::Identity;

/// Seals with ChaCha20-Poly1305 under a random nonce of 96 bits: good for 2³² seals, centuries of one a second.
pub struct Seal(LessSafeKey);

impl Seal {
    pub fn from_client_secret(secret: &SecretString) -> Self {
        let salt = Salt::new(HKDF_SHA256, b"pilothouse");
        let from = salt.extract(secret.expose_secret().as_bytes());
        let key = from.expand(&[b"refresh tokens of the identity provider"], &CHACHA20_POLY1305);
        Self(LessSafeKey::new(UnboundKey::from(key.expect("one key is far below HKDF’s limit"))))
    }

    /// Nonce, then the sealed text. It opens for the same person only, so rows can't be swapped.
    pub fn seal(&self, whose: &Identity, text: &SecretString) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut sealed = text.expose_secret().as_bytes().to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound_to(whose), &mut sealed)
            .expect("a refresh token is far below the cipher’s limit");
        [nonce.as_slice(), &sealed].concat()
    }

    /// `None`: it was sealed with another client secret, for somebody else, or was changed.
    pub fn open(&self, whose: &Identity, sealed: &[u8]) -> Option<SecretString> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let text = self.0.open_in_place(nonce, bound_to(whose), &mut text).ok()?;
        Some(std::str::from_utf8(text).ok()?.into())
    }
}

/// As JSON, which has one reading.
fn bound_to(whose: &Identity) -> Aad<Vec<u8>> {
    Aad::from(serde_json::json!([whose.issuer, whose.subject]).to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_opens_it_for_the_same_person() {
        let whose = |subject: &str| Identity { issuer: "https://id.example".into(), subject: subject.into() };
        let seal = Seal::from_client_secret(&"client secret".into());
        let text = SecretString::from("refresh me");
        let sealed = seal.seal(&whose("1"), &text);
        let opened = |seal: &Seal, subject, sealed: &[u8]| {
            seal.open(&whose(subject), sealed).map(|text| text.expose_secret().to_string())
        };

        assert_eq!(opened(&seal, "1", &sealed).as_deref(), Some("refresh me"));
        assert_ne!(seal.seal(&whose("1"), &text), sealed, "never the same twice");
        assert_eq!(opened(&seal, "2", &sealed), None);
        assert_eq!(opened(&Seal::from_client_secret(&"another".into()), "1", &sealed), None);
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(opened(&seal, "1", &changed), None);
        assert_eq!(opened(&seal, "1", &sealed[..5]), None);
    }
}
