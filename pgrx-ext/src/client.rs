//! A backend's side of the socket to the node: one request at a time over a cached connection.
//!
//! While it waits, `statement_timeout`, cancel and terminate work as in any statement, and
//! `pgraft.request_timeout` ends the wait. The cached connection is taken out before use and put
//! back only after a whole answer: an error on the way closes it, so that a late answer can never
//! be taken for the next one.
//! Not here: what the requests mean (`sql`), and retries of writes. A write that was sent and got
//! no answer has an unknown outcome, and says so.

use std::cell::RefCell;
use std::io::{ErrorKind, Read as _, Write as _};
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use pgrx::prelude::*;

use pgraft_node::rpc::{Answer, FRAME_BYTES_MAX, Op, Request, Response, body_length};

use crate::board::{Phase, board};
use crate::report::Report;
use crate::settings;

mod socket;

use socket::WaitSet;

/// Part of the request timeout that is left to the node's own answer, which knows better what
/// happened than a backend that gives up.
const DEADLINE_MARGIN_MAX: Duration = Duration::from_millis(100);
/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;

struct Connection {
    // Declared before the stream, so that it is freed while its descriptor is still open.
    waits: WaitSet,
    stream: UnixStream,
    next_id: u64,
}

thread_local! {
    // Never dropped with the process: by then PostgreSQL's memory is gone.
    static CACHED: RefCell<Option<ManuallyDrop<Connection>>> = const { RefCell::new(None) };
}

/// Asks the node, and waits for its answer as long as `pgraft.request_timeout` says.
///
/// # Errors
/// When it is not running, does not answer in time, or could not carry out the request.
pub(crate) fn ask(op: Op) -> Result<Answer, Report> {
    ask_within(op, settings::request_timeout())
}

/// The same for what may take longer.
///
/// # Errors
/// As [`ask`].
pub(crate) fn ask_within(op: Op, timeout: Duration) -> Result<Answer, Report> {
    board()?;
    let mut exchange = Exchange::new(op, timeout);
    let mut connection = match take_cached() {
        Some(cached) => cached,
        None => connect()?,
    };
    let answer = match exchange.run(&mut connection) {
        // Only a read may be sent twice. A worker that ended before the request is noticed by
        // `take_cached`; here it ended in between.
        Err(Broken::Closed) if !exchange.writes => {
            connection = connect()?;
            exchange.run(&mut connection)
        }
        other => other,
    };
    match answer {
        Ok(Answer::Failed(failure)) => {
            put_back(connection);
            Err(Report::failure(failure))
        }
        Ok(answer) => {
            put_back(connection);
            Ok(answer)
        }
        Err(broken) => Err(exchange.report(broken)),
    }
}

/// Asks a machine; its "no" becomes an error by `refused`.
///
/// # Errors
/// As [`ask`], and when the machine rejects.
pub(crate) fn ask_machine(
    op: Op,
    refused: impl FnOnce(&pgraft_host::Rejection) -> Report,
) -> Result<Vec<u8>, Report> {
    Ok(outcome(ask(op)?, refused)?.1)
}

/// The outcome that an answer is: the index at which it took effect, and the machine's reply.
///
/// # Errors
/// When the machine rejects, and when the answer is something else.
pub(crate) fn outcome(
    answer: Answer,
    refused: impl FnOnce(&pgraft_host::Rejection) -> Report,
) -> Result<(u64, Vec<u8>), Report> {
    match answer {
        Answer::Outcome { index, outcome: Ok(reply) } => Ok((index, reply)),
        Answer::Outcome { outcome: Err(rejection), .. } => Err(refused(&rejection)),
        Answer::Json(_) | Answer::Events(_) | Answer::Done => {
            Err(Report::protocol("a report instead of an outcome"))
        }
        Answer::Failed(failure) => Err(Report::failure(failure)),
    }
}

/// Why no answer came.
enum Broken {
    /// The worker closed the connection.
    Closed,
    /// The request timeout passed.
    TimedOut,
    /// The answer does not decode.
    Malformed(String),
    /// The request has so many bytes.
    TooLarge(usize),
}

struct Exchange {
    op: Op,
    /// Whether the request may change something.
    writes: bool,
    timeout: Duration,
    deadline: Instant,
    /// Whether any byte has left: before, nothing can have happened.
    sent: bool,
}

impl Exchange {
    fn new(op: Op, timeout: Duration) -> Exchange {
        let writes = match op {
            Op::Command { .. } | Op::Transfer { .. } => true,
            Op::Change { dry_run, .. } => !dry_run,
            Op::Query { .. } | Op::Status | Op::Machines { .. } | Op::Events { .. } => false,
        };
        Exchange { op, writes, timeout, deadline: Instant::now() + timeout, sent: false }
    }

    fn run(&mut self, connection: &mut Connection) -> Result<Answer, Broken> {
        let id = connection.next_id;
        connection.next_id += 1;
        let frame = self.request(id).encode();
        if frame.len() > FRAME_BYTES_MAX {
            return Err(Broken::TooLarge(frame.len()));
        }
        self.send(connection, &frame)?;
        let body = self.receive(connection)?;
        let response = Response::decode(&body).map_err(|e| Broken::Malformed(e.to_string()))?;
        if response.id != id {
            let text = format!("request {id} was answered with {}", response.id);
            return Err(Broken::Malformed(text));
        }
        Ok(response.answer)
    }

    fn request(&self, id: u64) -> Request {
        let margin = DEADLINE_MARGIN_MAX.min(self.timeout / 10);
        let left = self.deadline.saturating_duration_since(Instant::now()).saturating_sub(margin);
        let deadline_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
        Request { id, deadline_ms, principal: principal(), op: self.op.clone() }
    }

    fn send(&mut self, connection: &mut Connection, frame: &[u8]) -> Result<(), Broken> {
        let mut left = frame;
        while !left.is_empty() {
            match connection.stream.write(left) {
                Ok(count) => {
                    self.sent = true;
                    left = &left[count..];
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.wait(connection, pg_sys::WL_SOCKET_WRITEABLE)?;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Broken::Closed),
            }
        }
        Ok(())
    }

    fn receive(&self, connection: &mut Connection) -> Result<Vec<u8>, Broken> {
        let mut received = Vec::new();
        let mut piece = [0; READ_BYTES];
        loop {
            match connection.stream.read(&mut piece) {
                Ok(0) => return Err(Broken::Closed),
                Ok(count) => {
                    received.extend_from_slice(&piece[..count]);
                    if let Some(header) = received.first_chunk::<4>() {
                        let length =
                            body_length(*header).map_err(|e| Broken::Malformed(e.to_string()))?;
                        if received.len() >= 4 + length {
                            received.drain(..4);
                            return Ok(received);
                        }
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.wait(connection, pg_sys::WL_SOCKET_READABLE)?;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Broken::Closed),
            }
        }
    }

    fn wait(&self, connection: &mut Connection, readiness: u32) -> Result<(), Broken> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Broken::TimedOut);
        }
        connection.waits.wait(&connection.stream, readiness, left);
        pgrx::check_for_interrupts!();
        Ok(())
    }

    fn report(&self, broken: Broken) -> Report {
        let timeout_ms = self.timeout.as_millis();
        let message = match broken {
            Broken::Malformed(why) => return Report::protocol(why),
            Broken::TooLarge(bytes) => {
                return Report::too_long("the request", bytes, FRAME_BYTES_MAX);
            }
            Broken::Closed => "pgraft worker closed the connection".to_owned(),
            Broken::TimedOut => format!("no answer from the pgraft worker within {timeout_ms} ms"),
        };
        if self.writes && self.sent {
            return Report::unknown(message);
        }
        Report::new(PgSqlErrorCode::ERRCODE_CANNOT_CONNECT_NOW, message)
            .hint("Nothing was changed. Try again, or raise pgraft.request_timeout.")
    }
}

/// Who asks, for the machines: the current role.
fn principal() -> String {
    // SAFETY: inside a statement there is a current user; the copy is made before any other call.
    unsafe {
        let name = pg_sys::GetUserNameFromId(pg_sys::GetUserId(), true);
        if name.is_null() {
            return String::new();
        }
        std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// The connection of the last request, unless the worker has closed it since.
fn take_cached() -> Option<Connection> {
    let cached = CACHED.with_borrow_mut(Option::take)?;
    let connection = ManuallyDrop::into_inner(cached);
    socket::is_open(connection.stream.as_raw_fd()).then_some(connection)
}

fn put_back(connection: Connection) {
    CACHED.with_borrow_mut(|cached| *cached = Some(ManuallyDrop::new(connection)));
}

fn connect() -> Result<Connection, Report> {
    let stream = socket::connect(settings::SOCKET).map_err(|e| unreachable_worker(&e))?;
    let waits = WaitSet::new(&stream);
    Ok(Connection { waits, stream, next_id: 1 })
}

fn unreachable_worker(error: &std::io::Error) -> Report {
    let (phase, starts) = match board() {
        Ok(board) => (board.phase(), board.starts()),
        Err(not_preloaded) => return not_preloaded,
    };
    match phase {
        Phase::Refused => Report::not_running(
            "It refused its settings.",
            "Correct the settings named in the server's log and restart the server.",
        ),
        Phase::Removed => Report::not_running(
            "This node was removed from its cluster.",
            "To use it again, give it an empty pgraft.data_dir and add it under a new id.",
        ),
        Phase::Stopped if starts == 0 => Report::not_running(
            "It has not been started.",
            "Check max_worker_processes and the server's log.",
        ),
        Phase::Starting | Phase::Running | Phase::Stopping | Phase::Stopped => Report::not_running(
            format!("Connecting to {} failed: {error}.", settings::SOCKET),
            "Nothing was changed. It may be starting or restarting; see the server's log.",
        ),
    }
}
