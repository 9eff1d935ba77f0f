//! What docs/deploy holds, looked at by the tools that it is for, where they are; and the same command lines, parsed by the binary.

use std::{path::PathBuf, process::Command};

use crate::support::{self, Workspace, tool};

fn deploy(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/deploy").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(deploy(name)).unwrap()
}

/// The arguments behind `etl` in a line.
fn arguments(line: &str) -> Vec<String> {
    let words: Vec<_> = line.split_whitespace().collect();
    let place = words.iter().rposition(|word| word.ends_with("/etl")).unwrap();
    words[place + 1..].iter().map(|word| (*word).to_owned()).collect()
}

/// The arguments of each container of a manifest, in the order of the file.
fn container_arguments(name: &str) -> Vec<Vec<String>> {
    let text = text(name);
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("args:"));
    lines.map(|args| serde_json::from_str(args).unwrap()).collect()
}

#[test]
fn every_command_line_is_one_that_the_binary_takes() {
    let cron = text("crontab").lines().last().map(arguments).unwrap();
    let service = text("etl.service").lines().find(|line| line.starts_with("ExecStart=")).map(arguments).unwrap();
    let [job, vacuum] = container_arguments("cronjob.yaml").try_into().unwrap();
    for args in [cron, service, job] {
        let work = Workspace::new();
        work.write("orders.ndjson", support::order("A", "2026-01-01", ""));
        let args: Vec<_> = args.iter().map(|arg| if arg.ends_with(".prom") { "etl.prom" } else { arg }).collect();
        let ended = support::ended(work.command(&args).env("ETL_ORDERS", "orders.ndjson").output().unwrap());
        assert_eq!(ended.code, 0, "{args:?}: {}", ended.stderr);
        assert_eq!(work.query("SELECT order_id FROM fact_order"), ["A"]);
        let vacuumed = work.etl(&vacuum.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(vacuumed.code, 0, "{}", vacuumed.stderr);
        assert_eq!(work.query("SELECT order_id FROM fact_order"), ["A"]);
    }
}

#[test]
fn each_pod_of_the_backfill_loads_its_own_part_of_the_window() {
    let [args] = container_arguments("backfill-job.yaml").try_into().unwrap();
    let of = |flag: &str| args[args.iter().position(|arg| arg == flag).unwrap() + 1].clone();
    let parts: usize = of("--shard").strip_prefix("$(JOB_COMPLETION_INDEX)/").unwrap().parse().unwrap();
    for number in ["completions", "parallelism"] {
        assert!(text("backfill-job.yaml").contains(&format!("\n  {number}: {parts}\n")), "{number} is the number of parts");
    }
    let (first, last) = ("2023-01-01", "2025-12-31");
    assert_eq!((of("--since").as_str(), of("--until").as_str()), (first, "2026-01-01"));
    let work = Workspace::new();
    work.write("orders.ndjson", [support::order("FIRST", first, ""), support::order("LAST", last, "")].join("\n"));
    for (part, loaded) in [(0, &["FIRST"][..]), (parts - 1, &["FIRST", "LAST"])] {
        // Kubernetes puts the number in place.
        let args: Vec<_> = args.iter().map(|arg| arg.replace("$(JOB_COMPLETION_INDEX)", &part.to_string())).collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let ended = support::ended(work.command(&args).env("ETL_ORDERS", "orders.ndjson").output().unwrap());
        assert_eq!(ended.code, 0, "part {part}: {}", ended.stderr);
        let result = ended.summary();
        assert_eq!(result["chunks"], result["chunks_done"], "part {part}");
        assert_eq!(work.query("SELECT order_id FROM fact_order ORDER BY order_id"), loaded, "part {part}");
    }
}

#[test]
fn no_pod_keeps_anything_but_scratch() {
    for name in ["cronjob.yaml", "backfill-job.yaml"] {
        let text = text(name);
        let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#')).map(str::trim).collect();
        let containers = lines.iter().filter(|line| line.starts_with("args:")).count();
        assert!(containers > 0 && lines.iter().filter(|line| line.starts_with("value: s3://")).count() == containers, "{name}");
        assert!(!lines.iter().any(|line| line.contains("persistentVolumeClaim")), "{name}");
        assert_eq!(lines.iter().filter(|line| **line == "emptyDir: {}").count(), containers, "{name}");
    }
}

#[test]
fn systemd_takes_the_units() {
    let Some(analyze) = [PathBuf::from("/usr/bin/systemd-analyze")].into_iter().find(|path| path.exists()) else {
        eprintln!("skipped: no systemd-analyze here");
        return;
    };
    let work = Workspace::new();
    for name in ["etl.service", "etl.timer"] {
        // It looks for the program as well, which is not installed here.
        work.write(name, text(name).replace("/usr/local/bin/etl", env!("CARGO_BIN_EXE_etl")));
    }
    let verified =
        Command::new(&analyze).args(["verify", "--man=no"]).args([work.path("etl.service"), work.path("etl.timer")]).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    let of_ours: Vec<_> = said.lines().filter(|line| line.contains("etl.")).collect();
    assert!(verified.status.success() && of_ours.is_empty(), "{said}");
    let rated = Command::new(&analyze)
        .args(["security", "--offline=yes", "--no-pager", "--threshold=30"])
        .arg(work.path("etl.service"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&rated.stdout);
    assert!(rated.status.success(), "{said}{}", String::from_utf8_lossy(&rated.stderr));
}

#[test]
fn logrotate_takes_its_file() {
    let Some(logrotate) = [PathBuf::from("/usr/sbin/logrotate")].into_iter().find(|path| path.exists()) else {
        eprintln!("skipped: no logrotate here");
        return;
    };
    let work = Workspace::new();
    let log = work.path("logs");
    let config = text("logrotate.conf")
        .replace("/var/log/etl", log.to_str().unwrap())
        .replace("create 0640 etl etl", "create 0640")
        .replace("    su etl etl\n", "");
    work.write("logs/etl.log", "{}\n");
    let path = work.write("logrotate.conf", config);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&path, mode).unwrap();
    let output = Command::new(logrotate).args(["--force", "--state"]).arg(work.path("state")).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(log.read_dir().unwrap().count() >= 1);
}

#[test]
fn the_manifests_are_what_kubernetes_takes() {
    let Some(python) = tool("ETL_TEST_PYTHON", "comparing the manifests with the schema of Kubernetes (kubernetes-validate)") else {
        return;
    };
    let program = "import sys, yaml, kubernetes_validate\n\
        for document in yaml.safe_load_all(open(sys.argv[1])): kubernetes_validate.validate(document, '1.31', strict=True)\n\
        print('valid')";
    for name in ["cronjob.yaml", "backfill-job.yaml"] {
        let output = Command::new(&python).args(["-c", program]).arg(deploy(name)).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "valid", "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_image_is_made_of_what_is_there_and_does_not_run_as_root() {
    let file = text("Dockerfile");
    let words: Vec<Vec<&str>> = file.lines().map(|line| line.split_whitespace().collect()).collect();
    let user = words.iter().rfind(|words| words.first() == Some(&"USER")).unwrap()[1];
    assert!(!user.starts_with('0') && user != "root", "{user}");
    let msrv = env!("CARGO_PKG_RUST_VERSION");
    assert!(file.contains(&format!("FROM rust:{msrv}-")), "the image builds with the version that Cargo.toml names: {msrv}");
    assert_eq!(words.iter().filter(|words| words.first() == Some(&"FROM")).count(), 2, "built in one, run in another");
    let Some(linter) = tool("ETL_TEST_DOCKERFILE_LINT", "linting the Dockerfile") else { return };
    let output = Command::new(linter).args(["lint"]).arg(deploy("Dockerfile")).output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}
