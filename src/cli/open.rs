//! `platform open`: the page of a service or a deploy.

use std::io::{self, IsTerminal as _};

use clap::Args;
use clap_complete::ArgValueCompleter;

use super::args::Globals;
use super::browser;
use super::failure::{Exit, Failure};
use super::portal::Portal;
use super::print::{Format, Out};
use super::{complete, pick};
use crate::api::types::{Deploy, ServiceDetail};

#[derive(Debug, Args)]
pub struct Arguments {
    /// A service, or the number of a deploy. Without it: the service of this folder.
    #[arg(value_name = "SERVICE|DEPLOY", add = ArgValueCompleter::new(complete::services))]
    what: Option<String>,
    /// Prints the address and opens nothing.
    #[arg(long)]
    print: bool,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let portal = Portal::of(globals)?;
    let what = arguments.what.map_or_else(pick::service_of_folder, Ok)?;
    let address = match what.parse::<i64>() {
        Ok(id) => portal.get::<Deploy>(portal.url(&["deploys", &id.to_string()])).await?.url,
        Err(_) => portal.get::<ServiceDetail>(portal.url(&["services", &what])).await?.service.url,
    };
    let out = Out::new(globals);
    // A program that reads the address wants no window.
    let may_open = !arguments.print && out.format == Format::Table && io::stdout().is_terminal();
    if may_open && browser::is_there() {
        browser::open(&address)?;
    }
    out.value(&serde_json::json!({ "url": address }), |_| format!("{address}\n"))
}
