//! Durations as people read them. The only place that writes them: a setting exactly, a measured time in short.

use std::time::Duration;

/// A span as settings write it, in the largest unit that it is whole in: "1d", "90m", "1500ms". Exact to the
/// millisecond.
pub fn span_text(span: Duration) -> String {
    let millis = span.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let unit = units.iter().find(|(size, _)| millis >= *size && millis.is_multiple_of(*size));
    unit.map_or_else(|| format!("{millis}ms"), |(size, name)| format!("{}{name}", millis / size))
}

/// How long something has taken, in its two largest units: "3d 4h", "2h 5m", "4m 10s", "42s", "2.5s", "300ms". What is
/// less is cut.
pub fn elapsed_text(elapsed: Duration) -> String {
    let (seconds, millis) = (elapsed.as_secs(), elapsed.subsec_millis());
    match seconds {
        0 if millis > 0 => format!("{millis}ms"),
        0..10 if millis >= 100 => format!("{seconds}.{}s", millis / 100),
        0..60 => format!("{seconds}s"),
        60..3600 => two_units(seconds / 60, "m", seconds % 60, "s"),
        3600..86_400 => two_units(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => two_units(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

fn two_units(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{large}{large_unit}") } else { format!("{large}{large_unit} {small}{small_unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_as_settings_have_it() {
        let shown = |millis| span_text(Duration::from_millis(millis));
        assert_eq!([0, 300, 1500, 2000, 90_000, 5_400_000].map(shown), ["0ms", "300ms", "1500ms", "2s", "90s", "90m"]);
        assert_eq!([7_200_000, 86_400_000, 129_600_000].map(shown), ["2h", "1d", "36h"]);
    }

    #[test]
    fn a_measured_time_is_never_nothing() {
        let shown = |millis| elapsed_text(Duration::from_millis(millis));
        assert_eq!([0, 7, 999, 1000, 1099, 2500, 42_700].map(shown), ["0s", "7ms", "999ms", "1s", "1s", "2.5s", "42s"]);
        assert_eq!([60_000, 250_000, 7_500_000, 273_600_000].map(shown), ["1m", "4m 10s", "2h 5m", "3d 4h"]);
    }
}
