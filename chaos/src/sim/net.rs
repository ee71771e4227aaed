//! The network of a simulated node: turmoil's TCP, with the weather between the frames.
//!
//! A cut behaves as TCP does: what is written during a short one arrives after it; a longer one
//! breaks the connection, on both sides at their own time. Frames are told apart so that loss,
//! duplication and reordering hit whole ones: bytes missing inside a frame only ever break a
//! connection, which crashes do often enough. Not here: what the weather is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use pgraft_transport::Net;
use pgraft_transport::frame::HEADER_BYTES;
use pgraft_watch as watch;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use turmoil::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use turmoil::net::{TcpListener, TcpStream};

use crate::plan::Point;
use crate::sim::process::{End, Process};
use crate::sim::weather::{Fate, Weather};

/// Data may stay unacknowledged this long before a connection breaks (`TCP_USER_TIMEOUT`).
const USER_TIMEOUT: Duration = Duration::from_secs(1);
/// A frame held back goes after this long when no later one comes.
const HELD_BACK: Duration = Duration::from_millis(50);

/// The network between nodes, as one of them sees it.
#[derive(Clone)]
pub(super) struct PeerNet {
    /// Whose it is.
    pub(super) process: Arc<Process>,
    /// Between all nodes.
    pub(super) weather: Arc<Weather>,
}

/// The node behind a host's name or an address: hosts are `n1`, `n2` and so on.
pub(super) fn node_of(host: &str) -> Option<u64> {
    host.strip_prefix('n')?.parse().ok()
}

impl PeerNet {
    fn stream(&self, stream: TcpStream, peer: u64) -> PeerStream {
        let (read, write) = stream.into_split();
        let (frames, queue) = unbounded_channel();
        let (broken, is_broken) = watch::channel(false);
        let line = Line {
            from: self.process.node,
            to: peer,
            weather: Arc::clone(&self.weather),
            process: Arc::clone(&self.process),
            write: End::new(write, &self.process),
        };
        tokio::spawn(line.carry(queue, broken));
        let process = Arc::clone(&self.process);
        let read = End::new(read, &process);
        PeerStream { read, frames, unfinished: BytesMut::new(), is_broken, process }
    }

    /// Waits while the way there or back is cut: connecting takes both.
    async fn way_is_open(&self, peer: u64) {
        let mut changes = self.weather.changes();
        let me = self.process.node;
        while self.weather.is_cut(me, peer) || self.weather.is_cut(peer, me) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Net for PeerNet {
    type Stream = PeerStream;
    type Listener = TcpListener;

    async fn connect(&self, address: &str) -> io::Result<PeerStream> {
        let host = address.split(':').next().unwrap_or_default();
        let peer =
            node_of(host).ok_or_else(|| io::Error::other(format!("{host}: no such host")))?;
        self.way_is_open(peer).await;
        let stream = TcpStream::connect(address).await?;
        Ok(self.stream(stream, peer))
    }

    async fn bind(&self, address: &str) -> io::Result<TcpListener> {
        let port = address.rsplit(':').next().unwrap_or_default();
        TcpListener::bind(format!("0.0.0.0:{port}")).await
    }

    async fn accept(&self, listener: &mut TcpListener) -> io::Result<(PeerStream, String)> {
        let (stream, from) = listener.accept().await?;
        let host = turmoil::reverse_lookup(from.ip()).unwrap_or_default();
        let peer = node_of(&host).ok_or_else(|| io::Error::other(format!("{host}: a stranger")))?;
        Ok((self.stream(stream, peer), host))
    }

    fn local_addr(&self, listener: &TcpListener) -> io::Result<String> {
        Ok(listener.local_addr()?.to_string())
    }
}

/// A connection between two nodes.
pub(super) struct PeerStream {
    read: End<OwnedReadHalf>,
    frames: UnboundedSender<Bytes>,
    unfinished: BytesMut,
    is_broken: watch::Receiver<bool>,
    process: Arc<Process>,
}

impl PeerStream {
    fn check(&self) -> io::Result<()> {
        if *self.is_broken.borrow() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(self.read.get()).poll_read(context, into)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        self.unfinished.extend_from_slice(bytes);
        while let Some(frame) = take_frame(&mut self.unfinished) {
            if self.process.passes(Point::Frame) {
                // The process is dead: what it still believes to send goes nowhere.
                continue;
            }
            if self.frames.send(frame).is_err() {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.check())
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The first whole frame, if there is one.
fn take_frame(bytes: &mut BytesMut) -> Option<Bytes> {
    let body = bytes.get(..4).map(|mut length| length.get_u32_le())? as usize;
    (bytes.len() >= HEADER_BYTES + body).then(|| bytes.split_to(HEADER_BYTES + body).freeze())
}

/// One direction of a connection: what is between a node and the other's network card.
struct Line {
    from: u64,
    to: u64,
    weather: Arc<Weather>,
    process: Arc<Process>,
    write: End<OwnedWriteHalf>,
}

impl Line {
    /// Carries frames until the connection is closed or breaks.
    async fn carry(mut self, mut queue: UnboundedReceiver<Bytes>, broken: watch::Sender<bool>) {
        let mut held_back: Option<Bytes> = None;
        // Frames in order: a late one delays those behind it, as TCP does.
        let mut not_before = Instant::now();
        loop {
            let next = match held_back.is_some() {
                true => timeout(HELD_BACK, queue.recv()).await.unwrap_or(Some(Bytes::new())),
                false => queue.recv().await,
            };
            let Some(frame) = next else { break };
            if self.wait_for_the_way().await.is_err() {
                broken.send_replace(true);
                // The other side hears nothing of it before the cut ends.
                self.weather_clears().await;
                return;
            }
            let mut sending = Vec::new();
            if frame.is_empty() {
                sending.extend(held_back.take());
            } else {
                match self.weather.fate(self.from, self.to, frame.len()) {
                    Fate::Arrives { late_ms } => {
                        not_before =
                            not_before.max(Instant::now() + Duration::from_millis(late_ms));
                        sleep_until(not_before).await;
                        sending.push(frame);
                    }
                    Fate::Lost => {}
                    Fate::Twice => sending.extend([frame.clone(), frame]),
                    Fate::HeldBack if held_back.is_none() => held_back = Some(frame),
                    Fate::HeldBack => sending.push(frame),
                    Fate::Damaged { bit } => sending.push(damaged(&frame, bit)),
                }
                if !sending.is_empty() {
                    sending.extend(held_back.take());
                }
            }
            for frame in sending {
                if self.process.is_dead() || self.write.get().write_all(&frame).await.is_err() {
                    broken.send_replace(true);
                    return;
                }
            }
        }
    }

    async fn wait_for_the_way(&self) -> Result<(), ()> {
        if !self.weather.is_cut(self.from, self.to) {
            return Ok(());
        }
        let mut changes = self.weather.changes();
        let open = async {
            while self.weather.is_cut(self.from, self.to) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(USER_TIMEOUT, open).await.map_err(|_elapsed| ())
    }

    async fn weather_clears(&self) {
        while self.wait_for_the_way().await.is_err() {
            sleep(USER_TIMEOUT).await;
        }
    }
}

fn damaged(frame: &Bytes, bit: u64) -> Bytes {
    let mut bytes = BytesMut::from(&frame[..]);
    bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    bytes.freeze()
}

/// Where clients of a node come in: no weather, the clients are on the node's side of every cut.
#[derive(Clone)]
pub(super) struct ClientNet(pub(super) Arc<Process>);

impl Net for ClientNet {
    type Stream = ClientStream;
    type Listener = TcpListener;

    async fn connect(&self, address: &str) -> io::Result<ClientStream> {
        let stream = TcpStream::connect(address).await?;
        Ok(ClientStream(End::new(stream, &self.0)))
    }

    async fn bind(&self, address: &str) -> io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    async fn accept(&self, listener: &mut TcpListener) -> io::Result<(ClientStream, String)> {
        let (stream, from) = listener.accept().await?;
        Ok((ClientStream(End::new(stream, &self.0)), from.to_string()))
    }

    fn local_addr(&self, listener: &TcpListener) -> io::Result<String> {
        Ok(listener.local_addr()?.to_string())
    }
}

/// A connection with a client.
pub(super) struct ClientStream(End<TcpStream>);

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(self.0.get()).poll_read(context, into)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.0.get()).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.get()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.get()).poll_shutdown(context)
    }
}
