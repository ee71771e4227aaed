//! Brings the node's log from its threads to the one thread that may write to PostgreSQL's.
//!
//! Threads put lines into a bounded queue and ring the bell; they never wait. Lines that find the
//! queue full are counted, and the count is logged.
//! Installed in the worker process only: a backend has no node and logs by `ereport`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::bell::Bell;

/// Lines that wait for the main thread.
const LINES_MAX: usize = 1024;
/// Longest line, bytes.
const LINE_BYTES_MAX: usize = 4096;

/// A line of the node's log.
pub(crate) struct LogLine {
    /// How bad it is.
    pub(crate) level: Level,
    /// `message name=value ...`
    pub(crate) text: String,
}

/// The main thread's end.
pub(crate) struct LogLines {
    lines: Receiver<LogLine>,
    shared: Arc<Shared>,
}

struct Shared {
    /// Index into [`LEVELS`].
    level: AtomicU64,
    dropped: AtomicU64,
    bell: Arc<Bell>,
}

const LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

/// Makes the process's log end here.
///
/// # Panics
/// When called twice in a process.
pub(crate) fn install(bell: Arc<Bell>, level: &str) -> LogLines {
    let (sender, lines) = sync_channel(LINES_MAX);
    let shared = Arc::new(Shared { level: AtomicU64::new(0), dropped: AtomicU64::new(0), bell });
    let ours = LogLines { lines, shared: Arc::clone(&shared) };
    ours.set_level(level);
    let subscriber = tracing_subscriber::registry().with(Lines { sender, shared });
    tracing::subscriber::set_global_default(subscriber)
        .expect("the worker installs it once, and the process has no other log");
    ours
}

impl LogLines {
    /// Shows lines of this level and worse from now on.
    pub(crate) fn set_level(&self, word: &str) {
        let at = LEVELS.iter().position(|(known, _)| *known == word);
        let at = at.expect("the setting allows only these words");
        self.shared.level.store(at as u64, Ordering::Relaxed);
    }

    /// The next line that waits, if any.
    pub(crate) fn next(&self) -> Option<LogLine> {
        self.lines.try_recv().ok()
    }

    /// Lines lost since the last call.
    pub(crate) fn take_dropped(&self) -> u64 {
        self.shared.dropped.swap(0, Ordering::Relaxed)
    }
}

struct Lines {
    sender: SyncSender<LogLine>,
    shared: Arc<Shared>,
}

impl Lines {
    fn shows(&self, metadata: &Metadata<'_>) -> bool {
        let (_, most) = LEVELS[self.shared.level.load(Ordering::Relaxed) as usize];
        // What libraries say below a warning is of no use to a database administrator.
        let most =
            if metadata.target().starts_with("pgraft") { most } else { most.min(Level::WARN) };
        *metadata.level() <= most
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn register_callsite(&self, _metadata: &'static Metadata<'static>) -> Interest {
        // Asked each time, as the level may change.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>, _context: Context<'_, S>) -> bool {
        self.shows(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let line = LogLine { level: *event.metadata().level(), text: line.finish() };
        if self.sender.try_send(line).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.bell.ring();
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn finish(mut self) -> String {
        self.message.push_str(&self.fields);
        let end = self.message.floor_char_boundary(LINE_BYTES_MAX);
        self.message.truncate(end);
        self.message
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.expect("writing to a String cannot fail");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
