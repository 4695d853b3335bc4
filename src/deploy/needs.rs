//! What the pods need before any of them is replaced: to be let in (a dry run of one), an image for the platform of the
//! nodes, passwords that let these pull it (pulls.rs), and the ConfigMaps, Secrets and keys that their template names.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec};
use serde_json::Value;

use super::checks::{Check, would_start};
use super::{pulls, wording};
use crate::app::App;
use crate::kube::dry_run::{PodStart, pod_would_start};
use crate::kube::{CALL_TIMEOUT, Refusal, UserClient, secrets};

/// Asks all of it, as the person. None of a template: the objects that would make the pods have none.
pub(super) async fn ask(
    app: &App,
    client: &UserClient,
    namespace: &str,
    template: Option<&PodTemplateSpec>,
) -> Vec<Check> {
    let platform: Vec<String> = app.config.access.platform.iter().cloned().collect();
    let Some(template) = template else { return vec![would_start(PodStart::NotAsked, &platform)] };
    let started = async {
        let pod = pod_would_start(client, namespace, template).await;
        // Admission adds those of the service account.
        let admitted = match &pod {
            PodStart::WouldStart { pull_secrets, .. } => Some(pull_secrets.clone()),
            PodStart::Refused(_) | PodStart::NotAsked => None,
        };
        let pulls = pulls::check(&app.registry, client, namespace, template, admitted).await;
        [would_start(pod, &platform)].into_iter().chain(pulls)
    };
    let (started, sources) = tokio::join!(started, sources(client, namespace, template));
    started.chain(sources).collect()
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

/// What a pod reads keys of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    ConfigMap,
    Secret,
}

/// By kind and name, with the keys that have to be in it.
type Named = BTreeMap<(Source, String), BTreeSet<String>>;

/// Whether the ConfigMaps and Secrets that the template names are there, with the keys it names.
async fn sources(client: &UserClient, namespace: &str, template: &PodTemplateSpec) -> Vec<Check> {
    let mut named = Named::new();
    collect(&serde_json::to_value(template).unwrap_or_default(), &mut named);
    let keys = join_all(named.keys().map(|(source, name)| source.keys(client, namespace, name))).await;

    let (mut there, mut missing, mut not_asked) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (((source, name), wanted), found) in named.iter().zip(keys) {
        match found {
            Ok(found) => {
                there.push(*source);
                missing.extend(lacks(*source, name, wanted, found.as_ref()));
            }
            Err(refusal) => drop(not_asked.insert(*source, refusal)),
        }
    }
    let looked_up = (!there.is_empty()).then(|| wording::sources(&there, &missing, namespace));
    let not_asked =
        not_asked.into_iter().map(|(source, why)| wording::sources_not_asked(source, &why.sentence()));
    looked_up.into_iter().chain(not_asked).collect()
}

impl Source {
    /// None: there is none of this name.
    async fn keys(
        self,
        client: &UserClient,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeSet<String>>, Refusal> {
        match self {
            Self::ConfigMap => {
                let api = client.api::<ConfigMap>(namespace);
                let found = tokio::time::timeout(CALL_TIMEOUT, api.get_opt(name)).await;
                Ok(found.map_err(|_| Refusal::Timeout)??.map(|map| {
                    let binary = map.binary_data.unwrap_or_default().into_keys();
                    map.data.unwrap_or_default().into_keys().chain(binary).collect()
                }))
            }
            Self::Secret => Ok(secrets::look(client, namespace, name).await?.map(|seen| seen.keys)),
        }
    }
}

/// What is missing of one, as people say it.
fn lacks(
    source: Source,
    name: &str,
    wanted: &BTreeSet<String>,
    found: Option<&BTreeSet<String>>,
) -> Vec<String> {
    match found {
        None => vec![format!("the {} {name}", wording::source(source))],
        Some(found) => wanted
            .difference(found)
            .map(|key| format!("the key {key} of the {} {name}", wording::source(source)))
            .collect(),
    }
}

/// Wherever a pod can name one: the environment of its containers, and its volumes. What is optional may be missing.
fn collect(value: &Value, named: &mut Named) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let source = match field.as_str() {
                    "configMapKeyRef" | "configMapRef" | "configMap" => Some(Source::ConfigMap),
                    "secretKeyRef" | "secretRef" | "secret" | "nodePublishSecretRef" => Some(Source::Secret),
                    _ => None,
                };
                // A volume calls it by another word than all the rest.
                match (source, value["name"].as_str().or(value["secretName"].as_str())) {
                    (Some(source), Some(name)) if value["optional"] != true => {
                        let keys = named.entry((source, name.into())).or_default();
                        let items = value["items"].as_array().into_iter().flatten().map(|item| &item["key"]);
                        let wanted = items.chain([&value["key"]]).filter_map(Value::as_str);
                        keys.extend(wanted.map(String::from));
                    }
                    _ => collect(value, named),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, named)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    #[test]
    fn config_maps_and_secrets_are_named_in_the_environment_and_in_volumes() {
        let template = json!({"spec": {
            "containers": [{
                "env": [
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "a"}}},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "maybe", "key": "b", "optional": true}}},
                    {"name": "C", "valueFrom": {"secretKeyRef": {"name": "app", "key": "c"}}},
                ],
                "envFrom": [{"configMapRef": {"name": "all"}}, {"secretRef": {"name": "every"}}],
            }],
            "imagePullSecrets": [{"name": "not a source: pulls.rs asks about it"}],
            "volumes": [
                {"name": "files", "configMap": {"name": "app", "items": [{"key": "nginx.conf", "path": "x"}]}},
                {"name": "tls", "secret": {"secretName": "tls", "items": [{"key": "tls.key", "path": "x"}]}},
                {"name": "later", "secret": {"secretName": "later", "optional": true}},
                {"name": "both", "projected": {"sources": [
                    {"configMap": {"name": "projected"}},
                    {"secret": {"name": "projected", "items": [{"key": "p", "path": "p"}]}},
                ]}},
                {"name": "csi", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "store"}}},
            ],
        }});
        let mut named = Named::new();
        collect(&template, &mut named);
        let keys = |keys: &[&str]| texts(keys).into_iter().collect::<BTreeSet<_>>();
        let wanted = [
            (Source::ConfigMap, "all", keys(&[])),
            (Source::ConfigMap, "app", keys(&["a", "nginx.conf"])),
            (Source::ConfigMap, "projected", keys(&[])),
            (Source::Secret, "app", keys(&["c"])),
            (Source::Secret, "every", keys(&[])),
            (Source::Secret, "projected", keys(&["p"])),
            (Source::Secret, "store", keys(&[])),
            (Source::Secret, "tls", keys(&["tls.key"])),
        ];
        assert_eq!(named, wanted.map(|(source, name, keys)| ((source, name.to_string()), keys)).into());

        let lack = |source, name: &str, wanted: &[&str], found| lacks(source, name, &keys(wanted), found);
        let has_a = keys(&["a"]);
        assert_eq!(
            lack(Source::ConfigMap, "app", &["a", "nginx.conf"], Some(&has_a)),
            ["the key nginx.conf of the ConfigMap app"]
        );
        assert_eq!(lack(Source::Secret, "every", &[], None), ["the Secret every"]);
    }
}
