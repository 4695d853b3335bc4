//! Who gets what: every route, asked by everybody. The routes come from the router itself, so a new one fails here
//! until it has a row that says what each kind of person may expect of it.

use std::collections::BTreeSet;

use pilothouse::server;
use pilothouse::web::{Access, routes::Route};
use reqwest::{Method, Response};

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
}
use Gets::{Answer, NotFound, Refused, SignIn};

/// `route` as in the router, `path` and `form` to ask it with, and what each gets.
struct Row {
    route: &'static str,
    path: &'static str,
    form: &'static [(&'static str, &'static str)],
    gets: [Gets; 5],
}

/// In this order: anonymous, noor (in no group), sam (another team), maya (the owning team), petra (platform).
const fn row(route: &'static str, path: &'static str, gets: [Gets; 5]) -> Row {
    Row { route, path, form: &[], gets }
}

const EVERYBODY: [Gets; 5] = [Answer; 5];

const ROWS: &[Row] = &[
    row("GET /static/{version}/{*path}", "/static/any/css/portal.css", EVERYBODY),
    row("GET /healthz", "/healthz", EVERYBODY),
    row("GET /readyz", "/readyz", EVERYBODY),
    row("GET /metrics", "/metrics", EVERYBODY),
    row("GET /sign-in", "/sign-in", EVERYBODY),
    row("GET /sign-in/start", "/sign-in/start", EVERYBODY),
    row("GET /auth/callback", "/auth/callback", [Refused; 5]), // nobody began a sign-in here
    row("GET /signed-out", "/signed-out", EVERYBODY),
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
    let world = World::builder().people(SAM).start().await;
    let mut wrong = Vec::new();
    for (n, who) in ["anonymous", "noor", "sam", "maya", "petra"].into_iter().enumerate() {
        let browser = if n == 0 { world.browser() } else { world.as_(who).await };
        for row in ROWS {
            let got = gets(&ask(&browser, row).await);
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
    let world = World::builder().people(SAM).start().await;
    let (nobody, sam) = (world.browser(), world.as_("sam").await);
    for route in server::routes().table {
        let Some(row) = ROWS.iter().find(|row| row.route == name(&route)) else { continue };
        let anonymous = gets(&ask(&nobody, row).await);
        match (route.access, &route.method) {
            (Access::Public, _) => assert_ne!(anonymous, SignIn, "{}", row.route),
            (_, &Method::GET) => assert_eq!(anonymous, SignIn, "{}", row.route),
            (_, _) => assert_eq!(anonymous, Refused, "{}", row.route),
        }
        if route.access == Access::Platform {
            assert_eq!(gets(&ask(&sam, row).await), NotFound, "{}", row.route);
        }
    }
}

#[tokio::test]
async fn nothing_is_changed_for_a_form_that_does_not_say_where_it_is_from() {
    let world = World::new().await;
    let maya = world.as_("maya").await;
    for route in server::routes().table.iter().filter(|route| route.method != Method::GET) {
        let Some(row) = ROWS.iter().find(|row| row.route == name(route)) else { continue };
        for site in [None, Some("cross-site"), Some("same-site")] {
            let mut request = maya.request(route.method.clone(), row.path);
            if let Some(site) = site {
                request = request.header("sec-fetch-site", site);
            }
            let answer = maya.open(with_form(request, row.form)).await;
            assert_eq!(answer.status(), 403, "{} from {site:?}", row.route);
        }
    }
    assert_eq!(maya.get("/sign-in").await.status, 303, "she is still signed in");
}

async fn ask(browser: &Browser, row: &Row) -> Response {
    let (method, _) = row.route.split_once(' ').unwrap();
    let request = browser.request(method.parse().unwrap(), row.path);
    let request = match method {
        "GET" => request,
        _ => with_form(request.header("sec-fetch-site", "same-origin"), row.form),
    };
    browser.open(request).await
}

fn gets(answer: &Response) -> Gets {
    let to = answer.headers().get("location").map_or("", |to| to.to_str().unwrap());
    match answer.status().as_u16() {
        303 if to.starts_with("/sign-in?next=") || to == "/sign-in" => SignIn,
        200..400 => Answer,
        404 => NotFound,
        400 | 401 | 403 | 409 | 422 => Refused,
        status => panic!("{} answered {status}", answer.url()),
    }
}

fn name(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}
