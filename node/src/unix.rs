//! The Unix socket in the data directory as a network: where clients of this machine come in.
//!
//! Mode 0600: whoever may use the data directory may use the node.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use pgraft_transport::Net;
use tokio::net::{UnixListener, UnixStream};

/// The one socket at `path`; addresses mean nothing to it.
#[derive(Clone, Debug)]
pub(crate) struct Unix {
    pub(crate) path: PathBuf,
}

/// The listening socket; removed from the file system when dropped.
pub(crate) struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Net for Unix {
    type Stream = UnixStream;
    type Listener = Listener;

    async fn connect(&self, _address: &str) -> io::Result<UnixStream> {
        UnixStream::connect(&self.path).await
    }

    /// Takes the place of a socket that a crashed process left behind.
    async fn bind(&self, _address: &str) -> io::Result<Listener> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&self.path)?;
        std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Listener { listener, path: self.path.clone() })
    }

    async fn accept(&self, listener: &mut Listener) -> io::Result<(UnixStream, String)> {
        let (stream, _unnamed) = listener.listener.accept().await?;
        Ok((stream, "a local client".to_owned()))
    }

    fn local_addr(&self, listener: &Listener) -> io::Result<String> {
        Ok(listener.path.display().to_string())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_file(&self.path);
    }
}
