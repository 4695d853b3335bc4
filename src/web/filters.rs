//! askama filters: how times and digests are written on every page (DESIGN.md, "Time").

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// "now", "4 min", "26 h", "6 d", then the date. The full time stands in the `title`.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    match now.duration_since(at).as_secs() {
        ..60 => "now".into(),
        seconds @ 60..3_600 => format!("{}\u{a0}min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{}\u{a0}h", seconds / 3_600),
        seconds @ 172_800..604_800 => format!("{}\u{a0}d", seconds / 86_400),
        _ => at.to_zoned(TimeZone::UTC).strftime("%-d %b %Y").to_string(),
    }
}

/// The same for what lies ahead: "in 4 min", "in 26 h".
pub fn until(at: Timestamp, now: Timestamp) -> String {
    match at.duration_since(now).as_secs() {
        ..60 => "in under a minute".into(),
        seconds @ 60..3_600 => format!("in {}\u{a0}min", seconds / 60),
        seconds @ 3_600..172_800 => format!("in {}\u{a0}h", seconds / 3_600),
        seconds => format!("in {}\u{a0}d", seconds / 86_400),
    }
}

/// Hours and minutes, UTC.
pub fn clock(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%H:%M").to_string()
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
    fn times_read_as_people_say_them() {
        let now: Timestamp = "2026-11-23T14:00:00Z".parse().unwrap();
        let before = |text: &str| ago(text.parse().unwrap(), now);
        assert_eq!(before("2026-11-23T13:59:30Z"), "now");
        assert_eq!(before("2026-11-23T13:56:00Z"), "4\u{a0}min");
        assert_eq!(before("2026-11-22T12:00:00Z"), "26\u{a0}h");
        assert_eq!(before("2026-11-17T14:00:00Z"), "6\u{a0}d");
        assert_eq!(before("2026-11-01T14:00:00Z"), "1 Nov 2026");
    }

    #[test]
    fn digests_are_shortened_in_the_middle() {
        assert_eq!(short_digest(&format!("sha256:{}", "ab".repeat(32))), "sha256:abababab…abab");
        assert_eq!(short_digest("sha256:abc"), "sha256:abc");
    }
}
