//! The router and the table of who may come in, built in one go: a route can't be added without saying so,
//! and the authorization test walks [`Routes::table`] and asks for a row of its own for each.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware;
use axum::routing::{self, MethodRouter};

use crate::app::App;
use crate::auth::{self, Scope};

/// Who gets past the door. What they may do to one thing (a deploy, a namespace) is decided in its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, signed in or not: sign-in itself, static files, probes.
    Public,
    /// Every signed-in person.
    SignedIn,
    /// Members of a group in `[access] platform`.
    Platform,
    /// The API: whoever shows a token with this scope; for reading, every signed-in person as well.
    Api(Scope),
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
}

#[derive(Default)]
pub struct Routes {
    router: Router<App>,
    pub table: Vec<Route>,
}

impl Routes {
    pub fn get<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.add(Method::GET, path, access, routing::get(handler))
    }

    pub fn post<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.add(Method::POST, path, access, routing::post(handler))
    }

    pub fn delete<H, T>(self, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.add(Method::DELETE, path, access, routing::delete(handler))
    }

    /// Takes in the routes of a slice.
    pub fn and(mut self, other: Self) -> Self {
        self.table.extend(other.table);
        Self { router: self.router.merge(other.router), table: self.table }
    }

    pub fn into_router(self) -> Router<App> {
        self.router
    }

    fn add(mut self, method: Method, path: &'static str, access: Access, route: MethodRouter<App>) -> Self {
        let guarded = match access {
            Access::Public => route,
            Access::SignedIn => route.layer(middleware::from_fn(auth::require_signed_in)),
            Access::Platform => route.layer(middleware::from_fn(auth::require_platform)),
            Access::Api(scope) => route
                .layer(middleware::from_fn(move |request, next| auth::require_scope(scope, request, next))),
        };
        self.table.push(Route { method, path, access });
        Self { router: self.router.route(path, guarded), table: self.table }
    }
}
