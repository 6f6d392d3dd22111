//! What one more day costs, by how much history there is: the work is in proportion to the day.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use dosimeter::app::App;
use dosimeter::clock::Clock;
use dosimeter::demo::{Simulation, simulate};
use dosimeter::job::Job;

/// Days of history.
const HISTORIES: [i64; 5] = [30, 60, 120, 240, 365];
/// Days that are added one by one; the median counts.
const MORE: i64 = 5;

/// Fill an installation with a history, add days, and print what each job takes for one.
pub async fn run() {
    let Ok(server) = std::env::var("DATABASE_URL") else {
        println!("skipped: DATABASE_URL names no Postgres");
        return;
    };
    println!(
        "{:>8} {:>8} {:>8} {:>8} {:>8} {:>8}   (ms for one more day)",
        "days", "ingest", "fold", "evaluate", "detect", "publish"
    );
    for days in HISTORIES {
        let took = one_more_day(&server, days).await;
        let cells: Vec<String> = took.iter().map(|took| format!("{:>8.0}", took.as_secs_f64() * 1e3)).collect();
        println!("{days:>8} {}", cells.join(" "));
    }
}

async fn one_more_day(server: &str, days: i64) -> [Duration; 5] {
    let start: DateTime<Utc> = DateTime::from_timestamp(1_736_121_600, 0).expect("a Monday");
    let url = dosimeter::store::fresh_database(server, "dosimeter_history").await.expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let parsed = dosimeter::config::parse(dosimeter::demo::PLAN, folder.path(), &|_| None);
    let (mut plan, _) = parsed.expect("the demo's plan");
    plan.database.url = Some(dosimeter::config::Secret::new(&url));
    plan.service.data_dir = folder.path().to_owned();
    plan.service.estimate_every = Duration::ZERO;
    // Everything is written elsewhere and moved in day by day, so that truth comes as late as it does.
    let end = start + TimeDelta::days(days + MORE + 30);
    let simulation = Simulation { cases: u64::MAX, start, end, ..Simulation::default() };
    simulate(&folder.path().join("later"), &simulation, &|_| {}).expect("files");
    let write = |days: std::ops::Range<i64>| {
        for day in days {
            let name = format!("{}.csv", (start + TimeDelta::days(day)).format("%Y-%m-%d"));
            for of in ["predictions", "truth", "quality/predictions", "quality/truth"] {
                let to = folder.path().join("inbox").join(of);
                std::fs::create_dir_all(&to).expect("a folder");
                std::fs::rename(folder.path().join("later").join(of).join(&name), to.join(&name)).expect("a file");
            }
        }
    };
    write(0..days);
    let (clock, hand) = Clock::manual(start + TimeDelta::days(days));
    let app = App::start(plan, clock).await.expect("an app");
    let context = app.context();
    for job in Job::ALL {
        job.run(&context).await;
    }
    let jobs = [Job::Ingest, Job::Fold, Job::Evaluate, Job::Detect, Job::Publish];
    let mut times = [const { Vec::new() }; 5];
    for day in days..days + MORE {
        write(day..day + 1);
        hand.turn_to(start + TimeDelta::days(day + 1));
        for (job, times) in jobs.iter().zip(&mut times) {
            let began = Instant::now();
            job.run(&context).await;
            times.push(began.elapsed());
        }
    }
    app.close().await.expect("it closes");
    times.map(|mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}
