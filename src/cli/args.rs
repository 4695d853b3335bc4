//! Arguments that several verbs share.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCompleter;

use super::complete;
use super::print::Format;

const OF_EVERY_COMMAND: &str = "Options of every command that asks a portal";

/// Which portal, and how to print what it says.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = OF_EVERY_COMMAND)]
pub struct Globals {
    /// Ask the portal of this context instead of the current one.
    #[arg(long, global = true, value_name = "NAME", add = ArgValueCompleter::new(complete::contexts))]
    pub context: Option<String>,
    /// Trust the certificate authorities in this PEM file, too.
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
    /// How to print: a table for people, JSON or YAML for programs. [default: table]
    #[arg(long, short, global = true, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    pub output: Option<Format>,
}

impl Globals {
    pub fn is_empty(&self) -> bool {
        self.context.is_none() && self.ca_file.is_none() && self.output.is_none()
    }
}

/// The service a verb is about, in either spelling.
#[derive(Debug, Args)]
pub struct OfService {
    /// The service. Without it: the one of the nearest catalog-info.yaml, from this folder upwards.
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::services))]
    name: Option<String>,
    /// The service, written as an option.
    #[arg(long, short, value_name = "SERVICE", conflicts_with = "name", add = ArgValueCompleter::new(complete::services))]
    service: Option<String>,
}

impl OfService {
    pub fn given(&self) -> Option<&str> {
        self.name.as_deref().or(self.service.as_deref())
    }
}

#[derive(Debug, Args)]
pub struct InEnvironment {
    /// The environment, for example staging or production.
    #[arg(long, short, visible_alias = "environment", value_name = "ENVIRONMENT", add = ArgValueCompleter::new(complete::environments))]
    pub env: Option<String>,
}

/// How long a change is watched.
#[derive(Debug, Args)]
pub struct Watching {
    /// Ends as soon as the portal has taken the request.
    #[arg(long)]
    pub no_wait: bool,
    #[command(flatten)]
    pub within: Within,
}

#[derive(Debug, Args)]
pub struct Within {
    /// Stops watching after this time, for example 90s or 15m. What was asked for goes on.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct Agreed {
    /// Asks nothing: yes to what it would ask.
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Because {
    /// Why. Approvers read it, and it is kept in the audit trail.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
}

#[derive(Debug, Args)]
pub struct WithoutApproval {
    /// Breaks the glass: goes ahead without approval, and in a freeze, when it can't wait. Takes --reason; everybody
    /// concerned is told, and somebody else has to sign it off afterwards.
    #[arg(long)]
    pub break_glass: bool,
}

pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|_| "give a number with its unit: 90s, 15m, 2h".to_string())?;
    Duration::try_from(parsed).map_err(|_| "a time can’t be negative".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_given_with_their_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert!(duration("15").is_err());
        assert!(duration("-5m").is_err());
        assert!(duration("soon").is_err());
    }
}
