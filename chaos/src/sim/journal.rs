//! The journal of a run: its history, line by line as things happen, its log with simulated time,
//! and how often each interesting thing happened.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgraft_judge::history::{Event, Mark, Run, Violation, What, Writer};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Violations kept; one is enough to fail, a few help to understand.
const VIOLATIONS_MAX: usize = 20;

/// What a line of a node's log says about the run: part of its text, and the mark.
const LOG_MARKS: [(&str, &str); 7] = [
    ("refused: it belongs to another cluster", "stranger_refused"),
    ("state.db is rebuilt from the log", "state_rebuilt"),
    ("state fetched from a peer", "state_rebuilt"),
    ("disk full", "disk_full_seen"),
    ("checksum", "frame_refused"),
    ("housekeeping waits for space", "disk_full_seen"),
    ("this process did not run for a while", "time_jump_noticed"),
];

/// Why a node may end by itself in a run: part of what it says, and the mark.
const EXPECTED_ENDS: [(&str, &str); 10] = [
    ("disk I/O error", "node_stopped_on_io_error"),
    ("full", "disk_full_seen"),
    ("is a copy", "node_refused_old_disk"),
    ("acknowledged entries were lost", "log_loss_noticed"),
    ("has not answered", "node_stopped_on_slow_disk"),
    ("state.db was not", "state_rebuilt"),
    ("start again to fetch it", "state_rebuilt"),
    ("belongs to another data directory", "node_refused_wiped_disk"),
    ("refuses us", "node_refused_wiped_disk"),
    ("was removed", "node_found_itself_removed"),
];

/// Handle of the journal.
#[derive(Clone)]
pub(super) struct Journal(Arc<Mutex<Inner>>);

struct Inner {
    events: Vec<Event>,
    file: Option<Writer<BufWriter<File>>>,
    scrub: String,
    failed: Option<io::Error>,
    last_us: u64,
    log: String,
    marks: BTreeMap<String, u64>,
    violations: Vec<Violation>,
    writes_in_flight: BTreeMap<u64, ()>,
}

impl Journal {
    /// Begins the journal of `run`; `path` is a file to which the history is written meanwhile.
    /// `scrub` is cut out of every text: a folder's name that differs from run to run.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn begin(run: Run, path: Option<&Path>, scrub: String) -> io::Result<Journal> {
        let file = match path {
            Some(path) => Some(Writer::begin(BufWriter::new(File::create(path)?), run.clone())?),
            None => None,
        };
        let inner = Inner {
            events: vec![Event { at_us: 0, what: What::Run(run) }],
            file,
            scrub,
            failed: None,
            last_us: 0,
            log: String::new(),
            marks: BTreeMap::new(),
            violations: Vec::new(),
            writes_in_flight: BTreeMap::new(),
        };
        Ok(Journal(Arc::new(Mutex::new(inner))))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened now: on the host that runs, or else after all that is written already.
    pub(super) fn note(&self, what: What) {
        let mut inner = self.inner();
        inner.append(what);
    }

    /// Time outside of all hosts: nothing later is written as earlier.
    pub(super) fn advance(&self, now: Duration) {
        let mut inner = self.inner();
        inner.last_us = inner.last_us.max(now.as_micros() as u64);
    }

    /// An interesting thing happened; its first time is an event of the history.
    pub(super) fn mark(&self, name: &str) {
        self.inner().mark(name);
    }

    /// Something that must not be.
    pub(super) fn violation(&self, of: &str, says: impl Into<String>) {
        let mut inner = self.inner();
        if inner.violations.len() < VIOLATIONS_MAX {
            let violation = Violation { of: of.to_owned(), says: says.into() };
            inner.violations.push(violation.clone());
            inner.append(What::Violation(violation));
        }
    }

    /// Whether anything was found that must not be.
    pub(super) fn is_violated(&self) -> bool {
        !self.inner().violations.is_empty()
    }

    /// A node ended by itself: expected of a machine whose disk was damaged, else a violation
    /// unless it is one of the ends that faults of this run explain.
    pub(super) fn note_end(&self, node: u64, why: &str, damaged: bool) {
        let mut inner = self.inner();
        let known = EXPECTED_ENDS.iter().find(|(text, _)| why.contains(text));
        if let Some((_, mark)) = known {
            inner.mark(mark);
        } else if damaged {
            inner.mark("damaged_node_stopped");
        }
        drop(inner);
        if known.is_none() && !damaged {
            self.violation("nodes do not end by themselves", format!("n{node}: {why}"));
        }
    }

    /// A write is under way; until it ends it is one that a change of leaders interrupts.
    pub(super) fn write_begins(&self, op: u64) {
        self.inner().writes_in_flight.insert(op, ());
    }

    /// The write ended.
    pub(super) fn write_ends(&self, op: u64) {
        self.inner().writes_in_flight.remove(&op);
    }

    /// Whether any write is under way.
    pub(super) fn is_writing(&self) -> bool {
        !self.inner().writes_in_flight.is_empty()
    }

    /// How often each interesting thing happened.
    pub(super) fn marks(&self) -> BTreeMap<String, u64> {
        self.inner().marks.clone()
    }

    /// Ends the journal: history and log.
    ///
    /// # Errors
    /// When the history could not be written to its file.
    pub(super) fn end(&self) -> io::Result<(Vec<Event>, String)> {
        let mut inner = self.inner();
        if let Some(error) = inner.failed.take() {
            return Err(error);
        }
        if let Some(file) = inner.file.take() {
            file.into_inner().into_inner().map_err(io::IntoInnerError::into_error)?;
        }
        Ok((std::mem::take(&mut inner.events), std::mem::take(&mut inner.log)))
    }
}

impl Inner {
    fn now_us(&self) -> u64 {
        let now = turmoil::sim_elapsed().map_or(0, |elapsed| elapsed.as_micros() as u64);
        now.max(self.last_us + 1)
    }

    fn append(&mut self, mut what: What) {
        let text = match &mut what {
            What::Fail(ended) | What::Unknown(ended) => Some(&mut ended.why),
            What::Violation(violation) => Some(&mut violation.says),
            _ => None,
        };
        if let Some(text) = text.filter(|text| text.contains(&self.scrub)) {
            *text = text.replace(&self.scrub, "");
        }
        let event = Event { at_us: self.now_us(), what };
        self.last_us = event.at_us;
        if let Some(file) = &mut self.file
            && let Err(error) = file.append(&event)
        {
            self.failed.get_or_insert(error);
        }
        self.events.push(event);
    }

    fn mark(&mut self, name: &str) {
        let count = self.marks.entry(name.to_owned()).or_default();
        *count += 1;
        if *count == 1 {
            self.append(What::Mark(Mark { name: name.to_owned() }));
        }
    }
}

/// Collects the log lines of all nodes.
pub(super) struct LogLayer {
    journal: Journal,
    /// What to cut out of every line: a folder's name that differs from run to run. `None`: lines
    /// are not kept.
    scrub: Option<String>,
}

impl LogLayer {
    /// Lines go to `journal`, without `scrub`.
    pub(super) fn new(journal: Journal, scrub: String) -> LogLayer {
        LogLayer { journal, scrub: Some(scrub) }
    }

    /// Lines are only looked at.
    pub(super) fn marks_only(journal: Journal) -> LogLayer {
        LogLayer { journal, scrub: None }
    }
}

/// The name of the host that turmoil runs: a field of its span.
struct HostName(String);

#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.others, " {name}={value:?}"),
        };
        written.expect("a string takes everything");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let written = match field.name() {
            "message" => write!(self.message, "{value}"),
            name => write!(self.others, " {name}=\"{value}\""),
        };
        written.expect("a string takes everything");
    }
}

impl<S> Layer<S> for LogLayer
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        id: &tracing::span::Id,
        context: Context<'_, S>,
    ) {
        if attributes.metadata().name() != "node" {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let name = fields.others.split('"').nth(1).unwrap_or("?").to_owned();
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(HostName(name));
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let target = event.metadata().target();
        if !target.starts_with("pgraft") {
            return;
        }
        let host = context.lookup_current().and_then(|span| {
            let mut up = span.scope();
            up.find_map(|span| span.extensions().get::<HostName>().map(|name| name.0.clone()))
        });
        let mut fields = Fields::default();
        event.record(&mut fields);
        let at = turmoil::sim_elapsed().unwrap_or_default();
        let (level, host) = (event.metadata().level(), host.unwrap_or_else(|| "-".to_owned()));
        let Fields { message, others } = fields;
        let line = format!("{:>12} {host:4} {level:5} {message}{others}", at.as_micros());
        let mut inner = self.journal.inner();
        for (text, mark) in LOG_MARKS {
            if line.contains(text) {
                inner.mark(mark);
            }
        }
        if let Some(scrub) = &self.scrub {
            inner.log.push_str(&line.replace(scrub, ""));
            inner.log.push('\n');
        }
    }
}
