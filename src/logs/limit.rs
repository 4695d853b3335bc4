//! So many streams a person may hold open. A place is given back when the stream ends, however it ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::auth::Identity;

pub const MOST: usize = 10;

/// Open streams by person.
#[derive(Clone, Default)]
pub struct Streams(Arc<Mutex<HashMap<Identity, usize>>>);

/// A stream's place.
pub struct Place {
    streams: Streams,
    person: Identity,
}

impl Streams {
    /// A place, unless the person holds them all.
    pub fn enter(&self, person: &Identity) -> Option<Place> {
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
