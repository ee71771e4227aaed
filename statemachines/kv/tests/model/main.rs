//! The machine against a model that keeps every version of every key in plain maps: seeded
//! random commands, each reply, event, rejection and wake time compared, and reads at random
//! revisions after each.

mod chance;
mod naive;

use chance::Chance;
use naive::Naive;
use pgraft_kv::{Command, Event, HistoryRequest, Kv, Query, Reply, prefix_range};
use pgraft_sdk::native::Host;

const STEPS: usize = 1500;

/// How often interesting things happened: a run must prove that it went somewhere.
#[derive(Debug, Default)]
struct Seen {
    rejected: usize,
    nested: usize,
    compacted: usize,
    expired: usize,
    old_reads: usize,
    terms: usize,
}

struct Run {
    host: Host<Kv>,
    naive: Naive,
    time_ms: u64,
    seen: Seen,
}

impl Run {
    fn new() -> Run {
        let (host, naive) = (Host::new(), Naive::default());
        Run { host, naive, time_ms: 0, seen: Seen::default() }
    }

    fn step(&mut self, chance: &mut Chance) {
        if chance.one_in(4) {
            self.time_ms += chance.below(1500);
        }
        if chance.one_in(60) {
            self.naive.term += 1;
            self.host.set_term(self.naive.term);
            self.seen.terms += 1;
        }
        self.wake_when_due();
        let command = chance.command(&self.naive);
        self.seen.nested += usize::from(format!("{command:?}").matches("Txn(").count() > 1);
        let expected = self.naive.apply(self.time_ms, &command);
        let outcome = self.host.apply(self.time_ms, &command.encode());
        match (outcome, expected) {
            (Ok(reply), Ok(expected)) => {
                assert_eq!(Reply::decode(&reply), Ok(expected), "{command:?}");
                let compacted = matches!(command, Command::Compact { .. });
                self.seen.compacted += usize::from(compacted);
            }
            (Err(_), Err(())) => self.seen.rejected += 1,
            (outcome, expected) => panic!("{command:?}: {outcome:?}, expected {expected:?}"),
        }
        self.compare_events();
        self.read_something(chance);
        if chance.one_in(20) {
            self.compare_everything(chance);
        }
    }

    /// What is stored, to the row, and the whole history that can still be read.
    fn compare_everything(&mut self, chance: &mut Chance) {
        let status = self.ask(&Query::Status);
        let (keys, tombstones, changes) = self.naive.kept();
        let Reply::Status(status) = status else { panic!("{status:?}") };
        assert_eq!((status.keys, status.tombstones, status.changes), (keys, tombstones, changes));
        assert_eq!(status.compact_revision, self.naive.compacted);

        let first = self.naive.compacted.max(1);
        let start = first + chance.below((self.naive.revision - first + 1) as u64) as i64;
        let (mut from, mut events) = (start, Vec::new());
        while from <= self.naive.revision {
            let (key, range_end) = prefix_range(b"");
            let ask = HistoryRequest { key, range_end, start_revision: from };
            let reply = self.ask(&Query::History(ask));
            let Reply::History(history) = reply else { panic!("{reply:?}") };
            assert!(history.next_revision > from, "each answer goes on");
            events.extend(history.events);
            from = history.next_revision;
        }
        let expected = self.naive.since(start);
        assert_eq!(events, expected, "history from {start}");
    }

    fn ask(&mut self, query: &Query) -> Reply {
        let reply = self.host.query(&query.encode()).expect("nothing is wrong with the question");
        Reply::decode(&reply).expect("the machine encodes replies")
    }

    fn wake_when_due(&mut self) {
        assert_eq!(self.host.next_wake(), self.naive.next_wake(), "when to wake");
        if self.host.wake(self.time_ms).expect("waking is never refused") {
            let before = self.naive.events.len();
            self.naive.wake(self.time_ms);
            self.seen.expired += usize::from(self.naive.events.len() > before);
        }
        self.compare_events();
    }

    fn compare_events(&mut self) {
        let expected: Vec<Event> = std::mem::take(&mut self.naive.events);
        let emitted = self.host.take_events();
        assert_eq!(emitted.len(), expected.len(), "number of events");
        for ((topic, payload), expected) in emitted.iter().zip(&expected) {
            assert_eq!(Event::decode(payload).as_ref(), Ok(expected));
            assert_eq!(topic, &expected.kv.key);
            assert_eq!(&expected.encode(), payload, "two ways to encode an event");
        }
    }

    fn read_something(&mut self, chance: &mut Chance) {
        let range = chance.range(self.naive.revision);
        self.seen.old_reads += usize::from(range.revision > 0);
        let expected = self.naive.range(&range);
        match (self.host.query(&Query::Range(range.clone()).encode()), expected) {
            (Ok(reply), Ok(expected)) => {
                assert_eq!(Reply::decode(&reply), Ok(Reply::Range(expected)), "{range:?}");
            }
            (Err(_), Err(())) => {}
            (outcome, expected) => panic!("{range:?}: {outcome:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn agrees_with_the_naive_model() {
    for seed in 1..=6 {
        println!("seed {seed}");
        let mut chance = Chance::new(seed);
        let mut run = Run::new();
        for _ in 0..STEPS {
            run.step(&mut chance);
        }
        println!("{:?}", run.seen);
        let Seen { rejected, nested, compacted, expired, old_reads, terms } = run.seen;
        let all = [rejected, nested, compacted, expired, old_reads, terms];
        assert!(all.iter().all(|times| *times > 0), "something never happened");
    }
}

/// Canary: the comparison must see a model that is wrong in one number.
#[test]
#[should_panic(expected = "left == right")]
fn canary_a_wrong_revision_is_seen() {
    let mut chance = Chance::new(1);
    let mut run = Run::new();
    run.naive.revision = 5;
    for _ in 0..STEPS {
        run.step(&mut chance);
    }
}

/// Commands of one life, with the times at which they are applied.
fn life(seed: u64) -> Vec<(u64, Vec<u8>)> {
    let mut chance = Chance::new(seed);
    let mut naive = Naive::default();
    let mut time_ms = 0;
    let mut commands = Vec::new();
    for number in 0..STEPS {
        if number % 8 == 0 {
            time_ms += chance.below(100);
        }
        let command = chance.command(&naive);
        let _rejections_count_too = naive.apply(time_ms, &command);
        commands.push((time_ms, command.encode()));
    }
    commands
}

#[test]
fn executing_again_gives_the_same_rows() {
    let run = || {
        let mut host: Host<Kv> = Host::new();
        for (time_ms, payload) in life(7) {
            let _rejections_count_too = host.apply(time_ms, &payload);
        }
        host.rows().clone()
    };
    assert_eq!(run(), run());
}

/// One entry with several commands does what several entries with one command do, rejected ones
/// included: this is where the revision kept between commands could go wrong.
#[test]
fn batching_does_not_matter() {
    for seed in 1..=5 {
        println!("seed {seed}");
        let commands = life(seed);
        let (mut one, mut many): (Host<Kv>, Host<Kv>) = (Host::new(), Host::new());
        let mut rejected = 0;
        for entry in commands.chunks(8) {
            let time_ms = entry[0].0;
            let payloads: Vec<&[u8]> = entry.iter().map(|(_, payload)| &payload[..]).collect();
            let together = many.apply_batch(time_ms, &payloads);
            let alone: Vec<_> =
                payloads.iter().map(|payload| one.apply(time_ms, payload)).collect();
            rejected += alone.iter().filter(|outcome| outcome.is_err()).count();
            assert_eq!(together, alone);
            assert_eq!(one.take_events(), many.take_events());
        }
        assert!(rejected > 0, "no command was rejected, so nothing was undone");
        assert_eq!(one.rows(), many.rows());
    }
}
