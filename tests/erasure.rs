//! Every row is a leaf of its batch, so a change shows; and a person can be erased without one showing.

use std::io::Write as _;

use dosimeter::erasure::{Who, erase, find};
use dosimeter::job::replay::{Obstacle, Verdict, replay};
use dosimeter::metric::CALCULATOR_VERSION;
use dosimeter::person::Person;
use dosimeter::store::identifier::IdKind;
use dosimeter::store::rows::Knowledge;
use dosimeter::verify::{Depth, Report, verify};

use crate::delivery::audited;
use crate::support::{Installation, SMALL, at, binary, database, give_away, value, window};

pub async fn verified(installation: &Installation) -> Report {
    Box::pin(verify(&installation.context().store, Depth::Full)).await.expect("the database can be read")
}

pub async fn assert_sound(installation: &Installation, when: &str) {
    let report = verified(installation).await;
    assert!(report.is_sound(), "{when}: {:#?}", report.breaches);
}

pub async fn execute(installation: &Installation, statement: &str) -> u64 {
    let done = sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&installation.pool().await).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}")).rows_affected()
}

fn config() -> String {
    SMALL.replacen("columns = { case = \"study\",", "columns = { case = \"study\", subject = \"patient\",", 1)
}

const PREDICTIONS: &str = "study,patient,at,effusion,nodule,site,sex\n\
    S1,P7,2025-02-01T08:00:00Z,0.9,0.1,north,F\nS2,P7,2025-02-02T09:00:00Z,0.4,0.2,north,F\n\
    S3,P8,2025-02-01T10:00:00Z,0.3,0.3,south,M\nS4,,2025-02-02T10:00:00Z,0.8,0.4,south,M\n\
    S5,P7,2025-02-02T11:00:00Z,high,0.4,south,M\nS6,P9,2025-02-02T11:00:00Z,high,0.4,south,M\n";
const TRUTH: &str = "study,finding,value,at\nS1,effusion,1,2025-02-03\nS2,effusion,0,2025-02-03\n\
    S3,effusion,0,2025-03-03\nS4,nodule,1,2025-02-03\nS9,nodule,1,2025-02-03\n";

/// An installation with two batches of rows, one of which says more of some.
async fn filled() -> Installation {
    let narrow = config().replace("{ name = \"effusion\" }, { name = \"nodule\" }", "{ name = \"effusion\" }");
    let installation = Installation::new(&narrow, "2025-03-04").await;
    installation.write("predictions/1.csv", PREDICTIONS);
    installation.pass().await;
    let plan = crate::support::plan(&config(), installation.folder.path(), &installation.url);
    Box::pin(dosimeter::app::take_up(&installation.app.context, plan)).await.expect("the plan is taken up");
    installation.write("truth/1.csv", TRUTH);
    installation.pass().await;
    installation
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_altered_deleted_or_slipped_in_is_named() {
    let installation = filled().await;
    let report = verified(&installation).await;
    assert!(report.is_sound(), "{:#?}", report.breaches);
    let superseded: i64 = sqlx::query_scalar("select count(*) from prediction where until_batch is not null")
        .fetch_one(&installation.pool().await)
        .await
        .expect("a count");
    assert_eq!((superseded, report.checked["prediction"], report.checked["assertion"]), (4, 8, 5));
    for table in ["batch", "record_key", "rejection", "identifier"] {
        assert!(report.checked[table] > 0, "{table}");
    }
    let tables = ["prediction", "assertion", "record_key", "rejection", "identifier", "batch", "batch_counter"];
    for table in tables {
        execute(&installation, &format!("create table kept_{table} as table {table}")).await;
    }
    let tampers = [
        ("prediction", "update prediction set scores[1] = scores[1] + 1e-12 where case_id = (select min(case_id) from prediction)"),
        ("prediction", "update prediction set attributes = attributes || '{\"site\": \"east\"}' where until_batch is not null"),
        ("prediction", "update prediction set subject_id = null where subject_id is not null"),
        ("prediction", "update prediction set occurred_at = occurred_at + interval '1 microsecond'"),
        ("prediction", "update prediction set embedding = '{}'"),
        ("prediction", "update prediction set record_id = record_id || 'x' where until_batch is not null"),
        ("prediction", "update prediction set scores = scores || 0.5::float8"),
        ("prediction", "update prediction set salt = salt || '\\x00'"),
        ("prediction", "update prediction set until_batch = null"),
        ("prediction", "update prediction set batch_id = 1000 where until_batch is null"),
        ("prediction", "delete from prediction where until_batch is not null"),
        ("record_key", "delete from prediction where until_batch is null"),
        (
            "prediction",
            "insert into prediction (case_id, record_id, version_id, occurred_at, output_ids, scores, attributes, batch_id, salt)
            select case_id, 'new', version_id, occurred_at, output_ids, scores, attributes, batch_id, salt
            from prediction where until_batch is null limit 1",
        ),
        ("assertion", "update assertion set opinion = 'uncertain' where truth_id = 1"),
        ("assertion", "update assertion set reader = 'somebody'"),
        ("assertion", "update assertion set observed_at = observed_at - interval '1 day'"),
        ("assertion", "with gone as (delete from assertion where true returning *) delete from record_key where kind = 2"),
        ("assertion", "delete from record_key where kind = 2"),
        ("prediction", "update record_key set digest = sha256('') where kind = 1"),
        ("record_key", "update record_key set occurred_at = occurred_at + interval '1 day'"),
        ("rejection", "update rejection set message = 'harmless'"),
        ("rejection", "update rejection set payload = '{}'"),
        ("rejection", "update rejection set record = record || '\\x00' where record is not null"),
        ("rejection", "delete from rejection where rejection_id = (select max(rejection_id) from rejection)"),
        ("identifier", "delete from identifier where kind = 2"),
        ("identifier", "update identifier set sealed = (select sealed from identifier where kind = 2 limit 1)"),
        ("batch", "update batch set accepted = accepted + 1 where batch_id = 1"),
        ("batch", "update batch set committed_at = committed_at - interval '1 second' where batch_id = 2"),
        ("batch", "update batch set parts = '[]' where batch_id = 1"),
        ("batch", "update batch set hash = sha256(hash), previous_hash = sha256(previous_hash) where batch_id = 2"),
        ("batch", "delete from batch where batch_id = 1"),
        ("batch", "delete from batch where batch_id = (select max(batch_id) from batch)"),
        ("batch", "update batch_counter set head = sha256(head)"),
    ];
    for (relation, tamper) in tampers {
        assert!(execute(&installation, tamper).await > 0, "{tamper} changes something");
        let report = verified(&installation).await;
        assert!(report.breaches.iter().any(|breach| breach.relation == relation), "{tamper}: {:#?}", report.breaches);
        for table in tables {
            execute(&installation, &format!("delete from {table}")).await;
            let overriding = if table == "rejection" { "overriding system value" } else { "" };
            execute(&installation, &format!("insert into {table} {overriding} table kept_{table}")).await;
        }
    }
    assert_sound(&installation, "all is undone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_erased_everywhere_and_everything_still_adds_up() {
    let installation = filled().await;
    let context = installation.context();
    let who = Who::of_id(&context.pseudonyms, IdKind::Subject, "P7");
    let cases = ["S1", "S2"].map(|id| context.pseudonyms.case(id));
    let days = window("2025-02-01", "2025-02-03");
    let before = installation.ask("effusion", "all", days, Knowledge::default()).await;
    assert_eq!((value(&before, "predictions"), value(&before, "labelled")), (4.0, 3.0));
    let estimates = installation.count("estimate").await;

    let (doomed, counts) = Box::pin(find(&context, &who)).await.expect("found");
    assert_eq!(doomed.cases.len(), 2);
    let of = |table: &str| counts[table];
    assert_eq!(
        (of("prediction"), of("assertion"), of("record_key"), of("rejection"), of("identifier")),
        (4, 2, 4, 1, 3)
    );
    let person = Person::new("Dr Example", "the patient asked").expect("a person");
    let erased = Box::pin(erase(&context, &who, &person)).await.expect("erased").expect("there was something");
    assert_eq!((&erased.counts, erased.leaves), (&counts, 10));
    assert_sound(&installation, "after the erasure").await;

    // Nowhere does the person stand any more, nor do the proofs and the audit say who it was.
    let mut tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace",
    )
    .fetch_all(&installation.pool().await)
    .await
    .expect("tables");
    tables.sort_unstable();
    assert!(tables.len() > 40, "{tables:?}");
    for table in tables {
        let query = format!("select coalesce(string_agg({table}::text, ' '), '') from {table}");
        let text: String =
            sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&installation.pool().await).await.expect("text");
        for name in cases.iter().chain([&who.pseudonym]) {
            assert!(!text.contains(name.as_str()), "{table}: {text}");
        }
    }
    let noted = audited(&installation, "erased").await;
    assert_eq!((noted.len(), noted[0].0.as_str(), noted[0].2.as_str()), (1, "Dr Example", "the patient asked"));
    assert_eq!((&noted[0].3["rows"]["prediction"], &noted[0].3["leaves"]), (&4.into(), &10.into()));

    // What was published stands; what is published from now on is without them.
    installation.pass().await;
    let after = installation.ask("effusion", "all", days, Knowledge::default()).await;
    assert_eq!((value(&after, "predictions"), value(&after, "labelled"), after.read_from), (2.0, 1.0, "summaries"));
    assert!(installation.count("estimate").await > estimates);

    // What was published with them cannot be made again, and says why; the rest can.
    let sample = context.store.sample_estimates(500, CALCULATOR_VERSION).await.expect("estimates");
    let replayed = Box::pin(replay(&context, sample)).await.expect("replays");
    for one in &replayed {
        match &one.verdict {
            Verdict::Cannot(Obstacle::Erased(_)) => assert!(one.stored.recorded < erased.batch),
            verdict => assert_eq!(verdict, &Verdict::Agrees),
        }
    }
    let agreeing = replayed.iter().filter(|one| one.verdict == Verdict::Agrees).count();
    assert!(0 < agreeing && agreeing < replayed.len(), "{agreeing} of {}", replayed.len());

    // The same export brings nobody back, and says so.
    installation.write("predictions/again.csv", PREDICTIONS.to_owned() + "S4,,2025-02-02T10:00:00Z,0.8,0.4,south,M\n");
    installation.write("truth/again.csv", TRUTH.to_owned() + "S4,nodule,1,2025-02-03\n");
    installation.pass().await;
    let refused: Vec<(String, i64)> = sqlx::query_as(
        "select source, count(*) from rejection where reason = 'erased' and payload = '{}' and record is null group by 1 order by 1",
    )
    .fetch_all(&installation.pool().await)
    .await
    .expect("rejections");
    assert_eq!(refused, [("predictions".to_owned(), 2), ("reports".to_owned(), 2)]);
    let (doomed, counts) = Box::pin(find(&context, &who)).await.expect("found");
    assert!(doomed.cases.is_empty());
    assert_eq!(counts.iter().filter(|(table, _)| **table != "rejection").map(|(_, rows)| rows).sum::<u64>(), 0);

    // A second time there is what was refused at the door meanwhile, and a third time nothing. A later examination is another matter.
    let again = Box::pin(erase(&context, &who, &person)).await.expect("erased");
    assert_eq!(again.map(|erased| erased.counts["rejection"]), Some(1));
    assert_eq!(Box::pin(erase(&context, &who, &person)).await.expect("answers"), None);
    installation.hand.turn_to(at("2025-03-20"));
    installation
        .write("predictions/new.csv", "study,patient,at,effusion,nodule,site,sex\nS77,P7,2025-03-19,0.5,0.5,north,F\n");
    installation.pass().await;
    let (doomed, _) = Box::pin(find(&context, &who)).await.expect("found");
    assert_eq!(doomed.cases, [context.pseudonyms.case("S77")]);
    assert_sound(&installation, "after all").await;

    // A leaf that is slipped in to cover a deletion shows.
    execute(&installation, "update erased_leaf set leaf = sha256(leaf) where relation = 'assertion'").await;
    let report = verified(&installation).await;
    let relations: Vec<&str> = report.breaches.iter().map(|breach| breach.relation).collect();
    assert!(relations.contains(&"assertion") && relations.contains(&"erasure"), "{:#?}", report.breaches);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_tells_first_takes_ids_from_the_standard_input_and_has_codes_for_programs() {
    let (folder, url) = (tempfile::tempdir().expect("a folder"), database().await);
    let text = format!("[service]\ndata_dir = \"data\"\n{}", config());
    for (name, content) in [("config.toml", text.as_str()), ("predictions/1.csv", PREDICTIONS), ("truth/1.csv", TRUTH)]
    {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }
    give_away(&[folder.path()]);
    let run = |arguments: &[&str], input: &str| {
        let mut command = binary();
        command.env("DATABASE_URL", &url).args(arguments).arg("--config").arg(folder.path().join("config.toml"));
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().expect("the program runs");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("the program ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let (code, told) = run(&["import"], "");
    assert_eq!(code, Some(0), "{told}");
    let erase = ["erase", "--subject-id-file", "-", "--by", "Dr Example", "--reason", "asked"];
    let (code, told) = run(&erase, "P7\n");
    assert!(code == Some(0) && told.contains("nothing has been erased") && !told.contains("P7"), "{told}");
    let words = |told: &str| told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&told).contains("prediction 2"), "{told}");
    let (code, told) = run(&[&erase[..], &["--yes"]].concat(), "P7\n");
    assert!(code == Some(0) && told.contains("erased: erasure 1"), "{told}");
    let (code, told) = run(&[&erase[..], &["--yes"]].concat(), "P7\n");
    assert!(code == Some(3) && told.contains("nothing is kept"), "{told}");
    let (code, told) = run(&["erase", "--by", "a", "--reason", "b"], "");
    assert!(code == Some(2) && told.contains("--subject"), "{told}");
    let (code, told) = run(&["retain", "--dry-run"], "");
    assert!(code == Some(0) && told.contains("retention.rows is not set"), "{told}");
}
