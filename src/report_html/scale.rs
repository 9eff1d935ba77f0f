//! The axes of a picture: round steps, where a value stands, and the labels of days. In whole numbers, so that no money is a float.

use super::{
    numbers::percent,
    picture::HEIGHT,
    view::{Tick, Ticks},
};
use crate::model::Dt;

/// The most steps of an axis of values.
const MOST_STEPS: i128 = 4;

/// An axis of values from the bottom of a picture to its top. Zero is on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Scale {
    low: i128,
    high: i128,
    step: i128,
}

impl Scale {
    /// The axis that these values fit on, with round ends.
    pub(super) fn of(values: impl IntoIterator<Item = i128>) -> Scale {
        let (low, high) = values.into_iter().fold((0, 0), |(low, high): (i128, i128), value| (low.min(value), high.max(value)));
        let high = if low == 0 { high.max(1) } else { high };
        let step = round_steps().find(|step| steps(low, high, *step) <= MOST_STEPS).unwrap_or(i128::MAX);
        Scale { low: low.div_euclid(step).saturating_mul(step), high: (-(-high).div_euclid(step)).saturating_mul(step), step }
    }

    /// The place of a value, in units of the picture from its top.
    pub(super) fn y(self, value: i128) -> i32 {
        let height = i128::from(HEIGHT);
        let above = value.saturating_sub(self.low).saturating_mul(height) / self.high.saturating_sub(self.low).max(1);
        i32::try_from(height - above).unwrap_or_default()
    }

    /// The place of zero.
    pub(super) fn base(self) -> i32 {
        self.y(0)
    }

    /// The values that have a label.
    pub(super) fn marks(self) -> impl Iterator<Item = i128> {
        let Scale { low, high, step } = self;
        (0..=MOST_STEPS + 1).map(move |place| low.saturating_add(step.saturating_mul(place))).take_while(move |mark| *mark <= high)
    }

    /// The labels, each with its distance from the bottom in percent.
    pub(super) fn ticks(self, text: impl Fn(i128) -> String) -> Ticks {
        let tick = |mark: i128| Tick { at: percent(mark - self.low, self.high - self.low), text: text(mark) };
        self.marks().map(tick).collect()
    }
}

fn steps(low: i128, high: i128, step: i128) -> i128 {
    -(-high).div_euclid(step) - low.div_euclid(step)
}

/// 1, 2, 5, 10, 20, 50, ...
fn round_steps() -> impl Iterator<Item = i128> {
    (0..36).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_i128.pow(power)))
}

/// The parts of a day's name.
pub(super) struct Civil {
    pub(super) year: String,
    pub(super) month: usize,
    pub(super) day: String,
}

impl Civil {
    /// The parts of a day.
    pub(super) fn of(dt: Dt) -> Civil {
        let text = dt.to_string();
        let mut parts = text.splitn(3, '-').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (year, month, day) = (next(), next(), next());
        Civil { year, month: month.parse().unwrap_or(1), day }
    }

    /// `Jan`.
    pub(super) fn month_name(&self) -> &'static str {
        const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        NAMES.get(self.month.saturating_sub(1)).copied().unwrap_or("Jan")
    }
}

/// The labels of an axis of days, each at the middle of its day, in percent from the left. At most about nine of them.
pub(super) fn day_ticks(days: &[Dt]) -> Ticks {
    let halves = 2 * days.len() as i128;
    let mut ticks = Vec::new();
    for (place, &dt) in days.iter().enumerate() {
        let civil = Civil::of(dt);
        let is_first_of_month = civil.day == "01";
        let text = match days.len() {
            0..10 => format!("{} {}", civil.day, civil.month_name()),
            10..60 if place.is_multiple_of(7) => format!("{} {}", civil.day, civil.month_name()),
            60..250 if is_first_of_month => format!("{} {}", civil.month_name(), civil.year),
            250..900 if is_first_of_month && civil.month % 3 == 1 => format!("{} {}", civil.month_name(), civil.year),
            900.. if is_first_of_month && civil.month == 1 => civil.year,
            _ => continue,
        };
        ticks.push(Tick { at: percent(2 * place as i128 + 1, halves), text });
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_round_ends_and_holds_its_values() {
        for values in [vec![], vec![0], vec![7], vec![-3, 12_345_678], vec![-40], vec![999, 1000, 1001], vec![i128::from(i64::MAX)]] {
            let scale = Scale::of(values.clone());
            let marks: Vec<_> = scale.marks().collect();
            assert!(marks.contains(&0) && (2..=6).contains(&marks.len()), "{values:?}: {marks:?}");
            assert_eq!((marks.first(), marks.last()), (Some(&scale.low), Some(&scale.high)), "{values:?}");
            assert!(values.iter().all(|value| (0..=HEIGHT).contains(&scale.y(*value))), "{values:?}");
        }
        assert_eq!(Scale::of([0, 17]).marks().collect::<Vec<_>>(), [0, 5, 10, 15, 20]);
        assert_eq!((Scale::of([10]).y(0), Scale::of([10]).base()), (HEIGHT, HEIGHT));
    }

    #[test]
    fn days_have_a_few_labels_however_many_they_are() {
        for (days, least, most) in [(1, 1, 1), (5, 5, 5), (30, 4, 5), (120, 3, 5), (400, 4, 5), (731, 7, 9), (2000, 5, 6)] {
            let days: Vec<Dt> = (20_454..20_454 + days).filter_map(Dt::from_days).collect();
            let ticks = day_ticks(&days);
            assert!((least..=most).contains(&ticks.len()), "{}: {}", days.len(), ticks.len());
        }
    }
}
