//! `platform context`: the portals somebody works with.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use serde_json::json;

use super::args::Globals;
use super::config::{Config, Context, portal_url};
use super::failure::{Exit, Failure};
use super::print::{Out, Tint, note};
use super::table::{Cell, Table};
use super::{complete, secret, wording};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists the contexts; the star is the current one.
    List,
    /// Makes a context the current one.
    Use {
        #[arg(value_name = "NAME", add = ArgValueCompleter::new(complete::contexts))]
        name: String,
    },
    /// Adds a context, or changes one.
    Add {
        #[arg(value_name = "NAME")]
        name: String,
        /// The address of the portal.
        #[arg(value_name = "URL")]
        url: String,
        /// The environment that is meant where --env is not given.
        #[arg(long, value_name = "ENVIRONMENT")]
        environment: Option<String>,
    },
    /// Removes a context and forgets its token.
    Remove {
        #[arg(value_name = "NAME", add = ArgValueCompleter::new(complete::contexts))]
        name: String,
    },
}

pub fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let mut config = Config::load()?;
    match arguments.what {
        What::List => return list(&config, globals),
        What::Use { name } => {
            config.named(&name)?;
            config.current = Some(name);
        }
        What::Add { name, url, environment } => {
            let url = portal_url(&url).map_err(Failure::Usage)?;
            let ca_file = globals.ca_file.as_ref().map(std::path::absolute).transpose()?;
            config.add(&name, url, ca_file);
            if let Some(context) = config.contexts.get_mut(&name).filter(|_| environment.is_some()) {
                context.environment = environment;
            }
            config.current.get_or_insert(name);
        }
        What::Remove { name } => {
            let context = config.named(&name)?.clone();
            secret::forget(&context.url, context.token)?;
            config.contexts.remove(&name);
            if config.current.as_ref() == Some(&name) {
                config.current = None;
            }
        }
    }
    config.save()?;
    Ok(Exit::Done)
}

impl Config {
    /// A context of this name; what is known about the same portal stays.
    pub fn add(&mut self, name: &str, url: url::Url, ca_file: Option<PathBuf>) {
        if let Some(warning) = wording::in_the_clear(&url) {
            note(&warning);
        }
        let known = self.contexts.remove(name).filter(|context| context.url == url);
        let mut context = known.unwrap_or_else(|| Context::at(url));
        context.ca_file = ca_file.or(context.ca_file);
        self.contexts.insert(name.into(), context);
    }
}

fn list(config: &Config, globals: &Globals) -> Result<Exit, Failure> {
    let is_current = |name: &str| config.current.as_deref() == Some(name);
    let all: Vec<_> = config
        .contexts
        .iter()
        .map(|(name, context)| {
            json!({ "name": name, "current": is_current(name), "url": context.url, "signed_in": context.token.is_some() })
        })
        .collect();
    if all.is_empty() {
        note("There is none yet: platform login URL");
    }
    Out::new(globals).value(&all, |paint| {
        let mut table = Table::new(["", "NAME", "URL", "ENVIRONMENT", "SIGNED IN"]);
        for (name, context) in &config.contexts {
            table.row([
                if is_current(name) { "*" } else { "" }.into(),
                Cell::tinted(Tint::Bold, name),
                context.url.as_str().trim_end_matches('/').into(),
                context.environment.as_deref().unwrap_or("-").into(),
                wording::kept(context.token).into(),
            ]);
        }
        table.text(paint)
    })
}
