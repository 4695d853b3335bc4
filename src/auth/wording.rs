//! Every sentence a person reads on the way in and out.

use jiff::SignedDuration;

use super::Scope;
use super::bearer::Stranger;
use super::claims::{Refused, Why};
use super::exchange::NotExchanged;
use super::machine::NoMachine;
use super::session::Ended;
use super::streams;
use super::token::Refusal;

pub const TOO_MANY: &str =
    "There were too many sign-ins from your address in the last minute. Wait a minute, then try again.";
pub const PROVIDER_AWAY: &str =
    "The identity provider does not answer, so nobody can sign in right now. Whoever is signed in stays so.";
pub const STALE: &str = "This sign-in was started in another browser, more than 10 minutes ago, or was finished already. \
     Nothing is wrong with your account.";
pub const CODE_REFUSED: &str = "The identity provider no longer knows this sign-in. Start it again.";
pub const TOKEN_REFUSED: &str = "What the identity provider sent does not prove who you are, so it was not used. \
     If this stays so, give the request id to the people who run this portal.";
pub const PROVIDER_WRONG_KIND: &str = "The portal’s configuration and its identity provider don’t fit together. \
     The people who run this portal find the reason in its log.";

/// Why a sign-in ended, for the audit trail.
pub const ENDED_AT_PROVIDER: &str = "The identity provider said that it is over.";
pub const NO_LOGOUT_TOKEN: &str =
    "Send the logout token as the form field logout_token (application/x-www-form-urlencoded).";
pub const LOGOUT_REFUSED: &str =
    "The logout token does not hold for this portal. Its log says why, under the request id of this answer.";
pub const LOGOUT_TWICE: &str = "This logout token was used already.";
pub const LOGOUT_UNCHECKED: &str =
    "The portal can’t fetch the provider’s keys, so it can’t check the logout token. Nothing was ended.";

pub fn too_many_streams() -> String {
    format!(
        "You have {} live pages open, which is the most one person may have. Close a tab first.",
        streams::MOST
    )
}

pub const TOO_MANY_TOKENS: &str = "Too many tokens from your address were none in the last minute. Wait a minute, then try again with a good one.";

pub const UNKNOWN_USER_CODE: &str = "No program waits with this code. It may have been typed wrongly, be older than 10 minutes, or be used already.";
pub const ODD_PROGRAM: &str = "What sent you here did not ask in a way that this portal knows, so nothing was given to it. \
     Update the platform command, or sign it in with a code: platform login --device.";

pub const ENDED_BY_PROVIDER: &str =
    "Your sign-in at the identity provider has ended. Sign in again; nothing was changed.";
pub const TOKEN_ENDED: &str =
    "The sign-in behind this token has ended at the identity provider, and the token with it. Sign in again.";
/// Unknown is closed: nobody decides by groups that may be theirs no longer.
pub const CANT_CONFIRM_GROUPS: &str = "The identity provider does not say whether you are still in your groups, so nothing was decided. \
     Try again in a moment. If it stays so, sign in again.";
pub const OWNER_NOT_SIGNED_IN: &str = "You are not signed in at the portal any more, so nobody can say whether you are still in your groups, \
     and nothing was decided. Sign in to the portal again, then decide.";

pub const DECIDES_NOTHING: &str = "Machines ask for changes; people decide on them.";

/// Why a CI token is not exchanged, for the author of the pipeline.
pub fn not_exchanged(why: &NotExchanged) -> String {
    let trusts = "Whom a machine trusts stands in the portal’s configuration, under [[machine.trust]].";
    match why {
        NotExchanged::Type => {
            "subject_token_type is urn:ietf:params:oauth:token-type:jwt or …:id_token.".into()
        }
        NotExchanged::Unreadable(error) => format!("The CI token can’t be read: {error:#}."),
        NotExchanged::Issuer => format!("No machine trusts the issuer of this CI token (its claim iss). {trusts}"),
        NotExchanged::Unproven(error) => format!("The CI token proves nothing: {error}."),
        NotExchanged::Times(error) => format!("The CI token does not count: {error:#}. Ask the CI system for a new one."),
        NotExchanged::NoMachine(NoMachine::Unknown) => {
            format!("No machine of that name trusts the issuer of this CI token. {trusts}")
        }
        NotExchanged::NoMachine(NoMachine::Audience) => format!(
            "The CI token is for somebody else (its claim aud). Ask for one with the audience that the machine expects. {trusts}"
        ),
        NotExchanged::NoMachine(NoMachine::Subject) => {
            format!("No machine trusts the subject of this CI token (its claim sub). {trusts}")
        }
        NotExchanged::NoMachine(NoMachine::Claim(name)) => {
            format!("The claim {name} of this CI token is not what the machine expects. {trusts}")
        }
        NotExchanged::NoMachine(NoMachine::Several) => {
            "Several machines trust this CI token. Say which one you are: client_id, or platform login --machine NAME.".into()
        }
    }
}

/// Why the API does not know who asks.
pub fn stranger(stranger: Option<Stranger>) -> &'static str {
    match stranger {
        None => {
            "This needs a token: send `Authorization: Bearer ph_…`. Make one in the portal, under Settings."
        }
        Some(Stranger::Malformed) => {
            "The Authorization header holds no token of this portal. It is one header, `Bearer ph_…`."
        }
        Some(Stranger::Expired) => "This token has expired. Sign in again, or make a new one under Settings.",
        Some(Stranger::Unseen) => {
            "You have not been at the portal for so long that this token no longer counts. Sign in to the portal again: \
             it counts again from then on."
        }
        Some(Stranger::Unknown | Stranger::TooMany | Stranger::Undecided) => {
            "The portal does not know this token: it was revoked, or never made here. Sign in again."
        }
    }
}

/// A token was asked for more than it may be used for.
pub fn scope_missing(scope: Scope, token: &str) -> String {
    format!(
        "The token “{token}” may not be used to {}: it lacks the scope “{}”. Make one that has it, under Settings.",
        use_of(scope),
        scope.name()
    )
}

/// What a scope lets a token do.
pub fn use_of(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "see what you see",
        Scope::Deploy => "ask for changes where no approval is needed",
        Scope::Production => "ask for changes in every environment",
        Scope::Approve => "decide on other people’s requests",
    }
}

impl Refusal {
    pub fn sentence(self) -> String {
        match self {
            Self::NoName => "Say where it will live, so that you know what to revoke.".into(),
            Self::LongName(most) => format!("At most {most} characters, in one line."),
            Self::NoScope => "Choose at least one thing that it may be used for.".into(),
            Self::Days(most) => format!("It ends after 1 to {most} days."),
            Self::TooMany(most) => format!("You have {most} tokens, which is the most. Revoke one first."),
            Self::ScopeLacking(scope) => format!(
                "The token you ask with lacks the scope “{}”, so it can’t give it to another one.",
                scope.name()
            ),
            Self::Outlives => {
                "A token makes none that outlives it. Choose fewer days, or make it in the portal.".into()
            }
        }
    }
}

/// Why one stands before the sign-in page.
pub fn ended(ended: Ended) -> String {
    match ended {
        Ended::Idle(after) => format!("You were signed out after {} without a page.", span(after)),
        Ended::Age(after) => format!("You were signed out after {}.", span(after)),
        Ended::Gone => "Your sign-in has ended.".into(),
    }
}

/// The provider answered with an error instead of a code.
pub fn provider_said(code: &str) -> String {
    match code {
        "access_denied" => "The identity provider did not let you in, or you cancelled there.".into(),
        _ => "The identity provider ended the sign-in without letting you in.".into(),
    }
}

/// What is wrong with a claim.
pub fn refused(refused: &Refused) -> String {
    let claim = &refused.claim;
    match &refused.why {
        Why::Missing => format!("Your account has no claim “{claim}”, so no cluster can know you."),
        Why::Empty => format!("The claim “{claim}” of your account is empty, so no cluster can know you."),
        Why::WrongType => format!("The claim “{claim}” of your account is not a name or a list of names."),
        Why::Odd => format!(
            "The claim “{claim}” of your account has characters that can’t be sent to a cluster, or is over 256 bytes long."
        ),
        Why::Machine => format!(
            "The claim “{claim}” of your account begins with “machine:”, as the names of pipelines do, and nobody may borrow them."
        ),
        Why::System(value) => format!(
            "The claim “{claim}” of your account says “{}”. Names that begin with “system:” belong to the cluster itself, \
             and nobody may borrow them.",
            visible(value)
        ),
    }
}

/// Who can mend it, and how.
pub fn mend(refused: &Refused) -> String {
    let claim = &refused.claim;
    match &refused.why {
        Why::Missing => format!(
            "Ask the people who run your identity provider to send “{claim}” to this portal, or the people who run the \
             portal to name another claim."
        ),
        Why::Empty | Why::WrongType | Why::Odd | Why::Machine | Why::System(_) => {
            format!("Ask the people who run your identity provider to correct “{claim}”, then sign in again.")
        }
    }
}

/// "12 h", "90 min": whole hours where it is whole hours.
fn span(length: SignedDuration) -> String {
    match length.as_mins() {
        minutes if minutes >= 60 && minutes % 60 == 0 => format!("{}\u{a0}h", minutes / 60),
        minutes if minutes >= 1 => format!("{minutes}\u{a0}min"),
        _ => format!("{}\u{a0}s", length.as_secs()),
    }
}

/// A value as people may safely see it: control and bidi characters shown, not obeyed, and not endless.
fn visible(value: &str) -> String {
    value
        .chars()
        .take(64)
        .flat_map(|c| match c {
            ' '..='~' => vec![c],
            _ => c.escape_unicode().collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_say_them() {
        assert_eq!(span(SignedDuration::from_hours(12)), "12\u{a0}h");
        assert_eq!(span(SignedDuration::from_mins(90)), "90\u{a0}min");
        assert_eq!(span(SignedDuration::from_secs(5)), "5\u{a0}s");
    }

    #[test]
    fn hostile_values_are_shown_not_obeyed() {
        assert_eq!(visible("system:\u{202e}a"), "system:\\u{202e}a");
    }
}
