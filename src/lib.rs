//! Orders from an HTTP API or files, to a checked star schema in `dt=` partitions.
//!
//! A map for the reader, in the way of the data:
//!
//! | room | what |
//! |---|---|
//! | [`cli`] | what a person types and sees |
//! | [`coverage`] | which intervals of a source have been loaded |
//! | [`dictionary`] | what each column of the layer means, as texts for people and other tools |
//! | [`drift`] | what the records of a source look like, and what has changed since earlier runs |
//! | [`run`] | the job: wires the stages below, counts, cancels |
//! | [`source`] | bytes in, over HTTP or from files; cut into records |
//! | [`normalize`] | a record's bytes to typed columns; the rules by which malformed input is dropped |
//! | [`join`] | users and products: the dimensions, and what they add to a fact |
//! | [`layer`] | partitions: staged, stored, merged; which of them hold an order |
//! | [`check`] | DuckDB SQL over the layer as it would be |
//! | [`store`] | a folder or a bucket: objects, the log of commits, the files that it projects, leases |
//! | [`net`] | what every user of the network shares: client, TLS, proxies, retry policy, rate limits, redaction |
//! | [`report`] | what a run says of itself |
//! | [`report_html`] | the layer as one HTML page |
//! | [`lineage`] | what a run tells a catalog: OpenLineage events, and their delivery |
//! | [`warehouse`] | SQL for Redshift |
//! | [`demo`] | the embedded API |
//! | [`settings`] | flags, environment, `.env`, `etl.toml` |
//! | [`model`] | the words that all of them share |
//!
//! Imports point down: `cli` → `run` → the stages → `store`, `settings` → `model`, which imports nothing of the crate.
//! `docs/architecture.md` says what must never import what, and why.

pub mod cancel;
pub mod check;
pub mod cli;
pub mod coverage;
pub mod demo;
pub mod dictionary;
pub mod drift;
pub mod join;
pub mod layer;
pub mod lineage;
pub mod model;
pub mod net;
pub mod normalize;
pub mod report;
pub mod report_html;
pub mod run;
pub mod settings;
pub mod source;
pub mod store;
pub mod warehouse;
