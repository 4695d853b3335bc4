//! One catalogue file: its entities, and what is wrong with the rest. A mistake costs its own entity, never the file.

use std::sync::Arc;

use super::entity::{self, EntityRef, Field, KINDS, NotARef, Shape};
use super::migration;
use super::mistake::{Mistake, Problem, Severity, nearest};
use super::run;
use super::service::smoke_request;
use super::yaml::{self, Key, Node, Place, Value};

/// Key of the label that says how much a service matters.
/// Annotation: what a new pod is asked before it is believed, see [`super::service::smoke_request`].
pub const SMOKE: &str = "pilothouse.dev/smoke";
pub const TIER: &str = "pilothouse.dev/tier";
/// No file needs more, and an attacker's should not fill the memory.
const MAX_DOCUMENTS: usize = 50_000;

/// A valid entity, ready to be stored.
#[derive(Clone, Debug)]
pub struct Entity {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub file: Arc<str>,
    pub at: Place,
    /// The document as JSON.
    pub document: String,
    pub references: Vec<Reference>,
}

impl Entity {
    pub fn reference(&self) -> EntityRef {
        EntityRef::new(&self.kind, &self.namespace, &self.name)
    }
}

/// Another entity that this one names.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    pub at: Place,
    pub field: String,
    pub to: EntityRef,
}

#[derive(Debug, Default)]
pub struct Parsed {
    pub entities: Vec<Entity>,
    pub problems: Vec<Problem>,
    /// Something in it could not be taken in, so what it held before must not be taken for deleted.
    pub incomplete: bool,
}

/// Reads a whole file. `environments`: the configured ones, to tell a `run` section for one that is not there.
pub fn file(name: &Arc<str>, text: &str, environments: &[String]) -> Parsed {
    let mut parsed = Parsed::default();
    let documents = yaml::documents(text);
    if documents.len() > MAX_DOCUMENTS {
        let mistake = Mistake::TooMany { what: "documents", most: MAX_DOCUMENTS };
        parsed.problems.push(mistake.at(name, Place { line: 1, column: 1 }));
        parsed.incomplete = true;
        return parsed;
    }
    for document in documents {
        let mut check = Check { found: Vec::new(), references: Vec::new(), environments };
        let entity = match yaml::parse(document) {
            Ok(root) if is_something_else(name, &root) => continue,
            Ok(root) => check.entity(&root, name),
            Err(malformed) => {
                check.malformed(malformed, document);
                None
            }
        };
        check.found.sort_by_key(|(at, _)| *at);
        let is_good = check.found.iter().all(|(_, mistake)| mistake.severity() == Severity::Warning);
        parsed.problems.extend(check.found.iter().map(|(at, mistake)| mistake.at(name, *at)));
        match entity.filter(|_| is_good) {
            Some(entity) => parsed.entities.push(Entity { references: check.references, ..entity }),
            None => parsed.incomplete = true,
        }
    }
    parsed
}

/// A Kubernetes manifest or the like that lies in the same folder. Files called catalog-info must hold entities.
fn is_something_else(file: &str, root: &Node) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    let version = root.get("apiVersion").and_then(Node::text);
    !name.starts_with("catalog-info.") && version.is_none_or(|version| !version.contains("backstage.io/"))
}

struct Check<'a> {
    found: Vec<(Place, Mistake)>,
    references: Vec<Reference>,
    environments: &'a [String],
}

impl Check<'_> {
    fn add(&mut self, at: Place, mistake: Mistake) {
        self.found.push((at, mistake));
    }

    fn malformed(&mut self, malformed: yaml::Malformed, document: yaml::Document<'_>) {
        let tabbed = |line: &str| line.trim_start_matches(' ').starts_with('\t') && !line.trim().is_empty();
        match document.text.lines().position(tabbed) {
            Some(line) if malformed.what.contains("tab") => {
                let text = document.text.lines().nth(line).unwrap_or_default();
                let column = text.find('\t').unwrap_or_default() as u32 + 1;
                self.add(Place { line: document.first_line + line as u32 + 1, column }, Mistake::Tab);
            }
            _ => self.add(malformed.at, Mistake::Malformed { what: malformed.what }),
        }
    }

    /// The entity, as far as it can be told who it is; whether it is valid says `found`.
    fn entity(&mut self, root: &Node, file: &Arc<str>) -> Option<Entity> {
        let Value::Map(pairs) = &root.value else {
            self.add(root.at, Mistake::NotAMap);
            return None;
        };
        if let Some(at) = root.find_nul() {
            self.add(at, Mistake::Nul);
        }
        let kind = self.required_text(pairs, root.at, "", "kind").map(|(text, at)| (text.to_string(), at));
        let known = kind.as_ref().and_then(|(kind, at)| self.kind(kind, *at));
        self.api_version(pairs, root.at, known.is_some());
        let (namespace, name) = self.metadata(pairs, root.at)?;
        if let Some(fields) = known {
            self.spec(pairs, root.at, fields, &namespace);
        }
        Some(Entity {
            kind: kind?.0,
            namespace,
            name: name?,
            file: file.clone(),
            at: root.at,
            document: root.to_json().to_string(),
            references: Vec::new(),
        })
    }

    fn kind(&mut self, kind: &str, at: Place) -> Option<&'static [Field]> {
        let fields = entity::fields_of(kind);
        if fields.is_some() {
            return fields;
        }
        let names = || KINDS.iter().map(|(name, _)| *name);
        if !entity::is_kind(kind) {
            self.add(at, Mistake::OddKind { kind: kind.into() });
        } else if let Some(meant) = names().find(|name| name.eq_ignore_ascii_case(kind)) {
            self.add(at, Mistake::KindCase { meant });
        } else if let Some(meant) = nearest(kind, names()) {
            self.add(at, Mistake::KindTypo { kind: kind.into(), meant });
        }
        None
    }

    fn api_version(&mut self, pairs: &[(Key, Node)], at: Place, is_known_kind: bool) {
        let Some((version, at)) = self.required_text(pairs, at, "", "apiVersion") else { return };
        if is_known_kind && !entity::is_backstage_version(version) {
            self.add(at, Mistake::ApiVersion { given: version.into() });
        }
    }

    /// Namespace and, if it is there and valid, name.
    fn metadata(&mut self, root: &[(Key, Node)], at: Place) -> Option<(String, Option<String>)> {
        let Some((key, node)) = root.iter().find(|(key, _)| key.name == "metadata") else {
            self.add(at, run::missing("metadata", root));
            return None;
        };
        let pairs = self.map(node, "metadata")?;
        let name = self.required_text(pairs, key.at, "metadata.", "name").and_then(|(name, at)| {
            let good = entity::is_name(name);
            if !good {
                self.add(at, Mistake::Name { given: name.into() });
            }
            good.then(|| name.to_string())
        });
        let mut namespace = "default".to_string();
        if let Some((text, at)) = self.text(pairs, "metadata.", "namespace") {
            if !entity::is_namespace(text) {
                self.add(at, Mistake::Namespace { given: text.into() });
            }
            namespace = text.into();
        }
        for field in ["title", "description"] {
            self.text(pairs, "metadata.", field);
        }
        self.labels(node);
        self.annotations(node);
        self.tags(node);
        self.links(node);
        Some((namespace, name))
    }

    fn labels(&mut self, metadata: &Node) {
        let Some(labels) = metadata.get("labels").filter(|node| node.value != Value::Null) else { return };
        for (key, value) in self.map(labels, "metadata.labels").unwrap_or_default() {
            self.key("metadata.labels", key);
            match value.text() {
                None => self.wrong_type(value, &format!("metadata.labels.{}", key.name), "a text"),
                Some(text) if key.name == TIER && !matches!(text, "0" | "1" | "2" | "3") => {
                    self.add(value.at, Mistake::Tier { given: text.into() });
                }
                Some(text) if !entity::is_label_value(text) => {
                    self.add(value.at, Mistake::LabelValue { key: key.name.clone() });
                }
                Some(_) => {}
            }
        }
    }

    fn annotations(&mut self, metadata: &Node) {
        let Some(node) = metadata.get("annotations").filter(|node| node.value != Value::Null) else { return };
        for (key, value) in self.map(node, "metadata.annotations").unwrap_or_default() {
            self.key("metadata.annotations", key);
            match value.text() {
                None => self.wrong_type(value, &format!("metadata.annotations.{}", key.name), "a text"),
                Some(smoke) if key.name == SMOKE && smoke_request(smoke).is_none() => {
                    self.add(value.at, Mistake::Smoke { given: smoke.into() });
                }
                Some(_) => {}
            }
        }
    }

    fn key(&mut self, field: &'static str, key: &Key) {
        if !entity::is_key(&key.name) {
            self.add(key.at, Mistake::LabelKey { field, given: key.name.clone() });
        }
    }

    fn tags(&mut self, metadata: &Node) {
        for (tag, at) in self.texts(metadata.get("tags"), "metadata.tags") {
            if !entity::is_tag(tag) {
                self.add(at, Mistake::Tag { given: tag.into() });
            }
        }
    }

    fn links(&mut self, metadata: &Node) {
        let Some(node) = metadata.get("links").filter(|node| node.value != Value::Null) else { return };
        let Value::List(links) = &node.value else {
            return self.wrong_type(node, "metadata.links", "a list of maps");
        };
        for (number, link) in links.iter().enumerate() {
            let path = format!("metadata.links[{number}].");
            let Some(pairs) = self.map(link, path.trim_end_matches('.')) else { continue };
            if let Some((url, at)) = self.required_text(pairs, link.at, &path, "url")
                && !entity::is_web_address(url)
            {
                self.add(at, Mistake::Address { field: format!("{path}url"), given: url.into() });
            }
            for field in ["title", "icon", "type"] {
                self.text(pairs, &path, field);
            }
        }
    }

    fn spec(&mut self, root: &[(Key, Node)], at: Place, fields: &[Field], namespace: &str) {
        let Some((key, node)) = root.iter().find(|(key, _)| key.name == "spec") else {
            if fields.iter().any(|field| field.required) {
                self.add(at, run::missing("spec", root));
            }
            return;
        };
        let Some(pairs) = self.map(node, "spec") else { return };
        for field in fields {
            let path = format!("spec.{}", field.name);
            match pairs.iter().find(|(key, _)| key.name == field.name) {
                None if field.required => self.add(key.at, run::missing(&path, pairs)),
                Some((key, Node { value: Value::Null, .. })) if field.required => {
                    self.add(key.at, Mistake::Empty { field: path });
                }
                None | Some((_, Node { value: Value::Null, .. })) => {}
                Some((key, value)) => self.field(*field, &path, key, value, namespace),
            }
        }
    }

    fn field(&mut self, field: Field, path: &str, key: &Key, value: &Node, namespace: &str) {
        match field.shape {
            Shape::Text => match value.text() {
                None => self.wrong_type(value, path, "a text"),
                Some(text) if text.trim().is_empty() => {
                    self.add(value.at, Mistake::Empty { field: path.into() })
                }
                Some(_) => {}
            },
            Shape::TextList => {
                self.texts(Some(value), path);
            }
            Shape::Ref(kind) => match value.text() {
                None => self.wrong_type(value, path, "a text"),
                Some(text) => self.refer(path, text, value.at, kind, namespace),
            },
            Shape::RefList(kind) => {
                for (text, at) in self.texts(Some(value), path) {
                    self.refer(path, text, at, kind, namespace);
                }
            }
            Shape::Map if field.name == "run" => {
                self.found.extend(run::mistakes(key, value, self.environments));
            }
            Shape::Map if field.name == "migration" => {
                self.found.extend(migration::mistakes(key, value));
            }
            Shape::Map => {
                self.map(value, path);
            }
            Shape::List if !matches!(value.value, Value::List(_)) => self.wrong_type(value, path, "a list"),
            Shape::List => {}
            Shape::Definition => {
                let from_elsewhere = ["$text", "$json", "$yaml", "$openapi", "$asyncapi"];
                if value.text().is_none() && !from_elsewhere.iter().any(|key| value.get(key).is_some()) {
                    self.wrong_type(value, path, "a text");
                }
            }
        }
    }

    fn refer(&mut self, path: &str, text: &str, at: Place, kind: Option<&str>, namespace: &str) {
        let (field, given) = (path.to_string(), text.to_string());
        match EntityRef::parse(text, kind, namespace) {
            Ok(to) => self.references.push(Reference { at, field, to }),
            Err(NotARef::Odd) => self.add(at, Mistake::Reference { field, given }),
            Err(NotARef::NoKind) => self.add(at, Mistake::ReferenceNoKind { field, given }),
        }
    }

    /// A text that has to be there and not be blank.
    fn required_text<'a>(
        &mut self,
        pairs: &'a [(Key, Node)],
        at: Place,
        path: &str,
        name: &str,
    ) -> Option<(&'a str, Place)> {
        let field = format!("{path}{name}");
        match pairs.iter().find(|(key, _)| key.name == name) {
            None => self.add(at, run::missing(&field, pairs)),
            Some((key, Node { value: Value::Null, .. })) => self.add(key.at, Mistake::Empty { field }),
            Some((_, value)) => match value.text() {
                Some(text) if text.trim().is_empty() => self.add(value.at, Mistake::Empty { field }),
                Some(text) => return Some((text, value.at)),
                None => self.wrong_type(value, &field, "a text"),
            },
        }
        None
    }

    /// A text that may be there.
    fn text<'a>(&mut self, pairs: &'a [(Key, Node)], path: &str, name: &str) -> Option<(&'a str, Place)> {
        let (_, value) = pairs.iter().find(|(key, _)| key.name == name)?;
        if value.text().is_none() && value.value != Value::Null {
            self.wrong_type(value, &format!("{path}{name}"), "a text");
        }
        value.text().map(|text| (text, value.at))
    }

    fn texts<'a>(&mut self, node: Option<&'a Node>, path: &str) -> Vec<(&'a str, Place)> {
        let Some(node) = node.filter(|node| node.value != Value::Null) else { return Vec::new() };
        let Value::List(items) = &node.value else {
            self.wrong_type(node, path, "a list of texts");
            return Vec::new();
        };
        let mut texts = Vec::with_capacity(items.len());
        for (number, item) in items.iter().enumerate() {
            match item.text() {
                Some(text) => texts.push((text, item.at)),
                None => self.wrong_type(item, &format!("{path}[{number}]"), "a text"),
            }
        }
        texts
    }

    fn map<'a>(&mut self, node: &'a Node, path: &str) -> Option<&'a [(Key, Node)]> {
        match &node.value {
            Value::Map(pairs) => Some(pairs),
            _ => {
                self.wrong_type(node, path, "a map");
                None
            }
        }
    }

    fn wrong_type(&mut self, node: &Node, field: &str, wanted: &'static str) {
        self.add(node.at, Mistake::WrongType { field: field.into(), is: node.noun(), wanted });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Parsed {
        file(&"catalog-info.yaml".into(), text, &[])
    }

    fn told(text: &str) -> Vec<String> {
        let problems = parse(text).problems;
        problems.iter().map(|p| format!("{}:{} {} {}", p.at.line, p.at.column, p.what, p.mend)).collect()
    }

    const HEAD: &str = "apiVersion: backstage.io/v1alpha1\n";

    /// One valid entity of each kind, with its `spec`.
    const GOOD: &[(&str, &str)] = &[
        (
            "Component",
            "{type: service, lifecycle: production, owner: payments, system: shop, dependsOn: ['component:a', \
             'resource:db'], providesApis: [x], consumesApis: [default/y], subcomponentOf: z}",
        ),
        ("API", "{type: openapi, lifecycle: production, owner: payments, definition: 'openapi: 3.1.0'}"),
        ("API", "{type: openapi, lifecycle: production, owner: payments, definition: {$text: ./api.yaml}}"),
        ("Resource", "{type: database, owner: 'user:maya', dependencyOf: ['component:a']}"),
        ("System", "{owner: payments, domain: shop}"),
        ("Domain", "{owner: payments, subdomainOf: all}"),
        (
            "Group",
            "{type: team, children: [], parent: all, members: [maya], profile: {displayName: Payments}}",
        ),
        ("User", "{memberOf: [payments], profile: {displayName: Maya}}"),
        ("Location", "{type: url, target: 'https://code.example/catalog-info.yaml'}"),
        ("Template", "{type: service, steps: [], owner: platform}"),
        ("Quota", "{whatever: [1, 2]}"),
    ];

    #[test]
    fn every_kind_of_the_format_is_read_and_unknown_ones_are_kept() {
        for (kind, spec) in GOOD {
            let text = format!("{HEAD}kind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n");
            let parsed = parse(&text);
            assert_eq!(parsed.problems, [], "{text}");
            assert_eq!(parsed.entities[0].kind, *kind);
        }
        let (_, component) = GOOD[0];
        let text = format!("{HEAD}kind: Component\nmetadata: {{name: x}}\nspec: {component}\n");
        let named: Vec<_> = parse(&text).entities[0].references.iter().map(|r| r.to.to_string()).collect();
        assert_eq!(
            named,
            [
                "group:default/payments",
                "system:default/shop",
                "component:default/z",
                "api:default/x",
                "api:default/y",
                "component:default/a",
                "resource:default/db",
            ]
        );
    }

    #[test]
    fn what_a_kind_must_say_is_missed_where_it_should_stand() {
        for (kind, fields) in KINDS {
            let text = format!("{HEAD}kind: {kind}\nmetadata: {{name: x}}\nspec: {{}}\n");
            let missed: Vec<_> = told(&text);
            let required: Vec<_> = fields.iter().filter(|field| field.required).collect();
            assert_eq!(missed.len(), required.len(), "{kind}: {missed:?}");
            for field in required {
                let sentence = format!("4:1 spec.{} is missing", field.name);
                assert!(missed.iter().any(|told| told.starts_with(&sentence)), "{kind}: {missed:?}");
            }
        }
    }

    #[test]
    fn mistakes_are_told_with_place_and_remedy() {
        let component = |metadata: &str, spec: &str| {
            format!("{HEAD}kind: Component\nmetadata: {metadata}\nspec: {spec}\n")
        };
        let good = "{type: a, lifecycle: b, owner: c}";
        for (text, expected) in [
            (
                "just text\n".to_string(),
                "1:1 the document is not a map of apiVersion, kind, metadata and spec",
            ),
            ("kind: Component\n".into(), "1:1 apiVersion is missing"),
            (
                format!("{HEAD}knid: Component\nmetadata: {{name: x}}\n"),
                "1:1 kind is missing knid stands there: did you mean kind?",
            ),
            (
                format!("{HEAD}kind: 3\nmetadata: {{name: x}}\n"),
                "2:7 kind has to be a text, and is a number Put it in quotes.",
            ),
            (
                format!("{HEAD}kind: component\nmetadata: {{name: x}}\n"),
                "2:7 kinds are written with capitals: Component",
            ),
            (
                format!("{HEAD}kind: Componnet\nmetadata: {{name: x}}\n"),
                "2:7 Componnet is no kind of the Backstage format; kept as it is Did you mean Component?",
            ),
            (format!("{HEAD}kind: A b\nmetadata: {{name: x}}\n"), "2:7 kind \"A b\" is not a kind"),
            (
                component("{name: x}", good).replace("v1alpha1", "v9"),
                "1:13 apiVersion \"backstage.io/v9\" is not one of the Backstage format",
            ),
            (component("{title: x}", good), "3:1 metadata.name is missing"),
            (component("{name: a b}", good), "3:18 metadata.name \"a b\" is not a name"),
            (
                component("{name: 12}", good),
                "3:18 metadata.name has to be a text, and is a number Put it in quotes.",
            ),
            (component("{name: }", good), "3:12 metadata.name is empty"),
            (component("{name: x, namespace: A}", good), "3:32 metadata.namespace \"A\" is not a namespace"),
            (component("{name: x, title: [a]}", good), "3:28 metadata.title has to be a text, and is a list"),
            (
                component("{name: x, labels: {pilothouse.dev/tier: 0}}", good),
                "3:51 metadata.labels.pilothouse.dev/tier has to be a text, and is a number",
            ),
            (
                component("{name: x, labels: {pilothouse.dev/tier: '7'}}", good),
                "3:51 the tier \"7\" is not 0, 1, 2 or 3",
            ),
            (component("{name: x, labels: {a: 'b c'}}", good), "3:33 the value of the label a can’t be one"),
            (
                component("{name: x, labels: {'a b': c}}", good),
                "3:30 \"a b\" can’t be a key in metadata.labels",
            ),
            (
                component("{name: x, annotations: {a/b/c: d}}", good),
                "3:35 \"a/b/c\" can’t be a key in metadata.annotations",
            ),
            (
                component("{name: x, annotations: {pilothouse.dev/smoke: healthz}}", good),
                "3:57 metadata.annotations.pilothouse.dev/smoke \"healthz\" is not a path to ask",
            ),
            (
                component("{name: x, annotations: {a: true}}", good),
                "3:38 metadata.annotations.a has to be a text",
            ),
            (component("{name: x, tags: [ok, Not ok]}", good), "3:32 \"Not ok\" is not a tag"),
            (
                component("{name: x, tags: go}", good),
                "3:27 metadata.tags has to be a list of texts, and is a text Put it in brackets",
            ),
            (component("{name: x, links: [{title: a}]}", good), "3:29 metadata.links[0].url is missing"),
            (
                component("{name: x, links: [{url: 'javascript:alert(1)'}]}", good),
                "3:35 metadata.links[0].url \"javascript:alert(1)\" is not an http or https address",
            ),
            (component("{name: \"x\\0\"}", good), "3:18 a text holds the character NUL"),
            (
                component("{name: x}", "{type: a, lifecyle: b, owner: c}"),
                "4:1 spec.lifecycle is missing lifecyle stands there: did you mean lifecycle?",
            ),
            (component("{name: x}", "{type: a, lifecycle: b, owner: }"), "4:31 spec.owner is empty"),
            (
                component("{name: x}", "{type: a, lifecycle: b, owner: [c]}"),
                "4:38 spec.owner has to be a text, and is a list",
            ),
            (
                component("{name: x}", "{type: a, lifecycle: b, owner: 'group:'}"),
                "4:38 spec.owner \"group:\" names no entity",
            ),
            (
                component("{name: x}", "{type: a, lifecycle: b, owner: c, dependsOn: [ledger]}"),
                "4:53 spec.dependsOn \"ledger\" doesn’t say of which kind Write component:ledger or resource:ledger.",
            ),
            (
                component("{name: x}", "{type: a, lifecycle: b, owner: c, providesApis: x}"),
                "4:55 spec.providesApis has to be a list of texts",
            ),
            (component("{name: x}", "[a]"), "4:7 spec has to be a map, and is a list"),
            (
                component("{name: x}", "{type: a, lifecycle: b, owner: c, run: {image: a}}"),
                "4:41 spec.run.port is missing",
            ),
            (
                format!(
                    "{HEAD}kind: API\nmetadata: {{name: x}}\nspec: {{type: a, lifecycle: b, owner: c, definition: {{a: b}}}}\n"
                ),
                "4:53 spec.definition has to be a text, and is a map",
            ),
            (
                format!("{HEAD}kind: Component\nmetadata:\n\tname: x\n"),
                "4:1 is not YAML here: a tab stands in the indentation Indent with spaces.",
            ),
            (
                format!("{HEAD}kind: Component\nmetadata: {{name: x}}\nmetadata: {{name: y}}\n"),
                "4:1 is not YAML here: duplicate",
            ),
        ] {
            let told = told(&text);
            assert!(
                told.iter().any(|line| line.starts_with(expected)),
                "{text}\n{told:#?}\nwanted {expected}"
            );
        }
    }

    #[test]
    fn the_valid_rest_of_a_file_is_read() {
        let good = |name: &str| format!("{HEAD}kind: User\nmetadata: {{name: {name}}}\nspec: {{}}\n");
        let parsed = parse(&format!("{}---\n{HEAD}kind: [\n---\n{}---\nkind: User\n", good("a"), good("b")));
        let names: Vec<_> =
            parsed.entities.iter().map(|entity| (entity.name.as_str(), entity.at.line)).collect();
        assert_eq!(names, [("a", 1), ("b", 9)]);
        assert!(parsed.incomplete && parsed.problems.iter().all(|problem| problem.at.line >= 6));
    }

    #[test]
    fn manifests_beside_the_catalogue_are_left_alone() {
        let manifest = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n";
        let beside = file(&"deploy.yaml".into(), manifest, &[]);
        assert!(beside.entities.is_empty() && beside.problems.is_empty());
        assert_eq!(
            file(&"a/catalog-info.yaml".into(), manifest, &[]).entities.len(),
            1,
            "kept: an unknown kind"
        );
    }

    #[test]
    fn hostile_text_is_kept_as_text() {
        let text = format!(
            "{HEAD}kind: User\nmetadata: {{name: x, title: \"<script>\\u202e\", description: '{{{{ 7*7 }}}}'}}\nspec: {{}}\n"
        );
        let parsed = parse(&text);
        assert_eq!(parsed.problems, []);
        assert!(parsed.entities[0].document.contains("<script>\u{202e}"));
    }
}
