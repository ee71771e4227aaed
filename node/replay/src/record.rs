//! Records one after the other: frames with number and checksums, read strictly. What is cut or
//! damaged is told with the record and the offset; nothing is skipped or guessed.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use pgraft_replica::{Config, Input, Restored};

use crate::fields::{Data, Decoder, Encoder, Malformed};

/// The version of the format that this crate writes, and the only one that it reads.
pub const VERSION: u32 = 1;

/// What a recording begins with.
pub const MAGIC: &[u8; 8] = b"pgraftRC";
/// Magic, version, checksum of both.
const HEADER_BYTES: usize = 16;
/// Length, number, kind, checksum of these three, checksum of the body.
const FRAME_BYTES: usize = 21;

/// Kinds of records.
pub(crate) const START: u8 = 1;
pub(crate) const STEP: u8 = 2;
pub(crate) const BROKEN: u8 = 3;
pub(crate) const END: u8 = 4;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It cannot be read.
    #[error("read the recording: {0}")]
    Io(#[from] io::Error),
    /// Something else.
    #[error("not a recording: it does not begin with {:?}", String::from_utf8_lossy(MAGIC))]
    NotARecording,
    /// Written by another program.
    #[error("the recording has version {0}, this program reads {VERSION}")]
    Version(u32),
    /// The end is missing, as after a kill -9, or because the file was cut.
    #[error("cut: record {record} at offset {offset} has {found} of {wanted} bytes")]
    Cut {
        /// Number of the record.
        record: u64,
        /// Where it begins in the file.
        offset: u64,
        /// Bytes that are there.
        found: u64,
        /// Bytes that it has.
        wanted: u64,
    },
    /// Bytes changed.
    #[error("damaged: record {record} at offset {offset} has a wrong checksum")]
    Checksum {
        /// Number that the record should have.
        record: u64,
        /// Where it begins in the file.
        offset: u64,
    },
    /// A record is missing, repeated, or in another place.
    #[error("out of order: record {record} was expected at offset {offset}, found is {found}")]
    Order {
        /// Number that the record should have.
        record: u64,
        /// Where it begins in the file.
        offset: u64,
        /// Number that it has.
        found: u64,
    },
    /// The checksum is right and the content makes no sense.
    #[error("malformed: record {record} at offset {offset} breaks at {what}")]
    Malformed {
        /// Number of the record.
        record: u64,
        /// Where it begins in the file.
        offset: u64,
        /// What was being read.
        what: &'static str,
    },
}

/// A replica was made.
#[derive(Clone, Debug)]
pub struct Start {
    /// What it was made with; also the seed of its chance.
    pub config: Config,
    /// What was found on disk.
    pub restored: Restored,
}

/// A replica took an input.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it took.
    pub input: Input,
    /// What came out, encoded: it is compared byte by byte.
    pub effects: Bytes,
    /// What it showed of itself afterwards, encoded; empty when that had not changed.
    pub view: Bytes,
}

/// What a record says.
#[derive(Clone, Debug)]
pub enum Body {
    /// A life begins.
    Start(Box<Start>),
    /// A step of it.
    Step(Box<Step>),
    /// A step that never ended: the replica panicked, or the recording was stopped inside it.
    Broken(Box<Input>),
    /// The life, or its recording, ended on purpose; why. A life that was killed has no such
    /// record.
    End(String),
}

/// A record and where it stands.
#[derive(Clone, Debug)]
pub struct Record {
    /// Counted from 0, over all lives of the file.
    pub number: u64,
    /// Byte at which it begins.
    pub offset: u64,
    /// What it says.
    pub body: Body,
}

/// The beginning of a file.
pub(crate) fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let checksum = crc32c::crc32c(&header[..12]);
    header[12..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// Appends a record; `false` when the body is too large for one.
pub(crate) fn put(out: &mut Vec<u8>, number: u64, kind: u8, body: &[u8]) -> bool {
    let Ok(length) = u32::try_from(body.len()) else { return false };
    let begin = out.len();
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.push(kind);
    let checksum = crc32c::crc32c(&out[begin..]);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    out.extend_from_slice(body);
    true
}

/// The body of a step: input, effects and view, the first two with their lengths.
pub(crate) fn put_step(out: &mut Vec<u8>, input: &[u8], effects: &[u8], view: &[u8]) {
    let mut encoder = Encoder::new(out, Data::Whole);
    encoder.bytes(input);
    encoder.bytes(effects);
    out.extend_from_slice(view);
}

/// Reads a recording from its beginning.
pub struct Records<R> {
    file: R,
    offset: u64,
    number: u64,
}

impl<R: Read> Records<R> {
    /// Reads the header. `file` is read in small pieces: it should be buffered.
    ///
    /// # Errors
    /// When this is not a recording, or one of another version.
    pub fn open(mut file: R) -> Result<Records<R>, Damage> {
        let header = read(&mut file, HEADER_BYTES)?;
        if header.len() < 8 || &header[..8] != MAGIC {
            return Err(Damage::NotARecording);
        }
        if header.len() < HEADER_BYTES {
            let (found, wanted) = (header.len() as u64, HEADER_BYTES as u64);
            return Err(Damage::Cut { record: 0, offset: 0, found, wanted });
        }
        let mut fields = &header[8..];
        let (version, checksum) = (fields.get_u32_le(), fields.get_u32_le());
        if crc32c::crc32c(&header[..12]) != checksum {
            return Err(Damage::Checksum { record: 0, offset: 0 });
        }
        if version != VERSION {
            return Err(Damage::Version(version));
        }
        Ok(Records { file, offset: HEADER_BYTES as u64, number: 0 })
    }

    /// Bytes of the whole records so far, header included.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The number of the next record.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Skips a record, of which the checksums are checked; `false` at the end.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn skip(&mut self) -> Result<bool, Damage> {
        Ok(self.frame()?.is_some())
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// [`Damage`]; there is no going on after it.
    pub fn read_next(&mut self) -> Result<Option<Record>, Damage> {
        let (number, offset) = (self.number, self.offset);
        let Some((kind, body)) = self.frame()? else { return Ok(None) };
        match decode(kind, body) {
            Ok(body) => Ok(Some(Record { number, offset, body })),
            Err(Malformed(what)) => Err(Damage::Malformed { record: number, offset, what }),
        }
    }

    fn frame(&mut self) -> Result<Option<(u8, Bytes)>, Damage> {
        let (record, offset) = (self.number, self.offset);
        let frame = read(&mut self.file, FRAME_BYTES)?;
        if frame.is_empty() {
            return Ok(None);
        }
        let cut = |found: usize, wanted: usize| {
            let (found, wanted) = (found as u64, wanted as u64);
            Err(Damage::Cut { record, offset, found, wanted })
        };
        if frame.len() < FRAME_BYTES {
            return cut(frame.len(), FRAME_BYTES);
        }
        let mut fields = &frame[..];
        let (length, number) = (fields.get_u32_le() as usize, fields.get_u64_le());
        let (kind, own, of_body) = (fields.get_u8(), fields.get_u32_le(), fields.get_u32_le());
        if crc32c::crc32c(&frame[..13]) != own {
            return Err(Damage::Checksum { record, offset });
        }
        if number != record {
            return Err(Damage::Order { record, offset, found: number });
        }
        let body = read(&mut self.file, length)?;
        if body.len() < length {
            return cut(FRAME_BYTES + body.len(), FRAME_BYTES + length);
        }
        if crc32c::crc32c(&body) != of_body {
            return Err(Damage::Checksum { record, offset });
        }
        self.number += 1;
        self.offset += (FRAME_BYTES + length) as u64;
        Ok(Some((kind, Bytes::from(body))))
    }
}

/// Up to `count` bytes; fewer at the end of the file. Memory is taken as bytes come.
fn read(file: &mut impl Read, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn decode(kind: u8, body: Bytes) -> Result<Body, Malformed> {
    let mut fields = Decoder::new(body, Data::Whole);
    let body = match kind {
        START => {
            let (config, restored) = (fields.config()?, fields.restored()?);
            Body::Start(Box::new(Start { config, restored }))
        }
        STEP => {
            let input = whole_input(fields.bytes("an input")?)?;
            let effects = fields.bytes("effects")?;
            let view = fields.rest();
            return Ok(Body::Step(Box::new(Step { input, effects, view })));
        }
        BROKEN => Body::Broken(Box::new(fields.input()?)),
        END => Body::End(fields.text("why the recording ended")?),
        _ => return Err(Malformed("the kind of a record")),
    };
    fields.end()?;
    Ok(body)
}

fn whole_input(bytes: Bytes) -> Result<Input, Malformed> {
    let mut fields = Decoder::new(bytes, Data::Whole);
    let input = fields.input()?;
    fields.end()?;
    Ok(input)
}
