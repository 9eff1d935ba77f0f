//! What stands below the flags in each `--help`: command lines that work, and the page of the documentation. Parses nothing.

use clap::{CommandFactory, FromArgMatches};

use super::Cli;

/// The examples of a command.
struct Examples {
    /// The command, without `etl`; empty: `etl` itself.
    command: &'static str,
    lines: &'static [&'static str],
    /// The page, and the heading on it.
    page: &'static str,
}

const fn examples(command: &'static str, lines: &'static [&'static str], page: &'static str) -> Examples {
    Examples { command, lines, page }
}

const ALL: &[Examples] = &[
    examples("", &["etl demo", "etl run --orders https://shop.example/api/orders --since last", "etl status"], "docs/operations.md"),
    examples(
        "run",
        &["etl run --orders 'data/*.ndjson.gz' --users users.csv", "etl run --since last", "etl run --since 7d --dry-run --diff"],
        "docs/operations.md#start-it",
    ),
    examples(
        "backfill",
        &["etl backfill --since 2024-01-01 --chunk 1mo --jobs 4", "etl backfill --gaps"],
        "docs/reference/windows.md#backfill",
    ),
    examples("plan", &["etl plan", "etl plan --since 2024-01-01 --chunk 1mo"], "docs/reference/windows.md#plan"),
    examples("check", &["etl check", "etl check --history -n 5", "etl check --violations found"], "docs/reference/checks.md#etl-check"),
    examples(
        "runs",
        &["etl runs -n 5", "etl runs show 20260201T", "etl runs --json | jq '.runs[0].status'"],
        "docs/operations.md#is-it-well",
    ),
    examples("runs show", &["etl runs show 20260201T", "etl runs show 20260201T --json"], "docs/operations.md#is-it-well"),
    examples("status", &["etl status", "etl status --json | jq -e .healthy"], "docs/operations.md#is-it-well"),
    examples("explain", &["etl explain '#1001'", "etl explain '#1001' SKU-7 --warehouse"], "docs/reference/explain.md"),
    examples(
        "quarantine",
        &["etl quarantine -n 1 --samples 1", "etl quarantine replay 20260201T030000000000Z-0004d20000"],
        "docs/operations.md#what-was-dropped",
    ),
    examples(
        "quarantine replay",
        &["etl quarantine replay 20260201T030000000000Z-0004d20000 --dry-run"],
        "docs/operations.md#what-was-dropped",
    ),
    examples("alerts", &["etl alerts test"], "docs/operations.md#alerts"),
    examples("alerts test", &["etl alerts test"], "docs/operations.md#alerts"),
    examples(
        "probe",
        &["etl probe --orders https://shop.example/api/orders", "etl probe --profile woocommerce --url https://shop.example"],
        "docs/sources.md#from-an-unknown-api-to-a-first-load",
    ),
    examples("sources", &["etl sources", "etl sources show shopify > etl.toml"], "docs/sources.md#shipped-profiles"),
    examples("sources show", &["etl sources show shopify > etl.toml"], "docs/sources.md#shipped-profiles"),
    examples(
        "undo",
        &["etl undo 20260201T030000000000Z-0004d20000 --dry-run", "etl undo 20260201T030000000000Z-0004d20000"],
        "docs/storage.md#undo-differences-and-changes",
    ),
    examples(
        "erase",
        &["etl erase --user U-1007 --dry-run", "etl erase --users-file erase.txt", "etl erase --user U-1007 --column gift_note"],
        "docs/operations.md#erase-a-person",
    ),
    examples("diff", &["etl diff 20260201T030000000000Z-0004d20000 -n 100"], "docs/storage.md#undo-differences-and-changes"),
    examples(
        "changes",
        &["etl changes --since-run 20260201T030000000000Z-0004d20000 --json"],
        "docs/storage.md#undo-differences-and-changes",
    ),
    examples("vacuum", &["etl vacuum --dry-run", "etl vacuum --keep 14d"], "docs/storage.md#vacuum"),
    examples(
        "ddl",
        &["etl ddl duckdb | duckdb shop.db", "etl ddl athena --schema shop --location s3://bucket/prefix"],
        "docs/reference/ddl.md",
    ),
    examples(
        "schema",
        &["etl schema > dictionary.md", "etl schema dbt --schema shop > models/sources.yml", "etl schema json"],
        "docs/reference/schema.md",
    ),
    examples(
        "rewrite",
        &["etl rewrite --dry-run", "etl rewrite --file-format parquet"],
        "docs/reference/output.md#parquet-and-compression",
    ),
    examples(
        "rebuild",
        &["etl rebuild --from raw --dry-run --diff", "etl rebuild --from raw"],
        "docs/operations.md#rebuild-from-kept-records",
    ),
    examples(
        "redshift",
        &["etl redshift ddl", "etl redshift merge --execute", "etl redshift verify --since 2026-01-01"],
        "docs/redshift.md",
    ),
    examples("redshift ddl", &["etl redshift ddl", "etl redshift ddl --execute"], "docs/redshift.md#print-the-sql"),
    examples("redshift copy", &["etl redshift copy", "etl redshift copy --execute"], "docs/redshift.md#print-the-sql"),
    examples("redshift merge", &["etl redshift merge", "etl redshift merge --execute"], "docs/redshift.md#run-the-sql"),
    examples(
        "redshift verify",
        &["etl redshift verify --since 2026-01-01", "etl redshift verify --since 2026-01-01 --repair"],
        "docs/redshift.md#compare",
    ),
    examples("init", &["etl init", "etl init --profile woocommerce --url https://shop.example --schedule cron"], "docs/configuration.md"),
    examples("config", &["etl config check", "etl config show"], "docs/configuration.md"),
    examples("config check", &["etl config check"], "docs/configuration.md"),
    examples("config show", &["etl config show", "etl config show --json"], "docs/configuration.md"),
    examples("config schema", &["etl config schema > etl.schema.json"], "docs/configuration.md"),
    examples("doctor", &["etl doctor", "etl doctor --json | jq .works"], "docs/operations.md#does-everything-answer"),
    examples("test", &["etl test"], "docs/sources.md#tests-of-a-mapping"),
    examples("report", &["etl report", "etl report --file /tmp/orders.html --days 90"], "docs/report.md"),
    examples("demo", &["etl demo", "etl demo -o /tmp/demo"], "README.md"),
    examples(
        "completions",
        &[
            "etl completions bash > ~/.local/share/bash-completion/completions/etl",
            "etl completions zsh > ~/.zfunc/_etl",
            "etl completions fish > ~/.config/fish/completions/etl.fish",
        ],
        "docs/operations.md#completions-and-man-pages",
    ),
    examples("man", &["etl man | man -l -", "etl man --dir ~/.local/share/man/man1"], "docs/operations.md#completions-and-man-pages"),
];

impl Examples {
    fn help(&self) -> String {
        format!("Examples:\n  {}\n\nDocumentation: {}", self.lines.join("\n  "), self.page)
    }
}

impl Cli {
    /// The command line of this process. What can't be parsed ends the process, with exit code 2.
    pub fn read() -> Cli {
        let mut command = command();
        let matches = command.clone().get_matches();
        Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
    }
}

/// All commands, with their examples.
pub(super) fn command() -> clap::Command {
    with_examples(Cli::command(), "")
}

fn with_examples(command: clap::Command, path: &str) -> clap::Command {
    let command = command.mut_subcommands(|child| {
        let path = format!("{path} {}", child.get_name());
        with_examples(child, path.trim_start())
    });
    match ALL.iter().find(|examples| examples.command == path) {
        Some(examples) => command.after_help(examples.help()),
        None => command,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    fn paths(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
        found.insert(path.to_owned());
        for child in command.get_subcommands() {
            paths(child, format!("{path} {}", child.get_name()).trim_start(), found);
        }
    }

    /// The anchor of a heading, as the platforms that show Markdown make it.
    fn anchor(heading: &str) -> String {
        let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.collect::<String>().trim().to_lowercase().replace(' ', "-")
    }

    #[test]
    fn the_commands_are_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_command_has_examples_and_no_other() {
        let mut commands = BTreeSet::new();
        paths(&command(), "", &mut commands);
        assert_eq!(ALL.iter().map(|examples| examples.command.to_owned()).collect::<BTreeSet<_>>(), commands);
    }

    #[test]
    fn every_example_is_a_command_line_of_its_command_that_fits_a_terminal() {
        for examples in ALL {
            for line in examples.lines {
                assert!(line.len() <= 76 && line.starts_with(format!("etl {}", examples.command).trim_end()), "{line}");
                let own = line.split([" | ", " > "].iter().find(|sign| line.contains(**sign)).unwrap_or(&"\n")).next().unwrap();
                let words = own.split_whitespace().map(|word| word.trim_matches('\''));
                command().try_get_matches_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
    }

    #[test]
    fn every_page_exists_and_has_its_heading() {
        for examples in ALL {
            let (page, heading) = examples.page.split_once('#').unwrap_or((examples.page, ""));
            let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
            let headings: Vec<_> = text.lines().filter_map(|line| Some(anchor(line.strip_prefix('#')?.trim_start_matches('#')))).collect();
            assert!(heading.is_empty() || headings.iter().any(|found| found == heading), "{}", examples.page);
        }
    }
}
