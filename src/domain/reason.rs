//! Why a record was refused.

/// The reason of a rejection. There are few, so each can be a label; what exactly is wrong stands in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The row cannot be taken apart.
    MalformedRow,
    /// A field that must be there is not.
    MissingField,
    /// A time cannot be read.
    BadTime,
    /// A time is outside what the plan allows.
    TimeRange,
    /// A score is no number.
    BadScore,
    /// A score is no probability.
    ScoreRange,
    /// A prediction without a score.
    NoScores,
    /// An output or finding that the plan does not know.
    UnknownOutput,
    /// A statement of truth that is none.
    BadValue,
    /// A status that is none.
    BadStatus,
    /// A text that is too long.
    TooLong,
    /// A text with characters that it may not have.
    BadText,
    /// More versions of a model than the plan allows.
    TooManyVersions,
    /// A known identity with other content.
    Conflict,
    /// A whole file that cannot be read.
    UnreadableFile,
    /// Half of an inference whose other half never came.
    Unpaired,
    /// About a time whose rows are gone.
    Frozen,
    /// About somebody who was erased.
    Erased,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 18] = [
        Self::MalformedRow,
        Self::MissingField,
        Self::BadTime,
        Self::TimeRange,
        Self::BadScore,
        Self::ScoreRange,
        Self::NoScores,
        Self::UnknownOutput,
        Self::BadValue,
        Self::BadStatus,
        Self::TooLong,
        Self::BadText,
        Self::TooManyVersions,
        Self::Conflict,
        Self::UnreadableFile,
        Self::Unpaired,
        Self::Frozen,
        Self::Erased,
    ];

    /// The reason as one word, as it is stored and exported.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MalformedRow => "malformed-row",
            Self::MissingField => "missing-field",
            Self::BadTime => "bad-time",
            Self::TimeRange => "time-range",
            Self::BadScore => "bad-score",
            Self::ScoreRange => "score-range",
            Self::NoScores => "no-scores",
            Self::UnknownOutput => "unknown-output",
            Self::BadValue => "bad-value",
            Self::BadStatus => "bad-status",
            Self::TooLong => "too-long",
            Self::BadText => "bad-text",
            Self::TooManyVersions => "too-many-versions",
            Self::Conflict => "conflict",
            Self::UnreadableFile => "unreadable-file",
            Self::Unpaired => "unpaired",
            Self::Frozen => "frozen",
            Self::Erased => "erased",
        }
    }

    /// What it means and what to do about it, in general; the message of a rejection says what exactly is wrong.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::MalformedRow => {
                "the row cannot be taken apart; have the sender write it as the format asks, and deliver it again"
            }
            Self::MissingField => {
                "a field that every record has is empty; map it in the source's columns or constants, or mend the record"
            }
            Self::BadTime => "the time cannot be read; set time_format and time_zone of the source, or mend the record",
            Self::TimeRange => {
                "the time is outside what [intake] allows; set the sender's clock, or widen earliest or future_tolerance"
            }
            Self::BadScore => "the score is no number; set decimal of the source, or mend the record",
            Self::ScoreRange => "the score is no probability; have the model write 0 to 1, or make the output a value",
            Self::NoScores => "the prediction has no score; map the outputs' columns in the source's outputs",
            Self::UnknownOutput => "the plan has no such output or finding; add it to the model, or list it in ignore",
            Self::BadValue => "the statement of truth, the value or the embedding is none; mend the record",
            Self::BadStatus => {
                "the status is none of preliminary, final, amended, corrected, entered-in-error; mend the record"
            }
            Self::TooLong => "a text is longer than what is kept; does the column hold something else?",
            Self::BadText => "a text has control characters, or an & in an attribute; mend the record",
            Self::TooManyVersions => {
                "the model would have more versions than intake.most_versions; does the column hold something else? Else raise it"
            }
            Self::Conflict => {
                "a record of this identity is known with other content, and the first one stands; send the correction as a \
                 record of its own, with its own id or another instant"
            }
            Self::Unpaired => {
                "a request without its answer, or an answer without its request; send the one that is missing"
            }
            Self::Frozen => {
                "the record is about a time whose rows are gone (retention.rows), so what was said of it stands; leave it out"
            }
            Self::Erased => "the record is about somebody who was erased; leave it out of what you send",
            Self::UnreadableFile => "the whole file cannot be read; deliver it again, whole",
        }
    }
}
