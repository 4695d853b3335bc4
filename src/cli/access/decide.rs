//! Looking at one access request, and saying yes or no to exactly what was shown.

use clap::Args;
use url::Url;

use super::tell;
use crate::api::types::{AccessRequest, NewDecision};
use crate::cli::args::Agreed;
use crate::cli::ask::{self, Missing};
use crate::cli::failure::{Exit, Failure};
use crate::cli::portal::Portal;
use crate::cli::print::{Out, say};
use crate::cli::wording;

#[derive(Debug, Args)]
pub struct One {
    /// The number of the access request; `platform access list` has them.
    #[arg(value_name = "ID")]
    id: i64,
}

impl One {
    pub fn url(&self, portal: &Portal, rest: &[&str]) -> Url {
        let id = self.id.to_string();
        let parts: Vec<&str> = ["access-requests", &id].into_iter().chain(rest.iter().copied()).collect();
        portal.url(&parts)
    }

    pub async fn read(&self, portal: &Portal) -> Result<AccessRequest, Failure> {
        portal.get(self.url(portal, &[])).await
    }
}

#[derive(Debug, Args)]
pub struct Approval {
    #[command(flatten)]
    one: One,
    /// A remark for the requester and the audit trail.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    note: String,
    /// The digest you looked at elsewhere. Refused where it is another by now.
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    #[command(flatten)]
    agreed: Agreed,
}

#[derive(Debug, Args)]
pub struct Rejection {
    #[command(flatten)]
    one: One,
    /// Why. The requester reads it, and it is kept in the audit trail. Asked for where it is not given.
    #[arg(long, value_name = "TEXT", visible_alias = "reason")]
    note: Option<String>,
}

pub async fn approve(approval: Approval, portal: &Portal, out: Out) -> Result<Exit, Failure> {
    let seen = match approval.digest {
        Some(digest) => digest,
        None => {
            let request = approval.one.read(portal).await?;
            // An approval without anybody who looked has to be meant.
            if !approval.agreed.yes && !ask::somebody_is_there() {
                let flag = "--digest, or --yes for whatever it is now";
                return Err(Failure::NobodyToAsk { what: "your agreement", flag, choices: Vec::new() });
            }
            for line in wording::access_lines(&request) {
                say(&line);
            }
            ask::agree("Approve exactly this?", approval.agreed.yes)?;
            request.digest
        }
    };
    decide(&approval.one, NewDecision { approve: true, note: approval.note, seen }, portal, out).await
}

pub async fn reject(rejection: Rejection, portal: &Portal, out: Out) -> Result<Exit, Failure> {
    let note = match rejection.note {
        Some(note) => note,
        None => {
            let missing = Missing { what: "why it is rejected", flag: "--note", choices: &[] };
            ask::until("Why? The requester reads it:", None, missing, |answer| match answer {
                "" => Err("Say why in a few words.".to_string()),
                _ => Ok(answer.to_string()),
            })?
        }
    };
    let seen = rejection.one.read(portal).await?.digest;
    decide(&rejection.one, NewDecision { approve: false, note, seen }, portal, out).await
}

async fn decide(one: &One, decision: NewDecision, portal: &Portal, out: Out) -> Result<Exit, Failure> {
    let request: AccessRequest = portal.post(one.url(portal, &["decision"]), &decision).await?;
    tell(&request, out)
}
