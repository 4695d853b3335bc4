//! Every sentence of the command. What the portal refuses is told in the portal's own words.

use jiff::Timestamp;
use url::Url;

use super::config::Kept;
use super::failure::{Exit, Failure};
use super::print::{Tint, clean};
use crate::api::types::{Check, Deploy, Health, LastDeploy, Plan, Scope, Service, Status, Version, WhoAmI};
use crate::web::filters;

pub const MANUAL: &str = "\
Exit codes:
  0    done
  1    failed: the deploy did, or something on this machine
  2    the command line can’t be used as it is
  3    refused: by a right, a rule, a check or an approver
  4    waiting for approval
  5    it took longer than --timeout; what was asked for goes on
  6    the portal is away
  7    not signed in, or no longer
  8    there is nothing of that name
  130  Ctrl-C; what was asked for goes on

Environment:
  PLATFORM_URL    the portal to ask, before the current context
  PLATFORM_TOKEN  the token to ask with, before the one that login has kept
  NO_COLOR        no colours
  BROWSER         the program that opens addresses
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY, SSL_CERT_FILE  are heeded

Files:
  ~/.config/platform/config.toml  the contexts (XDG_CONFIG_HOME is heeded)
  ~/.config/platform/tokens.toml  tokens, where the system has no keyring; only you can read it";

impl Failure {
    /// What went wrong and why. None: nobody has to be told.
    pub fn sentence(&self) -> Option<String> {
        Some(match self {
            Self::Problem(problem) if problem.detail.is_empty() => clean(&problem.title),
            Self::Problem(problem) => clean(&problem.detail),
            Self::Away { portal, why } => format!("{portal} does not answer: {}.", clean(why)),
            Self::Untrusted { portal, why } => {
                format!("This machine does not trust the certificate of {portal}: {}.", clean(why))
            }
            Self::NotAPortal { portal, what } => {
                format!("What answers at {portal} is no portal that this command knows: {}.", clean(what))
            }
            Self::NotSignedIn { portal, ended: true } => {
                format!("{portal} no longer takes your token: it has expired or was revoked.")
            }
            Self::NotSignedIn { portal, ended: false } => format!("You are not signed in at {portal}."),
            Self::NoPortal => "This command does not know your portal yet.".into(),
            Self::UnknownContext { name, .. } => format!("There is no context “{name}”."),
            Self::NoService { folder } => format!(
                "Which service? None is given, and neither {} nor a folder above it has a catalog-info.yaml with a \
                 Component.",
                folder.display()
            ),
            Self::SeveralServices { file, names } => {
                format!("Which service? {} has {}.", file.display(), names.join(", "))
            }
            Self::NobodyToAsk { what, .. } => {
                format!("{} is missing, and this is no terminal where you could be asked.", capitalised(what))
            }
            Self::NotAgreed => "Nothing was changed.".into(),
            Self::Nothing { what, .. } => what.clone(),
            Self::Usage(what) => format!("{}.", clean(what).trim_end_matches('.')),
            Self::Timeout { id, seconds } => {
                format!("Deploy {id} has not ended after {}. It goes on.", span(*seconds))
            }
            Self::Interrupted { id } => format!("You no longer watch deploy {id}. It goes on."),
            Self::SignIn(why) => why.clone(),
            Self::Local(error) => clean(&format!("{error:#}.")),
            Self::NobodyReads => return None,
        })
    }

    /// How to mend it, line by line.
    pub fn mend(&self) -> Vec<String> {
        match self {
            Self::Problem(problem) => {
                let fields = problem.errors.iter().map(|error| format!("{}: {}", error.field, error.detail));
                let failed =
                    problem.checks.iter().filter(|check| check.verdict == crate::api::types::Verdict::Failed);
                let nearest = (!problem.nearest.is_empty()).then(|| did_you_mean(&problem.nearest));
                let request = (problem.status >= 500 && !problem.request_id.is_empty())
                    .then(|| format!("The platform team finds it by the request {}.", problem.request_id));
                let lines = fields.chain(failed.map(check)).chain(nearest).chain(request);
                lines.map(|line| clean(&line)).collect()
            }
            Self::Away { .. } => {
                vec!["Is the address right (platform context list), and the network there?".into()]
            }
            Self::Untrusted { .. } => {
                vec!["If your company has its own authority, name its certificate: --ca-file FILE".into()]
            }
            Self::NotAPortal { .. } => vec!["Look at the address: platform context list".into()],
            Self::NotSignedIn { .. } => vec!["Sign in: platform login".into()],
            Self::NoPortal => vec!["Sign in at it: platform login https://portal.example.com".into()],
            Self::UnknownContext { name, known } => match nearest(name, known) {
                Some(near) => vec![did_you_mean(&[near])],
                None if known.is_empty() => vec!["There is none yet: platform login URL".into()],
                None => vec![format!("These are known: {}.", known.join(", "))],
            },
            Self::NoService { .. } => vec!["Name it: --service NAME. platform services lists them.".into()],
            Self::SeveralServices { .. } => vec!["Name one: --service NAME".into()],
            Self::NobodyToAsk { flag, choices, .. } if choices.is_empty() => vec![format!("Give {flag}.")],
            Self::NobodyToAsk { flag, choices, .. } => {
                vec![format!("Give {flag}, one of: {}.", choices.join(", "))]
            }
            Self::Nothing { mend, .. } => vec![mend.clone()],
            Self::Usage(_) => vec!["platform --help says more.".into()],
            Self::Timeout { id, .. } | Self::Interrupted { id } => {
                vec![format!("Watch it again: platform wait {id}")]
            }
            Self::SignIn(_) => {
                vec!["Try again: platform login. Without a browser: platform login --device".into()]
            }
            Self::NotAgreed | Self::Local(_) | Self::NobodyReads => Vec::new(),
        }
    }

    pub fn nothing_runs(service: &str) -> Self {
        Self::Nothing {
            what: format!("{service} runs nowhere that you can see."),
            mend: format!("Deploy it: platform deploy {service} --env ENVIRONMENT"),
        }
    }

    /// `newest` says why even the newest is refused.
    pub fn no_version(service: &str, environment: &str, newest: Option<&Version>) -> Self {
        let why =
            newest.and_then(|version| Some(format!(" {}: {}", version.version, version.refused.as_ref()?)));
        Self::Nothing {
            what: clean(&format!(
                "No version of {service} can be deployed to {environment}.{}",
                why.unwrap_or_default()
            )),
            mend: "Name one: --version VERSION".into(),
        }
    }

    pub fn no_deploy(service: &str, environment: Option<&str>) -> Self {
        let place = environment.map(|name| format!(" to {name}")).unwrap_or_default();
        Self::Nothing {
            what: format!("Nothing of {service} was ever deployed{place}."),
            mend: format!("Look at what runs: platform status {service}"),
        }
    }
}

fn did_you_mean(names: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [rest @ .., last] if !rest.is_empty() => format!("Did you mean {} or {last}?", rest.join(", ")),
        _ => format!("Did you mean {}?", names.concat()),
    }
}

fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let near = known.iter().map(|known| (strsim::osa_distance(name, known), known.as_str()));
    near.filter(|(slips, _)| *slips <= 2).min().map(|(_, known)| known)
}

/// How a change stands, in a sentence for the terminal and a number for the script.
pub struct Outcome {
    pub tint: Tint,
    pub sentence: String,
    pub hint: Option<String>,
    pub exit: Exit,
}

pub fn outcome(deploy: &Deploy) -> Outcome {
    let id = deploy.id;
    let what = format!("{} to {}", deploy.title, deploy.environment);
    let why = deploy.why.as_ref().map(|why| format!(" {why}")).unwrap_or_default();
    let (tint, sentence, hint, exit) = match deploy.state.as_str() {
        "succeeded" => (Tint::Good, format!("Done: {what}."), None, Exit::Done),
        "failed" => (Tint::Bad, format!("Failed: {what}.{why}"), deploy.next_action.clone(), Exit::Failed),
        "awaiting_approval" => (
            Tint::Warn,
            format!("Waiting for approval: {what}. {}", who_approves(deploy)),
            Some(format!("platform wait {id} watches it.")),
            Exit::Waiting,
        ),
        "rejected" => {
            let no = deploy.decisions.iter().rfind(|decision| !decision.approved);
            let by = no.map(|no| format!(" by {}: {}", no.by, no.note)).unwrap_or_default();
            (Tint::Bad, format!("Rejected{by}. Nothing was changed."), None, Exit::Refused)
        }
        "cancelled" | "expired" | "superseded" => {
            let state = capitalised(&state(&deploy.state));
            (
                Tint::Bad,
                format!("{state}: {what}.{why} Nothing was changed."),
                deploy.next_action.clone(),
                Exit::Refused,
            )
        }
        _ => (
            Tint::Busy,
            format!("On its way: {what}."),
            Some(format!("platform wait {id} watches it.")),
            Exit::Done,
        ),
    };
    Outcome { tint, sentence: clean(&sentence), hint: hint.map(|hint| clean(&hint)), exit }
}

/// "Needs 1 of payments-managers."
fn who_approves(deploy: &Deploy) -> String {
    let given = deploy.decisions.iter().filter(|decision| decision.approved).count();
    let missing = (deploy.approvals_needed as usize).saturating_sub(given);
    let people = if missing == 1 { "1 person".to_string() } else { format!("{missing} people") };
    match deploy.approvers.as_slice() {
        [] => format!("Needs {people}."),
        groups => format!("Needs {people} of {}.", groups.join(" or ")),
    }
}

/// What the portal found out about a failure.
pub fn evidence(deploy: &Deploy) -> Vec<String> {
    let mut lines = Vec::new();
    for evidence in deploy.evidence.iter().filter(|_| deploy.state == "failed") {
        lines.push(format!("{}:", clean(&evidence.title)));
        lines.extend(evidence.lines.iter().map(|line| format!("  {}", clean(line))));
    }
    lines
}

pub const STATES: [&str; 12] = [
    "requested",
    "awaiting_approval",
    "queued",
    "applying",
    "rolling_out",
    "verifying",
    "succeeded",
    "rejected",
    "cancelled",
    "expired",
    "superseded",
    "failed",
];

/// `awaiting_approval` is "awaiting approval".
pub fn state(state: &str) -> String {
    clean(&state.replace('_', " "))
}

pub fn state_tint(state: &str) -> Tint {
    match state {
        "succeeded" => Tint::Good,
        "failed" | "rejected" => Tint::Bad,
        "awaiting_approval" => Tint::Warn,
        "cancelled" | "expired" | "superseded" => Tint::Dim,
        _ => Tint::Busy,
    }
}

/// "v1.0.0 → v1.1.0" for new bytes, "restart" for none.
pub fn what(deploy: &Deploy) -> String {
    match (&deploy.version, deploy.replaces.as_deref().unwrap_or_default()) {
        (Some(version), "") => format!("{} {version}", deploy.action),
        (Some(version), was) => format!("{} {was} → {version}", deploy.action),
        (None, _) => deploy.title.clone(),
    }
}

pub fn health(status: &Status) -> (Tint, &'static str) {
    match status.health {
        _ if status.version.is_empty() => (Tint::Dim, "not there"),
        Health::Degraded => (Tint::Bad, "degraded"),
        Health::Missing => (Tint::Bad, "missing"),
        Health::Progressing => (Tint::Busy, "progressing"),
        Health::Suspended => (Tint::Dim, "suspended"),
        Health::Healthy => (Tint::Good, "healthy"),
        Health::Unknown => (Tint::Warn, "unknown"),
    }
}

/// The tint of the environment that is worst off.
pub fn worst(all: &[Status]) -> Tint {
    let tints: Vec<Tint> = all.iter().map(|status| health(status).0).collect();
    let order = [Tint::Bad, Tint::Warn, Tint::Busy];
    order.into_iter().find(|tint| tints.contains(tint)).unwrap_or_default()
}

/// "staging v1.1.0, production v1.0.0 degraded"
pub fn runs(service: &Service) -> String {
    let there = service.environments.iter().filter(|status| !status.version.is_empty());
    let each = there.map(|status| match health(status) {
        (Tint::Good, _) => format!("{} {}", status.environment, status.version),
        (_, health) => format!("{} {} {health}", status.environment, status.version),
    });
    each.collect::<Vec<_>>().join(", ")
}

pub fn stale(status: &Status, now: Timestamp) -> String {
    match status.seen {
        Some(seen) => format!("{} does not answer: this was seen {}.", status.cluster, when(seen, now)),
        None => format!("{} does not answer.", status.cluster),
    }
}

pub fn last_deploy(last: &LastDeploy, now: Timestamp) -> String {
    let how = if last.state == "succeeded" { String::new() } else { format!("{}, ", state(&last.state)) };
    format!("{how}{} by {}", when(last.at, now), last.by)
}

/// The pages join numbers and units with a no-break space, which a terminal has no need of.
pub fn when(at: Timestamp, now: Timestamp) -> String {
    filters::when(at, now).replace('\u{a0}', " ")
}

pub fn until(at: Timestamp, now: Timestamp) -> String {
    filters::until(at, now).replace('\u{a0}', " ")
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        _ => format!("{} min", seconds / 60),
    }
}

/// A pod as people tell it from others: the last letters of its ReplicaSet and its own five.
pub fn short(pod: &str) -> &str {
    let start = pod.len().saturating_sub(10);
    pod.get(start..).unwrap_or(pod).trim_start_matches('-')
}

pub fn no_lines(service: &str, environment: &str) -> String {
    format!("{service} wrote nothing in {environment} in this time; --since looks further back.")
}

pub fn more(shown: usize) -> String {
    format!("The first {shown}. --limit shows more.")
}

pub fn runs_in(version: &Version) -> String {
    if version.runs_in.is_empty() { String::new() } else { format!("runs in {}", version.runs_in.join(", ")) }
}

/// "checkout-api v1.1.0 to production, where v1.0.0 runs: image sha256:…"
pub fn plan(plan: &Plan) -> String {
    let was = if plan.replaces.is_empty() { "nothing".into() } else { plan.replaces.clone() };
    let image = plan.image_digest.as_ref().map(|digest| format!(", {}", filters::short_digest(digest)));
    let Plan { service, version, environment, .. } = plan;
    format!("{service} {version}{} to {environment}, where {was} runs", image.unwrap_or_default())
}

pub fn approvals(plan: &Plan) -> Option<String> {
    let people = match plan.approvals {
        0 => return None,
        1 => "1 other person has to approve".to_string(),
        count => format!("{count} other people have to approve"),
    };
    let groups = plan.approvers.join(" or ");
    Some(if groups.is_empty() { format!("{people}.") } else { format!("{people}, of {groups}.") })
}

pub fn check(check: &Check) -> String {
    let help = check.help.as_ref().map(|help| format!(" {help}")).unwrap_or_default();
    format!("{}: {}{help}", check.title, check.detail)
}

/// What somebody who approves has to know.
pub fn decision(deploy: &Deploy) -> Vec<String> {
    let mut lines =
        vec![format!("{} to {}, asked for by {}", deploy.title, deploy.environment, deploy.requester)];
    lines.extend(deploy.replaces.as_ref().map(|was| format!("replaces  {was}")));
    lines.extend(deploy.image_digest.as_ref().map(|digest| format!("image     {digest}")));
    if !deploy.reason.is_empty() {
        lines.push(format!("reason    {}", deploy.reason));
    }
    lines.push(format!("digest    {}", deploy.digest));
    lines.push(format!("page      {}", deploy.url));
    lines.into_iter().map(|line| clean(&line)).collect()
}

pub fn approved(deploy: &Deploy) -> String {
    let what = clean(&format!("{} to {}", deploy.title, deploy.environment));
    match deploy.state.as_str() {
        "awaiting_approval" => format!("Approved: {what}. {}", clean(&who_approves(deploy))),
        _ => format!("Approved: {what}. It runs by itself now."),
    }
}

pub fn rejected(deploy: &Deploy) -> String {
    clean(&format!("Rejected: {} to {}. {} is told.", deploy.title, deploy.environment, deploy.requester))
}

pub fn deploy_question(service: &str, version: &str, environment: &str, runs: &str) -> String {
    let was = if runs.is_empty() { String::new() } else { format!(", where {runs} runs") };
    clean(&format!("Deploy {service} {version} to {environment}{was}?"))
}

pub fn runs_already(service: &str, version: &str, environment: &str) -> String {
    clean(&format!("{service} {version} runs in {environment} already, and nothing newer is there."))
}

pub fn rollback_question(service: &str, environment: &str) -> String {
    format!("Roll {service} in {environment} back to its last good release?")
}

pub fn take_over_question(owner: &str) -> String {
    clean(&format!("{owner} sets the image of this workload. Take it over, once?"))
}

pub fn take_over_hint(owner: &str) -> String {
    clean(&format!("{owner} sets the image of this workload: --take-over takes it over, once."))
}

pub fn replicas_question(service: &str, status: &Status) -> String {
    let Status { environment, ready, wanted, .. } = status;
    clean(&format!(
        "{ready} of {wanted} pods of {service} are ready in {environment}. How many shall there be?"
    ))
}

pub fn who_am_i(me: &WhoAmI, portal: &str) -> Vec<(&'static str, String)> {
    let machine = if me.machine { ", a machine" } else { "" };
    let mut rows = vec![
        ("you", format!("{} ({}){machine}", me.username, me.name)),
        ("groups", me.groups.join(", ")),
        ("portal", portal.into()),
    ];
    if let Some(token) = &me.token {
        let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope_name(*scope)).collect();
        rows.push(("token", format!("{}, until {}", token.name, token.expires.strftime("%-d %b %Y"))));
        rows.push(("may", scopes.join(", ")));
    }
    rows
}

fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Deploy => "deploy",
        Scope::Production => "production",
        Scope::Approve => "approve",
    }
}

pub fn signed_in(me: &WhoAmI, portal: &str, kept: Kept) -> String {
    let until = me.token.as_ref().map(|token| format!(", until {}", token.expires.strftime("%-d %b %Y")));
    let until = until.unwrap_or_default();
    clean(&format!("You are {} at {portal}{until}. Your token is in {}.", me.username, place(kept)))
}

fn place(kept: Kept) -> &'static str {
    match kept {
        Kept::Keyring => "the system’s keyring",
        Kept::File => "a file that only you can read, because this system has no keyring",
    }
}

pub fn kept(kept: Option<Kept>) -> &'static str {
    match kept {
        None => "no",
        Some(Kept::Keyring) => "yes, token in the keyring",
        Some(Kept::File) => "yes, token in a file",
    }
}

pub fn signed_out(url: &Url) -> String {
    format!("You are signed out of {}.", bare(url))
}

pub fn not_signed_in_anyway(url: &Url) -> String {
    format!("You were not signed in at {}.", bare(url))
}

pub fn forgotten_only(url: &Url) -> String {
    format!(
        "The token is gone from this machine, but {} could not be told: revoke it there, in the settings.",
        bare(url)
    )
}

fn bare(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

/// A token over plain HTTP is everybody's on the way.
pub fn in_the_clear(url: &Url) -> Option<String> {
    let host = url.host_str().unwrap_or_default();
    let here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    (url.scheme() == "http" && !here)
        .then(|| format!("{} is plain HTTP: everybody on the way can read your token.", bare(url)))
}

pub fn code(address: &str, code: &str) -> String {
    format!("Open  {address}\nThe code there has to be  {code}\nWaiting until you have confirmed it…")
}

pub fn code_expired() -> String {
    "Nobody confirmed the code in time.".into()
}

pub fn refused_sign_in(error: &str) -> String {
    match error {
        "access_denied" => "The sign-in was refused in the browser.".into(),
        other => clean(&format!("The portal refused the sign-in: {other}.")),
    }
}

pub fn browser_opened(address: &str) -> String {
    format!("Your browser goes on with the sign-in. If it shows nothing, open\n  {address}")
}

pub fn open_yourself(address: &str) -> String {
    format!("No browser could be opened. Open this on the same machine:\n  {address}")
}

pub fn browser_never_came() -> String {
    "The browser did not come back in time.".into()
}

pub const PAGE_DONE: &str = "<!doctype html><meta charset=utf-8><title>Signed in</title>\
    <p>You are signed in. Close this window and go on in the terminal.";
pub const PAGE_REFUSED: &str = "<!doctype html><meta charset=utf-8><title>Not signed in</title>\
    <p>You are not signed in. The terminal says why.";
pub const PAGE_NOT_OURS: &str = "<!doctype html><meta charset=utf-8><title>Not signed in</title>\
    <p>This belongs to another sign-in. Start again in the terminal.";

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::types::Problem;

    /// checkout-api v1.1.0 on its way to staging.
    pub fn deploy(state: &str) -> Deploy {
        let ended = matches!(state, "succeeded" | "failed" | "rejected" | "expired");
        serde_json::from_value(json!({
            "id": 42, "action": "deploy", "title": "Deploy checkout-api v1.1.0", "service": "checkout-api",
            "team": "payments", "environment": "staging", "namespace": "payments-staging", "state": state,
            "ended": ended, "version": "v1.1.0", "replaces": "v1.0.0", "requester": "maya", "reason": "",
            "digest": "d1", "approvals_needed": 2, "approvers": ["payments-managers"],
            "decisions": [{ "by": "omar", "approved": state != "rejected", "note": "not today", "at": "2026-11-23T14:00:00Z" }],
            "requested_at": "2026-11-23T13:59:00Z",
            "steps": [
                { "title": "Requested", "detail": "13:59 · maya", "state": "done" },
                { "title": "Rolling out", "detail": "1 of 2 pods", "state": "now" },
                { "title": "Verified", "detail": "", "state": "todo" },
            ],
            "pods": [
                { "name": "checkout-api-1-a", "new": false, "ready": true, "phase": "Running", "restarts": 0, "node": "n", "reason": "" },
                { "name": "checkout-api-2-b", "new": true, "ready": true, "phase": "Running", "restarts": 1, "node": "n", "reason": "" },
                { "name": "checkout-api-2-c", "new": true, "ready": false, "phase": "Pending", "restarts": 0, "node": "n", "reason": "image not found" },
            ],
            "evidence": [{ "title": "Its last words", "lines": ["panic\u{1b}[2J"] }],
            "url": "https://portal.example.com/deploys/42",
        }))
        .unwrap()
    }

    #[test]
    fn every_end_has_its_exit_code() {
        let exit = |state: &str| outcome(&deploy(state)).exit;
        assert_eq!(exit("succeeded"), Exit::Done);
        assert_eq!(exit("failed"), Exit::Failed);
        assert_eq!(exit("rejected"), Exit::Refused);
        assert_eq!(exit("expired"), Exit::Refused);
        assert_eq!(exit("awaiting_approval"), Exit::Waiting);
        assert_eq!(exit("queued"), Exit::Done);
    }

    #[test]
    fn a_wait_says_for_whom() {
        assert_eq!(
            outcome(&deploy("awaiting_approval")).sentence,
            "Waiting for approval: Deploy checkout-api v1.1.0 to staging. Needs 1 person of payments-managers."
        );
        assert_eq!(
            outcome(&deploy("rejected")).sentence,
            "Rejected by omar: not today. Nothing was changed."
        );
    }

    #[test]
    fn a_refusal_says_what_why_and_how_to_mend_it() {
        let failure = Failure::Problem(Box::new(Problem {
            status: 404,
            detail: "There is no service “chekout-api”.".into(),
            nearest: vec!["checkout-api".into(), "checkout".into()],
            ..Problem::default()
        }));
        assert_eq!(failure.exit(), Exit::NotFound);
        assert_eq!(failure.sentence().unwrap(), "There is no service “chekout-api”.");
        assert_eq!(failure.mend(), ["Did you mean checkout-api or checkout?"]);
    }

    #[test]
    fn contexts_forgive_a_slip() {
        let known = vec!["staging".to_string(), "production".to_string()];
        let unknown = |name: &str| Failure::UnknownContext { name: name.into(), known: known.clone() };
        assert_eq!(unknown("stagign").mend(), ["Did you mean staging?"]);
        assert_eq!(unknown("moon").mend(), ["These are known: staging, production."]);
    }
}
