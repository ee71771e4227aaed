//! The client protocol over the Unix socket `pgraft.sock`: requests, answers and their codec.
//!
//! A frame is a u32 length (little endian) and that many bytes. Spoken by backends of PostgreSQL
//! and by the program `pgraft`; the same bodies travel between nodes when a follower forwards.
//! Not here: sockets. Both sides read and write frames as suits them.

use std::fmt;

use pgraft_host::{KeptEvent, Outcome, Rejection};

/// Largest frame: the largest command and its envelope, or a page of a range.
pub const FRAME_BYTES_MAX: usize = 4 << 20;

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the client, comes back with the response.
    pub id: u64,
    /// Milliseconds the client is going to wait.
    pub deadline_ms: u32,
    /// Who asks; the machine sees it.
    pub principal: String,
    /// What is asked.
    pub op: Op,
}

/// What a client may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A command for a machine: replicated, applied once.
    Command {
        /// Name of the machine.
        machine: String,
        /// The machine's own codec.
        payload: Vec<u8>,
    },
    /// A read-only query of a machine.
    Query {
        /// Name of the machine.
        machine: String,
        /// The machine's own codec.
        payload: Vec<u8>,
        /// Answer from this node's state, however old it may be.
        stale: bool,
    },
    /// This node's view of itself and its peers, as JSON.
    Status,
    /// Change the machines themselves.
    Change {
        /// An encoded [`pgraft_host::Change`].
        change: Vec<u8>,
        /// Only tell what it would do.
        dry_run: bool,
        /// A majority of the voters must be ready for it, not all.
        force: bool,
    },
    /// All machines, as JSON.
    Machines {
        /// Answer from this node's state, however old it may be.
        stale: bool,
    },
    /// Events of a machine that were kept, oldest first.
    Events {
        /// Name of the machine.
        machine: String,
        /// Number of the first.
        since: u64,
        /// At most so many.
        limit: u32,
    },
    /// Hand leadership to a node; 0 = whoever is best.
    Transfer {
        /// The wanted leader.
        to: u64,
    },
}

/// An answer, with the id of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The request's id.
    pub id: u64,
    /// The answer.
    pub answer: Answer,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What the machine answered, and the log index at which that took effect.
    Outcome {
        /// Index of the entry, or the applied index a query read at.
        index: u64,
        /// The machine's yes or no.
        outcome: Outcome,
    },
    /// A report.
    Json(String),
    /// Events that were kept.
    Events(Vec<KeptEvent>),
    /// Done, nothing to say.
    Done,
    /// The node could not carry it out.
    Failed(Failure),
}

/// Why a request was not carried out, or may have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub kind: FailureKind,
    /// For people: lower case, no full stop.
    pub message: String,
    /// What to do, a sentence; may be empty.
    pub hint: String,
}

/// Classes of failure. All but `Unknown` are definite: the request has not taken effect and never
/// will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The node is starting or joining.
    NotReady,
    /// No leader is known.
    NoLeader,
    /// The leader is cut off from the majority.
    NoQuorum,
    /// The deadline passed; the write may still take effect.
    Unknown,
    /// Larger than a limit.
    TooLarge,
    /// Not understood.
    BadRequest,
    /// The node is stopping.
    Stopping,
    /// A fault of this node; see its log.
    Internal,
    /// Too many requests are waiting; try again.
    Busy,
}

const KINDS: [FailureKind; 9] = [
    FailureKind::NotReady,
    FailureKind::NoLeader,
    FailureKind::NoQuorum,
    FailureKind::Unknown,
    FailureKind::TooLarge,
    FailureKind::BadRequest,
    FailureKind::Stopping,
    FailureKind::Internal,
    FailureKind::Busy,
];

impl Failure {
    /// A failure without a hint.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure { kind, message: message.into(), hint: String::new() }
    }

    /// The same with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, " ({})", self.hint) }
    }
}

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field is over the limit.
    #[error("frame of {0} bytes, at most {FRAME_BYTES_MAX} are allowed")]
    TooLarge(usize),
    /// The body does not decode.
    #[error("frame is malformed: {0}")]
    Malformed(&'static str),
}

/// The length of the body that follows, from the first four bytes of a frame.
///
/// # Errors
/// When it is over [`FRAME_BYTES_MAX`].
pub fn body_length(header: [u8; 4]) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes(header) as usize;
    if length > FRAME_BYTES_MAX { Err(FrameError::TooLarge(length)) } else { Ok(length) }
}

impl Request {
    /// The whole frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::frame();
        out.u64(self.id);
        out.u32(self.deadline_ms);
        out.bytes(self.principal.as_bytes());
        match &self.op {
            Op::Command { machine, payload } => {
                out.u8(0);
                out.bytes(machine.as_bytes());
                out.bytes(payload);
            }
            Op::Query { machine, payload, stale } => {
                out.u8(1);
                out.u8(u8::from(*stale));
                out.bytes(machine.as_bytes());
                out.bytes(payload);
            }
            Op::Status => out.u8(2),
            Op::Transfer { to } => {
                out.u8(3);
                out.u64(*to);
            }
            Op::Change { change, dry_run, force } => {
                out.u8(4);
                out.bytes(change);
                out.u8(u8::from(*dry_run));
                out.u8(u8::from(*force));
            }
            Op::Machines { stale } => {
                out.u8(5);
                out.u8(u8::from(*stale));
            }
            Op::Events { machine, since, limit } => {
                out.u8(6);
                out.bytes(machine.as_bytes());
                out.u64(*since);
                out.u32(*limit);
            }
        }
        out.finish()
    }

    /// Reads a body (without the length).
    ///
    /// # Errors
    /// When it is malformed.
    pub fn decode(body: &[u8]) -> Result<Request, FrameError> {
        let mut body = Reader(body);
        let (id, deadline_ms, principal) = (body.u64()?, body.u32()?, body.string()?);
        let op = match body.u8()? {
            0 => Op::Command { machine: body.string()?, payload: body.bytes()?.to_vec() },
            1 => Op::Query {
                stale: body.u8()? != 0,
                machine: body.string()?,
                payload: body.bytes()?.to_vec(),
            },
            2 => Op::Status,
            3 => Op::Transfer { to: body.u64()? },
            4 => Op::Change {
                change: body.bytes()?.to_vec(),
                dry_run: body.u8()? != 0,
                force: body.u8()? != 0,
            },
            5 => Op::Machines { stale: body.u8()? != 0 },
            6 => Op::Events { machine: body.string()?, since: body.u64()?, limit: body.u32()? },
            _ => return Err(FrameError::Malformed("unknown operation")),
        };
        body.end()?;
        Ok(Request { id, deadline_ms, principal, op })
    }
}

impl Response {
    /// The whole frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::frame();
        out.u64(self.id);
        match &self.answer {
            Answer::Outcome { index, outcome: Ok(reply) } => {
                out.u8(0);
                out.u64(*index);
                out.bytes(reply);
            }
            Answer::Outcome { index, outcome: Err(Rejection { code, message }) } => {
                out.u8(1);
                out.u64(*index);
                out.u32(*code);
                out.bytes(message.as_bytes());
            }
            Answer::Json(text) => {
                out.u8(2);
                out.bytes(text.as_bytes());
            }
            Answer::Done => out.u8(3),
            Answer::Events(events) => {
                out.u8(5);
                out.u32(u32::try_from(events.len()).expect("a page of them"));
                for KeptEvent { number, index, topic, payload } in events {
                    out.u64(*number);
                    out.u64(*index);
                    out.bytes(topic);
                    out.bytes(payload);
                }
            }
            Answer::Failed(Failure { kind, message, hint }) => {
                out.u8(4);
                let code = KINDS.iter().position(|known| known == kind).expect("KINDS has all");
                out.u8(u8::try_from(code).expect("few kinds"));
                out.bytes(message.as_bytes());
                out.bytes(hint.as_bytes());
            }
        }
        out.finish()
    }

    /// Reads a body (without the length).
    ///
    /// # Errors
    /// When it is malformed.
    pub fn decode(body: &[u8]) -> Result<Response, FrameError> {
        let mut body = Reader(body);
        let id = body.u64()?;
        let answer = match body.u8()? {
            0 => Answer::Outcome { index: body.u64()?, outcome: Ok(body.bytes()?.to_vec()) },
            1 => Answer::Outcome {
                index: body.u64()?,
                outcome: Err(Rejection { code: body.u32()?, message: body.string()? }),
            },
            2 => Answer::Json(body.string()?),
            3 => Answer::Done,
            4 => {
                let kind = *KINDS
                    .get(usize::from(body.u8()?))
                    .ok_or(FrameError::Malformed("unknown kind of failure"))?;
                Answer::Failed(Failure { kind, message: body.string()?, hint: body.string()? })
            }
            5 => Answer::Events(read_events(&mut body)?),
            _ => return Err(FrameError::Malformed("unknown answer")),
        };
        body.end()?;
        Ok(Response { id, answer })
    }
}

fn read_events(body: &mut Reader<'_>) -> Result<Vec<KeptEvent>, FrameError> {
    let mut events = Vec::new();
    for _ in 0..body.u32()? {
        events.push(KeptEvent {
            number: body.u64()?,
            index: body.u64()?,
            topic: body.bytes()?.to_vec(),
            payload: body.bytes()?.to_vec(),
        });
    }
    Ok(events)
}

/// Builds little-endian bodies.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// Leaves room for the length of a frame.
    fn frame() -> Writer {
        Writer(vec![0; 4])
    }

    /// A body without a length.
    pub(crate) fn body() -> Writer {
        Writer(Vec::new())
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.u32(u32::try_from(value.len()).expect("fields are far below 4 GiB"));
        self.0.extend_from_slice(value);
    }

    pub(crate) fn into_body(self) -> Vec<u8> {
        self.0
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).expect("frames are far below 4 GiB");
        self.0[..4].copy_from_slice(&length.to_le_bytes());
        self.0
    }
}

/// Takes little-endian bodies apart; never trusts a length.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], FrameError> {
        let (head, rest) =
            self.0.split_at_checked(count).ok_or(FrameError::Malformed("cut short"))?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FrameError> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FrameError> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes taken")))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FrameError> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes taken")))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], FrameError> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    pub(crate) fn string(&mut self) -> Result<String, FrameError> {
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(bytes).map_err(|_| FrameError::Malformed("not UTF-8"))?;
        Ok(text.to_owned())
    }

    pub(crate) fn end(&self) -> Result<(), FrameError> {
        if self.0.is_empty() { Ok(()) } else { Err(FrameError::Malformed("bytes left over")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests() -> Vec<Request> {
        let ops = [
            Op::Command { machine: "kv".to_owned(), payload: vec![1, 2, 3] },
            Op::Query { machine: "kv".to_owned(), payload: vec![], stale: true },
            Op::Status,
            Op::Transfer { to: 3 },
            Op::Change { change: vec![1, 9], dry_run: true, force: false },
            Op::Machines { stale: true },
            Op::Events { machine: "kv".to_owned(), since: 5, limit: 9 },
        ];
        ops.into_iter()
            .map(|op| Request { id: 7, deadline_ms: 5000, principal: "alice".to_owned(), op })
            .collect()
    }

    #[test]
    fn requests_survive_the_round_trip() {
        for request in requests() {
            let frame = request.encode();
            let length = body_length(frame[..4].try_into().unwrap()).unwrap();
            assert_eq!(length, frame.len() - 4);
            assert_eq!(Request::decode(&frame[4..]).unwrap(), request);
        }
    }

    #[test]
    fn answers_survive_the_round_trip() {
        let rejection = Rejection { code: 100, message: "no".to_owned() };
        let answers = [
            Answer::Outcome { index: 9, outcome: Ok(vec![5]) },
            Answer::Outcome { index: 9, outcome: Err(rejection) },
            Answer::Json("{}".to_owned()),
            Answer::Done,
            Answer::Events(vec![KeptEvent {
                number: 4,
                index: 9,
                topic: vec![1],
                payload: vec![],
            }]),
        ];
        let failures = KINDS.map(|kind| Answer::Failed(Failure::new(kind, "x").hint("Do.")));
        for answer in answers.into_iter().chain(failures) {
            let response = Response { id: 1, answer };
            assert_eq!(Response::decode(&response.encode()[4..]).unwrap(), response);
        }
    }

    #[test]
    fn every_cut_and_every_flip_is_survived() {
        for request in requests() {
            let frame = request.encode();
            for cut in 4..frame.len() {
                assert!(Request::decode(&frame[4..cut]).is_err(), "cut at {cut} was accepted");
            }
            for at in 4..frame.len() {
                let mut flipped = frame.clone();
                flipped[at] ^= 0xff;
                let _survives = Request::decode(&flipped[4..]);
            }
        }
    }

    #[test]
    fn a_giant_length_is_refused_before_anything_is_allocated() {
        assert_eq!(body_length([0xff; 4]), Err(FrameError::TooLarge(u32::MAX as usize)));
    }
}
