//! The palette (⌘K): services, what can be done with the best hit, and pages. A verb typed first ("deploy check",
//! "roll back led") leaves only that action. Without script the same field is a search of the services page.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{Html, IntoResponse, Redirect, Response};
use futures::future::join_all;
use serde::Deserialize;

use super::look::{look, worst};
use crate::app::App;
use crate::auth::CurrentUser;
use crate::catalogue::{Catalogue, Service};
use crate::kube::Health;
use crate::web::{Layout, Result, filters};

const HITS: usize = 6;

#[derive(Template)]
#[template(path = "home/palette.html")]
struct Palette {
    groups: Vec<Group>,
}

struct Group {
    label: &'static str,
    options: Vec<Choice>,
}

/// One line: a status or an icon, words, and a note at the end.
struct Choice {
    n: usize,
    health: Option<Health>,
    symbol: &'static str,
    text: String,
    end: String,
    href: String,
}

#[derive(Deserialize)]
pub struct Typed {
    #[serde(default)]
    q: String,
}

/// `GET /search?q=`
pub async fn search(
    State(app): State<App>,
    user: CurrentUser,
    layout: Layout,
    headers: HeaderMap,
    Query(typed): Query<Typed>,
) -> Result<Response> {
    if !headers.contains_key("hx-request") {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", &typed.q).finish();
        return Ok(Redirect::to(&format!("/services?{query}")).into_response());
    }
    let asked = Asked::parse(&typed.q);
    let catalogue = app.catalogue.load_full();
    let hits = hits(&catalogue, &asked, &user.groups);

    let looks = join_all(hits.iter().map(|service| look(&app, &user, service, layout.now))).await;
    let services = hits.iter().zip(&looks).map(|(service, looks)| Choice {
        health: Some(worst(looks)),
        end: filters::team(&service.team),
        href: format!("/services/{}", service.name),
        ..Choice::new("", &service.name)
    });
    let best = hits.first().filter(|_| !asked.words.is_empty());
    let environments: Vec<&str> =
        app.config.environments.iter().map(|environment| environment.name()).collect();
    let actions = best.map(|service| actions(&asked, &service.name, &environments)).unwrap_or_default();
    let groups = vec![
        Group { label: "Services", options: services.collect() },
        Group { label: "Actions", options: actions },
        Group { label: "Go to", options: pages(&asked, layout.platform) },
    ];
    let mut page = Palette { groups };
    page.finish(&typed.q);
    Ok(Html(page.render()?).into_response())
}

/// What was typed: a verb, if it begins with one, and the rest.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    verb: Option<Verb>,
    words: String,
    all: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Deploy,
    Logs,
    Scale,
    Restart,
    RollBack,
}

impl Verb {
    const ALL: [Self; 5] = [Self::Deploy, Self::Logs, Self::Scale, Self::Restart, Self::RollBack];

    fn spellings(self) -> &'static [&'static str] {
        match self {
            Self::Deploy => &["deploy"],
            Self::Logs => &["logs of", "logs", "log"],
            Self::Scale => &["scale"],
            Self::Restart => &["restart"],
            Self::RollBack => &["roll back", "rollback", "revert"],
        }
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::Deploy => "rocket",
            Self::Logs => "terminal",
            Self::Scale => "scaling",
            Self::Restart => "rotate-cw",
            Self::RollBack => "undo-2",
        }
    }

    /// A label that opens a form ends in "…".
    fn text(self, service: &str) -> String {
        match self {
            Self::Deploy => format!("Deploy {service}…"),
            Self::Logs => format!("Logs of {service}"),
            Self::Scale => format!("Scale {service}…"),
            Self::Restart => format!("Restart {service}…"),
            Self::RollBack => format!("Roll back {service}…"),
        }
    }

    fn href(self, service: &str, environment: &str) -> String {
        match self {
            Self::Deploy => format!("/services/{service}/{environment}/deploy"),
            Self::Logs => format!("/services/{service}/logs?env={environment}"),
            Self::Scale => format!("/services/{service}/{environment}/scale"),
            Self::Restart => format!("/services/{service}/{environment}/restart"),
            Self::RollBack => format!("/services/{service}/{environment}/rollback"),
        }
    }
}

impl Asked {
    fn parse(typed: &str) -> Self {
        let all = typed.trim().to_lowercase();
        let spelled = |verb: &Verb| {
            let rest = verb.spellings().iter().find_map(|word| all.strip_prefix(word))?;
            // "deployer" is a name, not a verb.
            (rest.is_empty() || rest.starts_with(' ')).then(|| (*verb, rest.trim().to_string()))
        };
        match Verb::ALL.iter().find_map(spelled) {
            Some((verb, words)) => Self { verb: Some(verb), words, all },
            None => Self { verb: None, words: all.clone(), all },
        }
    }
}

/// The best matches; before anything is typed, services of the person's own teams.
fn hits<'a>(
    catalogue: &'a Catalogue,
    asked: &Asked,
    groups: &std::collections::BTreeSet<String>,
) -> Vec<&'a Service> {
    if asked.words.is_empty() {
        return catalogue
            .services()
            .iter()
            .filter(|service| groups.contains(&service.team))
            .take(HITS)
            .collect();
    }
    let mut found = catalogue.search(&asked.words);
    found.truncate(HITS);
    found
}

/// Deploying comes first in the order of environments; the rest is offered when its verb was typed.
fn actions(asked: &Asked, service: &str, environments: &[&str]) -> Vec<Choice> {
    let verbs = match asked.verb {
        Some(verb) => vec![verb],
        None => vec![Verb::Deploy, Verb::Logs, Verb::RollBack],
    };
    let choice = |verb: Verb, environment: &&str| Choice {
        end: (*environment).into(),
        href: verb.href(service, environment),
        ..Choice::new(verb.symbol(), &verb.text(service))
    };
    verbs
        .into_iter()
        .flat_map(|verb| environments.iter().map(move |environment| choice(verb, environment)))
        .collect()
}

fn pages(asked: &Asked, platform: bool) -> Vec<Choice> {
    let all = [
        ("house", "Home", "", "/", true),
        ("layout-grid", "Services", "G S", "/services", true),
        ("rocket", "Deployments", "G D", "/deploys", true),
        ("inbox", "Approvals", "G A", "/approvals", true),
        ("history", "Audit trail", "", "/audit", platform),
    ];
    all.iter()
        .filter(|(_, text, _, _, may)| *may && text.to_lowercase().contains(&asked.all))
        .map(|(symbol, text, keys, href, _)| Choice {
            end: (*keys).into(),
            href: (*href).into(),
            ..Choice::new(symbol, text)
        })
        .collect()
}

impl Choice {
    fn new(symbol: &'static str, text: &str) -> Self {
        Self { n: 0, health: None, symbol, text: text.into(), end: String::new(), href: String::new() }
    }
}

impl Palette {
    /// Leaves out empty groups and numbers the rest; with no hit at all, offers the list page.
    fn finish(&mut self, typed: &str) {
        self.groups.retain(|group| !group.options.is_empty());
        if self.groups.is_empty() {
            let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", typed).finish();
            let text = format!("Nothing is called “{typed}”. Look through all services");
            let option = Choice { href: format!("/services?{query}"), ..Choice::new("search", &text) };
            self.groups.push(Group { label: "Services", options: vec![option] });
        }
        let options = self.groups.iter_mut().flat_map(|group| &mut group.options);
        for (n, option) in options.enumerate() {
            option.n = n;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_typed_first_leaves_only_that_action() {
        let asked = Asked::parse("Roll back led");
        assert_eq!((asked.verb, asked.words.as_str()), (Some(Verb::RollBack), "led"));
        let actions = actions(&asked, "ledger", &["staging", "production"]);
        let lines: Vec<_> =
            actions.iter().map(|action| (action.text.as_str(), action.href.as_str())).collect();
        assert_eq!(
            lines,
            [
                ("Roll back ledger…", "/services/ledger/staging/rollback"),
                ("Roll back ledger…", "/services/ledger/production/rollback"),
            ]
        );
    }

    #[test]
    fn a_name_that_begins_like_a_verb_stays_a_name() {
        assert_eq!(Asked::parse("deployer").verb, None);
        assert_eq!(Asked::parse("deploy").verb, Some(Verb::Deploy));
        assert_eq!(Asked::parse("").verb, None);
    }

    #[test]
    fn pages_are_found_by_a_part_of_their_name_and_audit_only_by_the_platform_team() {
        let found = |typed: &str, platform| {
            pages(&Asked::parse(typed), platform).into_iter().map(|page| page.text).collect::<Vec<_>>()
        };
        assert_eq!(found("appro", false), ["Approvals"]);
        assert_eq!(found("audit", true), ["Audit trail"]);
        assert!(found("audit", false).is_empty());
        assert_eq!(found("", true).len(), 5);
    }

    #[test]
    fn options_are_numbered_and_what_is_typed_is_escaped() {
        let mut page = Palette { groups: vec![Group { label: "Services", options: vec![] }] };
        page.finish("<b>");
        let html = page.render().unwrap();
        assert!(html.contains(r#"id="p0""#) && !html.contains("<b>"));
    }
}
