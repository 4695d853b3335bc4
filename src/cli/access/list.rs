//! `platform access list`: yours, and those that you may decide on.

use clap::Args;
use jiff::Timestamp;

use crate::api::types::{AccessRequest, Page};
use crate::cli::failure::{Exit, Failure};
use crate::cli::portal::Portal;
use crate::cli::print::{Out, Paint, Tint, note};
use crate::cli::table::{Cell, Table};
use crate::cli::wording;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Only those in this state: requested, active, ended and so on.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub async fn run(arguments: Arguments, portal: &Portal, out: Out) -> Result<Exit, Failure> {
    let url = portal.url_with(&["access-requests"], &[("state", arguments.state.as_deref())]);
    let found: Page<AccessRequest> = portal.list(url, arguments.limit as usize).await?;
    if found.items.is_empty() {
        note("There are no access requests that you may see.");
    }
    let exit = out.value(&found, |paint| rows(&found.items, Timestamp::now(), paint))?;
    if found.next.is_some() {
        note(&wording::more(found.items.len()));
    }
    Ok(exit)
}

pub fn rows(requests: &[AccessRequest], now: Timestamp, paint: Paint) -> String {
    let mut table = Table::new(["ID", "WHO", "ROLE", "NAMESPACE", "STATE", "ENDS", "ASKED"]);
    for request in requests {
        table.row([
            Cell::tinted(Tint::Bold, request.id.to_string()),
            (&request.requester).into(),
            (&request.role).into(),
            (&request.namespace).into(),
            Cell::tinted(wording::access_tint(request), wording::state(&request.state)),
            request.until.map(|at| wording::until(at, now)).unwrap_or_default().into(),
            wording::when(request.requested_at, now).into(),
        ]);
        if let Some(why) = request.why.as_ref().filter(|_| wording::access_tint(request) == Tint::Bad) {
            table.below(Tint::Bad, why);
        }
    }
    table.text(paint)
}
