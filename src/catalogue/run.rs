//! `spec.run`: how the portal runs a service that nobody else runs. Checked with places, so that a deploy never
//! meets a mistake that the import could have told.

use super::entity::is_namespace;
use super::mistake::{Mistake, nearest};
use super::yaml::{Key, Node, Place, Value};

const TOP: &[&str] =
    &["image", "port", "probes", "env", "secrets", "resources", "replicas", "min", "max", "environments"];
const OVERRIDE: &[&str] = &["env", "secrets", "resources", "replicas", "min", "max"];
const MOST_PODS: i64 = 1000;

/// What is wrong with a `run` section, in the order of the file. `environments`: the configured ones, if known.
pub fn mistakes(key: &Key, run: &Node, environments: &[String]) -> Vec<(Place, Mistake)> {
    let mut check = Check { found: Vec::new() };
    let Some(pairs) = check.map(run, "spec.run") else { return check.found };
    check.known_keys(pairs, "spec.run", TOP);
    match run.entry("image") {
        None => check.add(key.at, missing("spec.run.image", pairs)),
        Some((_, image)) => check.image(image),
    }
    match run.entry("port") {
        None => check.add(key.at, missing("spec.run.port", pairs)),
        Some((_, port)) if !matches!(port.value, Value::Int(1..=65535)) => check.add(port.at, Mistake::Port),
        Some(_) => {}
    }
    check.probes(run);
    check.level(run, "spec.run");
    check.environments(run, environments);
    check.found.sort_by_key(|(at, _)| *at);
    check.found
}

/// What is found wrong, with what the sections of the portal's own ask of every map. `migration.rs` uses it, too.
pub(super) struct Check {
    pub found: Vec<(Place, Mistake)>,
}

impl Check {
    pub fn add(&mut self, at: Place, mistake: Mistake) {
        self.found.push((at, mistake));
    }

    /// What may stand at the top and again in each environment.
    fn level(&mut self, node: &Node, path: &str) {
        self.env(node, path);
        self.resources(node, path);
        self.replicas(node, path);
    }

    fn environments(&mut self, run: &Node, known: &[String]) {
        let Some(node) = run.get("environments") else { return };
        let Some(pairs) = self.map(node, "spec.run.environments") else { return };
        for (key, settings) in pairs {
            let path = format!("spec.run.environments.{}", key.name);
            if !known.is_empty() && !known.contains(&key.name) {
                let known = known.join(", ");
                self.add(key.at, Mistake::NoSuchEnvironment { name: key.name.clone(), known });
            }
            let Some(inner) = self.map(settings, &path) else { continue };
            self.known_keys(inner, &path, OVERRIDE);
            self.level(settings, &path);
        }
    }

    fn image(&mut self, image: &Node) {
        let Some(text) = self.text(image, "spec.run.image") else { return };
        let (host, path) = text.split_once('/').unwrap_or(("", text));
        let host_ok = host.is_empty() || host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c));
        let part = |part: &str| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
        };
        if !host_ok || !path.split('/').all(part) {
            self.add(image.at, Mistake::Image { given: text.into() });
        }
    }

    fn probes(&mut self, run: &Node) {
        let Some(node) = run.get("probes") else { return };
        let Some(pairs) = self.map(node, "spec.run.probes") else { return };
        self.known_keys(pairs, "spec.run.probes", &["readiness", "liveness"]);
        for (key, probe) in pairs {
            let field = format!("spec.run.probes.{}", key.name);
            if let Some(text) = self.text(probe, &field)
                && (!text.starts_with('/') || text.contains(|c: char| c.is_whitespace() || c.is_control()))
            {
                self.add(probe.at, Mistake::ProbePath { field });
            }
        }
    }

    fn env(&mut self, node: &Node, path: &str) {
        let mut names = Vec::new();
        if let Some(env) = node.get("env") {
            for (key, value) in self.map(env, &format!("{path}.env")).unwrap_or_default() {
                self.env_name(key);
                if value.text().is_none() {
                    self.wrong_type(value, format!("{path}.env.{}", key.name), "a text");
                }
                names.push(key.name.as_str());
            }
        }
        let Some(secrets) = node.get("secrets") else { return };
        let field = format!("{path}.secrets");
        for (key, value) in self.map(secrets, &field).unwrap_or_default() {
            self.env_name(key);
            if names.contains(&key.name.as_str()) {
                self.add(key.at, Mistake::EnvTwice { name: key.name.clone() });
            }
            self.secret(value, &key.at, &format!("{field}.{}", key.name));
        }
    }

    fn env_name(&mut self, key: &Key) {
        let name = &key.name;
        let letter = |c: char| c.is_ascii_alphabetic() || "_-.".contains(c);
        if !name.starts_with(letter) || !name.chars().all(|c| letter(c) || c.is_ascii_digit()) {
            self.add(key.at, Mistake::EnvName { given: name.clone() });
        }
    }

    fn secret(&mut self, node: &Node, at: &Place, path: &str) {
        let Some(pairs) = self.map(node, path) else { return };
        self.known_keys(pairs, path, &["name", "key"]);
        for (name, is_good) in [("name", is_secret_name as fn(&str) -> bool), ("key", is_secret_key)] {
            let field = format!("{path}.{name}");
            let Some((_, value)) = node.entry(name) else {
                self.add(*at, missing(&field, pairs));
                continue;
            };
            let Some(text) = self.text(value, &field) else { continue };
            if !is_good(text) {
                let given = text.to_string();
                let mistake =
                    if name == "name" { Mistake::SecretName { given } } else { Mistake::SecretKey { given } };
                self.add(value.at, mistake);
            }
        }
    }

    fn resources(&mut self, node: &Node, path: &str) {
        let Some(resources) = node.get("resources") else { return };
        let path = format!("{path}.resources");
        let Some(pairs) = self.map(resources, &path) else { return };
        self.known_keys(pairs, &path, &["cpu", "memory", "memoryLimit"]);
        for (key, value) in pairs {
            let field = format!("{path}.{}", key.name);
            let Some(text) = self.text(value, &field) else { continue };
            if quantity(text).is_none() {
                self.add(value.at, Mistake::Quantity { field, given: text.into() });
            }
        }
        let size = |key: &str| resources.get(key).and_then(Node::text).and_then(quantity);
        if let (Some(request), Some(limit), Some((key, _))) =
            (size("memory"), size("memoryLimit"), resources.entry("memoryLimit"))
            && limit < request
        {
            self.add(key.at, Mistake::LimitBelowRequest);
        }
    }

    fn replicas(&mut self, node: &Node, path: &str) {
        let mut number = |name: &str| {
            let (key, value) = node.entry(name)?;
            match value.value {
                Value::Int(count @ 0..=MOST_PODS) => Some((key.at, count)),
                _ => {
                    self.add(value.at, Mistake::Replicas { field: format!("{path}.{name}") });
                    None
                }
            }
        };
        let (replicas, min, max) = (number("replicas"), number("min"), number("max"));
        match (min, max) {
            (Some((_, min)), Some((at, max))) if min > max || min == 0 => {
                self.add(at, Mistake::MinOverMax { min, max });
            }
            (Some((at, _)), None) if node.get("max").is_none() => self.add(at, Mistake::MinAndMax),
            (None, Some((at, _))) if node.get("min").is_none() => self.add(at, Mistake::MinAndMax),
            _ => {}
        }
        if let Some((at, _)) = replicas.filter(|_| min.is_some() || max.is_some()) {
            self.add(at, Mistake::ReplicasAndAutoscaler);
        }
    }

    pub fn known_keys(&mut self, pairs: &[(Key, Node)], path: &str, known: &[&str]) {
        for (key, _) in pairs.iter().filter(|(key, _)| !known.contains(&key.name.as_str())) {
            let near = nearest(&key.name, known.iter().copied()).map(Into::into);
            self.add(key.at, Mistake::Unknown { field: format!("{path}.{}", key.name), near });
        }
    }

    pub fn map<'a>(&mut self, node: &'a Node, path: &str) -> Option<&'a [(Key, Node)]> {
        match &node.value {
            Value::Map(pairs) => Some(pairs),
            _ => {
                self.wrong_type(node, path.into(), "a map");
                None
            }
        }
    }

    pub fn text<'a>(&mut self, node: &'a Node, field: &str) -> Option<&'a str> {
        if node.text().is_none() {
            self.wrong_type(node, field.into(), "a text");
        }
        node.text()
    }

    pub fn wrong_type(&mut self, node: &Node, field: String, wanted: &'static str) {
        self.add(node.at, Mistake::WrongType { field, is: node.noun(), wanted });
    }
}

/// A field that should be there, and the misspelt one that stands in its place.
pub fn missing(field: &str, pairs: &[(Key, Node)]) -> Mistake {
    let name = field.rsplit('.').next().unwrap_or(field);
    let written = pairs.iter().map(|(key, _)| key.name.as_str());
    let instead = nearest(name, written).map(Into::into);
    Mistake::Missing { field: field.into(), instead }
}

fn is_secret_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_namespace)
}

fn is_secret_key(text: &str) -> bool {
    (1..=253).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// A Kubernetes quantity, in units: `100m` is 0.1, `64Mi` is 67 108 864.
fn quantity(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    (number > 0.0).then_some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::super::yaml::{documents, parse};
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let node = parse(documents(text)[0]).unwrap();
        let (key, run) = node.entry("run").unwrap();
        mistakes(key, run, &["staging".into(), "production".into()])
            .into_iter()
            .map(|(at, mistake)| format!("{}:{} {}", at.line, at.column, mistake.what()))
            .collect()
    }

    #[test]
    fn a_full_section_passes() {
        let text = "
run:
  image: registry.example:5000/payments/invoices
  port: 8080
  probes: {readiness: /readyz, liveness: /healthz}
  env: {LOG_LEVEL: info}
  secrets: {DATABASE_URL: {name: invoices-db, key: url}}
  resources: {cpu: 10m, memory: 16Mi, memoryLimit: 64Mi}
  replicas: 1
  environments:
    production: {min: 2, max: 4, env: {LOG_LEVEL: warn}}
";
        assert_eq!(told(text), [""; 0]);
    }

    #[test]
    fn every_mistake_is_told_where_it_stands() {
        let text = "
run:
  image: Registry/app:v1
  prot: 8080
  probes: {readiness: readyz, live: /x}
  env: {1X: a, LOG: 3, BOTH: a}
  secrets:
    BOTH: {name: Db, key: url}
    MORE: {name: db}
  resources: {cpu: lots, memory: 64Mi, memoryLimit: 1Mi}
  replicas: -1
  min: 3
  max: 2
  environments:
    prod: {min: 2}
    staging: {replicas: 1, min: 1, max: 2, port: 1}
";
        assert_eq!(
            told(text),
            [
                "2:1 spec.run.port is missing",
                "3:10 spec.run.image \"Registry/app:v1\" is not an image without tag and digest",
                "4:3 spec.run.prot means nothing here",
                "5:23 spec.run.probes.readiness has to be a path that begins with /",
                "5:31 spec.run.probes.live means nothing here",
                "6:9 \"1X\" can’t be the name of an environment variable",
                "6:21 spec.run.env.LOG has to be a text, and is a number",
                "8:5 BOTH stands in env and in secrets",
                "8:18 \"Db\" can’t be the name of a Secret",
                "9:5 spec.run.secrets.MORE.key is missing",
                "10:20 spec.run.resources.cpu \"lots\" is not a quantity",
                "10:40 memoryLimit is less than memory",
                "11:13 spec.run.replicas has to be a whole number from 0 to 1000",
                "13:3 min 3 is over max 2",
                "15:5 no environment is called prod",
                "15:12 min and max only work together",
                "16:15 replicas stands beside min and max",
                "16:44 spec.run.environments.staging.port means nothing here",
            ]
        );
    }

    #[test]
    fn quantities_are_read_as_kubernetes_does() {
        assert_eq!(quantity("100m"), Some(0.1));
        assert_eq!(quantity("64Mi"), Some(67_108_864.0));
        assert_eq!(quantity("1.5"), Some(1.5));
        for odd in ["", "0", "-1", "lots", "1 Gi", "1.2.3", "Mi"] {
            assert_eq!(quantity(odd), None, "{odd:?}");
        }
    }
}
