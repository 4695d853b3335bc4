//! Logout tokens: the provider's word that a session, or all of a person's, is over (OpenID Connect Back-Channel
//! Logout 1.0, sections 2.4 and 2.6). Held to all that an ID token is held to, and told apart from one thrice: by its
//! type, by its event, and by the nonce that it must not have.

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use serde_json::Value;

use super::jwt::Jwt;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logout {
    pub whose: Whose,
    /// By which a second use is known.
    pub jti: String,
    pub expires: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// One session at the provider; the person, where the token says who.
    Session { sid: String, subject: Option<String> },
    /// Every session of this person.
    Person { subject: String },
}

/// What a token whose signature was checked says, if it is a logout token for this client.
pub fn read(jwt: &Jwt<'_>, issuer: &str, client_id: &str, now: Timestamp) -> anyhow::Result<Logout> {
    // Only recommended by the specification; without it, a token for something else could be taken for this.
    jwt.check_header(&["logout+jwt"])?;
    ensure!(jwt.text("iss")? == Some(issuer), "another issuer");
    ensure!(is_for(jwt.claims.get("aud"), client_id), "another audience");
    jwt.check_times(now)?;
    let events = jwt.claims.get("events").and_then(Value::as_object).context("no events")?;
    ensure!(events.get(EVENT).is_some_and(Value::is_object), "another event");
    ensure!(!jwt.claims.contains_key("nonce"), "a nonce, which belongs into ID tokens");
    let whose = match (jwt.text("sid")?, jwt.text("sub")?) {
        (Some(sid), subject) => Whose::Session { sid: sid.into(), subject: subject.map(Into::into) },
        (None, Some(subject)) => Whose::Person { subject: subject.into() },
        (None, None) => bail!("neither sid nor sub"),
    };
    let expires = jwt.claims.get("exp").and_then(Value::as_f64).context("no exp claim")?;
    Ok(Logout {
        whose,
        jti: jwt.text("jti")?.context("no jti claim")?.into(),
        // `as` keeps to the range of its type, and a year that no calendar has is the last one.
        expires: Timestamp::from_second(expires.ceil() as i64).unwrap_or(Timestamp::MAX),
    })
}

/// For us and nobody else, as with ID tokens.
pub fn is_for(audience: Option<&Value>, client_id: &str) -> bool {
    match audience {
        Some(Value::String(one)) => one == client_id,
        Some(Value::Array(list)) => !list.is_empty() && list.iter().all(|one| one == client_id),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_764_000_000;

    fn read_with(change: impl Fn(&mut Value)) -> anyhow::Result<Whose> {
        let mut claims = json!({
            "iss": "https://id.example", "aud": "pilothouse", "iat": NOW, "exp": NOW + 120, "jti": "1",
            "events": { EVENT: {} }, "sid": "s", "sub": "maya",
        });
        change(&mut claims);
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!("{}.{}.", part(&json!({ "typ": "logout+jwt" })), part(&claims));
        let now = Timestamp::from_second(NOW).unwrap();
        read(&Jwt::read(&token).unwrap(), "https://id.example", "pilothouse", now).map(|logout| logout.whose)
    }

    fn without(claims: &mut Value, names: &[&str]) {
        claims.as_object_mut().unwrap().retain(|name, _| !names.contains(&name.as_str()));
    }

    #[test]
    fn it_names_a_session_or_a_person() {
        let session =
            |subject: Option<&str>| Whose::Session { sid: "s".into(), subject: subject.map(Into::into) };
        assert_eq!(read_with(|_| {}).unwrap(), session(Some("maya")));
        assert_eq!(read_with(|claims| without(claims, &["sub"])).unwrap(), session(None));
        let person = Whose::Person { subject: "maya".into() };
        assert_eq!(read_with(|claims| without(claims, &["sid"])).unwrap(), person);
        assert!(read_with(|claims| without(claims, &["sid", "sub"])).is_err());
        assert!(read_with(|claims| claims["sid"] = json!("")).is_err());
        assert!(read_with(|claims| claims["sub"] = json!(7)).is_err());
    }
}
