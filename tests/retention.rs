//! Rows go by months; what was known of them is still answered, and every batch still adds up. And all of it survives a restore.

use std::collections::BTreeSet;

use dosimeter::domain::Slice;
use dosimeter::erasure::{Who, erase};
use dosimeter::job::Job;
use dosimeter::job::replay::replay;
use dosimeter::metric::CALCULATOR_VERSION;
use dosimeter::person::Person;
use dosimeter::query::{Question, ask};
use dosimeter::runtime::Outcome;
use dosimeter::store::identifier::IdKind;
use dosimeter::store::rows::Knowledge;

use crate::delivery::audited;
use crate::erasure::{assert_sound, execute, verified};
use crate::support::{Installation, SMALL, at, database, said, server_url, tool, window};

fn config() -> String {
    let patient =
        SMALL.replacen("columns = { case = \"study\",", "columns = { case = \"study\", subject = \"patient\",", 1);
    patient.replacen("constants = { version = \"1\" }", "", 1).replacen(
        "subject = \"patient\",",
        "subject = \"patient\", version = \"v\",",
        1,
    ) + "\n[retention]\nrows = \"62d\"\n"
}

const HEADER: &str = "study,patient,v,at,effusion,nodule,site,sex\n";

/// A winter of examinations, one of which is judged again by a later version, and truth that comes while they are there.
async fn filled() -> Installation {
    let installation = Installation::new(&config(), "2025-03-10").await;
    let mut rows = HEADER.to_owned();
    for (number, day) in ["2025-01-10", "2025-01-20", "2025-02-05", "2025-02-25", "2025-03-02"].iter().enumerate() {
        for part in 0..3 {
            let study = number * 3 + part;
            rows.push_str(&format!("S{study},P{number},1,{day}T08:00:00Z,0.{study:02},0.5,north,F\n"));
        }
    }
    installation.write("predictions/winter.csv", rows + "S99,P99,1,2025-01-11,high,0.5,north,F\n");
    let truth = (0..15).map(|study| format!("S{study},effusion,{},2025-03-0{}\n", study % 2, study % 9 + 1));
    installation.write("truth/winter.csv", "study,finding,value,at\n".to_owned() + &truth.collect::<String>());
    // Truth of nothing, which waits for ever.
    installation.write("truth/waits.csv", "study,finding,value,at\nS500,effusion,1,2025-01-05\n");
    installation.pass().await;
    installation.write("predictions/2.csv", HEADER.to_owned() + "S0,P0,2,2025-03-09T08:00:00Z,0.7,0.5,north,F\n");
    installation.pass().await;
    installation
}

/// What comes of replaying estimates, each verdict once.
async fn replayed(installation: &Installation) -> Vec<String> {
    let context = installation.context();
    let sample = context.store.sample_estimates(500, CALCULATOR_VERSION).await.expect("estimates");
    assert!(sample.len() > 10);
    let replayed = Box::pin(replay(&context, sample)).await.expect("replays");
    let verdicts: BTreeSet<String> =
        replayed.iter().map(|one| one.verdict.as_str().to_owned() + &one.verdict.words()).collect();
    verdicts.into_iter().collect()
}

async fn erased(installation: &Installation, kind: IdKind, id: &str) {
    let context = installation.context();
    let who = Who::of_id(&context.pseudonyms, kind, id);
    let person = Person::new("Dr Example", "asked").expect("a person");
    Box::pin(erase(&context, &who, &person)).await.expect("erased").expect("there was something");
}

fn question(slice: &str, from: &str, to: &str) -> Question {
    Question {
        model: "chest-xray".to_owned(),
        version: Some("1".to_owned()),
        output: "effusion".to_owned(),
        slice: slice.parse::<Slice>().expect("a slice"),
        window: window(from, to),
        knowledge: Knowledge::default(),
        thresholds: Vec::new(),
        reference_id: None,
        most_rows: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_go_by_months_and_what_was_known_of_them_is_still_answered() {
    let installation = filled().await;
    let context = installation.context();
    let winter = question("site=north", "2025-01-01", "2025-03-01");
    let both = question("all", "2025-01-15", "2025-03-05");
    let before = [
        Box::pin(ask(&context, &winter)).await.expect("an answer"),
        Box::pin(ask(&context, &both)).await.expect("an answer"),
    ];
    let estimates = installation.count("estimate").await;
    assert_eq!(replayed(&installation).await, ["agrees"]);
    assert_eq!(Box::pin(Job::Retain.run(&context)).await, Outcome::Idle, "nothing is old enough");

    // Sixty-two days before 15 May is 14 March: January and February go.
    installation.hand.turn_to(at("2025-05-15"));
    assert_eq!(Box::pin(Job::Retain.run(&context)).await, Outcome::Done);
    assert_sound(&installation, "after retention").await;
    let counts = ["prediction", "assertion", "record_key"];
    let mut kept = Vec::new();
    for table in counts {
        kept.push(installation.count(table).await);
    }
    // Three studies of March, and the one that was judged again, with its truth.
    assert_eq!(kept, [4, 4, 8]);
    let partitions: i64 = sqlx::query_scalar(
        "select count(*) from pg_class where relname in ('prediction_2025_01', 'prediction_2025_02')",
    )
    .fetch_one(&installation.pool().await)
    .await
    .expect("a count");
    assert_eq!(partitions, 0);
    let identifiers: Vec<i64> = sqlx::query_scalar("select count(*) from identifier group by kind order by kind")
        .fetch_all(&installation.pool().await)
        .await
        .expect("counts");
    assert_eq!(identifiers, [4, 2], "what nothing is kept of has no name either");
    let runs = audited(&installation, "rows retired").await;
    let months: Vec<&str> = runs.iter().map(|(_, subject, ..)| subject.as_str()).collect();
    assert_eq!(months, ["month 2025-01", "month 2025-02"]);
    assert_eq!(runs[0].3["rows"]["prediction"], 6);

    // The same questions have the same answers; estimates stand; what needs rows says that they are gone.
    let after = [
        Box::pin(ask(&context, &winter)).await.expect("an answer"),
        Box::pin(ask(&context, &both)).await.expect("an answer"),
    ];
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((said(before), after.read_from), (said(after), "pins"));
    }
    assert_eq!(installation.count("estimate").await, estimates);
    // Every estimate can be made again from what was pinned, bit for bit.
    assert_eq!(replayed(&installation).await, ["agrees"]);
    assert!(installation.count("pinned_input").await > 0);
    let tamper = "update pinned_body set body = body || '\\x00' where digest = (select digest from pinned_body order by digest limit 1)";
    execute(&installation, tamper).await;
    let found = verified(&installation).await;
    assert!(found.breaches.iter().any(|breach| breach.relation == "pinned_body"), "{:#?}", found.breaches);
    execute(
        &installation,
        "update pinned_body set body = substring(body from 1 for length(body) - 1)
        where digest = (select digest from pinned_body order by digest limit 1)",
    )
    .await;
    for gone in [
        question("site=north & sex=F & v=1", "2025-01-01", "2025-03-01"),
        question("all", "2025-01-01T12:00:00Z", "2025-03-01"),
        Question { knowledge: Knowledge { known_at: Some(at("2025-03-01")), recorded: None }, ..winter.clone() },
        Question { knowledge: Knowledge { known_at: None, recorded: Some(1) }, ..winter.clone() },
    ] {
        let told =
            Box::pin(ask(&context, &gone)).await.map(|answer| said(&answer)).expect_err("rows are gone").to_string();
        assert!(told.contains("gone (retention.rows)") || told.contains("no case has an attribute"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_truth_of_what_is_gone_is_refused_and_all_adds_up_until_all_is_gone() {
    let installation = filled().await;
    installation.hand.turn_to(at("2025-05-15"));
    assert_eq!(Box::pin(Job::Retain.run(&installation.context())).await, Outcome::Done);
    // Late truth, and the old export: counted refusals. What is about the case that was judged again is welcome.
    installation
        .write("truth/late.csv", "study,finding,value,at\nS4,effusion,0,2025-05-10\nS0,effusion,0,2025-05-10\n");
    installation.write("predictions/old.csv", HEADER.to_owned() + "S4,P1,1,2025-01-20T08:00:00Z,0.04,0.5,north,F\n");
    installation.pass().await;
    let refused = installation.rejections().await.into_iter().filter(|(.., reason)| reason == "frozen");
    let refused: Vec<(String, i64)> = refused.map(|(origin, line, _)| (origin, line)).collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert_eq!(installation.count("assertion").await, 5);
    assert_sound(&installation, "after late truth").await;
    let exposed = installation.context().exporter.render().expect("text");
    for line in [
        "dosimeter_rows_retired_total{table=\"prediction\"} 12",
        "dosimeter_frozen_before_timestamp_seconds 1740787200",
    ] {
        assert!(exposed.contains(line), "{line}");
    }

    // Refused records go by age, the next month goes, and somebody of what is left is erased: it all still adds up.
    installation.hand.turn_to(at("2025-06-10"));
    installation.pass().await;
    assert_eq!(installation.count("prediction").await, 0);
    assert_eq!(installation.count("assertion").await, 0);
    assert_sound(&installation, "when all is gone").await;
    installation.write("predictions/june.csv", HEADER.to_owned() + "S70,P0,2,2025-06-09T08:00:00Z,0.7,0.5,north,F\n");
    installation.pass().await;
    erased(&installation, IdKind::Subject, "P0").await;
    installation.hand.turn_to(at("2025-09-20"));
    installation.pass().await;
    assert_sound(&installation, "at the end").await;
    execute(&installation, "update retired_part set digest = sha256(digest)").await;
    let found = verified(&installation).await;
    assert!(found.breaches.iter().any(|breach| breach.relation == "retirement"), "{:#?}", found.breaches);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_shape_of_the_plan_leaves_pins_alone_and_says_so() {
    let installation = filled().await;
    installation.hand.turn_to(at("2025-05-15"));
    installation.pass().await;
    let pins = installation.count("pinned_summary").await;
    assert!(pins > 0);
    let other = config().replace("crossings = [\"site & sex\"]", "crossings = []");
    let plan = crate::support::plan(&other, installation.folder.path(), &installation.url);
    Box::pin(dosimeter::app::take_up(&installation.app.context, plan)).await.expect("the plan is taken up");
    installation.pass().await;
    assert_eq!(installation.count("pinned_summary").await, pins);
    let winter = question("all", "2025-01-01", "2025-03-01");
    let told =
        Box::pin(ask(&installation.context(), &winter)).await.map(|answer| said(&answer)).expect_err("another shape");
    assert!(told.to_string().contains("under a plan of another shape"), "{told}");
    let march = question("all", "2025-03-01", "2025-03-10");
    assert_eq!(Box::pin(ask(&installation.context(), &march)).await.expect("an answer").read_from, "summaries");
    assert_sound(&installation, "under the other plan").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_is_restored_verifies_and_answers_alike() {
    let installation = filled().await;
    installation.hand.turn_to(at("2025-05-15"));
    installation.pass().await;
    erased(&installation, IdKind::Case, "S13").await;
    installation.pass().await;
    let questions = [question("site=north", "2025-01-01", "2025-03-01"), question("all", "2025-03-01", "2025-03-10")];
    let mut before = Vec::new();
    for question in &questions {
        before.push(said(&Box::pin(ask(&installation.context(), question)).await.expect("an answer")));
    }

    let dump = installation.path("dosimeter.dump");
    let fresh = database().await;
    // What follows the question mark is for sqlx.
    let plain = |url: &str| url.split('?').next().unwrap_or_default().to_owned();
    assert_ne!(fresh, server_url());
    for (program, arguments) in [
        (
            "pg_dump",
            vec![
                "--format=custom".into(),
                "--file".into(),
                dump.clone().into_os_string(),
                plain(&installation.url).into(),
            ],
        ),
        (
            "pg_restore",
            vec!["--exit-on-error".into(), "--dbname".into(), plain(&fresh).into(), dump.clone().into_os_string()],
        ),
    ] {
        let done = std::process::Command::new(tool(program)).args(&arguments).output().expect("the program runs");
        assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let restored = Installation::over(fresh, &config(), "2025-05-15").await;
    let (old, new) = (verified(&installation).await, verified(&restored).await);
    assert!(new.is_sound(), "{:#?}", new.breaches);
    for (table, rows) in
        old.checked.iter().filter(|(table, _)| ["prediction", "assertion", "batch", "erased_leaf"].contains(table))
    {
        assert_eq!(new.checked.get(table), Some(rows), "{table}");
    }
    for (question, before) in questions.iter().zip(before) {
        assert_eq!(said(&Box::pin(ask(&restored.context(), question)).await.expect("an answer")), before);
    }
    // It goes on where the other one ended.
    restored.write("predictions/more.csv", HEADER.to_owned() + "S80,P80,1,2025-05-14T08:00:00Z,0.5,0.5,north,F\n");
    restored.pass().await;
    assert_sound(&restored, "after more").await;
}
