//! `strategy`, `canary` and `blue_green` of an `[[environment]]`: how a new version takes over from the one that runs.

use std::fmt;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// Which of the ways. Names as people write them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Pod by pod, as the Deployment's own strategy says.
    #[default]
    Rolling,
    /// All of it beside what runs, then all traffic at once.
    BlueGreen,
    /// A few pods beside what runs, then more of them.
    Canary,
}

impl Strategy {
    pub const ALL: [Self; 3] = [Self::Rolling, Self::BlueGreen, Self::Canary];

    pub fn name(self) -> &'static str {
        match self {
            Self::Rolling => "rolling",
            Self::BlueGreen => "blue-green",
            Self::Canary => "canary",
        }
    }

    /// None: no strategy has this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.name() == name)
    }
}

/// One share of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryStep {
    /// Per cent of the pods that take traffic: 1 to 99.
    pub weight: u8,
    pub pause: Pause,
}

/// `[environment.blue_green]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlueGreen {
    /// Between "it is ready" and the switch.
    pub pause: Pause,
}

impl Default for BlueGreen {
    fn default() -> Self {
        Self { pause: Pause::For(SignedDuration::ZERO) }
    }
}

/// Where neither the configuration nor anybody says otherwise.
pub fn default_canary() -> Vec<CanaryStep> {
    let pause = Pause::For(SignedDuration::from_mins(5));
    vec![CanaryStep { weight: 10, pause }, CanaryStep { weight: 50, pause }]
}

/// What ends a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pause {
    /// This much time without trouble.
    For(SignedDuration),
    /// A person who says so.
    Hand,
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(time) => write!(f, "{time:#}"),
            Self::Hand => f.write_str("hand"),
        }
    }
}

impl From<Pause> for String {
    fn from(pause: Pause) -> Self {
        pause.to_string()
    }
}

impl TryFrom<String> for Pause {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "hand" {
            return Ok(Self::Hand);
        }
        match text.parse::<SignedDuration>() {
            Ok(time) if !time.is_negative() => Ok(Self::For(time)),
            _ => Err(format!("“{text}” is no pause: write a time such as 5m, or hand")),
        }
    }
}

/// What is wrong with the steps of a canary. None: nothing.
pub fn mistake(steps: &[CanaryStep]) -> Option<&'static str> {
    let rises = steps.is_sorted_by(|one, next| one.weight < next.weight);
    let in_range = steps.iter().all(|step| (1..100).contains(&step.weight));
    (steps.is_empty() || !rises || !in_range)
        .then_some("the weights of a canary are 1 to 99, each larger than the one before")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_a_time_or_a_hand() {
        let read = |text: &str| serde_json::from_value::<Pause>(text.into());
        assert_eq!(read("90s").unwrap(), Pause::For(SignedDuration::from_secs(90)));
        assert_eq!(read("hand").unwrap(), Pause::Hand);
        assert!(read("soon").unwrap_err().to_string().contains("write a time such as 5m"));
        assert!(read("-5m").is_err());
        for pause in [Pause::Hand, Pause::For(SignedDuration::from_mins(5))] {
            assert_eq!(read(&pause.to_string()).unwrap(), pause);
        }
    }

    #[test]
    fn the_shares_of_a_canary_grow() {
        let steps = |weights: &[u8]| -> Vec<CanaryStep> {
            weights.iter().map(|&weight| CanaryStep { weight, pause: Pause::Hand }).collect()
        };
        assert_eq!(mistake(&steps(&[10, 50])), None);
        assert_eq!(mistake(&default_canary()), None);
        for wrong in [&[][..], &[50, 10], &[10, 10], &[0], &[100]] {
            assert!(mistake(&steps(wrong)).is_some(), "{wrong:?}");
        }
    }
}
