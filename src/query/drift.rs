//! What has moved, the surest first: scores, features and the case mix in one list.

use serde::Serialize;

use super::{Error, Question, check_window, find, narrowed, read};
use crate::config::Quantity;
use crate::domain::{Estimate, MetricKey, Outcome, Slice};
use crate::job::Context;
use crate::job::answer::Asked;
use crate::metric::Depth;
use crate::summary::fold::over_buckets;

/// One thing that may have moved.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Moved {
    /// score, value, classes (the mix of the predicted ones), feature, embedding or dimension.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Population stability index, with its null and p-value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Estimate>,
    /// Kolmogorov-Smirnov distance, of what has an order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ks: Option<Estimate>,
    /// Squared maximum mean discrepancy, of embeddings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mmd2: Option<Estimate>,
    /// Share of values that the reference never had, of a feature; of embeddings those farther from the middle than all but
    /// one in a hundred of the reference's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<Estimate>,
    /// Share of missing values, of a feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Estimate>,
    /// Why there is no distance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Rank everything by the evidence that it has moved away from the reference: by p-value, then by distance in units of what
/// chance exceeds once in twenty.
///
/// # Errors
/// When the question names something unknown, or the store fails.
pub async fn rank(context: &Context, question: &Question) -> Result<Vec<Moved>, Error> {
    let question = Question { output: Quantity::Whole.name(), slice: Slice::all(), ..question.clone() };
    check_window(question.window)?;
    let place = find(context, &question.model, question.version.as_deref()).await?;
    let model = narrowed(&place.model, &question);
    let reference_id = match question.reference_id {
        Some(reference_id) => Some(reference_id),
        None => context.store.find_reference(place.version.version_id).await?,
    };
    let reference = match reference_id {
        Some(reference_id) => Some(context.store.load_reference(reference_id).await?),
        None => None,
    };
    let place = super::Place { model: model.clone(), ..place };
    let known = read(context, &place, &question, 0, reference.as_deref()).await?;
    let parts = over_buckets(known.cells);
    let mut moved: Vec<Moved> = Vec::new();
    for quantity in model.quantities() {
        let Some(output_id) = place.numbers.quantities.get(&quantity.name()).copied() else { continue };
        let asked = Asked {
            model: &model,
            numbers: &place.numbers,
            quantity,
            output_id,
            slice: &question.slice,
            reference: reference.as_deref(),
            depth: Depth::Published,
        };
        let Some(metrics) = asked.answer(&parts) else { continue };
        // The mix is that of the cases, whatever the quantity: it is told once.
        if !moved.iter().any(|one| one.kind == "dimension") {
            let measured = model
                .dimensions
                .iter()
                .filter(|dimension| metrics.iter().any(|(key, _)| key.dimension.as_ref() == Some(&dimension.name)));
            for dimension in measured {
                let key = |name: &str| MetricKey::of(&format!("dimension_{name}"), &dimension.name);
                moved.push(read_one("dimension", &dimension.name, &metrics, &key));
            }
        }
        match quantity {
            Quantity::Output(output) => {
                moved.push(read_one("score", &output.name, &metrics, &|name| {
                    MetricKey::plain(&format!("score_{name}"))
                }));
            }
            Quantity::Feature(feature) => {
                let key = |name: &str| MetricKey::plain(&format!("feature_{name}"));
                moved.push(read_one("feature", &feature.name, &metrics, &key));
            }
            Quantity::Value(value) => {
                moved
                    .push(read_one("value", &value.name, &metrics, &|name| MetricKey::plain(&format!("score_{name}"))));
            }
            Quantity::Classes(choice) => {
                let key = |name: &str| MetricKey::plain(&format!("predicted_{name}"));
                moved.push(read_one("classes", &choice.name, &metrics, &key));
            }
            Quantity::Embedding => moved.push(embedding(&metrics)),
            Quantity::Readers(_) | Quantity::Whole => {}
        }
    }
    let rank = |moved: &Moved| {
        let psi = moved.psi.as_ref().or(moved.mmd2.as_ref());
        let p_value = psi.and_then(|estimate| estimate.p_value).unwrap_or(f64::INFINITY);
        let excess = psi.and_then(|estimate| Some(estimate.value / estimate.null_95?)).unwrap_or(0.0);
        (p_value, -excess)
    };
    moved.sort_by(|a, b| {
        let (a, b) = (rank(a), rank(b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    Ok(moved)
}

/// Embeddings have no cells and so no stability index: the discrepancy of their means stands in its place.
fn embedding(metrics: &[(MetricKey, Outcome)]) -> Moved {
    let find = |name: &str| metrics.iter().find(|(key, _)| key.name == name).map(|(_, outcome)| outcome.clone());
    let value = |name: &str| find(name)?.ok();
    let mmd2 = find("embedding_mmd2");
    Moved {
        kind: "embedding",
        name: Quantity::Embedding.name(),
        psi: None,
        ks: value("embedding_mahalanobis_ks"),
        reason: mmd2.as_ref().and_then(|outcome| outcome.as_ref().err()).map(ToString::to_string),
        mmd2: mmd2.and_then(Outcome::ok),
        unseen: value("embedding_mahalanobis_share"),
        missing: value("embedding_missing"),
    }
}

fn read_one(
    kind: &'static str,
    name: &str,
    metrics: &[(MetricKey, Outcome)],
    key: &dyn Fn(&str) -> MetricKey,
) -> Moved {
    let find = |metric: &str| metrics.iter().find(|(known, _)| *known == key(metric)).map(|(_, outcome)| outcome);
    let value = |metric: &str| find(metric)?.clone().ok();
    Moved {
        kind,
        name: name.to_owned(),
        psi: value("psi"),
        mmd2: None,
        ks: value("ks"),
        unseen: value("unseen"),
        missing: value("missing"),
        reason: find("psi").and_then(|outcome| outcome.as_ref().err()).map(ToString::to_string),
    }
}
