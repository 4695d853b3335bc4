//! What the pages of the catalogue share between requests: the board, and answers that are a moment old.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::future::Cache;
use tokio::sync::Notify;

use super::activity::History;
use super::board::{Board, Overview};
use super::last::Lasts;
use super::sight::Sight;
use super::wording;
use crate::app::App;
use crate::auth::{Identity, Person};
use crate::web::Error;

/// Nobody notices a second; thousands of requests in it cost one.
const A_MOMENT: Duration = Duration::from_secs(1);
/// Starting takes less; after that the page says what is wrong.
const LOADING: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

pub struct Pages {
    pub(super) board: ArcSwap<Board>,
    pub(super) catalogue_changed: Notify,
    pub(super) sight: Sight,
    pub(super) lasts: Cache<Vec<u32>, Arc<Lasts>>,
    pub(super) histories: Cache<String, Arc<History>>,
    overviews: Cache<Identity, Arc<Overview>>,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            board: ArcSwap::default(),
            catalogue_changed: Notify::new(),
            sight: Sight::default(),
            lasts: Cache::builder().max_capacity(256).time_to_live(A_MOMENT).build(),
            histories: Cache::builder().max_capacity(256).time_to_live(A_MOMENT).build(),
            overviews: Cache::builder().max_capacity(256).time_to_live(A_MOMENT).build(),
        }
    }
}

impl Pages {
    /// The board as a person may see it, at most a second old.
    pub(super) async fn overview(&self, app: &App, person: &Person) -> Result<Arc<Overview>, Error> {
        let start = tokio::time::Instant::now();
        while !self.board.load().catalogue.loaded {
            if start.elapsed() > LOADING {
                return Err(Error::Unavailable(wording::STILL_LOADED.into()));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let make = async { Arc::new(Overview::of(app, person).await) };
        Ok(self.overviews.get_with(person.identity.clone(), make).await)
    }

    /// The board as a person may see it, and where in it a service is. Who has just imported a service opens its page
    /// before a board is made of it, or while an older one is remembered: that is waited for, not answered with 404.
    pub(super) async fn find(
        &self,
        app: &App,
        person: &Person,
        service: &str,
    ) -> Result<(Arc<Overview>, u32), Error> {
        let start = tokio::time::Instant::now();
        loop {
            let overview = self.overview(app, person).await?;
            if let Some(n) = overview.board.catalogue.position(service) {
                return Ok((overview, n));
            }
            if app.catalogue.load().service(service).is_none() {
                return Err(Error::NotFound);
            }
            if start.elapsed() > LOADING {
                return Err(Error::Unavailable(wording::JUST_IMPORTED.into()));
            }
            if Arc::ptr_eq(&overview.board, &self.board.load()) {
                tokio::time::sleep(LOOK_AGAIN).await;
            } else {
                self.overviews.invalidate(&person.identity).await;
            }
        }
    }
}
