//! A command that one machine has for another, run again: the other one takes it, and the first is
//! told what came of it, in the same entry.

use pgraft_host::{Effect, HostCode, Outcome, Rejection, Request, Transition};

use super::{Difference, Entry, ReplayedLog, emitted};

/// The kind of effect that is a command for a machine.
const COMMAND: &str = "command";

impl ReplayedLog {
    /// Carries out a command between machines. Where one of them may be in several states, it is
    /// taken as it was told, and nothing is known of the two from there on.
    pub(super) fn perform(
        &mut self,
        entry: &mut Entry<'_>,
        name: &str,
        id: u64,
        position: usize,
    ) -> Result<(), Difference> {
        let asking = &self.machines[name];
        let Some(state) = asking.certain() else {
            entry.outcomes[position] = Some(entry.told(position).unwrap_or_else(|| Ok(Vec::new())));
            return Ok(());
        };
        let waiting = asking.module.effects(state).into_iter();
        let Some(effect) = waiting.into_iter().find(|one| one.id == id && one.kind == COMMAND)
        else {
            // Another leader proposed it, too.
            entry.outcomes[position] = Some(Ok(Vec::new()));
            return Ok(());
        };
        let outcome =
            match target(&effect).filter(|(target, _)| self.machines.contains_key(*target)) {
                None => Err(Rejection::host(HostCode::UnknownMachine)),
                Some((target, _)) if self.machines[target].runs.is_migrating() => {
                    entry.outcomes[position] = Some(Err(Rejection::host(HostCode::Migrating)));
                    return Ok(());
                }
                Some((target, payload)) => match self.hand_over(entry, name, target, payload)? {
                    Some(outcome) => outcome,
                    None => {
                        let told = entry.told(position).unwrap_or_else(|| Ok(Vec::new()));
                        entry.outcomes[position] = Some(told);
                        for name in [name, target] {
                            self.machines.get_mut(name).expect("looked up before").lost = true;
                        }
                        return Ok(());
                    }
                },
            };
        let turn = entry.turn;
        self.advance(entry, name, &[position], |module, state| {
            module.effect_done(state, &turn, id, outcome.clone())
        })
    }

    /// What a machine makes of another one's command; `None` when its state is not certain.
    fn hand_over(
        &mut self,
        entry: &Entry<'_>,
        from: &str,
        to: &str,
        payload: &[u8],
    ) -> Result<Option<Outcome>, Difference> {
        let machine = self.machines.get_mut(to).expect("looked up before");
        let Some(state) = machine.certain() else { return Ok(None) };
        let principal = format!("sys:machine/{from}");
        let request = Request { principal: &principal, ..Request::new(payload) };
        let applied = machine.module.apply(state, &entry.turn, request)?;
        let Transition { state, mut outcomes, events } = applied;
        let way = &mut machine.ways[0];
        way.state = state;
        way.events.extend(events.into_iter().map(emitted));
        Ok(outcomes.pop())
    }
}

/// Whom a command is for, and the command: the length of the name (four bytes, the least first),
/// the name, and the rest.
fn target(effect: &Effect) -> Option<(&str, &[u8])> {
    let (length, rest) = effect.payload.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (name, payload) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(name).ok()?, payload))
}
