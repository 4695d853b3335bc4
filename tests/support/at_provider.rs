//! The built-in identity provider, with a hand on what it says and on whether it says anything.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use pilothouse::clock::Clock;
use pilothouse::demo::{self, Keys, People, Provider};

use super::{KEY, listen};

pub struct AtProvider {
    pub issuer: String,
    provider: Arc<Provider>,
    door: Arc<Door>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Answers {
    AtOnce,
    /// As one that is overloaded: after this long.
    After(Duration),
    /// As a proxy before a provider that is down.
    Never,
}

struct Door {
    answers: Mutex<Answers>,
    refreshes: AtomicUsize,
}

impl AtProvider {
    pub async fn start(people: People, clock: Clock) -> Self {
        let (listener, issuer) = listen().await;
        let provider = Provider::new(issuer.clone(), people, Keys::from_pem(&KEY).unwrap(), clock);
        let door = Arc::new(Door { answers: Mutex::new(Answers::AtOnce), refreshes: AtomicUsize::default() });
        let router = demo::router(provider.clone()).layer(from_fn_with_state(door.clone(), at_door));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { issuer, provider, door }
    }

    pub fn put_into(&self, username: &str, groups: &[&str]) {
        self.provider.put_into(username, groups);
    }

    pub fn disable(&self, username: &str) {
        self.provider.disable(username);
    }

    pub fn answers(&self, answers: Answers) {
        *self.door.answers.lock().unwrap() = answers;
    }

    /// How often its tokens were asked for since the last look.
    pub fn asked(&self) -> usize {
        self.door.refreshes.swap(0, Ordering::SeqCst)
    }
}

async fn at_door(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    if request.uri().path() == "/token" {
        door.refreshes.fetch_add(1, Ordering::SeqCst);
    }
    let answers = *door.answers.lock().unwrap();
    match answers {
        Answers::AtOnce => next.run(request).await,
        Answers::After(wait) => {
            let answer = next.run(request).await;
            tokio::time::sleep(wait).await;
            answer
        }
        Answers::Never => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
