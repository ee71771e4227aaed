//! How the commands of an entry are taken apart: what a session answers, what comes together in one
//! call, what stands in between. Not here: carrying it out.

use pgraft_host::{Command, HostCode, MACHINES, Outcome, Rejection};
use pgraft_replica::body::Body;

use super::{Difference, Entry, Given, Known, ReplayedLog, Step};

impl ReplayedLog {
    /// Sorts the commands from `next` on: those of one machine together, unless it is told
    /// something in between; up to the first that changes the machines. Returns what comes next.
    pub(super) fn plan(
        &mut self,
        entry: &mut Entry<'_>,
        body: &Body,
        next: usize,
    ) -> Result<usize, Difference> {
        for (position, bytes) in body.commands.iter().enumerate().skip(next) {
            entry.outcomes[position] = match Command::decode(bytes) {
                Ok(command) => self.plan_one(entry, position, command)?,
                Err(_) => refused(HostCode::MalformedCommand),
            };
            if matches!(entry.steps.last(), Some(Step::Change(_))) {
                return Ok(position + 1);
            }
        }
        Ok(body.commands.len())
    }

    /// The outcome of a command that needs no machine.
    fn plan_one(
        &mut self,
        entry: &mut Entry<'_>,
        position: usize,
        command: Command,
    ) -> Result<Option<Outcome>, Difference> {
        let to = match &command {
            Command::Machine { machine, .. }
            | Command::Wake { machine }
            | Command::EffectDone { machine, .. }
            | Command::Perform { machine, .. } => Some(machine),
            Command::OpenSession | Command::Digest { .. } => None,
        };
        let changes = matches!(&command, Command::Machine { machine, .. } if machine == MACHINES);
        if to.is_some_and(|machine| !changes && !self.machines.contains_key(machine)) {
            return Ok(refused(HostCode::UnknownMachine));
        }
        match command {
            Command::OpenSession => {
                let id = entry.turn.index.0 << 16 | position as u64;
                self.sessions.open(id, entry.turn.time_ms);
                self.seen.sessions += 1;
                return Ok(Some(Ok(id.to_le_bytes().to_vec())));
            }
            Command::Digest { index, digests } => {
                self.compare(entry.turn.index.0, index.0, &digests)?;
                return Ok(Some(Ok(Vec::new())));
            }
            Command::Wake { machine } => {
                self.seen.wakes += 1;
                entry.taking.remove(&machine);
                entry.steps.push(Step::Wake { machine, position });
            }
            Command::EffectDone { machine, id, outcome } => {
                entry.taking.remove(&machine);
                entry.steps.push(Step::Done { machine, id, outcome, position });
            }
            Command::Perform { machine, id } => {
                entry.taking.clear();
                entry.steps.push(Step::Perform { machine, id, position });
            }
            Command::Machine { machine, principal, session, seq, acked_below, payload } => {
                let given = Given { position, principal, session, seq, payload };
                return Ok(self.plan_given(entry, machine, given, acked_below));
            }
        }
        Ok(None)
    }

    fn plan_given(
        &mut self,
        entry: &mut Entry<'_>,
        machine: String,
        given: Given,
        acked_below: u64,
    ) -> Option<Outcome> {
        self.seen.commands += 1;
        let Given { position, session, seq, .. } = given;
        if session != 0 {
            let now_ms = entry.turn.time_ms;
            let known = self.sessions.ask(session, seq, acked_below, now_ms);
            if let Known::Answer(outcome) = known {
                self.seen.answered += 1;
                return Some(outcome);
            }
            if let Some(first) = entry.first.get(&(session, seq)) {
                self.seen.answered += 1;
                entry.repeats.push((position, *first));
                return None;
            }
        }
        if self.machines.get(&machine).is_some_and(|machine| machine.runs.is_migrating()) {
            self.seen.kept_out += 1;
            let outcome = Err(Rejection::host(HostCode::Migrating));
            if session != 0 {
                self.sessions.note(session, seq, &outcome);
            }
            return Some(outcome);
        }
        if session != 0 {
            entry.first.insert((session, seq), position);
        }
        if machine == MACHINES {
            entry.steps.push(Step::Change(given));
            return None;
        }
        match entry.taking.get(&machine).map(|at| &mut entry.steps[*at]) {
            Some(Step::Apply { given: others, .. }) => others.push(given),
            _ => {
                entry.taking.insert(machine.clone(), entry.steps.len());
                entry.steps.push(Step::Apply { machine, given: vec![given] });
            }
        }
        None
    }
}

fn refused(code: HostCode) -> Option<Outcome> {
    Some(Err(Rejection::host(code)))
}
