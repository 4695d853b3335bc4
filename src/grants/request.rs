//! Asking: pick where, which role and for how long, say why, and it waits for those who may approve it. The form is
//! drawn and answered by the same page; with 422 it says what to mend and keeps what was typed.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::grant::{self, GrantId, Place, Terms};
use super::store::{self, NewGrant};
use super::wording;
use crate::app::App;
use crate::auth::{CurrentUser, access, machine};
use crate::catalogue::Catalogue;
use crate::config::{AccessRole, Config};
use crate::events::{self, Entry, Origin};
use crate::kube::{Target, Wanted as Right};
use crate::web::filters::span;
use crate::web::form::VerifiedForm;
use crate::web::{Error, Layout, Nav, Result};

/// Longer is a document, not a reason.
const LONGEST_REASON: usize = 2_000;
const LONGEST_CONTACT: usize = 80;
/// What the form offers, as far as a role allows it.
const OFFERED: [i64; 5] = [3_600, 4 * 3_600, 8 * 3_600, 24 * 3_600, 7 * 86_400];
/// What is chosen where nobody said: a working day.
const USUAL: i64 = 8 * 3_600;

#[derive(Template)]
#[template(path = "grants/form.html")]
struct FormPage {
    layout: Layout,
    lead: String,
    /// Empty: the form asks for the team.
    service: String,
    teams: Vec<(String, bool)>,
    environments: Vec<(String, bool)>,
    roles: Vec<RoleTile>,
    spans: Vec<(String, String, bool)>,
    reason: String,
    contact: String,
    key: String,
    problems: Vec<Problem>,
    /// Where it would count; None while that is open.
    place: Option<Place>,
    today: Vec<(&'static str, &'static str, &'static str)>,
    approvers: Vec<String>,
    username: String,
}

struct RoleTile {
    name: String,
    description: String,
    longest: String,
    checked: bool,
    disabled: bool,
}

/// A field that has to be mended.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub field: &'static str,
    pub sentence: String,
}

impl FormPage {
    fn problem(&self, field: &str) -> &str {
        let found = self.problems.iter().find(|problem| problem.field == field);
        found.map_or("", |problem| problem.sentence.as_str())
    }
}

/// The choice so far, in the address of the form or in the form itself.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Choice {
    service: String,
    team: String,
    environment: String,
    role: String,
    /// Seconds.
    lasts: Option<i64>,
    reason: String,
    contact: String,
    key: String,
}

/// `GET /access/new`
pub async fn form(
    Shared(app): Shared<App>,
    user: CurrentUser,
    layout: Layout,
    Query(choice): Query<Choice>,
) -> Result<Response> {
    Ok(page(&app, &user, layout, choice, Vec::new()).await?.into_response())
}

/// `POST /access`
pub async fn request(
    Shared(app): Shared<App>,
    user: CurrentUser,
    layout: Layout,
    origin: Origin,
    form: VerifiedForm<Choice>,
) -> Result<Response> {
    let choice = form.into_inner();
    let wanted = Wanted {
        service: Some(choice.service.as_str()).filter(|name| !name.is_empty()),
        team: Some(choice.team.as_str()).filter(|name| !name.is_empty()),
        environment: &choice.environment,
        role: &choice.role,
        seconds: choice.lasts,
        reason: &choice.reason,
        contact: &choice.contact,
        key: Some(&choice.key),
    };
    match ask(&app, &user, &origin, wanted).await? {
        Answer::Asked(id) | Answer::Before(id) => Ok(Redirect::to(&format!("/access/{id}")).into_response()),
        Answer::Refused(problems) => {
            let page = page(&app, &user, layout, choice, problems).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

/// A right that somebody asks for, with the form or with a program.
pub struct Wanted<'a> {
    pub service: Option<&'a str>,
    pub team: Option<&'a str>,
    pub environment: &'a str,
    pub role: &'a str,
    /// None: a working day, or the longest that the role allows.
    pub seconds: Option<i64>,
    pub reason: &'a str,
    pub contact: &'a str,
    pub key: Option<&'a str>,
}

pub enum Answer {
    /// It was asked for before: with the same key, or it waits or is active already.
    Before(GrantId),
    Asked(GrantId),
    Refused(Vec<Problem>),
}

/// Stores the request for those who may approve it, or says what has to be mended.
pub async fn ask(app: &App, user: &CurrentUser, origin: &Origin, wanted: Wanted<'_>) -> Result<Answer> {
    let key = wanted.key.and_then(|key| user.identity.stored_key(key));
    if let Some(key) = &key
        && let Some(id) = store::by_key(&mut *app.db.acquire().await?, key).await?
    {
        return Ok(Answer::Before(id));
    }
    // What a machine may do stands in the configuration, where it is reviewed.
    if machine::is_machine(&user.identity) {
        return Err(Error::Forbidden(wording::NOT_FOR_MACHINES.into()));
    }
    // Whoever asks has to be somebody to the cluster.
    access::kube_identity(app, user)?;
    let (place, role, asked) = match check(&app.config, &app.catalogue.load(), &wanted) {
        Ok(checked) => checked,
        Err(problems) => return Ok(Answer::Refused(problems)),
    };

    let now = app.clock.now();
    let terms = Terms::of(role, &place.team);
    let digest = grant::digest(user, &place, &terms, asked.seconds);
    let mut tx = app.db.begin().await?;
    let new = NewGrant {
        requester: user,
        service: wanted.service.unwrap_or_default(),
        place: &place,
        terms: &terms,
        seconds: asked.seconds,
        reason: &asked.reason,
        contact: &asked.contact,
        digest: &digest,
        expires: now + role.expires,
        idempotency_key: key.as_deref(),
    };
    let id = match store::insert(&mut tx, new, now).await {
        Ok(id) => id,
        Err(error) if is_asked_already(&error) => {
            tx.rollback().await?;
            return already(app, user, &place, &terms).await;
        }
        Err(error) => return Err(error.into()),
    };
    let entry = Entry {
        action: "access.request",
        target: format!("{}/{}", place.team, place.environment),
        outcome: "awaiting_approval",
        detail: json!({
            "access": id,
            "role": terms.role,
            "cluster_role": terms.cluster_role,
            "cluster": place.cluster,
            "namespace": place.namespace,
            "seconds": asked.seconds,
            "reason": asked.reason,
            "contact": asked.contact,
            "digest": digest,
        }),
    };
    events::audit(&mut tx, user, origin, now, entry).await?;
    tx.commit().await?;
    app.counts.forget();
    Ok(Answer::Asked(id))
}

/// What a request holds, as it may be stored.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    seconds: i64,
    reason: String,
    contact: String,
}

/// Where it would count, by which role; or everything that has to be mended.
fn check<'a>(
    config: &'a Config,
    catalogue: &Catalogue,
    wanted: &Wanted<'_>,
) -> std::result::Result<(Place, &'a AccessRole, Asked), Vec<Problem>> {
    let mut problems = Vec::new();
    let mut add = |field, sentence: String| problems.push(Problem { field, sentence });
    let place = place(config, catalogue, wanted).map_err(|problem| add(problem.field, problem.sentence)).ok();
    let role = config.access_role(wanted.role);
    match role {
        None if wanted.role.is_empty() => add("role", "Pick a role.".into()),
        None => add("role", format!("There is no role “{}” to ask for.", wanted.role)),
        Some(role) if config.environment(wanted.environment).is_some() && !role.is_in(wanted.environment) => {
            add("role", format!("{} can’t be asked for in {}.", role.name(), wanted.environment));
        }
        Some(_) => {}
    }
    let longest = role.map_or(USUAL, |role| role.longest.as_secs());
    let seconds = wanted.seconds.unwrap_or(USUAL.min(longest));
    if role.is_some() && !(1..=longest).contains(&seconds) {
        add("lasts", format!("At most {}, and not less than a second.", span(longest)));
    }
    let reason = wanted.reason.trim();
    if reason.is_empty() {
        add("reason", "Say why. Whoever decides reads it, and it is kept in the audit trail.".into());
    } else if reason.chars().count() > LONGEST_REASON {
        add("reason", format!("At most {LONGEST_REASON} characters."));
    } else if reason.contains('\0') {
        add("reason", "There is a character in it that is no text.".into());
    }
    let contact = contact(wanted.contact);
    if contact.is_none() {
        add("contact", "A name like @noor: letters, digits, dots, dashes and underscores.".into());
    }
    match (place, role, contact) {
        (Some(place), Some(role), Some(contact)) if problems.is_empty() => {
            Ok((place, role, Asked { seconds, reason: reason.into(), contact }))
        }
        _ => Err(problems),
    }
}

/// The namespace of a service or of a team.
fn place(config: &Config, catalogue: &Catalogue, wanted: &Wanted<'_>) -> std::result::Result<Place, Problem> {
    let problem = |field, sentence: String| Err(Problem { field, sentence });
    let Some(environment) = config.environment(wanted.environment) else {
        return match wanted.environment {
            "" => problem("environment", "Pick an environment.".into()),
            name => problem("environment", format!("There is no environment “{name}”.")),
        };
    };
    let (team, namespace) = match (wanted.service, wanted.team) {
        (Some(name), _) => match catalogue.service(name) {
            Some(service) => (service.team.clone(), Target::new(service, environment).namespace),
            None => return problem("service", format!("There is no service “{name}”.")),
        },
        (None, Some(team)) if !catalogue.has_team(team) => {
            return problem("team", format!("No team “{team}” owns a service."));
        }
        (None, Some(_)) if environment.namespace.get_ref().contains("{service}") => {
            return problem("team", "Every service has a namespace of its own here: name a service.".into());
        }
        (None, Some(team)) => (team.to_string(), environment.namespace_for("", team)),
        (None, None) => return problem("team", "Pick a team.".into()),
    };
    Ok(Place {
        team,
        environment: environment.name().into(),
        production: environment.production,
        cluster: environment.cluster.get_ref().clone(),
        namespace,
    })
}

/// "@noor", from "noor" as well; empty stays empty. None: this is no such name.
fn contact(typed: &str) -> Option<String> {
    let name = typed.trim().trim_start_matches('@');
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() {
        return typed.trim().is_empty().then(String::new);
    }
    (name.chars().all(allowed) && name.chars().count() <= LONGEST_CONTACT).then(|| format!("@{name}"))
}

fn is_asked_already(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.constraint()) == Some("grants_one_open")
}

/// The same was asked for, and is not over yet: that one is the answer.
async fn already(app: &App, user: &CurrentUser, place: &Place, terms: &Terms) -> Result<Answer> {
    let id = sqlx::query_scalar!(
        "select id from grants
         where ended is null and issuer = $1 and subject = $2
           and place ->> 'cluster' = $3 and place ->> 'namespace' = $4 and terms ->> 'role' = $5",
        user.identity.issuer,
        user.identity.subject,
        place.cluster,
        place.namespace,
        terms.role,
    )
    .fetch_optional(&app.db)
    .await?;
    match id {
        Some(id) => Ok(Answer::Before(GrantId(id))),
        None => Err(crate::web::Error::Conflict("The same request ended just now. Send it again.".into())),
    }
}

async fn page(
    app: &App,
    user: &CurrentUser,
    layout: Layout,
    choice: Choice,
    problems: Vec<Problem>,
) -> Result<Html<String>> {
    let catalogue = app.catalogue.load();
    let config = &app.config;
    let service = catalogue.service(&choice.service);
    let teams: BTreeSet<&str> = catalogue.services().iter().map(|service| service.team.as_str()).collect();
    let team = match service {
        Some(service) => service.team.as_str(),
        None => teams.iter().find(|team| **team == choice.team).copied().unwrap_or_default(),
    };
    let offered = |name: &str| config.access.roles.iter().any(|role| role.is_in(name));
    let environments: Vec<&str> = config
        .environments
        .iter()
        .map(|environment| environment.name())
        .filter(|name| offered(name))
        .collect();
    let environment = environments
        .iter()
        .find(|name| **name == choice.environment)
        .or(environments.first())
        .copied()
        .unwrap_or_default();
    let fits = || config.access.roles.iter().filter(|role| role.is_in(environment));
    let role = fits().find(|role| role.name() == choice.role).or_else(|| fits().next());
    let longest = role.map_or(0, |role| role.longest.as_secs());
    let lasts = choice.lasts.filter(|lasts| *lasts <= longest).unwrap_or(USUAL.min(longest));

    let wanted = Wanted {
        service: service.map(|service| service.name.as_str()),
        team: Some(team).filter(|team| !team.is_empty()),
        environment,
        role: "",
        seconds: None,
        reason: "",
        contact: "",
        key: None,
    };
    let place = place(config, &catalogue, &wanted).ok();
    let page = FormPage {
        lead: lead(service.map(|service| service.name.as_str()), config.access.roles.is_empty()),
        service: service.map(|service| service.name.clone()).unwrap_or_default(),
        teams: teams.iter().map(|name| (name.to_string(), *name == team)).collect(),
        environments: environments.iter().map(|name| (name.to_string(), *name == environment)).collect(),
        roles: config
            .access
            .roles
            .iter()
            .map(|it| RoleTile {
                name: it.name().into(),
                description: it.description.clone(),
                longest: span(it.longest.as_secs()),
                checked: role.is_some_and(|role| role.name() == it.name()),
                disabled: !it.is_in(environment),
            })
            .collect(),
        spans: spans(longest, lasts),
        today: match &place {
            Some(place) => today(app, user, place).await,
            None => Vec::new(),
        },
        approvers: role.map(|role| role.approvers_for(team)).unwrap_or_default(),
        place,
        reason: choice.reason,
        contact: choice.contact,
        key: if choice.key.is_empty() { Uuid::new_v4().to_string() } else { choice.key },
        problems,
        username: user.username.clone(),
        layout: layout.at(Nav::Approvals, &[("Access", "/access"), ("Ask for access", "")]),
    };
    Ok(Html(page.render()?))
}

fn lead(service: Option<&str>, none: bool) -> String {
    match service {
        _ if none => "The portal’s configuration has no role that can be asked for.".into(),
        Some(name) => format!("A role in the namespace of {name}, for a while. It ends by itself."),
        None => "A role in the namespace of a team, for a while. It ends by itself.".into(),
    }
}

/// What can be chosen: value, words, and whether it is chosen. The longest that the role allows is always there.
fn spans(longest: i64, chosen: i64) -> Vec<(String, String, bool)> {
    let mut offered: Vec<i64> = OFFERED.into_iter().filter(|seconds| *seconds < longest).collect();
    offered.extend((longest > 0).then_some(longest));
    if chosen > 0 && !offered.contains(&chosen) {
        offered.push(chosen);
        offered.sort_unstable();
    }
    offered.into_iter().map(|seconds| (seconds.to_string(), span(seconds), seconds == chosen)).collect()
}

/// What the person may do there today, asked of the cluster: what the role would add is the rest.
async fn today(
    app: &App,
    user: &CurrentUser,
    place: &Place,
) -> Vec<(&'static str, &'static str, &'static str)> {
    let rights: [(&'static str, &str, &str, Option<&str>); 4] = [
        ("See what runs", "get", "deployments", None),
        ("Deploy and restart", "patch", "deployments", None),
        ("Scale", "patch", "deployments", Some("scale")),
        ("Read logs", "get", "pods", Some("log")),
    ];
    let mut rows = Vec::new();
    for (title, verb, resource, subresource) in rights {
        let group = if resource == "pods" { "" } else { "apps" };
        let right = Right { verb, group, resource, subresource, namespace: &place.namespace, name: None };
        rows.push(match access::review(app, user, &place.cluster, right).await {
            Ok(answer) if answer.allowed => ("ok", title, "you may already"),
            Ok(_) => ("idle", title, "not today"),
            Err(_) => ("idle", title, "the cluster can’t be asked right now"),
        });
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::catalogue::Service;

    const CONFIG: &str = r#"
[server]
base_url = "http://localhost:8080"
[database]
url = "postgres://pilothouse@127.0.0.1/pilothouse"
[oidc]
issuer = "http://localhost:8081"
client_id = "pilothouse"
[catalogue]
paths = ["."]
[[cluster]]
name = "main"
[[environment]]
name = "staging"
cluster = "main"
namespace = "{team}-{environment}"
[[environment]]
name = "apart"
cluster = "main"
namespace = "{service}"
[[access.role]]
name = "edit"
cluster_role = "edit"
environments = ["staging", "apart"]
approvers = ["{team}-managers"]
"#;

    fn checked(
        change: impl Fn(&mut Wanted<'static>),
    ) -> std::result::Result<(Place, Asked), Vec<&'static str>> {
        let config = Config::parse("pilothouse.toml", CONFIG, Path::new(".")).unwrap();
        let service = Service { name: "ledger".into(), team: "payments".into(), ..Service::default() };
        let catalogue = Catalogue::new(vec![service], BTreeMap::new());
        let mut wanted = Wanted {
            service: None,
            team: Some("payments"),
            environment: "staging",
            role: "edit",
            seconds: None,
            reason: "The certificate changes tonight.",
            contact: "",
            key: None,
        };
        change(&mut wanted);
        match check(&config, &catalogue, &wanted) {
            Ok((place, _, asked)) => Ok((place, asked)),
            Err(problems) => Err(problems.into_iter().map(|problem| problem.field).collect()),
        }
    }

    #[test]
    fn a_team_or_a_service_says_where() {
        assert_eq!(checked(|_| {}).unwrap().0.namespace, "payments-staging");
        let (place, asked) =
            checked(|it| (it.service, it.team, it.environment) = (Some("ledger"), None, "apart")).unwrap();
        assert_eq!(
            (place.namespace.as_str(), place.team.as_str(), asked.seconds),
            ("ledger", "payments", USUAL)
        );
        assert_eq!(checked(|it| it.environment = "apart").unwrap_err(), ["team"]);
        assert_eq!(checked(|it| it.team = Some("nobody")).unwrap_err(), ["team"]);
        assert_eq!(checked(|it| it.service = Some("nothing")).unwrap_err(), ["service"]);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let all = checked(|it| {
            (it.environment, it.role, it.reason, it.contact) = ("moon", "root", " ", "@<script>");
        });
        assert_eq!(all.unwrap_err(), ["environment", "role", "reason", "contact"]);
        assert_eq!(checked(|it| it.seconds = Some(28_801)).unwrap_err(), ["lasts"]);
        assert_eq!(checked(|it| it.seconds = Some(0)).unwrap_err(), ["lasts"]);
    }

    #[test]
    fn a_contact_is_a_name_and_nothing_else() {
        assert_eq!(contact(" noor.v ").as_deref(), Some("@noor.v"));
        assert_eq!(contact("@yourname").as_deref(), Some("@yourname"));
        assert_eq!(contact("").as_deref(), Some(""));
        for odd in ["@", "@a b", "javascript:x", "@a\u{202e}b", "@<b>"] {
            assert_eq!(contact(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn the_longest_is_always_on_offer() {
        let offered = |longest, chosen| {
            spans(longest, chosen).into_iter().map(|(value, _, on)| (value, on)).collect::<Vec<_>>()
        };
        assert_eq!(
            offered(28_800, 28_800),
            [("3600".into(), false), ("14400".into(), false), ("28800".into(), true)]
        );
        assert_eq!(offered(60, 60), [("60".to_string(), true)]);
        assert_eq!(offered(0, 0), []);
    }
}
