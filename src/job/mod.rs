//! The jobs, in the order in which data flows. Each reads as prose.
//!
//! A job takes no input: it looks at the database, compares it with what should be, acts in one transaction per step and
//! may be killed anywhere. A lease lets one replica run it at a time.
//! Look next at [`Context`], which every job is given, and at `app`, which drives them.

pub mod alerting;
pub mod anchor;
pub mod answer;
pub mod commit;
pub mod detect;
pub mod estimation;
pub mod evaluate;
pub mod evidence;
pub mod fold;
pub mod health;
pub mod heartbeat;
pub mod ingest;
pub mod notice;
pub mod notify;
pub mod publish;
pub mod refold;
pub mod replay;
pub mod retain;
pub mod seal;
pub mod streams;
pub mod verify;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Model, Plan, Quantity, Watch};
use crate::export::Exporter;
use crate::intake::{Door, Pseudonyms};
use crate::runtime::{JobRecords, Outcome, Pulse};
use crate::store::Store;
use crate::store::catalog::{Catalog, ModelNumbers, Version};
use crate::store::lease::Lease;
use crate::store::stream::StreamKey;
use crate::summary::fold::{ClassesShape, EmbeddingShape, FeatureShape, OutputShape, ReadersShape, Shape, ValueShape};

/// How long a lease lasts; whoever holds it prolongs it. A process that dies keeps others waiting for so long.
pub const LEASE_LENGTH: Duration = Duration::from_secs(20);

/// Everything that a job works with. The plan and its numbers belong together and change together.
#[derive(Clone)]
pub struct Context {
    /// The injected clock.
    pub clock: Clock,
    /// The database.
    pub store: Store,
    /// The plan in force.
    pub plan: Arc<Plan>,
    /// The numbers of its names.
    pub catalog: Arc<Catalog>,
    /// How ids become pseudonyms.
    pub pseudonyms: Pseudonyms,
    /// What Prometheus reads.
    pub exporter: Exporter,
    /// Runs of the jobs.
    pub records: JobRecords,
    /// Whole passes of the pipeline, and who was told of them.
    pub pulse: Pulse,
    /// This process, among replicas.
    pub holder: Arc<str>,
    /// When it started.
    pub started_at: chrono::DateTime<chrono::Utc>,
    /// Notices that are written for SMTP or a directory.
    pub sender: crate::notify::Sender,
    /// Signs what whoever got a notice may do.
    pub signer: crate::alert::link::Signer,
}

/// What a stream is about, by name.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// The version.
    pub version: &'a Version,
    /// The model.
    pub model: &'a Model,
    /// The watch.
    pub watch: &'a Watch,
    /// The output, or another quantity.
    pub output: &'a str,
}

/// Why a run of a job failed. The job is tried again at its next tick.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// The fold failed.
    #[error("the fold failed")]
    Fold(#[from] polars::error::PolarsError),
    /// The file of anchors cannot be read or written.
    #[error("cannot use the file of anchors {file} (audit.anchor_file)")]
    AnchorFile {
        /// The file.
        file: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A thread of work broke off.
    #[error("a worker thread broke off")]
    Worker(#[from] tokio::task::JoinError),
}

/// The outcome of a run.
pub type Result = std::result::Result<Outcome, Error>;

/// The jobs, by name, in the order in which data flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Sources to rows.
    Ingest,
    /// Rows to summaries.
    Fold,
    /// Summaries to estimates.
    Evaluate,
    /// Days that are over to sealed evidence.
    Seal,
    /// Sealed evidence to alarms.
    Watch,
    /// What comes and what does not to judgements.
    Health,
    /// Estimates, alarms and judgements to alerts.
    Detect,
    /// Alerts to people.
    Notify,
    /// Estimates to Prometheus.
    Publish,
    /// Old rows to nothing.
    Retain,
    /// Past estimates to a second look.
    Replay,
    /// Heads of the chains to whoever keeps them outside.
    Anchor,
    /// Every row against the chains.
    Verify,
    /// Whole passes to somebody who misses them.
    Heartbeat,
}

impl Job {
    /// All jobs, in the order in which data flows.
    pub const ALL: [Self; 14] = [
        Self::Ingest,
        Self::Fold,
        Self::Evaluate,
        Self::Seal,
        Self::Watch,
        Self::Health,
        Self::Detect,
        Self::Notify,
        Self::Publish,
        Self::Retain,
        Self::Replay,
        Self::Anchor,
        Self::Verify,
        Self::Heartbeat,
    ];

    /// The name that its lease, its span and its metrics share.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Fold => "fold",
            Self::Evaluate => "evaluate",
            Self::Seal => "seal",
            Self::Watch => "watch",
            Self::Health => "health",
            Self::Detect => "detect",
            Self::Notify => "notify",
            Self::Publish => "publish",
            Self::Retain => "retain",
            Self::Replay => "replay",
            Self::Anchor => "anchor",
            Self::Verify => "verify",
            Self::Heartbeat => "heartbeat",
        }
    }

    /// Run it once, if this replica may, and note how it went. A failure is logged here and nowhere else.
    pub async fn run(self, context: &Context) -> Outcome {
        let started = std::time::Instant::now();
        let result = self.try_run(context).await;
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::error!(job = self.name(), error = format!("{error:#}"), "the job failed; it is tried again");
                Outcome::Failed
            }
        };
        context.records.note(self.name(), outcome, started.elapsed(), context.clock.now());
        outcome
    }

    async fn try_run(self, context: &Context) -> Result {
        // Every replica exposes its own snapshot and tells that it lives; everything else is done by one.
        match self {
            Self::Publish => return publish::run(context).await,
            Self::Heartbeat => return Ok(heartbeat::run(context).await),
            _ => {}
        }
        // Boxed: the work of all jobs in one future would be more than a thread's stack likes.
        let run = async |lease: &Lease| match self {
            Self::Ingest => Box::pin(ingest::run(context, lease)).await,
            Self::Fold => Box::pin(fold::run(context, lease)).await,
            Self::Evaluate => Box::pin(evaluate::run(context, lease, evaluate::Pace::Plan)).await,
            Self::Seal => Box::pin(seal::run(context, lease)).await,
            Self::Watch => Box::pin(watch::run(context, lease)).await,
            Self::Health => Box::pin(health::run(context, lease)).await,
            Self::Detect => Box::pin(detect::run(context, lease)).await,
            Self::Notify => Box::pin(notify::run(context, lease)).await,
            Self::Retain => Box::pin(retain::run(context, lease)).await,
            Self::Replay => Box::pin(replay::run(context, lease)).await,
            Self::Anchor => Box::pin(anchor::run(context, lease)).await,
            Self::Verify => Box::pin(verify::run(context, lease)).await,
            Self::Publish | Self::Heartbeat => Ok(Outcome::Idle),
        };
        Ok(context.under_lease(self, run).await?.unwrap_or(Outcome::Idle))
    }
}

impl Context {
    /// The one door of a model's records.
    #[must_use]
    pub fn door(&self, model: &Model) -> Door {
        let numbers = self.catalog.models.get(&model.name).cloned().unwrap_or_default();
        Door::new(model.clone(), numbers, self.plan.intake.clone(), self.pseudonyms.clone())
    }

    /// Do a job's work while its lease is held, prolonged as long as the work lasts and given back at its end; `None` when
    /// another process holds it.
    ///
    /// # Errors
    /// When the work fails, or another process takes the lease over.
    pub async fn under_lease<T>(
        &self,
        job: Job,
        work: impl AsyncFnOnce(&Lease) -> std::result::Result<T, Error>,
    ) -> std::result::Result<Option<T>, Error> {
        let Some(lease) = self.store.take_lease(job.name(), &self.holder, LEASE_LENGTH).await? else { return Ok(None) };
        let result = tokio::select! {
            result = work(&lease) => result,
            error = self.keep(&lease) => Err(error),
        };
        if let Err(error) = self.store.release_lease(&lease).await {
            tracing::warn!(job = job.name(), error = format!("{error:#}"), "the lease runs out by itself");
        }
        result.map(Some)
    }

    /// Prolong a lease until that fails.
    async fn keep(&self, lease: &Lease) -> Error {
        loop {
            tokio::time::sleep(LEASE_LENGTH / 4).await;
            match self.store.take_lease(&lease.name, &self.holder, LEASE_LENGTH).await {
                Ok(taken) if taken.as_ref() == Some(lease) => {}
                Ok(_) => return crate::store::Error::LeaseLost(lease.name.clone()).into(),
                Err(error) => return error.into(),
            }
        }
    }

    /// What a stream is about, by name; `None` when the plan no longer has it.
    #[must_use]
    pub fn name_stream<'a>(
        &'a self,
        key: &StreamKey,
        versions: impl Iterator<Item = &'a Version>,
    ) -> Option<Named<'a>> {
        let (version, output) = self.name_place(key, versions)?;
        let model = self.plan.model(&version.model)?;
        let watch = model.watches.iter().find(|watch| watch.name == key.watch)?;
        Some(Named { version, model, watch, output })
    }

    /// The version of a stream and the name of its output; `None` when the plan no longer has the model or the output.
    #[must_use]
    pub fn name_place<'a>(
        &'a self,
        key: &StreamKey,
        mut versions: impl Iterator<Item = &'a Version>,
    ) -> Option<(&'a Version, &'a str)> {
        let version = versions.find(|version| version.version_id == key.version_id)?;
        let (_, numbers) = self.model_of(version)?;
        let (output, _) = numbers.quantities.iter().find(|(_, id)| **id == key.output_id)?;
        Some((version, output))
    }

    /// A version's model in the plan with its numbers; `None` when the plan no longer has the model.
    #[must_use]
    pub fn model_of(&self, version: &Version) -> Option<(&Model, &ModelNumbers)> {
        self.plan.model(&version.model).zip(self.catalog.models.get(&version.model))
    }
}

/// What rows of a model are folded into; embeddings are seen through nothing yet.
#[must_use]
pub fn shape_of(model: &Model, numbers: &ModelNumbers) -> Shape {
    let number = |map: &std::collections::HashMap<String, i32>, name: &str| map.get(name).copied().unwrap_or_default();
    let outputs = model.outputs.iter().map(|output| OutputShape {
        output_id: number(&numbers.outputs, &output.name),
        truth_id: number(&numbers.findings, &output.truth),
        is_class: output.class.is_some(),
        thresholds: output.thresholds.clone(),
    });
    let classes = model.classes.iter().map(|choice| ClassesShape {
        output_id: number(&numbers.quantities, &choice.name),
        truth_id: number(&numbers.findings, &choice.truth),
        classes: choice.classes.iter().map(|class| number(&numbers.outputs, &choice.output_of(class))).collect(),
    });
    let values = model.values.iter().map(|value| ValueShape {
        output_id: number(&numbers.outputs, &value.name),
        truth_id: number(&numbers.findings, &value.truth),
    });
    let readers = model.quantities().into_iter().filter_map(|quantity| match quantity {
        Quantity::Readers(finding) => Some(ReadersShape {
            output_id: number(&numbers.quantities, &quantity.name()),
            truth_id: number(&numbers.findings, finding),
        }),
        _ => None,
    });
    let index = |name: &String| model.dimensions.iter().position(|dimension| dimension.name == *name);
    Shape {
        outputs: outputs.collect(),
        dimensions: model.dimensions.clone(),
        features: model
            .features
            .iter()
            .map(|feature| FeatureShape {
                output_id: number(&numbers.quantities, &Quantity::Feature(feature).name()),
                name: feature.name.clone(),
                numeric: feature.numeric,
            })
            .collect(),
        readers: readers.collect(),
        classes: classes.collect(),
        values: values.collect(),
        embedding: model.embedding.map(|dimensions| EmbeddingShape {
            output_id: number(&numbers.quantities, &Quantity::Embedding.name()),
            dimensions,
            projector: None,
        }),
        crossings: model.crossings.iter().map(|names| names.iter().filter_map(index).collect()).collect(),
        granularity: model.bucket,
    }
}
