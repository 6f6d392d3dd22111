//! Questions beyond a window's metrics: curves, comparisons, intervals by drawing buckets, clusters.

use std::fmt::Write as _;

use dosimeter::domain::Slice;
use dosimeter::metric::curve::Curve;
use dosimeter::query::compare::{Against, ask_with_bootstrap, by_subject, compare};
use dosimeter::query::curve::draw;
use dosimeter::query::{Question, ask};
use dosimeter::store::rows::Knowledge;

use crate::support::{Installation, SMALL, value, window};

/// Thirty days of twenty cases; version 2 sees a little less than version 1. Two studies a patient.
async fn installation() -> Installation {
    let plan = SMALL
        .replace(
            "columns = { case = \"study\", occurred_at = \"at\" }",
            "columns = { case = \"study\", subject = \"patient\", occurred_at = \"at\", version = \"version\" }",
        )
        .replace("constants = { version = \"1\" }", "");
    let installation = Installation::new(&plan, "2025-03-10").await;
    let mut predictions = "study,patient,version,at,effusion,nodule,site,sex\n".to_owned();
    let mut truth = "study,finding,value,at\n".to_owned();
    for case in 0..600_u32 {
        let (day, hash) = (1 + case / 20, case.wrapping_mul(2_654_435_761) >> 8);
        let positive = hash % 10 < 3;
        let noise = f64::from(hash >> 4 & 0xFF) / 256.0;
        let at = format!("2025-02-{:02}T10:00:00Z", (day - 1) % 28 + 1);
        let at = if day > 28 { format!("2025-03-{:02}T10:00:00Z", day - 28) } else { at };
        for (version, skill) in [("1", 0.35), ("2", 0.2)] {
            let score = (0.5 * noise + if positive { skill } else { 0.0 }).min(1.0);
            let site = ["north", "south"][(case % 2) as usize];
            let _ = writeln!(predictions, "{case},{},{version},{at},{score:.4},0.5,{site},F", case / 2);
        }
        let _ = writeln!(truth, "{case},effusion,{},{at}", u8::from(positive));
    }
    installation.write("predictions/1.csv", predictions);
    installation.write("truth/1.csv", truth);
    installation.pass().await;
    installation
}

fn question(version: &str, slice: &str) -> Question {
    Question {
        model: "chest-xray".into(),
        version: Some(version.into()),
        output: "effusion".into(),
        slice: slice.parse::<Slice>().expect("a slice"),
        window: window("2025-02-01", "2025-03-03"),
        knowledge: Knowledge::default(),
        thresholds: vec![],
        reference_id: None,
        most_rows: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curves_comparisons_and_resampled_intervals_are_answered() {
    let installation = installation().await;
    let context = installation.context();

    // A paired comparison of versions agrees with the two answers and is sharper than an unpaired one.
    let against = Against { version: Some("2".into()), slice: None };
    let paired = compare(&context, &question("1", "all"), &against).await.expect("a comparison");
    assert_eq!((paired.shared, paired.unpaired.len()), (600, 0));
    let auroc =
        paired.paired.iter().find(|row| row.metric == "auroc").and_then(|row| row.estimate.clone()).expect("auroc");
    let mut single = Vec::new();
    for version in ["1", "2"] {
        single.push(ask(&context, &question(version, "all")).await.expect("an answer"));
    }
    assert!((auroc.value - (value(&single[0], "auroc") - value(&single[1], "auroc"))).abs() < 1e-12);
    assert!(auroc.p_value.expect("a p-value") < 1e-6, "{auroc:?}");

    // Slices share no case: the comparison is unpaired, and says how sure each difference is.
    let against = Against { version: None, slice: Some("site=south".parse().expect("a slice")) };
    let apart = compare(&context, &question("1", "site=north"), &against).await.expect("a comparison");
    assert_eq!((apart.shared, apart.paired.len()), (0, 0));
    for metric in ["auroc", "brier", "sensitivity@0.5", "specificity@0.5"] {
        let row = apart.unpaired.iter().find(|row| row.metric == metric).unwrap_or_else(|| panic!("no {metric}"));
        let estimate = row.estimate.as_ref().unwrap_or_else(|| panic!("{metric}: {:?}", row.reason));
        let interval = estimate.interval.as_ref().expect("an interval");
        assert!(interval.lower <= estimate.value && estimate.value <= interval.upper);
    }
    let refused = compare(&context, &question("1", "all"), &Against { version: None, slice: None }).await;
    assert!(refused.expect_err("both sides are the same").to_string().contains("another version"));

    let overlapping = Against { version: None, slice: Some("all".parse().expect("a slice")) };
    let refused = compare(&context, &question("1", "site=south"), &overlapping).await.expect_err("they overlap");
    assert!(refused.to_string().contains("share 300 cases"), "{refused}");
    for (slice, hint) in [("foo=bar", "known are"), ("sex=F & scanner=x", "scanner")] {
        let refused = ask(&context, &question("1", slice)).await.expect_err("no such slice").to_string();
        assert!(refused.contains(hint), "{refused}");
    }

    // The area under the drawn ROC curve is the AUROC; reliability holds every case.
    let roc = draw(&context, &question("1", "all"), Curve::Roc).await.expect("a curve");
    let area: f64 = roc.points.windows(2).map(|p| (p[1].x - p[0].x) * 0.5 * (p[0].y + p[1].y)).sum();
    assert!(roc.exact && (area - value(&single[0], "auroc")).abs() < 1e-12);
    let bins = draw(&context, &question("1", "site=north"), Curve::Reliability).await.expect("a curve");
    assert_eq!(bins.points.iter().map(|point| point.n).sum::<u64>(), 300);

    // Resampled intervals are replayed by their seed and hold the value.
    let first = ask_with_bootstrap(&context, &question("1", "all"), 100, 3).await.expect("an answer");
    let again = ask_with_bootstrap(&context, &question("1", "all"), 100, 3).await.expect("an answer");
    let interval = |answer: &dosimeter::query::Answer| {
        let row = answer.metrics.iter().find(|row| row.metric == "partial_auroc").expect("answered");
        row.estimate.as_ref().expect("defined").interval.clone().expect("resampled")
    };
    assert_eq!(interval(&first), interval(&again));
    assert_eq!(interval(&first).method, "bucket-bootstrap");
    let short = Question { window: window("2025-02-01", "2025-02-10"), ..question("1", "all") };
    let refused = ask_with_bootstrap(&context, &short, 100, 3).await.expect_err("too few days");
    assert!(refused.to_string().contains("20"), "{refused}");

    // Two studies a patient: the clustered interval is another one.
    let clustered = by_subject(&context, &question("1", "all")).await.expect("an answer");
    let estimate = clustered.estimate.expect("defined");
    assert!((estimate.value - value(&single[0], "auroc")).abs() < 1e-12);
    assert!(estimate.standard_error.expect("an error") > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn features_readers_and_means_over_outputs_are_estimated_too() {
    let plan = SMALL
        .replace(
            "windows = ",
            "feature = [{ name = \"dose\" }, { name = \"site\", kind = \"categorical\" }]\nwindows = ",
        )
        .replace("dimension = [{ name = \"site\" }, { name = \"sex\" }]", "dimension = [{ name = \"sex\" }]")
        .replace("crossings = [\"site & sex\"]", "");
    let installation = Installation::new(&plan, "2025-02-20").await;
    let rows = |day: &str, from: u32, doses: f64, site: &str| -> String {
        (from..from + 200)
            .map(|case| {
                let score = f64::from(case * 7 % 100) / 100.0;
                let dose =
                    if case % 50 == 0 { String::new() } else { (f64::from(case * 13 % 100) * doses).to_string() };
                format!("{case},{day}T10:00:00Z,{score},{},{dose},{site},F\n", 1.0 - score)
            })
            .collect()
    };
    let header = "study,at,effusion,nodule,dose,site,sex\n";
    installation.write("predictions/1.csv", format!("{header}{}", rows("2025-02-01", 0, 1.0, "north")));
    installation.write("predictions/2.csv", format!("{header}{}", rows("2025-02-15", 200, 1.5, "new")));
    let truth = (0..400_u32).flat_map(|case| {
        let positive = case * 7 % 100 > 60;
        let said = move |finding: &str, reader: &str, yes: bool| {
            format!("{case},{finding},{},{reader},2025-02-16\n", u8::from(yes))
        };
        [
            said("effusion", "a", positive),
            said("effusion", "b", positive ^ (case % 10 == 0)),
            said("nodule", "a", !positive),
        ]
    });
    installation.write("truth/1.csv", format!("study,finding,value,reader,at\n{}", truth.collect::<String>()));
    installation.pass().await;
    let context = installation.context();
    let maker = dosimeter::reference::Maker { model: "chest-xray", version: None, person: "dr who", reason: "a test" };
    let (id, _) =
        dosimeter::reference::freeze(&context, &maker, window("2025-02-01", "2025-02-02")).await.expect("a reference");
    context.store.approve_reference(id, "dr who", "a test", crate::support::at("2025-02-20")).await.expect("approved");
    installation.pass().await;

    let days = window("2025-02-15", "2025-02-16");
    let dose = installation.ask("(feature) dose", "all", days, Knowledge::default()).await;
    assert_eq!(dose.read_from, "summaries");
    assert!((value(&dose, "feature_missing") - 0.02).abs() < 1e-12);
    assert!((value(&dose, "feature_unseen") - 64.0 / 200.0).abs() < 0.02, "above the reference's range");
    let from_rows = Knowledge { known_at: None, recorded: Some(dose.recorded) };
    let again = installation.ask("(feature) dose", "all", days, from_rows).await;
    assert_eq!((again.read_from, crate::support::said(&again)), ("rows", crate::support::said(&dose)), "the same bits");
    let readers = installation.ask("(readers) effusion", "all", days, Knowledge::default()).await;
    assert!((value(&readers, "reader_agreement") - 0.9).abs() < 1e-12);
    assert!(value(&readers, "cohen_kappa") > 0.7 && value(&readers, "krippendorff_alpha") > 0.7);
    let whole = installation.ask("(model)", "sex=F", days, Knowledge::default()).await;
    let [one, two] = ["effusion", "nodule"];
    let one = installation.ask(one, "sex=F", days, Knowledge::default()).await;
    let two = installation.ask(two, "sex=F", days, Knowledge::default()).await;
    assert!((value(&whole, "macro_auroc") - 0.5 * (value(&one, "auroc") + value(&two, "auroc"))).abs() < 1e-12);

    // The list of what has moved puts the new site first and the scores, which have not moved, last.
    let mut question = question("1", "all");
    question.window = days;
    let moved = dosimeter::query::drift::rank(&context, &question).await.expect("a list");
    let names: Vec<(&str, &str)> = moved.iter().map(|row| (row.kind, row.name.as_str())).collect();
    assert!(names[..2].contains(&("feature", "site")) && names[..2].contains(&("feature", "dose")), "{names:?}");
    assert!(moved.iter().filter(|row| row.kind == "score").all(|row| row.psi.as_ref().is_some_and(|e| e.value < 0.05)));
    let exposed = context.exporter.render().expect("text");
    for series in
        ["dosimeter_feature_psi{", "output=\"(feature) dose\"", "dosimeter_gwet_ac1{", "dosimeter_macro_auroc{"]
    {
        assert!(exposed.contains(series), "{series}");
    }
}
