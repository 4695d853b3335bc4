//! Broken glass.

use super::any_of;
use crate::deploy::glass::{BrokenGlass, Unapproved};
use crate::web::filters::clock;

pub fn glass_needs_a_reason(least: usize) -> String {
    format!("Say why it can’t wait, in {least} characters at least: everybody who is told reads it.")
}

/// "1 broken glass waits for your review"
pub fn broken_glasses(reviews: usize) -> String {
    match reviews {
        1 => "1 broken glass waits for your review".into(),
        n => format!("{n} broken glasses wait for your review"),
    }
}

/// The button that breaks the glass.
pub fn glass_verb(word: &str) -> String {
    format!("{word} now, without approval")
}

/// What it means to press it.
pub fn glass_offer(environment: &str) -> String {
    format!(
        "When it can’t wait: this starts in {environment} at once, in a freeze, too. The approvers are told, and one of them \
         has to sign it off afterwards. Every check still counts."
    )
}

/// The callout of a deploy that went ahead: who is at fault, and whether somebody looked into it.
pub fn glass(broken: &BrokenGlass) -> (String, String) {
    let title = format!("{} broke the glass: nobody approved this.", broken.by.name);
    let text = match &broken.review {
        Some(review) => format!("{} signed it off at {}: “{}”", review.by, clock(review.at), review.note),
        None => format!("It waits for a review by {}.", any_of(&broken.reviewers)),
    };
    (title, text)
}

/// What everybody concerned is told when it is broken.
pub fn glass_news(unapproved: &Unapproved) -> String {
    let Unapproved { deploy, title, environment, by, reason, .. } = unapproved;
    match deploy {
        Some(_) => format!("{} broke the glass in {environment}: {title}. “{reason}”", by.name),
        None => format!("{} changed {environment} without an approval: {title}.", by.name),
    }
}
