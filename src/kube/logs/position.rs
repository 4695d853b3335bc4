//! Where a reader stands in a container's log, exactly, and in a form that any replica understands.
//!
//! Kubernetes resumes by whole seconds, and several lines may carry the same time; two writers (stdout and stderr)
//! may even reach the file in the wrong order. So lines are numbered as they stand in the file: each has the
//! highest time so far, and its place among the lines at that time. Read again from a second earlier, the same
//! lines get the same numbers, and what a reader already had is what is not greater than its position.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

/// The line that was read last. Greater is later in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    nanos: i64,
    count: u32,
}

impl Position {
    pub fn at(self) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(self.nanos)).unwrap_or_default()
    }

    /// What to ask Kubernetes for, to be sure to meet this line again: whole seconds, and one to spare for lines
    /// that were written out of order.
    pub fn since(self) -> Timestamp {
        let second = self.nanos.div_euclid(1_000_000_000);
        Timestamp::from_second(second).unwrap_or_default() - SignedDuration::from_secs(1)
    }
}

/// Numbers lines in the order of the file.
#[derive(Default)]
pub struct Numbering(Option<Position>);

impl Numbering {
    pub fn next(&mut self, at: Timestamp) -> Position {
        // 64 bits of nanoseconds last until the year 2262.
        let nanos = i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX);
        let next = match self.0 {
            Some(last) if nanos <= last.nanos => Position { count: last.count.saturating_add(1), ..last },
            _ => Position { nanos, count: 1 },
        };
        self.0 = Some(next);
        next
    }
}

/// A reader's position in every container it follows: the id of an event, so a stream resumes at any replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(BTreeMap<String, Position>);

/// So many containers in one view are more than anybody reads; a longer id is not ours.
const MOST: usize = 500;
const KEY: usize = 12;

impl Positions {
    pub fn get(&self, container_id: &str) -> Option<Position> {
        self.0.get(key(container_id)).copied()
    }

    pub fn set(&mut self, container_id: &str, position: Position) {
        self.0.insert(key(container_id).into(), position);
    }

    /// Forgets containers that can't be read any more.
    pub fn keep_only<'a>(&mut self, container_ids: impl Iterator<Item = &'a str>) {
        let keys: std::collections::BTreeSet<&str> = container_ids.map(key).collect();
        self.0.retain(|known, _| keys.contains(known.as_str()));
    }

    /// The time of the newest line that was read.
    pub fn latest(&self) -> Option<Timestamp> {
        self.0.values().max().map(|position| position.at())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Container ids are random hexadecimal digits: a few tell them apart.
fn key(container_id: &str) -> &str {
    container_id.get(..KEY).unwrap_or(container_id)
}

/// `id.time.count`, joined by `~`: safe in a header, an attribute and a query.
impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (id, position)) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "~" };
            write!(f, "{separator}{id}.{:x}.{:x}", position.nanos, position.count)?;
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a place in a log")]
pub struct OddPositions;

impl FromStr for Positions {
    type Err = OddPositions;

    fn from_str(text: &str) -> Result<Self, OddPositions> {
        let entries = text.split('~').filter(|entry| !entry.is_empty());
        let positions: BTreeMap<_, _> =
            entries.take(MOST + 1).map(entry).collect::<Option<_>>().ok_or(OddPositions)?;
        if positions.len() > MOST { Err(OddPositions) } else { Ok(Self(positions)) }
    }
}

fn entry(text: &str) -> Option<(String, Position)> {
    let mut parts = text.splitn(3, '.');
    let id = parts.next().filter(|id| id.len() <= KEY && id.bytes().all(|b| b.is_ascii_alphanumeric()))?;
    let nanos = i64::from_str_radix(parts.next()?, 16).ok().filter(|nanos| *nanos >= 0)?;
    let count = u32::from_str_radix(parts.next()?, 16).ok()?;
    Some((id.to_string(), Position { nanos, count }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64, nano: i32) -> Timestamp {
        Timestamp::new(second, nano).unwrap()
    }

    #[test]
    fn lines_of_one_time_are_told_apart_by_counting() {
        let mut numbering = Numbering::default();
        let [a, b, c] = [at(10, 5), at(10, 5), at(10, 6)].map(|at| numbering.next(at));
        assert!(a < b && b < c);
        assert_eq!((a.nanos, a.count, b.count, c.count), (10_000_000_005, 1, 2, 1));
    }

    #[test]
    fn a_resume_asks_for_whole_seconds_and_one_to_spare() {
        assert_eq!(Numbering::default().next(at(10, 999)).since(), at(9, 0));
    }

    #[test]
    fn odd_ids_are_refused() {
        for text in ["a", "a.b", "a.1.-1", "a.-1.1", "../x.1.1", "a.1.1.1", &"a.1.1~".repeat(9_999)] {
            assert!(text.parse::<Positions>().is_err() || text.len() > 9_000, "{text:?}");
        }
        let many: Vec<_> = (0..600).map(|n| format!("{n}.1.1")).collect();
        assert_eq!(many.join("~").parse::<Positions>(), Err(OddPositions));
        assert_eq!("".parse::<Positions>(), Ok(Positions::default()));
    }

    proptest! {
        /// The heart of "no loss, no duplicates": cut the log anywhere, resume as Kubernetes can, skip what was had.
        #[test]
        fn a_cut_anywhere_loses_nothing_and_repeats_nothing(
            // Steps between lines: mostly forward, many equal, some up to 0.9 s back.
            steps in proptest::collection::vec(prop_oneof![Just(0i64), -900_000_000..0i64, 0..1_500_000_000i64], 1..60),
            cut in 0usize..60,
        ) {
            let mut now = 1_000_000_000_000i64;
            let mut high = now;
            let file: Vec<Timestamp> = steps.iter().map(|step| {
                now = (now + step).max(high - 900_000_000);
                high = high.max(now);
                Timestamp::from_nanosecond(i128::from(now)).unwrap()
            }).collect();
            let cut = cut.min(file.len() - 1);

            let mut numbering = Numbering::default();
            let had = file[..=cut].iter().fold(Position { nanos: 0, count: 0 }, |_, at| numbering.next(*at));
            let mut again = Numbering::default();
            let replayed = file.iter().enumerate().filter(|(_, at)| **at >= had.since());
            let delivered: Vec<usize> =
                replayed.filter(|(_, at)| again.next(**at) > had).map(|(n, _)| n).collect();

            prop_assert_eq!(delivered, (cut + 1..file.len()).collect::<Vec<_>>());
        }

        #[test]
        fn an_id_is_read_as_it_was_written(entries in proptest::collection::btree_map("[0-9a-f]{12}", (0i64.., 1u32..), 0..20)) {
            let positions =
                Positions(entries.into_iter().map(|(id, (nanos, count))| (id, Position { nanos, count })).collect());
            prop_assert_eq!(positions.to_string().parse::<Positions>().unwrap(), positions);
        }
    }
}
