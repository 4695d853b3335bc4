//! `/api`: the OpenAPI document as a page that people read. Drawn from the document itself, so it can't fall behind.

use std::sync::LazyLock;

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use serde_json::Value;

use super::document::document;
use crate::app::App;
use crate::web::{Layout, Nav, Result};

#[derive(Template)]
#[template(path = "api/reference.html")]
struct ReferencePage {
    layout: Layout,
    origin: String,
    reference: &'static Reference,
}

struct Reference {
    /// Paragraphs.
    about: Vec<String>,
    groups: Vec<Group>,
    shapes: Vec<Shape>,
}

struct Group {
    id: String,
    name: String,
    about: String,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: &'static str,
    path: String,
    title: String,
    about: String,
    fields: Vec<Field>,
    /// What is sent: the shape's name.
    body: String,
    answers: Vec<Answer>,
}

struct Answer {
    status: String,
    about: String,
    shape: String,
}

/// A JSON object, or the values of a text.
struct Shape {
    name: String,
    about: String,
    fields: Vec<Field>,
    values: Vec<String>,
}

struct Field {
    name: String,
    place: String,
    kind: String,
    /// The shape that `kind` names, to link to.
    shape: String,
    required: bool,
    about: String,
}

static REFERENCE: LazyLock<Reference> = LazyLock::new(|| {
    let document = serde_json::to_value(document()).expect("a description made of plain values is JSON");
    read(&document)
});

/// `GET /api`
pub async fn show(State(app): State<App>, layout: Layout) -> Result<Html<String>> {
    let page = ReferencePage {
        layout: layout.at(Nav::None, &[("API reference", "")]),
        origin: app.config.origin(),
        reference: &REFERENCE,
    };
    Ok(Html(page.render()?))
}

fn read(document: &Value) -> Reference {
    let groups = list(&document["tags"]).map(|tag| {
        let name = text(&tag["name"]);
        let mut operations = Vec::new();
        for (path, item) in entries(&document["paths"]) {
            for (key, method) in [("get", "GET"), ("post", "POST"), ("delete", "DELETE")] {
                if list(&item[key]["tags"]).any(|tag| tag == name.as_str()) {
                    operations.push(operation(method, path, &item[key]));
                }
            }
        }
        Group { id: slug(&name), about: text(&tag["description"]), operations, name }
    });
    Reference {
        about: text(&document["info"]["description"]).split("\n\n").map(Into::into).collect(),
        groups: groups.collect(),
        shapes: entries(&document["components"]["schemas"])
            .map(|(name, schema)| shape(name, schema))
            .collect(),
    }
}

fn operation(method: &'static str, path: &str, operation: &Value) -> Operation {
    let fields = list(&operation["parameters"]).map(|parameter| {
        let (kind, shape) = kind(&parameter["schema"]);
        Field {
            name: text(&parameter["name"]),
            place: text(&parameter["in"]),
            kind,
            shape,
            required: parameter["required"] == true,
            about: text(&parameter["description"]),
        }
    });
    let body = entries(&operation["requestBody"]["content"]).next();
    let answers = entries(&operation["responses"]).filter(|(status, _)| *status != "default");
    Operation {
        id: text(&operation["operationId"]),
        method,
        path: path.into(),
        title: text(&operation["summary"]),
        about: text(&operation["description"]),
        fields: fields.collect(),
        body: body.map(|(_, content)| kind(&content["schema"]).1).unwrap_or_default(),
        answers: answers
            .map(|(status, answer)| {
                let content = entries(&answer["content"]).next();
                Answer {
                    status: status.into(),
                    about: text(&answer["description"]),
                    shape: content.map(|(_, content)| kind(&content["schema"]).1).unwrap_or_default(),
                }
            })
            .collect(),
    }
}

fn shape(name: &str, schema: &Value) -> Shape {
    let mut fields = Vec::new();
    let mut values: Vec<String> = list(&schema["enum"]).map(text).collect();
    let parts = || ["allOf", "oneOf"].into_iter().flat_map(|key| list(&schema[key]));
    for part in std::iter::once(schema).chain(parts()) {
        if let Some(whole) = part["$ref"].as_str() {
            let name = last(whole);
            let about = "All of its fields, too".to_string();
            fields.push(Field {
                place: String::new(),
                kind: name.clone(),
                shape: name,
                required: true,
                about,
                name: "…".into(),
            });
        }
        values.extend(
            list(&part["enum"]).map(text).filter(|value| !values.contains(value)).collect::<Vec<_>>(),
        );
        let required: Vec<String> = list(&part["required"]).map(text).collect();
        fields.extend(entries(&part["properties"]).map(|(name, property)| {
            let (kind, shape) = kind(property);
            Field {
                required: required.iter().any(|required| required == name),
                place: String::new(),
                about: text(&property["description"]),
                name: name.into(),
                kind,
                shape,
            }
        }));
    }
    Shape { name: name.into(), about: text(&schema["description"]), fields, values }
}

/// A schema in words, and the shape it names, if it names one.
fn kind(schema: &Value) -> (String, String) {
    if let Some(name) = schema["$ref"].as_str() {
        return (last(name), last(name));
    }
    // `Option`: one of them is null.
    if let Some(some) = list(&schema["oneOf"]).find(|some| some["type"] != "null") {
        return kind(some);
    }
    if schema["type"] == "array" {
        let (item, shape) = kind(&schema["items"]);
        return (format!("list of {item}"), shape);
    }
    if schema["enum"].is_array() {
        return (list(&schema["enum"]).map(text).collect::<Vec<_>>().join(", "), String::new());
    }
    let of = |schema: &Value| list(&schema["type"]).map(text).find(|kind| kind != "null");
    let kind = schema["type"].as_str().map(Into::into).or_else(|| of(schema)).unwrap_or_default();
    let words = match (kind.as_str(), schema["format"].as_str()) {
        ("string", Some("date-time")) => "time",
        ("string", _) => "text",
        ("integer", _) => "whole number",
        ("boolean", _) => "true or false",
        (other, _) => other,
    };
    (words.into(), String::new())
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().into()
}

fn last(reference: &str) -> String {
    reference.rsplit('/').next().unwrap_or(reference).into()
}

fn slug(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::Layout;

    #[test]
    fn the_page_says_everything_that_the_document_says() {
        let page = ReferencePage {
            layout: Layout::sample(),
            origin: "https://portal.example".into(),
            reference: &REFERENCE,
        };
        let html = page.render().unwrap();
        for (path, _) in entries(&serde_json::to_value(document()).unwrap()["paths"]) {
            assert!(html.contains(path), "{path}");
        }
        for shape in &REFERENCE.shapes {
            assert!(html.contains(&format!("id=\"shape-{}\"", shape.name)), "{}", shape.name);
        }
        assert!(!html.contains("style=\""), "the content policy forbids inline styles");
    }

    #[test]
    fn every_group_has_operations_and_every_operation_a_group() {
        let operations: usize = REFERENCE.groups.iter().map(|group| group.operations.len()).sum();
        assert!(REFERENCE.groups.iter().all(|group| !group.operations.is_empty()));
        let routes = crate::server::routes().table;
        assert_eq!(operations, routes.iter().filter(|route| crate::web::is_api(route.path)).count());
    }
}
