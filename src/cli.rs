//! The commands, and what they print.

mod show;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::app::{App, environment, watch_hangup};
use crate::clock::Clock;
use crate::config::Plan;
use crate::demo::Simulation;
use crate::domain::window::parse_instant;
use crate::domain::{Slice, Window};
use crate::job::ingest::{Patience, run_sources};
use crate::job::{Job, LEASE_LENGTH, fold};
use crate::query::{Question, ask};
use crate::reference::{Maker, freeze, import};
use crate::runtime::Outcome;
use crate::runtime::privileges::drop_root;
use crate::runtime::supervisor::Supervisor;
use crate::store::alert::HumanStep;
use crate::store::rows::Knowledge;

/// A production monitor for clinical models.
///
/// dosimeter takes predictions, waits for the truth, keeps both in Postgres, and says how good a model still is, how sure
/// that is, and since when it is not.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What to log: error, warn, info, debug, or a filter such as dosimeter=debug.
    #[arg(long, global = true, env = "DOSIMETER_LOG", default_value = "info")]
    log: String,
    /// Log as text for people or as JSON for machines.
    #[arg(long, global = true, env = "DOSIMETER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: read the sources, fold, evaluate, detect, notify, serve /metrics.
    ///
    /// SIGHUP takes the configuration up again, or refuses it whole and says why. SIGTERM and Ctrl-C end it in order.
    Serve(ConfigArg),
    /// Check a configuration and print what would be monitored. Touches neither database nor files.
    Check(ConfigArg),
    /// Read everything the sources have, once, fold and evaluate it, and exit.
    Import(ConfigArg),
    /// Answer for any window, slice and instant of knowledge, whether or not it was ever published.
    ///
    /// Example: dosimeter query --config dosimeter.toml --model chest-xray --output effusion --slice view=AP
    /// --from 2025-03-01 --to 2025-04-01 --known-at 2025-04-10
    Query(QueryArgs),
    /// Freeze, import, list and approve references: what a version is compared with.
    #[command(subcommand)]
    Reference(ReferenceCommand),
    /// List, acknowledge and resolve alerts.
    #[command(subcommand)]
    Alert(AlertCommand),
    /// Run a simulated department for 120 days in a minute or two, and watch a model decay and be caught.
    Demo(DemoArgs),
    /// Write prediction and truth files of the demo's department.
    Simulate(SimulateArgs),
}

#[derive(Debug, Args)]
struct ConfigArg {
    /// The configuration file; config/full.toml explains every key.
    #[arg(long, env = "DOSIMETER_CONFIG", value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct QueryArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The model; may be left out while the plan has only one.
    #[arg(long)]
    model: Option<String>,
    /// The version; may be left out while there is only one.
    #[arg(long)]
    version: Option<String>,
    /// The output.
    #[arg(long)]
    output: String,
    /// The slice: all, view=AP, "sex=F & site=north"; it need not be declared in the plan.
    #[arg(long, default_value = "all", value_parser = str::parse::<Slice>)]
    slice: Slice,
    /// First day or instant (UTC) of the window.
    #[arg(long, value_parser = parse_instant)]
    from: DateTime<Utc>,
    /// First day or instant after the window.
    #[arg(long, value_parser = parse_instant)]
    to: DateTime<Utc>,
    /// Only truth that had been observed by then: what the hospital knew.
    #[arg(long, value_parser = parse_instant)]
    known_at: Option<DateTime<Utc>>,
    /// Only batches up to this number: what this installation had.
    #[arg(long)]
    recorded: Option<i64>,
    /// An operating point besides those of the plan; may be repeated.
    #[arg(long = "threshold")]
    thresholds: Vec<f64>,
    /// One metric by name (auroc, sensitivity, sensitivity@0.5, ...) or all.
    #[arg(long, default_value = "all")]
    metric: String,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

#[derive(Debug, Subcommand)]
enum ReferenceCommand {
    /// Freeze what is known now about a window of cases. It is in force once it is approved.
    Freeze {
        #[command(flatten)]
        maker: MakerArgs,
        /// First day or instant of the window.
        #[arg(long, value_parser = parse_instant)]
        from: DateTime<Utc>,
        /// First day or instant after it.
        #[arg(long, value_parser = parse_instant)]
        to: DateTime<Utc>,
    },
    /// Import a file (CSV, NDJSON, Parquet) with the columns output, score, truth and one per slice dimension.
    Import {
        /// The file: one row per case and output; truth is 0, 1 or blank.
        file: PathBuf,
        #[command(flatten)]
        maker: MakerArgs,
    },
    /// List references, the latest first.
    List(ConfigArg),
    /// Approve a reference: from now on its version is compared with it.
    Approve {
        /// Its number.
        id: i32,
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        person: PersonArgs,
    },
}

#[derive(Debug, Args)]
struct MakerArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The model; may be left out while the plan has only one.
    #[arg(long)]
    model: Option<String>,
    /// The version; may be left out while there is only one.
    #[arg(long)]
    version: Option<String>,
    #[command(flatten)]
    person: PersonArgs,
}

#[derive(Debug, Args)]
struct PersonArgs {
    /// Who does it; kept in the audit trail.
    #[arg(long, env = "USER")]
    by: String,
    /// Why; kept in the audit trail.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Subcommand)]
enum AlertCommand {
    /// List alerts, the latest first.
    List {
        #[command(flatten)]
        config: ConfigArg,
        /// Only open ones.
        #[arg(long)]
        open: bool,
    },
    /// Take an alert up.
    Ack {
        /// Its number.
        id: i64,
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        person: PersonArgs,
    },
    /// Close an alert. Nothing else does: falling evidence resolves no alert.
    Resolve {
        /// Its number.
        id: i64,
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        person: PersonArgs,
    },
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// End when the days are over, instead of serving until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// Where everything is kept; wiped at the start. Default: a directory of its own among the temporary files.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Listen at this address instead of 127.0.0.1:9187.
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
struct SimulateArgs {
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

/// Parse the command line, run the command, print what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(&cli.log, cli.log_format, matches!(cli.command, Command::Demo(_)));
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dosimeter: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(filter: &str, format: LogFormat, is_demo: bool) {
    // The demo tells its story itself; the log would be the same story told twice.
    let filter = if is_demo && filter == "info" { "warn" } else { filter };
    let filter = format!("{filter},sqlx::postgres::notice=warn");
    let builder = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => builder.json().init(),
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check(ConfigArg { config }) => {
            let plan = crate::config::load(&config, &environment)?;
            print!("{}", show::plan(&plan));
            Ok(())
        }
        Command::Simulate(args) => {
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
        Command::Demo(args) => {
            let uid = nix::unistd::Uid::effective();
            let dir = args.dir.unwrap_or_else(|| std::env::temp_dir().join(format!("dosimeter-demo-{uid}")));
            drop_root(&dir, None)?;
            let options = crate::demo::Options {
                dir,
                once: args.once,
                listen: args.listen,
                smtp: args.smtp,
                seed: args.seed,
                database_url: environment("DATABASE_URL"),
            };
            block_on(crate::demo::run(options))
        }
        Command::Serve(ConfigArg { config }) => {
            let plan = load_unprivileged(&config)?;
            block_on(serve(plan, config))
        }
        Command::Import(args) => with_app(&args, import_all),
        Command::Query(args) => {
            let config = ConfigArg { config: args.config.config.clone() };
            with_app(&config, async move |app| query(app, args).await)
        }
        Command::Reference(command) => reference(command),
        Command::Alert(command) => alert(command),
    }
}

/// Load the plan; if the process is root, become an ordinary user.
fn load_unprivileged(config: &std::path::Path) -> anyhow::Result<Plan> {
    let plan = crate::config::load(config, &environment)?;
    if let Some(user) = drop_root(&plan.service.data_dir, plan.database.run_as.as_deref())? {
        tracing::info!(user, "started as root, going on as an ordinary user");
        show::warn_unreadable(&plan, &user);
    }
    Ok(plan)
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// Run a command that comes and goes against the installation of a configuration.
fn with_app(args: &ConfigArg, work: impl AsyncFnOnce(&App) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let plan = load_unprivileged(&args.config)?;
    block_on(async {
        let app = App::start(plan, Clock::system()).await?;
        let result = work(&app).await;
        app.close().await?;
        result
    })
}

async fn serve(plan: Plan, config: PathBuf) -> anyhow::Result<()> {
    let app = App::start(plan, Clock::system()).await?;
    let supervisor = Supervisor::default();
    let spawned = app.spawn(&supervisor).await;
    if spawned.is_ok() {
        supervisor.spawn("reload", watch_hangup(config, app.context.clone(), supervisor.stop_token()));
    }
    let result = match spawned {
        Ok(_) => supervisor.run_to_end().await,
        Err(error) => Err(error),
    };
    app.close().await?;
    result
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
    for source in &context.plan.sources {
        if crate::source::file::discover(source).is_empty() {
            tracing::warn!(source = source.name, paths = ?source.paths, "no file matches that this user may read");
        }
    }
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

async fn query(app: &App, args: QueryArgs) -> anyhow::Result<()> {
    let context = app.context();
    for threshold in &args.thresholds {
        anyhow::ensure!((0.0..=1.0).contains(threshold), "--threshold {threshold} is no probability from 0 to 1");
    }
    let question = Question {
        model: only_model(&context.plan, args.model)?,
        version: args.version,
        output: args.output,
        slice: args.slice,
        window: Window { from: args.from, to: args.to },
        knowledge: Knowledge { known_at: args.known_at, recorded: args.recorded },
        thresholds: args.thresholds,
    };
    let mut answer = ask(&context, &question).await?;
    if args.metric != "all" {
        let known: Vec<String> = answer.metrics.iter().map(|row| row.metric.clone()).collect();
        let wanted = |metric: &str| metric == args.metric || metric.split(['@', '[']).next() == Some(&args.metric);
        answer.metrics.retain(|row| wanted(&row.metric));
        anyhow::ensure!(!answer.metrics.is_empty(), "no metric {:?}; known are {}", args.metric, known.join(", "));
    }
    match args.format {
        Format::Table => print!("{}", show::table(&answer)),
        Format::Csv => print!("{}", show::csv(&answer)?),
        Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
    }
    Ok(())
}

fn only_model(plan: &Plan, named: Option<String>) -> anyhow::Result<String> {
    match (named, plan.models.as_slice()) {
        (Some(name), _) => Ok(name),
        (None, [only]) => Ok(only.name.clone()),
        (None, models) => {
            let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
            anyhow::bail!("name one with --model: {}", names.join(", "))
        }
    }
}

fn reference(command: ReferenceCommand) -> anyhow::Result<()> {
    let made = |(id, cases): (i32, u64)| {
        println!("reference {id}, {cases} cases; it is in force once approved: dosimeter reference approve {id}");
    };
    match command {
        ReferenceCommand::Freeze { maker, from, to } => {
            let config = ConfigArg { config: maker.config.config.clone() };
            with_app(&config, async move |app| {
                let model = only_model(&app.context().plan, maker.model.clone())?;
                made(freeze(&app.context(), &maker.as_maker(&model), Window { from, to }).await?);
                Ok(())
            })
        }
        ReferenceCommand::Import { file, maker } => {
            let config = ConfigArg { config: maker.config.config.clone() };
            with_app(&config, async move |app| {
                let model = only_model(&app.context().plan, maker.model.clone())?;
                made(import(&app.context(), &maker.as_maker(&model), &file).await?);
                Ok(())
            })
        }
        ReferenceCommand::List(config) => with_app(&config, async |app| {
            print!("{}", show::references(&app.context().store.list_references().await?));
            Ok(())
        }),
        ReferenceCommand::Approve { id, config, person } => with_app(&config, async move |app| {
            let context = app.context();
            context.store.approve_reference(id, &person.by, &person.reason, context.clock.now()).await?;
            println!("reference {id} is in force");
            Ok(())
        }),
    }
}

impl MakerArgs {
    fn as_maker<'a>(&'a self, model: &'a str) -> Maker<'a> {
        Maker { model, version: self.version.as_deref(), person: &self.person.by, reason: &self.person.reason }
    }
}

fn alert(command: AlertCommand) -> anyhow::Result<()> {
    let (id, config, person, step) = match command {
        AlertCommand::List { config, open } => {
            return with_app(&config, async move |app| {
                print!("{}", show::alerts(&app.context().store.list_alerts(open, 1000).await?));
                Ok(())
            });
        }
        AlertCommand::Ack { id, config, person } => (id, config, person, HumanStep::Acknowledge),
        AlertCommand::Resolve { id, config, person } => (id, config, person, HumanStep::Resolve),
    };
    with_app(&config, async move |app| {
        let context = app.context();
        context.store.step_alert(id, step, &person.by, &person.reason, context.clock.now()).await?;
        println!("alert {id}: {}", if step == HumanStep::Resolve { "resolved" } else { "acknowledged" });
        Ok(())
    })
}
