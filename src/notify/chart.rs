//! A chart as a PNG: values in, bytes out, the same bytes for the same values.
//!
//! The font is part of the program, so a chart looks the same on every machine. The picture is drawn for a width of 360
//! pixels on a telephone: letters are twice as large as they look there.
//! Must never: decide what is drawn; `job::notice` does.

use std::sync::OnceLock;

use chrono::{DateTime, Duration, Utc};
use plotters::backend::BitMapBackend;
use plotters::chart::{ChartBuilder, ChartContext, LabelAreaPosition};
use plotters::coord::Shift;
use plotters::coord::types::{RangedCoordf64, RangedDateTime};
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Polygon, Text};
use plotters::prelude::Cartesian2d;
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, IntoFont, IntoTextStyle, RGBColor, WHITE, register_font};

/// Width and height of every chart in pixels.
pub const SIZE: (u32, u32) = (720, 400);

const FONT: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans.ttf");
const INK: RGBColor = RGBColor(40, 40, 40);
const PALE: RGBColor = RGBColor(225, 225, 225);
const BLUE: RGBColor = RGBColor(0, 90, 160);
const RED: RGBColor = RGBColor(179, 38, 30);

/// Why a chart was not drawn.
#[derive(Debug, thiserror::Error)]
#[error("the chart cannot be drawn: {0}")]
pub struct Error(String);

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
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What is shown.
    pub title: String,
    /// What the values are.
    pub y_label: String,
    /// The series, in the order of time.
    pub points: Vec<Point>,
    /// Horizontal lines, each with its label: a reference, a limit.
    pub lines: Vec<(String, f64)>,
    /// A vertical mark with its label.
    pub mark: Option<(String, DateTime<Utc>)>,
    /// Whether values stand on a logarithmic scale; then what is not positive is left out.
    pub logarithmic: bool,
}

/// Draw charts below one another, those without a value left out.
///
/// # Errors
/// When none has a value.
pub fn png(charts: &[Chart]) -> Result<Vec<u8>, Error> {
    let drawn: Vec<(&Chart, Vec<Point>)> =
        charts.iter().map(|chart| (chart, chart.placed())).filter(|(_, points)| !points.is_empty()).collect();
    let count = u32::try_from(drawn.len()).unwrap_or_default();
    if count == 0 {
        return Err(Error("there is no value".to_owned()));
    }
    static IS_REGISTERED: OnceLock<bool> = OnceLock::new();
    if !IS_REGISTERED.get_or_init(|| register_font("sans-serif", FontStyle::Normal, FONT).is_ok()) {
        return Err(Error("the font is damaged".to_owned()));
    }
    let size = (SIZE.0, SIZE.1 * count);
    let mut pixels = vec![0; size.0 as usize * size.1 as usize * 3];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
        for ((chart, points), part) in drawn.iter().zip(area.split_evenly((drawn.len(), 1))) {
            chart.draw(&part, points).map_err(Error)?;
        }
        area.present().map_err(|error| Error(error.to_string()))?;
    }
    encode(&pixels, size).map_err(|error| Error(error.to_string()))
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
type Context<'a, 'b> = ChartContext<'a, BitMapBackend<'b>, Cartesian2d<RangedDateTime<DateTime<Utc>>, RangedCoordf64>>;

impl Chart {
    /// What the chart shows, for whoever does not see it.
    #[must_use]
    pub fn alt(&self) -> String {
        let mut text = self.title.clone();
        if let (Some(first), Some(last)) = (self.points.first(), self.points.last()) {
            let day = |at: DateTime<Utc>| at.format("%Y-%m-%d").to_string();
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
        text
    }

    /// The points that can be drawn, where they stand on the scale.
    fn placed(&self) -> Vec<Point> {
        let points = self.points.iter().filter_map(|point| {
            let interval = point.interval.and_then(|(lower, upper)| Some((self.place(lower)?, self.place(upper)?)));
            Some(Point { value: self.place(point.value)?, interval, ..*point })
        });
        points.collect()
    }

    /// Where a value stands on the scale; nowhere if the scale has no place for it.
    fn place(&self, value: f64) -> Option<f64> {
        let placed = if self.logarithmic { libm::log10(value) } else { value };
        placed.is_finite().then_some(placed)
    }

    fn draw(&self, area: &Area<'_>, points: &[Point]) -> Result<(), String> {
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        area.fill(&WHITE).map_err(|error| failed(&error))?;
        let lines: Vec<(&str, f64)> =
            self.lines.iter().filter_map(|(label, value)| Some((label.as_str(), self.place(*value)?))).collect();
        let (x, y) = (self.span(points), heights(points, &lines));
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 22).into_font().color(&INK))
            .margin(12)
            .margin_right(24)
            .set_label_area_size(LabelAreaPosition::Left, 92)
            .set_label_area_size(LabelAreaPosition::Bottom, 40)
            .build_cartesian_2d(x.0..x.1, y.0..y.1)
            .map_err(|error| failed(&error))?;
        let days = (x.1 - x.0).num_days();
        let instant = |at: &DateTime<Utc>| at.format(if days >= 4 { "%d %b" } else { "%d %b %H h" }).to_string();
        let number = |value: &f64| self.number(*value, y.1 - y.0);
        let label = ("sans-serif", 18).into_font().color(&INK);
        chart
            .configure_mesh()
            .bold_line_style(PALE)
            .light_line_style(WHITE)
            .axis_style(INK)
            .x_labels(5)
            .y_labels(5)
            .x_label_formatter(&instant)
            .y_label_formatter(&number)
            .y_desc(&self.y_label)
            .axis_desc_style(label.clone())
            .label_style(label)
            .draw()
            .map_err(|error| failed(&error))?;
        self.draw_marks(&mut chart, x, y, &lines).map_err(|error| failed(&error))?;
        draw_series(&mut chart, points).map_err(|error| failed(&error))
    }

    /// Lines and the vertical mark, with their labels.
    fn draw_marks(
        &self,
        chart: &mut Context<'_, '_>,
        x: (DateTime<Utc>, DateTime<Utc>),
        y: (f64, f64),
        lines: &[(&str, f64)],
    ) -> Result<(), Box<dyn std::error::Error>> {
        let text = |color: &RGBColor, h: HPos, v: VPos| {
            ("sans-serif", 18).into_font().color(color).into_text_style(&SIZE).pos(Pos::new(h, v))
        };
        if let Some((label, at)) = &self.mark
            && (x.0..=x.1).contains(at)
        {
            chart.draw_series([PathElement::new(vec![(*at, y.0), (*at, y.1)], INK.stroke_width(1))])?;
            let is_late = *at - x.0 > (x.1 - x.0) / 2;
            let side = if is_late { HPos::Right } else { HPos::Left };
            let name = if is_late { format!("{label} ") } else { format!(" {label}") };
            chart.draw_series([Text::new(name, (*at, y.0), text(&INK, side, VPos::Bottom))])?;
        }
        for (index, (label, value)) in lines.iter().enumerate() {
            // Labels of neighbours stand at opposite ends, so that they do not cover each other.
            let is_first = index % 2 == 0;
            let (at, side) = if is_first { (x.0, HPos::Left) } else { (x.1, HPos::Right) };
            let color = if is_first { RED } else { INK };
            chart.draw_series(DashedLineSeries::new([(x.0, *value), (x.1, *value)], 8, 6, color.stroke_width(2)))?;
            chart.draw_series([Text::new(format!(" {label} "), (at, *value), text(&color, side, VPos::Bottom))])?;
        }
        Ok(())
    }

    /// The time that is shown: that of the points and of the mark, never nothing.
    fn span(&self, points: &[Point]) -> (DateTime<Utc>, DateTime<Utc>) {
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
        match span {
            span if span < 0.1 => format!("{value:.3}"),
            span if span < 10.0 => format!("{value:.2}"),
            _ => format!("{value:.0}"),
        }
    }
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
fn draw_series(chart: &mut Context<'_, '_>, points: &[Point]) -> Result<(), Box<dyn std::error::Error>> {
    for run in points.split(|point| point.interval.is_none()).filter(|run| !run.is_empty()) {
        let end = |point: &Point, pick: fn((f64, f64)) -> f64| (point.at, pick(point.interval.unwrap_or_default()));
        let upper = run.iter().map(|point| end(point, |interval| interval.1));
        let lower = run.iter().rev().map(|point| end(point, |interval| interval.0));
        let outline: Vec<_> = upper.chain(lower).collect();
        if run.len() > 1 {
            chart.draw_series([Polygon::new(outline, BLUE.mix(0.2))])?;
        } else {
            // One interval alone is no band.
            chart.draw_series([PathElement::new(outline, BLUE.mix(0.35).stroke_width(2))])?;
        }
    }
    chart.draw_series(LineSeries::new(points.iter().map(|point| (point.at, point.value)), BLUE.stroke_width(2)))?;
    chart.draw_series(points.iter().map(|point| Circle::new((point.at, point.value), 3, BLUE.filled())))?;
    Ok(())
}

fn encode(pixels: &[u8], size: (u32, u32)) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size.0, size.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(n: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_740_000_000 + n * 86_400, 0).expect("a valid instant")
    }

    fn decay() -> Chart {
        let points = (0..60_i32).map(|n| {
            let value = if n < 40 { 0.87 } else { 0.87 - f64::from(n - 40) * 0.011 } + f64::from(n % 5) * 0.004;
            Point { at: day(n.into()), value, interval: (n != 20).then_some((value - 0.03, value + 0.025)) }
        });
        Chart {
            title: "auroc of effusion, site=south (7d)".to_owned(),
            y_label: "auroc".to_owned(),
            points: points.collect(),
            lines: vec![("limit".to_owned(), 0.75), ("reference".to_owned(), 0.88)],
            mark: Some(("since".to_owned(), day(50))),
            logarithmic: false,
        }
    }

    fn evidence() -> Chart {
        let points = (0..60_i32).map(|n| Point {
            at: day(n.into()),
            value: libm::pow(10.0, f64::from((n - 30).max(0)) / 6.0),
            interval: None,
        });
        Chart {
            title: "evidence against \"as good as the reference\"".to_owned(),
            y_label: "e-value".to_owned(),
            points: points.collect(),
            lines: vec![("threshold".to_owned(), 8000.0)],
            mark: None,
            logarithmic: true,
        }
    }

    fn decode(bytes: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("it fits")];
        let info = reader.next_frame(&mut pixels).expect("an image");
        (info.width, info.height, pixels)
    }

    #[test]
    fn a_chart_is_a_png_of_the_stated_size_and_the_same_for_the_same_values() {
        for (name, chart) in [("decay", decay()), ("evidence", evidence())] {
            let bytes = png(std::slice::from_ref(&chart)).expect("a chart");
            // For whoever wants to look.
            if let Some(folder) = std::env::var_os("DOSIMETER_CHARTS") {
                std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), &bytes).expect("a file");
            }
            let (width, height, pixels) = decode(&bytes);
            assert_eq!((width, height), SIZE);
            let has = |color: RGBColor| pixels.chunks(3).any(|pixel| pixel == [color.0, color.1, color.2]);
            assert!(has(BLUE) && has(RED) && has(WHITE), "series, line and ground are there");
            assert_eq!(bytes, png(std::slice::from_ref(&chart)).expect("a chart"));
            assert!(bytes.len() < 60_000, "{} bytes", bytes.len());
        }
    }

    #[test]
    fn other_values_give_another_picture() {
        let mut changed = decay();
        changed.points[59].value = 0.5;
        assert_ne!(png(&[decay()]).expect("a chart"), png(&[changed]).expect("a chart"));
    }

    #[test]
    fn what_has_no_place_on_the_scale_is_left_out() {
        let mut chart = evidence();
        for point in &mut chart.points {
            point.value = 0.0;
        }
        assert_eq!(
            png(std::slice::from_ref(&chart)).expect_err("nothing to draw").to_string(),
            "the chart cannot be drawn: there is no value"
        );
        chart.points[3].value = 1.0;
        png(std::slice::from_ref(&chart)).expect("one point is a chart");
    }

    #[test]
    fn charts_stand_below_one_another() {
        let bytes = png(&[decay(), Chart { points: Vec::new(), ..decay() }, evidence()]).expect("charts");
        if let Some(folder) = std::env::var_os("DOSIMETER_CHARTS") {
            std::fs::write(std::path::Path::new(&folder).join("both.png"), &bytes).expect("a file");
        }
        let (width, height, _) = decode(&bytes);
        assert_eq!((width, height), (SIZE.0, 2 * SIZE.1), "what has no value is left out");
    }

    #[test]
    fn the_text_says_what_the_picture_shows() {
        assert_eq!(
            decay().alt(),
            "auroc of effusion, site=south (7d), 60 values from 2025-02-19 to 2025-04-19: 0.870 at first, 0.677 at last; \
             limit 0.750; reference 0.880; since 2025-04-10 21:20 UTC"
        );
    }
}
