//! A topic of Kafka.
//!
//! Offsets are not kept by the broker: whoever asks keeps them with the rows, in one transaction, and says from where to read.
//! So the consumer is of no group; partitions are assigned to it, all of them. Each message holds one JSON object, a list of them,
//! or one per line.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;

use super::feed::{Failure, Feed, Page, Positions, causes};
use super::{RowResult, message};
use crate::config::Kafka as Plan;

/// What has been polled of one partition.
#[derive(Default)]
struct Polled {
    rows: Vec<RowResult>,
    next: i64,
}

/// A consumer. Its own threads fetch ahead; calls into it block, so they are made off the runtime's threads.
pub struct KafkaFeed {
    topic: String,
    timeout: Duration,
    consumer: Option<BaseConsumer>,
    assigned: bool,
    ready: VecDeque<Page>,
    next: BTreeMap<i32, i64>,
}

impl KafkaFeed {
    /// A consumer of a topic; nothing is asked yet.
    ///
    /// # Errors
    /// When the client library refuses its settings.
    pub fn open(plan: &Plan, timeout: Duration) -> Result<Self, Failure> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", plan.brokers.join(","))
            .set("client.id", "dosimeter")
            // The library wants a name; nothing is ever committed under it.
            .set("group.id", "dosimeter")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false")
            .create()
            .map_err(|error| failure(&error))?;
        Ok(Self {
            topic: plan.topic.clone(),
            timeout,
            consumer: Some(consumer),
            assigned: false,
            ready: VecDeque::new(),
            next: BTreeMap::new(),
        })
    }

    /// Do something with the consumer where it may block.
    async fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&BaseConsumer) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let gone = || Failure::Server("the consumer broke off".into());
        let consumer = self.consumer.take().ok_or_else(gone)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&consumer);
            (consumer, result)
        });
        let (consumer, result) = done.await.map_err(|_| gone())?;
        self.consumer = Some(consumer);
        result
    }

    /// Assign every partition from where it was left; one whose next message is gone is told of.
    async fn assign(&mut self, positions: &Positions) -> Result<(), Failure> {
        let (topic, timeout) = (self.topic.clone(), self.timeout);
        let kept: BTreeMap<i32, i64> = positions
            .iter()
            .filter_map(|(partition, position)| {
                let number = partition.strip_prefix(topic.as_str())?.strip_prefix('/')?;
                Some((number.parse().ok()?, position.get("offset")?.as_i64()?))
            })
            .collect();
        let next = self.blocking(move |consumer| start(consumer, &topic, timeout, &kept)).await?;
        self.next = next;
        self.assigned = true;
        Ok(())
    }
}

fn start(
    consumer: &BaseConsumer,
    topic: &str,
    timeout: Duration,
    kept: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, i64>, Failure> {
    let metadata = consumer.fetch_metadata(Some(topic), timeout).map_err(|error| failure(&error))?;
    let partitions =
        metadata.topics().iter().find(|found| found.name() == topic).filter(|found| found.error().is_none());
    let Some(partitions) = partitions.filter(|found| !found.partitions().is_empty()) else {
        return Err(Failure::Misconfigured(format!(
            "there is no topic {topic}: correct the source's topic, or make it"
        )));
    };
    let (mut list, mut next) = (TopicPartitionList::new(), BTreeMap::new());
    for partition in partitions.partitions() {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), timeout).map_err(|error| failure(&error))?;
        let from = match kept.get(&partition.id()) {
            None => low,
            Some(kept) if (low..=high).contains(kept) => *kept,
            Some(kept) => {
                // Either the broker has dropped messages that nobody here has read, or the topic is another one now.
                tracing::error!(
                    topic,
                    partition = partition.id(),
                    kept,
                    low,
                    high,
                    "the broker no longer has the next message of a partition; it is read from the oldest that it has"
                );
                low
            }
        };
        next.insert(partition.id(), from);
        list.add_partition_offset(topic, partition.id(), Offset::Offset(from)).map_err(|error| failure(&error))?;
    }
    consumer.assign(&list).map_err(|error| failure(&error))?;
    Ok(next)
}

/// Poll until there are enough messages, or every partition is at its end, or time is up.
fn poll(
    consumer: &BaseConsumer,
    limit: usize,
    timeout: Duration,
    partitions: usize,
) -> Result<(BTreeMap<i32, Polled>, bool), Failure> {
    let (mut polled, mut ended, mut count) = (BTreeMap::<i32, Polled>::new(), std::collections::BTreeSet::new(), 0);
    let ends = std::time::Instant::now() + timeout;
    while count < limit && ended.len() < partitions {
        let left = ends.saturating_duration_since(std::time::Instant::now());
        match consumer.poll(left) {
            None if count > 0 => return Ok((polled, false)),
            None => return Err(Failure::TimedOut(timeout)),
            Some(Ok(message)) => {
                count += 1;
                ended.remove(&message.partition());
                let of_partition = polled.entry(message.partition()).or_default();
                of_partition.rows.extend(message::rows(message.offset(), message.payload().unwrap_or_default()));
                of_partition.next = message.offset() + 1;
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            // What has come has come: the rest comes next time.
            Some(Err(_)) if count > 0 => return Ok((polled, false)),
            // The library itself tries to reach brokers again; that it cannot is known when time is up.
            Some(Err(error)) if is_transient(&error) => {}
            Some(Err(error)) => return Err(failure(&error)),
        }
    }
    Ok((polled, ended.len() >= partitions))
}

fn is_transient(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::OperationTimedOut)
    )
}

#[async_trait::async_trait]
impl Feed for KafkaFeed {
    async fn read(&mut self, positions: &Positions, limit: usize) -> Result<Page, Failure> {
        if let Some(page) = self.ready.pop_front() {
            return Ok(page);
        }
        if !self.assigned {
            self.assign(positions).await?;
        }
        let (timeout, partitions) = (self.timeout, self.next.len());
        let (polled, is_last) = self.blocking(move |consumer| poll(consumer, limit, timeout, partitions)).await?;
        for (partition, Polled { rows, next }) in polled {
            self.next.insert(partition, next);
            self.ready.push_back(Page {
                origin: format!("{}/{partition}", self.topic),
                partition: format!("{}/{partition}", self.topic),
                rows,
                position: json!({ "offset": next }),
                is_last: false,
            });
        }
        if let Some(last) = self.ready.back_mut() {
            last.is_last = is_last;
        }
        // Nothing new: the first partition stays where it is.
        let (partition, next) = self.next.first_key_value().map_or((0, 0), |(partition, next)| (*partition, *next));
        Ok(self.ready.pop_front().unwrap_or_else(|| Page {
            origin: format!("{}/{partition}", self.topic),
            partition: format!("{}/{partition}", self.topic),
            rows: Vec::new(),
            position: json!({ "offset": next }),
            is_last,
        }))
    }

    async fn pending(&mut self) -> Option<u64> {
        let (topic, timeout, next) = (self.topic.clone(), self.timeout, self.next.clone());
        let waiting = self.blocking(move |consumer| {
            let mut waiting = 0;
            for (partition, next) in next {
                let (_, high) =
                    consumer.fetch_watermarks(&topic, partition, timeout).map_err(|error| failure(&error))?;
                waiting += u64::try_from(high - next).unwrap_or_default();
            }
            Ok(waiting)
        });
        waiting.await.ok()
    }
}

/// What a failure of the client means for us.
fn failure(error: &KafkaError) -> Failure {
    let message = causes(error);
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition,
        ) => Failure::Misconfigured(message),
        Some(
            RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed,
        ) => Failure::Refused(message),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::OperationTimedOut,
        ) => Failure::Unreachable(message),
        None => Failure::Misconfigured(message),
        Some(_) => Failure::Server(message),
    }
}
