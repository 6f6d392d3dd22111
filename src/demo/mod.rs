//! The demo: a simulated department feeds files to the daemon and turns its clock.
//!
//! It uses no path that `serve` does not: the jobs, the database, the HTTP server and the notices are the daemon's own.

pub mod department;
pub mod files;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;

use crate::app::App;
use crate::clock::{Clock, ManualClock};
use crate::domain::Window;
use crate::domain::window::show_instant;
use crate::reference::{Maker, freeze};
use crate::runtime::supervisor::Supervisor;
use crate::store::alert::AlertRow;
use department::{CASES_PER_DAY, Department, REPLACEMENT};
pub use files::{Simulation, Written, simulate};
use files::{Waiting, write_predictions, write_truth};

/// The plan of the demo.
pub const PLAN: &str = include_str!("../../config/demo.toml");
/// Simulated days.
const DAYS: u32 = 120;
/// Days whose cases become the reference, and the day on which it is frozen.
const REFERENCE_DAYS: (u32, u32) = (40, 50);

/// What the demo is asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it keeps everything; wiped at the start.
    pub dir: PathBuf,
    /// End when the days are over, instead of serving on.
    pub once: bool,
    /// Listen there instead of at the plan's address.
    pub listen: Option<String>,
    /// Send emails to this SMTP server, `host:port`, instead of writing files.
    pub smtp: Option<String>,
    /// Seed of the department.
    pub seed: u64,
    /// A server to use instead of a private one.
    pub database_url: Option<String>,
}

/// First simulated day, a Monday.
fn start() -> DateTime<Utc> {
    // unwrap safety: the instant exists.
    DateTime::from_timestamp(1_736_121_600, 0).unwrap_or_default()
}

/// Run the demo.
///
/// # Errors
/// When the daemon cannot be started, or did not catch the spoiled finding.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let config = prepare(&options)?;
    let (clock, hand) = Clock::manual(start());
    let mut plan = crate::config::load(&config, &|_| None)?;
    plan.database.url = match &options.database_url {
        Some(url) => Some(fresh_database(url).await?),
        None => None,
    };
    println!("dosimeter demo: {DAYS} days of a chest X-ray department, everything below {}", options.dir.display());
    let app = App::start(plan, clock).await?;
    let supervisor = Supervisor::default();
    let passes = app.spawn(&supervisor).await?;
    let stop = supervisor.stop_token();
    let run = Days { app: &app, hand: &hand, passes, dir: &options.dir, seed: options.seed, once: options.once };
    let outcome = tokio::select! {
        outcome = run.all() => outcome,
        () = stop.cancelled() => Err(anyhow::anyhow!("the daemon stopped; see the log above")),
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    if let Err(error) = outcome {
        let _ = supervisor.end().await;
        app.close().await?;
        return Err(error);
    }
    let ended = if options.once {
        supervisor.end().await
    } else {
        println!("\nServing until Ctrl-C; the clock now goes on at its usual pace.");
        let began = Instant::now();
        let from = app.context().clock.now();
        supervisor.spawn("clock", async move {
            while stop.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await.is_some() {
                hand.turn_to(from + began.elapsed());
            }
            Ok(())
        });
        supervisor.run_to_end().await
    };
    // Its own Postgres ends with it, whatever ended it.
    app.close().await?;
    ended
}

/// Wipe the directory, write the plan.
fn prepare(options: &Options) -> anyhow::Result<PathBuf> {
    let marker = options.dir.join("dosimeter-demo");
    let is_used = fs::read_dir(&options.dir).is_ok_and(|mut entries| entries.next().is_some());
    anyhow::ensure!(
        !is_used || marker.exists(),
        "{} holds files that are not a demo's; name another --dir",
        options.dir.display()
    );
    crate::store::server::discard(&options.dir).context("is another demo running?")?;
    for entry in fs::read_dir(&options.dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
    }
    fs::create_dir_all(&options.dir).with_context(|| format!("cannot make {}", options.dir.display()))?;
    fs::write(&marker, "This directory belongs to `dosimeter demo`, which wipes it.\n")?;
    let mut text = PLAN.to_owned();
    if let Some(listen) = &options.listen {
        text = text.replace("127.0.0.1:9187", listen);
    }
    if let Some(smtp) = &options.smtp {
        let (host, port) = smtp.rsplit_once(':').context("--smtp wants HOST:PORT")?;
        let server = format!("smtp = {{ host = \"{host}\", port = {port}, tls = \"none\" }}");
        text = text.replace("directory = \"emails\"", &server);
    }
    let config = options.dir.join("config.toml");
    fs::write(&config, text)?;
    Ok(config)
}

/// A database of the demo's own on a given server, made anew.
async fn fresh_database(url: &str) -> anyhow::Result<crate::config::Secret> {
    println!("DATABASE_URL is set: using a database \"dosimeter_demo\" on that server, made anew");
    Ok(crate::config::Secret::new(&crate::store::fresh_database(url, "dosimeter_demo").await?))
}

struct Days<'a> {
    app: &'a App,
    hand: &'a ManualClock,
    passes: [watch::Receiver<u64>; 2],
    dir: &'a Path,
    seed: u64,
    once: bool,
}

impl Days<'_> {
    async fn all(mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let department =
            Department { seed: self.seed, start: start(), cases_per_day: CASES_PER_DAY, replacement: REPLACEMENT };
        let inbox = self.dir.join("inbox");
        let bar = progress_bar(u64::from(DAYS), "day {pos} of {len} {wide_bar} {msg}");
        let mut waiting = Waiting::default();
        let mut told = BTreeSet::new();
        self.settle([1, 1]).await?;
        for day in 0..DAYS {
            let studies = department.day(day);
            waiting.add(&studies);
            let evening = start() + TimeDelta::days(i64::from(day) + 1);
            write_predictions(&inbox, department.midnight(day), &studies)?;
            write_truth(&inbox, department.midnight(day), &mut waiting, evening)?;
            if day == REPLACEMENT.day {
                let what = format!("{} gets a new scanner (vendor {})", REPLACEMENT.site, REPLACEMENT.vendor);
                say(&bar, &format!("day {day:>3}: {what}; {} suffers there, and nobody knows", REPLACEMENT.finding));
            }
            // A quarter past midnight the day before is complete.
            self.turn(evening + TimeDelta::minutes(15)).await?;
            if day == REFERENCE_DAYS.1 {
                self.freeze(&bar, day).await?;
            }
            for alert in self.alerts().await? {
                if alert.fired_at.is_some() && told.insert(alert.alert_id) {
                    let place = format!("{} {}", alert.output, alert.slice);
                    say(&bar, &format!("day {day:>3}: ALERT {} ({}): {place}", alert.rule, alert.severity));
                }
            }
            bar.set_message(format!("{} alert(s)", told.len()));
            bar.inc(1);
            if bar.is_hidden() && (day + 1) % 20 == 0 {
                println!("day {:>3} of {DAYS}", day + 1);
            }
        }
        bar.finish_and_clear();
        self.summary(began.elapsed()).await
    }

    /// Turn the clock and wait until every job has seen the new time.
    async fn turn(&mut self, instant: DateTime<Utc>) -> anyhow::Result<()> {
        let before = self.passes.each_ref().map(|passes| *passes.borrow());
        self.hand.turn_to(instant);
        self.settle(before.map(|count| count + 1)).await
    }

    async fn settle(&mut self, wanted: [u64; 2]) -> anyhow::Result<()> {
        // The mailroom last: it sends what the pipeline has written. Should it have looked too early, the next turn sends.
        for (passes, wanted) in self.passes.iter_mut().zip(wanted) {
            passes.wait_for(|count| *count >= wanted).await.context("the jobs ended")?;
        }
        Ok(())
    }

    async fn freeze(&mut self, bar: &ProgressBar, day: u32) -> anyhow::Result<()> {
        let context = self.app.context();
        let window = Window { from: start(), to: start() + TimeDelta::days(i64::from(REFERENCE_DAYS.0)) };
        for model in &context.plan.models {
            let maker = Maker { model: &model.name, version: None, person: "demo", reason: "the first forty days" };
            let (reference_id, cases) = freeze(&context, &maker, window).await?;
            let now = context.clock.now();
            context.store.approve_reference(reference_id, "demo", "acceptance", now).await?;
            say(
                bar,
                &format!(
                    "day {day:>3}: reference {reference_id} of {} frozen from {cases} cases of {window}, and approved",
                    model.name
                ),
            );
        }
        Ok(())
    }

    async fn alerts(&self) -> anyhow::Result<Vec<AlertRow>> {
        let mut alerts = self.app.context().store.list_alerts(false, 1000).await?;
        alerts.reverse();
        Ok(alerts)
    }

    /// Which alert fired when, what the email said, where to look. An error if the spoiled finding was not caught.
    async fn summary(&mut self, took: Duration) -> anyhow::Result<()> {
        // Give the mailroom a tick, for notices written in the last pass.
        let now = self.app.context().clock.now();
        self.turn(now + TimeDelta::minutes(15)).await?;
        let context = self.app.context();
        println!("\n{DAYS} days in {:.0} s. Alerts that fired:", took.as_secs_f64());
        let mut caught = None;
        for alert in self.alerts().await? {
            let Some(fired_at) = alert.fired_at else { continue };
            let day = (fired_at - start()).num_days() - 1;
            let slice = format!("site={}", REPLACEMENT.site);
            let after = day >= i64::from(REPLACEMENT.day);
            if after && alert.output == REPLACEMENT.finding && alert.slice == slice {
                caught = caught.or(Some(alert.alert_id));
            }
            let what = format!("{} {} {}", alert.rule, alert.output, alert.slice);
            println!("  day {day:>3} ({})  {what}", show_instant(fired_at));
        }
        self.show_email()?;
        let plan = &context.plan;
        let url = &plan.service.public_url;
        if !self.once {
            println!("\nLook at");
            if let Some(alert_id) = caught {
                println!("  {url}/console/alerts/{alert_id}   what broke, where, since when, and how sure that is");
            }
            println!("  {url}/console   the console\n  {url}/metrics\n  {url}/readyz");
        }
        let program =
            std::env::current_exe().map_or_else(|_| "dosimeter".to_owned(), |path| path.display().to_string());
        let config = self.dir.join("config.toml");
        println!("Ask for the effusion at {} as it was known a week after the replacement:", REPLACEMENT.site);
        let day = |day: u32| show_instant(start() + TimeDelta::days(i64::from(day)));
        println!(
            "  {program} query --config {} --metric auroc --model chest-xray --output {} --slice site={} --from {} --to {} --known-at {}",
            config.display(),
            REPLACEMENT.finding,
            REPLACEMENT.site,
            day(REPLACEMENT.day),
            day(REPLACEMENT.day + 7),
            day(REPLACEMENT.day + 7),
        );
        anyhow::ensure!(caught.is_some(), "no alert caught {} at {}", REPLACEMENT.finding, REPLACEMENT.site);
        Ok(())
    }

    fn show_email(&self) -> anyhow::Result<()> {
        let dir = self.dir.join("emails");
        let mut emails: Vec<PathBuf> =
            fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        emails.sort_by_key(|path| number_of(path));
        let Some(first) = emails.first() else {
            println!("\nEmails went to the SMTP server.");
            return Ok(());
        };
        println!("\nThe first email ({}):\n", first.display());
        let text = fs::read_to_string(first)?;
        for line in plain_part(&text).lines() {
            println!("  | {line}");
        }
        Ok(())
    }
}

/// The number of a notice, from the name of its file.
fn number_of(path: &Path) -> u64 {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let digits = name.chars().filter(char::is_ascii_digit).collect::<String>();
    digits.parse().unwrap_or(u64::MAX)
}

/// The plain text of a message as it was written here: its first part of that kind, quoted-printable undone.
fn plain_part(message: &str) -> String {
    let part = message.split_once("Content-Type: text/plain").map_or("", |(_, rest)| rest);
    let (head, part) = part.split_once("\r\n\r\n").unwrap_or_default();
    let part = part.split("\r\n--").next().unwrap_or_default();
    if !head.contains("quoted-printable") {
        return part.to_owned();
    }
    let part = part.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let code = (*byte == b'=').then(|| after.get(..2)).flatten();
        let decoded = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        bytes.push(decoded.unwrap_or(*byte));
        rest = if decoded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn say(bar: &ProgressBar, line: &str) {
    if bar.is_hidden() { println!("{line}") } else { bar.println(line) }
}

/// A progress bar that shows itself on terminals only.
#[must_use]
pub fn progress_bar(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}
