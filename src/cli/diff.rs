//! `platform diff`: the dry run of a deploy, as you, with everything that was checked.

use clap::Args;
use clap_complete::ArgValueCompleter;

use super::args::{Globals, InEnvironment, OfService};
use super::change::Target;
use super::failure::{Exit, Failure};
use super::print::{Paint, Tint, clean};
use super::{complete, deploy, wording};
use crate::api::types::{Plan, Verdict};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    of: OfService,
    #[command(flatten)]
    environment: InEnvironment,
    /// The version to look at. Without it: the newest that may be deployed there.
    #[arg(long, value_name = "VERSION", add = ArgValueCompleter::new(complete::versions))]
    version: Option<String>,
    /// As if the image field were taken over from whoever holds it.
    #[arg(long)]
    take_over: bool,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let target = Target::of(&arguments.of, &arguments.environment, globals).await?;
    let version = match arguments.version {
        Some(version) => version,
        None => deploy::newest(&target).await?.version(),
    };
    let query = [("version", Some(version.as_str())), ("take_over", arguments.take_over.then_some("true"))];
    let plan: Plan = target.portal.get(target.portal.url_with(&target.parts(&["plan"]), &query)).await?;
    target.out.value(&plan, |paint| text(&plan, paint))?;
    let refused = plan.checks.iter().any(|check| check.verdict == Verdict::Failed);
    Ok(if refused { Exit::Refused } else { Exit::Done })
}

fn text(plan: &Plan, paint: Paint) -> String {
    let mut lines = vec![paint.tint(Tint::Bold, &clean(&wording::plan(plan)))];
    for check in &plan.checks {
        let (tint, mark) = match check.verdict {
            Verdict::Passed => (Tint::Good, "✓"),
            Verdict::Warning => (Tint::Warn, "!"),
            Verdict::Failed => (Tint::Bad, "✗"),
            Verdict::NotAsked => (Tint::Dim, "○"),
        };
        lines.push(format!("{} {}", paint.tint(tint, mark), clean(&wording::check(check))));
    }
    lines.extend(wording::approvals(plan).map(|text| clean(&text)));
    for diff in &plan.diffs {
        lines.push(String::new());
        lines.push(paint.tint(Tint::Bold, &clean(&format!("{} {}", diff.kind, diff.name))));
        lines.extend(diff.unified.lines().map(|line| {
            let tint = match line.as_bytes().first() {
                Some(b'+') => Tint::Good,
                Some(b'-') => Tint::Bad,
                Some(b'@') => Tint::Busy,
                _ => Tint::Plain,
            };
            paint.tint(tint, &clean(line))
        }));
    }
    lines.join("\n") + "\n"
}
