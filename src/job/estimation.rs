//! From the summaries of a window to its estimates: what an evaluation publishes, and what a replay makes again.
//!
//! Both come here, so a replay that differs tells of the data, not of the way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::answer::Asked;
use crate::chain::hex;
use crate::config::{Model, Quantity};
use crate::domain::{Slice, Window};
use crate::metric::{CALCULATOR_VERSION, Depth};
use crate::store::catalog::ModelNumbers;
use crate::store::estimate::Metrics;
use crate::store::reference::Baseline;
use crate::summary::body::{Body, Kind};
use crate::summary::codec;
use crate::summary::fold::{Cell, over_buckets};

/// What one window is estimated with.
#[derive(Clone, Debug)]
pub struct Estimation {
    /// The model.
    pub model: Model,
    /// Its numbers.
    pub numbers: ModelNumbers,
    /// What it is compared with.
    pub reference: Option<Arc<Baseline>>,
    /// The window.
    pub window: Window,
    /// Digests that are known by output and slice: what has an equal one is not computed again.
    pub known: HashMap<(i32, String), String>,
}

/// One output and slice of a window.
#[derive(Clone, Debug)]
pub struct Estimated {
    /// The output.
    pub output_id: i32,
    /// The slice.
    pub slice: Slice,
    /// SHA-256 of all that went in.
    pub input_digest: String,
    /// The metrics, unless the digest is known.
    pub metrics: Option<Metrics>,
}

/// The digest of each merged summary.
type Digests = BTreeMap<(i32, Slice), Vec<u8>>;

impl Estimation {
    /// Merge and answer, every slice of every quantity that is wanted, on all processors.
    pub fn answers(
        &self,
        cells: impl IntoIterator<Item = (Cell, Body)>,
        wanted: impl Fn(i32, &Slice) -> bool + Sync,
    ) -> Vec<Estimated> {
        let mut parts = over_buckets(cells);
        // A silent version says so: the slice of everything is always there.
        let said = self.model.quantities().into_iter().filter_map(|quantity| {
            let kind =
                quantity.kind().filter(|kind| !matches!(kind, Kind::Embedding | Kind::Feature | Kind::Readers))?;
            Some((*self.numbers.quantities.get(&quantity.name())?, kind))
        });
        for (output_id, kind) in said {
            parts.entry((output_id, Slice::all())).or_insert_with(|| Body::empty(kind));
        }
        let digests: Digests =
            parts.par_iter().map(|(key, body)| (key.clone(), Sha256::digest(codec::encode(body)).to_vec())).collect();
        let slices: BTreeSet<&Slice> = parts.keys().map(|(_, slice)| slice).collect();
        let quantities = self.model.quantities();
        let keys: Vec<(&Quantity<'_>, i32, &Slice)> = quantities
            .iter()
            .filter_map(|quantity| Some((quantity, *self.numbers.quantities.get(&quantity.name())?)))
            .flat_map(|(quantity, output_id)| slices.iter().map(move |slice| (quantity, output_id, *slice)))
            .filter(|(_, output_id, slice)| wanted(*output_id, slice))
            .collect();
        let answer = |(quantity, output_id, slice): &(&Quantity<'_>, i32, &Slice)| {
            let asked = Asked {
                model: &self.model,
                numbers: &self.numbers,
                quantity: **quantity,
                output_id: *output_id,
                slice,
                reference: self.reference.as_deref(),
                depth: Depth::Published,
            };
            let input_digest = self.digest(&asked, &digests)?;
            let is_known = self.known.get(&(*output_id, slice.to_string())) == Some(&input_digest);
            let metrics = if is_known { None } else { Some(asked.answer(&parts)?) };
            Some(Estimated { output_id: *output_id, slice: (*slice).clone(), input_digest, metrics })
        };
        keys.par_iter().filter_map(answer).collect()
    }

    /// SHA-256 of all that an estimate depends on; `None` where there is nothing to estimate.
    fn digest(&self, asked: &Asked<'_>, digests: &Digests) -> Option<String> {
        let mut hasher = Sha256::new();
        let parameters = serde_json::json!([
            CALCULATOR_VERSION,
            self.window,
            match asked.quantity {
                Quantity::Output(output) => serde_json::json!(output),
                Quantity::Classes(choice) => serde_json::json!(choice),
                Quantity::Value(value) => serde_json::json!(value),
                other => serde_json::json!(other.name()),
            },
            self.model.minimum_n,
            self.model.shape(),
            self.reference.as_ref().map(|baseline| baseline.reference_id),
        ]);
        hasher.update(parameters.to_string());
        let own = |output_id: i32| digests.get(&(output_id, asked.slice.clone()));
        if let Quantity::Whole = asked.quantity {
            for output in self.model.plain_outputs() {
                hasher.update(own(*self.numbers.outputs.get(&output.name)?)?);
            }
        } else {
            hasher.update(own(asked.output_id)?);
        }
        let has_mixes = matches!(asked.quantity, Quantity::Output(_) | Quantity::Classes(_) | Quantity::Value(_));
        if has_mixes && asked.slice.is_all() {
            // The mixes read the slices of every dimension.
            for ((output_id, slice), digest) in digests {
                if *output_id == asked.output_id && slice.dimensions().len() == 1 {
                    hasher.update(slice.to_string());
                    hasher.update(digest);
                }
            }
        }
        Some(hex(&hasher.finalize()))
    }
}
