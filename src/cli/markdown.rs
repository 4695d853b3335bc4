//! The reference of the command as Markdown: a section for each verb, with its usage and a table of its arguments.

use clap::{Arg, Command};

pub fn reference(mut command: Command) -> String {
    command.build();
    let mut text = String::from("# The platform command\n\n");
    text.push_str("Written by `platform docs markdown`; a test compares it.\n\n");
    text.push_str(&paragraphs(&command));
    text.push_str("\n## Options of every command that asks a portal\n\n");
    let first = command.get_subcommands().next();
    text.push_str(&table(
        first.into_iter().flat_map(Command::get_arguments).filter(|arg| arg.is_global_set()),
    ));
    for verb in shown(&command) {
        section(verb, &mut text);
    }
    text
}

fn section(command: &Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    text.push_str(&format!("\n## {name}\n\n{}\n", paragraphs(command)));
    if command.has_subcommands() {
        for verb in shown(command) {
            section(verb, text);
        }
        return;
    }
    let usage = command.clone().render_usage().to_string();
    text.push_str(&format!("    {}\n", usage.trim_start_matches("Usage: ")));
    let own = command.get_arguments().filter(|arg| !arg.is_global_set() && arg.get_id() != "help");
    let rows = table(own);
    if !rows.is_empty() {
        text.push_str(&format!("\n{rows}"));
    }
    if let Some(after) = command.get_after_help() {
        text.push_str(&format!("\n```\n{after}\n```\n"));
    }
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
}

fn paragraphs(command: &Command) -> String {
    let about = command.get_about().map(|about| sentence(&about.to_string())).unwrap_or_default();
    let long = command.get_after_long_help().map(|long| format!("\n```\n{long}\n```\n")).unwrap_or_default();
    format!("{about}\n{long}")
}

fn table<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let rows: String = arguments.filter(|arg| !arg.is_hide_set()).map(row).collect();
    if rows.is_empty() { rows } else { format!("| argument | what it does |\n|---|---|\n{rows}") }
}

fn row(arg: &Arg) -> String {
    let mut help = arg.get_help().map(|help| sentence(&help.to_string())).unwrap_or_default();
    let names: Vec<String> =
        arg.get_possible_values().iter().map(|value| value.get_name().to_string()).collect();
    if !names.is_empty() && arg.get_action().takes_values() {
        help.push_str(&format!(" One of: {}.", names.join(", ")));
    }
    let usual: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !usual.is_empty() && !arg.is_hide_default_value_set() && arg.get_action().takes_values() {
        help.push_str(&format!(" Default: `{}`.", usual.join(", ")));
    }
    format!("| `{}` | {} |\n", spelled(arg).replace('|', "\\|"), help.trim().replace('|', "\\|"))
}

/// clap takes the full stop away.
fn sentence(text: &str) -> String {
    let ends = text.is_empty() || text.ends_with(['.', ']', '?']);
    if ends { text.into() } else { format!("{text}.") }
}

/// `-e, --env <ENVIRONMENT>`, `<SERVICE>`.
fn spelled(arg: &Arg) -> String {
    let value = match arg.get_value_names().and_then(|names| names.first()) {
        Some(name) if arg.get_action().takes_values() => format!("<{name}>"),
        _ => String::new(),
    };
    let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    match arg.get_long() {
        Some(long) => format!("{short}--{long} {value}").trim_end().into(),
        None => value,
    }
}
