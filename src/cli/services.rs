//! `platform services`: the catalogue, or what is looked for in it.

use clap::Args;

use super::args::Globals;
use super::failure::{Exit, Failure};
use super::portal::Portal;
use super::print::{Out, Tint, note};
use super::table::{Cell, Table};
use super::wording;
use crate::api::types::{Page, Service};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Words to look for, as in the search of the pages: name, team, tags, description; slips are forgiven.
    #[arg(value_name = "WORDS")]
    words: Vec<String>,
    /// Only services of this team.
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let portal = Portal::of(globals)?;
    let words = arguments.words.join(" ");
    let query =
        [("q", Some(words.as_str()).filter(|words| !words.is_empty())), ("team", arguments.team.as_deref())];
    let found: Page<Service> =
        portal.list(portal.url_with(&["services"], &query), arguments.limit as usize).await?;
    if found.items.is_empty() {
        note("No service is like that.");
    }
    let exit = Out::new(globals).value(&found, |paint| {
        let mut table = Table::new(["NAME", "TEAM", "RUNS", "DESCRIPTION"]);
        for service in &found.items {
            let runs = wording::runs(service);
            let about = if service.description.is_empty() { &service.title } else { &service.description };
            let about = about.lines().next().unwrap_or_default();
            table.row([
                Cell::tinted(Tint::Bold, &service.name),
                (&service.team).into(),
                Cell::tinted(wording::worst(&service.environments), runs),
                Cell::tinted(Tint::Dim, about),
            ]);
        }
        table.text(paint)
    })?;
    if found.next.is_some() {
        note(&wording::more(found.items.len()));
    }
    Ok(exit)
}
