//! `dosimeter erase` and `dosimeter retain`: what goes, and what would.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::show::{self, Format};
use super::{Coded, ConfigArg, PersonArgs, with_app};
use crate::erasure::{self, Who};
use crate::intake::Pseudonyms;
use crate::job::retain::{self, Due};
use crate::job::{Context, Job};
use crate::store::identifier::IdKind;
use crate::store::retention::Counts;

/// Nothing is kept of whom the arguments name.
const NOTHING: u8 = 3;

#[derive(Debug, Args)]
#[group(required = true, multiple = false, id = "who")]
pub(super) struct WhoArgs {
    /// The pseudonym of a subject: everything that is kept of the person and of every case of theirs.
    #[arg(long, group = "who")]
    subject: Option<String>,
    /// A file that holds the subject's id as the senders write it, and nothing else; - for the standard input.
    #[arg(long, value_name = "FILE", group = "who")]
    subject_id_file: Option<PathBuf>,
    /// The pseudonym of a case.
    #[arg(long, group = "who")]
    case: Option<String>,
    /// A file that holds the case's id; - for the standard input.
    #[arg(long, value_name = "FILE", group = "who")]
    case_id_file: Option<PathBuf>,
}

impl WhoArgs {
    fn who(&self, pseudonyms: &Pseudonyms) -> anyhow::Result<Who> {
        let named = |kind, pseudonym: &str| Who { kind, pseudonym: pseudonym.trim().to_owned() };
        let by_id = |kind, file: &Path| anyhow::Ok(Who::of_id(pseudonyms, kind, &read_id(file)?));
        match (&self.subject, &self.subject_id_file, &self.case, &self.case_id_file) {
            (Some(subject), ..) => Ok(named(IdKind::Subject, subject)),
            (_, Some(file), ..) => by_id(IdKind::Subject, file),
            (_, _, Some(case), _) => Ok(named(IdKind::Case, case)),
            (.., Some(file)) => by_id(IdKind::Case, file),
            _ => anyhow::bail!("name somebody: --subject, --subject-id-file, --case or --case-id-file"),
        }
    }
}

/// The id in a file. It never stands on a command line, where every user of the machine could read it.
fn read_id(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("cannot read the standard input")?;
    } else {
        text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    anyhow::ensure!(!text.trim().is_empty(), "the file of the id is empty");
    Ok(text.trim().to_owned())
}

#[derive(Debug, Args)]
pub(super) struct EraseArgs {
    #[command(flatten)]
    who: WhoArgs,
    /// Do it. Without this, only what would go is told.
    #[arg(long)]
    yes: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    person: PersonArgs,
}

pub(super) fn erase(args: EraseArgs) -> anyhow::Result<()> {
    with_app(&args.config, async move |app| {
        let (context, person) = (app.context(), args.person.person()?);
        let who = args.who.who(&context.pseudonyms)?;
        if !args.yes {
            let (_, counts) = erasure::find(&context, &who).await?;
            print_counts(&counts, args.format)?;
            if args.format == Format::Table {
                println!("nothing has been erased; --yes does it");
            }
            return Ok(());
        }
        let Some(erased) = erasure::erase(&context, &who, &person).await? else {
            let message = format!("nothing is kept of this {}, who was erased before", who.kind.as_str());
            return Err(Coded { code: NOTHING, message }.into());
        };
        match args.format {
            Format::Json => println!("{}", serde_json::to_string_pretty(&erased)?),
            Format::Table => {
                print_counts(&erased.counts, args.format)?;
                println!(
                    "erased: erasure {}, batch {}, {} leaves are left",
                    erased.erasure, erased.batch, erased.leaves
                );
            }
        }
        Ok(())
    })
}

#[derive(Debug, Args)]
pub(super) struct RetainArgs {
    /// Tell what would go, and remove nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) fn retain(args: RetainArgs) -> anyhow::Result<()> {
    with_app(&args.config, async move |app| {
        let context = app.context();
        if args.dry_run {
            return tell_due(&context).await;
        }
        let work = async |lease: &crate::store::lease::Lease| retain::run(&context, lease).await;
        match context.under_lease(Job::Retain, work).await? {
            Some(outcome) => println!("{}", outcome.as_str()),
            None => anyhow::bail!("the daemon is at it; look again in a moment"),
        }
        Ok(())
    })
}

async fn tell_due(context: &Context) -> anyhow::Result<()> {
    let due = Due::of(&context.plan.retention, context.clock.now());
    print_counts(&context.store.count_aged(due.aged).await?, Format::Table)?;
    let Some(before) = due.rows_before else {
        println!("predictions and truth are kept for ever: retention.rows is not set");
        return Ok(());
    };
    println!("predictions of before {} go:", show::minute(before));
    for (month, rows) in context.store.count_months(&context.store.months_before(before).await?).await? {
        println!("  {}  {rows}", month.format("%Y-%m"));
    }
    Ok(())
}

fn print_counts(counts: &Counts, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(counts)?),
        Format::Table => counts.iter().for_each(|(table, rows)| println!("{table:<16} {rows}")),
    }
    Ok(())
}
