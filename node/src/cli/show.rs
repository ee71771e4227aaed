//! How keys, values and pairs are printed: text when it is text, JSON with base64 when asked.

use pgraft_kv::KeyValue;
use serde_json::{Value, json};

/// Bytes for people: UTF-8 as it is, anything else with escapes.
pub(super) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// Bytes for programs: a string when it is UTF-8, otherwise `{"hex": ...}`.
pub(super) fn json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::String(text.to_owned()),
        Err(_) => {
            json!({ "hex": pgraft_host::hex(bytes) })
        }
    }
}

/// Bytes that are spelled in hexadecimal.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// A pair with all that the store knows of it.
pub(super) fn pair(kv: &KeyValue) -> Value {
    json!({
        "key": json(&kv.key),
        "value": json(&kv.value),
        "create_revision": kv.create_revision,
        "mod_revision": kv.mod_revision,
        "version": kv.version,
        "lease": kv.lease,
    })
}
