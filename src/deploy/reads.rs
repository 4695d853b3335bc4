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

/// What a template says of one.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    /// It has to be there, with these keys.
    required: bool,
    keys: BTreeSet<String>,
}

/// By kind and name.
type Named = BTreeMap<(Source, String), Wanted>;

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
    wanted: Wanted,
    /// `Ok(None)`: there is none of this name.
    found: Result<Option<Found>, Refusal>,
}

/// All that a template names.
pub(super) struct Looked {
    all: Vec<Look>,
    /// A Secret may be made by what mounts it into the first pod.
    made_by_mounting: bool,
}

/// This driver keeps a Secret of what it mounts, for as long as a pod mounts it.
const SECRETS_STORE: &str = "secrets-store.csi.k8s.io";

/// Looks at each, as the person.
pub(super) async fn look(client: &UserClient, namespace: &str, template: &PodTemplateSpec) -> Looked {
    let mut named = Named::new();
    collect(&serde_json::to_value(template).unwrap_or_default(), &mut named);
    let found = named.into_iter().map(|((source, name), wanted)| async move {
        let found = source.find(client, namespace, &name).await;
        Look { source, name, wanted, found }
    });
    let volumes = template.spec.iter().flat_map(|pod| pod.volumes.iter().flatten());
    let drivers = volumes.filter_map(|volume| Some(&volume.csi.as_ref()?.driver));
    let made_by_mounting = drivers.into_iter().any(|driver| driver == SECRETS_STORE);
    Looked { all: join_all(found).await, made_by_mounting }
}

impl Looked {
    /// Whether they are there, with the keys that the template names.
    pub(super) fn checks(&self, namespace: &str) -> Vec<Check> {
        let (mut there, mut missing, mut later, mut not_asked) = (vec![], vec![], vec![], BTreeMap::new());
        for Look { source, name, wanted, found } in self.all.iter().filter(|look| look.wanted.required) {
            match found {
                Ok(None) if self.made_by_mounting && *source == Source::Secret => later.push(name.as_str()),
                Ok(found) => {
                    there.push(*source);
                    missing.extend(lacks(
                        *source,
                        name,
                        &wanted.keys,
                        found.as_ref().map(|found| &found.keys),
                    ));
                }
                Err(refusal) => drop(not_asked.insert(*source, refusal)),
            }
        }
        let looked_up = (!there.is_empty()).then(|| wording::reads(&there, &missing, namespace));
        let later = (!later.is_empty()).then(|| wording::made_by_mounting(&later));
        let not_asked =
            not_asked.into_iter().map(|(source, why)| wording::reads_not_asked(source, &why.sentence()));
        looked_up.into_iter().chain(later).chain(not_asked).collect()
    }

    /// Whether they are what they were when a version ran. None: it reads nothing.
    pub(super) fn since(&self, before: &Prints, version: &str) -> Option<Check> {
        let now = self.prints();
        let is_known = |name: &&String| before.contains_key(*name) && now.contains_key(*name);
        let names: Vec<String> = self.all.iter().map(Look::title).collect();
        let unknown: Vec<&String> = names.iter().filter(|name| !is_known(name)).collect();
        (!names.is_empty()).then(|| wording::reads_since(&changed(before, &now), &unknown, version))
    }

    /// Of those that could be read.
    pub(super) fn prints(&self) -> Prints {
        let print = |look: &Look| Some((look.title(), look.found.as_ref().ok()?.as_ref()?.print.clone()));
        self.all.iter().filter_map(print).collect()
    }
}

impl Look {
    fn title(&self) -> String {
        format!("{} {}", wording::source(self.source), self.name)
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

/// Wherever a pod can name one: the environment of its containers, and its volumes. What is optional may be missing, and is
/// read where it is not.
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
                    (Some(source), Some(name)) => {
                        let wanted = named.entry((source, name.into())).or_default();
                        if value["optional"] == true {
                            continue;
                        }
                        wanted.required = true;
                        let items = value["items"].as_array().into_iter().flatten().map(|item| &item["key"]);
                        let keys = items.chain([&value["key"]]).filter_map(Value::as_str);
                        wanted.keys.extend(keys.map(String::from));
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
        let needs = |names: &[&str]| Wanted { required: true, keys: keys(names) };
        let wanted = [
            (Source::ConfigMap, "all", needs(&[])),
            (Source::ConfigMap, "app", needs(&["a", "nginx.conf"])),
            (Source::ConfigMap, "maybe", Wanted::default()),
            (Source::ConfigMap, "projected", needs(&[])),
            (Source::Secret, "app", needs(&["c"])),
            (Source::Secret, "every", needs(&[])),
            (Source::Secret, "later", Wanted::default()),
            (Source::Secret, "projected", needs(&["p"])),
            (Source::Secret, "store", needs(&[])),
            (Source::Secret, "tls", needs(&["tls.key"])),
        ];
        assert_eq!(named, wanted.map(|(source, name, wanted)| ((source, name.to_string()), wanted)).into());

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

    fn looked(found: &[(&str, Result<Option<&str>, Refusal>)], made_by_mounting: bool) -> Looked {
        let look = |(name, found): &(&str, Result<Option<&str>, Refusal>)| Look {
            source: Source::Secret,
            name: name.to_string(),
            wanted: Wanted { required: true, ..Wanted::default() },
            found: found
                .clone()
                .map(|print| print.map(|print| Found { keys: keys(&[]), print: print.into() })),
        };
        Looked { all: found.iter().map(look).collect(), made_by_mounting }
    }

    #[test]
    fn what_could_not_be_compared_is_not_said_to_be_as_it_was() {
        let before = Prints::from([("Secret db".to_string(), "1".to_string())]);
        let class = |found: &[(&str, Result<Option<&str>, Refusal>)]| {
            looked(found, false).since(&before, "v1").map(|check| check.class)
        };
        assert_eq!(class(&[]), None);
        assert_eq!(class(&[("db", Ok(Some("1")))]), Some("ok"));
        assert_eq!(class(&[("db", Ok(Some("2")))]), Some("warn"));
        assert_eq!(class(&[("db", Err(Refusal::Timeout))]), Some("idle"));
        assert_eq!(class(&[("db", Ok(Some("1"))), ("new", Ok(Some("1")))]), Some("idle"));
        assert_eq!(class(&[("db", Ok(Some("2"))), ("new", Ok(Some("1")))]), Some("warn"));
    }

    #[test]
    fn a_secret_that_its_first_pod_makes_may_be_missing() {
        let classes = |made_by_mounting| -> Vec<&str> {
            let checks = looked(&[("db", Ok(None))], made_by_mounting).checks("payments");
            checks.iter().map(|check| check.class).collect()
        };
        assert_eq!(classes(false), ["bad"]);
        assert_eq!(classes(true), ["idle"]);
    }
}
