//! The commands: a file each, with its arguments; `show` is what they print.

mod alert;
mod audit;
mod backtest;
mod bundle;
mod compare;
mod curve;
mod demo;
mod diff;
mod drift;
mod erase;
mod health;
mod identity;
mod import;
mod key;
mod notify;
mod query;
mod reference;
mod rejections;
mod replay;
mod series;
mod show;
mod silence;
mod sources;
mod streams;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::app::{App, environment, watch_hangup};
use crate::clock::Clock;
use crate::config::{Plan, Transport};
use crate::person::Person;
use crate::runtime::privileges::drop_root;
use crate::runtime::supervisor::Supervisor;

/// A production monitor for clinical models.
///
/// dosimeter takes predictions, waits for the truth, keeps both in Postgres, and says how good a model still is, how sure
/// that is, and since when it is not.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What to log: error, warn, info, debug, or a filter such as dosimeter=debug; default: info for serve and import, else warn.
    #[arg(long, global = true, env = "DOSIMETER_LOG", help_heading = "Log")]
    log: Option<String>,
    /// Log as text for people or as JSON for machines.
    #[arg(long, global = true, env = "DOSIMETER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, help_heading = "Log")]
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
    /// Check a configuration and print what would be monitored. Counts the files of the sources; touches no database.
    Check(ConfigArg),
    /// Read everything the sources have, once, fold and evaluate it, and exit.
    Import(ConfigArg),
    /// Answer for any window, slice and instant of knowledge, whether or not it was ever published.
    ///
    /// Example: dosimeter query --config dosimeter.toml --model chest-xray --output effusion --slice view=AP
    /// --from 2025-03-01 --to 2025-04-01 --known-at 2025-04-10
    Query(query::QueryArgs),
    /// What has moved away from the reference, the surest first: scores, values, classes, features, embeddings, case mix.
    Drift(drift::DriftArgs),
    /// The points of a curve: ROC, precision and recall, reliability, net benefit, histogram of scores.
    Curve(curve::CurveArgs),
    /// Compare two versions (on the same cases where they share some) or two slices, with intervals and p-values.
    ///
    /// Example: dosimeter compare --config dosimeter.toml --output effusion --slice view=AP --against-slice view=PA
    /// --from 2025-03-01 --to 2025-04-01
    Compare(compare::CompareArgs),
    /// Replay a history under the plan's watches: which alarms they would have raised, and when.
    ///
    /// Example: dosimeter backtest --config dosimeter.toml --reference-from 2025-01-01 --reference-to 2025-03-01
    /// --from 2025-03-01 --to 2025-07-01
    Backtest(backtest::BacktestArgs),
    /// What each watch can find within thirty days at this volume, and what the reference's size costs.
    PlanPower(backtest::PowerArgs),
    /// One stream window by window: as it was published up to an instant, or as it was known at one.
    ///
    /// Example: dosimeter series --config dosimeter.toml --output effusion --window 30d --metric auroc --as-of 2025-03-03
    Series(series::SeriesArgs),
    /// What was known then and what is known now, and the late and revised truths that account for the change.
    ///
    /// Example: dosimeter diff --config dosimeter.toml --output effusion --from 2025-02-01 --to 2025-03-01 --then 2025-03-03
    Diff(diff::DiffArgs),
    /// Make published estimates again from what was recorded then: bit for bit the same, or what differs.
    ///
    /// Exits with 0 when all agree, 1 when one differs, 3 when none differs but one cannot be made again.
    Replay(replay::ReplayArgs),
    /// Freeze, import, list and approve references: what a version is compared with.
    #[command(subcommand)]
    Reference(reference::ReferenceCommand),
    /// List, show, acknowledge, silence and resolve alerts.
    #[command(subcommand)]
    Alert(alert::AlertCommand),
    /// Who did what: list the audit trail, verify that the record fits together, anchor it outside.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Make, list and end silences: what nobody is told of for a while.
    #[command(subcommand)]
    Silence(silence::SilenceCommand),
    /// Where the alarm engine stands, and one stream day by day.
    #[command(subcommand)]
    Streams(streams::StreamsCommand),
    /// Send test notices, list notices and dead letters, send dead letters again.
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// Whether the data of each model comes, and whole: every rule with its verdict and its reason.
    Health(health::HealthArgs),
    /// Where records come from: how far behind each source is, and why it fails if it does.
    Sources(sources::SourcesArgs),
    /// List, show and explain refused records; export them whole, and send them through the door again.
    #[command(subcommand)]
    Rejections(rejections::RejectionsCommand),
    /// Put the evidence about one version in one period into one archive: a report to read and to print, and the same as data.
    /// Audited.
    ///
    /// Example: dosimeter bundle --config dosimeter.toml --model chest-xray --version 2.1 --from 2025-03-01 --to 2025-04-01
    /// --reason "the yearly audit" --out march.zip
    Bundle(bundle::BundleArgs),
    /// Turn a pseudonym back into the id of the case or subject. Audited. Exits with 3 when no id is kept, 4 when it was erased.
    Resolve(identity::PseudonymArgs),
    /// Erase the id behind a pseudonym, for good. Audited. Exits with 3 when none is kept.
    Forget(identity::PseudonymArgs),
    /// Erase everything that is kept of a person or a case; without --yes, tell what would go. Audited, without whom.
    ///
    /// Exits with 3 when nothing is kept of them and they were erased before.
    Erase(erase::EraseArgs),
    /// Remove what the plan no longer keeps, as the daemon does by itself; with --dry-run, tell what would go.
    Retain(erase::RetainArgs),
    /// The keys that encrypt identifiers and refused records: list and rotate them.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Make, list, rotate and revoke tokens: what the HTTP interface is shown.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Run a simulated department for 120 days in a minute or two, and watch a model decay and be caught.
    Demo(demo::DemoArgs),
    /// Write prediction and truth files of the demo's department.
    Simulate(demo::SimulateArgs),
}

#[derive(Clone, Debug, Args)]
struct ConfigArg {
    /// The configuration file; config/full.toml explains every key.
    #[arg(long, env = "DOSIMETER_CONFIG", value_name = "FILE")]
    config: PathBuf,
}

/// Which version of which model.
#[derive(Debug, Args)]
struct VersionArgs {
    /// The model; may be left out while the plan has only one.
    #[arg(long)]
    model: Option<String>,
    /// The version; may be left out while there is only one.
    #[arg(long)]
    version: Option<String>,
}

impl VersionArgs {
    /// The model that is named, or the only one.
    fn model(&self, plan: &Plan) -> anyhow::Result<String> {
        match (&self.model, plan.models.as_slice()) {
            (Some(name), _) => Ok(name.clone()),
            (None, [only]) => Ok(only.name.clone()),
            (None, models) => {
                let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
                anyhow::bail!("name one with --model: {}", names.join(", "))
            }
        }
    }
}

#[derive(Debug, Args)]
struct PersonArgs {
    /// Who does it; kept in the audit trail.
    #[arg(long, env = "USER", value_parser = NonEmptyStringValueParser::new())]
    by: String,
    /// Why; kept in the audit trail.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    reason: String,
}

impl PersonArgs {
    /// The person that the arguments name.
    fn person(&self) -> Result<Person, crate::store::Error> {
        Person::new(&self.by, &self.reason)
    }
}

/// The command line as it is described, for what checks written commands.
#[must_use]
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Parse the command line, run the command, print what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // The demo tells its story itself, and whoever asks a question wants the answer alone.
    let usual = if matches!(cli.command, Command::Serve(_) | Command::Import(_)) { "info" } else { "warn" };
    start_log(cli.log.as_deref().unwrap_or(usual), cli.log_format);
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dosimeter: {error:#}");
            error.downcast_ref::<Coded>().map_or(ExitCode::FAILURE, |coded| ExitCode::from(coded.code))
        }
    }
}

/// An end that programs can tell from others by its code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Coded {
    code: u8,
    message: String,
}

fn start_log(filter: &str, format: LogFormat) {
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
        Command::Serve(ConfigArg { config }) => {
            let plan = load_unprivileged(&config)?;
            block_on(serve(plan, config))
        }
        Command::Check(ConfigArg { config }) => {
            let plan = crate::config::load(&config, &environment)?;
            crate::http::server::check(&plan.http)?;
            print!("{}", show::plan(&plan));
            Ok(())
        }
        Command::Import(config) => import::run(&config),
        Command::Query(args) => query::run(args),
        Command::Drift(args) => drift::run(args),
        Command::Curve(args) => curve::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Backtest(args) => backtest::run(args),
        Command::PlanPower(args) => backtest::plan_power(args),
        Command::Series(args) => series::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Reference(command) => reference::run(command),
        Command::Alert(command) => alert::run(command),
        Command::Audit(command) => audit::run(command),
        Command::Silence(command) => silence::run(command),
        Command::Streams(command) => streams::run(command),
        Command::Notify(command) => notify::run(command),
        Command::Health(args) => health::run(args),
        Command::Sources(args) => sources::run(args),
        Command::Rejections(command) => rejections::run(command),
        Command::Bundle(args) => bundle::run(args),
        Command::Resolve(args) => identity::resolve(args),
        Command::Forget(args) => identity::forget(args),
        Command::Erase(args) => erase::erase(args),
        Command::Retain(args) => erase::retain(args),
        Command::Key(command) => key::run(command),
        Command::Token(command) => token::run(command),
        Command::Demo(args) => demo::run(args),
        Command::Simulate(args) => demo::simulate(args),
    }
}

/// Load the plan; if the process is root, become an ordinary user.
fn load_unprivileged(config: &std::path::Path) -> anyhow::Result<Plan> {
    let plan = crate::config::load(config, &environment)?;
    let notices = match &plan.notify.transport {
        Transport::Directory(directory) => Some(directory.as_path()),
        Transport::None | Transport::Smtp(_) => None,
    };
    if let Some(user) = drop_root(&plan.service.data_dir, notices, plan.database.run_as.as_deref())? {
        tracing::info!(user, "started as root, going on as an ordinary user");
        show::warn_unreadable(&plan, &user);
    }
    Ok(plan)
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// Run a command that comes and goes against the installation of a configuration. The plan in force stays in force.
fn with_app(args: &ConfigArg, work: impl AsyncFnOnce(&App) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let plan = load_unprivileged(&args.config)?;
    block_on(async {
        let app = App::attach(plan, Clock::system()).await?;
        let result = work(&app).await;
        app.close_after(result).await
    })
}

async fn serve(plan: Plan, config: PathBuf) -> anyhow::Result<()> {
    let app = App::start(plan, Clock::system()).await?;
    let supervisor = Supervisor::default();
    let spawned = app.spawn(&supervisor).await;
    if spawned.is_ok() {
        app.note_life("daemon started", "somebody started it").await;
    }
    if spawned.is_ok() {
        supervisor.spawn("reload", watch_hangup(config, app.context.clone(), supervisor.stop_token()));
    }
    let result = match spawned {
        Ok(_) => supervisor.run_to_end().await,
        Err(error) => Err(error),
    };
    let why = result.as_ref().err().map_or_else(|| "it was asked to".to_owned(), |error| format!("{error:#}"));
    app.note_life("daemon stopped", &why).await;
    app.close_after(result).await
}
