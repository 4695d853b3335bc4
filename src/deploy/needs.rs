//! What the pods need before any of them is replaced, beyond what a dry run of one says: an image for the platform of the
//! nodes, and the ConfigMaps and keys that its template names. Secrets are not looked up: the portal has no right to read
//! any, in nobody's name, and the kubelet says in seconds which one is missing.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec};
use serde_json::Value;

use super::checks::Check;
use super::wording;
use crate::kube::{CALL_TIMEOUT, Refusal, UserClient};

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

/// ConfigMaps by name, with the keys that have to be in them.
type Named = BTreeMap<String, BTreeSet<String>>;

/// Whether the ConfigMaps that the template names are there, with the keys it names. None: it names none.
pub(super) async fn config_maps(
    client: &UserClient,
    namespace: &str,
    template: &PodTemplateSpec,
) -> Option<Check> {
    let mut named = Named::new();
    collect(&serde_json::to_value(template).ok()?, &mut named);
    let api = client.api::<ConfigMap>(namespace);
    let mut missing = Vec::new();
    for (name, keys) in &named {
        let found = match tokio::time::timeout(CALL_TIMEOUT, api.get_opt(name)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Some(wording::config_maps_not_asked(&Refusal::from(error).sentence())),
            Err(_) => return Some(wording::config_maps_not_asked(&Refusal::Timeout.sentence())),
        };
        missing.extend(lacks(name, keys, found.as_ref()));
    }
    (!named.is_empty()).then(|| wording::config_maps(named.len(), &missing, namespace))
}

/// What is missing of one, as people say it.
fn lacks(name: &str, keys: &BTreeSet<String>, found: Option<&ConfigMap>) -> Vec<String> {
    let Some(found) = found else { return vec![format!("the ConfigMap {name}")] };
    let has = |key: &String| {
        found.data.as_ref().is_some_and(|data| data.contains_key(key))
            || found.binary_data.as_ref().is_some_and(|data| data.contains_key(key))
    };
    keys.iter().filter(|key| !has(key)).map(|key| format!("the key {key} of the ConfigMap {name}")).collect()
}

/// Wherever a pod can name one: the environment of its containers, and its volumes. What is optional may be missing.
fn collect(value: &Value, named: &mut Named) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let names_one = matches!(field.as_str(), "configMapKeyRef" | "configMapRef" | "configMap");
                match value["name"].as_str() {
                    Some(name) if names_one && value["optional"] != true => {
                        let keys = named.entry(name.into()).or_default();
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
    fn config_maps_are_named_in_the_environment_and_in_volumes() {
        let template = json!({"spec": {
            "containers": [{
                "env": [
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "a"}}},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "maybe", "key": "b", "optional": true}}},
                    {"name": "C", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "c"}}},
                ],
                "envFrom": [{"configMapRef": {"name": "all"}}],
            }],
            "volumes": [
                {"name": "files", "configMap": {"name": "app", "items": [{"key": "nginx.conf", "path": "x"}]}},
                {"name": "both", "projected": {"sources": [{"configMap": {"name": "projected"}}]}},
            ],
        }});
        let mut named = Named::new();
        collect(&template, &mut named);
        let keys = |keys: &[&str]| texts(keys).into_iter().collect::<BTreeSet<_>>();
        let wanted = [("all", keys(&[])), ("app", keys(&["a", "nginx.conf"])), ("projected", keys(&[]))];
        assert_eq!(named, wanted.map(|(name, keys)| (name.to_string(), keys)).into());

        let app: ConfigMap = serde_json::from_value(json!({"data": {"a": "1"}})).unwrap();
        assert_eq!(lacks("app", &named["app"], Some(&app)), ["the key nginx.conf of the ConfigMap app"]);
        assert_eq!(lacks("all", &named["all"], None), ["the ConfigMap all"]);
    }
}
