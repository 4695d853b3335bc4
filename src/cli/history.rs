//! `platform history`: who changed what, and how it ended.

use clap::Args;
use clap_complete::ArgValueCompleter;
use jiff::Timestamp;

use super::args::{Globals, InEnvironment, OfService};
use super::failure::{Exit, Failure};
use super::portal::Portal;
use super::print::{Out, Paint, Tint, note};
use super::table::{Cell, Table};
use super::{complete, pick, wording};
use crate::api::types::{Deploy, Page};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    of: OfService,
    /// Of every service that you see.
    #[arg(long, conflicts_with_all = ["name", "service"])]
    all: bool,
    #[command(flatten)]
    environment: InEnvironment,
    /// Only those in this state: succeeded, failed, awaiting_approval and so on.
    #[arg(long, value_name = "STATE", add = ArgValueCompleter::new(complete::states))]
    state: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let service = if arguments.all { None } else { Some(pick::service(&arguments.of)?) };
    let portal = Portal::of(globals)?;
    let query = [
        ("service", service.as_deref()),
        ("environment", arguments.environment.env.as_deref()),
        ("state", arguments.state.as_deref()),
    ];
    let found: Page<Deploy> =
        portal.list(portal.url_with(&["deploys"], &query), arguments.limit as usize).await?;
    if found.items.is_empty() {
        note("Nothing was deployed.");
    }
    let exit = Out::new(globals).value(&found, |paint| rows(&found.items, Timestamp::now(), paint))?;
    if found.next.is_some() {
        note(&wording::more(found.items.len()));
    }
    Ok(exit)
}

pub fn rows(deploys: &[Deploy], now: Timestamp, paint: Paint) -> String {
    let mut table = Table::new(["ID", "SERVICE", "ENVIRONMENT", "WHAT", "STATE", "BY", "WHEN"]);
    for deploy in deploys {
        table.row([
            Cell::tinted(Tint::Bold, deploy.id.to_string()),
            (&deploy.service).into(),
            (&deploy.environment).into(),
            wording::what(deploy).into(),
            Cell::tinted(wording::state_tint(&deploy.state), wording::state(&deploy.state)),
            (&deploy.requester).into(),
            wording::when(deploy.requested_at, now).into(),
        ]);
        if let Some(why) = deploy.why.as_ref().filter(|_| wording::is_failure(&deploy.state)) {
            table.below(Tint::Bad, why);
        }
    }
    table.text(paint)
}
