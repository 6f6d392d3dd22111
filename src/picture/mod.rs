//! Pictures: values in, SVG or PNG bytes out, the same bytes for the same values.
//!
//! One drawing serves both. The colours of an SVG are CSS variables with a colour to fall back to, so a page decides whether it is
//! light or dark, and a picture alone is light. Its coordinates are four times as fine as its size, for the library rounds them.
//! The font of a PNG is part of the program; that of an SVG is the page's. No picture has an id, a style or a script of its own.
//! Must never: decide what is drawn, or carry a meaning by colour alone.
//! Look next at [`series`], and at [`figure`] for what a page shows around a picture.

pub mod bars;
pub mod figure;
pub mod plane;
pub mod series;
pub mod spark;

use std::sync::OnceLock;

use plotters::backend::{BitMapBackend, SVGBackend};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, IntoFont, IntoTextStyle, RGBColor, TextStyle, WHITE, register_font};

pub use figure::figure;
pub use series::{Chart, Point, REFERENCE};

const FONT: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans.ttf");

/// Text and axes.
const INK: RGBColor = RGBColor(31, 37, 43);
/// What stands back: labels of axes, what was before.
const MUTED: RGBColor = RGBColor(90, 102, 113);
/// Lines of the grid.
const GRID: RGBColor = RGBColor(226, 230, 234);
/// What is shown.
const ACCENT: RGBColor = RGBColor(11, 99, 165);
/// Limits.
const LIMIT: RGBColor = RGBColor(176, 37, 30);

/// Every colour with the variable that a page may set instead.
const VARIABLES: [(RGBColor, &str); 5] = [
    (INK, "--chart-ink"),
    (MUTED, "--chart-muted"),
    (GRID, "--chart-grid"),
    (ACCENT, "--chart-accent"),
    (LIMIT, "--chart-limit"),
];

/// An SVG is drawn so many times as large as it is shown.
const FINE: u32 = 4;

/// Width and height of every chart of a PNG in pixels: for a telephone 360 pixels wide, shown at half its size.
pub const PNG_SIZE: (u32, u32) = (720, 400);

/// Why a picture was not drawn.
#[derive(Debug, thiserror::Error)]
#[error("the picture cannot be drawn: {0}")]
pub struct Error(String);

/// What a picture shows, for whoever does not see it or wants the numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Names of the columns.
    pub head: Vec<String>,
    /// Rows.
    pub rows: Vec<Vec<String>>,
}

/// Something that can be drawn.
pub trait Picture {
    /// What it shows, in a line.
    fn title(&self) -> String;
    /// The same with its main numbers.
    fn words(&self) -> String;
    /// All its numbers.
    fn table(&self) -> Table;
    /// Width and height as it is shown, in pixels of CSS.
    fn size(&self) -> (u32, u32);
    /// Draw it.
    ///
    /// # Errors
    /// When there is nothing to draw.
    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>, look: Look) -> Result<(), Error>;
}

/// Where a picture is drawn.
pub type Area<DB> = DrawingArea<DB, Shift>;

/// How large things are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Pixels of the drawing for one pixel as shown.
    scale: f64,
    /// Height of letters as shown.
    letters: f64,
    /// Whether the title is a part of the picture; on a page it stands above it.
    is_titled: bool,
}

impl Look {
    const SVG: Self = Self { scale: FINE as f64, letters: 14.0, is_titled: false };
    const PNG: Self = Self { scale: 2.0, letters: 9.0, is_titled: true };

    /// Pixels of the drawing.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few thousand at most, never negative"
    )]
    fn px(self, shown: f64) -> u32 {
        (shown * self.scale).round().max(0.0) as u32
    }

    fn pixels(self, shown: f64) -> i32 {
        i32::try_from(self.px(shown.abs())).unwrap_or(i32::MAX) * if shown < 0.0 { -1 } else { 1 }
    }

    /// Letters of a colour, held at a point.
    fn text(self, color: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
        let size = self.letters * self.scale;
        ("sans-serif", size).into_font().color(&color).into_text_style(&PNG_SIZE).pos(Pos::new(h, v))
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error(error.to_string())
}

fn register() -> Result<(), Error> {
    static IS_REGISTERED: OnceLock<bool> = OnceLock::new();
    if *IS_REGISTERED.get_or_init(|| register_font("sans-serif", FontStyle::Normal, FONT).is_ok()) {
        return Ok(());
    }
    Err(Error("the font is damaged".to_owned()))
}

/// A picture as an element of a page, or as a file of its own.
///
/// # Errors
/// When there is nothing to draw.
pub fn svg(picture: &impl Picture) -> Result<String, Error> {
    register()?;
    let (width, height) = picture.size();
    let size = (width * FINE, height * FINE);
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        picture.draw(&area, Look::SVG)?;
        area.present().map_err(failed)?;
    }
    // The library's own first line is replaced by ours.
    let body = text.split_once('\n').map_or("", |(_, body)| body);
    let mut body = body.replace(" font-family=\"sans-serif\"", "").replace(" opacity=\"1\"", "");
    for (color, variable) in VARIABLES {
        let hex = format!("#{:02X}{:02X}{:02X}", color.0, color.1, color.2);
        // Quotes in texts are escaped, so only attributes are meant.
        body = body.replace(&format!("=\"{hex}\""), &format!("=\"var({variable},{hex})\""));
    }
    let (title, words) = (escaped(&picture.title()), escaped(&picture.words()));
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"picture\" role=\"img\" aria-label=\"{words}\" width=\"{width}\" \
         height=\"{height}\" viewBox=\"0 0 {} {}\" font-family=\"system-ui, sans-serif\">\n<title>{title}</title>\n\
         <desc>{words}</desc>\n{body}",
        size.0, size.1
    ))
}

/// Charts below one another as a PNG, those without a value left out.
///
/// # Errors
/// When none has a value.
pub fn png(charts: &[Chart]) -> Result<Vec<u8>, Error> {
    register()?;
    let drawn: Vec<&Chart> = charts.iter().filter(|chart| chart.has_values()).collect();
    let count = u32::try_from(drawn.len()).unwrap_or_default();
    if count == 0 {
        return Err(Error("there is no value".to_owned()));
    }
    let size = (PNG_SIZE.0, PNG_SIZE.1 * count);
    let mut pixels = vec![0; size.0 as usize * size.1 as usize * 3];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        for (chart, part) in drawn.iter().zip(area.split_evenly((drawn.len(), 1))) {
            chart.draw(&part, Look::PNG)?;
        }
        area.present().map_err(failed)?;
    }
    encode(&pixels, size).map_err(failed)
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

/// Text of an element or an attribute.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
        out
    })
}

/// A number with as many digits as a scale of a span can tell apart.
fn number(value: f64, span: f64) -> String {
    match span {
        span if span < 0.1 => format!("{value:.3}"),
        span if span < 10.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests;
