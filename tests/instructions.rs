//! `benches/instructions` over a valgrind of the test: which counts pass, which fail, and which are not compared.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use tempfile::TempDir;

/// Names its parts, and does nothing.
const PROGRAM: &str = "#!/bin/sh\nprintf 'cut_records\\nread_csv\\n'\n";

/// The start of the program and what a part needs: 5,000,000 instructions. A pass of each part: 1,000,000.
const VALGRIND: &str = r#"#!/bin/sh
for last in "$@"; do passes="$last"; done
case "$passes" in 1) count=6,000,000 ;; 2) count=7,000,000 ;; esac
echo "==7== I   refs:      $count" >&2
"#;

struct Counting {
    folder: TempDir,
}

/// How the script ended, and all that it said.
struct Ended {
    is_success: bool,
    said: String,
}

impl Counting {
    /// `None` where there is no Python.
    fn new() -> Option<Counting> {
        if Command::new("python3").arg("--version").output().is_err() {
            eprintln!("skipped: no python3");
            return None;
        }
        let counting = Counting { folder: tempfile::tempdir().unwrap() };
        counting.program("parts", PROGRAM);
        counting.program("valgrind", VALGRIND);
        Some(counting)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn count(&self, flags: &[&str]) -> Ended {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions");
        let mut command = Command::new("python3");
        command.arg(script).arg("--binary").arg(self.path("parts")).arg("--valgrind").arg(self.path("valgrind"));
        let output = command.arg("--figures").arg(self.path("figures")).args(flags).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        Ended { is_success: output.status.success(), said: String::from_utf8(said).unwrap() }
    }

    fn figures(&self) -> String {
        fs::read_to_string(self.path("figures")).unwrap()
    }

    /// Counts after a change of the recorded figures.
    fn count_after(&self, from: &str, to: &str) -> Ended {
        let figures = self.figures();
        assert!(figures.contains(from), "{figures}");
        fs::write(self.path("figures"), figures.replacen(from, to, 1)).unwrap();
        let ended = self.count(&[]);
        fs::write(self.path("figures"), figures).unwrap();
        ended
    }
}

#[test]
fn a_pass_is_what_two_take_more_than_one() {
    let Some(counting) = Counting::new() else { return };
    assert!(counting.count(&["--record"]).is_success);
    let figures = counting.figures();
    assert!(figures.contains("\ncut_records 1,000,000\nread_csv 1,000,000\n"), "{figures}");
    assert!(figures.contains("\nmade with: rustc 1."), "{figures}");
    let ended = counting.count(&[]);
    assert!(ended.is_success && ended.said.contains("+0.0%"), "{}", ended.said);
}

#[test]
fn a_part_may_change_by_five_percent_and_by_no_more_either_way() {
    let Some(counting) = Counting::new() else { return };
    assert!(counting.count(&["--record"]).is_success);
    for (recorded, passes) in [("960,000", true), ("940,000", false), ("1,040,000", true), ("1,060,000", false)] {
        let ended = counting.count_after("read_csv 1,000,000", &format!("read_csv {recorded}"));
        assert_eq!(ended.is_success, passes, "{recorded}: {}", ended.said);
        assert_eq!(ended.said.contains("read_csv: more than 5%"), !passes, "{}", ended.said);
        assert!(!ended.said.contains("cut_records:"), "{}", ended.said);
    }
}

#[test]
fn a_part_without_a_figure_fails_and_says_what_to_do() {
    let Some(counting) = Counting::new() else { return };
    let ended = counting.count(&[]);
    assert!(!ended.is_success && ended.said.contains("has no figure of any part"), "{}", ended.said);
    assert!(counting.count(&["--record"]).is_success);
    for (from, to, expected) in [
        ("read_csv 1,000,000", "read_csv", "has no figure of read_csv: record them"),
        ("read_csv 1,000,000\n", "", "name other parts: read_csv: record them"),
        ("read_csv 1,000,000", "read_csv 1,000,000\nold 5", "name other parts: old: record them"),
    ] {
        let ended = counting.count_after(from, to);
        assert!(!ended.is_success && ended.said.contains(expected), "{}", ended.said);
    }
}

#[test]
fn figures_of_another_compiler_are_not_compared_and_that_is_said() {
    let Some(counting) = Counting::new() else { return };
    assert!(counting.count(&["--record"]).is_success);
    let ended = counting.count_after("made with: rustc 1.", "made with: rustc 0.");
    assert!(ended.is_success && ended.said.contains("skipped: the figures were made with rustc 0."), "{}", ended.said);
}

#[test]
fn a_part_that_takes_nothing_or_cannot_be_counted_fails() {
    let Some(counting) = Counting::new() else { return };
    counting.program("valgrind", "#!/bin/sh\necho '==7== I refs: 5,000' >&2\n");
    let ended = counting.count(&["--record"]);
    assert!(!ended.is_success && ended.said.contains("nothing is measured"), "{}", ended.said);
    counting.program("valgrind", "#!/bin/sh\necho 'unhandled instruction' >&2; exit 1\n");
    let ended = counting.count(&["--record"]);
    assert!(!ended.is_success && ended.said.contains("unhandled instruction"), "{}", ended.said);
}

/// The parts of the program, and those that have a figure or are to get one.
#[test]
fn the_figures_are_of_the_parts_of_the_benchmark() {
    let (benchmark, figures) = (include_str!("../benches/hot_parts.rs"), include_str!("../benches/instructions.txt"));
    let parts: Vec<_> = benchmark.split("Part { name: \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let named = figures.lines().filter(|line| !line.starts_with('#') && !line.starts_with("made with: "));
    assert_eq!(named.filter_map(|line| line.split(' ').next()).collect::<Vec<_>>(), parts);
}
