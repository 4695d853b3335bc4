//! Signing in and out, and who somebody is.

use url::Url;

use crate::api::types::{Scope, WhoAmI};
use crate::cli::config::Kept;
use crate::cli::print::clean;

pub const NO_ID_TOKEN: &str = "there is no token of a CI system: give --token-file, set PLATFORM_ID_TOKEN (GitLab: id_tokens), \
     or let the GitHub job have the permission id-token: write";

pub fn who_am_i(me: &WhoAmI, portal: &str) -> Vec<(&'static str, String)> {
    let machine = if me.machine { ", a machine" } else { "" };
    let mut rows = vec![
        ("you", format!("{} ({}){machine}", me.username, me.name)),
        ("groups", me.groups.join(", ")),
        ("portal", portal.into()),
    ];
    if let Some(team) = &me.team {
        rows.push(("changes", format!("services of {team} in {}", me.environments.join(", "))));
    }
    if let Some(token) = &me.token {
        let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope_name(*scope)).collect();
        rows.push(("token", format!("{}, until {}", token.name, token.expires.strftime("%-d %b %Y"))));
        rows.push(("may", scopes.join(", ")));
    }
    rows
}

fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Deploy => "deploy",
        Scope::Production => "production",
        Scope::Approve => "approve",
    }
}

pub fn signed_in(me: &WhoAmI, portal: &str, kept: Kept) -> String {
    let until = me.token.as_ref().map(|token| format!(", until {}", token.expires.strftime("%-d %b %Y")));
    let until = until.unwrap_or_default();
    clean(&format!("You are {} at {portal}{until}. Your token is in {}.", me.username, place(kept)))
}

fn place(kept: Kept) -> &'static str {
    match kept {
        Kept::Keyring => "the system’s keyring",
        Kept::File => "a file that only you can read, because this system has no keyring",
    }
}

pub fn kept(kept: Option<Kept>) -> &'static str {
    match kept {
        None => "no",
        Some(Kept::Keyring) => "yes, token in the keyring",
        Some(Kept::File) => "yes, token in a file",
    }
}

pub fn sign_in_ended() -> String {
    "Your sign-in has ended: it is 30 days old, was ended by somebody, or you signed out in another terminal."
        .into()
}

pub fn signed_out(url: &Url) -> String {
    format!("You are signed out of {}.", bare(url))
}

pub fn not_signed_in_anyway(url: &Url) -> String {
    format!("You were not signed in at {}.", bare(url))
}

pub fn forgotten_only(url: &Url) -> String {
    format!(
        "The token is gone from this machine, but {} could not be told: revoke it there, in the settings.",
        bare(url)
    )
}

fn bare(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

/// A token over plain HTTP is everybody's on the way.
pub fn in_the_clear(url: &Url) -> Option<String> {
    let host = url.host_str().unwrap_or_default();
    let here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    (url.scheme() == "http" && !here)
        .then(|| format!("{} is plain HTTP: everybody on the way can read your token.", bare(url)))
}

pub fn code(address: &str, code: &str) -> String {
    format!("Open  {address}\nThe code there has to be  {code}\nWaiting until you have confirmed it…")
}

pub fn code_expired() -> String {
    "Nobody confirmed the code in time.".into()
}

pub fn refused_sign_in(error: &str) -> String {
    match error {
        "access_denied" => "The sign-in was refused in the browser.".into(),
        other => clean(&format!("The portal refused the sign-in: {other}.")),
    }
}

pub fn browser_opened(address: &str) -> String {
    format!("Your browser goes on with the sign-in. If it shows nothing, open\n  {address}")
}

pub fn open_yourself(address: &str) -> String {
    format!("No browser could be opened. Open this on the same machine:\n  {address}")
}

pub fn browser_never_came() -> String {
    "The browser did not come back in time.".into()
}

pub const PAGE_DONE: &str = "<!doctype html><meta charset=utf-8><title>Signed in</title>\
    <p>You are signed in. Close this window and go on in the terminal.";
pub const PAGE_REFUSED: &str = "<!doctype html><meta charset=utf-8><title>Not signed in</title>\
    <p>You are not signed in. The terminal says why.";
pub const PAGE_NOT_OURS: &str = "<!doctype html><meta charset=utf-8><title>Not signed in</title>\
    <p>This belongs to another sign-in. Start again in the terminal.";
