//! How times, digests, teams and statuses are written on every page (DESIGN.md, "Time" and "Status").

use std::borrow::Borrow;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// "now", "4 min", "26 h", "6 d", then the date. The full time stands in the `title`.
pub fn ago(at: impl Borrow<Timestamp>, now: impl Borrow<Timestamp>) -> String {
    let at = *at.borrow();
    match now.borrow().duration_since(at).as_secs() {
        ..60 => "now".into(),
        seconds @ 60..3_600 => format!("{}\u{a0}min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{}\u{a0}h", seconds / 3_600),
        seconds @ 172_800..604_800 => format!("{}\u{a0}d", seconds / 86_400),
        _ => day(at),
    }
}

/// The same inside a sentence: "just now", "4 min ago", "on 9 Nov 2026".
pub fn when(at: impl Borrow<Timestamp>, now: impl Borrow<Timestamp>) -> String {
    match ago(at, now).as_str() {
        "now" => "just now".into(),
        time if time.contains('\u{a0}') => format!("{time} ago"),
        date => format!("on {date}"),
    }
}

/// The same for what lies ahead: "in 4 min", "in 26 h".
pub fn until(at: impl Borrow<Timestamp>, now: impl Borrow<Timestamp>) -> String {
    match at.borrow().duration_since(*now.borrow()).as_secs() {
        ..60 => "in under a minute".into(),
        seconds @ 60..3_600 => format!("in {}\u{a0}min", seconds / 60),
        seconds @ 3_600..172_800 => format!("in {}\u{a0}h", seconds / 3_600),
        seconds => format!("in {}\u{a0}d", seconds / 86_400),
    }
}

/// A span of seconds: "8 h", "1 h 30 min", "45 s".
pub fn span(seconds: i64) -> String {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    let words: Vec<_> = parts.map(|(number, unit)| format!("{number}\u{a0}{unit}")).collect();
    if words.is_empty() { "0\u{a0}s".into() } else { words.join(" ") }
}

/// "9 Nov 2026", UTC.
pub fn day(at: impl Borrow<Timestamp>) -> String {
    at.borrow().to_zoned(TimeZone::UTC).strftime("%-d %b %Y").to_string()
}

/// Hours and minutes, UTC.
pub fn clock(at: impl Borrow<Timestamp>) -> String {
    at.borrow().to_zoned(TimeZone::UTC).strftime("%H:%M").to_string()
}

/// The same to the second, where a log is searched for it.
pub fn clock_seconds(at: impl Borrow<Timestamp>) -> String {
    at.borrow().to_zoned(TimeZone::UTC).strftime("%H:%M:%S UTC").to_string()
}

/// Date, hours, minutes and seconds, UTC: the title of every shorter form.
pub fn full(at: impl Borrow<Timestamp>) -> String {
    at.borrow().to_zoned(TimeZone::UTC).strftime("%-d %b %Y %H:%M:%S UTC").to_string()
}

/// A team as a word: `data-platform` is "Data platform".
pub fn team(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters.map(|letter| if letter == '-' { ' ' } else { letter })).collect()
}

/// One of the kit's six team colours, the same on every page and replica.
pub fn swatch(team: &str) -> &'static str {
    // FNV-1a; with this seed the first teams of the design kit keep their colours.
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    let hash = team.bytes().fold(1583, mix) >> 16;
    ["t1", "t2", "t3", "t4", "t5", "t6"][(hash % 6) as usize]
}

/// How a check of the deploy form ended, for the shape's label.
pub fn check_word(status: &str) -> &'static str {
    match status {
        "ok" => "Passed",
        "warn" => "Warning",
        "bad" => "Fails",
        "prog" => "Checking",
        _ => "Not checked",
    }
}

/// What a hint on an approval means, for the shape's label.
pub fn hint_word(status: &str) -> &'static str {
    if status == "ok" { "Good" } else { "Risk" }
}

/// A pod's state, for the shape's label.
pub fn pod_word(status: &str) -> &'static str {
    match status {
        "ok" => "Ready",
        "warn" => "Not ready",
        "bad" => "Failing",
        "prog" => "Starting",
        _ => "Not started",
    }
}

/// `sha256:e07a52c3…14ad`.
pub fn short_digest(digest: &str) -> String {
    match digest.split_once(':') {
        Some((algorithm, hex)) if hex.len() > 12 && hex.is_ascii() => {
            format!("{algorithm}:{}…{}", &hex[..8], &hex[hex.len() - 4..])
        }
        _ => digest.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_say_them() {
        let plain = |seconds| span(seconds).replace('\u{a0}', " ");
        assert_eq!(plain(28_800), "8 h");
        assert_eq!(plain(5_400), "1 h 30 min");
        assert_eq!(plain(90_061), "1 d 1 h 1 min 1 s");
        assert_eq!(plain(0), "0 s");
    }

    #[test]
    fn times_read_as_people_say_them() {
        let now: Timestamp = "2026-11-23T14:00:00Z".parse().unwrap();
        let before = |text: &str| ago(text.parse::<Timestamp>().unwrap(), now);
        assert_eq!(before("2026-11-23T13:59:30Z"), "now");
        assert_eq!(before("2026-11-23T13:56:00Z"), "4\u{a0}min");
        assert_eq!(before("2026-11-22T12:00:00Z"), "26\u{a0}h");
        assert_eq!(before("2026-11-17T14:00:00Z"), "6\u{a0}d");
        assert_eq!(before("2026-11-01T14:00:00Z"), "1 Nov 2026");
        let told = |text: &str| when(text.parse::<Timestamp>().unwrap(), now);
        assert_eq!(told("2026-11-23T13:59:30Z"), "just now");
        assert_eq!(told("2026-11-23T13:56:00Z"), "4\u{a0}min ago");
        assert_eq!(told("2026-11-01T14:00:00Z"), "on 1 Nov 2026");
    }

    #[test]
    fn teams_are_words_and_keep_their_colour() {
        assert_eq!(team("data-platform"), "Data platform");
        assert_eq!(team(""), "");
        assert_eq!(["payments", "storefront", "logistics", "platform"].map(swatch), ["t1", "t2", "t4", "t6"]);
    }

    #[test]
    fn digests_are_shortened_in_the_middle() {
        assert_eq!(short_digest(&format!("sha256:{}", "ab".repeat(32))), "sha256:abababab…abab");
        assert_eq!(short_digest("sha256:abc"), "sha256:abc");
    }
}
