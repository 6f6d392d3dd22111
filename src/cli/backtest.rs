//! `dosimeter backtest` and `dosimeter plan-power`: what the plan's watches would have found, and what they can find.

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};

use super::show::{Format, columns};
use super::{ConfigArg, VersionArgs, with_app};
use crate::config::Method;
use crate::domain::Window;
use crate::domain::window::{parse_instant, show_instant};
use crate::query::backtest::{Asked, Order, Power, Report, backtest, power};

#[derive(Debug, Args)]
pub(super) struct BacktestArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    version: VersionArgs,
    /// First instant of the history.
    #[arg(long, value_parser = parse_instant)]
    from: DateTime<Utc>,
    /// First instant after it.
    #[arg(long, value_parser = parse_instant)]
    to: DateTime<Utc>,
    #[command(flatten)]
    reference: ReferenceArgs,
    /// When cases enter the evidence: sealed as the daemon would have sealed them, or by exam day with today's truth.
    #[arg(long, value_enum, default_value_t = Entry::Sealed)]
    order: Entry,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Entry {
    Sealed,
    Exam,
}

#[derive(Debug, Args)]
pub(super) struct PowerArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    version: VersionArgs,
    #[command(flatten)]
    reference: ReferenceArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// The history that null values come from.
#[derive(Debug, Args)]
struct ReferenceArgs {
    /// First instant of the reference.
    #[arg(long, value_parser = parse_instant)]
    reference_from: DateTime<Utc>,
    /// First instant after it.
    #[arg(long, value_parser = parse_instant)]
    reference_to: DateTime<Utc>,
}

impl ReferenceArgs {
    fn window(&self) -> Window {
        Window { from: self.reference_from, to: self.reference_to }
    }
}

pub(super) fn run(args: BacktestArgs) -> anyhow::Result<()> {
    let config = args.config.clone();
    with_app(&config, async move |app| {
        let context = app.context();
        let asked = Asked {
            model: args.version.model(&context.plan)?,
            version: args.version.version,
            window: Window { from: args.from, to: args.to },
            reference: args.reference.window(),
            order: match args.order {
                Entry::Sealed => Order::Sealed,
                Entry::Exam => Order::Exam,
            },
        };
        let streams = backtest(&context, &asked).await?;
        match args.format {
            Format::Table => print!("{}", table(&streams)),
            Format::Json => println!("{}", serde_json::to_string_pretty(&streams)?),
        }
        Ok(())
    })
}

pub(super) fn plan_power(args: PowerArgs) -> anyhow::Result<()> {
    let config = args.config.clone();
    with_app(&config, async move |app| {
        let context = app.context();
        let reference = args.reference.window();
        let asked = Asked {
            model: args.version.model(&context.plan)?,
            version: args.version.version,
            // Nothing is replayed: an instant after the reference.
            window: Window { from: reference.to, to: reference.to + chrono::TimeDelta::days(1) },
            reference,
            order: Order::Sealed,
        };
        let streams = power(&context, &asked).await?;
        match args.format {
            Format::Table => print!("{}", power_table(&streams)),
            Format::Json => println!("{}", serde_json::to_string_pretty(&streams)?),
        }
        Ok(())
    })
}

fn heading(report: &Report) -> [String; 3] {
    let threshold = |report: &Report| match report.method {
        Method::Evidence => format!("{:.0}", report.threshold),
        Method::Cusum => format!("cusum {:.2}", report.threshold),
        Method::Ewma => format!("ewma {:.2}", report.threshold),
    };
    [
        format!("{} ({})", report.watch, report.tier.as_str()),
        format!("{}, {}", report.output, report.slice),
        threshold(report),
    ]
}

/// The limit and what the reference was.
fn well(report: &Report) -> String {
    let Some(null) = &report.null else { return "within tolerance".to_owned() };
    match null.reference {
        Some(reference) => format!("{} {:.4} (reference {reference:.4}, n {})", report.measure, null.limit, null.n),
        None => format!("{} {:.4} (contract)", report.measure, null.limit),
    }
}

fn table(streams: &[Report]) -> String {
    let header = ["watch", "stream", "c", "well is", "buckets", "greatest M", "alarms"].map(str::to_owned);
    let row = |report: &Report| {
        let [watch, stream, threshold] = heading(report);
        let (buckets, greatest, alarms) = match (&report.replay, &report.reason) {
            (Some(replay), _) => {
                let alarm = |alarm: &crate::detect::stream::Alarm| {
                    let since = alarm.change.map_or_else(String::new, |at| format!(" since {}", show_instant(at)));
                    let measured = alarm.measured.map_or_else(String::new, |value| format!(", {value:.4}"));
                    format!("{} (M {:.0}{since}{measured})", show_instant(alarm.bucket), alarm.evidence)
                };
                let alarms: Vec<String> = replay.alarms.iter().map(alarm).collect();
                let said = if alarms.is_empty() { "none".to_owned() } else { alarms.join("; ") };
                (replay.buckets.to_string(), format!("{:.1}", replay.greatest), said)
            }
            (None, reason) => (String::new(), String::new(), reason.clone().unwrap_or_default()),
        };
        let stressed =
            report.stressed.map_or("", |_| " [guarantee stressed: days hang together, take unit = \"cluster\"]");
        [watch, stream, threshold, well(report), buckets, greatest, alarms + stressed]
    };
    let rows: Vec<_> = std::iter::once(header).chain(streams.iter().map(row)).collect();
    format!(
        "{}\nAn alarm is raised when the evidence M, or a chart's sum or average, reaches c; then it starts anew. A chart promises the days\nbetween its own false alarms, if its days are independent and normal; evidence promises the budget.\n",
        columns(&rows)
    )
}

fn power_table(streams: &[Power]) -> String {
    let header =
        ["watch", "stream", "c", "well is", "units a bucket", "found in 30 days", "without the reference's error"]
            .map(str::to_owned);
    let row = |power: &Power| {
        let [watch, stream, threshold] = heading(&power.stream);
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
        let found = match &power.stream.reason {
            Some(reason) => reason.clone(),
            None if power.found.is_none() => "no change so soon".to_owned(),
            None => number(power.found),
        };
        let size = format!("{:.1}", power.stream.size);
        [watch, stream, threshold, well(&power.stream), size, found, number(power.found_without_error)]
    };
    let rows: Vec<_> = std::iter::once(header).chain(streams.iter().map(row)).collect();
    format!(
        "{}\nFound in 30 days: a change to this value or beyond it is found within thirty days on average.\n",
        columns(&rows)
    )
}
