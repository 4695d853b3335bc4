//! Observing and watching, on the real cluster: rollouts that go well, and every way of failing that the sample
//! service has, read as a person and seen by the watch. Each test has a namespace of its own.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use pilothouse::auth::{Identity, KubeIdentity, Person};
use pilothouse::kube::diagnosis::{self, Evidence, Reason};
use pilothouse::kube::rollout::{self, Observed, Rollout, Written};
use pilothouse::kube::{
    Clusters, Health, Named, PortalClient, Selector, Target, UserClient, Watch, Workload, WorkloadKind,
    WorkloadRef, observe,
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::support::{self, found};

const IMAGE: &str = "127.0.0.1:5000/payments/checkout-api";

/// A namespace in which maya may do what an editor may.
struct Ground {
    namespace: String,
    admin: Client,
    portal: PortalClient,
    maya: UserClient,
}

impl Ground {
    async fn new(name: &str, labels: Value) -> Self {
        pilothouse::server::prepare_process();
        let kubeconfig = support::state().join("cluster/admin.kubeconfig");
        let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        let admin = Client::try_from(config).unwrap();
        let portal =
            portal(&support::state().join("cluster/pilothouse.kubeconfig").display().to_string()).await;
        let namespace = format!("kube-{name}-{}", &uuid::Uuid::new_v4().simple().to_string()[..6]);
        let body = json!({"metadata": {"name": namespace, "labels": labels}});
        create::<Namespace>(Api::all(admin.clone()), body).await;
        let binding = json!({
            "metadata": {"name": "team"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "oidc:payments"}],
        });
        create::<RoleBinding>(Api::namespaced(admin.clone(), &namespace), binding).await;
        let maya = portal.as_user(&identity("maya", &["payments"]));
        support::cluster::until_allowed(&maya, &namespace).await;
        Self { namespace, admin, portal, maya }
    }

    fn at<'a>(&'a self, name: &'a str) -> WorkloadRef<'a> {
        WorkloadRef { kind: WorkloadKind::Deployment, namespace: &self.namespace, name }
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    async fn run(&self, deployment: Value) -> Written {
        let created = create::<Deployment>(self.deployments(), deployment).await;
        Written { generation: created.metadata.generation.unwrap(), ..Written::default() }
    }

    async fn change(&self, name: &str, patch: Value) -> Written {
        let patched =
            self.deployments().patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
        Written { generation: patched.metadata.generation.unwrap(), ..Written::default() }
    }

    /// Looks as maya until it is as wanted; what was seen last stands in the panic.
    async fn until<T>(&self, name: &str, since: Timestamp, wanted: impl Fn(&Observed) -> Option<T>) -> T {
        let look = async || observe(&self.maya, self.at(name), since).await.unwrap();
        if let Some(found) = found(async || wanted(&look().await)).await {
            return found;
        }
        let (last, now) = (look().await, Timestamp::now());
        let (pods, reason) = (rollout::pods(&last, now), diagnosis::reason(&last, since, now));
        panic!("{name} never came to that: {pods:#?} {reason:#?}");
    }

    async fn reason(&self, name: &str, telling: &str) -> Reason {
        let since = Timestamp::now();
        self.until(name, since, |observed| {
            diagnosis::reason(observed, since, Timestamp::now())
                .filter(|reason| reason.sentence.contains(telling))
        })
        .await
    }

    fn target(&self, selector: Selector) -> Target {
        Target {
            service: "checkout".into(),
            team: "payments".into(),
            environment: "staging".into(),
            cluster: "dev".into(),
            namespace: self.namespace.clone(),
            selector,
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let (admin, namespace) = (self.admin.clone(), self.namespace.clone());
        // The test's runtime may be on its way out: the deletion brings its own.
        let delete = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            drop(admin);
            runtime.block_on(async {
                let kubeconfig = support::state().join("cluster/admin.kubeconfig");
                let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
                let config =
                    kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
                let namespaces: Api<Namespace> = Api::all(Client::try_from(config).unwrap());
                namespaces.delete(&namespace, &DeleteParams::default()).await.unwrap();
            });
        };
        let _ = std::thread::spawn(delete).join();
    }
}

async fn create<K>(api: Api<K>, body: Value) -> K
where
    K: serde::de::DeserializeOwned + serde::Serialize + Clone + std::fmt::Debug,
{
    let object = serde_json::from_value(body).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap()
}

async fn portal(kubeconfig: &str) -> PortalClient {
    let cluster = toml::from_str(&format!("name = \"dev\"\nkubeconfig = {kubeconfig:?}")).unwrap();
    Clusters::connect(&[cluster]).await.unwrap().get("dev").clone()
}

fn identity(username: &str, groups: &[&str]) -> KubeIdentity {
    let person = Person {
        identity: Identity { issuer: "https://id.example".into(), subject: username.into() },
        username: username.into(),
        name: username.into(),
        groups: groups.iter().map(ToString::to_string).collect(),
        set_off_by: None,
    };
    KubeIdentity::new(&person, "oidc:").unwrap()
}

/// A Deployment of the sample service that follows the restricted profile.
fn app(name: &str, tag: &str, replicas: i32) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": replicas,
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 1,
                    "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [{
                        "name": "web",
                        "image": format!("{IMAGE}:{tag}"),
                        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
                        "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"memory": "64Mi"}},
                        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                    }],
                },
            },
        },
    })
}

fn image(tag: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": format!("{IMAGE}:{tag}")}]}}}})
}

#[tokio::test]
async fn a_good_rollout_is_followed_to_its_end_without_reading_an_event() {
    let ground = Ground::new("good", json!({})).await;
    let written = ground.run(app("checkout", "v1.0.0", 2)).await;
    let done = |written: Written| {
        move |seen: &Observed| (rollout::status(seen, &written) == Rollout::Done).then(|| seen.clone())
    };
    ground.until("checkout", Timestamp::now(), done(written)).await;

    let since = Timestamp::now();
    let written = ground.change("checkout", image("v1.1.0")).await;
    let observed = ground.until("checkout", since, done(written.clone())).await;

    let pods = rollout::pods(&observed, Timestamp::now());
    let new: Vec<_> = pods.iter().filter(|pod| pod.new).collect();
    assert_eq!(new.len(), 2, "{pods:#?}");
    assert!(new.iter().all(|pod| pod.ready && pod.image.ends_with(":v1.1.0")), "{pods:#?}");
    assert_eq!(diagnosis::reason(&observed, since, Timestamp::now()), None);
    assert!(observed.events.is_empty() && observed.last_logs.is_empty());
    assert_eq!(rollout::soak(&observed, since), Ok(()));

    let other = ground.change("checkout", image("v1.0.0")).await;
    let images = [("web".to_string(), format!("{IMAGE}:v1.1.0"))].into();
    let ours = Written { images, ..written };
    let observed = observe(&ground.maya, ground.at("checkout"), since).await.unwrap();
    assert!(matches!(rollout::status(&observed, &ours), Rollout::Superseded { .. }));
    assert_ne!(rollout::status(&observed, &other), Rollout::Gone);

    ground.deployments().delete("checkout", &DeleteParams::default()).await.unwrap();
    let gone = |seen: &Observed| (rollout::status(seen, &ours) == Rollout::Gone).then_some(());
    ground.until("checkout", since, gone).await;
}

#[tokio::test]
async fn each_way_of_failing_is_named_with_its_evidence() {
    let ground = Ground::new("bad", json!({})).await;
    ground.run(app("crash", "v1.3.0", 1)).await;
    ground.run(app("memory", "v1.4.0", 1)).await;
    ground.run(app("never", "v1.2.0", 1)).await;
    ground.run(app("missing", "v9.9.9", 1)).await;
    let mut huge = app("huge", "v1.0.0", 1);
    huge["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"memory": "900Gi"}});
    ground.run(huge).await;

    let missing = ground.reason("missing", "does not exist").await;
    assert!(missing.fatal);

    let crash = ground.reason("crash", "“FATAL config: DATABASE_URL is not set”").await;
    assert!(crash.sentence.starts_with("1 of 1 pod: crashes with exit 1"), "{}", crash.sentence);
    assert!(crash.evidence.iter().any(|evidence| matches!(evidence, Evidence::Log { .. })), "{crash:#?}");

    ground.reason("memory", "out of memory at 64 MiB").await;
    ground.reason("never", "not ready, GET /readyz on port 8080 answers 503").await;
    let huge = ground.reason("huge", "too little memory").await;
    assert!(huge.sentence.starts_with("1 of 1 pod: no room, 0 of "), "{}", huge.sentence);
}

#[tokio::test]
async fn a_full_quota_is_fatal_once_nothing_moves() {
    let ground = Ground::new("quota", json!({})).await;
    let quota = json!({"metadata": {"name": "team"}, "spec": {"hard": {"pods": "1"}}});
    create::<ResourceQuota>(Api::namespaced(ground.admin.clone(), &ground.namespace), quota).await;
    let written = ground.run(app("checkout", "v1.0.0", 1)).await;
    let done = |seen: &Observed| (rollout::status(seen, &written) == Rollout::Done).then_some(());
    ground.until("checkout", Timestamp::now(), done).await;

    let since = Timestamp::now();
    ground.change("checkout", image("v1.1.0")).await;
    let reason = ground
        .until("checkout", since, |seen| {
            diagnosis::reason(seen, since, Timestamp::now()).filter(|reason| reason.fatal)
        })
        .await;
    assert_eq!(
        reason.sentence,
        "1 pod cannot be created: not enough left in the quota team: the number of pods needs 1 more, and 1 of 1 is taken."
    );
}

#[tokio::test]
async fn pod_security_is_told_in_plain_words() {
    let ground = Ground::new("strict", json!({"pod-security.kubernetes.io/enforce": "restricted"})).await;
    let mut app = app("checkout", "v1.0.0", 1);
    app["spec"]["template"]["spec"]["securityContext"] = json!({});
    ground.run(app).await;
    let reason = ground.reason("checkout", "restricted profile").await;
    assert!(reason.fatal);
    assert!(reason.action.contains("does not run as root"), "{}", reason.action);
}

#[tokio::test]
async fn somebody_without_the_right_sees_nothing() {
    let ground = Ground::new("rights", json!({})).await;
    ground.run(app("checkout", "v1.0.0", 0)).await;
    let stranger = ground.portal.as_user(&identity("stranger", &["storefront"]));
    let refused = observe(&stranger, ground.at("checkout"), Timestamp::now()).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused:?}");
}

/// Until a question to the watch is answered as wanted.
async fn answered<T: std::fmt::Debug>(ask: impl Fn() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let found = found(async || Some(ask()).filter(&wanted)).await;
    found.unwrap_or_else(|| panic!("it is still {:#?}", ask()))
}

async fn synced(portal: &PortalClient) -> (Arc<Watch>, CancellationToken) {
    let shutdown = CancellationToken::new();
    let watch = Watch::start(portal, shutdown.clone());
    assert!(!watch.is_synced(), "it starts at once, and empty");
    answered(|| watch.unsynced(), Vec::is_empty).await;
    (watch, shutdown)
}

#[tokio::test]
async fn the_watch_finds_a_services_workload_by_the_rules() {
    let ground = Ground::new("find", json!({})).await;
    let labelled = |name: &str, labels: Value| {
        let mut app = app(name, "v1.0.0", 0);
        app["metadata"]["labels"] = labels;
        app
    };
    ground.run(labelled("a", json!({"backstage.io/kubernetes-id": "checkout"}))).await;
    ground.run(labelled("b", json!({"app.kubernetes.io/name": "ledger"}))).await;
    ground.run(labelled("c", json!({"app.kubernetes.io/name": "ledger", "part": "batch"}))).await;
    ground.run(labelled("pricing", json!({}))).await;
    let (watch, shutdown) = synced(&ground.portal).await;
    let find = |selector| watch.find(&ground.target(selector));
    let named = |name: &str| Named { kind: WorkloadKind::Deployment, name: name.into() };
    let one = |name: &str| Workload::One(named(name));

    assert_eq!(find(Selector::KubernetesId("checkout".into())), one("a"));
    assert_eq!(find(Selector::KubernetesId("ledger".into())), Workload::None);
    assert_eq!(find(Selector::Labels(vec![("part".into(), "batch".into())])), one("c"));
    assert_eq!(find(Selector::Name("pricing".into())), one("pricing"));
    assert_eq!(find(Selector::Name("a".into())), one("a"));
    let both = Workload::Many(vec![named("b"), named("c")]);
    assert_eq!(find(Selector::Name("ledger".into())), both);

    let status = watch.status(&ground.target(Selector::Name("ledger".into())), Timestamp::now());
    assert_eq!(status.reason, "2 Deployments match: b and c.");
    let status = watch.status(&ground.target(Selector::Name("nothing".into())), Timestamp::now());
    assert_eq!((status.health, status.reason.as_str()), (Health::Missing, "Nothing runs here."));

    // Other kinds are found by the same rules; beside a Deployment they are what it needs.
    let others = [("vault", json!({})), ("ledger-db", json!({"app.kubernetes.io/name": "ledger"}))];
    for (name, labels) in others {
        let mut set = labelled(name, labels);
        set["spec"].as_object_mut().unwrap().remove("strategy");
        set["spec"]["serviceName"] = json!(name);
        create::<StatefulSet>(Api::namespaced(ground.admin.clone(), &ground.namespace), set).await;
    }
    let vault = Workload::One(Named { kind: WorkloadKind::StatefulSet, name: "vault".into() });
    answered(|| find(Selector::Name("vault".into())), |found| *found == vault).await;
    answered(|| find(Selector::Name("ledger-db".into())), |found| *found != Workload::None).await;
    assert_eq!(find(Selector::Name("ledger".into())), both);

    // A label that goes away takes the match with it.
    ground.change("c", json!({"metadata": {"labels": {"app.kubernetes.io/name": null}}})).await;
    answered(|| find(Selector::Name("ledger".into())), |found| *found == one("b")).await;
    shutdown.cancel();
}

#[tokio::test]
async fn the_watch_follows_a_service_through_its_life() {
    let ground = Ground::new("life", json!({})).await;
    let (watch, shutdown) = synced(&ground.portal).await;
    let mut changes = watch.changes();
    let target = ground.target(Selector::Name("checkout".into()));
    let status = || watch.status(&target, Timestamp::now());

    ground.run(app("checkout", "v1.0.0", 2)).await;
    let well = answered(status, |status| status.health == Health::Healthy && status.ready == 2).await;
    assert_eq!((well.wanted, well.version.as_str(), well.stale), (2, "v1.0.0", false));
    assert!(well.reason.starts_with("All pods ready, no restart for "), "{}", well.reason);
    assert_eq!(well.pods.len(), 2);
    let mut told = false;
    while let Ok(change) = changes.try_recv() {
        told |= change.namespace == ground.namespace && change.name == "checkout";
    }
    assert!(told, "live pages were not told");

    ground.change("checkout", image("v1.3.0")).await;
    let broken = answered(status, |status| status.health == Health::Degraded).await;
    assert_eq!(broken.version, "v1.3.0");
    assert!(broken.reason.starts_with("1 of 1 pod: crashes with exit 1"), "{}", broken.reason);
    assert!(broken.pods[0].new && broken.pods[0].class == "bad", "{:#?}", broken.pods);
    // Old ReplicaSets without pods are not kept, and the newest is still known.
    assert_eq!(watch.observed(&target).unwrap().newest().unwrap().spec.as_ref().unwrap().replicas, Some(1));

    ground.change("checkout", image("v1.0.0")).await;
    answered(status, |status| status.health == Health::Healthy && status.pods.len() == 2).await;

    ground.deployments().delete("checkout", &DeleteParams::default()).await.unwrap();
    answered(status, |status| status.health == Health::Missing && status.pods.is_empty()).await;
    shutdown.cancel();
}

/// A wire to the API server that a test can cut.
async fn wire(upstream: String, open: watch::Receiver<bool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (mut open, upstream) = (open.clone(), upstream.clone());
            if !*open.borrow() {
                continue; // dropped: connection reset
            }
            tokio::spawn(async move {
                let mut far = TcpStream::connect(upstream).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = open.wait_for(|open| !open) => {}
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn the_watch_outlives_an_outage_and_catches_up_with_what_it_missed() {
    let ground = Ground::new("away", json!({})).await;
    ground.run(app("checkout", "v1.0.0", 0)).await;
    ground.run(app("ledger", "v1.0.0", 0)).await;
    let (cut, open) = watch::channel(true);
    let own = support::state().join("cluster/pilothouse.kubeconfig");
    let mut kubeconfig = kube::config::Kubeconfig::read_from(own).unwrap();
    let cluster = kubeconfig.clusters[0].cluster.as_mut().unwrap();
    let upstream = cluster.server.as_ref().unwrap().trim_start_matches("https://").to_string();
    cluster.server = Some(format!("https://127.0.0.1:{}", wire(upstream, open).await));
    let path = std::env::temp_dir().join(format!("{}.kubeconfig", ground.namespace));
    std::fs::write(&path, serde_json::to_string(&kubeconfig).unwrap()).unwrap();
    let portal = portal(&path.display().to_string()).await;
    std::fs::remove_file(&path).unwrap();
    let (watch, shutdown) = synced(&portal).await;
    assert!(!watch.is_stale());
    let status = |name: &str| watch.status(&ground.target(Selector::Name(name.into())), Timestamp::now());

    cut.send(false).unwrap();
    ground.change("checkout", image("v1.1.0")).await;
    ground.deployments().delete("ledger", &DeleteParams::default()).await.unwrap();
    let stale = answered(|| status("checkout"), |status| status.stale).await;
    assert_eq!(stale.version, "v1.0.0", "the last known state is still served");
    let age = Timestamp::now().duration_since(stale.seen.unwrap()).as_secs();
    assert!((9..30).contains(&age), "seen {age} s ago");

    cut.send(true).unwrap();
    let back = answered(|| status("checkout"), |status| !status.stale && status.version == "v1.1.0").await;
    assert!(back.seen.unwrap() > stale.seen.unwrap());
    answered(|| status("ledger"), |status| status.workload == Workload::None).await;
    shutdown.cancel();
}
