//! What a person sees first: what waits for them, what they are told, how their services are, what changed today; and the palette
//! (`search.rs`) that takes them anywhere else. `look.rs` finds out how a service is, as far as they may see it.

mod look;
mod search;
mod show;
mod wording;

use crate::web::{Access, Routes};

pub fn routes() -> Routes {
    Routes::default().get("/", Access::SignedIn, show::home).get("/search", Access::SignedIn, search::search)
}
