//! Tokens, as `dosimeter token list` prints them.

use chrono::{DateTime, Utc};

use super::{columns, minute};
use crate::access::{Token, list};

/// Tokens with what they are now.
pub(in crate::cli) fn tokens(tokens: &[Token], now: DateTime<Utc>) -> String {
    if tokens.is_empty() {
        return "There is no token.\n".to_owned();
    }
    let header = ["id", "name", "state", "roles", "models", "made", "by", "last used", "expires"].map(str::to_owned);
    let instant = |at: Option<DateTime<Utc>>| at.map_or_else(|| "never".to_owned(), minute);
    let cells = tokens.iter().map(|token| {
        [
            token.token_id.to_string(),
            token.name.clone(),
            token.state(now).to_owned(),
            list(&token.roles),
            token.models.as_ref().map_or_else(|| "all".to_owned(), |models| models.join(", ")),
            minute(token.created_at),
            token.created_by.clone(),
            instant(token.last_used_at),
            instant(token.expires_at),
        ]
    });
    columns(&std::iter::once(header).chain(cells).collect::<Vec<_>>())
}
