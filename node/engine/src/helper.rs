//! What a node and the program `pgraft-compile` say to each other, and what the program may use.

/// First byte of the answer, and exit code: compiled code follows.
pub const COMPILED: u8 = 0;
/// The component is at fault; why, in words, follows. Every node comes to that.
pub const REFUSED: u8 = 1;
/// The machine is at fault; why, in words, follows.
pub const FAILED: u8 = 2;

/// Address space of the program, in bytes. A guest of 18 MB took 830 MiB (WASM.md 6).
pub const MEMORY_BYTES_MAX: u64 = 2 << 30;
/// CPU time of the program, in seconds. A guest of 12 MB took 65.
pub const CPU_SECONDS_MAX: u64 = 120;
/// Time that a node waits for the program, in seconds: it may have to share the CPU.
pub const WALL_SECONDS_MAX: u64 = 600;
/// Stack of the thread that compiles, in bytes.
pub const STACK_BYTES: usize = 64 << 20;
/// Bytes of compiled code. A guest of 12 MB had 80.
pub const CODE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of words.
pub const WORDS_BYTES_MAX: usize = 4 << 10;
