//! The modules' bytes: staged part by part through the log, kept with the state, so that every
//! replica has them and a node that joins gets them with its snapshot.
//!
//! Rows: `B` sha256: total u64, received u64, time of the log at its first part u64; `b` sha256,
//! offset u64: a part. A module is complete when it has all bytes, and then they have the hash.
//! Bytes that no machine runs, or ran before, are forgotten after a while (`limits.rs`).

use std::collections::BTreeMap;

use pgraft_store::{ReadTables, StateStore};
use sha2::{Digest, Sha256};

use crate::change::Sha256Bytes;
use crate::fault::Fault;
use crate::fields::{Malformed, Reader, Writer};
use crate::limits::{HOST, MODULE_BYTES_MAX, STAGE_BYTES_MAX, STAGED_BYTES_MAX, STAGED_MS_MAX};
use crate::rejection::{HostCode, Rejection};
use crate::rows;

/// How much of a module is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Blob {
    total: u64,
    received: u64,
    since_ms: u64,
}

/// What is there of each module, a mirror of the rows.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    by_sha256: BTreeMap<Sha256Bytes, Blob>,
}

impl Blobs {
    pub(crate) fn load(state: &StateStore) -> Result<Blobs, Fault> {
        let mut blobs = Blobs::default();
        for (sha256, row) in rows::all(state, rows::BLOB)? {
            let sha256 = sha256.try_into().map_err(|_| Fault::Row("hash of a module"))?;
            let blob = Blob::decode(&row).map_err(|Malformed| Fault::Row("module"))?;
            blobs.by_sha256.insert(sha256, blob);
        }
        Ok(blobs)
    }

    /// Whether all bytes of a module are there.
    pub(crate) fn is_complete(&self, sha256: &Sha256Bytes) -> bool {
        self.by_sha256.get(sha256).is_some_and(|blob| blob.received == blob.total)
    }

    /// Whether anything of a module is there.
    #[cfg(test)]
    pub(crate) fn has_begun(&self, sha256: &Sha256Bytes) -> bool {
        self.by_sha256.contains_key(sha256)
    }

    /// Adds a part; how many bytes are there now. `used` tells which modules are run, or were.
    ///
    /// # Errors
    /// When the disk fails; the inner one when the part does not fit what is there.
    pub(crate) fn stage(
        &mut self,
        state: &mut StateStore,
        part: &Part<'_>,
        now_ms: u64,
        used: &dyn Fn(&Sha256Bytes) -> bool,
    ) -> Result<Result<u64, Rejection>, Fault> {
        let Part { sha256, total, offset, bytes } = *part;
        let there = self.by_sha256.get(&sha256).copied();
        let mut blob = match there {
            Some(blob) => blob,
            None => Blob { total, received: 0, since_ms: now_ms },
        };
        let end = offset.saturating_add(bytes.len() as u64);
        if let Err(why) = fits(part, &blob) {
            return Ok(Err(why));
        }
        if end <= blob.received {
            return Ok(Ok(blob.received));
        }
        if there.is_none() {
            self.make_room(state, total, now_ms, used)?;
        }
        blob.received = end;
        state.put(HOST, &part_key(&sha256, offset), bytes)?;
        self.by_sha256.insert(sha256, blob);
        if blob.received == blob.total {
            let whole = read_parts(state, &sha256)?;
            if <Sha256Bytes>::from(Sha256::digest(&whole)) != sha256 {
                self.forget(state, &sha256)?;
                let why = "the bytes of the module do not have the hash that they were sent under";
                return Ok(Err(Rejection::says(HostCode::Conflict, why)));
            }
        }
        state.put(HOST, &head_key(&sha256), &blob.encode())?;
        Ok(Ok(blob.received))
    }

    /// Keeps a whole module at once: those of genesis come with the program.
    pub(crate) fn keep(
        &mut self,
        state: &mut StateStore,
        sha256: Sha256Bytes,
        component: &[u8],
    ) -> Result<(), Fault> {
        let total = component.len() as u64;
        for (part, offset) in component.chunks(STAGE_BYTES_MAX).zip((0..).step_by(STAGE_BYTES_MAX))
        {
            state.put(HOST, &part_key(&sha256, offset), part)?;
        }
        let blob = Blob { total, received: total, since_ms: 0 };
        state.put(HOST, &head_key(&sha256), &blob.encode())?;
        self.by_sha256.insert(sha256, blob);
        Ok(())
    }

    /// Forgets what nobody uses: all that is old, and the oldest until `total` bytes more fit.
    fn make_room(
        &mut self,
        state: &mut StateStore,
        total: u64,
        now_ms: u64,
        used: &dyn Fn(&Sha256Bytes) -> bool,
    ) -> Result<(), Fault> {
        let mut unused: Vec<(u64, Sha256Bytes, u64)> = self
            .by_sha256
            .iter()
            .filter(|(sha256, _)| !used(sha256))
            .map(|(sha256, blob)| (blob.since_ms, *sha256, blob.total))
            .collect();
        unused.sort_unstable();
        let mut bytes: u64 = total + unused.iter().map(|(_, _, total)| total).sum::<u64>();
        for (since_ms, sha256, total) in unused {
            let old = since_ms.saturating_add(STAGED_MS_MAX) < now_ms;
            if !old && bytes <= STAGED_BYTES_MAX {
                break;
            }
            self.forget(state, &sha256)?;
            bytes -= total;
        }
        Ok(())
    }

    fn forget(&mut self, state: &mut StateStore, sha256: &Sha256Bytes) -> Result<(), Fault> {
        self.by_sha256.remove(sha256);
        let start = rows::key(rows::BLOB_PART, &[sha256]);
        let end = rows::key(rows::BLOB_PART, &[sha256, &[0xff; 9]]);
        state.delete_range(HOST, &start, &end)?;
        state.delete(HOST, &head_key(sha256))?;
        Ok(())
    }
}

/// A part of a module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) sha256: Sha256Bytes,
    pub(crate) total: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: &'a [u8],
}

fn fits(part: &Part<'_>, blob: &Blob) -> Result<(), Rejection> {
    let Part { total, offset, bytes, .. } = *part;
    let says = |code, text: String| Err(Rejection::says(code, text));
    if total == 0 || total > MODULE_BYTES_MAX {
        let text = format!("a module of {total} bytes; 1 to {MODULE_BYTES_MAX} are allowed");
        return says(HostCode::Quota, text);
    }
    if bytes.is_empty() || bytes.len() > STAGE_BYTES_MAX {
        let (length, most) = (bytes.len(), STAGE_BYTES_MAX);
        return says(HostCode::Quota, format!("a part of {length} bytes; 1 to {most} are allowed"));
    }
    if total != blob.total {
        let text = format!("the module was said to have {} bytes, now {total}", blob.total);
        return says(HostCode::Conflict, text);
    }
    let end = offset.saturating_add(bytes.len() as u64);
    if offset > blob.received || end > total || (end > blob.received && offset < blob.received) {
        let text = format!("a part at {offset}; {} of {total} bytes are there", blob.received);
        return says(HostCode::Conflict, text);
    }
    Ok(())
}

impl Blob {
    fn encode(self) -> Vec<u8> {
        let mut out = Writer::default();
        [self.total, self.received, self.since_ms].into_iter().for_each(|field| out.u64(field));
        out.0
    }

    fn decode(row: &[u8]) -> Result<Blob, Malformed> {
        let mut fields = Reader(row);
        let (total, received) = (fields.u64()?, fields.u64()?);
        let blob = Blob { total, received, since_ms: fields.u64()? };
        fields.end()?;
        Ok(blob)
    }
}

/// The bytes of a module, when all are there.
///
/// # Errors
/// When the disk fails.
pub(crate) fn read(
    state: &impl ReadTables,
    sha256: &Sha256Bytes,
) -> Result<Option<Vec<u8>>, Fault> {
    let Some(row) = state.get(HOST, &head_key(sha256))? else { return Ok(None) };
    let blob = Blob::decode(&row).map_err(|Malformed| Fault::Row("module"))?;
    if blob.received < blob.total { Ok(None) } else { read_parts(state, sha256).map(Some) }
}

fn read_parts(state: &impl ReadTables, sha256: &Sha256Bytes) -> Result<Vec<u8>, Fault> {
    let mut whole = Vec::new();
    while let Some(part) = state.get(HOST, &part_key(sha256, whole.len() as u64))? {
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}

fn head_key(sha256: &Sha256Bytes) -> Vec<u8> {
    rows::key(rows::BLOB, &[sha256])
}

fn part_key(sha256: &Sha256Bytes, offset: u64) -> Vec<u8> {
    rows::key(rows::BLOB_PART, &[sha256, &offset.to_be_bytes()])
}
