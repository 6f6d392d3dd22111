//! A stream of NATS JetStream, read by a durable consumer.
//!
//! The server remembers what has been acknowledged, and that is what has been committed: a message whose acknowledgement is lost
//! comes again, and its records are known by then. Each message holds one JSON object, a list of them, or one per line.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{self, ErrorCode, Message};
use async_nats::{ConnectErrorKind, ConnectOptions};
use futures_util::StreamExt;

use super::feed::{Failure, Feed, Page, Positions, causes, within};
use super::message;
use crate::config::Nats as Plan;

/// Messages of so many bytes are asked for at once.
const MOST_BYTES: usize = 32 << 20;

/// A consumer with its connection.
pub struct NatsFeed {
    origin: String,
    timeout: Duration,
    consumer: Consumer<Config>,
    unacknowledged: Vec<Message>,
}

impl NatsFeed {
    /// Connect, and make the consumer if it is not there.
    ///
    /// # Errors
    /// When no server can be reached, or it has no such stream.
    pub async fn open(plan: &Plan, timeout: Duration, limit: usize) -> Result<Self, Failure> {
        let mut options =
            ConnectOptions::new().name("dosimeter").connection_timeout(timeout).request_timeout(Some(timeout));
        if let (Some(user), Some(password)) = (&plan.user, &plan.password) {
            options = options.user_and_password(user.clone(), password.expose().to_owned());
        }
        if let Some(token) = &plan.token {
            options = options.token(token.expose().to_owned());
        }
        if let Some(file) = &plan.credentials_file {
            let wrong = |error| Failure::Misconfigured(format!("cannot read {}: {error}", file.display()));
            let text = tokio::fs::read_to_string(file).await.map_err(wrong)?;
            options = options.credentials(&text).map_err(wrong)?;
        }
        let connect = async { options.connect(&plan.servers).await.map_err(|error| connecting(&error)) };
        let client = within(timeout, connect).await?;
        let context = jetstream::new(client);
        let stream = async { context.get_stream(&plan.stream).await.map_err(|error| finding(&plan.stream, &error)) };
        let stream = within(timeout, stream).await?;
        let config = Config {
            durable_name: Some(plan.durable.clone()),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: plan.ack_wait,
            filter_subject: plan.subject.clone().unwrap_or_default(),
            // What is read at once waits for its commit together.
            max_ack_pending: i64::try_from(limit).unwrap_or(i64::MAX),
            ..Config::default()
        };
        let consumer = async {
            stream.create_consumer(config).await.map_err(|error| {
                let message = causes(&error);
                Failure::Misconfigured(format!("the consumer {} cannot be made: {message}", plan.durable))
            })
        };
        let consumer = within(timeout, consumer).await?;
        Ok(Self { origin: plan.stream.clone(), timeout, consumer, unacknowledged: Vec::new() })
    }
}

#[async_trait::async_trait]
impl Feed for NatsFeed {
    async fn read(&mut self, _: &Positions, limit: usize) -> Result<Page, Failure> {
        self.unacknowledged.clear();
        let (mut rows, mut position, mut is_last) = (Vec::new(), serde_json::Value::Null, true);
        let fetch = async {
            let fetch = self.consumer.fetch().max_messages(limit).max_bytes(MOST_BYTES);
            let mut messages = fetch.messages().await.map_err(|error| Failure::Unreachable(causes(&error)))?;
            while let Some(message) = messages.next().await {
                let message = match message {
                    Ok(message) => message,
                    // What has come has come: the rest comes next time.
                    Err(_) if !self.unacknowledged.is_empty() => {
                        is_last = false;
                        break;
                    }
                    Err(error) => return Err(Failure::Unreachable(causes(error.as_ref()))),
                };
                let sequence =
                    message.info().map_err(|error| Failure::Malformed(causes(error.as_ref())))?.stream_sequence;
                rows.extend(message::rows(i64::try_from(sequence).unwrap_or(i64::MAX), &message.payload));
                position = serde_json::json!({ "sequence": sequence });
                self.unacknowledged.push(message);
            }
            Ok(())
        };
        within(self.timeout, fetch).await?;
        is_last &= self.unacknowledged.len() < limit;
        Ok(Page { origin: self.origin.clone(), partition: String::new(), rows, position, is_last })
    }

    async fn acknowledge(&mut self) -> Result<(), Failure> {
        let messages = std::mem::take(&mut self.unacknowledged);
        let acknowledge = async {
            let failed = |error: async_nats::Error| Failure::Unreachable(causes(error.as_ref()));
            let Some((last, others)) = messages.split_last() else { return Ok(()) };
            for message in others {
                message.ack().await.map_err(failed)?;
            }
            // The server takes them in turn: once it confirms the last one, it has taken them all.
            last.double_ack().await.map_err(failed)
        };
        within(self.timeout, acknowledge).await
    }

    async fn pending(&mut self) -> Option<u64> {
        let info = tokio::time::timeout(self.timeout, self.consumer.info()).await.ok()?.ok()?;
        Some(info.num_pending + u64::try_from(info.num_ack_pending).unwrap_or_default())
    }
}

fn connecting(error: &async_nats::ConnectError) -> Failure {
    let message = format!("no server can be reached: {}", causes(error));
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => Failure::Refused(causes(error)),
        ConnectErrorKind::ServerParse => Failure::Misconfigured(message),
        _ => Failure::Unreachable(message),
    }
}

fn finding(stream: &str, error: &jetstream::context::GetStreamError) -> Failure {
    let message = causes(error);
    match error.kind() {
        GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
            Failure::Misconfigured(format!("there is no stream {stream}: correct the source's stream, or make it"))
        }
        GetStreamErrorKind::JetStream(_) | GetStreamErrorKind::InvalidStreamName | GetStreamErrorKind::EmptyName => {
            Failure::Misconfigured(format!("{message}; does the server run with JetStream?"))
        }
        GetStreamErrorKind::Request => Failure::Unreachable(message),
    }
}
