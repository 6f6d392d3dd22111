//! The two clocks: what was known then can be asked again, and late truth changes only what it should.

use dosimeter::store::rows::Knowledge;

use crate::support::{Installation, SMALL, at, metric, said, value, window};

const PREDICTIONS: &str = "study,at,effusion,nodule,site,sex\n\
    a,2025-02-01T08:00:00Z,0.9,0.1,north,F\nb,2025-02-01T09:00:00Z,0.4,0.2,north,M\n\
    c,2025-02-01T10:00:00Z,0.3,0.3,south,F\nd,2025-02-02T10:00:00Z,0.8,0.4,south,M\n";

fn known_at(day: &str) -> Knowledge {
    Knowledge { known_at: Some(at(day)), recorded: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn truth_waits_for_its_prediction_and_late_truth_reopens_its_bucket() {
    let installation = Installation::new(SMALL, "2025-02-03").await;
    let days = window("2025-02-01", "2025-02-03");
    installation.write("truth/1.csv", "study,finding,value,at\na,effusion,1,2025-02-01T12:00:00Z\n");
    installation.pass().await;
    installation.write("predictions/1.csv", PREDICTIONS);
    installation.pass().await;
    let first = installation.ask("effusion", "all", days, Knowledge::default()).await;
    assert_eq!((value(&first, "labelled"), value(&first, "positives")), (1.0, 1.0));
    assert!(metric(&first, "auroc").reason.as_deref().is_some_and(|reason| reason.contains("negative")));

    installation.hand.turn_to(at("2025-02-10"));
    installation.write(
        "truth/2.csv",
        "study,finding,value,at\nb,effusion,0,2025-02-09T12:00:00Z\nd,effusion,0,2025-02-09T13:00:00Z\n",
    );
    installation.pass().await;
    let second = installation.ask("effusion", "all", days, Knowledge::default()).await;
    assert_eq!(value(&second, "labelled"), 3.0);
    assert_eq!(value(&second, "auroc"), 1.0);
    assert_eq!(second.read_from, "summaries");
    // What was known then, by what the hospital knew and by what was recorded here.
    let then = installation.ask("effusion", "all", days, known_at("2025-02-03")).await;
    assert_eq!((then.read_from, said(&then)), ("rows", said(&first)));
    let recorded = Knowledge { known_at: None, recorded: Some(first.recorded) };
    assert_eq!(said(&installation.ask("effusion", "all", days, recorded).await), said(&first));
    // The latest knowledge from rows is that from summaries, bit for bit, declared slice or not.
    let now = Knowledge { known_at: None, recorded: Some(second.recorded) };
    for slice in ["all", "site=north", "sex=F", "site=north & sex=M"] {
        let rows = installation.ask("effusion", slice, days, now).await;
        let summaries = installation.ask("effusion", slice, days, Knowledge::default()).await;
        assert_eq!((rows.read_from, summaries.read_from), ("rows", "summaries"));
        assert_eq!(said(&rows), said(&summaries), "{slice}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn corrections_flip_a_label_and_back_and_a_retraction_takes_it_away() {
    let installation = Installation::new(SMALL, "2025-02-20").await;
    installation.write("predictions/1.csv", PREDICTIONS);
    let statements = [
        ("2025-02-02", "1", "final"),
        ("2025-02-04", "0", "corrected"),
        ("2025-02-06", "1", "corrected"),
        ("2025-02-08", "1", "entered-in-error"),
    ];
    let rows: String =
        statements.iter().rev().map(|(day, value, status)| format!("a,effusion,{value},{status},{day}\n")).collect();
    installation.write("truth/1.csv", format!("study,finding,value,status,at\n{rows}"));
    installation.pass().await;
    let day = window("2025-02-01", "2025-02-02");
    let mut positives = Vec::new();
    for known in ["2025-02-03", "2025-02-05", "2025-02-07", "2025-02-09"] {
        let asked = installation.ask("effusion", "all", day, known_at(known)).await;
        positives.push((value(&asked, "labelled"), value(&asked, "positives")));
    }
    assert_eq!(positives, [(1.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn estimates_are_appended_only_when_something_changed() {
    let installation = Installation::new(SMALL, "2025-02-03T01:00:00Z").await;
    installation.write("predictions/1.csv", PREDICTIONS);
    installation.pass().await;
    let first = installation.count("estimate").await;
    assert!(first > 0);
    installation.pass().await;
    assert_eq!(installation.count("estimate").await, first, "nothing changed");
    installation.write("truth/1.csv", "study,finding,value,at\na,effusion,1,2025-02-02\n");
    installation.pass().await;
    let second = installation.count("estimate").await;
    assert!(second > first);
    let rows: Vec<(String, chrono::DateTime<chrono::Utc>, i64, i32, String)> = sqlx::query_as(
        "select slice, known_at, recorded, plan_id, input_digest from estimate where output_id =
            (select output_id from output where name = 'effusion') and window_name = '7d' and slice = 'site=north' order by estimate_id",
    )
    .fetch_all(&installation.pool().await)
    .await
    .expect("estimates");
    assert_eq!(rows.len(), 2, "effusion in the north got truth");
    assert!(rows[0].2 < rows[1].2 && rows[0].4 != rows[1].4);
    let south: i64 = sqlx::query_scalar(
        "select count(*) from estimate join output using (output_id) where name = 'effusion' and window_name = '7d' and slice = 'site=south'",
    )
    .fetch_one(&installation.pool().await)
    .await
    .expect("a count");
    assert_eq!(south, 1, "the south did not change");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_model_has_a_window_without_predictions_and_no_stale_slices() {
    let installation = Installation::new(SMALL, "2025-02-03T01:00:00Z").await;
    installation.write("predictions/1.csv", PREDICTIONS);
    installation.pass().await;
    let series = |installation: &Installation| installation.context().exporter.render().expect("text");
    assert!(series(&installation).contains("slice=\"site=north\",window=\"7d\""));
    installation.hand.turn_to(at("2025-02-20"));
    installation.pass().await;
    let text = series(&installation);
    assert!(!text.contains("slice=\"site=north\",window=\"7d\""), "the series of an empty slice are gone");
    let silent =
        "dosimeter_predictions{model=\"chest-xray\",version=\"1\",output=\"effusion\",slice=\"all\",window=\"7d\"} 0";
    assert!(text.contains(silent), "a silent model shows that it is silent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_slice_and_a_new_output_are_filled_in() {
    let narrow = SMALL
        .replace("{ name = \"effusion\" }, { name = \"nodule\" }", "{ name = \"effusion\" }")
        .replace("{ name = \"site\" }, { name = \"sex\" }", "{ name = \"site\" }")
        .replace("crossings = [\"site & sex\"]", "crossings = []");
    let installation = Installation::new(&narrow, "2025-02-03").await;
    installation.write("predictions/1.csv", PREDICTIONS);
    installation.pass().await;
    let days = window("2025-02-01", "2025-02-03");
    let before = installation.ask("effusion", "all", days, Knowledge::default()).await;

    let plan = crate::support::plan(SMALL, installation.folder.path(), &installation.url);
    dosimeter::app::take_up(&installation.app.context, plan).await.expect("the plan is taken up");
    installation.pass().await;
    // The file is read again under the new plan: its records say more than was known, and contradict nothing.
    assert_eq!(installation.count("rejection").await, 0);
    for (output, slice, n) in
        [("nodule", "all", 4.0), ("nodule", "sex=F", 2.0), ("effusion", "site=north & sex=M", 1.0)]
    {
        let asked = installation.ask(output, slice, days, Knowledge::default()).await;
        assert_eq!((value(&asked, "predictions"), asked.read_from), (n, "summaries"), "{output} {slice}");
        let rows = Knowledge { known_at: None, recorded: Some(asked.recorded) };
        assert_eq!(said(&installation.ask(output, slice, days, rows).await), said(&asked));
    }
    // What was recorded before is still there to be asked for.
    let then = Knowledge { known_at: None, recorded: Some(before.recorded) };
    assert_eq!(value(&installation.ask("effusion", "sex=F", days, then).await, "predictions"), 0.0);
    assert_eq!(value(&installation.ask("effusion", "all", days, then).await, "predictions"), 4.0);
    let standing: i64 = sqlx::query_scalar("select count(*) from prediction where until_batch is null")
        .fetch_one(&installation.pool().await)
        .await
        .expect("a count");
    assert_eq!(standing, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_another_process_took_up_is_not_undone_by_this_one() {
    let first = Installation::new(SMALL, "2025-02-03").await;
    first.write("predictions/1.csv", PREDICTIONS);
    first.pass().await;
    let crossed = SMALL.replace("crossings = [\"site & sex\"]", "crossings = []\nbucket = \"hour\"");
    let second = Installation::over(first.url.clone(), &crossed, "2025-02-03").await;
    // The first process still folds by its own plan: it must not clear the marks of the second one.
    first.pass().await;
    assert!(second.count("dirty_bucket").await > 0);
    second.pass().await;
    assert_eq!(second.count("dirty_bucket").await, 0);
    let days = window("2025-02-01", "2025-02-03");
    let asked = second.ask("effusion", "site=north", days, Knowledge::default()).await;
    assert_eq!((asked.read_from, value(&asked, "predictions")), ("summaries", 2.0));
    // Asked under the plan that is no longer in force, the answer comes from rows.
    let asked = first.ask("effusion", "site=north & sex=F", days, Knowledge::default()).await;
    assert_eq!((asked.read_from, value(&asked, "predictions")), ("rows", 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_plan_no_longer_has_is_no_longer_exposed() {
    let other = SMALL.replace("chest-xray", "other").replace("[[source]]", "#[[source]]");
    let other: String =
        other.lines().take_while(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let both = other.clone() + &SMALL.replace("[[source]]\n", "[[source]]\nmodel = \"chest-xray\"\n");
    let installation = Installation::new(&both, "2025-02-03").await;
    installation.write("predictions/1.csv", PREDICTIONS);
    installation.pass().await;
    let exposed = |word: &str| installation.context().exporter.render().expect("text").contains(word);
    assert!(exposed("model=\"chest-xray\"") && exposed("window=\"30d\""));
    let less = SMALL.replace("windows = [\"7d\", \"30d\"]", "windows = [\"7d\"]");
    let plan = crate::support::plan(&less, installation.folder.path(), &installation.url);
    dosimeter::app::take_up(&installation.app.context, plan).await.expect("the plan is taken up");
    installation.pass().await;
    assert!(exposed("window=\"7d\"") && !exposed("window=\"30d\"") && !exposed("model=\"other\""));
    let plan = crate::support::plan(&other, installation.folder.path(), &installation.url);
    dosimeter::app::take_up(&installation.app.context, plan).await.expect("the plan is taken up");
    installation.pass().await;
    assert!(!exposed("chest-xray"), "no series of a model that is gone");
}
