//! What deploy, rollback, scale and restart have in common: one request, one change, watched to its end.

use serde::Serialize;

use super::args::{Globals, InEnvironment, OfService, Watching};
use super::failure::{Exit, Failure};
use super::portal::Portal;
use super::print::Out;
use super::{follow, pick};
use crate::api::types::Deploy;

/// A service in an environment, about to be changed.
pub struct Target {
    pub portal: Portal,
    pub out: Out,
    pub service: String,
    pub environment: String,
}

impl Target {
    pub async fn of(of: &OfService, given: &InEnvironment, globals: &Globals) -> Result<Self, Failure> {
        let portal = Portal::of(globals)?;
        let service = pick::service(of)?;
        let environment = pick::environment_to_change(&portal, &service, given).await?;
        Ok(Self { portal, out: Out::new(globals), service, environment })
    }

    /// The parts of its address, with what is asked of it.
    pub fn parts<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        ["services", &self.service, "environments", &self.environment]
            .into_iter()
            .chain(rest.iter().copied())
            .collect()
    }

    pub async fn ask(&self, action: &str, body: &impl Serialize) -> Result<Deploy, Failure> {
        self.portal.post(self.portal.url(&self.parts(&[action])), body).await
    }

    pub async fn watch(&self, deploy: Deploy, watching: &Watching) -> Result<Exit, Failure> {
        follow::watch(&self.portal, self.out, deploy, watching).await
    }
}
