//! Frames: the unit in which bytes cross a connection.
//!
//! `len u32 | kind u8 | flags u8 | version u16 | crc32c u32 | body`, all little-endian. `len`
//! counts the body; the checksum covers the eight bytes before it and the body.
//!
//! Not here: what a body means (`codec`, `handshake`, `rpc`, `snapshot`).

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::limits::{BODY_BYTES_FIRST, FRAME_BYTES_MAX, READ_BYTES};

/// Bytes before the body.
pub const HEADER_BYTES: usize = 12;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// The dialler says who it is and whom it wants.
    Hello,
    /// The listener agrees, and says who it is.
    Welcome,
    /// The listener does not agree, and says why. The connection ends.
    Refused,
    /// Are you there? Carries 8 bytes that come back.
    Ping,
    /// Answer to `Ping`.
    Pong,
    /// One message between replicas.
    Message,
    /// A request of the node's own RPC.
    Request,
    /// Answer to `Request`.
    Response,
    /// A snapshot follows: the `Snapshot` message.
    SnapshotBegin,
    /// One chunk of it.
    SnapshotChunk,
    /// That was all of it.
    SnapshotEnd,
    /// The sender gives up.
    SnapshotAbort,
    /// How far the receiver is.
    SnapshotAck,
    /// A node that is not a member yet asks for the genesis.
    Join,
    /// Answer to `Join`.
    JoinAnswer,
}

const KINDS: [(u8, FrameKind); 15] = [
    (1, FrameKind::Hello),
    (2, FrameKind::Welcome),
    (3, FrameKind::Refused),
    (4, FrameKind::Ping),
    (5, FrameKind::Pong),
    (16, FrameKind::Message),
    (32, FrameKind::Request),
    (33, FrameKind::Response),
    (48, FrameKind::SnapshotBegin),
    (49, FrameKind::SnapshotChunk),
    (50, FrameKind::SnapshotEnd),
    (51, FrameKind::SnapshotAbort),
    (52, FrameKind::SnapshotAck),
    (64, FrameKind::Join),
    (65, FrameKind::JoinAnswer),
];

impl FrameKind {
    /// The number on the wire.
    pub fn code(self) -> u8 {
        KINDS.iter().find(|(_, kind)| *kind == self).expect("every kind is in the table").0
    }

    /// `None` for a number that no kind has.
    pub fn from_code(code: u8) -> Option<FrameKind> {
        KINDS.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind)
    }
}

/// One received frame, its checksum verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub kind: FrameKind,
    /// The body; shares its allocation with nothing but slices of itself.
    pub body: Bytes,
}

/// Why bytes are not a frame. The connection cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than allowed; nothing was allocated for it.
    #[error("frame of {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Body and header.
        len: u64,
        /// The limit at this point of the conversation.
        max: usize,
    },
    /// A kind this version does not know.
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// Flags are reserved and must be zero.
    #[error("unknown frame flags {0:#04x}")]
    UnknownFlags(u8),
    /// Not the agreed protocol version.
    #[error("frame of protocol version {found}, agreed on {agreed}")]
    WrongVersion {
        /// In the frame.
        found: u16,
        /// In the handshake.
        agreed: u16,
    },
    /// Damaged on the way.
    #[error("frame checksum is {found:#010x}, computed {computed:#010x}")]
    Checksum {
        /// In the frame.
        found: u32,
        /// Of the received bytes.
        computed: u32,
    },
    /// The connection ended inside a frame.
    #[error("connection ended inside a frame")]
    Truncated,
    /// The socket failed.
    #[error("read from the connection")]
    Io(#[from] io::Error),
}

/// Starts a frame at the end of `out`; the body is appended next, then [`finish`] is called.
pub fn begin(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    start
}

/// Completes the frame that [`begin`] started at `start`.
///
/// # Panics
/// If the frame is longer than [`FRAME_BYTES_MAX`]: whoever builds a body checks its limit, and
/// a frame that every receiver refuses must not leave.
pub fn finish(out: &mut [u8], start: usize, kind: FrameKind, version: u16) {
    let header = header(kind, version, &[&out[start + HEADER_BYTES..]]);
    out[start..start + HEADER_BYTES].copy_from_slice(&header);
}

/// Appends a complete frame.
pub fn append(out: &mut Vec<u8>, kind: FrameKind, version: u16, body: &[u8]) {
    let start = begin(out);
    out.extend_from_slice(body);
    finish(out, start, kind, version);
}

/// The header of a frame whose body is `parts` one after the other.
///
/// # Panics
/// As [`finish`].
pub fn header(kind: FrameKind, version: u16, parts: &[&[u8]]) -> [u8; HEADER_BYTES] {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    assert!(len <= FRAME_BYTES_MAX - HEADER_BYTES, "frame body of {len} bytes");
    let mut header = [0; HEADER_BYTES];
    header[0..4].copy_from_slice(&u32::try_from(len).expect("limited above").to_le_bytes());
    header[4] = kind.code();
    header[6..8].copy_from_slice(&version.to_le_bytes());
    let head = crc32c::crc32c(&header[0..8]);
    let crc = parts.iter().fold(head, |crc, part| crc32c::crc32c_append(crc, part));
    header[8..12].copy_from_slice(&crc.to_le_bytes());
    header
}

/// What a valid header says.
#[derive(Clone, Copy, Debug)]
struct Header {
    kind: FrameKind,
    len: usize,
    crc_of_head: u32,
    crc: u32,
}

impl Header {
    /// Checks everything that can be checked before the body is there.
    fn decode(mut bytes: &[u8], agreed: u16, max: usize) -> Result<Header, FrameError> {
        assert!(bytes.len() >= HEADER_BYTES, "{} bytes of a header", bytes.len());
        let crc_of_head = crc32c::crc32c(&bytes[0..8]);
        let len = bytes.get_u32_le();
        let total = u64::from(len) + HEADER_BYTES as u64;
        if total > max as u64 {
            return Err(FrameError::TooLong { len: total, max });
        }
        let code = bytes.get_u8();
        let kind = FrameKind::from_code(code).ok_or(FrameError::UnknownKind(code))?;
        let flags = bytes.get_u8();
        if flags != 0 {
            return Err(FrameError::UnknownFlags(flags));
        }
        let found = bytes.get_u16_le();
        if found != agreed {
            return Err(FrameError::WrongVersion { found, agreed });
        }
        let len = usize::try_from(len).expect("limited above");
        Ok(Header { kind, len, crc_of_head, crc: bytes.get_u32_le() })
    }

    fn check(&self, body: &[u8]) -> Result<(), FrameError> {
        let computed = crc32c::crc32c_append(self.crc_of_head, body);
        if computed == self.crc {
            Ok(())
        } else {
            Err(FrameError::Checksum { found: self.crc, computed })
        }
    }
}

/// Cuts a byte stream into frames.
///
/// Small bodies are copied out of the read buffer, so that a kept entry never pins the frames
/// around it; large ones are received straight into a buffer of their own, which becomes the
/// frame's body without a copy.
#[derive(Debug)]
pub struct FrameReader<R> {
    source: R,
    buffer: BytesMut,
    /// A body too large for `buffer`, and what has arrived of it.
    large: Option<(Header, BytesMut)>,
    agreed: u16,
    max: usize,
    received: u64,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Accepts frames of protocol version `agreed`, of at most `max` bytes with their header.
    pub fn new(source: R, agreed: u16, max: usize) -> FrameReader<R> {
        FrameReader { source, buffer: BytesMut::new(), large: None, agreed, max, received: 0 }
    }

    /// What the handshake agreed on holds from the next frame on.
    pub fn agree(&mut self, version: u16, max: usize) {
        self.agreed = version;
        self.max = max;
    }

    /// The next frame; `None` when the connection ended between two frames. Cancel safe.
    ///
    /// # Errors
    /// Any [`FrameError`]; the reader must not be used after one.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(frame) = self.take_buffered()? {
                return Ok(Some(frame));
            }
            let read = match &mut self.large {
                Some((header, body)) => {
                    // Never more than has already arrived: the length on the wire is a claim.
                    let wanted = header.len - body.len();
                    if body.len() == body.capacity() {
                        body.reserve(wanted.min(body.len().max(BODY_BYTES_FIRST)));
                    }
                    self.source.read_buf(&mut body.limit(wanted)).await?
                }
                None => {
                    self.buffer.reserve(READ_BYTES);
                    self.source.read_buf(&mut (&mut self.buffer).limit(READ_BYTES)).await?
                }
            };
            self.received += read as u64;
            if read == 0 {
                let between = self.large.is_none() && self.buffer.is_empty();
                return if between { Ok(None) } else { Err(FrameError::Truncated) };
            }
        }
    }

    /// Bytes received so far: a large frame on a slow line makes progress before it is complete.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes this reader has allocated; for tests of its bounds.
    pub fn capacity(&self) -> usize {
        self.buffer.capacity() + self.large.as_ref().map_or(0, |(_, body)| body.capacity())
    }

    /// Reads and forgets until the other side has closed, so that closing does not reset the
    /// connection under a last frame that is still on its way.
    pub async fn drain(&mut self) {
        self.large = None;
        let mut sink = [0; 4096];
        while matches!(self.source.read(&mut sink).await, Ok(read) if read > 0) {}
    }

    fn take_buffered(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some((header, body)) = &self.large {
            if body.len() < header.len {
                return Ok(None);
            }
            let (header, body) = self.large.take().expect("matched above");
            header.check(&body)?;
            return Ok(Some(Frame { kind: header.kind, body: body.freeze() }));
        }
        if self.buffer.len() < HEADER_BYTES {
            return Ok(None);
        }
        let header = Header::decode(&self.buffer, self.agreed, self.max)?;
        let total = HEADER_BYTES + header.len;
        if self.buffer.len() >= total {
            header.check(&self.buffer[HEADER_BYTES..total])?;
            let body = Bytes::copy_from_slice(&self.buffer[HEADER_BYTES..total]);
            self.buffer.advance(total);
            return Ok(Some(Frame { kind: header.kind, body }));
        }
        if total > READ_BYTES {
            let mut body = BytesMut::with_capacity(header.len.min(BODY_BYTES_FIRST));
            body.extend_from_slice(&self.buffer[HEADER_BYTES..]);
            self.buffer.clear();
            self.large = Some((header, body));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
