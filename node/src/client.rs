//! A blocking client of a node's Unix socket, for the command line and for tests.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::rpc::{self, Answer, Op, Request, Response};

/// One connection; one request at a time.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    deadline: Duration,
    next_id: u64,
    principal: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("connect to {path}: {source} (is the node running, and is this its socket?)")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke: a command in flight may have been carried out.
    #[error("the node closed the connection before it answered: {0}")]
    Broken(#[from] io::Error),
    /// The node speaks another protocol.
    #[error(transparent)]
    Frame(#[from] rpc::FrameError),
}

impl Client {
    /// Connects; `deadline` is what the node may take for one request.
    ///
    /// # Errors
    /// When nobody listens at `path`.
    pub fn connect(path: &Path, deadline: Duration) -> Result<Client, ClientError> {
        let failed = |source| ClientError::Connect { path: path.to_owned(), source };
        let stream = UnixStream::connect(path).map_err(failed)?;
        // The node answers at the deadline; the margin is for a node that cannot.
        stream.set_read_timeout(Some(deadline + Duration::from_secs(1))).map_err(failed)?;
        let principal = std::env::var("USER").unwrap_or_default();
        Ok(Client { stream, deadline, next_id: 1, principal })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// When the connection broke or the answer is malformed; after that the client is useless.
    pub fn ask(&mut self, op: Op) -> Result<Answer, ClientError> {
        let deadline_ms = u32::try_from(self.deadline.as_millis()).unwrap_or(u32::MAX);
        let (id, principal) = (self.next_id, self.principal.clone());
        self.next_id += 1;
        self.stream.write_all(&Request { id, deadline_ms, principal, op }.encode())?;
        let mut header = [0; 4];
        self.stream.read_exact(&mut header)?;
        let mut body = vec![0; rpc::body_length(header)?];
        self.stream.read_exact(&mut body)?;
        let response = Response::decode(&body)?;
        if response.id != id {
            return Err(rpc::FrameError::Malformed("answer to another request").into());
        }
        Ok(response.answer)
    }
}
