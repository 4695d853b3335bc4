//! Columns, as kubectl prints them: names in capitals, two spaces between, no lines.

use super::print::{Paint, Tint, clean};

#[derive(Debug)]
pub struct Cell(Tint, String);

impl Cell {
    pub fn tinted(tint: Tint, text: impl AsRef<str>) -> Self {
        Self(tint, clean(text.as_ref()))
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::tinted(Tint::Plain, text)
    }
}

#[derive(Debug)]
pub struct Table<const N: usize> {
    head: [&'static str; N],
    rows: Vec<Row<N>>,
}

#[derive(Debug)]
enum Row<const N: usize> {
    Cells([Cell; N]),
    /// What has to be said about the row above.
    Below(Tint, String),
}

impl<const N: usize> Table<N> {
    pub fn new(head: [&'static str; N]) -> Self {
        Self { head, rows: Vec::new() }
    }

    pub fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(Row::Cells(cells));
    }

    pub fn below(&mut self, tint: Tint, text: &str) {
        self.rows.push(Row::Below(tint, clean(text)));
    }

    pub fn text(&self, paint: Paint) -> String {
        let mut widths = self.head.map(str::len);
        for row in &self.rows {
            if let Row::Cells(cells) = row {
                for (width, Cell(_, text)) in widths.iter_mut().zip(cells) {
                    *width = (*width).max(text.chars().count());
                }
            }
        }
        let mut lines = vec![line(&widths, self.head.map(|name| (Tint::Dim, name)), paint)];
        for row in &self.rows {
            lines.push(match row {
                Row::Cells(cells) => {
                    line(&widths, cells.each_ref().map(|Cell(tint, text)| (*tint, text.as_str())), paint)
                }
                Row::Below(tint, text) => format!("  {}", paint.tint(*tint, text)),
            });
        }
        lines.join("\n") + "\n"
    }
}

/// The last column is not padded, so that nothing wraps for the sake of spaces.
fn line<const N: usize>(widths: &[usize; N], cells: [(Tint, &str); N], paint: Paint) -> String {
    let mut text = String::new();
    for (n, ((tint, cell), width)) in cells.into_iter().zip(widths).enumerate() {
        text.push_str(&paint.tint(tint, cell));
        if n + 1 < N {
            text.push_str(&" ".repeat(width + 2 - cell.chars().count()));
        }
    }
    text.trim_end().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_names() {
        let mut table = Table::new(["NAME", "HEALTH", "PODS"]);
        table.row(["checkout-api".into(), Cell::tinted(Tint::Bad, "degraded"), "1/3".into()]);
        table.below(Tint::Bad, "2 of 3 pods: the image is not in the registry");
        table.row(["tax".into(), "healthy".into(), "".into()]);
        assert_eq!(
            table.text(Paint::NONE),
            "NAME          HEALTH    PODS\n\
             checkout-api  degraded  1/3\n  2 of 3 pods: the image is not in the registry\n\
             tax           healthy\n"
        );
    }
}
