//! Measures what one input of a machine costs when the machine runs as a pure function.
//!
//! ```text
//! cargo run --release --example specification_cost -p pgraft-host
//! ```
//!
//! Prints applies and queries of the kv machine per second and thread, the best of a few rounds;
//! the machine should be quiet.

use std::error::Error;
use std::time::Instant;

use pgraft_host::{Code, Machines, Place, Request, Specification, State, Turn};
use pgraft_kv::{Command, Put, Query, RangeRequest};
use pgraft_replica::Index;

const ROUNDS: u32 = 7;
const CALLS: u64 = 20_000;

fn main() -> Result<(), Box<dyn Error>> {
    let modules = pgraft_bundle::modules();
    let code = |module: &'static pgraft_bundle::Module| Code {
        name: module.name,
        component: module.component,
        compiled: module.compiled,
        compiled_sha256: module.compiled_sha256,
    };
    let codes: Vec<Code<'_>> = modules.iter().map(code).collect();
    let machines = Machines::new(Place::Simulation, &codes)?;
    let kv = modules.iter().find(|module| module.name == "kv").ok_or("no kv in the bundle")?;
    let specification = Specification::new(&machines, "kv", &kv.sha256)?;
    let initial = specification.initial(&[], 0)?;
    let turn = |index| Turn { index: Index(index), term: 1, time_ms: index, entropy: index };
    for keys in [10, 1_000, 100_000] {
        let mut last = State::default();
        let applied = best(|| {
            let mut state = initial.clone();
            for index in 1..=CALLS {
                let put = Put::new(format!("key-{:06}", index * 7 % keys), b"value".to_vec());
                let put = Command::Put(put).encode();
                let came = specification.apply(&state, &turn(index), Request::new(&put))?;
                assert!(came.outcomes[0].is_ok(), "a put of a short key is taken");
                state = came.state;
            }
            last = state;
            Ok(())
        })?;
        let get = RangeRequest { key: b"key-000007".to_vec(), ..RangeRequest::default() };
        let get = Query::Range(get).encode();
        let asked = best(|| {
            for index in 1..=CALLS {
                specification.query(&last, &turn(index), &get)?.map_err(Box::new)?;
            }
            Ok(())
        })?;
        println!("{keys:>7} keys: {applied:>8.0} puts/s {asked:>8.0} gets/s  ({last:?})");
    }
    Ok(())
}

/// Calls per second in the best round.
fn best(mut round: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        round()?;
        best = best.max(CALLS as f64 / start.elapsed().as_secs_f64());
    }
    Ok(best)
}
