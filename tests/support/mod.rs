//! What the promises are tried with: the real binary in a folder of its own, a real HTTP server on the loopback, and
//! DuckDB reading the result.

pub mod buckets;
pub mod fault_proxy;
pub mod lake;
pub mod network;
pub mod postgres;
pub mod server_process;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use axum::{
    body::Body,
    http::{HeaderMap, Request, Response, StatusCode},
};
use serde_json::Value;

/// A folder that a run works in, with nothing of the caller's environment.
pub struct Workspace {
    dir: tempfile::TempDir,
}

/// Where a tool is that a test needs and that is not everywhere: the gate says so. Where it is missing, a line says what is skipped.
pub fn tool(variable: &str, what: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.exists());
    if path.is_none() {
        eprintln!("skipped: {what} (set {variable})");
    }
    path
}

/// How a command ended.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The summary: the last line of stdout.
    pub fn summary(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_else(|| panic!("nothing on stdout; stderr: {}", self.stderr));
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{}", self.stderr))
    }

    /// The summary of a run that must have ended so.
    #[track_caller]
    pub fn expect(&self, code: i32, status: &str) -> Value {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        let summary = self.summary();
        assert_eq!(summary["status"], status, "{}", self.stderr);
        assert_counts_add_up(&summary);
        summary
    }

    #[track_caller]
    pub fn published(&self) -> Value {
        self.expect(0, "published")
    }

    #[track_caller]
    pub fn unchanged(&self) -> Value {
        self.expect(0, "unchanged")
    }
}

/// The two sums that the contract promises for every run.
#[track_caller]
pub fn assert_counts_add_up(summary: &Value) {
    let n = |name: &str| summary[name].as_u64().unwrap_or_else(|| panic!("{name} in {summary}"));
    assert_eq!(n("records_read"), n("records_processed_count") + n("records_dropped_count") + n("records_out_of_window"), "{summary}");
    let failed = !matches!(summary["status"].as_str(), Some("published" | "unchanged" | "dry_run"));
    let rows = ["duplicates_dropped", "rows_superseded", "rows_inserted", "rows_updated", "rows_unchanged", "rows_moved"];
    if !failed {
        assert_eq!(n("lines_read"), n("lines_dropped") + rows.map(n).iter().sum::<u64>(), "{summary}");
    }
    let by_reason: u64 = summary["dropped"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(by_reason, n("records_dropped_count") + n("lines_dropped"), "{summary}");
}

impl Workspace {
    pub fn new() -> Workspace {
        Workspace { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The command, in this folder, with nothing of the caller's environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_etl"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null());
        command
    }

    pub fn etl(&self, args: &[&str]) -> Ended {
        ended(self.command(args).output().unwrap())
    }

    /// `etl run` over these NDJSON lines.
    pub fn load(&self, lines: &[String], args: &[&str]) -> Ended {
        self.write("orders.ndjson", lines.join("\n"));
        self.etl(&[&["run", "--orders", "orders.ndjson"], args].concat())
    }

    pub fn start(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Every file beneath a folder of the output, with its content.
    pub fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        walk(&self.path(&format!("output/{folder}")), &mut |path| {
            files.insert(path.strip_prefix(self.path("output")).unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap());
        });
        files
    }

    /// All that readers rely on: the facts and the dimensions.
    pub fn layer(&self) -> BTreeMap<String, Vec<u8>> {
        self.files("curated").into_iter().chain(self.files("dims")).collect()
    }

    /// When each of these files was changed last.
    pub fn times(&self) -> BTreeMap<String, SystemTime> {
        self.times_in("curated").into_iter().chain(self.times_in("dims")).collect()
    }

    /// When each file beneath a folder of the output was changed last.
    pub fn times_in(&self, folder: &str) -> BTreeMap<String, SystemTime> {
        let names = self.files(folder).into_keys();
        names.map(|name| (name.clone(), self.path("output").join(name).metadata().unwrap().modified().unwrap())).collect()
    }

    /// The rows of the facts, as texts by column.
    pub fn facts(&self) -> Vec<BTreeMap<String, String>> {
        let mut rows = Vec::new();
        for bytes in self.files("curated").into_values() {
            let mut reader = csv::Reader::from_reader(bytes.as_slice());
            let names = reader.headers().unwrap().clone();
            let named = |row: csv::StringRecord| names.iter().map(str::to_owned).zip(row.iter().map(str::to_owned)).collect();
            rows.extend(reader.records().map(|row| named(row.unwrap())));
        }
        rows
    }

    /// Rows of a query over the layer, as DuckDB reads it, each joined with `|`.
    pub fn query(&self, sql: &str) -> Vec<String> {
        let output = self.path("output");
        let output = output.display();
        let duckdb = duckdb::Connection::open_in_memory().unwrap();
        if !self.files("curated").is_empty() {
            let columns = "{'order_id':'VARCHAR','sku':'VARCHAR','user_id':'VARCHAR','product_id':'VARCHAR','status':'VARCHAR','currency':'VARCHAR','quantity':'BIGINT','unit_price':'DECIMAL(18,4)','line_total':'DECIMAL(18,4)','price_defaulted':'BOOLEAN','user_country':'VARCHAR','product_name':'VARCHAR','product_category':'VARCHAR','created_at':'TIMESTAMP','updated_at':'TIMESTAMP'}";
            let view = format!(
                "CREATE VIEW fact_order AS SELECT * FROM read_csv('{output}/curated/*/*.csv', auto_detect=false, header=true, delim=',', quote='\"', escape='\"', hive_partitioning=true, hive_types={{'dt':'DATE'}}, columns={columns})"
            );
            duckdb.execute_batch(&view).unwrap();
        }
        if !self.files("order_totals").is_empty() {
            let money = ["lines", "discount", "shipping", "tax", "refunded", "paid"].map(|name| format!("'{name}_total':'DECIMAL(18,4)'"));
            let [lines, discount, shipping, tax, refunded, paid] = money;
            let columns = format!(
                "{{'order_id':'VARCHAR','currency':'VARCHAR',{lines},{discount},{shipping},{tax},'total':'DECIMAL(18,4)',{refunded},{paid},'status':'VARCHAR','created_at':'TIMESTAMP','updated_at':'TIMESTAMP'}}"
            );
            let view = format!(
                "CREATE VIEW fact_order_total AS SELECT * FROM read_csv('{output}/order_totals/*/*.csv', auto_detect=false, header=true, delim=',', quote='\"', escape='\"', hive_partitioning=true, hive_types={{'dt':'DATE'}}, columns={columns})"
            );
            duckdb.execute_batch(&view).unwrap();
        }
        if !self.files("refunds").is_empty() {
            let columns = "{'refund_id':'VARCHAR','order_id':'VARCHAR','sku':'VARCHAR','quantity':'DECIMAL(18,4)','amount':'DECIMAL(18,4)','currency':'VARCHAR','created_at':'TIMESTAMP'}";
            let view = format!(
                "CREATE VIEW fact_refund AS SELECT * FROM read_csv('{output}/refunds/*/*.csv', auto_detect=false, header=true, delim=',', quote='\"', escape='\"', hive_partitioning=true, hive_types={{'dt':'DATE'}}, columns={columns})"
            );
            duckdb.execute_batch(&view).unwrap();
        }
        for dimension in ["dim_user", "dim_product"] {
            if self.path(&format!("output/dims/{dimension}/{dimension}.csv")).exists() {
                duckdb.execute_batch(&format!("CREATE VIEW {dimension} AS SELECT * FROM read_csv('{output}/dims/{dimension}/{dimension}.csv', all_varchar=true, header=true, delim=',', quote='\"', escape='\"')")).unwrap();
            }
        }
        let mut statement = duckdb.prepare(&format!("SELECT CAST(COLUMNS(*) AS VARCHAR) FROM ({sql})")).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut all = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let columns = row.as_ref().column_count();
            all.push(
                (0..columns)
                    .map(|column| row.get::<_, Option<String>>(column).unwrap().unwrap_or_else(|| "NULL".into()))
                    .collect::<Vec<_>>()
                    .join("|"),
            );
        }
        all
    }

    /// The lines of the quarantine of the only run that has one.
    pub fn quarantine(&self) -> Vec<Value> {
        let files = self.files("quarantine");
        assert_eq!(files.len(), 1, "{:?}", files.keys());
        files
            .values()
            .next()
            .unwrap()
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }
}

/// A check of a summary, by its name.
pub fn check<'s>(summary: &'s Value, name: &str) -> Option<&'s Value> {
    summary["checks"].as_array().unwrap().iter().find(|check| check["name"] == name)
}

pub fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn walk(folder: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in folder.read_dir().into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, each) } else { each(&path) }
    }
}

/// One order of one line, as JSON.
pub fn order(order_id: &str, created_at: &str, rest: &str) -> String {
    format!(
        r#"{{"order_id":"{order_id}","created_at":"{created_at}","currency":"EUR","items":[{{"sku":"S","quantity":1,"price":1.5}}]{rest}}}"#
    )
}

/// What a server is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// The query byte by byte.
    pub raw_query: String,
    pub headers: HeaderMap,
    pub body: String,
    /// The body byte by byte.
    pub raw_body: Vec<u8>,
    /// How many requests came before.
    pub before: usize,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

pub type Reply = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// A JSON answer.
pub fn json(body: impl Into<String>) -> Reply {
    (200, vec![("content-type", "application/json".into())], body.into().into_bytes())
}

pub fn status(code: u16) -> Reply {
    (code, Vec::new(), Vec::new())
}

/// A server on the loopback. It ends with the test's process.
pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
        Server::serve("http", answer, |listener, router| async move { axum::serve(listener, router).await.unwrap() })
    }

    /// A server whose connections `serve` takes from the listener.
    pub(crate) fn serve<F: Future<Output = ()>>(
        scheme: &str,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
        serve: impl FnOnce(CountedListener, axum::Router) -> F + Send + 'static,
    ) -> Server {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let (asked, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (log, count, opened) = (asked.clone(), AtomicUsize::new(0), connections.clone());
        let handler = Arc::new(move |request: axum::http::request::Parts, body: axum::body::Bytes| {
            let query = request.uri.query().unwrap_or_default();
            let asked = Asked {
                path: request.uri.path().to_owned(),
                query: query
                    .split('&')
                    .filter_map(|pair| pair.split_once('='))
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
                raw_query: query.to_owned(),
                headers: request.headers.clone(),
                body: String::from_utf8_lossy(&body).into_owned(),
                raw_body: body.to_vec(),
                before: count.fetch_add(1, Ordering::SeqCst),
            };
            log.lock().unwrap().push(asked.clone());
            let (status, headers, body) = answer(&asked);
            let mut response = Response::new(Body::from(body));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                response.headers_mut().append(name, value.parse().unwrap());
            }
            response
        });
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = CountedListener { listener: tokio::net::TcpListener::from_std(listener).unwrap(), opened };
                let router = axum::Router::new().fallback(move |request: Request<Body>| {
                    let handler = handler.clone();
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
                        // An answer may sleep, and others must not wait for it.
                        tokio::task::spawn_blocking(move || handler(parts, body)).await.unwrap()
                    }
                });
                serve(listener, router).await;
            });
        });
        Server { url, asked, connections }
    }

    pub fn orders(&self) -> String {
        format!("{}/orders", self.url)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// `127.0.0.1:4711`.
    pub fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }
}

/// Counts the connections that it accepts.
pub struct CountedListener {
    listener: tokio::net::TcpListener,
    opened: Arc<AtomicUsize>,
}

impl axum::serve::Listener for CountedListener {
    type Io = tokio::net::TcpStream;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let accepted = axum::serve::Listener::accept(&mut self.listener).await;
        self.opened.fetch_add(1, Ordering::SeqCst);
        accepted
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
