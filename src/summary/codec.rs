//! The stored form of a summary: a version byte, LEB128 variable-length integers, and a checksum.
//!
//! Layout 1, an output: level, channels (key differences and three counts), moments (zigzag), delays, and, beside a coarse
//! spectrum, thresholds and reliability tables. Layout 2, a feature: level and channels of numbers (key differences and
//! counts), categories, special counts. Layout 3, readers: tables by number of readers, tables by couple. Layout 4, a choice:
//! classes, counts, a spectrum for every class by true class, the table of top scores, losses, delays. Layout 5, a value: spectra of
//! predictions and errors, exact sums (trailing zeros, then bytes), delays. Layout 6, embeddings: counts, spectra of distances and
//! errors, exact sums, random features. Layout 7, a sealed day: scale, channels and two counts. Layout 8, a sealed day
//! of which more is known: the same, cases with a known subject, spectra of subjects, pairs by version, the reference of a projector. The
//! last four bytes are the first four of the SHA-256 of everything before them. A change takes a new byte; an old layout always decodes.

mod bytes;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use self::bytes::{Reader, Writer};
use super::agreement::{Agreement, Readings};
use super::body::Body;
use super::classes::{ClassSummary, TOP_BINS};
use super::embedding::EmbeddingSummary;
use super::feature::{FeatureSummary, Special};
use super::sealed::{Pair, Sealed};
use super::value::{Sums, ValueSummary};
use super::{BIN_COUNTS, Beside, Summary};
use crate::stats::channel::Scale;
use crate::stats::moments::Moments;
use crate::stats::projector::FEATURES;
use crate::stats::spectrum::Class;

const OUTPUT: u8 = 1;
const FEATURE: u8 = 2;
const READERS: u8 = 3;
const CLASSES: u8 = 4;
const VALUE: u8 = 5;
const EMBEDDING: u8 = 6;
const SEALED: u8 = 7;
const SEALED_MORE: u8 = 8;
const CHECKSUM: usize = 4;

/// Why stored bytes are no summary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a later release.
    #[error("layout version {0} is not known to this release; upgrade dosimeter")]
    UnknownVersion(u8),
    /// Changed since it was written.
    #[error("the checksum does not match: the bytes are damaged")]
    Checksum,
    /// Ends early, or contradicts itself.
    #[error("the bytes are malformed: {0}")]
    Malformed(&'static str),
}

/// The canonical bytes of a summary: equal summaries have equal bytes.
#[must_use]
pub fn encode(body: &Body) -> Vec<u8> {
    checked(match body {
        Body::Output(summary) => encode_output(summary),
        Body::Feature(summary) => encode_feature(summary),
        Body::Readers(summary) => encode_readers(summary),
        Body::Classes(summary) => encode_classes(summary),
        Body::Value(summary) => encode_value(summary),
        Body::Embedding(summary) => encode_embedding(summary),
    })
}

/// The canonical bytes of a sealed day.
#[must_use]
pub fn encode_sealed(sealed: &Sealed) -> Vec<u8> {
    let plain = Sealed::of(sealed.spectrum.clone(), sealed.matured, sealed.settled);
    let more = plain != *sealed;
    let mut out = Writer(vec![if more { SEALED_MORE } else { SEALED }]);
    out.unsigned(u128::from(sealed.spectrum.of_scale() == Scale::Real));
    out.spectrum(&sealed.spectrum);
    out.counts(&[sealed.matured, sealed.settled]);
    if more {
        out.counts(&[sealed.named, sealed.subjects.len() as u64]);
        sealed.subjects.iter().for_each(|cases| out.spectrum(cases));
        out.unsigned(sealed.pairs.len() as u128);
        for (version, pairs) in &sealed.pairs {
            out.counts(&[u64::from(version.unsigned_abs()), pairs.len() as u64]);
            pairs.iter().for_each(|pair| out.counts(&[pair.own, pair.other, pair.class.index() as u64]));
        }
        out.unsigned(sealed.seen_through.unwrap_or_default().unsigned_abs().into());
    }
    checked(out)
}

/// The bytes with their checksum.
fn checked(mut out: Writer) -> Vec<u8> {
    let digest = Sha256::digest(&out.0);
    out.0.extend_from_slice(&digest[..CHECKSUM]);
    out.0
}

fn encode_output(summary: &Summary) -> Writer {
    let mut out = Writer(vec![OUTPUT]);
    out.spectrum(&summary.spectrum);
    summary.moments.values().for_each(|sum| out.signed(*sum));
    out.delays(&summary.delays);
    out.unsigned(summary.beside.thresholds.len() as u128);
    for (bits, counts) in &summary.beside.thresholds {
        out.unsigned((*bits).into());
        out.counts(counts);
    }
    summary.beside.tables.iter().flatten().for_each(|bin| out.bin(bin));
    out
}

fn encode_classes(summary: &ClassSummary) -> Writer {
    let mut out = Writer(vec![CLASSES]);
    out.unsigned(summary.classes() as u128);
    if summary.classes() == 0 {
        return out;
    }
    out.unsigned(summary.incomplete.into());
    out.counts(&summary.predicted);
    out.counts(&summary.confusion);
    out.counts(&summary.ranks);
    summary.scores.iter().for_each(|spectrum| out.spectrum(spectrum));
    summary.top.iter().for_each(|bin| out.bin(bin));
    summary.losses.iter().for_each(|sum| out.signed(*sum));
    out.delays(&summary.delays);
    out
}

fn encode_value(summary: &ValueSummary) -> Writer {
    let mut out = Writer(vec![VALUE]);
    out.spectrum(&summary.predictions);
    out.spectrum(&summary.errors);
    summary.sums.values().for_each(|sum| out.large(sum));
    out.unsigned(summary.not_zero.into());
    out.delays(&summary.delays);
    out
}

fn encode_feature(summary: &FeatureSummary) -> Writer {
    let mut out = Writer(vec![FEATURE]);
    out.spectrum(&summary.numbers);
    out.unsigned(summary.categories.len() as u128);
    for (category, count) in &summary.categories {
        out.text(category);
        out.unsigned((*count).into());
    }
    out.counts(&summary.special.counts());
    out
}

fn encode_readers(summary: &Agreement) -> Writer {
    let mut out = Writer(vec![READERS]);
    out.unsigned(summary.by_readers.len() as u128);
    for (readers, table) in &summary.by_readers {
        out.unsigned((*readers).into());
        out.unsigned(table.cases.into());
        out.counts(&table.opinions);
        table.pairs.iter().for_each(|row| out.counts(row));
    }
    out.unsigned(summary.couples.len() as u128);
    for ((first, second), table) in &summary.couples {
        out.text(first);
        out.text(second);
        table.iter().for_each(|row| out.counts(row));
    }
    out
}

fn encode_embedding(summary: &EmbeddingSummary) -> Writer {
    let mut out = Writer(vec![EMBEDDING]);
    out.unsigned(summary.missing.into());
    out.unsigned(summary.unseen.into());
    out.spectrum(&summary.distances);
    out.spectrum(&summary.errors);
    summary.error_sums.iter().for_each(|sum| out.large(sum));
    out.unsigned(summary.features.len() as u128);
    summary.features.iter().for_each(|sum| out.signed(*sum));
    out
}

/// Read a summary back.
///
/// # Errors
/// When the bytes are damaged, malformed or of a later layout.
pub fn decode(bytes: &[u8]) -> Result<Body, DecodeError> {
    let (layout, mut input) = unchecked(bytes)?;
    let decoded = match layout {
        OUTPUT => decode_output(&mut input).map(Body::Output),
        FEATURE => decode_feature(&mut input).map(Body::Feature),
        READERS => decode_readers(&mut input).map(Body::Readers),
        CLASSES => decode_classes(&mut input).map(Body::Classes),
        VALUE => decode_value(&mut input).map(Body::Value),
        EMBEDDING => decode_embedding(&mut input).map(Body::Embedding),
        other => return Err(DecodeError::UnknownVersion(other)),
    };
    whole(decoded, &input)
}

/// Read a sealed day back.
///
/// # Errors
/// As [`decode`].
pub fn decode_sealed(bytes: &[u8]) -> Result<Sealed, DecodeError> {
    let (layout, mut input) = unchecked(bytes)?;
    if ![SEALED, SEALED_MORE].contains(&layout) {
        return Err(DecodeError::UnknownVersion(layout));
    }
    let mut read = || {
        let scale = if input.small()? == 1 { Scale::Real } else { Scale::Probability };
        let spectrum = input.spectrum(scale)?;
        let [matured, settled] = input.counts()?;
        let mut sealed = Sealed::of(spectrum, matured, settled);
        if layout == SEALED_MORE {
            let number = |count: u64| i32::try_from(count).map_err(|_| "a number out of range");
            let [named, subjects] = input.counts()?;
            sealed.named = named;
            sealed.subjects = (0..subjects).map(|_| input.spectrum(scale)).collect::<Result<_, _>>()?;
            for _ in 0..input.count()? {
                let [version, pairs] = input.counts()?;
                let pairs = (0..pairs).map(|_| decode_pair(&mut input)).collect::<Result<_, _>>()?;
                sealed.pairs.insert(number(version)?, pairs);
            }
            sealed.seen_through = Some(number(input.count()?)?).filter(|number| *number > 0);
        }
        Ok(sealed)
    };
    let decoded = read();
    whole(decoded, &input)
}

fn decode_pair(input: &mut Reader<'_>) -> Result<Pair, &'static str> {
    let [own, other, class] = input.counts()?;
    let class = Class::ALL.into_iter().find(|known| known.index() as u64 == class).ok_or("a class out of range")?;
    Ok(Pair { own, other, class })
}

/// The layout and what follows it, once the checksum holds.
fn unchecked(bytes: &[u8]) -> Result<(u8, Reader<'_>), DecodeError> {
    let split = bytes.len().checked_sub(CHECKSUM).ok_or(DecodeError::Malformed("too short"))?;
    let (body, checksum) = bytes.split_at(split);
    if Sha256::digest(body)[..CHECKSUM] != *checksum {
        return Err(DecodeError::Checksum);
    }
    let (layout, rest) = body.split_first().ok_or(DecodeError::Malformed("empty"))?;
    Ok((*layout, Reader(rest)))
}

/// What was decoded, if nothing is left over.
fn whole<T>(decoded: Result<T, &'static str>, rest: &Reader<'_>) -> Result<T, DecodeError> {
    match decoded {
        Ok(_) if !rest.0.is_empty() => Err(DecodeError::Malformed("bytes left over")),
        decoded => decoded.map_err(DecodeError::Malformed),
    }
}

fn decode_feature(input: &mut Reader<'_>) -> Result<FeatureSummary, &'static str> {
    let numbers = input.spectrum(Scale::Real)?;
    let mut categories = BTreeMap::new();
    for _ in 0..input.count()? {
        categories.insert(input.text()?, input.count()?);
    }
    Ok(FeatureSummary { numbers, categories, special: Special::from_counts(input.counts()?) })
}

fn decode_readers(input: &mut Reader<'_>) -> Result<Agreement, &'static str> {
    let mut agreement = Agreement::default();
    for _ in 0..input.count()? {
        let readers = u32::try_from(input.count()?).map_err(|_| "readers out of range")?;
        let (cases, opinions) = (input.count()?, input.counts()?);
        let pairs = [input.counts()?, input.counts()?, input.counts()?];
        agreement.by_readers.insert(readers, Readings { cases, opinions, pairs });
    }
    for _ in 0..input.count()? {
        let couple = (input.text()?, input.text()?);
        agreement.couples.insert(couple, [input.counts()?, input.counts()?, input.counts()?]);
    }
    Ok(agreement)
}

fn decode_output(input: &mut Reader<'_>) -> Result<Summary, &'static str> {
    let spectrum = input.spectrum(Scale::Probability)?;
    let mut moments = Moments::default();
    for sum in moments.values_mut() {
        *sum = input.signed()?;
    }
    let delays = input.delays()?;
    let mut beside = Beside::default();
    for _ in 0..input.count()? {
        let bits = input.count()?;
        beside.thresholds.insert(bits, input.counts()?);
    }
    if !spectrum.is_exact() {
        for bins in BIN_COUNTS {
            beside.tables.push((0..bins).map(|_| input.bin()).collect::<Result<_, _>>()?);
        }
    }
    Summary::from_parts(spectrum, moments, delays, beside)
}

/// More classes than any plan has: what claims more is damaged.
const MOST_CLASSES: u64 = 1000;

fn decode_classes(input: &mut Reader<'_>) -> Result<ClassSummary, &'static str> {
    let classes = match input.count()? {
        0 => return Ok(ClassSummary::default()),
        classes if classes > MOST_CLASSES => return Err("classes out of range"),
        classes => usize::try_from(classes).map_err(|_| "classes out of range")?,
    };
    Ok(ClassSummary {
        incomplete: input.count()?,
        predicted: input.list(classes)?,
        confusion: input.list(classes * classes)?,
        ranks: input.list(classes)?,
        scores: (0..classes * classes).map(|_| input.spectrum(Scale::Probability)).collect::<Result<_, _>>()?,
        top: (0..TOP_BINS).map(|_| input.bin()).collect::<Result<_, _>>()?,
        losses: [input.signed()?, input.signed()?, input.signed()?, input.signed()?],
        delays: input.delays()?,
    })
}

fn decode_value(input: &mut Reader<'_>) -> Result<ValueSummary, &'static str> {
    let (predictions, errors) = (input.spectrum(Scale::Real)?, input.spectrum(Scale::Real)?);
    let mut sums = Sums::default();
    for sum in sums.values_mut() {
        *sum = input.large()?;
    }
    Ok(ValueSummary { predictions, errors, sums, not_zero: input.count()?, delays: input.delays()? })
}

fn decode_embedding(input: &mut Reader<'_>) -> Result<EmbeddingSummary, &'static str> {
    let (missing, unseen) = (input.count()?, input.count()?);
    let (distances, errors) = (input.spectrum(Scale::Real)?, input.spectrum(Scale::Real)?);
    let error_sums = [input.large()?, input.large()?];
    let features = match input.count()? {
        0 => Vec::new(),
        count if count == FEATURES as u64 => (0..count).map(|_| input.signed()).collect::<Result<_, _>>()?,
        _ => return Err("random features out of range"),
    };
    Ok(EmbeddingSummary { missing, unseen, distances, errors, error_sums, features })
}
