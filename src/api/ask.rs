//! How a program asks: who it is, the JSON it sends, the query of an address, and the keys that make a repeated request
//! the same request.

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Json, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum_extra::extract::Query;
use serde::de::DeserializeOwned;

use super::problem::{Refused, Result};
use super::types::FieldError;
use crate::app::App;
use crate::auth::{CurrentUser, Scope, UsedToken};
use crate::catalogue::Service;
use crate::config::Environment;
use crate::deploy::in_bounds;
use crate::web::Error;

/// Who asks, and with which token; none in a browser.
pub struct Caller {
    pub user: CurrentUser,
    pub token: Option<UsedToken>,
}

impl Caller {
    /// An environment where others have to approve takes a scope of its own, and a machine keeps to its team and its
    /// environments.
    pub fn may_change(&self, app: &App, service: &Service, environment: &Environment) -> Result<()> {
        let scope = if environment.approvals > 0 { Scope::Production } else { Scope::Deploy };
        if let Some(token) = &self.token {
            token.may(scope)?;
        }
        Ok(in_bounds(app, &self.user, &service.name, &service.team, environment.name())?)
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> std::result::Result<Self, Error> {
        let user = <CurrentUser as FromRequestParts<App>>::from_request_parts(parts, app).await?;
        Ok(Self { user, token: parts.extensions.get::<UsedToken>().cloned() })
    }
}

/// A JSON body in the shape its handler asked for.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &App) -> Result<Self> {
        match Json::<T>::from_request(request, app).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(odd_body(&rejection)),
        }
    }
}

fn odd_body(rejection: &JsonRejection) -> Refused {
    match rejection {
        JsonRejection::JsonDataError(odd) => odd_data(&odd.body_text()),
        JsonRejection::JsonSyntaxError(_) => {
            Refused::unreadable(StatusCode::BAD_REQUEST, "The body is not JSON.")
        }
        JsonRejection::MissingJsonContentType(_) => Refused::unreadable(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Send JSON, and say so: `Content-Type: application/json`.",
        ),
        other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Refused::unreadable(StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than 256 KiB.")
        }
        other => Refused::unreadable(other.status(), "The body could not be read."),
    }
}

/// "Failed to deserialize …: scopes[0]: unknown variant `x` … at line 1 column 9", told by its field.
fn odd_data(text: &str) -> Refused {
    let detail = text.split_once(": ").map_or(text, |(_, detail)| detail);
    let detail = detail.split(" at line ").next().unwrap_or(detail);
    let missing = detail.split_once("missing field `").and_then(|(_, rest)| rest.split('`').next());
    let (field, detail) = match (missing, detail.split_once(": ")) {
        (Some(field), _) => (field.to_string(), format!("“{field}” is missing.")),
        (None, Some((field, what))) => (field.to_string(), format!("“{field}” can’t be used: {what}.")),
        (None, None) => (String::new(), format!("The request can’t be used: {detail}.")),
    };
    Refused::unusable(detail.clone(), vec![FieldError { field, detail }], Vec::new())
}

/// The query of an address. Keys may repeat.
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Asked<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(odd) => Err(odd_data(&odd.body_text())),
        }
    }
}

/// What stands between braces in an address; what has not its shape is not there.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> std::result::Result<Self, Error> {
        let read = axum::extract::Path::<T>::from_request_parts(parts, app).await;
        read.map(|axum::extract::Path(path)| Self(path)).map_err(|_| Error::NotFound)
    }
}

/// Longer keys are no keys.
const LONGEST_KEY: usize = 200;

/// `Idempotency-Key`: the same one by the same person asks for the same thing.
pub struct IdempotencyKey(pub Option<String>);

impl FromRequestParts<App> for IdempotencyKey {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self> {
        read_key(&parts.headers).map(Self)
    }
}

fn read_key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=LONGEST_KEY).contains(&key.len()) => Ok(Some(key.into())),
        _ => Err(Refused::field(
            "Idempotency-Key",
            format!("The Idempotency-Key is 1 to {LONGEST_KEY} visible ASCII characters."),
        )),
    }
}

/// How many things one page of a list may have.
const MOST: usize = 100;
const USUAL: usize = 50;
pub const NO_CURSOR: &str = "This is no cursor of this list.";

/// The `limit` of a list.
pub fn limit(asked: Option<usize>) -> Result<usize> {
    match asked.unwrap_or(USUAL) {
        limit @ 1..=MOST => Ok(limit),
        _ => Err(Refused::field("limit", format!("A page has 1 to {MOST} items."))),
    }
}

/// Which part of a list is asked for that goes by numbers, the newest first.
pub struct Part {
    most: usize,
    /// Only those below it.
    pub before: Option<i64>,
}

impl Part {
    pub fn asked(limit: Option<usize>, cursor: Option<&str>) -> Result<Self> {
        let before = cursor.map(str::parse).transpose();
        let before = before.map_err(|_| Refused::field("cursor", NO_CURSOR))?;
        Ok(Self { most: self::limit(limit)?, before })
    }

    /// How many to look for: one more than it has tells whether another part follows.
    pub fn to_find(&self) -> i64 {
        self.most as i64 + 1
    }

    /// Cuts what was found to its length; the cursor of the part after it, if one follows.
    pub fn cut<T: ToString>(&self, found: &mut Vec<T>) -> Option<String> {
        let more = found.len() > self.most;
        found.truncate(self.most);
        found.last().filter(|_| more).map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> (String, String) {
        match odd_data(text) {
            Refused::Problem(problem) => (problem.errors[0].field.clone(), problem.detail),
            Refused::Page(error) => panic!("{error:?}"),
        }
    }

    #[test]
    fn a_part_is_followed_by_another_only_where_more_was_found() {
        let cut = |found: i64| {
            let part = Part::asked(Some(2), Some("9")).ok().unwrap();
            let mut ids: Vec<i64> = (1..=found).rev().collect();
            let next = part.cut(&mut ids);
            (part.before, part.to_find(), ids, next)
        };
        assert_eq!(cut(3), (Some(9), 3, vec![3, 2], Some("2".into())));
        assert_eq!(cut(2), (Some(9), 3, vec![2, 1], None));
        assert_eq!(cut(0), (Some(9), 3, vec![], None));
        assert!(Part::asked(None, Some("x")).is_err() && Part::asked(Some(0), None).is_err());
    }

    #[test]
    fn odd_data_is_told_by_its_field() {
        let before = "Failed to deserialize the JSON body into the target type: ";
        let of = |text: &str| told(&format!("{before}{text}"));
        assert_eq!(
            of("missing field `version` at line 1 column 2"),
            ("version".into(), "“version” is missing.".into())
        );
        let (field, detail) = of("scopes[0]: unknown variant `x`, expected `read` at line 1 column 9");
        assert_eq!((field.as_str(), detail.ends_with("expected `read`.")), ("scopes[0]", true));
    }

    #[test]
    fn keys_and_limits_have_bounds() {
        let key = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", text.parse().unwrap());
            read_key(&headers)
        };
        assert_eq!(key("a-1").unwrap().as_deref(), Some("a-1"));
        assert!(key("").is_err() && key(&"x".repeat(201)).is_err());
        assert_eq!(limit(None).unwrap(), 50);
        assert!(limit(Some(0)).is_err() && limit(Some(101)).is_err());
    }
}
