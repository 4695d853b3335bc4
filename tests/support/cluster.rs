//! A namespace of the development cluster for one test, and people who act in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use pilothouse::auth::{Identity, KubeIdentity, Person};
use pilothouse::config;
use pilothouse::kube::{Clusters, PortalClient, UserClient};
use pilothouse::server;
use serde_json::{Value, json};

use super::{state, until};

/// A namespace where the group payments may edit. It goes when the test ends.
pub struct Sandbox {
    pub namespace: String,
    /// The cluster's administrator.
    pub admin: kube::Client,
    pub portal: PortalClient,
}

impl Sandbox {
    /// `labels` of the namespace, e.g. a PodSecurity level.
    pub async fn new(name: &str, labels: Value) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        LazyLock::force(&BEGAN);
        server::prepare_process();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("test-{name}-{}-{number}", std::process::id());
        let sandbox = Self { admin: admin().await, portal: portal().await, namespace };
        sandbox.fill(labels).await;
        sandbox
    }

    async fn fill(&self, labels: Value) {
        let name = &self.namespace;
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        let namespace: Namespace = serde_json::from_value(namespace).unwrap();
        Api::all(self.admin.clone()).create(&Default::default(), &namespace).await.unwrap();
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": {"name": "team"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "oidc:payments"}],
        }))
        .unwrap();
        let bindings: Api<RoleBinding> = Api::namespaced(self.admin.clone(), name);
        bindings.create(&Default::default(), &binding).await.unwrap();
        // No pod is admitted before its service account is there.
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin.clone(), name);
        until("the service account", async || accounts.get_opt("default").await.unwrap()).await;
        until_allowed(&self.maya(), name).await;
    }

    /// Gives one person these rights, as `rules` of a Role.
    pub async fn allow(&self, username: &str, rules: Value) {
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": username}, "rules": rules});
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": username},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": username},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": username}],
        });
        self.apply_as("test", role).await;
        self.apply_as("test", binding).await;
    }

    pub fn maya(&self) -> UserClient {
        self.person("maya@acme.example", "payments")
    }

    /// Somebody of another team, whom nobody gave anything here.
    pub fn lin(&self) -> UserClient {
        self.person("lin@acme.example", "storefront")
    }

    pub fn person(&self, username: &str, group: &str) -> UserClient {
        self.portal.as_user(&KubeIdentity::new(&self.somebody(username, group), "oidc:").unwrap())
    }

    pub fn somebody(&self, username: &str, group: &str) -> Person {
        Person {
            identity: Identity { issuer: "https://id.example".into(), subject: username.into() },
            username: username.into(),
            name: username.into(),
            groups: BTreeSet::from([group.to_string()]),
            set_off_by: None,
        }
    }

    /// Applies an object as the administrator, in the name of this field manager, with force.
    pub async fn apply_as(&self, manager: &str, mut object: Value) {
        let kind = object["kind"].as_str().unwrap().to_string();
        let (group, version) = object["apiVersion"].as_str().unwrap().split_once('/').unwrap_or(("", "v1"));
        let kind = kube::core::GroupVersionKind::gvk(group, version, &kind);
        let resource = kube::api::ApiResource::from_gvk(&kind);
        let name = object["metadata"]["name"].as_str().unwrap().to_string();
        object["metadata"]["namespace"] = json!(self.namespace);
        let api: Api<kube::api::DynamicObject> =
            Api::namespaced_with(self.admin.clone(), &self.namespace, &resource);
        api.patch(&name, &PatchParams::apply(manager).force(), &Patch::Apply(object)).await.unwrap();
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let namespace = self.namespace.clone();
        // The test's own runtime may be on its way out, so the clean-up brings one.
        let clean = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let namespaces: Api<Namespace> = Api::all(admin().await);
                namespaces.delete(&namespace, &DeleteParams::background()).await.map(|_| ())
            })
        });
        let _ = clean.join();
    }
}

/// The cluster's administrator.
pub async fn admin() -> kube::Client {
    client("admin.kubeconfig").await
}

/// A bare client with the portal's own identity.
pub async fn as_portal() -> kube::Client {
    client("pilothouse.kubeconfig").await
}

async fn client(kubeconfig: &str) -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(state().join("cluster").join(kubeconfig)).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

async fn portal() -> PortalClient {
    connect(state().join("cluster/pilothouse.kubeconfig")).await
}

/// The portal's client for the cluster that this kubeconfig names.
pub async fn connect(kubeconfig: PathBuf) -> PortalClient {
    server::prepare_process();
    let cluster = config::Cluster {
        name: toml::Spanned::new(0..0, "dev".to_string()),
        kubeconfig: Some(toml::Spanned::new(0..0, kubeconfig)),
        context: None,
        prometheus: None,
    };
    Clusters::connect(&[cluster]).await.unwrap().get("dev").clone()
}

/// The authorizer reads a new binding a moment after it was made.
pub async fn until_allowed(user: &UserClient, namespace: &str) {
    let deployments = user.api::<Deployment>(namespace);
    until("the right to look", async || deployments.list(&Default::default()).await.ok().map(drop)).await;
}

/// What the API server's audit log has about a namespace, oldest first. It is being written to, so its last line may
/// be half of one.
pub fn audited(namespace: &str) -> Vec<Value> {
    let files =
        audit_logs().into_iter().filter(|file| file.metadata().unwrap().modified().unwrap() >= *BEGAN);
    let logs = files.map(|file| std::fs::read_to_string(file).unwrap());
    logs.flat_map(|log| {
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        let lines = whole.lines().filter(|line| line.contains(namespace));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    })
    .collect()
}

/// A write of an object that the API server let through, from its audit log. No dry run, and not to a subresource.
pub struct Write {
    /// Who sent it.
    pub asked_by: String,
    /// In whose name, where in somebody else's.
    pub person: Option<String>,
    /// As the program calls itself, where it does.
    pub field_manager: Option<String>,
    /// `metadata.generation` after it.
    pub generation: i64,
    /// It made the object, or gave it another generation: something else runs or is wanted.
    pub changed: bool,
    /// What was sent.
    pub sent: Value,
}

/// All of them to one object, oldest first; one that was made anew under the same name counts from one again.
pub fn writes(namespace: &str, resource: &str, name: &str) -> Vec<Write> {
    let mut last = BTreeMap::<String, i64>::new();
    let write = |mut event: Value| {
        let (object, uri) = (&event["objectRef"], event["requestURI"].as_str().unwrap_or_default());
        let after = &event["responseObject"]["metadata"];
        let is_one = object["resource"] == resource
            && object["namespace"] == namespace
            && object["subresource"].is_null()
            && after["name"] == name
            && ["create", "patch", "update"].iter().any(|verb| event["verb"] == *verb)
            && !uri.contains("dryRun");
        let generation = after["generation"].as_i64().filter(|_| is_one)?;
        let before = last.entry(after["uid"].as_str()?.into()).or_default();
        let changed = generation > *before;
        *before = generation.max(*before);
        let text = |value: &Value| value.as_str().map(String::from);
        let (_, manager) = uri.split_once("fieldManager=").unzip();
        Some(Write {
            asked_by: text(&event["user"]["username"])?,
            person: text(&event["impersonatedUser"]["username"]),
            field_manager: manager.and_then(|rest| rest.split('&').next()).map(String::from),
            generation,
            changed,
            sent: event["requestObject"].take(),
        })
    };
    audited(namespace).into_iter().filter_map(write).collect()
}

/// Before the first namespace of these tests: a file that was full by then has nothing about them.
static BEGAN: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

/// Every file of the audit log that is kept, oldest first: `audit-<when it was full>.log` and `audit.log`.
pub fn audit_logs() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(state().join("cluster")).unwrap();
    let is_log = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("audit") && name.ends_with(".log")
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(is_log).collect();
    // A dash sorts before a dot.
    files.sort();
    files
}
