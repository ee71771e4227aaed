//! Bytes in, bytes out: the few primitives from which the built-in machines' codecs are made.
//!
//! Every value has exactly one encoding, so equal values are equal bytes. Reading trusts nothing:
//! a length is compared with what is left before anything is allocated.
//!
//! | kind | bytes |
//! |---|---|
//! | `u8`, `bool` | one byte; a bool is 0 or 1 |
//! | `u64` | LEB128: seven bits per byte, lowest first, shortest form only; at most 10 bytes |
//! | `i64` | zigzag (0, -1, 1, -2, ...) as `u64` |
//! | `u128` | 16 bytes, little endian |
//! | bytes, text | length as `u64`, then the bytes; text is UTF-8 |
//! | option | 0, or 1 and the value |
//! | list | count as `u64`, then the items |

use std::fmt;

/// The bytes are not what this version writes. Equal on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecError {
    /// What was expected.
    pub expected: &'static str,
    /// Bytes from the end of the input to the place where it was missing.
    pub left: usize,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CodecError { expected, left } = self;
        write!(f, "malformed bytes: expected {expected}, {left} bytes before the end")
    }
}

impl std::error::Error for CodecError {}

/// Collects an encoding.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A writer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Writer {
        Writer { bytes: Vec::with_capacity(capacity) }
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Writer {
        self.bytes.push(value);
        self
    }

    /// A flag.
    pub fn bool(&mut self, value: bool) -> &mut Writer {
        self.u8(u8::from(value))
    }

    /// A number, short when it is small.
    pub fn u64(&mut self, mut value: u64) -> &mut Writer {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8)
    }

    /// A signed number, short when it is near zero.
    pub fn i64(&mut self, value: i64) -> &mut Writer {
        self.u64(((value << 1) ^ (value >> 63)) as u64)
    }

    /// Sixteen bytes.
    pub fn u128(&mut self, value: u128) -> &mut Writer {
        self.raw(&value.to_le_bytes())
    }

    /// A byte string with its length.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Writer {
        self.u64(value.len() as u64).raw(value)
    }

    /// A byte string whose end the reader knows.
    pub fn raw(&mut self, value: &[u8]) -> &mut Writer {
        self.bytes.extend_from_slice(value);
        self
    }

    /// A list.
    pub fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Writer, &T)) -> &mut Writer {
        self.u64(items.len() as u64);
        for value in items {
            item(self, value);
        }
        self
    }

    /// A value that may be absent.
    pub fn option<T>(
        &mut self,
        value: Option<&T>,
        some: impl FnOnce(&mut Writer, &T),
    ) -> &mut Writer {
        self.bool(value.is_some());
        if let Some(value) = value {
            some(self, value);
        }
        self
    }
}

/// Takes an encoding apart, from front to back.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over all of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// The error for this place.
    pub fn error(&self, expected: &'static str) -> CodecError {
        CodecError { expected, left: self.rest.len() }
    }

    /// One byte.
    ///
    /// # Errors
    /// At the end of the input.
    pub fn u8(&mut self, expected: &'static str) -> Result<u8, CodecError> {
        let (&first, rest) = self.rest.split_first().ok_or(self.error(expected))?;
        self.rest = rest;
        Ok(first)
    }

    /// A flag.
    ///
    /// # Errors
    /// At the end of the input, and for a byte that is neither 0 nor 1.
    pub fn bool(&mut self, expected: &'static str) -> Result<bool, CodecError> {
        match self.u8(expected)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error(expected)),
        }
    }

    /// A number.
    ///
    /// # Errors
    /// At the end of the input, beyond 64 bits, and for a form that is longer than necessary.
    pub fn u64(&mut self, expected: &'static str) -> Result<u64, CodecError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(expected)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(self.error(expected));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let shortest = byte != 0 || shift == 0;
                return if shortest { Ok(value) } else { Err(self.error(expected)) };
            }
        }
        Err(self.error(expected))
    }

    /// A signed number.
    ///
    /// # Errors
    /// As [`Reader::u64`].
    pub fn i64(&mut self, expected: &'static str) -> Result<i64, CodecError> {
        let value = self.u64(expected)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Sixteen bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn u128(&mut self, expected: &'static str) -> Result<u128, CodecError> {
        let (first, rest) = self.rest.split_first_chunk().ok_or(self.error(expected))?;
        self.rest = rest;
        Ok(u128::from_le_bytes(*first))
    }

    /// A byte string with its length; not copied.
    ///
    /// # Errors
    /// When it is longer than what is left.
    pub fn bytes(&mut self, expected: &'static str) -> Result<&'a [u8], CodecError> {
        let length = self.u64(expected)?;
        let length = usize::try_from(length).map_err(|_| self.error(expected))?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(self.error(expected))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// UTF-8 text with its length.
    ///
    /// # Errors
    /// When it is longer than what is left, or not UTF-8.
    pub fn text(&mut self, expected: &'static str) -> Result<String, CodecError> {
        let bytes = self.bytes(expected)?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.error(expected))?;
        Ok(text.to_owned())
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// A list.
    ///
    /// # Errors
    /// Those of its items; and when it claims more items than bytes are left, before anything
    /// is allocated.
    pub fn list<T>(
        &mut self,
        expected: &'static str,
        mut item: impl FnMut(&mut Reader<'a>) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        let count = self.u64(expected)?;
        if count > self.rest.len() as u64 {
            return Err(self.error(expected));
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// A value that may be absent.
    ///
    /// # Errors
    /// Those of the value.
    pub fn option<T>(
        &mut self,
        expected: &'static str,
        some: impl FnOnce(&mut Reader<'a>) -> Result<T, CodecError>,
    ) -> Result<Option<T>, CodecError> {
        if self.bool(expected)? { some(self).map(Some) } else { Ok(None) }
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// When something is.
    pub fn end(&self) -> Result<(), CodecError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error("the end")) }
    }
}
