//! `dosimeter streams`: where the alarm engine stands, and one stream day by day.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::show::{Format, columns};
use super::{ConfigArg, with_app};
use crate::config::Method;
use crate::domain::window::{parse_instant, show_instant};
use crate::query::streams::{Asked, History, Row, Shown, Spent, budget, list, show};

#[derive(Debug, Subcommand)]
pub(super) enum StreamsCommand {
    /// The streams in force: what "well" is, where the evidence stands, and how much of the budget was spent.
    List {
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        which: Which,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// One stream day by day, replayed from what was sealed, and with the truth of today beside it.
    Show {
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        which: Which,
        /// First instant that is left out; up to the last sealed day when it is not given.
        #[arg(long, value_parser = parse_instant)]
        to: Option<DateTime<Utc>>,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Those of this model.
    #[arg(long)]
    model: Option<String>,
    /// Those of this version.
    #[arg(long)]
    version: Option<String>,
    /// Those of this watch.
    #[arg(long)]
    watch: Option<String>,
    /// Those of this output.
    #[arg(long)]
    output: Option<String>,
    /// Those of this slice, such as "all" or "site=north".
    #[arg(long)]
    slice: Option<String>,
    /// As they were at this instant.
    #[arg(long, value_parser = parse_instant)]
    as_of: Option<DateTime<Utc>>,
}

impl Which {
    fn asked(self) -> Asked {
        let Self { model, version, watch, output, slice, as_of } = self;
        Asked { model, version, watch, output, slice, as_of }
    }
}

pub(super) fn run(command: StreamsCommand) -> anyhow::Result<()> {
    match command {
        StreamsCommand::List { config, which, format } => with_app(&config, async move |app| {
            let asked = which.asked();
            let (streams, budget) = (list(&app.context(), &asked).await?, budget(&app.context(), asked.as_of).await?);
            match format {
                Format::Table => print!("{}", listed(&streams, &budget)),
                Format::Json => {
                    let listing = serde_json::json!({ "budget": budget, "streams": streams });
                    println!("{}", serde_json::to_string_pretty(&listing)?);
                }
            }
            Ok(())
        }),
        StreamsCommand::Show { config, which, to, format } => with_app(&config, async move |app| {
            let shown = show(&app.context(), &which.asked(), to).await?;
            match format {
                Format::Table => print!("{}", shown_stream(&shown)),
                Format::Json => println!("{}", serde_json::to_string_pretty(&shown)?),
            }
            Ok(())
        }),
    }
}

fn well(row: &Row) -> String {
    let kinds: Vec<String> =
        row.null.iter().map(|(days, null)| format!("{:.4} on {}", null.limit, days.as_str())).collect();
    if kinds.is_empty() { "within tolerance".to_owned() } else { kinds.join(", ") }
}

fn listed(streams: &[Row], budget: &[Spent]) -> String {
    let header =
        ["watch", "stream", "well is", "from", "until", "tier", "M", "alarm at", "budget share"].map(str::to_owned);
    let rows = streams.iter().flat_map(|row| {
        let start = [
            row.watch.clone(),
            format!("{} {}, {}, {}", row.model, row.version, row.output, row.slice),
            well(row),
            show_instant(row.starts),
            show_instant(row.looked_until),
        ];
        let with = |rest: [String; 4]| {
            let [watch, stream, well, from, until] = start.clone();
            let [tier, evidence, threshold, share] = rest;
            [watch, stream, well, from, until, tier, evidence, threshold, share]
        };
        match &row.reason {
            Some(reason) => vec![with([String::new(), reason.clone(), String::new(), String::new()])],
            None => row
                .tiers
                .iter()
                .map(|tier| {
                    let share =
                        if row.method == Method::Evidence { format!("{:.4}", tier.weight) } else { "a chart".into() };
                    with([tier.tier.clone(), format!("{:.2}", tier.evidence), format!("{:.0}", tier.threshold), share])
                })
                .collect(),
        }
    });
    let table = columns(&std::iter::once(header).chain(rows).collect::<Vec<_>>());
    let spent = budget.iter().map(|spent| {
        format!(
            "{}s: {} raised in the last 365 days, {} false ones a year allowed\n",
            spent.tier.as_str(),
            spent.raised,
            spent.allowed
        )
    });
    let watched = streams.iter().filter(|row| row.watched);
    let watched: Vec<String> =
        watched.map(|row| format!("{} of {}, {}, {}", row.watch, row.version, row.output, row.slice)).collect();
    let watched = if watched.is_empty() { "none".to_owned() } else { watched.join("; ") };
    let stressed = streams.iter().filter_map(|row| {
        let reason = row.dependent.as_ref()?;
        Some(format!("{} of {}, {}, {}: guarantee stressed: {reason}\n", row.watch, row.version, row.output, row.slice))
    });
    format!("{table}\n{}watched: {watched}\n{}", spent.collect::<String>(), stressed.collect::<String>())
}

fn shown_stream(shown: &Shown) -> String {
    let Shown { row, .. } = shown;
    let mut out = format!(
        "{} of {} {}, {}, {}: {}\nwell is {}\npromise: {}\n",
        row.watch,
        row.model,
        row.version,
        row.output,
        row.slice,
        row.measure,
        well(row),
        shown.promise
    );
    out.push_str(&shown.stressed.as_ref().map_or_else(
        || "guarantee: holds, as far as is known\n".to_owned(),
        |reason| format!("guarantee: stressed: {reason}\n"),
    ));
    for history in &shown.history {
        out.push_str(&of_tier(history));
    }
    out
}

fn of_tier(history: &History) -> String {
    let header = ["day", "M", "alarm at", ""].map(str::to_owned);
    let rows = history.days.iter().map(|point| {
        let alarm = if point.alarms { "alarm" } else { "" };
        [show_instant(point.day), format!("{:.2}", point.evidence), format!("{:.0}", point.threshold), alarm.to_owned()]
    });
    let table = columns(&std::iter::once(header).chain(rows).collect::<Vec<_>>());
    let days = |replay: &crate::detect::stream::Replay| {
        let days: Vec<String> = replay.alarms.iter().map(|alarm| show_instant(alarm.bucket)).collect();
        if days.is_empty() { "none".to_owned() } else { days.join(", ") }
    };
    let supported = match history.still_supported {
        None => String::new(),
        Some(true) => "; the alarm is still supported".to_owned(),
        Some(false) => "; the alarm is no longer supported".to_owned(),
    };
    format!(
        "\n{}s\n{table}alarms, replayed from what was sealed: {}\nalarms with the truth of today: {}{supported}\n",
        history.tier.as_str(),
        days(&history.replayed),
        days(&history.revised)
    )
}
