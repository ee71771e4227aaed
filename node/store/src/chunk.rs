//! The frames of a snapshot stream: numbered, checksummed, of limited size.
//!
//! The stream is header, rows, trailer. The rows of all keyspaces are one sequence of bytes cut
//! into chunks at any place, so that a row may be larger than a chunk.

use bytes::Bytes;

use crate::Meta;
use crate::decode::{Fields, Malformed};
use crate::digest::{AllTotals, decode_totals, encode_totals};
use crate::limits::{CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES};
use crate::meta::{decode_meta, encode_meta};

/// "PGSN" read as little endian.
const MAGIC: u32 = u32::from_le_bytes(*b"PGSN");
/// The format this program writes and reads.
const VERSION: u8 = 1;
/// Bytes of a chunk's body.
pub(crate) const BODY_BYTES_MAX: usize = CHUNK_BYTES_MAX - CHUNK_HEADER_BYTES;
/// Bytes before a row: machine u32, key length u32, value length u32.
pub(crate) const ROW_HEADER_BYTES: usize = 12;

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkKind {
    /// Meta of the state; the first chunk.
    Header,
    /// A piece of the sequence of rows.
    Rows,
    /// Totals of all keyspaces; the last chunk.
    Trailer,
}

impl ChunkKind {
    fn code(self) -> u8 {
        match self {
            ChunkKind::Header => 1,
            ChunkKind::Rows => 2,
            ChunkKind::Trailer => 3,
        }
    }
}

/// What stands before a chunk's body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkHead {
    pub(crate) kind: ChunkKind,
    pub(crate) body_bytes: usize,
    crc: u32,
}

fn fixed(kind: ChunkKind, number: u64, body_bytes: usize) -> [u8; 20] {
    let mut head = [0; 20];
    head[..4].copy_from_slice(&MAGIC.to_le_bytes());
    head[4] = kind.code();
    head[5] = VERSION;
    head[8..16].copy_from_slice(&number.to_le_bytes());
    let body_bytes = u32::try_from(body_bytes).expect("BODY_BYTES_MAX fits u32");
    head[16..].copy_from_slice(&body_bytes.to_le_bytes());
    head
}

/// crc32c over the first 20 bytes of the header and the body.
fn chunk_crc(head: &[u8; 20], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(head), body)
}

pub(crate) fn encode_chunk(kind: ChunkKind, number: u64, body: &[u8]) -> Bytes {
    assert!(body.len() <= BODY_BYTES_MAX, "chunk body of {} bytes", body.len());
    let head = fixed(kind, number, body.len());
    let mut out = Vec::with_capacity(CHUNK_HEADER_BYTES + body.len());
    out.extend_from_slice(&head);
    out.extend_from_slice(&chunk_crc(&head, body).to_le_bytes());
    out.extend_from_slice(body);
    out.into()
}

/// Reads a header; `number` is what the next chunk must be.
pub(crate) fn decode_head(bytes: &[u8], number: u64) -> Result<ChunkHead, Malformed> {
    let mut fields = Fields::new(bytes);
    if fields.u32()? != MAGIC {
        return Err(fields.bad("no snapshot chunk"));
    }
    let kind = match fields.bytes(1)?[0] {
        1 => ChunkKind::Header,
        2 => ChunkKind::Rows,
        3 => ChunkKind::Trailer,
        _ => return Err(fields.bad("unknown chunk kind")),
    };
    if fields.bytes(1)?[0] != VERSION {
        return Err(fields.bad("unknown version of the snapshot format"));
    }
    if fields.u16()? != 0 {
        return Err(fields.bad("reserved bytes are not zero"));
    }
    if fields.u64()? != number {
        return Err(fields.bad("chunk missing, repeated or out of order"));
    }
    let body_bytes = fields.count(BODY_BYTES_MAX)?;
    Ok(ChunkHead { kind, body_bytes, crc: fields.u32()? })
}

impl ChunkHead {
    /// Whether this header belongs to this body.
    pub(crate) fn check(&self, number: u64, body: &[u8]) -> Result<(), Malformed> {
        if chunk_crc(&fixed(self.kind, number, body.len()), body) == self.crc {
            Ok(())
        } else {
            Err(Malformed { what: "chunk checksum differs", at: 0 })
        }
    }
}

pub(crate) fn encode_header(meta: &Meta) -> Vec<u8> {
    let mut body = Vec::new();
    encode_meta(meta, &mut body);
    body
}

pub(crate) fn decode_header(body: &[u8]) -> Result<Meta, Malformed> {
    let mut fields = Fields::new(body);
    let meta = decode_meta(&mut fields)?;
    fields.end()?;
    Ok(meta)
}

pub(crate) fn encode_trailer(totals: &AllTotals) -> Vec<u8> {
    let mut body = Vec::new();
    encode_totals(totals, &mut body);
    body
}

pub(crate) fn decode_trailer(body: &[u8]) -> Result<AllTotals, Malformed> {
    let mut fields = Fields::new(body);
    let totals = decode_totals(&mut fields)?;
    fields.end()?;
    Ok(totals)
}
