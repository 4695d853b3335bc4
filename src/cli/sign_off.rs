//! `platform sign-off`: somebody else looked into a glass that was broken.

use clap::Args;

use super::args::Globals;
use super::ask::{self, Missing};
use super::failure::{Exit, Failure};
use super::portal::Portal;
use super::print::Out;
use super::wording;
use crate::api::types::{GlassReview, NewSignOff};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The number of the review; `platform inbox` lists them.
    #[arg(value_name = "ID")]
    id: i64,
    /// What you found. It is kept in the audit trail. Asked for where it is not given.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let portal = Portal::of(globals)?;
    let note = match arguments.note {
        Some(note) => note,
        None => {
            let missing = Missing { what: "what you found", flag: "--note", choices: &[] };
            ask::until("What did you find?", None, missing, |answer| match answer {
                "" => Err("Say it in a few words.".to_string()),
                _ => Ok(answer.to_string()),
            })?
        }
    };
    let url = portal.url(&["glass-reviews", &arguments.id.to_string(), "sign-off"]);
    let review: GlassReview = portal.post(url, &NewSignOff { note }).await?;
    Out::new(globals).value(&review, |_| format!("{}\n", wording::signed_off(&review)))
}
