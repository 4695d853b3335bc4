//! Work that outlives its request: rows that any replica may claim, look at, and put back. A claim is a lease (the
//! database's clock) with a fence, so a replica that dies or falls behind loses the row and nothing else. What a look
//! does is the slice's own (`deploy/engine.rs`, `grants/engine.rs`); this is the turn that both take.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// A dead owner's row waits this long, plus one poll, for the next owner. Longer than any one call takes.
pub const LEASE_SECONDS: f64 = 20.0;
/// How long the queue goes unread when no notification arrives.
const POLL: Duration = Duration::from_millis(500);
/// Looks at the same time in one process.
const PARALLEL: usize = 16;

pub trait Queue: Clone + Send + Sync + 'static {
    type Row: Send + 'static;
    /// For the log, and the channel on which changes are notified.
    const NAME: &'static str;

    fn db(&self) -> &PgPool;
    fn shutdown(&self) -> &CancellationToken;
    /// The next row that is due, with a lease for `owner`. None: nothing is due.
    fn claim(&self, owner: Uuid) -> impl Future<Output = anyhow::Result<Option<Self::Row>>> + Send;
    /// Looks at it, acts and records, until it has to wait.
    fn look(&self, row: Self::Row) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Runs until shutdown. Looks that are under way then finish: at most one call's timeout.
pub async fn run<Q: Queue>(queue: Q) {
    let owner = Uuid::new_v4();
    let places = Arc::new(Semaphore::new(PARALLEL));
    let looks = TaskTracker::new();
    let mut listener = None;
    while !queue.shutdown().is_cancelled() {
        if let Err(error) = claim(&queue, owner, &places, &looks).await {
            tracing::warn!(
                queue = Q::NAME,
                error = format!("{error:#}"),
                "the queue can’t be read, trying again"
            );
        }
        wait_for_work(&queue, &mut listener).await;
    }
    looks.close();
    looks.wait().await;
}

/// Claims what is due, as long as there is room for another look.
async fn claim<Q: Queue>(
    queue: &Q,
    owner: Uuid,
    places: &Arc<Semaphore>,
    looks: &TaskTracker,
) -> anyhow::Result<()> {
    while let Ok(place) = places.clone().try_acquire_owned() {
        let Some(row) = queue.claim(owner).await? else { break };
        let queue = queue.clone();
        looks.spawn(async move {
            let _place = place;
            // A panic in one look must not take the others along; the lease hands the row on.
            match AssertUnwindSafe(queue.look(row)).catch_unwind().await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(
                        queue = Q::NAME,
                        error = format!("{error:#}"),
                        "a look failed, trying again"
                    )
                }
                Err(_) => tracing::error!(queue = Q::NAME, "a look panicked"),
            }
        });
    }
    Ok(())
}

/// Until a row changes, or the next poll. A lost listener is opened again; until then the poll does.
async fn wait_for_work<Q: Queue>(queue: &Q, listener: &mut Option<PgListener>) {
    if listener.is_none() {
        *listener = listen(queue).await.ok();
    }
    let notified = async {
        match listener.as_mut() {
            Some(open) => open.recv().await.is_ok(),
            None => std::future::pending().await,
        }
    };
    let alive = tokio::select! {
        alive = notified => alive,
        () = tokio::time::sleep(POLL) => true,
        () = queue.shutdown().cancelled() => true,
    };
    if !alive {
        *listener = None;
    }
}

async fn listen<Q: Queue>(queue: &Q) -> sqlx::Result<PgListener> {
    let mut listener = PgListener::connect_with(queue.db()).await?;
    listener.listen(Q::NAME).await?;
    Ok(listener)
}
