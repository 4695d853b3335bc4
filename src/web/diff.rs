//! Changed lines with their numbers, ready for the `diff` part of the pages.

use similar::{ChangeTag, TextDiff};

/// One object's changes, with a few lines around each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// "Deployment checkout-api, namespace payments-production".
    pub caption: String,
    pub lines: Vec<Line>,
}

/// A line of the table: numbers are empty on the side that lacks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub old: String,
    pub new: String,
    /// `add`, `del` or empty.
    pub class: &'static str,
    pub sign: &'static str,
    pub text: String,
}

impl Diff {
    /// Compares line by line and keeps `context` unchanged lines around each change. Equal texts give no lines.
    pub fn of(caption: impl Into<String>, before: &str, after: &str, context: usize) -> Self {
        let diff = TextDiff::from_lines(before, after);
        let mut lines = Vec::new();
        for (n, group) in diff.grouped_ops(context).iter().enumerate() {
            if n > 0 {
                lines.push(Line::new(None, None, "", "", "⋯"));
            }
            for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
                let (class, sign) = match change.tag() {
                    ChangeTag::Equal => ("", ""),
                    ChangeTag::Delete => ("del", "−"),
                    ChangeTag::Insert => ("add", "+"),
                };
                let text = change.value().trim_end_matches(['\n', '\r']);
                lines.push(Line::new(change.old_index(), change.new_index(), class, sign, text));
            }
        }
        Self { caption: caption.into(), lines }
    }

    /// Nothing would change.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl Line {
    fn new(
        old: Option<usize>,
        new: Option<usize>,
        class: &'static str,
        sign: &'static str,
        text: &str,
    ) -> Self {
        let number = |index: Option<usize>| index.map_or_else(String::new, |index| (index + 1).to_string());
        Self { old: number(old), new: number(new), class, sign, text: text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_line_is_shown_with_its_neighbours_and_numbers() {
        let diff = Diff::of("ConfigMap", "a\nb\nc\nd\n", "a\nb\nC\nd\n", 1);
        let shown: Vec<_> = diff
            .lines
            .iter()
            .map(|line| (line.old.as_str(), line.new.as_str(), line.sign, line.text.as_str()))
            .collect();
        assert_eq!(
            shown,
            [("2", "2", "", "b"), ("3", "", "−", "c"), ("", "3", "+", "C"), ("4", "4", "", "d")]
        );
    }

    #[test]
    fn far_changes_are_joined_by_a_gap_and_equal_texts_are_empty() {
        let before: String = (0..20).map(|n| format!("{n}\n")).collect();
        let after = before.replace("2\n", "two\n").replace("17\n", "seventeen\n");
        assert!(Diff::of("", &before, &after, 1).lines.iter().any(|line| line.text == "⋯"));
        assert!(Diff::of("", &before, &before, 3).is_empty());
    }
}
