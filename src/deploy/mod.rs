//! Deploys.

mod counts;
pub mod render;

pub use counts::Counts;
