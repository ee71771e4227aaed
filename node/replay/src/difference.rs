//! A step that gave something else than it did when it was recorded, for people.

use std::fmt;

use bytes::Bytes;
use pgraft_replica::{Input, NodeId};

use crate::fields::{Data, Decoder, Encoder};

/// Lines around a difference.
const CONTEXT: usize = 3;
/// Lines of a difference; the first ones say most.
const LINES_MAX: usize = 120;

/// The first step that gave something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Number of the record.
    pub record: u64,
    /// Byte at which it begins.
    pub offset: u64,
    /// The node.
    pub node: NodeId,
    /// Which life of the file it is, from 1.
    pub life: u64,
    /// Which step of the life, from 1; 0 when the replica was being made.
    pub step: u64,
    /// What the replica took. Long data of entries is told by length and digest here and below.
    pub input: String,
    /// What it gave when it was recorded.
    pub expected: String,
    /// What it gave now.
    pub got: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { record, offset, node, life, step, input, expected, got } = self;
        writeln!(f, "different: record {record} at offset {offset}")?;
        writeln!(f, "node {node}, life {life}, step {step}, input {input}")?;
        writeln!(f, "- expected, + got:")?;
        let (old, new): (Vec<&str>, Vec<&str>) =
            (expected.lines().collect(), got.lines().collect());
        let pairs = old.iter().zip(&new);
        let before = pairs.take_while(|(one, other)| one == other).count();
        let pairs = old[before..].iter().rev().zip(new[before..].iter().rev());
        let after = pairs.take_while(|(one, other)| one == other).count();
        let (old_end, new_end) = (old.len() - after, new.len() - after);
        let lines = old[before.saturating_sub(CONTEXT)..before].iter().map(|line| (' ', line));
        let lines = lines.chain(old[before..old_end].iter().map(|line| ('-', line)));
        let lines = lines.chain(new[before..new_end].iter().map(|line| ('+', line)));
        let tail = &old[old_end..(old_end + CONTEXT).min(old.len())];
        let lines: Vec<_> = lines.chain(tail.iter().map(|line| (' ', line))).collect();
        for (sign, line) in lines.iter().take(LINES_MAX) {
            writeln!(f, "{sign} {line}")?;
        }
        match lines.len().checked_sub(LINES_MAX) {
            None | Some(0) => Ok(()),
            Some(more) => writeln!(f, "  ... and {more} lines more"),
        }
    }
}

/// An input, long data by its digest.
pub(crate) fn told_input(input: &Input) -> String {
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, Data::Digest).input(input);
    match Decoder::new(Bytes::from(bytes), Data::Digest).input() {
        Ok(input) => format!("{input:?}"),
        Err(_) => format!("{input:?}"),
    }
}

/// Effects and view as they are compared.
pub(crate) fn told_outputs(effects: &Bytes, view: &Bytes) -> String {
    let effects = match Decoder::new(effects.clone(), Data::Digest).effects() {
        Ok(effects) => format!("{effects:#?}"),
        Err(malformed) => format!("effects that cannot be read: {malformed:?}"),
    };
    let view = match Decoder::new(view.clone(), Data::Digest).view() {
        Ok(view) => format!("{view:#?}"),
        Err(malformed) => format!("a view that cannot be read: {malformed:?}"),
    };
    format!("{effects}\n{view}")
}
