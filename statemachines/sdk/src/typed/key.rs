//! Keys as bytes that sort as the values do.
//!
//! | type | bytes |
//! |---|---|
//! | `u8` to `u128` | big endian |
//! | `i8` to `i128` | big endian, highest bit flipped |
//! | `bool` | 0 or 1 |
//! | `String`, `Vec<u8>` | the bytes, 0 written as 0 255, then 0 1 |
//! | `[u8; N]` | the bytes |
//! | `Option<K>` | 0, or 1 and the key |
//! | tuples | one after the other |
//!
//! No encoding is the beginning of another of its type, so keys may be put together.

/// What the key `K` can be given as: `&str` for a `String`, and so on.
pub trait KeyOf<K> {
    /// Appends the key's bytes.
    fn write_key(&self, bytes: &mut Vec<u8>);
}

/// A key that can be read again.
pub trait Key: KeyOf<Self> + Sized {
    /// Takes the key from the front of `bytes`; `None` when it is not there.
    fn read_key(bytes: &mut &[u8]) -> Option<Self>;
}

impl<K, Q: KeyOf<K> + ?Sized> KeyOf<K> for &Q {
    fn write_key(&self, bytes: &mut Vec<u8>) {
        (**self).write_key(bytes);
    }
}

macro_rules! integers {
    ($($unsigned:ty, $signed:ty;)*) => {$(
        impl KeyOf<$unsigned> for $unsigned {
            fn write_key(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_be_bytes());
            }
        }

        impl Key for $unsigned {
            fn read_key(bytes: &mut &[u8]) -> Option<$unsigned> {
                let (first, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(<$unsigned>::from_be_bytes(*first))
            }
        }

        impl KeyOf<$signed> for $signed {
            fn write_key(&self, bytes: &mut Vec<u8>) {
                // Negative numbers come first once the sign is flipped.
                ((*self ^ <$signed>::MIN) as $unsigned).write_key(bytes);
            }
        }

        impl Key for $signed {
            fn read_key(bytes: &mut &[u8]) -> Option<$signed> {
                Some(<$unsigned>::read_key(bytes)? as $signed ^ <$signed>::MIN)
            }
        }
    )*};
}

integers! { u8, i8; u16, i16; u32, i32; u64, i64; u128, i128; }

impl KeyOf<bool> for bool {
    fn write_key(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(*self));
    }
}

impl Key for bool {
    fn read_key(bytes: &mut &[u8]) -> Option<bool> {
        match u8::read_key(bytes)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

/// Ends a byte string; less than anything that can follow within one.
const END: [u8; 2] = [0, 1];
/// Stands for a 0 within a byte string.
const ZERO: [u8; 2] = [0, 255];

impl KeyOf<Vec<u8>> for [u8] {
    fn write_key(&self, bytes: &mut Vec<u8>) {
        for &byte in self {
            if byte == 0 {
                bytes.extend_from_slice(&ZERO);
            } else {
                bytes.push(byte);
            }
        }
        bytes.extend_from_slice(&END);
    }
}

impl KeyOf<Vec<u8>> for Vec<u8> {
    fn write_key(&self, bytes: &mut Vec<u8>) {
        self.as_slice().write_key(bytes);
    }
}

impl Key for Vec<u8> {
    fn read_key(bytes: &mut &[u8]) -> Option<Vec<u8>> {
        let mut key = Vec::new();
        loop {
            match **bytes {
                [0, 1, ..] => {
                    *bytes = &bytes[END.len()..];
                    return Some(key);
                }
                [0, 255, ..] => {
                    key.push(0);
                    *bytes = &bytes[ZERO.len()..];
                }
                [] | [0, ..] => return None,
                [byte, ..] => {
                    key.push(byte);
                    *bytes = &bytes[1..];
                }
            }
        }
    }
}

impl KeyOf<String> for str {
    fn write_key(&self, bytes: &mut Vec<u8>) {
        self.as_bytes().write_key(bytes);
    }
}

impl KeyOf<String> for String {
    fn write_key(&self, bytes: &mut Vec<u8>) {
        self.as_bytes().write_key(bytes);
    }
}

impl Key for String {
    fn read_key(bytes: &mut &[u8]) -> Option<String> {
        String::from_utf8(Vec::read_key(bytes)?).ok()
    }
}

impl<const N: usize> KeyOf<[u8; N]> for [u8; N] {
    fn write_key(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self);
    }
}

impl<const N: usize> Key for [u8; N] {
    fn read_key(bytes: &mut &[u8]) -> Option<[u8; N]> {
        let (first, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(*first)
    }
}

impl<K, Q: KeyOf<K>> KeyOf<Option<K>> for Option<Q> {
    fn write_key(&self, bytes: &mut Vec<u8>) {
        self.is_some().write_key(bytes);
        if let Some(key) = self {
            key.write_key(bytes);
        }
    }
}

impl<K: Key> Key for Option<K> {
    fn read_key(bytes: &mut &[u8]) -> Option<Option<K>> {
        Some(if bool::read_key(bytes)? { Some(K::read_key(bytes)?) } else { None })
    }
}

macro_rules! tuples {
    ($($($key:ident $given:ident $place:tt),*;)*) => {$(
        impl<$($key, $given: KeyOf<$key>),*> KeyOf<($($key,)*)> for ($($given,)*) {
            fn write_key(&self, _bytes: &mut Vec<u8>) {
                $(self.$place.write_key(_bytes);)*
            }
        }

        impl<$($key: Key),*> Key for ($($key,)*) {
            fn read_key(_bytes: &mut &[u8]) -> Option<($($key,)*)> {
                Some(($($key::read_key(_bytes)?,)*))
            }
        }
    )*};
}

tuples! { ; A Qa 0, B Qb 1; A Qa 0, B Qb 1, C Qc 2; A Qa 0, B Qb 1, C Qc 2, D Qd 3; }
