//! What unit tests of several files look at.

use serde_json::json;

use crate::api::types::Deploy;

/// checkout-api v1.1.0 on its way to staging.
pub fn deploy(state: &str) -> Deploy {
    let ended =
        matches!(state, "succeeded" | "failed" | "rolled_back" | "rollback_failed" | "rejected" | "expired");
    serde_json::from_value(json!({
        "id": 42, "action": "deploy", "title": "Deploy checkout-api v1.1.0", "service": "checkout-api",
        "team": "payments", "environment": "staging", "namespace": "payments-staging", "state": state,
        "ended": ended, "version": "v1.1.0", "replaces": "v1.0.0", "requester": "maya", "reason": "",
        "digest": "d1", "approvals_needed": 2, "approvers": ["payments-managers"],
        "decisions": [{ "by": "omar", "approved": state != "rejected", "note": "not today", "at": "2026-11-23T14:00:00Z" }],
        "requested_at": "2026-11-23T13:59:00Z",
        "steps": [
            { "title": "Requested", "detail": "13:59 · maya", "state": "done" },
            { "title": "Rolling out", "detail": "1 of 2 pods", "state": "now" },
            { "title": "Verified", "detail": "", "state": "todo" },
        ],
        "pods": [
            { "name": "checkout-api-1-a", "new": false, "ready": true, "phase": "Running", "restarts": 0, "node": "n", "reason": "" },
            { "name": "checkout-api-2-b", "new": true, "ready": true, "phase": "Running", "restarts": 1, "node": "n", "reason": "" },
            { "name": "checkout-api-2-c", "new": true, "ready": false, "phase": "Pending", "restarts": 0, "node": "n", "reason": "image not found" },
        ],
        "evidence": [{ "title": "Its last words", "lines": ["panic\u{1b}[2J"] }],
        "url": "https://portal.example.com/deploys/42",
    }))
    .unwrap()
}
