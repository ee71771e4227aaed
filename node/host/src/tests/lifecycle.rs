//! Machines that come, change and go through the log.

use pgraft_engine::Options;
use sha2::{Digest, Sha256};

use super::probe::{ask, later};
use super::rig::{Compiled, Node, code, entry, in_session, machines, to};
use crate::limits::{self, LimitName, Limits, STAGE_BYTES_MAX};
use crate::{
    Change, Command, Fault, HostCode, MACHINES, Outcome, Querier, Registration, copy, rows,
};

/// The probe's first installed machine.
const ID: u32 = 5;

fn change(change: &Change) -> Command {
    to(MACHINES, change.encode())
}

fn sha256(component: &[u8]) -> [u8; 32] {
    Sha256::digest(component).into()
}

/// The parts of a module, for the log.
fn parts(component: &[u8], bytes: usize) -> Vec<Command> {
    let (sha256, total) = (sha256(component), component.len() as u64);
    let part = |(bytes, at): (&[u8], usize)| {
        change(&Change::Stage { sha256, total, offset: at as u64, bytes: bytes.to_vec() })
    };
    component.chunks(bytes).zip((0..).step_by(bytes)).map(part).collect()
}

fn load(node: &Node, component: &[u8]) {
    let compiled = Compiled::new("staged", component.to_vec(), Options::default());
    node.applier.machines.load(&compiled.code()).unwrap();
}

/// Stages a module and loads it, as a node does.
fn stage(node: &mut Node, component: &[u8]) -> [u8; 32] {
    let commands = parts(component, STAGE_BYTES_MAX);
    for outcome in node.entry(0, &commands).outcomes {
        outcome.unwrap();
    }
    load(node, component);
    sha256(component)
}

fn install(machine: &str, sha256: [u8; 32]) -> Command {
    let (config, limits) = (Vec::new(), Vec::new());
    change(&Change::Install { machine: machine.to_owned(), sha256, config, limits })
}

fn upgrade(machine: &str, expect: [u8; 32], sha256: [u8; 32], keep_copy: bool) -> Command {
    let (machine, limits) = (machine.to_owned(), Vec::new());
    change(&Change::Upgrade { machine, sha256, expect, any_version: false, keep_copy, limits })
}

fn migrate(machine: &str, step: u32) -> Command {
    change(&Change::Migrate { machine: machine.to_owned(), step })
}

fn roll_back(machine: &str, expect: [u8; 32], restore: bool) -> Command {
    change(&Change::Rollback { machine: machine.to_owned(), expect, restore })
}

/// A node with the machine `mine`, which runs version 1 of the probe and has some rows.
fn with_machine() -> (Node, [u8; 32]) {
    let mut node = Node::new(&machines());
    let first = stage(&mut node, &later(1, 1, 1, None));
    node.command(install("mine", first)).unwrap();
    write_rows(&mut node, 5);
    (node, first)
}

/// Rows whose keys are 1 to `count` bytes long.
fn write_rows(node: &mut Node, count: u32) {
    for n in 1..=count {
        node.command(to("mine", ask(b'k', n))).unwrap();
    }
}

fn listed(querier: &mut Querier, machine: &str) -> Registration {
    let mut all = querier.machines().unwrap();
    all.retain(|listed| listed.name == machine);
    all.pop().expect("the machine is listed").row
}

fn says(outcome: &Outcome, wanted: HostCode, words: &str) {
    assert_eq!(code(outcome), Some(wanted), "{outcome:?}");
    let message = &outcome.as_ref().unwrap_err().message;
    assert!(message.contains(words), "{message}");
}

#[test]
fn a_machine_is_installed_from_its_parts_and_answers() {
    let (mut node, first) = with_machine();
    let row = listed(&mut node.querier(), "mine");
    assert_eq!((row.id, row.sha256, row.schema), (ID, first, 1));
    assert_eq!((row.limits, &*row.changed_by), (Limits::INSTALLED, "test"));
    let listed = node.querier().machines().unwrap();
    let mine = listed.iter().find(|listed| listed.name == "mine").unwrap();
    assert_eq!((mine.rows, mine.manifest.as_ref().unwrap().version.as_str()), (5, "1.0.0"));
    let answer = node.querier().query("mine", "", &ask(b'?', 0)).unwrap();
    assert!(answer.outcome.is_ok(), "{answer:?}");
    // A restart finds it again.
    let before = node.digests();
    let mut node = node.restarted();
    assert_eq!(node.digests(), before);
    node.command(to("mine", ask(b'k', 9))).unwrap();
}

#[test]
fn two_machines_of_one_module_do_not_see_each_others_rows() {
    let (mut node, first) = with_machine();
    node.command(install("other", first)).unwrap();
    let of = |node: &mut Node, id| node.applier.store().size(id);
    assert_eq!(of(&mut node, ID + 1), 0);
    node.command(to("other", ask(b'k', 3))).unwrap();
    assert!(of(&mut node, ID + 1) > 0);
    let remove = Change::Remove { machine: "other".to_owned(), expect: first };
    let before = of(&mut node, ID);
    node.command(change(&remove)).unwrap();
    assert_eq!((of(&mut node, ID), of(&mut node, ID + 1)), (before, 0));
    says(&node.command(to("other", ask(b'k', 3))), HostCode::UnknownMachine, "no machine");
}

#[test]
fn parts_come_in_order_and_only_the_right_bytes_are_taken() {
    let mut node = Node::new(&machines());
    let component = later(7, 1, 1, None);
    let parts = parts(&component, 700);
    says(&node.command(parts[1].clone()), HostCode::Conflict, "a part at 700; 0 of");
    let id = sha256(&component);
    says(&node.command(install("mine", id)), HostCode::ModuleMissing, "not all there");
    for (number, part) in parts.iter().enumerate() {
        let received = node.command(part.clone()).unwrap();
        let expected = component.len().min(700 * (number + 1)) as u64;
        assert_eq!(received, expected.to_le_bytes());
        // Said twice is said once.
        assert_eq!(node.command(part.clone()).unwrap(), expected.to_le_bytes());
    }
    assert_eq!(node.applier.component(&id).unwrap().unwrap(), component);
    let (total, bytes) = (4, vec![0; 4]);
    let wrong = Change::Stage { sha256: [7; 32], total, offset: 0, bytes };
    says(&node.command(change(&wrong)), HostCode::Conflict, "do not have the hash");
    assert_eq!(node.applier.component(&[7; 32]).unwrap(), None);
    let (total, bytes) = (limits::MODULE_BYTES_MAX + 1, vec![0; 4]);
    let large = Change::Stage { sha256: [7; 32], total, offset: 0, bytes };
    says(&node.command(change(&large)), HostCode::Quota, "16777217 bytes; 1 to 16777216");
}

#[test]
fn staged_bytes_that_nobody_runs_are_forgotten() {
    let (mut node, first) = with_machine();
    let part = |tag: u8, total: u64| {
        let (sha256, bytes) = ([tag; 32], vec![tag; 8]);
        change(&Change::Stage { sha256, total, offset: 0, bytes })
    };
    let has = |node: &Node, tag: u8| node.applier.rows.blobs.has_begun(&[tag; 32]);
    for tag in 1..=4 {
        node.entry(u64::from(tag), &[part(tag, limits::MODULE_BYTES_MAX)]);
    }
    assert!((1..=4).all(|tag| has(&node, tag)), "64 MiB may wait");
    node.entry(5, &[part(5, 100)]);
    assert!(!has(&node, 1) && has(&node, 2) && has(&node, 5), "the oldest made room");
    node.entry(6 + limits::STAGED_MS_MAX, &[part(6, 100)]);
    assert!((1..=5).all(|tag| !has(&node, tag)) && has(&node, 6));
    assert!(node.applier.component(&first).unwrap().is_some(), "what runs stays");
}

#[test]
fn a_module_that_is_not_loaded_is_a_fault_that_says_which_and_where() {
    let mut node = Node::new(&machines());
    let component = later(7, 1, 1, None);
    let staged: Vec<Command> = parts(&component, STAGE_BYTES_MAX);
    let at = node.applier.meta().applied;
    let batch = [
        entry(at.next(), 0, &staged),
        entry(at.next().next(), 0, &[install("mine", sha256(&component))]),
    ];
    match node.apply(&batch) {
        Err(Fault::MissingModule { machine, sha256: which, index }) => {
            assert_eq!((&*machine, which, index), ("mine", sha256(&component), at.next().next()));
        }
        other => panic!("{other:?}"),
    }
    // Nothing of the batch was applied; what comes before is, and then the bytes are there.
    node.apply(&batch[..1]).unwrap();
    assert_eq!(node.applier.component(&sha256(&component)).unwrap().unwrap(), component);
    load(&node, &component);
    assert!(node.apply(&batch[1..]).unwrap()[0].outcomes[0].is_ok());
}

#[test]
fn a_module_that_describes_itself_badly_is_refused() {
    let mut node = Node::new(&machines());
    let module = stage(&mut node, &later(7, 0, 1, None));
    says(&node.command(install("mine", module)), HostCode::BadModule, "from schema 1 to 0");
}

#[test]
fn names_are_checked() {
    let (mut node, first) = with_machine();
    for name in ["", "Mine", "1x", "a b", "machines", "ä"] {
        says(&node.command(install(name, first)), HostCode::Conflict, "is no name for a machine");
    }
    says(&node.command(install("mine", first)), HostCode::Conflict, "already, which runs module");
    says(&node.command(install("kv", first)), HostCode::Conflict, "already");
    let unknown = Change::DropCopy { machine: "nobody".to_owned() };
    says(&node.command(change(&unknown)), HostCode::UnknownMachine, "no machine \"nobody\"");
    let remove = Change::Remove { machine: "kv".to_owned(), expect: [0; 32] };
    says(&node.command(change(&remove)), HostCode::Conflict, "not 0000");
}

#[test]
fn an_upgrade_without_migration_keeps_the_rows_and_can_be_rolled_back() {
    let (mut node, first) = with_machine();
    let second = stage(&mut node, &later(2, 1, 1, None));
    let rows = node.applier.store().digest(ID);
    says(&node.command(upgrade("mine", second, second, false)), HostCode::Conflict, "runs module");
    node.command(upgrade("mine", first, second, false)).unwrap();
    assert_eq!(node.applier.store().digest(ID), rows);
    says(&node.command(upgrade("mine", first, second, false)), HostCode::Conflict, "runs module");
    // Down only by a rollback, or by force.
    says(
        &node.command(upgrade("mine", second, first, false)),
        HostCode::Conflict,
        "1.0.0 is not above 2.0.0",
    );
    node.command(to("mine", ask(b'k', 7))).unwrap();
    node.command(roll_back("mine", second, false)).unwrap();
    let row = listed(&mut node.querier(), "mine");
    assert_eq!((row.sha256, row.previous.unwrap().sha256), (first, second));
    assert_ne!(node.applier.store().digest(ID), rows, "what was written since stays");
    node.command(roll_back("mine", first, false)).unwrap();
    says(&node.command(roll_back("mine", second, true)), HostCode::Conflict, "no copy");
}

#[test]
fn a_migration_in_one_entry_happens_there_or_not_at_all() {
    let (mut node, first) = with_machine();
    let (rows, before) = (node.applier.store().digest(ID), listed(&mut node.querier(), "mine"));
    let traps = stage(&mut node, &later(2, 2, 1, Some(0)));
    assert_eq!(code(&node.command(upgrade("mine", first, traps, false))), Some(HostCode::Trap));
    assert_eq!(node.applier.store().digest(ID), rows);
    assert_eq!(listed(&mut node.querier(), "mine"), before);
    node.command(to("mine", ask(b'k', 6))).unwrap();
    let good = stage(&mut node, &later(2, 2, 1, None));
    node.command(upgrade("mine", first, good, false)).unwrap();
    let row = listed(&mut node.querier(), "mine");
    assert_eq!((row.sha256, row.schema, row.has_copy), (good, 2, false));
    assert_eq!(node.applier.store().size(copy::keyspace(ID)), 0);
    // The first module cannot read what the second one wrote.
    let back = node.command(roll_back("mine", good, false));
    says(&back, HostCode::Conflict, "schema 2; the module reads 1 to 1");
    let newer = stage(&mut node, &later(3, 9, 1, None));
    node.command(upgrade("mine", good, newer, false)).unwrap();
}

#[test]
fn a_kept_copy_brings_the_rows_back() {
    let (mut node, first) = with_machine();
    let rows = node.applier.store().digest(ID);
    let second = stage(&mut node, &later(2, 2, 1, None));
    node.command(upgrade("mine", first, second, true)).unwrap();
    write_rows(&mut node, 9);
    assert_ne!(node.applier.store().digest(ID), rows);
    let mut node = node.restarted();
    node.command(roll_back("mine", second, true)).unwrap();
    assert_eq!(node.applier.store().digest(ID), rows);
    let row = listed(&mut node.querier(), "mine");
    assert_eq!((row.sha256, row.schema, row.has_copy), (first, 1, false));
    assert_eq!(node.applier.store().size(copy::keyspace(ID)), 0);
    // Whoever does not want to go back says so, and no further row is set aside.
    node.command(upgrade("mine", first, second, true)).unwrap();
    node.command(change(&Change::DropCopy { machine: "mine".to_owned() })).unwrap();
    write_rows(&mut node, 9);
    assert_eq!(node.applier.store().size(copy::keyspace(ID)), 0);
}

#[test]
fn a_migration_in_steps_refuses_commands_until_it_is_done() {
    let (mut node, first) = with_machine();
    let second = stage(&mut node, &later(2, 2, 3, None));
    node.command(to("mine", ask(b'w', 5))).unwrap();
    node.command(upgrade("mine", first, second, false)).unwrap();
    assert_eq!(node.applier.next_migration(), Some(("mine".to_owned(), 1)));
    assert_eq!(node.applier.next_wake(), None, "nobody is woken in between");
    says(&node.command(to("mine", ask(b'k', 1))), HostCode::Migrating, "being migrated");
    let answer = node.querier().query("mine", "", &ask(b'?', 0)).unwrap();
    says(&answer.outcome, HostCode::Migrating, "being migrated");
    let mut node = node.restarted();
    node.command(migrate("mine", 2)).unwrap();
    assert_eq!(node.applier.next_migration(), Some(("mine".to_owned(), 1)), "not its turn");
    node.command(migrate("mine", 1)).unwrap();
    node.command(migrate("mine", 1)).unwrap();
    assert_eq!(node.applier.next_migration(), Some(("mine".to_owned(), 2)));
    node.command(migrate("mine", 2)).unwrap();
    let row = listed(&mut node.querier(), "mine");
    assert_eq!((row.sha256, row.schema, row.migration), (second, 2, None));
    assert_eq!(node.applier.next_wake(), Some(("mine".to_owned(), 5)));
    assert_eq!(node.applier.store().size(copy::keyspace(ID)), 0);
}

#[test]
fn a_later_step_that_fails_brings_the_old_machine_back() {
    let (mut node, first) = with_machine();
    let rows = node.applier.store().digest(ID);
    let second = stage(&mut node, &later(2, 2, 3, Some(2)));
    node.command(upgrade("mine", first, second, false)).unwrap();
    node.command(migrate("mine", 1)).unwrap();
    assert_ne!(node.applier.store().digest(ID), rows);
    node.command(migrate("mine", 2)).unwrap();
    let row = listed(&mut node.querier(), "mine");
    assert_eq!((row.sha256, row.schema, row.migration), (first, 1, None));
    assert!(row.failure.contains("step 2: 1 the module trapped"), "{}", row.failure);
    assert_eq!(node.applier.store().digest(ID), rows);
    node.command(to("mine", ask(b'k', 1))).unwrap();
    // So does an administrator who has seen enough.
    let third = stage(&mut node, &later(3, 2, 3, None));
    node.command(upgrade("mine", first, third, false)).unwrap();
    says(&node.command(roll_back("mine", first, false)), HostCode::Conflict, "not");
    node.command(roll_back("mine", third, false)).unwrap();
    assert_eq!(listed(&mut node.querier(), "mine").failure, "rolled back");
    assert_eq!(node.applier.store().digest(ID), rows);
}

#[test]
fn limits_are_set_within_bounds_and_hold() {
    let (mut node, _) = with_machine();
    let limit = |name, value| {
        change(&Change::Limit { machine: "mine".to_owned(), limits: vec![(name, value)] })
    };
    let most = (64 << 20) + 1;
    let refused = node.command(limit(LimitName::MemoryBytes, most));
    says(&refused, HostCode::Quota, "memory_bytes is 67108865, at most 67108864");
    node.command(limit(LimitName::TotalBytes, 10)).unwrap();
    assert_eq!(code(&node.command(to("mine", ask(b'k', 9)))), Some(HostCode::Quota));
    node.command(limit(LimitName::TotalBytes, 1 << 20)).unwrap();
    node.command(to("mine", ask(b'k', 9))).unwrap();
}

#[test]
fn a_machine_that_used_up_its_share_waits_and_the_others_go_on() {
    let (mut node, _) = with_machine();
    let limits = vec![(LimitName::ShareFuel, 100_000)];
    node.command(change(&Change::Limit { machine: "mine".to_owned(), limits })).unwrap();
    let mut taken = 0;
    while node.entry(1_000, &[to("mine", ask(b'k', 1))]).outcomes[0].is_ok() {
        taken += 1;
        assert!(taken < 1_000, "it never ends");
    }
    assert!(taken > 2, "two seconds of its share are more than {taken} commands");
    let refused = node.entry(1_000, &[to("mine", ask(b'k', 1)), to("probe", ask(b'k', 1))]);
    says(&refused.outcomes[0], HostCode::Throttled, "its share");
    assert!(refused.outcomes[1].is_ok());
    let mut node = node.restarted();
    assert_eq!(
        code(&node.entry(1_000, &[to("mine", ask(b'k', 1))]).outcomes[0]),
        Some(HostCode::Throttled)
    );
    // Nor is it woken before its share lets it run.
    let wake = || Command::Wake { machine: "mine".to_owned() };
    let (key, time) = (rows::key(rows::WAKE, &[&ID.to_be_bytes()]), 1_000_u64.to_le_bytes());
    node.applier.store().begin().unwrap();
    node.applier.store().put(limits::HOST, &key, &time).unwrap();
    node.applier.store().commit().unwrap();
    let mut node = node.restarted();
    assert_eq!(node.entry(1_000, &[wake()]).outcomes, [Ok(Vec::new())]);
    assert!(node.applier.next_wake().is_some(), "it was woken");
    assert_eq!(code(&node.entry(4_000, &[wake()]).outcomes[0]), Some(HostCode::Trap));
    assert!(node.entry(4_000, &[to("mine", ask(b'k', 1))]).outcomes[0].is_ok());
}

#[test]
fn a_change_within_an_entry_holds_for_what_comes_after_it() {
    let (mut node, first) = with_machine();
    let remove = change(&Change::Remove { machine: "mine".to_owned(), expect: first });
    let ask = || to("mine", ask(b'k', 1));
    let applied = node.entry(0, &[ask(), remove, ask(), install("mine", first), ask()]);
    let codes: Vec<_> = applied.outcomes.iter().map(code).collect();
    assert_eq!(codes, [None, None, Some(HostCode::UnknownMachine), None, None]);
    assert_eq!(node.querier().machines().unwrap().len(), 5);
}

#[test]
fn a_change_is_applied_once_in_a_session() {
    let (mut node, first) = with_machine();
    let session = node.command(Command::OpenSession).unwrap();
    let session = u64::from_le_bytes(session.try_into().unwrap());
    let change = Change::Install {
        machine: "twice".to_owned(),
        sha256: first,
        config: Vec::new(),
        limits: Vec::new(),
    };
    let said = || in_session(MACHINES, change.encode(), session, 1, 0);
    let applied = node.entry(0, &[said(), said()]);
    assert!(applied.outcomes.iter().all(Result::is_ok), "{applied:?}");
    assert!(node.command(said()).is_ok());
}

#[test]
fn events_are_kept_and_the_oldest_forgotten() {
    let (mut node, _) = with_machine();
    let limit = |kept| {
        let limits = vec![(LimitName::EventsKept, kept)];
        change(&Change::Limit { machine: "mine".to_owned(), limits })
    };
    node.command(limit(10)).unwrap();
    node.command(to("mine", ask(b'x', 25))).unwrap();
    let numbers = |node: &Node, since| -> Vec<u64> {
        let events = node.querier().events("mine", since, 100).unwrap().unwrap();
        events.iter().map(|event| event.number).collect()
    };
    let kept = numbers(&node, 0);
    assert_eq!(kept.len(), 10, "{kept:?}");
    let last = *kept.last().unwrap();
    assert_eq!(numbers(&node, last), [last]);
    node.command(limit(3)).unwrap();
    assert_eq!(numbers(&node, 0), kept[7..]);
    assert_eq!(node.querier().events("nobody", 0, 1).unwrap(), None);
    let mut node = node.restarted();
    node.command(to("mine", ask(b'x', 1))).unwrap();
    assert_eq!(numbers(&node, 0), [last - 1, last, last + 1]);
}

#[test]
fn a_machine_reaches_another_one_once_and_hears_of_it() {
    let mut node = Node::new(&machines());
    // The probe asks for a command of the machine "probe": four bytes of length and the name.
    let request = [&[b'e'][..], &1_u32.to_le_bytes()].concat();
    node.command(to("probe", request)).unwrap();
    let effect = node.applier.outbox().remove(0);
    assert_eq!(effect.kind, "command");
    let perform = || Command::Perform { machine: "probe".to_owned(), id: effect.id };
    // Its payload names no machine: the asking one hears that, and rejects the news (150).
    let outcome = node.command(perform());
    assert_eq!(outcome.unwrap_err().code, 150);
    assert!(node.applier.outbox().is_empty());
    assert_eq!(node.command(perform()), Ok(Vec::new()), "once is enough");
}

#[test]
fn a_kept_copy_brings_back_when_the_machine_is_to_be_woken() {
    let (mut node, first) = with_machine();
    node.command(to("mine", ask(b'w', 5_000))).unwrap();
    let second = stage(&mut node, &later(2, 2, 1, None));
    node.command(upgrade("mine", first, second, true)).unwrap();
    node.command(to("mine", ask(b'w', 0))).unwrap();
    assert_eq!(node.applier.next_wake(), None);
    let mut node = node.restarted();
    node.command(roll_back("mine", second, true)).unwrap();
    assert_eq!(node.applier.next_wake(), Some(("mine".to_owned(), 5_000)));
}

#[test]
fn who_was_refused_because_of_a_migration_stays_refused() {
    let (mut node, first) = with_machine();
    let session = node.command(Command::OpenSession).unwrap();
    let session = u64::from_le_bytes(session.try_into().unwrap());
    let second = stage(&mut node, &later(2, 2, 2, None));
    node.command(upgrade("mine", first, second, false)).unwrap();
    let command = || in_session("mine", ask(b'k', 7), session, 1, 0);
    says(&node.command(command()), HostCode::Migrating, "being migrated");
    node.command(migrate("mine", 1)).unwrap();
    let rows = node.applier.store().digest(ID);
    // The gateway told its client so; this is the copy of the command that it sent before.
    says(&node.command(command()), HostCode::Migrating, "being migrated");
    assert_eq!(node.applier.store().digest(ID), rows);
    node.command(in_session("mine", ask(b'k', 7), session, 2, 0)).unwrap();
    assert_ne!(node.applier.store().digest(ID), rows);
}

#[test]
fn sessions_before_and_behind_a_change_are_two() {
    let (mut node, first) = with_machine();
    let commands = [Command::OpenSession, roll_back("mine", first, false), Command::OpenSession];
    let outcomes = node.entry(0, &commands).outcomes;
    assert_eq!(code(&outcomes[1]), Some(HostCode::Conflict));
    assert_ne!(outcomes[0].as_ref().unwrap(), outcomes[2].as_ref().unwrap());
}
