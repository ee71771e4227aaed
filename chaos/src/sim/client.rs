//! Clients: each asks one thing at a time, of any node, and writes down what it was told.
//!
//! All clients share one host, so that the order of lines in the history is the order of events.
//! A client that was told nothing certain goes on under a new number (Jepsen).

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pgraft_host::HostCode;
use pgraft_judge::history::{Call, Done, Ended, Invoke, Reply, What};
use pgraft_node::rpc::{self, Answer, FailureKind, Op, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use turmoil::net::TcpStream;

use crate::seed::Chance;
use crate::sim::journal::Journal;
use crate::sim::roster::Roster;
use crate::sim::watch::{Watch, reply};
use crate::sim::world::CLIENT_PORT;
use crate::workload::{End, Operation, Workload};

/// How long a node may take for a request aside.
const DEADLINE: Duration = Duration::from_millis(2_000);
/// How much longer the client waits for an answer.
const GRACE: Duration = Duration::from_millis(500);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_millis(300);

/// What all clients share.
pub(super) struct Shared {
    /// What is asked.
    pub(super) workload: RefCell<Box<dyn Workload>>,
    /// Whom.
    pub(super) roster: Rc<Roster>,
    /// Where it is written.
    pub(super) journal: Journal,
    /// Who leads.
    pub(super) watch: Arc<Watch>,
    /// Clients so far; the next number.
    pub(super) numbers: RefCell<u64>,
    /// Operations so far.
    pub(super) operations: RefCell<u64>,
    /// How long a node may take for one request, as clients tell it.
    pub(super) deadline: Duration,
    /// Longest pause between two operations of a client, milliseconds.
    pub(super) think_ms_max: u64,
}

/// One client.
pub(super) struct Client {
    /// What it shares.
    pub(super) shared: Rc<Shared>,
    /// Its chance.
    pub(super) chance: Chance,
    /// Operations it may still invoke in the safety phase.
    pub(super) operations: u64,
}

impl Client {
    /// Asks until the run is over.
    pub(super) async fn run(mut self) {
        let mut number = self.shared.next_number();
        let mut node = None;
        let mut calm = false;
        loop {
            if self.shared.roster.is_over() {
                return;
            }
            sleep(Duration::from_millis(self.chance.below(self.shared.think_ms_max + 1))).await;
            calm |= self.shared.roster.is_calm();
            if !calm && self.operations == 0 {
                continue;
            }
            let operation = self.shared.workload.borrow_mut().next(number, &mut self.chance);
            let Some(operation) = operation else { continue };
            self.operations = self.operations.saturating_sub(1);
            if node.is_none() || self.chance.permille(100) {
                node = self.shared.roster.pick(&mut self.chance);
            }
            let Some(at) = node else { continue };
            let certain = self.shared.ask(number, at, operation).await;
            if !certain {
                number = self.shared.next_number();
                node = None;
            }
        }
    }
}

/// What came of a request.
enum Told {
    Answered(Answer),
    NotSent(String),
    Lost(String),
}

impl Shared {
    fn next_number(&self) -> u64 {
        *self.numbers.borrow_mut() += 1;
        *self.numbers.borrow()
    }

    /// One operation, from invocation to end. False when nobody knows what became of it.
    async fn ask(&self, client: u64, node: u64, operation: Operation) -> bool {
        *self.operations.borrow_mut() += 1;
        let op = *self.operations.borrow();
        // Nobody else ever uses this name: it says which entry of the log is this operation.
        let principal = format!("c{client}.{op}");
        let writes = operation.call == Call::Command;
        if writes {
            self.journal.write_begins(op);
        }
        self.journal.note(What::Invoke(Invoke {
            op,
            client,
            node,
            machine: operation.machine.clone(),
            principal: principal.clone(),
            call: operation.call,
            payload: operation.payload.clone(),
            key: operation.key.clone(),
            says: operation.says.clone(),
            facts: operation.facts.clone(),
        }));
        let request = request(op, &principal, self.deadline, &operation);
        let end = self.judge(node, &operation, exchange(node, &request, self.deadline).await);
        let certain = !matches!(end, End::Unknown(_));
        let what = self.workload.borrow_mut().ended(client, op, &operation, &end);
        if writes {
            self.journal.write_ends(op);
        }
        self.journal.note(match end {
            End::Ok { index, reply } => {
                let says = what.says;
                What::Ok(Done { op, index, reply, says, facts: what.facts })
            }
            End::Fail(why) => What::Fail(Ended { op, why }),
            End::Unknown(why) => {
                self.journal.mark("unknown_operation");
                What::Unknown(Ended { op, why })
            }
        });
        certain
    }

    fn judge(&self, node: u64, operation: &Operation, told: Told) -> End {
        match told {
            Told::Answered(Answer::Outcome { outcome: Err(refusal), .. })
                if matches!(
                    refusal.host_code(),
                    Some(HostCode::Migrating | HostCode::Throttled)
                ) =>
            {
                End::Fail(refusal.message)
            }
            Told::Answered(Answer::Outcome { index, outcome }) => {
                if self.watch.leader().is_some_and(|leader| leader != node) {
                    self.journal.mark("follower_forwarded");
                }
                let reply: Reply = reply(&outcome);
                End::Ok { index, reply }
            }
            Told::Answered(Answer::Failed(failure)) => {
                let why = failure.message;
                match failure.kind {
                    FailureKind::Unknown | FailureKind::Internal => End::Unknown(why),
                    FailureKind::NoQuorum | FailureKind::NoLeader => {
                        if operation.call == Call::Query {
                            self.journal.mark("read_refused_without_quorum");
                        }
                        End::Fail(why)
                    }
                    _ => End::Fail(why),
                }
            }
            Told::Answered(other) => End::Unknown(format!("{other:?} is no answer to that")),
            Told::NotSent(why) => End::Fail(why),
            Told::Lost(why) => End::Unknown(why),
        }
    }
}

fn request(id: u64, principal: &str, deadline: Duration, operation: &Operation) -> Request {
    let (machine, payload) = (operation.machine.clone(), operation.payload.clone());
    let op = match operation.call {
        Call::Command => Op::Command { machine, payload },
        Call::Query => Op::Query { machine, payload, stale: false },
        Call::StaleQuery => Op::Query { machine, payload, stale: true },
    };
    let deadline_ms = deadline.as_millis() as u32;
    Request { id, deadline_ms, principal: principal.to_owned(), op }
}

/// Asks a node over a connection of its own.
async fn exchange(node: u64, request: &Request, deadline: Duration) -> Told {
    let connecting = TcpStream::connect(format!("n{node}:{CLIENT_PORT}"));
    let mut stream = match timeout(CONNECT, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Told::NotSent(format!("connect: {error}")),
        Err(_elapsed) => return Told::NotSent("connect: no answer".to_owned()),
    };
    let answer = async {
        stream.write_all(&request.encode()).await?;
        let mut header = [0; 4];
        stream.read_exact(&mut header).await?;
        let length = rpc::body_length(header).map_err(std::io::Error::other)?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        Response::decode(&body).map_err(std::io::Error::other)
    };
    match timeout(deadline + GRACE, answer).await {
        Ok(Ok(response)) => Told::Answered(response.answer),
        Ok(Err(error)) => Told::Lost(format!("connection: {error}")),
        Err(_elapsed) => Told::Lost("no answer in time".to_owned()),
    }
}

/// Asks for something that is not part of the workload: `None` when it was not answered.
pub(super) async fn ask_aside(node: u64, op: Op) -> Option<Answer> {
    let deadline_ms = DEADLINE.as_millis() as u32;
    let request = Request { id: 1, deadline_ms, principal: "nemesis".to_owned(), op };
    match exchange(node, &request, DEADLINE).await {
        Told::Answered(answer) => Some(answer),
        Told::NotSent(_) | Told::Lost(_) => None,
    }
}
