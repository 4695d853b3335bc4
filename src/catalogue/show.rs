//! A service's page: what it is, who owns it, and per environment what runs, whether it is well, who put it there and
//! what you may do. Complete without script; a stream draws the same blocks again whenever something changed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::sse::Event;
use axum::response::{Html, Response};
use futures::stream::{self, SelectAll, StreamExt};
use jiff::Timestamp;
use serde::Deserialize;
use tokio_stream::wrappers::BroadcastStream;

use super::activity::{self, Entry, FeedRow, History};
use super::board::Overview;
use super::drift::{self, Drift};
use super::panel::{self, May, Panel};
use super::service::{Link, Service};
use super::snapshot::Catalogue;
use super::{sight, wording};
use crate::app::App;
use crate::auth::{CurrentUser, StreamDoor, access};
use crate::config::Environment;
use crate::deploy;
use crate::kube::{Health, Target, Wanted, Workload, WorkloadKind};
use crate::web::{Error, Layout, Nav, Result, filters};

const FEED: usize = 8;
const PAGE: usize = 50;
/// Ages and a cluster that fell silent are no change of a workload; they are looked at this often.
const LOOK: Duration = Duration::from_secs(5);

#[derive(Template)]
#[template(path = "catalogue/show.html", blocks = ["state", "now"])]
struct ShowPage {
    layout: Layout,
    service: Service,
    tier: String,
    source: Option<Link>,
    deploys: i64,
    state: (&'static str, String),
    deploy: Option<DeployButton>,
    stale: Vec<Stale>,
    under_way: Vec<UnderWay>,
    drifts: Vec<Drift>,
    panels: Vec<Panel>,
    links: Vec<(&'static str, Link)>,
    apis: Vec<(&'static str, Vec<(String, String)>)>,
    feed: Vec<FeedRow>,
    sides: [Side; 2],
    now: Timestamp,
}

/// The main button of the page.
struct DeployButton {
    href: String,
    locked: bool,
    /// The environment it leads to; its panel says why where it is locked.
    environment: String,
}

/// A cluster that is away.
struct Stale {
    cluster: String,
    since: Option<Timestamp>,
    text: String,
}

/// A deploy that runs or waits.
struct UnderWay {
    class: &'static str,
    icon: &'static str,
    title: String,
    text: String,
    href: String,
    action: &'static str,
}

/// What it calls, and what calls it.
struct Side {
    id: &'static str,
    title: &'static str,
    end: String,
    list: Vec<Dependency>,
}

struct Dependency {
    class: &'static str,
    word: &'static str,
    name: String,
    href: String,
    who: String,
    why: String,
    end: String,
}

/// `GET /services/{name}`
pub async fn show(
    State(app): State<App>,
    user: CurrentUser,
    layout: Layout,
    Path(name): Path<String>,
) -> Result<Html<String>> {
    Ok(Html(page(&app, &user, layout, &name).await?.render()?))
}

async fn page(app: &App, user: &CurrentUser, layout: Layout, name: &str) -> Result<ShowPage> {
    let now = app.clock.now();
    let (overview, n) = app.pages.find(app, user, name).await?;
    let service = &overview.board.catalogue.services()[n as usize];
    let history = activity::history(app, name, &service.depends_on).await?;

    let mut panels = Vec::new();
    let mut visible = Visible::default();
    let mut stale: Vec<(&Environment, Option<Timestamp>)> = Vec::new();
    let mut drifts = Vec::new();
    // Production first: that is what most people come for.
    for environment in app.config.environments.iter().rev() {
        let target = Target::new(service, environment);
        let status = app.watch(&target.cluster).status(&target, now);
        let may = may(app, user, &target, &status.workload).await?;
        if !matches!(may, May::Nothing(_)) {
            visible.0.push((target.cluster.clone(), target.namespace.clone()));
            if status.stale {
                stale.push((environment, status.seen));
            }
        }
        let landed = history.landed.get(environment.name());
        if let (May::Look(_) | May::Change, Some(landed), false) = (&may, landed, status.stale) {
            let observed = app.watch(&target.cluster).observed(&target);
            let live = observed.and_then(|observed| observed.workload);
            drifts.extend(
                live.and_then(|it| drift::of(name, landed, &history.recent, &it, may == May::Change)),
            );
        }
        let (production, migrates) = (environment.production, service.migration.is_some());
        let lacks = may != May::Change && !app.watch(&target.cluster).is_stale();
        let mut panel = panel::panel(&target, production, migrates, &status, may, landed, now);
        if lacks && app.config.access.roles.iter().any(|role| role.is_in(environment.name())) {
            panel.ask = panel::ask_for_access(&target);
        }
        panels.push(panel);
    }
    let entries: Vec<_> = history.recent.iter().filter(|entry| visible.holds(entry)).collect();
    let side = |id, title, names: &[String]| {
        let (list, end) = dependencies(app, &overview, names, &history, now);
        Side { id, title, end, list }
    };
    Ok(ShowPage {
        layout: layout.at(Nav::Services, &[("Services", "/services"), (name, "")]),
        tier: service.tier.map(|tier| wording::tier(&tier.to_string())).unwrap_or_default(),
        source: service.links.iter().find(|link| is_source(link)).cloned(),
        deploys: visible.count(&history),
        state: headline(&panels),
        deploy: deploy_button(&panels),
        stale: clusters_away(app, &stale, &panels),
        under_way: entries.iter().filter_map(|entry| under_way(entry, now)).collect(),
        links: service.links.iter().map(|link| (link_icon(link), link.clone())).collect(),
        drifts,
        apis: apis(&history),
        feed: entries.iter().take(FEED).map(|entry| entry.row()).collect(),
        panels,
        sides: [side("calls", "Calls", &service.depends_on), side("callers", "Called by", &service.used_by)],
        service: service.clone(),
        now,
    })
}

/// Asked of the cluster as this person: may they look, may they change?
async fn may(app: &App, user: &CurrentUser, target: &Target, runs: &Workload) -> Result<May> {
    let (cluster, namespace) = (target.cluster.as_str(), target.namespace.as_str());
    let grants = deploy::who_grants(app, &target.team);
    match app.pages.sight.sees(app, user, (cluster, namespace), sight::FOR_PAGES).await {
        Some(true) => {}
        Some(false) => return Ok(May::Nothing(wording::may_not_look(namespace, &grants))),
        None => return Ok(May::Nothing(wording::waits_for_cluster(cluster, None))),
    }
    // The panel of a cluster that is away locks everything by itself; asking would only hold up the page.
    if app.watch(cluster).is_stale() {
        return Ok(May::Change);
    }
    let verb = if *runs == Workload::None { "create" } else { "patch" };
    let resource = match runs {
        Workload::One(named) => named.kind,
        Workload::None | Workload::Many(_) => WorkloadKind::Deployment,
    }
    .resource();
    let wanted = Wanted { verb, group: "apps", resource, subresource: None, namespace, name: None };
    match access::review(app, user, cluster, wanted).await {
        Ok(answer) if answer.allowed => Ok(May::Change),
        Ok(_) => Ok(May::Look(wording::may_not_change((verb, resource), namespace, &grants))),
        Err(Error::Unavailable(sentence)) => Ok(May::Look(sentence)),
        Err(error) => Err(error),
    }
}

/// The places of a service that the person may look into. What was deployed elsewhere is not theirs to see.
#[derive(Default)]
struct Visible(Vec<(String, String)>);

impl Visible {
    fn has(&self, cluster: &str, namespace: &str) -> bool {
        self.0.iter().any(|(c, n)| c == cluster && n == namespace)
    }

    fn holds(&self, entry: &Entry) -> bool {
        self.has(&entry.cluster, &entry.namespace)
    }

    fn count(&self, history: &History) -> i64 {
        let counts = history.counts.iter().filter(|(cluster, namespace, _)| self.has(cluster, namespace));
        counts.map(|(.., count)| count).sum()
    }
}

/// The worst environment, or the health of production where all are equally well.
fn headline(panels: &[Panel]) -> (&'static str, String) {
    let running = panels.iter().filter(|panel| panel.health != Health::Missing);
    // `min_by_key` keeps the first of equals, and production stands first.
    match running.min_by_key(|panel| if panel.stale { Health::Degraded } else { panel.health }) {
        Some(panel) => (panel.class, wording::headline(panel.health, panel.word, &panel.name)),
        None => ("idle", wording::headline(Health::Missing, "", "")),
    }
}

/// Where the main button leads: the first environment, which stands last; and whether it is locked.
fn deploy_button(panels: &[Panel]) -> Option<DeployButton> {
    let acts = || panels.iter().rev().filter_map(|panel| Some((panel, panel.acts.first()?)));
    let (panel, act) = acts().find(|(_, act)| !act.locked).or_else(|| acts().next())?;
    Some(DeployButton { href: act.href.clone(), locked: act.locked, environment: panel.name.clone() })
}

fn clusters_away(app: &App, stale: &[(&Environment, Option<Timestamp>)], panels: &[Panel]) -> Vec<Stale> {
    let mut clusters: Vec<&str> =
        stale.iter().map(|(environment, _)| environment.cluster.get_ref().as_str()).collect();
    clusters.dedup();
    let live: Vec<&str> = panels
        .iter()
        .filter(|panel| !panel.stale)
        .filter(|panel| {
            app.config
                .environment(&panel.name)
                .is_some_and(|it| !clusters.contains(&it.cluster.get_ref().as_str()))
        })
        .map(|panel| panel.name.as_str())
        .collect();
    clusters
        .iter()
        .map(|cluster| {
            let of_it = stale.iter().filter(|(environment, _)| environment.cluster.get_ref() == cluster);
            let away: Vec<&str> = of_it.clone().map(|(environment, _)| environment.name()).collect();
            Stale {
                cluster: (*cluster).into(),
                since: of_it.clone().find_map(|(_, seen)| *seen),
                text: wording::of_then(&away, &live),
            }
        })
        .collect()
}

fn under_way(entry: &Entry, now: Timestamp) -> Option<UnderWay> {
    let (what, environment, by) = (entry.what(), &entry.environment, &entry.by);
    let asked = format!("{by} asked {} ago", filters::ago(entry.requested, now));
    let (class, icon, title, text, action) = match entry.state {
        deploy::State::AwaitingApproval { expires } => (
            "hold",
            "hourglass",
            format!("{what} waits for approval to {environment}."),
            format!(
                "{asked}, {} of {} approvals, expires {}.",
                entry.approvals,
                entry.needed,
                filters::clock(expires)
            ),
            "Review",
        ),
        deploy::State::Requested | deploy::State::Queued => (
            "prog",
            "hourglass",
            format!("{what} is queued for {environment}."),
            format!("{asked}."),
            "Watch",
        ),
        deploy::State::Applying { .. }
        | deploy::State::RollingOut { .. }
        | deploy::State::Verifying { .. }
        | deploy::State::RollingBack { .. } => {
            let state = entry.action.badge(&entry.state).to_lowercase();
            (
                "prog",
                entry.action.icon(),
                format!("{what}: {state} in {environment}."),
                format!("{asked}."),
                "Watch",
            )
        }
        _ => return None,
    };
    Some(UnderWay { class, icon, title, text, href: entry.href(), action })
}

/// Services with their health, then what else it calls; and how many of them are unwell.
fn dependencies(
    app: &App,
    overview: &Overview,
    names: &[String],
    history: &History,
    now: Timestamp,
) -> (Vec<Dependency>, String) {
    let catalogue = &*overview.board.catalogue;
    let mut found: Vec<Dependency> =
        names.iter().map(|name| dependency(app, overview, catalogue, name, history, now)).collect();
    let count = |class: &str| found.iter().filter(|dependency| dependency.class == class).count();
    let end = wording::dependencies(found.len(), count("bad"), count("ok"));
    // Trouble first, then as written.
    found.sort_by_key(|dependency| dependency.class != "bad");
    (found, end)
}

fn dependency(
    app: &App,
    overview: &Overview,
    catalogue: &Catalogue,
    name: &str,
    history: &History,
    now: Timestamp,
) -> Dependency {
    let Some(n) = catalogue.position(name) else {
        let resource = history.resources.get(name);
        return Dependency {
            class: "",
            word: "",
            name: name.into(),
            href: resource
                .map(|it| format!("/catalogue/resource/{}/{name}", it.namespace))
                .unwrap_or_default(),
            who: resource.map_or("Not in the catalogue".into(), |it| it.about.clone()),
            why: String::new(),
            end: String::new(),
        };
    };
    let service = &catalogue.services()[n as usize];
    let health = overview.health(n);
    let cells = || overview.cells(n).zip(&app.config.environments);
    let worst = cells().find(|(cell, _)| cell.is_some_and(|cell| cell.matches > 0 && cell.health == health));
    let why = worst.filter(|_| matches!(health, Health::Degraded | Health::Suspended)).and_then(
        |(_, environment)| {
            let target = Target::new(service, environment);
            let summary = app.watch(&target.cluster).glance(&target).summary?;
            Some(format!("{} in {}", summary.sentence(now).trim_end_matches('.'), environment.name()))
        },
    );
    let released = cells().filter(|(_, environment)| environment.production).find_map(|(cell, _)| cell);
    Dependency {
        class: health.class(),
        word: health.word(),
        name: name.into(),
        href: format!("/services/{name}"),
        who: filters::team(&service.team),
        why: why.unwrap_or_default(),
        end: released.map(|cell| cell.version.to_string()).unwrap_or_default(),
    }
}

fn is_source(link: &Link) -> bool {
    matches!(link.kind.as_str(), "source" | "repository")
}

fn link_icon(link: &Link) -> &'static str {
    match link.kind.as_str() {
        "source" | "repository" => "git-pull-request",
        "runbook" | "documentation" | "docs" => "book-open",
        "dashboard" | "metrics" => "chart-column",
        "api" => "code",
        "chat" => "message-circle",
        "logs" => "terminal",
        _ => "external-link",
    }
}

/// "Provides" and "Consumes", each API with its page.
fn apis(history: &History) -> Vec<(&'static str, Vec<(String, String)>)> {
    let of = |field: &str| -> Vec<(String, String)> {
        let targets = history.apis.iter().filter(|(found, _)| found == field);
        targets.map(|(_, target)| super::entities::link(target)).collect()
    };
    let both = [("Provides", of("spec.providesApis")), ("Consumes", of("spec.consumesApis"))];
    both.into_iter().filter(|(_, apis)| !apis.is_empty()).collect()
}

/// `GET /services/{name}/live`: the blocks that change, whenever they look different. Ids are the moment they were
/// drawn; a browser that comes back is sent the present state, so nothing has to be kept for it.
pub async fn live(
    State(app): State<App>,
    user: CurrentUser,
    layout: Layout,
    door: StreamDoor,
    Path(name): Path<String>,
) -> Result<Response> {
    app.catalogue.load().service(&name).ok_or(Error::NotFound)?;
    let workloads = app.watches.values().map(|watch| BroadcastStream::new(watch.changes()).map(drop).boxed());
    let deploys = BroadcastStream::new(app.deploy_pages.subscribe()).map(drop).boxed();
    let changes = stream::select_all(workloads.chain([deploys]));
    let first = Live { app, user, layout, name, changes, drawn: String::new() };
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
    name: String,
    changes: SelectAll<stream::BoxStream<'static, ()>>,
    drawn: String,
}

impl Live {
    /// The next event; None: the stream ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if !self.drawn.is_empty() && !self.changed().await {
                return None;
            }
            let page = page(&self.app, &self.user, self.layout.clone(), &self.name).await.ok()?;
            let (state, now) = (page.as_state().render().ok()?, page.as_now().render().ok()?);
            let html = partial("#state", &state) + &partial("#now", &now);
            if html != self.drawn {
                self.drawn.clone_from(&html);
                let id = self.app.clock.now().as_millisecond().to_string();
                return Some(Event::default().id(id).data(html));
            }
        }
    }

    /// Waits for a change or the next look. `false`: the portal stops.
    async fn changed(&mut self) -> bool {
        let stopping = tokio::select! {
            () = self.app.shutdown.cancelled() => true,
            Some(()) = self.changes.next() => false,
            () = tokio::time::sleep(LOOK) => false,
        };
        // A burst of changes is one picture; and what was read just now may be older than the change.
        tokio::time::sleep(Duration::from_millis(100)).await;
        while futures::FutureExt::now_or_never(self.changes.next()).flatten().is_some() {}
        self.app.pages.histories.invalidate(&self.name).await;
        !stopping
    }
}

fn partial(target: &str, html: &str) -> String {
    format!("<hx-partial hx-target=\"{target}\" hx-swap=\"outerMorph\">{html}</hx-partial>")
}

#[derive(Template)]
#[template(path = "catalogue/deploys.html")]
struct DeploysPage {
    layout: Layout,
    name: String,
    description: String,
    team: String,
    count: i64,
    rows: Vec<FeedRow>,
    pager: (String, String, String),
    now: Timestamp,
}

#[derive(Deserialize)]
pub struct Before {
    before: Option<i64>,
}

/// `GET /services/{name}/deploys`: everything that was ever asked for, newest first.
pub async fn deploys_page(
    State(app): State<App>,
    user: CurrentUser,
    layout: Layout,
    Path(name): Path<String>,
    Query(Before { before }): Query<Before>,
) -> Result<Html<String>> {
    let catalogue: Arc<Catalogue> = app.catalogue.load_full();
    let service = catalogue.service(&name).ok_or(Error::NotFound)?;
    let history = activity::history(&app, &name, &service.depends_on).await?;
    let mut visible = Visible::default();
    for environment in &app.config.environments {
        let target = Target::new(service, environment);
        let place = (target.cluster.as_str(), target.namespace.as_str());
        if app.pages.sight.sees(&app, &user, place, sight::FOR_PAGES).await == Some(true) {
            visible.0.push((target.cluster, target.namespace));
        }
    }
    let mut entries = activity::entries(&app, &name, before, PAGE as i64 + 1).await?;
    let more = entries.len() > PAGE;
    entries.truncate(PAGE);
    let url = format!("/services/{name}");
    let here = format!("{url}/deploys");
    let next = entries.last().filter(|_| more).map(|entry| format!("{here}?before={}", entry.id));
    let page = DeploysPage {
        layout: layout.at(Nav::Services, &[("Services", "/services"), (&name, &url), ("Deploys", "")]),
        count: visible.count(&history),
        description: service.description.clone(),
        team: service.team.clone(),
        rows: entries.iter().filter(|entry| visible.holds(entry)).map(Entry::row).collect(),
        pager: (String::new(), before.map(|_| here).unwrap_or_default(), next.unwrap_or_default()),
        now: app.clock.now(),
        name,
    };
    Ok(Html(page.render()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_drawn_by_their_kind() {
        let link = |kind: &str| Link {
            url: String::new(),
            title: String::new(),
            icon: String::new(),
            kind: kind.into(),
        };
        assert_eq!(link_icon(&link("runbook")), "book-open");
        assert_eq!(link_icon(&link("<odd>")), "external-link");
        assert!(is_source(&link("source")) && !is_source(&link("")));
    }
}
