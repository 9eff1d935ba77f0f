//! Two real shops on the loopback, a Medusa (REST) and a Vendure (GraphQL): the layer equals what they hold themselves, row by row,
//! after a full load, after edits, and after increments beside a writer.
//!
//! `tests/real_shops` holds how each of them is started, and what happens in a shop. The gate installs them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use crate::support::{self, Ended, Workspace, postgres::Postgres, server_process::ServerProcess, tool};

/// A shop with a database of its own, and the layer that is loaded from it. The server ends before its database.
struct Shop {
    profile: &'static str,
    /// What the profile takes its credential from, and the credential.
    variable: &'static str,
    key: String,
    server: ServerProcess,
    postgres: Postgres,
    work: Workspace,
}

fn file(profile: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_shops").join(profile).join(name)
}

fn text(output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

impl Shop {
    /// Starts a server and places so many orders.
    fn start(profile: &'static str, installed: &str, variable: &'static str, orders: usize) -> Option<Shop> {
        let what = format!("loading a real shop, {profile}");
        let installed = tool(installed, &format!("{what}: the folder that npm installed it in"))?.canonicalize().unwrap();
        let postgres = Postgres::start(&tool("ETL_TEST_POSTGRES", &format!("{what}: the folder of PostgreSQL's programs"))?, "", &[]);
        let database = format!("postgres://postgres@127.0.0.1:{}/postgres", postgres.port);
        let server = ServerProcess::start(&file(profile, "start.sh"), 1, &[], |ports, _| {
            vec![installed.display().to_string(), ports[0].to_string(), database]
        });
        let mut shop = Shop { profile, variable, key: String::new(), server, postgres, work: Workspace::new() };
        shop.key = text(shop.script("fill", &orders.to_string()).output().unwrap());
        Some(shop)
    }

    /// `shop.js` with this command.
    fn script(&self, command: &str, argument: &str) -> Command {
        let mut script = Command::new("node");
        script.arg(file(self.profile, "shop.js")).args([command, &self.server.url(), argument]);
        script.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        script
    }

    /// Carries out a command of `shop.js`, and returns what that prints.
    fn perform(&self, command: &str) -> String {
        text(self.script(command, &self.key).output().unwrap())
    }

    /// `etl run` by the shipped profile.
    fn run(&self, more: &[&str]) -> Ended {
        let url = self.server.url();
        let args = [&["run", "--profile", self.profile, "--url", url.as_str()], more].concat();
        support::ended(self.work.command(&args).env(self.variable, &self.key).output().unwrap())
    }

    /// Runs five increments while a writer places, edits and cancels orders, and one after it has stopped.
    #[track_caller]
    fn increments_beside_a_writer(&self) {
        let increment = || {
            let ended = self.run(&["--since", "last", "--lookback", "10s"]);
            assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
            ended.summary()["rows_inserted"].as_u64().unwrap()
        };
        let mut writer = self.script("write", &self.key).stdin(Stdio::piped()).spawn().unwrap();
        let mut inserted = 0;
        for _ in 0..5 {
            thread::sleep(Duration::from_secs(3));
            inserted += increment();
        }
        drop(writer.stdin.take());
        text(writer.wait_with_output().unwrap());
        assert!(inserted > 0, "the writer placed no order");
        increment();
    }

    /// The layer has these rows and no others: `order|sku|status|currency|quantity|unit price|line total`.
    #[track_caller]
    fn assert_rows(&self, truth: Vec<String>) {
        let layer = self.work.query("SELECT order_id, sku, status, currency, quantity, unit_price, line_total FROM fact_order");
        assert_same(layer, truth);
    }
}

#[track_caller]
fn assert_same(layer: Vec<String>, truth: Vec<String>) {
    let (rows, expected) = (layer.len(), truth.len());
    let (layer, truth): (BTreeSet<_>, BTreeSet<_>) = (layer.into_iter().collect(), truth.into_iter().collect());
    let (missing, surplus): (Vec<_>, Vec<_>) = (truth.difference(&layer).collect(), layer.difference(&truth).collect());
    assert!(missing.is_empty() && surplus.is_empty(), "the shop alone has {missing:#?}, the layer alone has {surplus:#?}");
    assert_eq!(rows, expected);
}

#[test]
fn the_layer_equals_the_tables_of_a_real_medusa() {
    let Some(shop) = Shop::start("medusa", "ETL_TEST_MEDUSA", "ETL_API_KEY", 60) else { return };
    let truth = || shop.postgres.query(include_str!("real_shops/medusa/rows.sql"));
    let rows_of = |order: &str| shop.work.query(&format!("SELECT sku FROM fact_order WHERE order_id = '{order}'")).len();
    let loaded = shop.run(&[]).published();
    assert_eq!(loaded["records_read"], 60, "{loaded}");
    assert_eq!(loaded["completeness"]["status"], "proven", "{loaded}");
    shop.assert_rows(truth());
    shop.run(&[]).unchanged();

    // An edit moves `updated_at`: an increment takes what was edited, and no other old order.
    shop.perform("edit");
    let edited = shop.run(&["--since", "last", "--lookback", "0s"]).published();
    assert_eq!(edited["records_processed_count"], 6, "{edited}");
    assert_eq!(edited["rows_removed"], 2, "{edited}");
    shop.assert_rows(truth());

    let emptied = shop.perform("empty");
    assert_eq!(rows_of(&emptied), 1);
    shop.run(&["--since", "last", "--lookback", "0s"]).published();
    assert_eq!(rows_of(&emptied), 0);
    shop.assert_rows(truth());

    shop.increments_beside_a_writer();
    shop.assert_rows(truth());
    shop.run(&[]).unchanged();
}

#[test]
fn the_layer_equals_the_api_and_the_tables_of_a_real_vendure() {
    let Some(shop) = Shop::start("vendure", "ETL_TEST_VENDURE", "ETL_API_TOKEN", 120) else { return };
    let truth = || shop.perform("list").lines().map(str::to_owned).collect::<Vec<_>>();
    let assert_equal = || {
        shop.assert_rows(truth());
        let totals = shop.work.query("SELECT order_id, currency, sum(line_total) FROM fact_order GROUP BY ALL");
        assert_same(
            totals,
            shop.postgres.query(
                r#"SELECT code, "currencyCode", round("subTotalWithTax" / 100.0, 4) FROM "order" WHERE "orderPlacedAt" IS NOT NULL"#,
            ),
        );
    };
    let loaded = shop.run(&[]).published();
    assert_eq!(loaded["records_read"], 120, "{loaded}");
    assert_eq!(loaded["completeness"]["status"], "proven", "{loaded}");
    assert_equal();
    shop.run(&[]).unchanged();

    // All orders are younger than the default lookback.
    shop.perform("edit");
    shop.run(&["--since", "last"]).published();
    assert_equal();

    // Windows are on the time of placing: increments bring each order that was placed, and a run over all orders brings their edits.
    shop.increments_beside_a_writer();
    let placed: BTreeSet<_> = truth().iter().map(|row| row.split('|').next().unwrap().to_owned()).collect();
    assert_same(shop.work.query("SELECT DISTINCT order_id FROM fact_order"), placed.into_iter().collect());
    shop.run(&[]).published();
    assert_equal();
    shop.run(&[]).unchanged();
}
