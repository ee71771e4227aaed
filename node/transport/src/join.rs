//! Asking a cluster for its genesis, before one is a member: no identity yet, only a token.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::connection::{Broken, write_frame};
use crate::frame::{FrameKind, FrameReader, HEADER_BYTES};
use crate::handshake::{HANDSHAKE_VERSION, Join, MAGIC, Refusal};
use crate::limits::{FRAME_BYTES_MAX, GREETING_BYTES_MAX, TOKEN_BYTES_MAX};
use crate::net::Net;
use crate::snapshot::text;

/// Why there is no genesis.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The node does not speak with us.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The node's driver says no.
    #[error("declined: {0}")]
    Declined(String),
    /// Token or request are too long to be sent.
    #[error("the request to join is too long")]
    TooLong,
    /// No connection, or it broke.
    #[error("ask {address}: {why}")]
    Failed {
        /// Who was asked.
        address: String,
        /// What happened.
        why: String,
    },
}

/// Asks the node at `address`. May be repeated: a request to join changes nothing by itself as
/// far as the transport knows.
///
/// # Errors
/// [`JoinError`]; `Failed` and some refusals may pass, so callers go on to the next address.
pub async fn join<N: Net>(
    net: &N,
    address: &str,
    token: Bytes,
    request: Bytes,
    patience: Duration,
) -> Result<Bytes, JoinError> {
    let overhead = HEADER_BYTES + MAGIC.len() + 2 + 2 + 4;
    let len = overhead + token.len() + request.len();
    if token.len() > TOKEN_BYTES_MAX || len > GREETING_BYTES_MAX {
        return Err(JoinError::TooLong);
    }
    let failed = |why: String| JoinError::Failed { address: address.to_owned(), why };
    let ask = ask(net, address, Join { token, request }.encode());
    let answer = timeout(patience, ask)
        .await
        .map_err(|_| failed(format!("no answer in {patience:?}")))?
        .map_err(|broken| failed(broken.to_string()))?;
    match answer.kind {
        FrameKind::Refused => match Refusal::decode(answer.body) {
            Ok(why) => Err(JoinError::Refused(why)),
            Err(error) => Err(failed(error.to_string())),
        },
        FrameKind::JoinAnswer => match answer.body.first() {
            Some(0) => Ok(answer.body.slice(1..)),
            Some(1) => Err(JoinError::Declined(text(answer.body.slice(1..)))),
            _ => Err(failed("an answer of unknown form".to_owned())),
        },
        _ => Err(failed("something else than an answer".to_owned())),
    }
}

async fn ask<N: Net>(net: &N, address: &str, body: Vec<u8>) -> Result<crate::frame::Frame, Broken> {
    let stream = net
        .connect(address)
        .await
        .map_err(|source| Broken::Connect { address: address.to_owned(), source })?;
    let (read, mut writer) = tokio::io::split(stream);
    write_frame(&mut writer, FrameKind::Join, HANDSHAKE_VERSION, &body).await?;
    let mut reader = FrameReader::new(read, HANDSHAKE_VERSION, FRAME_BYTES_MAX);
    reader.next().await?.ok_or(Broken::Closed)
}
