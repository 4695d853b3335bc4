//! Passwords for registries as Docker's `config.json` and Kubernetes' pull secrets keep them, and which of them are for
//! an image: by the kubelet's rules (`pkg/credentialprovider` of Kubernetes), so that the portal tries what a node will.

use std::collections::BTreeMap;

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine as _};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::ImageRef;

/// A name and a password, and what they are for.
pub struct Login {
    /// A host, whose labels may be globs, with or without the beginning of a path: `*.acme.example/payments`.
    place: String,
    pub(super) username: String,
    pub(super) password: SecretString,
}

/// `.dockerconfigjson`; what is in it beside the passwords is of no use to a node.
#[derive(Deserialize)]
struct ConfigJson {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    username: Option<String>,
    password: Option<SecretString>,
    /// Both in one, in base64, with a colon between. Docker writes this one, and it goes before the two.
    auth: Option<SecretString>,
}

/// The kubelet takes it with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Login {
    /// All of a `.dockerconfigjson`. None: it can't be read, and then the kubelet uses nothing of it.
    pub fn read_config_json(file: &[u8]) -> Option<Vec<Self>> {
        Self::all(serde_json::from_slice::<ConfigJson>(file).ok()?.auths)
    }

    /// All of a `.dockercfg`, its older form.
    pub fn read_cfg(file: &[u8]) -> Option<Vec<Self>> {
        Self::all(serde_json::from_slice(file).ok()?)
    }

    /// Those for an image, the most specific first, out of all that its pods have.
    pub fn for_image<'a, T>(all: &'a [(T, Self)], image: &ImageRef) -> Vec<&'a (T, Self)> {
        let with = |fits: &dyn Fn(&Self) -> bool| -> Vec<&'a (T, Self)> {
            all.iter().filter(|(_, login)| fits(login)).collect()
        };
        let mut found = with(&|login| login.is_for(image));
        // Docker Hub has a second name, which counts where nothing is for the first.
        if found.is_empty() && image.host() == "docker.io" {
            found = with(&|login| login.place == "index.docker.io");
        }
        found.sort_by(|(_, one), (_, other)| other.place.cmp(&one.place));
        found
    }

    fn all(entries: BTreeMap<String, Entry>) -> Option<Vec<Self>> {
        let logins: Option<Vec<Self>> =
            entries.into_iter().map(|(registry, entry)| Self::of(&registry, entry)).collect();
        // An entry without either is what Docker leaves behind when it keeps the password elsewhere.
        Some(logins?.into_iter().filter(|login| !login.username.is_empty()).collect())
    }

    fn of(registry: &str, entry: Entry) -> Option<Self> {
        let (username, password) = match entry.auth.filter(|auth| !auth.expose_secret().is_empty()) {
            Some(auth) => {
                let pair = String::from_utf8(BASE64.decode(auth.expose_secret().trim()).ok()?).ok()?;
                let (username, password) = pair.split_once(':')?;
                (username.to_string(), password.into())
            }
            None => (entry.username.unwrap_or_default(), entry.password.unwrap_or_default()),
        };
        Some(Self { place: place(registry), username, password })
    }

    fn is_for(&self, image: &ImageRef) -> bool {
        let (host, path) = self.place.split_once('/').unwrap_or((&self.place, ""));
        is_host(host, image.host()) && image.repository().starts_with(path)
    }
}

/// `https://index.docker.io/v1/` is the host alone: scheme and version of the API say nothing about an image.
fn place(registry: &str) -> String {
    let bare =
        ["https://", "http://"].iter().find_map(|scheme| registry.strip_prefix(scheme)).unwrap_or(registry);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = ["v1/", "v2/"].iter().find_map(|version| path.strip_prefix(version)).unwrap_or(path);
    if path.is_empty() { host.into() } else { format!("{host}/{path}") }
}

/// Label by label, so that a star does not reach over a dot. The port is no label.
fn is_host(pattern: &str, host: &str) -> bool {
    let split = |text: &str| -> (Vec<String>, Option<String>) {
        let (name, port) =
            text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port.into())));
        (name.split('.').map(String::from).collect(), port)
    };
    let ((pattern, its_port), (host, port)) = (split(pattern), split(host));
    let fits = |(pattern, label): (&String, &String)| {
        glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(label))
    };
    its_port == port && pattern.len() == host.len() && pattern.iter().zip(&host).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of those for an image, in the order in which they are tried.
    fn tried(registries: &[&str], image: &str) -> Vec<String> {
        let entry =
            |registry: &&str| (registry.to_string(), serde_json::json!({"username": "u", "password": "p"}));
        let file = serde_json::json!({"auths": registries.iter().map(entry).collect::<BTreeMap<_, _>>()});
        let logins = Login::read_config_json(file.to_string().as_bytes()).unwrap();
        let logins: Vec<((), Login)> = logins.into_iter().map(|login| ((), login)).collect();
        let found = Login::for_image(&logins, &image.parse().unwrap());
        found.into_iter().map(|(_, login)| login.place.clone()).collect()
    }

    #[test]
    fn a_password_is_for_its_host_and_what_is_under_its_path() {
        let chosen = |registry: &str, image: &str| !tried(&[registry], image).is_empty();
        assert!(chosen("acme.example", "acme.example/payments/shop:v1"));
        assert!(chosen("https://acme.example/v2/", "acme.example/payments/shop:v1"));
        assert!(chosen("acme.example/payments/", "acme.example/payments/shop:v1"));
        assert!(chosen("acme.example/v2-team", "acme.example/v2-team/shop"), "no version of the API");
        assert!(!chosen("acme.example/v2", "acme.example/payments/shop"), "a path, without the last slash");
        assert!(!chosen("acme.example/search", "acme.example/payments/shop:v1"));
        assert!(!chosen("acme.example/pay/", "acme.example/payments/shop:v1"));
        assert!(!chosen("acme.example", "acme.example:5000/payments/shop:v1"), "another port");
        assert!(chosen("127.0.0.1:5000", "127.0.0.1:5000/payments/shop"));
        assert!(chosen("*.acme.example", "images.acme.example/shop"));
        assert!(!chosen("*.example", "images.acme.example/shop"), "a star is one label");
        assert!(!chosen("acme.example", "acme.example.evil.example/shop"));
        assert_eq!(
            tried(&["acme.example", "*.example", "acme.example/payments"], "acme.example/payments/shop"),
            ["acme.example/payments", "acme.example", "*.example"]
        );
    }

    #[test]
    fn docker_hub_has_a_second_name_where_nothing_is_for_the_first() {
        let hub = "https://index.docker.io/v1/";
        assert_eq!(tried(&[hub], "nginx:1.29"), ["index.docker.io"]);
        assert_eq!(tried(&[hub, "docker.io"], "nginx:1.29"), ["docker.io"]);
        assert_eq!(tried(&["index.docker.io/v1"], "nginx:1.29"), [""; 0], "a path, without the last slash");
        assert_eq!(tried(&[hub], "ghcr.io/a/b"), [""; 0]);
    }

    #[test]
    fn both_files_and_both_spellings_are_read() {
        let tell = |logins: Option<Vec<Login>>| {
            let tell = |it: Login| format!("{} {}:{}", it.place, it.username, it.password.expose_secret());
            logins.map(|logins| logins.into_iter().map(tell).collect::<Vec<_>>())
        };
        let json = |file: &str| tell(Login::read_config_json(file.as_bytes()));
        let some = |logins: &[&str]| Some(logins.iter().map(ToString::to_string).collect::<Vec<_>>());
        for pair in ["bWF5YTphOmI=", "bWF5YTphOmI"] {
            assert_eq!(
                json(&format!(r#"{{"auths": {{"a.example": {{"auth": "{pair}", "password": "x"}}}}}}"#)),
                some(&["a.example maya:a:b"])
            );
        }
        let empty = r#"{"auths": {"a.example": {"auth": "", "username": "u", "password": "p"}}}"#;
        assert_eq!(json(empty), some(&["a.example u:p"]));
        let cfg = br#"{"a.example": {"username": "u", "password": "p", "email": "x"}}"#;
        assert_eq!(tell(Login::read_cfg(cfg)), some(&["a.example u:p"]));
        // What Docker leaves behind when it keeps the password in a helper.
        assert_eq!(
            json(r#"{"auths": {"a.example": {"username": null}}, "credsStore": "desktop"}"#),
            some(&[])
        );
        // One entry that can't be read makes the kubelet refuse them all.
        let odd =
            r#"{"auths": {"a.example": {"auth": "?"}, "b.example": {"username": "u", "password": "p"}}}"#;
        assert_eq!(json(odd), None);
        assert_eq!(json("not json"), None);
    }
}
