//! A network chosen at run time: whoever holds it need not be generic over [`Net`].
//!
//! It costs one allocation per connection and an indirect call per read and write.

use std::any::Any;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::Net;

/// A connection of any network.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

type Pending<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// [`Net`] with its types erased.
trait Erased: Send + Sync {
    fn connect<'a>(&'a self, address: &'a str) -> Pending<'a, Box<dyn Stream>>;
    fn bind<'a>(&'a self, address: &'a str) -> Pending<'a, AnyListener>;
    fn accept<'a>(
        &'a self,
        listener: &'a mut AnyListener,
    ) -> Pending<'a, (Box<dyn Stream>, String)>;
    fn local_addr(&self, listener: &AnyListener) -> io::Result<String>;
}

/// A listener of the network that made it.
pub struct AnyListener(Box<dyn Any + Send + Sync>);

impl AnyListener {
    fn of<L: 'static>(&self) -> &L {
        self.0.downcast_ref().expect("a listener goes back to the network that made it")
    }
}

impl<N> Erased for N
where
    N: Net + Sync,
    N::Listener: Sync,
{
    fn connect<'a>(&'a self, address: &'a str) -> Pending<'a, Box<dyn Stream>> {
        Box::pin(async move {
            let stream: Box<dyn Stream> = Box::new(Net::connect(self, address).await?);
            Ok(stream)
        })
    }

    fn bind<'a>(&'a self, address: &'a str) -> Pending<'a, AnyListener> {
        Box::pin(async move { Ok(AnyListener(Box::new(Net::bind(self, address).await?))) })
    }

    fn accept<'a>(
        &'a self,
        listener: &'a mut AnyListener,
    ) -> Pending<'a, (Box<dyn Stream>, String)> {
        let listener = listener.0.downcast_mut::<N::Listener>();
        let listener = listener.expect("a listener goes back to the network that made it");
        Box::pin(async move {
            let (stream, from) = Net::accept(self, listener).await?;
            let stream: Box<dyn Stream> = Box::new(stream);
            Ok((stream, from))
        })
    }

    fn local_addr(&self, listener: &AnyListener) -> io::Result<String> {
        Net::local_addr(self, listener.of::<N::Listener>())
    }
}

/// Any network.
#[derive(Clone)]
pub struct AnyNet(Arc<dyn Erased>);

impl AnyNet {
    /// Erases the types of `net`.
    pub fn new<N>(net: N) -> AnyNet
    where
        N: Net,
        N::Listener: Sync,
    {
        AnyNet(Arc::new(net))
    }
}

impl std::fmt::Debug for AnyNet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnyNet").finish_non_exhaustive()
    }
}

impl Net for AnyNet {
    type Stream = Box<dyn Stream>;
    type Listener = AnyListener;

    async fn connect(&self, address: &str) -> io::Result<Box<dyn Stream>> {
        self.0.connect(address).await
    }

    async fn bind(&self, address: &str) -> io::Result<AnyListener> {
        self.0.bind(address).await
    }

    async fn accept(&self, listener: &mut AnyListener) -> io::Result<(Box<dyn Stream>, String)> {
        self.0.accept(listener).await
    }

    fn local_addr(&self, listener: &AnyListener) -> io::Result<String> {
        self.0.local_addr(listener)
    }
}
