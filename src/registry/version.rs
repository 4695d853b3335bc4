//! The order of tags: versions by number, releases after their pre-releases, everything else before them by name.

use std::cmp::Ordering;

/// Greater is newer. `v1.10.0` > `v1.9.0` > `v1.9.0-rc.2` > `latest`.
pub fn newer(a: &str, b: &str) -> Ordering {
    match (Version::of(a), Version::of(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => Ordering::Equal,
    }
    .then_with(|| a.cmp(b))
}

/// Field order is the order of precedence (semver.org, 11). Any count of numbers will do: people tag `v2` and `1.4`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    numbers: Vec<u64>,
    pre: Pre,
}

/// A release comes after all of its pre-releases; a number before a word.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Pre {
    Release(Vec<Part>),
    None,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

impl Version {
    fn of(tag: &str) -> Option<Self> {
        let tag = tag.strip_prefix('v').unwrap_or(tag);
        let (numbers, pre) = match tag.split_once('-') {
            Some((numbers, pre)) => (numbers, Pre::Release(pre.split('.').map(Part::of).collect())),
            None => (tag, Pre::None),
        };
        let mut numbers = numbers.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
        // 1.2 and 1.2.0 are the same version.
        numbers.resize(numbers.len().max(3), 0);
        Some(Self { numbers, pre })
    }
}

impl Part {
    fn of(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Word(text.into()), Self::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_stand_newest_first() {
        let mut tags = [
            "latest",
            "v1.9.0",
            "v1.10.0",
            "main",
            "v1.10.0-rc.2",
            "v1.10.0-rc.10",
            "v1.10.0-rc.x",
            "2",
            "1.2",
        ];
        tags.sort_by(|a, b| newer(b, a));
        assert_eq!(
            tags,
            [
                "2",
                "v1.10.0",
                "v1.10.0-rc.x",
                "v1.10.0-rc.10",
                "v1.10.0-rc.2",
                "v1.9.0",
                "1.2",
                "main",
                "latest"
            ]
        );
    }
}
