//! YAML as a tree that remembers where everything stands, so that a mistake of meaning ("this owner is a number")
//! is told as exactly as a mistake of form. Files come from many hands: every size is bounded.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

/// Line and column, both from 1, the column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: u32,
    pub column: u32,
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub at: Place,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// Only what is too large for an [`Value::Int`].
    Uint(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; the place of each key beside it.
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub at: Place,
    pub name: String,
}

/// A text that is not YAML: where it stops being so, and what the parser says.
#[derive(Clone, Debug, PartialEq)]
pub struct Malformed {
    pub at: Place,
    pub what: String,
}

/// One document of a file, with the line it begins at (from 0).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Document<'a> {
    pub first_line: u32,
    pub text: &'a str,
}

/// Cuts a file into its documents. A line that begins with `---` or `...` ends a document wherever it stands, even
/// inside a block of text (YAML 1.2, 9.1.2), so this needs no parser, and a broken document leaves the others whole.
pub fn documents(file: &str) -> Vec<Document<'_>> {
    let file = file.strip_prefix('\u{feff}').unwrap_or(file);
    let mut found = Vec::new();
    let (mut start, mut first_line, mut offset) = (0, 0, 0);
    for (number, line) in (0..).zip(file.split_inclusive('\n')) {
        if is_marker(line, "---") && offset > start {
            found.push(Document { first_line, text: &file[start..offset] });
            (start, first_line) = (offset, number);
        }
        offset += line.len();
        if is_marker(line, "...") {
            found.push(Document { first_line, text: &file[start..offset - line.len()] });
            (start, first_line) = (offset, number + 1);
        }
    }
    found.push(Document { first_line, text: &file[start..] });
    found.retain(|document| !is_empty(document.text));
    found
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Nothing but comments, directives and markers.
fn is_empty(text: &str) -> bool {
    text.lines().all(|line| {
        let content = line.strip_prefix("---").unwrap_or(line).trim_start();
        content.is_empty() || content.starts_with('#') || line.starts_with('%')
    })
}

/// Reads one document.
pub fn parse(document: Document<'_>) -> Result<Node, Malformed> {
    // What a catalogue entity can sensibly need, and far less than what would hurt: "billion laughs" ends here.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 48,
            max_nodes: 50_000,
            max_events: 200_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_total_scalar_bytes: MAX_TEXT,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 20_000 },
        with_snippet: false,
    };
    let shift = |at: Location| Place {
        line: u32::try_from(at.line()).unwrap_or(u32::MAX).max(1) + document.first_line,
        column: u32::try_from(at.column()).unwrap_or(u32::MAX).max(1),
    };
    match serde_saphyr::from_str_with_options::<Raw>(document.text, options) {
        Ok(raw) => Ok(raw.place(&shift)),
        Err(error) => {
            let error = error.without_snippet();
            let at = error.location().map_or(Place { line: document.first_line + 1, column: 1 }, shift);
            Err(Malformed { at, what: message(error) })
        }
    }
}

/// The longest text of one document, all its scalars together.
pub const MAX_TEXT: usize = 4 * 1024 * 1024;

/// What the parser says, in one line and without the place, which is told apart.
fn message(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.split(" at line ").next().unwrap_or(line);
    line.trim_start_matches("error: ").chars().take(300).collect()
}

/// What serde hands over, before lines are counted from the beginning of the file.
struct Raw(Spanned<RawValue>);

enum RawValue {
    Leaf(Value),
    List(Vec<Raw>),
    Map(Vec<(Spanned<String>, Raw)>),
}

impl Raw {
    fn place(self, shift: &impl Fn(Location) -> Place) -> Node {
        let at = shift(self.0.referenced);
        let value = match self.0.value {
            RawValue::Leaf(value) => value,
            RawValue::List(items) => Value::List(items.into_iter().map(|item| item.place(shift)).collect()),
            RawValue::Map(pairs) => Value::Map(
                pairs
                    .into_iter()
                    .map(|(key, value)| {
                        (Key { at: shift(key.referenced), name: key.value }, value.place(shift))
                    })
                    .collect(),
            ),
        };
        Node { at, value }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E: de::Error>(self) -> Result<RawValue, E> {
        Ok(RawValue::Leaf(Value::Null))
    }
    fn visit_none<E: de::Error>(self) -> Result<RawValue, E> {
        Ok(RawValue::Leaf(Value::Null))
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawValue, D::Error> {
        RawValue::deserialize(deserializer)
    }
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<RawValue, E> {
        Ok(RawValue::Leaf(Value::Bool(value)))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<RawValue, E> {
        Ok(RawValue::Leaf(Value::Int(value)))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<RawValue, E> {
        Ok(RawValue::Leaf(i64::try_from(value).map_or(Value::Uint(value), Value::Int)))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<RawValue, E> {
        Ok(RawValue::Leaf(Value::Float(value)))
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<RawValue, E> {
        Ok(RawValue::Leaf(Value::Text(value.into())))
    }
    fn visit_string<E: de::Error>(self, value: String) -> Result<RawValue, E> {
        Ok(RawValue::Leaf(Value::Text(value)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawValue, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(RawValue::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<RawValue, A::Error> {
        let mut map = Vec::new();
        while let Some(pair) = pairs.next_entry()? {
            map.push(pair);
        }
        Ok(RawValue::Map(map))
    }
}

impl Node {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    pub fn entry(&self, key: &str) -> Option<&(Key, Node)> {
        match &self.value {
            Value::Map(pairs) => pairs.iter().find(|(found, _)| found.name == key),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// "a number", "a list": for "… has to be a text, and is a list".
    pub fn noun(&self) -> &'static str {
        match &self.value {
            Value::Null => "empty",
            Value::Bool(_) => "true or false",
            Value::Int(_) | Value::Uint(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// As JSON, keys in the order of the file.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Uint(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(value) => value.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(pairs) => {
                pairs.iter().map(|(key, value)| (key.name.clone(), value.to_json())).collect()
            }
        }
    }

    /// The first text or key with a NUL in it: Postgres can't store one, and nobody means one.
    pub fn find_nul(&self) -> Option<Place> {
        match &self.value {
            Value::Text(text) => text.contains('\0').then_some(self.at),
            Value::List(items) => items.iter().find_map(Self::find_nul),
            Value::Map(pairs) => pairs.iter().find_map(|(key, value)| {
                key.name.contains('\0').then_some(key.at).or_else(|| value.find_nul())
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Node, Malformed> {
        parse(documents(text)[0])
    }

    fn at(line: u32, column: u32) -> Place {
        Place { line, column }
    }

    #[test]
    fn every_value_knows_where_it_stands() {
        let node = read("# story\nkind: Component\nspec:\n  tags: [a, 'b']\n  n: 3\n").unwrap();
        assert_eq!(node.get("kind").unwrap().at, at(2, 7));
        let spec = node.get("spec").unwrap();
        assert_eq!(spec.entry("tags").unwrap().0.at, at(4, 3));
        let Value::List(tags) = &spec.get("tags").unwrap().value else { panic!("a list") };
        assert_eq!((tags[0].at, tags[1].at), (at(4, 10), at(4, 13)));
        assert_eq!(spec.get("n").unwrap().value, Value::Int(3));
    }

    #[test]
    fn files_are_cut_into_documents_and_lines_count_from_the_top() {
        let text = "# only a comment\n---\na: 1\n--- # second\nb: |\n  ---\n  text\n...\n---\n\n---\nc: 3\n";
        let found = documents(text);
        assert_eq!(found.iter().map(|document| document.first_line).collect::<Vec<_>>(), [1, 3, 10]);
        assert_eq!(parse(found[1]).unwrap().get("b").unwrap().text(), Some("---\ntext\n"));
        assert_eq!(parse(found[2]).unwrap().get("c").unwrap().at, at(12, 4));
    }

    #[test]
    fn a_broken_document_leaves_the_next_whole() {
        let found = documents("a: [1\n---\nb: 2\n");
        assert!(parse(found[0]).is_err());
        assert_eq!(parse(found[1]).unwrap().get("b").unwrap().at, at(3, 4));
    }

    #[test]
    fn malformed_text_is_told_with_its_place() {
        let wrong = |text: &str| read(text).unwrap_err();
        for (text, line) in [
            ("a: 1\nb: c: d\n", 2),
            ("a: 'x\n", 1),
            ("a: 1\na: 2\n", 2),
            ("a: *nothing\n", 1),
            ("a:\n  - 1\n b: 2\n", 3),
        ] {
            let malformed = wrong(text);
            assert_eq!(malformed.at.line, line, "{text:?}: {malformed:?}");
            assert!(!malformed.what.contains('\n') && !malformed.what.is_empty(), "{malformed:?}");
        }
    }

    #[test]
    fn bombs_end_early() {
        let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
        for n in 1..12 {
            let before = format!("*a{}, ", n - 1).repeat(9);
            laughs += &format!("a{n}: &a{n} [{before}]\n");
        }
        assert!(read(&laughs).is_err());
        assert!(read(&"[".repeat(100_000)).is_err());
        assert!(read(&"- ".repeat(100_000)).is_err());
        assert!(read(&format!("a: {}", "{b: ".repeat(5_000))).is_err());
    }

    #[test]
    fn a_nul_is_found() {
        assert_eq!(read("a: [\"x\\0\"]\n").unwrap().find_nul(), Some(at(1, 5)));
        assert_eq!(read("a: x\n").unwrap().find_nul(), None);
    }
}
