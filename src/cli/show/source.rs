//! Sources as people read them.

use std::time::Duration;

use super::{columns, minute};
use crate::query::sources::SourceRow;

/// Every source with its state.
pub(in crate::cli) fn sources(rows: &[SourceRow]) -> String {
    let header = ["source", "kind", "records", "model", "last came", "behind", "waits", "state"].map(str::to_owned);
    let cells = rows.iter().map(|row| {
        let pulled = row.pulled.as_ref();
        let behind = row.lag_seconds.map(|seconds| {
            let whole = Duration::from_secs(Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs());
            humantime::format_duration(whole).to_string()
        });
        let state = match pulled {
            None if ["file", "push"].contains(&row.kind) => String::new(),
            None => "not asked yet".to_owned(),
            Some(pulled) => match (&pulled.failing_since, &pulled.message) {
                (Some(since), Some(message)) => format!("fails since {}: {message}", minute(*since)),
                _ => "answers".to_owned(),
            },
        };
        [
            row.source.clone(),
            row.kind.to_owned(),
            row.record.as_str().to_owned(),
            row.model.clone(),
            row.last_progress_at.map(minute).unwrap_or_default(),
            behind.unwrap_or_default(),
            pulled.and_then(|pulled| pulled.pending).map(|pending| pending.to_string()).unwrap_or_default(),
            state,
        ]
    });
    columns(&std::iter::once(header).chain(cells).collect::<Vec<_>>())
}
