//! Logs: all pods of a workload as one live stream, read as the person who looks.
//!
//! ```text
//!  API server ══ one follow per container (upstream.rs), opened as the first viewer ══▶ ring of recent lines
//!                                                                                          │ │
//!  viewer: pods listed as the person (view.rs) ── joins each container's ring ◀───────────┘ │
//!          what the ring no longer has is read once more (read.rs) ◀── gap ──────────────────┘
//!          merged in time order every 100 ms ──▶ batches with the position in every container (position.rs)
//! ```
//!
//! Nothing is lost or told twice, whatever ends a stream: a position is a time and a count (`position.rs`), and a
//! reader resumes a second before it and skips what it had. What can't be had is said ("N lines skipped").

mod instance;
mod level;
mod line;
mod position;
mod read;
mod text;
mod upstream;
mod view;

pub use instance::{Found, Instance, instances, restart_reason};
pub use level::Level;
pub use line::{Line, MAX_LINE, Raw};
pub use position::{OddPositions, Position, Positions};
pub use read::{History, ReadError, Start, Stop, history, raw_lines};
pub use text::{Span, Style};
pub use upstream::Hub;
pub use view::{Batch, Item, Marker, Place, Selection, View, ViewEnd, Whose};
