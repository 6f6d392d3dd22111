//! What has moved beside an alert: slices of the same output, features of the input, the mix of the cases.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::{BEFORE, Subject, value};
use crate::domain::{Estimate, MetricKey, Slice, Window};
use crate::query::Error;
use crate::store::estimate::StoredEstimate;
use crate::store::overview::Within;
use crate::summary::body::Body;

/// Cases that a mix is told of at least.
const LEAST: u64 = 20;

/// A slice or a feature that may have moved.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Its name.
    pub name: String,
    /// What it was; of a feature nothing.
    pub before: Option<f64>,
    /// What it is: the metric of a slice, the distance of a feature.
    pub now: Estimate,
    /// The part of the change of everything that a slice accounts for.
    pub part: Option<f64>,
}

/// How the cases of the alert's slice fall on a dimension's values, before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// The dimension.
    pub dimension: String,
    /// Value, cases before, cases after; the value that has gained most first.
    pub values: Vec<(String, u64, u64)>,
}

impl Subject<'_> {
    /// The slices of one dimension by the part of everything's change that each accounts for: its share of the cases times its own
    /// change, as `job::streams` tells it in notices.
    pub(super) fn contributions(
        &self,
        published: &[StoredEstimate],
        key: &MetricKey,
        before: Option<f64>,
    ) -> Vec<Moved> {
        let own = || published.iter().filter(|estimate| estimate.output_id == self.output_id);
        let whole = own().find(|estimate| estimate.slice.is_all()).and_then(|estimate| value(estimate, key));
        let reference = MetricKey { name: format!("reference_{}", key.name), ..key.clone() };
        let mut moved: Vec<Moved> = own()
            .filter(|estimate| estimate.slice.dimensions().len() == 1)
            .filter_map(|estimate| {
                let now = value(estimate, key)?;
                let before = value(estimate, &reference).map(|then| then.value).or(before);
                let share = whole.as_ref().filter(|whole| whole.n > 0).map(|whole| now.n as f64 / whole.n as f64);
                let part = share.zip(before).map(|(share, before)| share * (now.value - before));
                Some(Moved { name: estimate.slice.to_string(), before, now, part })
            })
            .collect();
        let size = |moved: &Moved| moved.part.map_or(0.0, f64::abs);
        moved.sort_by(|a, b| size(b).total_cmp(&size(a)));
        moved
    }

    pub(super) fn features(&self, published: &[StoredEstimate]) -> Vec<Moved> {
        let key = MetricKey::plain("feature_js");
        let name = |output_id: i32| {
            let mut own = self.place.numbers.quantities.iter();
            own.find(|(_, id)| **id == output_id).map(|(name, _)| name.replace("(feature) ", ""))
        };
        let own = published.iter().filter(|estimate| estimate.output_id != self.output_id && estimate.slice.is_all());
        let mut moved: Vec<Moved> = own
            .filter_map(|estimate| {
                let now = value(estimate, &key)?;
                Some(Moved { name: name(estimate.output_id)?, before: None, now, part: None })
            })
            .collect();
        let far = |moved: &Moved| moved.now.value / moved.now.null_95.unwrap_or(1.0).max(1e-9);
        moved.sort_by(|a, b| far(b).total_cmp(&far(a)));
        moved
    }

    /// How the cases of the slice fall on the other dimensions' values, where the plan declares the crossing.
    pub(super) async fn mixes(&self, since: Window) -> Result<Vec<Mix>, Error> {
        let own = self.slice.dimensions();
        let crossed = |dimension: &str| {
            let mut names = own.clone();
            names.push(dimension.to_owned());
            names.sort();
            own.is_empty()
                || self.place.model.crossings.iter().any(|crossing| {
                    let mut known = crossing.clone();
                    known.sort();
                    known == names
                })
        };
        let names: Vec<&str> = self.place.model.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
        let names: Vec<&str> =
            names.into_iter().filter(|name| !own.iter().any(|o| o == name) && crossed(name)).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let place = (self.place.version.version_id, self.output_id);
        let after = self.context.store.list_bodies(place, Within::Parts(self.slice), since).await?;
        let after: Vec<(Slice, u64)> = after.into_iter().map(|(cell, body)| (cell.slice, body.rows())).collect();
        let rows = |(slice, body): (Slice, &Body)| (slice, body.rows());
        let before: Vec<(Slice, u64)> = if let Some(baseline) = self.reference().await? {
            let parts = baseline.parts.iter().filter(|((output, _), _)| *output == self.output_id);
            parts.map(|((_, slice), body)| rows((slice.clone(), body))).collect()
        } else {
            let before = Window { from: since.from - TimeDelta::days(BEFORE), to: since.from };
            let cells = self.context.store.list_bodies(place, Within::Parts(self.slice), before).await?;
            cells.into_iter().map(|(cell, body)| rows((cell.slice, &body))).collect()
        };
        let mut mixes: Vec<Mix> = names.iter().map(|name| mix(name, self.slice, &before, &after)).collect();
        // A mix of a handful of cases says nothing.
        mixes.retain(|mix| mix.cases().iter().all(|cases| *cases >= LEAST));
        mixes.sort_by(|a, b| b.distance().total_cmp(&a.distance()));
        Ok(mixes)
    }
}

/// The values of one dimension within a slice.
fn mix(dimension: &str, within: &Slice, before: &[(Slice, u64)], after: &[(Slice, u64)]) -> Mix {
    let value = |slice: &Slice| {
        let is_own = slice.cells().count() == within.cells().count() + 1
            && within.cells().all(|cell| slice.cells().any(|own| own == cell));
        slice.cells().find(|(name, _)| is_own && *name == dimension).map(|(_, value)| value.to_owned())
    };
    let mut values: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (slice, rows) in before {
        if let Some(value) = value(slice) {
            values.entry(value).or_default().0 += rows;
        }
    }
    for (slice, rows) in after {
        if let Some(value) = value(slice) {
            values.entry(value).or_default().1 += rows;
        }
    }
    let values = values.into_iter().map(|(value, (before, after))| (value, before, after)).collect();
    let mut mix = Mix { dimension: dimension.to_owned(), values };
    let shares: Vec<(String, f64)> =
        mix.shares().into_iter().map(|(value, before, after)| (value.to_owned(), after - before)).collect();
    let gain = |value: &str| shares.iter().find(|(own, _)| own == value).map_or(0.0, |(_, gain)| *gain);
    mix.values.sort_by(|a, b| gain(&b.0).total_cmp(&gain(&a.0)));
    mix
}

impl Mix {
    /// Cases before and after.
    #[must_use]
    pub fn cases(&self) -> [u64; 2] {
        [self.values.iter().map(|value| value.1).sum(), self.values.iter().map(|value| value.2).sum()]
    }

    /// Every value with its share of the cases before and after.
    #[must_use]
    pub fn shares(&self) -> Vec<(&str, f64, f64)> {
        let [before, after] = self.cases().map(|cases| cases.max(1) as f64);
        let share = |value: &(String, u64, u64)| (value.1 as f64 / before, value.2 as f64 / after);
        let shares = self.values.iter().map(|value| (value.0.as_str(), share(value)));
        shares.map(|(value, (before, after))| (value, before, after)).collect()
    }

    /// The largest change of a value's share.
    #[must_use]
    pub fn distance(&self) -> f64 {
        self.shares().iter().map(|(_, before, after)| (after - before).abs()).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_that_of_the_cases_within_the_slice() {
        let slice = |text: &str| text.parse::<Slice>().expect("a slice");
        let before = [
            (slice("site=south & vendor=A"), 90),
            (slice("site=south & vendor=B"), 10),
            (slice("site=north & vendor=B"), 500),
            (slice("vendor=B"), 700),
        ];
        let after = [(slice("site=south & vendor=B"), 40), (slice("site=south"), 40)];
        let own = mix("vendor", &slice("site=south"), &before, &after);
        assert_eq!(
            own.values,
            [("B".to_owned(), 10, 40), ("A".to_owned(), 90, 0)],
            "what has gained most stands first"
        );
        assert!((own.distance() - 0.9).abs() < 1e-12, "{}", own.distance());
        let whole = mix("vendor", &Slice::all(), &before, &after);
        assert_eq!(whole.values, [("B".to_owned(), 700, 0)], "of everything only cells of one dimension count");
    }
}
