//! `platform guard`: for the administrator of a cluster.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::{check, manifests, wording};
use crate::config::{Config, Environment, Guard};
use crate::kube::rights::Impersonation;

#[derive(Subcommand)]
pub enum Verb {
    /// Prints the admission policy, its binding and the right to carry approvals, for kubectl apply.
    Manifests {
        #[command(flatten)]
        which: Which,
        /// For Kubernetes before 1.36, which knows only the verb impersonate.
        #[arg(long)]
        classic: bool,
    },
    /// Proves by dry runs on the live cluster what is refused and what passes. Needs an administrator's kubeconfig: it
    /// acts as made-up people. Fails if anything is not as it should be.
    Check {
        #[command(flatten)]
        which: Which,
        /// The administrator's kubeconfig; without it, the one that kubectl would take.
        #[arg(long)]
        kubeconfig: Option<PathBuf>,
        /// The context in it.
        #[arg(long = "kube-context")]
        context: Option<String>,
        /// Where to try; without it, the first namespace that carries the label.
        #[arg(long)]
        namespace: Option<String>,
    },
}

#[derive(Args)]
pub struct Which {
    /// An environment of the configuration that has a guard.
    #[arg(long)]
    environment: String,
    /// The configuration file.
    #[arg(long, default_value = "pilothouse.toml", env = "PILOTHOUSE_CONFIG")]
    config: PathBuf,
}

pub async fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Manifests { which, classic } => {
            let config = Config::load_elsewhere(&which.config)?;
            let (environment, guard) = guarded(&config, &which.environment)?;
            let impersonation = if classic { Impersonation::Classic } else { Impersonation::Constrained };
            print!("{}", manifests::manifests(&config, environment, guard, impersonation));
            Ok(())
        }
        Verb::Check { which, kubeconfig, context, namespace } => {
            let config = Config::load_elsewhere(&which.config)?;
            let (environment, guard) = guarded(&config, &which.environment)?;
            let lines = check::check(&config, environment, guard, kubeconfig, context, namespace).await?;
            for line in &lines {
                println!("{}", wording::line(line.good, &line.what, &line.detail));
            }
            match lines.iter().filter(|line| !line.good).count() {
                0 => Ok(()),
                short => bail!("{short} of {} are not as they should be.", lines.len()),
            }
        }
    }
}

fn guarded<'a>(config: &'a Config, name: &str) -> anyhow::Result<(&'a Environment, &'a Guard)> {
    let environment = config.environment(name).with_context(|| {
        let known: Vec<_> = config.environments.iter().map(Environment::name).collect();
        format!("no environment is called {name}. There are: {}.", known.join(", "))
    })?;
    let guard = environment.guard.as_ref().with_context(|| format!("{name} {}", wording::NO_GUARD))?;
    Ok((environment, guard))
}
