//! Everything that is not a service: APIs, resources, systems, domains, groups, people and kinds of one's own. One
//! simple page: what it is, who owns it, its links, whom it names and who names it.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde_json::Value;

use super::entity::{EntityRef, is_web_address};
use crate::app::App;
use crate::web::{Error, Layout, Nav, Result, filters};

/// A definition may be megabytes long; its beginning tells what it is.
const MAX_DEFINITION: usize = 64 * 1024;
const MAX_RELATIONS: i64 = 200;

#[derive(Template)]
#[template(path = "catalogue/entity.html")]
struct EntityPage {
    layout: Layout,
    name: String,
    kind: String,
    title: String,
    description: String,
    facts: Vec<(&'static str, String)>,
    tags: Vec<String>,
    links: Vec<(String, String)>,
    relations: [(&'static str, &'static str, Vec<Relation>); 2],
    definition: String,
    place: String,
}

/// Another entity, and what it is to this one.
struct Relation {
    what: String,
    text: String,
    href: String,
}

/// `GET /catalogue/{kind}/{namespace}/{name}`
pub async fn show(
    State(app): State<App>,
    layout: Layout,
    Path((kind, namespace, name)): Path<(String, String, String)>,
) -> Result<Response> {
    let reference = EntityRef::new(&kind, &namespace, &name);
    let row = sqlx::query!(
        "select id, kind, name, source, line, document from entities
         where lower(kind) = $1 and lower(namespace) = $2 and lower(name) = $3",
        reference.kind,
        reference.namespace,
        reference.name
    )
    .fetch_optional(&app.db)
    .await?
    .ok_or(Error::NotFound)?;
    if row.kind == "Component" && app.catalogue.load().service(&row.name).is_some() {
        return Ok(Redirect::to(&format!("/services/{}", row.name)).into_response());
    }
    let names = sqlx::query!(
        "select field, target from entity_references where entity = $1 limit $2",
        row.id,
        MAX_RELATIONS
    )
    .map(|row| relation(&row.field, &row.target))
    .fetch_all(&app.db)
    .await?;
    let named_by = sqlx::query!(
        r#"
        select field, lower(kind || ':' || namespace || '/' || name) as "by!"
        from entity_references join entities on id = entity
        where target = $1
        order by kind, name
        limit $2
        "#,
        reference.to_string(),
        MAX_RELATIONS
    )
    .map(|row| relation(&row.field, &row.by))
    .fetch_all(&app.db)
    .await?;

    let text =
        |path: &str| row.document.pointer(path).and_then(Value::as_str).unwrap_or_default().to_string();
    let title = [text("/metadata/title"), text("/spec/profile/displayName"), row.name.clone()];
    let title = title.into_iter().find(|title| !title.is_empty()).unwrap_or_default();
    let page = EntityPage {
        layout: layout.at(Nav::Services, &[("Services", "/services"), (&row.name, "")]),
        description: text("/metadata/description"),
        facts: [
            ("Type", text("/spec/type")),
            ("Lifecycle", text("/spec/lifecycle")),
            ("E-mail", text("/spec/profile/email")),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect(),
        tags: texts(row.document.pointer("/metadata/tags")),
        links: links(&row.document),
        definition: beginning(text("/spec/definition")),
        place: format!("{}:{}", row.source, row.line),
        name: row.name,
        kind: row.kind,
        relations: [("names", "Names", names), ("named-by", "Named by", named_by)],
        title,
    };
    Ok(Html(page.render()?).into_response())
}

/// What another entity is to this one, from the field that names it.
fn relation(field: &str, target: &str) -> Relation {
    let (text, href) = link(target);
    let what = match field.strip_prefix("spec.").unwrap_or(field) {
        "owner" => "Owner".to_string(),
        "dependsOn" => "Depends on".into(),
        "dependencyOf" => "Dependency of".into(),
        "providesApis" => "Provides".into(),
        "consumesApis" => "Consumes".into(),
        "subcomponentOf" => "Part of".into(),
        "memberOf" => "Member of".into(),
        other => filters::team(other),
    };
    Relation { what, text, href }
}

/// What to call an entity named `kind:namespace/name`, and where its page is.
pub fn link(target: &str) -> (String, String) {
    let (kind, rest) = target.split_once(':').unwrap_or(("", target));
    let (namespace, name) = rest.split_once('/').unwrap_or(("default", rest));
    let text = if namespace == "default" { name.to_string() } else { rest.to_string() };
    (text, format!("/catalogue/{kind}/{namespace}/{name}"))
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(Into::into).collect()
}

/// Title and address. Checked again: kinds of one's own are kept as they are.
fn links(document: &Value) -> Vec<(String, String)> {
    let links = document.pointer("/metadata/links").and_then(Value::as_array).into_iter().flatten();
    links
        .filter_map(|link| {
            let url = link.get("url")?.as_str().filter(|url| is_web_address(url))?;
            let title = link.get("title").and_then(Value::as_str).filter(|title| !title.is_empty());
            Some((title.unwrap_or(url).to_string(), url.to_string()))
        })
        .collect()
}

fn beginning(mut text: String) -> String {
    if text.len() > MAX_DEFINITION {
        let end = text.floor_char_boundary(MAX_DEFINITION);
        text.truncate(end);
        text.push_str("\n… the rest is left out here");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_have_an_address() {
        assert_eq!(link("api:default/prices"), ("prices".into(), "/catalogue/api/default/prices".into()));
        assert_eq!(link("group:ops/night"), ("ops/night".into(), "/catalogue/group/ops/night".into()));
    }

    #[test]
    fn only_web_addresses_become_links() {
        let document = serde_json::json!({"metadata": {"links": [
            {"url": "javascript:alert(1)", "title": "x"}, {"url": "https://a.example"}, {"url": 3}, "x"
        ]}});
        assert_eq!(links(&document), [("https://a.example".into(), "https://a.example".into())]);
    }
}
