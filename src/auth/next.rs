//! `next=`: where a person goes after signing in. The value comes from an address anybody can write, so only
//! paths of this portal pass; everything a browser could read as another site is refused.

use url::Url;

/// Long enough for every address the portal makes itself.
const LONGEST: usize = 2_048;

/// A path (and query) of this portal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next(String);

impl Next {
    /// The path to return to; the home page where it is absent or refused.
    pub fn or_home(raw: Option<&str>) -> Self {
        raw.and_then(Self::parse).unwrap_or_else(|| Self("/".into()))
    }

    /// Refuses `//e`, `/\e` and their encoded forms, control characters, other schemes, and the pages of
    /// sign-in itself, which would only lead round in circles.
    pub fn parse(raw: &str) -> Option<Self> {
        let visible = raw.len() <= LONGEST && raw.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible || !raw.starts_with('/') || raw.contains('\\') {
            return None;
        }
        let path = raw.split(['?', '#']).next().unwrap_or_default();
        if path.contains("//") || hides_a_separator(path) || is_sign_in(path) || path.split('/').any(is_dots)
        {
            return None;
        }
        stays_here(raw).then(|| Self(raw.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_home(&self) -> bool {
        self.0 == "/"
    }

    /// `/sign-in?next=…`, or another page that takes the same parameter.
    pub fn on(&self, page: &str) -> String {
        if self.is_home() {
            return page.into();
        }
        let query =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("next", &self.0).finish();
        format!("{page}?{query}")
    }
}

/// `%2f`, `%5c` and encoded control characters in a path. One more decoding on the way would turn them real;
/// `%25` is refused because it could hide them once more.
fn hides_a_separator(path: &str) -> bool {
    path.match_indices('%').any(|(at, _)| match path.get(at + 1..at + 3) {
        Some(hex) => match u8::from_str_radix(hex, 16) {
            Ok(byte) => byte.is_ascii_control() || matches!(byte, b'/' | b'\\' | b'%' | b'.'),
            Err(_) => true,
        },
        None => true,
    })
}

fn is_dots(segment: &str) -> bool {
    segment == "." || segment == ".."
}

fn is_sign_in(path: &str) -> bool {
    ["/sign-in", "/sign-out", "/signed-out", "/auth"]
        .iter()
        .any(|page| path.strip_prefix(page).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// What a browser would make of it, by the same rules (WHATWG URL): the last word.
fn stays_here(raw: &str) -> bool {
    let here = Url::parse("https://portal.invalid").expect("a fixed address parses");
    here.join(raw).is_ok_and(|there| there.origin() == here.origin())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_of_the_portal_pass() {
        for path in [
            "/",
            "/services",
            "/services/checkout?env=staging",
            "/services/checkout/staging/deploy?image=registry.acme.example%2Fcheckout%3Av1.1.0",
            "/deploys/12#pods",
            "/sign-inspector",
        ] {
            assert_eq!(Next::parse(path).unwrap().as_str(), path);
        }
    }

    #[test]
    fn other_sites_in_every_spelling_are_refused() {
        for path in [
            "",
            "services",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/%2fevil.example",
            "/%2Fevil.example",
            "/%5cevil.example",
            "/%5Cevil.example",
            "/%252fevil.example",
            "/%0d%0aLocation:%20//evil.example",
            "/%09/evil.example",
            "/\t/evil.example",
            "/\n//evil.example",
            "/\0",
            " /services",
            "/services\u{202e}",
            "/\u{ff0f}evil.example",
            "/.//evil.example",
            "/..//evil.example",
            "/services/../..//evil.example",
            "/%2e%2e//evil.example",
            "/%",
            "/%zz",
            "https://evil.example",
            "HTTPS:/evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "@evil.example",
            "/sign-in?next=/",
            "/sign-in/start",
            "/auth/callback?code=1",
            "/sign-out",
        ] {
            assert_eq!(Next::parse(path), None, "{path:?}");
        }
        assert_eq!(Next::parse(&format!("/{}", "a".repeat(LONGEST))), None);
        assert_eq!(Next::or_home(Some("//evil.example")).as_str(), "/");
    }

    #[test]
    fn a_page_with_next_carries_it_encoded() {
        let next = Next::parse("/services/checkout?env=staging&pod=a").unwrap();
        assert_eq!(next.on("/sign-in"), "/sign-in?next=%2Fservices%2Fcheckout%3Fenv%3Dstaging%26pod%3Da");
        assert_eq!(Next::or_home(None).on("/sign-in"), "/sign-in");
    }

    /// Pieces that attacks on `next=` are made of.
    fn hostile() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "/",
            "//",
            "\\",
            "%2f",
            "%5C",
            "%25",
            "%0a",
            "\n",
            "\t",
            "\0",
            "..",
            ".",
            "@",
            ":",
            "?",
            "#",
            "https:",
            "evil.example",
            "javascript:",
            "services",
            "a",
            "é",
            "\u{2028}",
        ]);
        prop_oneof![prop::collection::vec(pieces, 0..8).prop_map(|all| all.concat()), any::<String>()]
    }

    proptest! {
        #[test]
        fn whatever_passes_leads_back_to_the_portal(raw in hostile()) {
            if let Some(next) = Next::parse(&raw) {
                for here in ["https://portal.example", "http://localhost:8080"] {
                    let here = Url::parse(here).unwrap();
                    let there = here.join(next.as_str()).unwrap();
                    prop_assert_eq!(there.origin(), here.origin());
                    prop_assert!(!there.path().starts_with("//"));
                }
                prop_assert!(next.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(axum::http::HeaderValue::from_str(next.as_str()).is_ok());
            }
        }
    }
}
