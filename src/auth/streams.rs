//! Event streams last, so they are held to what a page is held to at every click: so many at once a person, and
//! only while the sign-in that opened them counts. One that lasted long begins again through the door.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};

use super::bearer::{self, UsedToken};
use super::session::{self, SessionKey};
use super::token::TokenKey;
use super::{CurrentUser, Identity, wording};
use crate::app::App;
use crate::web::{Error, Result, sse};

/// At once, a person. One a tab is what pages need.
pub const MOST: usize = 20;
/// Then the browser comes back by itself, to whichever replica, and goes on where it was.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Open streams by person.
#[derive(Clone, Default)]
pub struct Streams(Arc<Mutex<HashMap<Identity, usize>>>);

/// One stream's place, given back when it ends, however it ends.
pub struct Place {
    streams: Streams,
    person: Identity,
}

impl Streams {
    /// A place, unless the person holds them all.
    fn enter(&self, person: &Identity) -> Option<Place> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(person.clone()).or_default();
        if *count >= MOST {
            return None;
        }
        *count += 1;
        Some(Place { streams: self.clone(), person: person.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.person) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.person);
            }
        }
    }
}

/// An argument of handlers that answer with a stream.
pub struct StreamDoor {
    app: App,
    user: CurrentUser,
    by: SignedInBy,
}

/// What a stream ends with.
#[derive(Clone, Copy)]
enum SignedInBy {
    Session(SessionKey),
    Token(TokenKey),
}

impl StreamDoor {
    /// A place for something that lasts.
    pub fn enter(&self) -> Result<Place> {
        self.app.streams.enter(&self.user.identity).ok_or_else(|| Error::TooMany(wording::too_many_streams()))
    }

    /// Answers with these events, for as long as the portal runs and the sign-in counts.
    pub fn open<S>(self, events: S) -> Result<Response>
    where
        S: Stream<Item = std::result::Result<Event, Infallible>> + Send + 'static,
    {
        let place = self.enter()?;
        let Self { app, by, .. } = self;
        let over = async move {
            tokio::select! {
                () = app.shutdown.cancelled() => {}
                () = tokio::time::sleep(LONGEST) => {}
                () = by.over(&app) => {}
            }
        };
        let held = events.take_until(Box::pin(over)).map(move |event| {
            let _held = &place;
            event
        });
        Ok(sse::stream(held).into_response())
    }
}

impl SignedInBy {
    async fn over(self, app: &App) {
        match self {
            Self::Session(key) => session::over(app, key).await,
            Self::Token(key) => bearer::over(app, key).await,
        }
    }
}

impl FromRequestParts<App> for StreamDoor {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let user = CurrentUser::from_request_parts(parts, app).await?;
        let known = &parts.extensions;
        let by = match (known.get::<UsedToken>(), known.get::<SessionKey>()) {
            (Some(token), _) => SignedInBy::Token(token.key),
            (None, Some(session)) => SignedInBy::Session(*session),
            (None, None) => return Err(Error::Forbidden("Sign in first.".into())),
        };
        Ok(Self { app: app.clone(), user, by })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_left_can_be_taken_again() {
        let streams = Streams::default();
        let maya = Identity { issuer: "i".into(), subject: "maya".into() };
        let omar = Identity { issuer: "i".into(), subject: "omar".into() };
        let mut places: Vec<_> = (0..MOST).map(|_| streams.enter(&maya).unwrap()).collect();
        assert!(streams.enter(&maya).is_none());
        assert!(streams.enter(&omar).is_some());
        places.pop();
        assert!(streams.enter(&maya).is_some());
    }
}
