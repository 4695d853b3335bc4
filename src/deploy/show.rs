//! One deploy: where it stands, who has to decide, what changes, its pods, the one reason when it does not go on,
//! and what happened when. The page is complete without script; a stream keeps it fresh by drawing the same block
//! of the same template again.

use std::convert::Infallible;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::Event as Sent;
use axum::response::{Html, IntoResponse, Response};
use futures::stream;
use jiff::Timestamp;

use super::confirm::Confirmation;
use super::deploy::{Deploy, DeployId, ImageChange, Place, Progress};
use super::found::version_of;
use super::gates::{self, Refusal, Verdict};
use super::glass;
use super::migration::Migration;
use super::pages::Moves;
use super::report::{Outcome, Report, Shown, Step, ready};
use super::state::State as At;
use super::store::{self, Decided, Happened};
use super::wording;
use crate::app::App;
use crate::auth::{CurrentUser, StreamDoor, access};
use crate::kube::job::{self, LastLines};
use crate::kube::{PodState, Wanted};
use crate::web::diff::Diff;
use crate::web::filters::{clock, short_digest, when};
use crate::web::{Error, Layout, Nav, Result};

#[derive(Template)]
#[template(path = "deploy/show.html", blocks = ["live"])]
struct ShowPage {
    layout: Layout,
    deploy: Deploy,
    title: String,
    meta: Vec<String>,
    steps: Vec<Step>,
    /// Refused just now: why, and the note that was typed.
    alert: Option<String>,
    note: String,
    seats: Vec<Seat>,
    approvals: String,
    decision: Decision,
    may_cancel: Option<&'static str>,
    may_promote: bool,
    /// The form in which this person may go on without what it waits for.
    glass_form: Option<String>,
    swap: Option<Swap>,
    diffs: Vec<Diff>,
    /// The pods; in two tracks while a second Deployment stands beside the workload.
    tracks: Vec<Track>,
    pods_end: String,
    outcome: Option<Outcome>,
    evidence: Vec<Shown>,
    facts: Vec<(String, String)>,
    timeline: Vec<Moment>,
    roll_back: bool,
    live_log: Option<LiveLog>,
    badge: &'static str,
    job: Option<Job>,
    /// What a migration wrote last, for people who may read logs here.
    kept: LastLines,
    /// Title and text, where it was broken.
    glass: Option<(String, String)>,
    /// What one confirms before approving; where this person may.
    confirmation: Option<Confirmation>,
}

/// What the pods say while they are replaced. The panel is filled by logview.js and left alone by what the stream
/// draws anew, so it stays when the deploy ends in front of its reader.
struct LiveLog {
    stream: String,
    download: String,
}

impl LiveLog {
    fn of(deploy: &Deploy) -> Self {
        if deploy.action.migration().is_some() {
            let log = format!("{}/log", deploy.url());
            return Self { stream: format!("{log}/stream"), download: log };
        }
        let Place { service, environment, .. } = &deploy.place;
        let logs = |what: &str| format!("/services/{service}/logs/{what}?env={environment}&since=5m");
        Self { stream: logs("stream"), download: logs("download") }
    }
}

/// Pods that belong together.
struct Track {
    /// Empty where there is one only.
    name: String,
    /// What of the traffic they get.
    share: String,
    pods: Vec<PodState>,
}

/// What a migration runs.
struct Job {
    line: String,
    image: String,
    container: String,
    deadline: String,
}

impl Job {
    fn of(migration: &Migration) -> Self {
        Self {
            line: migration.line(),
            image: migration.image.clone(),
            container: migration.container.clone(),
            deadline: job::span(migration.deadline()),
        }
    }
}

/// A person who decided, or a seat that is still free (empty name).
struct Seat {
    name: String,
    title: String,
    sub: String,
    class: &'static str,
    words: String,
    quote: String,
}

/// What this person can do about a deploy that waits.
enum Decision {
    NotWaiting,
    Refused(String),
    Open,
}

struct Swap {
    repository: String,
    from: String,
    to: String,
    digest: String,
}

struct Moment {
    class: &'static str,
    text: String,
    at: Timestamp,
    quote: String,
}

/// `GET /deploys/{id}`
pub async fn show(
    State(app): State<App>,
    user: CurrentUser,
    layout: Layout,
    Path(id): Path<DeployId>,
) -> Result<Response> {
    let deploy = visible(&app, &user, id).await?;
    answer(&app, &user, layout, deploy, None, "").await
}

/// The page, with 422 and the sentence on top where a decision was just refused.
pub async fn answer(
    app: &App,
    user: &CurrentUser,
    layout: Layout,
    deploy: Deploy,
    refusal: Option<&Refusal>,
    note: &str,
) -> Result<Response> {
    let mut page = page(app, user, layout, deploy).await?;
    page.alert = refusal.map(Refusal::sentence);
    page.note = note.into();
    let status = if refusal.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok((status, Html(page.render()?)).into_response())
}

/// `GET /deploys/{id}/live`: the live block, whenever the deploy moved. Event ids are the moment they were drawn;
/// a browser that comes back is sent the present state first, so nothing has to be kept for it.
pub async fn live(
    State(app): State<App>,
    user: CurrentUser,
    layout: Layout,
    door: StreamDoor,
    Path(id): Path<DeployId>,
) -> Result<Response> {
    visible(&app, &user, id).await?;
    let moves = Moves::of(&app, id);
    let first = Live { app, user, layout, id, moves, drawn: String::new(), over: false, open: true };
    let events = stream::unfold(first, |mut live| async move {
        let event = live.next().await?;
        Some((Ok::<_, Infallible>(event), live))
    });
    door.open(events)
}

struct Live {
    app: App,
    user: CurrentUser,
    layout: Layout,
    id: DeployId,
    moves: Moves,
    drawn: String,
    /// The deploy has ended, and so does the stream.
    over: bool,
    open: bool,
}

impl Live {
    /// The next event: drawn anew whenever this deploy moved and it looks different. None: the stream ends.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            if self.over {
                // A stream that just ended would be opened again; this event says that nothing more comes.
                return std::mem::take(&mut self.open).then(|| Sent::default().event("end").data("end"));
            }
            if !self.drawn.is_empty() && !self.moves.next().await {
                return None;
            }
            // Every drawing asks again whether the person may see it: a right that is gone ends the stream.
            let deploy = visible(&self.app, &self.user, self.id).await.ok()?;
            self.over = deploy.state.is_end();
            let log = LiveLog::of(&deploy);
            let mut page = page(&self.app, &self.user, self.layout.clone(), deploy).await.ok()?;
            if self.over {
                // It stands there in full already.
                page.kept = LastLines::default();
                page.live_log = Some(log);
            }
            let html = page.as_live().render().ok()?;
            if html == self.drawn && !self.over {
                continue;
            }
            let data =
                format!("<hx-partial hx-target=\"#deploy\" hx-swap=\"outerMorph\">{html}</hx-partial>");
            self.drawn = html;
            let id = self.app.clock.now().as_millisecond().to_string();
            return Some(Sent::default().id(id).data(data));
        }
    }
}

/// The deploy, if the person may look into its namespace or asked for it. Anything else does not exist for them.
pub async fn visible(app: &App, user: &CurrentUser, id: DeployId) -> Result<Deploy> {
    let mut db = app.db.acquire().await?;
    let deploy = store::load(&mut db, id).await?.ok_or(Error::NotFound)?;
    drop(db);
    let own = deploy.requester.identity == user.identity;
    if own || access::may_view(app, user, &deploy.place.cluster, &deploy.place.namespace).await? {
        Ok(deploy)
    } else {
        Err(Error::NotFound)
    }
}

async fn page(app: &App, user: &CurrentUser, layout: Layout, deploy: Deploy) -> Result<ShowPage> {
    let now = app.clock.now();
    let mut db = app.db.acquire().await?;
    let report = Report::of(&mut db, deploy).await?;
    let facts = facts(app, &mut db, &report.deploy, now).await?;
    let glass = glass::of_deploy(&mut db, &app.config, &report.deploy).await?;
    let kept = store::kept_log(&mut db, report.deploy.id).await?.unwrap_or_default();
    drop(db);
    let kept = if kept.lines.is_empty() || !may_read_logs(app, user, &report.deploy).await? {
        LastLines::default()
    } else {
        kept
    };
    let Report { deploy, decided, happened, steps, outcome, evidence } = report;

    let identities: Vec<_> = decided.iter().map(|decided| decided.person.identity.clone()).collect();
    let decision = match gates::may_decide(user, &deploy, &identities, now) {
        Ok(()) => Decision::Open,
        Err(Refusal::NotWaiting(_)) => Decision::NotWaiting,
        Err(refusal) => Decision::Refused(refusal.sentence()),
    };
    let confirmation = matches!(decision, Decision::Open).then(|| Confirmation::of(app, &deploy, &decided));
    let place = &deploy.place;
    let url = format!("/services/{}", place.service);
    let name = format!("Deployment {}", deploy.id);
    let progress = deploy.progress.clone().unwrap_or_default();
    Ok(ShowPage {
        layout: layout
            .at(Nav::Deployments, &[("Services", "/services"), (&place.service, &url), (&name, "")]),
        title: deploy.action.title(&place.service),
        meta: meta(&deploy, now),
        steps,
        alert: None,
        note: String::new(),
        seats: seats(&deploy, &decided),
        approvals: approvals(&deploy, &decided),
        decision,
        may_cancel: gates::may_cancel(user, &deploy)
            .ok()
            .map(|()| if deploy.state.is_active() { "Stop" } else { "Withdraw" }),
        may_promote: gates::may_promote(user, &deploy).is_ok(),
        glass_form: glass::form(&app.config, user, &deploy, now),
        swap: deploy.action.change().map(swap),
        diffs: deploy.shown.iter().map(|shown| shown.diff(&place.namespace)).collect(),
        pods_end: pods_end(&deploy, &progress.pods),
        tracks: tracks(&deploy, progress),
        outcome,
        evidence,
        facts,
        timeline: happened.iter().rev().map(moment).collect(),
        confirmation,
        glass: glass.as_ref().map(wording::glass),
        // A migration is undone by another migration, if at all.
        roll_back: deploy.action.migration().is_none()
            && matches!(
                deploy.state,
                At::RollingOut { .. } | At::Verifying { .. } | At::Failed { .. } | At::RollbackFailed { .. }
            ),
        live_log: deploy.state.is_active().then(|| LiveLog::of(&deploy)),
        badge: deploy.action.badge(&deploy.state),
        job: deploy.action.migration().map(Job::of),
        kept: if deploy.state.is_active() { LastLines::default() } else { kept },
        deploy,
    })
}

/// As the cluster's own authorizer decides: seeing a deploy is not yet seeing what its pods say.
async fn may_read_logs(app: &App, user: &CurrentUser, deploy: &Deploy) -> Result<bool> {
    let wanted = Wanted {
        verb: "get",
        group: "",
        resource: "pods",
        subresource: Some("log"),
        namespace: &deploy.place.namespace,
        name: None,
    };
    match access::review(app, user, &deploy.place.cluster, wanted).await {
        Ok(answer) => Ok(answer.allowed),
        // The rest of the page does not need the cluster.
        Err(Error::Unavailable(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn meta(deploy: &Deploy, now: Timestamp) -> Vec<String> {
    let mut meta = vec![format!("{} asked {}", deploy.requester.name, when(deploy.requested, now))];
    if let Some(change) = deploy.action.change().filter(|change| !change.replaces_version.is_empty()) {
        meta.push(format!("Replaces {}", change.replaces_version));
    }
    if let At::AwaitingApproval { expires } = deploy.state {
        meta.push(wording::expires(expires, now));
    }
    if let Some(ended) = deploy.ended {
        meta.push(format!("Ended {}", clock(ended)));
    }
    meta
}

fn pods_end(deploy: &Deploy, pods: &[PodState]) -> String {
    let (ready, wanted) = ready(deploy, pods);
    let wanted = wanted.max(ready);
    match deploy.action.change() {
        None if deploy.action.migration().is_some() => String::new(),
        Some(change) => {
            let version = &deploy.put_back().unwrap_or(change).version;
            format!("{ready} of {wanted} pods on {version}")
        }
        None => format!("{ready} of {wanted} pods ready"),
    }
}

fn tracks(deploy: &Deploy, progress: Progress) -> Vec<Track> {
    let cards = |of: &str, pods: Vec<PodState>| pods.into_iter().map(|pod| card(of, pod)).collect::<Vec<_>>();
    let name = deploy.action.workload();
    let of_beside = |pod: &PodState| deploy.beside().is_some_and(|beside| beside.owns(&pod.name));
    let (beside, workload): (Vec<_>, Vec<_>) = progress.pods.into_iter().partition(of_beside);
    let Some(change) = deploy.action.change().filter(|_| !beside.is_empty()) else {
        let one = Track { name: String::new(), share: String::new(), pods: cards(name, workload) };
        return if one.pods.is_empty() { Vec::new() } else { vec![one] };
    };
    let runs = match deploy.state {
        At::Shifting { .. } | At::Applying { .. } => &change.replaces_version,
        _ => &change.version,
    };
    let beside_name = change.strategy.beside().map_or("", |beside| beside.name.as_str());
    let (old, new) = wording::track_names(&change.strategy);
    let [old_share, new_share] = wording::shares(&deploy.state, progress.share);
    vec![
        Track { name: format!("{old} {runs}"), share: old_share, pods: cards(name, workload) },
        Track {
            name: format!("{new} {}", change.version),
            share: new_share,
            pods: cards(beside_name, beside),
        },
    ]
}

/// As it stands on its card. The workload's name is in the title already; the rest tells pods apart.
fn card(workload: &str, pod: PodState) -> PodState {
    let prefix = format!("{workload}-");
    let name = pod.name.strip_prefix(&prefix).unwrap_or(&pod.name).to_string();
    let words = if pod.node.is_empty() { pod.words } else { format!("{}, {}", pod.node, pod.words) };
    PodState { name, words, ..pod }
}

fn seats(deploy: &Deploy, decided: &[Decided]) -> Vec<Seat> {
    let mut seats: Vec<Seat> = decided
        .iter()
        .map(|decided| {
            let (class, word) = match decided.verdict {
                Verdict::Approve => ("ok", "Approved"),
                Verdict::Reject => ("bad", "Rejected"),
            };
            Seat {
                name: decided.person.name.clone(),
                title: decided.person.name.clone(),
                sub: decided.person.username.clone(),
                class,
                words: format!("{word} {}", clock(decided.at)),
                quote: decided.note.clone(),
            }
        })
        .collect();
    if matches!(deploy.state, At::AwaitingApproval { .. }) {
        let open = (deploy.policy.approvals as usize).saturating_sub(decided.len());
        seats.extend((0..open).map(|_| Seat {
            name: String::new(),
            title: format!("A member of {}", wording::any_of(&deploy.policy.approvers)),
            sub: format!("not {}", deploy.requester.name),
            class: "hold",
            words: "Waiting".into(),
            quote: String::new(),
        }));
    }
    seats
}

fn approvals(deploy: &Deploy, decided: &[Decided]) -> String {
    let yes = decided.iter().filter(|decided| decided.verdict == Verdict::Approve).count();
    format!("{yes} of {}, {} rule", deploy.policy.approvals, deploy.place.environment)
}

fn swap(change: &ImageChange) -> Swap {
    let image = change.images.values().next().cloned().unwrap_or_default();
    let repository = change.reference.split('@').next().unwrap_or_default();
    let repository = repository
        .rsplit_once(':')
        .filter(|(_, tag)| !tag.contains('/'))
        .map_or(repository, |(name, _)| name);
    Swap {
        repository: repository.into(),
        from: change.replaces_version.clone(),
        to: version_of(&image),
        digest: change
            .digest
            .as_deref()
            .map(short_digest)
            .unwrap_or_else(|| "not resolved to a digest".into()),
    }
}

/// What an approver weighs: what runs now, how long the environment before has run it, who depends on it.
async fn facts(
    app: &App,
    db: &mut sqlx::PgConnection,
    deploy: &Deploy,
    now: Timestamp,
) -> Result<Vec<(String, String)>> {
    let mut facts = Vec::new();
    if let Some(change) = deploy.action.change() {
        let runs = if change.replaces_version.is_empty() { "nothing" } else { &change.replaces_version };
        let label = if deploy.state.is_end() { "Ran before" } else { "Runs now" };
        facts.push((label.to_string(), runs.to_string()));
        if let (Some(required), Some(digest)) = (&deploy.policy.requires, &change.digest) {
            let since = store::first_success(db, &deploy.place.service, required, digest).await?;
            let told = since.map_or("never".into(), |at| format!("first {}, same digest", when(at, now)));
            facts.push((format!("Ran in {required}"), told));
        }
        if let Some(manager) = &change.take_over {
            facts.push(("Takes over".into(), format!("the image field, from {manager}")));
        }
        if !change.strategy.is_rolling() {
            facts.push(("Takes over as".into(), wording::way(change.strategy.kind()).0.to_lowercase()));
        }
        facts.push((
            "Runs it".into(),
            match change.is_managed() {
                true => "the portal (managed)".into(),
                false => format!("its own {} (adopted)", change.workload_kind),
            },
        ));
    }
    if let (Some(migration), Some(required)) = (deploy.action.migration(), &deploy.policy.requires) {
        let digest = migration.digest.as_deref().unwrap_or_default();
        let since = store::first_success(db, &deploy.place.service, required, digest).await?;
        let told = since.map_or("never".into(), |at| format!("first {}, same digest", when(at, now)));
        facts.push((format!("Its image ran in {required}"), told));
    }
    let catalogue = app.catalogue.load();
    if let Some(service) = catalogue.service(&deploy.place.service) {
        let used_by = &service.used_by;
        let told = if used_by.is_empty() { "nobody".into() } else { used_by.join(", ") };
        facts.push(("Depended on by".into(), told));
    }
    if deploy.needs_approval() {
        facts.push(("Approval covers".into(), short_digest(&format!("sha256:{}", deploy.digest.0))));
    }
    Ok(facts)
}

fn moment(happened: &Happened) -> Moment {
    use super::state::Event;
    let (class, text) = wording::told(&happened.event, &happened.actor);
    let quote = match &happened.event {
        Event::Approved { note, .. } | Event::Rejected { note } | Event::SignedOff { note } => note.clone(),
        Event::Requested { reason } => reason.clone(),
        _ => String::new(),
    };
    Moment { class, text, at: happened.at, quote }
}
