//! Numbers as bytes: LEB128 of integers, zigzag of signed ones, and spectra.

use std::collections::BTreeMap;

use num_bigint::BigInt;

use crate::stats::channel::Scale;
use crate::stats::spectrum::{Channel, Spectrum};
use crate::summary::Bin;

/// Writes numbers and what is made of them.
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn unsigned(&mut self, mut value: u128) {
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

    pub(super) fn counts(&mut self, counts: &[u64]) {
        counts.iter().for_each(|count| self.unsigned((*count).into()));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.unsigned(text.len() as u128);
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn spectrum(&mut self, spectrum: &Spectrum) {
        self.unsigned(spectrum.level().into());
        self.unsigned(spectrum.channels().len() as u128);
        let mut previous = 0;
        for channel in spectrum.channels() {
            self.unsigned((channel.key - previous).into());
            previous = channel.key;
            self.counts(&channel.counts);
        }
    }

    pub(super) fn delays(&mut self, delays: &BTreeMap<u32, u64>) {
        self.unsigned(delays.len() as u128);
        for (hours, count) in delays {
            self.unsigned((*hours).into());
            self.unsigned((*count).into());
        }
    }

    pub(super) fn bin(&mut self, bin: &Bin) {
        self.unsigned(bin.negatives.into());
        self.unsigned(bin.positives.into());
        self.signed(bin.score_sum);
    }

    /// An integer of any size, without its zeros at the low end.
    pub(super) fn large(&mut self, value: &BigInt) {
        let zeros = value.trailing_zeros().unwrap_or(0);
        self.unsigned(zeros.into());
        let bytes = (value >> zeros).to_signed_bytes_le();
        self.unsigned(bytes.len() as u128);
        self.0.extend_from_slice(&bytes);
    }

    pub(super) fn signed(&mut self, value: i128) {
        self.unsigned(((value << 1) ^ (value >> 127)).cast_unsigned());
    }
}

/// Reads them back.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// Bytes with their length before them.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], &'static str> {
        let length = usize::try_from(self.count()?).map_err(|_| "length out of range")?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or("ends early")?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn unsigned(&mut self) -> Result<u128, &'static str> {
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

    pub(super) fn signed(&mut self) -> Result<i128, &'static str> {
        let value = self.unsigned()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    pub(super) fn count(&mut self) -> Result<u64, &'static str> {
        // Most counts are one byte long.
        if let Some((byte @ 0..=0x7F, rest)) = self.0.split_first() {
            self.0 = rest;
            return Ok(u64::from(*byte));
        }
        u64::try_from(self.unsigned()?).map_err(|_| "count out of range")
    }

    pub(super) fn counts<const N: usize>(&mut self) -> Result<[u64; N], &'static str> {
        let mut counts = [0; N];
        for count in &mut counts {
            *count = self.count()?;
        }
        Ok(counts)
    }

    pub(super) fn list(&mut self, length: usize) -> Result<Vec<u64>, &'static str> {
        (0..length).map(|_| self.count()).collect()
    }

    pub(super) fn delays(&mut self) -> Result<BTreeMap<u32, u64>, &'static str> {
        let mut delays = BTreeMap::new();
        for _ in 0..self.count()? {
            let hours = u32::try_from(self.count()?).map_err(|_| "delay out of range")?;
            delays.insert(hours, self.count()?);
        }
        Ok(delays)
    }

    pub(super) fn bin(&mut self) -> Result<Bin, &'static str> {
        Ok(Bin { negatives: self.count()?, positives: self.count()?, score_sum: self.signed()? })
    }

    /// The least and the greatest double, as sums over any number of rows, stay far below this.
    pub(super) fn large(&mut self) -> Result<BigInt, &'static str> {
        let zeros = self.count()?;
        if zeros > 1 << 13 {
            return Err("sum out of range");
        }
        Ok(BigInt::from_signed_bytes_le(self.bytes()?) << zeros)
    }

    pub(super) fn text(&mut self) -> Result<String, &'static str> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| "text is not UTF-8")
    }

    pub(super) fn spectrum(&mut self, scale: Scale) -> Result<Spectrum, &'static str> {
        let level = self.small()?;
        let mut key = 0_u64;
        let mut channels = Vec::new();
        for _ in 0..self.count()? {
            key = key.checked_add(self.count()?).ok_or("key out of range")?;
            channels.push(Channel { key, counts: self.counts()? });
        }
        Spectrum::from_channels(scale, level, channels)
    }

    pub(super) fn small(&mut self) -> Result<u8, &'static str> {
        u8::try_from(self.unsigned()?).map_err(|_| "level out of range")
    }
}
