//! The primitives of a record's body, both ways: numbers, bytes, lists, options. Numbers are
//! LEB128, because most are small and an idle node is recorded, too. Not here: what they mean.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

/// Data longer than this is told by its length and digest where [`Data::Digest`] is asked for.
const VERBATIM_BYTES_MAX: usize = 32;

/// How the data of entries is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// As it is: inputs must be given again.
    Whole,
    /// Long data by length and XXH3-128: outputs are only compared.
    Digest,
}

/// A body that was not written by this crate: what was being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Appends fields to a body.
pub(crate) struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    data: Data,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>, data: Data) -> Encoder<'a> {
        Encoder { out, data }
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    pub(crate) fn flag(&mut self, flag: bool) {
        self.out.push(u8::from(flag));
    }

    pub(crate) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.out.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.out.push(number as u8);
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    /// Data of an entry or a command.
    pub(crate) fn data(&mut self, data: &[u8]) {
        if self.data == Data::Whole || data.len() <= VERBATIM_BYTES_MAX {
            return self.bytes(data);
        }
        self.count(data.len());
        self.out.extend_from_slice(&xxh3_128(data).to_le_bytes());
    }

    pub(crate) fn list<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut put: impl FnMut(&mut Self, T),
    ) {
        self.count(items.len());
        items.for_each(|item| put(self, item));
    }

    pub(crate) fn option<T>(&mut self, item: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.flag(item.is_some());
        if let Some(item) = item {
            put(self, item);
        }
    }
}

/// Takes fields off a body.
pub(crate) struct Decoder {
    rest: Bytes,
    data: Data,
}

impl Decoder {
    pub(crate) fn new(body: Bytes, data: Data) -> Decoder {
        Decoder { rest: body, data }
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, Malformed> {
        let byte = *self.rest.first().ok_or(Malformed(what))?;
        let _read = self.rest.split_to(1);
        Ok(byte)
    }

    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, Malformed> {
        match self.byte(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed(what)),
        }
    }

    pub(crate) fn number(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Malformed(what));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed(what))
    }

    fn count(&mut self, what: &'static str) -> Result<usize, Malformed> {
        usize::try_from(self.number(what)?).map_err(|_| Malformed(what))
    }

    fn take(&mut self, count: usize, what: &'static str) -> Result<Bytes, Malformed> {
        if self.rest.len() < count {
            return Err(Malformed(what));
        }
        Ok(self.rest.split_to(count))
    }

    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<Bytes, Malformed> {
        let count = self.count(what)?;
        self.take(count, what)
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<String, Malformed> {
        String::from_utf8(self.bytes(what)?.to_vec()).map_err(|_| Malformed(what))
    }

    /// Data of an entry or a command; words about it where only its digest was written.
    pub(crate) fn data(&mut self, what: &'static str) -> Result<Bytes, Malformed> {
        let count = self.count(what)?;
        if self.data == Data::Whole || count <= VERBATIM_BYTES_MAX {
            return self.take(count, what);
        }
        let digest = self.take(16, what)?;
        let digest = u128::from_le_bytes((&digest[..]).try_into().expect("16 were taken"));
        Ok(Bytes::from(format!("<{count} bytes, xxh3 {digest:032x}>")))
    }

    pub(crate) fn list<T>(
        &mut self,
        what: &'static str,
        mut take: impl FnMut(&mut Decoder) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.count(what)?;
        // The count may be damaged: memory is taken as items are found.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(take(self)?);
        }
        Ok(items)
    }

    pub(crate) fn option<T>(
        &mut self,
        what: &'static str,
        take: impl FnOnce(&mut Decoder) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.flag(what)? { take(self).map(Some) } else { Ok(None) }
    }

    /// What was not read.
    pub(crate) fn rest(self) -> Bytes {
        self.rest
    }

    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("the end")) }
    }
}
