//! Whole histories by seed: what a right cluster did passes, with the log and without it, and what
//! a lying one would have said does not. `JUDGE_SEED=N` runs one of them, `JUDGE_HISTORIES=1000000`
//! more of them (one for a thousand of the small ones of `agreement.rs`).

use std::ops::Range;

use pgraft_judge::history::{Fact, Reply, What};
use pgraft_judge::{History, Rank};

use crate::cluster::{Shape, black_box, history, judged};

fn seeds() -> Range<u64> {
    let from_env = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let more = from_env("JUDGE_HISTORIES").map_or(60, |histories| histories.div_ceil(1_000));
    from_env("JUDGE_SEED").map_or(0..more, |seed| seed..seed + 1)
}

fn shape(seed: u64) -> Shape {
    Shape { operations: 120, clients: 2 + seed % 5, keys: 1 + seed % 4, unknown: 8 }
}

#[test]
fn what_a_right_cluster_did_passes() {
    for seed in seeds() {
        let history = history(seed, shape(seed));
        let judgement = judged(&history);
        assert_eq!(judgement.overall, Rank::Pass, "seed {seed}: {judgement}");
        let text = history.to_text();
        assert_eq!(History::parse(&text).expect("it was written"), history, "seed {seed}");
    }
}

#[test]
fn without_the_log_it_never_fails() {
    let mut passed = 0;
    for seed in seeds() {
        let judgement = judged(&black_box(&history(seed, shape(seed))));
        let verdict = judgement.verdict("linearizability").expect("there are operations");
        assert_ne!(verdict.rank, Rank::Fail, "seed {seed}: {judgement}");
        passed += u64::from(verdict.rank == Rank::Pass);
    }
    println!("{passed} of {:?} decided without the log", seeds());
    assert!(passed > 0);
}

/// Canary: one reader is told something else, at whatever place.
#[test]
fn canary_a_lie_never_passes() {
    for seed in seeds() {
        let mut history = history(seed, shape(seed));
        let reads: Vec<usize> = (0..history.events.len())
            .filter(|at| match &history.events[*at].what {
                What::Ok(done) => done.facts.iter().any(|f| matches!(f, Fact::Got { .. })),
                _ => false,
            })
            .collect();
        let liar = reads[seed as usize % reads.len()];
        let What::Ok(done) = &mut history.events[liar].what else { panic!("it is one") };
        let op = done.op;
        done.reply = Reply::Accepted(b"a lie".to_vec());
        for fact in &mut done.facts {
            if let Fact::Got { value, .. } = fact {
                *value = Some("a lie".to_owned());
            }
        }
        let judgement = judged(&history);
        for checker in ["linearizability", "revisions"] {
            let verdict = judgement.verdict(checker).expect("there are reads");
            assert_eq!(verdict.rank, Rank::Fail, "seed {seed}: {judgement}");
            assert!(verdict.operations.contains(&op), "seed {seed}: {judgement}");
        }
    }
}
