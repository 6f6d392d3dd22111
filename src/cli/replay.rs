//! `dosimeter replay`: past estimates, made again.

use clap::Args;
use serde_json::json;

use super::show::Format;
use super::{Coded, ConfigArg, with_app};
use crate::job::replay::{Replayed, Verdict, replay};
use crate::metric::CALCULATOR_VERSION;

/// An estimate cannot be made again, and none differs.
const CANNOT: u8 = 3;

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Numbers of estimates; `dosimeter series` and the API show them.
    #[arg(value_name = "ESTIMATE_ID", required_unless_present = "sample")]
    estimates: Vec<i64>,
    /// Besides, so many at random of all that this release's formulas made.
    #[arg(long, value_name = "N")]
    sample: Option<u32>,
    /// How to print what came of it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn run(args: ReplayArgs) -> anyhow::Result<()> {
    let ReplayArgs { config, estimates, sample, format } = args;
    with_app(&config, async move |app| {
        let context = app.context();
        let mut wanted = Vec::new();
        for estimate_id in estimates {
            wanted.push(context.store.load_estimate(estimate_id).await?);
        }
        if let Some(sample) = sample {
            wanted.extend(context.store.sample_estimates(sample, CALCULATOR_VERSION).await?);
        }
        let replayed = replay(&context, wanted).await?;
        match format {
            Format::Table => replayed.iter().for_each(|one| print!("{}", lines(one))),
            Format::Json => {
                let list: Vec<_> = replayed.iter().map(document).collect();
                println!("{}", serde_json::to_string_pretty(&list)?);
            }
        }
        verdict(&replayed)
    })
}

/// The end of the command: differences count more than what cannot be told.
fn verdict(replayed: &[Replayed]) -> anyhow::Result<()> {
    let count = |word| replayed.iter().filter(|one| one.verdict.as_str() == word).count();
    let (all, differ, cannot) = (replayed.len(), count("differs"), count("cannot"));
    if differ > 0 {
        return Err(Coded {
            code: 1,
            message: format!("{differ} of {all} estimates differ from what they were made of"),
        }
        .into());
    }
    if cannot > 0 {
        return Err(Coded { code: CANNOT, message: format!("{cannot} of {all} estimates cannot be made again") }.into());
    }
    Ok(())
}

fn lines(one: &Replayed) -> String {
    let id = one.stored.estimate_id;
    match &one.verdict {
        Verdict::Agrees => format!("estimate {id} agrees: {} metrics, bit for bit\n", one.stored.metrics.len()),
        Verdict::Cannot(obstacle) => format!("estimate {id} cannot be made again: {obstacle}\n"),
        Verdict::Differs(differences) => {
            differences.iter().map(|difference| format!("estimate {id} differs: {difference}\n")).collect()
        }
    }
}

fn document(one: &Replayed) -> serde_json::Value {
    let differences = match &one.verdict {
        Verdict::Differs(differences) => differences.as_slice(),
        Verdict::Agrees | Verdict::Cannot(_) => &[],
    };
    let reason = matches!(one.verdict, Verdict::Cannot(_)).then(|| one.verdict.words());
    json!({
        "estimate_id": one.stored.estimate_id,
        "verdict": one.verdict.as_str(),
        "input_digest": one.stored.input_digest,
        "differences": differences,
        "reason": reason,
    })
}
