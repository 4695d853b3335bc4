//! An administrator's own client, for trying out what a cluster would say to somebody. It can only try: every request
//! that would change something is made a dry run on its way out.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue, Method, Uri};
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::apply::APPROVAL_ANNOTATION;

/// Somebody made up. The administrator must be allowed to act as them.
#[derive(Clone, Debug)]
pub struct MadeUp {
    pub username: String,
    pub groups: Vec<String>,
    /// The approval that they carry.
    pub approval: Option<String>,
}

pub struct Administrator(kube::Client);

impl Administrator {
    /// By this kubeconfig, or the one that kubectl would take.
    pub async fn connect(kubeconfig: Option<PathBuf>, context: Option<String>) -> anyhow::Result<Self> {
        let options = KubeConfigOptions { context, ..Default::default() };
        let config = match kubeconfig {
            Some(path) => {
                kube::Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?
            }
            None => kube::Config::from_kubeconfig(&options).await?,
        };
        Ok(Self(trying(kube::Client::try_from(config)?, Vec::new())))
    }

    pub fn client(&self) -> kube::Client {
        self.0.clone()
    }

    pub fn as_somebody(&self, who: &MadeUp) -> anyhow::Result<kube::Client> {
        let mut headers = vec![(HeaderName::from_static("impersonate-user"), who.username.parse()?)];
        for group in &who.groups {
            headers.push((HeaderName::from_static("impersonate-group"), group.parse()?));
        }
        if let Some(approval) = &who.approval {
            let extra = APPROVAL_ANNOTATION.replace('/', "%2f");
            headers.push((format!("impersonate-extra-{extra}").parse()?, approval.parse()?));
        }
        Ok(trying(self.0.clone(), headers))
    }
}

/// The same client, with these headers, that changes nothing.
fn trying(base: kube::Client, headers: Vec<(HeaderName, HeaderValue)>) -> kube::Client {
    let namespace = base.default_namespace().to_string();
    let service = tower::service_fn(move |mut request: http::Request<kube::client::Body>| {
        for (name, value) in &headers {
            request.headers_mut().append(name, value.clone());
        }
        *request.uri_mut() = tried(request.method(), request.uri());
        let base = base.clone();
        async move { base.send(request).await }
    });
    kube::Client::new(service, namespace)
}

/// A read stays as it is; everything else becomes a dry run.
fn tried(method: &Method, uri: &Uri) -> Uri {
    const DRY_RUN: &str = "dryRun=All";
    let is_dry = uri.query().is_some_and(|query| query.split('&').any(|pair| pair == DRY_RUN));
    if method == Method::GET || is_dry {
        return uri.clone();
    }
    let and = if uri.query().is_some_and(|query| !query.is_empty()) { "&" } else { "" };
    let query = uri.query().unwrap_or_default();
    let path = format!("{}?{query}{and}{DRY_RUN}", uri.path());
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().expect("a path and a query with one more pair are both still"));
    Uri::from_parts(parts).expect("only the query changed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_something_is_a_dry_run() {
        let of = |method, uri: &str| tried(&method, &uri.parse().unwrap()).to_string();
        assert_eq!(of(Method::GET, "/api/v1/pods?limit=1"), "/api/v1/pods?limit=1");
        assert_eq!(of(Method::POST, "/api/v1/pods"), "/api/v1/pods?dryRun=All");
        assert_eq!(of(Method::POST, "/api/v1/pods?"), "/api/v1/pods?dryRun=All");
        assert_eq!(of(Method::PATCH, "/api/v1/pods?force=true"), "/api/v1/pods?force=true&dryRun=All");
        assert_eq!(
            of(Method::DELETE, "https://c:1/api/v1/pods?dryRun=All"),
            "https://c:1/api/v1/pods?dryRun=All"
        );
    }
}
