//! Draws: bars, calendars, strips. The shapes only: words stand in HTML around them, where they keep their size on any screen.
//!
//! plotters draws in stand-in colours. [`Picture::of`] is the one place where these become the classes of the style sheet, so that
//! a picture has the colours of its page, light or dark.

use plotters::prelude::SVGBackend;
use plotters::{
    coord::Shift,
    drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea},
    element::{PathElement, Polygon, Rectangle},
    style::{Color, RGBColor},
};
use serde::Serialize;

use super::{PageError, scale::Scale, view::Tone};
use crate::model::Dt;

/// The width of a picture of bars, in its own units: the page stretches it.
pub(super) const WIDTH: i32 = 1200;

/// The height of a picture of bars.
pub(super) const HEIGHT: i32 = 240;

/// The least height of a bar of a value that is not zero: about three pixels.
const LEAST_HEIGHT: i32 = 4;

/// The size of a day of a calendar, with the gap beside it.
const CELL: i32 = 14;

/// The width of a run in a strip.
const STEP: i32 = 10;

/// Above this number, bars touch.
const MOST_SEPARATE: usize = 120;

/// The meaning of a mark. The style sheet has a class of fills, `f-…`, and one of strokes, `s-…`, for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    Accent,
    Good,
    Warn,
    Bad,
    Quiet,
    Line,
    Paper,
}

impl From<Tone> for Mark {
    fn from(tone: Tone) -> Mark {
        match tone {
            Tone::Good => Mark::Good,
            Tone::Warn => Mark::Warn,
            Tone::Bad => Mark::Bad,
            Tone::Plain => Mark::Quiet,
        }
    }
}

impl Mark {
    const ALL: [Mark; 7] = [Mark::Accent, Mark::Good, Mark::Warn, Mark::Bad, Mark::Quiet, Mark::Line, Mark::Paper];

    /// The end of the names of its classes.
    pub(super) fn class(self) -> &'static str {
        match self {
            Mark::Accent => "accent",
            Mark::Good => "good",
            Mark::Warn => "warn",
            Mark::Bad => "bad",
            Mark::Quiet => "quiet",
            Mark::Line => "line",
            Mark::Paper => "paper",
        }
    }

    /// The colour that stands in for it: in no theme, and different for each.
    fn stand_in(self) -> RGBColor {
        let blue = match self {
            Mark::Accent => 1,
            Mark::Good => 2,
            Mark::Warn => 3,
            Mark::Bad => 4,
            Mark::Quiet => 5,
            Mark::Line => 6,
            Mark::Paper => 7,
        };
        RGBColor(0xA1, 0xB2, blue)
    }
}

/// The shapes of a picture, and the size of their units.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Picture {
    width: i32,
    height: i32,
    /// The elements of an SVG, without the `svg` around them.
    shapes: String,
}

/// A value with its mark; `None` where there is none.
pub(super) type Bar = Option<(i128, Mark)>;

/// What is drawn on.
type Sheet<'s> = DrawingArea<SVGBackend<'s>, Shift>;

/// The result of drawing.
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

impl Picture {
    /// Draws a picture of this size.
    fn of(width: i32, height: i32, draw: impl FnOnce(&Sheet<'_>) -> Drawn) -> Result<Picture, PageError> {
        let mut svg = String::new();
        // plotters keeps shapes off the last row and column.
        let size = (width.unsigned_abs() + 1, height.unsigned_abs() + 1);
        {
            let sheet = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            draw(&sheet).and_then(|()| sheet.present()).map_err(|error| PageError::Picture(error.to_string()))?;
        }
        let inside = svg.split_once(">\n").and_then(|(_, rest)| rest.rsplit_once("</svg>")).map_or("", |(inside, _)| inside);
        let mut shapes = inside.replace(" opacity=\"1\"", "").replace(" stroke=\"none\"", "");
        for mark in Mark::ALL {
            let RGBColor(red, green, blue) = mark.stand_in();
            for (attribute, kind) in [("fill", "f"), ("stroke", "s")] {
                let drawn = format!("{attribute}=\"#{red:02X}{green:02X}{blue:02X}\"");
                shapes = shapes.replace(&drawn, &format!("class=\"{kind}-{}\"", mark.class()));
            }
        }
        Ok(Picture { width, height, shapes })
    }

    /// Bars over an axis, from the left to the right.
    pub(super) fn bars(bars: &[Bar], scale: Scale) -> Result<Picture, PageError> {
        Picture::of(WIDTH, HEIGHT, |sheet| {
            for mark in scale.marks() {
                let y = scale.y(mark);
                line(sheet, Mark::Line, vec![(0, y), (WIDTH, y)])?;
            }
            match bars.len() {
                0..=MOST_SEPARATE => separate_bars(sheet, bars, scale),
                _ => skyline(sheet, bars, scale),
            }
        })
    }

    /// The days of a year, a column a week from Monday to Sunday. Days without a mark are not drawn.
    pub(super) fn year(days: &[(Dt, Mark)]) -> Result<Picture, PageError> {
        let columns = days.first().map_or(1, |(first, _)| weeks_of_year(*first));
        let (width, height) = (columns * CELL, 7 * CELL);
        Picture::of(width, height, |sheet| {
            let in_one = |(one, of_one): &(Dt, Mark), (other, of_other): &(Dt, Mark)| {
                of_one == of_other && column(*one) == column(*other) && one.days() + 1 == other.days()
            };
            for week in days.chunk_by(in_one) {
                let (Some((first, mark)), Some((last, _))) = (week.first(), week.last()) else { continue };
                let (x, top, bottom) = (column(*first) * CELL, weekday(*first) * CELL, (weekday(*last) + 1) * CELL);
                fill(sheet, *mark, [(x, top), (x + CELL, bottom)])?;
            }
            separators(sheet, columns, height)?;
            rows_between_days(sheet, width)
        })
    }

    /// One field for each run, from the left to the right.
    pub(super) fn strip(fields: &[Mark]) -> Result<Picture, PageError> {
        let columns = i32::try_from(fields.len()).unwrap_or(1);
        Picture::of(columns * STEP, CELL, |sheet| {
            let mut x = 0;
            for alike in fields.chunk_by(PartialEq::eq) {
                let end = x + STEP * i32::try_from(alike.len()).unwrap_or(1);
                if let Some(mark) = alike.first() {
                    fill(sheet, *mark, [(x, 0), (end, CELL)])?;
                }
                x = end;
            }
            for column in 1..columns {
                line(sheet, Mark::Paper, vec![(column * STEP, 0), (column * STEP, CELL)])?;
            }
            Ok(())
        })
    }
}

fn fill(sheet: &Sheet<'_>, mark: Mark, corners: [(i32, i32); 2]) -> Drawn {
    sheet.draw(&Rectangle::new(corners, mark.stand_in().filled()))
}

fn line(sheet: &Sheet<'_>, mark: Mark, points: Vec<(i32, i32)>) -> Drawn {
    sheet.draw(&PathElement::new(points, mark.stand_in()))
}

/// Where the bar at a place begins.
fn edge(place: usize, bars: usize) -> i32 {
    let left = place as i128 * i128::from(WIDTH) / (bars.max(1) as i128);
    i32::try_from(left).unwrap_or(WIDTH)
}

fn separate_bars(sheet: &Sheet<'_>, bars: &[Bar], scale: Scale) -> Drawn {
    for (place, bar) in bars.iter().enumerate() {
        let Some((value, mark)) = bar else { continue };
        let (left, right) = (edge(place, bars.len()), edge(place + 1, bars.len()));
        // A few bars alone would be as wide as the page.
        let width = (right - left - (right - left) / 5).clamp(1, 48);
        let left = left + (right - left - width) / 2;
        let (y, base) = (scale.y(*value), scale.base());
        // A value that is not zero is seen, however small it is.
        let least = LEAST_HEIGHT * i32::try_from(value.signum()).unwrap_or_default();
        let y = if (base - y).abs() < LEAST_HEIGHT { base - least } else { y };
        fill(sheet, *mark, [(left, y.min(base)), (left + width, y.max(base))])?;
    }
    Ok(())
}

/// Bars that touch, as one shape. They have the mark of the first.
fn skyline(sheet: &Sheet<'_>, bars: &[Bar], scale: Scale) -> Drawn {
    let base = scale.base();
    let mut outline = vec![(0, base)];
    let mut height = base;
    for (place, bar) in bars.iter().enumerate() {
        let next = (*bar).map_or(base, |(value, _)| scale.y(value));
        if next != height {
            let left = edge(place, bars.len());
            outline.extend([(left, height), (left, next)]);
            height = next;
        }
    }
    outline.extend([(WIDTH, height), (WIDTH, base)]);
    let mark = bars.iter().flatten().next().map_or(Mark::Accent, |(_, mark)| *mark);
    sheet.draw(&Polygon::new(outline, mark.stand_in()))
}

/// Monday is 0.
fn weekday(dt: Dt) -> i32 {
    (dt.days() + 3).rem_euclid(7)
}

/// The first day of a day's year.
fn new_year(dt: Dt) -> Dt {
    let text = dt.to_string();
    let first = text.split_once('-').and_then(|(year, _)| format!("{year}-01-01").parse().ok());
    first.unwrap_or(dt)
}

/// The week of a day, counted from that of 1 January.
pub(super) fn column(dt: Dt) -> i32 {
    let first = new_year(dt);
    (dt.days() - first.days() + weekday(first)) / 7
}

/// How many weeks the year of a day touches.
pub(super) fn weeks_of_year(dt: Dt) -> i32 {
    let text = dt.to_string();
    let last = text.split_once('-').and_then(|(year, _)| format!("{year}-12-31").parse::<Dt>().ok());
    last.map_or(54, |last| column(last) + 1)
}

/// The lines between columns, as one: at the edges it is not seen.
fn separators(sheet: &Sheet<'_>, columns: i32, height: i32) -> Drawn {
    let corner = |column: i32, end: i32| (column * CELL, if (column % 2 == 0) == (end == 0) { 0 } else { height });
    let zigzag: Vec<_> = (0..=columns).flat_map(|column| [corner(column, 0), corner(column, 1)]).collect();
    line(sheet, Mark::Paper, zigzag)
}

fn rows_between_days(sheet: &Sheet<'_>, width: i32) -> Drawn {
    let corner = |row: i32, end: i32| (if (row % 2 == 0) == (end == 0) { 0 } else { width }, row * CELL);
    let zigzag: Vec<_> = (0..=7).flat_map(|row| [corner(row, 0), corner(row, 1)]).collect();
    line(sheet, Mark::Paper, zigzag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dt(text: &str) -> Dt {
        text.parse().unwrap()
    }

    #[test]
    fn no_stand_in_colour_is_left_and_each_shape_has_a_class() {
        let bars: Vec<Bar> = Mark::ALL.into_iter().enumerate().map(|(place, mark)| Some((place as i128 - 2, mark))).collect();
        let few = Picture::bars(&bars, Scale::of([-2, 4])).unwrap().shapes;
        let many = Picture::bars(&bars.repeat(40), Scale::of([-2, 4])).unwrap().shapes;
        let year = Picture::year(&[(dt("2026-01-01"), Mark::Good), (dt("2026-01-02"), Mark::Bad)]).unwrap().shapes;
        let strip = Picture::strip(&Mark::ALL).unwrap().shapes;
        for shapes in [&few, &many, &year, &strip] {
            assert!(!shapes.contains('#') && !shapes.contains("svg") && !shapes.contains("opacity"), "{shapes}");
            let elements = shapes.matches('<').count();
            assert!(elements > 1 && elements == shapes.matches("class=").count() && elements == shapes.matches("/>").count(), "{shapes}");
        }
        assert!(Mark::ALL.into_iter().all(|mark| strip.contains(&format!("f-{}", mark.class()))), "{strip}");
        assert_eq!((many.matches("<polygon").count(), many.matches("<rect").count()), (1, 0));
    }

    #[test]
    fn a_day_without_a_value_has_no_bar_and_a_small_value_is_seen() {
        let bars = [Some((1_000_000, Mark::Accent)), None, Some((1, Mark::Accent)), Some((0, Mark::Accent))];
        let shapes = Picture::bars(&bars, Scale::of([1_000_000])).unwrap().shapes;
        let heights: Vec<_> = shapes.split("height=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(heights, ["240", "4", "0"]);
    }

    #[test]
    fn a_calendar_has_a_column_a_week() {
        assert_eq!((weekday(dt("2026-02-02")), weekday(dt("2026-02-01"))), (0, 6));
        assert_eq!((column(dt("2026-01-01")), column(dt("2026-01-04")), column(dt("2026-01-05"))), (0, 0, 1));
        assert_eq!((weeks_of_year(dt("2026-06-01")), weeks_of_year(dt("2028-06-01"))), (53, 53));
        let days: Vec<_> = (0..7).filter_map(|day| Dt::from_days(dt("2026-01-05").days() + day)).map(|dt| (dt, Mark::Good)).collect();
        assert_eq!(Picture::year(&days).unwrap().shapes.matches("<rect").count(), 1, "a week of one kind is one shape");
    }
}
