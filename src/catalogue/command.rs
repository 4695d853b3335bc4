//! `platform import`: imports now, and says what is wrong with the files. For pipelines that guard a catalogue.

use std::path::{Path, PathBuf};

use super::import::{self, Request};
use super::mistake::{Problem, Severity};
use crate::config::Config;
use crate::db;

/// Imports these paths, or the configured ones, and prints every problem. An error says how many there are.
pub async fn run(config: &Path, paths: Vec<PathBuf>) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let by_hand = !paths.is_empty();
    let configured = || config.catalogue.paths.iter().map(|path| path.get_ref().clone()).collect();
    let request = Request {
        paths: if by_hand { paths } else { configured() },
        by_hand,
        environments: config.environments.iter().map(|environment| environment.name().into()).collect(),
    };
    let db = db::connect(&config.database.url, 2).await?;
    let report = import::import(&db, request, None).await?.unwrap_or_default();
    for problem in &report.problems {
        println!("{problem}");
    }
    println!("{} entities: {} written, {} deleted.", report.entities, report.written, report.deleted);
    match report.problems.iter().filter(|problem| problem.severity == Severity::Error).count() {
        0 => Ok(()),
        1 => anyhow::bail!("1 problem, see above. Everything else was imported."),
        count => anyhow::bail!("{count} problems, see above. Everything else was imported."),
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let warning = if self.severity == Severity::Warning { "warning: " } else { "" };
        let (file, at) = (&self.file, self.at);
        match at.line {
            0 => write!(f, "{file}: {warning}{}\n    {}", self.what, self.mend),
            _ => write!(f, "{file}:{}:{}: {warning}{}\n    {}", at.line, at.column, self.what, self.mend),
        }
    }
}
