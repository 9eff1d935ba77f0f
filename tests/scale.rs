//! The results of `docs/scale.md` are what its parameters make. How many requests a run takes is held by the simulation in
//! `src/run/scale_simulation.rs`.

use std::collections::BTreeMap;

const PAGE: &str = include_str!("../docs/scale.md");

/// What S3 takes in one PUT.
const LARGEST_PUT: f64 = 5.0 * 1024.0 * 1024.0 * 1024.0;

/// The cells of each row of a section that begins with a name in backquotes.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let section = PAGE.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with("## "));
    let rows: Vec<Vec<_>> =
        section.filter(|line| line.starts_with("| `")).map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect();
    assert!(!rows.is_empty(), "docs/scale.md has no rows under {heading}");
    rows
}

/// The parameters of the page, by name.
struct Parameters(BTreeMap<&'static str, f64>);

impl Parameters {
    fn read() -> Parameters {
        let number = |row: Vec<&'static str>| {
            let value = row[1].parse::<f64>().unwrap_or_else(|_| panic!("{} is {}", row[0], row[1]));
            (row[0].trim_matches('`'), value)
        };
        Parameters(rows("## Parameters").into_iter().map(number).collect())
    }

    fn of(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("docs/scale.md has no parameter `{name}`"))
    }
}

/// A number with commas between thousands, and as many decimals.
fn grouped(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(whole, fraction)| (whole, Some(fraction)));
    let mut out = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    fraction.map_or(out.clone(), |fraction| format!("{out}.{fraction}"))
}

/// Bytes in the largest decimal unit of which there is at least one.
fn bytes(number: f64) -> String {
    let (unit, name) = [(1e9, "GB"), (1e6, "MB"), (1e3, "KB")].into_iter().find(|(unit, _)| number >= *unit).unwrap_or((1.0, "bytes"));
    let value = number / unit;
    format!("{} {name}", grouped(value, usize::from(value < 10.0)))
}

fn dollars(number: f64) -> String {
    format!("${}", grouped(number, 2))
}

fn hours(seconds: f64) -> String {
    format!("{} h", grouped(seconds / 3600.0, 1))
}

fn seconds(seconds: f64) -> String {
    format!("{} s", grouped(seconds, 0))
}

fn count(number: f64) -> String {
    grouped(number, 0)
}

/// Extra requests of a multipart upload: one per part, one to begin, one to complete, less the single PUT.
fn more_requests(object: f64, part: f64) -> f64 {
    if object > 64.0 * 1024.0 * 1024.0 { (object / part).ceil() + 1.0 } else { 0.0 }
}

/// The results by name, as the page writes them.
fn results(parameters: &Parameters) -> Vec<(&'static str, String)> {
    let of = |name| parameters.of(name);
    let (orders, days, users) = (of("orders"), of("days"), of("users"));
    let curated = orders * of("csv_bytes");
    let (partition, index, dim_user) = (curated / days, orders * of("index_bytes"), users * of("user_csv_bytes"));
    let (stream, part) = (of("stream"), of("part_bytes"));
    let memory = users * of("user_memory") + index + 2.0 * orders / days * of("rows_per_order") * of("row_memory");
    let machine_hour = of("vcpus") * of("vcpu_hour") + of("memory_gb") * of("gb_hour");

    let runs = (days / of("chunk_days")).ceil();
    let segments = runs.log2().ceil();
    let of_run = of("requests_fixed") + segments + more_requests(dim_user, part);
    let requests = runs * of_run + days * (of("requests_partition") + 2.0 * more_requests(partition, part));
    // Read once to be merged, once where it is replaced; written as a version, and where it is replaced.
    let dimension = 4.0 * dim_user / stream;
    let index_read = index * (runs - 1.0) / 2.0;
    let written = 2.0 * curated / (stream * of("put_at_once"));
    let work = orders / of("orders_per_second") + index_read / stream + written + runs * dimension;
    let of_machine = work * (runs / of("machines")).ceil() / runs;
    let serial = runs * dimension;
    let wall = of_machine.max(serial);
    let put = of("put_price") / 1000.0;

    let touched = of("increment_partitions");
    let increment_requests = of_run + touched * (of("requests_partition") + more_requests(partition, part));
    let increment_read = index + 2.0 * dim_user + touched * partition;
    let increment_written = 2.0 * (touched * partition + dim_user);
    let merged = touched * orders / days / of("orders_per_second");
    let increment_seconds = index / stream + dimension + 3.0 * partition / stream + merged;
    let a_day = of("increments") * (increment_seconds / 3600.0 * machine_hour + increment_requests * put);
    let kept = of("increments") * of("keep_days") * (touched * partition + dim_user);
    let gigabyte = |bytes: f64| bytes / 1e9 * of("storage_price");
    vec![
        ("source", bytes(orders * of("source_bytes"))),
        ("source_days", format!("{} days", count(orders / of("page_orders") / of("pages_per_second") / 86_400.0))),
        ("curated", bytes(curated)),
        ("stored", bytes(2.0 * (curated + dim_user) + index)),
        ("partition", bytes(partition)),
        ("index", bytes(index)),
        ("dim_user", bytes(dim_user)),
        ("record", bytes(days * of("record_bytes"))),
        ("memory", bytes(memory)),
        ("runs", count(runs)),
        ("requests", count(requests)),
        ("index_read", bytes(index_read)),
        ("work", hours(work)),
        ("serial", hours(serial)),
        ("wall", hours(wall)),
        ("compute_price", dollars(of("machines") * wall / 3600.0 * machine_hour)),
        ("requests_price", dollars(requests * put)),
        ("storage_price_month", dollars(gigabyte(2.0 * (curated + dim_user) + index))),
        ("increment_requests", count(increment_requests)),
        ("increment_read", bytes(increment_read)),
        ("increment_written", bytes(increment_written)),
        ("increment_time", seconds(increment_seconds)),
        ("increments_price_day", dollars(a_day)),
        ("increments_kept", bytes(kept)),
        ("increments_kept_price_month", dollars(gigabyte(kept))),
        ("most_users", format!("{} million", count(LARGEST_PUT / of("user_csv_bytes") / 1e6))),
        ("most_orders_a_day", format!("{} million", grouped(LARGEST_PUT / of("csv_bytes") / 1e6, 1))),
    ]
}

#[test]
fn the_results_of_the_page_on_scale_are_what_its_parameters_make() {
    let shown: Vec<_> = rows("## Results").iter().map(|row| (row[0].trim_matches('`'), row[2].to_owned())).collect();
    let expected = results(&Parameters::read());
    let differ: Vec<_> =
        expected.iter().filter(|result| !shown.contains(result)).map(|(name, value)| format!("`{name}` is {value}")).collect();
    assert!(differ.is_empty(), "docs/scale.md says otherwise:\n{}", differ.join("\n"));
    assert_eq!(shown.len(), expected.len(), "a result of the page is not computed");
}

#[test]
fn numbers_are_written_as_the_page_writes_them() {
    assert_eq!([grouped(1_234_567.0, 0), grouped(999.0, 0), grouped(1234.5, 2)], ["1,234,567", "999", "1,234.50"]);
    assert_eq!([bytes(12_030_000_000.0), bytes(2_750_000_000.0), bytes(711_750.0), bytes(12.0)], ["12 GB", "2.8 GB", "712 KB", "12 bytes"]);
    assert_eq!([more_requests(1e6, 16e6), more_requests(393e6, 16_777_216.0)], [0.0, 25.0]);
}
