//! `dosimeter bundle`: the evidence about one version in one period, as one archive.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::Args;

use super::{ConfigArg, PersonArgs, VersionArgs, with_app};
use crate::bundle::{Asked, make};
use crate::domain::Window;
use crate::domain::window::parse_instant;

/// What to put into it.
#[derive(Debug, Args)]
pub(super) struct BundleArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    version: VersionArgs,
    /// First day or instant of the period.
    #[arg(long, value_parser = parse_instant)]
    from: DateTime<Utc>,
    /// First day or instant after it.
    #[arg(long, value_parser = parse_instant)]
    to: DateTime<Utc>,
    /// As published up to this instant; now if left out. It stands in the bundle.
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    as_of: Option<DateTime<Utc>>,
    /// Batches up to this number only; those of --as-of if left out.
    #[arg(long)]
    recorded: Option<i64>,
    /// The archive; a new file.
    #[arg(long, value_name = "FILE.zip")]
    out: PathBuf,
    #[command(flatten)]
    person: PersonArgs,
}

pub(super) fn run(args: BundleArgs) -> anyhow::Result<()> {
    let config = args.config.clone();
    with_app(&config, async move |app| {
        let BundleArgs { version, from, to, as_of, recorded, out, person, .. } = args;
        let context = app.context();
        let model = version.model(&context.plan)?;
        let asked = Asked { model, version: version.version, period: Window { from, to }, as_of, recorded };
        anyhow::ensure!(!out.exists(), "{} exists; name a new file with --out", out.display());
        let person = person.person()?;
        let cannot = || format!("cannot write {}", out.display());
        // A bundle takes a while, and its making is noted: whether it can be written is known before.
        let mut file = std::fs::File::create_new(&out).with_context(cannot)?;
        let made = make(&context, &asked, &person).await.map_err(anyhow::Error::from).and_then(|bundle| {
            file.write_all(&bundle.bytes).with_context(cannot)?;
            Ok(bundle.bytes.len())
        });
        match made {
            Ok(length) => {
                println!("{}: {length} bytes; unpack it and open report.html", out.display());
                Ok(())
            }
            Err(error) => {
                // What is half written is no bundle. Why there is none is what counts, whether or not it goes.
                let _ = std::fs::remove_file(&out);
                Err(error)
            }
        }
    })
}
