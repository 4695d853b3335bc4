//! A deploy on its way. On a terminal: its steps and pods, drawn anew in place. Elsewhere: a line when something
//! changed. Both on standard error, so that the result on standard output stands alone.

use std::io::{self, IsTerminal as _, Write as _};

use super::print::{Paint, Tint, clean, say};
use super::wording;
use crate::api::types::{Deploy, Pod};

/// More pods than this scroll the steps out of sight.
const PODS_SHOWN: usize = 12;
const USUAL_WIDTH: usize = 80;

pub struct Progress {
    live: bool,
    paint: Paint,
    /// Lines on the screen that the next drawing replaces.
    drawn: usize,
    /// What was said last, where lines are only added.
    said: Vec<String>,
}

/// A piece of a line: how, what.
type Piece = (Tint, String);

impl Progress {
    pub fn new() -> Self {
        let live = io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self { live, paint: Paint::of_stderr(), drawn: 0, said: Vec::new() }
    }

    /// Only ever adds lines.
    pub fn plain() -> Self {
        Self { live: false, ..Self::new() }
    }

    pub fn show(&mut self, deploy: &Deploy) {
        if self.live { self.draw(deploy) } else { self.add(deploy) }
    }

    fn draw(&mut self, deploy: &Deploy) {
        let width = width();
        let lines: Vec<String> = picture(deploy).iter().map(|line| fit(line, width, self.paint)).collect();
        let mut text = String::new();
        if self.drawn > 0 {
            // Up to the first line, and everything from there away.
            text.push_str(&format!("\u{1b}[{}A\u{1b}[J", self.drawn));
        }
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = lines.len();
        // Where nobody can be shown anything, nobody can be told so either.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    fn add(&mut self, deploy: &Deploy) {
        let lines = plain(deploy);
        for line in lines.iter().filter(|line| !self.said.contains(line)) {
            say(line);
        }
        self.said = lines;
    }
}

/// What is true now, in a few lines.
fn plain(deploy: &Deploy) -> Vec<String> {
    let mut lines = vec![clean(&wording::titled(deploy))];
    let now = deploy.steps.iter().find(|step| matches!(step.state.as_str(), "now" | "failed"));
    lines.push(match now {
        Some(step) if step.detail.is_empty() => clean(&step.title),
        Some(step) => format!("{}: {}", clean(&step.title), clean(&step.detail)),
        None => wording::state(&deploy.state),
    });
    if !deploy.ended {
        lines.extend(deploy.why.iter().map(|why| clean(why)));
    }
    lines
}

fn picture(deploy: &Deploy) -> Vec<Vec<Piece>> {
    let piece = |tint, text: &str| (tint, text.to_string());
    let mut lines = vec![vec![
        piece(Tint::Bold, &deploy.title),
        piece(Tint::Plain, &format!(" {} {}", wording::preposition(deploy), deploy.environment)),
        piece(
            Tint::Dim,
            &deploy.replaces.as_ref().map(|was| format!("  replaces {was}")).unwrap_or_default(),
        ),
    ]];
    for step in &deploy.steps {
        let (tint, mark) = match step.state.as_str() {
            "done" => (Tint::Good, "✓"),
            "now" => (Tint::Busy, "●"),
            "todo" => (Tint::Dim, "○"),
            _ => (Tint::Bad, "✗"),
        };
        let text = if tint == Tint::Dim { Tint::Dim } else { Tint::Plain };
        lines.push(vec![
            piece(tint, &format!("  {mark} ")),
            piece(text, &step.title),
            piece(
                Tint::Dim,
                &if step.detail.is_empty() { String::new() } else { format!("  {}", step.detail) },
            ),
        ]);
    }
    if !deploy.ended || wording::is_failure(&deploy.state) {
        lines.extend(pods(&deploy.pods));
    }
    if !deploy.ended {
        lines.extend(deploy.why.iter().map(|why| vec![piece(Tint::Warn, &format!("  {why}"))]));
    }
    lines
}

/// New ones first, and among them those that are not ready: they are what everybody waits for.
fn pods(pods: &[Pod]) -> Vec<Vec<Piece>> {
    let mut sorted: Vec<&Pod> = pods.iter().collect();
    sorted.sort_by_key(|pod| (!pod.new, pod.ready));
    let longest = sorted.iter().take(PODS_SHOWN).map(|pod| pod.name.chars().count()).max().unwrap_or(0);
    let mut lines: Vec<Vec<Piece>> = sorted.iter().take(PODS_SHOWN).map(|pod| row(pod, longest)).collect();
    if let Some(more @ 1..) = sorted.len().checked_sub(PODS_SHOWN) {
        lines.push(vec![(Tint::Dim, format!("    and {more} more pods"))]);
    }
    lines
}

fn row(pod: &Pod, longest: usize) -> Vec<Piece> {
    let (tint, mark) = match (pod.ready, pod.reason.is_empty()) {
        (true, _) => (Tint::Good, "■"),
        (false, true) => (Tint::Busy, "□"),
        (false, false) => (Tint::Bad, "□"),
    };
    let what = if pod.reason.is_empty() { &pod.phase } else { &pod.reason };
    let restarts = if pod.restarts > 0 { format!(", restarts: {}", pod.restarts) } else { String::new() };
    let old = if pod.new { "" } else { ", old" };
    vec![
        (tint, format!("    {mark} ")),
        (if pod.new { Tint::Plain } else { Tint::Dim }, format!("{:<longest$}  ", pod.name)),
        (Tint::Dim, format!("{what}{restarts}{old}")),
    ]
}

/// One line of the terminal: a longer one would wrap, and be counted wrong at the next drawing.
fn fit(line: &[Piece], width: usize, paint: Paint) -> String {
    let mut left = width.saturating_sub(1);
    let mut text = String::new();
    for (tint, piece) in line {
        let shown: String = clean(piece).chars().take(left).collect();
        left -= shown.chars().count();
        text.push_str(&paint.tint(*tint, &shown));
    }
    text
}

fn width() -> usize {
    let columns = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { USUAL_WIDTH } else { columns }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples::deploy;

    fn shown(deploy: &Deploy, width: usize) -> Vec<String> {
        picture(deploy).iter().map(|line| fit(line, width, Paint::NONE)).collect()
    }

    #[test]
    fn people_see_steps_and_pods() {
        let expected = [
            "Deploy checkout-api v1.1.0 to staging  replaces v1.0.0",
            "  ✓ Requested  13:59 · maya",
            "  ● Rolling out  1 of 2 pods",
            "  ○ Verified",
            "    □ checkout-api-2-c  image not found",
            "    ■ checkout-api-2-b  Running, restarts: 1",
            "    ■ checkout-api-1-a  Running, old",
        ];
        assert_eq!(shown(&deploy("rolling_out"), 60), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        assert!(shown(&deploy("rolling_out"), 20).iter().all(|line| line.chars().count() < 20));
    }

    #[test]
    fn logs_get_a_line_for_what_is_true_now() {
        assert_eq!(
            plain(&deploy("rolling_out")),
            ["Deploy checkout-api v1.1.0 to staging", "Rolling out: 1 of 2 pods"]
        );
    }
}
