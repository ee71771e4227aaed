//! Turns what an observer of a node sees into the bytes of a recording. Pure: where they go, and
//! when, is the caller's business.

use pgraft_replica::{Config, Effects, Input, Restored, View};

use crate::fields::{Data, Encoder};
use crate::record::{self, BROKEN, Body, END, START, STEP};

/// Records one node, life after life.
#[derive(Debug, Default)]
pub struct Recorder {
    number: u64,
    out: Vec<u8>,
    /// The input of the step that is under way; empty between steps.
    input: Vec<u8>,
    effects: Vec<u8>,
    /// The view after the last step, and room for the next one.
    view: Vec<u8>,
    seen: Vec<u8>,
    body: Vec<u8>,
    /// A life began and did not end.
    is_alive: bool,
    too_large: bool,
}

impl Recorder {
    /// Begins a file.
    pub fn new() -> Recorder {
        Recorder { out: record::header().to_vec(), ..Recorder::default() }
    }

    /// Goes on with a file that has this many whole records and nothing else.
    pub fn resume(records: u64) -> Recorder {
        Recorder { number: records, ..Recorder::default() }
    }

    /// A life begins; one that was not ended was killed.
    pub fn started(&mut self, config: &Config, restored: &Restored) {
        self.input.clear();
        self.view.clear();
        self.body.clear();
        let mut encoder = Encoder::new(&mut self.body, Data::Whole);
        encoder.config(config);
        encoder.restored(restored);
        self.seal(START);
        self.is_alive = true;
    }

    /// The replica is about to take `input`.
    pub fn stepping(&mut self, input: &Input) {
        self.input.clear();
        Encoder::new(&mut self.input, Data::Whole).input(input);
    }

    /// It took it: what it wants done, and what it then shows of itself.
    pub fn stepped(&mut self, effects: &Effects, view: &View) {
        self.effects.clear();
        Encoder::new(&mut self.effects, Data::Digest).effects(effects);
        self.seen.clear();
        Encoder::new(&mut self.seen, Data::Digest).view(view);
        let view: &[u8] = if self.seen == self.view { &[] } else { &self.seen };
        self.body.clear();
        record::put_step(&mut self.body, &self.input, &self.effects, view);
        self.seal(STEP);
        self.input.clear();
        std::mem::swap(&mut self.view, &mut self.seen);
    }

    /// The life, or its recording, ends: `why`, for people. A step that never ended is recorded
    /// as such; a node that never got so far as to have a replica leaves nothing.
    pub fn ended(&mut self, why: &str) {
        if !std::mem::take(&mut self.is_alive) {
            return;
        }
        if !self.input.is_empty() {
            std::mem::swap(&mut self.body, &mut self.input);
            self.input.clear();
            self.seal(BROKEN);
        }
        self.body.clear();
        Encoder::new(&mut self.body, Data::Whole).bytes(why.as_bytes());
        self.seal(END);
    }

    /// Appends what was read from another recording, so that a piece of it becomes a recording of
    /// its own.
    pub fn repeat(&mut self, body: &Body) {
        match body {
            Body::Start(start) => self.started(&start.config, &start.restored),
            Body::Step(step) => {
                self.stepping(&step.input);
                self.body.clear();
                record::put_step(&mut self.body, &self.input, &step.effects, &step.view);
                self.seal(STEP);
                self.input.clear();
            }
            Body::Broken(input) => {
                self.body.clear();
                Encoder::new(&mut self.body, Data::Whole).input(input);
                self.seal(BROKEN);
            }
            Body::End(why) => self.ended(why),
        }
    }

    /// Bytes that wait to be taken.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Something was too large for a record: what is recorded from there on cannot be replayed.
    pub fn is_broken(&self) -> bool {
        self.too_large
    }

    /// What is to be appended to the file.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn seal(&mut self, kind: u8) {
        if record::put(&mut self.out, self.number, kind, &self.body) {
            self.number += 1;
        } else {
            self.too_large = true;
        }
    }
}
