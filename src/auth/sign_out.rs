//! Signing out: the session ends on every replica, then the provider is asked to end its own.

use askama::Template;
use axum::extract::State;
use axum::response::{Html, Redirect};
use axum_extra::extract::cookie::CookieJar;
use serde::Deserialize;

use super::CurrentUser;
use super::session::{self, SessionKey};
use crate::app::App;
use crate::web::{Error, Layout, VerifiedForm};

#[derive(Deserialize)]
pub struct SignOut {
    /// `yes`: every browser of this person.
    #[serde(default)]
    everywhere: String,
}

/// `POST /sign-out`. Without a session there is nothing to end, and the answer is the same.
pub async fn sign_out(
    State(app): State<App>,
    user: Option<CurrentUser>,
    key: Option<axum::Extension<SessionKey>>,
    jar: CookieJar,
    form: VerifiedForm<SignOut>,
) -> Result<(CookieJar, Redirect), Error> {
    let mut to = "/signed-out".to_string();
    if let (Some(user), Some(key)) = (user, key) {
        let id_token = session::end_one(&app, key.0).await?;
        if form.into_inner().everywhere == "yes" {
            session::end_everywhere(&app, &user.identity).await?;
        }
        if let Some(page) = app.provider.departure_page(id_token.as_deref()).await {
            to = page.into();
        }
    }
    let jar = jar.add(session::no_cookie(&app.config));
    Ok((jar, Redirect::to(&to)))
}

#[derive(Template)]
#[template(path = "auth/signed_out.html")]
struct SignedOutPage {
    layout: Layout,
}

/// `GET /signed-out`: where the provider sends people after it has ended its own session.
pub async fn signed_out(layout: Layout) -> Result<Html<String>, Error> {
    Ok(Html(SignedOutPage { layout }.render()?))
}
