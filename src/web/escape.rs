//! What every value of every template goes through (askama.toml): HTML is escaped, and characters that turn text
//! around are shown instead of obeyed. Without that, a reason could read otherwise than it was written
//! (CVE-2021-42574), and approvers decide by it.

use std::fmt::{self, Write};

use askama::filters::{Escaper, Html};

#[derive(Clone, Copy, Debug, Default)]
pub struct Escape;

impl Escaper for Escape {
    fn write_escaped_str<W: Write>(&self, mut dest: W, text: &str) -> fmt::Result {
        // They begin with one of these bytes, which most values of a page don't have.
        if memchr::memchr2(0xe2, 0xd8, text.as_bytes()).is_none() {
            return Html.write_escaped_str(dest, text);
        }
        let mut rest = text;
        while let Some(at) = rest.find(turns_text) {
            let (before, from) = rest.split_at(at);
            Html.write_escaped_str(&mut dest, before)?;
            let mut letters = from.chars();
            if let Some(letter) = letters.next() {
                write!(dest, "&lt;U+{:04X}&gt;", u32::from(letter))?;
            }
            rest = letters.as_str();
        }
        Html.write_escaped_str(dest, rest)
    }
}

/// Direction overrides, isolates and marks (Unicode, Bidirectional Algorithm, section 2).
fn turns_text(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use askama::Template;

    /// Through the configuration, as every page is drawn.
    #[derive(Template)]
    #[template(source = "<p title=\"{{ text }}\">{{ text }}</p>", ext = "html")]
    struct Page<'a> {
        text: &'a str,
    }

    #[test]
    fn a_page_shows_what_would_turn_its_text_around() {
        let drawn = |text| Page { text }.to_string();
        assert_eq!(
            drawn("half \u{202e}live\u{2069}<b>"),
            "<p title=\"half &lt;U+202E&gt;live&lt;U+2069&gt;&#60;b&#62;\">half &lt;U+202E&gt;live&lt;U+2069&gt;&#60;b&#62;</p>"
        );
        assert_eq!(
            drawn("\u{61c}\u{200f}x"),
            drawn("<U+061C><U+200F>x").replace("&#60;", "&lt;").replace("&#62;", "&gt;")
        );
        assert_eq!(drawn("“naïve” – שלום"), "<p title=\"“naïve” – שלום\">“naïve” – שלום</p>", "letters stay");
    }
}
