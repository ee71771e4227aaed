//! A workload for any machine: commands and queries from templates in a file.
//!
//! ```toml
//! machine = "counter"
//!
//! [[operation]]
//! call = "command"          # or "query", "stale_query"
//! weight = 3
//! text = "name{k}"          # or hex = "01{k:u32}", or json = { add = "{random 1..9}" }
//! key = "name{k}"           # optional: operations of different keys are independent
//! draw = { k = [1, 5] }     # numbers drawn once per operation
//! ```
//!
//! Placeholders are `{client}`, `{n}` (counts the operations of the run), `{random 1..9}` and the
//! names under `draw`; `{{` and `}}` are braces. In `hex` a placeholder stands for its digits as
//! ASCII, or with `:u8`, `:u16`, `:u32`, `:u64` for little-endian bytes. In `json` a text that is
//! one placeholder becomes a number. The same file may be written in JSON.
//!
//! Not here: what answers mean. A machine is judged by its own module.

mod template;

use std::collections::BTreeMap;

use pgraft_judge::history::{Call, Reply};
use serde::Deserialize;

use super::{End, Name, Operation, Told, Workload};
use crate::scenario::Range;
use crate::seed::Chance;
use template::{Numbers, Payload, Template};

/// Bytes of an answer that are shown.
const SHOWN_BYTES_MAX: usize = 40;

/// Operations from templates.
#[derive(Clone, Debug)]
pub struct Custom {
    machine: String,
    operations: Vec<Prepared>,
    weights: Vec<u64>,
    count: u64,
}

#[derive(Clone, Debug)]
struct Prepared {
    call: Call,
    payload: Payload,
    key: Option<Template>,
    says: Option<Template>,
    draw: BTreeMap<String, Range>,
}

/// What is wrong with a file of templates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Neither TOML nor JSON, an unknown key, or a value of another type.
    #[error("templates: {0}")]
    Malformed(String),
    /// One operation makes no sense.
    #[error("templates: operation {number}: {why}")]
    Operation {
        /// Its place in the file, from 1.
        number: usize,
        /// What is wrong, with the value.
        why: String,
    },
    /// Nothing would ever be asked.
    #[error("templates: no operation has a weight above 0")]
    Nothing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    machine: String,
    operation: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    call: Call,
    #[serde(default = "once")]
    weight: u64,
    text: Option<String>,
    hex: Option<String>,
    json: Option<serde_json::Value>,
    key: Option<String>,
    says: Option<String>,
    #[serde(default)]
    draw: BTreeMap<String, Range>,
}

fn once() -> u64 {
    1
}

impl Custom {
    /// Reads templates.
    ///
    /// # Errors
    /// When the text is malformed, or has a key or a placeholder that nobody knows.
    pub fn parse(text: &str) -> Result<Custom, TemplateError> {
        let malformed = |error: String| TemplateError::Malformed(error);
        let file: File = match text.trim_start().starts_with('{') {
            true => serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?,
            false => toml::from_str(text).map_err(|error| malformed(error.to_string()))?,
        };
        let weights: Vec<u64> = file.operation.iter().map(|written| written.weight).collect();
        if weights.iter().all(|weight| *weight == 0) {
            return Err(TemplateError::Nothing);
        }
        let mut operations = Vec::new();
        for (place, written) in file.operation.into_iter().enumerate() {
            let wrong = |why| TemplateError::Operation { number: place + 1, why };
            operations.push(prepare(written).map_err(wrong)?);
        }
        Ok(Custom { machine: file.machine, operations, weights, count: 0 })
    }

    /// Name of the machine.
    pub fn machine(&self) -> &str {
        &self.machine
    }
}

fn prepare(written: Written) -> Result<Prepared, String> {
    let Written { call, weight: _, text, hex, json, key, says, draw } = written;
    let template = |text: String| Template::parse(&text, &draw, false);
    let payload = match (text, hex, json) {
        (Some(text), None, None) => Payload::Text(template(text)?),
        (None, Some(hex), None) => Payload::Hex(Template::parse(&hex, &draw, true)?),
        (None, None, Some(json)) => Payload::json(json, &draw)?,
        _ => return Err("needs one of text, hex and json".to_owned()),
    };
    payload.check()?;
    let (key, says) = (key.map(template).transpose()?, says.map(template).transpose()?);
    Ok(Prepared { call, payload, key, says, draw })
}

impl Workload for Custom {
    fn next(&mut self, client: u64, chance: &mut Chance) -> Option<Operation> {
        self.count += 1;
        let prepared = &self.operations[chance.weighted(&self.weights)];
        let mut numbers = Numbers::new(client, self.count, chance, &prepared.draw);
        let payload = prepared.payload.bytes(&mut numbers);
        let key = prepared.key.as_ref().map(|key| key.text(&mut numbers));
        let says = match (&prepared.says, prepared.call) {
            (Some(says), _) => says.text(&mut numbers),
            (None, Call::Command) => format!("command {}", shown(&payload)),
            (None, Call::Query) => format!("query {}", shown(&payload)),
            (None, Call::StaleQuery) => format!("stale query {}", shown(&payload)),
        };
        Some(Operation {
            workload: Name::Custom,
            machine: self.machine.clone(),
            call: prepared.call,
            payload,
            key,
            says,
            facts: Vec::new(),
        })
    }

    fn ended(&mut self, _client: u64, _op: u64, _operation: &Operation, end: &End) -> Told {
        let says = match end {
            End::Ok { reply: Reply::Accepted(bytes), .. } => shown(bytes),
            End::Ok { reply: Reply::Rejected { code, message }, .. } => {
                format!("refused ({code}): {message}")
            }
            End::Fail(_) | End::Unknown(_) => String::new(),
        };
        Told { says, facts: Vec::new() }
    }
}

/// Bytes for people: text if it is text, else hexadecimal.
fn shown(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let more = if head.len() < bytes.len() { "..." } else { "" };
    let is_text = !head.is_empty() && head.iter().all(|byte| matches!(byte, b' '..=b'~'));
    match is_text {
        true => format!("\"{}{more}\"", head.escape_ascii()),
        false => {
            let digits: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("0x{digits}{more}")
        }
    }
}

#[cfg(test)]
mod tests;
