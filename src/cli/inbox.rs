//! `platform inbox`: what waits for you, and what waits for others; and what went ahead without waiting.

use jiff::Timestamp;

use super::access::rows as access_rows;
use super::args::Globals;
use super::failure::{Exit, Failure};
use super::portal::Portal;
use super::print::{Out, Paint, Tint, note};
use super::table::{Cell, Table};
use super::wording;
use crate::api::types::{Deploy, GlassReview, Inbox};

pub async fn run(globals: &Globals) -> Result<Exit, Failure> {
    let portal = Portal::of(globals)?;
    let inbox: Inbox = portal.get(portal.url(&["approvals"])).await?;
    if inbox.yours.is_empty() && inbox.others.is_empty() && inbox.access.is_empty() && inbox.glass.is_empty()
    {
        note("Nothing waits for approval.");
    } else if !inbox.yours.is_empty() {
        note("Look at one and decide: platform approve ID, platform reject ID.");
    }
    if !inbox.access.is_empty() {
        note("Access requests wait as well: platform access approve ID, platform access reject ID.");
    }
    if !inbox.glass.is_empty() {
        note("Broken glass waits for a review: look into it, then platform sign-off ID.");
    }
    Out::new(globals).value(&inbox, |paint| {
        let now = Timestamp::now();
        let deploys = inbox.yours.len() + inbox.others.len();
        let table = if deploys > 0 || (inbox.access.is_empty() && inbox.glass.is_empty()) {
            rows(&inbox, now, paint)
        } else {
            String::new()
        };
        let access =
            if inbox.access.is_empty() { String::new() } else { access_rows(&inbox.access, now, paint) };
        let glass = if inbox.glass.is_empty() { String::new() } else { glass_rows(&inbox.glass, now, paint) };
        [table, access, glass].into_iter().filter(|table| !table.is_empty()).collect::<Vec<_>>().join("\n")
    })
}

fn glass_rows(glass: &[GlassReview], now: Timestamp, paint: Paint) -> String {
    let mut table = Table::new(["ID", "ENVIRONMENT", "WITHOUT APPROVAL", "BY", "WHEN"]);
    for review in glass {
        table.row([
            Cell::tinted(Tint::Bold, review.id.to_string()),
            (&review.environment).into(),
            (&review.title).into(),
            (&review.by).into(),
            wording::when(review.at, now).into(),
        ]);
        if !review.reason.is_empty() {
            table.below(Tint::Dim, &review.reason);
        }
    }
    table.text(paint)
}

fn rows(inbox: &Inbox, now: Timestamp, paint: Paint) -> String {
    let mut table = Table::new(["ID", "FOR", "SERVICE", "ENVIRONMENT", "WHAT", "BY", "EXPIRES"]);
    let mut add = |whose: &str, tint, deploy: &Deploy| {
        table.row([
            Cell::tinted(Tint::Bold, deploy.id.to_string()),
            Cell::tinted(tint, whose),
            (&deploy.service).into(),
            (&deploy.environment).into(),
            wording::what(deploy).into(),
            (&deploy.requester).into(),
            deploy.expires.map(|at| wording::until(at, now)).unwrap_or_default().into(),
        ]);
        if !deploy.reason.is_empty() {
            table.below(Tint::Dim, &deploy.reason);
        }
    };
    for deploy in &inbox.yours {
        add("you", Tint::Warn, deploy);
    }
    for deploy in &inbox.others {
        add("others", Tint::Dim, deploy);
    }
    table.text(paint)
}
