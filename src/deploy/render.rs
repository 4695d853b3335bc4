//! Rendering: the objects of a managed service, from the `run` section of its catalogue entry. Pure, and in a
//! fixed order, because what it returns is part of what an approval is bound to.

use serde_json::Value;

use crate::catalogue::{Run, Service};

/// What is deployed where.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    pub environment: &'a str,
    pub namespace: &'a str,
    /// Full reference, by digest where known.
    pub image: &'a str,
    /// What people call it: the tag, or a short digest.
    pub version: &'a str,
}

/// Service, PodDisruptionBudget and HorizontalPodAutoscaler where wanted, and last the Deployment.
pub fn render(service: &Service, run: &Run, release: Release<'_>) -> Vec<Value> {
    let _ = (service, run, release);
    todo!()
}
