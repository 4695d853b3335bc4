//! What a program wrote, made safe to look at: bad UTF-8 replaced, colours kept as classes, everything that would
//! act or hide (control characters, escape sequences, text direction, invisible letters) shown as what it is.

/// How a piece of a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// 1 to 8 are black, red, green, yellow, blue, magenta, cyan, white; 9 to 16 the same, bright; 0 is none.
    colour: u8,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    /// Not the program's text, but a sign for something that can't be seen.
    sign: bool,
}

impl Style {
    /// The classes of the page: `a1` … `a16` colours, `ab` bold, `ad` dim, `ai` italic, `au` underlined, `ax` a sign.
    pub fn class(self) -> String {
        let mut classes = Vec::new();
        if self.colour > 0 {
            classes.push(format!("a{}", self.colour));
        }
        let flags = [
            (self.bold, "ab"),
            (self.dim, "ad"),
            (self.italic, "ai"),
            (self.underline, "au"),
            (self.sign, "ax"),
        ];
        classes.extend(flags.into_iter().filter(|(on, _)| *on).map(|(_, class)| class.to_string()));
        classes.join(" ")
    }

    pub fn is_plain(self) -> bool {
        self == Self::default()
    }
}

/// A piece of a line in one style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub style: Style,
    pub text: String,
}

impl Span {
    /// A note of ours inside the line.
    pub fn sign(text: String) -> Self {
        Self { style: Style { sign: true, ..Style::default() }, text }
    }
}

/// Reads a line of bytes.
pub fn spans(bytes: &[u8]) -> Vec<Span> {
    let text = String::from_utf8_lossy(bytes);
    let mut spans = Spans::default();
    let mut rest: &str = &text;
    while let Some(c) = rest.chars().next() {
        if let Some((parameters, after)) = select_graphic_rendition(rest) {
            spans.style = restyled(spans.style, parameters);
            rest = after;
            continue;
        }
        match sign(c) {
            Some(sign) => spans.push(Style { sign: true, ..spans.style }, &sign),
            None => spans.push(spans.style, c.encode_utf8(&mut [0; 4])),
        }
        rest = &rest[c.len_utf8()..];
    }
    spans.done
}

#[derive(Default)]
struct Spans {
    done: Vec<Span>,
    style: Style,
}

impl Spans {
    fn push(&mut self, style: Style, text: &str) {
        match self.done.last_mut().filter(|last| last.style == style) {
            Some(last) => last.text.push_str(text),
            None => self.done.push(Span { style, text: text.into() }),
        }
    }
}

/// `ESC [ 1 ; 31 m` at the start of the text: its parameters and what follows. No other sequence is obeyed.
fn select_graphic_rendition(text: &str) -> Option<(&str, &str)> {
    let body = text.strip_prefix("\u{1b}[")?;
    let end = body.find(|c: char| !(c.is_ascii_digit() || c == ';' || c == ':'))?;
    let after = body[end..].strip_prefix('m')?;
    (end <= 40).then_some((&body[..end], after))
}

/// Background and "conceal" are left out on purpose: they serve to hide text.
fn restyled(mut style: Style, parameters: &str) -> Style {
    let numbers: Vec<u16> = parameters.split([';', ':']).map(|number| number.parse().unwrap_or(0)).collect();
    let mut numbers = numbers.iter().copied();
    while let Some(number) = numbers.next() {
        match number {
            0 => style = Style::default(),
            1 => style.bold = true,
            2 => style.dim = true,
            3 => style.italic = true,
            4 => style.underline = true,
            22 => (style.bold, style.dim) = (false, false),
            23 => style.italic = false,
            24 => style.underline = false,
            30..=37 => style.colour = (number - 29) as u8,
            90..=97 => style.colour = (number - 81) as u8,
            39 => style.colour = 0,
            38 => style.colour = extended(&mut numbers).unwrap_or(style.colour),
            // The arguments of a background colour are not parameters of their own.
            48 | 58 => {
                extended(&mut numbers);
            }
            _ => {}
        }
    }
    style
}

/// `5;n` of 256 colours or `2;r;g;b`, as the nearest of the sixteen.
fn extended(numbers: &mut impl Iterator<Item = u16>) -> Option<u8> {
    match numbers.next()? {
        5 => match numbers.next()? {
            n @ 0..=15 => Some(n as u8 + 1),
            n @ 16..=231 => {
                let cube = n - 16;
                Some(nearest([cube / 36, cube / 6 % 6, cube % 6].map(|part| part * 51)))
            }
            n @ 232..=255 => Some(nearest([(n - 232) * 10 + 8; 3])),
            _ => None,
        },
        2 => Some(nearest([numbers.next()?, numbers.next()?, numbers.next()?])),
        _ => None,
    }
}

fn nearest([red, green, blue]: [u16; 3]) -> u8 {
    let bit = |part: u16, value: u8| if part > 100 { value } else { 0 };
    let bright = if red.max(green).max(blue) > 200 { 8 } else { 0 };
    1 + bright + bit(red, 1) + bit(green, 2) + bit(blue, 4)
}

/// What to show for a character that acts or hides; `None` for all that are just letters.
fn sign(c: char) -> Option<String> {
    match c {
        '\t' => None,
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).map(String::from),
        '\u{7f}' => Some('\u{2421}'.into()),
        '\u{80}'..='\u{9f}'                               // C1 controls
        | '\u{ad}'                                        // soft hyphen
        | '\u{61c}' | '\u{200e}' | '\u{200f}'             // direction marks
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // direction overrides and isolates
        | '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{feff}' // no width
        | '\u{2028}' | '\u{2029}'                         // line and paragraph separators
        | '\u{206a}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}'
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // blank letters
        | '\u{e0000}'..='\u{e007f}' => Some(format!("<U+{:04X}>", u32::from(c))), // tags
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        spans(bytes).iter().map(|span| span.text.as_str()).collect()
    }

    fn classes(text: &str) -> Vec<(String, String)> {
        spans(text.as_bytes()).into_iter().map(|span| (span.style.class(), span.text)).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(class, text)| (class.to_string(), text.to_string())).collect()
    }

    #[test]
    fn colours_become_classes() {
        assert_eq!(
            classes("a \u{1b}[31;1mred\u{1b}[0m b \u{1b}[96mcyan\u{1b}[39mplain"),
            pairs(&[("", "a "), ("a2 ab", "red"), ("", " b "), ("a15", "cyan"), ("", "plain")])
        );
        assert_eq!(classes("\u{1b}[38;5;208mx\u{1b}[38;2;10;200;10my"), pairs(&[("a12", "x"), ("a3", "y")]));
        assert_eq!(classes("\u{1b}[48;5;1;32mx"), pairs(&[("a3", "x")]));
    }

    #[test]
    fn text_can_not_be_hidden() {
        assert_eq!(classes("\u{1b}[8;30;40mhidden"), pairs(&[("a1", "hidden")]));
    }

    #[test]
    fn no_other_escape_sequence_is_obeyed_and_none_vanishes() {
        assert_eq!(shown(b"\x1b[2J\x1b[Hx"), "␛[2J␛[Hx");
        assert_eq!(shown(b"\x1b]0;title\x07"), "␛]0;title␇");
        assert_eq!(shown(b"\x1b]8;;https://evil.example\x1b\\link"), "␛]8;;https://evil.example␛\\link");
        assert_eq!(shown(b"end \x1b["), "end ␛[");
        assert_eq!(shown(format!("\x1b[{}m", "1;".repeat(50)).as_bytes()).chars().next(), Some('␛'));
    }

    #[test]
    fn what_acts_or_hides_is_shown() {
        assert_eq!(shown(b"a\0b\rc\x08\x7f\td"), "a␀b␍c␈␡\td");
        assert_eq!(
            shown("user \u{202e}txt\u{2069}\u{200b}\u{2028}\u{85}".as_bytes()),
            "user <U+202E>txt<U+2069><U+200B><U+2028><U+0085>"
        );
        assert_eq!(shown("Grüße 日本 🚀 é".as_bytes()), "Grüße 日本 🚀 é");
    }

    #[test]
    fn bad_utf8_is_replaced() {
        assert_eq!(shown(b"x \xff\xfe\xc3\x28 y"), "x \u{fffd}\u{fffd}\u{fffd}( y");
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_acts_comes_through(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let shown = shown(&bytes);
            proptest::prop_assert!(shown.chars().all(|c| sign(c).is_none()), "{shown:?}");
        }
    }
}
