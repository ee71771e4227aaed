//! A queue of jobs that are put off for a while, and come back when a worker loses them.
//!
//! A job waits for its time, then is ready, then taken by a worker for a while; a worker that does
//! not say in time that it is done loses the job to the next. So a job is done at least once, and
//! the number of the attempt tells a late worker from the current one. Not here: pushing jobs to
//! workers; they take them, and the event `ready` tells when it is worth it.

use std::fmt;

use pgraft_sdk::typed::{Caller, Context, Item, Machine, Rejection, Table, emit, wake_at};
use serde::{Deserialize, Serialize};

/// Bytes of a job's body.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// Milliseconds for which a job can be put off or taken.
pub const DELAY_MS_MAX: u64 = 365 * 86_400_000;
/// Jobs that change their state by time within one call; the rest follow in the next.
const RIPENED_MAX: usize = 500;

/// What moves jobs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Adds a job.
    Put {
        /// For the worker.
        body: String,
        /// How long nobody shall see it.
        #[serde(default)]
        delay_ms: u64,
    },
    /// Takes the oldest job that is ready.
    Take {
        /// How long the worker has for it.
        for_ms: u64,
    },
    /// Says that a job is done; it is gone then.
    Done {
        /// Which.
        id: u64,
        /// What taking it told.
        attempt: u32,
    },
}

/// What a command replies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The job's id.
    Put(u64),
    /// A job, or none is ready.
    Taken(Option<Taken>),
    /// It is gone.
    Done,
}

/// A job in the hands of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Which.
    pub id: u64,
    /// How often it was taken, this time included.
    pub attempt: u32,
    /// What to do.
    pub body: String,
}

/// What asks about the queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// How many jobs are in each state.
    Counts,
}

/// How many jobs are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// For their time.
    pub waiting: u64,
    /// For a worker.
    pub ready: u64,
    /// By workers.
    pub taken: u64,
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The worker does not have this job (any more).
    NotTaken {
        /// The job.
        id: u64,
        /// The attempt that was given.
        attempt: u32,
    },
    /// The body is too long.
    Body {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A time is too long, or 0 for a worker.
    Time {
        /// The time.
        ms: u64,
    },
}

impl Rejection for Refused {
    fn code(&self) -> u32 {
        match self {
            Refused::NotTaken { .. } => 101,
            Refused::Body { .. } => 102,
            Refused::Time { .. } => 103,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::NotTaken { id, attempt } => {
                write!(f, "job {id} is not in the hands of attempt {attempt}")
            }
            Refused::Body { bytes } => {
                write!(f, "a body has at most {BODY_BYTES_MAX} bytes, not {bytes}")
            }
            Refused::Time { ms } => write!(f, "a time is at most {DELAY_MS_MAX} ms, not {ms}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Waiting { until_ms: u64 },
    Ready,
    Taken { until_ms: u64 },
}

/// What changes with a job; its body lies apart and is written once.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Job {
    state: State,
    attempts: u32,
}

const NEXT: Item<u64> = Item::new(1);
const JOBS: Table<u64, Job> = Table::new(2);
const BODIES: Table<u64, String> = Table::new(3);
const READY: Table<u64, ()> = Table::new(4);
/// When jobs that wait or are taken become ready, in order.
const TIMES: Table<(u64, u64), ()> = Table::new(5);

/// The machine.
pub struct Queue;

impl Machine for Queue {
    const NAME: &'static str = "queue";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    type Config = ();
    type Command = Command;
    type Reply = Reply;
    type Query = Query;
    type Answer = Counts;
    type Error = Refused;

    fn apply(ctx: &Context, _from: &Caller, command: Command) -> Result<Reply, Refused> {
        // So that what a command sees does not depend on when wake-ups come.
        ripen(ctx);
        let reply = match command {
            Command::Put { body, delay_ms } => Reply::Put(put(ctx, body, delay_ms)?),
            Command::Take { for_ms } => Reply::Taken(take(ctx, for_ms)?),
            Command::Done { id, attempt } => {
                let job = JOBS.get(id).filter(|job| {
                    matches!(job.state, State::Taken { .. }) && job.attempts == attempt
                });
                leave(id, job.ok_or(Refused::NotTaken { id, attempt })?.state);
                JOBS.delete(id);
                BODIES.delete(id);
                Reply::Done
            }
        };
        set_alarm();
        Ok(reply)
    }

    fn query(_ctx: &Context, query: Query) -> Result<Counts, Refused> {
        let Query::Counts = query;
        let mut counts = Counts::default();
        for (_, job) in JOBS.iter() {
            match job.state {
                State::Waiting { .. } => counts.waiting += 1,
                State::Ready => counts.ready += 1,
                State::Taken { .. } => counts.taken += 1,
            }
        }
        Ok(counts)
    }

    fn wake(ctx: &Context) -> Result<(), Refused> {
        ripen(ctx);
        set_alarm();
        Ok(())
    }

    fn invariant(_ctx: &Context) -> Result<(), String> {
        let (mut ready, mut timed, mut jobs) = (0, 0, 0);
        for (id, job) in JOBS.iter() {
            let listed = match job.state {
                State::Waiting { until_ms } | State::Taken { until_ms } => {
                    timed += 1;
                    TIMES.has((until_ms, id))
                }
                State::Ready => {
                    ready += 1;
                    READY.has(id)
                }
            };
            if !listed || !BODIES.has(id) {
                return Err(format!("job {id} is lost: {job:?}"));
            }
            jobs += 1;
        }
        let listed = (READY.keys(..).count(), TIMES.keys(..).count(), BODIES.keys(..).count());
        if listed == (ready, timed, jobs) {
            Ok(())
        } else {
            Err(format!("{listed:?} in the lists, {:?} in the jobs", (ready, timed, jobs)))
        }
    }
}

fn put(ctx: &Context, body: String, delay_ms: u64) -> Result<u64, Refused> {
    if body.len() > BODY_BYTES_MAX {
        return Err(Refused::Body { bytes: body.len() });
    }
    if delay_ms > DELAY_MS_MAX {
        return Err(Refused::Time { ms: delay_ms });
    }
    let id = NEXT.get().unwrap_or(1);
    NEXT.put(&(id + 1));
    BODIES.put(id, &body);
    let state = match delay_ms {
        0 => State::Ready,
        _ => State::Waiting { until_ms: ctx.time_ms + delay_ms },
    };
    enter(id, Job { state, attempts: 0 });
    Ok(id)
}

fn take(ctx: &Context, for_ms: u64) -> Result<Option<Taken>, Refused> {
    if for_ms == 0 || for_ms > DELAY_MS_MAX {
        return Err(Refused::Time { ms: for_ms });
    }
    let Some(id) = READY.keys(..).next() else { return Ok(None) };
    let job = JOBS.get(id).expect("a job that is ready is a job");
    let attempt = job.attempts + 1;
    leave(id, job.state);
    enter(id, Job { state: State::Taken { until_ms: ctx.time_ms + for_ms }, attempts: attempt });
    Ok(Some(Taken { id, attempt, body: BODIES.get(id).expect("every job has a body") }))
}

/// Makes ready what has become so by now.
fn ripen(ctx: &Context) {
    let due: Vec<(u64, u64)> = TIMES.keys(..(ctx.time_ms + 1, 0)).take(RIPENED_MAX).collect();
    for (_, id) in due {
        let job = JOBS.get(id).expect("what has a time is a job");
        leave(id, job.state);
        enter(id, Job { state: State::Ready, ..job });
    }
}

/// Puts a job into a state, and the list of that state.
fn enter(id: u64, job: Job) {
    match job.state {
        State::Waiting { until_ms } | State::Taken { until_ms } => TIMES.put((until_ms, id), &()),
        State::Ready => {
            READY.put(id, &());
            emit("ready", &id);
        }
    }
    JOBS.put(id, &job);
}

/// Takes a job out of the list of its state.
fn leave(id: u64, state: State) {
    match state {
        State::Waiting { until_ms } | State::Taken { until_ms } => TIMES.delete((until_ms, id)),
        State::Ready => READY.delete(id),
    };
}

fn set_alarm() {
    wake_at(TIMES.keys(..).next().map(|(at_ms, _)| at_ms));
}

pgraft_sdk::export!(Queue);
