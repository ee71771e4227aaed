//! The program `pgraft-chaos`.
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let scenario = pgraft_chaos::scenario::Scenario::parse(&args[1], &std::fs::read_to_string(format!("/tmp/{}.toml", args[1])).expect("file")).expect("scenario");
    let seed: pgraft_chaos::seed::Seed = args[2].parse().expect("seed");
    let plan = pgraft_chaos::swarm::plan(&scenario, seed);
    let load = pgraft_chaos::swarm::load(&scenario, seed);
    println!("{plan}");
    let start = std::time::Instant::now();
    let out = pgraft_chaos::sim::run(&pgraft_chaos::sim::Case { scenario: &scenario, seed, plan: &plan, load, commit: String::new(), history: Some(std::path::Path::new("/tmp/history.jsonl")), logs: true }).expect("run");
    std::fs::write("/tmp/chaos.log", &out.log).expect("log");
    println!("{:?} simulated {:?} in {:?}, {} ops", out.marks, out.simulated, start.elapsed(), out.operations);
    for e in &out.events { if let pgraft_judge::history::What::Violation(v) = &e.what { println!("{v:?}"); } }
}
