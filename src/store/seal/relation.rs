//! The tables whose rows are sealed, column by column. What is set later, or changes, is not sealed: it is checked against what
//! it derives from (`verify::state`), and docs/audit.md says which columns that are.
//!
//! A row's encoding never changes. A column that comes later is sealed under another version of its table's encoding.

use Kind::{Bool, Bytes, Float, Instant, Number, Text};

/// How a column enters the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number of any width, as eight bytes.
    Number,
    /// A double, as its eight bytes.
    Float,
    /// One byte.
    Bool,
    /// Its UTF-8.
    Text,
    /// JSON of either kind, as the UTF-8 that Postgres writes.
    Json,
    /// A list of texts, as the UTF-8 of the JSON that Postgres makes of it.
    Texts,
    /// As they are.
    Bytes,
    /// Microseconds since 2000 in UTC, as eight bytes.
    Instant,
}

/// A table whose rows are sealed.
#[derive(Debug)]
pub struct Relation {
    /// Its name.
    pub name: &'static str,
    /// How many of the columns, from the first, are its key.
    pub key: usize,
    /// The sealed columns.
    pub columns: &'static [(&'static str, Kind)],
}

const fn relation(name: &'static str, key: usize, columns: &'static [(&'static str, Kind)]) -> Relation {
    Relation { name, key, columns }
}

/// All of them, in the order in which they are sealed and checked.
pub static RELATIONS: [Relation; 28] = [
    relation("model", 1, &[("model_id", Number), ("name", Text), ("created_at", Instant)]),
    relation(
        "model_version",
        1,
        &[("version_id", Number), ("model_id", Number), ("name", Text), ("first_seen_at", Instant)],
    ),
    relation("output", 1, &[("output_id", Number), ("model_id", Number), ("name", Text)]),
    relation("finding", 1, &[("truth_id", Number), ("name", Text)]),
    relation("plan", 1, &[("plan_id", Number), ("digest", Text), ("body", Kind::Json), ("adopted_at", Instant)]),
    relation(
        "reference",
        1,
        &[
            ("reference_id", Number),
            ("version_id", Number),
            ("window_from", Instant),
            ("window_to", Instant),
            ("known_at", Instant),
            ("recorded", Number),
            ("origin", Text),
            ("shape", Kind::Json),
            ("projector", Kind::Json),
            ("frozen_at", Instant),
            ("frozen_by", Text),
            ("reason", Text),
        ],
    ),
    relation(
        "reference_summary",
        3,
        &[("reference_id", Number), ("output_id", Number), ("slice", Text), ("body", Bytes)],
    ),
    relation(
        "estimate",
        1,
        &[
            ("estimate_id", Number),
            ("version_id", Number),
            ("output_id", Number),
            ("slice", Text),
            ("window_name", Text),
            ("window_from", Instant),
            ("window_to", Instant),
            ("known_at", Instant),
            ("recorded", Number),
            ("plan_id", Number),
            ("reference_id", Number),
            ("input_digest", Text),
            ("calculator", Number),
            ("metrics", Kind::Json),
            ("estimated_at", Instant),
        ],
    ),
    relation(
        "replay",
        1,
        &[("replay_id", Number), ("estimate_id", Number), ("verdict", Text), ("words", Text), ("replayed_at", Instant)],
    ),
    relation(
        "sealed_day",
        4,
        &[
            ("version_id", Number),
            ("maturity_days", Number),
            ("with_truth", Bool),
            ("day", Instant),
            ("recorded", Number),
            ("sealed_at", Instant),
        ],
    ),
    relation(
        "ledger",
        6,
        &[
            ("version_id", Number),
            ("maturity_days", Number),
            ("with_truth", Bool),
            ("day", Instant),
            ("output_id", Number),
            ("slice", Text),
            ("body", Bytes),
        ],
    ),
    relation(
        "stream",
        1,
        &[
            ("stream_id", Number),
            ("version_id", Number),
            ("watch", Text),
            ("output_id", Number),
            ("slice", Text),
            ("asked", Text),
            ("reference_id", Number),
            ("maturity_days", Number),
            ("with_truth", Bool),
            ("definition", Kind::Json),
            ("reason", Text),
            ("starts", Instant),
            ("made_at", Instant),
        ],
    ),
    relation(
        "stream_check",
        2,
        &[
            ("stream_id", Number),
            ("month", Instant),
            ("from_day", Instant),
            ("effect", Kind::Json),
            ("checked_at", Instant),
        ],
    ),
    relation(
        "evidence",
        3,
        &[
            ("stream_id", Number),
            ("tier", Text),
            ("day", Instant),
            ("evidence", Float),
            ("weight", Float),
            ("threshold", Float),
            ("change_at", Instant),
            ("alarms", Bool),
            ("measured", Kind::Json),
            ("state", Kind::Json),
            ("looked_at", Instant),
        ],
    ),
    relation(
        "alert",
        1,
        &[("alert_id", Number), ("rule", Text), ("version_id", Number), ("output_id", Number), ("slice", Text)],
    ),
    relation(
        "alert_event",
        1,
        &[
            ("event_id", Number),
            ("alert_id", Number),
            ("at", Instant),
            ("transition", Text),
            ("state", Text),
            ("actor", Text),
            ("reason", Text),
            ("decision", Text),
            ("estimate_id", Number),
            ("standing", Kind::Json),
        ],
    ),
    relation(
        "silence",
        1,
        &[
            ("silence_id", Number),
            ("model", Text),
            ("version", Text),
            ("rule", Text),
            ("output", Text),
            ("slice", Text),
            ("starts_at", Instant),
            ("ends_at", Instant),
            ("created_at", Instant),
            ("created_by", Text),
            ("reason", Text),
        ],
    ),
    relation(
        "token",
        1,
        &[
            ("token_id", Number),
            ("name", Text),
            ("roles", Kind::Texts),
            ("models", Kind::Texts),
            ("created_at", Instant),
            ("created_by", Text),
            ("expires_at", Instant),
        ],
    ),
    relation(
        "erasure",
        1,
        &[
            ("erasure_id", Number),
            ("batch_id", Number),
            ("tomb", Bytes),
            ("erased_at", Instant),
            ("counts", Kind::Json),
            ("leaves", Number),
            ("leaves_digest", Bytes),
        ],
    ),
    relation(
        "erased_leaf",
        4,
        &[("batch_id", Number), ("relation", Text), ("month", Instant), ("leaf", Bytes), ("erasure_id", Number)],
    ),
    relation("erased_bucket", 3, &[("version_id", Number), ("bucket", Instant), ("batch_id", Number)]),
    relation(
        "retirement",
        1,
        &[
            ("month", Instant),
            ("recorded", Number),
            ("retired_at", Instant),
            ("counts", Kind::Json),
            ("parts", Number),
            ("parts_digest", Bytes),
        ],
    ),
    relation(
        "retired_part",
        4,
        &[
            ("batch_id", Number),
            ("relation", Text),
            ("month", Instant),
            ("retirement", Instant),
            ("rows", Number),
            ("digest", Bytes),
        ],
    ),
    relation("rejections_retired", 1, &[("before", Instant), ("retired_at", Instant), ("rows", Number)]),
    relation(
        "pinned_summary",
        4,
        &[
            ("version_id", Number),
            ("output_id", Number),
            ("slice", Text),
            ("bucket", Instant),
            ("body", Bytes),
            ("predictions", Number),
            ("labelled", Number),
            ("batch_id", Number),
            ("known_at", Instant),
            ("fold_digest", Text),
            ("reference_id", Number),
            ("pinned_at", Instant),
        ],
    ),
    relation(
        "pinned_input",
        1,
        &[
            ("input_id", Number),
            ("version_id", Number),
            ("window_from", Instant),
            ("window_to", Instant),
            ("known_at", Instant),
            ("recorded", Number),
            ("plan_id", Number),
            ("reference_id", Number),
            ("reason", Text),
            ("pinned_at", Instant),
        ],
    ),
    relation("pinned_part", 3, &[("input_id", Number), ("output_id", Number), ("slice", Text), ("digest", Bytes)]),
    relation("pinned_body", 1, &[("digest", Bytes), ("body", Bytes)]),
];

impl Relation {
    /// The table of this name, if its rows are sealed.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        RELATIONS.iter().find(|relation| relation.name == name)
    }

    /// The expression that hashes a row. Explicit, so that it depends on no setting, no function of ours and no release of Postgres.
    #[must_use]
    pub(super) fn leaf(&self) -> String {
        let head =
            format!("{} || {}", prefixed("convert_to('dosimeter row 1', 'UTF8')"), prefixed(&literal(self.name)));
        let columns = self.columns.iter().map(|(name, kind)| {
            let bytes = if *kind == Kind::Json { format!("j.{name}") } else { kind.bytes(&format!("r.{name}")) };
            format!("coalesce(decode('01', 'hex') || {}, decode('00', 'hex'))", prefixed(&bytes))
        });
        let columns: Vec<String> = columns.collect();
        format!("sha256({head} || {})", columns.join(" || "))
    }

    /// The rows that [`Relation::leaf`] hashes. JSON is written out once, though its length and its bytes are both wanted.
    #[must_use]
    pub(super) fn rows(&self) -> String {
        let json = self.columns.iter().filter(|(_, kind)| *kind == Kind::Json);
        let json: Vec<String> =
            json.map(|(name, kind)| format!("{} as {name}", kind.bytes(&format!("r.{name}")))).collect();
        // The offset keeps the planner from writing the expression wherever its result is named.
        let lateral = format!(" cross join lateral (select {} offset 0) j", json.join(", "));
        format!("{} r{}", self.name, if json.is_empty() { "" } else { &lateral })
    }

    /// The key as people read it, and the order of rows.
    #[must_use]
    pub(super) fn key_and_order(&self) -> (String, String) {
        let parts = self.columns[..self.key].iter().map(|(name, kind)| match kind {
            Kind::Instant => format!("'{name} ' || to_char(r.{name} at time zone 'UTC', 'YYYY-MM-DD')"),
            _ => format!("'{name} ' || r.{name}"),
        });
        let order = self.columns[..self.key].iter().map(|(name, kind)| match kind {
            Text => format!("r.{name} collate \"C\""),
            _ => format!("r.{name}"),
        });
        let (parts, order): (Vec<String>, Vec<String>) = (parts.collect(), order.collect());
        (format!("concat_ws(', ', {})", parts.join(", ")), order.join(", "))
    }
}

impl Kind {
    fn bytes(self, column: &str) -> String {
        match self {
            Self::Number => format!("int8send({column}::bigint)"),
            Self::Float => format!("float8send({column})"),
            Self::Bool => format!("boolsend({column})"),
            Self::Text => format!("convert_to({column}, 'UTF8')"),
            Self::Json => format!("convert_to({column}::text, 'UTF8')"),
            Self::Texts => format!("convert_to(array_to_json({column})::text, 'UTF8')"),
            Self::Bytes => column.to_owned(),
            Self::Instant => format!("timestamptz_send({column})"),
        }
    }
}

fn literal(name: &str) -> String {
    format!("convert_to('{name}', 'UTF8')")
}

/// Bytes behind their length.
fn prefixed(bytes: &str) -> String {
    format!("int8send(octet_length({bytes})::bigint) || {bytes}")
}
