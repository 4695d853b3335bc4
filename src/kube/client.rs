//! The two ways to a cluster. [`UserClient`] acts as a person and can only be built from one; [`PortalClient`]
//! is the portal itself and can only read. A write that no person stands behind can't be expressed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use anyhow::Context;
use http::{HeaderMap, HeaderName, HeaderValue};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::de::DeserializeOwned;

use super::apply::TRYING;
use crate::auth::KubeIdentity;
use crate::config;

/// A call that takes longer than this is told as "the cluster does not answer".
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Every configured cluster, with one connection pool each.
pub struct Clusters(BTreeMap<String, PortalClient>);

impl Clusters {
    pub async fn connect(clusters: &[config::Cluster]) -> anyhow::Result<Self> {
        refuse_debug_overrides()?;
        let mut by_name = BTreeMap::new();
        for cluster in clusters {
            let name = cluster.name.get_ref().clone();
            let base = connect(cluster).await.with_context(|| format!("cannot use the cluster {name:?}"))?;
            by_name.insert(name.clone(), PortalClient { cluster: name, base });
        }
        Ok(Self(by_name))
    }

    /// The configuration was checked: every environment names a cluster that exists.
    pub fn get(&self, name: &str) -> &PortalClient {
        self.0.get(name).expect("every environment names a configured cluster")
    }

    pub fn iter(&self) -> impl Iterator<Item = &PortalClient> {
        self.0.values()
    }
}

/// kube-rs obeys these variables in any build; in a portal they would turn every person into somebody else.
fn refuse_debug_overrides() -> anyhow::Result<()> {
    let set = std::env::vars()
        .map(|(name, _)| name)
        .find(|name| name.starts_with("KUBE_RS_DEBUG_IMPERSONATE_") || name == "KUBE_RS_DEBUG_OVERRIDE_URL");
    match set {
        Some(name) => anyhow::bail!("{name} is set: it would change who every call is made as. Unset it."),
        None => Ok(()),
    }
}

async fn connect(cluster: &config::Cluster) -> anyhow::Result<kube::Client> {
    let mut config = match &cluster.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path.get_ref())?;
            let options = KubeConfigOptions { context: cluster.context.clone(), ..Default::default() };
            kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?
        }
        None => kube::Config::incluster()?,
    };
    // kube 5 would retry for minutes whatever the method; the engine and the pages have their own patience.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    Ok(kube::Client::try_from(config)?)
}

/// The portal's own identity: reads, watches and asks "may they?". It has no way to write.
#[derive(Clone)]
pub struct PortalClient {
    cluster: String,
    base: kube::Client,
}

impl PortalClient {
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// For reflectors and reads of everything the portal may see. Kept inside `kube/`, where only reads are made.
    pub(super) fn reader(&self) -> kube::Client {
        self.base.clone()
    }

    /// The cluster's version, as a sign of life.
    pub async fn ping(&self) -> kube::Result<String> {
        Ok(self.base.apiserver_version().await?.git_version)
    }

    /// What its nodes can run: `linux/amd64`. Of a very large cluster the first of them.
    pub async fn platforms(&self) -> kube::Result<BTreeSet<String>> {
        let nodes = Api::<Node>::all(self.base.clone());
        let some = ListParams::default().limit(500);
        let listed = tokio::time::timeout(CALL_TIMEOUT, nodes.list_metadata(&some)).await;
        let listed = listed.map_err(|late| kube::Error::Service(late.into()))??;
        let platform = |labels: &BTreeMap<String, String>| {
            Some(format!("{}/{}", labels.get("kubernetes.io/os")?, labels.get("kubernetes.io/arch")?))
        };
        Ok(listed.items.iter().filter_map(|node| platform(node.metadata.labels.as_ref()?)).collect())
    }

    /// Asks the cluster's authorizer whether a person may do something (SubjectAccessReview).
    pub async fn review(&self, identity: &KubeIdentity, wanted: &Wanted<'_>) -> kube::Result<Allowed> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(identity.username().into()),
                groups: Some(
                    identity.groups().iter().cloned().chain(["system:authenticated".into()]).collect(),
                ),
                resource_attributes: Some(wanted.attributes()),
                ..Default::default()
            },
            ..Default::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.base.clone());
        let status = api.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
        Ok(Allowed { allowed: status.allowed, reason: status.reason.unwrap_or_default() })
    }

    /// The same connection pool, with a person's identity on every request.
    pub fn as_user(&self, identity: &KubeIdentity) -> UserClient {
        self.with_headers(identity, None)
    }

    /// As [`PortalClient::as_user`], carrying the digest a change was approved under, for clusters that demand it.
    pub fn as_user_with_approval(&self, identity: &KubeIdentity, digest: &str) -> UserClient {
        self.with_headers(identity, Some(digest))
    }

    /// As [`PortalClient::as_user`], for dry runs where the cluster demands approvals: what is tried was approved by nobody
    /// yet. [`super::dry_run`] and [`super::job::dry_run`] claim this approval; it is good for nothing else.
    pub fn as_user_trying(&self, identity: &KubeIdentity) -> UserClient {
        self.with_headers(identity, Some(TRYING))
    }

    fn with_headers(&self, identity: &KubeIdentity, approval: Option<&str>) -> UserClient {
        let headers = impersonation(identity, approval);
        let base = self.base.clone();
        let service = tower::service_fn(move |mut request: http::Request<kube::client::Body>| {
            strip_impersonation(request.headers_mut());
            request.headers_mut().extend(headers.clone());
            let base = base.clone();
            async move { base.send(request).await }
        });
        UserClient {
            client: kube::Client::new(service, self.base.default_namespace()),
            username: identity.username().into(),
            approval: approval.map(Into::into),
        }
    }
}

fn impersonation(identity: &KubeIdentity, approval: Option<&str>) -> HeaderMap {
    let value = |text: &str| HeaderValue::from_str(text).expect("identities hold visible ASCII only");
    let mut headers = HeaderMap::new();
    headers.insert("impersonate-user", value(identity.username()));
    for group in identity.groups() {
        headers.append("impersonate-group", value(group));
    }
    if let Some(digest) = approval {
        headers.insert("impersonate-extra-pilothouse.dev%2fapproval", value(digest));
    }
    headers
}

fn strip_impersonation(headers: &mut HeaderMap) {
    let stray: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in stray {
        headers.remove(name);
    }
}

/// Acts as one person: the cluster's RBAC decides and its audit log names them.
#[derive(Clone)]
pub struct UserClient {
    client: kube::Client,
    username: String,
    approval: Option<String>,
}

impl UserClient {
    pub fn username(&self) -> &str {
        &self.username
    }

    /// What it carries, see [`PortalClient::as_user_with_approval`].
    pub(super) fn approval(&self) -> Option<&str> {
        self.approval.as_deref()
    }

    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }
}

/// What somebody wants to do, as RBAC names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wanted<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: Option<&'a str>,
    pub namespace: &'a str,
    pub name: Option<&'a str>,
}

impl Wanted<'_> {
    fn attributes(&self) -> ResourceAttributes {
        ResourceAttributes {
            verb: Some(self.verb.into()),
            group: Some(self.group.into()),
            resource: Some(self.resource.into()),
            subresource: self.subresource.map(Into::into),
            namespace: Some(self.namespace.into()),
            name: self.name.map(Into::into),
            ..Default::default()
        }
    }
}

/// The authorizer's answer, with its own words ("RBAC: allowed by RoleBinding …") when it gave any.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowed {
    pub allowed: bool,
    pub reason: String,
}
