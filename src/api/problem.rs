//! What a program reads when something can't be done: problem details (RFC 9457) with the very sentence that the page
//! shows. [`problems`] draws them in one place, whoever refused: a handler, a guard, a limit or the router.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::types::{Check, FieldError, Problem};
use crate::app::App;
use crate::auth::CurrentUser;
use crate::web::{self, Error, Failure};

pub type Result<T, E = Refused> = std::result::Result<T, E>;

const KIND: &str = "about:blank";
/// Names that are offered for one that is not there.
const NEAREST: usize = 5;

/// Why a program does not get what it asked for.
#[derive(Debug)]
pub enum Refused {
    /// As a page would refuse it.
    Page(Error),
    /// With what only a program can use: fields, checks.
    Problem(Box<Problem>),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Page(error)
    }
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        Self::Page(error.into())
    }
}

impl From<serde_json::Error> for Refused {
    fn from(error: serde_json::Error) -> Self {
        Self::Page(error.into())
    }
}

impl Refused {
    /// What was sent can't be used as it is; each field says why.
    pub fn unusable(detail: impl Into<String>, errors: Vec<FieldError>, checks: Vec<Check>) -> Self {
        let title = "That request can’t be used";
        let problem = Problem { errors, checks, ..new(StatusCode::UNPROCESSABLE_ENTITY, title, detail) };
        Self::Problem(Box::new(problem))
    }

    /// One field can't be used.
    pub fn field(field: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::unusable(detail.clone(), vec![FieldError { field: field.into(), detail }], Vec::new())
    }

    /// `If-Match` names another state than the one it is in.
    pub fn moved() -> Self {
        let detail = "It is not as you saw it any more. Read it again, then decide.";
        let title = "Something moved meanwhile";
        Self::Problem(Box::new(new(StatusCode::PRECONDITION_FAILED, title, detail)))
    }

    /// The address answers in another form than the one asked for.
    pub fn not_acceptable(detail: &str) -> Self {
        Self::Problem(Box::new(new(StatusCode::NOT_ACCEPTABLE, "It does not come in that form", detail)))
    }

    pub fn unreadable(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::Problem(Box::new(new(status, "That request can’t be read", detail)))
    }
}

fn new(status: StatusCode, title: &str, detail: impl Into<String>) -> Problem {
    Problem {
        kind: KIND.into(),
        title: title.into(),
        status: status.as_u16(),
        detail: detail.into(),
        ..Problem::default()
    }
}

/// Travels as a response extension; [`problems`] knows the request.
impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Page(error) => error.into_response(),
            Self::Problem(problem) => {
                let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
                let mut response = status.into_response();
                response.extensions_mut().insert(Arc::new(*problem));
                response
            }
        }
    }
}

/// Middleware: every refusal of the API as problem details, with the id that stands in the log.
pub async fn problems(State(app): State<App>, request: Request, next: Next) -> Response {
    if !web::is_api(request.uri().path()) {
        return next.run(request).await;
    }
    let id = web::request_id(request.headers());
    let method = request.method().clone();
    // Names are only for those who may know them.
    let known = request.extensions().get::<CurrentUser>().is_some();
    let service = known.then(|| service(request.uri().path())).flatten();
    let response = next.run(request).await;
    let Some(mut problem) = problem(&response, &method) else { return response };
    problem.request_id = id;
    if let Some(name) = service.filter(|_| response.status() == StatusCode::NOT_FOUND) {
        name_the_nearest(&app, &name, &mut problem);
    }
    draw(problem, response)
}

fn problem(response: &Response, method: &Method) -> Option<Problem> {
    if response.status().as_u16() < 400 {
        return None;
    }
    if let Some(problem) = response.extensions().get::<Arc<Problem>>() {
        return Some(Problem::clone(problem));
    }
    let failure = match response.extensions().get::<Arc<Error>>() {
        Some(error) => Failure::of(error),
        // A handler's own answer, such as the errors of OAuth, is not plain text.
        None if !is_plain(response) => return None,
        None => Failure::bare(response.status(), method)?,
    };
    let title = match failure.status {
        StatusCode::INTERNAL_SERVER_ERROR => "The portal broke, your deploys did not".into(),
        _ => failure.heading,
    };
    Some(new(failure.status, &title, failure.sentence))
}

fn is_plain(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_none_or(|kind| kind.starts_with("text/plain"))
}

/// The service that an address speaks of.
fn service(path: &str) -> Option<String> {
    let name = path.strip_prefix("/api/v1/services/")?.split('/').next()?;
    let (_, name) = url::form_urlencoded::parse(format!("n={name}").as_bytes()).into_owned().next()?;
    (!name.is_empty()).then_some(name)
}

fn name_the_nearest(app: &App, name: &str, problem: &mut Problem) {
    let catalogue = app.catalogue.load();
    if catalogue.service(name).is_none() {
        problem.title = "There is no such service".into();
        problem.detail = format!("There is no service “{name}”. It may have been renamed.");
        let near = catalogue.search(name).into_iter().take(NEAREST);
        problem.nearest = near.map(|service| service.name.clone()).collect();
    }
}

/// Keeps what the refusal said in headers: when to try again, what is allowed, how to sign in.
fn draw(problem: Problem, response: Response) -> Response {
    let mut drawn = (response.status(), axum::Json(problem)).into_response();
    for (name, value) in response.headers() {
        if name != header::CONTENT_LENGTH {
            drawn.headers_mut().insert(name.clone(), value.clone());
        }
    }
    let form = HeaderValue::from_static("application/problem+json");
    drawn.headers_mut().insert(header::CONTENT_TYPE, form);
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_of_the_page_is_the_detail() {
        let refused = Refused::from(Error::Conflict("Omar rejected it at 14:02.".into())).into_response();
        let problem = problem(&refused, &Method::POST).unwrap();
        assert_eq!((problem.status, problem.detail.as_str()), (409, "Omar rejected it at 14:02."));
        assert_eq!(problem.title, "Something moved meanwhile");
    }

    #[test]
    fn a_refused_field_keeps_its_name() {
        let refused = Refused::field("name", "Say where it will live.").into_response();
        let problem = problem(&refused, &Method::POST).unwrap();
        assert_eq!((problem.status, problem.errors[0].field.as_str()), (422, "name"));
    }

    #[test]
    fn answers_of_a_protocol_stay_as_they_are() {
        let oauth = (StatusCode::BAD_REQUEST, axum::Json("slow_down")).into_response();
        assert_eq!(problem(&oauth, &Method::POST), None);
        let bare = StatusCode::METHOD_NOT_ALLOWED.into_response();
        assert!(problem(&bare, &Method::PUT).unwrap().detail.contains("PUT"));
    }

    #[test]
    fn the_service_of_an_address_is_read() {
        assert_eq!(service("/api/v1/services/a%20b/environments/x").as_deref(), Some("a b"));
        assert_eq!(service("/api/v1/deploys/1"), None);
    }
}
