//! `/settings/tokens`: a person's tokens, a form for a new one, and the one time its secret is shown.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::token::{self, LONGEST_DAYS, MOST, Refusal, Token, TokenSecret, Wanted};
use super::{CurrentUser, Person, Scope, Scopes, wording};
use crate::app::App;
use crate::events::Origin;
use crate::web::{Error, Layout, Nav, Result, VerifiedForm, filters};

/// Soon enough to warn.
const SOON: SignedDuration = SignedDuration::from_hours(24 * 7);
/// What the form offers, in days.
const SPANS: [(u32, &str); 4] =
    [(30, "30 days"), (7, "7 days"), (90, "90 days"), (LONGEST_DAYS, "1 year, the longest allowed")];

#[derive(Template)]
#[template(path = "auth/tokens.html")]
struct TokensPage {
    layout: Layout,
    person: Arc<Person>,
    rows: Vec<Row>,
    open: usize,
    /// Made just now: its name and its secret.
    once: Option<(String, TokenSecret)>,
    form: NewToken,
    problems: Vec<Refusal>,
}

struct Row {
    token: Token,
    ends: String,
    /// `warn` or `idle`; empty while the end is far.
    class: &'static str,
}

impl TokensPage {
    fn problem(&self, field: &str) -> String {
        let found = self.problems.iter().find(|refusal| refusal.field() == field);
        found.map(|refusal| refusal.sentence()).unwrap_or_default()
    }

    fn scopes(&self) -> [(Scope, &'static str, bool); 4] {
        Scope::ALL.map(|scope| (scope, wording::use_of(scope), self.form.scope.contains(&scope)))
    }

    fn spans(&self) -> [(u32, &'static str, bool); 4] {
        SPANS.map(|(days, words)| (days, words, days == self.form.expires_days))
    }
}

/// The form. Scopes may repeat.
#[derive(Clone, Deserialize)]
pub struct NewToken {
    name: String,
    #[serde(default)]
    scope: Vec<Scope>,
    expires_days: u32,
}

impl Default for NewToken {
    fn default() -> Self {
        Self { name: String::new(), scope: vec![Scope::Read], expires_days: SPANS[0].0 }
    }
}

impl NewToken {
    fn wanted(&self) -> Wanted {
        let scopes: Scopes = self.scope.iter().copied().collect();
        Wanted { name: self.name.clone(), scopes, days: self.expires_days }
    }
}

/// `GET /settings/tokens`
pub async fn show(State(app): State<App>, user: CurrentUser, layout: Layout) -> Result<Response> {
    page(&app, &user, layout, None, NewToken::default(), Vec::new()).await
}

/// `POST /settings/tokens`: the answer shows the secret. It is in no address and in no row, so it can't be seen again.
pub async fn mint(
    State(app): State<App>,
    user: CurrentUser,
    layout: Layout,
    origin: Origin,
    form: VerifiedForm<NewToken>,
) -> Result<Response> {
    let form = form.into_inner();
    let wanted = form.wanted();
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    let open = token::count_open(&mut tx, &user.identity, now).await?;
    let refusals = token::refusals(&wanted, None, open, now);
    if !refusals.is_empty() {
        tx.rollback().await?;
        return page(&app, &user, layout, None, form, refusals).await;
    }
    let (token, secret) = token::mint(&mut tx, &user.0, &origin, &wanted, now).await?;
    tx.commit().await?;
    page(&app, &user, layout, Some((token.name, secret)), NewToken::default(), Vec::new()).await
}

async fn page(
    app: &App,
    user: &CurrentUser,
    layout: Layout,
    once: Option<(String, TokenSecret)>,
    form: NewToken,
    problems: Vec<Refusal>,
) -> Result<Response> {
    let mut db = app.db.acquire().await?;
    let tokens = token::list(&mut db, &user.0).await?;
    drop(db);
    let now = layout.now;
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let page = TokensPage {
        layout: layout.at(Nav::None, &[("Settings", "/settings/tokens"), ("Tokens", "")]),
        person: user.0.clone(),
        open: tokens.iter().filter(|token| token.expires > now).count(),
        rows: tokens.into_iter().map(|token| row(token, now)).collect(),
        once,
        form,
        problems,
    };
    Ok((status, Html(page.render()?)).into_response())
}

fn row(token: Token, now: Timestamp) -> Row {
    let (class, ends) = match token.expires {
        end if end <= now => ("idle", format!("ended {}", filters::when(end, now))),
        end if end < now + SOON => ("warn", filters::until(end, now)),
        end => ("", filters::day(end)),
    };
    Row { token, ends, class }
}

#[derive(Template)]
#[template(path = "auth/revocation.html")]
struct RevocationPage {
    layout: Layout,
    token: Token,
}

/// `GET /settings/tokens/{id}/revocation`: asks once more.
pub async fn revocation(
    State(app): State<App>,
    user: CurrentUser,
    layout: Layout,
    Path(id): Path<i64>,
) -> Result<Html<String>> {
    let token = own(&app, &user, id).await?;
    let crumbs = [("Settings", "/settings/tokens"), ("Tokens", "/settings/tokens"), ("Revoke", "")];
    Ok(Html(RevocationPage { layout: layout.at(Nav::None, &crumbs), token }.render()?))
}

#[derive(Deserialize)]
pub struct Revocation {}

/// `POST /settings/tokens/{id}/revocation`
pub async fn revoke(
    State(app): State<App>,
    user: CurrentUser,
    origin: Origin,
    Path(id): Path<i64>,
    _form: VerifiedForm<Revocation>,
) -> Result<Redirect> {
    let token = own(&app, &user, id).await?;
    token::revoke(&app, &token, &user, &origin).await?;
    Ok(Redirect::to("/settings/tokens"))
}

/// Somebody else's token is not there.
async fn own(app: &App, user: &CurrentUser, id: i64) -> Result<Token> {
    let mut db = app.db.acquire().await?;
    let tokens = token::list(&mut db, &user.0).await?;
    tokens.into_iter().find(|token| token.id == id).ok_or(Error::NotFound)
}
