//! Every sentence of the home page.

use crate::deploy::broken_glasses;
use crate::kube::Health;

/// By the hour of the portal's own time zone.
pub fn greeting(hour: i8, name: &str) -> String {
    let part = match hour {
        5..=11 => "morning",
        12..=17 => "afternoon",
        _ => "evening",
    };
    let first = name.split_whitespace().next().unwrap_or(name);
    format!("Good {part}, {first}")
}

/// How the person's services are, then what waits: "One of your 5 services is degraded. 3 approvals wait for you."
pub fn lead(health: &[Health], waiting: usize, reviews: usize) -> String {
    let waits = match (waiting, reviews) {
        (waiting, 0) => approvals(waiting),
        (0, reviews) => format!("{}.", broken_glasses(reviews)),
        (waiting, reviews) => format!("{} {}.", approvals(waiting), broken_glasses(reviews)),
    };
    format!("{} {waits}", services(health))
}

fn services(health: &[Health]) -> String {
    let running: Vec<_> = health.iter().filter(|health| **health != Health::Missing).collect();
    let count = |wanted| running.iter().filter(|health| ***health == wanted).count();
    let (degraded, unknown) = (count(Health::Degraded), count(Health::Unknown));
    match (running.len(), degraded, unknown) {
        (0, _, _) if health.is_empty() => "Your groups own no services.".into(),
        (0, _, _) => "None of your services runs where you may look.".into(),
        (all, 0, unknown) if unknown == all => "Your services don’t report.".into(),
        (1, 0, 0) => "Your service is fine.".into(),
        (all, 0, 0) => format!("All {all} services of yours that run are fine."),
        (all, 0, unknown) => format!(
            "{unknown} of your {all} services {} not report.",
            if unknown == 1 { "does" } else { "do" }
        ),
        (1, _, _) => "Your service is degraded.".into(),
        (all, 1, _) => format!("One of your {all} services is degraded."),
        (all, degraded, _) => format!("{degraded} of your {all} services are degraded."),
    }
}

fn approvals(waiting: usize) -> String {
    match waiting {
        0 => "Nothing waits for you.".into(),
        1 => "1 approval waits for you.".into(),
        n => format!("{n} approvals wait for you."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_knows_the_hour_and_the_first_name() {
        assert_eq!(greeting(9, "Maya Okafor"), "Good morning, Maya");
        assert_eq!(greeting(14, "maya"), "Good afternoon, maya");
        assert_eq!(greeting(2, "Maya Okafor"), "Good evening, Maya");
    }

    #[test]
    fn one_sentence_counts() {
        use Health::{Degraded, Healthy, Missing, Unknown};
        let five = [Degraded, Healthy, Healthy, Healthy, Healthy];
        assert_eq!(lead(&five, 3, 0), "One of your 5 services is degraded. 3 approvals wait for you.");
        assert_eq!(
            lead(&[Healthy, Healthy, Missing], 1, 0),
            "All 2 services of yours that run are fine. 1 approval waits for you."
        );
        assert_eq!(lead(&[Unknown, Unknown], 0, 0), "Your services don’t report. Nothing waits for you.");
        assert_eq!(
            lead(&[Unknown, Healthy], 0, 0),
            "1 of your 2 services does not report. Nothing waits for you."
        );
        let reviewed = lead(&[Healthy], 0, 1);
        assert_eq!(reviewed, "Your service is fine. 1 broken glass waits for your review.");
        let both = lead(&[Healthy], 1, 2);
        assert!(both.ends_with("1 approval waits for you. 2 broken glasses wait for your review."), "{both}");
        assert_eq!(lead(&[], 0, 0), "Your groups own no services. Nothing waits for you.");
        assert_eq!(
            lead(&[Missing], 0, 0),
            "None of your services runs where you may look. Nothing waits for you."
        );
    }
}
