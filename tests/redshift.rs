//! The warehouse follows the layer: what `etl redshift` runs, tried on a real PostgreSQL, with a stand-in for `COPY` from a bucket.

use std::{
    fs::File,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    self, Ended, Workspace, order,
    postgres::{BUCKET, Fault, Postgres, Relay},
    tool,
};

fn postgres(settings: &str, files: &[(&str, Vec<u8>)]) -> Option<Postgres> {
    let bin = tool("ETL_TEST_POSTGRES", "loading a real PostgreSQL 15 or newer: the folder of its programs")?;
    Some(Postgres::start(&bin, settings, files))
}

/// A layer, a warehouse, and the settings that lead from one to the other.
struct Followed {
    work: Workspace,
    postgres: Postgres,
    relay: Relay,
}

impl Followed {
    fn new(toml: &str) -> Option<Followed> {
        let (work, postgres) = (Workspace::new(), postgres("", &[])?);
        work.write("etl.toml", format!("{toml}\nusers = \"users.csv\"\n[redshift]\nschema = \"shop\"\nurl = \"{BUCKET}\"\niam_role = \"arn:aws:iam::1:role/o'clock\"\n"));
        work.write("users.csv", "user_id,name,email,country,Loyalty Class\nu1,Ann,,DE,gold\nu2,\"B, \"\"ob\"\"\",,FR,\n");
        let relay = postgres.as_redshift(work.path("output"), Fault::None);
        let followed = Followed { work, postgres, relay };
        followed.connect_to(&followed.relay);
        Some(followed)
    }

    fn connect_to(&self, relay: &Relay) {
        let url = format!("postgresql://postgres:hush@127.0.0.1:{}/postgres?sslmode=disable", relay.port);
        self.work.write(".env", format!("ETL_REDSHIFT_URL={url}\n"));
    }

    /// Adds a line to the table `[redshift]` of `etl.toml`.
    fn configure(&self, line: &str) {
        self.work.write("etl.toml", self.work.read("etl.toml") + line + "\n");
    }

    /// A comparison that must end so: its JSON.
    #[track_caller]
    fn verify(&self, args: &[&str], code: i32, status: &str) -> Value {
        let ended = self.work.etl(&[&["redshift", "verify", "--format", "json"], args].concat());
        assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
        let result = ended.summary();
        assert_eq!(result["status"], status, "{result}");
        result
    }

    /// Sends a signal to a command that waits in the warehouse, and waits for its end.
    fn stopped(&self, mut command: Child, signal: &str) -> Ended {
        let killed = Command::new("kill").args([signal, &command.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let began = Instant::now();
        while command.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(20), "the command does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        support::ended(command.wait_with_output().unwrap())
    }

    #[track_caller]
    fn redshift(&self, args: &[&str]) -> Ended {
        let ended = self.work.etl(&[&["redshift"], args, &["--execute"]].concat());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended
    }

    /// The tables equal the layer, row by row.
    #[track_caller]
    fn assert_equal(&self) {
        let text = |columns: &[&str]| {
            columns.iter().map(|name| format!("coalesce(CAST({name} AS VARCHAR), 'NULL')")).collect::<Vec<_>>().join(", ")
        };
        let fixed = text(&[
            "order_id",
            "sku",
            "user_id",
            "product_id",
            "status",
            "currency",
            "quantity",
            "unit_price",
            "line_total",
            "price_defaulted",
            "user_country",
            "product_name",
            "product_category",
        ]);
        let facts = |created: &str, updated: &str, table: &str| {
            format!("SELECT concat_ws('|', {fixed}, {created}, coalesce({updated}, 'NULL')) AS line FROM {table} ORDER BY 1")
        };
        let layer = self.work.query(&facts(
            "strftime(created_at, '%Y-%m-%d %H:%M:%S.%f')",
            "strftime(updated_at, '%Y-%m-%d %H:%M:%S.%f')",
            "fact_order",
        ));
        let tables = self.postgres.query(&facts(
            "to_char(created_at, 'YYYY-MM-DD HH24:MI:SS.US')",
            "to_char(updated_at, 'YYYY-MM-DD HH24:MI:SS.US')",
            "shop.fact_order",
        ));
        assert_eq!(tables, layer);
        let users = text(&["user_id", "name", "country", "\"loyalty class\"", "inferred"]);
        let users = |table: &str| format!("SELECT concat_ws('|', {users}) AS line FROM {table} ORDER BY 1");
        assert_eq!(self.postgres.query(&users("shop.dim_user")), self.work.query(&users("dim_user")));
        let products = |table: &str| format!("SELECT concat_ws('|', sku, CAST(inferred AS VARCHAR)) AS line FROM {table} ORDER BY 1");
        assert_eq!(self.postgres.query(&products("shop.dim_product")), self.work.query(&products("dim_product")));
    }

    /// The tables of totals and refunds equal the layer, row by row, and add up to these sums.
    #[track_caller]
    fn assert_sides_equal(&self, totals: &str, refunds: &str) {
        let money = ["lines_total", "discount_total", "shipping_total", "tax_total", "total", "refunded_total", "paid_total"];
        let of_totals = [&["order_id", "currency"][..], &money, &["status", "created_at", "updated_at"]].concat();
        let of_refunds = ["refund_id", "order_id", "sku", "quantity", "amount", "currency", "created_at"];
        for (folder, table, columns, sum, expected) in [
            ("order_totals", "fact_order_total", &of_totals[..], "total", totals),
            ("refunds", "fact_refund", &of_refunds[..], "amount", refunds),
        ] {
            let cells: Vec<_> = columns.iter().map(|name| format!("coalesce(CAST({name} AS VARCHAR), 'NULL')")).collect();
            let rows = |table: &str| format!("SELECT concat_ws('|', {}) AS line FROM {table} ORDER BY 1", cells.join(", "));
            let layer = if self.work.files(folder).is_empty() { Vec::new() } else { self.work.query(&rows(table)) };
            assert_eq!(self.postgres.query(&rows(&format!("shop.{table}"))), layer);
            assert_eq!(self.postgres.query(&format!("SELECT coalesce(sum({sum}), 0) FROM shop.{table}")), [expected], "{table}");
        }
    }
}

fn user_order(order_id: &str, created_at: &str, user: &str, updated_at: &str) -> String {
    order(order_id, created_at, &format!(r#","user_id":"{user}","updated_at":"{updated_at}""#))
}

#[test]
fn the_tables_equal_the_layer_after_loads_increments_moves_and_reruns() {
    let Some(followed) = Followed::new("") else { return };
    let run_id = |lines: &[String]| followed.work.load(lines, &[]).published()["run_id"].as_str().unwrap().to_owned();
    run_id(&[
        user_order("A", "2026-01-01T10:00:00.5Z", "u1", "2026-01-01T10:00:00Z"),
        user_order("B, \"x\"", "2026-01-02T10:00:00Z", "u2", "2026-01-02T10:00:00Z"),
        user_order("C", "2026-01-03T10:00:00Z", "nobody", "2026-01-03T10:00:00Z"),
        order("D", "2026-01-03T11:00:00Z", ""),
    ]);
    followed.redshift(&["ddl"]);
    followed.redshift(&["ddl"]);
    for _ in 0..2 {
        followed.redshift(&["copy"]);
        followed.assert_equal();
    }
    // An update, a new order, a new user, and an order that leaves its day alone: that partition goes.
    followed.work.write("users.csv", "user_id,name,email,country,Loyalty Class\nu1,Anna,,DE,gold\nnobody,Known,,IT,\n");
    let second = run_id(&[
        user_order("A", "2026-01-01T10:00:00.5Z", "u2", "2026-01-05T10:00:00Z"),
        user_order("B, \"x\"", "2026-01-04T10:00:00Z", "u2", "2026-01-05T10:00:00Z"),
        user_order("E", "2026-01-04T12:00:00Z", "u3", "2026-01-05T10:00:00Z"),
    ]);
    for _ in 0..2 {
        followed.redshift(&["merge"]);
        followed.assert_equal();
    }
    // Two runs that touch the same partition, loaded at once; what the first of them wrote is no longer there as it was.
    let third = run_id(&[user_order("E", "2026-01-05T12:00:00Z", "u1", "2026-01-06T10:00:00Z"), order("F", "2026-01-04T13:00:00Z", "")]);
    let fourth = run_id(&[user_order("F", "2026-01-07T13:00:00Z", "u1", "2026-01-07T10:00:00Z"), order("G", "2026-01-03T13:00:00Z", "")]);
    followed.redshift(&["merge", "--since-run", &second]);
    followed.assert_equal();
    followed.redshift(&["merge", "--run", &third]);
    followed.redshift(&["merge", "--run", &fourth]);
    followed.assert_equal();
    assert_eq!(followed.postgres.query("SELECT count(*) FROM shop.fact_order f JOIN shop.dim_product USING (sku)"), ["6"]);
    assert_eq!(followed.work.etl(&["redshift", "merge", "--run", "nope"]).code, 2);
}

#[test]
fn rows_that_a_newer_version_no_longer_has_leave_the_table() {
    let Some(followed) = Followed::new("merge = \"order\"") else { return };
    let lines = |skus: &[&str], updated: &str| {
        let items: Vec<_> = skus.iter().map(|sku| format!(r#"{{"sku":"{sku}","quantity":2,"price":"0.3333"}}"#)).collect();
        format!(r#"{{"order_id":"A","created_at":"2026-01-01","updated_at":"{updated}","items":[{}]}}"#, items.join(","))
    };
    followed.work.load(&[lines(&["S", "T", "U"], "2026-01-01")], &[]).published();
    followed.redshift(&["ddl"]);
    followed.redshift(&["copy"]);
    followed.work.load(&[lines(&["S"], "2026-01-02")], &[]).published();
    followed.redshift(&["merge"]);
    followed.assert_equal();
    assert_eq!(followed.postgres.query("SELECT sku, line_total FROM shop.fact_order"), ["S|0.6666"]);
}

#[test]
fn a_load_that_fails_changes_nothing_and_says_at_which_statement() {
    let Some(followed) = Followed::new("") else { return };
    followed.work.load(&[order("A", "2026-01-01T10:00:00Z", "")], &[]).published();
    followed.redshift(&["ddl"]);
    followed.redshift(&["copy"]);
    let before = followed.postgres.query("SELECT * FROM shop.fact_order");
    followed.work.load(&[order("B", "2026-01-01T10:00:00Z", "")], &[]).published();
    followed.work.write(
        "output/dims/dim_user/dim_user.csv",
        "user_id,name,email,country,created_at,inferred,\"Loyalty Class\"\nu1,,,,soon,false,\n",
    );
    let ended = followed.work.etl(&["redshift", "merge", "--execute"]);
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("nothing was changed there") && ended.stderr.contains(r#"COPY \"etl_stage_dim_user\""#),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
    assert_eq!(followed.postgres.query("SELECT * FROM shop.fact_order"), before);
}

#[test]
fn what_is_needed_is_said_and_nothing_secret_is_shown() {
    let work = Workspace::new();
    let ended = work.etl(&["redshift", "ddl", "--execute"]);
    assert!(ended.code == 2 && ended.stderr.contains("ETL_REDSHIFT_URL"), "{}", ended.stderr);
    let ended = work.etl(&["redshift", "copy"]);
    assert!(ended.code == 2 && ended.stderr.contains("[redshift]"), "{}", ended.stderr);
    for command in [&["redshift", "verify", "--repair"][..], &["redshift", "copy"]] {
        let mut command = work.command(command);
        work.write("etl.toml", "[redshift]\nurl = \"s3://bucket/x\"\n");
        let ended = support::ended(command.env("ETL_REDSHIFT_URL", "postgresql://u@127.0.0.1:1/x").output().unwrap());
        assert!(
            ended.code == 2 && ended.stderr.contains("holds no partition"),
            "an empty layer must not empty the warehouse: {}",
            ended.stderr
        );
    }
    work.write("etl.toml", "");
    work.write(".env", "ETL_REDSHIFT_URL=postgresql://u:hush@127.0.0.1:1/x\n");
    let ended = work.etl(&["redshift", "ddl", "--execute"]);
    assert!(ended.code == 5 && ended.stderr.contains("not reached") && !ended.stderr.contains("hush"), "{}", ended.stderr);
    work.write(".env", "ETL_REDSHIFT_URL=hush\n");
    let ended = work.etl(&["redshift", "ddl", "--execute"]);
    assert!(ended.code == 2 && !ended.stderr.contains("hush"), "{}", ended.stderr);
}

#[test]
fn the_connection_is_encrypted_and_the_server_must_be_who_it_says() {
    let Some(openssl) = ["/usr/bin/openssl"].map(std::path::PathBuf::from).into_iter().find(|path| path.exists()) else {
        eprintln!("skipped: no openssl here to make a certificate with");
        return;
    };
    let work = Workspace::new();
    let made = Command::new(openssl)
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(work.path("."))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let files = ["key.pem", "cert.pem"].map(|name| (name, work.read(name).into_bytes()));
    let Some(postgres) = postgres("ssl=on\nssl_cert_file=cert.pem\nssl_key_file=key.pem", &files) else { return };
    let url = format!("postgresql://postgres@localhost:{}/postgres?sslmode=verify-full", postgres.port);
    let ddl = |trusted: bool| {
        let mut command = work.command(&["redshift", "ddl", "--execute"]);
        command.env("ETL_REDSHIFT_URL", &url);
        if trusted {
            command.env("SSL_CERT_FILE", work.path("cert.pem"));
        }
        support::ended(command.output().unwrap())
    };
    let unknown = ddl(false);
    assert!(unknown.code == 5 && unknown.stderr.contains("not reached") && unknown.stderr.contains("certificate"), "{}", unknown.stderr);
    let Some(plain) = self::postgres("", &[]) else { return };
    let mut in_the_clear = work.command(&["redshift", "ddl", "--execute"]);
    in_the_clear.env("ETL_REDSHIFT_URL", format!("postgresql://postgres@localhost:{}/postgres", plain.port));
    let refused = support::ended(in_the_clear.output().unwrap());
    assert!(refused.code == 5 && refused.stderr.contains("not reached"), "a server without TLS is not spoken to: {}", refused.stderr);
    // It is reached, and stumbles over what only Redshift speaks.
    let known = ddl(true);
    assert!(known.code == 5 && known.stderr.contains("syntax error") && known.stderr.contains("DISTSTYLE"), "{}", known.stderr);
}

/// The days that a comparison names.
fn days(result: &Value) -> Vec<&str> {
    result["days"].as_array().unwrap().iter().map(|day| day["dt"].as_str().unwrap_or_default()).collect()
}

fn loaded() -> Option<Followed> {
    let followed = Followed::new("")?;
    let lines = [
        user_order("A", "2026-01-01T10:00:00.5Z", "u1", "2026-01-01T10:00:00Z"),
        user_order("B", "2026-01-02T10:00:00Z", "u2", "2026-01-02T10:00:00Z"),
        user_order("C", "2026-01-02T11:00:00Z", "nobody", "2026-01-03T10:00:00Z"),
        order("D", "2026-01-03T11:00:00Z", ""),
    ];
    followed.work.load(&lines, &[]).published();
    followed.redshift(&["ddl"]);
    followed.redshift(&["copy"]);
    Some(followed)
}

#[test]
fn a_difference_is_named_with_its_day_or_dimension_and_is_repaired() {
    let Some(followed) = loaded() else { return };
    let equal = followed.verify(&[], 0, "equal");
    assert_eq!((&equal["compared"], &equal["days"]), (&json!(3), &json!([])));
    // Redshift enforces no keys.
    followed.postgres.query("ALTER TABLE shop.fact_order DROP CONSTRAINT fact_order_pkey, DROP CONSTRAINT fact_order_user_id_fkey, DROP CONSTRAINT fact_order_sku_fkey");
    followed.postgres.query("ALTER TABLE shop.dim_user DROP CONSTRAINT dim_user_pkey");
    for (damage, days_named, dimensions) in [
        ("DELETE FROM shop.fact_order WHERE order_id = 'B'", &["2026-01-02"][..], &[][..]),
        (
            "INSERT INTO shop.fact_order SELECT * FROM shop.fact_order WHERE created_at >= '2026-01-02' AND created_at < '2026-01-03'",
            &["2026-01-02"],
            &[],
        ),
        ("UPDATE shop.fact_order SET unit_price = unit_price + 0.0001 WHERE order_id = 'A'", &["2026-01-01"], &[]),
        ("UPDATE shop.fact_order SET user_country = NULL WHERE order_id = 'A'", &["2026-01-01"], &[]),
        ("UPDATE shop.fact_order SET user_id = 'u1', user_country = 'u2' WHERE order_id IN ('A', 'D')", &["2026-01-01", "2026-01-03"], &[]),
        ("UPDATE shop.fact_order SET created_at = created_at + INTERVAL '1 microsecond' WHERE order_id = 'D'", &["2026-01-03"], &[]),
        (
            "INSERT INTO shop.fact_order SELECT order_id || '2', sku, user_id, product_id, status, 'USD', quantity, unit_price, line_total, price_defaulted, user_country, product_name, product_category, TIMESTAMP '2025-06-01', updated_at FROM shop.fact_order WHERE order_id = 'A'",
            &["2025-06-01"],
            &[],
        ),
        (
            "ALTER TABLE shop.fact_order ALTER COLUMN created_at DROP NOT NULL; UPDATE shop.fact_order SET created_at = NULL WHERE order_id = 'A'",
            &["", "2026-01-01"],
            &[],
        ),
        ("DELETE FROM shop.dim_user WHERE user_id = 'nobody'", &[], &["dim_user"]),
        ("UPDATE shop.dim_user SET name = 'x' WHERE user_id = 'u1'", &[], &["dim_user"]),
        ("INSERT INTO shop.dim_user SELECT * FROM shop.dim_user", &[], &["dim_user"]),
        ("DROP TABLE shop.dim_product", &[], &["dim_product"]),
        ("ALTER TABLE shop.dim_user DROP COLUMN \"loyalty class\"", &[], &["dim_user"]),
        (
            "DROP TABLE shop.fact_order; ALTER TABLE shop.dim_user ADD PRIMARY KEY (user_id)",
            &["2026-01-01", "2026-01-02", "2026-01-03"],
            &[],
        ),
    ] {
        followed.postgres.query(damage);
        let result = followed.verify(&[], 4, "different");
        assert_eq!(days(&result), days_named, "{damage}: {result}");
        let different = result["dimensions"].as_object().unwrap().iter().filter(|(_, dimension)| dimension["equal"] == false);
        assert_eq!(different.map(|(name, _)| name.as_str()).collect::<Vec<_>>(), dimensions, "{damage}: {result}");
        assert_eq!(days(&followed.verify(&["--repair"], 0, "repaired")), days_named);
        followed.verify(&[], 0, "equal");
        followed.assert_equal();
    }
}

#[test]
fn both_sides_of_a_day_are_shown_and_only_the_days_asked_for_are_compared() {
    let Some(followed) = loaded() else { return };
    followed.postgres.query("DELETE FROM shop.fact_order WHERE order_id = 'B'");
    let result = followed.verify(&["--since", "2026-01-02"], 4, "different");
    let day = &result["days"][0];
    assert_eq!((&day["layer"]["rows"], &day["warehouse"]["rows"]), (&json!("2"), &json!("1")), "{result}");
    assert_eq!((&day["layer"]["line_total"], &day["warehouse"]["line_total"]), (&json!("3.0000"), &json!("1.5000")), "{result}");
    assert_eq!(followed.verify(&["--until", "2026-01-02"], 0, "equal")["compared"], 1);
    assert_eq!(followed.verify(&["--since", "2026-01-03"], 0, "equal")["compared"], 1);
    followed.verify(&["--since", "2026-01-03", "--repair"], 0, "equal");
    let text = followed.work.etl(&["redshift", "verify", "--format", "text"]);
    assert!(text.code == 4 && text.stdout.contains("2026-01-02 EUR") && text.stdout.contains("the day 2026-01-02"), "{}", text.stdout);
    assert!(text.stdout.ends_with("\nNext: etl redshift verify --repair\n"), "{}", text.stdout);
}

#[test]
fn columns_that_the_sources_bring_are_added_and_a_script_names_them() {
    let Some(followed) = loaded() else { return };
    followed.work.write("users.csv", "user_id,name,email,country,Loyalty Class,Order\nu1,Ann,,DE,gold,first\n");
    let toml = followed.work.read("etl.toml");
    followed.work.write("etl.toml", toml.clone() + "[[fact.columns]]\nname = \"channel\"\npath = \"channel\"\n[[fact.columns]]\nname = \"tax\"\npath = \"tax\"\ntype = \"decimal\"\nscale = 2\n");
    let rewritten = followed.work.etl(&["rewrite"]);
    assert_eq!(rewritten.code, 0, "{}", rewritten.stderr);
    let channel = "w".repeat(100);
    followed
        .work
        .load(
            &[
                order("E", "2026-01-04", &format!(r#","channel":"{channel}","tax":"0.19""#)),
                user_order("F", "2026-01-04", "u1", "2026-01-05"),
            ],
            &[],
        )
        .published();
    let script = followed.work.etl(&["redshift", "merge"]).stdout;
    for column in [
        r#""fact_order" ADD COLUMN "channel" VARCHAR(256)"#,
        r#""fact_order" ADD COLUMN "tax" DECIMAL(18,2)"#,
        r#""dim_user" ADD COLUMN "order" VARCHAR(64)"#,
    ] {
        assert!(script.contains(&format!("\n-- ALTER TABLE \"shop\".{column};\n")), "{script}");
    }
    let different = followed.verify(&[], 4, "different");
    assert_eq!(different["missing_columns"], json!(["dim_user.order", "fact_order.channel", "fact_order.tax"]));
    let merged = followed.redshift(&["merge", "--format", "json"]).summary();
    assert_eq!(merged["added_columns"], json!(["dim_user.order", "fact_order.channel", "fact_order.tax"]));
    assert_eq!(followed.redshift(&["merge", "--format", "json"]).summary()["added_columns"], json!([]));
    assert_eq!(followed.postgres.query("SELECT channel, tax FROM shop.fact_order WHERE order_id = 'E'"), [format!("{channel}|0.19")]);
    assert_eq!(followed.postgres.query("SELECT \"order\" FROM shop.dim_user WHERE user_id = 'u1'"), ["first"]);
    followed.verify(&[], 0, "equal");
    followed.postgres.query("UPDATE shop.fact_order SET tax = 0.20 WHERE order_id = 'E'");
    assert_eq!(days(&followed.verify(&["--repair"], 0, "repaired")), ["2026-01-04"]);
}

#[test]
fn texts_that_do_not_fit_are_named_before_the_load() {
    let Some(followed) = loaded() else { return };
    followed.postgres.query("ALTER TABLE shop.dim_user ALTER COLUMN name TYPE VARCHAR(8)");
    let name = "\u{e9}".repeat(5);
    followed.work.write("users.csv", format!("user_id,name\nu1,{name}\n"));
    followed.work.load(&[user_order("E", "2026-01-04", "u1", "2026-01-05")], &[]).published();
    followed.relay.copies();
    let ended = followed.work.etl(&["redshift", "merge", "--execute"]);
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    for word in ["\\\"shop\\\".\\\"dim_user\\\".\\\"name\\\" is VARCHAR(8)", "10 bytes", &name, "ALTER COLUMN"] {
        assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
    }
    assert_eq!(followed.relay.copies(), [""; 0], "nothing was loaded");
    // A new table has room.
    let long = "n".repeat(3000);
    followed.work.write("users.csv", format!("user_id,name\nu1,{long}\n"));
    followed.work.load(&[user_order("E", "2026-01-04", "u1", "2026-01-06")], &[]).published();
    assert!(followed.work.etl(&["redshift", "ddl"]).stdout.contains("\"name\" VARCHAR(16384)"));
    assert!(
        followed
            .work
            .etl(&["redshift", "copy"])
            .stdout
            .contains("-- ALTER TABLE \"shop\".\"dim_user\" ALTER COLUMN \"name\" TYPE VARCHAR(16384);\n")
    );
}

#[test]
fn a_manifest_of_another_url_or_of_files_that_changed_is_not_used() {
    let Some(followed) = loaded() else { return };
    followed.redshift(&["merge"]);
    assert!(followed.relay.copies().iter().any(|copy| copy.ends_with(" MANIFEST")), "while nothing changed, the manifest is used");
    // A run before redshift.url was set.
    let toml = followed.work.read("etl.toml");
    followed.work.write("etl.toml", toml.replace(&format!("url = \"{BUCKET}\"\n"), ""));
    followed.work.load(&[order("E", "2026-01-04", "")], &[]).published();
    followed.work.write("etl.toml", &toml);
    followed.redshift(&["merge"]);
    assert!(!followed.relay.copies().iter().any(|copy| copy.ends_with(" MANIFEST")));
    followed.assert_equal();
    // A partition that a later run changed again: its size is not that of the manifest.
    let first = followed.work.load(&[order("F", "2026-01-05", "")], &[]).published();
    followed.work.load(&[order("G", "2026-01-05", "")], &[]).published();
    followed.redshift(&["merge", "--run", first["run_id"].as_str().unwrap()]);
    assert!(!followed.relay.copies().iter().any(|copy| copy.ends_with(" MANIFEST")));
    followed.assert_equal();
}

#[test]
fn a_removed_partition_does_not_make_a_copy_of_each_day() {
    let Some(followed) = Followed::new("") else { return };
    let days: Vec<_> = (1..=12).flat_map(|month| (1..=25).map(move |day| format!("2025-{month:02}-{day:02}"))).collect();
    let lines: Vec<_> = days.iter().map(|day| user_order(day, day, "u1", "2026-01-01")).collect();
    let first = followed.work.load(&lines, &[]).published();
    followed.redshift(&["ddl"]);
    followed.work.load(&[user_order("2025-06-06", "2026-02-01", "u1", "2026-02-01")], &[]).published();
    followed.relay.copies();
    followed.redshift(&["merge", "--run", first["run_id"].as_str().unwrap()]);
    let copies = followed.relay.copies();
    assert!(copies.len() <= 12, "{} statements", copies.len());
    assert_eq!(followed.postgres.query("SELECT count(*), count(DISTINCT created_at) FROM shop.fact_order"), ["299|299"]);
    followed.redshift(&["merge"]);
    followed.verify(&[], 0, "equal");
}

#[test]
fn a_printed_script_loads_the_tables() {
    let Some(followed) = loaded() else { return };
    followed.work.load(&[user_order("E", "2026-01-04", "u1", "2026-01-05")], &[]).published();
    for command in ["merge", "copy"] {
        let script = followed.work.etl(&["redshift", command]).stdout;
        assert!(!script.contains("MERGE"), "{script}");
        followed.postgres.script(followed.relay.port, &script).unwrap();
        followed.assert_equal();
    }
    followed.work.write("output/dims/dim_user/dim_user.csv", "user_id,inferred\nu1,maybe\n");
    let error = followed.postgres.script(followed.relay.port, &followed.work.etl(&["redshift", "copy"]).stdout).unwrap_err();
    assert!(error.contains("invalid input syntax"), "{error}");
}

#[test]
fn a_signal_ends_a_load_with_its_own_exit_code_and_the_server_ends_the_statement() {
    let Some(followed) = loaded() else { return };
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let lock = followed.postgres.locked("shop.fact_order");
        let command = followed.work.start(&["redshift", "copy", "--execute"]);
        followed.postgres.wait_for_blocked("CREATE TEMP TABLE");
        let ended = followed.stopped(command, signal);
        assert_eq!(ended.code, code, "{}", ended.stderr);
        assert!(ended.stderr.contains("nothing was changed in the warehouse"), "{}", ended.stderr);
        // The lock is still held: only the request to cancel can have ended it.
        let began = Instant::now();
        while followed.postgres.query("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") != ["0"] {
            assert!(began.elapsed() < Duration::from_secs(10), "the statement still waits");
        }
        drop(lock);
    }
    followed.assert_equal();
}

#[test]
fn a_time_out_names_its_setting() {
    let Some(followed) = loaded() else { return };
    followed.configure("statement_timeout = \"1s\"\nconnect_timeout = \"500ms\"");
    let lock = followed.postgres.locked("shop.fact_order");
    let ended = followed.work.etl(&["redshift", "copy", "--execute"]);
    drop(lock);
    assert!(
        ended.code == 5 && ended.stderr.contains("redshift.statement_timeout") && ended.stderr.contains("within 1s,"),
        "{}",
        ended.stderr
    );
    followed.redshift(&["copy"]);
    // A server that accepts, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ETL_REDSHIFT_URL=postgresql://u:hush@{}/x?sslmode=disable\n", silent.local_addr().unwrap());
    followed.work.write(".env", url);
    let began = Instant::now();
    let ended = followed.work.etl(&["redshift", "copy", "--execute"]);
    assert!(ended.code == 5 && ended.stderr.contains("redshift.connect_timeout"), "{}", ended.stderr);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_commit_whose_answer_is_lost_is_unknown_and_verify_finds_out() {
    let Some(followed) = loaded() else { return };
    for (fault, code, status) in [(Fault::CommitLost, 4, "different"), (Fault::AnswerToCommitLost, 0, "equal")] {
        followed.work.load(&[order("E", "2026-01-04", "")], &[]);
        let broken = followed.postgres.as_redshift(followed.work.path("output"), fault);
        followed.connect_to(&broken);
        let ended = followed.work.etl(&["redshift", "merge", "--execute"]);
        assert_eq!(ended.code, 5, "{}", ended.stderr);
        assert!(ended.stderr.contains("the outcome is unknown") && ended.stderr.contains("etl redshift verify"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("nothing was changed"), "{}", ended.stderr);
        followed.connect_to(&followed.relay);
        followed.verify(&[], code, status);
    }
}

#[test]
fn a_password_comes_from_a_command() {
    let hba = b"host all loader 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n".to_vec();
    let Some(postgres) = postgres("", &[("pg_hba.conf", hba)]) else { return };
    postgres.query("CREATE ROLE loader LOGIN PASSWORD 'hush-of-the-day'");
    let work = Workspace::new();
    work.load(&[order("A", "2026-01-01", "")], &[]).published();
    let verify = |user: &str, command: &str| {
        let url = format!("postgresql://{user}@127.0.0.1:{}/postgres?sslmode=disable", postgres.port);
        let mut verify = work.command(&["redshift", "verify"]);
        support::ended(verify.env("ETL_REDSHIFT_URL", url).env("ETL_REDSHIFT_PASSWORD_COMMAND", command).output().unwrap())
    };
    // A session is opened, and the tables are missing.
    for command in ["printf 'hush-of-%s\\n' the-day", r#"printf '{"DbUser": "loader", "DbPassword": "hush-of-%s"}' the-day"#] {
        let ended = verify("loader", command);
        assert!(ended.code == 4 && ended.stdout.contains("fact_order"), "{}{}", ended.stdout, ended.stderr);
    }
    let json = verify("nobody-of-that-name", r#"printf '{"dbUser": "loader", "dbPassword": "hush-of-%s"}' the-day"#);
    assert_eq!(json.code, 4, "the command names the user: {}", json.stderr);
    let wrong = verify("loader", "echo not-the-password");
    assert!(wrong.code == 5 && wrong.stderr.contains("not reached") && !wrong.stderr.contains("not-the-password"), "{}", wrong.stderr);
    let failed = verify("loader", "echo the token is expired >&2; exit 7");
    assert!(failed.code == 2 && failed.stderr.contains("token is expired"), "{}", failed.stderr);
}

#[test]
fn the_documented_copy_has_the_options_of_the_printed_one() {
    let Some(followed) = loaded() else { return };
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/output.md")).unwrap();
    let documented = page.lines().find(|line| line.contains("COPY fact_order FROM")).unwrap();
    let printed = followed.work.etl(&["redshift", "copy"]).stdout;
    for option in ["FORMAT AS CSV", "DELIMITER ','", "IGNOREHEADER 1", "EMPTYASNULL"] {
        assert!(documented.contains(option) && printed.contains(option), "{option}: {documented}");
    }
}

#[test]
fn a_script_that_can_not_be_written_is_an_error_and_a_closed_pipe_is_none() {
    let work = Workspace::new();
    let ended = work.command(&["redshift", "ddl"]).stdout(File::options().write(true).open("/dev/full").unwrap()).output().unwrap();
    assert_eq!(ended.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("write to stdout"));
    let mut child = work.command(&["redshift", "ddl"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned()), (Some(0), String::new()));
}

/// Where the source says totals of orders and lists refunds.
const SIDES: &str = r#"[orders.totals]
total = "total"
[orders.refunds]
list = "refunds"
refund_id = "id"
created_at = "at"
amount = "amount"
[orders.refunds.lines]
list = "lines"
quantity = "n"
amount = "sum"
by_line = { id = "line", line = "id" }
"#;

/// An order of one line on a day of January, as it was on a day of March, with its total and these refunds.
fn sold(order_id: &str, day: u8, updated: u8, total: &str, refunds: &[String]) -> String {
    format!(
        r#"{{"order_id":"{order_id}","created_at":"2026-01-0{day}T12:00:00Z","updated_at":"2026-03-0{updated}","currency":"EUR","user_id":"u1","total":"{total}","items":[{{"id":1,"sku":"x","price":10}}],"refunds":[{}]}}"#,
        refunds.join(",")
    )
}

/// A refund on a day of February: half a Euro of it is in no line.
fn refund(id: &str, day: u8, line: u8) -> String {
    format!(r#"{{"id":"{id}","at":"2026-02-0{day}T10:00:00Z","amount":"{line}.50","lines":[{{"line":1,"n":1,"sum":"{line}"}}]}}"#)
}

/// Three orders with totals and refunds.
fn sold_and_refunded() -> [String; 3] {
    [
        sold("A", 1, 1, "10.00", &[refund("r1", 3, 3)]),
        sold("B", 1, 1, "12.00", &[refund("r2", 3, 2), refund("r3", 4, 1)]),
        sold("C", 2, 1, "10.00", &[]),
    ]
}

#[test]
fn totals_and_refunds_equal_the_layer_after_loads_edits_deletions_and_undos() {
    let Some(followed) = Followed::new("") else { return };
    followed.configure(SIDES);
    let loaded = |lines: &[String], args: &[&str]| followed.work.load(lines, args).published()["run_id"].as_str().unwrap().to_owned();
    loaded(&sold_and_refunded(), &[]);
    followed.redshift(&["ddl"]);
    for command in ["copy", "merge", "copy"] {
        followed.redshift(&[command]);
        followed.assert_sides_equal("32.0000", "7.5000");
        followed.assert_equal();
    }
    // An order moves with its total, one of its refunds goes, and the other moves.
    let moved = loaded(&[sold("B", 3, 2, "15.00", &[refund("r3", 6, 2)])], &[]);
    for _ in 0..2 {
        followed.redshift(&["merge"]);
        followed.assert_sides_equal("35.0000", "6.0000");
        followed.assert_equal();
    }
    // A refund alone: no line and no total changes. Then a total alone.
    loaded(&[sold("C", 2, 1, "10.00", &[refund("r4", 5, 4)])], &[]);
    followed.redshift(&["merge"]);
    followed.assert_sides_equal("35.0000", "10.5000");
    loaded(&[sold("C", 2, 1, "11.00", &[refund("r4", 5, 4)])], &[]);
    followed.redshift(&["merge", "--since-run", &moved]);
    followed.assert_sides_equal("36.0000", "10.5000");
    followed.verify(&[], 0, "equal");
    // The source no longer has an order; the run is undone, and both are followed.
    let kept = [sold("A", 1, 1, "10.00", &[refund("r1", 3, 3)]), sold("C", 2, 1, "11.00", &[refund("r4", 5, 4)])];
    let deleted = loaded(&kept, &["--delete-missing", "--delete-limit", "100%"]);
    followed.redshift(&["merge"]);
    followed.assert_sides_equal("21.0000", "8.0000");
    followed.assert_equal();
    assert_eq!(followed.work.etl(&["undo", &deleted]).code, 0);
    followed.redshift(&["merge"]);
    followed.assert_sides_equal("36.0000", "10.5000");
    followed.assert_equal();
    // The last refund goes: the table is emptied by the days, and by a full load that finds no file.
    loaded(&[("A", 1, "10.00"), ("B", 3, "15.00"), ("C", 2, "11.00")].map(|(id, day, total)| sold(id, day, 4, total, &[])), &[]);
    followed.redshift(&["merge"]);
    followed.assert_sides_equal("36.0000", "0");
    followed.postgres.query("INSERT INTO shop.fact_refund VALUES ('r9', 'A', NULL, NULL, 1, 'EUR', '2026-02-01')");
    followed.redshift(&["copy"]);
    followed.assert_sides_equal("36.0000", "0");
    followed.verify(&[], 0, "equal");
}

#[test]
fn a_layer_that_gains_totals_and_refunds_gets_their_tables_at_the_next_load() {
    let Some(followed) = loaded() else { return };
    let before = followed.work.etl(&["redshift", "copy"]).stdout;
    assert!(!before.contains("order_total") && !before.contains("refund"), "{before}");
    followed.configure(SIDES);
    followed.work.load(&sold_and_refunded().map(|line| line.replace(r#""order_id":""#, r#""order_id":"S"#)), &[]).published();
    let merge = || followed.redshift(&["merge", "--format", "json"]).summary();
    assert_eq!(merge()["created_tables"], json!(["fact_order_total", "fact_refund"]));
    followed.assert_sides_equal("32.0000", "7.5000");
    followed.assert_equal();
    assert_eq!(merge()["created_tables"], json!([]));
    // A table that is new, or has a new column, gets the rows of all days.
    followed.work.load(&[sold("SD", 5, 1, "7.00", &[refund("r5", 7, 1)])], &[]).published();
    followed.postgres.query("DROP TABLE shop.fact_refund; ALTER TABLE shop.fact_order_total DROP COLUMN total");
    let different = followed.verify(&[], 4, "different");
    assert_eq!(different["missing_tables"], json!(["fact_refund"]));
    assert_eq!(different["missing_columns"], json!(["fact_order_total.total"]));
    let merged = merge();
    assert_eq!((&merged["created_tables"], &merged["added_columns"]), (&json!(["fact_refund"]), &json!(["fact_order_total.total"])));
    followed.assert_sides_equal("39.0000", "9.0000");
    // A script makes the tables too.
    followed.postgres.query("DROP TABLE shop.fact_refund; DROP TABLE shop.fact_order_total");
    for command in ["copy", "merge"] {
        followed.postgres.script(followed.relay.port, &followed.work.etl(&["redshift", command]).stdout).unwrap();
        followed.assert_sides_equal("39.0000", "9.0000");
    }
    followed.verify(&[], 0, "equal");
}

#[test]
fn a_difference_of_totals_or_refunds_is_named_with_its_day_and_is_repaired() {
    let Some(followed) = Followed::new("") else { return };
    followed.configure(SIDES);
    followed.work.load(&sold_and_refunded(), &[]).published();
    followed.redshift(&["ddl"]);
    followed.redshift(&["copy"]);
    let equal = followed.verify(&[], 0, "equal");
    assert_eq!(equal["side_facts"]["fact_order_total"], json!({"compared": 2, "days": []}));
    assert_eq!(equal["side_facts"]["fact_refund"], json!({"compared": 2, "days": []}));
    followed.postgres.query("ALTER TABLE shop.fact_order_total DROP CONSTRAINT fact_order_total_pkey");
    for (damage, table, days_named) in [
        ("DELETE FROM shop.fact_refund WHERE refund_id = 'r2' AND sku IS NULL", "fact_refund", &["2026-02-03"][..]),
        ("UPDATE shop.fact_refund SET sku = 'y' WHERE refund_id = 'r3' AND sku IS NOT NULL", "fact_refund", &["2026-02-04"]),
        ("UPDATE shop.fact_order_total SET total = total + 0.0001 WHERE order_id = 'A'", "fact_order_total", &["2026-01-01"]),
        ("UPDATE shop.fact_order_total SET status = 'x' WHERE order_id = 'C'", "fact_order_total", &["2026-01-02"]),
        ("INSERT INTO shop.fact_order_total SELECT * FROM shop.fact_order_total WHERE order_id = 'C'", "fact_order_total", &["2026-01-02"]),
        (
            "INSERT INTO shop.fact_refund SELECT refund_id || '9', order_id, sku, quantity, amount, currency, TIMESTAMP '2025-06-01' FROM shop.fact_refund WHERE refund_id = 'r1'",
            "fact_refund",
            &["2025-06-01"],
        ),
        (
            "ALTER TABLE shop.fact_refund ALTER COLUMN created_at DROP NOT NULL; UPDATE shop.fact_refund SET created_at = NULL WHERE refund_id = 'r3'",
            "fact_refund",
            &["", "2026-02-04"],
        ),
        ("DROP TABLE shop.fact_refund", "fact_refund", &["2026-02-03", "2026-02-04"]),
    ] {
        followed.postgres.query(damage);
        let result = followed.verify(&[], 4, "different");
        for (name, side) in result["side_facts"].as_object().unwrap() {
            assert_eq!(days(side), if name == table { days_named } else { &[] }, "{damage}: {result}");
        }
        assert_eq!(result["days"], json!([]), "{damage}");
        followed.verify(&["--repair"], 0, "repaired");
        followed.verify(&[], 0, "equal");
        followed.assert_sides_equal("32.0000", "7.5000");
    }
    // Only the days that are asked for are compared, and a text says which table differs.
    followed.postgres.query("DELETE FROM shop.fact_refund WHERE refund_id = 'r3'");
    followed.verify(&["--until", "2026-02-04"], 0, "equal");
    let text = followed.work.etl(&["redshift", "verify", "--since", "2026-02-04", "--format", "text"]);
    let words = [
        "fact_refund 2026-02-04 EUR\n    layer      rows 2, amount 1.5000, hash ",
        "warehouse  no rows",
        "the day 2026-02-04 of fact_refund",
    ];
    assert!(text.code == 4 && words.iter().all(|word| text.stdout.contains(word)), "{}", text.stdout);
    assert!(text.stdout.ends_with("\nNext: etl redshift verify --since 2026-02-04 --repair\n"), "{}", text.stdout);
}

#[test]
fn a_printed_load_has_totals_and_refunds_only_where_the_layer_has_them() {
    let work = Workspace::new();
    work.write("etl.toml", format!("[redshift]\nurl = \"{BUCKET}\"\n"));
    let printed = |command: &str| {
        let ended = work.etl(&["redshift", command]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stdout
    };
    work.load(&sold_and_refunded(), &[]).published();
    let before = ["ddl", "copy", "merge"].map(printed);
    assert!(before.iter().all(|sql| !sql.contains("order_total") && !sql.contains("refund")), "{before:?}");
    work.write("etl.toml", format!("[redshift]\nurl = \"{BUCKET}\"\n{SIDES}"));
    assert_eq!(["ddl", "copy", "merge"].map(printed), before, "the layer has none yet, whatever is mapped");
    work.load(&sold_and_refunded(), &[]).published();
    let [ddl, copy, merge] = ["ddl", "copy", "merge"].map(printed);
    for table in ["fact_order_total", "fact_refund"] {
        assert!(ddl.contains(&format!("CREATE TABLE IF NOT EXISTS \"{table}\" (\n")), "{ddl}");
        assert!(ddl.contains(&format!("COMMENT ON TABLE \"{table}\" IS ")), "{ddl}");
        for load in [&copy, &merge] {
            assert!(load.starts_with("BEGIN;\nCREATE TABLE IF NOT EXISTS \"fact_order_total\" (\n"), "{load}");
            assert!(load.contains(&format!("CREATE TABLE IF NOT EXISTS \"{table}\" (\n")) && !load.contains("COMMENT ON"), "{load}");
            assert!(load.contains(&format!("DROP TABLE \"etl_stage_{table}\";\n")), "{load}");
        }
    }
    for (load, place) in
        [(&copy, "order_totals/"), (&copy, "refunds/"), (&merge, "order_totals/dt=2026-01-02/"), (&merge, "refunds/dt=2026-02-03/")]
    {
        assert!(load.contains(&format!(" FROM '{BUCKET}/{place}' IAM_ROLE default FORMAT AS CSV DELIMITER ")), "{place}: {load}");
    }
    // A run that changes one refund leaves the totals alone.
    work.load(&[sold("C", 2, 1, "10.00", &[refund("r4", 5, 4)])], &[]).published();
    let merge = printed("merge");
    assert!(merge.contains(&format!("'{BUCKET}/refunds/dt=2026-02-05/'")) && !merge.contains("order_total"), "{merge}");
    assert!(
        merge.contains(
            "DELETE FROM \"fact_refund\" WHERE \"created_at\" >= '2026-02-05 00:00:00' AND \"created_at\" < '2026-02-06 00:00:00';\n"
        ),
        "{merge}"
    );
}
