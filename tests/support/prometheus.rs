//! A Prometheus that scrapes the pods of one namespace every second.

use std::process::{Child, Command, Stdio};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use super::cluster::Sandbox;
use super::{found, listen};

pub struct Prometheus {
    child: Child,
    folder: tempfile::TempDir,
}

impl Prometheus {
    /// It answers at this port of the loopback.
    pub async fn watching(sandbox: &Sandbox, port: u16) -> Self {
        let pods: Api<Pod> = Api::namespaced(sandbox.admin.clone(), &sandbox.namespace);
        let (listener, discovery) = listen().await;
        let router = Router::new().route("/pods", get(targets)).with_state(pods);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        std::fs::write(&config, configuration(&discovery)).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus runs: bin/test installs it");
        let mut this = Self { child, folder };
        this.until_ready().await;
        this
    }

    async fn until_ready(&mut self) {
        let ready = found(async || {
            // Somebody else may have taken its port, so it is not asked there.
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "Prometheus ended: {}", self.log());
            self.log().contains("Server is ready to receive web requests").then_some(())
        });
        assert!(ready.await.is_some(), "Prometheus is not ready: {}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// It answers nobody any more.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What Prometheus asks for the pods to scrape: Debian's has no discovery of Kubernetes in it.
/// <https://prometheus.io/docs/prometheus/latest/http_sd/>
async fn targets(State(pods): State<Api<Pod>>) -> Json<Value> {
    let listed = pods.list(&ListParams::default()).await.unwrap();
    let targets = listed.items.into_iter().filter_map(|pod| {
        let address = pod.status?.pod_ip?;
        let labels = json!({"namespace": pod.metadata.namespace, "pod": pod.metadata.name});
        Some(json!({"targets": [format!("{address}:8080")], "labels": labels}))
    });
    Json(targets.collect())
}

fn configuration(discovery: &str) -> String {
    format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
         scrape_configs:\n  \
         - job_name: pods\n    \
           http_sd_configs: [{{ url: \"{discovery}/pods\", refresh_interval: 1s }}]\n"
    )
}
