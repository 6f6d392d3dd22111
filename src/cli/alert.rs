//! `dosimeter alert`: what people do about alerts.

use clap::Subcommand;

use super::{ConfigArg, PersonArgs, show, with_app};
use crate::store::alert::HumanStep;

#[derive(Debug, Subcommand)]
pub(super) enum AlertCommand {
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

pub(super) fn run(command: AlertCommand) -> anyhow::Result<()> {
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
