//! Every sentence of the audit page.

use super::filter::Span;
use crate::events::Chain;

/// What somebody did, in words; an action nobody taught this page is shown as it is written.
pub fn did(action: &str) -> String {
    let words = match action {
        "deploy.request" => "Asked for a deploy",
        "deploy.break_glass" => "Broke the glass for a deploy",
        "rollback.break_glass" => "Broke the glass for a rollback",
        "migrate.break_glass" => "Broke the glass for a migration",
        "glass.sign_off" => "Signed a broken glass off",
        "deploy.end" => "Deployed",
        "deploy.cancel" => "Withdrew a request",
        "rollback.request" => "Asked for a rollback",
        "rollback.end" => "Rolled back",
        "restart.request" => "Asked for a restart",
        "restart.end" => "Restarted",
        "scale.request" => "Asked to scale",
        "scale.end" => "Scaled",
        "migrate.request" => "Asked for a migration",
        "migrate.end" => "Migrated",
        "migrate.stop" => "Stopped a migration",
        "deploy.approve" | "approval.approve" => "Approved a deploy",
        "deploy.reject" | "approval.reject" => "Rejected a deploy",
        "access.request" => "Asked for access",
        "access.approve" => "Approved access",
        "access.reject" => "Rejected access",
        "access.withdraw" => "Withdrew an access request",
        "access.void" => "Found an access request void",
        "access.grant" => "Gave access",
        "access.revoke" => "Ended access early",
        "access.end" => "Took access back",
        "session.begin" => "Signed in",
        "session.end" => "Signed out",
        "session.end_by_provider" => "Was signed out by the identity provider",
        "token.exchange" => "Exchanged a CI token",
        "token.mint" => "Made a token",
        "token.revoke" => "Revoked a token",
        "token.reuse" => "Used a replaced token again: the program was signed out",
        "token.end_by_provider" => "Lost a token by a sign-out at the identity provider",
        "groups.change" => "Is in other groups now",
        "deploy.promote" => "Let a new version go on",
        "deploy.stop" => "Stopped a new version",
        "guard.unapproved" => "Changed what runs, without an approval",
        "logs.read" => "Read logs",
        "logs.download" => "Downloaded logs",
        "audit.export" => "Exported the audit trail",
        other => return other.to_string(),
    };
    words.into()
}

/// Status class and word of an outcome: a state of a deploy, or what an action came to.
pub fn outcome(outcome: &str) -> (&'static str, String) {
    let (class, word) = match outcome {
        "done" | "ok" | "succeeded" => ("ok", "Done"),
        "awaiting_approval" => ("hold", "Waiting"),
        "requested" | "queued" => ("idle", "Queued"),
        "shifting" | "applying" | "rolling_out" | "verifying" | "rolling_back" | "granting" | "ending"
        | "due" => ("prog", "Running"),
        "refused" | "denied" => ("bad", "Refused"),
        "rejected" => ("bad", "Rejected"),
        "failed" => ("bad", "Failed"),
        "rolled_back" => ("bad", "Rolled back"),
        "rollback_failed" => ("bad", "Rollback failed"),
        "ended" => ("idle", "Ended"),
        "cancelled" | "withdrawn" => ("idle", "Withdrawn"),
        "expired" => ("idle", "Expired"),
        "unapproved" => ("warn", "Unapproved"),
        "superseded" => ("warn", "Void"),
        other => return ("idle", other.to_string()),
    };
    (class, word.into())
}

pub fn span(span: Span) -> &'static str {
    match span {
        Span::All => "Any time",
        Span::Hour => "Last hour",
        Span::Day => "Last 24 h",
        Span::Week => "Last 7 days",
        Span::Month => "Last 30 days",
    }
}

/// Status, badge and sentence about the chain.
pub fn chain(chain: &Chain, checked: &str) -> (&'static str, String, String) {
    let ago = if checked == "now" { "just now".into() } else { format!("{checked} ago") };
    match chain {
        Chain::Intact(0) => ("idle", "Empty".into(), "Nothing is recorded yet.".into()),
        Chain::Intact(1) => ("ok", "Chain verified".into(), format!("1 entry, checked {ago}.")),
        Chain::Intact(rows) => (
            "ok",
            "Chain verified".into(),
            format!("{} entries, all linked by hash, checked {ago}.", thousands(*rows)),
        ),
        Chain::BrokenAt(row) => (
            "bad",
            format!("Chain broken at {row}"),
            format!(
                "Entry {row} or the one before it was changed or removed outside the portal, seen {ago}."
            ),
        ),
    }
}

/// 88213 is "88 213", with spaces that do not break.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            grouped.push('\u{a0}');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_are_grouped() {
        assert_eq!(thousands(88_213), "88\u{a0}213");
        assert_eq!(thousands(1_000_000), "1\u{a0}000\u{a0}000");
        assert_eq!(thousands(7), "7");
    }

    #[test]
    fn a_broken_chain_names_its_row() {
        let (class, badge, sentence) = chain(&Chain::BrokenAt(12), "2\u{a0}min");
        assert_eq!((class, badge.as_str()), ("bad", "Chain broken at 12"));
        assert!(sentence.contains("2\u{a0}min ago"));
    }

    #[test]
    fn an_action_nobody_taught_is_shown_as_it_is() {
        assert_eq!(did("deploy.request"), "Asked for a deploy");
        assert_eq!(did("quota.raise"), "quota.raise");
    }
}
