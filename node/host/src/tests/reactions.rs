//! Wake times, effects and configuration changes: each is told to its machine once, and a machine
//! that cannot cope is left as it was.

use pgraft_replica::{ConfChange, ConfChangeKind};

use super::probe::ask;
use super::rig::{Node, code, conf_entry, machines, node as node_id, to};
use crate::{Command, HostCode, Outcome, Rejection, limits};

fn wake(machine: &str) -> Command {
    Command::Wake { machine: machine.to_owned() }
}

fn done(machine: &str, id: u64, outcome: Outcome) -> Command {
    Command::EffectDone { machine: machine.to_owned(), id, outcome }
}

#[test]
fn a_machine_is_woken_when_it_is_time_and_not_before() {
    let mut node = Node::new(&machines());
    assert_eq!(node.applier.next_wake(), None);
    node.command(to("probe", ask(b'w', 500))).unwrap();
    assert_eq!(node.applier.next_wake(), Some(("probe".to_owned(), 500)));
    // Proposed too early, by a leader whose clock is ahead: nothing happens.
    assert_eq!(node.entry(499, &[wake("probe")]).outcomes, [Ok(Vec::new())]);
    assert!(node.applier.next_wake().is_some());
    let mut node = node.restarted();
    assert_eq!(node.applier.next_wake(), Some(("probe".to_owned(), 500)));
    // The probe traps when woken: a no-op, and it is not woken for ever.
    let before = node.digests()[4];
    let woken = node.entry(500, &[wake("probe")]);
    assert_eq!(code(&woken.outcomes[0]), Some(HostCode::Trap));
    assert_eq!(node.applier.next_wake(), None);
    assert_eq!(node.digests()[4], before);
    assert_eq!(node.entry(501, &[wake("probe")]).outcomes, [Ok(Vec::new())]);
}

#[test]
fn a_later_command_moves_or_clears_the_time() {
    let mut node = Node::new(&machines());
    node.command(to("probe", ask(b'w', 500))).unwrap();
    node.command(to("probe", ask(b'w', 700))).unwrap();
    assert_eq!(node.applier.next_wake(), Some(("probe".to_owned(), 700)));
    node.command(to("probe", ask(b'w', 0))).unwrap();
    assert_eq!(node.applier.next_wake(), None);
    assert_eq!(node.restarted().applier.next_wake(), None);
}

#[test]
fn what_a_trapped_command_asked_for_is_not_asked() {
    let mut node = Node::new(&machines());
    let batch = [to("probe", ask(b'w', 9)), to("probe", ask(b'e', 0)), to("probe", ask(b't', 0))];
    let applied = node.entry(0, &batch);
    assert_eq!(code(&applied.outcomes[2]), Some(HostCode::Trap));
    // The two others were run again by themselves.
    assert_eq!(node.applier.outbox().len(), 1);
    assert!(node.applier.next_wake().is_some());
    assert_eq!(node.applier.outbox()[0].id, 1, "the undone request used no number");
}

#[test]
fn an_effect_waits_until_its_outcome_is_in_the_log() {
    let mut node = Node::new(&machines());
    node.command(to("probe", ask(b'e', 7))).unwrap();
    node.command(to("probe", ask(b'e', 8))).unwrap();
    let mut node = node.restarted();
    let waiting = node.applier.outbox();
    let ids: Vec<u64> = waiting.iter().map(|effect| effect.id).collect();
    assert_eq!(ids, [1, 2]);
    assert_eq!((waiting[0].machine, &waiting[0].machine_name[..]), (4, "probe"));
    assert_eq!((&waiting[0].kind[..], &waiting[0].payload[..]), ("command", &ask(b'e', 7)[..]));
    let before = node.digests()[4];
    assert_eq!(node.command(done("probe", 1, Ok(Vec::new()))), Ok(Vec::new()));
    assert_ne!(node.digests()[4], before, "the machine took note");
    // Performed by two leaders: the second outcome finds nothing to answer.
    assert_eq!(node.command(done("probe", 1, Ok(Vec::new()))), Ok(Vec::new()));
    assert_eq!(node.applier.outbox().len(), 1);
}

#[test]
fn a_failed_reaction_leaves_the_machine_as_it_was() {
    let mut node = Node::new(&machines());
    node.command(to("probe", ask(b'e', 7))).unwrap();
    let before = node.digests()[4];
    let failed = Err(Rejection { code: 100, message: "did not work".to_owned() });
    let outcome = node.command(done("probe", 1, failed));
    assert_eq!(outcome.unwrap_err().code, 150);
    assert_eq!(node.digests()[4], before);
    assert_eq!(node.applier.outbox(), [], "and it is not told for ever");
}

#[test]
fn the_outbox_is_bounded() {
    let mut node = Node::new(&machines());
    let one = to("probe", ask(b'e', 0));
    for _ in 0..limits::OUTBOX_EFFECTS_MAX / 64 {
        let applied = node.entry(0, &vec![one.clone(); 64]);
        assert!(applied.outcomes.iter().all(Result::is_ok));
    }
    assert_eq!(code(&node.command(one)), Some(HostCode::Quota));
    assert_eq!(node.applier.outbox().len(), limits::OUTBOX_EFFECTS_MAX);
}

#[test]
fn a_configuration_change_answers_the_membership_machine() {
    let mut node = Node::new(&machines());
    let add = pgraft_membership::Command::Add {
        id: 0,
        name: "n2".to_owned(),
        address: "h2:5001".to_owned(),
    };
    node.command(to("membership", add.encode())).unwrap();
    let waiting = node.applier.outbox();
    assert_eq!((waiting.len(), &waiting[0].kind[..]), (1, "conf-change"));
    let mut context = waiting[0].machine.to_le_bytes().to_vec();
    context.extend_from_slice(&waiting[0].id.to_le_bytes());
    let changes = vec![(ConfChangeKind::AddLearner, node_id(2))];
    let change = ConfChange { changes, context: context.into() };
    let at = node.applier.meta().applied.next();
    let applied = node.apply(&[conf_entry(at, change)]).unwrap().remove(0);
    assert_eq!(applied.outcomes, [Ok(Vec::new())]);
    assert_eq!(applied.conf.unwrap().learners, [node_id(2)].into());
    assert!(applied.events.iter().any(|event| event.machine == "membership"));
    let node = node.restarted();
    assert_eq!(node.applier.meta().conf.learners, [node_id(2)].into());
    assert_eq!(node.applier.outbox(), []);
}

#[test]
fn a_change_that_does_not_apply_leaves_the_configuration() {
    let mut node = Node::new(&machines());
    let changes = vec![(ConfChangeKind::Remove, node_id(1))];
    let change = ConfChange { changes, context: bytes::Bytes::from_static(b"of nobody") };
    let at = node.applier.meta().applied.next();
    let applied = node.apply(&[conf_entry(at, change)]).unwrap().remove(0);
    assert_eq!(code(&applied.outcomes[0]), Some(HostCode::ConfRefused));
    assert_eq!(applied.conf, None);
    assert_eq!(node.applier.meta().conf.voters, [node_id(1)].into());
    assert_eq!(node.applier.meta().applied, at);
}
