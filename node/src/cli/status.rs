//! `pgraft status`: what a node knows of itself and its peers.

use pgraft_node::rpc::{Answer, Op};
use serde_json::Value;

use super::{Connection, Error};

pub(super) fn run(connection: &Connection) -> Result<(), Error> {
    let Answer::Json(text) = connection.ask(Op::Status)? else {
        return Err(Error::Other("the node answered something else than a report".to_owned()));
    };
    if connection.json {
        println!("{text}");
        return Ok(());
    }
    let report: Value =
        serde_json::from_str(&text).map_err(|error| Error::Other(error.to_string()))?;
    for name in
        ["node_id", "state", "term", "leader_id", "commit_index", "applied_index", "last_index"]
    {
        println!("{name:14} {}", plain(&report[name]));
    }
    println!("{:>4} {:12} {:22} {:9} {:>10} connected", "id", "name", "address", "role", "match");
    for member in report["members"].as_array().into_iter().flatten() {
        let mark = if member["leader"] == true { "*" } else { " " };
        println!(
            "{:>3}{mark} {:12} {:22} {:9} {:>10} {}",
            plain(&member["id"]),
            plain(&member["name"]),
            plain(&member["address"]),
            plain(&member["role"]),
            plain(&member["match_index"]),
            plain(&member["connected"]),
        );
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
