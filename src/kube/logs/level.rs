//! How bad a line is, read off the line itself in the ways that programs say it.

/// Worst first, as the filters stand.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

/// A level stands near the start of a line.
const LOOK_AT: usize = 2_048;
const WORDS_WITHIN: usize = 100;

impl Level {
    pub const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// As it stands in an address.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// What says nothing of itself is information.
    pub fn of(line: &str) -> Self {
        let line = head(line, LOOK_AT);
        said_by_key(line).or_else(|| said_by_glog(line)).or_else(|| said_by_word(line)).unwrap_or(Self::Info)
    }

    fn of_word(word: &str) -> Option<Self> {
        const WORDS: [(Level, &[&str]); 4] = [
            (
                Level::Error,
                &["error", "err", "eror", "fatal", "panic", "critical", "crit", "alert", "emerg", "severe"],
            ),
            (Level::Warn, &["warn", "warning", "wrn"]),
            (Level::Info, &["info", "inf", "information", "notice"]),
            (Level::Debug, &["debug", "dbg", "trace", "verbose", "fine"]),
        ];
        let same = |words: &[&str]| words.iter().any(|known| known.eq_ignore_ascii_case(word));
        WORDS.iter().find(|(_, words)| same(words)).map(|(level, _)| *level)
    }
}

fn head(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// `"level":"WARN"` of JSON, `level=warn` of logfmt, and bunyan's numbers.
fn said_by_key(line: &str) -> Option<Level> {
    for key in ["level", "severity", "lvl", "loglevel"] {
        for (at, _) in line.match_indices(key) {
            let after = line[at + key.len()..].trim_start_matches(['"', ' ']);
            let Some(value) = after.strip_prefix([':', '=']) else { continue };
            let value = value.trim_start_matches([' ', '"']);
            let end = value.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(value.len());
            let level = match value[..end].parse::<u8>() {
                Ok(50..) => Some(Level::Error),
                Ok(40..) => Some(Level::Warn),
                Ok(30..) => Some(Level::Info),
                Ok(10..) => Some(Level::Debug),
                _ => Level::of_word(&value[..end]),
            };
            if level.is_some() {
                return level;
            }
        }
    }
    None
}

/// `E1123 14:02:11.000000 …`, as Kubernetes' own programs write.
fn said_by_glog(line: &str) -> Option<Level> {
    let (first, rest) = line.split_at_checked(1)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let level = match first {
        "E" | "F" => Level::Error,
        "W" => Level::Warn,
        "I" => Level::Info,
        _ => return None,
    };
    (digits == 4 && rest.as_bytes().get(4) == Some(&b' ')).then_some(level)
}

/// A word in capitals, or the first word before a colon.
fn said_by_word(line: &str) -> Option<Level> {
    let line = head(line, WORDS_WITHIN);
    let words = line.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() > 2);
    let capitals = words.filter(|word| word.bytes().all(|b| b.is_ascii_uppercase()));
    capitals.filter_map(Level::of_word).next().or_else(|| Level::of_word(line.split_once(':')?.0.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_say_it_in_many_ways() {
        for (line, level) in [
            (r#"{"time":"x","level":"WARN","msg":"price cache is empty"}"#, Level::Warn),
            (r#"{"severity": "error", "msg":"x"}"#, Level::Error),
            (r#"{"level":50,"msg":"bunyan"}"#, Level::Error),
            (r#"ts=1 level=debug msg="x""#, Level::Debug),
            ("E1123 14:02:11.000000 1 main.go:1] boom", Level::Error),
            ("2026-11-23 14:02 [ERROR] boom", Level::Error),
            ("FATAL config: DATABASE_URL is not set", Level::Error),
            ("warning: low disk", Level::Warn),
            ("order priced in 12 ms, no error", Level::Info),
            ("Everything is fine", Level::Info),
            ("", Level::Info),
        ] {
            assert_eq!(Level::of(line), level, "{line}");
        }
    }
}
