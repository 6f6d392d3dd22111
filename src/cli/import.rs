//! `dosimeter import`: one pass over what the sources have.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::{ConfigArg, block_on, load_unprivileged};
use crate::app::App;
use crate::clock::Clock;
use crate::job::evaluate::{self, Pace};
use crate::job::ingest::{Patience, run_sources};
use crate::job::{Context, Error, Job, fold};
use crate::store::lease::Lease;

pub(super) fn run(args: &ConfigArg) -> anyhow::Result<()> {
    let plan = load_unprivileged(&args.config)?;
    block_on(async {
        let app = App::start(plan, Clock::system()).await?;
        let result = import_all(&app.context()).await;
        app.close_after(result).await
    })
}

/// Read all sources, fold, evaluate.
async fn import_all(context: &Context) -> anyhow::Result<()> {
    let mut files = 0;
    for source in &context.plan.sources {
        let Some(own) = source.files() else { continue };
        let found = crate::source::file::discover(own);
        for closed in &found.closed {
            tracing::warn!(source = source.name, closed, "a folder of the source cannot be looked into");
        }
        if found.files.is_empty() {
            tracing::warn!(source = source.name, paths = ?own.paths, "no file matches that this user may read");
        }
        files += found.files.len();
    }
    let asks = context.plan.sources.iter().any(|source| source.pull().is_some());
    anyhow::ensure!(files > 0 || asks, "there is nothing to read: no source has a file that this user may read");
    let bar = indicatif::ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(100));
    let rows = AtomicU64::new(0);
    let tally = wait_for(context, Job::Ingest, async |lease| {
        run_sources(context, lease, Patience::Everything, &|source, committed| {
            let more = committed.accepted + committed.duplicates + committed.rejected;
            let all = rows.fetch_add(more, Ordering::Relaxed) + more;
            bar.set_message(format!("{source}: {all} records"));
        })
        .await
    })
    .await?;
    let folded = AtomicUsize::new(0);
    wait_for(context, Job::Fold, async |lease| {
        fold::run_with(context, lease, &|more| {
            let all = folded.fetch_add(more, Ordering::Relaxed) + more;
            bar.set_message(format!("folded {all} buckets"));
        })
        .await
    })
    .await?;
    bar.set_message("evaluating");
    wait_for(context, Job::Evaluate, async |lease| evaluate::run(context, lease, Pace::AtOnce).await).await?;
    bar.finish_and_clear();
    println!(
        "read {} file(s): {} records new, {} known already, {} rejected",
        tally.files, tally.accepted, tally.duplicates, tally.rejected
    );
    let status = context.store.status().await?;
    for tally in status.tallies.iter().filter(|tally| tally.family == "rejection") {
        println!("  rejected so far from {}: {} {}", tally.place, tally.total, tally.kind);
    }
    for (source, pulled) in context.store.list_pulled().await? {
        if let Some(message) = pulled.message.filter(|_| context.plan.sources.iter().any(|own| own.name == source)) {
            println!("  {source} fails: {message}");
        }
    }
    let waiting = context.store.count_waiting_cases().await?;
    if waiting > 0 {
        println!(
            "  truth of {waiting} case(s) waits for a prediction; if that is most of it, do the files name cases alike?"
        );
    }
    for version in context.store.list_versions().await? {
        let span = context.store.summary_span(version.version_id).await?;
        let windows = context.plan.model(&version.model).map(|model| &model.windows);
        let now = context.clock.now();
        let is_past = |last| windows.is_some_and(|windows| windows.iter().all(|window| window.at(now).from > last));
        if let Some((_, last)) = span.filter(|(_, last)| is_past(*last)) {
            println!(
                "  the latest case of {} {} is of {}, and published windows end now: they are empty; ask with dosimeter query",
                version.model,
                version.name,
                last.date_naive()
            );
        }
    }
    Ok(())
}

/// Do a job's work as soon as no other process does.
async fn wait_for<T>(context: &Context, job: Job, work: impl AsyncFn(&Lease) -> Result<T, Error>) -> Result<T, Error> {
    let mut told = false;
    loop {
        if let Some(done) = context.under_lease(job, &work).await? {
            return Ok(done);
        }
        if !std::mem::replace(&mut told, true) {
            tracing::info!(job = job.name(), "another process is at it; waiting for it");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
