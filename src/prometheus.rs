//! Asks the Prometheus of a cluster for one number. <https://prometheus.io/docs/prometheus/latest/querying/api/>

use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::Duration;

use anyhow::Context;
use moka::future::Cache;
use reqwest::{Client, redirect};
use serde::Deserialize;
use serde::de::IgnoredAny;
use url::Url;

use crate::config;

/// A deploy, or somebody's form, waits for the answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// So long one that did not answer is not asked again: it would hold up every deploy that is watched.
const REST: Duration = Duration::from_secs(5);
const MAX_ANSWER: usize = 64 * 1024;
/// Of what the server says about a query it refuses.
const MAX_WORDS: usize = 200;

/// One server for each cluster that has one.
pub struct Prometheus {
    http: Client,
    servers: BTreeMap<String, Server>,
    /// By cluster: what went wrong just now.
    away: Cache<String, String>,
}

struct Server {
    query: Url,
    token_file: Option<std::path::PathBuf>,
}

/// Why there is no number.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoNumber {
    /// The query finds nothing, or divides zero by zero.
    #[error("the query finds nothing")]
    Nothing,
    #[error("the query gives {0} numbers and not one")]
    Several(usize),
    /// In the server's words.
    #[error("Prometheus refuses the query: {0}")]
    Refused(String),
    #[error("Prometheus does not answer: {0}")]
    Away(String),
}

/// What the server answers, whatever the status.
#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Sample>),
    Scalar(Value),
    Matrix(IgnoredAny),
    String(IgnoredAny),
}

#[derive(Deserialize)]
struct Sample {
    value: Value,
}

/// The time in seconds, and the number as text.
#[derive(Deserialize)]
struct Value(#[expect(dead_code, reason = "it stands before the number")] f64, String);

impl Prometheus {
    pub fn new(clusters: &[config::Cluster]) -> anyhow::Result<Self> {
        let mut servers = BTreeMap::new();
        for cluster in clusters {
            let Some(configured) = &cluster.prometheus else { continue };
            let mut query = configured.url.get_ref().clone();
            let path = format!("{}/api/v1/query", query.path().trim_end_matches('/'));
            query.set_path(&path);
            let token_file = configured.token_file.as_ref().map(|file| file.get_ref().clone());
            servers.insert(cluster.name.get_ref().clone(), Server { query, token_file });
        }
        let http = Client::builder()
            .user_agent(concat!("pilothouse/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .context("cannot set up TLS for Prometheus")?;
        Ok(Self { http, servers, away: Cache::builder().time_to_live(REST).build() })
    }

    /// The number that a query gives now.
    pub async fn number(&self, cluster: &str, query: &str) -> Result<f64, NoNumber> {
        let Some(server) = self.servers.get(cluster) else {
            return Err(NoNumber::Away("none is configured".into()));
        };
        if let Some(why) = self.away.get(cluster).await {
            return Err(NoNumber::Away(why));
        }
        let answer = self.ask(server, query).await;
        if let Err(NoNumber::Away(why)) = &answer {
            self.away.insert(cluster.into(), why.clone()).await;
        }
        answer
    }

    async fn ask(&self, server: &Server, query: &str) -> Result<f64, NoNumber> {
        let mut request = self.http.post(server.query.clone()).form(&[("query", query)]);
        if let Some(file) = &server.token_file {
            let token = tokio::fs::read_to_string(file).await;
            let token = token.map_err(|error| NoNumber::Away(format!("its token can’t be read: {error}")))?;
            request = request.bearer_auth(token.trim());
        }
        let mut response = request.send().await.map_err(|error| away(&error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| away(&error))? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(NoNumber::Away(format!("it says more than {} KiB", MAX_ANSWER / 1024)));
            }
            body.extend_from_slice(&piece);
        }
        // Something before it, a proxy, answers in words of its own.
        match serde_json::from_slice::<Answer>(&body) {
            Ok(answer) if status.is_success() || answer.error.is_some() => read(answer),
            Ok(_) | Err(_) => Err(NoNumber::Away(format!("it says {status}"))),
        }
    }
}

/// The innermost cause says it best ("Connection refused").
fn away(error: &reqwest::Error) -> NoNumber {
    if error.is_timeout() {
        return NoNumber::Away(format!("nothing came within {} s", PATIENCE.as_secs()));
    }
    let mut innermost = error.source();
    while let Some(cause) = innermost.and_then(|cause| cause.source()) {
        innermost = Some(cause);
    }
    NoNumber::Away(innermost.map_or("the connection broke".into(), ToString::to_string))
}

fn read(answer: Answer) -> Result<f64, NoNumber> {
    let value = match answer {
        Answer { error: Some(error), .. } => {
            return Err(NoNumber::Refused(error.chars().take(MAX_WORDS).collect()));
        }
        Answer { data: Some(Data::Scalar(value)), .. } => value,
        Answer { data: Some(Data::Vector(mut samples)), .. } if samples.len() < 2 => match samples.pop() {
            Some(sample) => sample.value,
            None => return Err(NoNumber::Nothing),
        },
        Answer { data: Some(Data::Vector(samples)), .. } => return Err(NoNumber::Several(samples.len())),
        // A range or a text: nothing that could be compared.
        Answer { data: Some(Data::Matrix(_) | Data::String(_)) | None, .. } => {
            return Err(NoNumber::Refused("it gives no number".into()));
        }
    };
    let number = value.1.parse().unwrap_or(f64::NAN);
    if number.is_nan() { Err(NoNumber::Nothing) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(data: serde_json::Value) -> Result<f64, NoNumber> {
        read(serde_json::from_value(json!({"status": "success", "data": data})).unwrap())
    }

    fn vector(values: &[&str]) -> serde_json::Value {
        let samples: Vec<_> =
            values.iter().map(|value| json!({"metric": {}, "value": [1.5, value]})).collect();
        json!({"resultType": "vector", "result": samples})
    }

    #[test]
    fn a_number_is_one_number() {
        assert_eq!(of(vector(&["0.25"])), Ok(0.25));
        assert_eq!(of(json!({"resultType": "scalar", "result": [1, "0"]})), Ok(0.0));
        assert_eq!(of(vector(&["+Inf"])), Ok(f64::INFINITY));
        assert_eq!(of(vector(&["NaN"])), Err(NoNumber::Nothing), "nothing divided by nothing");
        assert_eq!(of(vector(&[])), Err(NoNumber::Nothing));
        assert_eq!(of(vector(&["0", "1"])), Err(NoNumber::Several(2)));
        let odd = of(json!({"resultType": "string", "result": [1, "0"]}));
        assert_eq!(odd, Err(NoNumber::Refused("it gives no number".into())));
    }

    #[test]
    fn a_refusal_is_told_in_its_own_words() {
        let answer =
            json!({"status": "error", "errorType": "bad_data", "error": "parse error: unexpected \"}\""});
        let refused = read(serde_json::from_value(answer).unwrap());
        assert_eq!(refused, Err(NoNumber::Refused("parse error: unexpected \"}\"".into())));
    }
}
