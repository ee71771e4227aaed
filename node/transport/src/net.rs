//! The network as the transport sees it: byte streams to an address.
//!
//! [`Tcp`] is tokio's; the simulation and the tests bring their own. TLS will be one more
//! implementation that wraps another one: `connect` and `accept` then return after the TLS
//! handshake, with the certificate's node id checked against the [`crate::Hello`] that follows.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Where byte streams come from. All futures run on the runtime that started the transport.
pub trait Net: Clone + Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Something that accepts connections.
    type Listener: Send + 'static;

    /// Connects to `host:port`. The caller bounds the time.
    ///
    /// # Errors
    /// When the name does not resolve or no address of it answers.
    fn connect(&self, address: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Listens on `host:port`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is not ours or is taken.
    fn bind(&self, address: &str) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// The next connection and, for logs, where it comes from. Cancel safe.
    ///
    /// # Errors
    /// When this connection is lost already, or for want of resources; the listener stays usable.
    fn accept(
        &self,
        listener: &mut Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Stream, String)>> + Send;

    /// Where it listens, with the port filled in.
    ///
    /// # Errors
    /// When the system does not tell.
    fn local_addr(&self, listener: &Self::Listener) -> io::Result<String>;
}

/// TCP of the operating system.
///
/// An address that is a name is resolved on tokio's pool of blocking threads (they inherit the
/// signal mask of the thread that starts the runtime); an IP address needs no thread.
#[derive(Clone, Debug)]
pub struct Tcp {
    /// One address of a name may take this long before the next one is tried.
    pub address_timeout: Duration,
    /// Data may stay unacknowledged this long before the system resets the connection
    /// (`TCP_USER_TIMEOUT`); the election timeout is a good value.
    pub user_timeout: Duration,
}

impl Default for Tcp {
    fn default() -> Tcp {
        Tcp { address_timeout: Duration::from_millis(500), user_timeout: Duration::from_secs(1) }
    }
}

impl Tcp {
    fn tune(&self, stream: &TcpStream) -> io::Result<()> {
        // Frames are written once per turn: waiting for more would only add delay.
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        // A pulled cable shows when nothing is being sent, too.
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(10)))?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        socket.set_tcp_user_timeout(Some(self.user_timeout))?;
        Ok(())
    }

    async fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
        if let Ok(literal) = address.parse() {
            return Ok(vec![literal]);
        }
        let found: Vec<SocketAddr> = tokio::net::lookup_host(address).await?.collect();
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "name has no address"));
        }
        Ok(found)
    }
}

impl Net for Tcp {
    type Stream = TcpStream;
    type Listener = TcpListener;

    async fn connect(&self, address: &str) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for candidate in Tcp::resolve(address).await? {
            match timeout(self.address_timeout, TcpStream::connect(candidate)).await {
                Ok(Ok(stream)) => {
                    self.tune(&stream)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    async fn bind(&self, address: &str) -> io::Result<TcpListener> {
        TcpListener::bind(Tcp::resolve(address).await?.as_slice()).await
    }

    async fn accept(&self, listener: &mut TcpListener) -> io::Result<(TcpStream, String)> {
        let (stream, from) = listener.accept().await?;
        // It fails only on a connection that is dead already, which reading will show.
        let _ = self.tune(&stream);
        Ok((stream, from.to_string()))
    }

    fn local_addr(&self, listener: &TcpListener) -> io::Result<String> {
        Ok(listener.local_addr()?.to_string())
    }
}
