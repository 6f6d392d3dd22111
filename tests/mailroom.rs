//! The way to the inbox under violence: `kill -9` inside a send, Postgres restarted, clocks that jump, replicas that compete.
//! Every transition is mailed once, or recognisably twice, never zero times.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use dosimeter::alert::notice;
use dosimeter::job::Job;
use dosimeter::runtime::Outcome;
use dosimeter::runtime::supervisor::Supervisor;
use rand::{RngExt, SeedableRng};

use crate::alerting::day_files;
use crate::delivery::{Server, audited, config, route};
use crate::support::{Child, Installation, at, binary, database, eventually, free_port, give_away};

/// A mail server that hesitates as it is told to.
struct Mail {
    folder: tempfile::TempDir,
    port: u16,
    _server: Child,
}

impl Mail {
    fn start(mode: &str, seed: u64) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
        std::fs::create_dir(folder.path().join("mail")).expect("a folder");
        std::fs::write(folder.path().join("mode"), mode).expect("a file");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let child = Command::new("python3")
            .env("PYTHONPATH", root.join("target/tools/usr/lib/python3/dist-packages"))
            .arg(root.join("tests/mailroom_smtp.py"))
            .args([port.to_string(), folder.path().display().to_string(), seed.to_string()])
            .spawn()
            .expect("python3 with aiosmtpd; `make test` installs it");
        let mail = Self { folder, port, _server: Child(child) };
        eventually("the SMTP server", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        mail
    }

    /// What it does from now on.
    fn turn(&self, mode: &str) {
        std::fs::write(self.folder.path().join("next"), mode).expect("a file");
        std::fs::rename(self.folder.path().join("next"), self.folder.path().join("mode")).expect("renamed");
    }

    fn wait_for_hold(&self, stage: &str) {
        let path = self.folder.path().join("holding");
        eventually(&format!("a mail held at {stage}"), || {
            std::fs::read_to_string(&path).ok().filter(|holding| holding == stage)
        });
        let _ = std::fs::remove_file(path);
    }

    /// How often each Message-ID has been taken.
    fn taken(&self) -> BTreeMap<String, usize> {
        let mut taken = BTreeMap::new();
        for file in std::fs::read_dir(self.folder.path().join("mail")).expect("a folder").flatten() {
            if file.path().extension().is_some_and(|extension| extension == "eml") {
                let text = std::fs::read_to_string(file.path()).expect("an email");
                let id = text.lines().find_map(|line| line.strip_prefix("Message-ID: ")).expect("a Message-ID");
                *taken.entry(id.trim().to_owned()).or_default() += 1;
            }
        }
        taken
    }

    fn smtp(&self) -> String {
        format!("smtp = {{ host = \"127.0.0.1\", port = {}, tls = \"none\" }}\n", self.port)
    }

    fn config(&self) -> String {
        config(&self.smtp()) + &route("people", "email", "to = [\"on-call@hospital.example\"]")
    }
}

/// A daemon that can be killed, on a database of whoever asks.
struct Daemon {
    folder: tempfile::TempDir,
    url: String,
}

impl Daemon {
    fn new(url: &str, config: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("dosimeter-storm").tempdir().expect("a folder");
        let service = format!(
            "[service]\nlisten = \"127.0.0.1:{}\"\ndata_dir = \"data\"\ntick = \"200ms\"\n[identity]\ncase_ids = \"pseudonym\"\n{config}",
            free_port()
        );
        std::fs::write(folder.path().join("config.toml"), service).expect("a file");
        std::fs::create_dir(folder.path().join("data")).expect("a folder");
        give_away(&[folder.path(), &folder.path().join("data")]);
        Self { folder, url: url.to_owned() }
    }

    fn serve(&self) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log"));
        let mut command = binary();
        command.env("DATABASE_URL", &self.url).args(["serve", "--config"]).arg(self.folder.path().join("config.toml"));
        Child(command.stdout(Stdio::null()).stderr(log.expect("a file")).spawn().expect("the program starts"))
    }
}

/// `kill -9`; nobody waits for the lease of the dead to run out.
async fn kill(daemon: Child, pool: &sqlx::PgPool) {
    drop(daemon);
    sqlx::query("update lease set expires_at = '-infinity'").execute(pool).await.expect("leases");
}

async fn count(pool: &sqlx::PgPool, condition: &str) -> i64 {
    let query = format!("select count(*) from outbox where {condition}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(pool).await.expect("the outbox")
}

/// Ask Postgres again and again until it says so; it may be down meanwhile. A minute in which nothing comes nearer is too long.
async fn until(pool: &sqlx::PgPool, what: &str, condition: &str, wanted: i64) {
    let query = format!("select count(*) from outbox where {condition}");
    let (mut seen, mut waited) = (None, 0);
    while waited < 1200 {
        let now = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(query.clone())).fetch_one(pool).await.ok();
        if now == Some(wanted) {
            return;
        }
        waited = if now > seen { 0 } else { waited + 1 };
        seen = now.or(seen);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited a minute for {what}: {seen:?} of {wanted}");
}

/// Put notices into the outbox, each of its own.
async fn queue(pool: &sqlx::PgPool, from: usize, notices: usize) {
    let report = serde_json::to_value(notice::test("http://here", at("2025-02-01"))).expect("JSON");
    let insert =
        "insert into outbox (route, channel, recipient, escalation, opens_thread, report, created_at, queued_at,
            next_attempt_at, set_at, attempts)
        select 'people', 'email', 'p' || n || '@b.example', 0, true, $1, now(), now(), now(), now(), 0
        from generate_series($2::bigint, $3::bigint) n";
    let bounds = [from, from + notices - 1].map(|n| i64::try_from(n).expect("few"));
    sqlx::query(insert).bind(report).bind(bounds[0]).bind(bounds[1]).execute(pool).await.expect("notices");
}

/// A Postgres server of the test's own, which can be stopped.
struct Postgres {
    folder: tempfile::TempDir,
    port: u16,
}

impl Postgres {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("dosimeter-storm-pg").tempdir().expect("a folder");
        give_away(&[folder.path()]);
        let postgres = Self { folder, port: free_port() };
        let data = postgres.data();
        let mut command = postgres.command("initdb");
        command.args(["-U", "dosimeter", "-A", "trust", "-E", "UTF8", "--locale=C", "-D"]);
        assert!(command.arg(data).stdout(Stdio::null()).status().expect("initdb runs").success());
        postgres.go();
        postgres
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A program of Postgres, which never runs as root.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.current_dir(self.folder.path());
        if nix::unistd::Uid::effective().is_root() {
            use std::os::unix::fs::MetadataExt;
            let owner = std::fs::metadata(self.folder.path()).expect("there");
            command.uid(owner.uid()).gid(owner.gid());
        }
        command
    }

    fn go(&self) {
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={} -c fsync=off",
            self.port,
            self.folder.path().display()
        );
        let mut command = self.command("pg_ctl");
        command.args(["-w", "-s", "-l"]).arg(self.folder.path().join("log")).arg("-o").arg(options).arg("-D");
        assert!(command.arg(self.data()).arg("start").status().expect("pg_ctl runs").success());
    }

    fn stop(&self, how: &str) -> bool {
        let mut command = self.command("pg_ctl");
        command.args(["-s", "-m", how, "-D"]).arg(self.data()).arg("stop").stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn url(&self) -> String {
        format!("postgres://dosimeter@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop("immediate");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_inside_a_send_the_alert_is_mailed_again_under_the_same_name() {
    let (mail, url) = (Mail::start("data", 1), database().await);
    let daemon = Daemon::new(&url, &mail.config());
    let day = (Utc::now() - TimeDelta::days(1)).format("%Y-%m-%d").to_string();
    for (name, content) in day_files(&day) {
        let path = daemon.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }
    let running = daemon.serve();
    mail.wait_for_hold("data");
    let pool = sqlx::PgPool::connect(&url).await.expect("the database answers");
    kill(running, &pool).await;
    assert_eq!((mail.taken().len(), count(&pool, "sent_at is null").await), (0, 1), "the alert waits");

    // The server takes it, and the daemon dies before it hears so.
    mail.turn("answer");
    let running = daemon.serve();
    mail.wait_for_hold("answer");
    kill(running, &pool).await;
    assert_eq!((mail.taken().len(), count(&pool, "sent_at is null").await), (1, 1), "it was taken, and nobody knows");

    mail.turn("take");
    let running = daemon.serve();
    until(&pool, "the alert to be sent", "sent_at is not null", 1).await;
    kill(running, &pool).await;
    let taken = mail.taken();
    assert_eq!(taken.values().collect::<Vec<_>>(), [&2], "twice, and the same Message-ID tells: {taken:?}");
    assert_eq!(count(&pool, "true").await, 1);
    let receipts: i64 = sqlx::query_scalar("select count(*) from audit where action = 'notice sent'")
        .fetch_one(&pool)
        .await
        .expect("the audit");
    assert_eq!(receipts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_restarted_inside_a_send_loses_nothing_and_the_daemon_goes_on() {
    let (mail, postgres) = (Mail::start("answer", 2), Postgres::start());
    let pool = sqlx::postgres::PgPoolOptions::new().acquire_timeout(Duration::from_secs(2));
    let pool = pool.connect_lazy(&postgres.url()).expect("an address");
    let daemon = Daemon::new(&postgres.url(), &mail.config());
    let mut running = daemon.serve();
    until(&pool, "the schema", "true", 0).await;
    queue(&pool, 1, 3).await;
    mail.wait_for_hold("answer");
    assert!(postgres.stop("fast"));
    mail.turn("take");
    let log = || std::fs::read_to_string(daemon.folder.path().join("log")).unwrap_or_default();
    let noticed = || log().lines().any(|line| line.contains("the job failed") && line.contains("notify"));
    eventually("the mailroom to notice", || noticed().then_some(()));
    postgres.go();
    until(&pool, "every notice to be sent", "sent_at is not null", 3).await;
    assert!(running.0.try_wait().expect("a child").is_none(), "the same daemon");
    let taken = mail.taken();
    assert_eq!(taken.len(), 3, "{taken:?}");
    let again: Vec<&usize> = taken.values().filter(|times| **times != 1).collect();
    assert_eq!(again, [&2], "what was taken while nobody could note it is sent once more: {taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_kills_and_restarts_mails_everything_and_nothing_under_another_name() {
    let rounds = std::env::var("DOSIMETER_DELIVERY_STORM").ok().and_then(|text| text.parse().ok()).unwrap_or(4_usize);
    let seed = std::env::var("DOSIMETER_DELIVERY_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(17_u64);
    let mut chance = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let (mail, postgres) = (Mail::start("slow", seed), Postgres::start());
    let pool = sqlx::postgres::PgPoolOptions::new().acquire_timeout(Duration::from_secs(2));
    let pool = pool.connect_lazy(&postgres.url()).expect("an address");
    // Two replicas over one outbox.
    let daemons = [Daemon::new(&postgres.url(), &mail.config()), Daemon::new(&postgres.url(), &mail.config())];
    let mut running: Vec<Child> = Vec::new();
    for daemon in &daemons {
        running.push(daemon.serve());
        until(&pool, "the schema", "true", 0).await;
    }
    let (batch, mut queued, mut kills, mut restarts) = (20, 0, 0, 0);
    for _ in 0..rounds {
        queue(&pool, queued + 1, batch).await;
        queued += batch;
        tokio::time::sleep(Duration::from_millis(chance.random_range(50..900))).await;
        if chance.random_bool(0.3) {
            restarts += 1;
            assert!(postgres.stop(if chance.random_bool(0.5) { "fast" } else { "immediate" }));
            tokio::time::sleep(Duration::from_millis(chance.random_range(0..500))).await;
            postgres.go();
            eventually("Postgres", || std::net::TcpStream::connect(("127.0.0.1", postgres.port)).ok());
        }
        let victim = chance.random_range(0..daemons.len());
        kills += 1;
        kill(running.swap_remove(victim), &pool).await;
        running.insert(victim, daemons[victim].serve());
    }
    until(&pool, "every notice to be sent", "sent_at is not null", i64::try_from(queued).expect("few")).await;
    let taken = mail.taken();
    let most = taken.values().copied().max().unwrap_or_default();
    let twice = taken.values().filter(|times| **times > 1).count();
    println!(
        "seed {seed}: {queued} notices, {kills} kills, {restarts} restarts: {twice} mailed more than once, at most {most} times"
    );
    assert_eq!(taken.len(), queued, "each arrived, and no other");
    assert!(taken.keys().all(|id| id.starts_with("<outbox-")), "{taken:?}");
    // Each daemon has one mail under way: no kill and no restart doubles more than one of each.
    let doubled: usize = taken.values().map(|times| times - 1).sum();
    assert!(doubled <= daemons.len() * (kills + restarts), "{taken:?}");
    assert_eq!(count(&pool, "dead_at is not null").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_gives_nothing_up_and_keeps_nothing_waiting() {
    let server = Server::start(&[(503, ""); 6]).await;
    let rest = format!("url = \"{}/hook\"\nsecret = \"the signing secret of the tests\"", server.url);
    let installation = Installation::new(&config(&route("archive", "webhook", &rest)), "2025-02-02T01:00:00Z").await;
    crate::alerting::write_day(&installation, "2025-02-01");
    installation.pass().await;
    // Ahead by days: what has been tried for minutes is not given up, however late it seems.
    let mut tried = 1;
    for minutes in [0, 10, 30, 60, 120] {
        installation.hand.set_to(at("2025-02-09T01:00:00Z") + TimeDelta::minutes(minutes));
        Job::Notify.run(&installation.context()).await;
        tried += 1;
        assert_eq!(server.got().len(), tried);
    }
    assert_eq!(installation.context().store.list_notices(true, 10).await.expect("notices").len(), 0);
    // Back by days: the wait that was set on the wrong day is over, and it is sent once.
    installation.hand.set_to(at("2025-02-02T00:30:00Z"));
    for _ in 0..3 {
        Job::Notify.run(&installation.context()).await;
    }
    assert_eq!(server.got().len(), tried + 1);
    assert_eq!(audited(&installation, "notice sent").await.len(), 1);
    let key = |got: &crate::delivery::Got| got.json()["id"].clone();
    assert!(server.got().iter().all(|got| key(got) == key(&server.got()[0])), "always the same notice");
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_and_leases_of_a_wrong_clock_do_not_hang() {
    let server = Server::start(&[]).await;
    let rest = format!("url = \"{}/hook\"\nsecret = \"the signing secret of the tests\"", server.url);
    let installation = Installation::new(&config(&route("archive", "webhook", &rest)), "2025-02-02T01:00:00Z").await;
    crate::alerting::write_day(&installation, "2025-02-01");
    installation.pass().await;
    assert_eq!(server.got().len(), 1, "it fired");
    installation.hand.set_to(at("2025-02-05T01:00:00Z"));
    installation.pass().await;
    assert_eq!(server.got().len(), 2, "a repeat, as far as anybody could tell");
    installation.hand.set_to(at("2025-02-02T02:00:00Z"));
    for _ in 0..2 {
        installation.pass().await;
    }
    assert_eq!(server.got().len(), 2, "they have just been told");
    let audit = audited(&installation, "clock set back").await;
    assert_eq!(audit.len(), 1, "it is noted once");
    assert_eq!(audit[0].3, serde_json::json!({ "alerts": [1] }));
    installation.hand.set_to(at("2025-02-03T02:00:00Z"));
    installation.pass().await;
    assert_eq!(server.got().len(), 3, "a day after the clock was set right, not after the wrong clock's day");

    // Postgres's clock was ahead when somebody took the lease and died.
    let ahead =
        "update lease set holder = 'dead', expires_at = clock_timestamp() + interval '3 days' where name = 'notify'";
    sqlx::query(ahead).execute(&installation.pool().await).await.expect("leases");
    let context = installation.context();
    let lease = context.store.take_lease("notify", &context.holder, Duration::from_secs(20)).await.expect("answers");
    assert!(lease.is_some(), "no lease lasts longer than it was given for");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loops_go_on_when_the_clock_is_set_back() {
    let installation = Installation::new(crate::support::SMALL, "2025-02-02T01:00:00Z").await;
    let supervisor = Supervisor::default();
    let mut context = installation.context();
    let mut plan = (*context.plan).clone();
    plan.service.listen = ([127, 0, 0, 1], 0).into();
    context.plan = std::sync::Arc::new(plan);
    installation.app.context.send_replace(context);
    let [mut pipeline, mut mailroom] = installation.app.spawn(&supervisor).await.expect("it starts");
    for passes in [&mut pipeline, &mut mailroom] {
        passes.wait_for(|count| *count >= 1).await.expect("a pass");
    }
    let before = (*pipeline.borrow(), *mailroom.borrow());
    installation.hand.set_to(at("2025-02-01T12:00:00Z"));
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        pipeline.wait_for(|count| *count > before.0).await.expect("a pass");
        mailroom.wait_for(|count| *count > before.1).await.expect("a pass");
    });
    waited.await.expect("nobody waits for yesterday's tomorrow");
    supervisor.stop_token().cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_over_a_slow_server_send_once_and_a_lost_lease_twice_at_most() {
    let (mail, url) = (Mail::start("answer", 4), database().await);
    let one = Installation::over(url.clone(), &mail.config(), "2025-02-02T01:00:00Z").await;
    let two = Installation::over(url, &mail.config(), "2025-02-02T01:00:00Z").await;
    let pool = one.pool().await;
    queue(&pool, 1, 2).await;
    for installation in [&one, &two] {
        installation.hand.set_to(Utc::now());
    }
    let context = one.context();
    let sending = tokio::spawn(async move { Job::Notify.run(&context).await });
    mail.wait_for_hold("answer");
    assert_eq!(
        Job::Notify.run(&two.context()).await,
        Outcome::Idle,
        "the other holds the lease, however slow the server"
    );
    assert_eq!(mail.taken().len(), 1);
    // The holder seems dead: the other takes over while the first still waits for its answer.
    sqlx::query("update lease set expires_at = '-infinity'").execute(&pool).await.expect("leases");
    let context = two.context();
    let taking_over = tokio::spawn(async move { Job::Notify.run(&context).await });
    eventually("the mail to be sent again", || (mail.taken().values().sum::<usize>() == 2).then_some(()));
    mail.turn("take");
    assert_eq!(taking_over.await.expect("it runs"), Outcome::Done);
    let _ = sending.await.expect("it runs");
    assert_eq!(count(&pool, "sent_at is not null").await, 2);
    let taken = mail.taken();
    assert_eq!(taken.len(), 2, "{taken:?}");
    assert!(taken.values().all(|times| *times <= 2), "{taken:?}");
    assert_eq!(audited(&one, "notice dead").await.len(), 0);
}

#[test]
fn an_email_route_without_a_way_is_refused() {
    let parse = |text: &str| {
        let folder = Path::new("/");
        dosimeter::config::parse(text, folder, &|_| None)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    let people = route("people", "email", "to = [\"on-call@hospital.example\"]");
    for text in [config(&people), config("to = [\"on-call@hospital.example\"]\n")] {
        let problem = parse(&text).expect_err("emails would go nowhere");
        assert!(problem.contains("[notify.smtp]") && problem.contains("directory"), "{problem}");
    }
    let escalation = config("") + "[[alerting.escalation]]\nafter = \"4h\"\nto = [\"head@hospital.example\"]\n";
    assert!(parse(&escalation).expect_err("nobody could be told").contains("emails would go nowhere"));
    assert!(parse(&config(&("directory = \"emails\"\n".to_owned() + &people))).is_ok());
    assert!(parse(&config("")).is_ok(), "nobody is told, and nobody expects it");
}
