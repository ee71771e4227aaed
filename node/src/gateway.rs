//! The gateway: takes a request to its end, whoever leads meanwhile (① and ⑦ of the way of a
//! write).
//!
//! A command gets its request id here, once; then it is proposed on this node or forwarded to the
//! leader, again and again with the same id, until it is answered or its deadline passes. Reads
//! ask the leader for an index, wait until this node has applied it, and read here.
//! Not here: sockets, and what a command means.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pgraft_host::{Change, Command, HostCode, MACHINES, Outcome};
use pgraft_replica::limits::COMMAND_BYTES_MAX;
use pgraft_replica::{Index, NodeId, Refusal, Role};
use pgraft_transport::{AnyNet, RpcError, Transport};
use pgraft_watch as watch;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::event::{Ask, Event};
use crate::management::Manner;
use crate::peer_rpc::{Ask as PeerAsk, Told};
use crate::provision::Provision;
use crate::readers::Readers;
use crate::round::Rounds;
use crate::rpc::{Answer, Failure, FailureKind, Op, Request};
use crate::session::{RequestId, Session};
use crate::settings::Settings;

/// Requests of clients in flight on this node.
const REQUESTS_MAX: usize = 8192;
/// Bytes of a machine's or a principal's name.
const NAME_BYTES_MAX: usize = 255;
/// Bytes of a command's payload: the largest command less its envelope.
const PAYLOAD_BYTES_MAX: usize = COMMAND_BYTES_MAX - 1024;
/// Pause before an attempt is repeated when nothing tells that things changed.
const RETRY_MS: u64 = 10;
/// Longest deadline a client may ask for.
const DEADLINE_MS_MAX: u32 = 3_600_000;
/// A rejection of the host: the session is not known any more.
const SESSION_EXPIRED: u32 = HostCode::SessionExpired as u32;

/// Who leads, as this node knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// The term.
    pub(crate) term: u64,
    /// Its leader, if known.
    pub(crate) leader: Option<NodeId>,
    /// This node leads.
    pub(crate) own: bool,
    /// The node left the cluster or is stopping: nothing is accepted any more.
    pub(crate) closed: bool,
}

impl Leadership {
    pub(crate) fn of(role: Role, term: u64, leader: Option<NodeId>) -> Leadership {
        Leadership { term, leader, own: role == Role::Leader, closed: false }
    }
}

/// Handle of the gateway.
#[derive(Clone)]
pub(crate) struct Gateway {
    shared: Arc<Shared>,
}

/// What all handles share.
pub(crate) struct Shared {
    inbox: UnboundedSender<Event>,
    leadership: watch::Receiver<Leadership>,
    applied: watch::Receiver<Index>,
    transport: Transport<AnyNet>,
    readers: Readers,
    provision: Arc<Provision>,
    /// How long a request waits for a leader before it is told that there is none.
    patience: Duration,
    default_deadline: Duration,
    /// Unless asked otherwise; the extension asks for what the SQL session is set to.
    reads_stale: bool,
    session: Session,
    opening: tokio::sync::Mutex<()>,
    rounds: Rounds,
    in_flight: AtomicUsize,
    errors: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        settings: &Settings,
        inbox: UnboundedSender<Event>,
        transport: Transport<AnyNet>,
        readers: Readers,
        provision: Arc<Provision>,
        leadership: watch::Receiver<Leadership>,
        applied: watch::Receiver<Index>,
    ) -> Shared {
        Shared {
            inbox,
            leadership,
            applied,
            transport,
            readers,
            provision,
            // An election takes less than one timeout; a second one covers a split vote.
            patience: Duration::from_millis(settings.election_timeout_ms) * 2,
            default_deadline: Duration::from_millis(settings.request_timeout_ms),
            reads_stale: settings.read_consistency == "stale",
            session: Session::default(),
            opening: tokio::sync::Mutex::new(()),
            rounds: Rounds::default(),
            in_flight: AtomicUsize::new(0),
            errors: AtomicU64::new(0),
        }
    }
}

/// One attempt's end.
enum Attempt {
    Applied(Index, Outcome),
    /// Definitely not carried out.
    Refused,
    /// May have been carried out; repeat with the same id.
    Lost,
}

impl Gateway {
    pub(crate) fn new(shared: Shared) -> Gateway {
        Gateway { shared: Arc::new(shared) }
    }

    /// Failures told to clients since start.
    pub(crate) fn errors(&self) -> u64 {
        self.shared.errors.load(Ordering::Relaxed)
    }

    /// Carries out a request of a client.
    pub(crate) async fn handle(&self, request: Request) -> Answer {
        let waiting = self.shared.in_flight.fetch_add(1, Ordering::Relaxed);
        let answer = if waiting < REQUESTS_MAX {
            self.carry_out(request).await.unwrap_or_else(Answer::Failed)
        } else {
            let message =
                format!("{waiting} requests are in flight, at most {REQUESTS_MAX} may be");
            Answer::Failed(Failure::new(FailureKind::Busy, message).hint("Try again."))
        };
        self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        if matches!(answer, Answer::Failed(_)) {
            self.shared.errors.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    async fn carry_out(&self, request: Request) -> Result<Answer, Failure> {
        let deadline = self.deadline(request.deadline_ms);
        match request.op {
            Op::Command { machine, .. } if machine == MACHINES => {
                let message = "the machines themselves are changed by a request of its own";
                Err(Failure::new(FailureKind::BadRequest, message))
            }
            Op::Command { machine, payload } => {
                let payload = Bytes::from(payload);
                if let Some(refused) = self.checked(&machine, &request.principal, &payload).await? {
                    return Ok(refused);
                }
                let (index, outcome) =
                    self.command(&machine, &request.principal, payload, deadline).await?;
                Ok(Answer::Outcome { index: index.0, outcome })
            }
            Op::Query { machine, payload, stale } => {
                if !stale && !self.shared.reads_stale {
                    self.wait_until_readable(deadline).await?;
                }
                let readers = &self.shared.readers;
                let answer = readers.query(machine, request.principal, payload).await?;
                Ok(Answer::Outcome { index: answer.index.0, outcome: answer.outcome })
            }
            Op::Change { change, dry_run, force } => {
                let change = Change::decode(&change)
                    .map_err(|error| Failure::new(FailureKind::BadRequest, error.to_string()))?;
                let manner = Manner { dry_run, force };
                self.change(&request.principal, change, manner, deadline).await
            }
            Op::Machines { stale } => self.list(stale || self.shared.reads_stale, deadline).await,
            Op::Events { machine, since, limit } => {
                self.events(machine, since, limit, deadline).await
            }
            Op::Status => {
                let (reply, status) = oneshot::channel();
                self.ask(Ask::Status { reply });
                status.await.map(Answer::Json).map_err(|_| stopping())
            }
            Op::Transfer { to } => {
                self.transfer(NodeId::new(to), deadline).await?;
                Ok(Answer::Done)
            }
        }
    }

    /// What a machine's `check` says against a command, before it enters the log. The built-in
    /// machines are not asked: they say the same when they apply it, and every write would pay.
    async fn checked(
        &self,
        machine: &str,
        principal: &str,
        payload: &Bytes,
    ) -> Result<Option<Answer>, Failure> {
        if pgraft_host::is_built_in(machine) {
            return Ok(None);
        }
        let (machine, principal) = (machine.to_owned(), principal.to_owned());
        let answer = self.shared.readers.check(machine, principal, payload.clone()).await?;
        // What the host says depends on how far this node is; the log says it for sure.
        let own = answer.outcome.as_ref().is_err_and(|rejection| rejection.host_code().is_none());
        Ok(own.then_some(Answer::Outcome { index: answer.index.0, outcome: answer.outcome }))
    }

    fn deadline(&self, asked_ms: u32) -> Instant {
        let wait = match asked_ms {
            0 => self.shared.default_deadline,
            ms => Duration::from_millis(u64::from(ms.min(DEADLINE_MS_MAX))),
        };
        Instant::now() + wait
    }

    pub(crate) fn readers(&self) -> &Readers {
        &self.shared.readers
    }

    pub(crate) fn provision(&self) -> &Provision {
        &self.shared.provision
    }

    pub(crate) fn ask(&self, ask: Ask) {
        let _driver_ended = self.shared.inbox.send(Event::Ask(ask));
    }

    /// Puts a command in the log once, and returns what its machine answered.
    pub(crate) async fn command(
        &self,
        machine: &str,
        principal: &str,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<(Index, Outcome), Failure> {
        check_size("name of the machine", machine.len(), NAME_BYTES_MAX)?;
        check_size("name of the principal", principal.len(), NAME_BYTES_MAX)?;
        check_size("command", payload.len(), PAYLOAD_BYTES_MAX)?;
        tracing::trace!("way of a write: ① gateway");
        loop {
            let id = self.request_id(deadline).await?;
            let make = |acked_below| Command::Machine {
                machine: machine.to_owned(),
                principal: principal.to_owned(),
                session: id.session,
                seq: id.seq,
                acked_below,
                payload: payload.clone(),
            };
            let mut in_doubt = false;
            let answer = self
                .until_applied(deadline, &mut in_doubt, || {
                    make(self.shared.session.acked_below(id)).encode()
                })
                .await;
            self.shared.session.end(id);
            match answer {
                Ok((_, Err(rejection))) if rejection.code == SESSION_EXPIRED => {
                    self.shared.session.expired(id.session);
                    if in_doubt {
                        return Err(unknown("the session expired while the request was retried"));
                    }
                }
                answer => {
                    tracing::trace!("way of a write: ⑦ reply");
                    return answer;
                }
            }
        }
    }

    /// A fresh id; opens the session first when there is none.
    async fn request_id(&self, deadline: Instant) -> Result<RequestId, Failure> {
        loop {
            if let Some(id) = self.shared.session.begin() {
                return Ok(id);
            }
            let _only_one = timeout_at(deadline, self.shared.opening.lock())
                .await
                .map_err(|_elapsed| no_quorum())?;
            if self.shared.session.current().is_some() {
                continue;
            }
            let open = || Command::OpenSession.encode();
            // Opened twice is harmless: the one that nobody uses expires.
            let (_, outcome) = match self.until_applied(deadline, &mut false, open).await {
                Err(Failure { kind: FailureKind::Unknown, .. }) => return Err(no_quorum()),
                answer => answer?,
            };
            let session = outcome.ok().and_then(|reply| reply.try_into().ok());
            let session = session.map_or(0, u64::from_le_bytes);
            if session == 0 {
                let message = "the cluster did not open a session";
                return Err(Failure::new(FailureKind::Internal, message));
            }
            self.shared.session.opened(session);
        }
    }

    /// Repeats attempts until one is answered, the deadline passes, or no leader turns up.
    async fn until_applied(
        &self,
        deadline: Instant,
        in_doubt: &mut bool,
        command: impl Fn() -> Bytes,
    ) -> Result<(Index, Outcome), Failure> {
        loop {
            let leader = match self.leader(deadline).await {
                Ok(leader) => leader,
                Err(_) if *in_doubt => return Err(unknown("the leader was lost")),
                Err(failure) => return Err(failure),
            };
            match self.attempt(leader, command(), deadline).await {
                Attempt::Applied(index, outcome) => return Ok((index, outcome)),
                Attempt::Refused => {}
                Attempt::Lost => *in_doubt = true,
            }
            if Instant::now() >= deadline {
                return Err(if *in_doubt { unknown("no answer in time") } else { no_quorum() });
            }
            self.pause(leader, deadline).await;
        }
    }

    async fn attempt(&self, leader: Leadership, command: Bytes, deadline: Instant) -> Attempt {
        let mut changes = self.shared.leadership.clone();
        let changed = changes.wait_for(|now| now.leader != leader.leader || now.closed);
        let answer = async {
            if leader.own {
                self.propose(command).await
            } else {
                self.forward(leader, command, deadline).await
            }
        };
        tokio::select! {
            biased;
            attempt = answer => attempt,
            // The entry may still be committed by the next leader: the id makes repeating safe.
            _ = changed => Attempt::Lost,
            () = sleep_until(deadline) => Attempt::Lost,
        }
    }

    async fn propose(&self, command: Bytes) -> Attempt {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Propose { command, reply });
        match answer.await {
            Ok(Ok((index, outcome))) => Attempt::Applied(index, outcome),
            Ok(Err(_refusal)) => Attempt::Refused,
            Err(_ended) => Attempt::Lost,
        }
    }

    async fn forward(&self, leader: Leadership, command: Bytes, deadline: Instant) -> Attempt {
        let to = leader.leader.expect("a leader that is not this node has an id");
        match self.call(to, &PeerAsk::Propose(command), deadline).await {
            Ok(Told::Applied(index, outcome)) => Attempt::Applied(index, outcome),
            Ok(_) | Err(RpcError::NotSent) => Attempt::Refused,
            Err(_) => Attempt::Lost,
        }
    }

    pub(crate) async fn call(
        &self,
        to: NodeId,
        ask: &PeerAsk,
        until: Instant,
    ) -> Result<Told, RpcError> {
        let left = until.saturating_duration_since(Instant::now());
        let body = self.shared.transport.rpc(to, ask.encode(), left).await?;
        Told::decode(&body).map_err(|_| RpcError::Lost)
    }

    /// Waits for a leader, but not longer than patience and deadline allow.
    async fn leader(&self, deadline: Instant) -> Result<Leadership, Failure> {
        let mut leadership = self.shared.leadership.clone();
        let until = deadline.min(Instant::now() + self.shared.patience);
        let known = leadership.wait_for(|now| now.leader.is_some() || now.closed);
        match timeout_at(until, known).await {
            Ok(Ok(now)) if !now.closed => Ok(*now),
            Ok(_) => Err(stopping()),
            Err(_elapsed) => Err(Failure::new(FailureKind::NoLeader, "no leader is known")
                .hint("A majority of the members must be running and connected.")),
        }
    }

    /// Waits for news about the leader, or a moment.
    async fn pause(&self, seen: Leadership, deadline: Instant) {
        let mut leadership = self.shared.leadership.clone();
        let until = deadline.min(Instant::now() + Duration::from_millis(RETRY_MS));
        let news = leadership.wait_for(|now| *now != seen);
        let _either = timeout_at(until, news).await;
    }

    /// Returns when a read on this node is linearizable: it sees every write that was
    /// acknowledged before the request came in.
    pub(crate) async fn wait_until_readable(&self, deadline: Instant) -> Result<(), Failure> {
        loop {
            let leader = self.leader(deadline).await?;
            let round = self.shared.rounds.join(self.clone());
            let mut changes = self.shared.leadership.clone();
            let changed = changes.wait_for(|now| now.leader != leader.leader || now.closed);
            let index = tokio::select! {
                biased;
                index = round => index,
                _ = changed => None,
                () = sleep_until(deadline) => None,
            };
            if let Some(index) = index {
                let mut applied = self.shared.applied.clone();
                let reached = applied.wait_for(|applied| *applied >= index);
                return match timeout_at(deadline, reached).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(_)) => Err(stopping()),
                    Err(_elapsed) => Err(no_quorum()),
                };
            }
            if Instant::now() >= deadline {
                return Err(no_quorum());
            }
            self.pause(leader, deadline).await;
        }
    }

    /// One ReadIndex round, asked of whoever leads now; `None` when it failed or the leader
    /// changed meanwhile.
    pub(crate) async fn read_index(&self) -> Option<Index> {
        let mut changes = self.shared.leadership.clone();
        let leader = *changes.borrow_and_update();
        let until = Instant::now() + self.shared.patience;
        let round = async {
            if leader.own {
                let (reply, answer) = oneshot::channel();
                self.ask(Ask::ReadIndex { reply });
                return answer.await.ok()?.ok();
            }
            match self.call(leader.leader?, &PeerAsk::ReadIndex, until).await {
                Ok(Told::ReadAt(index)) => Some(index),
                _ => None,
            }
        };
        tokio::select! {
            biased;
            index = round => index,
            _ = changes.wait_for(|now| now.leader != leader.leader || now.closed) => None,
            () = sleep_until(until) => None,
        }
    }

    async fn transfer(&self, to: Option<NodeId>, deadline: Instant) -> Result<(), Failure> {
        let leader = self.leader(deadline).await?;
        let refused = |why: String| Err(Failure::new(FailureKind::BadRequest, why));
        if to.is_some() && to == leader.leader {
            return Ok(());
        }
        if leader.own {
            let (reply, answer) = oneshot::channel();
            self.ask(Ask::Transfer { to, reply });
            return match timeout_at(deadline, answer).await {
                Ok(Ok(Ok(()))) => Ok(()),
                Ok(Ok(Err(refusal))) => refused(told(&refusal)),
                Ok(Err(_)) => Err(stopping()),
                Err(_elapsed) => Err(unknown("the transfer was not finished in time")),
            };
        }
        let id = leader.leader.expect("a leader that is not this node has an id");
        match self.call(id, &PeerAsk::Transfer(to), deadline).await {
            Ok(Told::Done) => Ok(()),
            Ok(Told::Refused(why)) => refused(why),
            Ok(_) | Err(_) => Err(unknown("the leader did not answer")),
        }
    }

    /// Answers another node, which believes that this one leads. `None` when this node ends before
    /// it knows: the asking node then sees that its request was lost.
    pub(crate) async fn serve_peer(&self, from: NodeId, body: Bytes) -> Option<Bytes> {
        let told = match PeerAsk::decode(&body) {
            Ok(PeerAsk::Propose(command)) => self.serve_proposal(command).await?,
            Ok(PeerAsk::ReadIndex) => {
                let (reply, answer) = oneshot::channel();
                self.ask(Ask::ReadIndex { reply });
                answer.await.ok()?.map_or_else(|why| Told::Refused(told(&why)), Told::ReadAt)
            }
            Ok(PeerAsk::Transfer(to)) => {
                let (reply, answer) = oneshot::channel();
                self.ask(Ask::Transfer { to, reply });
                answer.await.ok()?.map_or_else(|why| Told::Refused(told(&why)), |()| Told::Done)
            }
            Ok(PeerAsk::Prepare(sha256)) => self.serve_prepare(&sha256).await,
            Ok(PeerAsk::State) => {
                let (reply, answer) = oneshot::channel();
                self.ask(Ask::State { to: from, reply });
                answer.await.ok()?.map_or_else(|why| Told::Refused(told(&why)), |()| Told::Done)
            }
            Err(error) => Told::Refused(error.to_string()),
        };
        Some(told.encode())
    }

    async fn serve_proposal(&self, command: Bytes) -> Option<Told> {
        // A peer may only forward what a client may ask for, never the leader's own duties.
        match Command::decode(&command) {
            Ok(Command::Machine { .. } | Command::OpenSession) => {}
            Ok(_) => return Some(Told::Refused("not a command of a client".to_owned())),
            Err(error) => return Some(Told::Refused(error.to_string())),
        }
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Propose { command, reply });
        Some(match answer.await.ok()? {
            Ok((index, outcome)) => Told::Applied(index, outcome),
            Err(refusal) => Told::Refused(told(&refusal)),
        })
    }
}

fn check_size(what: &str, bytes: usize, max: usize) -> Result<(), Failure> {
    if bytes <= max {
        return Ok(());
    }
    let message = format!("{what} is {bytes} bytes long, at most {max} are allowed");
    Err(Failure::new(FailureKind::TooLarge, message))
}

/// A refusal in words.
pub(crate) fn told(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NotLeader(_) => "not the leader".to_owned(),
        Refusal::Overwritten => "another leader took over".to_owned(),
        Refusal::Busy => "too much is in flight".to_owned(),
        Refusal::TooLarge(size, limit) => {
            format!("command is {size} bytes long, at most {limit} are allowed")
        }
        Refusal::NoQuorum => "no quorum".to_owned(),
        Refusal::Transfer(why) => why.clone(),
        Refusal::ConfChange(why) => why.to_string(),
    }
}

pub(crate) fn stopping() -> Failure {
    Failure::new(FailureKind::Stopping, "this node is stopping or was removed from the cluster")
}

fn no_quorum() -> Failure {
    Failure::new(FailureKind::NoQuorum, "the cluster did not answer in time")
        .hint("A majority of the members must be running and connected.")
}

fn unknown(why: &str) -> Failure {
    Failure::new(FailureKind::Unknown, format!("outcome unknown: {why}"))
        .hint("The write may still take effect. Read it back before you repeat it.")
}
