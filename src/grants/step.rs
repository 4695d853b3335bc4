//! What to do next with a grant. No I/O and no clock: the engine brings what it saw and the time, tests bring a
//! thousand of each.

use jiff::{SignedDuration, Timestamp};

use super::gates::Moved;
use super::grant::{End, Event, Grant, State};

/// Patience with a cluster that does not answer. Nothing is lost: the grant waits where it is.
const CLUSTER_AWAY: SignedDuration = SignedDuration::from_secs(3);
/// How soon it is noticed that somebody removed a binding in the cluster.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// What the engine looked up for the state the grant is in.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Nothing has to be looked up in this state.
    Nothing,
    /// Whether our binding is in the cluster, and whether it may still be given.
    Binding { there: bool, may: Result<(), Moved> },
    /// The cluster does not let whoever gave it look.
    Closed(String),
    /// The cluster does not answer.
    Away,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Look again then.
    Wait(Timestamp),
    /// Write the binding.
    Bind,
    /// Remove the binding.
    Unbind,
    /// Write down what happened.
    Record(Event),
}

pub fn next_step(grant: &Grant, seen: &Seen, now: Timestamp) -> Step {
    let due = |by: &crate::auth::Person| Step::Record(Event::EndDue { by: by.clone(), why: End::Time });
    match &grant.state {
        State::Requested { expires } if now >= *expires => Step::Record(Event::Expired),
        State::Requested { expires } => Step::Wait(*expires),

        // An owner may have died after the write, or its answer was lost: what is there was given.
        State::Granting { grantor, until } => match seen {
            // Too late to give it, and it may be there: taking back what is not there does no harm.
            _ if now >= *until => due(grantor),
            Seen::Binding { there: true, .. } => Step::Record(Event::Granted),
            Seen::Binding { there: false, may: Ok(()) } => Step::Bind,
            Seen::Binding { there: false, may: Err(moved) } => {
                Step::Record(Event::Failed { why: moved.sentence() })
            }
            Seen::Closed(why) => Step::Record(Event::Failed { why: why.clone() }),
            Seen::Away | Seen::Nothing => Step::Wait(now + CLUSTER_AWAY),
        },

        State::Active { grantor, until } => match seen {
            _ if now >= *until => due(grantor),
            Seen::Binding { there: false, .. } => Step::Record(Event::FoundGone),
            Seen::Binding { there: true, .. } | Seen::Closed(_) | Seen::Away | Seen::Nothing => {
                Step::Wait((now + LOOK_AGAIN).min(*until))
            }
        },

        State::Ending { .. } => Step::Unbind,

        State::Ended { .. }
        | State::Refused { .. }
        | State::Withdrawn
        | State::Expired
        | State::Failed { .. } => Step::Wait(now),
    }
}

/// After the cluster did not let it go: half as long again as was tried so far, from 2 s to 5 min.
pub fn try_again(since: Timestamp, now: Timestamp) -> SignedDuration {
    let tried = now.duration_since(since).as_secs();
    SignedDuration::from_secs((tried / 2).clamp(2, 300))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::samples::{OMAR, active, at, ending, grant, in_state, person};

    fn granting() -> Grant {
        in_state(State::Granting { grantor: person(OMAR), until: at("22:00") })
    }

    fn seen(there: bool) -> Seen {
        Seen::Binding { there, may: Ok(()) }
    }

    #[test]
    fn a_request_waits_until_somebody_decides_or_it_is_too_late() {
        assert_eq!(next_step(&grant(), &Seen::Nothing, at("14:30")), Step::Wait(at("15:00")));
        assert_eq!(next_step(&grant(), &Seen::Nothing, at("15:00")), Step::Record(Event::Expired));
    }

    #[test]
    fn it_is_written_once_and_what_is_there_already_was_given() {
        assert_eq!(next_step(&granting(), &seen(false), at("14:30")), Step::Bind);
        assert_eq!(next_step(&granting(), &seen(true), at("14:30")), Step::Record(Event::Granted));
        assert!(matches!(next_step(&granting(), &Seen::Away, at("14:30")), Step::Wait(_)));
    }

    #[test]
    fn what_moved_is_not_given_but_what_is_there_stays_under_watch() {
        let moved = |there| Seen::Binding { there, may: Err(Moved::Terms) };
        assert!(matches!(
            next_step(&granting(), &moved(false), at("14:30")),
            Step::Record(Event::Failed { .. })
        ));
        assert_eq!(next_step(&granting(), &moved(true), at("14:30")), Step::Record(Event::Granted));
    }

    #[test]
    fn its_time_ends_it_whatever_the_cluster_says() {
        for state in [granting().state, active()] {
            for seen in [Seen::Nothing, Seen::Away, seen(true), seen(false), Seen::Closed(String::new())] {
                let step = next_step(&in_state(state.clone()), &seen, at("22:00"));
                let due = Event::EndDue { by: person(OMAR), why: End::Time };
                assert_eq!(step, Step::Record(due), "{} {seen:?}", state.name());
            }
        }
    }

    #[test]
    fn somebody_elses_removal_ends_it() {
        let grant = in_state(active());
        assert_eq!(next_step(&grant, &seen(false), at("16:00")), Step::Record(Event::FoundGone));
        assert!(matches!(next_step(&grant, &seen(true), at("16:00")), Step::Wait(_)));
        assert_eq!(
            next_step(&grant, &seen(true), at("21:59") + SignedDuration::from_secs(58)),
            Step::Wait(at("22:00"))
        );
    }

    #[test]
    fn a_refused_removal_is_tried_again_and_again() {
        assert_eq!(next_step(&in_state(ending(Some("no"))), &Seen::Nothing, at("23:00")), Step::Unbind);
        let after =
            |seconds| try_again(at("22:00"), at("22:00") + SignedDuration::from_secs(seconds)).as_secs();
        assert_eq!((after(0), after(60), after(86_400)), (2, 30, 300));
    }
}
