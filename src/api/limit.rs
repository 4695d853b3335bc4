//! How many changes a person may ask for with programs: enough for any script that means well, and a bound on one in a
//! loop. Reading has no bound of its own. Per replica.

use std::num::NonZeroU32;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::app::App;
use crate::auth::{CurrentUser, Identity};
use crate::web::{self, Error};

const AT_ONCE: NonZeroU32 = NonZeroU32::new(60).expect("60 is not zero");
/// One more every second after that.
const A_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("60 is not zero");
/// The quota in the words of the header.
const POLICY: HeaderValue = HeaderValue::from_static("\"changes\";q=60;w=60");
/// People who have been quiet are forgotten once this many are known.
const MANY: usize = 10_000;

type Limiter =
    RateLimiter<Identity, DefaultKeyedStateStore<Identity>, DefaultClock, StateInformationMiddleware>;

pub struct ChangeLimit(Limiter);

impl Default for ChangeLimit {
    fn default() -> Self {
        let quota = Quota::per_minute(A_MINUTE).allow_burst(AT_ONCE);
        Self(RateLimiter::keyed(quota).with_middleware())
    }
}

impl ChangeLimit {
    /// How many more changes there may be right now, or after how many seconds there may be one.
    fn take(&self, person: &Identity) -> Result<u32, u64> {
        if self.0.len() > MANY {
            self.0.retain_recent();
        }
        match self.0.check_key(person) {
            Ok(state) => Ok(state.remaining_burst_capacity()),
            Err(not_yet) => Err(not_yet.wait_time_from(DefaultClock::default().now()).as_secs() + 1),
        }
    }
}

/// Middleware: counts changes and tells how many are left (draft-ietf-httpapi-ratelimit-headers).
pub async fn limit(State(app): State<App>, request: Request, next: Next) -> Response {
    let changes = web::is_api(request.uri().path()) && !request.method().is_safe();
    let Some(user) = request.extensions().get::<CurrentUser>().filter(|_| changes).cloned() else {
        return next.run(request).await;
    };
    let taken = app.api.changes.take(&user.identity);
    let mut response = match taken {
        Ok(_) => next.run(request).await,
        Err(_) => {
            let sentence = "You asked for more than 60 changes in a minute. Wait a moment, then go on.";
            Error::TooMany(sentence.into()).into_response()
        }
    };
    let (left, seconds) = match taken {
        Ok(left) => (left, u64::from(AT_ONCE.get().saturating_sub(left))),
        Err(seconds) => (0, seconds),
    };
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("ratelimit-policy"), POLICY);
    if let Ok(told) = HeaderValue::from_str(&format!("\"changes\";r={left};t={seconds}")) {
        headers.insert(HeaderName::from_static("ratelimit"), told);
    }
    if taken.is_err() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_runs_out_and_others_do_not() {
        let limit = ChangeLimit::default();
        let person =
            |subject: &str| Identity { issuer: "https://id.example".into(), subject: subject.into() };
        assert_eq!(limit.take(&person("maya")), Ok(59));
        assert!((0..59).all(|_| limit.take(&person("maya")).is_ok()));
        assert!(matches!(limit.take(&person("maya")), Err(1..=2)));
        assert_eq!(limit.take(&person("omar")), Ok(59));
    }
}
