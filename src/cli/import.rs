//! `dosimeter import`: one pass over what the sources have.

use std::time::Duration;

use anyhow::Context as _;

use super::{ConfigArg, with_app};
use crate::app::App;
use crate::job::ingest::{Patience, run_sources};
use crate::job::{Job, LEASE_LENGTH, fold};
use crate::runtime::Outcome;

pub(super) fn run(config: &ConfigArg) -> anyhow::Result<()> {
    with_app(config, import_all)
}

/// One pass: read all sources, fold, evaluate.
async fn import_all(app: &App) -> anyhow::Result<()> {
    let context = app.context();
    let lease = loop {
        if let Some(lease) = context.store.take_lease(Job::Ingest.name(), &context.holder, LEASE_LENGTH).await? {
            break lease;
        }
        tracing::info!("another process reads the sources; waiting for it");
        tokio::time::sleep(Duration::from_secs(2)).await;
    };
    let mut files = 0;
    for source in &context.plan.sources {
        let found = crate::source::file::discover(source).len();
        if found == 0 {
            tracing::warn!(source = source.name, paths = ?source.paths, "no file matches that this user may read");
        }
        files += found;
    }
    anyhow::ensure!(files > 0, "there is nothing to read: no source has a file that this user may read");
    let bar = indicatif::ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(100));
    let rows = std::sync::atomic::AtomicU64::new(0);
    let tally = run_sources(&context, &lease, Patience::Everything, &|source, committed| {
        let more = committed.accepted + committed.duplicates + committed.rejected;
        let all = rows.fetch_add(more, std::sync::atomic::Ordering::Relaxed) + more;
        bar.set_message(format!("{source}: {all} records"));
    })
    .await?;
    let fold_lease = context.store.take_lease(Job::Fold.name(), &context.holder, LEASE_LENGTH).await?;
    let fold_lease = fold_lease.context("another process folds; it will take up what was imported")?;
    let folded = std::sync::atomic::AtomicUsize::new(0);
    fold::run_with(&context, &fold_lease, &|more| {
        let all = folded.fetch_add(more, std::sync::atomic::Ordering::Relaxed) + more;
        bar.set_message(format!("folded {all} buckets"));
    })
    .await?;
    bar.set_message("evaluating");
    let evaluated = Job::Evaluate.run(&context).await;
    bar.finish_and_clear();
    anyhow::ensure!(evaluated != Outcome::Failed, "the evaluation failed; see the log above");
    println!(
        "read {} file(s): {} records new, {} known already, {} rejected",
        tally.files, tally.accepted, tally.duplicates, tally.rejected
    );
    let status = context.store.status().await?;
    for tally in status.tallies.iter().filter(|tally| tally.family == "rejection") {
        println!("  rejected so far from {}: {} {}", tally.place, tally.total, tally.kind);
    }
    Ok(())
}
