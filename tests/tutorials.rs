//! `docs/tutorials`, followed to the letter: the blocks of a page run one after the other in one folder, and print what the page shows.
//!
//! - A block of `toml`, `ini` or `python` that begins with `# NAME` is a file that the reader writes.
//! - A block of `sh` is run. A block of `text` right behind it is its whole output; `…` stands for any text, and alone for any lines.
//! - A block of `bash` needs an account of AWS, and is not run.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::support::{self, Asked, Ended, Reply, Server, Workspace, json, status, tool};

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A block of code of a page.
struct Block {
    language: String,
    /// Where its text begins in the page.
    line: usize,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (line, text) in (1..).zip(page.lines()) {
        match (text.strip_prefix("```"), open.take()) {
            (Some(language), None) => open = Some(Block { language: language.to_owned(), line: line + 1, text: String::new() }),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.text.push_str(text);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is never closed");
    blocks
}

/// Whether a line is one that the page shows.
fn is_line(shown: &str, said: &str) -> bool {
    let Some((before, behind)) = shown.split_once('…') else { return shown == said };
    let Some(rest) = said.strip_prefix(before) else { return false };
    rest.char_indices().map(|(place, _)| place).chain([rest.len()]).any(|place| is_line(behind, &rest[place..]))
}

/// Whether an output is one that the page shows.
fn is_output(shown: &[&str], said: &[&str]) -> bool {
    match shown.split_first() {
        None => said.is_empty(),
        Some((&"…", rest)) => (0..=said.len()).any(|skipped| is_output(rest, &said[skipped..])),
        Some((line, rest)) => said.split_first().is_some_and(|(first, said)| is_line(line, first) && is_output(rest, said)),
    }
}

/// A reader of a page: a folder, and a shell whose `etl` is the binary under test.
struct Reader {
    work: Workspace,
    python: Option<PathBuf>,
}

impl Reader {
    fn new(python: Option<PathBuf>) -> Reader {
        Reader { work: Workspace::new(), python }
    }

    fn path(&self) -> std::ffi::OsString {
        let etl = Path::new(env!("CARGO_BIN_EXE_etl")).parent().unwrap().to_owned();
        let python = self.python.as_deref().and_then(Path::parent).map(Path::to_owned);
        let all = std::env::var_os("PATH").unwrap_or_default();
        std::env::join_paths([etl].into_iter().chain(python).chain(std::env::split_paths(&all))).unwrap()
    }

    fn shell(&self, script: &str) -> Ended {
        let mut command = Command::new("bash");
        command.args(["-eu", "-o", "pipefail", "-c", script]).current_dir(self.work.path("")).env_clear().stdin(Stdio::null());
        // A reader has a terminal, and sees text.
        command.env("PATH", self.path()).env("HOME", self.work.path("")).env("ETL_FORMAT", "text");
        support::ended(command.output().unwrap())
    }

    /// Follows the page, and says how many outputs it has compared. What needs Python is left out where there is none with pandas.
    fn follow(&self, page: &str) -> usize {
        let blocks = blocks(page);
        let mut compared = 0;
        for (place, block) in blocks.iter().enumerate() {
            match block.language.as_str() {
                "toml" | "ini" | "python" => {
                    let name = block.text.lines().next().and_then(|line| line.strip_prefix("# "));
                    self.work.write(name.unwrap_or_else(|| panic!("line {}: the file has no name", block.line)), &block.text);
                }
                "sh" if block.text.contains("python3 ") && self.python.is_none() => {}
                "sh" => {
                    let ended = self.shell(&block.text);
                    assert_eq!(ended.code, 0, "line {}: {}{}", block.line, ended.stdout, ended.stderr);
                    let Some(shown) = blocks.get(place + 1).filter(|next| next.language == "text") else { continue };
                    let said: Vec<_> = ended.stdout.lines().map(str::trim_end).collect();
                    assert!(is_output(&shown.text.lines().collect::<Vec<_>>(), &said), "line {}: {}", shown.line, ended.stdout);
                    compared += 1;
                }
                "text" | "bash" | "crontab" => {}
                other => panic!("line {}: a block of `{other}`", block.line),
            }
        }
        compared
    }
}

#[test]
fn shown_output_is_compared_line_by_line() {
    for (shown, said, expected) in [
        (&["a", "…", "c"][..], &["a", "b", "b", "c"][..], true),
        (&["a", "…", "c"], &["a", "c"], true),
        (&["a", "…", "c"], &["a", "b"], false),
        (&["read … records (…)"], &["read 5 records (1 file)"], true),
        (&["read … records (…)"], &["read 5 records"], false),
        (&["a"], &["a", "b"], false),
        (&["a", "b"], &["a"], false),
    ] {
        assert_eq!(is_output(shown, said), expected, "{shown:?} {said:?}");
    }
}

/// An amount of two or four decimals, in ten-thousandths.
fn ten_thousandths(amount: &str) -> i64 {
    let (whole, decimals) = amount.trim().trim_start_matches('+').split_once('.').unwrap();
    format!("{whole}{decimals:0<4}").parse().unwrap()
}

#[test]
fn the_pandas_script_loses_what_the_page_says_and_etl_does_not() {
    let page = file("docs/tutorials/from-pandas.md");
    let python = tool("ETL_TEST_DATA_PYTHON", "the pandas script of the tutorial: a Python with pandas");
    let expected = if python.is_some() { 8 } else { 5 };
    let reader = Reader::new(python);
    assert_eq!(reader.follow(&page), expected);
    // What the orders of the page are worth, by hand: 12.50 + 285.00 + 19.99 + 45.00 + 1299.00.
    let revenue = 16_614_900;
    let stored = reader.work.query("SELECT sum(line_total) FROM fact_order");
    assert_eq!(stored.iter().map(|sum| ten_thousandths(sum)).collect::<Vec<_>>(), [revenue]);
    assert!(page.contains("The true revenue is 1661.49 EUR."));
    // The effects of the table lead from the layer to what the script has printed.
    let rows = page.lines().skip_while(|line| !line.starts_with("| mistake |")).skip(2).take_while(|line| line.starts_with('|'));
    let effects: Vec<_> = rows.map(|row| ten_thousandths(row.split(" | ").nth(2).unwrap())).collect();
    assert_eq!(effects.len(), 6);
    let printed = page.lines().find_map(|line| line.strip_prefix("12 rows ")).unwrap();
    assert_eq!(revenue + effects.iter().sum::<i64>(), ten_thousandths(printed));
    assert_eq!(reader.work.query("SELECT DISTINCT dt FROM fact_order WHERE order_id = '2'"), ["2026-02-01"], "the day in UTC");
    assert_eq!(reader.work.query("SELECT inferred FROM dim_user WHERE user_id = '9'"), ["true"]);
}

const CUSTOMERS: &str =
    r#"[{"id":26,"username":"ann","email":"ann@example.test","billing":{"country":"DE"},"date_created":"2025-12-01T10:00:00"}]"#;
const PRODUCTS: &str = r#"[{"id":93,"type":"simple","sku":"","name":"Pot","categories":[{"name":"Kitchen"}],"regular_price":"10.00"},{"id":94,"type":"simple","sku":"","name":"Pan","categories":[{"name":"Kitchen"}],"regular_price":"20.00"},{"id":95,"type":"simple","sku":"","name":"Lid","categories":[{"name":"Kitchen"}],"regular_price":"30.00"},{"id":96,"type":"variable","sku":"TEA","name":"Tea","categories":[{"name":"Drinks"}],"regular_price":""},{"id":97,"type":"simple","sku":"MUG","name":"Mug","categories":[{"name":"Kitchen"}],"regular_price":"4.99"}]"#;
/// The shop gives order 705 back on a later day.
const REFUNDS: &str = r#"[{"id":800,"date_created":"2026-02-03T10:00:00","date_created_gmt":"2026-02-03T09:00:00","amount":"9.98","reason":"","line_items":[{"id":60,"product_id":97,"variation_id":0,"quantity":-2,"total":"-9.98","total_tax":"0.00","sku":"MUG","meta_data":[{"id":3,"key":"_refunded_item_id","value":"6"}]}]}]"#;
const VARIATIONS: &str = r#"[{"id":961,"sku":"TEA-S","regular_price":"4.00"}]"#;

/// The shop of the tutorial: five orders, whose totals are 104.98 EUR.
fn shop(orders: &str, asked: &Asked) -> Reply {
    // ck_1:cs_1
    if asked.header("authorization") != Some("Basic Y2tfMTpjc18x") {
        return status(401);
    }
    let (body, count) = match asked.path.strip_prefix("/wp-json/wc/v3").unwrap_or_default() {
        "/orders" => (orders, 5),
        "/customers" => (CUSTOMERS, 1),
        "/products" => (PRODUCTS, 5),
        "/products/96/variations" => (VARIATIONS, 1),
        "/orders/705/refunds" => (REFUNDS, 1),
        _ => return status(404),
    };
    let mut reply = json(body);
    reply.1.push(("x-wp-total", count.to_string()));
    reply.1.push(("x-wp-totalpages", "1".into()));
    reply
}

#[test]
fn a_woocommerce_shop_is_loaded_step_by_step() {
    let orders = file("tests/payloads/woocommerce.json");
    let server = Server::start(move |asked| shop(&orders, asked));
    let page = file("docs/tutorials/woocommerce-to-redshift.md").replace("https://your-shop.example", &server.url);
    let reader = Reader::new(None);
    assert_eq!(reader.follow(&page), 11);
    assert_eq!(
        reader.work.query("SELECT sum(line_total) FROM fact_order"),
        ["104.9800"],
        "as in tests/vendors.rs, by the vendor's own totals"
    );
    assert_eq!(reader.work.query("SELECT DISTINCT order_id FROM fact_order ORDER BY ALL"), ["701", "702", "703", "704", "705"]);
    // The second run has asked only for what changed.
    let asked = server.asked();
    let of_orders = asked.iter().filter(|asked| asked.path.ends_with("/orders"));
    let for_changes: Vec<_> = of_orders.map(|asked| asked.query.contains_key("modified_after")).collect();
    assert!(for_changes.ends_with(&[false, true]) && for_changes.iter().filter(|is_asked| **is_asked).count() == 1, "{for_changes:?}");
    // The line of cron is one that works, and says nothing.
    let cron = blocks(&page).into_iter().find(|block| block.language == "crontab").unwrap().text;
    let line = cron.trim().splitn(6, ' ').last().unwrap().replace("cd /srv/etl", "true").replace("/usr/local/bin/etl", "etl");
    let ended = reader.shell(&line);
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (0, "", ""));
}
