//! What the pods need before any of them is replaced: to be let in (a dry run of one), an image for the platform of the
//! nodes, passwords that let these pull it (pulls.rs), and what they read (reads.rs).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::checks::{Check, would_start};
use super::store::Release;
use super::{pulls, reads, wording};
use crate::app::App;
use crate::kube::UserClient;
use crate::kube::dry_run::{PodStart, pod_would_start};

/// Of what the cluster is asked.
pub(super) struct Needs<'a> {
    pub namespace: &'a str,
    /// None: the objects that would make the pods have none.
    pub template: Option<&'a PodTemplateSpec>,
    /// Images that run here now.
    pub running: Vec<String>,
    /// The one to go back to.
    pub release: Option<&'a Release>,
}

/// Asks all of it, as the person.
pub(super) async fn ask(app: &App, client: &UserClient, needs: &Needs<'_>) -> Vec<Check> {
    let platform: Vec<String> = app.config.access.platform.iter().cloned().collect();
    let Some(template) = needs.template else { return vec![would_start(PodStart::NotAsked, &platform)] };
    let started = async {
        let pod = pod_would_start(client, needs.namespace, template).await;
        let pulls = match &pod {
            // A cluster that is away is not asked for one thing after the other.
            PodStart::Refused(refusal) if refusal.retryable() => None,
            // Admission adds those of the service account.
            PodStart::WouldStart { pull_secrets, .. } => {
                pulls::check(&app.registry, client, needs, Some(pull_secrets.clone())).await
            }
            PodStart::Refused(_) | PodStart::NotAsked => {
                pulls::check(&app.registry, client, needs, None).await
            }
        };
        [would_start(pod, &platform)].into_iter().chain(pulls)
    };
    let (started, looked) = tokio::join!(started, reads::look(client, needs.namespace, template));
    let since = needs.release.and_then(|release| looked.since(release.reads.as_ref()?, &release.version));
    started.chain(looked.checks(needs.namespace)).chain(since).collect()
}

/// Whether any node, and whether each of them, can run an image for these platforms (`linux/arm64/v8`). None: nothing to say,
/// because one of the two is not known.
pub(super) fn platform(image: &[String], nodes: &BTreeSet<String>) -> Option<Check> {
    let fits = |node: &&String| {
        image.iter().any(|platform| platform == *node || platform.starts_with(&format!("{node}/")))
    };
    let unfit: Vec<&String> = nodes.iter().filter(|node| !fits(node)).collect();
    if image.is_empty() || unfit.is_empty() {
        return None;
    }
    let list = |names: &[&String]| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let (image, unfit_list) = (list(&image.iter().collect::<Vec<_>>()), list(&unfit));
    Some(match unfit.len() == nodes.len() {
        true => Check::bad(
            wording::wrong_platform(&unfit_list),
            wording::built_for(&image),
            Some(wording::BUILD_IT_TOO.into()),
        ),
        false => Check::warn(wording::wrong_platform(&unfit_list), wording::built_for(&image)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_image_has_to_be_for_the_nodes() {
        let nodes = |platforms: &[&str]| -> BTreeSet<String> { texts(platforms).into_iter().collect() };
        let class =
            |image: &[&str], of: &[&str]| platform(&texts(image), &nodes(of)).map(|check| check.class);
        assert_eq!(class(&["linux/amd64", "linux/arm64/v8"], &["linux/amd64", "linux/arm64"]), None);
        assert_eq!(class(&["linux/arm64/v8"], &["linux/amd64"]), Some("bad"));
        assert_eq!(class(&["linux/amd64"], &["linux/amd64", "linux/arm64"]), Some("warn"));
        assert_eq!(class(&["linux/arm"], &["linux/arm64"]), Some("bad"), "another one, not a variant");
        assert_eq!((class(&[], &["linux/amd64"]), class(&["linux/amd64"], &[])), (None, None));
    }
}
