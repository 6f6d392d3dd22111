//! However the same records arrive, the same is known afterwards: twice, in another order, in pieces, in another format.

use std::fmt::Write as _;

use dosimeter::store::rows::Knowledge;

use crate::erasure::assert_sound;
use crate::support::{Installation, SMALL, said, value, window};

/// The files of a simulated department, small: `(name, header, rows)`.
pub fn department(cases: u64) -> (tempfile::TempDir, Vec<(String, String, Vec<String>)>) {
    let folder = tempfile::tempdir().expect("a folder");
    dosimeter::demo::simulate(folder.path(), &dosimeter::demo::Simulation { cases, ..Default::default() }, &|_| {})
        .expect("files can be written");
    let mut files = Vec::new();
    for kind in ["predictions", "truth"] {
        let mut entries: Vec<_> = std::fs::read_dir(folder.path().join(kind)).expect("a folder").flatten().collect();
        entries.sort_by_key(std::fs::DirEntry::path);
        for entry in entries {
            let text = std::fs::read_to_string(entry.path()).expect("a file");
            let mut lines = text.lines().map(str::to_owned);
            let header = lines.next().expect("a header");
            files.push((format!("{kind}/{}", entry.file_name().to_string_lossy()), header, lines.collect()));
        }
    }
    (folder, files)
}

/// The demo's plan on the files of `simulate`.
pub fn department_plan() -> String {
    dosimeter::demo::PLAN.replace("inbox/", "")
}

/// Everything that is known about a department, as text.
async fn everything(installation: &Installation) -> String {
    let mut all = String::new();
    for output in ["effusion", "pneumothorax", "nodule"] {
        for slice in ["all", "site=south", "age=>=65", "site=north & vendor=A"] {
            let asked = installation.ask(output, slice, window("2025-01-06", "2025-01-20"), Knowledge::default()).await;
            let _ = writeln!(all, "{output} {slice} {}", said(&asked));
        }
    }
    all
}

fn text(header: &str, rows: &[String]) -> String {
    let mut text = format!("{header}\n");
    rows.iter().for_each(|row| {
        let _ = writeln!(text, "{row}");
    });
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn order_pieces_and_repetition_change_no_bit() {
    let (_folder, files) = department(1500);
    let plan = department_plan();

    let plain = Installation::new(&plan, "2025-06-01").await;
    for (name, header, rows) in &files {
        plain.write(name, text(header, rows));
    }
    plain.pass().await;
    let expected = everything(&plain).await;
    assert!(expected.contains("auroc"));

    // All truth first, files backwards, rows backwards, in pieces of forty, a pass after every few files; then all again.
    let shuffled = Installation::new(&plan, "2025-06-01").await;
    for (index, (name, header, rows)) in files.iter().rev().enumerate() {
        let mut rows = rows.clone();
        rows.reverse();
        for (piece, rows) in rows.chunks(40).enumerate() {
            shuffled.write(&name.replace(".csv", &format!("-{piece}.csv")), text(header, rows));
        }
        if index % 5 == 0 {
            shuffled.pass().await;
        }
    }
    shuffled.pass().await;
    for (name, header, rows) in &files {
        shuffled.write(&name.replace('/', "/again-"), text(header, rows));
    }
    shuffled.pass().await;

    assert_eq!(everything(&shuffled).await, expected);
    for table in ["prediction", "assertion", "record_key", "rejection"] {
        assert_eq!(shuffled.count(table).await, plain.count(table).await, "{table}");
    }
    assert_eq!(plain.count("rejection").await, 0);
    assert_eq!(plain.count("prediction").await, 1500);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_says_the_same() {
    let header = "study,at,effusion,nodule,site,sex";
    let rows = [
        "a,2025-02-01T08:00:00Z,0.25,0.5,north,F",
        "b,2025-02-01T09:00:00Z,1e-3,,south,M",
        "c,2025-02-01T10:00:00Z,0.1,0.75,,",
    ];
    let csv = format!("{header}\n{}\n", rows.join("\n"));
    let ndjson: String = rows
        .iter()
        .map(|row| {
            let fields: Vec<&str> = row.split(',').collect();
            let number = |text: &str| text.parse::<f64>().map_or(serde_json::Value::Null, Into::into);
            let value = serde_json::json!({ "study": fields[0], "at": fields[1], "effusion": number(fields[2]),
                "nodule": number(fields[3]), "site": fields[4], "sex": fields[5] });
            format!("{value}\n")
        })
        .collect();
    let gz = |content: &str| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut writer, content.as_bytes()).expect("memory does not fail");
        writer.finish().expect("memory does not fail")
    };
    let zst = |content: &str| zstd::encode_all(content.as_bytes(), 1).expect("memory does not fail");
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("a.csv", csv.clone().into_bytes()),
        ("a.tsv", csv.replace(',', "\t").into_bytes()),
        ("a.ndjson", ndjson.clone().into_bytes()),
        ("a.csv.gz", gz(&csv)),
        ("a.csv.zst", zst(&csv)),
        ("a.ndjson.gz", gz(&ndjson)),
        ("a.jsonl.zst", zst(&ndjson)),
        ("a.parquet", parquet(&rows)),
    ];
    let mut said_first = None;
    for (name, content) in files {
        let installation = Installation::new(SMALL, "2025-03-01").await;
        installation.write(&format!("predictions/{name}"), content);
        installation.pass().await;
        assert_eq!(installation.rejections().await, [], "{name}");
        let asked = installation.ask("effusion", "all", window("2025-02-01", "2025-02-02"), Knowledge::default()).await;
        assert_eq!(value(&asked, "predictions"), 3.0, "{name}");
        assert_eq!(*said_first.get_or_insert_with(|| said(&asked)), said(&asked), "{name}");
    }
}

/// The rows as Parquet, with real types.
fn parquet(rows: &[&str]) -> Vec<u8> {
    use polars::prelude::*;
    let fields: Vec<Vec<&str>> = rows.iter().map(|row| row.split(',').collect()).collect();
    let texts =
        |index: usize| fields.iter().map(|row| Some(row[index]).filter(|text| !text.is_empty())).collect::<Vec<_>>();
    let numbers = |index: usize| fields.iter().map(|row| row[index].parse::<f64>().ok()).collect::<Vec<_>>();
    let instants: Vec<i64> = fields.iter().map(|row| crate::support::at(row[1]).timestamp_micros()).collect();
    let at =
        Series::new("at".into(), instants).cast(&DataType::Datetime(TimeUnit::Microseconds, None)).expect("instants");
    let columns = vec![
        Column::new("study".into(), texts(0)),
        at.into_column(),
        Column::new("effusion".into(), numbers(2)),
        Column::new("nodule".into(), numbers(3)),
        Column::new("site".into(), texts(4)),
        Column::new("sex".into(), texts(5)),
    ];
    let mut frame = DataFrame::new(rows.len(), columns).expect("a frame");
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut frame).expect("memory does not fail");
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn wide_and_long_say_the_same() {
    let long = SMALL
        .replace("[[source]]\nname = \"predictions\"", "[[source]]\nlayout = \"long\"\nname = \"predictions\"")
        .replace(
            "columns = { case = \"study\", occurred_at = \"at\" }",
            "columns = { case = \"study\", occurred_at = \"at\", output = \"output\", score = \"p\" }",
        );
    let wide = Installation::new(SMALL, "2025-03-01").await;
    wide.write(
        "predictions/a.csv",
        "study,at,effusion,nodule,site,sex\na,2025-02-01,0.25,0.5,north,F\nb,2025-02-01,0.75,,south,M\n",
    );
    let tall = Installation::new(&long, "2025-03-01").await;
    tall.write(
        "predictions/a.csv",
        "study,at,output,p,site,sex\na,2025-02-01,nodule,0.5,north,F\nb,2025-02-01,effusion,0.75,south,M\na,2025-02-01,effusion,0.25,north,F\n",
    );
    for installation in [&wide, &tall] {
        installation.write("truth/a.csv", "study,finding,value,at\na,effusion,1,2025-02-03\nb,effusion,0,2025-02-03\n");
        installation.pass().await;
        assert_eq!(installation.rejections().await, []);
    }
    for output in ["effusion", "nodule"] {
        let asked = window("2025-02-01", "2025-02-02");
        let (wide, tall) = (
            wide.ask(output, "all", asked, Knowledge::default()).await,
            tall.ask(output, "all", asked, Knowledge::default()).await,
        );
        assert_eq!(said(&wide), said(&tall));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_under_an_old_name_is_read_and_an_unchanged_one_is_not() {
    let installation = Installation::new(SMALL, "2025-03-01").await;
    let header = "study,at,effusion,nodule,site,sex";
    installation.write("predictions/today.csv", format!("{header}\na,2025-02-01,0.25,0.5,north,F\n"));
    installation.pass().await;
    installation.pass().await;
    assert_eq!(installation.count("batch").await, 1, "an unchanged file makes no batch");
    installation.write(
        "predictions/today.csv",
        format!("{header}\na,2025-02-01,0.25,0.5,north,F\nb,2025-02-01,0.5,0.5,north,F\n"),
    );
    installation.pass().await;
    assert_eq!((installation.count("prediction").await, installation.count("rejection").await), (2, 0));
    // Content that is known under another name is not read again.
    let known = std::fs::read(installation.path("predictions/today.csv")).expect("a file");
    installation.write("predictions/copy.csv", known);
    installation.pass().await;
    assert_eq!(installation.count("batch").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_still_being_written_is_left_alone() {
    let patient = SMALL.replacen("settle = \"0s\"", "settle = \"1h\"", 1);
    let installation = Installation::new(&patient, "2025-03-01").await;
    installation.write("predictions/growing.csv", "study,at,effusion\na,2025-02-01,0.25\nb,2025-0");
    installation.pass().await;
    assert_eq!((installation.count("prediction").await, installation.count("rejection").await), (0, 0));
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_740_000_000);
    installation.write("predictions/growing.csv", "study,at,effusion\na,2025-02-01,0.25\nb,2025-02-01,0.5\n");
    let file = std::fs::File::options().write(true).open(installation.path("predictions/growing.csv")).expect("a file");
    file.set_modified(old).expect("its time can be set");
    installation.pass().await;
    assert_eq!((installation.count("prediction").await, installation.count("rejection").await), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_identity_with_other_content_is_a_kept_rejection() {
    let installation = Installation::new(SMALL, "2025-03-01").await;
    let row = |score: &str| format!("study,at,effusion,nodule,site,sex\na,2025-02-01T10:00:00Z,{score},0.5,north,F\n");
    for (name, score) in [("1", "0.25"), ("2", "0.250"), ("3", "0.75"), ("4", "0.75")] {
        installation.write(&format!("predictions/{name}.csv"), row(score));
        installation.pass().await;
    }
    let reasons: Vec<String> = installation.rejections().await.into_iter().map(|(_, _, reason)| reason).collect();
    assert_eq!(reasons, ["conflict"], "equal numbers are equal content; the same file twice is one rejection");
    let asked = installation.ask("effusion", "all", window("2025-02-01", "2025-02-02"), Knowledge::default()).await;
    assert_eq!(value(&asked, "mean_score"), 0.25, "the first one stands");
}

/// A large batch of which a sample is unknown is written as if all of it were new; what is known after all is found then.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_that_seems_new_hides_nothing_that_is_known() {
    let installation = Installation::new(SMALL, "2025-03-01").await;
    let header = "study,at,effusion,nodule,site,sex";
    let row = |case: usize| format!("case-{case},2025-02-01T10:00:00Z,0.25,0.5,north,F");
    let known = [
        "case-1,2025-02-01T10:00:00Z,0.25,0.5,north,F",
        "case-2,2025-02-01T10:00:00Z,0.75,0.5,north,F",
        "case-3,2025-02-01T10:00:00Z,0.25,,north,F",
    ];
    installation.write("predictions/1.csv", text(header, &known.map(str::to_owned)));
    installation.pass().await;
    let rows: Vec<String> = (0..3000).map(row).collect();
    installation.write("predictions/2.csv", text(header, &rows));
    installation.pass().await;
    let counts = async || {
        let batches: Vec<(i64, i64, i64)> =
            sqlx::query_as("select accepted, duplicates, rejected from batch order by batch_id")
                .fetch_all(&installation.pool().await)
                .await
                .expect("batches");
        let tables = ["record_key", "prediction", "identifier", "rejection"];
        let mut rows = Vec::new();
        for table in tables {
            rows.push(installation.count(table).await);
        }
        (batches, rows)
    };
    // One is the same, one is contradicted, one says more.
    let expected = [(3, 0, 0), (2998, 1, 1)];
    assert_eq!(counts().await, (expected.to_vec(), vec![3000, 3001, 3000, 1]));
    // What is wholly new goes the short way, what is sent again the long one.
    installation.write("predictions/3.csv", text(header, &(3000..6000).map(row).collect::<Vec<_>>()));
    installation.write("predictions/4.csv", text(header, &rows[500..2500]));
    installation.pass().await;
    let expected = [(3, 0, 0), (2998, 1, 1), (3000, 0, 0), (0, 2000, 0)];
    assert_eq!(counts().await, (expected.to_vec(), vec![6000, 6001, 6000, 1]));
    assert_sound(&installation, "every row is a leaf of its batch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_with_the_same_version_names_and_times_do_not_collide() {
    let second = SMALL.split("[[source]]").next().expect("a model").replace("chest-xray", "ct");
    let sources = SMALL.replace("[[source]]\n", "[[source]]\nmodel = \"chest-xray\"\n");
    let ct = "\n[[source]]\nname = \"ct\"\nmodel = \"ct\"\npaths = [\"ct\"]\nsettle = \"0s\"\n\
              columns = { case = \"study\", occurred_at = \"at\" }\nconstants = { version = \"1\" }\n";
    let installation = Installation::new(&format!("{second}{sources}{ct}"), "2025-02-03").await;
    installation.write("predictions/1.csv", "study,at,effusion,nodule\na,2025-02-01,0.9,0.1\n");
    installation.write("ct/1.csv", "study,at,effusion,nodule\na,2025-02-01,0.2,0.3\n");
    installation.pass().await;
    assert_eq!((installation.count("prediction").await, installation.count("rejection").await), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_of_the_same_day_stands_whatever_arrives_first() {
    let rows =
        ["a,effusion,1,preliminary,2025-02-01", "a,effusion,0,final,2025-02-01", "a,effusion,1,corrected,2025-02-01"];
    let mut answers = Vec::new();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let installation = Installation::new(SMALL, "2025-02-03").await;
        installation.write("predictions/1.csv", "study,at,effusion,nodule\na,2025-02-01T08:00:00Z,0.9,0.1\n");
        for (file, row) in order.iter().map(|at| rows[*at]).enumerate() {
            installation.write(&format!("truth/{file}.csv"), format!("study,finding,value,status,at\n{row}\n"));
            installation.pass().await;
        }
        assert_eq!(installation.count("rejection").await, 0);
        let asked = installation.ask("effusion", "all", window("2025-02-01", "2025-02-02"), Knowledge::default()).await;
        answers.push(value(&asked, "positives"));
    }
    assert_eq!(answers, [1.0, 1.0, 1.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_report_id_makes_several_statements() {
    let plan =
        SMALL.replace("columns = { case = \"study\", output", "columns = { id = \"report\", case = \"study\", output");
    let installation = Installation::new(&plan, "2025-02-03").await;
    installation.write(
        "truth/1.csv",
        "report,study,finding,value,at\nr1,a,effusion,1,2025-02-01\nr1,a,nodule,0,2025-02-01\nr1,a,effusion,0,2025-02-02\n",
    );
    installation.pass().await;
    assert_eq!((installation.count("assertion").await, installation.count("rejection").await), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_mapping_reads_again_what_was_refused_because_of_it() {
    let wrong = SMALL.replace("occurred_at = \"at\" }\nconstants", "occurred_at = \"time\" }\nconstants");
    let installation = Installation::new(&wrong, "2025-02-03").await;
    let good = "study,at,effusion,nodule\na,2025-02-01T08:00:00Z,0.9,0.1\n";
    installation.write("predictions/1.csv", good);
    installation.pass().await;
    assert_eq!((installation.count("prediction").await, installation.count("rejection").await), (0, 1));
    let plan = crate::support::plan(SMALL, installation.folder.path(), &installation.url);
    dosimeter::app::take_up(&installation.app.context, plan).await.expect("the plan is taken up");
    installation.pass().await;
    assert_eq!((installation.count("prediction").await, installation.count("rejection").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_growing_file_does_not_repeat_its_rejections() {
    let installation = Installation::new(SMALL, "2025-02-03").await;
    let mut text = "study,at,effusion,nodule\nbad,2025-02-01,high,0.1\n".to_owned();
    for case in 0..3 {
        let _ = writeln!(text, "{case},2025-02-01,0.5,0.1");
        installation.write("predictions/1.csv", &text);
        installation.pass().await;
    }
    assert_eq!((installation.count("prediction").await, installation.count("rejection").await), (3, 1));
    // Two names of one content are known as finished, both.
    installation.write("predictions/2.csv", &text);
    installation.pass().await;
    let exposed = installation.context().exporter.render().expect("text");
    assert!(exposed.contains("dosimeter_source_files_pending{source=\"predictions\"} 0"), "{exposed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_that_are_of_no_interest_are_left_out_and_counted() {
    let plan = SMALL.replace("layout = \"long\"", "layout = \"long\"\nignore = [\"*\"]");
    let installation = Installation::new(&plan, "2025-02-03").await;
    installation.write("truth/1.csv", "study,finding,value,at\na,hernia,1,2025-02-01\na,effusion,1,2025-02-01\n");
    installation.pass().await;
    assert_eq!((installation.count("assertion").await, installation.count("rejection").await), (1, 0));
    let exposed = installation.context().exporter.render().expect("text");
    assert!(exposed.contains("source=\"reports\",kind=\"assertion\",outcome=\"ignored\"} 1"), "{exposed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_identifiers_does_not_become_slices() {
    let installation = Installation::new(SMALL, "2025-02-03").await;
    let rows: String = (0..150).map(|case| format!("{case},2025-02-01T08:00:00Z,0.5,0.1,1.2.840.{case},F\n")).collect();
    installation.write("predictions/1.csv", format!("study,at,effusion,nodule,site,sex\n{rows}"));
    installation.pass().await;
    let exposed = installation.context().exporter.render().expect("text");
    assert!(exposed.contains("site=(too many values)") && !exposed.contains("1.2.840"), "{exposed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_of_the_pseudonyms_is_refused() {
    let first = Installation::new(SMALL, "2025-02-03").await;
    let mut plan = crate::support::plan(SMALL, first.folder.path(), &first.url);
    plan.identity.key = Some(dosimeter::config::Secret::new("another key of thirty-two characters or more"));
    let (clock, _hand) = dosimeter::clock::Clock::manual(crate::support::at("2025-02-03"));
    let refused = dosimeter::app::App::start(plan, clock).await.err().expect("refused").to_string();
    assert!(refused.contains("identity.key"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_refused_for_its_name_is_read_under_another() {
    let installation = Installation::new(SMALL, "2025-02-03").await;
    installation.write("predictions/1.csv.bak", "study,at,effusion,nodule\na,2025-02-01,0.5,0.1\n");
    installation.pass().await;
    assert_eq!((installation.count("prediction").await, installation.count("rejection").await), (0, 1));
    std::fs::rename(installation.path("predictions/1.csv.bak"), installation.path("predictions/1.csv"))
        .expect("renamed");
    installation.pass().await;
    assert_eq!((installation.count("prediction").await, installation.count("rejection").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn decimal_commas_are_read_where_the_plan_says_so() {
    let plan = SMALL.replacen(
        "settle = \"0s\"",
        "settle = \"0s\"\ndelimiter = \";\"\ndecimal = \",\"\ntime_format = \"%d.%m.%Y %H:%M\"",
        1,
    );
    let installation = Installation::new(&plan, "2025-02-03").await;
    installation
        .write("predictions/1.csv", "study;at;effusion;nodule;site;sex\na;01.02.2025 08:15;0,25;0,5;Nord, Haus 1;F\n");
    installation.pass().await;
    let asked = installation
        .ask("effusion", "site=Nord, Haus 1", window("2025-02-01", "2025-02-02"), Knowledge::default())
        .await;
    assert_eq!(value(&asked, "mean_score"), 0.25);
}
