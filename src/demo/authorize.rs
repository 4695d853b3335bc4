//! `/authorize`: the page with the people, and the way back with a code.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum_extra::extract::{Form, Query};
use serde::{Deserialize, Serialize};
use url::Url;

use super::tokens::{self, Code};
use super::{Provider, Sample};
use crate::web::Layout;

/// What a portal asks for (OpenID Connect Core 1.0, section 3.1.2.1). Carried through the page's form as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    #[serde(default)]
    pub response_type: String,
    #[serde(default)]
    pub client_id: String,
    pub redirect_uri: String,
    #[serde(default)]
    pub scope: String,
    #[serde(default)]
    pub state: String,
    #[serde(default)]
    pub nonce: String,
    #[serde(default)]
    pub code_challenge: String,
    #[serde(default)]
    pub code_challenge_method: String,
}

#[derive(Template)]
#[template(path = "demo/people.html")]
struct PeoplePage<'a> {
    layout: Layout,
    fields: [(&'static str, &'a str); 8],
    people: &'a [Sample],
}

/// `GET /authorize`
pub async fn page(State(provider): State<Arc<Provider>>, Query(asked): Query<Asked>) -> Response {
    let back = match way_back(&asked) {
        Ok(back) => back,
        Err(refusal) => return refusal,
    };
    if let Err(why) = check(&asked) {
        return to_error(&provider, back, &asked.state, why);
    }
    let people = provider.people().clone();
    let page = PeoplePage { layout: Layout::outside(), fields: asked.fields(), people: people.all() };
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[derive(Deserialize)]
pub struct Chosen {
    /// The `sub` on the button.
    person: String,
    #[serde(flatten)]
    asked: Asked,
}

/// `POST /authorize`: somebody was chosen.
pub async fn choose(State(provider): State<Arc<Provider>>, Form(chosen): Form<Chosen>) -> Response {
    let asked = chosen.asked;
    let mut back = match way_back(&asked) {
        Ok(back) => back,
        Err(refusal) => return refusal,
    };
    if let Err(why) = check(&asked) {
        return to_error(&provider, back, &asked.state, why);
    }
    if provider.people().by_sub(&chosen.person).is_none() {
        return to_error(&provider, back, &asked.state, "access_denied");
    }
    let state = asked.state.clone();
    let code = tokens::hand_out(&provider, Code::new(chosen.person, asked, provider.clock.now()));
    back.query_pairs_mut()
        .append_pair("code", &code)
        .append_pair("state", &state)
        .append_pair("iss", &provider.issuer);
    Redirect::to(back.as_str()).into_response()
}

/// The exact addresses people may be sent back to: `path`, on this machine, on any port.
pub fn is_on_this_machine(url: &Url, path: &str) -> bool {
    url.scheme() == "http"
        && matches!(url.host_str(), Some("localhost" | "127.0.0.1"))
        && url.path() == path
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

/// Where a portal wants its answer. Anywhere else gets none, not even an error.
#[expect(clippy::result_large_err, reason = "the refusal is the answer itself, made once a sign-in")]
fn way_back(asked: &Asked) -> Result<Url, Response> {
    match Url::parse(&asked.redirect_uri) {
        Ok(url) if is_on_this_machine(&url, "/auth/callback") => Ok(url),
        _ => {
            let sentence = "redirect_uri must be http://localhost:PORT/auth/callback: this provider is for development.\n";
            Err((StatusCode::BAD_REQUEST, sentence).into_response())
        }
    }
}

/// The error code of RFC 6749, section 4.1.2.1.
fn check(asked: &Asked) -> Result<(), &'static str> {
    if asked.response_type != "code" {
        return Err("unsupported_response_type");
    }
    if !asked.scope.split(' ').any(|scope| scope == "openid") {
        return Err("invalid_scope");
    }
    let challenged = asked.code_challenge_method == "S256" && asked.code_challenge.len() == 43;
    if asked.client_id.is_empty() || !challenged {
        return Err("invalid_request");
    }
    Ok(())
}

fn to_error(provider: &Provider, mut back: Url, state: &str, why: &str) -> Response {
    back.query_pairs_mut()
        .append_pair("error", why)
        .append_pair("state", state)
        .append_pair("iss", &provider.issuer);
    Redirect::to(back.as_str()).into_response()
}

impl Asked {
    fn fields(&self) -> [(&'static str, &str); 8] {
        [
            ("response_type", &self.response_type),
            ("client_id", &self.client_id),
            ("redirect_uri", &self.redirect_uri),
            ("scope", &self.scope),
            ("state", &self.state),
            ("nonce", &self.nonce),
            ("code_challenge", &self.code_challenge),
            ("code_challenge_method", &self.code_challenge_method),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_sent_back_to_this_machine_only() {
        let goes = |url: &str| is_on_this_machine(&Url::parse(url).unwrap(), "/auth/callback");
        assert!(goes("http://localhost:8080/auth/callback"));
        assert!(goes("http://127.0.0.1:41233/auth/callback"));
        for elsewhere in [
            "https://localhost/auth/callback",
            "http://localhost.evil.example/auth/callback",
            "http://localhost@evil.example/auth/callback",
            "http://user@localhost/auth/callback",
            "http://evil.example/auth/callback",
            "http://localhost:8080/auth/callback/x",
            "http://localhost:8080/",
            "http://localhost:8080/auth/callback?x=1",
            "http://localhost:8080/auth/callback#x",
        ] {
            assert!(!goes(elsewhere), "{elsewhere}");
        }
    }
}
