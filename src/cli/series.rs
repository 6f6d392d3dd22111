//! `dosimeter series`: one stream window by window, as it was published up to an instant, or as it was known at one.

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args};

use super::query::Format;
use super::show::{Window as Shown, series as table, series_csv};
use super::{ConfigArg, VersionArgs, with_app};
use crate::domain::window::parse_instant;
use crate::domain::{Slice, WindowSpec};
use crate::history::{Asked, recompute, series};
use crate::store::rows::Knowledge;
use crate::store::series::Span;

/// More windows than this are for the API, page by page.
const MOST: i64 = 10_000;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("made anew").args(["known_at", "recorded"]).multiple(true).conflicts_with("as_of").requires_all(["from", "to"]))]
pub(super) struct SeriesArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    version: VersionArgs,
    /// The output, choice or value, or another quantity.
    #[arg(long)]
    output: String,
    /// The slice.
    #[arg(long, default_value = "all", value_parser = str::parse::<Slice>)]
    slice: Slice,
    /// The window of the plan: 7d, 30d, month; the first of the plan if absent.
    #[arg(long, value_parser = str::parse::<WindowSpec>)]
    window: Option<WindowSpec>,
    /// The metric, with its threshold or dimension.
    #[arg(long)]
    metric: String,
    /// Windows that end on this day or instant (UTC) or after it.
    #[arg(long, value_parser = parse_instant)]
    from: Option<DateTime<Utc>>,
    /// Windows that end on this day or instant or before it.
    #[arg(long, value_parser = parse_instant)]
    to: Option<DateTime<Utc>>,
    /// As it had been published by this instant.
    #[arg(long, value_parser = parse_instant)]
    as_of: Option<DateTime<Utc>>,
    /// Made anew, with the truth observed up to this instant; needs --from and --to.
    #[arg(long, value_parser = parse_instant)]
    known_at: Option<DateTime<Utc>>,
    /// Made anew, from the batches up to this number; needs --from and --to.
    #[arg(long)]
    recorded: Option<i64>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn run(args: SeriesArgs) -> anyhow::Result<()> {
    let config = args.config.clone();
    with_app(&config, async move |app| {
        let context = app.context();
        let model = args.version.model(&context.plan)?;
        let first = context.plan.model(&model).and_then(|model| model.windows.first().copied());
        let window = args.window.or(first).map(|window| window.to_string()).unwrap_or_default();
        let asked = Asked {
            model,
            version: args.version.version,
            output: args.output,
            slice: args.slice,
            window,
            metric: Some(args.metric.clone()),
            span: Span { from: args.from, to: args.to, as_of: args.as_of },
        };
        let knowledge = Knowledge { known_at: args.known_at, recorded: args.recorded };
        let windows: Vec<Shown> = if knowledge == Knowledge::default() {
            series(&context, &asked, None, MOST).await?.into_iter().map(Shown::from).collect()
        } else {
            let answers = recompute(&context, &asked, knowledge, (None, MOST), None).await?;
            answers.into_iter().map(Shown::from).collect()
        };
        let has_metric = windows.iter().any(|window| !window.metrics.is_empty());
        anyhow::ensure!(
            windows.is_empty() || has_metric,
            "there is no metric {:?} here; docs/metrics.md lists them, and `dosimeter query` shows those of an output",
            args.metric
        );
        match args.format {
            Format::Table => print!("{}", table(&windows)),
            Format::Csv => print!("{}", series_csv(&windows)?),
            Format::Json => println!("{}", serde_json::to_string_pretty(&windows)?),
        }
        Ok(())
    })
}
