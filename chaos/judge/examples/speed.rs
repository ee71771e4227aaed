//! How fast histories are judged: `cargo run --release -p pgraft-judge --example speed`.
//! Closed-loop clients without a pause, 40 % reads, 40 % writes, 20 % compare-and-swap: the worst
//! case for a search. Not a test: it prints numbers.

#[path = "../tests/it/cluster.rs"]
mod cluster;
#[path = "../tests/it/register.rs"]
mod register;

use std::time::{Duration, Instant};

use pgraft_judge::lin::table::Table;
use pgraft_judge::lin::{Budget, Certificate, certify, compete, jit, judge_partitions, wgl};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use register::{Answer, Ask, Calls, Register, Shape, brute, correct, mutate, small};

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let result = work();
    (result, began.elapsed())
}

/// Tells one reader a value that is gone for long.
fn make_stale(keys: &mut [Calls]) {
    let calls = &mut keys[0];
    let middle = calls.len() / 2;
    let old = calls[..middle / 4].iter().rev().find_map(|call| match call.operation {
        Ask::Write(value) if call.reply.is_some() => Some(value),
        _ => None,
    });
    let read = calls[middle..].iter_mut().find(|call| call.operation == Ask::Read);
    let (Some(old), Some(read)) = (old, read) else { panic!("no write or no read") };
    read.reply = Some(Answer::Value(old));
}

fn row(name: &str, clients: u64, keys: u64, unknown: u32, stale: bool) {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let shape = Shape { operations: 10_000, clients, keys, values: 0, unknown };
    let mut parts = correct(&mut rng, shape);
    if stale {
        make_stale(&mut parts);
    }
    let budget = Budget { steps: 50_000_000, computed: usize::MAX };
    let (holds, certificate) = timed(|| {
        parts.iter().filter(|calls| certify(&Register, calls) == Certificate::Holds).count()
    });
    let (_, by_wgl) = timed(|| {
        parts.iter().for_each(|calls| {
            let mut table = Table::new(&Register, calls);
            wgl::Wgl::new(&table).run(&mut table, budget.steps);
        });
    });
    let (_, by_jit) = timed(|| {
        parts.iter().for_each(|calls| {
            let mut table = Table::new(&Register, calls);
            jit::Jit::new(&table).run(&mut table, budget.steps);
        });
    });
    let (outcome, both) = timed(|| judge_partitions(&Register, &parts, budget));
    let said = format!("{outcome:?}");
    let said: String = said.chars().take(40).collect();
    println!(
        "{name:44} certificate {certificate:>10.1?} ({holds}/{} hold)  wgl {by_wgl:>9.1?}  \
         jit {by_jit:>9.1?}  competition {both:>9.1?}  {said}",
        parts.len()
    );
}

fn main() {
    row("10 keys, 20 clients, right", 20, 10, 0, false);
    row("10 keys, 20 clients, a stale read", 20, 10, 0, true);
    row("10 keys, 20 clients, 1 % unknown", 20, 10, 1, false);
    row("1 hot key, 5 clients, right", 5, 1, 0, false);
    row("1 hot key, 5 clients, a stale read", 5, 1, 0, true);
    row("1 hot key, 10 clients, right", 10, 1, 0, false);
    row("1 hot key, 10 clients, a stale read", 10, 1, 0, true);

    for (name, unknown) in [("all answered", 0), ("5 % unknown", 5)] {
        let shape = cluster::Shape { operations: 10_000, clients: 20, keys: 10, unknown };
        let history = cluster::history(7, shape);
        let text = history.to_text();
        let (parsed, reading) = timed(|| pgraft_judge::History::parse(&text));
        assert_eq!(parsed.expect("it was written"), history);
        let (judgement, judging) = timed(|| cluster::judged(&history));
        let (alone, black_box) = timed(|| cluster::judged(&cluster::black_box(&history)));
        let rank = alone.verdict("linearizability").map(|verdict| verdict.rank);
        println!(
            "10,000 operations, 20 clients, 10 keys, {name}: {} MB read {reading:.1?}, checkers \
             {judging:.1?} {}, without the log {black_box:.1?} {rank:?}",
            text.len() / 1_000_000,
            judgement.overall
        );
    }

    let (refused, time) = timed(|| {
        (0..100_000u64)
            .filter(|seed| {
                let mut calls = small(*seed);
                mutate(&mut ChaCha8Rng::seed_from_u64(*seed), &mut calls, 3);
                let right = brute(&Register, &calls);
                let outcome = compete(&Register, &calls, Budget::default()).expect("they agree");
                assert_eq!(outcome == pgraft_judge::lin::Outcome::Linearizable, right);
                !right
            })
            .count()
    });
    let rate = 100_000.0 / time.as_secs_f64();
    println!("100,000 small histories against brute force: {refused} refused, {rate:.0}/s");
}
