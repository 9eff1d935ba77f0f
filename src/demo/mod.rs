//! The embedded API: the fixtures over HTTP, on the loopback and an ephemeral port, as a small shop's API would serve them:
//! page by page, behind a `Link` header, and out of order once, so that a retry can be seen.
//!
//! Knows nothing of the job that is run against it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;

/// The fixtures: every rule of the contract at least once.
pub const ORDERS: &str = include_str!("../../fixtures/orders.ndjson");
/// Users, as CSV, as a shop's admin would export them.
pub const USERS: &str = include_str!("../../fixtures/users.csv");
/// Products, under `data`.
pub const PRODUCTS: &str = include_str!("../../fixtures/products.json");

/// Orders a page: few, so that there are some pages.
const PAGE: usize = 10;

/// The running API. It ends with the process.
#[derive(Clone, Copy, Debug)]
pub struct DemoApi {
    address: SocketAddr,
}

#[derive(Deserialize)]
struct Paging {
    /// The line of the last order of the page before.
    after: Option<usize>,
}

impl DemoApi {
    /// Starts the API on a thread of its own.
    ///
    /// # Errors
    /// Where no port of the loopback can be had.
    pub fn start() -> io::Result<DemoApi> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("demo-api".into()).spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                let router = Router::new()
                    .route("/orders", get(orders))
                    .route("/users", get(users))
                    .route("/products", get(products))
                    .with_state(Arc::new(AtomicBool::new(false)));
                // Served until the process ends; where that fails, the requests say so.
                let _ = axum::serve(listener, router).await;
            });
        })?;
        Ok(DemoApi { address })
    }

    /// The URL of a resource: `orders`, `users` or `products`.
    pub fn url(&self, resource: &str) -> String {
        format!("http://{}/{resource}", self.address)
    }
}

async fn orders(State(stumbled): State<Arc<AtomicBool>>, Query(paging): Query<Paging>) -> Response {
    let after = paging.after.unwrap_or(0);
    if after == PAGE && !stumbled.swap(true, Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "0")], "out of order once, to show a retry").into_response();
    }
    let all: Vec<&str> = ORDERS.lines().collect();
    let records: Vec<&str> = all.iter().skip(after).take(PAGE).copied().collect();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let last = after.saturating_add(PAGE);
    let link = if last < all.len() { format!("</orders?after={last}>; rel=\"next\"") } else { "</orders>; rel=\"first\"".to_owned() };
    if let Ok(link) = HeaderValue::from_str(&link) {
        headers.insert(header::LINK, link);
    }
    (headers, format!("{{\"orders\":[{}]}}", records.join(","))).into_response()
}

async fn users() -> Response {
    let mut rows = csv::Reader::from_reader(USERS.as_bytes());
    let header = rows.headers().cloned().unwrap_or_default();
    let object = |row: csv::StringRecord| {
        header.iter().map(str::to_owned).zip(row.iter().map(|cell| cell.to_owned().into())).collect::<serde_json::Map<_, _>>()
    };
    let users: Vec<_> = rows.into_records().filter_map(Result::ok).map(object).collect();
    json(serde_json::to_string(&users).unwrap_or_default())
}

async fn products() -> Response {
    json(PRODUCTS.to_owned())
}

/// A complete list. Its `Link` header says so, so that no second page is requested.
fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::LINK, "<>; rel=\"first\"")], body).into_response()
}
