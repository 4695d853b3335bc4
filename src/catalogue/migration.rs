//! `spec.migration`: the command that brings a service's database to what a version expects. Checked with places, so
//! that nobody learns of a mistake from a Job that can't start.

use jiff::SignedDuration;

use super::entity::is_namespace;
use super::mistake::Mistake;
use super::run::{Check, missing};
use super::yaml::{Key, Node, Place, Value};

const FIELDS: &[&str] = &["command", "args", "container", "deadline"];
/// Longer ones belong into a Job that the service starts itself, in steps.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// What is wrong with a `migration` section, in the order of the file.
pub fn mistakes(key: &Key, migration: &Node) -> Vec<(Place, Mistake)> {
    let mut check = Check { found: Vec::new() };
    let Some(pairs) = check.map(migration, "spec.migration") else { return check.found };
    check.known_keys(pairs, "spec.migration", FIELDS);
    match migration.get("command") {
        None => check.add(key.at, missing("spec.migration.command", pairs)),
        Some(command) => {
            if texts(&mut check, command, "spec.migration.command") == 0 {
                check.add(command.at, Mistake::Empty { field: "spec.migration.command".into() });
            }
        }
    }
    if let Some(args) = migration.get("args") {
        texts(&mut check, args, "spec.migration.args");
    }
    if let Some(node) = migration.get("container")
        && let Some(name) = check.text(node, "spec.migration.container")
        && !is_namespace(name)
    {
        check.add(node.at, Mistake::ContainerName { given: name.into() });
    }
    if let Some(node) = migration.get("deadline")
        && let Some(text) = check.text(node, "spec.migration.deadline")
        && !is_deadline(text)
    {
        check.add(node.at, Mistake::Deadline { given: text.into() });
    }
    check.found.sort_by_key(|(at, _)| *at);
    check.found
}

/// How many texts stand in a list; what is none is told, and counted all the same.
fn texts(check: &mut Check, node: &Node, field: &str) -> usize {
    let Value::List(items) = &node.value else {
        check.wrong_type(node, field.into(), "a list of texts");
        return 1;
    };
    for (number, item) in items.iter().enumerate() {
        check.text(item, &format!("{field}[{number}]"));
    }
    items.len()
}

fn is_deadline(text: &str) -> bool {
    let whole = |time: &SignedDuration| time.as_secs() >= 1 && *time <= LONGEST;
    text.parse::<SignedDuration>().is_ok_and(|time| whole(&time))
}

#[cfg(test)]
mod tests {
    use super::super::yaml::{documents, parse};
    use super::*;
    use crate::catalogue::Migration;

    fn told(text: &str) -> Vec<String> {
        let node = parse(documents(text)[0]).unwrap();
        let (key, migration) = node.entry("migration").unwrap();
        let found = mistakes(key, migration).into_iter();
        found.map(|(at, mistake)| format!("{}:{} {}", at.line, at.column, mistake.what())).collect()
    }

    #[test]
    fn a_full_section_passes_and_is_read() {
        let text = "migration:\n  command: [/app/migrate]\n  args: [up, \"--to=7\"]\n  container: app\n  deadline: 15m\n";
        assert_eq!(told(text), [""; 0]);
        let json = parse(documents(text)[0]).unwrap().to_json()["migration"].clone();
        let migration: Migration = serde_json::from_value(json).unwrap();
        assert_eq!(migration.args, ["up", "--to=7"]);
        assert_eq!(migration.deadline, SignedDuration::from_mins(15));
        let least: Migration = serde_json::from_value(serde_json::json!({"command": ["/m"]})).unwrap();
        assert_eq!(least.deadline, SignedDuration::from_mins(10));
    }

    #[test]
    fn each_mistake_is_told_where_it_stands() {
        assert_eq!(told("migration: {args: [up]}"), ["1:1 spec.migration.command is missing"],);
        assert_eq!(told("migration: {command: []}"), ["1:22 spec.migration.command is empty"]);
        assert_eq!(
            told("migration: {command: /app/migrate up}"),
            ["1:22 spec.migration.command has to be a list of texts, and is a text"],
        );
        assert_eq!(
            told("migration:\n  command: [/m, 7]\n  contaner: app\n  container: My App\n  deadline: 10\n"),
            [
                "2:17 spec.migration.command[1] has to be a text, and is a number",
                "3:3 spec.migration.contaner means nothing here",
                "4:14 spec.migration.container \"My App\" is not a container’s name",
                "5:13 spec.migration.deadline has to be a text, and is a number",
            ],
        );
        assert_eq!(
            told("migration: {command: [/m], deadline: 48h}"),
            ["1:38 spec.migration.deadline \"48h\" is not a time from 1s to 24h"],
        );
    }
}
