//! Real data: a `CheXNet` on the NIH ChestX-ray14 test images, against scikit-learn.
//!
//! The files are not part of the repository: `DOSIMETER_SHARED_DATA` says where they are, `../shared/data` otherwise.

use std::path::{Path, PathBuf};

use dosimeter::config::Tier as Level;
use dosimeter::query::backtest::{Asked, Order, Report, backtest};
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

/// AUROC by blocks, of a calendar that was made without weekends.
const AREAS: &str = "[[model.watch]]\nname = \"area\"\nmeasure = \"auroc\"\nunit = \"case\"\nweekends = \"alike\"\n\n";
/// What the model is given, and what it makes of it.
const MIX: &str = "[[model.watch]]\nname = \"scores\"\nmeasure = \"score_drift\"\ntier = \"ticket\"\nunit = \"case\"\n\n\
                   [[model.watch]]\nname = \"views\"\nmeasure = \"slice_share\"\nslice = \"view=*\"\ntier = \"ticket\"\n\n";

/// Alarms of one backtest by watch, output or slice, and tier, with the threshold.
async fn alarms_of(
    data: &Path,
    (alarms, watches): (&str, &str),
    order: Order,
) -> impl Fn(&str, &str, Level) -> (f64, Vec<String>) {
    let config = CONFIG.replacen("[[source]]", &format!("{watches}[[source]]"), 1);
    let config = format!("[alarms]\n{alarms}\n\n{config}");
    let installation = installation(data, &config).await;
    let asked = Asked {
        model: "chexnet".into(),
        version: None,
        window: window("2025-03-01", "2025-07-01"),
        reference: window("2025-01-01", "2025-03-01"),
        order,
        recorded: None,
    };
    let streams = backtest(&installation.context(), &asked).await.expect("a backtest").streams;
    move |watch, place, tier| {
        let is_it = |stream: &&Report| stream.watch == watch && (stream.output == place || stream.slice == place);
        let stream = streams.iter().find(is_it).expect("a stream");
        let own = stream.tier(tier).unwrap_or_else(|| panic!("{place}: {:?}", stream.reason));
        let days: Vec<String> = own.replay.alarms.iter().map(|alarm| alarm.bucket.date_naive().to_string()).collect();
        println!("{watch}, {place}, {tier:?} at {:.0}: {}", own.share.threshold, days.join(", "));
        (own.share.threshold, days)
    }
}

fn within(alarms: &[String], from: &str, to: &str) -> bool {
    alarms.first().is_some_and(|day| day.as_str() >= from && day.as_str() <= to)
}

/// What never decays, and nothing at all before the change.
fn nothing_else(alarms: &impl Fn(&str, &str, Level) -> (f64, Vec<String>), tier: Level) {
    for output in ["Cardiomegaly", "Effusion", "Infiltration", "Nodule", "Pneumothorax", "Consolidation", "Edema"] {
        let (_, days) = alarms("area", output, tier);
        assert!(days.iter().all(|day| day.as_str() >= "2025-05-01"), "{output}: {days:?}");
    }
    for output in ["Infiltration", "Nodule"] {
        assert_eq!(alarms("area", output, tier).1, Vec::<String>::new(), "{output} does not decay");
    }
}

/// From May on three films in four are portable ones: effusion and edema decay, infiltration and nodule do not.
#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_in_exam_order_finds_the_decay_and_nothing_before_it() {
    let Some(data) = data() else { return };
    // Seven findings share the budget: c = 365 * 7 / 0.7 = 3,650 of a page, 365 of a ticket; null values hold at 95 % each.
    let budget = "pages_per_year = 0.7\ntickets_per_year = 7\nconfidence = 0.65";
    let alarms = alarms_of(&data, (budget, AREAS), Order::Exam).await;
    for (tier, c, effusion, edema) in [
        (Level::Page, 3650.0, ("2025-05-18", "2025-05-24"), ("2025-06-15", "2025-06-30")),
        (Level::Ticket, 365.0, ("2025-05-15", "2025-05-21"), ("2025-05-23", "2025-06-15")),
    ] {
        let (threshold, days) = alarms("area", "Effusion", tier);
        assert!((threshold - c).abs() < 1e-6, "{threshold}");
        assert!(within(&days, effusion.0, effusion.1), "effusion, c = {c}: {days:?}");
        let (_, days) = alarms("area", "Edema", tier);
        assert!(within(&days, edema.0, edema.1), "edema, c = {c}: {days:?}");
    }
    let (_, days) = alarms("area", "Consolidation", Level::Ticket);
    assert!(within(&days, "2025-06-01", "2025-06-30"), "consolidation, c = 365: {days:?}");
    for tier in [Level::Page, Level::Ticket] {
        nothing_else(&alarms, tier);
    }
    // The scores move with the case mix, at once.
    let alarms = alarms_of(&data, ("", MIX), Order::Exam).await;
    let (_, moved) = alarms("scores", "Effusion", Level::Ticket);
    assert!(within(&moved, "2025-05-01", "2025-05-10"), "{moved:?}");
    // So do the shares of the views, one up and one down, with days as units.
    for view in ["view=AP", "view=PA"] {
        let (_, moved) = alarms("views", view, Level::Ticket);
        assert!(within(&moved, "2025-05-01", "2025-05-10"), "{view}: {moved:?}");
    }
}

/// What a daemon may claim: with the truth that there was when a case came of age, seven days later.
#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_in_sealed_order_finds_the_decay_later() {
    let Some(data) = data() else { return };
    let alarms = alarms_of(&data, ("pages_per_year = 1\nconfidence = 0.65", AREAS), Order::Sealed).await;
    let (threshold, days) = alarms("area", "Effusion", Level::Page);
    assert!((threshold - 2555.0).abs() < 1e-6, "{threshold}");
    assert!(within(&days, "2025-05-22", "2025-06-15"), "{days:?}");
    nothing_else(&alarms, Level::Page);
    let alarms = alarms_of(&data, ("", MIX), Order::Sealed).await;
    let (_, moved) = alarms("scores", "Effusion", Level::Ticket);
    assert!(within(&moved, "2025-05-02", "2025-05-11"), "{moved:?}");
}
