//! `pgraft bench`: closed-loop clients against running nodes; throughput, latency percentiles,
//! CPU and fsyncs per operation.
//!
//! CPU is that of the node processes, from /proc, not of the clients. fsyncs are the
//! transactions of raft.db over all nodes given, each of which is one fsync.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use hdrhistogram::Histogram;
use pgraft_kv::{Command as Change, Put, Query, RangeRequest};
use pgraft_node::client::Client;
use pgraft_node::rpc::{self, Answer, Op, Request, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::{Connection, Error};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Measure puts.
    Put(Arguments),
    /// Measure linearizable gets of keys that were put before.
    Get(Arguments),
}

#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// Clients, each with one request in flight.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    size: usize,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Different keys.
    #[arg(long, default_value_t = 10_000)]
    keys: u64,
    /// Sockets of the other nodes on this machine, for CPU and fsyncs of all.
    #[arg(long, value_delimiter = ',')]
    others: Vec<PathBuf>,
}

/// Seconds before the measurement begins.
const WARM_UP: Duration = Duration::from_secs(1);

pub(super) fn run(connection: &Connection, command: Command) -> Result<(), Error> {
    let (puts, arguments) = match command {
        Command::Put(arguments) => (true, arguments),
        Command::Get(arguments) => (false, arguments),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Other(error.to_string()))?;
    runtime.block_on(measure(connection, puts, &arguments))
}

async fn measure(connection: &Connection, puts: bool, with: &Arguments) -> Result<(), Error> {
    let mut nodes = vec![connection.socket.clone()];
    nodes.extend(with.others.iter().cloned());
    let start = Instant::now();
    let (begin, end) = (start + WARM_UP, start + WARM_UP + Duration::from_secs(with.seconds));
    let clients: Vec<_> = (0..with.clients)
        .map(|number| {
            let load = Load {
                socket: connection.socket.clone(),
                timeout_ms: connection.timeout,
                puts,
                number: number as u64,
                with: with.clone(),
            };
            tokio::spawn(load.run(begin, end))
        })
        .collect();
    tokio::time::sleep_until(begin).await;
    let before = counters(&nodes)?;
    let mut latencies = histogram();
    let mut errors = 0_u64;
    for client in clients {
        let result = client.await.map_err(|error| Error::Other(error.to_string()))?;
        let (own, failed) = result?;
        latencies.add(own).map_err(|error| Error::Other(error.to_string()))?;
        errors += failed;
    }
    let after = counters(&nodes)?;
    print(connection, puts, with, &latencies, errors, &before, &after);
    Ok(())
}

/// CPU microseconds and raft.db transactions of all nodes, and the largest resident set.
struct Counters {
    cpu_us: u64,
    log_writes: u64,
    rss_kib: u64,
}

fn counters(nodes: &[PathBuf]) -> Result<Counters, Error> {
    let mut sum = Counters { cpu_us: 0, log_writes: 0, rss_kib: 0 };
    for socket in nodes {
        let answer = Client::connect(socket, Duration::from_secs(5))?.ask(Op::Status)?;
        let Answer::Json(text) = answer else {
            return Err(Error::Other(format!("{} has no status", socket.display())));
        };
        let status: Value =
            serde_json::from_str(&text).map_err(|error| Error::Other(error.to_string()))?;
        let pid = status["pid"].as_u64().unwrap_or(0);
        sum.log_writes += status["log_writes"].as_u64().unwrap_or(0);
        sum.cpu_us += cpu_us(pid).unwrap_or(0);
        sum.rss_kib = sum.rss_kib.max(rss_kib(pid).unwrap_or(0));
    }
    Ok(sum)
}

/// User and system time of a process, nanosecond counters where the kernel has them.
fn cpu_us(pid: u64) -> Option<u64> {
    let mut total_ns = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        total_ns += stat.split(' ').next()?.parse::<u64>().ok()?;
    }
    Some(total_ns / 1000)
}

fn rss_kib(pid: u64) -> Option<u64> {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    let status = status.ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("constant bounds are valid")
}

/// One client of the load.
struct Load {
    socket: PathBuf,
    timeout_ms: u32,
    puts: bool,
    number: u64,
    with: Arguments,
}

impl Load {
    async fn run(self, begin: Instant, end: Instant) -> Result<(Histogram<u64>, u64), Error> {
        let broken = |error: std::io::Error| Error::Other(format!("bench client: {error}"));
        let mut stream = UnixStream::connect(&self.socket).await.map_err(broken)?;
        let (mut latencies, mut errors, mut turn) = (histogram(), 0, 0_u64);
        while Instant::now() < end {
            turn += 1;
            let request = self.request(turn);
            let sent = Instant::now();
            let response = ask(&mut stream, &request).await?;
            let took = sent.elapsed();
            if sent < begin {
                continue;
            }
            match response.answer {
                Answer::Outcome { outcome: Ok(_), .. } => {
                    latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(0));
                }
                _ => errors += 1,
            }
        }
        Ok((latencies, errors))
    }

    fn request(&self, turn: u64) -> Request {
        let spread = (turn.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 17) ^ self.number << 7;
        let key = format!("bench/{:012}", spread % self.with.keys);
        let machine = "kv".to_owned();
        let op = if self.puts {
            let put = Put::new(key, vec![b'v'; self.with.size]);
            Op::Command { machine, payload: Change::Put(put).encode() }
        } else {
            let payload = Query::Range(RangeRequest::key(key)).encode();
            Op::Query { machine, payload, stale: false }
        };
        Request { id: turn, deadline_ms: self.timeout_ms, principal: String::new(), op }
    }
}

async fn ask(stream: &mut UnixStream, request: &Request) -> Result<Response, Error> {
    let broken = |error: std::io::Error| Error::Other(format!("bench client: {error}"));
    stream.write_all(&request.encode()).await.map_err(broken)?;
    let mut header = [0; 4];
    stream.read_exact(&mut header).await.map_err(broken)?;
    let length = rpc::body_length(header).map_err(|error| Error::Other(error.to_string()))?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(broken)?;
    Response::decode(&body).map_err(|error| Error::Other(error.to_string()))
}

fn print(
    connection: &Connection,
    puts: bool,
    with: &Arguments,
    latencies: &Histogram<u64>,
    errors: u64,
    before: &Counters,
    after: &Counters,
) {
    let operations = latencies.len().max(1);
    let per = |count: u64| count as f64 / operations as f64;
    let ms = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1000.0;
    let report = json!({
        "operation": if puts { "put" } else { "get" },
        "clients": with.clients,
        "size": with.size,
        "seconds": with.seconds,
        "operations": latencies.len(),
        "errors": errors,
        "per_second": latencies.len() as f64 / with.seconds as f64,
        "p50_ms": ms(0.5),
        "p90_ms": ms(0.9),
        "p99_ms": ms(0.99),
        "max_ms": latencies.max() as f64 / 1000.0,
        "cpu_us_per_operation": per(after.cpu_us - before.cpu_us),
        "fsyncs_per_operation": per(after.log_writes - before.log_writes),
        "rss_mib_largest_node": after.rss_kib as f64 / 1024.0,
    });
    if connection.json {
        println!("{report}");
        return;
    }
    for (name, value) in report.as_object().into_iter().flatten() {
        match value.as_f64() {
            Some(number) if value.is_f64() => println!("{name:24} {number:.3}"),
            _ => println!("{name:24} {}", value.to_string().trim_matches('"')),
        }
    }
}
