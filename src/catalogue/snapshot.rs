//! The whole catalogue in memory: immutable, sorted, with everything that the list page would otherwise compute anew
//! for every request. A new import makes a new one.

use std::collections::BTreeMap;

use super::search::Index;
use super::service::Service;
use crate::web::filters;

/// Everything the company runs.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// By name.
    services: Vec<Service>,
    index: Index,
    filed: Vec<Filed>,
    pub(super) teams: Vec<Facet>,
    pub(super) lifecycles: Vec<Facet>,
    pub(super) kinds: Vec<Facet>,
    pub(super) tiers: Vec<Facet>,
    by_team: Vec<u32>,
    by_tier: Vec<u32>,
    by_lifecycle: Vec<u32>,
    /// Mistakes in the files it comes from.
    pub(super) problems: u32,
    /// It was read from the database: an empty one is empty, not unknown.
    pub(super) loaded: bool,
}

/// A value that services can be filtered by, and how many have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facet {
    pub value: String,
    pub title: String,
    pub count: u32,
}

/// Which facets a service falls under, as numbers: comparing them is all that filtering does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filed {
    pub team: u16,
    pub lifecycle: u16,
    pub kind: u16,
    pub tier: u16,
}

/// The order of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    Name,
    #[default]
    Team,
    Tier,
    Lifecycle,
}

impl Catalogue {
    /// `titles`: display names of groups by group name, to search for.
    pub fn new(mut services: Vec<Service>, titles: BTreeMap<String, String>) -> Self {
        services.sort_by(|a, b| a.name.cmp(&b.name));
        services.dedup_by(|b, a| a.name == b.name);
        services.shrink_to_fit();
        let (teams, team_of) = facets(&services, |service| service.team.clone(), filters::team);
        let (lifecycles, lifecycle_of) =
            facets(&services, |service| service.lifecycle.clone(), filters::team);
        let (kinds, kind_of) = facets(&services, |service| service.kind.clone(), filters::team);
        let (tiers, tier_of) = facets(&services, tier_value, super::wording::tier);
        let filed: Vec<Filed> = (0..services.len())
            .map(|n| Filed {
                team: team_of[n],
                lifecycle: lifecycle_of[n],
                kind: kind_of[n],
                tier: tier_of[n],
            })
            .collect();
        // Services are sorted by name, so a stable sort by one key keeps names sorted within it.
        let ordered = |key: fn(&Filed) -> u16| {
            let mut order: Vec<u32> = (0..services.len() as u32).collect();
            order.sort_by_key(|n| key(&filed[*n as usize]));
            order
        };
        Self {
            problems: 0,
            by_team: ordered(|filed| filed.team),
            by_tier: ordered(|filed| filed.tier),
            by_lifecycle: ordered(|filed| filed.lifecycle),
            index: Index::new(&services, |team| titles.get(team).map(String::as_str)),
            services,
            filed,
            teams,
            lifecycles,
            kinds,
            tiers,
            loaded: true,
        }
    }

    pub fn services(&self) -> &[Service] {
        &self.services
    }

    pub fn service(&self, name: &str) -> Option<&Service> {
        self.position(name).map(|n| &self.services[n as usize])
    }

    /// Whether a group owns anything.
    pub fn has_team(&self, group: &str) -> bool {
        self.teams.binary_search_by(|team| team.value.as_str().cmp(group)).is_ok()
    }

    /// Services that match what was typed, best first: by name, owner, tag and description, typing errors forgiven.
    pub fn search(&self, typed: &str) -> Vec<&Service> {
        self.find(typed).into_iter().map(|n| &self.services[n as usize]).collect()
    }

    pub(super) fn find(&self, typed: &str) -> Vec<u32> {
        self.index.find(typed, &self.services)
    }

    pub(super) fn position(&self, name: &str) -> Option<u32> {
        self.services.binary_search_by(|service| service.name.as_str().cmp(name)).ok().map(|n| n as u32)
    }

    pub(super) fn filed(&self, n: u32) -> Filed {
        self.filed[n as usize]
    }

    /// What an order sorts by, as a number.
    pub(super) fn place(&self, n: u32, order: Order) -> u16 {
        let filed = self.filed(n);
        match order {
            Order::Name => 0,
            Order::Team => filed.team,
            Order::Tier => filed.tier,
            Order::Lifecycle => filed.lifecycle,
        }
    }

    /// Every service in an order. None: they already are.
    pub(super) fn order(&self, order: Order) -> Option<&[u32]> {
        match order {
            Order::Name => None,
            Order::Team => Some(&self.by_team),
            Order::Tier => Some(&self.by_tier),
            Order::Lifecycle => Some(&self.by_lifecycle),
        }
    }
}

/// "0" to "3", or "none": sorts after them.
fn tier_value(service: &Service) -> String {
    service.tier.map_or_else(|| "none".into(), |tier| tier.to_string())
}

/// The values in order, and for each service the number of its own.
fn facets(
    services: &[Service],
    value: impl Fn(&Service) -> String,
    title: impl Fn(&str) -> String,
) -> (Vec<Facet>, Vec<u16>) {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for service in services {
        *counts.entry(value(service)).or_default() += 1;
    }
    let facets: Vec<Facet> =
        counts.into_iter().map(|(value, count)| Facet { title: title(&value), value, count }).collect();
    let number = |service| {
        let value = value(service);
        let n = facets.binary_search_by(|facet| facet.value.cmp(&value)).expect("every value was counted");
        // Over 65 535 teams, the rest share the last number: their filter shows a few too many.
        u16::try_from(n).unwrap_or(u16::MAX)
    };
    let numbers = services.iter().map(number).collect();
    (facets, numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, team: &str, tier: Option<u8>) -> Service {
        Service { name: name.into(), team: team.into(), tier, ..Service::default() }
    }

    #[test]
    fn services_are_found_ordered_and_counted() {
        let catalogue = Catalogue::new(
            vec![
                service("search", "storefront", None),
                service("ledger", "payments", Some(1)),
                service("checkout-api", "payments", Some(0)),
            ],
            BTreeMap::from([("payments".into(), "Payments & Billing".into())]),
        );
        let names = |order: Option<&[u32]>| -> Vec<String> {
            order.unwrap().iter().map(|n| catalogue.services()[*n as usize].name.clone()).collect()
        };
        assert_eq!(catalogue.service("ledger").unwrap().team, "payments");
        assert!(catalogue.service("nothing").is_none());
        assert_eq!(names(catalogue.order(Order::Team)), ["checkout-api", "ledger", "search"]);
        assert_eq!(names(catalogue.order(Order::Tier)), ["checkout-api", "ledger", "search"]);
        let teams: Vec<_> = catalogue.teams.iter().map(|team| (team.title.as_str(), team.count)).collect();
        assert_eq!(teams, [("Payments", 2), ("Storefront", 1)]);
        let tiers: Vec<_> = catalogue.tiers.iter().map(|tier| (tier.value.as_str(), tier.count)).collect();
        assert_eq!(tiers, [("0", 1), ("1", 1), ("none", 1)]);
        assert!(catalogue.has_team("payments") && !catalogue.has_team("pay"));
        assert_eq!(catalogue.search("billing").len(), 2);
    }
}
