//! Whether the native stack is in proportion to the count of `depth.rs`: read from the compiled
//! code, where each function says how large a frame it takes.
//!
//! A function's cost has room for every value it can hold at once. An optimising compiler keeps
//! more than those: what it computed once and needs again later. A module written on purpose can
//! make that a hundred times the cost, so optimised code whose frames are out of proportion is
//! not used; without optimisation every value has its place in the count.

use object::{Architecture, Object, ObjectSection, ObjectSymbol};

use crate::survey::Survey;
use crate::{DEPTH_COST_MAX, STACK_BYTES_MAX};

/// Bytes of native stack per unit of cost.
const PROPORTION: u64 = 2;
/// Bytes of a frame before it is made larger: the return address and the caller's frame pointer.
const LINK_BYTES: u64 = 16;
/// Bytes for what is not counted: the one function that is refused or does not call, and the
/// engine's own way in.
const UNCOUNTED_BYTES: u64 = PROPORTION * crate::limits::FUNCTION_COST_MAX + (64 << 10);

const _: () = {
    let counted = PROPORTION * DEPTH_COST_MAX as u64;
    assert!(counted + UNCOUNTED_BYTES <= STACK_BYTES_MAX as u64, "what is allowed must fit");
};

/// Whether every frame is in proportion; `None` when this program cannot read frames of the
/// architecture.
///
/// # Errors
/// When `code` is not what the engine compiles.
pub(crate) fn in_proportion(code: &[u8], survey: &Survey) -> Result<Option<bool>, String> {
    let file = object::File::parse(code).map_err(|why| format!("read the compiled code: {why}"))?;
    if file.architecture() != Architecture::X86_64 {
        return Ok(None);
    }
    let text = file.section_by_name(".text").ok_or("the compiled code has no section .text")?;
    let bytes = text.data().map_err(|why| format!("read the compiled code: {why}"))?;
    let mut seen = 0;
    for symbol in file.symbols() {
        let Some((module, function)) = symbol.name().ok().and_then(place) else { continue };
        let module = survey.modules.get(module).ok_or("code of a module that is not there")?;
        let body = function.checked_sub(module.imported_functions as usize);
        // The last one is depth.rs's own and takes next to nothing.
        let Some(cost) = body.and_then(|body| module.functions.get(body)).map(|f| f.cost) else {
            continue;
        };
        let at = usize::try_from(symbol.address()).map_err(|_| "a symbol beyond memory")?;
        let frame = bytes.get(at..).and_then(frame);
        if frame.is_none_or(|frame| frame > PROPORTION * u64::from(cost)) {
            return Ok(Some(false));
        }
        seen += 1;
    }
    let all: usize = survey.modules.iter().map(|module| module.functions.len()).sum();
    if seen == all {
        Ok(Some(true))
    } else {
        Err(format!("{seen} of {all} functions are in the compiled code"))
    }
}

/// The module and function that a symbol is for: `wasm[0]::function[12]::name`.
fn place(symbol: &str) -> Option<(usize, usize)> {
    let (module, rest) = symbol.strip_prefix("wasm[")?.split_once("]::function[")?;
    let (function, _) = rest.split_once(']')?;
    Some((module.parse().ok()?, function.parse().ok()?))
}

/// `push rbp; mov rbp, rsp`.
const BEGINNING: &[u8] = &[0x55, 0x48, 0x89, 0xe5];
/// `mov r11, rsp; sub r11, n`: then each page down to there is touched in a loop.
const PROBE_LOOP: &[u8] = &[0x49, 0x89, 0xe3, 0x49, 0x81, 0xeb];
/// `sub rsp, 4096; mov dword ptr [rsp], 0`: a page is touched.
const PROBE: &[u8] = &[0x48, 0x81, 0xec, 0, 0x10, 0, 0, 0xc7, 0x04, 0x24, 0, 0, 0, 0];
/// `add rsp, n`: back from touching.
const UNPROBE: &[u8] = &[0x48, 0x81, 0xc4];
/// `sub rsp, n`, with n of four bytes and of one.
const ENLARGE: &[u8] = &[0x48, 0x81, 0xec];
const ENLARGE_BYTE: &[u8] = &[0x48, 0x83, 0xec];
/// Where the stack could still be enlarged by code that this does not know.
const UNKNOWN_WITHIN_BYTES: usize = 64;

/// Bytes of the frame that x86-64 code begins with; `None` when the code has another beginning.
fn frame(code: &[u8]) -> Option<u64> {
    let number =
        |bytes: &[u8]| bytes.first_chunk().map(|four| u64::from(u32::from_le_bytes(*four)));
    let mut rest = code.strip_prefix(BEGINNING)?;
    if let Some(pages) = rest.strip_prefix(PROBE_LOOP) {
        // Rounded up to a page.
        return Some(LINK_BYTES + number(pages)?);
    }
    let mut probed = false;
    while let Some(more) = rest.strip_prefix(PROBE) {
        (rest, probed) = (more, true);
    }
    if probed {
        rest = rest.strip_prefix(UNPROBE)?.get(4..)?;
    }
    if let Some(size) = rest.strip_prefix(ENLARGE) {
        return Some(LINK_BYTES + number(size)?);
    }
    if let Some([size, ..]) = rest.strip_prefix(ENLARGE_BYTE) {
        return Some(LINK_BYTES + u64::from(*size));
    }
    let head = &rest[..rest.len().min(UNKNOWN_WITHIN_BYTES)];
    let enlarges = |known: &[u8]| head.windows(known.len()).any(|bytes| bytes == known);
    let unknown = probed || enlarges(ENLARGE) || enlarges(&PROBE_LOOP[..3]);
    (!unknown).then_some(LINK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::frame;

    #[test]
    fn frames_are_read() {
        let begun = |rest: &[u8]| [super::BEGINNING, rest, &[0x90; 80]].concat();
        assert_eq!(frame(&begun(&[])), Some(16));
        assert_eq!(frame(&begun(&[0x48, 0x83, 0xec, 0x20])), Some(16 + 0x20));
        assert_eq!(frame(&begun(&[0x48, 0x81, 0xec, 0, 3, 0, 0])), Some(16 + 0x300));
        let pages = [0x49, 0x89, 0xe3, 0x49, 0x81, 0xeb, 0, 0x80, 0, 0];
        assert_eq!(frame(&begun(&pages)), Some(16 + 0x8000));
        let probes = [super::PROBE, super::PROBE, &[0x48, 0x81, 0xc4, 0, 0x20, 0, 0]].concat();
        let probed = [&probes[..], &[0x48, 0x81, 0xec, 0x10, 0x2f, 0, 0]].concat();
        assert_eq!(frame(&begun(&probed)), Some(16 + 0x2f10));
        // What is not known is not taken for small.
        assert_eq!(frame(&begun(&[0x90, 0x48, 0x81, 0xec, 0, 3, 0, 0])), None);
        assert_eq!(frame(&[0x90; 80]), None);
    }
}
