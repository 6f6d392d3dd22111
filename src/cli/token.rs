//! `dosimeter token`: what programs and people show to the HTTP interface.

use std::time::Duration;

use chrono::TimeDelta;
use clap::Subcommand;

use super::{ConfigArg, PersonArgs, show, with_app};
use crate::access::{self, Role};
use crate::store::server::random_text;
use crate::store::token::NewToken;

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token. It is printed once, alone on standard output, and kept nowhere: only its hash is.
    ///
    /// Example: dosimeter token create --config dosimeter.toml --name ris --role ingest --model chest-xray --expires 365d
    /// --reason "the RIS sends its predictions" > ris.token
    Create {
        #[command(flatten)]
        config: ConfigArg,
        /// What the audit trail calls it; never used twice.
        #[arg(long, value_parser = access::name)]
        name: String,
        /// What it is for: ingest, read, operate (reads, too), audit (reads, too), admin (everything). May be repeated.
        #[arg(long = "role", required = true, value_parser = role)]
        roles: Vec<Role>,
        /// The only model it is for; may be repeated. Default: all.
        #[arg(long = "model")]
        models: Vec<String>,
        /// How long it is good: 90d, 1y. Default: until it is revoked.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires: Option<Duration>,
        #[command(flatten)]
        person: PersonArgs,
    },
    /// List the tokens there are and were, without their secrets.
    List {
        #[command(flatten)]
        config: ConfigArg,
        /// How to print them.
        #[arg(long, value_enum, default_value_t = show::Format::Table)]
        format: show::Format,
    },
    /// Give a token a new secret, printed once. The old one stays good for a while, so that whoever uses it can change over.
    Rotate {
        /// Its number.
        id: i64,
        #[command(flatten)]
        config: ConfigArg,
        /// How long the old secret stays good: 0s, 4h, 1d.
        #[arg(long, value_name = "TIME", default_value = "1d", value_parser = humantime::parse_duration)]
        grace: Duration,
        #[command(flatten)]
        person: PersonArgs,
    },
    /// End a token for good. Every daemon refuses it within five seconds.
    Revoke {
        /// Its number.
        id: i64,
        #[command(flatten)]
        config: ConfigArg,
        #[command(flatten)]
        person: PersonArgs,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| format!("{text:?} is no role; it is one of {}", access::list(&Role::ALL)))
}

/// An instant after a span of time that a person has given.
fn after(now: chrono::DateTime<chrono::Utc>, span: Duration) -> anyhow::Result<chrono::DateTime<chrono::Utc>> {
    let end = TimeDelta::from_std(span).ok().and_then(|span| now.checked_add_signed(span));
    end.ok_or_else(|| anyhow::anyhow!("{} is too long", humantime::format_duration(span)))
}

pub(super) fn run(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create { config, name, mut roles, models, expires, person } => {
            with_app(&config, async move |app| {
                let (context, person) = (app.context(), person.person()?);
                if let Some(unknown) = models.iter().find(|model| context.plan.model(model).is_none()) {
                    let names: Vec<&str> = context.plan.models.iter().map(|model| model.name.as_str()).collect();
                    anyhow::bail!("there is no model {unknown:?}; known are {}", names.join(", "));
                }
                roles.sort_by_key(|role| *role as u8);
                roles.dedup();
                let now = context.clock.now();
                let expires_at = expires.map(|span| after(now, span)).transpose()?;
                let new = NewToken { name, roles, models: (!models.is_empty()).then_some(models), expires_at };
                let secret = random_text();
                let token_id = context.store.create_token(&new, &secret, person.said(), now).await?;
                let until =
                    expires_at.map_or_else(|| "until it is revoked".into(), |at| format!("until {}", show::minute(at)));
                eprintln!(
                    "token {token_id}, {:?}: {}, good {until}; it is shown this once",
                    new.name,
                    access::list(&new.roles)
                );
                println!("{}", access::write(token_id, &secret));
                Ok(())
            })
        }
        TokenCommand::List { config, format } => with_app(&config, async move |app| {
            let context = app.context();
            let tokens = context.store.list_tokens().await?;
            match format {
                show::Format::Table => print!("{}", show::tokens(&tokens, context.clock.now())),
                show::Format::Json => println!("{}", serde_json::to_string_pretty(&tokens)?),
            }
            Ok(())
        }),
        TokenCommand::Rotate { id, config, grace, person } => with_app(&config, async move |app| {
            let (context, person, secret) = (app.context(), person.person()?, random_text());
            let now = context.clock.now();
            let grace_until = after(now, grace)?;
            context.store.rotate_token(id, &secret, grace_until, person.said(), now).await?;
            eprintln!(
                "token {id}: a new secret, shown this once; the old one is good until {}",
                show::minute(grace_until)
            );
            println!("{}", access::write(id, &secret));
            Ok(())
        }),
        TokenCommand::Revoke { id, config, person } => with_app(&config, async move |app| {
            let context = app.context();
            context.store.revoke_token(id, person.person()?.said(), context.clock.now()).await?;
            println!("token {id}: revoked");
            Ok(())
        }),
    }
}
