//! The engines against brute force and against porcupine-rs, on random histories by seed.
//!
//! `JUDGE_HISTORIES=1000000 cargo test -p pgraft-judge agree -- --nocapture` runs more of them,
//! `JUDGE_SEED=N` one.

use std::time::{Duration, Instant};

use pgraft_judge::lin::table::Table;
use pgraft_judge::lin::{
    Budget, Certificate, Entry, Outcome, Place, Specification, certify, compete, jit,
    judge_partitions, wgl,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::register::{Answer, Ask, Calls, Register, brute, small};

/// Histories of an ordinary run; some seconds without optimisation.
const HISTORIES: u64 = 80_000;
const STEPS: u64 = 1 << 20;

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|number| number.parse().ok())
}

fn by_wgl(calls: &Calls) -> bool {
    let mut table = Table::new(&Register, calls);
    let found = wgl::Wgl::new(&table).run(&mut table, STEPS).expect("small histories end");
    matches!(found, wgl::Found::Order(_))
}

fn by_jit(calls: &Calls) -> bool {
    let mut table = Table::new(&Register, calls);
    let found = jit::Jit::new(&table).run(&mut table, STEPS).expect("small histories end");
    matches!(found, jit::Found::Fits)
}

/// Whether the history is linearizable, if all agree.
fn agreed(seed: u64) -> bool {
    let calls = small(seed);
    let right = brute(&Register, &calls);
    let repeat = format!("JUDGE_SEED={seed} cargo test -p pgraft-judge agree_with_brute_force");
    assert_eq!(by_wgl(&calls), right, "WGL: {repeat}\n{calls:#?}");
    assert_eq!(by_jit(&calls), right, "JIT: {repeat}\n{calls:#?}");
    let outcome = compete(&Register, &calls, Budget::default()).expect("both agree");
    assert_eq!(outcome == Outcome::Linearizable, right, "{repeat}\n{calls:#?}");
    if certify(&Register, &calls) == Certificate::Holds {
        assert!(right, "certificate: {repeat}\n{calls:#?}");
    }
    right
}

#[test]
fn engines_agree_with_brute_force() {
    if let Some(seed) = from_env("JUDGE_SEED") {
        println!("seed {seed}: linearizable {}", agreed(seed));
        return;
    }
    let histories = from_env("JUDGE_HISTORIES").unwrap_or(HISTORIES);
    let began = Instant::now();
    let mut refused = 0u64;
    for seed in 0..histories {
        refused += u64::from(!agreed(seed));
        if seed % 100_000 == 99_999 {
            let rate = seed as f64 / began.elapsed().as_secs_f64();
            println!("{} of {histories}, {rate:.0}/s", seed + 1);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let rate = histories as f64 / seconds;
    println!("seeds 0 to {histories}: {refused} refused, all agree, {seconds:.1} s, {rate:.0}/s");
    // A run that never meets a bad history, or never a good one, shows nothing.
    assert!(refused > histories / 20 && refused < histories / 2, "{refused} of {histories}");
}

/// Whatever order is claimed: if it passes, brute force finds one, too.
#[test]
fn a_certificate_is_sound() {
    let (mut held, mut false_claims) = (0u64, 0u64);
    for seed in 0..20_000 {
        let mut calls = small(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(!seed);
        for call in &mut calls {
            let position = match call.operation {
                Ask::Read => Place::AFTER,
                Ask::Write(_) | Ask::Cas(..) => rng.random_range(0..2),
            };
            let index = rng.random_range(1..5);
            let claims = call.returned.is_some() || rng.random_range(0..2) == 0;
            call.place = claims.then_some(Place { index, position });
        }
        match certify(&Register, &calls) {
            Certificate::Holds => {
                held += 1;
                assert!(brute(&Register, &calls), "seed {seed}: {calls:#?}");
            }
            Certificate::Broken(_) => false_claims += 1,
            Certificate::Unplaced(_) => panic!("seed {seed}: all have places"),
        }
    }
    println!("seeds 0 to 20000: {held} claims held, {false_claims} did not");
    assert!(held > 100 && false_claims > 100);
}

/// Two registers as one object.
struct Two;

impl Specification for Two {
    type State = (u32, u32);
    type Operation = (bool, Ask);
    type Reply = Answer;

    fn initial(&self) -> (u32, u32) {
        (0, 0)
    }

    fn step(&self, (one, two): &(u32, u32), (first, ask): &(bool, Ask)) -> ((u32, u32), Answer) {
        let (next, answer) = Register.step(if *first { one } else { two }, ask);
        (if *first { (next, *two) } else { (*one, next) }, answer)
    }
}

/// Metamorphic: judged key by key, or both keys as one object.
#[test]
fn keys_can_be_judged_one_by_one() {
    let mut refused = 0u64;
    for seed in 0..3_000u64 {
        let parts = [small(2 * seed), small(2 * seed + 1)];
        let (by_key, _) =
            judge_partitions(&Register, &parts, Budget::default()).expect("they agree");
        let tagged = |first: bool, calls: &Calls| -> Vec<Entry<(bool, Ask), Answer>> {
            let with = |call: &Entry<Ask, Answer>| Entry {
                op: call.op,
                called: call.called,
                returned: call.returned,
                place: None,
                operation: (first, call.operation),
                reply: call.reply,
            };
            calls.iter().map(with).collect()
        };
        let whole = [tagged(true, &parts[0]), tagged(false, &parts[1])].concat();
        let at_once = compete(&Two, &whole, Budget::default()).expect("they agree");
        let right = by_key == Outcome::Linearizable;
        assert_eq!(at_once == Outcome::Linearizable, right, "seed {seed}");
        refused += u64::from(!right);
    }
    assert!(refused > 100, "{refused}");
}

/// The register as porcupine-rs wants it.
#[derive(Clone)]
struct Model;

impl porcupine_rs::Model for Model {
    type State = u32;
    type Op = (Ask, Option<Answer>);
    type Metadata = ();

    fn init() -> u32 {
        0
    }

    fn step(state: &u32, (ask, heard): &Self::Op) -> (bool, u32) {
        let (next, answer) = Register.step(state, ask);
        (heard.is_none_or(|heard| heard == answer), next)
    }
}

/// Only `check_operations_timeout`: its other entry calls histories illegal that it had no time
/// for. Calls that never returned get an end behind all others, which means the same.
fn by_porcupine(calls: &Calls) -> bool {
    let operations: Vec<porcupine_rs::Operation<Model>> = calls
        .iter()
        .map(|call| porcupine_rs::Operation {
            client_id: None,
            call_time: call.called as i64,
            return_time: call.returned.map_or(i64::MAX, |time| time as i64),
            op: (call.operation, call.reply),
            metadata: None,
        })
        .collect();
    match porcupine_rs::check_operations_timeout(&operations, Duration::from_secs(60)) {
        porcupine_rs::CheckResult::Ok => true,
        porcupine_rs::CheckResult::Illegal => false,
        porcupine_rs::CheckResult::Unknown => panic!("a minute for eight calls"),
    }
}

#[test]
fn engines_agree_with_porcupine() {
    let histories = from_env("JUDGE_HISTORIES").map_or(2_000, |histories| histories / 20);
    let mut refused = 0u64;
    for seed in 0..histories {
        let calls = small(seed);
        let right = by_porcupine(&calls);
        assert_eq!(by_wgl(&calls), right, "seed {seed}: {calls:#?}");
        refused += u64::from(!right);
    }
    println!("seeds 0 to {histories}: {refused} refused, porcupine-rs agrees");
    assert!(refused > 0);
}

/// A register whose specification forgets that writes of which nobody heard count.
struct Forgetful;

impl Specification for Forgetful {
    type State = u32;
    type Operation = Ask;
    type Reply = Answer;

    fn initial(&self) -> u32 {
        0
    }

    fn step(&self, state: &u32, operation: &Ask) -> (u32, Answer) {
        Register.step(state, operation)
    }

    fn is_read(&self, _operation: &Ask) -> bool {
        true
    }
}

/// A register that believes every answer.
struct Gullible;

impl Specification for Gullible {
    type State = u32;
    type Operation = Ask;
    type Reply = Answer;

    fn initial(&self) -> u32 {
        0
    }

    fn step(&self, state: &u32, operation: &Ask) -> (u32, Answer) {
        Register.step(state, operation)
    }

    fn agrees(&self, _operation: &Ask, _expected: &Answer, _observed: &Answer) -> bool {
        true
    }
}

/// Canary: a search that accuses or acquits wrongly differs from brute force at once.
#[test]
fn canary_a_wrong_search_is_found() {
    let differs = |searched: &dyn Fn(&Calls) -> bool| {
        (0..300).filter(|seed| searched(&small(*seed)) != brute(&Register, &small(*seed))).count()
    };
    let budget = Budget::default();
    let forgetful = |calls: &Calls| compete(&Forgetful, calls, budget) == Ok(Outcome::Linearizable);
    let gullible = |calls: &Calls| compete(&Gullible, calls, budget) == Ok(Outcome::Linearizable);
    assert!(differs(&forgetful) > 3, "{}", differs(&forgetful));
    assert!(differs(&gullible) > 10, "{}", differs(&gullible));
}
