//! Tells open pages of this process that a deploy moved, whichever replica moved it: one database listener feeds
//! every stream.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::deploy::DeployId;
use crate::app::App;

/// Enough for every deploy of a busy minute; a page that falls behind draws once and is up to date.
const BACKLOG: usize = 256;

pub struct DeployPages(broadcast::Sender<DeployId>);

impl Default for DeployPages {
    fn default() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }
}

impl DeployPages {
    pub fn subscribe(&self) -> broadcast::Receiver<DeployId> {
        self.0.subscribe()
    }
}

/// One deploy, by everything that happens to it from now on.
pub struct Moves {
    id: DeployId,
    pages: broadcast::Receiver<DeployId>,
}

impl Moves {
    pub fn of(app: &App, id: DeployId) -> Self {
        Self { id, pages: app.deploy_pages.subscribe() }
    }

    /// Waits until it moved. `false`: nothing will be told any more.
    pub async fn next(&mut self) -> bool {
        loop {
            match self.pages.recv().await {
                Ok(id) if id == self.id => return true,
                Ok(_) => {}
                // Too many at once: look again, whatever it was.
                Err(RecvError::Lagged(_)) => return true,
                Err(RecvError::Closed) => return false,
            }
        }
    }
}

/// Listens until shutdown; opens a new connection whenever the database went away.
pub async fn run(app: App) {
    while !app.shutdown.is_cancelled() {
        if let Err(error) = listen(&app).await {
            tracing::warn!(error = format!("{error:#}"), "live pages wait for the database");
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = app.shutdown.cancelled() => {}
            }
        }
    }
}

async fn listen(app: &App) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(&app.db).await?;
    listener.listen_all(["deploys", "deploy_pages"]).await?;
    loop {
        let notification = tokio::select! {
            notification = listener.recv() => notification?,
            () = app.shutdown.cancelled() => return Ok(()),
        };
        if let Ok(id) = notification.payload().parse() {
            // Nobody listening is fine.
            let _ = app.deploy_pages.0.send(DeployId(id));
        }
    }
}
