//! The oracle: a fresh replica takes the recorded inputs and must give the recorded outputs.

use std::any::Any;
use std::fmt;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use pgraft_replica::{Input, NodeId, Replica};

use crate::difference::{Difference, told_input, told_outputs};
use crate::fields::{Data, Encoder};
use crate::record::{Body, Damage, Record, Records, Start, Step};

/// What was replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Replicas that were made.
    pub lives: u64,
    /// Lives that ended on purpose; the others were killed, or the file ends there.
    pub ended: u64,
    /// Lives that ended inside a step, which was tried and not compared.
    pub broken: u64,
    /// Steps that gave the same.
    pub steps: u64,
    /// Bytes of the records, header included.
    pub bytes: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { lives, ended, broken, steps, bytes } = self;
        write!(f, "{steps} steps in {lives} lives, {ended} of them ended on purpose")?;
        write!(f, ", {broken} inside a step; {bytes} bytes")
    }
}

/// Why a replay did not reach the end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The file is not whole.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A step gave something else: the finding.
    #[error("{0}")]
    Different(Box<Difference>),
}

/// A replay that did not reach the end.
#[derive(Debug, thiserror::Error)]
#[error("{why}\nbefore that, all was the same: {before}")]
pub struct Stopped {
    /// What was the same until then.
    pub before: Report,
    /// What then came.
    pub why: Failure,
}

/// Replays a recording from its beginning to its end. `file` should be buffered.
///
/// # Errors
/// The first difference, or where the file is cut or damaged.
pub fn replay(file: impl Read) -> Result<Report, Stopped> {
    let mut oracle = Oracle::default();
    match oracle.run(file) {
        Ok(()) => Ok(oracle.report),
        Err(why) => Err(Stopped { before: oracle.report, why }),
    }
}

#[derive(Default)]
struct Oracle {
    report: Report,
    life: Option<Life>,
}

/// A replica that is being replayed.
struct Life {
    node: NodeId,
    /// Or why it could not be made: then there may be no steps.
    replica: Result<Replica, String>,
    steps: u64,
    /// The view after the last step.
    view: Bytes,
}

impl Oracle {
    fn run(&mut self, file: impl Read) -> Result<(), Failure> {
        let mut records = Records::open(file)?;
        while let Some(record) = records.read_next()? {
            self.take(record)?;
            self.report.bytes = records.offset();
        }
        Ok(())
    }

    fn take(&mut self, record: Record) -> Result<(), Failure> {
        let Record { number, offset, body } = record;
        let malformed = |what| Failure::Damaged(Damage::Malformed { record: number, offset, what });
        match body {
            Body::Start(start) => {
                self.report.lives += 1;
                self.life = Some(Life::begin(*start));
                return Ok(());
            }
            Body::End(_why) => {
                self.life.take().ok_or_else(|| malformed("an end without a life"))?;
                self.report.ended += 1;
                return Ok(());
            }
            Body::Step(step) => {
                let life = self.life.as_mut().ok_or_else(|| malformed("a step without a life"))?;
                let at = (number, offset, self.report.lives);
                life.step(at, *step).map_err(Failure::Different)?;
                self.report.steps += 1;
            }
            Body::Broken(input) => {
                let life = self.life.as_mut().ok_or_else(|| malformed("a step without a life"))?;
                // There is nothing to compare with; who looks for the panic sees it here.
                let _panic = life.try_step(*input);
                self.report.broken += 1;
            }
        }
        Ok(())
    }
}

impl Life {
    fn begin(start: Start) -> Life {
        let node = start.config.id;
        let made = || Replica::new(start.config, start.restored);
        let replica = match catch_unwind(AssertUnwindSafe(made)) {
            Ok(made) => made.map_err(|error| format!("refused to start: {error}")),
            Err(panic) => Err(told_panic(&*panic)),
        };
        Life { node, replica, steps: 0, view: Bytes::new() }
    }

    /// Effects and view after the input, as they are recorded.
    fn try_step(&mut self, input: Input) -> Result<(Bytes, Bytes), String> {
        let replica = self.replica.as_mut().map_err(|why| why.clone())?;
        let step = || {
            let effects = replica.step(input);
            (effects, replica.view())
        };
        let (effects, view) =
            catch_unwind(AssertUnwindSafe(step)).map_err(|panic| told_panic(&*panic))?;
        let (mut effects_bytes, mut view_bytes) = (Vec::new(), Vec::new());
        Encoder::new(&mut effects_bytes, Data::Digest).effects(&effects);
        Encoder::new(&mut view_bytes, Data::Digest).view(&view);
        Ok((Bytes::from(effects_bytes), Bytes::from(view_bytes)))
    }

    fn step(&mut self, at: (u64, u64, u64), step: Step) -> Result<(), Box<Difference>> {
        let (record, offset, life) = at;
        let Step { input, effects, view } = step;
        let shown = input.clone();
        self.steps += 1;
        let view = if view.is_empty() { self.view.clone() } else { view };
        let got = self.try_step(input);
        if let Ok(same) = &got
            && (&same.0, &same.1) == (&effects, &view)
        {
            self.view = view;
            return Ok(());
        }
        Err(Box::new(Difference {
            record,
            offset,
            node: self.node,
            life,
            step: self.steps,
            input: told_input(&shown),
            expected: told_outputs(&effects, &view),
            got: got.map_or_else(|why| why, |(effects, view)| told_outputs(&effects, &view)),
        }))
    }
}

fn told_panic(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_else(|| "without words".to_owned()))
}
