//! When nothing new is deployed: once, or every week, in a time zone by its name.

use std::ops::Range;
use std::str::FromStr;

use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp, ToSpan};
use serde::Deserialize;
use toml::Spanned;

const HALF_A_YEAR: SignedDuration = SignedDuration::from_hours(183 * 24);

/// A window in which no deploy begins. Those that have begun go on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// What people are told.
    pub name: Spanned<String>,
    pub from: Spanned<Moment>,
    pub to: Spanned<Moment>,
    /// As the IANA calls it: Europe/Berlin.
    pub time_zone: Spanned<Zone>,
}

/// A point of the calendar, without a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Moment {
    Once(DateTime),
    Weekly(Weekday, Time),
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Zone(TimeZone);

/// A freeze that holds, and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    pub name: String,
    pub until: Timestamp,
    /// "Mon 30 Nov, 08:00 Europe/Berlin", with the year where it is far away.
    pub until_there: String,
}

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let odd =
            || format!("{text:?} is no moment: write \"2026-12-18 16:00\", or \"Fri 16:00\" for every week");
        let (day, time) = text.split_once(' ').ok_or_else(odd)?;
        let time = Time::from_str(time.trim()).map_err(|_| odd())?;
        if let Some(weekday) = weekday(day) {
            return Ok(Self::Weekly(weekday, time));
        }
        let day = jiff::civil::Date::from_str(day).map_err(|_| odd())?;
        Ok(Self::Once(day.to_datetime(time)))
    }
}

fn weekday(name: &str) -> Option<Weekday> {
    let days = [
        ("Mon", Weekday::Monday),
        ("Tue", Weekday::Tuesday),
        ("Wed", Weekday::Wednesday),
        ("Thu", Weekday::Thursday),
        ("Fri", Weekday::Friday),
        ("Sat", Weekday::Saturday),
        ("Sun", Weekday::Sunday),
    ];
    days.iter().find(|(short, _)| *short == name).map(|(_, day)| *day)
}

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        TimeZone::get(&name).map(Self).map_err(|_| {
            format!("no time zone is called {name:?} here: write it as the IANA does (\"Europe/Berlin\"); on a machine without \
                     the package tzdata there is none but UTC")
        })
    }
}

impl Freeze {
    /// What is wrong with it as a whole: where, what, and how to mend it.
    pub(super) fn mistake(&self) -> Option<(Range<usize>, &'static str, &'static str)> {
        let what = match (self.from.get_ref(), self.to.get_ref()) {
            (Moment::Once(from), Moment::Once(to)) if from >= to => "this freeze ends before it begins",
            (Moment::Once(_), Moment::Once(_)) => {
                // It would never hold.
                let beyond =
                    [&self.from, &self.to].into_iter().find(|moment| self.is_beyond(moment.get_ref()))?;
                return Some((beyond.span(), "no clock goes that far", "Give a year before 9999."));
            }
            (Moment::Weekly(from, at), Moment::Weekly(to, until)) if (from, at) == (to, until) => {
                "this freeze ends when it begins"
            }
            (Moment::Once(_), Moment::Weekly(..)) | (Moment::Weekly(..), Moment::Once(_)) => {
                "from and to are of different kinds: one is a date, one a day of the week"
            }
            (Moment::Weekly(..), Moment::Weekly(..)) => return None,
        };
        let help = "Give two dates, the later one in to; or two days of the week that differ.";
        Some((self.from.span(), what, help))
    }

    fn is_beyond(&self, moment: &Moment) -> bool {
        match moment {
            Moment::Once(at) => at.to_zoned(self.time_zone.get_ref().0.clone()).is_err(),
            Moment::Weekly(..) => false,
        }
    }

    /// Whether it holds, and until when.
    pub fn holds(&self, now: Timestamp) -> Option<Frozen> {
        let zone = &self.time_zone.get_ref().0;
        let there = now.to_zoned(zone.clone());
        let (from, to) = match (self.from.get_ref(), self.to.get_ref()) {
            (Moment::Once(from), Moment::Once(to)) => (*from, *to),
            (Moment::Weekly(from, at), Moment::Weekly(to, until)) => {
                // The last beginning that has come, and the first end after it.
                let days = i64::from(there.weekday().since(*from));
                let mut begin = there.date().checked_sub(days.days()).ok()?.to_datetime(*at);
                if begin > there.datetime() {
                    begin = begin.checked_sub(1.week()).ok()?;
                }
                let days = i64::from(to.since(*from));
                let end = begin.date().checked_add(days.days()).ok()?.to_datetime(*until);
                let again: Span = if end > begin { Span::new() } else { 1.week() };
                (begin, end.checked_add(again).ok()?)
            }
            (Moment::Once(_), Moment::Weekly(..)) | (Moment::Weekly(..), Moment::Once(_)) => return None,
        };
        // A time that a change of the clocks skips or repeats is taken as calendars take it.
        let from = from.to_zoned(zone.clone()).ok()?;
        let to = to.to_zoned(zone.clone()).ok()?;
        let holds = from.timestamp() <= now && now < to.timestamp();
        // Without a year everybody takes it for the next one of that name.
        let near = to.timestamp().duration_since(now) < HALF_A_YEAR;
        let written = to.strftime(if near { "%a %-d %b, %H:%M" } else { "%a %-d %b %Y, %H:%M" });
        holds.then(|| Frozen {
            name: self.name.get_ref().clone(),
            until: to.timestamp(),
            until_there: format!("{written} {}", zone.iana_name().unwrap_or_default()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freeze(from: &str, to: &str) -> Freeze {
        let text =
            format!("name = \"a freeze\"\nfrom = {from:?}\nto = {to:?}\ntime_zone = \"Europe/Berlin\"\n");
        toml::from_str(&text).unwrap()
    }

    fn until(freeze: &Freeze, now: &str) -> Option<String> {
        freeze.holds(now.parse().unwrap()).map(|frozen| frozen.until.to_string())
    }

    #[test]
    fn one_of_a_date_holds_from_its_beginning_to_just_before_its_end() {
        let freeze = freeze("2026-12-18 16:00", "2027-01-04 08:00");
        assert_eq!(until(&freeze, "2026-12-18T14:59:59Z"), None);
        assert_eq!(until(&freeze, "2026-12-18T15:00:00Z").as_deref(), Some("2027-01-04T07:00:00Z"));
        assert_eq!(until(&freeze, "2027-01-04T07:00:00Z"), None);
        let frozen = freeze.holds("2026-12-24T12:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(frozen.until_there, "Mon 4 Jan, 08:00 Europe/Berlin");
        let far = self::freeze("2026-12-18 16:00", "2072-01-04 08:00");
        let frozen = far.holds("2026-12-24T12:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(frozen.until_there, "Mon 4 Jan 2072, 08:00 Europe/Berlin");
    }

    #[test]
    fn one_of_every_week_goes_over_the_end_of_the_week() {
        let weekend = freeze("Fri 16:00", "Mon 08:00");
        for inside in ["2026-11-27T15:00:00Z", "2026-11-29T12:00:00Z", "2026-11-30T06:59:59Z"] {
            assert_eq!(until(&weekend, inside).as_deref(), Some("2026-11-30T07:00:00Z"), "{inside}");
        }
        for outside in ["2026-11-27T14:59:59Z", "2026-11-30T07:00:00Z", "2026-12-02T12:00:00Z"] {
            assert_eq!(until(&weekend, outside), None, "{outside}");
        }
    }

    #[test]
    fn one_within_a_day_and_one_that_leaves_a_gap_of_a_day() {
        let lunch = freeze("Tue 12:00", "Tue 13:00");
        assert_eq!(until(&lunch, "2026-11-24T11:30:00Z").as_deref(), Some("2026-11-24T12:00:00Z"));
        assert_eq!(until(&lunch, "2026-11-24T12:30:00Z"), None);
        let but_tuesday = freeze("Tue 17:00", "Tue 09:00");
        assert_eq!(until(&but_tuesday, "2026-11-24T12:00:00Z"), None);
        assert_eq!(until(&but_tuesday, "2026-11-26T12:00:00Z").as_deref(), Some("2026-12-01T08:00:00Z"));
    }

    #[test]
    fn the_clocks_may_change_within_it() {
        // On 25 October 2026 Berlin goes from +02:00 to +01:00.
        let weekend = freeze("Fri 16:00", "Mon 08:00");
        assert_eq!(until(&weekend, "2026-10-23T14:00:00Z").as_deref(), Some("2026-10-26T07:00:00Z"));
        assert_eq!(until(&weekend, "2026-10-23T13:59:59Z"), None);
    }

    #[test]
    fn what_is_odd_is_said() {
        let what = |from, to| freeze(from, to).mistake().map(|(_, what, _)| what);
        assert_eq!(what("2026-12-18 16:00", "2026-12-18 15:00"), Some("this freeze ends before it begins"));
        assert_eq!(what("Fri 16:00", "Fri 16:00"), Some("this freeze ends when it begins"));
        assert!(what("Fri 16:00", "2026-12-18 15:00").unwrap().contains("different kinds"));
        assert_eq!(what("2026-12-18 16:00", "9998-12-31 23:59"), None);
        let far = freeze("2026-12-18 16:00", "9999-12-31 23:59");
        let (span, what, _) = far.mistake().unwrap();
        assert_eq!((span, what), (far.to.span(), "no clock goes that far"));
        assert!(Moment::try_from("Friday 16:00".to_string()).unwrap_err().contains("\"Fri 16:00\""));
        assert!(Zone::try_from("Berlin".to_string()).is_err());
    }
}
