//! `pilothouse.toml`: the one reviewed file that names environments, clusters, people's groups and rules.
//! It is read once at start. What is wrong is said with file, line, key and how to mend it, all at once,
//! so nobody restarts five times to find five mistakes. `pilothouse.example.toml` documents every key.

mod environment;
mod errors;
mod freeze;
mod machine;
mod strategy;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use secrecy::SecretString;
use serde::Deserialize;
use toml::Spanned;
use url::Url;

pub use self::environment::{Environment, Guard};
pub use self::errors::{Errors, Prometheus};
pub use self::freeze::{Freeze, Frozen};
pub use self::machine::{Machine, Trust, is_safe};
pub use self::strategy::{BlueGreen, CanaryStep, Pause, Strategy};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub database: Database,
    pub oidc: Oidc,
    #[serde(default)]
    pub access: Access,
    pub catalogue: Catalogue,
    #[serde(default)]
    pub registry: BTreeMap<String, Registry>,
    #[serde(rename = "cluster")]
    pub clusters: Vec<Cluster>,
    #[serde(rename = "environment")]
    pub environments: Vec<Environment>,
    #[serde(default, rename = "machine")]
    pub machines: Vec<Machine>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// What people type: scheme, host and port. Cookies, redirects and the CSRF check follow it.
    pub base_url: Spanned<Url>,
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Shown in the breadcrumb of top-level pages.
    #[serde(default = "default_company")]
    pub company: String,
    #[serde(default)]
    pub session: SessionLife,
    /// How many reverse proxies of your own stand before the portal and add to `X-Forwarded-For`. With 0 the header
    /// is ignored: anybody can write it.
    #[serde(default)]
    pub proxies: usize,
}

/// How long a sign-in lasts: `idle` since the last page, `absolute` since the sign-in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionLife {
    pub idle: SignedDuration,
    pub absolute: SignedDuration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    pub url: SecretString,
    #[serde(default = "default_connections")]
    pub max_connections: u32,
}

/// The identity provider and how its claims become a Kubernetes user.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    pub issuer: Spanned<String>,
    pub client_id: String,
    /// Give exactly one of `client_secret` and `client_secret_file`; neither for a public client.
    pub client_secret: Option<SecretString>,
    pub client_secret_file: Option<Spanned<PathBuf>>,
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    #[serde(default = "default_username_claim")]
    pub username_claim: String,
    #[serde(default = "default_groups_claim")]
    pub groups_claim: String,
    /// Put before every group on its way to Kubernetes, so a group at the provider can never be one of the cluster's own.
    #[serde(default = "default_groups_prefix")]
    pub groups_prefix: String,
    /// How long a token goes on without a word of its owner: no sign-in, no answer of the provider about them.
    #[serde(default = "default_unseen")]
    pub unseen: SignedDuration,
    /// Accept the built-in development provider. Only with a base URL on localhost.
    #[serde(default)]
    pub development: bool,
}

/// Groups (as the provider names them) with rights inside the portal itself.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// May read the audit trail and the import report.
    pub platform: BTreeSet<String>,
    /// What people may ask for, for a while.
    #[serde(rename = "role")]
    pub roles: Vec<AccessRole>,
}

/// A ClusterRole that is given in one namespace, to one person, for as long as was asked and approved.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRole {
    /// What people pick.
    pub name: Spanned<String>,
    /// What it lets them do, in their words.
    #[serde(default)]
    pub description: String,
    pub cluster_role: Spanned<String>,
    /// Where it can be asked for.
    pub environments: Vec<Spanned<String>>,
    /// The longest that it can be asked for.
    #[serde(default = "default_longest")]
    pub longest: SignedDuration,
    /// Groups (as the provider names them) whose members may approve; `{team}` is filled in.
    pub approvers: Vec<String>,
    /// How long a request waits for somebody to decide.
    #[serde(default = "default_expires")]
    pub expires: SignedDuration,
}

impl AccessRole {
    pub fn name(&self) -> &str {
        self.name.get_ref()
    }

    pub fn is_in(&self, environment: &str) -> bool {
        self.environments.iter().any(|name| name.get_ref() == environment)
    }

    /// The groups that may approve for a team, as the provider names them.
    pub fn approvers_for(&self, team: &str) -> Vec<String> {
        self.approvers.iter().map(|group| group.replace("{team}", team)).collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// Files or folders with `catalog-info.yaml` documents.
    pub paths: Vec<Spanned<PathBuf>>,
    /// How often the paths are read again.
    #[serde(default = "default_refresh")]
    pub refresh: SignedDuration,
}

/// An image registry, by host (and port) as it stands in image references.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registry {
    /// Speak plain HTTP to it.
    pub insecure: bool,
    pub username: Option<String>,
    pub password: Option<SecretString>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    pub name: Spanned<String>,
    /// Absent: the service account of the pod the portal runs in.
    pub kubeconfig: Option<Spanned<PathBuf>>,
    pub context: Option<String>,
    /// What measures the requests of its services.
    pub prometheus: Option<Prometheus>,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}
fn default_company() -> String {
    "Home".into()
}
fn default_connections() -> u32 {
    16
}
/// Not `groups`: Keycloak answers `invalid_scope` to it. Providers that want it are told so in the configuration.
fn default_scopes() -> Vec<String> {
    ["profile", "email"].map(String::from).to_vec()
}
fn default_username_claim() -> String {
    "preferred_username".into()
}
fn default_groups_claim() -> String {
    "groups".into()
}
fn default_groups_prefix() -> String {
    "oidc:".into()
}
fn default_unseen() -> SignedDuration {
    SignedDuration::from_hours(24 * 7)
}
fn default_refresh() -> SignedDuration {
    SignedDuration::from_mins(1)
}
fn default_expires() -> SignedDuration {
    SignedDuration::from_hours(24)
}
fn default_longest() -> SignedDuration {
    SignedDuration::from_hours(8)
}
impl Default for SessionLife {
    fn default() -> Self {
        Self { idle: SignedDuration::from_hours(2), absolute: SignedDuration::from_hours(12) }
    }
}

impl Config {
    /// Reads and checks the file; the error lists everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        Self::read(path, Files::MustBeThere)
    }

    /// As [`Config::load`], on an administrator's machine, where the portal's secrets and catalogue are not.
    pub fn load_elsewhere(path: &Path) -> Result<Self, Problems> {
        Self::read(path, Files::MayBeElsewhere)
    }

    fn read(path: &Path, files: Files) -> Result<Self, Problems> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Problems(vec![Problem {
                place: path.display().to_string(),
                what: format!("cannot be read: {error}"),
                mend: "Give the file with --config, or copy pilothouse.example.toml.".into(),
            }])
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse_where(&path.display().to_string(), &text, folder, files)
    }

    /// As [`Config::load`], from text. Relative paths in it count from `folder`.
    pub fn parse(file: &str, text: &str, folder: &Path) -> Result<Self, Problems> {
        Self::parse_where(file, text, folder, Files::MustBeThere)
    }

    fn parse_where(file: &str, text: &str, folder: &Path, files: Files) -> Result<Self, Problems> {
        let mut config: Self = toml::from_str(text).map_err(|error| {
            let place = place(file, text, error.span().unwrap_or(0..0));
            Problems(vec![Problem {
                place,
                what: error.message().to_string(),
                mend: "See pilothouse.example.toml for every key, its type and its default.".into(),
            }])
        })?;
        config.resolve_paths(folder);
        let mut check = Check { file, text, files, problems: Vec::new() };
        config.check(&mut check);
        if check.problems.is_empty() { Ok(config) } else { Err(Problems(check.problems)) }
    }

    pub fn access_role(&self, name: &str) -> Option<&AccessRole> {
        self.access.roles.iter().find(|role| role.name() == name)
    }

    pub fn environment(&self, name: &str) -> Option<&Environment> {
        self.environments.iter().find(|environment| environment.name() == name)
    }

    /// The origin (`scheme://host[:port]`) that browsers must come from.
    pub fn origin(&self) -> String {
        self.server.base_url.get_ref().origin().ascii_serialization()
    }

    /// What is right but worth knowing, for `check` and the log.
    pub fn remarks(&self) -> Vec<String> {
        let public = self.oidc.client_secret.is_none() && self.oidc.client_secret_file.is_none();
        let remark = "oidc has no client secret, so the identity provider can’t be asked again about people who are signed in: \
                      somebody who is removed from a group keeps it until their next sign-in. Register a confidential \
                      client and give client_secret_file.";
        public.then(|| remark.into()).into_iter().collect()
    }

    /// Whether people reach the portal over plain HTTP on their own machine.
    pub fn is_localhost(&self) -> bool {
        let url = self.server.base_url.get_ref();
        url.scheme() == "http" && matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
    }

    fn resolve_paths(&mut self, folder: &Path) {
        let paths = self.catalogue.paths.iter_mut();
        let of_clusters = self.clusters.iter_mut().flat_map(|cluster| {
            let token = cluster.prometheus.as_mut().and_then(|prometheus| prometheus.token_file.as_mut());
            cluster.kubeconfig.as_mut().into_iter().chain(token)
        });
        for path in paths.chain(of_clusters).chain(self.oidc.client_secret_file.as_mut()) {
            *path.get_mut() = folder.join(path.get_ref());
        }
    }

    fn check(&self, check: &mut Check) {
        let url = &self.server.base_url;
        if url.get_ref().scheme() != "https" && !self.is_localhost() {
            check.add(
                url.span(),
                "server.base_url must be https",
                "Session cookies need TLS; only http://localhost is let off. Put a TLS proxy before the portal.",
            );
        }
        if url.get_ref().path() != "/" || url.get_ref().query().is_some() {
            check.add(url.span(), "server.base_url has a path", "Give only scheme, host and port.");
        }
        if self.oidc.development && !self.is_localhost() {
            check.add(
                self.oidc.issuer.span(),
                "oidc.development is for localhost only",
                "Remove it and name your company's provider: anybody can sign in as anybody at the built-in one.",
            );
        }
        if let (Some(_), Some(file)) = (&self.oidc.client_secret, &self.oidc.client_secret_file) {
            check.add(
                file.span(),
                "two client secrets are given",
                "Keep either client_secret or client_secret_file.",
            );
        }
        if let Some(file) = self.oidc.client_secret_file.as_ref().filter(|file| check.lacks(file.get_ref())) {
            check.add(
                file.span(),
                "oidc.client_secret_file does not exist",
                "Write the client secret into it.",
            );
        }
        for path in &self.catalogue.paths {
            if path.get_ref().exists() || check.files == Files::MayBeElsewhere {
                continue;
            }
            check.add(
                path.span(),
                "catalogue.paths names nothing that exists",
                "Give a folder or a YAML file.",
            );
        }
        self.check_clusters(check);
        self.check_environments(check);
        self.check_roles(check);
        self.check_machines(check);
    }

    fn check_roles(&self, check: &mut Check) {
        let mut seen = BTreeSet::new();
        for role in &self.access.roles {
            let name = &role.name;
            if name.get_ref().trim().is_empty() || !seen.insert(name.get_ref()) {
                check.add(name.span(), "two roles have this name, or it is empty", "Names must differ.");
            }
            if role.cluster_role.get_ref().is_empty() {
                check.add(
                    role.cluster_role.span(),
                    "access.role.cluster_role is empty",
                    "Name a ClusterRole.",
                );
            }
            let unknown = role.environments.iter().filter(|name| self.environment(name.get_ref()).is_none());
            for environment in unknown {
                check.add(
                    environment.span(),
                    "no [[environment]] has this name",
                    "Name environments that stand in this file.",
                );
            }
            if role.environments.is_empty() || role.approvers.is_empty() {
                check.add(
                    name.span(),
                    "this role can be asked for nowhere, or approved by nobody",
                    "Name environments, and groups in approvers.",
                );
            }
            if role.longest < SignedDuration::from_secs(1) || role.expires < SignedDuration::from_secs(1) {
                check.add(name.span(), "longest and expires are at least 1s", "Give a longer time.");
            }
        }
    }

    fn check_clusters(&self, check: &mut Check) {
        let mut seen = BTreeSet::new();
        for cluster in &self.clusters {
            if !seen.insert(cluster.name.get_ref()) {
                check.add(cluster.name.span(), "two clusters have this name", "Names must differ.");
            }
            if let Some(file) = cluster.kubeconfig.as_ref().filter(|file| check.lacks(file.get_ref())) {
                check.add(
                    file.span(),
                    "cluster.kubeconfig does not exist",
                    "Give the path of a kubeconfig file.",
                );
            }
            if let Some(prometheus) = &cluster.prometheus {
                prometheus.check(check);
            }
        }
    }
}

fn is_dns_label(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty()
        && name.len() <= 63
        && name.chars().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

struct Check<'a> {
    file: &'a str,
    text: &'a str,
    files: Files,
    problems: Vec<Problem>,
}

/// Whether the files that are named have to exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Files {
    MustBeThere,
    MayBeElsewhere,
}

impl Check<'_> {
    fn lacks(&self, file: &Path) -> bool {
        self.files == Files::MustBeThere && !file.is_file()
    }

    fn add(&mut self, span: Range<usize>, what: &str, mend: &str) {
        let place = place(self.file, self.text, span);
        self.problems.push(Problem { place, what: what.into(), mend: mend.into() });
    }
}

/// `file:line: key`, with the key read off the line itself.
fn place(file: &str, text: &str, span: Range<usize>) -> String {
    let start = span.start.min(text.len());
    let line = text[..start].matches('\n').count() + 1;
    let content = text.lines().nth(line - 1).unwrap_or_default();
    match content.split_once('=') {
        Some((key, _)) => format!("{file}:{line}: {}", key.trim()),
        None => format!("{file}:{line}"),
    }
}

/// One mistake: where it stands, what is wrong, how to mend it.
#[derive(Debug, PartialEq)]
pub struct Problem {
    pub place: String,
    pub what: String,
    pub mend: String,
}

/// Everything wrong with the file.
#[derive(Debug, PartialEq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{}: {}\n    {}", problem.place, problem.what, problem.mend)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod example;

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const GOOD: &str = r#"
[server]
base_url = "http://localhost:8080"
[database]
url = "postgres://pilothouse@127.0.0.1/pilothouse"
[oidc]
issuer = "http://localhost:8081"
client_id = "pilothouse"
[catalogue]
paths = ["."]
[[cluster]]
name = "main"
[[environment]]
name = "staging"
cluster = "main"
namespace = "{team}-{environment}"
[[environment]]
name = "production"
cluster = "main"
namespace = "{team}-{environment}"
production = true
approvals = 1
approvers = ["{team}-managers"]
requires = "staging"
"#;

    pub(super) fn problems(text: &str) -> Vec<(String, String)> {
        let Problems(list) = Config::parse("pilothouse.toml", text, Path::new(".")).unwrap_err();
        list.into_iter().map(|problem| (problem.place, problem.what)).collect()
    }

    #[test]
    fn a_good_file_is_read_with_its_defaults() {
        let config = Config::parse("pilothouse.toml", GOOD, Path::new(".")).unwrap();
        let production = config.environment("production").unwrap();
        assert_eq!(production.namespace_for("checkout", "payments"), "payments-production");
        assert_eq!(production.approvers_for("payments"), ["payments-managers"]);
        assert_eq!(production.soak(), SignedDuration::from_secs(60));
        assert_eq!(config.environment("staging").unwrap().soak(), SignedDuration::ZERO);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let text = GOOD.replace("client_id", "client_ident");
        assert_eq!(problems(&text)[0].0, "pilothouse.toml:8: client_ident");
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let text = GOOD
            .replace("http://localhost:8080", "http://portal.example")
            .replace("requires = \"staging\"", "requires = \"stagging\"")
            .replace("approvers = [\"{team}-managers\"]\n", "")
            .replacen("{team}-{environment}", "{squad}", 1);
        let places: Vec<_> = problems(&text).into_iter().map(|(place, _)| place).collect();
        assert_eq!(
            places,
            [
                "pilothouse.toml:3: base_url",
                "pilothouse.toml:16: namespace",
                "pilothouse.toml:18: name",
                "pilothouse.toml:23: requires",
            ]
        );
    }

    #[test]
    fn a_role_that_leads_nowhere_is_refused() {
        let role = "[[access.role]]\nname = \"edit\"\ncluster_role = \"edit\"\nenvironments = [\"staging\"]\n\
                    approvers = [\"{team}-managers\"]\n";
        let config = Config::parse("pilothouse.toml", &format!("{GOOD}{role}"), Path::new(".")).unwrap();
        let edit = config.access_role("edit").unwrap();
        assert_eq!(edit.approvers_for("payments"), ["payments-managers"]);
        assert!(edit.is_in("staging") && !edit.is_in("production"));

        let odd = role.replace("staging", "stagging");
        let twice = format!("{GOOD}{role}{odd}");
        let whats: Vec<_> = problems(&twice).into_iter().map(|(_, what)| what).collect();
        assert_eq!(whats, ["two roles have this name, or it is empty", "no [[environment]] has this name"]);
    }

    #[test]
    fn the_development_provider_is_for_localhost_only() {
        let text = GOOD
            .replace("http://localhost:8080", "https://portal.example")
            .replace("client_id =", "development = true\nclient_id =");
        assert_eq!(problems(&text)[0].1, "oidc.development is for localhost only");
    }
}
