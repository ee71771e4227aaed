//! The two forms in which typed machines speak with their clients.
//!
//! | first byte of a payload | form |
//! |---|---|
//! | `{` `[` `"` | JSON text, UTF-8 |
//! | `0x01` | compact: the rest is postcard |
//!
//! A request is answered in its own form. A command or query that serde writes as a bare number,
//! `true` or `null` has no JSON form, an answer may be any JSON. Types must not need to be told
//! what comes next (`#[serde(untagged)]`, `#[serde(tag = "...")]`, `flatten`): postcard does not.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// Code of the rejection of a payload that is not what the type says. A typed machine's own codes
/// begin after it.
pub const MALFORMED: u32 = 100;

/// First byte of the compact form.
const COMPACT: u8 = 0x01;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The byte 1, then postcard.
    Compact,
    /// JSON text.
    Json,
}

/// The bytes are not a value of the type. Equal on every replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    why: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed: {}", self.why)
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Error {
        Error::new(MALFORMED, malformed.to_string())
    }
}

impl Form {
    /// The form of a request.
    ///
    /// # Errors
    /// When its first byte says none.
    pub fn of(payload: &[u8]) -> Result<Form, Malformed> {
        match payload.first() {
            Some(&COMPACT) => Ok(Form::Compact),
            Some(b'{' | b'[' | b'"') => Ok(Form::Json),
            first => {
                let what = match first {
                    Some(byte) => format!("begins with 0x{byte:02x}"),
                    None => "is empty".to_owned(),
                };
                let why = format!("a payload begins with 0x01 or one of {{ [ \", this one {what}");
                Err(Malformed { why })
            }
        }
    }

    /// A value in this form.
    ///
    /// # Panics
    /// When the type has no such form: a map whose keys are not text in JSON, a sequence of
    /// unknown length in postcard.
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Vec<u8> {
        match self {
            Form::Compact => {
                postcard::to_extend(value, vec![COMPACT]).expect("the type has a compact form")
            }
            Form::Json => serde_json::to_vec(value).expect("the type has a form in JSON"),
        }
    }

    /// The value of bytes in this form; nothing may follow it.
    ///
    /// # Errors
    /// When the bytes are no value of the type.
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, Malformed> {
        match self {
            Form::Compact => match bytes.split_first() {
                Some((&COMPACT, rest)) => from_postcard(rest),
                _ => Err(Malformed { why: "the compact form begins with 0x01".to_owned() }),
            },
            Form::Json => {
                serde_json::from_slice(bytes).map_err(|why| Malformed { why: why.to_string() })
            }
        }
    }
}

/// A row's value, or what follows the first byte of the compact form.
pub(super) fn from_postcard<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(Malformed { why: format!("{} bytes too many", rest.len()) }),
        Err(why) => Err(Malformed { why: why.to_string() }),
    }
}
