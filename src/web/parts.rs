//! Draws every part of `templates/components/parts.html` once, in the frame, so that a change to a part that breaks
//! a page is seen here first. With `PILOTHOUSE_DRAW` set to a folder the page is also written there, to be looked at.

use askama::Template;
use jiff::Timestamp;

use super::diff::Diff;
use super::layout::{Layout, Nav};

#[derive(Template)]
#[template(path = "components/sample.html")]
struct Sample {
    layout: Layout,
    at: Timestamp,
    diffs: Vec<Diff>,
    ask: Ask,
    error: String,
}

struct Ask {
    kind: &'static str,
    symbol: &'static str,
    href: String,
    title: String,
    tier: String,
    environment: String,
    production: bool,
    change: String,
    by: String,
    why: String,
    expires: String,
    soon: bool,
    count: String,
    void: bool,
}

/// Writes a drawn page where a person can look at it.
pub fn keep(name: &str, html: &str) {
    if let Some(folder) = std::env::var_os("PILOTHOUSE_DRAW") {
        std::fs::write(std::path::Path::new(&folder).join(name), html).expect("the folder can be written");
    }
}

#[test]
fn every_part_is_drawn_and_escapes_what_it_is_given() {
    let html = Sample {
        layout: Layout::sample().at(Nav::Services, &[("Services", "/services"), ("Parts", "")]),
        at: "2026-11-23T14:02:00Z".parse().unwrap(),
        diffs: vec![Diff::of("Deployment checkout-api", "replicas: 10\n", "replicas: 12\n", 2)],
        ask: Ask {
            kind: "Deploy",
            symbol: "rocket",
            href: "/deploys/4812".into(),
            title: "checkout-api v1.0.0 to v1.1.0".into(),
            tier: "T0".into(),
            environment: "production".into(),
            production: true,
            change: "1 image".into(),
            by: "Maya Okafor".into(),
            why: "<script>alert(1)</script>".into(),
            expires: "Expires in 3 h".into(),
            soon: true,
            count: "0 of 1".into(),
            void: false,
        },
        error: "Say why, in a sentence.".into(),
    }
    .render()
    .unwrap();
    assert!(!html.contains("<script>alert"), "what people write is escaped");
    assert!(html.contains("4\u{a0}min</time>"));
    assert!(html.contains(r#"<span class="count end is-hold" aria-hidden="true">3</span>"#));
    assert!(!html.contains("style=\""), "the content policy forbids inline styles");
    keep("parts.html", &html);
}
