//! The frame around every page: navigation, breadcrumb, account, theme. A handler takes [`Layout`] as an
//! argument and says where it is; `templates/base.html` draws it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum_extra::extract::cookie::CookieJar;
use jiff::Timestamp;

use super::assets;
use super::error::Error;
use crate::app::App;
use crate::auth::{CurrentUser, Person};

/// Where a page hangs in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nav {
    Home,
    Services,
    Deployments,
    Approvals,
    Logs,
    Audit,
    None,
}

/// One step of the breadcrumb; the last one has no address.
#[derive(Clone, Debug)]
pub struct Crumb {
    pub text: String,
    pub href: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Layout {
    /// `light` or `dark`, or empty to follow the system.
    pub theme: &'static str,
    pub user: Option<Arc<Person>>,
    pub company: Arc<str>,
    pub nav: Nav,
    pub crumbs: Vec<Crumb>,
    /// Deploys that run now, and approvals that wait for this person.
    pub running: i64,
    pub waiting: i64,
    /// Notices that they have not read.
    pub notices: i64,
    /// The person's groups that own services.
    pub teams: Vec<String>,
    /// May this person read the audit trail?
    pub platform: bool,
    pub request_id: String,
    /// The time that "4 min ago" on this page counts from.
    pub now: Timestamp,
    /// Path and query, for "back here after signing in".
    pub here: String,
}

impl Layout {
    /// For pages outside the portal: the development identity provider draws its page with the same parts.
    pub fn outside() -> Self {
        Self {
            theme: "",
            user: None,
            company: "".into(),
            nav: Nav::None,
            crumbs: Vec::new(),
            running: 0,
            waiting: 0,
            notices: 0,
            teams: Vec::new(),
            platform: false,
            request_id: String::new(),
            now: Timestamp::now(),
            here: "/".into(),
        }
    }

    /// Sets the navigation entry and the breadcrumb: pairs of text and address, the last address is not used.
    /// A page of the top level gives only itself and stands below the company's name.
    pub fn at(mut self, nav: Nav, crumbs: &[(&str, &str)]) -> Self {
        self.nav = nav;
        let company: Arc<str> = self.company.clone();
        let above = if crumbs.len() == 1 { Some((&*company, "/")) } else { None };
        let mut left = crumbs.len() + above.iter().len();
        self.crumbs = above
            .iter()
            .chain(crumbs)
            .map(|(text, href)| {
                left -= 1;
                Crumb { text: (*text).into(), href: (left > 0).then(|| (*href).into()) }
            })
            .collect();
        self
    }

    /// The address of a static file, with the version that lets browsers keep it for a year.
    pub fn asset(&self, path: &str) -> String {
        assets::url(path)
    }

    /// Whether this is where the page hangs.
    pub fn is(&self, nav: Nav) -> bool {
        self.nav == nav
    }
}

impl FromRequestParts<App> for Layout {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let user = <CurrentUser as OptionalFromRequestParts<App>>::from_request_parts(parts, app).await?;
        let theme = match CookieJar::from_headers(&parts.headers).get("theme").map(|cookie| cookie.value()) {
            Some("light") => "light",
            Some("dark") => "dark",
            _ => "",
        };
        let catalogue = app.catalogue.load();
        let owns = |group: &&String| catalogue.has_team(group);
        let teams = user.iter().flat_map(|user| &user.groups).filter(owns).cloned().collect();
        let (running, waiting, notices) = match &user {
            Some(user) => app.counts.for_person(app, user).await,
            None => (0, 0, 0),
        };
        Ok(Self {
            theme,
            company: app.company.clone(),
            nav: Nav::None,
            crumbs: Vec::new(),
            running,
            waiting,
            notices,
            teams,
            platform: user.as_ref().is_some_and(|user| user.is_in_any(&app.config.access.platform)),
            request_id: super::request_id(&parts.headers),
            now: app.clock.now(),
            here: parts.uri.path_and_query().map_or_else(|| "/".into(), ToString::to_string),
            user: user.map(|user| user.0),
        })
    }
}

#[cfg(test)]
impl Layout {
    /// A frame with everything in it, for tests that draw a template.
    pub fn sample() -> Self {
        let maya = Person {
            identity: crate::auth::Identity { issuer: "https://id.example".into(), subject: "1".into() },
            username: "maya@acme.example".into(),
            name: "Maya Okafor".into(),
            groups: ["payments".to_string()].into(),
            set_off_by: None,
        };
        Self {
            theme: "",
            user: Some(Arc::new(maya)),
            company: "Acme".into(),
            nav: Nav::None,
            crumbs: Vec::new(),
            running: 2,
            waiting: 3,
            notices: 2,
            teams: vec!["payments".into()],
            platform: true,
            request_id: "9f2c41d7-aa06".into(),
            now: "2026-11-23T14:06:21Z".parse().expect("a valid time"),
            here: "/".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_the_top_level_stands_below_the_company() {
        let crumbs = |layout: Layout| {
            layout.crumbs.into_iter().map(|crumb| (crumb.text, crumb.href)).collect::<Vec<_>>()
        };
        let top = crumbs(Layout::sample().at(Nav::Services, &[("Services", "")]));
        assert_eq!(top, [("Acme".into(), Some("/".into())), ("Services".into(), None)]);
        let below =
            crumbs(Layout::sample().at(Nav::Services, &[("Services", "/services"), ("checkout", "")]));
        assert_eq!(below, [("Services".into(), Some("/services".into())), ("checkout".into(), None)]);
    }
}
