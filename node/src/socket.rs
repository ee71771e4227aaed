//! The door for clients: reads frames, has the gateway carry them out, writes answers.
//!
//! One request at a time per connection; a client that wants more opens more.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pgraft_transport::{AnyListener, AnyNet, Net};
use pgraft_watch as watch;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::gateway::Gateway;
use crate::rpc::{self, Answer, Failure, FailureKind, Request, Response};

/// Connections of clients at a time; one more waits in the socket's backlog.
const CONNECTIONS_MAX: usize = 4096;

/// Pause after a connection that could not be accepted, for want of descriptors for example.
const ACCEPT_PAUSE_MS: u64 = 100;
/// How long the rest of a request may take to come.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of requests in flight; more wait in the clients' sockets.
const REQUEST_BYTES_MAX: usize = 64 << 20;

/// The listening socket.
pub(crate) struct Socket {
    net: AnyNet,
    listener: AnyListener,
}

impl Socket {
    /// Listens where clients come in.
    pub(crate) async fn bind((net, address): (AnyNet, String)) -> io::Result<Socket> {
        let listener = net.bind(&address).await;
        let listener = listener.map_err(|error| {
            io::Error::new(error.kind(), format!("listen at {address}: {error}"))
        })?;
        Ok(Socket { net, listener })
    }

    /// Serves clients for ever; while the gateway is missing they are told that the node starts.
    pub(crate) async fn serve(mut self, gateway: watch::Receiver<Option<Gateway>>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let bytes = Arc::new(Semaphore::new(REQUEST_BYTES_MAX));
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let stream = match self.net.accept(&mut self.listener).await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a client could not be let in");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                    continue;
                }
            };
            let (gateway, bytes) = (gateway.clone(), Arc::clone(&bytes));
            tokio::spawn(async move {
                if let Err(error) = talk(stream, gateway, &bytes).await {
                    tracing::debug!(%error, "client connection ended");
                }
                drop(place);
            });
        }
    }
}

async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    gateway: watch::Receiver<Option<Gateway>>,
    bytes: &Semaphore,
) -> io::Result<()> {
    let mut body = Vec::new();
    loop {
        let mut header = [0; 4];
        match stream.read_exact(&mut header).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        };
        let length = rpc::body_length(header).map_err(io::Error::other)?;
        let weight = u32::try_from(length).map_err(io::Error::other)?;
        let held = bytes.acquire_many(weight).await.map_err(io::Error::other)?;
        body.clear();
        // Grows as bytes arrive: what the length claims is never allocated in advance.
        let mut rest = (&mut stream).take(length as u64);
        let read = timeout(BODY_PATIENCE, rest.read_to_end(&mut body)).await??;
        if read < length {
            return Ok(());
        }
        let response = answer(&body, &gateway).await;
        drop(held);
        stream.write_all(&response.encode()).await?;
        if body.capacity() > 64 << 10 {
            body = Vec::new();
        }
    }
}

async fn answer(body: &[u8], gateway: &watch::Receiver<Option<Gateway>>) -> Response {
    let request = match Request::decode(body) {
        Ok(request) => request,
        Err(error) => {
            let failure = Failure::new(FailureKind::BadRequest, error.to_string());
            return Response { id: 0, answer: Answer::Failed(failure) };
        }
    };
    let (id, gateway) = (request.id, gateway.borrow().clone());
    let answer = match gateway {
        Some(gateway) => gateway.handle(request).await,
        None => Answer::Failed(
            Failure::new(FailureKind::NotReady, "the node is starting or joining")
                .hint("See the node's log; a joining node must be added first."),
        ),
    };
    Response { id, answer }
}
