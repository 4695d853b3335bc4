//! What pods read when they start: the ConfigMaps and Secrets that their template names. Whether these are there, before
//! any pod is replaced; and since the portal does not write them, so that no rollback brings them back, whether they are
//! still what they were when a release ran well.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::checks::Check;
use super::wording;
use crate::kube::{CALL_TIMEOUT, Refusal, UserClient, secrets};

/// What a pod reads keys of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    ConfigMap,
    Secret,
}

/// By kind and name, with the keys that have to be in it.
type Named = BTreeMap<(Source, String), BTreeSet<String>>;

/// "ConfigMap shop", and a print of what was in it.
pub(super) type Prints = BTreeMap<String, String>;

/// One of them, as it is.
struct Found {
    keys: BTreeSet<String>,
    print: String,
}

/// One that a template names, and what was found.
struct Look {
    source: Source,
    name: String,
    /// Keys that have to be in it.
    wanted: BTreeSet<String>,
    /// `Ok(None)`: there is none of this name.
    found: Result<Option<Found>, Refusal>,
}

/// All that a template names.
pub(super) struct Looked(Vec<Look>);

/// Looks at each, as the person.
pub(super) async fn look(client: &UserClient, namespace: &str, template: &PodTemplateSpec) -> Looked {
    let mut named = Named::new();
    collect(&serde_json::to_value(template).unwrap_or_default(), &mut named);
    let found = named.into_iter().map(|((source, name), wanted)| async move {
        let found = source.find(client, namespace, &name).await;
        Look { source, name, wanted, found }
    });
    Looked(join_all(found).await)
}

impl Looked {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether they are there, with the keys that the template names.
    pub(super) fn checks(&self, namespace: &str) -> Vec<Check> {
        let (mut there, mut missing, mut not_asked) = (Vec::new(), Vec::new(), BTreeMap::new());
        for Look { source, name, wanted, found } in &self.0 {
            match found {
                Ok(found) => {
                    there.push(*source);
                    missing.extend(lacks(*source, name, wanted, found.as_ref().map(|found| &found.keys)));
                }
                Err(refusal) => drop(not_asked.insert(*source, refusal)),
            }
        }
        let looked_up = (!there.is_empty()).then(|| wording::reads(&there, &missing, namespace));
        let not_asked =
            not_asked.into_iter().map(|(source, why)| wording::reads_not_asked(source, &why.sentence()));
        looked_up.into_iter().chain(not_asked).collect()
    }

    /// Of those that could be read.
    pub(super) fn prints(&self) -> Prints {
        let print = |look: &Look| {
            let found = look.found.as_ref().ok()?.as_ref()?;
            Some((format!("{} {}", wording::source(look.source), look.name), found.print.clone()))
        };
        self.0.iter().filter_map(print).collect()
    }
}

/// Those that are not what they were. What nobody could read, then or now, is left out.
pub(super) fn changed<'a>(before: &'a Prints, now: &Prints) -> Vec<&'a str> {
    let differs = |(name, print): &(&String, &String)| now.get(*name).is_some_and(|now| now != *print);
    before.iter().filter(differs).map(|(name, _)| name.as_str()).collect()
}

impl Source {
    /// None: there is none of this name.
    async fn find(self, client: &UserClient, namespace: &str, name: &str) -> Result<Option<Found>, Refusal> {
        match self {
            Self::ConfigMap => {
                let api = client.api::<ConfigMap>(namespace);
                let found = tokio::time::timeout(CALL_TIMEOUT, api.get_opt(name)).await;
                Ok(found.map_err(|_| Refusal::Timeout)??.map(|map| Found::from(&map)))
            }
            Self::Secret => {
                let seen = secrets::look(client, namespace, name).await?;
                Ok(seen.map(|seen| Found { keys: seen.keys, print: seen.version }))
            }
        }
    }
}

impl From<&ConfigMap> for Found {
    /// Printed by its content, so that one which somebody brought back is what it was. A Secret is not: whoever reads the
    /// portal's database could guess a short password by its hash, so its version in the cluster has to do.
    fn from(map: &ConfigMap) -> Self {
        let text = map.data.iter().flatten().map(|(key, value)| (key, value.as_bytes()));
        let binary = map.binary_data.iter().flatten().map(|(key, value)| (key, value.0.as_slice()));
        let entries: BTreeMap<&String, &[u8]> = text.chain(binary).collect();
        let mut hash = Sha256::new();
        for (key, value) in &entries {
            for part in [key.as_bytes(), value] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        Self { keys: entries.into_keys().cloned().collect(), print: hex::encode(hash.finalize()) }
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

    fn keys(keys: &[&str]) -> BTreeSet<String> {
        keys.iter().map(ToString::to_string).collect()
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

    #[test]
    fn a_config_map_is_what_it_was_when_its_content_is() {
        let print = |map: Value| Found::from(&serde_json::from_value::<ConfigMap>(map).unwrap()).print;
        let before = print(json!({"metadata": {"resourceVersion": "1"}, "data": {"a": "1", "b": "2"}}));
        assert_eq!(
            before,
            print(json!({"metadata": {"resourceVersion": "9"}, "data": {"b": "2", "a": "1"}}))
        );
        assert_ne!(before, print(json!({"data": {"a": "1", "b": "3"}})));
        assert_ne!(
            before,
            print(json!({"data": {"a": "1b", "": "2"}})),
            "where one ends and the next begins"
        );
        assert_ne!(print(json!({})), print(json!({"binaryData": {"a": ""}})));

        let prints = |prints: &[(&str, &str)]| -> Prints {
            prints.iter().map(|(name, print)| (name.to_string(), print.to_string())).collect()
        };
        let before = prints(&[("ConfigMap a", "1"), ("ConfigMap gone", "1"), ("Secret b", "1")]);
        let now = prints(&[("ConfigMap a", "2"), ("ConfigMap new", "1"), ("Secret b", "1")]);
        assert_eq!(changed(&before, &now), ["ConfigMap a"]);
    }
}
