//! The frame around every page: navigation, breadcrumb, account, theme. A handler takes [`Layout`] as an
//! argument and says where it is; `templates/base.html` draws it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum_extra::extract::cookie::CookieJar;

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
    /// May this person read the audit trail?
    pub platform: bool,
    pub request_id: String,
    /// Path and query, for "back here after signing in".
    pub here: String,
}

impl Layout {
    /// Sets the navigation entry and the breadcrumb: pairs of text and address, the last address is not used.
    pub fn at(mut self, nav: Nav, crumbs: &[(&str, &str)]) -> Self {
        self.nav = nav;
        let last = crumbs.len().saturating_sub(1);
        self.crumbs = crumbs
            .iter()
            .enumerate()
            .map(|(n, (text, href))| Crumb {
                text: (*text).into(),
                href: (n != last).then(|| (*href).into()),
            })
            .collect();
        self
    }

    /// The address of a static file, with the version that lets browsers keep it for a year.
    pub fn asset(&self, path: &str) -> String {
        assets::url(path)
    }

    pub fn icon_sprite(&self) -> &'static str {
        assets::sprite()
    }

    pub fn is(&self, nav: &Nav) -> bool {
        self.nav == *nav
    }

    pub fn teams(&self) -> Vec<&String> {
        self.user.iter().flat_map(|person| &person.groups).collect()
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
        let (running, waiting) = match &user {
            Some(user) => app.counts.for_person(app, user).await,
            None => (0, 0),
        };
        Ok(Self {
            theme,
            company: app.company.clone(),
            nav: Nav::None,
            crumbs: Vec::new(),
            running,
            waiting,
            platform: user.as_ref().is_some_and(|user| user.is_in_any(&app.config.access.platform)),
            request_id: super::request_id(&parts.headers),
            here: parts.uri.path_and_query().map_or_else(|| "/".into(), ToString::to_string),
            user: user.map(|user| user.0),
        })
    }
}
