//! Who gets what: every route, asked by everybody. The routes come from the router itself, so a new one fails here
//! until it has a row that says what each kind of person may expect of it.

use std::collections::BTreeSet;

use pilothouse::auth::{Scope, Scopes};
use pilothouse::server;
use pilothouse::web::{Access, BACKCHANNEL_LOGOUT, routes::Route};
use reqwest::{Method, Response};
use serde_json::json as value;

use crate::support::{Browser, World, with_form};

/// Somebody of another team, whom the sample world lacks. `payments` owns what the rows ask for.
const SAM: &str = r#"
[[people]]
sub = "b0a41d0e-7bb7-44a0-a5b5-0a3f4a1c9a51"
username = "sam"
name = "Sam Ortiz"
email = "sam@acme.example"
groups = ["engineering", "storefront"]
says = "Engineer in storefront."
"#;

/// What a person may expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gets {
    /// An answer: a page, a file, a stream, or being sent on after it was done.
    Answer,
    /// Sent to sign in, and back here afterwards.
    SignIn,
    /// It is not theirs: as if it did not exist.
    NotFound,
    /// Refused with a sentence.
    Refused,
    /// The page or form again, saying what is missing: a rule, a right in the cluster, a field.
    Unmet,
    /// Something broke. Nobody should get this.
    Fault(u16),
}
use Gets::{Answer, Fault, NotFound, Refused, SignIn, Unmet};

/// `route` as in the router, `path` with `form` or `json` to ask it with, and what each gets. `{deploy}` in a path is a
/// new deploy of checkout-api to production that maya asked for and that waits for approval, `{grant}` a new access
/// request of hers, `{glass}` a new glass that she broke. The API is asked with a
/// token that may be used for everything.
struct Row {
    route: &'static str,
    path: &'static str,
    form: &'static [(&'static str, &'static str)],
    json: &'static str,
    gets: [Gets; 6],
}

const WHO: [&str; 6] = [
    "anonymous",
    "noor",  // in no group: the cluster lets her see nothing
    "sam",   // another team: may look, as everybody in engineering
    "maya",  // the owning team, and who asked for the deploy
    "omar",  // the owning team's manager
    "petra", // platform
];

const fn row(route: &'static str, path: &'static str, gets: [Gets; 6]) -> Row {
    Row { route, path, form: &[], json: "", gets }
}

const fn json(route: &'static str, path: &'static str, json: &'static str, gets: [Gets; 6]) -> Row {
    Row { route, path, form: &[], json, gets }
}

type Form = &'static [(&'static str, &'static str)];
const fn form(route: &'static str, path: &'static str, form: Form, gets: [Gets; 6]) -> Row {
    Row { route, path, form, json: "", gets }
}

const EVERYBODY: [Gets; 6] = [Answer; 6];
const SIGNED_IN: [Gets; 6] = [SignIn, Answer, Answer, Answer, Answer, Answer];
/// What belongs to a namespace, for whoever may look into it.
const VIEWERS: [Gets; 6] = [SignIn, NotFound, Answer, Answer, Answer, Answer];
const PLATFORM: [Gets; 6] = [SignIn, NotFound, NotFound, NotFound, NotFound, Answer];
/// A form with nothing in it is not a request; but who may not look does not even learn that.
const EMPTY: [Gets; 6] = [Refused, NotFound, Unmet, Unmet, Unmet, Unmet];

/// The API: signed in or not, and nothing of where one may not look.
const PROGRAMS: [Gets; 6] = [Refused, Answer, Answer, Answer, Answer, Answer];
const VIEWING_PROGRAMS: [Gets; 6] = [Refused, NotFound, Answer, Answer, Answer, Answer];
const NOT_USABLE: [Gets; 6] = [Refused, NotFound, Unmet, Unmet, Unmet, Unmet];
const NOT_THERE: [Gets; 6] = [Refused, NotFound, NotFound, NotFound, NotFound, NotFound];

/// The page of what is there, and has no such part.
const NO_LOG: [Gets; 6] = [SignIn, NotFound, NotFound, NotFound, NotFound, NotFound];
/// Who asked, who may approve, and platform.
const CONCERNED: [Gets; 6] = [SignIn, NotFound, NotFound, Answer, Answer, Answer];

const REJECTION: Form = &[("decision", "reject"), ("note", "Not today."), ("seen", "sha256:seen")];

const TOKEN: &str = r#"{"name": "ci", "scopes": ["read"], "expires_days": 1}"#;

const ROWS: &[Row] = &[
    row("GET /deploys", "/deploys", SIGNED_IN),
    row("GET /deploys/{id}", "/deploys/{deploy}", VIEWERS),
    row("GET /deploys/{id}/live", "/deploys/{deploy}/live", VIEWERS),
    row("GET /approvals", "/approvals", SIGNED_IN),
    form(
        "POST /approvals/glass/{id}",
        "/approvals/glass/{glass}",
        &[("note", "Looked into it.")],
        [Refused, NotFound, Unmet, Unmet, Answer, Unmet], // maya broke it herself; petra is no approver
    ),
    form(
        "POST /notices/read",
        "/notices/read",
        &[("shown", "1,2")],
        [Refused, Answer, Answer, Answer, Answer, Answer],
    ),
    form(
        "POST /deploys/{id}/approval",
        "/deploys/{deploy}/approval",
        REJECTION,
        [Refused, NotFound, Unmet, Unmet, Answer, Unmet], // maya asked for it herself; petra is no approver
    ),
    row(
        "POST /deploys/{id}/cancellation",
        "/deploys/{deploy}/cancellation",
        [Refused, NotFound, Unmet, Answer, Unmet, Unmet], // who asked
    ),
    row("POST /deploys/{id}/promotion", "/deploys/{deploy}/promotion", EMPTY), // it waits for nobody to go on
    // This deploy is no migration, so it has no log; that logs take a right of their own is tested in migrations.rs.
    row("GET /deploys/{id}/log", "/deploys/{deploy}/log", NO_LOG),
    row("GET /deploys/{id}/log/stream", "/deploys/{deploy}/log/stream", NO_LOG),
    row("GET /access", "/access", SIGNED_IN), // without what they may not see
    form("POST /access", "/access", &[], [Refused, Unmet, Unmet, Unmet, Unmet, Unmet]),
    row("GET /access/new", "/access/new", SIGNED_IN),
    row("GET /access/{id}", "/access/{grant}", CONCERNED),
    form(
        "POST /access/{id}/decision",
        "/access/{grant}/decision",
        REJECTION,
        [Refused, NotFound, NotFound, Unmet, Answer, Unmet], // maya asked for it herself; petra is no approver
    ),
    row(
        "POST /access/{id}/withdrawal",
        "/access/{grant}/withdrawal",
        [Refused, NotFound, NotFound, Answer, Unmet, Unmet], // who asked
    ),
    row(
        "POST /access/{id}/end",
        "/access/{grant}/end",
        [Refused, NotFound, NotFound, Unmet, Unmet, Unmet], // nobody gave it yet
    ),
    row("GET /services", "/services", SIGNED_IN),
    row("GET /services/{name}", "/services/checkout-api", SIGNED_IN), // without what they may not see
    row("GET /services/{name}/live", "/services/checkout-api/live", SIGNED_IN),
    row("GET /services/{name}/deploys", "/services/checkout-api/deploys", SIGNED_IN),
    row("GET /catalogue/{kind}/{namespace}/{name}", "/catalogue/api/default/checkout", SIGNED_IN),
    row("GET /catalogue/problems", "/catalogue/problems", PLATFORM),
    row("GET /services/{name}/{environment}/deploy", "/services/checkout-api/staging/deploy", VIEWERS),
    row("POST /services/{name}/{environment}/deploy", "/services/checkout-api/staging/deploy", EMPTY),
    row("GET /services/{name}/{environment}/restart", "/services/checkout-api/production/restart", VIEWERS),
    row("POST /services/{name}/{environment}/restart", "/services/checkout-api/production/restart", EMPTY),
    row("GET /services/{name}/{environment}/scale", "/services/checkout-api/production/scale", VIEWERS),
    row("POST /services/{name}/{environment}/scale", "/services/checkout-api/production/scale", EMPTY),
    row("GET /services/{name}/{environment}/migrate", "/services/checkout-api/production/migrate", VIEWERS),
    row("POST /services/{name}/{environment}/migrate", "/services/checkout-api/production/migrate", EMPTY),
    row("GET /services/{name}/{environment}/rollback", "/services/checkout-api/production/rollback", VIEWERS),
    row("POST /services/{name}/{environment}/rollback", "/services/checkout-api/production/rollback", EMPTY),
    row("GET /services/{name}/logs", "/services/checkout-api/logs", VIEWERS),
    row("GET /services/{name}/logs/stream", "/services/checkout-api/logs/stream", VIEWERS),
    row("GET /services/{name}/logs/download", "/services/checkout-api/logs/download", VIEWERS),
    row("GET /", "/", SIGNED_IN),
    row("GET /search", "/search?q=check", SIGNED_IN), // without what they may not see
    row("GET /audit", "/audit", PLATFORM),
    row("GET /audit.csv", "/audit.csv", PLATFORM),
    row("GET /audit.json", "/audit.json", PLATFORM),
    row("GET /settings/tokens", "/settings/tokens", SIGNED_IN),
    form("POST /settings/tokens", "/settings/tokens", &[], [Refused, Unmet, Unmet, Unmet, Unmet, Unmet]),
    row(
        "GET /settings/tokens/{id}/revocation",
        "/settings/tokens/0/revocation",
        [SignIn, NotFound, NotFound, NotFound, NotFound, NotFound],
    ),
    form("POST /settings/tokens/{id}/revocation", "/settings/tokens/0/revocation", &[], NOT_THERE),
    row("GET /device", "/device", SIGNED_IN),
    form("POST /device", "/device", &[("user_code", "BCDF-GHJK"), ("decision", "deny")], PROGRAMS), // no such code
    row("GET /authorize", "/authorize", [SignIn, Unmet, Unmet, Unmet, Unmet, Unmet]),
    form("POST /authorize", "/authorize", &[], [Refused, Unmet, Unmet, Unmet, Unmet, Unmet]),
    row("GET /api", "/api", SIGNED_IN),
    row("GET /api/openapi.json", "/api/openapi.json", EVERYBODY),
    form("POST /api/v1/device/code", "/api/v1/device/code", &[], [Unmet; 6]),
    form("POST /api/v1/device/token", "/api/v1/device/token", &[], [Unmet; 6]),
    form("POST /api/v1/token", "/api/v1/token", &[], [Unmet; 6]),
    row("GET /api/v1/whoami", "/api/v1/whoami", PROGRAMS),
    row("GET /api/v1/environments", "/api/v1/environments", PROGRAMS),
    row("GET /api/v1/services", "/api/v1/services", PROGRAMS), // without what they may not see
    row("GET /api/v1/services/{name}", "/api/v1/services/checkout-api", PROGRAMS),
    row(
        "GET /api/v1/services/{name}/environments/{environment}",
        "/api/v1/services/checkout-api/environments/staging",
        VIEWING_PROGRAMS,
    ),
    row(
        "GET /api/v1/services/{name}/environments/{environment}/versions",
        "/api/v1/services/checkout-api/environments/staging/versions",
        VIEWING_PROGRAMS,
    ),
    row(
        "GET /api/v1/services/{name}/environments/{environment}/plan",
        "/api/v1/services/checkout-api/environments/staging/plan?version=v1.1.0",
        VIEWING_PROGRAMS, // who may not deploy is told so by its checks
    ),
    row(
        "GET /api/v1/services/{name}/environments/{environment}/logs",
        "/api/v1/services/checkout-api/environments/staging/logs",
        VIEWING_PROGRAMS,
    ),
    json(
        "POST /api/v1/services/{name}/environments/{environment}/deploys",
        "/api/v1/services/checkout-api/environments/staging/deploys",
        r#"{"version": "no-such-version"}"#,
        NOT_USABLE,
    ),
    json(
        "POST /api/v1/services/{name}/environments/{environment}/scale",
        "/api/v1/services/checkout-api/environments/production/scale",
        "{}",
        NOT_USABLE,
    ),
    json(
        "POST /api/v1/services/{name}/environments/{environment}/restart",
        "/api/v1/services/checkout-api/environments/nowhere/restart",
        "{}",
        NOT_THERE,
    ),
    json(
        "POST /api/v1/services/{name}/environments/{environment}/rollback",
        "/api/v1/services/checkout-api/environments/production/rollback",
        r#"{"version": "no-such-version"}"#,
        NOT_USABLE,
    ),
    json(
        "POST /api/v1/services/{name}/environments/{environment}/migrations",
        "/api/v1/services/checkout-api/environments/production/migrations",
        r#"{"version": "no-such-version"}"#,
        NOT_USABLE,
    ),
    row("GET /api/v1/deploys", "/api/v1/deploys", PROGRAMS),
    row("GET /api/v1/deploys/{id}", "/api/v1/deploys/{deploy}", VIEWING_PROGRAMS),
    row("GET /api/v1/deploys/{id}/events", "/api/v1/deploys/{deploy}/events", VIEWING_PROGRAMS),
    row("GET /api/v1/deploys/{id}/logs", "/api/v1/deploys/{deploy}/logs", NOT_THERE),
    row("GET /api/v1/approvals", "/api/v1/approvals", PROGRAMS),
    json(
        "POST /api/v1/deploys/{id}/decision",
        "/api/v1/deploys/{deploy}/decision",
        r#"{"approve": false, "note": "Not today.", "seen": "sha256:seen"}"#,
        [Refused, NotFound, Refused, Refused, Answer, Refused], // as the page, in the words of HTTP
    ),
    json(
        "POST /api/v1/deploys/{id}/cancellation",
        "/api/v1/deploys/{deploy}/cancellation",
        "{}",
        [Refused, NotFound, Refused, Answer, Refused, Refused], // who asked
    ),
    json("POST /api/v1/deploys/{id}/promotion", "/api/v1/deploys/{deploy}/promotion", "{}", EMPTY),
    row("GET /api/v1/glass-reviews", "/api/v1/glass-reviews", PROGRAMS), // without what they may not see
    json(
        "POST /api/v1/glass-reviews/{id}/sign-off",
        "/api/v1/glass-reviews/{glass}/sign-off",
        r#"{"note": "Looked into it."}"#,
        [Refused, NotFound, Refused, Refused, Answer, Refused], // as the page, in the words of HTTP
    ),
    row("GET /api/v1/access-roles", "/api/v1/access-roles", PROGRAMS),
    row("GET /api/v1/access-requests", "/api/v1/access-requests", PROGRAMS), // without what they may not see
    json(
        "POST /api/v1/access-requests",
        "/api/v1/access-requests",
        "{}",
        [Refused, Unmet, Unmet, Unmet, Unmet, Unmet],
    ),
    row(
        "GET /api/v1/access-requests/{id}",
        "/api/v1/access-requests/{grant}",
        [Refused, NotFound, NotFound, Answer, Answer, Answer],
    ),
    json(
        "POST /api/v1/access-requests/{id}/decision",
        "/api/v1/access-requests/{grant}/decision",
        r#"{"approve": false, "note": "Not today.", "seen": "sha256:seen"}"#,
        [Refused, NotFound, NotFound, Refused, Answer, Refused],
    ),
    json(
        "POST /api/v1/access-requests/{id}/withdrawal",
        "/api/v1/access-requests/{grant}/withdrawal",
        "{}",
        [Refused, NotFound, NotFound, Answer, Refused, Refused],
    ),
    json(
        "POST /api/v1/access-requests/{id}/end",
        "/api/v1/access-requests/{grant}/end",
        "{}",
        [Refused, NotFound, NotFound, Unmet, Unmet, Unmet],
    ),
    row("GET /api/v1/machines", "/api/v1/machines", PROGRAMS), // of one's teams
    row("GET /api/v1/machines/{name}/tokens", "/api/v1/machines/none/tokens", NOT_THERE),
    json("POST /api/v1/machines/{name}/tokens", "/api/v1/machines/none/tokens", TOKEN, NOT_THERE),
    json("DELETE /api/v1/machines/{name}/tokens/{id}", "/api/v1/machines/none/tokens/0", "", NOT_THERE),
    row("GET /api/v1/tokens", "/api/v1/tokens", PROGRAMS),
    json("POST /api/v1/tokens", "/api/v1/tokens", "{}", [Refused, Unmet, Unmet, Unmet, Unmet, Unmet]),
    json("DELETE /api/v1/tokens/{id}", "/api/v1/tokens/0", "", NOT_THERE),
    row("GET /static/{version}/{*path}", "/static/any/css/portal.css", EVERYBODY),
    row("GET /healthz", "/healthz", EVERYBODY),
    row("GET /readyz", "/readyz", EVERYBODY),
    row("GET /metrics", "/metrics", EVERYBODY),
    row("GET /sign-in", "/sign-in", EVERYBODY),
    row("GET /sign-in/start", "/sign-in/start", EVERYBODY),
    row("GET /auth/callback", "/auth/callback", [Unmet; 6]), // nobody began a sign-in here
    row("GET /signed-out", "/signed-out", EVERYBODY),
    form("POST /auth/backchannel-logout", "/auth/backchannel-logout", &[], [Unmet; 6]), // only the provider has a token
    row("POST /sign-out", "/sign-out", EVERYBODY), // the last one: nobody is signed in after it
];

#[test]
fn every_route_has_a_row_and_every_row_a_route() {
    let routes: BTreeSet<String> = server::routes().table.iter().map(name).collect();
    let rows: BTreeSet<String> = ROWS.iter().map(|row| row.route.into()).collect();
    let without_row: Vec<_> = routes.difference(&rows).collect();
    let without_route: Vec<_> = rows.difference(&routes).collect();
    assert!(without_row.is_empty(), "say in ROWS who gets what of {without_row:?}");
    assert!(without_route.is_empty(), "these rows speak of routes that are gone: {without_route:?}");
}

#[tokio::test]
async fn everybody_gets_what_their_row_says() {
    let world = world().await;
    let mut wrong = Vec::new();
    for (n, who) in WHO.into_iter().enumerate() {
        let browser = if n == 0 { world.browser() } else { world.as_(who).await };
        let program = if n == 0 { world.browser() } else { program(&world, &browser, &Scope::ALL).await };
        for row in ROWS {
            let asks = if row.path.starts_with("/api/v1/") { &program } else { &browser };
            let got = gets(&ask(&world, asks, row).await);
            if got != row.gets[n] {
                wrong.push(format!("{} as {who}: {got:?}, not {:?}", row.route, row.gets[n]));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The table of the router against its behaviour, without anybody having to write a row.
#[tokio::test]
async fn the_door_of_each_route_is_the_one_its_table_names() {
    let world = world().await;
    let (nobody, sam) = (world.browser(), world.as_("sam").await);
    for route in server::routes().table {
        let Some(row) = ROWS.iter().find(|row| row.route == name(&route)) else { continue };
        let anonymous = gets(&ask(&world, &nobody, row).await);
        match (route.access, &route.method) {
            (Access::Public, _) => assert_ne!(anonymous, SignIn, "{}", row.route),
            (Access::Api(_), _) => assert_eq!(anonymous, Refused, "{}", row.route),
            (_, &Method::GET) => assert_eq!(anonymous, SignIn, "{}", row.route),
            (_, _) => assert_eq!(anonymous, Refused, "{}", row.route),
        }
        if route.access == Access::Platform {
            assert_eq!(gets(&ask(&world, &sam, row).await), NotFound, "{}", row.route);
        }
    }
}

#[tokio::test]
async fn nothing_is_changed_for_a_form_that_does_not_say_where_it_is_from() {
    let world = world().await;
    let maya = world.as_("maya").await;
    for route in server::routes().table.iter().filter(|route| route.method != Method::GET) {
        let Some(row) = ROWS.iter().find(|row| row.route == name(route)) else { continue };
        for site in [None, Some("cross-site"), Some("same-site")] {
            let mut request = maya.request(route.method.clone(), &path(&world, row).await);
            if let Some(site) = site {
                request = request.header("sec-fetch-site", site);
            }
            let answer = maya.open(with_form(request, row.form)).await;
            match route.access {
                // Where cookies count for nothing there is nothing to protect.
                Access::Api(_) => assert_eq!(answer.status(), 401, "{} from {site:?}", row.route),
                Access::Public if row.path.starts_with("/api/v1/") || row.path == BACKCHANNEL_LOGOUT => {}
                _ => assert_eq!(answer.status(), 403, "{} from {site:?}", row.route),
            }
        }
    }
    assert_eq!(maya.get("/sign-in").await.status, 303, "she is still signed in");
}

#[tokio::test]
async fn a_token_without_the_scope_of_a_route_gets_no_further_than_its_door() {
    let world = world().await;
    let maya = world.as_("maya").await;
    let routes = server::routes().table.into_iter();
    for (route, scope) in routes.filter_map(|route| match route.access {
        Access::Api(scope) => Some((route, scope)),
        _ => None,
    }) {
        let row = ROWS.iter().find(|row| row.route == name(&route)).unwrap();
        let others = Scope::ALL.into_iter().filter(|other| !Scopes::from_iter([*other]).allow(scope));
        let without = program(&world, &maya, &others.collect::<Vec<_>>()).await;
        assert_eq!(ask(&world, &without, row).await.status(), 403, "{} without {scope:?}", row.route);
    }
}

/// Something that shows a token of whoever is signed in in this browser.
async fn program(world: &World, browser: &Browser, scopes: &[Scope]) -> Browser {
    // One for each route would be more than a person may have.
    sqlx::query("delete from tokens").execute(&world.app.db).await.unwrap();
    let mut form = vec![("name", "all"), ("expires_days", "1")];
    form.extend(scopes.iter().map(|scope| ("scope", scope.name())));
    let page = browser.post("/settings/tokens", &form).await;
    let (_, rest) = page.text.split_once("value=\"ph_").unwrap_or_else(|| panic!("{}", page.text));
    world.browser().with_token(&format!("ph_{}", rest.split('"').next().unwrap()))
}

async fn ask(world: &World, browser: &Browser, row: &Row) -> Response {
    let (method, _) = row.route.split_once(' ').unwrap();
    let request = browser.request(method.parse().unwrap(), &path(world, row).await);
    let request = match method {
        "GET" => request,
        _ if !row.json.is_empty() => request.header("content-type", "application/json").body(row.json),
        _ => with_form(request.header("sec-fetch-site", "same-origin"), row.form),
    };
    browser.open(request).await
}

/// The usual world with sam in it, and the sample catalogue read.
async fn world() -> World {
    let world = World::builder().people(SAM).start().await;
    world.has_read("checkout-api").await;
    world
}

async fn path(world: &World, row: &Row) -> String {
    if row.path.contains("{grant}") {
        return row.path.replace("{grant}", &grant(world).await.to_string());
    }
    if row.path.contains("{glass}") {
        return row.path.replace("{glass}", &glass(world).await.to_string());
    }
    match row.path.contains("{deploy}") {
        true => row.path.replace("{deploy}", &deploy(world).await.to_string()),
        false => row.path.into(),
    }
}

/// Each in a namespace of its own: the same can't be asked for twice.
async fn grant(world: &World) -> i64 {
    let maya = &world.people.all()[0];
    let issuer = world.app.config.oidc.issuer.get_ref();
    let requester = value!({
        "identity": { "issuer": issuer, "subject": maya.sub },
        "username": maya.username, "name": maya.name, "groups": maya.groups,
    });
    let place = value!({
        "team": "payments", "environment": "staging", "production": false, "cluster": "dev",
        "namespace": uuid::Uuid::now_v7().to_string(),
    });
    let terms = value!({
        "role": "edit", "cluster_role": "edit", "approvers": ["payments-managers"], "longest_seconds": 28_800,
    });
    let state = value!({ "state": "requested", "expires": "2100-01-01T00:00:00Z" });
    sqlx::query_scalar(
        "insert into grants (requester, issuer, subject, place, terms, seconds, reason, digest, state, detail, requested)
         values ($1, $2, $3, $4, $5, 60, 'A test asks.', 'sha256:seen', 'requested', $6, now())
         returning id",
    )
    .bind(requester)
    .bind(issuer)
    .bind(&maya.sub)
    .bind(place)
    .bind(terms)
    .bind(state)
    .fetch_one(&world.app.db)
    .await
    .unwrap()
}

/// A glass that maya broke in production.
async fn glass(world: &World) -> i64 {
    let id = deploy(world).await;
    sqlx::query_scalar(
        "insert into glass_reviews (deploy, title, target, environment, team, cluster, namespace, by_person, reason, at)
         select id, 'Deploy checkout-api', 'checkout-api/production', environment, team, cluster, namespace, requester,
                'A test asks.', now()
         from deploys where id = $1
         returning id",
    )
    .bind(id)
    .fetch_one(&world.app.db)
    .await
    .unwrap()
}

async fn deploy(world: &World) -> i64 {
    let maya = &world.people.all()[0];
    let issuer = world.app.config.oidc.issuer.get_ref();
    let requester = value!({
        "identity": { "issuer": issuer, "subject": maya.sub },
        "username": maya.username, "name": maya.name, "groups": maya.groups,
    });
    let action = value!({ "kind": "restart", "workload": "checkout-api" });
    let policy = value!({
        "production": true, "approvals": 1, "approvers": ["payments-managers"], "requires": null,
        "soak_seconds": 0, "deadline_seconds": 600, "expires_seconds": 86_400,
    });
    let state = value!({ "state": "awaiting_approval", "expires": "2100-01-01T00:00:00Z" });
    sqlx::query_scalar(
        "insert into deploys (service, team, environment, cluster, namespace, action, requester, policy, digest,
                              state, detail, requested)
         values ('checkout-api', 'payments', 'production', 'dev', 'payments-production', $1, $2, $3, 'sha256:seen',
                 'awaiting_approval', $4, now())
         returning id",
    )
    .bind(action)
    .bind(requester)
    .bind(policy)
    .bind(state)
    .fetch_one(&world.app.db)
    .await
    .unwrap()
}

fn gets(answer: &Response) -> Gets {
    let to = answer.headers().get("location").map_or("", |to| to.to_str().unwrap());
    match answer.status().as_u16() {
        303 if to.starts_with("/sign-in?next=") || to == "/sign-in" => SignIn,
        200..400 => Answer,
        404 => NotFound,
        401 | 403 => Refused,
        400 | 409 | 422 => Unmet,
        status => Fault(status),
    }
}

fn name(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}
