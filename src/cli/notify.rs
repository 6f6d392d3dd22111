//! `dosimeter notify`: whether notices arrive, which did not, and sending those again.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

use super::show::{self, Format};
use super::{ConfigArg, PersonArgs, with_app};
use crate::alert::notice::{Addressee, addressees, test};
use crate::app::App;
use crate::config::Notify;
use crate::notify::Letter;

#[derive(Debug, Subcommand)]
pub(super) enum NotifyCommand {
    /// Send a test notice now by every route, or by one, and say what came of each. Fails if any did not arrive. Audited.
    Test(TestArgs),
    /// List notices, the latest first.
    List {
        #[command(flatten)]
        config: ConfigArg,
        /// Only dead letters: those that were given up.
        #[arg(long)]
        dead: bool,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: i64,
        /// How to print them.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Send a dead letter again, after its route was mended. Audited.
    Retry {
        /// Its number.
        id: i64,
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        person: PersonArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// By this route only; "default" is that of notify.to.
    #[arg(long)]
    route: Option<String>,
    /// Who does it; kept in the audit trail.
    #[arg(long, env = "USER", default_value = "somebody", value_parser = NonEmptyStringValueParser::new())]
    by: String,
}

pub(super) fn run(command: NotifyCommand) -> anyhow::Result<()> {
    match command {
        NotifyCommand::Test(args) => {
            let config = args.config.clone();
            with_app(&config, async move |app| send_tests(app, &args).await)
        }
        NotifyCommand::List { config, dead, limit, format } => with_app(&config, async move |app| {
            let notices = app.context().store.list_notices(dead, limit).await?;
            match format {
                Format::Table => print!("{}", show::notices(&notices)),
                Format::Json => println!("{}", serde_json::to_string_pretty(&notices)?),
            }
            Ok(())
        }),
        NotifyCommand::Retry { id, config, person } => with_app(&config, async move |app| {
            let context = app.context();
            context.store.retry_notice(id, &person.by, &person.reason, context.clock.now()).await?;
            println!("notice {id}: goes out with the daemon's next tick");
            Ok(())
        }),
    }
}

/// Everybody of a route, or of all.
fn tested(notify: &Notify, route: Option<&str>) -> anyhow::Result<Vec<Addressee>> {
    anyhow::ensure!(!notify.routes.is_empty(), "the plan tells nobody: set notify.to, or add a [[notify.route]]");
    if let Some(name) = route {
        let names: Vec<&str> = notify.routes.iter().map(|route| route.name.as_str()).collect();
        anyhow::ensure!(names.contains(&name), "there is no route {name:?}; the plan has {}", names.join(", "));
        // Alone, a route reaches those too whom another one reaches first.
        let only = notify.routes.iter().filter(|route| route.name == name).cloned().collect();
        return Ok(addressees(&Notify { routes: only, ..notify.clone() }));
    }
    Ok(addressees(notify))
}

async fn send_tests(app: &App, args: &TestArgs) -> anyhow::Result<()> {
    let context = app.context();
    let notify = &context.plan.notify;
    let mut failed = 0;
    for addressee in tested(notify, args.route.as_deref())? {
        let now = context.clock.now();
        let report = test(&context.plan.service.public_url, now);
        let key = format!("test-{}", now.timestamp_micros());
        let letter = Letter {
            key: &key,
            installation: &context.catalog.installation,
            alert_id: None,
            event_id: None,
            route: &addressee.route,
            channel: &addressee.channel,
            recipient: &addressee.recipient,
            written_at: now,
            opens_thread: true,
            report: &report,
            chart: None,
        };
        let result = context.sender.send(&letter, now).await;
        let result = result.map_err(|error| format!("{:#}", anyhow::Error::from(error)));
        let answer = result.as_deref().map_err(String::as_str);
        context.store.note_test(&addressee, &args.by, answer, context.clock.now()).await?;
        let Addressee { route, channel, recipient } = &addressee;
        match &result {
            Ok(answer) => println!("{route}: {channel} to {recipient}: sent, {answer}"),
            Err(error) => {
                failed += 1;
                println!("{route}: {channel} to {recipient}: FAILED, {error}");
            }
        }
    }
    anyhow::ensure!(failed == 0, "{failed} of the test notices did not arrive");
    Ok(())
}
