//! What of the trail is asked for: lives in the address, so that a view can be sent to somebody.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use url::form_urlencoded::Serializer;

/// The query of the page and of the exports. Checkboxes repeat their name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Person, service, number of the entry or of the request.
    pub q: String,
    pub action: Vec<String>,
    pub person: Vec<String>,
    pub outcome: Vec<String>,
    pub span: Span,
    /// Entries with smaller numbers than this.
    pub before: Option<i64>,
}

/// How far back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Span {
    #[default]
    #[serde(rename = "")]
    All,
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "7d")]
    Week,
    #[serde(rename = "30d")]
    Month,
}

impl Span {
    pub const ALL: [Self; 5] = [Self::All, Self::Hour, Self::Day, Self::Week, Self::Month];

    pub fn value(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    fn hours(self) -> Option<i64> {
        match self {
            Self::All => None,
            Self::Hour => Some(1),
            Self::Day => Some(24),
            Self::Week => Some(24 * 7),
            Self::Month => Some(24 * 30),
        }
    }
}

impl Filter {
    pub fn since(&self, now: Timestamp) -> Option<Timestamp> {
        self.span.hours().map(|hours| now - SignedDuration::from_hours(hours))
    }

    pub fn typed(&self) -> &str {
        self.q.trim()
    }

    /// Whether anything is left out.
    pub fn narrows(&self) -> bool {
        !self.typed().is_empty()
            || !self.action.is_empty()
            || !self.person.is_empty()
            || !self.outcome.is_empty()
            || self.span != Span::All
    }

    /// The address of the same view elsewhere in the trail, or as a file.
    pub fn address(&self, path: &str, before: Option<i64>) -> String {
        let mut query = Serializer::new(String::new());
        if !self.typed().is_empty() {
            query.append_pair("q", self.typed());
        }
        for (name, values) in [("action", &self.action), ("person", &self.person), ("outcome", &self.outcome)]
        {
            query.extend_pairs(values.iter().map(|value| (name, value)));
        }
        if self.span != Span::All {
            query.append_pair("span", self.span.value());
        }
        if let Some(before) = before {
            query.append_pair("before", &before.to_string());
        }
        let query = query.finish();
        if query.is_empty() { path.into() } else { format!("{path}?{query}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_has_one_address_and_a_page_of_it_another() {
        let filter = Filter {
            q: " maya ".into(),
            action: vec!["deploy.request".into(), "deploy.end".into()],
            span: Span::Day,
            ..Filter::default()
        };
        assert_eq!(
            filter.address("/audit", Some(40)),
            "/audit?q=maya&action=deploy.request&action=deploy.end&span=24h&before=40"
        );
        assert_eq!(Filter::default().address("/audit.csv", None), "/audit.csv");
        assert!(filter.narrows() && !Filter::default().narrows());
    }

    #[test]
    fn the_span_counts_back_from_now() {
        let now: Timestamp = "2026-11-23T14:00:00Z".parse().unwrap();
        let filter = Filter { span: Span::Day, ..Filter::default() };
        assert_eq!(filter.since(now).unwrap().to_string(), "2026-11-22T14:00:00Z");
        assert_eq!(Filter::default().since(now), None);
    }
}
