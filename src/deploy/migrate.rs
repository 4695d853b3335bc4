//! Asking for a migration: which image, which container's settings, what the cluster says to the Job and to its pod, as
//! the person. The form of `change.rs` draws it.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

use super::change::Input;
use super::checks::{self, Check};
use super::deploy::{Action, ShownDiff};
use super::draft::{Draft, Fields};
use super::found::{self, Found};
use super::migration::{self, Migration};
use super::needs::{self, Needs};
use super::plan;
use crate::app::App;
use crate::auth::CurrentUser;
use crate::catalogue::{Migration as Declared, Service};
use crate::config::Environment;
use crate::kube::{LiveWorkload, MakesPods, dry_run, job};
use crate::registry::ImageRef;
use crate::web::Result;

/// Finds out what would run, and what refuses it.
pub(super) async fn fill(
    draft: &mut Draft,
    app: &App,
    user: &CurrentUser,
    service: &Service,
    environment: &Environment,
    found: &Found,
    input: &Input,
) -> Result<()> {
    let Some(declared) = &service.migration else {
        let detail = "The service’s catalog-info.yaml has no spec.migration that names the command.";
        draft.checks.push(Check::bad("No migration is declared", detail, None));
        return Ok(());
    };
    let live = match found {
        Found::Workload { live, .. } => live.as_ref(),
        Found::ToMake => {
            let detail =
                "A migration takes its settings from the running Deployment. Deploy a version first.";
            draft.checks.push(Check::bad("Nothing runs here", detail, None));
            return Ok(());
        }
        Found::Nothing(why) => {
            draft.checks.push(Check::bad("Nothing to take the settings from", why.clone(), None));
            return Ok(());
        }
    };
    draft.may(app, user, ("create", "batch", "jobs", None)).await?;
    let main = found.main_container();
    let Some(container) = migration::container(live, declared, main.as_deref()) else {
        draft.checks.push(no_container(live, declared));
        return Ok(());
    };
    let runs = container.image.clone().unwrap_or_default();
    let typed = input.version.as_deref().map(str::trim).filter(|version| !version.is_empty());
    draft.lead = format!("Runs once, to its end, beside what serves: {} runs now.", found::version_of(&runs));
    draft.fields = Fields::Migrate {
        version: typed.unwrap_or_default().into(),
        runs: found::version_of(&runs),
        line: String::new(),
        container: container.name.clone(),
        deadline: job::span(declared.deadline),
    };
    let image = match image(app, environment, &runs, typed).await {
        Ok((image, checks)) => {
            draft.checks.extend(checks);
            image
        }
        Err(check) => {
            draft.checks.push(check);
            return Ok(());
        }
    };
    // What runs here already needs no other environment to have run it before.
    if typed.is_some() && image.image != runs {
        let digest = image.digest.as_deref();
        let (place, policy) = (&draft.place, &draft.policy);
        let check = checks::requirement(app, place, policy, &image.version, digest, draft.checked).await?;
        draft.checks.extend(check);
    }
    let namespace = draft.place.namespace.clone();
    let job = migration::render(&service.name, &namespace, live, container, declared, &image.image);
    let migration = Migration {
        version: image.version,
        reference: image.reference,
        digest: image.digest,
        image: image.image,
        runs: typed.is_none().then_some(runs),
        workload: live.name().into(),
        workload_kind: live.kind(),
        container: container.name.clone(),
        command: declared.command.iter().chain(&declared.args).cloned().collect(),
        deadline_seconds: declared.deadline.as_secs(),
        job,
    };
    if let Fields::Migrate { line, .. } = &mut draft.fields {
        *line = migration.line();
    }
    let glass = input.glass.is_some();
    ask_cluster(draft, app, user, environment, &migration, glass).await?;
    let frozen = checks::frozen(environment, draft.checked);
    let queue = checks::queue(app, &draft.place, glass && frozen.is_some()).await?;
    draft.checks.extend(frozen.filter(|_| !glass).into_iter().chain(queue));
    draft.action = Some(Action::Migrate(migration));
    Ok(())
}

fn no_container(live: &LiveWorkload, declared: &Declared) -> Check {
    let names: Vec<&str> = live.containers().iter().map(|container| container.name.as_str()).collect();
    let detail = format!(
        "spec.migration names {}; the {} has {}.",
        declared.container.as_deref().unwrap_or_default(),
        live.kind(),
        names.join(", ")
    );
    Check::bad("No such container", detail, None)
}

struct Image {
    version: String,
    reference: String,
    digest: Option<String>,
    image: String,
}

/// The typed version, else what runs, as bytes.
async fn image(
    app: &App,
    environment: &Environment,
    runs: &str,
    typed: Option<&str>,
) -> std::result::Result<(Image, Vec<Check>), Check> {
    let odd = |given: &str, why: String| Check::bad(format!("“{given}” names no image"), why, None);
    let running: ImageRef = runs.parse().map_err(|why| odd(runs, format!("{why}")))?;
    let reference = match typed {
        None => running,
        Some(version) => plan::reference(&running.name(), version)
            .map_err(|why| odd(version, format!("{why} Give a tag such as v1.2.3, or a whole reference.")))?,
    };
    let (digest, checks) = checks::resolve(app, &reference, environment).await?;
    let image =
        digest.as_ref().map_or(reference.to_string(), |digest| reference.with_digest(digest).to_string());
    let image = Image {
        version: found::version_of(&reference.to_string()),
        reference: reference.to_string(),
        digest: digest.map(|digest| digest.as_str().to_string()),
        image,
    };
    Ok((image, checks))
}

/// The dry run, as the person: of the Job, and of its pod, which the cluster would refuse only later.
async fn ask_cluster(
    draft: &mut Draft,
    app: &App,
    user: &CurrentUser,
    environment: &Environment,
    migration: &Migration,
    glass: bool,
) -> Result<()> {
    let client = found::trying(app, user, environment, glass)?;
    let tried = migration.job_to_try();
    let template: Option<PodTemplateSpec> = serde_json::from_value(tried["spec"]["template"].clone()).ok();
    let needs = Needs {
        namespace: &draft.place.namespace,
        template: template.as_ref(),
        running: Vec::new(),
        release: None,
    };
    let needs = needs::ask(app, &client, &needs);
    let (answer, needs) = tokio::join!(job::dry_run(&client, &tried), needs);
    let platform: Vec<String> = app.config.access.platform.iter().cloned().collect();
    draft.checks.push(match answer {
        Ok(warnings) if warnings.is_empty() => {
            Check::ok("The cluster accepts it", "Server-side dry run of the Job")
        }
        Ok(warnings) => Check::warn("The cluster accepts it, with a warning", warnings.join(" ")),
        Err(refusal) => {
            let help = refusal.who_can_grant(&platform);
            Check::bad("The cluster refuses the Job", refusal.sentence(), help)
        }
    });
    draft.checks.extend(needs);
    draft.shown = vec![shown(migration, &migration.job)];
    Ok(())
}

fn shown(migration: &Migration, job: &Value) -> ShownDiff {
    ShownDiff {
        kind: "Job".into(),
        name: format!("{}-migrate-…", migration.workload),
        before: String::new(),
        after: dry_run::shown(job),
    }
}
