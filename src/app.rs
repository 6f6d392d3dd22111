//! The wiring, top to bottom in the order in which data flows.

mod keys;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
pub use keys::RING;
use keys::{pseudonyms, with_ring};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::alert::link::Signer;
use crate::clock::Clock;
use crate::config::{Plan, Secret};
use crate::desk::{self, Desk};
use crate::export::Exporter;
use crate::job::{Context, Job};
use crate::notify::Sender;
use crate::runtime::supervisor::Supervisor;
use crate::runtime::{JobRecords, Outcome, Pulse};
use crate::store::Store;
use crate::store::role::Standing;
use crate::store::server::{Server, random_text};
use crate::store::tomb::TombKey;

/// The jobs that run one after the other: what one leaves, the next finds.
const PIPELINE: [Job; 9] =
    [Job::Ingest, Job::Fold, Job::Evaluate, Job::Seal, Job::Watch, Job::Health, Job::Detect, Job::Publish, Job::Retain];
/// The jobs that wait for others, each in a loop of its own.
const MAILROOM: [Job; 1] = [Job::Notify];
/// A verification may take minutes, and holds up nothing.
const RECORD: [Job; 2] = [Job::Anchor, Job::Verify];
const HEARTBEAT: [Job; 1] = [Job::Heartbeat];
/// The jobs that look back: nothing waits for them.
const SWEEP: [Job; 1] = [Job::Replay];

/// How often the private Postgres is looked after.
const POSTGRES_LOOK: std::time::Duration = std::time::Duration::from_secs(5);

/// So often a private Postgres that does not answer is looked after before the daemon gives up.
const POSTGRES_TRIES: u32 = 10;

/// A connected installation: the database is up to date and the plan adopted.
pub struct App {
    /// What every job is given; replaced whole when a plan is taken up.
    pub context: watch::Sender<Context>,
    server: Option<Arc<Server>>,
}

impl App {
    /// Find or start the database, bring it up to date, take up the plan.
    ///
    /// # Errors
    /// When the database, the data directory or the notices' way cannot be used.
    pub async fn start(plan: Plan, clock: Clock) -> anyhow::Result<Self> {
        Self::open(plan, clock, true).await
    }

    /// Find or start the database for a look or a single step. The plan in force stays in force.
    ///
    /// # Errors
    /// As for [`App::start`].
    pub async fn attach(plan: Plan, clock: Clock) -> anyhow::Result<Self> {
        Self::open(plan, clock, false).await
    }

    async fn open(plan: Plan, clock: Clock, adopts: bool) -> anyhow::Result<Self> {
        let (server, url) = if let Some(url) = &plan.database.url {
            (None, url.clone())
        } else {
            let (data_dir, bin_dir) = (plan.service.data_dir.clone(), plan.database.bin_dir.clone());
            anyhow::ensure!(
                adopts || Server::exists(&data_dir),
                "there is no database below {}: start `dosimeter serve` or run `dosimeter import` first, or, if they run \
                 elsewhere or as another user, name their place as service.data_dir or database.url",
                data_dir.display()
            );
            let start = move || Server::start(&data_dir, bin_dir.as_deref());
            let server = tokio::task::spawn_blocking(start).await??;
            let url = server.url();
            (Some(Arc::new(server)), url)
        };
        let mut connected = Self::connect(plan.clone(), clock.clone(), adopts, &url).await;
        if let Some(server) = &server {
            for _ in 0..POSTGRES_TRIES {
                let Err(error) = &connected else { break };
                if !matches!(error.downcast_ref(), Some(crate::store::Error::Unreachable(_))) {
                    break;
                }
                // One that was killed a moment ago still looks alive: start it when it does not any more.
                tracing::warn!(error = format!("{error:#}"), "the private Postgres does not answer; looking after it");
                tokio::time::sleep(POSTGRES_LOOK / 5).await;
                let server = server.clone();
                tokio::task::spawn_blocking(move || server.keep_running()).await??;
                connected = Self::connect(plan.clone(), clock.clone(), adopts, &url).await;
            }
        }
        match connected {
            Ok(context) => Ok(Self { context: watch::Sender::new(context), server }),
            Err(error) => {
                if let Some(server) = server {
                    tokio::task::spawn_blocking(move || server.leave()).await??;
                }
                Err(error)
            }
        }
    }

    async fn connect(plan: Plan, clock: Clock, adopts: bool, url: &Secret) -> anyhow::Result<Context> {
        let store = open_store(&plan, adopts, url).await?;
        let bound = store.identity_fingerprint().await?;
        let pseudonyms = pseudonyms(&plan, adopts && bound.is_none())?;
        let store = with_ring(store, &plan, adopts).await?;
        let tombs = TombKey::new(pseudonyms.tomb_key(&store.load_tomb_key().await?));
        let store = store.with_tombs(tombs);
        if adopts || bound.is_some() {
            store.bind_identity(&pseudonyms.fingerprint()).await?;
        }
        if adopts {
            store.note_setting(clock.now()).await?;
        }
        let catalog = if adopts {
            store.adopt_plan(&plan, clock.now(), "dosimeter").await?
        } else {
            store.find_catalog(&plan).await?
        };
        Ok(Context {
            pseudonyms,
            sender: Sender::new(&plan.notify)?,
            signer: Signer::new(store.load_link_key().await?),
            exporter: Exporter::new()?,
            records: JobRecords::default(),
            pulse: Pulse::default(),
            holder: format!("{}-{}", std::process::id(), &random_text()[..8]).into(),
            started_at: clock.now(),
            catalog: Arc::new(catalog),
            plan: Arc::new(plan),
            store,
            clock,
        })
    }

    /// The present context.
    #[must_use]
    pub fn context(&self) -> Context {
        self.context.borrow().clone()
    }

    /// Start the jobs and the HTTP server. The channels count finished passes of the pipeline and of the mailroom.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn spawn(&self, supervisor: &Supervisor) -> anyhow::Result<[watch::Receiver<u64>; 2]> {
        let listen = self.context().plan.service.listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}; is another dosimeter running? (service.listen)"))?;
        tracing::info!(address = %listener.local_addr()?, "listening");
        self.say_who_may_ask().await?;
        let stop = supervisor.stop_token();
        let (pipeline, mailroom) = (watch::Sender::new(0), watch::Sender::new(0));
        let passes = [pipeline.subscribe(), mailroom.subscribe()];
        supervisor.spawn("pipeline", drive(&PIPELINE, self.context.subscribe(), pipeline, stop.clone()));
        supervisor.spawn("mailroom", drive(&MAILROOM, self.context.subscribe(), mailroom, stop.clone()));
        supervisor.spawn("record", drive(&RECORD, self.context.subscribe(), watch::Sender::new(0), stop.clone()));
        supervisor.spawn("heartbeat", drive(&HEARTBEAT, self.context.subscribe(), watch::Sender::new(0), stop.clone()));
        supervisor.spawn("sweep", drive(&SWEEP, self.context.subscribe(), watch::Sender::new(0), stop.clone()));
        if let Some(server) = &self.server {
            supervisor.spawn("postgres", keep_running(server.clone(), stop.clone()));
        }
        let (desk, queue) = Desk::new();
        supervisor.spawn("desk", queue.serve(self.context.subscribe(), desk::MOST_TOGETHER, stop.clone()));
        supervisor.spawn("http", crate::http::serve(listener, self.context.subscribe(), desk, stop));
        Ok(passes)
    }

    /// Say in the log who may use the API, where that is not what one would want to find out later.
    async fn say_who_may_ask(&self) -> anyhow::Result<()> {
        let context = self.context();
        let (http, has_tokens) = (&context.plan.http, context.store.has_tokens().await?);
        let remedy = "make one by `dosimeter token create`";
        if http.token.is_some() || has_tokens {
            return Ok(());
        }
        if http.may_be_open(&context.plan.service) {
            tracing::warn!(
                "access is open: whoever is on this machine may bring records and ask, until there is a token; {remedy}"
            );
        } else {
            tracing::warn!("there is no token, so nobody may use the API; {remedy}");
        }
        Ok(())
    }

    /// Note in the audit trail that the daemon starts or ends. It does so whether or not that can be noted.
    pub async fn note_life(&self, action: &str, why: &str) {
        let context = self.context();
        let detail = serde_json::json!({ "program": env!("CARGO_PKG_VERSION"), "process": &*context.holder });
        let now = context.clock.now();
        if let Err(error) = context.store.note(now, "dosimeter", [action, "the daemon", why], detail).await {
            tracing::warn!(error = format!("{error:#}"), action, "the audit trail cannot be written");
        }
    }

    /// Let go of the database after work. What went wrong in the work is told before what goes wrong in letting go.
    ///
    /// # Errors
    /// That of the work, or that of letting go.
    pub async fn close_after(self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        let closed = self.close().await;
        result.and(closed)
    }

    /// Let go of the database; the private server is stopped if nobody else uses it.
    ///
    /// # Errors
    /// When the server cannot be stopped.
    pub async fn close(self) -> anyhow::Result<()> {
        let context = self.context();
        if let Err(error) = context.store.release_leases(&context.holder).await {
            tracing::warn!(error = format!("{error:#}"), "leases run out by themselves");
        }
        context.store.close().await;
        if let Some(server) = self.server {
            tokio::task::spawn_blocking(move || server.leave()).await??;
        }
        Ok(())
    }
}

/// Look after the private Postgres: one that ends is started again.
async fn keep_running(server: Arc<Server>, stop: tokio_util::sync::CancellationToken) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(POSTGRES_LOOK) => {}
        }
        let server = server.clone();
        tokio::task::spawn_blocking(move || server.keep_running()).await??;
    }
}

/// Run jobs once, one after the other. When none of the pipeline has failed, that is a whole pass. `false` when asked to stop.
async fn pass(jobs: &[Job], context: &Context, stop: &tokio_util::sync::CancellationToken) -> bool {
    let mut is_whole = jobs == PIPELINE;
    for job in jobs {
        if stop.is_cancelled() {
            return false;
        }
        is_whole &= job.run(context).await != Outcome::Failed;
    }
    if is_whole {
        context.pulse.pass(context.clock.now());
    }
    true
}

/// Run the jobs of the pipeline once.
pub async fn run_pipeline(context: &Context) {
    pass(&PIPELINE, context, &tokio_util::sync::CancellationToken::new()).await;
}

/// Run jobs one after the other at every tick, until asked to stop.
async fn drive(
    jobs: &'static [Job],
    context: watch::Receiver<Context>,
    passes: watch::Sender<u64>,
    stop: tokio_util::sync::CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let present = context.borrow().clone();
        // Read before the pass: a clock that is turned during it counts.
        let (tick, began) = (present.plan.service.tick, present.clock.now());
        if !pass(jobs, &present, &stop).await {
            return Ok(());
        }
        passes.send_modify(|count| *count += 1);
        // A clock that was set back during the pass must not make the wait hours long.
        let next = (began + tick).min(present.clock.now() + tick);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = present.clock.sleep_until(next) => {}
        }
    }
}

/// Take up a changed plan, or refuse it whole.
///
/// # Errors
/// When the new plan has problems or changes what only a restart can; the old one stays in force.
pub async fn take_up(context: &watch::Sender<Context>, plan: Plan) -> anyhow::Result<()> {
    let present = context.borrow().clone();
    let fixed = |plan: &Plan| {
        let Plan { service, http, database, .. } = plan;
        let http = (http.tls.clone(), http.max_connections, http.header_timeout);
        (service.listen, service.data_dir.clone(), database.clone(), http)
    };
    anyhow::ensure!(
        fixed(&plan) == fixed(&present.plan),
        "service.listen, service.data_dir, [database] and the tls, max_connections and header_timeout of [http] change with a restart \
         only"
    );
    let sender = Sender::new(&plan.notify)?;
    let pseudonyms = pseudonyms(&plan, false)?;
    present.store.bind_identity(&pseudonyms.fingerprint()).await?;
    let store = with_ring(present.store.clone(), &plan, true).await?;
    let catalog = present.store.adopt_plan(&plan, present.clock.now(), "dosimeter").await?;
    let (plan, catalog) = (Arc::new(plan), Arc::new(catalog));
    context.send_modify(|context| {
        context.plan = plan;
        context.catalog = catalog;
        context.store = store;
        context.sender = sender;
        context.pseudonyms = pseudonyms;
    });
    Ok(())
}

/// Take up the configuration again at every SIGHUP.
///
/// # Errors
/// When the signal cannot be listened for.
pub async fn watch_hangup(
    config: PathBuf,
    context: watch::Sender<Context>,
    stop: tokio_util::sync::CancellationToken,
) -> anyhow::Result<()> {
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = hangup.recv() => {}
        }
        let loaded = crate::config::load(&config, &environment).map_err(anyhow::Error::from);
        let taken = match loaded {
            Ok(plan) => take_up(&context, plan).await,
            Err(error) => Err(error),
        };
        match taken {
            Ok(()) => tracing::info!(plan = context.borrow().plan.digest(), "took up the plan"),
            Err(error) => tracing::error!(error = format!("{error:#}"), "refused the plan; the old one stays in force"),
        }
    }
}

/// The store, set up by its owner, with connections that may do no more than the daemon's work needs.
async fn open_store(plan: &Plan, adopts: bool, url: &Secret) -> anyhow::Result<Store> {
    let most = plan.database.max_connections;
    if adopts {
        let owner = Store::connect(plan.database.owner_url.as_ref().unwrap_or(url).expose(), 2).await?;
        let is_new = owner.migrate().await?;
        owner.set_up_roles(is_new).await?;
        owner.close().await;
    }
    let store = Store::connect(url.expose(), most).await?;
    anyhow::ensure!(
        store.schema_is_current().await.unwrap_or(false),
        "the database has not been set up by this release: run `dosimeter serve` or `dosimeter import` of it first"
    );
    let (store, Standing { user, is_superuser, is_confined }) = store.confine(most).await?;
    if adopts && !is_confined {
        tracing::warn!(
            user,
            "the database does not hold the daemon: it may change what should only grow. Let a database administrator run \
             the statements under \"Roles\" in docs/audit.md"
        );
    } else if adopts && is_superuser && plan.database.url.is_some() {
        tracing::warn!(
            user,
            "the user of database.url is a superuser: the daemon works as dosimeter_application, but whoever has this \
             address can undo that. Name an ordinary user there, as docs/audit.md says under \"Roles\""
        );
    }
    Ok(store)
}

/// The environment, as the configuration asks for it.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
