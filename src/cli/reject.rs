//! `platform reject`: no, and why.

use clap::Args;

use super::args::Globals;
use super::ask::{self, Missing};
use super::failure::{Exit, Failure};
use super::portal::Portal;
use super::print::Out;
use super::wording;
use crate::api::types::{Deploy, NewDecision};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The number of the deploy; `platform inbox` lists them.
    #[arg(value_name = "ID")]
    id: i64,
    /// Why. The requester reads it, and it is kept in the audit trail. Asked for where it is not given.
    #[arg(long, value_name = "TEXT", visible_alias = "reason")]
    note: Option<String>,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let portal = Portal::of(globals)?;
    let id = arguments.id.to_string();
    let note = match arguments.note {
        Some(note) => note,
        None => {
            let missing = Missing { what: "why it is rejected", flag: "--note", choices: &[] };
            ask::until("Why? The requester reads it:", None, missing, |answer| match answer {
                "" => Err("Say why in a few words.".to_string()),
                _ => Ok(answer.to_string()),
            })?
        }
    };
    let deploy: Deploy = portal.get(portal.url(&["deploys", &id])).await?;
    let decision = NewDecision { approve: false, note, seen: deploy.digest };
    let deploy: Deploy = portal.post(portal.url(&["deploys", &id, "decision"]), &decision).await?;
    Out::new(globals).value(&deploy, |_| format!("{}\n{}\n", wording::rejected(&deploy), deploy.url))
}
