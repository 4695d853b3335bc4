//! `[cluster.prometheus]` and `[environment.errors]`: what share of the requests to a new version may fail.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::{Check, Config, Environment};

/// Any server with the HTTP API of Prometheus: Thanos, Mimir and VictoriaMetrics have it, too.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prometheus {
    /// What comes before `/api/v1/query`.
    pub url: Spanned<Url>,
    /// Holds a bearer token and nothing else. Read for each question, so that it may change.
    pub token_file: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// PromQL that gives one number, the share of failed requests: 0 to 1. `{namespace}`, `{service}` and `{pods}` (a
    /// regular expression for the names of the new pods) are filled in.
    pub query: Spanned<String>,
    /// The largest share that is let through: 0 to 1.
    pub at_most: Spanned<f64>,
}

const PODS: &str = "{pods}";

impl Errors {
    /// The question about these pods.
    pub fn query_for(&self, namespace: &str, service: &str, pods: &[&str]) -> String {
        // The one character in names of pods that means something in a regular expression.
        let pods: Vec<_> = pods.iter().map(|pod| pod.replace('.', "[.]")).collect();
        let query = self.query.get_ref();
        query.replace("{namespace}", namespace).replace("{service}", service).replace(PODS, &pods.join("|"))
    }

    pub(super) fn check(&self, environment: &Environment, config: &Config, check: &mut Check) {
        if !self.query.get_ref().contains(PODS) {
            check.add(
                self.query.span(),
                "the query does not tell the new pods from those that ran before",
                "Select by pod=~\"{pods}\", where {pods} stands for the names of the new pods.",
            );
        }
        if !(0.0..1.0).contains(self.at_most.get_ref()) {
            check.add(
                self.at_most.span(),
                "at_most is a share: from 0 to below 1",
                "For one per cent write 0.01.",
            );
        }
        let cluster = config.clusters.iter().find(|cluster| cluster.name == environment.cluster);
        if cluster.is_some_and(|cluster| cluster.prometheus.is_none()) {
            check.add(
                self.query.span(),
                "the cluster of this environment has no Prometheus to ask",
                "Give its url in [cluster.prometheus] after the cluster, or take [environment.errors] away.",
            );
        }
    }
}

impl Prometheus {
    pub(super) fn check(&self, check: &mut Check) {
        let url = self.url.get_ref();
        let is_plain = matches!(url.scheme(), "http" | "https") && url.has_host();
        if !is_plain || url.query().is_some() || url.fragment().is_some() {
            check.add(
                self.url.span(),
                "prometheus.url is not the address of a server",
                "Write scheme, host and port, such as http://prometheus.monitoring:9090.",
            );
        }
        if let Some(file) = self.token_file.as_ref().filter(|file| check.lacks(file.get_ref())) {
            check.add(file.span(), "prometheus.token_file does not exist", "Write the bearer token into it.");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::{GOOD, problems};
    use super::*;

    const ERRORS: &str = "[environment.errors]\nquery = 'failed{pod=~\"{pods}\"}'\nat_most = 0.01\n";

    fn with(prometheus: &str, errors: &str) -> String {
        GOOD.replacen("name = \"main\"\n", &format!("name = \"main\"\n{prometheus}"), 1) + errors
    }

    #[test]
    fn a_query_asks_about_the_new_pods() {
        let prometheus = "[cluster.prometheus]\nurl = \"http://prometheus:9090/main/\"\n";
        let text =
            with(prometheus, ERRORS).replace("failed{", "failed{namespace=\"{namespace}\",s=\"{service}\",");
        let config = Config::parse("pilothouse.toml", &text, Path::new(".")).unwrap();
        let errors = config.environment("production").unwrap().errors.as_ref().unwrap();
        assert_eq!(
            errors.query_for("payments-production", "shop", &["shop-canary-1", "shop.v2-2"]),
            "failed{namespace=\"payments-production\",s=\"shop\",pod=~\"shop-canary-1|shop[.]v2-2\"}"
        );
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let whats = |text: &str| problems(text).into_iter().map(|(_, what)| what).collect::<Vec<_>>();
        assert_eq!(whats(&with("", ERRORS)), ["the cluster of this environment has no Prometheus to ask"]);
        let odd = ERRORS.replace("{pods}", "shop").replace("0.01", "1.5");
        assert_eq!(
            whats(&with("[cluster.prometheus]\nurl = \"prometheus:9090\"\ntoken_file = \"nowhere\"\n", &odd)),
            [
                "prometheus.url is not the address of a server",
                "prometheus.token_file does not exist",
                "the query does not tell the new pods from those that ran before",
                "at_most is a share: from 0 to below 1",
            ]
        );
    }
}
