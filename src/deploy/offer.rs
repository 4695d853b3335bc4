//! The versions that a form offers: the newest of the registry's tags, with what runs where and what can't be picked
//! here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::checks::capitalised;
use super::plan::Plan;
use super::store;
use crate::app::App;
use crate::catalogue::Service;
use crate::kube::Target;
use crate::registry::{Digest, ImageRef, Tag};
use crate::web::Result;

/// How many tags the form offers; any other can be typed.
const OFFERED: usize = 8;

/// What is behind the versions that were offered.
pub enum Rest {
    More,
    None,
    /// The version to begin behind is none, or is no more.
    Unknown,
}

/// A version one can pick.
pub struct Offer {
    pub version: String,
    pub created: Option<Timestamp>,
    /// Environments that run it now, and which of them is production.
    pub runs_in: Vec<(String, bool)>,
    pub note: String,
    /// Why it can't be picked here.
    pub refused: Option<String>,
}

impl Plan {
    /// The newest of the registry's tags, with what runs where. For a form that is shown; one that was sent has chosen.
    pub async fn offer(&mut self, app: &App, service: &Service) -> Result<()> {
        self.offer_after(app, service, None, OFFERED).await.map(drop)
    }

    /// As [`Plan::offer`], as many as are wanted of those behind this one.
    pub async fn offer_after(
        &mut self,
        app: &App,
        service: &Service,
        after: Option<&str>,
        most: usize,
    ) -> Result<Rest> {
        let Some(repository) = self.repository.as_ref().and_then(|name| name.parse::<ImageRef>().ok()) else {
            return Ok(Rest::None);
        };
        let mut runs: BTreeMap<String, Vec<(String, bool)>> = BTreeMap::new();
        for environment in &app.config.environments {
            let status = app
                .watch(environment.cluster.get_ref())
                .status(&Target::new(service, environment), self.checked);
            let shown = (environment.name().to_string(), environment.production);
            runs.entry(status.version).or_default().push(shown);
        }
        let tags = match app.registry.tags(&repository).await {
            Ok(tags) => tags,
            Err(error) => {
                self.no_versions = Some(error.to_string());
                return Ok(Rest::None);
            }
        };
        let place = |after: &str| tags.iter().position(|tag| tag.name == after);
        let Some(from) = after.map_or(Some(0), |after| place(after).map(|place| place + 1)) else {
            return Ok(Rest::Unknown);
        };
        let offered = || tags.iter().skip(from).take(most);
        let unproven = self.unproven(app, offered().filter_map(|tag| tag.digest.as_ref())).await?;
        let refused = |tag: &Tag| {
            let digest = tag.digest.as_ref().filter(|_| tag.name != self.running)?;
            let required = capitalised(self.policy.requires.as_deref().unwrap_or_default());
            unproven.contains(digest.as_str()).then(|| format!("{required} has not run it yet."))
        };
        self.versions = offered()
            .map(|tag| Offer {
                runs_in: runs.get(&tag.name).cloned().unwrap_or_default(),
                note: note(&tag.name, &self.running, tag.revision.as_deref()),
                created: tag.created.filter(|created| *created <= self.checked),
                version: tag.name.clone(),
                refused: refused(tag),
            })
            .collect();
        Ok(if tags.len() > from + most { Rest::More } else { Rest::None })
    }

    /// Those of the digests that the environment before this one has not run yet: they stay on the list and say so.
    async fn unproven<'a>(
        &self,
        app: &App,
        digests: impl Iterator<Item = &'a Digest>,
    ) -> Result<BTreeSet<String>> {
        let Some(required) = &self.policy.requires else { return Ok(BTreeSet::new()) };
        let mut digests: BTreeSet<String> = digests.map(|digest| digest.as_str().into()).collect();
        let asked: Vec<String> = digests.iter().cloned().collect();
        let mut db = app.db.acquire().await?;
        for proven in store::succeeded(&mut db, &self.place.service, required, &asked).await? {
            digests.remove(&proven);
        }
        Ok(digests)
    }
}

fn note(version: &str, running: &str, revision: Option<&str>) -> String {
    match revision {
        _ if version == running => "Runs here now".into(),
        Some(revision) => format!("Commit {}", revision.get(..8).unwrap_or(revision)),
        None => String::new(),
    }
}
