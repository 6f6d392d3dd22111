//! Records by HTTP: rows a second against raw `COPY`, small posts with and without shared commits, memory, and how long it takes
//! from a label to its metric. `make bench ARGS='--bench ratios -- push'`; the server flushes every commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use dosimeter::app::App;
use dosimeter::clock::Clock;
use dosimeter::desk::{Desk, MOST_TOGETHER};
use dosimeter::runtime::supervisor::Supervisor;
use futures_util::StreamExt;
use polars::prelude::{Column, CompatLevel, DataFrame, SchemaExt};
use polars_arrow::io::ipc::write::{StreamWriter, WriteOptions};
use rand::{RngExt, SeedableRng};
use sqlx::postgres::PgPoolCopyExt;

use crate::start;

/// A model with five outputs and three dimensions.
const PLAN: &str = r#"
[http]
requests_per_second = 0

[[model]]
name = "chest"
thresholds = [0.5]
output = [{ name = "a" }, { name = "b" }, { name = "c" }, { name = "d" }, { name = "e" }]
dimension = [{ name = "site" }, { name = "sex" }, { name = "view" }]
windows = ["30d"]
"#;
const OUTPUTS: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Rows of a record batch.
const BATCH: usize = 16_384;

struct Served {
    app: App,
    url: String,
    base: String,
    client: reqwest::Client,
    stop: tokio_util::sync::CancellationToken,
    _folder: tempfile::TempDir,
}

async fn serve(server: &str, most_together: usize, resolvable: bool) -> Served {
    let url = dosimeter::store::fresh_database(server, "dosimeter_push").await.expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let (mut plan, _) = dosimeter::config::parse(PLAN, folder.path(), &|_| None).expect("a plan");
    plan.database.url = Some(dosimeter::config::Secret::new(&url));
    plan.service.data_dir = folder.path().to_owned();
    plan.identity.resolvable = resolvable;
    let app = App::start(plan, Clock::system()).await.expect("an app");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}/api/v1/models/chest", listener.local_addr().expect("an address"));
    let stop = tokio_util::sync::CancellationToken::new();
    let (desk, queue) = Desk::new();
    tokio::spawn(queue.serve(app.context.subscribe(), most_together, stop.clone()));
    tokio::spawn(dosimeter::http::serve(listener, app.context.subscribe(), desk, stop.clone()));
    Served { app, url, base, client: reqwest::Client::new(), stop, _folder: folder }
}

impl Served {
    async fn post(&self, record: &str, media: &str, body: reqwest::Body) -> serde_json::Value {
        let request = self.client.post(format!("{}/{record}", self.base)).header("content-type", media);
        let response = request.body(body).send().await.expect("an answer");
        let status = response.status();
        let text = response.text().await.expect("text");
        assert!(status.is_success(), "{status}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    async fn close(self) {
        self.stop.cancel();
        self.app.close().await.expect("it closes");
    }
}

/// `(case, instant, scores, attributes)`.
type Case = (String, String, [f64; 5], [&'static str; 3]);

fn cases(count: usize, run: usize) -> Vec<Case> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(run as u64);
    let case = |case: usize| {
        let at = start() + TimeDelta::seconds(rng.random_range(0..30 * 86_400));
        let scores = std::array::from_fn(|_| rng.random::<f64>().powi(3));
        let site = ["north", "south", "west"][rng.random_range(0..3)];
        let (sex, view) = (["F", "M"][rng.random_range(0..2)], ["AP", "PA"][rng.random_range(0..2)]);
        (format!("{run:08x}{case:024x}"), at.to_rfc3339(), scores, [site, sex, view])
    };
    (0..count).map(case).collect()
}

fn ndjson(cases: &[Case]) -> Vec<u8> {
    let line = |(case, at, scores, [site, sex, view]): &Case| {
        let scores: Vec<String> =
            OUTPUTS.iter().zip(scores).map(|(name, score)| format!("\"{name}\":{score}")).collect();
        format!(
            "{{\"case\":\"{case}\",\"occurred_at\":\"{at}\",\"version\":\"1\",\"scores\":{{{}}},\
             \"attributes\":{{\"site\":\"{site}\",\"sex\":\"{sex}\",\"view\":\"{view}\"}}}}\n",
            scores.join(",")
        )
    };
    cases.iter().map(line).collect::<String>().into_bytes()
}

fn arrow(cases: &[Case]) -> Vec<u8> {
    let frame = |cases: &[Case]| {
        let text = |read: &dyn Fn(&Case) -> String| cases.iter().map(read).collect::<Vec<_>>();
        let mut columns = vec![
            Column::new("case".into(), text(&|case| case.0.clone())),
            Column::new("occurred_at".into(), text(&|case| case.1.clone())),
            Column::new("version".into(), vec!["1"; cases.len()]),
        ];
        for (at, name) in OUTPUTS.iter().enumerate() {
            columns.push(Column::new((*name).into(), cases.iter().map(|case| case.2[at]).collect::<Vec<_>>()));
        }
        for (at, name) in ["site", "sex", "view"].iter().enumerate() {
            columns.push(Column::new((*name).into(), text(&|case| case.3[at].to_owned())));
        }
        DataFrame::new(cases.len(), columns).expect("a frame")
    };
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::new(&mut bytes, WriteOptions { compression: None });
    writer.start(&frame(&[]).schema().to_arrow(CompatLevel::oldest()), None).expect("a schema");
    for part in cases.chunks(BATCH) {
        for batch in frame(part).iter_chunks(CompatLevel::oldest(), false) {
            writer.write(&batch, None).expect("a batch");
        }
    }
    writer.finish().expect("an end");
    bytes
}

/// Rows a second from body to committed, against binary `COPY` of the very rows that came of it into tables of the same shape,
/// with and without their indexes.
async fn rows(server: &str, count: usize, resolvable: bool) {
    let mut best = [Duration::MAX; 4];
    for run in 0..3 {
        for (way, body) in [(0, ndjson(&cases(count, run))), (1, arrow(&cases(count, run)))] {
            let served = serve(server, MOST_TOGETHER, resolvable).await;
            let media = ["application/x-ndjson", "application/vnd.apache.arrow.stream"][way];
            let began = Instant::now();
            let answer = served.post("predictions", media, body.into()).await;
            best[way] = best[way].min(began.elapsed());
            assert_eq!(answer["accepted"], count);
            if way == 1 {
                let [indexed, bare] = copied(&served.url, count).await;
                best[2] = best[2].min(indexed);
                best[3] = best[3].min(bare);
            }
            served.close().await;
        }
    }
    let [ndjson, arrow, indexed, bare] = best;
    let rate = |took: Duration| count as f64 / took.as_secs_f64();
    let kept = if resolvable { "with" } else { "without" };
    println!(
        "{count} predictions of five outputs and three attributes, rows a second, {kept} the encrypted map of ids; the best of three"
    );
    println!(
        "{:>10.0}  COPY (FORMAT binary) of the same rows into tables of the same shape and indexes",
        rate(indexed)
    );
    println!("{:>10.0}  COPY (FORMAT binary) of the same rows into tables without indexes", rate(bare));
    for (name, took) in [("NDJSON", ndjson), ("Arrow", arrow)] {
        println!(
            "{:>10.0}  {name} by HTTP to committed: {:.2} of COPY with indexes, {:.2} of COPY without",
            rate(took),
            rate(took) / rate(indexed),
            rate(took) / rate(bare)
        );
    }
}

/// How long `COPY` of what is in the tables takes (identities, predictions, and the encrypted ids where they are kept), into
/// tables of the same shape with their indexes, and without.
async fn copied(url: &str, count: usize) -> [Duration; 2] {
    let pool = sqlx::PgPool::connect(url).await.expect("the database answers");
    let mut out = Vec::new();
    let has_ids: bool =
        sqlx::query_scalar("select exists (select from identifier)").fetch_one(&pool).await.expect("an answer");
    // A partitioned table is read by a query.
    let tables =
        [("record_key", "record_key"), ("prediction", "(select * from prediction)"), ("identifier", "identifier")];
    let tables = &tables[..2 + usize::from(has_ids)];
    for (_, query) in tables {
        let mut rows = pool.copy_out_raw(&format!("copy {query} to stdout (format binary)")).await.expect("rows");
        let mut bytes = Vec::new();
        while let Some(piece) = rows.next().await {
            bytes.extend_from_slice(&piece.expect("a piece"));
        }
        out.push(bytes);
    }
    let mut took = [Duration::ZERO; 2];
    for (way, like) in ["including all", ""].into_iter().enumerate() {
        let make = |(table, _): &(&str, &str)| {
            format!("drop table if exists raw_{table}; create table raw_{table} (like {table} {like});")
        };
        let made = tables.iter().map(make).collect::<String>() + "checkpoint";
        sqlx::raw_sql(sqlx::AssertSqlSafe(made)).execute(&pool).await.expect("tables");
        let began = Instant::now();
        let mut transaction = pool.begin().await.expect("a transaction");
        for ((table, _), bytes) in tables.iter().zip(&out) {
            let statement = format!("copy raw_{table} from stdin (format binary)");
            let mut copy = transaction.copy_in_raw(&statement).await.expect("a copy");
            for piece in bytes.chunks(1 << 20) {
                copy.send(piece).await.expect("rows");
            }
            assert_eq!(copy.finish().await.expect("an end"), count as u64);
        }
        transaction.commit().await.expect("a commit");
        took[way] = began.elapsed();
    }
    took
}

/// Posts of one prediction each over 64 connections: `(posts a second, median, 99th percentile)`.
async fn singles(server: &str, most_together: usize, spell: Duration) -> (f64, Duration, Duration) {
    const CONNECTIONS: usize = 64;
    /// More than a connection sends in the spell.
    const BODIES: usize = 4000;
    let served = Arc::new(serve(server, most_together, true).await);
    // The version and the month's partition are there before the clock runs.
    served.post("predictions", "application/x-ndjson", ndjson(&cases(1, 999)).into()).await;
    // So are the bodies.
    let bodies = |connection: usize| cases(BODIES, 1000 + connection).chunks(1).map(ndjson).collect::<Vec<_>>();
    let bodies: Vec<Vec<Vec<u8>>> = (0..CONNECTIONS).map(bodies).collect();
    let end = Instant::now() + spell;
    let clients = bodies.into_iter().map(|bodies| {
        let served = served.clone();
        tokio::spawn(async move {
            let client = reqwest::Client::new();
            let url = format!("{}/predictions", served.base);
            let mut took = Vec::new();
            for body in bodies {
                let began = Instant::now();
                if began >= end {
                    break;
                }
                let request = client.post(&url).header("content-type", "application/x-ndjson").body(body);
                assert_eq!(request.send().await.expect("an answer").status().as_u16(), 200);
                took.push(began.elapsed());
            }
            took
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.await.expect("a client"));
    }
    assert!(took.len() < CONNECTIONS * BODIES, "nobody ran out of bodies");
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    (took.len() as f64 / spell.as_secs_f64(), at(50), at(99))
}

/// From a label's acknowledgement to its changed metric on `/metrics`, while predictions are being sent.
async fn label_to_metric(server: &str, labels: usize) -> Vec<Duration> {
    let url = dosimeter::store::fresh_database(server, "dosimeter_push").await.expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let config = format!("[service]\nlisten = \"127.0.0.1:{port}\"\ntick = \"1s\"\nestimate_every = \"1s\"\n{PLAN}");
    let (mut plan, _) = dosimeter::config::parse(&config, folder.path(), &|_| None).expect("a plan");
    plan.database.url = Some(dosimeter::config::Secret::new(&url));
    plan.service.data_dir = folder.path().to_owned();
    let app = App::start(plan, Clock::system()).await.expect("an app");
    let supervisor = Supervisor::default();
    app.spawn(&supervisor).await.expect("it starts");
    let base = format!("http://127.0.0.1:{port}");
    let client = reqwest::Client::new();
    // Windows end with the last whole day.
    let now = app.context().clock.now() - TimeDelta::days(1);
    let case = |number: usize| {
        format!(
            "{{\"case\":\"{number}\",\"occurred_at\":\"{}\",\"version\":\"1\",\"a\":0.5,\"site\":\"north\"}}\n",
            now.to_rfc3339()
        )
    };
    let send = async |client: &reqwest::Client, record: &str, body: String| {
        let url = format!("{base}/api/v1/models/chest/{record}");
        let request = client.post(url).header("content-type", "application/x-ndjson").body(body);
        assert_eq!(request.send().await.expect("an answer").status().as_u16(), 200);
    };
    send(&client, "predictions", (0..20_000).map(case).collect()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let load = tokio::spawn({
        let (stop, sent, base) = (stop.clone(), sent.clone(), base.clone());
        let bodies: Vec<String> = (0..20_000).map(|number| case(1_000_000 + number)).collect();
        async move {
            let client = reqwest::Client::new();
            for body in bodies.into_iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let url = format!("{base}/api/v1/models/chest/predictions");
                let request = client.post(url).header("content-type", "application/x-ndjson").body(body);
                let _ = request.send().await;
                sent.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    let labelled = async || -> Option<f64> {
        let text = client.get(format!("{base}/metrics")).send().await.ok()?.text().await.ok()?;
        let line = text.lines().find(|line| {
            line.starts_with("dosimeter_labelled{") && line.contains("output=\"a\"") && line.contains("slice=\"all\"")
        })?;
        line.rsplit(' ').next()?.parse().ok()
    };
    let mut took = Vec::new();
    for label in 0..labels {
        let before = labelled().await.unwrap_or_default();
        let body = format!(
            "{{\"case\":\"{label}\",\"observed_at\":\"{}\",\"source\":\"report\",\"output\":\"a\",\"value\":1}}\n",
            app.context().clock.now().to_rfc3339()
        );
        send(&client, "assertions", body).await;
        let began = Instant::now();
        while labelled().await.unwrap_or_default() <= before {
            assert!(began.elapsed() < Duration::from_secs(120), "the label is never seen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        took.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(137)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let _ = load.await;
    supervisor.stop_token().cancel();
    took.sort_unstable();
    took
}

/// The peak memory of the daemon, in MiB, after a body of so many rows that is sent as it is made.
async fn peak_memory(server: &str, rows: usize) -> f64 {
    let url = dosimeter::store::fresh_database(server, "dosimeter_push").await.expect("a database");
    let folder = tempfile::Builder::new().prefix("dosimeter-push").tempdir().expect("a folder");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let config = folder.path().join("config.toml");
    // No job folds what comes: the memory is that of taking in.
    let service = format!("[service]\nlisten = \"127.0.0.1:{port}\"\ndata_dir = \"data\"\ntick = \"1h\"\n{PLAN}");
    std::fs::write(&config, service).expect("a file");
    let mut open = std::fs::metadata(folder.path()).expect("there").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut open, 0o777);
    std::fs::set_permissions(folder.path(), open).expect("ours");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dosimeter"));
    command.args(["serve", "--config"]).arg(&config).env("DATABASE_URL", &url);
    command.env("DOSIMETER_IDENTITY_KEY", "a key for benchmarks, long enough to be one").env("RUST_LOG", "warn");
    let mut daemon = command.spawn().expect("it starts");
    let client = reqwest::Client::new();
    let ready = format!("http://127.0.0.1:{port}/livez");
    while client.get(&ready).send().await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let parts = (0..rows.div_ceil(10_000)).map(|part| Ok::<_, std::io::Error>(ndjson(&cases(10_000, 5000 + part))));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(parts));
    let request = client.post(format!("http://127.0.0.1:{port}/api/v1/models/chest/predictions"));
    let response = request.header("content-type", "application/x-ndjson").body(body).send().await.expect("an answer");
    assert_eq!(response.status().as_u16(), 200, "{}", response.text().await.unwrap_or_default());
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let _ = daemon.kill();
    let _ = daemon.wait();
    peak.trim().trim_end_matches("kB").trim().parse::<f64>().expect("a number") / 1024.0
}

async fn print_singles(server: &str) {
    let spell = Duration::from_secs(10);
    let shared = singles(server, MOST_TOGETHER, spell).await;
    let alone = singles(server, 1, spell).await;
    for (name, (rate, median, late)) in [("shared commits", shared), ("a commit a request", alone)] {
        println!(
            "{rate:>10.0}  posts of one prediction a second, 64 connections, {name}; {median:.1?} median, {late:.1?} p99"
        );
    }
    println!("{:>10.1}  times as many", shared.0 / alone.0);
}

/// All of it, or what is named: `rows`, `singles`, `label`, `memory`.
pub async fn run(count: usize) {
    let Ok(server) = std::env::var("DATABASE_URL") else {
        println!("skipped: DATABASE_URL names no Postgres");
        return;
    };
    let pool = sqlx::PgPool::connect(&server).await.expect("the server answers");
    let fsync: String = sqlx::query_scalar("show fsync").fetch_one(&pool).await.expect("a setting");
    println!("fsync is {fsync}");
    let parts = ["rows", "singles", "label", "memory"];
    let named = parts.iter().any(|part| std::env::args().any(|argument| argument == *part));
    let wants = |part: &str| !named || std::env::args().any(|argument| argument == part);
    if wants("rows") {
        rows(&server, count, true).await;
        rows(&server, count, false).await;
    }
    if wants("singles") {
        print_singles(&server).await;
    }
    if wants("label") {
        let took = label_to_metric(&server, 40).await;
        let at = |percent: usize| took[(took.len() - 1) * percent / 100];
        let many = took.len();
        println!("{:.1?} median, {:.1?} p99 of {many} from a label to its metric, at a tick of 1 s", at(50), at(99));
    }
    if wants("memory") {
        let rows = 5 * count;
        println!("{:>10.0}  MiB at the peak, for a body of {rows} rows", peak_memory(&server, rows).await);
    }
}
