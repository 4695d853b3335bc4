//! `pilothouse.example.toml` documents every key there is, and no other, with values of the right type.

use serde::Deserializer;
use serde::de::value::Error;
use serde::de::{DeserializeOwned, Visitor};
use serde::forward_to_deserialize_any;

use super::environment::default_deadline;
use super::*;

const EXAMPLE: &str = include_str!("../../pilothouse.example.toml");

#[test]
fn it_is_valid_as_it_stands() {
    let folder = std::env::temp_dir().join(format!("pilothouse-example-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("demo/catalogue")).unwrap();
    std::fs::create_dir_all(folder.join(".pilothouse/cluster")).unwrap();
    std::fs::write(folder.join(".pilothouse/cluster/pilothouse.kubeconfig"), "").unwrap();

    let read = Config::parse("pilothouse.example.toml", EXAMPLE, &folder);

    std::fs::remove_dir_all(&folder).unwrap();
    read.unwrap();
}

#[test]
fn every_key_is_in_it() {
    let documented = documented();
    let missing: Vec<_> = [
        ("server", keys::<Server>()),
        ("server.session", keys::<SessionLife>()),
        ("database", keys::<Database>()),
        ("oidc", keys::<Oidc>()),
        ("access", keys::<Access>()),
        ("access.role", keys::<AccessRole>()),
        ("catalogue", keys::<Catalogue>()),
        ("registry", keys::<Registry>()),
        ("cluster", keys::<Cluster>()),
        ("cluster.prometheus", keys::<Prometheus>()),
        ("environment", keys::<Environment>()),
        ("environment.errors", keys::<Errors>()),
        ("environment.guard", keys::<Guard>()),
        ("environment.freeze", keys::<Freeze>()),
        ("machine", keys::<Machine>()),
        ("machine.trust", keys::<Trust>()),
        ("", keys::<Config>()),
    ]
    .into_iter()
    .flat_map(|(section, keys)| keys.iter().map(move |key| join(section, key)))
    .filter(|key| !documented.contains(key))
    .collect();
    assert_eq!(missing, [""; 0], "document these in pilothouse.example.toml");
}

#[test]
fn what_is_commented_out_would_be_understood() {
    let all: String = EXAMPLE.lines().map(|line| setting(line).unwrap_or(line).to_string() + "\n").collect();
    let config: Config = toml::from_str(&all).unwrap();
    let written: toml::Table = toml::from_str(EXAMPLE).unwrap();
    assert!(!written["server"].as_table().unwrap().contains_key("listen"), "nothing was commented out");

    // Where the file says that it shows the default, it does.
    assert_eq!(config.server.listen, default_listen());
    assert_eq!(config.server.company, default_company());
    assert_eq!(config.server.session.idle, SessionLife::default().idle);
    assert_eq!(config.server.session.absolute, SessionLife::default().absolute);
    assert_eq!(config.database.max_connections, default_connections());
    assert_eq!(config.oidc.scopes, default_scopes());
    assert_eq!(config.oidc.username_claim, default_username_claim());
    assert_eq!(config.oidc.groups_claim, default_groups_claim());
    assert_eq!(config.oidc.groups_prefix, default_groups_prefix());
    assert_eq!(config.oidc.unseen, default_unseen());
    assert_eq!(config.catalogue.refresh, default_refresh());
    let edit = config.access_role("edit").unwrap();
    assert_eq!((edit.longest, edit.expires), (default_longest(), default_expires()));
    let production = config.environment("production").unwrap();
    assert_eq!(config.environment("staging").unwrap().deadline, default_deadline());
    assert_eq!(production.expires, default_expires());
    assert_eq!(production.soak, Some(SignedDuration::from_secs(60)));
    assert!(!production.allow_unresolved);
}

/// The files that people begin with elsewhere say nothing that is not understood.
#[test]
fn the_shipped_configurations_are_understood() {
    let manifest = include_str!("../../install/pilothouse.yaml");
    let (_, manifest) = manifest.split_once("pilothouse.toml: |\n").unwrap();
    let (manifest, _) = manifest.split_once("\n---\n").unwrap();
    let manifest: String = manifest.lines().map(|line| line.trim_start().to_string() + "\n").collect();
    for (name, text) in [
        ("bin/demo", include_str!("../../demo/pilothouse.toml").replace("@PORT@", "8080")),
        ("docker-compose.yml", include_str!("../../install/compose/pilothouse.toml").into()),
        ("install/pilothouse.yaml", manifest),
    ] {
        let read = toml::from_str::<Config>(&text);
        assert!(read.is_ok(), "{name}: {}", read.unwrap_err());
    }
}

/// All keys of the example, commented out or not, with the section they stand in.
fn documented() -> BTreeSet<String> {
    let mut section = String::new();
    let mut found = BTreeSet::new();
    for line in EXAMPLE.lines() {
        if let Some(header) = line.strip_prefix('[') {
            // The registry's own section carries a host, which is not a key of ours.
            let header = header.trim_start_matches('[').trim_end_matches(']');
            section = if header.starts_with("registry.") { "registry".into() } else { header.into() };
            found.insert(section.clone());
        } else if let Some((key, _)) = setting(line).unwrap_or(line).split_once(" = ") {
            found.insert(join(&section, key));
        }
    }
    found
}

/// `key = value` out of a line that shows it commented out.
fn setting(line: &str) -> Option<&str> {
    let setting = line.strip_prefix("# ")?;
    let (key, _) = setting.split_once(" = ")?;
    key.chars().all(|c| c.is_ascii_lowercase() || c == '_').then_some(setting)
}

fn join(section: &str, key: &str) -> String {
    if section.is_empty() { key.into() } else { format!("{section}.{key}") }
}

/// The keys that serde knows of a struct: what it asks a deserializer for.
fn keys<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut asked: &[&str] = &[];
    let answer = T::deserialize(Asked(&mut asked));
    assert!(answer.is_err() && !asked.is_empty());
    asked
}

/// Notes which fields a struct asks for, and gives none.
struct Asked<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(serde::de::Error::custom("only the names were wanted"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
