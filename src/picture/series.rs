//! A series over time: values with their intervals, what they are compared with, when it changed, and what is not final yet.

use chrono::{DateTime, Duration, Utc};
use plotters::chart::{ChartBuilder, ChartContext, LabelAreaPosition};
use plotters::coord::types::{RangedCoordf64, RangedDateTime};
use plotters::element::{Circle, PathElement, Polygon, Text};
use plotters::prelude::{Cartesian2d, DrawingBackend};
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::{ACCENT, Area, Error, GRID, INK, LIMIT, Look, MUTED, Picture, Table, failed, number};

/// The label of a line that is no limit.
pub const REFERENCE: &str = "reference";

/// So many powers of ten below the lowest line a logarithmic scale ends.
const DECADES: f64 = 5.0;

/// A value at an instant, with its interval where it has one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When.
    pub at: DateTime<Utc>,
    /// The value.
    pub value: f64,
    /// Lower and upper end of its interval.
    pub interval: Option<(f64, f64)>,
}

/// A series over time with what it is compared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// What is shown.
    pub title: String,
    /// What the values are.
    pub y_label: String,
    /// The series, in the order of time.
    pub points: Vec<Point>,
    /// Horizontal lines, each with its label: limits, dashed, and what is called [`REFERENCE`], dotted.
    pub lines: Vec<(String, f64)>,
    /// A vertical mark with its label.
    pub mark: Option<(String, DateTime<Utc>)>,
    /// From then on values are provisional: truth is still coming. Hatched.
    pub provisional_from: Option<DateTime<Utc>>,
    /// Whether values stand on a logarithmic scale; then what is not positive is left out, and what is far below every line is drawn at
    /// the lower edge.
    pub logarithmic: bool,
}

type Context<'a, DB> = ChartContext<'a, DB, Cartesian2d<RangedDateTime<DateTime<Utc>>, RangedCoordf64>>;
type Span = (DateTime<Utc>, DateTime<Utc>);

impl Picture for Chart {
    fn title(&self) -> String {
        self.title.clone()
    }

    fn words(&self) -> String {
        let mut text = self.title.clone();
        if let (Some(first), Some(last)) = (self.points.first(), self.points.last()) {
            text.push_str(&format!(
                ", {} values from {} to {}: {:.3} at first, {:.3} at last",
                self.points.len(),
                day(first.at),
                day(last.at),
                first.value,
                last.value
            ));
        }
        for (label, value) in &self.lines {
            text.push_str(&format!("; {label} {value:.3}"));
        }
        if let Some((label, at)) = &self.mark {
            text.push_str(&format!("; {label} {}", at.format("%Y-%m-%d %H:%M UTC")));
        }
        if let Some(from) = self.provisional_from {
            text.push_str(&format!("; provisional from {}", day(from)));
        }
        text
    }

    fn table(&self) -> Table {
        let head = ["at (UTC)", &self.y_label, "95 % interval"].map(str::to_owned).to_vec();
        let rows = self.points.iter().rev().map(|point| {
            let interval =
                point.interval.map_or_else(String::new, |(lower, upper)| format!("{lower:.3} to {upper:.3}"));
            vec![point.at.format("%Y-%m-%d %H:%M").to_string(), format!("{:.3}", point.value), interval]
        });
        Table { head, rows: rows.collect() }
    }

    fn size(&self) -> (u32, u32) {
        (400, 260)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, look: Look) -> Result<(), Error> {
        let points = self.placed();
        if points.is_empty() {
            return Err(Error("there is no value".to_owned()));
        }
        let lines: Vec<(&str, f64)> =
            self.lines.iter().filter_map(|(label, value)| Some((label.as_str(), self.place(*value)?))).collect();
        let (x, y) = (self.span(&points), heights(&points, &lines));
        let mut builder = ChartBuilder::on(area);
        builder
            .margin(look.px(6.0))
            .margin_right(look.px(14.0))
            .set_label_area_size(LabelAreaPosition::Left, look.px(look.letters * 4.2))
            .set_label_area_size(LabelAreaPosition::Bottom, look.px(look.letters * 1.9));
        let middle = look.text(INK, HPos::Center, VPos::Center);
        if look.is_titled {
            builder.caption(&self.title, middle);
        }
        let mut chart = builder.build_cartesian_2d(x.0..x.1, y.0..y.1).map_err(failed)?;
        self.draw_grid(&mut chart, look, x, y)?;
        self.draw_provisional(&mut chart, look, x, y)?;
        self.draw_marks(&mut chart, look, (x, y), &lines, &points)?;
        draw_series(&mut chart, look, &points)
    }
}

impl Chart {
    /// Whether there is anything to draw.
    #[must_use]
    pub fn has_values(&self) -> bool {
        self.points.iter().any(|point| self.place(point.value).is_some())
    }

    /// The points that can be drawn, where they stand on the scale.
    fn placed(&self) -> Vec<Point> {
        // On a logarithmic scale nothing would end the fall of what is far below every line: it is drawn at an edge.
        let lines = self.lines.iter().filter_map(|(_, value)| self.place(*value));
        let floor = lines.reduce(f64::min).filter(|_| self.logarithmic).map(|least| least - DECADES);
        let place = |value: f64| Some(self.place(value)?.max(floor.unwrap_or(f64::NEG_INFINITY)));
        let points = self.points.iter().filter_map(|point| {
            let interval = point.interval.and_then(|(lower, upper)| Some((place(lower)?, place(upper)?)));
            Some(Point { value: place(point.value)?, interval, ..*point })
        });
        points.collect()
    }

    /// Where a value stands on the scale; nowhere if the scale has no place for it.
    fn place(&self, value: f64) -> Option<f64> {
        let placed = if self.logarithmic { libm::log10(value) } else { value };
        placed.is_finite().then_some(placed)
    }

    fn draw_grid<DB: DrawingBackend>(
        &self,
        chart: &mut Context<'_, DB>,
        look: Look,
        x: Span,
        y: (f64, f64),
    ) -> Result<(), Error> {
        let days = (x.1 - x.0).num_days();
        let instant = |at: &DateTime<Utc>| at.format(if days >= 4 { "%d %b" } else { "%d %b %H h" }).to_string();
        let scale = |value: &f64| self.number(*value, y.1 - y.0);
        let label = look.text(MUTED, HPos::Center, VPos::Center);
        let axis = look.text(INK, HPos::Center, VPos::Center);
        let mut mesh = chart.configure_mesh();
        mesh.bold_line_style(GRID.stroke_width(look.px(1.0)))
            .light_line_style(plotters::style::TRANSPARENT)
            .disable_x_mesh()
            .axis_style(GRID.stroke_width(look.px(1.0)))
            .set_all_tick_mark_size(look.px(3.0))
            .x_labels(5)
            .y_labels(5)
            .x_label_formatter(&instant)
            .y_label_formatter(&scale)
            .label_style(label);
        if look.is_titled {
            mesh.y_desc(&self.y_label).axis_desc_style(axis);
        }
        mesh.draw().map_err(failed)
    }

    /// Hatch the time from which values are provisional.
    fn draw_provisional<DB: DrawingBackend>(
        &self,
        chart: &mut Context<'_, DB>,
        look: Look,
        x: Span,
        y: (f64, f64),
    ) -> Result<(), Error> {
        let Some(from) = self.provisional_from.filter(|from| *from < x.1) else { return Ok(()) };
        let area = chart.plotting_area().clone();
        let corner = |at, value| area.map_coordinate(&(at, value));
        let ((left, top), (right, bottom)) = (corner(from.max(x.0), y.1), corner(x.1, y.0));
        let pixel = area.use_screen_coord();
        let height = bottom - top;
        let step = look.pixels(7.0).max(2);
        // Slanted lines, each cut off at the edges of the rectangle.
        let mut start = left - height;
        while start < right {
            let (low, high) = (start.max(left), (start + height).min(right));
            if low < high {
                let line = [low, high].map(|at| (at, bottom - (at - start)));
                let style = MUTED.mix(0.35).stroke_width(look.px(1.0).max(1));
                pixel.draw(&PathElement::new(line.to_vec(), style)).map_err(failed)?;
            }
            start += step;
        }
        let name = look.text(MUTED, HPos::Right, VPos::Top);
        let place = (right - look.pixels(3.0), top + look.pixels(3.0));
        pixel.draw(&Text::new("provisional", place, name)).map_err(failed)
    }

    /// Lines and the vertical mark, with their labels.
    fn draw_marks<DB: DrawingBackend>(
        &self,
        chart: &mut Context<'_, DB>,
        look: Look,
        (x, y): (Span, (f64, f64)),
        lines: &[(&str, f64)],
        points: &[Point],
    ) -> Result<(), Error> {
        if let Some((label, at)) = &self.mark
            && (x.0..=x.1).contains(at)
        {
            let style = INK.stroke_width(look.px(1.0));
            chart.draw_series([PathElement::new(vec![(*at, y.0), (*at, y.1)], style)]).map_err(failed)?;
            let is_late = *at - x.0 > (x.1 - x.0) / 2;
            let side = if is_late { HPos::Right } else { HPos::Left };
            // A space that ends a text is dropped from an SVG, one that does not break stays.
            let name = if is_late { format!("{label}\u{a0}") } else { format!("\u{a0}{label}") };
            let text = Text::new(name, (*at, y.0), look.text(INK, side, VPos::Bottom));
            chart.draw_series([text]).map_err(failed)?;
        }
        for (index, (label, value)) in lines.iter().enumerate() {
            // Labels of neighbours stand at opposite ends, so that they do not cover each other.
            let (at, side) = if index % 2 == 0 { (x.0, HPos::Left) } else { (x.1, HPos::Right) };
            let (color, dash, gap) = if *label == REFERENCE { (INK, 1.5, 2.5) } else { (LIMIT, 5.0, 3.0) };
            let style = color.stroke_width(look.px(1.0));
            let ends = [(x.0, *value), (x.1, *value)];
            chart.draw_series(DashedLineSeries::new(ends, look.px(dash), look.px(gap), style)).map_err(failed)?;
            let name = format!("\u{a0}{label}\u{a0}");
            let edge = if self.is_label_below(chart, look, (at, *value), (x, y), &name, points) {
                VPos::Top
            } else {
                VPos::Bottom
            };
            let text = Text::new(name, (at, *value), look.text(color, side, edge));
            chart.draw_series([text]).map_err(failed)?;
        }
        Ok(())
    }

    /// Whether the label of a line stands below it: where it fits and the curve leaves it more room than above.
    fn is_label_below<DB: DrawingBackend>(
        &self,
        chart: &Context<'_, DB>,
        look: Look,
        (at, value): (DateTime<Utc>, f64),
        (x, y): (Span, (f64, f64)),
        name: &str,
        points: &[Point],
    ) -> bool {
        let pixel = |at: DateTime<Utc>, value: f64| {
            let (across, down) = chart.plotting_area().map_coordinate(&(at, value));
            (f64::from(across), f64::from(down))
        };
        let is_right = at > x.0;
        let ((end, line), (_, top), (_, bottom)) = (pixel(at, value), pixel(at, y.1), pixel(at, y.0));
        let height = look.letters * look.scale * 1.15;
        let width = name.chars().count() as f64 * look.letters * look.scale * 0.55;
        // Other labels stand at the top to the right and at the bottom.
        let above = if is_right && self.provisional_from.is_some() { 2.0 } else { 1.0 };
        let below = if self.mark.is_some() { 2.0 } else { 1.0 };
        let (fits_above, fits_below) = (line - above * height >= top, line + below * height <= bottom);
        if !(fits_above && fits_below) {
            return fits_below;
        }
        // How far the curve reaches into the place on either side.
        let curve: Vec<(f64, f64)> = points.iter().map(|point| pixel(point.at, point.value)).collect();
        let (mut crowd_above, mut crowd_below) = (0.0, 0.0);
        for step in 0..=16_u32 {
            let from_end = width * f64::from(step) / 16.0;
            let place = if is_right { end - from_end } else { end + from_end };
            let pair = curve.windows(2).find(|pair| (pair[0].0..=pair[1].0).contains(&place));
            let Some(&[a, b]) = pair else { continue };
            let down = a.1 + (b.1 - a.1) * (place - a.0) / (b.0 - a.0).max(1.0) - line;
            let reach = (height - down.abs()).max(0.0);
            if down > 0.0 {
                crowd_below += reach;
            } else {
                crowd_above += reach;
            }
        }
        crowd_above > crowd_below
    }

    /// The time that is shown: that of the points and of the mark, never nothing.
    fn span(&self, points: &[Point]) -> Span {
        let instants = points.iter().map(|point| point.at).chain(self.mark.iter().map(|(_, at)| *at));
        let (first, last) = instants.fold((None, None), |(first, last): (Option<DateTime<Utc>>, Option<_>), at| {
            (Some(first.map_or(at, |known| known.min(at))), Some(last.map_or(at, |known: DateTime<Utc>| known.max(at))))
        });
        let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
        if first == last { (first - Duration::days(1), last + Duration::days(1)) } else { (first, last) }
    }

    /// A number of the scale, with as many digits as the scale can tell apart.
    fn number(&self, value: f64, span: f64) -> String {
        if self.logarithmic {
            let value = libm::pow(10.0, value);
            return match value {
                value if (1.0..100_000.0).contains(&value) => format!("{value:.0}"),
                value if (0.01..1.0).contains(&value) => format!("{value:.2}"),
                value => format!("{value:.0e}"),
            };
        }
        number(value, span)
    }
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d").to_string()
}

/// The values that are shown: those of the points, intervals and lines, with some room.
fn heights(points: &[Point], lines: &[(&str, f64)]) -> (f64, f64) {
    let own = points.iter().flat_map(|point| {
        let (lower, upper) = point.interval.unwrap_or((point.value, point.value));
        [point.value, lower, upper]
    });
    let (least, most) = own
        .chain(lines.iter().map(|(_, value)| *value))
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)));
    let room = if most > least { (most - least) * 0.1 } else { most.abs().max(1.0) * 0.05 };
    (least - room, most + room)
}

/// The band of the intervals, the line through the values, and a dot for each.
fn draw_series<DB: DrawingBackend>(chart: &mut Context<'_, DB>, look: Look, points: &[Point]) -> Result<(), Error> {
    for run in points.split(|point| point.interval.is_none()).filter(|run| !run.is_empty()) {
        let end = |point: &Point, pick: fn((f64, f64)) -> f64| (point.at, pick(point.interval.unwrap_or_default()));
        let upper = run.iter().map(|point| end(point, |interval| interval.1));
        let lower = run.iter().rev().map(|point| end(point, |interval| interval.0));
        let outline: Vec<_> = upper.chain(lower).collect();
        if run.len() > 1 {
            chart.draw_series([Polygon::new(outline, ACCENT.mix(0.18))]).map_err(failed)?;
        } else {
            // One interval alone is no band.
            let style = ACCENT.mix(0.35).stroke_width(look.px(2.0));
            chart.draw_series([PathElement::new(outline, style)]).map_err(failed)?;
        }
    }
    let line = points.iter().map(|point| (point.at, point.value));
    chart.draw_series(LineSeries::new(line, ACCENT.stroke_width(look.px(1.5)))).map_err(failed)?;
    let radius = look.px(if points.len() > 40 { 1.2 } else { 2.0 });
    let dots = points.iter().map(|point| Circle::new((point.at, point.value), radius, ACCENT.filled()));
    chart.draw_series(dots).map_err(failed)?;
    Ok(())
}
