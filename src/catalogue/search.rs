//! Searching the catalogue as one types. One text of everything in lower case, walked once per word: ten thousand
//! services take well under two milliseconds, so nothing needs a search server.

use memchr::memmem;

use super::service::Service;

/// How well one word matches a service; smaller is better.
const EXACT: u16 = 0;
const PREFIX: u16 = 1;
const WORD_PREFIX: u16 = 2;
const SUBSTRING: u16 = 3;
const ELSEWHERE_WORD: u16 = 4;
const ELSEWHERE: u16 = 5;
const TYPO_IN_NAME: u16 = 8;
const TYPO_ELSEWHERE: u16 = 9;
const NO_MATCH: u16 = u16::MAX;
/// A longer text than anybody types; the rest is not looked at.
const MAX_TYPED: usize = 200;
const MAX_WORDS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Index {
    /// Per service: name, title, owner, tags and description, in lower case, each on a line of its own.
    text: String,
    /// Where each service begins in `text`.
    starts: Vec<u32>,
    words: Vec<Word>,
}

/// A word that services use, for forgiving typing errors.
#[derive(Debug)]
struct Word {
    text: Box<str>,
    /// One bit for each letter and digit in it.
    letters: u64,
    /// Services that have it, and whether in their name (the lowest bit).
    used_by: Box<[u32]>,
}

impl Index {
    pub fn new<'a>(services: &[Service], title: impl Fn(&str) -> Option<&'a str>) -> Self {
        let mut text = String::new();
        let mut starts = Vec::with_capacity(services.len());
        let mut words: Vec<(Box<str>, u32)> = Vec::new();
        for (n, service) in (0_u32..).zip(services) {
            starts.push(text.len() as u32);
            // Names are ASCII, so they keep their length: `starts[n] + name.len()` is where the name ends.
            text.push_str(&service.name.to_ascii_lowercase());
            let tags = service.tags.join(" ");
            let owner = title(&service.team).unwrap_or_default();
            for field in [&service.title, &service.team, owner, &tags, &service.kind, &service.description] {
                text.push('\n');
                text.push_str(&field.to_lowercase().replace('\n', " "));
            }
            text.push('\n');
            let own = &text[starts[n as usize] as usize..];
            let name_end = service.name.len();
            for (at, word) in split(own).filter(|(_, word)| (3..=24).contains(&word.len())) {
                words.push((word.into(), n << 1 | u32::from(at < name_end)));
            }
        }
        text.shrink_to_fit();
        Self { text, starts, words: gather(words) }
    }

    /// Numbers of the matching services, best first, then by name.
    pub fn find(&self, typed: &str, services: &[Service]) -> Vec<u32> {
        let typed: String = typed.chars().take(MAX_TYPED).collect::<String>().to_lowercase();
        let needles: Vec<&str> = typed.split_whitespace().take(MAX_WORDS).collect();
        let Some((first, rest)) = needles.split_first() else { return Vec::new() };
        let mut ranks = self.rank(first, services);
        for needle in rest {
            for (rank, more) in ranks.iter_mut().zip(self.rank(needle, services)) {
                *rank = if *rank == NO_MATCH || more == NO_MATCH { NO_MATCH } else { *rank + more };
            }
        }
        let mut found: Vec<u32> =
            (0..services.len() as u32).filter(|n| ranks[*n as usize] != NO_MATCH).collect();
        found.sort_by_key(|n| ranks[*n as usize]);
        found
    }

    fn rank(&self, needle: &str, services: &[Service]) -> Vec<u16> {
        let mut ranks = vec![NO_MATCH; services.len()];
        let mut any_in_name = false;
        let mut n = 0;
        for at in memmem::find_iter(self.text.as_bytes(), needle.as_bytes()) {
            while n + 1 < self.starts.len() && self.starts[n + 1] as usize <= at {
                n += 1;
            }
            let offset = at - self.starts[n] as usize;
            let rank = self.rank_at(at, offset, needle.len(), services[n].name.len());
            any_in_name |= rank <= SUBSTRING;
            ranks[n] = ranks[n].min(rank);
        }
        // Typing errors are looked for only where nothing of that name is there: "pay" is not a mistyped "day".
        if !any_in_name {
            self.forgive(needle, &mut ranks);
        }
        ranks
    }

    fn rank_at(&self, at: usize, offset: usize, length: usize, name: usize) -> u16 {
        let begins_word = at == 0 || !self.text.as_bytes()[at - 1].is_ascii_alphanumeric();
        match offset {
            0 if length == name => EXACT,
            0 if length < name => PREFIX,
            _ if offset < name && begins_word => WORD_PREFIX,
            _ if offset < name => SUBSTRING,
            _ if begins_word => ELSEWHERE_WORD,
            _ => ELSEWHERE,
        }
    }

    fn forgive(&self, needle: &str, ranks: &mut [u16]) {
        let allowed = match needle.chars().count() {
            0..=3 => return,
            4..=6 => 1,
            _ => 2,
        };
        // A name that is typed as a whole is compared word by word with the names' words; and each typed word counts.
        let parts: Vec<&str> = split(needle).map(|(_, part)| part).collect();
        let Some(hits) = parts.iter().map(|part| self.similar(part, allowed)).reduce(both) else { return };
        for (n, typos, in_name) in hits {
            let rank = if in_name { TYPO_IN_NAME } else { TYPO_ELSEWHERE } + 2 * typos;
            ranks[n as usize] = ranks[n as usize].min(rank);
        }
    }

    /// Services with a word that is at most `allowed` slips away: number, slips, in the name. By number.
    fn similar(&self, part: &str, allowed: usize) -> Vec<(u32, u16, bool)> {
        let (letters, length) = (letters(part), part.chars().count());
        let mut hits = Vec::new();
        for word in &self.words {
            let differ = (letters & !word.letters).count_ones().max((word.letters & !letters).count_ones());
            if differ as usize > allowed || word.text.len().abs_diff(part.len()) > allowed + 8 {
                continue;
            }
            // What is typed may be the beginning of the word.
            let beginning: String = word.text.chars().take(length).collect();
            let slips = strsim::osa_distance(part, &word.text).min(match word.text.len() > length {
                true => strsim::osa_distance(part, &beginning),
                false => usize::MAX,
            });
            if slips <= allowed {
                hits.extend(word.used_by.iter().map(|user| (user >> 1, slips as u16, user & 1 == 1)));
            }
        }
        hits.sort_unstable_by_key(|(n, slips, in_name)| (*n, *slips, !*in_name));
        hits.dedup_by_key(|(n, ..)| *n);
        hits
    }
}

/// Services in both lists.
fn both(a: Vec<(u32, u16, bool)>, b: Vec<(u32, u16, bool)>) -> Vec<(u32, u16, bool)> {
    a.into_iter()
        .filter_map(|(n, slips, in_name)| {
            let other = b.binary_search_by_key(&n, |(n, ..)| *n).ok()?;
            Some((n, slips + b[other].1, in_name || b[other].2))
        })
        .collect()
}

/// Words and where they begin.
fn split(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

fn letters(word: &str) -> u64 {
    word.bytes().fold(0, |bits, byte| match byte {
        b'a'..=b'z' => bits | 1 << (byte - b'a'),
        b'0'..=b'9' => bits | 1 << (byte - b'0' + 26),
        _ => bits | 1 << 40,
    })
}

fn gather(mut words: Vec<(Box<str>, u32)>) -> Vec<Word> {
    words.sort_unstable();
    words.dedup();
    words
        .chunk_by(|a, b| a.0 == b.0)
        .map(|same| Word {
            letters: letters(&same[0].0),
            text: same[0].0.clone(),
            used_by: same.iter().map(|(_, user)| *user).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn service(name: &str, team: &str, tags: &[&str], description: &str) -> Service {
        Service {
            name: name.into(),
            team: team.into(),
            tags: tags.iter().map(ToString::to_string).collect(),
            description: description.into(),
            ..Service::default()
        }
    }

    fn shop() -> Vec<Service> {
        let mut services = vec![
            service("checkout", "payments", &[], "Old checkout"),
            service("checkout-api", "payments", &["rust", "pci"], "Basket to paid order"),
            service("ledger", "payments", &["kotlin"], "Double-entry bookkeeping"),
            service("mobile-checkout", "storefront", &[], "Checkout on phones"),
            service("recheckout", "storefront", &[], ""),
            service("search", "storefront", &["java"], "Finds things <b>\u{202e}"),
            service("tax", "payments", &["go"], "VAT before checkout"),
        ];
        services.sort_by(|a, b| a.name.cmp(&b.name));
        services
    }

    fn names(typed: &str) -> Vec<String> {
        let services = shop();
        let index = Index::new(&services, |team| (team == "payments").then_some("Payments & Billing"));
        index.find(typed, &services).into_iter().map(|n| services[n as usize].name.clone()).collect()
    }

    #[test]
    fn the_best_match_comes_first() {
        assert_eq!(names("checkout"), ["checkout", "checkout-api", "mobile-checkout", "recheckout", "tax"]);
        assert_eq!(names("Checkout-A"), ["checkout-api"]);
        assert_eq!(names("api"), ["checkout-api"]);
    }

    #[test]
    fn owner_tag_and_description_are_searched() {
        assert_eq!(names("billing"), ["checkout", "checkout-api", "ledger", "tax"]);
        assert_eq!(names("pci"), ["checkout-api"]);
        assert_eq!(names("bookkeeping"), ["ledger"]);
        assert_eq!(names("payments rust"), ["checkout-api"]);
    }

    #[test]
    fn slips_are_forgiven() {
        assert_eq!(names("legder"), ["ledger"]);
        assert_eq!(names("chekout-api"), ["checkout-api"]);
        assert_eq!(names("serach"), ["search"]);
        assert_eq!(names("stroefront"), ["mobile-checkout", "recheckout", "search"]);
        assert_eq!(names("bookeping"), ["ledger"]);
        assert!(names("xyzzy").is_empty());
    }

    #[test]
    fn odd_questions_do_no_harm() {
        for typed in [
            "",
            "  ",
            "\n",
            "<b>",
            "%_'\";--",
            "\u{202e}",
            "-",
            ".",
            "\0",
            &"a ".repeat(500),
            &"é".repeat(999),
        ] {
            names(typed);
        }
        assert!(names("").is_empty());
        assert_eq!(names("<b>"), ["search"]);
    }

    /// Ten thousand services in under two milliseconds, release build; a debug build is some twenty times slower.
    #[test]
    fn ten_thousand_services_are_searched_in_an_instant() {
        let words =
            ["order", "payment", "basket", "price", "stock", "route", "mail", "fraud", "tax", "image"];
        let mut services: Vec<Service> = (0..10_000)
            .map(|n| {
                let (a, b) = (words[n % 10], words[n / 10 % 10]);
                service(
                    &format!("{a}-{b}-{n}"),
                    words[n % 7],
                    &["go"],
                    "Something that is described at some length",
                )
            })
            .collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        let index = Index::new(&services, |_| None);
        for typed in
            ["a", "order", "order-basket", "paymnet", "something length", "order-basket-123", "zzzzzzz"]
        {
            let start = Instant::now();
            let found = index.find(typed, &services).len();
            let took = start.elapsed();
            println!("{typed:20} {found:6} {took:?}");
            assert!(took < Duration::from_millis(500), "{typed}: {took:?}");
        }
    }
}
