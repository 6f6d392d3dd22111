//! Health of the data as people read it.

use super::columns;
use crate::store::health::HealthRow;

/// Every rule with its verdict; those that are broken come first.
pub(in crate::cli) fn health(rows: &[HealthRow]) -> String {
    if rows.is_empty() {
        return "Nothing has been judged yet: `dosimeter serve` does.\n".to_owned();
    }
    let mut rows: Vec<&HealthRow> = rows.iter().collect();
    rows.sort_by_key(|row| match row.verdict.as_str() {
        "broken" => 0,
        "undecided" => 1,
        _ => 2,
    });
    let header = ["verdict", "model", "rule", "subject", "since", "why", "usual"].map(str::to_owned);
    let cells = rows.into_iter().map(|row| {
        [
            row.verdict.clone(),
            row.model.clone(),
            row.rule.clone(),
            row.subject.clone(),
            row.since.map(|since| since.format("%Y-%m-%d %H:%M").to_string()).unwrap_or_default(),
            row.reason.clone(),
            row.usual.clone().unwrap_or_default(),
        ]
    });
    columns(&std::iter::once(header).chain(cells).collect::<Vec<_>>())
}
