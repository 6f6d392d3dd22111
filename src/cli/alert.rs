//! `dosimeter alert`: what people do about alerts.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Subcommand;

use super::{ConfigArg, PersonArgs, show, with_app};
use crate::domain::window::parse_instant;
use crate::person;
use crate::store::alert::{AlertFilter, HumanStep};

#[derive(Debug, Subcommand)]
pub(super) enum AlertCommand {
    /// List alerts, the latest first.
    List {
        #[command(flatten)]
        config: ConfigArg,
        /// Only open ones.
        #[arg(long)]
        open: bool,
        /// As they were at this instant.
        #[arg(long, value_parser = parse_instant)]
        as_of: Option<DateTime<Utc>>,
    },
    /// Show one alert: its history, every decision to tell people or not, and its notices.
    Show {
        /// Its number.
        id: i64,
        #[command(flatten)]
        config: ConfigArg,
        /// As it was at this instant.
        #[arg(long, value_parser = parse_instant)]
        as_of: Option<DateTime<Utc>>,
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
    /// Close an alert. Falling evidence resolves none: a person does.
    Resolve {
        /// Its number.
        id: i64,
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        person: PersonArgs,
    },
    /// Say something about an alert; its history keeps it, and nothing else changes.
    Comment {
        /// Its number.
        id: i64,
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        person: PersonArgs,
    },
    /// Tell nobody about an alert for a while. It goes on beneath, and is told when the silence ends and it still holds.
    Silence {
        /// Its number.
        id: i64,
        /// How long: 30m, 4h, 2d.
        #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
        length: Duration,
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        person: PersonArgs,
    },
}

pub(super) fn run(command: AlertCommand) -> anyhow::Result<()> {
    match command {
        AlertCommand::List { config, open, as_of } => with_app(&config, async move |app| {
            let filter = AlertFilter { open_only: open, as_of, ..AlertFilter::default() };
            print!("{}", show::alerts(&app.context().store.find_alerts(&filter, 1000).await?));
            Ok(())
        }),
        AlertCommand::Show { id, config, as_of } => with_app(&config, async move |app| {
            let store = app.context().store;
            let alert = store.load_alert_as_of(id, as_of).await?;
            let events = store.list_alert_events_as_of(id, as_of).await?;
            let notices = store.list_alert_notices_as_of(id, as_of).await?;
            print!("{}", show::alert(&alert, &events, &notices));
            Ok(())
        }),
        AlertCommand::Ack { id, config, person } => step(id, &config, person, HumanStep::Acknowledge),
        AlertCommand::Resolve { id, config, person } => step(id, &config, person, HumanStep::Resolve),
        AlertCommand::Comment { id, config, person } => with_app(&config, async move |app| {
            person::comment(&app.context(), id, &person.person()?).await?;
            println!("alert {id}: commented");
            Ok(())
        }),
        AlertCommand::Silence { id, length, config, person } => with_app(&config, async move |app| {
            let (silence_id, ends_at) = person::silence_alert(&app.context(), id, length, &person.person()?).await?;
            println!("alert {id}: silenced until {} by silence {silence_id}", show::minute(ends_at));
            Ok(())
        }),
    }
}

fn step(id: i64, config: &ConfigArg, person: PersonArgs, step: HumanStep) -> anyhow::Result<()> {
    with_app(config, async move |app| {
        person::step(&app.context(), id, step, &person.person()?).await?;
        println!("alert {id}: {}", step.state().as_str());
        Ok(())
    })
}
