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
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 16] = [
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
        }
    }
}
