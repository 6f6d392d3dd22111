//! Real data: a `CheXNet` on the NIH ChestX-ray14 test images, against scikit-learn.
//!
//! The files are not part of the repository: `DOSIMETER_SHARED_DATA` says where they are, `../shared/data` otherwise.

use std::path::PathBuf;

use dosimeter::query::backtest::{Asked, Order, backtest};
use dosimeter::runtime::Outcome;
use dosimeter::store::rows::Knowledge;
use serde_json::Value;

use crate::support::{Installation, at, metric, window};

/// The configuration that a user would write for these files.
const CONFIG: &str = include_str!("../config/nih.toml");

pub fn data() -> Option<PathBuf> {
    let given = std::env::var_os("DOSIMETER_SHARED_DATA").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    let found = folder.join("nih/expected.json").is_file();
    if !found {
        println!("skipped: no data ({} has no nih/expected.json; set DOSIMETER_SHARED_DATA)", folder.display());
    }
    found.then_some(folder)
}

fn read(path: PathBuf) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON")
}

/// The real cases, taken in and folded under a configuration.
async fn installation(data: &std::path::Path, config: &str) -> Installation {
    let installation = Installation::new(config, "2025-09-01").await;
    for name in ["predictions.csv.gz", "truth.csv.gz"] {
        let content = std::fs::read(data.join("nih").join(name)).expect("a file");
        let path = format!("nih/{name}");
        installation.write(&path, content);
        // Written long ago: it has settled.
        let file = std::fs::File::options().write(true).open(installation.path(&path)).expect("a file");
        file.set_modified(at("2025-08-01").into()).expect("its time can be set");
    }
    let context = installation.context();
    for job in [dosimeter::job::Job::Ingest, dosimeter::job::Job::Fold] {
        assert_eq!(job.run(&context).await, Outcome::Done);
    }
    assert_eq!(installation.rejections().await, []);
    assert_eq!(installation.count("prediction").await, 22_433);
    installation
}

#[tokio::test(flavor = "multi_thread")]
async fn every_number_agrees_with_scikit_learn() {
    let Some(data) = data() else { return };
    let installation = installation(&data, CONFIG).await;
    let expected = read(data.join("nih/expected.json"));
    let cases = expected["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 385);
    let mut wrong = Vec::new();
    for case in cases {
        wrong.extend(disagreements(&installation, case).await);
    }
    assert!(wrong.is_empty(), "{} numbers disagree:\n{}", wrong.len(), wrong.join("\n"));
}

/// What one case of the file says that we do not.
async fn disagreements(installation: &Installation, case: &Value) -> Vec<String> {
    let text = |key: &str| case[key].as_str().expect("a text").to_owned();
    let day = |index: usize| case["window"][index].as_str().expect("a day").to_owned();
    let knowledge = Knowledge { known_at: Some(at(&text("known_at"))), recorded: None };
    let asked = installation.ask(&text("finding"), &text("slice"), window(&day(0), &day(1)), knowledge).await;
    let estimate = |name: &str| metric(&asked, name).estimate.as_ref();
    let one = |name: &str| estimate(name).map(|estimate| estimate.value);
    #[allow(clippy::cast_precision_loss, reason = "counts are small")]
    let pairs = [
        ("n", estimate("brier").map(|estimate| estimate.n as f64)),
        ("n_pos", one("positives")),
        ("auroc", one("auroc")),
        ("auroc_delong_se", estimate("auroc").and_then(|estimate| estimate.standard_error)),
        ("average_precision", one("average_precision")),
        ("brier", one("brier")),
        ("log_loss", one("log_loss")),
        ("tp", one("true_positives@0.1")),
        ("fp", one("false_positives@0.1")),
        ("fn", one("false_negatives@0.1")),
        ("tn", one("true_negatives@0.1")),
        ("sensitivity", one("sensitivity@0.1")),
        ("specificity", one("specificity@0.1")),
        ("ece_10_equal_width", one("ece")),
        ("observed_over_expected", one("observed_expected")),
    ];
    let place = format!("{} {} {}..{} known at {}", asked.output, asked.slice, day(0), day(1), text("known_at"));
    let differs = |key: &str, ours: Option<f64>| match (case[key].as_f64(), ours) {
        (None, None) => None,
        (Some(theirs), Some(ours)) if (theirs - ours).abs() <= 1e-9 => None,
        (theirs, ours) => Some(format!("{place}: {key} is {ours:?}, expected {theirs:?}")),
    };
    pairs.into_iter().filter_map(|(key, ours)| differs(key, ours)).collect()
}

/// From May on three films in four are portable ones: effusion and edema decay, infiltration and nodule do not.
#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_finds_the_decay_and_nothing_before_it() {
    let Some(data) = data() else { return };
    let watches = "[[model.watch]]\nname = \"area\"\nmeasure = \"auroc\"\nunit = \"case\"\n\n\
                   [[model.watch]]\nname = \"scores\"\nmeasure = \"score_drift\"\ntier = \"ticket\"\nunit = \"case\"\n\n[[source]]";
    // Seven findings share the budget: c = 365 * 2 * 7 / 2 = 2,555 of each area, whose null value holds at 95 %.
    let config =
        format!("[alarms]\npages_per_year = 2\nconfidence = 0.3\n\n{}", CONFIG.replacen("[[source]]", watches, 1));
    let installation = installation(&data, &config).await;
    let context = installation.context();
    for order in [Order::Exam, Order::Sealed] {
        let asked = Asked {
            model: "chexnet".into(),
            version: None,
            window: window("2025-03-01", "2025-07-01"),
            reference: window("2025-01-01", "2025-03-01"),
            order,
        };
        let streams = backtest(&context, &asked).await.expect("a backtest");
        let alarms = |watch: &str, output: &str| -> Vec<String> {
            let stream =
                streams.iter().find(|stream| stream.watch == watch && stream.output == output).expect("a stream");
            let replay = stream.replay.as_ref().unwrap_or_else(|| panic!("{output}: {:?}", stream.reason));
            replay.alarms.iter().map(|alarm| alarm.bucket.date_naive().to_string()).collect()
        };
        assert!(
            streams
                .iter()
                .filter(|stream| stream.watch == "area")
                .all(|stream| (stream.threshold - 2555.0).abs() < 1e-6)
        );
        let within = |alarms: &[String], from: &str, to: &str| {
            alarms.iter().any(|day| day.as_str() >= from && day.as_str() <= to)
        };
        let effusion = alarms("area", "Effusion");
        match order {
            Order::Exam => {
                assert!(within(&effusion, "2025-05-17", "2025-05-25"), "{effusion:?}");
                let edema = alarms("area", "Edema");
                assert!(within(&edema, "2025-06-10", "2025-06-30"), "{edema:?}");
            }
            Order::Sealed => assert!(within(&effusion, "2025-05-20", "2025-06-15"), "{effusion:?}"),
        }
        for output in ["Cardiomegaly", "Effusion", "Infiltration", "Nodule", "Pneumothorax", "Consolidation", "Edema"] {
            let days = alarms("area", output);
            assert!(days.iter().all(|day| day.as_str() >= "2025-05-01"), "{order:?} {output}: {days:?}");
        }
        for output in ["Infiltration", "Nodule"] {
            assert_eq!(alarms("area", output), Vec::<String>::new(), "{order:?} {output} does not decay");
        }
        // The scores move with the case mix, at once.
        let moved = alarms("scores", "Effusion");
        assert!(within(&moved, "2025-04-28", "2025-05-12"), "{moved:?}");
        assert!(moved.iter().all(|day| day.as_str() >= "2025-04-28"), "{moved:?}");
    }
}
