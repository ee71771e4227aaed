//! The body of a normal entry: the commands of one turn, and what the log fixes about them.
//!
//! Layout, little endian: version u8 = 1, time_ms u64, entropy u64, count u32, then per command
//! its length u32 and bytes. An empty entry (a new leader's first) has no body at all.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A decoded body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The leader's Unix time in milliseconds when it proposed; never behind its earlier stamps.
    pub time_ms: u64,
    /// The leader's chance for this entry; machines' seeds derive from it.
    pub entropy: u64,
    /// The commands, in order.
    pub commands: Vec<Bytes>,
}

const VERSION: u8 = 1;

/// What is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Written by a newer program.
    #[error("entry body has version {0}, this program knows 1")]
    Version(u8),
    /// Cut short, or too long.
    #[error("entry body is malformed at byte {0}")]
    Malformed(usize),
}

impl Body {
    /// The bytes for the log.
    pub fn encode(&self) -> Bytes {
        let size: usize = self.commands.iter().map(|command| 4 + command.len()).sum();
        let mut out = BytesMut::with_capacity(21 + size);
        out.put_u8(VERSION);
        out.put_u64_le(self.time_ms);
        out.put_u64_le(self.entropy);
        out.put_u32_le(u32::try_from(self.commands.len()).expect("PACK_COMMANDS_MAX fits"));
        for command in &self.commands {
            out.put_u32_le(u32::try_from(command.len()).expect("COMMAND_BYTES_MAX fits"));
            out.put_slice(command);
        }
        out.freeze()
    }

    /// Reads what [`Body::encode`] wrote; the commands share `data`.
    ///
    /// # Errors
    /// When the version is unknown or the lengths do not add up.
    pub fn decode(mut data: Bytes) -> Result<Body, BodyError> {
        let total = data.len();
        let at = |data: &Bytes| BodyError::Malformed(total - data.len());
        if data.len() < 21 {
            return Err(at(&data));
        }
        let version = data.get_u8();
        if version != VERSION {
            return Err(BodyError::Version(version));
        }
        let (time_ms, entropy, count) = (data.get_u64_le(), data.get_u64_le(), data.get_u32_le());
        let mut commands = Vec::new();
        for _ in 0..count {
            if data.len() < 4 {
                return Err(at(&data));
            }
            let length = data.get_u32_le() as usize;
            if data.len() < length {
                return Err(at(&data));
            }
            commands.push(data.split_to(length));
        }
        if data.is_empty() { Ok(Body { time_ms, entropy, commands }) } else { Err(at(&data)) }
    }
}

/// The time stamp of a body without decoding the rest; `None` when there is none.
pub(crate) fn time_ms(data: &[u8]) -> Option<u64> {
    let (version, rest) = data.split_first()?;
    let time = rest.first_chunk::<8>()?;
    (*version == VERSION).then(|| u64::from_le_bytes(*time))
}

#[cfg(test)]
mod tests;
