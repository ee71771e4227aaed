//! Every seed that once failed passes: chaos/seeds/regressions.txt.

use pgraft_chaos::regressions;
use pgraft_chaos::scenario::Scenario;
use pgraft_chaos::suite::{Keep, Suite};
use pgraft_judge::Rank;

#[test]
fn seeds_that_once_failed_pass() {
    let suite = Suite::new();
    let mut failed = Vec::new();
    for regression in regressions::all() {
        let regressions::Regression { scenario, seed, why, line } = &regression;
        println!("regressions.txt, line {line}: run {scenario} --seed {seed}  # {why}");
        let scenario = Scenario::find(scenario).expect("checked when the file was read");
        let case = suite.case(&scenario, *seed);
        let trial = suite.run(&scenario, &case, Keep::default()).unwrap();
        if trial.judgement.overall != Rank::Pass {
            println!("{}", trial.judgement);
            failed.push(regression);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
