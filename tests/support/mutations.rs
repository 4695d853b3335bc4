//! Every way to tamper with a signed token that no kind of it may survive: one table for ID tokens and logout tokens.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreJwsSigningAlgorithm, CoreRsaPrivateSigningKey};
use openidconnect::{JsonWebKeyId, PrivateSigningKey};
use pilothouse::demo::Keys;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPublicKey, LineEnding};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::KEY;

/// A key that the provider never published.
static IMPOSTOR: LazyLock<String> = LazyLock::new(|| Keys::new_pem().unwrap());

/// What the provider would have signed. Its key is [`KEY`], and it publishes another one beside it.
pub struct Honest<'a> {
    pub keys: &'a Keys,
    pub header: Value,
    pub claims: Value,
    /// Seconds.
    pub now: i64,
}

pub type Mutation = (&'static str, fn(Honest) -> String);

impl Honest<'_> {
    pub fn token(&self) -> String {
        self.keys.sign(&self.header, &self.claims).unwrap()
    }

    fn impostors(&self) -> String {
        Keys::from_pem(&IMPOSTOR).unwrap().sign(&self.header, &self.claims).unwrap()
    }

    /// Honestly signed, with this in the header.
    pub fn with_header(mut self, name: &str, value: Value) -> String {
        self.header[name] = value;
        self.token()
    }

    /// Honestly signed, with this claim.
    pub fn with(mut self, name: &str, value: Value) -> String {
        self.claims[name] = value;
        self.token()
    }

    /// Honestly signed, without this claim.
    pub fn without(mut self, name: &str) -> String {
        self.claims.as_object_mut().unwrap().remove(name);
        self.token()
    }

    /// Honestly signed, with text before the rest of the header and of the claims, such as no [`Value`] can hold.
    pub fn with_text(&self, header: &str, claims: &str) -> String {
        let longer = |value: &Value, more: &str| value.to_string().replacen('{', &format!("{{{more}"), 1);
        let message = message(&longer(&self.header, header), &longer(&self.claims, claims));
        let key = CoreRsaPrivateSigningKey::from_pem(&KEY, None::<JsonWebKeyId>).unwrap();
        let signed = key.sign(&CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256, message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signed))
    }

    /// Signed with a shared secret: what everybody knows.
    fn with_hmac(mut self, secret: &[u8]) -> String {
        self.header["alg"] = json!("HS256");
        let message = message(&self.header.to_string(), &self.claims.to_string());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(hmac_sha256(secret, message.as_bytes())))
    }
}

pub const OF_ANY_TOKEN: &[Mutation] = &[
    // The signature.
    ("alg none", |honest| message(r#"{"alg":"none"}"#, &honest.claims.to_string()) + "."),
    ("alg None", |honest| message(r#"{"alg":"None"}"#, &honest.claims.to_string()) + "."),
    ("no alg", |honest| message(r#"{"typ":"logout+jwt"}"#, &honest.claims.to_string()) + "."),
    ("signature cut off", |honest| honest.token().rsplit_once('.').unwrap().0.to_string() + "."),
    ("half of a signature", |honest| {
        let token = honest.token();
        let (message, signature) = token.rsplit_once('.').unwrap();
        format!("{message}.{}", &signature[..signature.len() / 2])
    }),
    ("the signature of other claims", |mut honest| {
        let token = honest.token();
        honest.claims["groups"] = json!(["payments-managers"]);
        let signature = token.rsplit_once('.').unwrap().1;
        format!("{}.{signature}", message(&honest.header.to_string(), &honest.claims.to_string()))
    }),
    ("two parts", |honest| honest.token().rsplit_once('.').unwrap().0.into()),
    ("five parts, as of an encrypted token", |honest| honest.token() + ".e30.e30"),
    ("HS256 with the public key", |honest| {
        let public = rsa::RsaPrivateKey::from_pkcs1_pem(&KEY).unwrap().to_public_key();
        honest.with_hmac(public.to_pkcs1_pem(LineEnding::LF).unwrap().as_bytes())
    }),
    ("HS256 with nothing", |honest| honest.with_hmac(b"")),
    ("RS256 called HS256", |honest| honest.with_header("alg", json!("HS256"))),
    ("an algorithm off the list", |honest| honest.with_header("alg", json!("RS512"))),
    ("RS256 called ES256", |honest| honest.with_header("alg", json!("ES256"))),
    // The key.
    ("another key under the known name", |honest| honest.impostors()),
    ("another key under its own name", |mut honest| {
        honest.header["kid"] = Keys::from_pem(&IMPOSTOR).unwrap().header()["kid"].clone();
        honest.impostors()
    }),
    ("no kid, with two keys to choose from", |mut honest| {
        honest.header.as_object_mut().unwrap().remove("kid");
        honest.token()
    }),
    ("a kid that is not text", |honest| honest.with_header("kid", json!(7))),
    ("a key in the header", |mut honest| {
        honest.header["jwk"] = Keys::from_pem(&IMPOSTOR).unwrap().public()["keys"][0].clone();
        honest.impostors()
    }),
    ("a key at an address in the header", |mut honest| {
        honest.header["jku"] = json!("http://127.0.0.1:9/jwks");
        honest.impostors()
    }),
    ("a certificate in the header", |mut honest| {
        honest.header["x5c"] = json!(["MIIB"]);
        honest.header["x5u"] = json!("http://127.0.0.1:9/certificate");
        honest.impostors()
    }),
    // The header.
    ("something critical", |mut honest| {
        honest.header["b64"] = json!(false);
        honest.with_header("crit", json!(["b64"]))
    }),
    ("nothing critical", |honest| honest.with_header("crit", json!([]))),
    ("a token in a token", |honest| honest.with_header("cty", json!("JWT"))),
    ("an access token by its type", |honest| honest.with_header("typ", json!("at+jwt"))),
    ("two algorithms", |honest| honest.with_text(r#""alg":"none","#, "")),
    // The claims.
    ("another issuer", |honest| honest.with("iss", json!("https://evil.example"))),
    ("the issuer with a slash", |honest| {
        let slash = format!("{}/", honest.claims["iss"].as_str().unwrap());
        honest.with("iss", json!(slash))
    }),
    ("no issuer", |honest| honest.without("iss")),
    ("two issuers", |honest| honest.with_text("", r#""iss":"https://evil.example","#)),
    ("another audience", |honest| honest.with("aud", json!("another"))),
    ("one more audience", |honest| honest.with("aud", json!(["pilothouse", "another"]))),
    ("no audience in the list", |honest| honest.with("aud", json!([]))),
    ("no audience", |honest| honest.without("aud")),
    ("two audiences by name", |honest| honest.with_text("", r#""aud":"another","#)),
    ("expired", |honest| {
        let past = honest.now - 60;
        honest.with("exp", json!(past))
    }),
    ("no expiry", |honest| honest.without("exp")),
    ("an expiry that is text", |honest| honest.with("exp", json!("2100-01-01"))),
    ("not yet valid", |honest| {
        let soon = honest.now + 60;
        honest.with("nbf", json!(soon))
    }),
    ("not valid before something odd", |honest| honest.with("nbf", json!("yesterday"))),
    ("issued in the future", |honest| {
        let later = honest.now + 86_400;
        honest.with("iat", json!(later))
    }),
    ("never issued", |honest| honest.without("iat")),
    ("no text for a subject", |honest| honest.with("sub", json!(1))),
    ("an empty subject", |honest| honest.with("sub", json!(""))),
    ("a list for a subject", |honest| honest.with("sub", json!(["1"]))),
    ("two subjects", |honest| honest.with_text("", r#""sub":"2","#)),
    ("a claim nobody asks about, twice", |honest| honest.with_text("", r#""odd":1,"odd":1,"#)),
];

fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// RFC 2104.
fn hmac_sha256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let mut key = [0; 64];
    match secret.len() {
        0..=64 => key[..secret.len()].copy_from_slice(secret),
        _ => key[..32].copy_from_slice(&Sha256::digest(secret)),
    }
    let inner = Sha256::new().chain_update(key.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(key.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().to_vec()
}
