//! The warehouse follows the layer: what `etl redshift` runs, tried on a real PostgreSQL, with a stand-in for `COPY` from a bucket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::process::Command;

use support::{
    Ended, Workspace, order,
    postgres::{BUCKET, Postgres},
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
}

impl Followed {
    fn new(toml: &str) -> Option<Followed> {
        let (work, postgres) = (Workspace::new(), postgres("", &[])?);
        work.write("etl.toml", format!("{toml}\nusers = \"users.csv\"\n[redshift]\nschema = \"shop\"\nurl = \"{BUCKET}\"\niam_role = \"arn:aws:iam::1:role/o'clock\"\n"));
        work.write("users.csv", "user_id,name,email,country,Loyalty Class\nu1,Ann,,DE,gold\nu2,\"B, \"\"ob\"\"\",,FR,\n");
        let port = postgres.as_redshift(work.path("output"));
        work.write(".env", format!("ETL_REDSHIFT_URL=postgresql://postgres:hush@127.0.0.1:{port}/postgres?sslmode=disable\n"));
        Some(Followed { work, postgres })
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
    assert!(ended.stderr.contains("nothing was changed there") && ended.stderr.contains("COPY etl_stage_dim_user"), "{}", ended.stderr);
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
    let url = format!("postgresql://postgres@localhost:{}/postgres", postgres.port);
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
