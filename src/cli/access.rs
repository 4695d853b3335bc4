//! `platform access`: asking for a right in a namespace for a while, and deciding on what others ask for.

mod decide;
mod list;
mod request;

use clap::Subcommand;

pub use list::rows;

use super::args::Globals;
use super::failure::{Exit, Failure};
use super::portal::Portal;
use super::print::Out;
use super::wording;
use crate::api::types::AccessRequest;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Asks for a role in a namespace for a while. It waits in the approvals of those who may give it.
    Request(request::Arguments),
    /// Lists access requests: yours, and those that you may decide on.
    List(list::Arguments),
    /// Shows one.
    Show(decide::One),
    /// Approves somebody else's, exactly as it is shown. The cluster gets the RoleBinding in your name.
    Approve(decide::Approval),
    /// Rejects somebody else's.
    Reject(decide::Rejection),
    /// Withdraws yours while it waits.
    Withdraw(decide::One),
    /// Ends access before its time.
    End(decide::One),
}

pub async fn run(verb: Verb, globals: &Globals) -> Result<Exit, Failure> {
    let portal = Portal::of(globals)?;
    let out = Out::new(globals);
    match verb {
        Verb::Request(arguments) => request::run(arguments, &portal, out).await,
        Verb::List(arguments) => list::run(arguments, &portal, out).await,
        Verb::Show(one) => {
            let request = one.read(&portal).await?;
            out.value(&request, |_| wording::access_lines(&request).join("\n") + "\n")
        }
        Verb::Approve(approval) => decide::approve(approval, &portal, out).await,
        Verb::Reject(rejection) => decide::reject(rejection, &portal, out).await,
        Verb::Withdraw(one) => change(one, "withdrawal", &portal, out).await,
        Verb::End(one) => change(one, "end", &portal, out).await,
    }
}

async fn change(one: decide::One, what: &str, portal: &Portal, out: Out) -> Result<Exit, Failure> {
    let request: AccessRequest = portal.post(one.url(portal, &[what]), &serde_json::json!({})).await?;
    tell(&request, out)
}

/// How it stands now, and where to look at it.
fn tell(request: &AccessRequest, out: Out) -> Result<Exit, Failure> {
    out.value(request, |_| format!("{}\n{}\n", wording::access_outcome(request), request.url))
}
