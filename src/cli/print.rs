//! What goes to standard output, and in which form. People get colour where a terminal is; programs get it plain.

use std::io::{self, IsTerminal as _, Write as _};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Effects, Style};
use clap::ValueEnum;
use serde::Serialize;

use super::args::Globals;
use super::failure::{Exit, Failure};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
    Yaml,
}

/// Colour, or none of it: NO_COLOR, CLICOLOR, TERM=dumb and pipes are heeded by anstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(bool);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tint {
    #[default]
    Plain,
    Good,
    Bad,
    Warn,
    Busy,
    Dim,
    Bold,
}

impl Paint {
    #[cfg(test)]
    pub const NONE: Self = Self(false);

    pub fn of_stdout() -> Self {
        Self(AutoStream::choice(&io::stdout()) != ColorChoice::Never)
    }

    pub fn of_stderr() -> Self {
        Self(AutoStream::choice(&io::stderr()) != ColorChoice::Never)
    }

    pub fn tint(self, tint: Tint, text: &str) -> String {
        let style = match tint {
            Tint::Plain => Style::new(),
            Tint::Good => AnsiColor::Green.on_default(),
            Tint::Bad => AnsiColor::Red.on_default(),
            Tint::Warn => AnsiColor::Yellow.on_default(),
            Tint::Busy => AnsiColor::Cyan.on_default(),
            Tint::Dim => Style::new().effects(Effects::DIMMED),
            Tint::Bold => Style::new().effects(Effects::BOLD),
        };
        if self.0 && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.into() }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Out {
    pub format: Format,
    pub paint: Paint,
}

impl Out {
    pub fn new(globals: &Globals) -> Self {
        Self { format: globals.output.unwrap_or_default(), paint: Paint::of_stdout() }
    }

    /// The value for a program, or the text for a person.
    pub fn value<T: Serialize>(
        self,
        value: &T,
        for_people: impl FnOnce(Paint) -> String,
    ) -> Result<Exit, Failure> {
        let text = match self.format {
            Format::Table => for_people(self.paint),
            Format::Json => json(value)? + "\n",
            Format::Yaml => serde_saphyr::to_string(value).map_err(anyhow::Error::from)?,
        };
        text_out(&text)?;
        Ok(Exit::Done)
    }
}

fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    Ok(serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?)
}

/// To standard output, whole.
pub fn text_out(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// A remark in passing, for a person who is there.
pub fn note(text: &str) {
    if io::stderr().is_terminal() {
        say(&Paint::of_stderr().tint(Tint::Dim, text));
    }
}

/// A line on standard error. Nobody can be told that it failed.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// What went wrong, why, and how to mend it.
pub fn error(failure: &Failure) {
    let Some(sentence) = failure.sentence() else { return };
    say(&format!("{} {sentence}", Paint::of_stderr().tint(Tint::Bad, "error:")));
    for line in failure.mend() {
        say(&format!("  {line}"));
    }
}

/// Text from elsewhere must not move the cursor, recolour the screen or turn a line around (CVE-2021-42574):
/// what would is shown instead.
pub fn clean(text: &str) -> String {
    text.chars().map(visible).collect()
}

fn visible(c: char) -> char {
    match c {
        '\t' | '\u{a0}' => ' ',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            '\u{fffd}'
        }
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_elsewhere_reaches_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\u{202e}c\td\re"), "a␛[31mb\u{fffd}c d␍e");
    }

    #[test]
    fn colour_is_all_or_nothing() {
        assert_eq!(Paint::NONE.tint(Tint::Bad, "down"), "down");
        assert_eq!(Paint(true).tint(Tint::Bad, "down"), "\u{1b}[31mdown\u{1b}[0m");
    }
}
