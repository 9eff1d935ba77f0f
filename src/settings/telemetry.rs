//! Where traces and metrics go: the variables of OpenTelemetry
//! (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>), in the environment or `.env`. Sends nothing.
//!
//! A value that is not valid is not an error, since telemetry never changes how a run ends: it is a problem that the run reports.

use std::time::Duration;

use reqwest::{
    Url,
    header::{HeaderName, HeaderValue},
};

use super::{ConfiguredValue, Environment, Secret, location::percent_decoded};

/// The variables that are read.
pub(super) const VARIABLES: [&str; 15] = [
    ENDPOINT.common,
    ENDPOINT.traces,
    ENDPOINT.metrics,
    HEADERS.common,
    HEADERS.traces,
    HEADERS.metrics,
    TIMEOUT.common,
    TIMEOUT.traces,
    TIMEOUT.metrics,
    PROTOCOL.common,
    PROTOCOL.traces,
    PROTOCOL.metrics,
    DISABLED,
    SERVICE_NAME,
    RESOURCE_ATTRIBUTES,
];

const ENDPOINT: SignalVariables = SignalVariables {
    common: "OTEL_EXPORTER_OTLP_ENDPOINT",
    traces: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    metrics: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
};
const HEADERS: SignalVariables = SignalVariables {
    common: "OTEL_EXPORTER_OTLP_HEADERS",
    traces: "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    metrics: "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
};
const TIMEOUT: SignalVariables = SignalVariables {
    common: "OTEL_EXPORTER_OTLP_TIMEOUT",
    traces: "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    metrics: "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
};
const PROTOCOL: SignalVariables = SignalVariables {
    common: "OTEL_EXPORTER_OTLP_PROTOCOL",
    traces: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    metrics: "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
};
const DISABLED: &str = "OTEL_SDK_DISABLED";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// The only protocol that is supported.
const HTTP_PROTOBUF: &str = "http/protobuf";

/// The time for one request by default, as the specification says.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The service by default.
const DEFAULT_SERVICE: &str = "etl";

/// Parts of the names of headers that hold credentials.
const CREDENTIALS: [&str; 6] = ["auth", "key", "token", "secret", "cookie", "password"];

/// The value of any header is hidden from this length on.
const SHORTEST_CREDENTIAL: usize = 16;

/// A variable of all signals, and those of one, which override it.
struct SignalVariables {
    common: &'static str,
    traces: &'static str,
    metrics: &'static str,
}

/// What is sent to a collector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    fn variable(self, variables: &SignalVariables) -> &'static str {
        match self {
            Signal::Traces => variables.traces,
            Signal::Metrics => variables.metrics,
        }
    }

    /// The path that is appended to a common endpoint.
    fn path(self) -> &'static str {
        match self {
            Signal::Traces => "v1/traces",
            Signal::Metrics => "v1/metrics",
        }
    }
}

/// Where traces and metrics go, and whose they are.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TelemetrySettings {
    /// The collector of traces.
    pub traces: Option<Collector>,
    /// The collector of metrics.
    pub metrics: Option<Collector>,
    /// The attributes of this service, `service.name` among them.
    pub resource: Vec<ResourceAttribute>,
    /// Values that are not valid, each with its variable. What they concern is not sent.
    pub problems: Vec<String>,
}

/// An attribute of the service that sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResourceAttribute {
    /// The name, such as `deployment.environment`.
    pub name: String,
    /// The value.
    pub value: String,
}

/// A collector that speaks OTLP over HTTP, in protobuf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Collector {
    /// The URL of one signal.
    pub url: Url,
    /// Headers of each request. They usually hold credentials.
    pub headers: Vec<CollectorHeader>,
    /// The time for one request.
    pub timeout: Duration,
}

/// A header of requests to a collector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CollectorHeader {
    /// The name.
    pub name: HeaderName,
    /// The value. Its `Debug` hides it.
    pub value: HeaderValue,
}

/// Reads the variables; `None` if no collector is named.
pub(super) fn read(environment: &Environment) -> Option<TelemetrySettings> {
    let is_disabled = environment.get(DISABLED).is_some_and(|configured| configured.value.trim().eq_ignore_ascii_case("true"));
    if is_disabled {
        return None;
    }
    let mut problems = Vec::new();
    let mut collector = |signal| match collector(environment, signal) {
        Ok(collector) => collector,
        Err(problem) => {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
            None
        }
    };
    let (traces, metrics) = (collector(Signal::Traces), collector(Signal::Metrics));
    if traces.is_none() && metrics.is_none() && problems.is_empty() {
        return None;
    }
    let resource = resource(environment).unwrap_or_else(|problem| {
        problems.push(problem);
        vec![service(DEFAULT_SERVICE.to_owned())]
    });
    Some(TelemetrySettings { traces, metrics, resource, problems })
}

/// The collector of a signal. An error names the variable, and shows no secret.
fn collector(environment: &Environment, signal: Signal) -> Result<Option<Collector>, String> {
    let of_signal = |variables: &SignalVariables| {
        let own = signal.variable(variables);
        environment.get(own).or_else(|| environment.get(variables.common))
    };
    let Some(url) = url(environment, signal)? else { return Ok(None) };
    if let Some(protocol) = of_signal(&PROTOCOL).filter(|protocol| protocol.value.trim() != HTTP_PROTOBUF) {
        return Err(format!("{}: `{}` is not supported: write {HTTP_PROTOBUF}", protocol.origin, protocol.value));
    }
    let headers = of_signal(&HEADERS).map(|configured| headers(&configured)).transpose()?.unwrap_or_default();
    let timeout = of_signal(&TIMEOUT).map(|configured| timeout(&configured)).transpose()?.unwrap_or(DEFAULT_TIMEOUT);
    Ok(Some(Collector { url, headers, timeout }))
}

/// The URL of a signal: its own variable as it is, or else the common one with the path of the signal.
fn url(environment: &Environment, signal: Signal) -> Result<Option<Url>, String> {
    let parsed = |configured: &ConfiguredValue| {
        let text = configured.value.trim();
        if text.contains('@') || text.contains('?') {
            // Registered before it can be shown.
            let _ = Secret::new(text.to_owned());
        }
        let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        Url::parse(text).ok().filter(is_web).ok_or_else(|| format!("{}: not an http or https URL", configured.origin))
    };
    if let Some(own) = environment.get(signal.variable(&ENDPOINT)) {
        return parsed(&own).map(Some);
    }
    let Some(common) = environment.get(ENDPOINT.common) else { return Ok(None) };
    let mut url = parsed(&common)?;
    let path = format!("{}/{}", url.path().trim_end_matches('/'), signal.path());
    url.set_path(&path);
    Ok(Some(url))
}

/// Headers, as `name=value,name=value`, with percent-encoded values.
fn headers(configured: &ConfiguredValue) -> Result<Vec<CollectorHeader>, String> {
    let header = |(name, text): (String, String)| {
        hide_credential(&name, &text);
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(CollectorHeader { name: name.parse().ok()?, value })
    };
    let pairs = pairs(&configured.value).and_then(|pairs| pairs.into_iter().map(header).collect());
    pairs.ok_or_else(|| format!("{}: not a list of headers: write name=value,name=value", configured.origin))
}

/// Hides a value that is, or may be, a credential. A short one of another header, such as the name of a tenant, is a common word.
fn hide_credential(name: &str, value: &str) {
    let name = name.to_ascii_lowercase();
    if !CREDENTIALS.iter().any(|word| name.contains(word)) && value.len() < SHORTEST_CREDENTIAL {
        return;
    }
    let _ = Secret::new(value.to_owned());
    // A token is a secret by itself, whatever the word before it.
    let _ = value.rsplit_once(' ').map(|(_, token)| Secret::new(token.to_owned()));
}

fn timeout(configured: &ConfiguredValue) -> Result<Duration, String> {
    let millis = configured.value.trim().parse().ok().filter(|millis| *millis > 0);
    millis.map(Duration::from_millis).ok_or_else(|| format!("{}: write milliseconds, from 1", configured.origin))
}

/// The attributes of this service. Its name has a variable of its own.
fn resource(environment: &Environment) -> Result<Vec<ResourceAttribute>, String> {
    let mut attributes = vec![service(DEFAULT_SERVICE.to_owned())];
    if let Some(configured) = environment.get(RESOURCE_ATTRIBUTES) {
        let pairs = pairs(&configured.value).ok_or_else(|| format!("{}: write name=value,name=value", configured.origin))?;
        attributes.extend(pairs.into_iter().map(|(name, value)| ResourceAttribute { name, value }));
    }
    // The last one of a name counts.
    attributes.extend(environment.get(SERVICE_NAME).map(|configured| service(configured.value)));
    Ok(attributes)
}

fn service(value: String) -> ResourceAttribute {
    ResourceAttribute { name: "service.name".to_owned(), value }
}

/// Names and values of a list; `None` if it is not one.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
    let pair = |element: &str| {
        let (name, value) = element.split_once('=')?;
        Some((name.trim().to_owned(), percent_decoded(value.trim())))
    };
    elements.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(process: &[(&str, &str)]) -> Option<TelemetrySettings> {
        read(&Environment::of(process, &[]))
    }

    fn urls(process: &[(&str, &str)]) -> [String; 2] {
        let settings = settings(process).unwrap();
        [settings.traces, settings.metrics].map(|collector| collector.map_or("-".to_owned(), |collector| collector.url.to_string()))
    }

    #[test]
    fn a_common_endpoint_gets_the_path_of_the_signal_and_an_own_one_does_not() {
        for endpoint in ["http://h:4318", "http://h:4318/"] {
            assert_eq!(urls(&[(ENDPOINT.common, endpoint)]), ["http://h:4318/v1/traces", "http://h:4318/v1/metrics"]);
        }
        assert_eq!(urls(&[(ENDPOINT.common, "https://h/otlp")]), ["https://h/otlp/v1/traces", "https://h/otlp/v1/metrics"]);
        assert_eq!(urls(&[(ENDPOINT.metrics, "https://h/m")]), ["-", "https://h/m"]);
        assert_eq!(urls(&[(ENDPOINT.traces, "https://h/t"), (ENDPOINT.common, "http://c")]), ["https://h/t", "http://c/v1/metrics"]);
    }

    #[test]
    fn nothing_is_sent_without_an_endpoint_or_where_the_sdk_is_disabled() {
        assert_eq!(settings(&[(SERVICE_NAME, "orders")]), None);
        assert_eq!(settings(&[(ENDPOINT.common, "http://h"), (DISABLED, "TRUE")]), None);
        assert!(settings(&[(ENDPOINT.common, "http://h"), (DISABLED, "no")]).is_some());
    }

    #[test]
    fn headers_are_decoded_hidden_and_those_of_the_signal_count() {
        let all = [
            (ENDPOINT.common, "http://h"),
            (HEADERS.common, "authorization=Basic%20aHVzaC1odXNo, x-tenant=a%2Cb"),
            (HEADERS.metrics, "x-tenant=m"),
        ];
        let shown = |collector: Option<Collector>| -> Vec<String> {
            collector.unwrap().headers.iter().map(|header| format!("{}: {}", header.name, header.value.to_str().unwrap())).collect()
        };
        let settings = settings(&all).unwrap();
        assert!(!format!("{settings:?}").contains("aHVzaC1odXNo"));
        assert_eq!(shown(settings.traces), ["authorization: Basic aHVzaC1odXNo", "x-tenant: a,b"]);
        assert_eq!(shown(settings.metrics), ["x-tenant: m"]);
        let registered = super::super::secret::registered();
        assert!(registered.contains(&"aHVzaC1odXNo".to_owned()), "the token alone is a secret");
        assert!(!registered.contains(&"a,b".to_owned()), "the name of a tenant is a common word");
    }

    #[test]
    fn the_name_of_the_service_beats_the_attributes_which_beat_the_default() {
        let name = |process: &[(&str, &str)]| {
            let mut all = vec![(ENDPOINT.common, "http://h")];
            all.extend(process);
            let resource = settings(&all).unwrap().resource;
            resource.iter().rfind(|attribute| attribute.name == "service.name").unwrap().value.clone()
        };
        assert_eq!(name(&[]), "etl");
        assert_eq!(name(&[(RESOURCE_ATTRIBUTES, "service.name=a,team=x")]), "a");
        assert_eq!(name(&[(RESOURCE_ATTRIBUTES, "service.name=a"), (SERVICE_NAME, "b")]), "b");
    }

    #[test]
    fn a_value_that_is_not_valid_is_a_problem_that_shows_no_secret() {
        for (variable, value, problem) in [
            (ENDPOINT.common, "collector:4318", "OTEL_EXPORTER_OTLP_ENDPOINT: not an http or https URL"),
            (PROTOCOL.common, "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL: `grpc` is not supported: write http/protobuf"),
            (HEADERS.traces, "hush-hush", "OTEL_EXPORTER_OTLP_TRACES_HEADERS: not a list of headers: write name=value,name=value"),
            (TIMEOUT.common, "10s", "OTEL_EXPORTER_OTLP_TIMEOUT: write milliseconds, from 1"),
        ] {
            let found = settings(&[(ENDPOINT.common, "http://h"), (variable, value)][usize::from(variable == ENDPOINT.common)..]).unwrap();
            assert_eq!((found.traces, found.problems), (None, vec![problem.to_owned()]));
        }
    }
}
