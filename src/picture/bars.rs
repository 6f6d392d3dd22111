//! Ranked bars: what has how large a part.

use plotters::element::{PathElement, Rectangle, Text};
use plotters::prelude::DrawingBackend;
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::{ACCENT, Area, Error, GRID, INK, LIMIT, Look, MUTED, Picture, Table, failed};

/// One bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What it is about.
    pub name: String,
    /// Its length, to the left if it is negative.
    pub value: f64,
    /// What stands beside it.
    pub said: String,
}

/// Bars below one another, in the order given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bars {
    /// What is shown.
    pub title: String,
    /// What the lengths are.
    pub x_label: String,
    /// The bars.
    pub bars: Vec<Bar>,
    /// A length at which a bar is worth a look: a mark on each.
    pub mark: Option<(String, f64)>,
}

/// Height of a bar with its room.
const ROW: u32 = 24;
/// The longest name that is written whole.
const LONGEST: usize = 22;

impl Picture for Bars {
    fn title(&self) -> String {
        self.title.clone()
    }

    fn words(&self) -> String {
        let bars: Vec<String> = self.bars.iter().map(|bar| format!("{} {}", bar.name, bar.said)).collect();
        format!("{} ({}): {}", self.title, self.x_label, bars.join(", "))
    }

    fn table(&self) -> Table {
        let head = ["", &self.x_label, ""].map(str::to_owned).to_vec();
        let rows = self.bars.iter().map(|bar| vec![bar.name.clone(), format!("{:.4}", bar.value), bar.said.clone()]);
        Table { head, rows: rows.collect() }
    }

    fn size(&self) -> (u32, u32) {
        (400, ROW * u32::try_from(self.bars.len().max(1)).unwrap_or(1) + 8)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, look: Look) -> Result<(), Error> {
        if self.bars.is_empty() {
            return Err(Error("there is no value".to_owned()));
        }
        let mark = self.mark.as_ref().map_or(0.0, |(_, at)| *at);
        let values = || self.bars.iter().map(|bar| bar.value);
        let (least, most) = (values().fold(0.0_f64, f64::min), values().fold(mark.max(0.0), f64::max));
        let span = if most - least > 0.0 { most - least } else { 1.0 };
        // Names to the left, what is said to the right, bars between; they end where the longest of what is said has its room.
        let left = 146.0;
        let longest = self.bars.iter().map(|bar| bar.said.chars().count()).max().unwrap_or_default();
        let right = (f64::from(self.size().0) - 10.0 - longest as f64 * look.letters * 0.6).clamp(left + 60.0, 306.0);
        let place = |value: f64| look.pixels(left + (value - least) / span * (right - left));
        for (index, bar) in self.bars.iter().enumerate() {
            let top = 4.0 + f64::from(ROW) * index as f64;
            let middle = look.pixels(top + f64::from(ROW) / 2.0);
            let name = Text::new(
                short(&bar.name),
                (look.pixels(left - 8.0), middle),
                look.text(INK, HPos::Right, VPos::Center),
            );
            area.draw(&name).map_err(failed)?;
            let track = [(place(least), look.pixels(top + 6.0)), (place(least + span), look.pixels(top + 18.0))];
            area.draw(&Rectangle::new(track, GRID.mix(0.5).filled())).map_err(failed)?;
            let (from, to) = (place(bar.value.min(0.0)), place(bar.value.max(0.0)));
            let shape = [(from, look.pixels(top + 6.0)), (to.max(from + 1), look.pixels(top + 18.0))];
            area.draw(&Rectangle::new(shape, ACCENT.filled())).map_err(failed)?;
            let said = Text::new(
                bar.said.clone(),
                (look.pixels(right + 8.0), middle),
                look.text(MUTED, HPos::Left, VPos::Center),
            );
            area.draw(&said).map_err(failed)?;
        }
        let bottom = look.pixels(4.0 + f64::from(ROW) * self.bars.len() as f64);
        let vertical = |at: i32, color: plotters::style::RGBColor| {
            let line = PathElement::new(vec![(at, look.pixels(4.0)), (at, bottom)], color.stroke_width(look.px(1.0)));
            area.draw(&line).map_err(failed)
        };
        vertical(place(0.0), INK)?;
        if self.mark.is_some() {
            vertical(place(mark), LIMIT)?;
        }
        Ok(())
    }
}

/// A name that fits; the table has it whole.
fn short(name: &str) -> String {
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    let begin: String = name.chars().take(LONGEST - 1).collect();
    format!("{begin}\u{2026}")
}
