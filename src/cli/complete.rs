//! Names for the TAB key, from the portal. A shell waits for them, so: a short time, and nothing rather than an error.

use std::ffi::OsStr;
use std::future::Future;
use std::time::Duration;

use clap_complete::CompletionCandidate;
use serde::Deserialize;

use super::args::Globals;
use super::config::Config;
use super::failure::Failure;
use super::pick;
use super::portal::Portal;
use super::wording;
use crate::api::types::{Page, Service, Version};

/// Longer, and people have typed it themselves.
const WITHIN: Duration = Duration::from_secs(2);

/// Nobody reads a longer list.
const MOST_VERSIONS: usize = 300;

pub fn contexts(current: &OsStr) -> Vec<CompletionCandidate> {
    let config = Config::load().unwrap_or_default();
    let all = config.contexts.into_iter().map(|(name, context)| (name, context.url.to_string()));
    candidates(current, all)
}

pub fn services(current: &OsStr) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy().into_owned();
    let found = ask(|portal| async move {
        let query = [("q", Some(typed.as_str()).filter(|typed| !typed.is_empty()))];
        portal.list::<Service>(portal.url_with(&["services"], &query), 100).await
    });
    candidates(current, found.into_iter().map(|service| (service.name, service.title)))
}

pub fn environments(current: &OsStr) -> Vec<CompletionCandidate> {
    #[derive(Deserialize)]
    struct Environment {
        name: String,
        production: bool,
    }
    let found =
        ask(|portal| async move { portal.get::<Page<Environment>>(portal.url(&["environments"])).await });
    let what = |environment: &Environment| if environment.production { "production" } else { "" }.to_string();
    candidates(current, found.into_iter().map(|environment| (environment.name.clone(), what(&environment))))
}

/// Of the service and the environment that stand on the line so far.
pub fn versions(current: &OsStr) -> Vec<CompletionCandidate> {
    let line: Vec<String> = std::env::args().skip_while(|word| word != "--").skip(3).collect();
    let typed = Typed::read(&line);
    let Some((service, environment)) =
        typed.service.or_else(pick::only_service_of_folder).zip(typed.environment)
    else {
        return Vec::new();
    };
    let found = ask(|portal| async move {
        let parts = ["services", &service, "environments", &environment, "versions"];
        portal.list::<Version>(portal.url(&parts), MOST_VERSIONS).await
    });
    let can_be_chosen = found.into_iter().filter(|version| version.refused.is_none());
    candidates(current, can_be_chosen.map(|version| (version.version.clone(), wording::runs_in(&version))))
}

pub fn states(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(current, wording::STATES.iter().map(|state| (state.to_string(), String::new())))
}

fn candidates(current: &OsStr, all: impl Iterator<Item = (String, String)>) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy();
    all.filter(|(name, _)| name.starts_with(typed.as_ref()))
        .map(|(name, what)| CompletionCandidate::new(name).help((!what.is_empty()).then(|| what.into())))
        .collect()
}

/// At the portal that stands on the line, or the current one.
fn ask<T, F: Future<Output = Result<Page<T>, Failure>>>(question: impl FnOnce(Portal) -> F) -> Vec<T> {
    let line: Vec<String> = std::env::args().collect();
    let globals = Globals { context: value(&line, &["--context"]), ..Globals::default() };
    let answer = || {
        let portal = Portal::of(&globals).ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let answer = runtime.block_on(async {
            portal.refresh().await.ok()?;
            tokio::time::timeout(WITHIN, question(portal)).await.ok()
        });
        runtime.shutdown_background();
        answer?.ok()
    };
    answer().map(|page| page.items).unwrap_or_default()
}

/// What has been typed of a command line that is not finished, so that it can't be parsed properly.
#[derive(Debug, PartialEq)]
struct Typed {
    service: Option<String>,
    environment: Option<String>,
}

impl Typed {
    /// `line` begins behind the verb.
    fn read(line: &[String]) -> Self {
        let positional = line.first().filter(|word| !word.starts_with('-'));
        Self {
            service: value(line, &["--service", "-s"]).or_else(|| positional.cloned()),
            environment: value(line, &["--env", "-e", "--environment"]),
        }
    }
}

/// `--env staging` or `--env=staging`.
fn value(line: &[String], names: &[&str]) -> Option<String> {
    line.iter().enumerate().find_map(|(n, word)| {
        if names.contains(&word.as_str()) {
            return line.get(n + 1).cloned();
        }
        let (name, value) = word.split_once('=')?;
        names.contains(&name).then(|| value.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (Option<String>, Option<String>) {
        let words: Vec<String> = line.split(' ').map(String::from).collect();
        let Typed { service, environment } = Typed::read(&words);
        (service, environment)
    }

    #[test]
    fn half_a_line_says_enough() {
        let both = (Some("my-api".to_string()), Some("staging".to_string()));
        assert_eq!(read("my-api --env staging --version v"), both);
        assert_eq!(read("--service=my-api --env=staging --version="), both);
        assert_eq!(read("-e staging -s my-api --version"), both);
        assert_eq!(read("--env"), (None, None));
    }
}
