//! A model out of a recorded plan: as much of it as shapes summaries and estimates, so that what an earlier plan asked can be
//! asked again. What only tells people is left out. What was watched, and how, is read for answers about the past.

use serde::Deserialize;
use serde_json::Value;

use super::health::Health;
use super::model::{Feature, Model};
use super::output::{Classes, Output, ValueOutput};
use super::watch::{Budget, Measure, Method};
use crate::domain::{Dimension, Granularity, TruthPolicy, Uncertain};

#[derive(Deserialize)]
struct Recorded {
    name: String,
    outputs: Vec<Output>,
    #[serde(default)]
    classes: Vec<Classes>,
    #[serde(default)]
    values: Vec<ValueOutput>,
    features: Vec<Feature>,
    embedding: Option<usize>,
    bucket: Granularity,
    dimensions: Vec<Dimension>,
    crossings: Vec<Vec<String>>,
    minimum_n: u64,
    truth_policy: TruthPolicy,
    uncertain: Uncertain,
}

/// A model of a plan's canonical body. It has no windows, rules, watches or contract.
///
/// # Errors
/// When the body has no such model, or was written by a release that described models otherwise.
pub fn recorded_model(body: &Value, name: &str) -> Result<Model, String> {
    let models = body.get("models").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let own = models.iter().find(|model| model.get("name").and_then(Value::as_str) == Some(name));
    let own = own.ok_or_else(|| format!("the plan has no model {name:?}"))?;
    let recorded = Recorded::deserialize(own)
        .map_err(|error| format!("the plan describes model {name:?} in another way than this release: {error}"))?;
    Ok(Model {
        name: recorded.name,
        outputs: recorded.outputs,
        classes: recorded.classes,
        values: recorded.values,
        features: recorded.features,
        embedding: recorded.embedding,
        bucket: recorded.bucket,
        dimensions: recorded.dimensions,
        crossings: recorded.crossings,
        windows: Vec::new(),
        minimum_n: recorded.minimum_n,
        truth_policy: recorded.truth_policy,
        uncertain: recorded.uncertain,
        expose: Vec::new(),
        alerts: Vec::new(),
        health: Health::off(),
        contract: Vec::new(),
        versions: Vec::new(),
        watches: Vec::new(),
    })
}

/// What a watch of a plan's canonical body measured, and how; `None` when it has no such watch.
#[must_use]
pub fn recorded_watch(body: &Value, model: &str, watch: &str) -> Option<(Measure, Method)> {
    #[derive(Deserialize)]
    struct Recorded {
        measure: Measure,
        method: Method,
    }
    let find = |list: &Value, name: &str| {
        list.as_array()?.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(name)).cloned()
    };
    let model = find(body.get("models")?, model)?;
    let Recorded { measure, method } = Recorded::deserialize(find(model.get("watches")?, watch)?).ok()?;
    Some((measure, method))
}

/// The budget of a plan's canonical body; `None` when it has none.
#[must_use]
pub fn recorded_budget(body: &Value) -> Option<Budget> {
    Budget::deserialize(body.get("budget")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn a_recorded_model_folds_and_asks_as_the_one_of_the_plan() {
        let text = include_str!("../../config/full.toml");
        let (plan, _) =
            parse(text, std::path::Path::new(""), &|_| None).unwrap_or_else(|problems| panic!("{problems:?}"));
        // Through text, as through the database.
        let body: Value = serde_json::from_str(&plan.canonical().to_string()).expect("JSON");
        for model in &plan.models {
            let again = recorded_model(&body, &model.name).expect("a model");
            assert_eq!(again.fold_digest(), model.fold_digest());
            assert_eq!(again.shape(), model.shape());
            let asked = |model: &Model| {
                let Model { outputs, classes, values, minimum_n, .. } = model;
                serde_json::json!([outputs, classes, values, minimum_n]).to_string()
            };
            assert_eq!(asked(&again), asked(model));
            for watch in &model.watches {
                assert_eq!(recorded_watch(&body, &model.name, &watch.name), Some((watch.measure, watch.method)));
            }
            assert_eq!(recorded_watch(&body, &model.name, "none"), None);
        }
        assert_eq!(recorded_budget(&body), Some(plan.budget));
        let refused = recorded_model(&body, "none").expect_err("no such model");
        assert!(refused.contains("no model \"none\""), "{refused}");
        let refused = recorded_model(&serde_json::json!({ "models": [{ "name": "old" }] }), "old").expect_err("other");
        assert!(refused.contains("another way"), "{refused}");
    }
}
