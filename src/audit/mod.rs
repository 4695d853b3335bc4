//! The audit trail, for the platform team and for auditors: who did what, as whom, to what, from where, with which
//! outcome. `crate::events` appends the rows; here they are filtered (`filter.rs`), shown (`show.rs`) and handed out as
//! CSV and JSON (`export.rs`). The page says whether the chain of hashes still holds (`check.rs`).

mod check;
mod export;
mod filter;
mod show;
mod wording;

pub use check::Checks;

use crate::web::{Access, Routes};

pub fn routes() -> Routes {
    Routes::default()
        .get("/audit", Access::Platform, show::show)
        .get("/audit.csv", Access::Platform, export::csv)
        .get("/audit.json", Access::Platform, export::json)
}
