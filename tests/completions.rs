//! Completions of every shell, and the manual: every command is in them.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
};

use crate::support::Workspace;

/// Every command as its help names it: `runs show` is one.
fn commands(work: &Workspace, path: &[String], found: &mut BTreeSet<String>) {
    let words: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let help = work.etl(&words).stdout;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for line in listed.filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        let child: Vec<_> = path.iter().cloned().chain(line.split_whitespace().next().map(str::to_owned)).collect();
        found.insert(child.join(" "));
        commands(work, &child, found);
    }
}

fn all_commands(work: &Workspace) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    commands(work, &[], &mut found);
    assert!(found.len() > 25 && found.contains("runs show") && found.contains("redshift verify"), "{found:?}");
    found
}

/// Runs a program over a file; `None` where there is no such program.
fn checked_by(program: &str, args: &[&str], file: &Path) -> Option<String> {
    let output = Command::new(program).args(args).arg(file).env("MANPAGER", "cat").env("LC_ALL", "C").stdin(Stdio::null()).output();
    let Ok(output) = output else {
        eprintln!("skipped: {program} over {}", file.display());
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program}: {said}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned() + &said)
}

#[test]
fn every_shell_has_completions_of_every_command_and_of_the_words_of_flags() {
    let work = Workspace::new();
    let commands = all_commands(&work);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ended = work.etl(&["completions", shell]);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{shell}");
        for word in commands.iter().flat_map(|command| command.split(' ')) {
            assert!(ended.stdout.contains(word), "{shell}: {word}");
        }
        assert!(ended.stdout.contains("on-check-failure") && ended.stdout.contains("publish"), "{shell}");
        let script = work.write(&format!("completions.{shell}"), &ended.stdout);
        match shell {
            "bash" | "zsh" => _ = checked_by(shell, &["-n"], &script),
            "fish" => _ = checked_by(shell, &["--no-execute"], &script),
            _ => {}
        }
    }
    // The words of a flag, which its parser does not list.
    assert!(work.etl(&["completions", "bash"]).stdout.contains("created_at updated_at"));
    assert_eq!(work.etl(&["completions", "tcsh"]).code, 2);
}

#[test]
fn every_command_has_its_page_of_the_manual() {
    let work = Workspace::new();
    let ended = work.etl(&["man", "--dir", "share/man1", "--json"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let found: BTreeSet<_> =
        work.path("share/man1").read_dir().unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let mut expected: BTreeSet<_> = all_commands(&work).iter().map(|command| format!("etl-{}.1", command.replace(' ', "-"))).collect();
    expected.insert("etl.1".to_owned());
    assert_eq!(found, expected);
    assert_eq!(ended.summary()["pages"].as_array().unwrap().len(), expected.len());
    for file in &found {
        let page = work.read(&format!("share/man1/{file}"));
        assert!(page.contains(".SH NAME") && page.contains(".SH EXAMPLES") && page.contains("Documentation:"), "{file}: {page}");
    }
    let run = work.path("share/man1/etl-run.1");
    if let Some(shown) = checked_by("man", &["-l"], &run) {
        assert!(shown.contains("etl run") && shown.contains("--since last"), "{shown}");
    }
    checked_by("mandoc", &["-T", "lint", "-W", "error"], &run);
    assert_eq!(work.etl(&["man"]).stdout, work.read("share/man1/etl.1"));
}
