//! A module's way into the cluster: its bytes, cut into the requests that stage them.

use pgraft_host::limits::{MODULE_BYTES_MAX, STAGE_BYTES_MAX};
use pgraft_host::{Change, Sha256Bytes};
use sha2::{Digest, Sha256};

use crate::rpc::Op;

/// The first bytes of a component; a core module has another version.
const COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
/// The first bytes of a core module.
const CORE: [u8; 8] = [0, b'a', b's', b'm', 1, 0, 0, 0];

/// A module that can be staged.
#[derive(Clone, Copy, Debug)]
pub struct Module<'a> {
    bytes: &'a [u8],
    sha256: Sha256Bytes,
}

impl<'a> Module<'a> {
    /// Looks at the bytes of a module.
    ///
    /// # Errors
    /// When they are no component, or too many, in words.
    pub fn new(bytes: &'a [u8]) -> Result<Module<'a>, String> {
        if bytes.len() as u64 > MODULE_BYTES_MAX {
            let size = bytes.len();
            return Err(format!("the module has {size} bytes, at most {MODULE_BYTES_MAX} may be"));
        }
        if bytes.starts_with(&CORE) {
            return Err(
                "this is a core module, not a component: `pgraft machine build` makes one \
                        of a project"
                    .to_owned(),
            );
        }
        if !bytes.starts_with(&COMPONENT) {
            let first = &bytes[..bytes.len().min(8)];
            return Err(format!("this is no WebAssembly component: it begins with {first:02x?}"));
        }
        Ok(Module { bytes, sha256: Sha256::digest(bytes).into() })
    }

    /// What identifies it.
    pub fn sha256(&self) -> Sha256Bytes {
        self.sha256
    }

    /// Its size in bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The requests that stage it, in order, each with how many bytes are there after it.
    pub fn stage(self) -> impl Iterator<Item = (usize, Op)> + 'a {
        let (sha256, total) = (self.sha256, self.bytes.len() as u64);
        self.bytes.chunks(STAGE_BYTES_MAX).zip((0..).step_by(STAGE_BYTES_MAX)).map(
            move |(part, at): (&[u8], usize)| {
                let (offset, bytes) = (at as u64, part.to_vec());
                let change = Change::Stage { sha256, total, offset, bytes };
                let op = Op::Change { change: change.encode(), dry_run: false, force: false };
                (at + part.len(), op)
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_cut_into_parts_that_say_where_they_belong() {
        let mut bytes = COMPONENT.to_vec();
        bytes.resize(STAGE_BYTES_MAX + 10, 7);
        let module = Module::new(&bytes).unwrap();
        let parts: Vec<(usize, Op)> = module.stage().collect();
        assert_eq!(
            parts.iter().map(|(there, _)| *there).collect::<Vec<_>>(),
            [STAGE_BYTES_MAX, STAGE_BYTES_MAX + 10]
        );
        let Op::Change { change, .. } = &parts[1].1 else { panic!("not a change") };
        let Ok(Change::Stage { offset, total, bytes: part, sha256 }) = Change::decode(change)
        else {
            panic!("not a part")
        };
        assert_eq!((offset, total, part.len()), (256 << 10, bytes.len() as u64, 10));
        assert_eq!(sha256, module.sha256());
    }

    #[test]
    fn what_is_no_component_is_refused_in_words() {
        let why = |bytes: &[u8]| Module::new(bytes).unwrap_err();
        assert!(why(&CORE).contains("core module"));
        assert!(why(b"hello, world").contains("begins with [68, 65"));
        assert!(why(b"").contains("begins with []"));
        assert!(why(&vec![0; (16 << 20) + 1]).contains("16777217 bytes"));
    }
}
