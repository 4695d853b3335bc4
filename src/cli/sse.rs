//! Reading a stream of server-sent events (WHATWG HTML, 9.2.6), as far as the portal uses them.

#[derive(Debug, Default, PartialEq)]
pub struct Event {
    /// `message` where the stream names none.
    pub name: String,
    pub id: Option<String>,
    pub data: String,
}

/// Bytes in, events out; a character or a line may be cut anywhere between two pushes.
#[derive(Debug, Default)]
pub struct Parser {
    rest: Vec<u8>,
    event: Event,
    has_data: bool,
}

/// Far more than one event of the portal; a stream without an end of line must not fill the memory.
const MAX_LINE: usize = 16 * 1024 * 1024;

impl Parser {
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut start = 0;
        while let Some(length) = self.rest[start..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.rest[start..start + length]).into_owned();
            events.extend(self.line(line.strip_suffix('\r').unwrap_or(&line)));
            start += length + 1;
        }
        self.rest.drain(..start);
        if self.rest.len() > MAX_LINE {
            self.rest.clear();
        }
        events
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let has_data = std::mem::take(&mut self.has_data);
            return has_data.then(|| Event {
                name: if event.name.is_empty() { "message".into() } else { event.name },
                ..event
            });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.name = value.into(),
            "id" => self.event.id = Some(value.into()),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            // Comments keep the connection alive; the portal sends no `retry`.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, id: Option<&str>, data: &str) -> Event {
        Event { name: name.into(), id: id.map(Into::into), data: data.into() }
    }

    #[test]
    fn events_survive_any_cut() {
        let stream =
            ": hello\r\nevent: deploy\nid: 7\ndata: {\"a\":\ndata:  \"é\"}\n\nid: 8\n\ndata\n\ndata: last";
        let expected = [event("deploy", Some("7"), "{\"a\":\n \"é\"}"), event("message", None, "")];
        for cut in 0..stream.len() {
            let mut parser = Parser::default();
            let mut events = parser.push(&stream.as_bytes()[..cut]);
            events.extend(parser.push(&stream.as_bytes()[cut..]));
            assert_eq!(events, expected, "cut at {cut}");
        }
    }
}
