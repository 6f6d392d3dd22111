//! Not a test: `make fleet` fills a store with ten models of ten outputs in twenty slices and two years of daily estimates, asks the
//! API and the console as people do, and prints the times, what `/metrics` costs, and the disk that a stream takes in a year.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use dosimeter::access::Role;
use dosimeter::job::Job;

use crate::http::token;
use crate::lifecycle::serve;
use crate::support::{Installation, at};

const MODELS: usize = 10;
const OUTPUTS: usize = 10;
const SITES: usize = 19;
/// Cases of each model and site.
const CASES: usize = 12;
/// How often each address is asked.
const TIMES: usize = 100;

/// The day whose estimates are those of every later day.
const FILLED_FROM: &str = "2023-03-16T01:00:00Z";

/// Days of history; `DOSIMETER_FLEET_DAYS` for fewer.
fn days() -> i64 {
    std::env::var("DOSIMETER_FLEET_DAYS").ok().and_then(|days| days.parse().ok()).unwrap_or(730)
}

fn config() -> String {
    let mut text = String::new();
    for model in 0..MODELS {
        let outputs: Vec<String> = (0..OUTPUTS).map(|output| format!("{{ name = \"finding-{output}\" }}")).collect();
        let _ = write!(
            text,
            "[[model]]\nname = \"model-{model}\"\nminimum_n = 0\nthresholds = [0.5]\nwindows = [\"30d\"]\noutput = [{}]\n\
            dimension = [{{ name = \"site\" }}]\n\n\
            [[model.watch]]\nname = \"sensitivity\"\nmeasure = \"sensitivity\"\nslice = \"site=*\"\nthreshold = 0.5\nlimit = 0.85\n\n\
            [[model.alert]]\nname = \"auroc\"\nmetric = \"auroc\"\nbelow = 0.99\nbound = \"value\"\nwindow = \"30d\"\nslice = \"all\"\n\n",
            outputs.join(", ")
        );
    }
    for model in 0..MODELS {
        for (record, columns) in [
            ("predictions", "{ case = \"study\", occurred_at = \"at\" }\nconstants = { version = \"1\" }"),
            ("assertions", "{ case = \"study\", observed_at = \"at\" }\nconstants = { source = \"report\" }"),
        ] {
            let _ = write!(
                text,
                "[[source]]\nmodel = \"model-{model}\"\nname = \"{record}-{model}\"\nrecord = \"{record}\"\nlayout = \"wide\"\n\
                paths = [\"{record}/{model}\"]\nsettle = \"0s\"\ncolumns = {columns}\n\n"
            );
        }
    }
    text
}

fn files(installation: &Installation) {
    let outputs: Vec<String> = (0..OUTPUTS).map(|output| format!("finding-{output}")).collect();
    for model in 0..MODELS {
        let mut predictions = format!("study,at,site,{}\n", outputs.join(","));
        let mut truth = format!("study,at,{}\n", outputs.join(","));
        for case in 0..SITES * CASES {
            let seed = |output: usize| (case * 7919 + model * 104_729 + output * 1299) % 1009;
            let scores: Vec<String> = (0..OUTPUTS).map(|output| format!("0.{:04}", seed(output) * 9)).collect();
            let truths: Vec<String> =
                (0..OUTPUTS).map(|output| u8::from((seed(output) + case) % 5 > 2).to_string()).collect();
            let _ = writeln!(predictions, "{model}-{case},2023-03-01T10:00:00Z,s{},{}", case % SITES, scores.join(","));
            let _ = writeln!(truth, "{model}-{case},2023-03-01T20:00:00Z,{}", truths.join(","));
        }
        installation.write(&format!("predictions/{model}/1.csv"), predictions);
        installation.write(&format!("assertions/{model}/1.csv"), truth);
    }
}

/// The same estimates on every later day.
async fn fill(installation: &Installation) {
    let pool = installation.pool().await;
    let statements = [
        format!(
            "insert into estimate (version_id, output_id, slice, window_name, window_from, window_to, known_at, recorded, plan_id,
                reference_id, input_digest, calculator, metrics, estimated_at, seal_id)
            select version_id, output_id, slice, window_name, window_from + d, window_to + d, known_at + d, recorded, plan_id,
                reference_id, input_digest, calculator, metrics, estimated_at + d, seal_id
            from (select n, make_interval(days => n) as d from generate_series(1, {}) n) days,
                estimate where estimate_id in (select estimate_id from current_estimate) order by n",
            days() - 1
        ),
        "update current_estimate c set estimate_id = last.estimate_id from (select version_id, window_name, output_id, slice,
            max(estimate_id) as estimate_id from estimate group by 1, 2, 3, 4) last
        where (c.version_id, c.window_name, c.output_id, c.slice) = (last.version_id, last.window_name, last.output_id, last.slice)"
            .to_owned(),
        format!(
            "insert into evidence (stream_id, tier, day, evidence, weight, threshold, change_at, alarms, state, looked_at, seal_id)
            select stream_id, tier, d, 1 + (stream_id * 31 + n * 17) % 900, weight, 1000, d - interval '9 days', false,
                json_build_object('days', n), d + interval '3 days', (select max(seal_id) from estimate)
            from (select n, timestamptz '2023-03-10Z' + make_interval(days => n) as d from generate_series(1, {}) n) days,
                stream_tier order by n",
            days() - 1
        ),
        "vacuum analyze".to_owned(),
    ];
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&pool).await.expect("filled");
    }
    let (streams, rows, bytes): (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from current_estimate), (select count(*) from estimate), pg_total_relation_size('estimate')",
    )
    .fetch_one(&pool)
    .await
    .expect("sizes");
    let (points, of_evidence): (i64, i64) =
        sqlx::query_as("select (select count(*) from evidence), pg_total_relation_size('evidence')")
            .fetch_one(&pool)
            .await
            .expect("sizes");
    println!("{points} days of evidence, {} MiB", of_evidence >> 20);
    let per_year = bytes / rows * 365;
    println!(
        "{streams} streams, {rows} estimates, {} MiB: {} KiB for a stream and year of daily estimates",
        bytes >> 20,
        per_year >> 10
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn how_fast_a_fleet_is_read() {
    let installation = Installation::new(&config(), "2023-03-02T01:00:00Z").await;
    files(&installation);
    Box::pin(installation.pass()).await;
    // By then the cases have come of age, and are sealed and watched.
    installation.hand.turn_to(at(FILLED_FROM));
    Box::pin(installation.pass()).await;
    let began = Instant::now();
    fill(&installation).await;
    println!("filled in {:?}", began.elapsed());
    let now = at(FILLED_FROM) + chrono::TimeDelta::days(days() - 1);
    installation.hand.turn_to(now);
    let context = installation.context();
    let began = Instant::now();
    Job::Publish.run(&context).await;
    let published = began.elapsed();
    let began = Instant::now();
    let text = context.exporter.render().expect("text");
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    println!("publish {published:?}; /metrics of {series} series in {:?}", began.elapsed());
    let port = serve(&installation).await;
    let (_, secret) = token(&installation, "reader", &[Role::Audit], None).await;
    let client = reqwest::Client::new();
    let day = |ago: i64| (now - chrono::TimeDelta::days(ago)).format("%Y-%m-%d").to_string();
    println!("{:<74} {:>9} {:>9} {:>9}", "address", "p50 ms", "p99 ms", "KiB");
    for path in [
        "/api/v1/models".to_owned(),
        "/api/v1/versions".to_owned(),
        "/api/v1/estimates?limit=100".to_owned(),
        "/api/v1/estimates?model=model-#&output=finding-#&slice=site%3Ds#&window=30d&limit=100".to_owned(),
        "/api/v1/estimates?output=finding-#&limit=100".to_owned(),
        "/api/v1/series?model=model-#&output=finding-#&window=30d&limit=100".to_owned(),
        "/api/v1/series?model=model-#&output=finding-#&window=30d&metric=auroc&limit=1000".to_owned(),
        format!("/api/v1/series?model=model-#&output=finding-#&window=30d&metric=auroc&limit=1000&as_of={}", day(300)),
        "/api/v1/alerts?limit=100".to_owned(),
        format!("/api/v1/alerts?limit=100&as_of={}", day(300)),
        "/api/v1/coverage?model=model-#&output=finding-#&from=2023-02-01&to=2023-04-01".to_owned(),
        "/api/v1/query?model=model-#&output=finding-#&from=2023-02-01&to=2023-03-03".to_owned(),
        "/console".to_owned(),
        format!("/console?as_of={}", day(300)),
        "/console/models/model-#".to_owned(),
        "/console/models/model-#?output=finding-#&slice=site%3Ds#".to_owned(),
        format!("/console/models/model-#?as_of={}", day(300)),
        "/console/alerts".to_owned(),
        "/console/alerts/1".to_owned(),
        "/console/health".to_owned(),
        "/console/sources".to_owned(),
        "/console/rejections".to_owned(),
        "/console/plan".to_owned(),
        "/console/audit".to_owned(),
    ] {
        let mut times = Vec::new();
        let mut bytes = 0;
        for round in 0..TIMES {
            let address = path.replace('#', &(round % MODELS).to_string());
            let began = Instant::now();
            let request = client.get(format!("http://127.0.0.1:{port}{address}")).bearer_auth(&secret);
            let answer = request.send().await.expect("an answer");
            let status = answer.status().as_u16();
            bytes = answer.bytes().await.expect("a body").len();
            times.push(began.elapsed());
            if status != 200 {
                println!("{address}: {status}");
                break;
            }
        }
        times.sort_unstable();
        let ms = |of: usize| (times[(times.len() * of).div_ceil(100).max(1) - 1]).as_secs_f64() * 1e3;
        println!("{path:<74} {:>9.1} {:>9.1} {:>9}", ms(50), ms(99), bytes >> 10);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
