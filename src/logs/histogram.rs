//! Lines over time, as bars: drawn on the server, no `viewBox`, so that bars stretch and text keeps its size.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::kube::logs::Level;

const BARS: usize = 60;
const HEIGHT: f64 = 56.0;
/// The tallest bar leaves room for a marker's word.
const TALLEST: f64 = 40.0;

/// Geometry in the units of its attributes.
#[derive(Debug, Default, PartialEq)]
pub struct Histogram {
    pub bars: Vec<Bar>,
    pub marks: Vec<Mark>,
    pub ticks: Vec<Tick>,
    /// What it shows, in words.
    pub label: String,
}

#[derive(Debug, PartialEq)]
pub struct Bar {
    /// `is-warn`, `is-bad` or nothing.
    pub class: &'static str,
    pub x: String,
    pub y: String,
    pub width: String,
    pub height: String,
}

#[derive(Debug, PartialEq)]
pub struct Mark {
    pub status: &'static str,
    pub x: String,
    pub word: &'static str,
}

#[derive(Debug, PartialEq)]
pub struct Tick {
    pub x: String,
    pub text: String,
    pub end: bool,
}

impl Histogram {
    pub fn of(
        lines: impl Iterator<Item = (Timestamp, Level)>,
        marks: impl Iterator<Item = (Timestamp, &'static str, &'static str)>,
        from: Timestamp,
        to: Timestamp,
    ) -> Self {
        let span = to.duration_since(from).max(SignedDuration::from_secs(1));
        let share = |at: Timestamp| at.duration_since(from).as_secs_f64() / span.as_secs_f64();
        let mut counts = [[0usize; 3]; BARS];
        for (at, level) in lines {
            let share = share(at);
            if (0.0..=1.0).contains(&share) {
                let kind = match level {
                    Level::Error => 2,
                    Level::Warn => 1,
                    Level::Info | Level::Debug => 0,
                };
                counts[((share * BARS as f64) as usize).min(BARS - 1)][kind] += 1;
            }
        }
        let most = counts.iter().map(|kinds| kinds.iter().sum::<usize>()).max().unwrap_or(0).max(1);
        let bars = counts.iter().enumerate().flat_map(|(n, kinds)| stack(n, kinds, most)).collect();
        let marks = marks
            .filter(|(at, ..)| (0.0..=1.0).contains(&share(*at)))
            .map(|(at, status, word)| Mark { status, x: percent(share(at) * 100.0), word })
            .collect();
        let total = |kind: usize| counts.iter().map(|kinds| kinds[kind]).sum::<usize>();
        let label = format!(
            "Lines per {} from {} to {} UTC. {} and {}.",
            words(span / BARS as i32),
            clock(from),
            clock(to),
            many(total(1), "warning"),
            many(total(2), "error")
        );
        let ticks = (0..=3)
            .map(|n| Tick {
                x: percent(f64::from(n) * 100.0 / 3.0),
                text: clock(from + span * n / 3),
                end: n == 3,
            })
            .collect();
        Self { bars, marks, ticks, label }
    }
}

/// Other lines below, warnings on them, errors on top; what is rare is still seen.
fn stack(n: usize, kinds: &[usize; 3], most: usize) -> Vec<Bar> {
    let width = 100.0 / BARS as f64;
    let mut y = HEIGHT;
    let mut bars = Vec::new();
    for (kind, class) in ["", "is-warn", "is-bad"].into_iter().enumerate() {
        if kinds[kind] == 0 {
            continue;
        }
        let height = (kinds[kind] as f64 / most as f64 * TALLEST).max(2.0);
        y -= height;
        bars.push(Bar {
            class,
            x: percent(n as f64 * width + 0.12),
            y: format!("{y:.1}"),
            width: percent(width - 0.24),
            height: format!("{height:.1}"),
        });
    }
    bars
}

fn many(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

fn percent(value: f64) -> String {
    format!("{value:.2}%")
}

fn clock(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%H:%M").to_string()
}

fn words(span: SignedDuration) -> String {
    match span.as_secs() {
        seconds @ ..60 => format!("{} seconds", seconds.max(1)),
        seconds @ 60..3_600 => format!("{} minutes", seconds / 60),
        seconds => format!("{} hours", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn lines_fall_into_the_bar_of_their_time() {
        let lines =
            [(at(0), Level::Info), (at(1), Level::Error), (at(1800), Level::Warn), (at(9999), Level::Info)];
        let drawn =
            Histogram::of(lines.into_iter(), [(at(900), "bad", "Restart")].into_iter(), at(0), at(1800));
        let bars: Vec<_> =
            drawn.bars.iter().map(|bar| (bar.class, bar.x.as_str(), bar.height.as_str())).collect();
        assert_eq!(bars, [("", "0.12%", "20.0"), ("is-bad", "0.12%", "20.0"), ("is-warn", "98.45%", "20.0")]);
        assert_eq!(drawn.marks, [Mark { status: "bad", x: "50.00%".into(), word: "Restart" }]);
        assert!(drawn.label.ends_with("1 warning and 1 error."), "{}", drawn.label);
    }

    #[test]
    fn nothing_to_draw_is_an_empty_axis() {
        let drawn = Histogram::of([].into_iter(), [].into_iter(), at(0), at(0));
        assert_eq!((drawn.bars.len(), drawn.ticks.len()), (0, 4));
    }
}
