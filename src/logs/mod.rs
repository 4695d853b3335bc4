//! Logs of a service in an environment: one page, one live stream, one download.
//!
//! ```text
//!  /services/{name}/logs ── asked.rs: what is wanted, may they ── load.rs: read each container ── show.rs: the page
//!        │ data-stream, with the position of its last lines
//!        ▼
//!  …/logs/stream ── stream.rs: kube::logs::View as server-sent events; the id of each event is a position
//!  …/logs/download ── download.rs: everything in the range, as it was written
//!  /deploys/{id}/log/stream ── job.rs: the log of a migration, to its end
//! ```
//! Everything is read as the person. The page is whole without script; with it, lines go on arriving.

mod asked;
mod download;
mod histogram;
mod job;
mod load;
mod show;
mod stream;
mod wording;

pub use asked::{Asked, Open, Since, Workload, open};
pub use job::{JobLog, follow as follow_job, open as open_job};
pub use load::{PROGRAM, Row, load};
pub use stream::{follow, resume};
pub use wording::{ambiguous, marker, nothing};

use std::sync::Arc;

use crate::kube::logs::Hub;
use crate::web::{Access, Routes};

/// What streams share: the follows that are open.
#[derive(Default)]
pub struct Logs {
    hub: Arc<Hub>,
}

impl Logs {
    /// Containers being followed, for tests and metrics.
    pub fn follows(&self) -> usize {
        self.hub.open()
    }
}

pub fn routes() -> Routes {
    Routes::default()
        .get("/services/{name}/logs", Access::SignedIn, show::show)
        .get("/services/{name}/logs/stream", Access::SignedIn, stream::stream)
        .get("/services/{name}/logs/download", Access::SignedIn, download::download)
        .get("/deploys/{id}/log", Access::SignedIn, job::download)
        .get("/deploys/{id}/log/stream", Access::SignedIn, job::stream)
}
