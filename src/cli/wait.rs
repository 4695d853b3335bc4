//! `platform wait`: until a deploy ends, an approval included. For scripts that asked with --no-wait.

use clap::Args;
use clap_complete::ArgValueCompleter;

use super::args::{Globals, InEnvironment, Within};
use super::failure::{Exit, Failure};
use super::follow;
use super::portal::Portal;
use super::print::Out;
use super::{complete, pick};
use crate::api::types::{Deploy, Page};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The number of a deploy, or a service: its newest deploy. Without it: the service of this folder.
    #[arg(value_name = "DEPLOY|SERVICE", add = ArgValueCompleter::new(complete::services))]
    what: Option<String>,
    /// The service, written as an option.
    #[arg(long, short, value_name = "SERVICE", conflicts_with = "what", add = ArgValueCompleter::new(complete::services))]
    service: Option<String>,
    #[command(flatten)]
    environment: InEnvironment,
    #[command(flatten)]
    within: Within,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let portal = Portal::of(globals)?;
    let deploy = find(&portal, &arguments).await?;
    let seen = follow::until(&portal, deploy, arguments.within.timeout, |deploy| deploy.ended).await?;
    follow::tell(Out::new(globals), &seen)
}

async fn find(portal: &Portal, arguments: &Arguments) -> Result<Deploy, Failure> {
    if let Some(id) = arguments.what.as_ref().and_then(|what| what.parse::<i64>().ok()) {
        return portal.get(portal.url(&["deploys", &id.to_string()])).await;
    }
    let service = match arguments.what.as_ref().or(arguments.service.as_ref()) {
        Some(name) => name.clone(),
        None => pick::service_of_folder()?,
    };
    let environment = arguments.environment.env.as_deref();
    let query = [("service", Some(service.as_str())), ("environment", environment)];
    let page: Page<Deploy> = portal.list(portal.url_with(&["deploys"], &query), 1).await?;
    page.items.into_iter().next().ok_or_else(|| Failure::no_deploy(&service, environment))
}
