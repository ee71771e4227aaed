//! The world of a simulated node: its process decides about life and time, turmoil about the
//! network, and workers are tasks that take simulated time.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pgraft_node::modules::Modules;
use pgraft_node::world::{Compiling, Observer, Work, World};
use pgraft_replica::limits::TICK_MS;
use pgraft_store::Disk;
use pgraft_transport::AnyNet;
use tokio::time::{Sleep, sleep};

use crate::compiled::compiled;
use crate::plan::Point;
use crate::sim::net::{ClientNet, PeerNet};
use crate::sim::process::Process;
use crate::sim::weather::Weather;

/// Where a node listens for clients; peers have another port.
pub(super) const CLIENT_PORT: u16 = 7401;
/// Where a node listens for peers.
pub(super) const PEER_PORT: u16 = 7400;

/// How long a compiler takes.
const COMPILE: Duration = Duration::from_millis(150);

/// The world of one node.
pub(super) struct SimWorld {
    /// Decides about its life and time.
    pub(super) process: Arc<Process>,
    /// Between it and the others.
    pub(super) weather: Arc<Weather>,
    /// Watches it.
    pub(super) observer: Arc<dyn Observer>,
    /// What it runs.
    pub(super) modules: Arc<Modules>,
}

/// Simulated time since the start of the run, on the host that runs now.
pub(super) fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

impl World for SimWorld {
    fn peers(&self) -> AnyNet {
        let (process, weather) = (Arc::clone(&self.process), Arc::clone(&self.weather));
        AnyNet::new(PeerNet { process, weather })
    }

    fn clients(&self) -> (AnyNet, String) {
        (AnyNet::new(ClientNet(Arc::clone(&self.process))), format!("0.0.0.0:{CLIENT_PORT}"))
    }

    fn wall_ms(&self) -> u64 {
        self.process.wall_ms(now())
    }

    fn boottime_ns(&self) -> u64 {
        self.process.boottime_ns(now())
    }

    fn tick(&self) -> Duration {
        Duration::from_micros(TICK_MS * 1_000_000 / self.process.speed())
    }

    fn random(&self) -> Result<u64, String> {
        Ok(self.process.random())
    }

    fn start(&self, _name: &str, work: Work) -> io::Result<()> {
        tokio::spawn(Paced { work, process: Arc::clone(&self.process), taking: None });
        Ok(())
    }

    fn disk(&self, dir: &Path) -> Disk {
        Disk { dir: dir.to_owned(), vfs: Some(self.process.disk.vfs()) }
    }

    fn modules(&self) -> Result<Arc<Modules>, String> {
        // Each process loads for itself what does not come with its program.
        Ok(Arc::new(self.modules.fork()))
    }

    fn compile(&self, component: Arc<[u8]>) -> Compiling {
        Box::pin(async move {
            sleep(COMPILE).await;
            compiled(&component)
        })
    }

    fn observer(&self) -> Option<Arc<dyn Observer>> {
        Some(Arc::clone(&self.observer))
    }
}

/// A worker whose jobs take time: each time it is woken, it goes on only when the time that its
/// disk needs has passed. Everything it does then happens at once, so a process that dies in
/// between has done nothing of it; dying inside a job is the disk's part.
struct Paced {
    work: Work,
    process: Arc<Process>,
    taking: Option<Pin<Box<Sleep>>>,
}

impl Future for Paced {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.taking.is_none() {
            let takes = this.process.job_takes();
            if takes > Duration::ZERO {
                this.taking = Some(Box::pin(sleep(takes)));
            }
        }
        if let Some(taking) = &mut this.taking {
            ready!(taking.as_mut().poll(context));
        }
        if !this.process.may_run(context.waker()) || this.process.passes(Point::Job) {
            return Poll::Pending;
        }
        this.taking = None;
        this.work.as_mut().poll(context)
    }
}

/// The main future of a process: runs only while the process may.
pub(super) struct Pausable<F> {
    inner: Pin<Box<F>>,
    process: Arc<Process>,
}

impl<F> Pausable<F> {
    /// `inner` is polled while `process` lives and is not paused.
    pub(super) fn new(inner: F, process: Arc<Process>) -> Pausable<F> {
        Pausable { inner: Box::pin(inner), process }
    }
}

impl<F: Future> Future for Pausable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if !self.process.may_run(context.waker()) {
            return Poll::Pending;
        }
        self.inner.as_mut().poll(context)
    }
}
