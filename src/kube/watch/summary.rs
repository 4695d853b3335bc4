//! A workload in a few words and numbers: all that a list of services shows of it. Made when something changes,
//! not when somebody looks.

use jiff::Timestamp;

use crate::kube::rollout::{self, Observed, Rollout};
use crate::kube::status::Health;
use crate::kube::workload::{LiveWorkload, MakesPods};
use crate::kube::{diagnosis, health, pod, wording};

#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    pub health: Health,
    /// Why it is not well. Empty when nothing is wrong.
    pub reason: String,
    pub version: String,
    pub image: String,
    pub ready: i32,
    pub wanted: i32,
    /// Since when no container had to be started again; for "no restart for 6 d".
    pub steady_since: Option<Timestamp>,
}

impl Summary {
    pub fn of(observed: &Observed, now: Timestamp) -> Self {
        let workload = observed.workload.as_ref();
        let first = workload.and_then(|workload| workload.containers().first());
        let image = first.and_then(|container| container.image.clone()).unwrap_or_default();
        let health = health::of_workload(observed);
        Self {
            health,
            reason: workload.map(|it| reason(observed, it, health, now)).unwrap_or_default(),
            version: workload.map(|it| version(it, &image)).unwrap_or_default(),
            image,
            ready: workload.map_or(0, LiveWorkload::ready),
            wanted: workload.map_or(0, LiveWorkload::wanted),
            steady_since: observed.pods.iter().filter_map(steady_since).max(),
        }
    }

    pub fn is_plainly_well(&self) -> bool {
        self.health == Health::Healthy && self.reason.is_empty()
    }

    /// The one sentence of a status card.
    pub fn sentence(&self, now: Timestamp) -> String {
        match self.steady_since {
            _ if !self.reason.is_empty() => self.reason.clone(),
            _ if self.wanted == 0 => "Scaled to 0 pods.".into(),
            Some(since) => format!("All pods ready, no restart for {}.", wording::since(since, now)),
            None => "All pods ready.".into(),
        }
    }
}

fn reason(observed: &Observed, workload: &LiveWorkload, health: Health, now: Timestamp) -> String {
    if workload.metadata().deletion_timestamp.is_some() {
        return "Being deleted.".into();
    }
    if let Some(reason) = diagnosis::reason(observed, Timestamp::MIN, now) {
        return reason.sentence;
    }
    if health == Health::Suspended {
        return "Its rollout is paused: changes wait until it is resumed.".into();
    }
    match rollout::workload_status(workload) {
        Rollout::Waiting(progress) => progress.sentence,
        Rollout::Failed(_) => "The last rollout took longer than it may.".into(),
        Rollout::Done | Rollout::Paused | Rollout::Gone | Rollout::Superseded { .. } => String::new(),
    }
}

/// Last restart, else when it was started.
fn steady_since(pod: &k8s_openapi::api::core::v1::Pod) -> Option<Timestamp> {
    let started = pod.status.as_ref()?.start_time.as_ref().map(|time| time.0);
    pod::last_crash(pod).and_then(|crash| crash.finished).max(started)
}

/// Tag, else the version label, else the start of the digest.
fn version(workload: &impl MakesPods, image: &str) -> String {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    // A colon before the last slash is the registry's port.
    let tag = name.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag.to_string());
    let template = workload.template().and_then(|template| template.metadata.as_ref());
    let label = || {
        let labels = template.and_then(|metadata| metadata.labels.as_ref());
        labels.or(workload.metadata().labels.as_ref())?.get("app.kubernetes.io/version").cloned()
    };
    let short = || digest.map(|digest| digest.trim_start_matches("sha256:").chars().take(8).collect());
    tag.or_else(label)
        .or_else(short)
        .unwrap_or_else(|| if image.is_empty() { String::new() } else { "latest".into() })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;

    #[test]
    fn a_version_is_the_tag_else_the_label_else_the_digest() {
        let mut deployment = Deployment::default();
        let version = |deployment: &Deployment, image: &str| super::version(deployment, image);
        assert_eq!(version(&deployment, "127.0.0.1:5000/shop/web:v1.2.0"), "v1.2.0");
        assert_eq!(version(&deployment, "shop/web:v1.2.0@sha256:e07a52c3ffff"), "v1.2.0");
        assert_eq!(version(&deployment, "127.0.0.1:5000/shop/web@sha256:e07a52c3ffff"), "e07a52c3");
        assert_eq!(version(&deployment, "127.0.0.1:5000/shop/web"), "latest");
        assert_eq!(version(&deployment, ""), "");
        deployment.metadata.labels = Some([("app.kubernetes.io/version".into(), "2.31.0".into())].into());
        assert_eq!(version(&deployment, "shop/web@sha256:e07a52c3ffff"), "2.31.0");
    }
}
