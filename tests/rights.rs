//! The rights that the portal asks a cluster for are those its code uses, no fewer and no more: all the other tests
//! have just driven it, and the API server's audit log says what it called.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead as _;

use jiff::Timestamp;
use pilothouse::kube::rights::{AS_ITSELF, AS_PEOPLE, Right};
use serde_json::Value;

use crate::support::cluster::audit_logs;

/// "apps/deployments/scale patch"
type Use = String;

fn listed(rights: &[Right]) -> BTreeSet<Use> {
    let uses = |right: &Right| {
        let Right { group, resource, verbs, .. } = *right;
        verbs.iter().map(move |verb| format!("{group}/{resource} {verb}"))
    };
    rights.iter().flat_map(uses).collect()
}

/// What one line of the log says about the portal: as itself or as somebody, and whether it was let.
struct Called {
    as_person: bool,
    used: Use,
    allowed: bool,
    answer: String,
}

fn called(event: &Value) -> Option<Called> {
    let is_portal = |group: &Value| group == "pilothouse:portal";
    event["user"]["groups"].as_array()?.iter().find(|group| is_portal(group))?;
    let object = &event["objectRef"];
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let subresource = if text("subresource").is_empty() { "" } else { "/" };
    let person = event["impersonatedUser"]["username"].as_str();
    // The people of support/cluster.rs: there a test called by itself.
    if person.is_some_and(|name| name.ends_with("@acme.example")) {
        return None;
    }
    Some(Called {
        as_person: person.is_some(),
        used: format!(
            "{}/{}{subresource}{} {}",
            text("apiGroup"),
            text("resource"),
            text("subresource"),
            event["verb"].as_str()?
        ),
        allowed: event["annotations"]["authorization.k8s.io/decision"] == "allow",
        answer: event["responseStatus"]["message"].as_str().unwrap_or_default().into(),
    })
}

/// What the portal called since then, from every file of the log that is kept.
fn since(began: Timestamp) -> Vec<Called> {
    let mut calls = Vec::new();
    for file in audit_logs() {
        let lines = std::io::BufReader::new(std::fs::File::open(file).unwrap()).lines();
        let portals = lines.map_while(Result::ok).filter(|line| line.contains("pilothouse:portal"));
        // The last line may be half of one.
        for event in portals.filter_map(|line| serde_json::from_str::<Value>(&line).ok()) {
            let at: Timestamp = event["requestReceivedTimestamp"].as_str().unwrap().parse().unwrap();
            calls.extend(called(&event).filter(|_| at >= began));
        }
    }
    calls
}

#[test]
#[ignore = "bin/test runs it after all the others, whose calls it reads"]
fn the_code_uses_each_of_its_rights_and_no_other() {
    let began = std::env::var("PILOTHOUSE_TEST_BEGAN").expect("when the tests began, as bin/test says it");
    let calls = since(began.parse().unwrap());

    for (as_person, rights) in [(false, AS_ITSELF), (true, AS_PEOPLE)] {
        let used: BTreeSet<Use> = calls
            .iter()
            .filter(|call| call.as_person == as_person && call.allowed)
            .map(|call| call.used.clone())
            .collect();
        let listed = listed(rights);
        let unused: Vec<_> = listed.difference(&used).collect();
        let unlisted: Vec<_> = used.difference(&listed).collect();
        assert_eq!(
            (unused, unlisted),
            (vec![], vec![]),
            "listed and not used, used and not listed; as people: {as_person}"
        );
    }

    let lacking = calls.iter().filter(|call| call.answer.contains("\"pilothouse\" cannot impersonate-on"));
    let lacking: BTreeMap<&Use, &str> = lacking.map(|call| (&call.used, call.answer.as_str())).collect();
    assert_eq!(lacking, BTreeMap::new(), "the portal called what its rights lack");
}
