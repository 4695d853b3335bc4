//! Lines: out of a stream of bytes, within bounds, each with its time and place.

use std::io;
use std::pin::Pin;

use futures::io::{AsyncBufRead, AsyncBufReadExt};
use jiff::Timestamp;

use super::level::Level;
use super::position::{Numbering, Position};
use super::text::{self, Span};

/// Longer lines are cut here, and say so.
pub const MAX_LINE: usize = 64 * 1024;
/// `2026-11-23T14:02:11.123456789+01:00` and the blank after it.
const MAX_TIME: usize = 40;

pub type Bytes = Pin<Box<dyn AsyncBufRead + Send>>;

/// One line as Kubernetes sent it, its time taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    pub at: Timestamp,
    pub bytes: Vec<u8>,
    /// How many more bytes the line had.
    pub dropped: usize,
}

/// One line, ready to be shown.
#[derive(Debug)]
pub struct Line {
    pub position: Position,
    pub at: Timestamp,
    pub level: Level,
    pub spans: Vec<Span>,
    /// Bytes it takes in a buffer.
    pub size: usize,
}

impl Line {
    pub fn new(position: Position, raw: Raw) -> Self {
        let mut spans = text::spans(&raw.bytes);
        let plain: String = spans.iter().map(|span| span.text.as_str()).take(4).collect();
        if raw.dropped > 0 {
            spans.push(Span::sign(format!(" … {} KiB cut", raw.dropped.div_ceil(1024))));
        }
        let size =
            spans.iter().map(|span| span.text.len() + size_of::<Span>()).sum::<usize>() + size_of::<Self>();
        Self { position, at: raw.at, level: Level::of(&plain), spans, size }
    }

    /// The first line of a log.
    pub fn at_start(raw: Raw) -> Self {
        Self::new(Numbering::default().next(raw.at), raw)
    }

    /// Without its colours.
    pub fn text(&self) -> String {
        self.spans.iter().map(|span| span.text.as_str()).collect()
    }
}

/// Cuts a stream into lines. A line longer than `limit` keeps its start; the rest is counted, never held.
pub struct Lines {
    bytes: Bytes,
    limit: usize,
    line: Vec<u8>,
    dropped: usize,
}

impl Lines {
    pub fn new(bytes: Bytes, limit: usize) -> Self {
        Self { bytes, limit: limit.saturating_add(MAX_TIME), line: Vec::new(), dropped: 0 }
    }

    /// The next whole line, or `None` at the end. May be dropped while it waits, and asked again.
    /// What carries no time is passed over: the tail of a line whose start lies before the point asked for.
    pub async fn next(&mut self) -> io::Result<Option<Raw>> {
        loop {
            let available = self.bytes.fill_buf().await?;
            if available.is_empty() {
                return Ok(None);
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let piece = &available[..newline.unwrap_or(available.len())];
            let kept = piece.len().min(self.limit - self.line.len());
            self.line.extend_from_slice(&piece[..kept]);
            self.dropped += piece.len() - kept;
            let used = piece.len() + usize::from(newline.is_some());
            self.bytes.consume_unpin(used);
            if newline.is_some()
                && let Some(raw) = self.take()
            {
                return Ok(Some(raw));
            }
        }
    }

    /// Waits for the first byte, so that the other side is known to have begun.
    pub async fn begun(&mut self) -> io::Result<()> {
        self.bytes.fill_buf().await.map(|_| ())
    }

    /// What stands after the last newline: a last line only if the container has ended.
    pub fn rest(&mut self) -> Option<Raw> {
        self.take()
    }

    fn take(&mut self) -> Option<Raw> {
        let line = std::mem::take(&mut self.line);
        let dropped = std::mem::take(&mut self.dropped);
        let time = line.iter().take(MAX_TIME).position(|byte| *byte == b' ');
        let end = time.unwrap_or(line.len());
        let at = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
        let text_limit = self.limit - MAX_TIME;
        let mut bytes = line.get(end + 1..).unwrap_or_default().to_vec();
        let over = bytes.len().saturating_sub(text_limit);
        bytes.truncate(text_limit);
        if bytes.last() == Some(&b'\r') && dropped + over == 0 {
            bytes.pop(); // written on Windows
        }
        Some(Raw { at, bytes, dropped: dropped + over })
    }
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    async fn read(text: &[u8], limit: usize) -> (Vec<Raw>, Option<Raw>) {
        let mut lines = Lines::new(Box::pin(Cursor::new(text.to_vec())), limit);
        let mut found = Vec::new();
        while let Some(raw) = lines.next().await.unwrap() {
            found.push(raw);
        }
        let rest = lines.rest();
        (found, rest)
    }

    #[tokio::test]
    async fn each_line_has_its_time() {
        let (found, rest) =
            read(b"2026-11-23T14:02:11.5Z one\n2026-11-23T14:02:12Z \n2026-11-23T14:02:13Z two", 100).await;
        let seen: Vec<_> = found.iter().map(|raw| (raw.at.to_string(), raw.bytes.as_slice())).collect();
        assert_eq!(
            seen,
            [("2026-11-23T14:02:11.5Z".into(), b"one".as_slice()), ("2026-11-23T14:02:12Z".into(), b"")]
        );
        assert_eq!(rest.unwrap().bytes, b"two");
    }

    #[tokio::test]
    async fn the_tail_of_a_line_from_before_is_no_line() {
        let (found, _) = read(b"tail of a long line\n2026-11-23T14:02:11Z next\n", 100).await;
        assert_eq!(found.len(), 1);
    }

    #[tokio::test]
    async fn long_lines_are_cut_and_say_by_how_much() {
        let text = format!("2026-11-23T14:02:11Z {}\n2026-11-23T14:02:12Z short\n", "x".repeat(100 * 1024));
        let (found, _) = read(text.as_bytes(), MAX_LINE).await;
        assert_eq!((found[0].bytes.len(), found[0].dropped), (MAX_LINE, 36 * 1024));
        assert_eq!(found[1].bytes, b"short");
        let line = Line::at_start(found[0].clone());
        assert!(line.text().ends_with("x … 36 KiB cut"));
        let (found, _) = read(text.as_bytes(), usize::MAX).await;
        assert_eq!((found[0].bytes.len(), found[0].dropped), (100 * 1024, 0));
    }
}
