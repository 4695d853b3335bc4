//! `platform approve`: yes to exactly what was shown. The digest of that goes along, so a change in between is refused.

use clap::Args;

use super::args::{Agreed, Globals};
use super::failure::{Exit, Failure};
use super::portal::Portal;
use super::print::{Out, say};
use super::{ask, wording};
use crate::api::types::{Deploy, NewDecision};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The number of the deploy; `platform inbox` lists them.
    #[arg(value_name = "ID")]
    id: i64,
    /// A remark for the requester and the audit trail.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    note: String,
    /// The digest you looked at elsewhere. Refused where it is another by now.
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    #[command(flatten)]
    agreed: Agreed,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let portal = Portal::of(globals)?;
    let id = arguments.id.to_string();
    let seen = match arguments.digest {
        Some(digest) => digest,
        None => {
            let deploy: Deploy = portal.get(portal.url(&["deploys", &id])).await?;
            // An approval without anybody who looked has to be meant.
            if !arguments.agreed.yes && !ask::somebody_is_there() {
                let flag = "--digest, or --yes for whatever it is now";
                return Err(Failure::NobodyToAsk { what: "your agreement", flag, choices: Vec::new() });
            }
            for line in wording::decision(&deploy) {
                say(&line);
            }
            ask::agree("Approve exactly this?", arguments.agreed.yes)?;
            deploy.digest
        }
    };
    let decision = NewDecision { approve: true, note: arguments.note, seen };
    let deploy: Deploy = portal.post(portal.url(&["deploys", &id, "decision"]), &decision).await?;
    Out::new(globals).value(&deploy, |_| format!("{}\n{}\n", wording::approved(&deploy), deploy.url))
}
