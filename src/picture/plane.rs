//! Two curves in the unit square, before and after: reliability diagrams and ROC curves; and two histograms of scores.

use plotters::chart::{ChartBuilder, ChartContext, LabelAreaPosition};
use plotters::coord::types::RangedCoordf64;
use plotters::element::{Circle, PathElement, Rectangle, Text};
use plotters::prelude::{Cartesian2d, DrawingBackend};
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, RGBColor};

use super::{ACCENT, Area, Error, GRID, INK, Look, MUTED, Picture, Table, failed, number};

/// What the square shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Share of positives over mean score, with intervals.
    Reliability,
    /// Sensitivity over one minus specificity.
    Roc,
    /// Share of cases by score, in bins of equal width.
    Histogram,
}

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// From left to right.
    pub x: f64,
    /// From bottom to top.
    pub y: f64,
    /// Interval of y.
    pub interval: Option<(f64, f64)>,
    /// Cases behind it.
    pub n: u64,
}

/// One of the two.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Side {
    /// What it is: reference, since 27 March.
    pub name: String,
    /// Its curve, from left to right.
    pub points: Vec<Place>,
}

/// Before and after in one square.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// What is shown.
    pub title: String,
    /// Which curves.
    pub kind: Kind,
    /// Before: dashed, hollow.
    pub before: Side,
    /// After: solid, filled.
    pub after: Side,
}

type Context<'a, DB> = ChartContext<'a, DB, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

impl Kind {
    fn axes(self) -> [&'static str; 2] {
        match self {
            Self::Reliability => ["mean score", "share of positives"],
            Self::Roc => ["1 - specificity", "sensitivity"],
            Self::Histogram => ["score", "share of cases"],
        }
    }
}

impl Picture for Pair {
    fn title(&self) -> String {
        self.title.clone()
    }

    fn words(&self) -> String {
        let [x, y] = self.kind.axes();
        let side = |side: &Side| {
            let n: u64 = match self.kind {
                Kind::Roc => side.points.last().map_or(0, |point| point.n),
                _ => side.points.iter().map(|point| point.n).sum(),
            };
            format!("{}, {n} cases", side.name)
        };
        format!("{}: {y} over {x}; dashed {}; solid {}", self.title, side(&self.before), side(&self.after))
    }

    fn table(&self) -> Table {
        let [x, y] = self.kind.axes();
        let head = ["", x, y, "95 % interval", "n"].map(str::to_owned).to_vec();
        let rows = [&self.before, &self.after].into_iter().flat_map(|side| {
            // A curve of thousands of points is told by a hundred of them.
            let step = side.points.len().div_ceil(100).max(1);
            side.points.iter().step_by(step).map(|point| {
                let interval =
                    point.interval.map_or_else(String::new, |(lower, upper)| format!("{lower:.3} to {upper:.3}"));
                vec![
                    side.name.clone(),
                    format!("{:.3}", point.x),
                    format!("{:.3}", point.y),
                    interval,
                    point.n.to_string(),
                ]
            })
        });
        Table { head, rows: rows.collect() }
    }

    fn size(&self) -> (u32, u32) {
        (400, 260)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, look: Look) -> Result<(), Error> {
        if self.before.points.is_empty() && self.after.points.is_empty() {
            return Err(Error("there is no value".to_owned()));
        }
        let top = match self.kind {
            Kind::Histogram => {
                let points = self.before.points.iter().chain(&self.after.points);
                points.map(|point| point.y).fold(0.0, f64::max).max(1e-6) * 1.25
            }
            _ => 1.0,
        };
        let mut builder = ChartBuilder::on(area);
        builder
            .margin(look.px(6.0))
            .margin_right(look.px(10.0))
            .set_label_area_size(LabelAreaPosition::Left, look.px(look.letters * 4.0))
            .set_label_area_size(LabelAreaPosition::Bottom, look.px(look.letters * 3.0));
        if look.is_titled {
            builder.caption(&self.title, look.text(INK, HPos::Center, VPos::Center));
        }
        let mut chart = builder.build_cartesian_2d(0.0..1.0, 0.0..top).map_err(failed)?;
        self.draw_grid(&mut chart, look, top)?;
        if self.kind == Kind::Histogram {
            bars(&mut chart, &self.after)?;
            steps(&mut chart, look, &self.before)?;
        } else {
            let diagonal = [(0.0, 0.0), (1.0, 1.0)];
            chart.draw_series(LineSeries::new(diagonal, GRID.stroke_width(look.px(1.0)))).map_err(failed)?;
            self.draw_curve(&mut chart, look, &self.before, MUTED, true)?;
            self.draw_curve(&mut chart, look, &self.after, ACCENT, false)?;
        }
        self.draw_legend(&mut chart, look, top)
    }
}

impl Pair {
    /// Whether there is anything to draw.
    #[must_use]
    pub fn has_values(&self) -> bool {
        !(self.before.points.is_empty() && self.after.points.is_empty())
    }

    fn draw_grid<DB: DrawingBackend>(&self, chart: &mut Context<'_, DB>, look: Look, top: f64) -> Result<(), Error> {
        let [x, y] = self.kind.axes();
        let label = look.text(MUTED, HPos::Center, VPos::Center);
        let scale = |value: &f64| number(*value, top);
        let tenths = |value: &f64| format!("{value:.1}");
        chart
            .configure_mesh()
            .bold_line_style(GRID.stroke_width(look.px(1.0)))
            .light_line_style(plotters::style::TRANSPARENT)
            .axis_style(GRID.stroke_width(look.px(1.0)))
            .set_all_tick_mark_size(look.px(3.0))
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&tenths)
            .y_label_formatter(&scale)
            .x_desc(x)
            .y_desc(y)
            .axis_desc_style(label.clone())
            .label_style(label)
            .draw()
            .map_err(failed)
    }

    fn draw_curve<DB: DrawingBackend>(
        &self,
        chart: &mut Context<'_, DB>,
        look: Look,
        side: &Side,
        color: RGBColor,
        is_dashed: bool,
    ) -> Result<(), Error> {
        let line = side.points.iter().map(|point| (point.x, point.y));
        let style = color.stroke_width(look.px(1.5));
        if is_dashed {
            chart.draw_series(DashedLineSeries::new(line, look.px(4.0), look.px(3.0), style)).map_err(failed)?;
        } else {
            chart.draw_series(LineSeries::new(line, style)).map_err(failed)?;
        }
        if self.kind != Kind::Reliability {
            return Ok(());
        }
        let whiskers = side.points.iter().filter_map(|point| {
            let (lower, upper) = point.interval?;
            let ends = vec![(point.x, lower.clamp(0.0, 1.0)), (point.x, upper.clamp(0.0, 1.0))];
            Some(PathElement::new(ends, color.mix(0.5).stroke_width(look.px(1.0))))
        });
        chart.draw_series(whiskers).map_err(failed)?;
        let radius = look.px(2.6);
        let dots = side.points.iter().map(|point| {
            let shape = if is_dashed { color.stroke_width(look.px(1.0)) } else { color.filled() };
            Circle::new((point.x, point.y), radius, shape)
        });
        chart.draw_series(dots).map_err(failed)?;
        Ok(())
    }

    /// What is dashed and what is solid, where the square is empty: a ROC curve keeps to the upper left, the others do not.
    fn draw_legend<DB: DrawingBackend>(&self, chart: &mut Context<'_, DB>, look: Look, top: f64) -> Result<(), Error> {
        let (left, first) = match self.kind {
            Kind::Roc => (0.36, 0.17),
            Kind::Reliability => (0.04, 0.95),
            Kind::Histogram => (0.30, 0.95),
        };
        let sides = [(&self.before, MUTED, true), (&self.after, ACCENT, false)];
        for ((side, color, is_dashed), row) in sides.into_iter().zip([0.0, 1.0]) {
            let y = (first - row * 0.09) * top;
            let style = color.stroke_width(look.px(if self.kind == Kind::Histogram && !is_dashed { 6.0 } else { 1.5 }));
            let ends = [(left, y), (left + 0.09, y)];
            if is_dashed {
                chart.draw_series(DashedLineSeries::new(ends, look.px(4.0), look.px(3.0), style)).map_err(failed)?;
            } else {
                chart.draw_series(LineSeries::new(ends, style)).map_err(failed)?;
            }
            let text = look.text(INK, HPos::Left, VPos::Center);
            chart.draw_series([Text::new(side.name.clone(), (left + 0.11, y), text)]).map_err(failed)?;
        }
        Ok(())
    }
}

/// The width of the bins, from their middles.
fn width(side: &Side) -> f64 {
    match side.points.as_slice() {
        [first, second, ..] => (second.x - first.x).abs(),
        _ => 0.05,
    }
}

fn bars<DB: DrawingBackend>(chart: &mut Context<'_, DB>, side: &Side) -> Result<(), Error> {
    let half = width(side) / 2.0;
    let bars = side
        .points
        .iter()
        .filter(|point| point.y > 0.0)
        .map(|point| Rectangle::new([(point.x - half, 0.0), (point.x + half, point.y)], ACCENT.mix(0.35).filled()));
    chart.draw_series(bars).map_err(failed)?;
    Ok(())
}

fn steps<DB: DrawingBackend>(chart: &mut Context<'_, DB>, look: Look, side: &Side) -> Result<(), Error> {
    let half = width(side) / 2.0;
    let outline = side.points.iter().flat_map(|point| [(point.x - half, point.y), (point.x + half, point.y)]);
    let style = MUTED.stroke_width(look.px(1.5));
    chart.draw_series(DashedLineSeries::new(outline, look.px(4.0), look.px(2.0), style)).map_err(failed)?;
    Ok(())
}
