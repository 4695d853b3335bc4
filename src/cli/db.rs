//! `platform db migrate`: the command that a service declares for its database, run once where the service runs. What it
//! writes goes to standard output as it is written; everything else to standard error.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use tokio::sync::watch;

use super::args::{Agreed, Because, Globals, InEnvironment, OfService, Watching, WithoutApproval};
use super::change::Target;
use super::failure::{Exit, Failure};
use super::portal::Portal;
use super::print::{Format, Out, clean, note, say, text_out};
use super::{ask, complete, follow, logs, wording};
use crate::api::types::{Deploy, LogItem, NewMigration};

/// For the last lines after the migration has ended. The portal ends the stream itself, long before.
const LAST_LINES: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs the migration that the service declares, and prints what it writes.
    Migrate(Migrate),
}

#[derive(Debug, Args)]
struct Migrate {
    #[command(flatten)]
    of: OfService,
    #[command(flatten)]
    environment: InEnvironment,
    /// Whose image runs it: a tag, a digest or a whole image reference. Without it: the version that runs there now.
    #[arg(long, value_name = "VERSION", add = ArgValueCompleter::new(complete::versions))]
    version: Option<String>,
    #[command(flatten)]
    because: Because,
    #[command(flatten)]
    without_approval: WithoutApproval,
    #[command(flatten)]
    watching: Watching,
    #[command(flatten)]
    agreed: Agreed,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    match arguments.verb {
        Verb::Migrate(arguments) => migrate(arguments, globals).await,
    }
}

async fn migrate(arguments: Migrate, globals: &Globals) -> Result<Exit, Failure> {
    let Migrate { of, environment, version, because, without_approval, watching, agreed } = arguments;
    let target = Target::of(&of, &environment, globals).await?;
    let question = wording::migrate_question(&target.service, version.as_deref(), &target.environment);
    ask::agree(&question, agreed.yes)?;
    let wanted = NewMigration { version, reason: because.reason, break_glass: without_approval.break_glass };
    let deploy = target.ask("migrations", &wanted).await?;
    let seen = match watching.no_wait {
        true => deploy,
        false => watch(&target, deploy, watching.within.timeout).await?,
    };
    tell(target.out, &seen)
}

/// Its states on standard error and its log on standard output, side by side until both have ended.
async fn watch(target: &Target, deploy: Deploy, within: Duration) -> Result<Deploy, Failure> {
    let Target { portal, out, .. } = target;
    let id = deploy.id.to_string();
    let (runs, mut does_run) = watch::channel(false);
    let mut watched = pin!(follow::plainly_until(portal, deploy, within, |deploy| {
        runs.send_replace(deploy.state == "rolling_out" || deploy.ended);
        deploy.ended || deploy.state == "awaiting_approval"
    }));
    let read = Cell::new(false);
    let mut log = pin!(async {
        // The sender lives as long as what watches.
        let _ = does_run.wait_for(|runs| *runs).await;
        if let Err(failure) = print_log(portal, &id, *out).await {
            say(&wording::no_log(failure.sentence().as_deref()));
        }
        read.set(true);
    });
    let seen = loop {
        tokio::select! {
            seen = &mut watched => break seen?,
            () = &mut log, if !read.get() => {}
        }
    };
    if was_run(&seen) && !read.get() && tokio::time::timeout(LAST_LINES, log).await.is_err() {
        say(wording::LOG_CUT);
    }
    Ok(seen)
}

/// Ended after its Job was made, so that there can be a log.
fn was_run(deploy: &Deploy) -> bool {
    matches!(deploy.state.as_str(), "succeeded" | "failed")
}

async fn print_log(portal: &Portal, id: &str, out: Out) -> Result<(), Failure> {
    let url = portal.url_with(&["deploys", id, "logs"], &[("follow", Some("true"))]);
    logs::follow(portal, url, |items| {
        let mut text = String::new();
        for item in items {
            match item {
                LogItem::Line { text: line, .. } => text.push_str(&format!("{}\n", clean(line))),
                LogItem::Mark { text } => note(&clean(text)),
            }
        }
        match out.format {
            Format::Table => text_out(&text),
            // Standard output is one document then.
            Format::Json | Format::Yaml => {
                text.lines().for_each(say);
                Ok(())
            }
        }
    })
    .await
}

/// How it ended. For people on standard error: standard output is what the migration wrote.
fn tell(out: Out, deploy: &Deploy) -> Result<Exit, Failure> {
    if out.format != Format::Table {
        return follow::tell(out, deploy);
    }
    let told = wording::outcome(deploy);
    say(&told.sentence);
    wording::evidence(deploy).iter().for_each(|line| say(line));
    if let Some(hint) = &told.hint {
        say(hint);
    }
    say(&deploy.url);
    Ok(told.exit)
}
