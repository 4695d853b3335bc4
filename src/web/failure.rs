//! The page of a request that failed: keeps the frame, says what happened in a sentence, names the request and the
//! ways on. htmx asks for parts of pages, so it gets a toast and what the person sees stays as it is.

use askama::Template;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{Html, IntoResponse, Response};

use super::error::Error;
use super::layout::{Layout, Nav};

/// What is said about a failure, wherever it is drawn.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub status: StatusCode,
    pub heading: String,
    pub sentence: String,
    /// A service whose name is nearly the one asked for.
    pub near: Option<String>,
}

impl Failure {
    pub fn of(error: &Error) -> Self {
        let (heading, sentence) = error.words();
        Self { status: error.status(), heading: heading.into(), sentence, near: None }
    }

    /// What an extractor, the router or a limit refused before any handler could say why. `None`: a handler's own
    /// answer, which stays as it is.
    pub fn bare(status: StatusCode, method: &Method) -> Option<Self> {
        let (heading, sentence) = match status {
            StatusCode::BAD_REQUEST
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY => (
                "That request can’t be used",
                "A part of the address or of the form is not what this page expects. Nothing was changed."
                    .into(),
            ),
            StatusCode::METHOD_NOT_ALLOWED => (
                "This address can’t be used that way",
                format!("It does not answer {method} requests. Nothing was changed."),
            ),
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => (
                "This took too long",
                "The portal gave up waiting. What you asked for may still happen: look before you ask again."
                    .into(),
            ),
            StatusCode::PAYLOAD_TOO_LARGE => (
                "That is too much at once",
                "A form may hold 256 KiB. Shorten what you typed. Nothing was changed.".into(),
            ),
            StatusCode::INTERNAL_SERVER_ERROR => {
                return Some(Self::of(&Error::Internal(anyhow::anyhow!("no cause"))));
            }
            _ => return None,
        };
        Some(Self { status, heading: heading.into(), sentence, near: None })
    }

    /// Names the service that was looked for, and the one that was probably meant.
    pub fn no_service(mut self, asked: &str, near: Option<String>) -> Self {
        self.heading = format!("There is no service “{asked}”");
        self.sentence = "It may have been renamed, or its owners don’t have it in the catalogue.".into();
        self.near = near;
        self
    }

    /// Something of ours, or something we need.
    fn is_fault(&self) -> bool {
        self.status.is_server_error()
    }

    fn symbol(&self) -> &'static str {
        match self.status {
            StatusCode::FORBIDDEN => "lock",
            StatusCode::NOT_FOUND => "search",
            StatusCode::CONFLICT => "history",
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => {
                "hourglass"
            }
            StatusCode::SERVICE_UNAVAILABLE => "cloud-off",
            status if status.is_server_error() => "octagon-x",
            _ => "circle-x",
        }
    }

    /// What the breadcrumb and the browser's tab say.
    fn title(&self) -> &'static str {
        match self.status {
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::CONFLICT => "Moved meanwhile",
            StatusCode::SERVICE_UNAVAILABLE => "Away",
            status if status.is_server_error() => "Something broke",
            _ => "Not possible",
        }
    }

    /// The whole page, in the frame where somebody is signed in.
    pub fn page(&self, layout: Layout) -> Response {
        let layout = layout.at(Nav::None, &[(self.title(), "")]);
        let html = if layout.user.is_some() {
            Page { layout, failure: self }.render()
        } else {
            BarePage { layout, failure: self }.render()
        };
        self.answer(html)
    }

    /// For htmx: nothing is swapped, a toast says it and stays until it is dismissed.
    pub fn toast(&self, request_id: &str) -> Response {
        let mut answer = self.answer(Toast { failure: self, request_id }.render());
        answer.headers_mut().insert("hx-reswap", HeaderValue::from_static("none"));
        answer
    }

    fn answer(&self, html: askama::Result<String>) -> Response {
        match html {
            Ok(html) => (self.status, Html(html)).into_response(),
            Err(error) => {
                tracing::error!(%error, "the error page can’t be drawn");
                self.status.into_response()
            }
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct Page<'a> {
    layout: Layout,
    failure: &'a Failure,
}

#[derive(Template)]
#[template(path = "error_bare.html")]
struct BarePage<'a> {
    layout: Layout,
    failure: &'a Failure,
}

#[derive(Template)]
#[template(path = "components/error_toast.html")]
struct Toast<'a> {
    failure: &'a Failure,
    request_id: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::parts::keep;

    fn draw(failure: &Failure) -> String {
        let layout = Layout::sample().at(Nav::None, &[(failure.title(), "")]);
        Page { layout, failure }.render().unwrap()
    }

    #[test]
    fn each_failure_has_a_page_with_its_sentence_and_its_request() {
        let all = [
            (Error::NotFound, "There is nothing here"),
            (
                Error::Forbidden("You can’t restart here. Priya Raman can grant it.".into()),
                "Priya Raman can grant it.",
            ),
            (Error::BadRequest("Say why, in a sentence.".into()), "Say why, in a sentence."),
            (Error::Conflict("Omar rejected it at 14:02.".into()), "Omar rejected it at 14:02."),
            (Error::TooMany("10 streams are open already.".into()), "10 streams are open already."),
            (
                Error::Unavailable("The cluster main does not answer.".into()),
                "The cluster main does not answer.",
            ),
            (Error::Internal(anyhow::anyhow!("secret cause")), "your deploys did not"),
        ];
        for (error, sentence) in all {
            let failure = Failure::of(&error);
            let html = draw(&failure);
            assert!(html.contains(sentence), "{error:?}");
            assert!(html.contains("9f2c41d7-aa06"), "{error:?}");
            assert!(!html.contains("secret cause"), "the cause is for the log");
            keep(&format!("error-{}.html", failure.status.as_u16()), &html);
        }
    }

    #[test]
    fn nobody_signed_in_gets_the_page_without_the_frame() {
        let layout = Layout { user: None, ..Layout::sample() };
        let html = BarePage { layout, failure: &Failure::of(&Error::NotFound) }.render().unwrap();
        assert!(html.contains("There is nothing here") && html.contains("/sign-in"));
        assert!(!html.contains(r#"id="side""#));
        keep("error-bare.html", &html);
    }

    #[test]
    fn a_mistyped_service_is_recognised() {
        let failure = Failure::of(&Error::NotFound).no_service("chekout-api", Some("checkout-api".into()));
        let html = draw(&failure);
        assert!(html.contains("There is no service “chekout-api”"));
        assert!(
            html.contains(r#"Did you mean <a class="link" href="/services/checkout-api">checkout-api</a>?"#)
        );
        keep("error-404-service.html", &html);
    }

    #[test]
    fn refusals_of_the_framework_are_said_in_sentences_and_handlers_own_answers_stay() {
        let said = |status| Failure::bare(status, &Method::PUT).map(|failure| failure.sentence);
        assert!(said(StatusCode::METHOD_NOT_ALLOWED).unwrap().contains("PUT"));
        assert!(said(StatusCode::PAYLOAD_TOO_LARGE).unwrap().contains("256 KiB"));
        assert_eq!(said(StatusCode::SERVICE_UNAVAILABLE), None);
        assert_eq!(said(StatusCode::OK), None);
    }

    #[test]
    fn htmx_gets_a_toast_and_swaps_nothing() {
        let toast = Failure::of(&Error::Conflict("Omar rejected it.".into()));
        let html = Toast { failure: &toast, request_id: "9f2c" }.render().unwrap();
        assert!(html.contains(r##"hx-target="#toasts""##) && html.contains("Omar rejected it."));
        assert_eq!(toast.toast("9f2c").headers()["hx-reswap"], "none");
    }
}
