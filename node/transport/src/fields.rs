//! Reading fixed-width little-endian fields out of a body, every length checked.

use bytes::{Buf, Bytes};
use pgraft_replica::NodeId;

/// Why a body with a good checksum still makes no sense. The sender is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The body ends inside a field.
    #[error("body ends inside {0}")]
    Truncated(&'static str),
    /// Bytes are left over.
    #[error("{0} bytes after the end of the body")]
    Trailing(usize),
    /// A number that stands for nothing.
    #[error("{what} {found} is not known")]
    Unknown {
        /// The field.
        what: &'static str,
        /// What stood there.
        found: u64,
    },
    /// More than the limit.
    #[error("{found} {what}, at most {max} are allowed")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many.
        found: u64,
        /// The limit.
        max: usize,
    },
    /// Node id 0 means "nobody" and may not be sent.
    #[error("{0} is node 0")]
    NodeZero(&'static str),
    /// Node ids of a set ascend strictly, so that each set has one encoding.
    #[error("node ids are not ascending")]
    NotAscending,
}

/// What is left of a body.
#[derive(Debug)]
pub(crate) struct Fields(Bytes);

macro_rules! number {
    ($name:ident, $type:ty, $get:ident) => {
        pub(crate) fn $name(&mut self, what: &'static str) -> Result<$type, CodecError> {
            self.need(size_of::<$type>(), what)?;
            Ok(self.0.$get())
        }
    };
}

impl Fields {
    pub(crate) fn new(body: Bytes) -> Fields {
        Fields(body)
    }

    number!(u8, u8, get_u8);
    number!(u16, u16, get_u16_le);
    number!(u32, u32, get_u32_le);
    number!(u64, u64, get_u64_le);
    number!(i64, i64, get_i64_le);
    number!(u128, u128, get_u128_le);

    pub(crate) fn node(&mut self, what: &'static str) -> Result<NodeId, CodecError> {
        NodeId::new(self.u64(what)?).ok_or(CodecError::NodeZero(what))
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], CodecError> {
        self.need(N, what)?;
        let mut array = [0; N];
        self.0.copy_to_slice(&mut array);
        Ok(array)
    }

    /// The next `len` bytes, without a copy.
    pub(crate) fn bytes(&mut self, len: usize, what: &'static str) -> Result<Bytes, CodecError> {
        self.need(len, what)?;
        Ok(self.0.split_to(len))
    }

    /// A `u32` that counts things of which each takes at least `unit` bytes of what is left.
    pub(crate) fn count(
        &mut self,
        what: &'static str,
        unit: usize,
        max: usize,
    ) -> Result<usize, CodecError> {
        let found = self.u32(what)?;
        match usize::try_from(found) {
            Ok(count) if count <= max => {
                self.need(count.saturating_mul(unit), what)?;
                Ok(count)
            }
            _ => Err(CodecError::TooMany { what, found: found.into(), max }),
        }
    }

    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.0
    }

    pub(crate) fn end(self) -> Result<(), CodecError> {
        if self.0.is_empty() { Ok(()) } else { Err(CodecError::Trailing(self.0.len())) }
    }

    fn need(&self, len: usize, what: &'static str) -> Result<(), CodecError> {
        if self.0.len() >= len { Ok(()) } else { Err(CodecError::Truncated(what)) }
    }
}
