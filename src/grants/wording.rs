//! Every sentence of this slice, in one place, so that one person can read and improve them all.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::gates::{Moved, Refusal};
use super::grant::{End, Event, Grant, State};
use crate::deploy::any_of;
use crate::web::filters::{clock, span, until};

/// A machine asked for access.
pub const NOT_FOR_MACHINES: &str = "What a machine may do stands in the portal’s configuration and its cluster rights, where it is reviewed.";

impl Refusal {
    pub fn sentence(&self) -> String {
        match self {
            Self::Decision(refusal) => refusal.about("access request"),
            Self::Cluster(why) => format!("The cluster does not let you give this. {why}"),
            Self::NotYoursToWithdraw => {
                "Only the person who asked can withdraw this. An approver can reject it.".into()
            }
            Self::NotYoursToEnd(approvers) => {
                format!("The person who has it can end it, and members of {}.", any_of(approvers))
            }
            Self::NothingToEnd(state) => format!("There is nothing to end: this access request is {state}."),
            Self::TooLateToWithdraw(state) => {
                format!("There is nothing left to withdraw: this access request is {state}.")
            }
        }
    }
}

impl Moved {
    pub fn sentence(&self) -> String {
        match self {
            Self::Terms => {
                "The role changed in the portal’s configuration after it was asked for. Ask again.".into()
            }
            Self::GrantorLostRight => "Who approved it may no longer approve. Ask again.".into(),
        }
    }
}

impl State {
    /// As people say it: "this access request is …".
    pub fn words(&self) -> &'static str {
        match self {
            Self::Requested { .. } => "waiting for approval",
            Self::Granting { .. } => "being given",
            Self::Active { .. } => "active",
            Self::Ending { .. } => "being taken back",
            Self::Ended { .. } => "over",
            Self::Refused { .. } => "rejected",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
            Self::Failed { .. } => "failed",
        }
    }

    /// Words of the badge.
    pub fn badge(&self) -> &'static str {
        match self {
            Self::Requested { .. } => "Awaiting approval",
            Self::Granting { .. } => "Being given",
            Self::Active { .. } => "Active",
            Self::Ending { trouble: None, .. } => "Being taken back",
            Self::Ending { trouble: Some(_), .. } => "Not taken back",
            Self::Ended { .. } => "Ended",
            Self::Refused { .. } => "Rejected",
            Self::Withdrawn => "Withdrawn",
            Self::Expired => "Expired",
            Self::Failed { .. } => "Failed",
        }
    }

    /// Status class of the design kit, without `is-`.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Requested { .. } => "hold",
            Self::Granting { .. } | Self::Ending { trouble: None, .. } => "prog",
            Self::Active { .. } => "ok",
            Self::Ended { .. } | Self::Withdrawn | Self::Expired => "idle",
            Self::Ending { trouble: Some(_), .. } | Self::Refused { .. } | Self::Failed { .. } => "bad",
        }
    }
}

impl Grant {
    /// "Noor Visser: edit in payments-staging".
    pub fn title(&self) -> String {
        format!("{}: {}", self.requester.name, self.short())
    }

    /// "edit in payments-staging".
    pub fn short(&self) -> String {
        format!("{} in {}", self.terms.role, self.place.namespace)
    }

    /// What an approval would give.
    pub fn what(&self) -> String {
        format!(
            "ClusterRole {} in {} and nowhere else, for {}, then it ends by itself",
            self.terms.cluster_role,
            self.place.namespace,
            span(self.seconds)
        )
    }

    /// The target of its rows in the audit trail.
    pub fn target(&self) -> String {
        format!("{}/{}", self.place.team, self.place.environment)
    }

    /// What its rows in the audit trail say, with what only this one says.
    pub fn detail(&self, more: Value) -> Value {
        let mut detail = json!({
            "access": self.id,
            "for": self.requester.username,
            "cluster_role": self.terms.cluster_role,
            "cluster": self.place.cluster,
            "namespace": self.place.namespace,
            "seconds": self.seconds,
        });
        if let (Some(all), Value::Object(more)) = (detail.as_object_mut(), more) {
            all.extend(more);
        }
        detail
    }

    /// Why it is not what somebody would wish; None where there is nothing to say.
    pub fn why(&self) -> Option<String> {
        match &self.state {
            State::Ending { trouble: Some(trouble), by, .. } => Some(format!(
                "{} still has it. The portal asks again as {}, and gets: {trouble}",
                self.requester.name, by.name
            )),
            State::Refused { by, note } => Some(format!("{by}: {note}")),
            State::Expired => Some("Nobody decided in time.".into()),
            State::Failed { why } => Some(why.clone()),
            State::Ended { why } => Some(over(why)),
            State::Requested { .. }
            | State::Granting { .. }
            | State::Active { .. }
            | State::Ending { trouble: None, .. }
            | State::Withdrawn => None,
        }
    }
}

fn over(why: &End) -> String {
    match why {
        End::Time => "Its time was over.".into(),
        End::Early { by } => format!("{by} ended it."),
        End::Elsewhere => "Somebody removed the RoleBinding in the cluster.".into(),
    }
}

/// What an access request is called when its time is over and it is not taken back.
pub fn overdue(grant: &Grant, now: Timestamp) -> Option<String> {
    let State::Ending { until: end, trouble: Some(_), .. } = &grant.state else { return None };
    let late = if now >= *end { format!("was to end at {}", clock(*end)) } else { "was to end".into() };
    Some(format!(
        "{} {late}, and the cluster still has it. Remove the RoleBinding {} in {} by hand, or end it here in \
         your own name.",
        grant.title(),
        crate::kube::bindings::name(grant.id.0),
        grant.place.namespace
    ))
}

/// One row of the timeline: status class and sentence.
pub fn told(event: &Event, actor: &str) -> (&'static str, String) {
    match event {
        Event::Requested => ("idle", format!("{actor} asked for this")),
        Event::Approved { .. } => ("ok", format!("{actor} approved")),
        Event::Refused { .. } => ("bad", format!("{actor} rejected it")),
        Event::Withdrawn => ("idle", format!("{actor} withdrew it")),
        Event::Expired => ("idle", "Expired: nobody decided in time".into()),
        Event::Granted => ("ok", "The RoleBinding is in the cluster".into()),
        Event::EndDue { why: End::Early { by }, .. } => ("idle", format!("{by} ended it")),
        Event::EndDue { .. } => ("idle", "Its time is over".into()),
        Event::EndRefused { why } => ("bad", format!("The cluster did not take it back: {why}")),
        Event::Ended => ("idle", "The RoleBinding is gone".into()),
        Event::FoundGone => ("warn", "Somebody removed the RoleBinding in the cluster".into()),
        Event::Failed { why } => ("bad", why.clone()),
    }
}

/// How long a request still waits.
pub fn expires(at: Timestamp, now: Timestamp) -> String {
    format!("Expires {}", until(at, now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::samples::{at, ending, in_state};

    #[test]
    fn what_is_not_taken_back_is_said_loudly() {
        let stuck = in_state(ending(Some("omar may not delete RoleBindings in payments-staging.")));
        let said = overdue(&stuck, at("22:10")).unwrap();
        assert!(said.contains("was to end at 22:00") && said.contains("pilothouse-access-7"), "{said}");
        assert!(stuck.why().unwrap().contains("noor still has it."));
        assert_eq!(overdue(&in_state(ending(None)), at("22:10")), None);
    }
}
