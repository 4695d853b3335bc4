//! Time as a value. Decisions take `now`; only the edges ask a clock, so a test can bring any hour it likes.
//!
//! All replicas have the database's time: one whose machine is an hour ahead would let approvals expire and call rollouts
//! too slow that another replica has just begun to watch.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};

/// Less than this is the way to the database and back.
const NOISE: SignedDuration = SignedDuration::from_secs(1);

/// Where "now" comes from: the machine, or a test that moves it by hand.
#[derive(Clone, Debug)]
pub enum Clock {
    System,
    /// A machine whose clock is wrong by so much.
    Wrong(SignedDuration),
    /// A machine's, and by how many milliseconds it has to be set right.
    Corrected(Box<Clock>, Arc<AtomicI64>),
    Fixed(Arc<Mutex<Timestamp>>),
}

impl Clock {
    /// A clock that stands still until [`Clock::advance`] moves it.
    pub fn fixed(at: Timestamp) -> Self {
        Self::Fixed(Arc::new(Mutex::new(at)))
    }

    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Wrong(by) => Timestamp::now() + *by,
            Self::Corrected(machine, by) => {
                machine.now() + SignedDuration::from_millis(by.load(Ordering::Relaxed))
            }
            Self::Fixed(at) => *at.lock().unwrap_or_else(|poisoned| poisoned.into_inner()),
        }
    }

    /// One that can be set right. A test's own stays as it is.
    pub fn corrected(self) -> Self {
        match self {
            Self::System | Self::Wrong(_) => Self::Corrected(Box::new(self), Arc::default()),
            Self::Corrected(..) | Self::Fixed(_) => self,
        }
    }

    /// Sets a corrected clock right, and says by how much if that is news.
    pub fn set_right(&self, now: Timestamp) -> Option<SignedDuration> {
        let Self::Corrected(machine, by) = self else { return None };
        let off = now.duration_since(machine.now());
        let off = if off.abs() < NOISE { SignedDuration::ZERO } else { off };
        let before = SignedDuration::from_millis(by.swap(off.as_millis() as i64, Ordering::Relaxed));
        ((off - before).abs() >= NOISE).then_some(off)
    }

    /// Moves a fixed clock; the machine's own clock is not ours to move.
    pub fn advance(&self, by: SignedDuration) {
        if let Self::Fixed(at) = self {
            *at.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) += by;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_an_hour_ahead_is_set_right_and_the_rest_is_left_alone() {
        let hour = SignedDuration::from_hours(1);
        let ahead = Clock::Wrong(hour).corrected();
        assert_eq!(ahead.set_right(Timestamp::now()).map(|off| off.as_secs()), Some(-3600));
        assert!(ahead.now().duration_since(Timestamp::now()).abs() < NOISE);
        assert_eq!(ahead.set_right(Timestamp::now()), None, "it is right already");

        let right = Clock::System.corrected();
        assert_eq!(right.set_right(Timestamp::now() + SignedDuration::from_millis(300)), None);
        let fixed = Clock::fixed(Timestamp::UNIX_EPOCH).corrected();
        assert_eq!((fixed.set_right(Timestamp::now()), fixed.now()), (None, Timestamp::UNIX_EPOCH));
    }
}
