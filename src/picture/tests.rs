//! What pictures hold to.

use chrono::{DateTime, Utc};

use super::bars::{Bar, Bars};
use super::plane::{Kind, Pair, Place, Side};
use super::spark::{Gauge, Spark};
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
        provisional_from: None,
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
        provisional_from: None,
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
        assert_eq!((width, height), PNG_SIZE);
        let has = |color: RGBColor| pixels.chunks(3).any(|pixel| pixel == [color.0, color.1, color.2]);
        assert!(has(ACCENT) && has(LIMIT) && has(WHITE), "series, line and ground are there");
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
        "the picture cannot be drawn: there is no value"
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
    assert_eq!((width, height), (PNG_SIZE.0, 2 * PNG_SIZE.1), "what has no value is left out");
}

#[test]
fn the_text_says_what_the_picture_shows() {
    assert_eq!(
        decay().words(),
        "auroc of effusion, site=south (7d), 60 values from 2025-02-19 to 2025-04-19: 0.870 at first, 0.677 at last; \
         limit 0.750; reference 0.880; since 2025-04-10 21:20 UTC"
    );
}
/// What must hold of every SVG: it is one element without ids, scripts, styles or addresses, and the same for the same values.
fn check(name: &str, picture: &impl Picture) -> String {
    let text = svg(picture).expect("a picture");
    if let Some(folder) = std::env::var_os("DOSIMETER_CHARTS") {
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.svg")), &text).expect("a file");
    }
    assert_eq!(text, svg(picture).expect("a picture"));
    assert!(
        text.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\"") && text.trim_end().ends_with("</svg>"),
        "{text}"
    );
    for forbidden in ["<script", "<style", "style=", " id=", "href", "url(", "<svg width", "NaN", "inf"] {
        assert!(!text.contains(forbidden), "{name} contains {forbidden}: {text}");
    }
    assert_eq!(text.matches("<svg").count(), 1);
    assert!(text.contains("role=\"img\"") && text.contains("<title>") && text.contains("<desc>"));
    text
}

#[test]
fn the_colours_of_an_svg_are_the_pages() {
    let provisional = Chart { provisional_from: Some(day(54)), ..decay() };
    let text = check("decay", &provisional);
    for (_, variable) in VARIABLES {
        assert!(text.contains(&format!("var({variable},#")), "{variable}");
    }
    assert!(text.contains(">\nprovisional\n<"), "said in words, too");
    assert!(!text.contains("=\"#"), "every colour may be set: {text}");
    assert_ne!(text, check("decay-final", &decay()));
    check("evidence", &evidence());
}

#[test]
fn hostile_names_are_text() {
    let hostile = "<script>alert(1)</script> & \"x\" onload='y'";
    let text = svg(&Chart { title: hostile.into(), lines: vec![(hostile.into(), 0.8)], ..decay() }).expect("a chart");
    assert!(!text.contains("<script") && !text.contains("onload='"), "{text}");
    let page = figure(&Chart { title: hostile.into(), ..decay() }, hostile).into_string();
    assert!(!page.contains("<script") && page.contains("<details>"), "{page}");
}

fn side(name: &str, sag: f64) -> Side {
    let points = (0..10_u32).map(|bin| {
        let x = f64::from(bin) / 10.0 + 0.05;
        let y = x * (1.0 - sag);
        Place { x, y, interval: Some((y - 0.06, y + 0.05)), n: 100 + u64::from(bin) }
    });
    Side { name: name.to_owned(), points: points.collect() }
}

#[test]
fn before_and_after_stand_in_one_square() {
    for (name, kind) in [("reliability", Kind::Reliability), ("roc", Kind::Roc), ("histogram", Kind::Histogram)] {
        let title = format!("{name} of effusion, site=south");
        let (before, after) = (side("reference", 0.0), side("since 27 Mar", 0.4));
        let pair = Pair { title, kind, before, after };
        let text = check(name, &pair);
        assert!(text.contains("reference") && text.contains("since 27 Mar"), "{text}");
        assert_eq!(pair.table().rows.len(), 20);
        let nothing = Pair { before: Side::default(), after: Side::default(), ..pair };
        assert!(svg(&nothing).is_err() && !nothing.has_values());
    }
}

#[test]
fn small_pictures_say_what_they_show() {
    let points = (0..30_i32).map(|n| (0.9 - f64::from(n) * 0.005, Some((0.85, 0.95))));
    let spark = Spark { title: "auroc of effusion".into(), points: points.collect(), reference: Some(0.88) };
    assert!(check("spark", &spark).contains("30 values: 0.900 at first, 0.755 at last"));
    let gauge = |evidence| Gauge { title: "evidence".into(), evidence, threshold: 8000.0 };
    assert!(check("gauge", &gauge(12.0)).contains("below the alarm at 8000"));
    assert!(check("gauge-past", &gauge(1e6)).contains("past the alarm at 8000"));
    assert!(svg(&Spark::default()).is_err());
    let bar = |name: &str, value: f64| Bar { name: name.into(), value, said: format!("{value:+.3}, n 120") };
    let bars = vec![bar("site=south & vendor=B with a long name", 0.08), bar("sex=F", 0.01), bar("view=AP", -0.02)];
    let bars =
        Bars { title: "part of the change".into(), x_label: "share".into(), bars, mark: Some(("null".into(), 0.02)) };
    assert!(
        check("bars", &bars).contains("site=south &amp; vendor=B with a long name +0.080"),
        "the words have it whole"
    );
}
