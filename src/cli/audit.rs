//! `dosimeter audit`: who did what, and whether the record fits together.

use std::path::PathBuf;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::{ConfigArg, PersonArgs, show, with_app};
use crate::domain::window::parse_instant;
use crate::job::anchor::{anchor, line};
use crate::job::refold::check_summaries;
use crate::store::audit::{AuditFilter, AuditRow};
use crate::verify::{Depth, Report, anchors, verify_against};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// List entries of the audit trail, the latest first.
    ///
    /// Example: dosimeter audit list --config dosimeter.toml --action alert --from 2025-03-01
    List(ListArgs),
    /// Walk the chains, and with --full every row that they cover, and name what does not fit. Exits with 0 when everything
    /// fits, and with 1 when something does not or cannot be looked at.
    Verify {
        #[command(flatten)]
        config: ConfigArg,
        /// Look at every row, and at every state against what it derives from.
        #[arg(long)]
        full: bool,
        /// A file of anchors that was kept outside, as the daemon appends them; may be repeated.
        #[arg(long = "anchor", value_name = "FILE")]
        anchors: Vec<PathBuf>,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = show::Format::Table)]
        format: show::Format,
    },
    /// Note the heads of the chains in the audit trail, tell them by the routes of the plan, and print the line to be kept.
    Anchor {
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
    /// By whom.
    #[arg(long)]
    actor: Option<String>,
    /// What was done: an action or the first words of one, such as "alert" or "alert fired".
    #[arg(long)]
    action: Option<String>,
    /// To what, such as "alert 17".
    #[arg(long)]
    subject: Option<String>,
    /// At this instant or later.
    #[arg(long, value_parser = parse_instant)]
    from: Option<DateTime<Utc>>,
    /// Before this instant.
    #[arg(long, value_parser = parse_instant)]
    to: Option<DateTime<Utc>>,
    /// Those before this number only: the next page.
    #[arg(long)]
    before: Option<i64>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = show::Format::Table)]
    format: show::Format,
}

pub(super) fn run(command: AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::List(args) => list(args),
        AuditCommand::Verify { config, full, anchors: files, format } => with_app(&config, async move |app| {
            let mut known = Vec::new();
            for file in &files {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read the anchors {}", file.display()))?;
                known.extend(anchors(&text).map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))?);
            }
            let depth = if full { Depth::Full } else { Depth::Chain };
            let mut report = verify_against(&app.context().store, depth, &known).await?;
            if full {
                check_summaries(&app.context(), &mut report).await?;
            }
            match format {
                show::Format::Table => print!("{}", told(&report, depth)),
                show::Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
            }
            let breaches = report.breaches.len() as u64 + report.unnamed;
            anyhow::ensure!(report.is_sound(), "{breaches} row(s) do not fit; docs/audit.md says what to do");
            Ok(())
        }),
        AuditCommand::Anchor { config, person } => with_app(&config, async move |app| {
            let (context, person) = (app.context(), person.person()?);
            let [actor, reason] = person.said();
            let entry = anchor(&context, None, (actor, reason)).await?;
            println!("{}", line(&context.catalog.installation, &entry));
            Ok(())
        }),
    }
}

fn list(args: ListArgs) -> anyhow::Result<()> {
    let ListArgs { config, actor, action, subject, from, to, before, limit, format } = args;
    with_app(&config, async move |app| {
        let filter = AuditFilter { before, actor, action, subject, text: None, from, to };
        let entries = app.context().store.list_audit(&filter, limit.into()).await?;
        match format {
            show::Format::Table => print!("{}", table(&entries)),
            show::Format::Json => println!("{}", serde_json::to_string_pretty(&entries)?),
        }
        if let Some(last) = entries.last().filter(|last| entries.len() == limit as usize && last.audit_id > 1) {
            eprintln!("there may be more: --before {}", last.audit_id);
        }
        Ok(())
    })
}

/// Entries as a table.
fn table(entries: &[AuditRow]) -> String {
    if entries.is_empty() {
        return "There is no such entry.\n".to_owned();
    }
    let header = ["entry", "when", "who", "what", "of what", "why", "hash"].map(str::to_owned);
    let cells = entries.iter().map(|entry| {
        [
            entry.audit_id.to_string(),
            show::minute(entry.at),
            entry.actor.clone(),
            entry.action.clone(),
            entry.subject.clone(),
            entry.reason.clone(),
            entry.hash.chars().take(12).collect(),
        ]
    });
    show::columns(&std::iter::once(header).chain(cells).collect::<Vec<_>>())
}

/// What a verification found, in words.
fn told(report: &Report, depth: Depth) -> String {
    let mut rows = vec![["table", "looked at"].map(str::to_owned)];
    rows.extend(report.checked.iter().map(|(relation, count)| [(*relation).to_owned(), count.to_string()]));
    let mut text = show::columns(&rows);
    for (chain, head) in &report.heads {
        text += &format!("\nThe chain of {chain} ends with {}: {}", head.number, head.hash);
    }
    text += "\n\n";
    if report.is_sound() {
        let how = if depth == Depth::Full { "Every row fits." } else { "The chains fit; --full looks at every row." };
        return text + how + "\n";
    }
    for breach in &report.breaches {
        text += &format!("{}, {}: {}\n", breach.relation, breach.row, breach.what);
    }
    if report.unnamed > 0 {
        text += &format!("and {} more\n", report.unnamed);
    }
    text
}
