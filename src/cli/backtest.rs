//! `dosimeter backtest` and `dosimeter plan-power`: what the plan's watches would have found, and what they can find.

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};

use super::show::{Format, columns};
use super::{ConfigArg, VersionArgs, with_app};
use crate::alert::report::with_interval;
use crate::config::Method;
use crate::detect::budget::Share;
use crate::detect::null_value::NullValue;
use crate::detect::planner::Found;
use crate::detect::sealing::Days;
use crate::domain::Window;
use crate::domain::window::{parse_instant, show_instant};
use crate::query::backtest::{Asked, Backtest, Order, Power, Report, Tier, backtest, power};

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
    /// Batches up to this number; all when left out.
    #[arg(long)]
    recorded: Option<i64>,
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
            recorded: args.recorded,
        };
        let backtest = backtest(&context, &asked).await?;
        match args.format {
            Format::Table => print!("{}", table(&backtest)),
            Format::Json => println!("{}", serde_json::to_string_pretty(&backtest)?),
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
            recorded: None,
        };
        let streams = power(&context, &asked).await?;
        match args.format {
            Format::Table => print!("{}", power_table(&streams)),
            Format::Json => println!("{}", serde_json::to_string_pretty(&streams)?),
        }
        Ok(())
    })
}

fn heading(report: &Report, share: Option<&Share>) -> [String; 3] {
    let threshold = |share: &Share| match report.method {
        Method::Evidence => format!("{:.0}", share.threshold),
        Method::Cusum => format!("cusum {:.2}", share.threshold),
        Method::Ewma => format!("ewma {:.2}", share.threshold),
    };
    let watch =
        share.map_or_else(|| report.watch.clone(), |share| format!("{} ({})", report.watch, share.tier.as_str()));
    [watch, format!("{}, {}", report.output, report.slice), share.map_or_else(String::new, threshold)]
}

/// The limit and what the reference was, for each kind of days.
fn well(report: &Report) -> String {
    let of = |(days, null): &(Days, NullValue)| {
        let kind = if *days == Days::All { String::new() } else { format!(" on {}", days.as_str()) };
        match null.reference {
            Some(reference) => format!("{:.4}{kind} (reference {reference:.4}, n {})", null.limit, null.n),
            None => format!("{:.4}{kind} (contract)", null.limit),
        }
    };
    let kinds: Vec<String> = report.null.iter().map(of).collect();
    if kinds.is_empty() { "within tolerance".to_owned() } else { format!("{} {}", report.measure, kinds.join(", ")) }
}

/// What may keep the promise from being kept, below the table.
fn remarks<'r>(reports: impl Iterator<Item = &'r Report>) -> String {
    let of = |report: &Report| {
        let place = format!("{}, {}, {}", report.watch, report.output, report.slice);
        let stressed = report.stressed.iter().map(|reason| format!("{place}: guarantee stressed: {reason}\n"));
        let unwatched = report.unwatched.iter().map(|reason| format!("{place}: not watched: {reason}\n"));
        stressed.chain(unwatched).collect::<String>()
    };
    reports.map(of).collect()
}

fn table(backtest: &Backtest) -> String {
    let header = ["watch", "stream", "c", "well is", "days", "greatest M", "alarms"].map(str::to_owned);
    let of_tier = |report: &Report, tier: &Tier| {
        let [watch, stream, threshold] = heading(report, Some(&tier.share));
        let alarm = |alarm: &crate::detect::stream::Alarm| {
            let since = alarm.change.map_or_else(String::new, |at| format!(" since {}", show_instant(at)));
            let measured = alarm
                .measured
                .as_ref()
                .map_or_else(String::new, |measured| format!(", {}, n {}", with_interval(measured), measured.n));
            format!("{} (M {:.0}{since}{measured})", show_instant(alarm.bucket), alarm.evidence)
        };
        let alarms: Vec<String> = tier.replay.alarms.iter().map(alarm).collect();
        let said = match tier.share.tier {
            crate::config::Tier::Watch => "raises none, is listed".to_owned(),
            _ if alarms.is_empty() => "none".to_owned(),
            _ => alarms.join("; "),
        };
        let greatest = format!("{:.1}", tier.replay.greatest);
        [watch, stream, threshold, well(report), tier.replay.buckets.to_string(), greatest, said]
    };
    let rows = backtest.streams.iter().flat_map(|report| match &report.reason {
        Some(reason) => {
            let [watch, stream, threshold] = heading(report, None);
            vec![[watch, stream, threshold, String::new(), String::new(), String::new(), reason.clone()]]
        }
        None => report.tiers.iter().map(|tier| of_tier(report, tier)).collect(),
    });
    let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
    format!(
        "{}\n{}An alarm is raised when the evidence M, or a chart's sum or average, reaches c; then it starts anew. A chart promises the days\n\
         between its own false alarms, if its days are independent and normal; evidence promises the budget. Read from batches up to {}.\n",
        columns(&rows),
        remarks(backtest.streams.iter()),
        backtest.recorded
    )
}

fn power_table(streams: &[Power]) -> String {
    let header =
        ["watch", "stream", "c", "well is", "units a day", "found within 30 days", "without the reference's error"]
            .map(str::to_owned);
    let of_tier = |power: &Power, (share, found): &(Share, Result<Found, String>)| {
        let [watch, stream, threshold] = heading(&power.stream, Some(share));
        let (found, exact) = match found {
            Ok(found) => (
                format!("{:.4} {}", found.change, found.unit),
                found.without_error.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}")),
            ),
            Err(reason) => (reason.clone(), "-".to_owned()),
        };
        [watch, stream, threshold, well(&power.stream), format!("{:.1}", power.stream.size), found, exact]
    };
    let rows = streams.iter().flat_map(|power| match &power.stream.reason {
        Some(reason) => {
            let [watch, stream, threshold] = heading(&power.stream, None);
            vec![[watch, stream, threshold, String::new(), String::new(), reason.clone(), "-".to_owned()]]
        }
        None => power.found.iter().map(|found| of_tier(power, found)).collect(),
    });
    let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
    format!(
        "{}\n{}Found within 30 days: a change to this value or beyond it, or by as much, is found within thirty days on average, the days until\n\
         the seal among them.\n",
        columns(&rows),
        remarks(streams.iter().map(|power| &power.stream))
    )
}
