//! Passwords for registries as Docker's `config.json` and Kubernetes' pull secrets keep them, and which of them are for
//! an image: by the kubelet's rules (`pkg/credentialprovider` of Kubernetes), so that the portal tries what a node will.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde::Deserialize;

use super::ImageRef;

/// A name and a password, and what they are for.
pub struct Login {
    /// A host, whose labels may be globs, with or without the beginning of a path: `*.acme.example/payments`.
    registry: String,
    pub(super) username: String,
    pub(super) password: SecretString,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    /// `.dockerconfigjson`
    Wrapped { auths: BTreeMap<String, Entry> },
    /// `.dockercfg`, its older form
    Bare(BTreeMap<String, Entry>),
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    username: String,
    password: Option<SecretString>,
    /// Both in one, in base64, with a colon between. Docker writes this one, and it goes before the two.
    auth: Option<SecretString>,
}

impl Login {
    /// All of such a file. None: it is not one.
    pub fn read(file: &[u8]) -> Option<Vec<Self>> {
        let entries = match serde_json::from_slice(file).ok()? {
            File::Wrapped { auths } => auths,
            File::Bare(entries) => entries,
        };
        let mut logins: Vec<Self> =
            entries.into_iter().filter_map(|(registry, entry)| Self::of(&registry, entry)).collect();
        // The longest first: it says more about what it is for.
        logins.sort_by(|one, other| other.registry.cmp(&one.registry));
        Some(logins)
    }

    fn of(registry: &str, entry: Entry) -> Option<Self> {
        use secrecy::ExposeSecret;
        let (username, password) = match &entry.auth {
            Some(auth) => {
                let pair = String::from_utf8(STANDARD.decode(auth.expose_secret()).ok()?).ok()?;
                let (username, password) = pair.split_once(':')?;
                (username.to_string(), password.trim_end_matches('\0').into())
            }
            None => (entry.username, entry.password?),
        };
        Some(Self { registry: place(registry), username, password })
    }

    pub fn is_for(&self, image: &ImageRef) -> bool {
        let (host, path) = self.registry.split_once('/').unwrap_or((&self.registry, ""));
        let hosts = match image.host() {
            "docker.io" => &["docker.io", "index.docker.io"][..],
            host => &[host][..],
        };
        hosts.iter().any(|it| is_host(host, it)) && image.repository().starts_with(path)
    }
}

/// `https://index.docker.io/v1/` is the host alone: scheme and version of the API say nothing about an image.
fn place(registry: &str) -> String {
    let bare = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = ["v1", "v2"].iter().find_map(|version| path.strip_prefix(version)).unwrap_or(path);
    match path.trim_matches('/') {
        "" => host.into(),
        path => format!("{host}/{path}"),
    }
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
    use secrecy::ExposeSecret;

    use super::*;

    fn chosen(registry: &str, image: &str) -> bool {
        let file = format!(r#"{{"auths": {{"{registry}": {{"username": "u", "password": "p"}}}}}}"#);
        Login::read(file.as_bytes()).unwrap()[0].is_for(&image.parse().unwrap())
    }

    #[test]
    fn a_password_is_for_its_host_and_what_is_under_its_path() {
        assert!(chosen("acme.example", "acme.example/payments/shop:v1"));
        assert!(chosen("https://acme.example/v2/", "acme.example/payments/shop:v1"));
        assert!(chosen("acme.example/payments", "acme.example/payments/shop:v1"));
        assert!(!chosen("acme.example/search", "acme.example/payments/shop:v1"));
        assert!(!chosen("acme.example", "acme.example:5000/payments/shop:v1"), "another port");
        assert!(chosen("127.0.0.1:5000", "127.0.0.1:5000/payments/shop"));
        assert!(chosen("*.acme.example", "images.acme.example/shop"));
        assert!(!chosen("*.example", "images.acme.example/shop"), "a star is one label");
        assert!(!chosen("acme.example", "acme.example.evil.example/shop"));
    }

    #[test]
    fn docker_hub_has_several_names() {
        for name in ["https://index.docker.io/v1/", "docker.io", "index.docker.io/v1"] {
            assert!(chosen(name, "nginx:1.29"), "{name}");
        }
        assert!(!chosen("https://index.docker.io/v1/", "ghcr.io/a/b"));
    }

    #[test]
    fn both_files_and_both_spellings_are_read_and_the_longest_place_goes_first() {
        let read = |file: &str| {
            let logins = Login::read(file.as_bytes()).unwrap();
            let tell = |it: Login| format!("{} {}:{}", it.registry, it.username, it.password.expose_secret());
            logins.into_iter().map(tell).collect::<Vec<_>>()
        };
        let pair = STANDARD.encode("maya:a:b");
        let wrapped = format!(
            r#"{{"auths": {{"a.example": {{"auth": "{pair}"}}, "a.example/team": {{"username": "u", "password": "p"}}}}}}"#
        );
        assert_eq!(read(&wrapped), ["a.example/team u:p", "a.example maya:a:b"]);
        assert_eq!(
            read(r#"{"a.example": {"username": "u", "password": "p", "email": "x"}}"#),
            ["a.example u:p"]
        );
        // What Docker leaves behind when it keeps the password in a helper.
        assert_eq!(read(r#"{"auths": {"a.example": {}}, "credsStore": "desktop"}"#), [""; 0]);
        assert!(Login::read(b"not json").is_none());
        assert!(Login::read(br#"{"token": "x"}"#).is_none());
    }
}
