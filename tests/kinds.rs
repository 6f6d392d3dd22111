//! Models that choose among classes and that predict values, from files to answers.

use std::fmt::Write as _;

use dosimeter::query::compare::ask_with_bootstrap;
use dosimeter::query::drift::rank;
use dosimeter::query::{Question, ask};
use dosimeter::reference::{Maker, freeze};
use dosimeter::store::rows::Knowledge;

use crate::support::{Installation, metric, said, value, window};

const PLAN: &str = r#"
[[model]]
name = "mammography"
thresholds = [0.5]
minimum_n = 0
dimension = [{ name = "site" }]
windows = ["30d"]

[[model.output]]
name = "density"
kind = "classes"
classes = ["A", "B", "C"]
costs = [[0, 1, 2], [1, 0, 1], [3, 2, 0]]

[[model.output]]
name = "thickness"
truth = "Compressed thickness"
kind = "value"
tolerance = 2.0

[[model.alert]]
name = "density-c-missed"
metric = "class_recall"
output = "density"
class = "C"
window = "30d"
below = 0.99
bound = "value"

[[source]]
name = "predictions"
paths = ["predictions"]
settle = "0s"
columns = { case = "study", occurred_at = "at" }
outputs = { "density=A" = "p_a", "density=B" = "p_b", "density=C" = "p_c" }
constants = { version = "1" }

[[source]]
name = "reports"
record = "assertions"
paths = ["truth"]
settle = "0s"
columns = { case = "study", observed_at = "at" }
constants = { source = "report" }
"#;

/// What the model says of a case, and what is true.
struct Case {
    scores: [f64; 3],
    class: usize,
    thickness: f64,
    truth: f64,
}

/// Scores in tenths, and a thickness with an error that repeats.
fn case(number: u32) -> Case {
    let hash = number.wrapping_mul(2_654_435_761) >> 8;
    let class = (hash % 3) as usize;
    let mut tenths = [1_u32 + (hash >> 3) % 4, 1 + (hash >> 5) % 4, 0];
    tenths[2] = 10 - tenths[0] - tenths[1];
    tenths.swap(class, 2);
    let truth = 40.0 + f64::from(hash >> 7 & 31);
    Case {
        scores: tenths.map(|tenth| f64::from(tenth) / 10.0),
        class,
        thickness: truth + f64::from(number % 7) - 2.0,
        truth,
    }
}

const CASES: u32 = 500;

fn day(number: u32) -> String {
    format!("2025-02-{:02}T08:00:00Z", number % 25 + 1)
}

fn truth_file() -> String {
    let mut truth = "study,density,Compressed thickness,at\n".to_owned();
    for number in 0..CASES {
        let case = case(number);
        let _ = writeln!(truth, "{number},{},{},{}", ["A", "B", "C"][case.class], case.truth, day(number));
    }
    truth
}

async fn installation(plan: &str) -> Installation {
    let installation = Installation::new(plan, "2025-02-26").await;
    let mut predictions = "study,p_a,p_b,p_c,thickness,site,at\n".to_owned();
    for number in 0..CASES {
        let case = case(number);
        let [a, b, c] = case.scores;
        let site = ["north", "south"][(number % 2) as usize];
        let _ = writeln!(predictions, "{number},{a},{b},{c},{},{site},{}", case.thickness, day(number));
    }
    installation.write("predictions/1.csv", predictions);
    installation.write("truth/1.csv", truth_file());
    installation.pass().await;
    installation
}

/// The greatest score, the first of several.
fn predicted(scores: [f64; 3]) -> usize {
    (0..3).rev().max_by(|a, b| scores[*a].total_cmp(&scores[*b])).expect("three classes")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_and_a_value_are_estimated_from_rows_and_summaries_alike() {
    let installation = installation(PLAN).await;
    assert_eq!(installation.rejections().await, []);
    let whole = window("2025-02-01", "2025-02-26");

    let density = installation.ask("density", "all", whole, Knowledge::default()).await;
    assert_eq!(density.read_from, "summaries");
    let cases = || (0..CASES).map(case);
    let hits = cases().filter(|case| predicted(case.scores) == case.class).count();
    assert!((value(&density, "multiclass_accuracy") - hits as f64 / f64::from(CASES)).abs() < 1e-12);
    let costs = [[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [3.0, 2.0, 0.0]];
    let cost: f64 = cases().map(|case| costs[case.class][predicted(case.scores)]).sum();
    assert!((value(&density, "multiclass_expected_cost") - cost / f64::from(CASES)).abs() < 1e-12);
    assert!(value(&density, "multiclass_auroc_hand_till") > 0.7);
    // Each class is an output too, with one truth among them.
    let of_class = installation.ask("density=C", "all", whole, Knowledge::default()).await;
    let truths = cases().filter(|case| case.class == 2).count();
    assert_eq!(value(&of_class, "positives"), truths as f64);
    assert_eq!(value(&of_class, "auroc"), value(&density, "class_auroc[C]"));

    let thickness = installation.ask("thickness", "site=north", whole, Knowledge::default()).await;
    let errors: Vec<f64> =
        (0..CASES).filter(|number| number % 2 == 0).map(case).map(|case| case.thickness - case.truth).collect();
    let mean = |of: &dyn Fn(f64) -> f64| errors.iter().map(|error| of(*error)).sum::<f64>() / errors.len() as f64;
    assert!((value(&thickness, "mae") - mean(&f64::abs)).abs() < 1e-12);
    assert!((value(&thickness, "bias") - mean(&|error| error)).abs() < 1e-12);
    let within = mean(&|error| f64::from(u8::from(error.abs() <= 2.0)));
    assert!((value(&thickness, "within_tolerance") - within).abs() < 1e-12);

    // From rows the answers are the same bits.
    let recorded = Knowledge { known_at: None, recorded: Some(1_000_000) };
    for (output, slice) in [("density", "site=south"), ("thickness", "all"), ("density=A", "all")] {
        let stored = installation.ask(output, slice, whole, Knowledge::default()).await;
        let folded = installation.ask(output, slice, whole, recorded).await;
        assert_eq!((stored.read_from, folded.read_from), ("summaries", "rows"));
        assert_eq!(said(&stored), said(&folded), "{output} {slice}");
    }
    // Before any truth was known there is none.
    let early = Knowledge { known_at: Some(crate::support::at("2025-01-01")), recorded: None };
    let unknown = installation.ask("density", "all", whole, early).await;
    assert_eq!(
        metric(&unknown, "multiclass_accuracy").undefined.as_ref().map(dosimeter::domain::Undefined::code),
        Some("no-truth")
    );

    // What was published is made again bit for bit.
    let published =
        installation.count("estimate where metrics::text like '%multiclass%' or metrics::text like '%\"mae\"%'").await;
    let (agree, others) = installation.replays().await;
    assert!(
        published >= 6 && agree >= usize::try_from(published).expect("few") && others.is_empty(),
        "{agree}: {others:?}"
    );

    // The rule on the recall of one class has fired, and Prometheus sees choice and value.
    assert_eq!(installation.count("alert where rule = 'density-c-missed' and state = 'firing'").await, 1);
    let exposed = installation.context().exporter.render().expect("text");
    for (family, labels) in [
        ("dosimeter_class_recall{", [r#"output="density""#, r#"slice="all""#, r#"class="C""#]),
        ("dosimeter_mae_lower{", [r#"output="thickness""#, r#"slice="site=north""#, r#"window="30d""#]),
        ("dosimeter_auroc{", [r#"output="density=B""#, r#"slice="all""#, r#"window="30d""#]),
    ] {
        let is_it = |line: &&str| line.starts_with(family) && labels.iter().all(|label| line.contains(label));
        assert_eq!(exposed.lines().filter(is_it).count(), 1, "{family} {labels:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_file_with_a_row_for_each_class_gives_the_same() {
    let wide = installation(PLAN).await;
    let plan = PLAN
        .replace("paths = [\"predictions\"]\nsettle", "layout = \"long\"\npaths = [\"predictions\"]\nsettle")
        .replace("occurred_at = \"at\" }", "occurred_at = \"at\", output = \"output\", score = \"score\" }")
        .replace("outputs = { \"density=A\" = \"p_a\", \"density=B\" = \"p_b\", \"density=C\" = \"p_c\" }\n", "");
    let long = Installation::new(&plan, "2025-02-26").await;
    // The rows of a case lie far from each other, in two files.
    let mut files = ["study,output,score,site,at\n".to_owned(), "study,output,score,site,at\n".to_owned()];
    for (at, output) in ["density=A", "density=B", "density=C", "thickness"].into_iter().enumerate() {
        for number in 0..CASES {
            let case = case(number);
            let score = if at < 3 { case.scores[at] } else { case.thickness };
            let site = ["north", "south"][(number % 2) as usize];
            let _ = writeln!(files[at % 2], "{number},{output},{score},{site},{}", day(number));
        }
    }
    long.write("predictions/1.csv", &files[0]);
    long.write("truth/1.csv", truth_file());
    long.pass().await;
    let whole = window("2025-02-01", "2025-02-26");
    let half = long.ask("density", "all", whole, Knowledge::default()).await;
    assert_eq!(value(&half, "incomplete_predictions"), f64::from(CASES), "class B has not arrived yet");
    long.write("predictions/2.csv", &files[1]);
    long.pass().await;
    assert_eq!(long.rejections().await, []);
    for (output, slice) in [("density", "all"), ("density", "site=north"), ("thickness", "all")] {
        let mine = long.ask(output, slice, whole, Knowledge::default()).await;
        let theirs = wide.ask(output, slice, whole, Knowledge::default()).await;
        assert_eq!(said(&mine), said(&theirs), "{output} {slice}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn references_drift_and_resampled_intervals_know_choices_and_values() {
    let installation = installation(PLAN).await;
    let context = installation.context();
    let maker = Maker { model: "mammography", version: None, person: "Dr Example", reason: "acceptance" };
    let (reference_id, rows) = freeze(&context, &maker, window("2025-02-01", "2025-02-11")).await.expect("a reference");
    assert_eq!(rows, 200);
    let question = |output: &str| Question {
        model: "mammography".into(),
        version: None,
        output: output.into(),
        slice: "all".parse().expect("a slice"),
        window: window("2025-02-01", "2025-02-26"),
        knowledge: Knowledge::default(),
        thresholds: vec![],
        reference_id: Some(reference_id),
        most_rows: None,
    };
    for (output, drift, known) in
        [("density", "predicted_psi", "reference_multiclass_accuracy"), ("thickness", "score_psi", "reference_mae")]
    {
        let answer = ask(&context, &question(output)).await.expect("an answer");
        let psi = metric(&answer, drift).estimate.clone().expect("defined");
        assert!(psi.p_value.expect("a p-value") > 0.01, "nothing has changed: {psi:?}");
        assert!(value(&answer, known) > 0.0);
        let resampled = ask_with_bootstrap(&context, &question(output), 100, 1).await.expect("an answer");
        let name = if output == "density" { "multiclass_auroc_hand_till" } else { "r2" };
        let estimate = metric(&resampled, name).estimate.clone().expect("defined");
        let interval = estimate.interval.expect("an interval");
        assert_eq!(interval.method, "bucket-bootstrap");
        assert!(interval.lower < estimate.value && estimate.value < interval.upper, "{interval:?}");
    }
    let moved = rank(&context, &question("density")).await.expect("a list");
    let kinds: Vec<&str> = moved.iter().map(|one| one.kind).collect();
    assert!(kinds.contains(&"value") && kinds.contains(&"classes"), "{kinds:?}");

    // A file may be a reference too: the rows of a case are brought together by it.
    let mut file = "case,output,score,truth,site\n".to_owned();
    for number in 0..CASES {
        let case = case(number);
        let class = ["A", "B", "C"][case.class];
        for (at, score) in case.scores.iter().enumerate() {
            let _ = writeln!(file, "{number},density={},{score},{class},north", ["A", "B", "C"][at]);
        }
        let _ = writeln!(file, "{number},thickness,{},{},north", case.thickness, case.truth);
    }
    installation.write("reference.csv", file);
    let imported = dosimeter::reference::import(&context, &maker, &installation.path("reference.csv")).await;
    let (imported, rows) = imported.expect("a reference");
    assert_eq!(rows, u64::from(CASES));
    let answer =
        ask(&context, &Question { reference_id: Some(imported), ..question("density") }).await.expect("an answer");
    assert_eq!(value(&answer, "reference_multiclass_accuracy"), value(&answer, "multiclass_accuracy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_class_and_no_value_is_refused_with_a_reason() {
    let installation = Installation::new(PLAN, "2025-02-26").await;
    let at = "2025-02-03T08:00:00Z";
    installation.write(
        "predictions/1.csv",
        format!("study,p_a,p_b,p_c,thickness,site,at\n1,0.2,0.3,1.5,50,n,{at}\n2,0.2,0.3,0.5,thick,n,{at}\n3,0.2,0.3,0.5,1e80,n,{at}\n4,0.2,,0.5,40,n,{at}\n"),
    );
    installation.write(
        "truth/1.csv",
        format!("study,density,Compressed thickness,at\n4,D,40,{at}\n5,uncertain,,{at}\n6,,many,{at}\n7,B,NaN,{at}\n"),
    );
    installation.pass().await;
    let reasons: Vec<(i64, String)> =
        installation.rejections().await.into_iter().map(|(_, line, reason)| (line, reason)).collect();
    let expected = [
        (2, "score-range"),
        (3, "bad-value"),
        (4, "bad-value"),
        (2, "bad-value"),
        (3, "bad-value"),
        (4, "bad-value"),
        (5, "bad-value"),
    ];
    assert_eq!(reasons, expected.map(|(line, reason)| (line, reason.to_owned())));
    let density = installation.ask("density", "all", window("2025-02-01", "2025-02-26"), Knowledge::default()).await;
    assert_eq!(value(&density, "incomplete_predictions"), 1.0, "case 4 has no score for B");
}

/// What a plan says of a model that grows: embeddings named later are read from the files that are still there, and a finding that
/// turns from yes and no into classes is not mistaken for its former self.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_changes_its_mind_reads_again_and_mixes_nothing_up() {
    let url = crate::support::database().await;
    let yes_no = PLAN
        .replace("kind = \"classes\"\nclasses = [\"A\", \"B\", \"C\"]\ncosts = [[0, 1, 2], [1, 0, 1], [3, 2, 0]]\n", "")
        .replace("[[model.alert]]\nname = \"density-c-missed\"\nmetric = \"class_recall\"\noutput = \"density\"\nclass = \"C\"\nwindow = \"30d\"\nbelow = 0.99\nbound = \"value\"\n", "")
        .replace("outputs = { \"density=A\" = \"p_a\", \"density=B\" = \"p_b\", \"density=C\" = \"p_c\" }", "outputs = { density = \"p_c\" }");
    let first = Installation::over(url.clone(), &yes_no, "2025-02-26").await;
    let files = |installation: &Installation, truth: &dyn Fn(u32) -> String| {
        let (mut predictions, mut said) =
            ("study,p_a,p_b,p_c,thickness,site,inside,at\n".to_owned(), "study,density,at\n".to_owned());
        for number in 0..60 {
            let ([a, b, c], thickness) = (case(number).scores, case(number).thickness);
            let _ = writeln!(predictions, "{number},{a},{b},{c},{thickness},n,1;2,{}", day(number));
            let _ = writeln!(said, "{number},{},{}", truth(number), day(number));
        }
        installation.write("predictions/1.csv", predictions);
        installation.write("truth/1.csv", said);
    };
    files(&first, &|number| u8::from(case(number).class == 2).to_string());
    first.pass().await;
    let whole = window("2025-02-01", "2025-02-26");
    let before = first.ask("density", "all", whole, Knowledge::default()).await;
    assert!(value(&before, "auroc") > 0.5);

    let classes = PLAN
        .replace("windows = [\"30d\"]", "windows = [\"30d\"]\nembedding = { dimensions = 3 }")
        .replace("occurred_at = \"at\" }\noutputs", "occurred_at = \"at\", embedding = \"inside\" }\noutputs");
    let second = Installation::over(url.clone(), &classes, "2025-02-26").await;
    files(&second, &|number| ["A", "B", "C"][case(number).class].to_owned());
    second.pass().await;
    assert_eq!(
        second.count("rejection where reason = 'bad-value'").await,
        60,
        "an embedding has two numbers, not three"
    );
    let mended = classes.replace("dimensions = 3", "dimensions = 2");
    let third = Installation::over(url, &mended, "2025-02-26").await;
    files(&third, &|number| ["A", "B", "C"][case(number).class].to_owned());
    third.pass().await;
    let asked = third.ask("(embedding)", "all", whole, Knowledge::default()).await;
    assert_eq!(value(&asked, "embedding_missing"), 0.0, "the file was read again");
    let after = third.ask("density=C", "all", whole, Knowledge::default()).await;
    let of_class = (0..60).filter(|number| case(*number).class == 2).count();
    assert_eq!(value(&after, "positives"), of_class as f64, "yes and no of old are no classes");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_input_count_once_and_what_cannot_belong_together_is_incomplete() {
    let plan = PLAN
        .replace("dimension = [{ name = \"site\" }]", "dimension = [{ name = \"site\" }]\nfeature = [{ name = \"age\" }]")
        .replace("paths = [\"predictions\"]\nsettle", "layout = \"long\"\npaths = [\"predictions\"]\nsettle")
        .replace("occurred_at = \"at\" }", "id = \"id\", occurred_at = \"at\", output = \"output\", score = \"score\" }")
        .replace("outputs = { \"density=A\" = \"p_a\", \"density=B\" = \"p_b\", \"density=C\" = \"p_c\" }\n", "")
        .replace("columns = { case = \"study\", id = \"id\", occurred_at = \"at\", output = \"output\", score = \"score\", observed_at", "columns = { case = \"study\", observed_at");
    let installation = Installation::new(&plan, "2025-02-26").await;
    let mut file = "study,id,output,score,age,site,at\n".to_owned();
    for (study, id, scores) in
        [("one", "p1", [0.8, 0.1, 0.1]), ("two", "p2", [0.8, 0.1, 0.1]), ("two", "p3", [0.1, 0.1, 0.8])]
    {
        for (class, score) in ["A", "B", "C"].iter().zip(scores) {
            let _ = writeln!(file, "{study},{id},density={class},{score},50,n,2025-02-03T08:00:00Z");
        }
    }
    installation.write("predictions/1.csv", file);
    installation.pass().await;
    assert_eq!(installation.rejections().await, []);
    let whole = window("2025-02-01", "2025-02-26");
    let age = installation.ask("(feature) age", "all", whole, Knowledge::default()).await;
    assert_eq!(metric(&age, "feature_missing").estimate.as_ref().map(|estimate| estimate.n), Some(2), "two inputs");
    let density = installation.ask("density", "all", whole, Knowledge::default()).await;
    assert_eq!((value(&density, "predictions"), value(&density, "incomplete_predictions")), (1.0, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn references_from_files_are_whole_and_free_of_contradictions() {
    let installation = installation(PLAN).await;
    let context = installation.context();
    let maker = Maker { model: "mammography", version: None, person: "Dr Example", reason: "acceptance" };
    for (file, complaint) in [
        ("output,score,truth,site\ndensity=A,0.5,A,n\n", "column \"case\""),
        ("case,output,score,truth,site\n1,density=A,0.5,A,n\n1,density=B,0.5,B,n\n", "contradicts"),
        ("output,score,truth,site\nthickness,NaN,1,n\n", "no number between"),
        ("output,score,truth,site\nthickness,1,1e300,n\n", "no number between"),
    ] {
        installation.write("reference.csv", file);
        let refused = dosimeter::reference::import(&context, &maker, &installation.path("reference.csv")).await;
        let said = refused.expect_err(file).to_string();
        assert!(said.contains(complaint), "{said}");
    }
}
