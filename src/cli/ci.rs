//! Signing a pipeline in: its CI system's signed token is exchanged for one of a machine (RFC 8693). Nothing secret has
//! to be stored with the pipeline.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::failure::Failure;
use super::login::{CLIENT, Granted};
use super::portal::Portal;
use super::refresh::Credential;
use super::wording;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Where the CI system's token comes from, the first that is there: a file that the caller names, a variable (GitLab and
/// most others write the token into one that the pipeline names), or the address that GitHub gives to jobs.
#[derive(Debug, PartialEq)]
enum Source {
    File(PathBuf),
    Given(String),
    Address { url: String, token: String },
}

fn source(file: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> Result<Source, Failure> {
    let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    if let Some(file) = file {
        return Ok(Source::File(file.into()));
    }
    if let Some(token) = variable("PLATFORM_ID_TOKEN") {
        return Ok(Source::Given(token));
    }
    match (variable("ACTIONS_ID_TOKEN_REQUEST_URL"), variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN")) {
        (Some(url), Some(token)) => Ok(Source::Address { url, token }),
        _ => Err(Failure::Usage(wording::NO_ID_TOKEN.into())),
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Exchanged {
    Granted(Granted),
    Refused { error_description: String },
}

/// `machine`: needed where several machines trust the pipeline.
pub async fn sign_in(
    portal: &Portal,
    machine: Option<&str>,
    file: Option<&Path>,
    audience: Option<&str>,
) -> Result<Credential, Failure> {
    let ours = portal.context.url.as_str().trim_end_matches('/');
    let token = match source(file, |name| std::env::var(name).ok())? {
        Source::File(file) => {
            let text = std::fs::read_to_string(&file);
            SecretString::from(text.with_context(|| format!("--token-file {}", file.display()))?)
        }
        Source::Given(token) => token.into(),
        Source::Address { url, token } => fetch(&url, &token, audience.unwrap_or(ours)).await?,
    };
    let form = [
        ("grant_type", GRANT_TYPE),
        ("subject_token_type", ID_TOKEN),
        ("subject_token", token.expose_secret().trim()),
        ("client_id", machine.unwrap_or(CLIENT)),
    ];
    match portal.post_form(portal.url(&["token"]), &form).await? {
        Exchanged::Granted(granted) => Ok(Credential::fixed(granted.access_token)),
        Exchanged::Refused { error_description } => Err(Failure::SignIn(error_description)),
    }
}

/// GitHub gives a job its token at an address, for the audience it asks for.
async fn fetch(url: &str, token: &str, audience: &str) -> Result<SecretString, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        value: SecretString,
    }
    let mut url: Url = url.parse().context("ACTIONS_ID_TOKEN_REQUEST_URL")?;
    url.query_pairs_mut().append_pair("audience", audience);
    let asked = async {
        let answer = Client::builder().build()?.get(url).bearer_auth(token).send().await?;
        answer.error_for_status()?.json::<Answer>().await
    };
    // The address may carry a secret, so it is not told.
    let answer =
        asked.await.map_err(reqwest::Error::without_url).context("asking the CI system for a token")?;
    Ok(answer.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: Option<&str>, variables: &[(&str, &str)]) -> Option<Source> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
        };
        source(file.map(Path::new), variable).ok()
    }

    #[test]
    fn the_nearest_token_is_taken() {
        let github =
            [("ACTIONS_ID_TOKEN_REQUEST_URL", "https://ci"), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t")];
        let at_address = Source::Address { url: "https://ci".into(), token: "t".into() };
        assert_eq!(found(None, &github), Some(at_address));
        assert_eq!(found(None, &github[..1]), None);
        let gitlab = [("PLATFORM_ID_TOKEN", "a.b.c"), github[0], github[1]];
        assert_eq!(found(None, &gitlab), Some(Source::Given("a.b.c".into())));
        assert_eq!(found(Some("/token"), &gitlab), Some(Source::File("/token".into())));
        assert_eq!(found(None, &[("PLATFORM_ID_TOKEN", " ")]), None);
    }
}
