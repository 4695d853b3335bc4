//! Waiting for what happens in its own time.

use std::time::Duration;

use super::Page;

const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Who waits long looks less often: the other tests need the machine, too.
const LOOK_AT_LEAST: Duration = Duration::from_millis(200);
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

/// A look that hangs, or that finds it when it is too late, has not found it.
pub async fn found_within<T>(patience: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let searched = async {
        let mut pause = LOOK_AGAIN;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 5 / 4).min(LOOK_AT_LEAST);
        }
    };
    tokio::time::timeout(patience, searched).await.ok()
}

/// Asks until it is asked too often. One more is allowed every second, so a slow machine needs some more than the limit.
pub async fn too_often(mut ask: impl AsyncFnMut() -> Page) -> Page {
    for _ in 0..600 {
        let page = ask().await;
        if page.status == 429 {
            return page;
        }
    }
    panic!("nothing keeps anybody from asking 600 times");
}
