//! `dosimeter rejections`: what was refused and why, and how it is mended.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde_json::json;

use super::show::{self, Format};
use super::{ConfigArg, PersonArgs, with_app};
use crate::domain::Reason;
use crate::domain::window::parse_instant;
use crate::mending::{self, Fate, Mended};
use crate::store::rejection::{Opened, RejectionFilter};

#[derive(Debug, Subcommand)]
pub(super) enum RejectionsCommand {
    /// List refused records, the latest first, each with its file, line, field, reason and remedy.
    List(ListArgs),
    /// Show one with the mapped columns, without what identifies somebody.
    Show {
        /// Its number.
        id: i64,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// What a reason means and what to do about it; of a number, also what the door would say under the plan in force.
    Explain {
        /// A reason, such as bad-score, or the number of a rejection.
        what: String,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Write the records as they stood, with everything that identifies somebody, as NDJSON. Audited.
    Export {
        #[command(flatten)]
        which: WhichArgs,
        /// Where to; a new file that only its owner can read. Default: the standard output.
        #[arg(long)]
        output: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        person: PersonArgs,
    },
    /// Send them through the door again, as they stood or as a file has them mended. Audited. Fails if one is not taken in.
    Replay {
        #[command(flatten)]
        which: WhichArgs,
        /// A file that `export` wrote and somebody mended: its rejections and no others.
        #[arg(long, conflicts_with_all = ["source", "refused_for", "since", "limit"])]
        file: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        person: PersonArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Of one source only.
    #[arg(long)]
    source: Option<String>,
    /// For one reason only: bad-score, conflict, ...
    #[arg(long, alias = "refused-for")]
    reason: Option<String>,
    /// Refused at or after this instant only.
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    since: Option<DateTime<Utc>>,
    /// Those that have been taken in after all, too.
    #[arg(long)]
    all: bool,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    limit: i64,
    /// How to print them; JSON has the mapped columns of each record too.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Which rejections; those that have been taken in after all are never among them.
#[derive(Debug, Args)]
pub(super) struct WhichArgs {
    /// Of one source only.
    #[arg(long)]
    source: Option<String>,
    /// Refused for one reason only: bad-score, conflict, ...
    #[arg(long, value_name = "REASON")]
    refused_for: Option<String>,
    /// Refused at or after this instant only.
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    since: Option<DateTime<Utc>>,
    /// At most so many, the latest.
    #[arg(long, default_value_t = 10_000)]
    limit: i64,
}

impl WhichArgs {
    fn filter(self) -> RejectionFilter {
        let Self { source, refused_for, since, limit } = self;
        RejectionFilter {
            ids: None,
            source,
            reason: refused_for,
            since,
            until: None,
            resolved: Some(false),
            before: None,
            limit,
        }
    }
}

#[allow(clippy::single_match_else, reason = "both ways are of equal weight")]
pub(super) fn run(command: RejectionsCommand) -> anyhow::Result<()> {
    match command {
        RejectionsCommand::List(args) => list(args),
        RejectionsCommand::Show { id, config } => with_app(&config, async move |app| {
            let rejection = app.context().store.load_rejection(id).await?;
            println!("{}", serde_json::to_string_pretty(&rejection)?);
            Ok(())
        }),
        RejectionsCommand::Explain { what, config } => explain(&what, &config),
        RejectionsCommand::Export { which, output, config, person } => with_app(&config, async move |app| {
            let opened = mending::export(&app.context(), &which.filter(), &person.person()?).await?;
            let text: String = opened.iter().map(|opened| format!("{}\n", line(opened))).collect();
            match output {
                None => print!("{text}"),
                Some(path) => write_new(&path, &text)?,
            }
            eprintln!("{} refused records, as they stood: whoever reads them sees who they are about", opened.len());
            Ok(())
        }),
        RejectionsCommand::Replay { which, file, config, person } => with_app(&config, async move |app| {
            let context = app.context();
            let mended = match file {
                Some(path) => {
                    let text = std::fs::read_to_string(&path);
                    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                    mending::read_mended(&text).map_err(|message| anyhow::anyhow!("{}: {message}", path.display()))?
                }
                None => {
                    let mut rejections = context.store.list_rejections(&which.filter()).await?;
                    rejections.reverse();
                    let as_they_stood = |id| Mended { rejection_id: id, record: None };
                    rejections.into_iter().map(|rejection| as_they_stood(rejection.rejection_id)).collect()
                }
            };
            told(&mending::replay(&context, mended, &person.person()?).await?)
        }),
    }
}

fn list(args: ListArgs) -> anyhow::Result<()> {
    let config = args.config.clone();
    with_app(&config, async move |app| {
        let ListArgs { source, reason, since, all, limit, format, .. } = args;
        let resolved = (!all).then_some(false);
        let filter = RejectionFilter { ids: None, source, reason, since, until: None, resolved, before: None, limit };
        let rejections = app.context().store.list_rejections(&filter).await?;
        match format {
            Format::Table => print!("{}", show::rejections(&rejections)),
            Format::Json => println!("{}", serde_json::to_string_pretty(&rejections)?),
        }
        Ok(())
    })
}

fn explain(what: &str, config: &ConfigArg) -> anyhow::Result<()> {
    let reason = |word: &str| Reason::ALL.into_iter().find(|reason| reason.as_str() == word);
    if let Some(reason) = reason(what) {
        println!("{what}: {}", reason.explanation());
        return Ok(());
    }
    let id = what.parse().ok().with_context(|| {
        let known: Vec<&str> = Reason::ALL.map(Reason::as_str).to_vec();
        format!("{what:?} is neither the number of a rejection nor a reason; reasons are {}", known.join(", "))
    })?;
    with_app(config, async move |app| {
        let context = app.context();
        let rejection = context.store.load_rejection(id).await?;
        println!("rejection {id}, {} line {}: {}", rejection.origin, rejection.line, rejection.message);
        if let Some(reason) = reason(&rejection.reason) {
            println!("{}: {}", rejection.reason, reason.explanation());
        }
        let filter = RejectionFilter { ids: Some(vec![id]), limit: 1, ..RejectionFilter::default() };
        let opened = context.store.open_rejections(&filter).await?;
        let verdict = opened.first().map(|opened| mending::rehearse(&context, opened));
        match verdict {
            Some(Ok(None)) => println!("under the plan in force it would pass: dosimeter rejections replay"),
            Some(Ok(Some(problem))) => println!("under the plan in force: {}", problem.message),
            Some(Err(why)) => println!("it cannot be sent through the door again: {why}"),
            None => {}
        }
        Ok(())
    })
}

/// A rejection as `replay --file` reads it again.
fn line(opened: &Opened) -> String {
    let rejection = &opened.rejection;
    let record = opened.record.as_ref().ok();
    let record = record.and_then(|record| serde_json::from_str::<serde_json::Value>(record.expose()).ok());
    json!({
        "rejection_id": rejection.rejection_id,
        "rejected_at": rejection.rejected_at,
        "source": rejection.source,
        "origin": rejection.origin,
        "line": rejection.line,
        "item": rejection.item,
        "field": rejection.field,
        "reason": rejection.reason,
        "message": rejection.message,
        "record": record,
        "unreadable": opened.record.as_ref().err(),
    })
    .to_string()
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("cannot make {}; it must not be there yet", path.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Say what became of each, and fail unless all were taken in.
fn told(fates: &[(i64, Fate)]) -> anyhow::Result<()> {
    let mut taken = 0;
    for (id, fate) in fates {
        match fate {
            Fate::TakenIn(batch) => {
                taken += 1;
                println!("rejection {id}: taken in by batch {batch}");
            }
            Fate::Refused { reason, message } => println!("rejection {id}: refused again, {reason}: {message}"),
            Fate::Left(why) => println!("rejection {id}: left as it is: {why}"),
        }
    }
    println!("{taken} of {} taken in", fates.len());
    anyhow::ensure!(taken == fates.len(), "{} were not taken in", fates.len() - taken);
    Ok(())
}
