//! The OpenAPI document, put together from the handlers' own descriptions. `docs/openapi.json` is a copy of it, so that
//! a change of the API is seen in review.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Description, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::{access, approvals, changes, deploys, logs, machines, places, services, tokens, types, who};
use crate::auth;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Pilothouse",
        description = "What the pages do, for programs, under the same rules.\n\n\
            Send `Authorization: Bearer ph_…`; a token acts as its owner and never more. Errors are problem details \
            (RFC 9457) whose `detail` is the sentence that the page shows. Lists are read on with `cursor`. A request \
            with an `Idempotency-Key` can be repeated. Changes are limited to 60 a minute; `RateLimit` says how many \
            are left."
    ),
    paths(
        who::whoami,
        machines::list,
        machines::tokens,
        machines::mint,
        machines::revoke,
        tokens::list,
        tokens::mint,
        tokens::revoke,
        who::environments,
        services::list,
        services::show,
        places::status,
        places::versions,
        places::plan,
        changes::deploy,
        changes::scale,
        changes::restart,
        changes::rollback,
        changes::migrate,
        deploys::list,
        deploys::show,
        deploys::events,
        deploys::cancel,
        deploys::promote,
        approvals::inbox,
        approvals::decide,
        approvals::broken_glass,
        approvals::sign_off,
        access::roles,
        access::list,
        access::ask,
        access::show,
        access::decide,
        access::withdraw,
        access::end,
        logs::logs,
        logs::of_deploy,
        auth::device::code,
        auth::device::token,
        auth::grant::token,
    ),
    components(schemas(types::Problem)),
    tags(
        (name = "Machines", description = "Identities of pipelines, for the teams they belong to."),
        (name = "You", description = "Who you are to the portal, and your tokens."),
        (name = "Services", description = "The catalogue, and what runs where."),
        (name = "Changes", description = "Asking for a change: checked as you, carried out as you."),
        (name = "Deploys", description = "Changes on their way and at their end."),
        (name = "Approvals", description = "Deciding on other people's requests."),
        (name = "Access", description = "Rights in a namespace for a while."),
        (name = "Logs", description = "What the pods of a service write."),
        (name = "Signing in", description = "How a program gets a token of the person in front of it."),
    ),
    modifiers(&Common)
)]
struct Api;

/// What every operation shares.
struct Common;

impl Modify for Common {
    fn modify(&self, api: &mut Description) {
        let components = api.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("ph_…")
            .description(Some("A personal token: Settings in the portal, or `platform login`."));
        let cookie =
            ApiKeyValue::with_description("__Host-pilothouse", "A browser's session; it only reads.");
        components.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        components.responses.insert("Problem".into(), problem().into());
        for (path, item) in &mut api.paths.paths {
            let operations = [&mut item.get, &mut item.post, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                let problem = RefOr::Ref(Ref::from_response_name("Problem"));
                operation.responses.responses.entry("default".into()).or_insert(problem);
                if operation.security.is_none() {
                    let needs = |name: &str| utoipa::openapi::SecurityRequirement::new(name, [""; 0]);
                    operation.security = Some(vec![needs("token"), needs("session")]);
                }
                operation.operation_id = Some(operation_id(path, operation.operation_id.as_deref()));
            }
        }
    }
}

/// "deploys.list", "deploys-decision.decide": handlers of one name in several files stay apart.
fn operation_id(path: &str, handler: Option<&str>) -> String {
    let parts = path.trim_start_matches("/api/v1/").split('/');
    let nouns: Vec<&str> = parts.filter(|part| !part.starts_with('{')).collect();
    let nouns = &nouns[nouns.len().saturating_sub(2)..];
    format!("{}.{}", nouns.join("-"), handler.unwrap_or_default())
}

fn problem() -> utoipa::openapi::Response {
    let seconds = ObjectBuilder::new().schema_type(Type::Integer);
    let retry = HeaderBuilder::new()
        .schema(Some(seconds))
        .description(Some("Seconds after which to try again, with 429 and 503"));
    ResponseBuilder::new()
        .description("Why not: 400 or 422 what was sent, 401 no good token, 403 no right, 404 not there or not yours, 409 its state, 412 it moved, 429 too many, 503 something is away")
        .content(
            "application/problem+json",
            ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build(),
        )
        .header("Retry-After", retry.build())
        .build()
}

/// As it is served and as it lies in docs/openapi.json.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let text = Api::openapi().to_pretty_json();
    text.expect("a description made of plain values is JSON") + "\n"
});

/// `platform openapi`
pub fn print() {
    print!("{}", *DOCUMENT);
}

pub fn document() -> Description {
    Api::openapi()
}

/// `GET /api/openapi.json`
pub async fn show() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::server;
    use crate::web;

    #[test]
    fn the_copy_under_review_is_what_is_served() {
        let copy = include_str!("../../docs/openapi.json");
        assert!(
            copy == *DOCUMENT,
            "docs/openapi.json is not up to date: cargo run -- openapi > docs/openapi.json, and look at what changed"
        );
    }

    #[test]
    fn every_route_of_the_api_is_described_and_nothing_else() {
        let mut described = BTreeSet::new();
        for (path, item) in &document().paths.paths {
            let methods = [("GET", &item.get), ("POST", &item.post), ("DELETE", &item.delete)];
            let methods = methods.iter().filter(|(_, operation)| operation.is_some());
            described.extend(methods.map(|(method, _)| format!("{method} {path}")));
        }
        let routes = server::routes().table;
        let routes = routes.iter().filter(|route| web::is_api(route.path));
        let routes: BTreeSet<_> = routes.map(|route| format!("{} {}", route.method, route.path)).collect();
        assert_eq!(described, routes);
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_and_a_sentence() {
        let mut names = BTreeSet::new();
        for (path, item) in &document().paths.paths {
            for operation in [&item.get, &item.post, &item.delete].into_iter().flatten() {
                assert!(operation.summary.as_ref().is_some_and(|summary| !summary.is_empty()), "{path}");
                assert!(names.insert(operation.operation_id.clone()), "{path}: {:?}", operation.operation_id);
            }
        }
    }
}
