//! `GET /services`: everything the company runs. Search, filters, sort and page stand in the address; the page works
//! as a plain form, and with script its rows follow what is typed.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::http::HeaderName;
use axum::response::Html;
use axum_extra::extract::Query;
use jiff::Timestamp;
use serde::Deserialize;

use super::board::Overview;
use super::last::{self, LastDeploy};
use super::service::Service;
use super::snapshot::{Catalogue, Facet, Order};
use super::wording;
use crate::app::App;
use crate::auth::CurrentUser;
use crate::kube::Health;
use crate::web::{Layout, Nav, Result, filters};

const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "catalogue/list.html")]
struct ListPage<'a> {
    layout: Layout,
    lead: String,
    problems: u32,
    tabs: Vec<Tab>,
    menus: Vec<Menu<'a>>,
    orders: [(&'static str, &'static str); 5],
    order: (&'static str, &'static str),
    filter: &'a Filter,
    environments: Vec<(String, bool)>,
    rows: Vec<Row<'a>>,
    pager: Pager,
    now: Timestamp,
}

struct Tab {
    href: String,
    text: &'static str,
    class: &'static str,
    count: String,
    on: bool,
}

/// A filter with its values.
struct Menu<'a> {
    name: &'static str,
    title: &'static str,
    choices: Vec<(&'a Facet, bool)>,
}

impl Menu<'_> {
    fn chosen(&self) -> usize {
        self.choices.iter().filter(|(_, on)| *on).count()
    }
}

struct Row<'a> {
    service: &'a Service,
    cells: Vec<CellView<'a>>,
    last: LastDeploy,
}

/// What a cell of an environment shows.
enum CellView<'a> {
    Hidden,
    Nothing,
    Runs { class: &'static str, word: &'static str, version: &'a str, same: bool },
    Many(u8),
}

struct Pager {
    text: String,
    previous: String,
    next: String,
}

/// What is asked for. Unknown values match nothing; unknown keys are ignored.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Filter {
    q: String,
    team: Vec<String>,
    tier: Vec<String>,
    lifecycle: Vec<String>,
    kind: Vec<String>,
    health: String,
    sort: String,
    page: usize,
}

/// Values of `health`, their words and shapes. The first is no filter.
const TABS: [(&str, &str, &str); 7] = [
    ("", "All", ""),
    ("healthy", "Healthy", "ok"),
    ("progressing", "Rolling out", "prog"),
    ("suspended", "Paused", "warn"),
    ("degraded", "Degraded", "bad"),
    ("unknown", "Not reporting", "idle"),
    ("missing", "Not deployed", "idle"),
];

/// Values of `sort` and their words. The first is the default.
const ORDERS: [(&str, &str); 5] = [
    ("", "Sorted by team"),
    ("name", "Sorted by name"),
    ("tier", "Sorted by tier"),
    ("lifecycle", "Sorted by lifecycle"),
    ("health", "Sorted by health, worst first"),
];

/// `GET /services`
pub async fn list(
    State(app): State<App>,
    user: CurrentUser,
    layout: Layout,
    Query(filter): Query<Filter>,
) -> Result<([(HeaderName, String); 1], Html<String>)> {
    let overview = app.pages.overview(&app, &user).await?;
    let catalogue = &*overview.board.catalogue;

    let matching = filter.matching(catalogue, &overview);
    let counts = health_counts(&overview, &matching);
    let wanted = filter.with_health(matching, &overview);
    let (page, pager) = filter.paged(&wanted);
    let lasts = last::lasts(&app, &overview, page).await?;

    let view = |n: &u32| {
        let service = &catalogue.services()[*n as usize];
        let sees = |cluster: &str, namespace: &str| overview.sees(cluster, namespace);
        let last = lasts.get(&service.name).map_or(LastDeploy::Never, |lasts| last::shown(lasts, sees));
        Row { service, cells: cells(&app, &overview, *n), last }
    };
    let html = ListPage {
        lead: lead(catalogue, &overview),
        problems: if layout.platform { catalogue.problems } else { 0 },
        layout: layout.at(Nav::Services, &[("Services", "")]),
        tabs: filter.tabs(&counts),
        menus: filter.menus(catalogue),
        orders: ORDERS,
        order: filter.shown_order(),
        environments: environments(&app),
        rows: page.iter().map(view).collect(),
        filter: &filter,
        pager,
        now: app.clock.now(),
    }
    .render()?;
    // A form sends its empty fields, too; the address that stays has none.
    let address = filter.address(|_| {});
    Ok(([(HeaderName::from_static("hx-replace-url"), address)], Html(html)))
}

/// Name and whether it is production, in the order of the configuration.
fn environments(app: &App) -> Vec<(String, bool)> {
    let environments = app.config.environments.iter();
    environments.map(|environment| (filters::team(environment.name()), environment.production)).collect()
}

/// "40 services run by 4 teams. 2 are degraded."
fn lead(catalogue: &Catalogue, overview: &Overview) -> String {
    let services = catalogue.services().len();
    let is_bad = |n: &u32| overview.health(*n) == Health::Degraded;
    let degraded = (0..services as u32).filter(is_bad).count();
    wording::lead(services, catalogue.teams.len(), degraded)
}

fn health_counts(overview: &Overview, services: &[u32]) -> BTreeMap<Health, usize> {
    let mut counts = BTreeMap::new();
    for n in services {
        *counts.entry(overview.health(*n)).or_default() += 1;
    }
    counts
}

/// A version that equals production's is grey, so that what is not yet released stands out.
fn cells<'a>(app: &App, overview: &'a Overview, n: u32) -> Vec<CellView<'a>> {
    let environments = &app.config.environments;
    let visible: Vec<_> = overview.cells(n).collect();
    let production = environments.iter().rposition(|environment| environment.production);
    let released =
        production.and_then(|at| visible[at]).map(|cell| &*cell.version).filter(|text| !text.is_empty());
    visible
        .into_iter()
        .zip(environments)
        .map(|(cell, environment)| match cell {
            None => CellView::Hidden,
            Some(cell) if cell.matches == 0 => CellView::Nothing,
            Some(cell) if cell.matches > 1 => CellView::Many(cell.matches),
            Some(cell) => CellView::Runs {
                class: cell.health.class(),
                word: cell.health.word(),
                version: &cell.version,
                same: !environment.production && released == Some(&*cell.version),
            },
        })
        .collect()
}

impl Filter {
    /// What was typed and a team, sorted by name.
    pub(super) fn by_name(typed: &str, team: Option<&str>) -> Self {
        Self {
            q: typed.into(),
            team: team.map(Into::into).into_iter().collect(),
            sort: "name".into(),
            ..Self::default()
        }
    }

    /// Services that match everything but the health, in order.
    pub(super) fn matching(&self, catalogue: &Catalogue, overview: &Overview) -> Vec<u32> {
        let mut found: Vec<u32> = match (self.q.trim(), self.order()) {
            // What was typed has an order of its own, unless another one is asked for.
            (typed, _) if !typed.is_empty() && self.sort.is_empty() => catalogue.find(typed),
            ("", Some(order)) => match catalogue.order(order) {
                Some(order) => order.to_vec(),
                None => (0..catalogue.services().len() as u32).collect(),
            },
            ("", None) => (0..catalogue.services().len() as u32).collect(),
            (typed, order) => {
                let mut found = catalogue.find(typed);
                let place = |n: &u32| order.map_or(0, |order| catalogue.place(*n, order));
                found.sort_by_key(|n| (place(n), *n));
                found
            }
        };
        if self.sort == "health" {
            found.sort_by_key(|n| overview.health(*n));
        }
        let chosen = |values: &[String], facets: &[Facet]| -> Option<Vec<u16>> {
            let number = |value: &String| facets.iter().position(|facet| facet.value == *value);
            (!values.is_empty()).then(|| values.iter().filter_map(number).map(|n| n as u16).collect())
        };
        let teams = chosen(&self.team, &catalogue.teams);
        let tiers = chosen(&self.tier, &catalogue.tiers);
        let lifecycles = chosen(&self.lifecycle, &catalogue.lifecycles);
        let kinds = chosen(&self.kind, &catalogue.kinds);
        let has =
            |wanted: &Option<Vec<u16>>, is: u16| wanted.as_ref().is_none_or(|wanted| wanted.contains(&is));
        if teams.is_some() || tiers.is_some() || lifecycles.is_some() || kinds.is_some() {
            found.retain(|n| {
                let filed = catalogue.filed(*n);
                has(&teams, filed.team)
                    && has(&tiers, filed.tier)
                    && has(&lifecycles, filed.lifecycle)
                    && has(&kinds, filed.kind)
            });
        }
        found
    }

    fn with_health(&self, mut services: Vec<u32>, overview: &Overview) -> Vec<u32> {
        if !self.health.is_empty() {
            services.retain(|n| key(overview.health(*n)) == self.health);
        }
        services
    }

    /// Its value and its words.
    fn shown_order(&self) -> (&'static str, &'static str) {
        match ORDERS.iter().find(|order| order.0 == self.sort).unwrap_or(&ORDERS[0]) {
            ("", _) if !self.q.trim().is_empty() => ("", "Best match first"),
            order => *order,
        }
    }

    /// None: by health, which is not an order of the catalogue.
    fn order(&self) -> Option<Order> {
        match self.sort.as_str() {
            "name" => Some(Order::Name),
            "tier" => Some(Order::Tier),
            "lifecycle" => Some(Order::Lifecycle),
            "health" => None,
            _ => Some(Order::Team),
        }
    }

    /// The rows of the page that is asked for; past the end, the last one.
    fn paged<'a>(&self, wanted: &'a [u32]) -> (&'a [u32], Pager) {
        let last = wanted.len().saturating_sub(1) / PAGE + 1;
        let page = self.page.clamp(1, last);
        let (start, end) = ((page - 1) * PAGE, (page * PAGE).min(wanted.len()));
        let link = |page: usize| self.address(|filter| filter.page = page);
        let pager = Pager {
            text: wording::range(start, end, wanted.len()),
            previous: if page > 1 { link(page - 1) } else { String::new() },
            next: if page < last { link(page + 1) } else { String::new() },
        };
        (&wanted[start..end], pager)
    }

    fn tabs(&self, counts: &BTreeMap<Health, usize>) -> Vec<Tab> {
        let count = |value: &str| match value {
            "" => counts.values().sum(),
            value => counts
                .iter()
                .filter(|(health, _)| key(**health) == value)
                .map(|(_, count)| *count)
                .sum::<usize>(),
        };
        TABS.into_iter()
            // Rare states are tabs only while somebody is in them.
            .filter(|(value, ..)| {
                matches!(*value, "" | "healthy" | "degraded") || *value == self.health || count(value) > 0
            })
            .map(|(value, text, class)| Tab {
                href: self.address(|filter| (filter.health, filter.page) = (value.into(), 0)),
                text,
                class,
                count: count(value).to_string(),
                on: *value == self.health,
            })
            .collect()
    }

    fn menus<'a>(&self, catalogue: &'a Catalogue) -> Vec<Menu<'a>> {
        let menu = |name, title, facets: &'a [Facet], chosen: &[String]| Menu {
            name,
            title,
            choices: facets.iter().map(|facet| (facet, chosen.contains(&facet.value))).collect(),
        };
        vec![
            menu("team", "Team", &catalogue.teams, &self.team),
            menu("tier", "Tier", &catalogue.tiers, &self.tier),
            menu("lifecycle", "Lifecycle", &catalogue.lifecycles, &self.lifecycle),
            menu("kind", "Kind", &catalogue.kinds, &self.kind),
        ]
    }

    /// Whether anything but sort and page is asked for.
    fn is_filtered(&self) -> bool {
        let Self { q, team, tier, lifecycle, kind, health, sort: _, page: _ } = self;
        !(q.is_empty() && health.is_empty())
            || [team, tier, lifecycle, kind].iter().any(|list| !list.is_empty())
    }

    /// The address of this page with something changed.
    fn address(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut filter = self.clone();
        change(&mut filter);
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let lists = [
            ("team", &filter.team),
            ("tier", &filter.tier),
            ("lifecycle", &filter.lifecycle),
            ("kind", &filter.kind),
        ];
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        };
        add("q", filter.q.trim());
        for (name, values) in lists {
            values.iter().for_each(|value| add(name, value));
        }
        add("health", &filter.health);
        add("sort", &filter.sort);
        if filter.page > 1 {
            add("page", &filter.page.to_string());
        }
        match query.finish() {
            query if query.is_empty() => "/services".into(),
            query => format!("/services?{query}"),
        }
    }
}

/// A health in the address.
fn key(health: Health) -> &'static str {
    match health {
        Health::Degraded => "degraded",
        Health::Missing => "missing",
        Health::Progressing => "progressing",
        Health::Suspended => "suspended",
        Health::Healthy => "healthy",
        Health::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Filter {
        let uri: axum::http::Uri = format!("/services?{query}").parse().unwrap();
        Query::try_from_uri(&uri).unwrap().0
    }

    #[test]
    fn the_address_holds_everything_and_nothing_empty() {
        let filter = parse("q=&team=payments&team=storefront&tier=0&health=degraded&sort=tier&page=2");
        assert_eq!(
            filter.address(|_| {}),
            "/services?team=payments&team=storefront&tier=0&health=degraded&sort=tier&page=2"
        );
        assert_eq!(filter.address(|filter| *filter = Filter::default()), "/services");
        assert!(filter.is_filtered() && !parse("sort=name&page=3&unknown=1").is_filtered());
    }

    #[test]
    fn pages_past_the_end_are_the_last_one() {
        let wanted: Vec<u32> = (0..120).collect();
        let (rows, pager) = parse("page=99").paged(&wanted);
        assert_eq!((rows[0], rows.len(), pager.text.as_str()), (100, 20, "101 to 120 of 120"));
        assert_eq!((pager.previous.as_str(), pager.next.as_str()), ("/services?page=2", ""));
        let (rows, pager) = parse("page=0").paged(&wanted);
        assert_eq!((rows[0], pager.next.as_str()), (0, "/services?page=2"));
        assert_eq!(parse("").paged(&[]).1.text, "Nothing");
    }
}
