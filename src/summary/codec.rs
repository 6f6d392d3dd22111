//! The stored form of a summary: a version byte, LEB128 variable-length integers, and a checksum.
//!
//! Version 1: level, channels (key differences and three counts), moments (zigzag), delays, and, beside a coarse spectrum,
//! thresholds and reliability tables. The last four bytes are the first four of the SHA-256 of everything before them.
//! A change of layout takes a new version byte; an old version always decodes.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{BIN_COUNTS, Beside, Bin, Summary};
use crate::stats::moments::Moments;
use crate::stats::spectrum::{Channel, Spectrum};

const VERSION: u8 = 1;
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
pub fn encode(summary: &Summary) -> Vec<u8> {
    let mut out = Writer(vec![VERSION]);
    out.unsigned(summary.spectrum.level().into());
    out.unsigned(summary.spectrum.channels().len() as u128);
    let mut previous = 0;
    for channel in summary.spectrum.channels() {
        out.unsigned((channel.key - previous).into());
        previous = channel.key;
        channel.counts.iter().for_each(|count| out.unsigned((*count).into()));
    }
    summary.moments.values().for_each(|sum| out.signed(*sum));
    out.unsigned(summary.delays.len() as u128);
    for (hours, count) in &summary.delays {
        out.unsigned((*hours).into());
        out.unsigned((*count).into());
    }
    out.unsigned(summary.beside.thresholds.len() as u128);
    for (bits, counts) in &summary.beside.thresholds {
        out.unsigned((*bits).into());
        counts.iter().for_each(|count| out.unsigned((*count).into()));
    }
    for bin in summary.beside.tables.iter().flatten() {
        out.unsigned(bin.negatives.into());
        out.unsigned(bin.positives.into());
        out.signed(bin.score_sum);
    }
    let digest = Sha256::digest(&out.0);
    out.0.extend_from_slice(&digest[..CHECKSUM]);
    out.0
}

/// Read a summary back.
///
/// # Errors
/// When the bytes are damaged, malformed or of a later layout.
pub fn decode(bytes: &[u8]) -> Result<Summary, DecodeError> {
    let split = bytes.len().checked_sub(CHECKSUM).ok_or(DecodeError::Malformed("too short"))?;
    let (body, checksum) = bytes.split_at(split);
    if Sha256::digest(body)[..CHECKSUM] != *checksum {
        return Err(DecodeError::Checksum);
    }
    match body.split_first() {
        Some((&VERSION, rest)) => decode_1(&mut Reader(rest)).map_err(DecodeError::Malformed),
        Some((version, _)) => Err(DecodeError::UnknownVersion(*version)),
        None => Err(DecodeError::Malformed("empty")),
    }
}

fn decode_1(input: &mut Reader<'_>) -> Result<Summary, &'static str> {
    let level = input.small()?;
    let mut key = 0_u64;
    let mut channels = Vec::new();
    for _ in 0..input.count()? {
        key = key.checked_add(input.count()?).ok_or("key out of range")?;
        channels.push(Channel { key, counts: input.counts()? });
    }
    let spectrum = Spectrum::from_channels(level, channels)?;
    let mut moments = Moments::default();
    for sum in moments.values_mut() {
        *sum = input.signed()?;
    }
    let mut delays = BTreeMap::new();
    for _ in 0..input.count()? {
        let hours = u32::try_from(input.count()?).map_err(|_| "delay out of range")?;
        delays.insert(hours, input.count()?);
    }
    let mut beside = Beside::default();
    for _ in 0..input.count()? {
        let bits = input.count()?;
        beside.thresholds.insert(bits, input.counts()?);
    }
    if !spectrum.is_exact() {
        for bins in BIN_COUNTS {
            let table = (0..bins)
                .map(|_| Ok(Bin { negatives: input.count()?, positives: input.count()?, score_sum: input.signed()? }));
            beside.tables.push(table.collect::<Result<_, &'static str>>()?);
        }
    }
    if !input.0.is_empty() {
        return Err("bytes left over");
    }
    Summary::from_parts(spectrum, moments, delays, beside)
}

struct Writer(Vec<u8>);

impl Writer {
    fn unsigned(&mut self, mut value: u128) {
        loop {
            #[allow(clippy::cast_possible_truncation, reason = "masked to seven bits")]
            let low = (value & 0x7F) as u8;
            value >>= 7;
            if value == 0 {
                self.0.push(low);
                return;
            }
            self.0.push(low | 0x80);
        }
    }

    fn signed(&mut self, value: i128) {
        self.unsigned(((value << 1) ^ (value >> 127)).cast_unsigned());
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn unsigned(&mut self) -> Result<u128, &'static str> {
        let mut value = 0_u128;
        for shift in (0..128).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or("ends early")?;
            self.0 = rest;
            value |= u128::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("integer too long")
    }

    fn signed(&mut self) -> Result<i128, &'static str> {
        let value = self.unsigned()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    fn count(&mut self) -> Result<u64, &'static str> {
        // Most counts are one byte long.
        if let Some((byte @ 0..=0x7F, rest)) = self.0.split_first() {
            self.0 = rest;
            return Ok(u64::from(*byte));
        }
        u64::try_from(self.unsigned()?).map_err(|_| "count out of range")
    }

    fn counts(&mut self) -> Result<[u64; 3], &'static str> {
        Ok([self.count()?, self.count()?, self.count()?])
    }

    fn small(&mut self) -> Result<u8, &'static str> {
        u8::try_from(self.unsigned()?).map_err(|_| "level out of range")
    }
}
