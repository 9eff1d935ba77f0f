//! Traces and metrics by OTLP: what a collector gets, read by the protobuf classes of OpenTelemetry's own Python package; and what
//! a collector that fails, hangs or does not exist changes: nothing but one warning.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Ended, Server, Workspace, ended, json, order, status, tool};

/// Prints what a request holds as one object: spans by id, metrics by name and labels.
const PARSER: &str = r#"
import json, sys
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
def value(v):
    return getattr(v, v.WhichOneof("value"))
def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}
spans, metrics, resources = [], [], []
for path in sys.argv[1:]:
    body = open(path, "rb").read()
    if path.endswith("traces"):
        for part in ExportTraceServiceRequest.FromString(body).resource_spans:
            resources.append(attributes(part.resource.attributes))
            for scope in part.scope_spans:
                for span in scope.spans:
                    spans.append({"id": span.span_id.hex(), "parent": span.parent_span_id.hex(), "trace": span.trace_id.hex(),
                        "name": span.name, "attributes": attributes(span.attributes), "status": span.status.code,
                        "message": span.status.message, "ns": span.end_time_unix_nano - span.start_time_unix_nano,
                        "events": [event.name for event in span.events]})
    else:
        for part in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            resources.append(attributes(part.resource.attributes))
            for scope in part.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.gauge.data_points:
                        kind = point.WhichOneof("value")
                        metrics.append({"name": metric.name, "unit": metric.unit, "labels": attributes(point.attributes), "kind": kind, "value": getattr(point, kind)})
print(json.dumps({"spans": spans, "metrics": metrics, "resources": resources}))
"#;

/// A collector that takes everything.
fn collector() -> Server {
    Server::start(|_| (200, vec![("content-type", "application/x-protobuf".into())], Vec::new()))
}

/// What a collector got.
fn received(collector: &Server, work: &Workspace, python: &PathBuf) -> Value {
    let mut files = Vec::new();
    for (number, asked) in collector.asked().iter().enumerate() {
        assert_eq!(asked.header("content-type"), Some("application/x-protobuf"), "{}", asked.path);
        let kind = asked.path.strip_prefix("/v1/").unwrap_or_else(|| panic!("{}", asked.path));
        files.push(work.write(&format!("otlp/{number}.{kind}"), &asked.raw_body));
    }
    let parsed = Command::new(python).args(["-c", PARSER]).args(files).stderr(Stdio::inherit()).output().unwrap();
    serde_json::from_slice(&parsed.stdout).unwrap()
}

fn run(work: &Workspace, args: &[&str], variables: &[(&str, &str)]) -> Ended {
    ended(work.command(args).envs(variables.iter().copied()).output().unwrap())
}

/// Two pages over HTTP, the first after one failure.
fn source() -> Server {
    Server::start(|asked| match (asked.before, asked.parameter("page")) {
        (0, _) => status(503),
        (_, "1") => {
            json(format!("[{},{}]", order("A", "2026-01-01T00:00:00Z", ""), order("B", "2026-01-02T00:00:00Z", r#","user_id":"U1""#)))
        }
        (_, "2") => json(format!("[{},{}]", order("C", "2026-01-02T00:00:00Z", ""), r#"{"created_at":"2026-01-01"}"#)),
        _ => json("[]"),
    })
}

struct Spans(BTreeMap<String, Value>);

impl Spans {
    fn of(received: &Value) -> Spans {
        Spans(received["spans"].as_array().unwrap().iter().map(|span| (span["id"].as_str().unwrap().to_owned(), span.clone())).collect())
    }

    fn named(&self, name: &str) -> Vec<&Value> {
        self.0.values().filter(|span| span["name"] == name).collect()
    }

    fn parent(&self, span: &Value) -> &Value {
        &self.0[span["parent"].as_str().unwrap()]
    }
}

#[test]
fn a_collector_gets_the_spans_of_a_run_and_its_metrics_with_the_values_of_the_summary() {
    let Some(python) = tool("ETL_TEST_PYTHON", "reading OTLP by the classes of opentelemetry-proto") else { return };
    let (work, source, collector) = (Workspace::new(), source(), collector());
    work.write("etl.toml", "[http]\nbackoff_first = \"1ms\"\n");
    work.write("users.ndjson", r#"{"user_id":"U1","name":"Anna"}"#);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hush-hush-hush,x-tenant=shop"),
        ("OTEL_SERVICE_NAME", "orders"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test"),
    ];
    // The least log: what is collected does not depend on it.
    let ended = run(&work, &["run", "--orders", &source.orders(), "--users", "users.ndjson", "--quiet", "--format", "json"], &variables);
    let summary = ended.published();
    assert_eq!(ended.stderr, "");
    for asked in collector.asked() {
        assert_eq!((asked.header("authorization"), asked.header("x-tenant")), (Some("Bearer hush-hush-hush"), Some("shop")));
    }
    let received = received(&collector, &work, &python);
    for resource in received["resources"].as_array().unwrap() {
        assert_eq!((&resource["service.name"], &resource["deployment.environment"]), (&"orders".into(), &"test".into()));
    }

    let spans = Spans::of(&received);
    let traces: BTreeSet<_> = spans.0.values().map(|span| &span["trace"]).map(Value::to_string).collect();
    assert_eq!((spans.named("run").len(), traces.len()), (1, 1), "a run is a trace");
    let root = spans.named("run")[0];
    assert_eq!((&root["parent"], &root["attributes"]["run_id"]), (&"".into(), &summary["run_id"]));
    assert_eq!((&root["attributes"]["status"], &root["attributes"]["records_read"]), (&"published".into(), &4.into()));
    let stages: BTreeSet<_> = spans.named("stage").into_iter().map(|span| span["attributes"]["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, BTreeSet::from(["open", "dimensions", "extract", "merge", "check", "publish", "report"]));
    assert!(spans.named("stage").into_iter().all(|span| span["parent"] == root["id"]));
    let pages = spans.named("page");
    let below = |stage: &str| pages.iter().filter(|page| spans.parent(page)["attributes"]["stage"] == stage).collect::<Vec<_>>();
    let numbers: BTreeSet<_> = below("extract").into_iter().map(|page| page["attributes"]["page"].as_u64().unwrap()).collect();
    assert_eq!(numbers, BTreeSet::from([0, 1, 2, 3]), "0: the first page without its number");
    assert!(below("dimensions")[0]["attributes"]["file"].as_str().unwrap().ends_with("users.ndjson"), "{pages:?}");
    let retried = below("extract").into_iter().find(|page| page["attributes"]["page"] == 1).unwrap();
    assert_eq!(retried["events"].as_array().unwrap().len(), 1, "the retry is an event of its page: {retried}");
    let partitions = spans.named("partition");
    let days: BTreeSet<_> = partitions.iter().map(|span| span["attributes"]["dt"].as_str().unwrap()).collect();
    assert_eq!(days, BTreeSet::from(["2026-01-01", "2026-01-02"]));
    assert!(partitions.iter().all(|span| spans.parent(span)["attributes"]["stage"] == "merge"));
    assert!(spans.0.values().all(|span| span["ns"].as_i64().unwrap() > 0));

    let metrics = received["metrics"].as_array().unwrap();
    let value = |name: &str, labels: Value| {
        let found: Vec<_> = metrics.iter().filter(|metric| metric["name"] == name && metric["labels"] == labels).collect();
        assert_eq!(found.len(), 1, "{name} {labels}, sent once");
        found[0]["value"].clone()
    };
    let none = || serde_json::json!({});
    for name in ["records_read", "rows_inserted", "lines_read", "duplicates_dropped"] {
        assert_eq!(value(&format!("etl.{name}"), none()), summary[name], "{name}");
    }
    assert_eq!(value("etl.records_dropped", none()), summary["records_dropped_count"]);
    assert_eq!(value("etl.dropped", serde_json::json!({"reason": "missing_order_id"})), 1);
    assert_eq!(value("etl.revenue", serde_json::json!({"currency": "EUR"})), 4.5);
    assert_eq!(value("etl.run_status", serde_json::json!({"status": "published"})), 1);
    assert_eq!(value("etl.execution_time_seconds", none()), summary["execution_time_seconds"]);
    let of_file = run(&work, &["run", "--orders", &source.orders(), "--metrics-file", "etl.prom"], &[]);
    of_file.unchanged();
    let families = work.read("etl.prom");
    let families: BTreeSet<_> = families.lines().filter_map(|line| line.strip_prefix("# TYPE etl_")?.split(' ').next()).collect();
    let sent: BTreeSet<_> = metrics.iter().map(|metric| metric["name"].as_str().unwrap().strip_prefix("etl.").unwrap()).collect();
    let missing: Vec<_> = families.difference(&sent).copied().collect();
    assert_eq!(missing, ["records_claimed"], "the same list as OpenMetrics; this source claims nothing");
}

#[test]
fn a_failed_run_is_a_trace_with_its_error_and_a_dry_run_sends_no_metrics() {
    let Some(python) = tool("ETL_TEST_PYTHON", "reading OTLP by the classes of opentelemetry-proto") else { return };
    let (work, collector) = (Workspace::new(), collector());
    work.write(".env", format!("OTEL_EXPORTER_OTLP_ENDPOINT={}\n", collector.url));
    work.write("orders.ndjson", order("A", "2026-01-01T00:00:00Z", ""));
    work.etl(&["run", "--orders", "orders.ndjson", "--dry-run"]).expect(0, "dry_run");
    assert!(collector.asked().iter().all(|asked| asked.path == "/v1/traces"));
    work.etl(&["run", "--orders", "missing.ndjson"]).expect(3, "extract_failed");
    let received = received(&collector, &work, &python);
    let spans = Spans::of(&received);
    let failed = spans.named("run").into_iter().find(|span| span["attributes"]["status"] == "extract_failed").unwrap();
    assert_eq!(failed["status"], 2, "an error: {failed}");
    assert!(failed["message"].as_str().unwrap().contains("missing.ndjson"), "{failed}");
    let success = received["metrics"].as_array().unwrap().iter().find(|metric| metric["name"] == "etl.last_success_timestamp_seconds");
    assert_eq!(success.unwrap()["value"], 0.0, "before the first success");
}

#[test]
fn a_backfill_is_a_trace_for_each_of_its_runs() {
    let Some(python) = tool("ETL_TEST_PYTHON", "reading OTLP by the classes of opentelemetry-proto") else { return };
    let (work, collector) = (Workspace::new(), collector());
    work.write("orders.ndjson", order("A", "2026-01-01T00:00:00Z", ""));
    let args = ["backfill", "--orders", "orders.ndjson", "--since", "2026-01-01", "--until", "2026-01-04", "--chunk", "1d"];
    let result = run(&work, &args, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)]);
    assert_eq!(result.code, 0, "{}", result.stderr);
    let spans = Spans::of(&received(&collector, &work, &python));
    let traces: BTreeSet<_> = spans.named("run").into_iter().map(|span| span["trace"].to_string()).collect();
    assert_eq!(traces.len(), 3);
}

/// The warnings about the collector, as the log has them.
fn warnings(ended: &Ended) -> Vec<Value> {
    let lines = ended.stderr.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    lines.filter(|line| line["message"].as_str().unwrap().contains("the collector did not get")).collect()
}

#[test]
fn a_collector_that_cannot_be_used_is_one_warning_and_changes_nothing_else() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01T00:00:00Z", ""));
    let refusing = Server::start(|_| (401, Vec::new(), b"no such tenant, token hush-hush-hush".to_vec()));
    let hanging = Server::start(|_| {
        std::thread::sleep(Duration::from_secs(30));
        status(200)
    });
    // `partial_success { rejected_spans: 2 error_message: "too old" }`
    let choosy =
        Server::start(|_| (200, vec![("content-type", "application/x-protobuf".into())], b"\x0a\x0b\x08\x02\x12\x07too old".to_vec()));
    let endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let token = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hush-hush-hush");
    for (variables, cause) in [
        (vec![(endpoint, "http://127.0.0.1:9"), token], "http://127.0.0.1:9/v1/traces"),
        (vec![(endpoint, refusing.url.as_str()), token], "the collector answered 401 Unauthorized: no such tenant, token ***"),
        (vec![(endpoint, hanging.url.as_str()), token, ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")], "/v1/traces: "),
        (vec![(endpoint, choosy.url.as_str()), token], "the collector accepted only a part: too old"),
        (vec![(endpoint, "collector:4318"), token], "OTEL_EXPORTER_OTLP_ENDPOINT: not an http or https URL"),
        (vec![(endpoint, refusing.url.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "`grpc` is not supported"),
    ] {
        let began = Instant::now();
        let ended = run(&work, &["run", "--orders", "orders.ndjson", "--format", "json"], &variables);
        let took = began.elapsed();
        assert!(ended.code == 0 && took < Duration::from_secs(8), "{took:?}, {}", ended.stderr);
        let warned = warnings(&ended);
        assert_eq!(warned.len(), 1, "{variables:?}: {}", ended.stderr);
        assert_eq!(warned[0]["run_id"], ended.summary()["run_id"]);
        assert!(warned[0]["cause"].as_str().unwrap().contains(cause), "{cause}: {}", warned[0]);
        assert!(!ended.stderr.contains("hush-hush-hush"), "{}", ended.stderr);
    }
}

#[test]
fn a_backfill_does_not_wait_for_a_dead_collector_in_each_of_its_runs() {
    let (work, refusing) = (Workspace::new(), Server::start(|_| status(401)));
    work.write("orders.ndjson", order("A", "2026-01-01T00:00:00Z", ""));
    let args = ["backfill", "--orders", "orders.ndjson", "--since", "2026-01-01", "--until", "2026-01-05", "--chunk", "1d"];
    let ended = run(&work, &args, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &refusing.url)]);
    assert_eq!((ended.code, warnings(&ended).len(), refusing.asked().len()), (0, 1, 1), "{}", ended.stderr);
    assert!(warnings(&ended)[0]["spans_lost"].as_u64().unwrap() > 5, "{}", ended.stderr);
}

/// A collector that is busy for a moment.
#[test]
fn a_request_that_may_succeed_is_made_again() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01T00:00:00Z", ""));
    let busy = Server::start(|asked| status(if asked.before == 0 { 503 } else { 200 }));
    let ended = run(&work, &["run", "--orders", "orders.ndjson"], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &busy.url)]);
    ended.published();
    let paths: Vec<_> = busy.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!((paths, warnings(&ended).len()), (vec!["/v1/traces".to_owned(), "/v1/traces".to_owned(), "/v1/metrics".to_owned()], 0));
}

#[test]
fn a_signal_ends_the_wait_for_a_collector() {
    let work = Workspace::new();
    work.write("orders.ndjson", order("A", "2026-01-01T00:00:00Z", ""));
    let hanging = Server::start(|_| {
        std::thread::sleep(Duration::from_secs(30));
        status(200)
    });
    let mut command = work.command(&["run", "--orders", "orders.ndjson"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &hanging.url).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    while hanging.asked().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let began = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let ended = ended(child.wait_with_output().unwrap());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    ended.published();
}

#[test]
fn nothing_is_sent_unless_a_collector_is_named() {
    let (work, collector) = (Workspace::new(), collector());
    work.write("orders.ndjson", order("A", "2026-01-01T00:00:00Z", ""));
    let args = ["run", "--orders", "orders.ndjson"];
    run(&work, &args, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url), ("OTEL_SDK_DISABLED", "true")]).published();
    run(&work, &["status"], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)]);
    assert_eq!(collector.asked().len(), 0, "a command that is not a run sends nothing");
    let traces = format!("{}/v1/traces", collector.url);
    run(&work, &args, &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &traces)]).unchanged();
    assert!(!collector.asked().is_empty() && collector.asked().iter().all(|asked| asked.path == "/v1/traces"));
}
