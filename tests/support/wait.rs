//! Waiting for what happens in its own time.

use std::time::{Duration, Instant};

const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// No promise: what a machine may need that runs all tests at once.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks again until it is there.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look).await
}

/// [`until`], where it is promised to come sooner.
pub async fn within<T>(patience: Duration, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    found_within(patience, look).await.unwrap_or_else(|| panic!("{what}: not within {patience:?}"))
}

/// For those who have more to say when it never came.
pub async fn found<T>(look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    found_within(PATIENCE, look).await
}

pub async fn found_within<T>(patience: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return Some(found);
        }
        if began.elapsed() > patience {
            return None;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
