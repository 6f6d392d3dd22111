//! Rows in the binary format of `COPY`: nothing is written as text only to be parsed again.
//!
//! The format is that of the Postgres manual, `COPY`, "Binary Format". Sent in pieces, so memory stays flat.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgCopyIn;

use super::{Named, Result, Transaction};

/// So many bytes are sent at a time.
const PIECE: usize = 1 << 20;
/// Postgres counts microseconds from the year 2000.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// Numbers of the types of array elements (`pg_type.oid`).
const INT4: u32 = 23;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;

/// A `COPY ... FROM STDIN (FORMAT binary)` under way.
pub(super) struct CopyBinary<'t> {
    copy: PgCopyIn<&'t mut sqlx::PgConnection>,
    statement: &'static str,
    bytes: Vec<u8>,
}

impl<'t> CopyBinary<'t> {
    /// Begin.
    pub(super) async fn begin(transaction: &'t mut Transaction, statement: &'static str) -> Result<Self> {
        let copy = transaction.copy_in_raw(statement).await.named(statement)?;
        let mut bytes = Vec::with_capacity(PIECE + PIECE / 4);
        bytes.extend_from_slice(b"PGCOPY\n\xff\r\n\0");
        // No flags, no extension of the header.
        bytes.extend_from_slice(&[0; 8]);
        Ok(Self { copy, statement, bytes })
    }

    /// Write a row of so many fields.
    pub(super) async fn row(&mut self, fields: i16, write: impl FnOnce(&mut Fields<'_>)) -> Result<()> {
        self.bytes.extend_from_slice(&fields.to_be_bytes());
        write(&mut Fields(&mut self.bytes));
        if self.bytes.len() >= PIECE {
            self.copy.send(self.bytes.as_slice()).await.named(self.statement)?;
            self.bytes.clear();
        }
        Ok(())
    }

    /// Send the rest. Returns how many rows Postgres took.
    pub(super) async fn finish(mut self) -> Result<u64> {
        self.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
        self.copy.send(self.bytes.as_slice()).await.named(self.statement)?;
        self.copy.finish().await.named(self.statement)
    }
}

/// The fields of a row, in the order of the statement's columns.
pub(super) struct Fields<'b>(&'b mut Vec<u8>);

impl Fields<'_> {
    /// A field of any length, written by `write`, with its length before it.
    fn sized(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        write(self.0);
        // unwrap safety: a field holds a part of one record, and records are some kilobytes.
        let length = i32::try_from(self.0.len() - at - 4).unwrap_or(i32::MAX);
        self.0[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    pub(super) fn null(&mut self) {
        self.0.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn optional_text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.sized(|out| out.extend_from_slice(bytes));
    }

    pub(super) fn int2(&mut self, number: i16) {
        self.bytes(&number.to_be_bytes());
    }

    pub(super) fn int4(&mut self, number: i32) {
        self.bytes(&number.to_be_bytes());
    }

    pub(super) fn int8(&mut self, number: i64) {
        self.bytes(&number.to_be_bytes());
    }

    pub(super) fn instant(&mut self, at: DateTime<Utc>) {
        self.int8(at.timestamp_micros() - EPOCH_MICROS);
    }

    pub(super) fn json(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.sized(|out| {
            // The version of jsonb's format.
            out.push(1);
            write(out);
        });
    }

    pub(super) fn int4s(&mut self, numbers: impl ExactSizeIterator<Item = i32>) {
        self.array(INT4, numbers.map(i32::to_be_bytes));
    }

    pub(super) fn float8s(&mut self, numbers: impl ExactSizeIterator<Item = f64>) {
        self.array(FLOAT8, numbers.map(f64::to_be_bytes));
    }

    pub(super) fn float4s(&mut self, numbers: impl ExactSizeIterator<Item = f32>) {
        self.array(FLOAT4, numbers.map(f32::to_be_bytes));
    }

    /// An array of one dimension, without nulls.
    fn array<const N: usize>(&mut self, element: u32, items: impl ExactSizeIterator<Item = [u8; N]>) {
        self.sized(|out| {
            // unwrap safety: the door bounds how many outputs and coordinates a record has.
            let length = i32::try_from(items.len()).unwrap_or(i32::MAX);
            // An empty array has no dimension.
            out.extend_from_slice(&i32::from(length != 0).to_be_bytes());
            out.extend_from_slice(&0_i32.to_be_bytes());
            out.extend_from_slice(&element.to_be_bytes());
            if length > 0 {
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(&1_i32.to_be_bytes());
            }
            for item in items {
                out.extend_from_slice(&i32::try_from(N).unwrap_or_default().to_be_bytes());
                out.extend_from_slice(&item);
            }
        });
    }
}
