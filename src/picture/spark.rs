//! Small pictures for the rows of a table: a sparkline, and evidence against its threshold.

use plotters::element::{Circle, PathElement, Polygon, Rectangle};
use plotters::prelude::DrawingBackend;
use plotters::style::Color;

use super::{ACCENT, Area, Error, GRID, INK, LIMIT, Look, MUTED, Picture, Table, failed};

/// The last values of a series, without axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spark {
    /// What is shown.
    pub title: String,
    /// Values with their intervals, in the order of time.
    pub points: Vec<(f64, Option<(f64, f64)>)>,
    /// What they are compared with.
    pub reference: Option<f64>,
}

const SPARK: (u32, u32) = (120, 28);

impl Picture for Spark {
    fn title(&self) -> String {
        self.title.clone()
    }

    fn words(&self) -> String {
        let values = self.points.first().zip(self.points.last());
        let values = values
            .map_or_else(String::new, |((first, _), (last, _))| format!(": {first:.3} at first, {last:.3} at last"));
        format!("{}, {} values{values}", self.title, self.points.len())
    }

    fn table(&self) -> Table {
        Table::default()
    }

    fn size(&self) -> (u32, u32) {
        SPARK
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, look: Look) -> Result<(), Error> {
        let ends = |point: &(f64, Option<(f64, f64)>)| point.1.unwrap_or((point.0, point.0));
        let values = self.points.iter().flat_map(|point| [point.0, ends(point).0, ends(point).1]);
        let (least, most) = values
            .chain(self.reference)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)));
        if !least.is_finite() || !most.is_finite() {
            return Err(Error("there is no value".to_owned()));
        }
        let span = if most > least { most - least } else { 1.0 };
        let (width, height) = (f64::from(SPARK.0), f64::from(SPARK.1));
        let count = (self.points.len().max(2) - 1) as f64;
        let x = |index: usize| look.pixels(3.0 + index as f64 / count * (width - 8.0));
        let y = |value: f64| look.pixels(3.0 + (most - value) / span * (height - 6.0));
        if let Some(reference) = self.reference {
            let line = vec![(0, y(reference)), (look.pixels(width), y(reference))];
            area.draw(&PathElement::new(line, MUTED.mix(0.6).stroke_width(look.px(0.75)))).map_err(failed)?;
        }
        let numbered = || self.points.iter().enumerate();
        let upper = numbered().map(|(at, point)| (x(at), y(ends(point).1)));
        let lower = numbered().rev().map(|(at, point)| (x(at), y(ends(point).0)));
        area.draw(&Polygon::new(upper.chain(lower).collect::<Vec<_>>(), ACCENT.mix(0.15))).map_err(failed)?;
        let line: Vec<_> = numbered().map(|(at, point)| (x(at), y(point.0))).collect();
        let last = line.last().copied();
        area.draw(&PathElement::new(line, ACCENT.stroke_width(look.px(1.25)))).map_err(failed)?;
        if let Some(last) = last {
            area.draw(&Circle::new(last, look.px(2.0), ACCENT.filled())).map_err(failed)?;
        }
        Ok(())
    }
}

/// Evidence on a logarithmic scale, with the threshold as a mark: what reaches it is an alarm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gauge {
    /// What is shown.
    pub title: String,
    /// The evidence.
    pub evidence: f64,
    /// Where the alarm is.
    pub threshold: f64,
}

const GAUGE: (u32, u32) = (120, 16);

impl Picture for Gauge {
    fn title(&self) -> String {
        self.title.clone()
    }

    fn words(&self) -> String {
        let Self { title, evidence, threshold } = self;
        let stands = if evidence >= threshold { "past" } else { "below" };
        format!("{title}: {evidence:.1}, {stands} the alarm at {threshold:.0}")
    }

    fn table(&self) -> Table {
        Table::default()
    }

    fn size(&self) -> (u32, u32) {
        GAUGE
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, look: Look) -> Result<(), Error> {
        let full = libm::log10(self.threshold.max(1.0 + 1e-9));
        let share = libm::log10(self.evidence.max(1.0)) / full;
        if !share.is_finite() {
            return Err(Error("there is no value".to_owned()));
        }
        let (width, height) = (f64::from(GAUGE.0), f64::from(GAUGE.1));
        // The mark stands at four fifths; what is past it may fill the rest.
        let mark = width * 0.8;
        let end = (share * mark).clamp(1.0, width);
        let bar = |to: f64| [(0, look.pixels(5.0)), (look.pixels(to), look.pixels(height - 5.0))];
        area.draw(&Rectangle::new(bar(width), GRID.filled())).map_err(failed)?;
        let color = if self.evidence >= self.threshold { LIMIT } else { ACCENT };
        area.draw(&Rectangle::new(bar(end), color.filled())).map_err(failed)?;
        let line = vec![(look.pixels(mark), look.pixels(1.0)), (look.pixels(mark), look.pixels(height - 1.0))];
        area.draw(&PathElement::new(line, INK.stroke_width(look.px(1.25)))).map_err(failed)
    }
}
