//! An in-memory network whose connections can be cut, frozen and damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use pgraft_transport::Net;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};

/// Bytes one direction of a connection holds.
const PIPE_BYTES: usize = 64 << 10;

#[derive(Default)]
struct Condition {
    cut: bool,
    frozen: bool,
    /// The bit to flip, once, in what is written next by the dialler.
    flip: Option<u64>,
    /// The dialler's bytes per millisecond.
    rate: Option<usize>,
    waiting: Vec<Waker>,
}

/// One connection, to be hurt.
#[derive(Clone, Default)]
pub(crate) struct Cable(Arc<Mutex<Condition>>);

impl Cable {
    /// Both ends get a reset.
    pub(crate) fn cut(&self) {
        self.change(|condition| condition.cut = true);
    }

    /// Nothing is delivered any more, and nobody is told.
    pub(crate) fn freeze(&self) {
        self.change(|condition| condition.frozen = true);
    }

    /// The dialler can send so many bytes per millisecond from now on.
    pub(crate) fn slow(&self, rate: usize) {
        self.change(|condition| condition.rate = Some(rate));
    }

    /// Flips the bit of this number in the bytes that the dialler writes from now on.
    pub(crate) fn flip(&self, bit: u64) {
        self.change(|condition| condition.flip = Some(bit));
    }

    fn change(&self, change: impl FnOnce(&mut Condition)) {
        let mut condition = self.0.lock().unwrap();
        change(&mut condition);
        condition.waiting.drain(..).for_each(Waker::wake);
    }

    /// `Some` when the state of the cable decides.
    fn verdict(&self, context: &mut Context<'_>) -> Option<Poll<io::Error>> {
        let mut condition = self.0.lock().unwrap();
        if condition.cut {
            return Some(Poll::Ready(io::ErrorKind::ConnectionReset.into()));
        }
        // Kept also when the pipe decides: a later cut must wake whoever waits in the pipe.
        condition.waiting.push(context.waker().clone());
        if condition.waiting.len() > 64 {
            condition.waiting.drain(..32).for_each(Waker::wake);
        }
        condition.frozen.then_some(Poll::Pending)
    }
}

/// One end of a connection.
pub(crate) struct Wire {
    pipe: DuplexStream,
    cable: Cable,
    dialler: bool,
    pause: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.cable.verdict(context) {
            Some(verdict) => verdict.map(Err),
            None => Pin::new(&mut self.pipe).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(verdict) = self.cable.verdict(context) {
            return verdict.map(Err);
        }
        let rate = self.cable.0.lock().unwrap().rate.filter(|_| self.dialler);
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let mut bytes = bytes[..bytes.len().min(rate.unwrap_or(usize::MAX))].to_vec();
        if rate.is_some() {
            self.pause = Some(Box::pin(sleep(Duration::from_millis(1))));
        }
        let flip = self.cable.0.lock().unwrap().flip;
        if let (true, Some(bit)) = (self.dialler, flip)
            && let Some(byte) = bytes.get_mut(usize::try_from(bit / 8).unwrap())
        {
            *byte ^= 1 << (bit % 8);
        }
        let written = Pin::new(&mut self.pipe).poll_write(context, &bytes);
        if let (true, Some(bit), Poll::Ready(Ok(written))) = (self.dialler, flip, &written) {
            let left = bit.checked_sub(8 * *written as u64);
            self.cable.0.lock().unwrap().flip = left;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}

#[derive(Default)]
struct Hub {
    listeners: BTreeMap<String, mpsc::Sender<Wire>>,
    unplugged: BTreeSet<String>,
    cables: Vec<(String, Cable)>,
    attempts: Vec<Instant>,
}

/// The network.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Hub>>);

impl Memory {
    /// All connections that were ever made to an address, oldest first.
    pub(crate) fn cables(&self, address: &str) -> Vec<Cable> {
        let hub = self.0.lock().unwrap();
        let to = hub.cables.iter().filter(|(to, _)| to == address);
        to.map(|(_, cable)| cable.clone()).collect()
    }

    /// New connections to the address are refused, or not.
    pub(crate) fn unplug(&self, address: &str, unplugged: bool) {
        let mut hub = self.0.lock().unwrap();
        if unplugged {
            hub.unplugged.insert(address.to_owned());
        } else {
            hub.unplugged.remove(address);
        }
    }

    /// How often anybody tried to connect.
    pub(crate) fn attempts(&self) -> usize {
        self.0.lock().unwrap().attempts.len()
    }

    /// When anybody tried to connect.
    pub(crate) fn attempt_times(&self) -> Vec<Instant> {
        self.0.lock().unwrap().attempts.clone()
    }
}

pub(crate) struct Listener {
    address: String,
    incoming: mpsc::Receiver<Wire>,
}

impl Net for Memory {
    type Stream = Wire;
    type Listener = Listener;

    async fn connect(&self, address: &str) -> io::Result<Wire> {
        let cable = Cable::default();
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let listener = {
            let mut hub = self.0.lock().unwrap();
            hub.attempts.push(Instant::now());
            if hub.unplugged.contains(address) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            hub.listeners.get(address).cloned()
        };
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let theirs = Wire { pipe: theirs, cable: cable.clone(), dialler: false, pause: None };
        listener.ok_or_else(refused)?.send(theirs).await.map_err(|_| refused())?;
        self.0.lock().unwrap().cables.push((address.to_owned(), cable.clone()));
        Ok(Wire { pipe: ours, cable, dialler: true, pause: None })
    }

    async fn bind(&self, address: &str) -> io::Result<Listener> {
        let (listener, incoming) = mpsc::channel(1024);
        self.0.lock().unwrap().listeners.insert(address.to_owned(), listener);
        Ok(Listener { address: address.to_owned(), incoming })
    }

    async fn accept(&self, listener: &mut Listener) -> io::Result<(Wire, String)> {
        match listener.incoming.recv().await {
            Some(wire) => Ok((wire, "memory".to_owned())),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self, listener: &Listener) -> io::Result<String> {
        Ok(listener.address.clone())
    }
}
