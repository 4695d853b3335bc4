//! `platform`, the command: what the pages do, from a terminal, a script or a pipeline, over the portal's HTTP API
//! and under the same rules. It knows no database and no cluster, and decides nothing: the portal does.
//!
//! ```text
//! arguments ─▶ which portal, which token ─▶ which service, which environment ─▶ one request ─▶ a table, JSON or YAML
//!              config.rs secret.rs          pick.rs folder.rs ask.rs           portal.rs      print.rs table.rs
//! a change  ─▶ 201 ─▶ its events, until it ends (follow.rs sse.rs) ─▶ steps and pods (progress.rs) ─▶ exit code (failure.rs)
//! ```
//! One file is one verb; sentences are in wording.rs.

mod access;
mod api;
mod approve;
mod args;
mod ask;
mod browser;
mod change;
mod ci;
mod complete;
mod completion;
mod config;
mod context;
mod db;
mod deploy;
mod device;
mod diff;
mod docs;
mod failure;
mod folder;
mod follow;
mod history;
mod inbox;
mod login;
mod logout;
mod logs;
mod markdown;
mod open;
mod pick;
mod portal;
mod print;
mod progress;
mod promote;
mod refresh;
mod reject;
mod restart;
mod rollback;
#[cfg(test)]
mod samples;
mod scale;
mod secret;
mod services;
mod sign_off;
mod sse;
mod status;
mod table;
mod wait;
mod whoami;
mod wording;

use clap::Subcommand;

pub use args::Globals;
pub use failure::Exit;
use failure::Failure;
pub use wording::MANUAL;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Signs you in at a portal, in the browser or with a code.
    Login(login::Arguments),
    /// Signs you out: the token is revoked and forgotten.
    Logout,
    /// Says who you are to the portal, and what your token may do.
    Whoami,
    /// Lists services, or finds them.
    Services(services::Arguments),
    /// Shows what runs of a service, and whether it is well.
    Status(status::Arguments),
    /// Prints the logs of all pods of a service, merged by time.
    Logs(logs::Arguments),
    /// Shows what a deploy would change, and whether anything refuses it. Changes nothing.
    Diff(diff::Arguments),
    /// Deploys a version and watches it roll out.
    Deploy(deploy::Arguments),
    /// Goes back to an earlier release.
    Rollback(rollback::Arguments),
    /// Sets the number of pods.
    Scale(scale::Arguments),
    /// Replaces all pods by new ones of the same version.
    Restart(restart::Arguments),
    /// Works on the database of a service.
    Db(db::Arguments),
    /// Waits until a deploy ends.
    Wait(wait::Arguments),
    /// Lists deploys, newest first.
    History(history::Arguments),
    /// Lists what waits for approval.
    Inbox,
    /// Approves somebody else's deploy, exactly as it is shown.
    Approve(approve::Arguments),
    /// Rejects somebody else's deploy.
    Reject(reject::Arguments),
    /// Lets a canary or blue-green deploy go on that waits for somebody to say so.
    Promote(promote::Arguments),
    /// Signs off what somebody else did without approval.
    SignOff(sign_off::Arguments),
    /// Asks for a right in a namespace for a while, and decides on what others ask for.
    #[command(subcommand)]
    Access(access::Verb),
    /// Opens the page of a service or a deploy in the browser.
    Open(open::Arguments),
    /// Calls the API directly and prints the answer.
    Api(api::Arguments),
    /// Lists, adds and chooses portals.
    Context(context::Arguments),
    /// Prints the script that makes a shell complete this command, with names from the portal.
    Completion(completion::Arguments),
    /// Writes the manual of this command.
    #[command(hide = true)]
    Docs(docs::Arguments),
}

/// Runs a verb to its end. `command` is the whole command line, for what is written about it.
pub fn run(verb: Verb, globals: &Globals, command: clap::Command) -> Exit {
    // One request is all that most verbs make: a thread of its own would cost more than it brings.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tell(error.into()),
    };
    let ended = runtime.block_on(dispatch(verb, globals, command));
    // A name that is still being looked up must not keep the process.
    runtime.shutdown_background();
    ended.unwrap_or_else(tell)
}

async fn dispatch(verb: Verb, globals: &Globals, command: clap::Command) -> Result<Exit, Failure> {
    match verb {
        Verb::Login(arguments) => login::run(arguments, globals).await,
        Verb::Logout => logout::run(globals).await,
        Verb::Whoami => whoami::run(globals).await,
        Verb::Services(arguments) => services::run(arguments, globals).await,
        Verb::Status(arguments) => status::run(arguments, globals).await,
        Verb::Logs(arguments) => logs::run(arguments, globals).await,
        Verb::Diff(arguments) => diff::run(arguments, globals).await,
        Verb::Deploy(arguments) => deploy::run(arguments, globals).await,
        Verb::Rollback(arguments) => rollback::run(arguments, globals).await,
        Verb::Scale(arguments) => scale::run(arguments, globals).await,
        Verb::Restart(arguments) => restart::run(arguments, globals).await,
        Verb::Db(arguments) => db::run(arguments, globals).await,
        Verb::Wait(arguments) => wait::run(arguments, globals).await,
        Verb::History(arguments) => history::run(arguments, globals).await,
        Verb::Inbox => inbox::run(globals).await,
        Verb::Approve(arguments) => approve::run(arguments, globals).await,
        Verb::Reject(arguments) => reject::run(arguments, globals).await,
        Verb::Promote(arguments) => promote::run(arguments, globals).await,
        Verb::SignOff(arguments) => sign_off::run(arguments, globals).await,
        Verb::Access(verb) => access::run(verb, globals).await,
        Verb::Open(arguments) => open::run(arguments, globals).await,
        Verb::Api(arguments) => api::run(arguments, globals).await,
        Verb::Context(arguments) => context::run(arguments, globals),
        Verb::Completion(arguments) => completion::run(arguments),
        Verb::Docs(arguments) => docs::run(arguments, command),
    }
}

fn tell(failure: Failure) -> Exit {
    print::error(&failure);
    failure.exit()
}
