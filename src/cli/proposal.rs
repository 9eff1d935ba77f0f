//! Commands that an error proposes, with the options of the command that failed: a copied one works on the same layer.
//!
//! Errors of deep layers know of no command line. Their texts name commands in backquotes, or behind a colon at the end
//! of a line. Which options a command takes, clap knows.

use clap::CommandFactory;

use super::args::Cli;
use crate::settings::GivenOption;

/// The text, with the given options in each command that it proposes, as far as the command takes them and does not say
/// them itself.
pub(super) fn completed(text: &str, given: &[GivenOption]) -> String {
    if given.is_empty() || !text.contains("etl ") {
        return text.to_owned();
    }
    let commands = Cli::command();
    text.split_inclusive('\n').map(|line| completed_line(line, &commands, given)).collect()
}

fn completed_line(line: &str, commands: &clap::Command, given: &[GivenOption]) -> String {
    let (content, end) = line.strip_suffix('\n').map_or((line, ""), |content| (content, "\n"));
    let parts: Vec<&str> = content.split('`').collect();
    // Backquotes come in pairs: every second part stands between two.
    let is_paired = parts.len() % 2 == 1;
    let mut completed = String::with_capacity(line.len());
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            completed.push('`');
        }
        completed.push_str(part);
        if is_paired && place % 2 == 1 {
            completed.push_str(&missing(part, commands, given));
        }
    }
    if let Some(command) = parts.last().filter(|_| is_paired).and_then(|last| at_end(last)) {
        completed.push_str(&missing(command, commands, given));
    }
    completed.push_str(end);
    completed
}

/// The command at the end of a text, if there is one: `..., or rewrite the layer: etl rewrite`.
fn at_end(text: &str) -> Option<&str> {
    let (_, command) = text.rsplit_once(": ").filter(|(_, command)| command.starts_with("etl "))?;
    let is_prose = command.ends_with('.') || ["; ", ". ", ", "].iter().any(|mark| command.contains(mark));
    (!is_prose).then_some(command)
}

/// The given options that a command takes and does not say.
fn missing(command: &str, commands: &clap::Command, given: &[GivenOption]) -> String {
    let mut words = command.split_whitespace();
    if words.next() != Some("etl") {
        return String::new();
    }
    let mut found = commands;
    for word in words {
        let Some(further) = found.find_subcommand(word) else { break };
        found = further;
    }
    let takes = |flag: &str| found.get_arguments().any(|argument| argument.get_long() == Some(flag.trim_start_matches('-')));
    let says = |flag: &str| command.split_whitespace().any(|word| word.split('=').next() == Some(flag));
    // A command that reads no settings has an output of its own: the demo.
    let options = given.iter().filter(|option| takes("--config") && takes(option.flag) && !says(option.flag));
    options.map(|option| option.text.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Flags, setting};

    fn given() -> Vec<GivenOption> {
        let flags = Flags::default().with(&setting::OUTPUT, "my out").with(&setting::ORDERS, "o.ndjson").with(&setting::SINCE, "7d");
        GivenOption::all(&flags)
    }

    #[test]
    fn a_proposed_command_gets_what_it_takes_and_nothing_twice() {
        for (text, expected) in [
            ("`etl runs show r1` tells", "`etl runs show r1 --output 'my out'` tells"),
            ("run `etl run --accept-schema` then", "run `etl run --accept-schema --orders o.ndjson --output 'my out'` then"),
            ("or rewrite the layer: etl rewrite\nsee x", "or rewrite the layer: etl rewrite --output 'my out'\nsee x"),
            ("name it: etl check --output DIR", "name it: etl check --output DIR"),
            ("`etl undo r1 --output=x` does", "`etl undo r1 --output=x` does"),
            ("`etl redshift verify --repair` loads", "`etl redshift verify --repair --output 'my out'` loads"),
        ] {
            assert_eq!(completed(text, &given()), expected);
        }
    }

    #[test]
    fn all_else_stays_as_it_is() {
        for text in [
            "`etl demo` shows how that looks",
            "`etl sources` lists the profiles",
            "`order_id` is missing",
            "a lone ` and `etl runs` here",
            "no user is named: etl erase --user ID, or --users-file FILE",
            "in short: etl is a tool.",
        ] {
            assert_eq!(completed(text, &given()), text);
        }
        assert_eq!(completed("`etl runs` lists them", &[]), "`etl runs` lists them");
    }
}
