//! The parts of a signed token (RFC 7515, RFC 7519), read so that no two readers could understand them differently.
//! ID tokens are verified by openidconnect, which knows neither logout tokens nor `nbf` nor names that stand twice:
//! that is here, once for both kinds.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{
    JsonWebKey, JsonWebKeyAlgorithm, JsonWebKeyUse, JwsSigningAlgorithm, SignatureVerificationError,
};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::claims::Claims;

/// What a token may be signed with. Never `none`, and never HS*: a shared secret signs for both sides.
pub const ALGORITHMS: [CoreJwsSigningAlgorithm; 4] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::EdDsa,
];
/// How far the provider's clock may be off.
pub const SKEW: SignedDuration = SignedDuration::from_secs(30);

/// A token in its compact form, taken apart; nothing of it is believed yet.
pub struct Jwt<'t> {
    pub header: Map<String, Value>,
    pub claims: Claims,
    message: &'t str,
    signature: Vec<u8>,
}

impl<'t> Jwt<'t> {
    pub fn read(token: &'t str) -> anyhow::Result<Self> {
        let (message, signature) = token.rsplit_once('.').context("not a signed token")?;
        let (header, claims) = message.split_once('.').context("not a signed token")?;
        Ok(Self {
            header: object(header).context("in the header")?,
            claims: object(claims).context("in the claims")?,
            signature: URL_SAFE_NO_PAD.decode(signature).context("in the signature")?,
            message,
        })
    }

    /// Whether the one key of the set that can have signed it did. A key or an address in the header is not looked at.
    pub fn signed_by(&self, keys: &CoreJsonWebKeySet) -> Result<(), SignatureVerificationError> {
        let algorithm = self.algorithm()?;
        let kid = self.header.get("kid");
        let named = |key: &&CoreJsonWebKey| match (kid, key.key_id()) {
            (None, _) => true,
            (Some(kid), id) => kid.as_str() == id.map(|id| id.as_str()),
        };
        let mut fitting = keys.keys().iter().filter(named).filter(|key| fits(key, &algorithm));
        match (fitting.next(), fitting.next()) {
            (None, _) => Err(SignatureVerificationError::NoMatchingKey),
            (Some(key), None) => key.verify_signature(&algorithm, self.message.as_bytes(), &self.signature),
            (Some(_), Some(_)) => {
                Err(SignatureVerificationError::AmbiguousKeyId("several keys could have signed it".into()))
            }
        }
    }

    fn algorithm(&self) -> Result<CoreJwsSigningAlgorithm, SignatureVerificationError> {
        let named = self.header.get("alg").cloned().unwrap_or_default();
        let known = serde_json::from_value(named.clone()).ok();
        known
            .filter(|known| ALGORITHMS.contains(known))
            .ok_or_else(|| SignatureVerificationError::DisallowedAlg(named.to_string()))
    }

    /// It is of one of these kinds (its `typ`, in lower case; empty: it says none), and its header asks for nothing that
    /// is not known here.
    pub fn check_header(&self, kinds: &[&str]) -> anyhow::Result<()> {
        let kind = match self.header.get("typ") {
            None => String::new(),
            Some(kind) => kind.as_str().context("a type that is not text")?.to_ascii_lowercase(),
        };
        let kind = kind.strip_prefix("application/").unwrap_or(&kind);
        ensure!(kinds.contains(&kind), "its type is {kind:?}");
        ensure!(!self.header.contains_key("crit"), "something critical in the header that is not known here");
        ensure!(!self.header.contains_key("cty"), "a token inside a token");
        Ok(())
    }

    /// It counts by now, and still does.
    pub fn check_times(&self, now: Timestamp) -> anyhow::Result<()> {
        let (earlier, later) = ((now - SKEW).as_second() as f64, (now + SKEW).as_second() as f64);
        ensure!(self.seconds("exp")?.context("no exp claim")? > earlier, "it has expired");
        ensure!(self.seconds("iat")?.context("no iat claim")? <= later, "it was issued in the future");
        ensure!(self.seconds("nbf")?.is_none_or(|begins| begins <= later), "it does not count yet");
        Ok(())
    }

    /// A NumericDate, which may have a fraction.
    fn seconds(&self, name: &str) -> anyhow::Result<Option<f64>> {
        let Some(value) = self.claims.get(name) else { return Ok(None) };
        Ok(Some(value.as_f64().with_context(|| format!("{name} is not a number"))?))
    }

    /// A claim that is text with something in it. `None`: it is not there.
    pub fn text(&self, name: &str) -> anyhow::Result<Option<&str>> {
        match self.claims.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => bail!("{name} is empty or not text"),
        }
    }
}

/// For signing at all, of the algorithm's kind, and not meant for another one.
fn fits(key: &CoreJsonWebKey, algorithm: &CoreJwsSigningAlgorithm) -> bool {
    let signs = key.key_use().is_none_or(|purpose| purpose.allows_signature());
    let meant = match key.signing_alg() {
        JsonWebKeyAlgorithm::Unspecified => true,
        JsonWebKeyAlgorithm::Algorithm(meant) => meant == algorithm,
        JsonWebKeyAlgorithm::Unsupported => false,
    };
    signs && meant && algorithm.key_type().as_ref() == Some(key.key_type())
}

fn object(part: &str) -> anyhow::Result<Map<String, Value>> {
    match serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)? {
        Unambiguous(Value::Object(object)) => Ok(object),
        Unambiguous(_) => bail!("not an object"),
    }
}

/// JSON in which no object says a name twice (RFC 7519, section 4, lets us refuse it): which of the two counts depends
/// on the reader, and then two of them can be told different things.
struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unambiguous(value)) = from.next_element()? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let (mut object, mut names) = (Map::new(), BTreeSet::new());
        while let Some((name, Unambiguous(value))) = from.next_entry::<String, _>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("“{name}” stands there twice")));
            }
            object.insert(name, value);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_however_deep() {
        let read = |claims: &str| Jwt::read(&token("{}", claims)).map(|jwt| Value::from(jwt.claims));
        let whole = r#"{"a": [1, -1, 1.5, "x", null, true, {"b": 1}], "b": {"a": 1}}"#;
        assert_eq!(
            read(whole).unwrap(),
            json!({"a": [1, -1, 1.5, "x", null, true, {"b": 1}], "b": {"a": 1}})
        );
        for twice in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": 1, "\u0061": 1}"#,
            r#"{"b": {"a": 1, "a": 1}}"#,
            r#"{"b": [{"a": 1, "a": 1}]}"#,
        ] {
            assert!(read(twice).is_err(), "{twice}");
        }
        assert!(Jwt::read(&token(r#"{"alg": "RS256", "alg": "none"}"#, "{}")).is_err());
    }

    #[test]
    fn what_is_not_three_parts_of_which_two_are_objects_is_no_token() {
        for odd in [
            "",
            ".",
            "..",
            "e30.e30",
            "e30.e30.e30.e30",
            "e30.W10.",
            "W10.e30.",
            "e30=.e30.",
            "e30.e30.=",
            "e30.e30. ",
        ] {
            assert!(Jwt::read(odd).is_err(), "{odd}");
        }
        assert!(Jwt::read("e30.e30.").is_ok());
    }

    #[test]
    fn a_token_has_its_time() {
        let now: Timestamp = "2026-11-23T14:00:00Z".parse().unwrap();
        let second = now.as_second();
        let counts = |exp: i64, iat: i64, nbf: Option<i64>| {
            let mut claims = json!({ "exp": second + exp, "iat": second + iat });
            if let Some(nbf) = nbf {
                claims["nbf"] = json!(second + nbf);
            }
            Jwt::read(&token("{}", &claims.to_string())).unwrap().check_times(now).is_ok()
        };
        assert!(counts(300, 0, None) && counts(-29, -330, Some(30)) && counts(300, 30, None));
        assert!(!counts(-30, -330, None) && !counts(300, 31, None) && !counts(300, 0, Some(31)));
        for odd in [
            r#"{"iat": 1}"#,
            r#"{"exp": 99999999999}"#,
            r#"{"iat": 1, "exp": "99999999999"}"#,
            r#"{"iat": 1, "exp": 99999999999, "nbf": null}"#,
        ] {
            assert!(Jwt::read(&token("{}", odd)).unwrap().check_times(now).is_err(), "{odd}");
        }
    }
}
