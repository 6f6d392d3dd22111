//! An installation of its own for every test: a folder, a database, a clock that is turned by hand.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, Utc};
use dosimeter::app::App;
use dosimeter::clock::{Clock, ManualClock};
use dosimeter::config::Secret;
use dosimeter::domain::{Slice, Window};
use dosimeter::job::replay::{Replayed, Verdict, replay};
use dosimeter::job::{Context, Job};
use dosimeter::query::{Answer, Question, Row, ask};
use dosimeter::runtime::Outcome;
use dosimeter::store::fresh_database;
use dosimeter::store::rows::Knowledge;
use dosimeter::store::series::EstimateFilter;
use dosimeter::vault::Ring;

/// A model with two outputs, predictions wide and truth long. Its data may be as it likes: tests jump through time.
pub const SMALL: &str = r#"
[[model]]
name = "chest-xray"
thresholds = [0.5]
minimum_n = 0
output = [{ name = "effusion" }, { name = "nodule" }]
dimension = [{ name = "site" }, { name = "sex" }]
crossings = ["site & sex"]
windows = ["7d", "30d"]
health = { no_predictions = false, no_truth = false, coverage = false, delay = false, rejections = false, stale_source = false, schema = false, unknown_version = false, unwatched = false, replay = false }

[model.truth]
policy = "latest-final"

[[source]]
name = "predictions"
paths = ["predictions"]
settle = "0s"
columns = { case = "study", occurred_at = "at" }
constants = { version = "1" }

[[source]]
name = "reports"
record = "assertions"
layout = "long"
paths = ["truth"]
settle = "0s"
columns = { case = "study", output = "finding", value = "value", reader = "reader", status = "status", observed_at = "at" }
constants = { source = "report" }
"#;

/// The address of the server that tests may use.
pub fn server_url() -> String {
    std::env::var("DATABASE_URL").expect("DATABASE_URL names a Postgres server; `make test` starts one")
}

/// An empty database on it.
pub async fn database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("dosimeter_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    fresh_database(&server_url(), &name).await.expect("the server lets us make databases")
}

/// An instant from text such as `2025-03-01` or `2025-03-01T12:00:00Z`.
pub fn at(text: &str) -> DateTime<Utc> {
    let full = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    full.parse().expect("an instant")
}

/// A window from two days.
pub fn window(from: &str, to: &str) -> Window {
    Window { from: at(from), to: at(to) }
}

/// Give a folder to the ordinary user that a program started as root becomes.
pub fn give_away(paths: &[&Path]) {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let user = |name| nix::unistd::User::from_name(name).expect("users can be read");
    let user = user("postgres").or_else(|| user("nobody")).expect("an ordinary user");
    for path in paths {
        std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root may");
    }
}

/// A running daemon's parts, driven step by step.
pub struct Installation {
    pub app: App,
    pub hand: ManualClock,
    pub folder: tempfile::TempDir,
    pub url: String,
}

impl Installation {
    /// One with this configuration, in an empty folder and an empty database, at an instant.
    pub async fn new(config: &str, now: &str) -> Self {
        Self::over(database().await, config, now).await
    }

    /// One over a database that is there.
    pub async fn over(url: String, config: &str, now: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (clock, hand) = Clock::manual(at(now));
        let app = App::start(plan(config, folder.path(), &url), clock).await.expect("the app starts");
        Self { app, hand, folder, url }
    }

    pub fn context(&self) -> Context {
        self.app.context()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Write a file below the folder.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(path, content).expect("the file can be written");
    }

    /// Let every job run once; none may fail.
    pub async fn pass(&self) {
        for job in Job::ALL {
            assert_ne!(Box::pin(job.run(&self.context())).await, Outcome::Failed, "{} failed", job.name());
        }
    }

    /// Ask about one output and slice.
    pub async fn ask(&self, output: &str, slice: &str, window: Window, knowledge: Knowledge) -> Answer {
        let question = Question {
            model: self.context().plan.models[0].name.clone(),
            version: None,
            output: output.to_owned(),
            slice: slice.parse::<Slice>().expect("a slice"),
            window,
            knowledge,
            thresholds: Vec::new(),
            reference_id: None,
            most_rows: None,
        };
        Box::pin(ask(&self.context(), &question)).await.expect("an answer")
    }

    /// What comes of the replay of every estimate that there is: how many agree, and what the others say.
    pub async fn replays(&self) -> (usize, Vec<String>) {
        let context = self.context();
        let all = context.store.list_estimates(&EstimateFilter::default(), 1_000_000).await.expect("estimates");
        let replayed = replay(&context, all).await.expect("replays");
        let (agree, others): (Vec<_>, Vec<_>) = replayed.iter().partition(|one| one.verdict == Verdict::Agrees);
        let words = |one: &&Replayed| format!("{}: {}", one.stored.estimate_id, one.verdict.words());
        (agree.len(), others.iter().map(words).collect())
    }

    /// A pool on the installation's database, to look at what is stored.
    pub async fn pool(&self) -> sqlx::PgPool {
        sqlx::PgPool::connect(&self.url).await.expect("the database answers")
    }

    /// `(source, line, reason)` of every rejection, in order.
    pub async fn rejections(&self) -> Vec<(String, i64, String)> {
        sqlx::query_as("select origin, line, reason from rejection order by origin, line, item")
            .fetch_all(&self.pool().await)
            .await
            .expect("rejections can be read")
    }

    /// A count.
    pub async fn count(&self, table: &str) -> i64 {
        let query = format!("select count(*) from {table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&self.pool().await).await.expect("a count")
    }
}

/// A plan from text, on a database.
pub fn plan(config: &str, folder: &Path, url: &str) -> dosimeter::config::Plan {
    let parsed = dosimeter::config::parse(config, folder, &|_| None);
    let (mut plan, _) = parsed.unwrap_or_else(|problems| panic!("the configuration is wrong: {problems:#?}"));
    plan.database.url = Some(Secret::new(url));
    plan.service.data_dir = folder.to_owned();
    // Several installations of a test share a database.
    plan.identity.key = Some(Secret::new("the identity key of the tests, long enough"));
    plan.identity.ring = Some(Ring::parse(&"5e".repeat(32)).expect("a key"));
    // Tests pass twice at one instant and want to see the second.
    plan.service.estimate_every = std::time::Duration::ZERO;
    // Tests jump through time; those about replays ask for them.
    plan.audit.replay_every = std::time::Duration::ZERO;
    plan
}

/// A metric of an answer.
pub fn metric<'a>(answer: &'a Answer, name: &str) -> &'a Row {
    answer.metrics.iter().find(|row| row.metric == name).unwrap_or_else(|| {
        panic!("no {name} among {:?}", answer.metrics.iter().map(|row| &row.metric).collect::<Vec<_>>())
    })
}

/// Its value; panics with the reason where it is undefined.
pub fn value(answer: &Answer, name: &str) -> f64 {
    let row = metric(answer, name);
    row.estimate.as_ref().unwrap_or_else(|| panic!("{name} is undefined: {:?}", row.reason)).value
}

/// What an answer says, without where and when it was asked: equal text means equal bits.
pub fn said(answer: &Answer) -> String {
    serde_json::to_string(&answer.metrics).expect("an answer serialises")
}

/// The program under test.
pub fn binary() -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dosimeter"));
    command.env_remove("DATABASE_URL").env_remove("RUST_LOG");
    command
}

/// A port that is free now.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A child that ends with the test.
pub struct Child(pub std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Alertmanager, which Debian calls by a longer name.
pub fn alertmanager() -> PathBuf {
    find_tool("alertmanager").unwrap_or_else(|| tool("prometheus-alertmanager"))
}

/// A tool of the tests: in the PATH, or where `scripts/install.sh` unpacks it.
pub fn tool(name: &str) -> PathBuf {
    find_tool(name).unwrap_or_else(|| panic!("{name} is not installed; `make test` installs it"))
}

fn find_tool(name: &str) -> Option<PathBuf> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/usr/bin").join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.or_else(|| unpacked.is_file().then_some(unpacked))
}

/// Ask again and again until there is something, for half a minute at most. For other processes, which no clock of ours drives.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("waited half a minute for {what}")
}
