//! What an alert rests on, drawn: the series, the evidence, before and after, which slices and features moved.

use maud::{Markup, html};

use super::super::frame::Frame;
use super::super::words;
use super::sentence::remedy;
use crate::metric::curve::{self, Curve};
use crate::picture::bars::{Bar, Bars};
use crate::picture::plane::{Kind, Pair, Place, Side};
use crate::picture::{Chart, Point, REFERENCE, figure};
use crate::query::account::{Account, Cause, Moved};
use crate::store::alert::AlertRow;

/// Bars of a ranking.
const BARS: usize = 8;

pub(super) fn show(frame: &Frame, alert: &AlertRow, account: &Account) -> Markup {
    if let Cause::Health(rule) = account.cause {
        return remedy(rule);
    }
    html! {
        section.evidence {
            h2 { "Before and since" }
            div.figures {
                (figure(&series(alert, account), ""))
                @if let Some(chart) = evidence(account) {
                    (figure(&chart, "of sealed days, the axis is logarithmic; after an alarm it begins anew"))
                }
                @for (kind, title) in [
                    (Kind::Roc, "How well it tells them apart"),
                    (Kind::Reliability, "Whether its probabilities are right"),
                    (Kind::Histogram, "What it says"),
                ] {
                    @let pair = pair(account, kind, title);
                    @if pair.has_values() { (figure(&pair, "")) }
                }
            }
            @if account.after.body.is_none() && frame.as_of.is_some() {
                p.note { "Curves of the past are read from rows, and there are too many of them here: ask " code { "dosimeter curve --known-at" } "." }
            }
        }
        section.evidence {
            h2 { "Where it comes from" }
            div.figures {
                @if let Some(bars) = contributions(account) { (figure(&bars, "share of the cases times own change; a minus is worse where less is worse")) }
                @if let Some(bars) = features(account) { (figure(&bars, "Jensen-Shannon distance from the reference; the line is what chance alone exceeds once in twenty")) }
                @for mix in account.mixes.iter().take(2) { (mix_table(account, mix)) }
            }
            @if !account.slices.is_empty() { (slices(frame, alert, &account.slices)) }
        }
        (reproduce(alert, account))
    }
}

fn series(alert: &AlertRow, account: &Account) -> Chart {
    let metric = account.metric.as_ref().map(ToString::to_string).unwrap_or_default();
    let window = account.window.map(|window| window.to_string()).unwrap_or_default();
    let points = account.series.iter().filter_map(|estimate| {
        let value = account.value(estimate)?.ok()?;
        let interval = value.interval.as_ref().map(|interval| (interval.lower, interval.upper));
        Some(Point { at: estimate.window.to, value: value.value, interval })
    });
    let limit = account.limit.map(|(_, limit)| ("limit".to_owned(), limit));
    let reference = account.reference.map(|value| (REFERENCE.to_owned(), value));
    Chart {
        title: format!("{metric} of {}, {} ({window})", alert.output, alert.slice),
        y_label: metric,
        points: points.collect(),
        lines: limit.into_iter().chain(reference).collect(),
        mark: Some((format!("change {}", account.change.format("%-d %b")), account.change)),
        provisional_from: account.provisional_from,
        logarithmic: false,
    }
}

fn evidence(account: &Account) -> Option<Chart> {
    let evidence = account.evidence.as_ref()?;
    let threshold = evidence.days.last().map(|last| ("alarm".to_owned(), last.threshold));
    let points = evidence.days.iter().map(|day| Point { at: day.day, value: day.evidence, interval: None });
    let chart = Chart {
        title: format!("Evidence that it is worse than allowed ({} tier)", evidence.tier),
        y_label: "evidence".to_owned(),
        points: points.collect(),
        lines: threshold.into_iter().collect(),
        mark: Some((format!("change {}", account.change.format("%-d %b")), account.change)),
        provisional_from: None,
        logarithmic: true,
    };
    chart.has_values().then_some(chart)
}

/// One curve, before and since.
fn pair(account: &Account, kind: Kind, title: &str) -> Pair {
    let curve = match kind {
        Kind::Roc => Curve::Roc,
        Kind::Reliability => Curve::Reliability,
        Kind::Histogram => Curve::Histogram,
    };
    let side = |side: &crate::query::account::Side| {
        let summary = side.body.as_ref().and_then(|body| body.output());
        let points = summary.and_then(|summary| curve::read(curve, summary).ok()).unwrap_or_default();
        let total: u64 = points.iter().map(|point| point.n).sum();
        let place = |point: &curve::CurvePoint| match kind {
            // Twenty bins of equal width; what counts is the share in each.
            Kind::Histogram => {
                Place { x: point.x, y: point.n as f64 / total.max(1) as f64, interval: None, n: point.n }
            }
            _ => Place { x: point.x, y: point.y, interval: point.lower.zip(point.upper), n: point.n },
        };
        Side { name: side.name.clone(), points: points.iter().map(place).collect() }
    };
    Pair { title: title.to_owned(), kind, before: side(&account.before), after: side(&account.after) }
}

fn contributions(account: &Account) -> Option<Bars> {
    let metric = account.metric.as_ref()?.to_string();
    let bars: Vec<Bar> = account
        .slices
        .iter()
        .filter_map(|moved| {
            let value = moved.part?;
            let said = format!("{}, n {}", words::difference(value, 3), moved.now.n);
            Some(Bar { name: moved.name.clone(), value, said })
        })
        .take(BARS)
        .collect();
    let title = format!("Part of the change of {metric}, by slice");
    (!bars.is_empty()).then(|| Bars { title, x_label: "part of the change".to_owned(), bars, mark: None })
}

fn features(account: &Account) -> Option<Bars> {
    let bar = |moved: &Moved| Bar {
        name: moved.name.clone(),
        value: moved.now.value,
        said: format!("{:.3}, n {}", moved.now.value, moved.now.n),
    };
    let bars: Vec<Bar> = account.features.iter().take(BARS).map(bar).collect();
    let null = account.features.iter().take(BARS).filter_map(|moved| moved.now.null_95).fold(0.0, f64::max);
    let mark = (null > 0.0).then(|| ("chance".to_owned(), null));
    (!bars.is_empty()).then(|| Bars {
        title: "Features that moved".to_owned(),
        x_label: "distance".to_owned(),
        bars,
        mark,
    })
}

fn mix_table(account: &Account, mix: &crate::query::account::Mix) -> Markup {
    html! {
        figure.chart {
            figcaption { "Mix of " (mix.dimension) " in these cases" }
            table.numbers {
                thead { tr { th scope="col" { (mix.dimension) } th.right scope="col" { (account.before.name) } th.right scope="col" { (account.after.name) } } }
                tbody {
                    @for ((value, before, after), (_, was, is)) in mix.values.iter().zip(mix.shares()) {
                        tr {
                            th scope="row" { (value) }
                            td.right { (words::percent(was)) span.n { " n\u{a0}" (words::count(*before)) } }
                            td.right { (words::percent(is)) span.n { " n\u{a0}" (words::count(*after)) } }
                        }
                    }
                }
            }
        }
    }
}

fn slices(frame: &Frame, alert: &AlertRow, moved: &[Moved]) -> Markup {
    html! {
        details {
            summary { "All slices with their intervals" }
            (words::scrolling("Slices", &html! {
                table {
                    thead { tr { th scope="col" { "Slice" } th scope="col" { "Latest window" } th scope="col" { "Before" } th.right scope="col" { "Part of the change" } } }
                    tbody {
                        @for one in moved {
                            tr {
                                th scope="row" {
                                    a href=(frame.model_link(&alert.model, &[("version", &alert.version), ("output", &alert.output), ("slice", &one.name)])) { (one.name) }
                                }
                                td { (words::estimate(&one.now)) }
                                td { @match one.before { Some(before) => (words::number(before)), None => span.undefined { "no reference" } } }
                                td.right { @match one.part { Some(part) => (words::difference(part, 4)), None => span.undefined { "unknown" } } }
                            }
                        }
                    }
                }
            }))
        }
    }
}

/// The command that gives the numbers again, and what the alert promises.
fn reproduce(alert: &AlertRow, account: &Account) -> Markup {
    use crate::alert::report::quoted;
    use crate::domain::window::show_instant;
    let AlertRow { model, version, output, slice, rule, .. } = alert;
    let place = format!(
        "--model {} --version {} --output {} --slice {}",
        quoted(model),
        quoted(version),
        quoted(output),
        quoted(slice)
    );
    let command = match (&account.cause, account.series.last()) {
        (Cause::Watch(_), _) => format!("dosimeter streams show --config FILE --watch {} {place}", quoted(rule)),
        (_, Some(last)) => format!(
            "dosimeter query --config FILE {place} --from {} --to {} --known-at {} --recorded {}",
            show_instant(last.window.from),
            show_instant(last.window.to),
            show_instant(last.known_at),
            last.recorded
        ),
        _ => format!("dosimeter alert show {} --config FILE", alert.alert_id),
    };
    let promise = account.evidence.as_ref().and_then(|evidence| evidence.promise.clone());
    html! {
        section {
            h2 { "How to get these numbers again" }
            pre.command tabindex="0" { (command) }
            @if let (Cause::Watch(_), Some(promise)) = (&account.cause, promise) {
                p.note { "What an alarm promises: " (promise) ". The budget bounds false alarms, not missed changes." }
            }
        }
    }
}
