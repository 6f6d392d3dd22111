//! `dosimeter demo` and `dosimeter simulate`: a simulated department.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;

use super::block_on;
use crate::app::environment;
use crate::clock::Clock;
use crate::demo::{Options, Simulation};
use crate::runtime::privileges::drop_root;

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// End when the days are over, instead of serving until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// Where everything is kept; wiped at the start. Default: a directory of its own among the temporary files.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Listen at this address of the machine's own instead of 127.0.0.1:9187.
    #[arg(long)]
    listen: Option<String>,
    /// Send emails to this SMTP server (HOST:PORT, no encryption) instead of writing them as files.
    #[arg(long)]
    smtp: Option<String>,
    /// Seed of the department.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// Where to write: DIR/predictions and DIR/truth.
    #[arg(long)]
    out: PathBuf,
    /// How many cases.
    #[arg(long, default_value_t = 24_000)]
    cases: u64,
    /// Seed: the same seed gives the same files.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// First day: a date such as 2025-01-06, or days before today such as -120d.
    #[arg(long, default_value = "2025-01-06", allow_hyphen_values = true, value_parser = parse_day)]
    start: DateTime<Utc>,
    /// Write only what happens before this day (a date, -7d, or now); default: all cases and all that is ever said of them.
    #[arg(long, allow_hyphen_values = true, value_parser = parse_day)]
    end: Option<DateTime<Utc>>,
}

/// A date, days before today (`-120d`), or `now`.
fn parse_day(text: &str) -> Result<DateTime<Utc>, String> {
    let now = Clock::system().now();
    if text == "now" {
        return Ok(now);
    }
    let back = text.strip_prefix('-').and_then(|rest| rest.strip_suffix('d')).and_then(|days| days.parse::<u32>().ok());
    let date = match back {
        Some(days) => now.date_naive() - chrono::Days::new(u64::from(days)),
        None => text.parse::<chrono::NaiveDate>().map_err(|_| "write 2025-01-06, -120d or now".to_owned())?,
    };
    Ok(date.and_time(chrono::NaiveTime::MIN).and_utc())
}

pub(super) fn run(args: DemoArgs) -> anyhow::Result<()> {
    let uid = nix::unistd::Uid::effective();
    let dir = args.dir.unwrap_or_else(|| std::env::temp_dir().join(format!("dosimeter-demo-{uid}")));
    drop_root(&dir, None, None)?;
    let options = Options {
        dir,
        once: args.once,
        listen: args.listen,
        smtp: args.smtp,
        seed: args.seed,
        database_url: environment("DATABASE_URL"),
    };
    block_on(crate::demo::run(options))
}

pub(super) fn simulate(args: SimulateArgs) -> anyhow::Result<()> {
    let bar = crate::demo::progress_bar(args.cases, "{pos} of {len} cases {wide_bar} {eta}");
    let SimulateArgs { out, cases, seed, start, end } = args;
    let end = end.unwrap_or(DateTime::<Utc>::MAX_UTC);
    let simulation = Simulation { cases, seed, start, end };
    let written = crate::demo::simulate(&out, &simulation, &|done| bar.set_position(done))?;
    bar.finish_and_clear();
    println!("wrote {} cases of {} days below {}", written.cases, written.days, out.display());
    if written.kept > 0 {
        println!("{} files were there already and have been left as they are", written.kept);
    }
    Ok(())
}
