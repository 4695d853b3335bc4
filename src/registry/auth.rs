//! How registries ask who is there (distribution spec, "token authentication"): the first answer is 401 with a
//! challenge, which names either Basic or the token service that hands out a short-lived Bearer token.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use url::Url;

/// What a 401 asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

impl Challenge {
    /// The strongest challenge of the answer that the portal can meet.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let values = || headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        values().find_map(bearer).or_else(|| {
            let is_basic =
                |value: &str| value.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"));
            values().any(is_basic).then_some(Self::Basic)
        })
    }
}

/// The address of the token service for reading one repository. The registry's own idea of the scope is not
/// used: whatever it would like to have, the portal only ever needs to pull.
pub fn token_url(realm: &Url, service: Option<&str>, repository: &str) -> Url {
    let mut url = realm.clone();
    let mut query = url.query_pairs_mut();
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    query.append_pair("scope", &format!("repository:{repository}:pull"));
    drop(query);
    url
}

/// Reads the token service's answer. Old services say `token`, new ones `access_token`, some both.
pub fn token(body: &[u8]) -> Option<String> {
    let answer: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    let named = |name: &str| answer.get(name)?.as_str().filter(|token| !token.is_empty()).map(Into::into);
    named("token").or_else(|| named("access_token"))
}

fn bearer(value: &str) -> Option<Challenge> {
    let (scheme, rest) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameters = parameters(rest);
    let find = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    Some(Challenge::Bearer { realm: find("realm")?.parse().ok()?, service: find("service") })
}

/// `key="value with \" inside", key=token, …`; names in lower case.
fn parameters(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((key, rest)) = text.split_once('=') {
        let key = key.trim_matches([' ', ',']).to_ascii_lowercase();
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let quoted = rest.starts_with('"');
        if quoted {
            chars.next();
        }
        let mut end = rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' if quoted => value.extend(chars.next().map(|(_, escaped)| escaped)),
                '"' if quoted => {
                    end = at + 1;
                    break;
                }
                ',' if !quoted => {
                    end = at;
                    break;
                }
                _ => value.push(c),
            }
        }
        found.push((key, value));
        text = &rest[end..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(values: &[&'static str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, http::HeaderValue::from_static(value));
        }
        Challenge::of(&headers)
    }

    #[test]
    fn a_token_service_is_read_from_its_challenge() {
        let asked = challenge(&[
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a:push,pull""#,
        ]);
        let Some(Challenge::Bearer { realm, service }) = asked else { panic!("{asked:?}") };
        assert_eq!(
            token_url(&realm, service.as_deref(), "library/nginx").as_str(),
            "https://auth.docker.io/token?service=registry.docker.io&scope=repository%3Alibrary%2Fnginx%3Apull"
        );
    }

    #[test]
    fn bearer_goes_before_basic_whatever_their_order_and_spelling() {
        let asked = challenge(&[r#"basic realm="Registry""#, r#"BEARER Realm="https://id.example/t\"oken""#]);
        assert!(matches!(asked, Some(Challenge::Bearer { .. })));
        assert_eq!(challenge(&[r#"Basic realm="Registry""#]), Some(Challenge::Basic));
        assert_eq!(challenge(&["Negotiate"]), None);
        assert_eq!(challenge(&["Bearer error=\"x\""]), None);
    }

    #[test]
    fn both_spellings_of_the_token_are_understood() {
        assert_eq!(token(br#"{"token":"a","access_token":"b"}"#).as_deref(), Some("a"));
        assert_eq!(token(br#"{"access_token":"b"}"#).as_deref(), Some("b"));
        assert_eq!(token(br#"{"token":""}"#), None);
        assert_eq!(token(b"<html>"), None);
    }
}
