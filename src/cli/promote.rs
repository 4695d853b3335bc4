//! `platform promote`: what stands beside the old version has been looked at and may go on.

use clap::Args;

use super::args::Globals;
use super::failure::{Exit, Failure};
use super::portal::Portal;
use super::print::Out;
use super::wording;
use crate::api::types::Deploy;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The number of the deploy; `platform history` lists them.
    #[arg(value_name = "ID")]
    id: i64,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let portal = Portal::of(globals)?;
    let id = arguments.id.to_string();
    let deploy: Deploy =
        portal.post(portal.url(&["deploys", &id, "promotion"]), &serde_json::json!({})).await?;
    Out::new(globals).value(&deploy, |_| format!("{}\n{}\n", wording::promoted(&deploy), deploy.url))
}
