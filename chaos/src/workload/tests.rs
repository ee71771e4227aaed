//! Tests of the workloads on the machines' own modules: what is asked is understood, what is told
//! is true, keys are what they claim to be, and no workload is idle.

mod arena;

use std::collections::{BTreeMap, BTreeSet};

use arena::{Arena, Planted, Record, contradiction, seed};

use super::*;
use crate::seed::Seed;

const ALL: [Name; 8] = [
    Name::Register,
    Name::HotKey,
    Name::Transactions,
    Name::Leases,
    Name::Append,
    Name::Bank,
    Name::Watch,
    Name::Members,
];

fn records(name: Name, seed: Seed, count: usize) -> Vec<Record> {
    Arena::new(Planted::Nothing).run(&mut *name.workload(), seed, count, false)
}

fn says_of(records: &[Record], count: usize) -> Vec<String> {
    let line = |record: &Record| format!("{} -> {}", record.operation.says, record.told.says);
    records.iter().take(count).map(line).collect()
}

fn refusals(records: &[Record]) -> BTreeSet<u32> {
    let code = |record: &Record| match &record.reply {
        Some(Reply::Rejected { code, .. }) => Some(*code),
        _ => None,
    };
    records.iter().filter_map(code).collect()
}

fn with_facts(records: &[Record], wanted: impl Fn(&Fact) -> bool) -> usize {
    let told = |record: &&Record| record.told.facts.iter().any(&wanted);
    records.iter().filter(told).count()
}

#[test]
fn what_is_told_is_true_whatever_ends_unknown() {
    let seed = seed();
    for name in ALL {
        let records = records(name, seed, 1500);
        assert_eq!(contradiction(&records), None, "{name:?}");
        let said = records.iter().filter(|record| matches!(record.end, End::Ok { .. }));
        assert!(said.clone().all(|record| !record.told.says.is_empty()), "{name:?}");
        let silent = records.iter().filter(|record| !matches!(record.end, End::Ok { .. }));
        assert!(silent.clone().all(|record| record.told == Told::default()), "{name:?}");
        assert!(said.count() > 1000 && silent.count() > 50);
    }
}

/// Canary: a machine that loses writes is noticed by the facts alone.
#[test]
fn canary_lost_writes_contradict_what_is_told() {
    for name in [Name::Register, Name::HotKey, Name::Transactions, Name::Append, Name::Bank] {
        let mut arena = Arena::new(Planted::LostWrites);
        let records = arena.run(&mut *name.workload(), Seed::new(1), 1500, true);
        assert!(contradiction(&records).is_some(), "{name:?}");
    }
}

#[test]
fn operations_of_different_keys_are_independent() {
    let seed = seed();
    for name in ALL {
        let records = records(name, seed, 1200);
        let mut parts: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
        for record in records.iter().filter(|record| record.operation.call != Call::StaleQuery) {
            if let Some(key) = &record.operation.key {
                parts.entry(key).or_default().push(record);
            }
        }
        let keyless = matches!(name, Name::Transactions | Name::Append | Name::Members);
        assert_eq!(parts.is_empty(), keyless, "{name:?}");
        for (key, part) in parts {
            let differs = Arena::new(Planted::Nothing).replay(&part);
            assert_eq!(differs, None, "{name:?}, {key}: it depends on other keys");
        }
    }
}

/// Canary: what compares revisions does depend on other keys, and the replay sees it.
#[test]
fn canary_revisions_do_not_belong_to_a_key() {
    let records = records(Name::Transactions, Seed::new(3), 800);
    let touches = |record: &&Record| record.operation.says.contains("t/1");
    let part: Vec<&Record> = records.iter().filter(touches).collect();
    assert!(Arena::new(Planted::Nothing).replay(&part).is_some());
}

#[test]
fn only_announced_refusals_happen() {
    let (compacted, future, no_lease) = (110, 111, 112);
    for name in ALL {
        let allowed: &[u32] = match name {
            Name::Transactions => &[compacted, future],
            Name::Leases => &[no_lease],
            _ => &[],
        };
        let found = refusals(&records(name, seed(), 1500));
        assert!(found.iter().all(|code| allowed.contains(code)), "{name:?}: {found:?}");
    }
}

#[test]
fn the_same_seed_asks_the_same() {
    for name in ALL {
        let says = |seed| says_of(&records(name, Seed::new(seed), 200), 200);
        assert_eq!(says(4), says(4));
        assert!(name == Name::Members || says(4) != says(5), "{name:?}");
    }
}

#[test]
fn short_keys_have_few_clients_and_a_short_life() {
    let records = records(Name::Register, seed(), 4000);
    let mut parts: BTreeMap<&str, (BTreeSet<u64>, usize)> = BTreeMap::new();
    for record in &records {
        let key = record.operation.key.as_deref().unwrap();
        let (clients, count) = parts.entry(key).or_default();
        clients.insert(record.client);
        *count += 1;
    }
    let (_, hot) = parts.remove("r/hot").unwrap();
    assert!((250..600).contains(&hot), "{hot} on the hot key");
    assert!(parts.len() > 20, "{} short keys", parts.len());
    for (key, (clients, count)) in parts {
        assert!(clients.len() <= 5 && count <= 200, "{key}: {} clients, {count}", clients.len());
    }
}

#[test]
fn conditions_hold_about_half_of_the_time() {
    for name in [Name::Register, Name::HotKey, Name::Transactions, Name::Append, Name::Bank] {
        let records = records(name, seed(), 2000);
        let skipped = with_facts(&records, |fact| *fact == Fact::Skipped);
        let done = records.iter().filter(|record| {
            let conditional = record.operation.says.starts_with("if ")
                || record.operation.says.starts_with("append")
                || record.operation.says.starts_with("transfer");
            conditional
                && matches!(record.end, End::Ok { .. })
                && !record.told.facts.contains(&Fact::Skipped)
        });
        let done = done.count();
        assert!(done > 50 && skipped > 10, "{name:?}: {done} done, {skipped} skipped");
    }
}

#[test]
fn lists_grow_and_make_room_for_others() {
    let records = records(Name::Append, seed(), 3000);
    let longest =
        records.iter().flat_map(|record| &record.told.facts).filter_map(|fact| match fact {
            Fact::List { elements, .. } => Some(elements.len()),
            _ => None,
        });
    let longest = longest.max().unwrap();
    assert!((90..=110).contains(&longest), "{longest}");
    let names: BTreeSet<&String> = records
        .iter()
        .flat_map(|record| &record.operation.facts)
        .filter_map(|fact| match fact {
            Fact::Append { list, .. } => Some(list),
            _ => None,
        })
        .collect();
    assert!(names.len() > 8, "{names:?}");
}

#[test]
fn the_bank_is_opened_once_and_counted_often() {
    let records = records(Name::Bank, seed(), 1500);
    let opened = records.iter().filter(|record| record.operation.says == "open the accounts");
    let opened = opened.filter(|record| record.reply.is_some()).count();
    assert!((1..10).contains(&opened), "{opened}");
    let counted = with_facts(&records, |fact| matches!(fact, Fact::Balances { .. }));
    assert!(counted > 400, "{counted}");
    let balances =
        records.iter().flat_map(|record| &record.told.facts).filter_map(|fact| match fact {
            Fact::Balances { balances, .. } => Some(balances.clone()),
            _ => None,
        });
    assert!(balances.collect::<BTreeSet<_>>().len() > 100, "money moves");
}

#[test]
fn leases_are_granted_kept_revoked_and_run_out() {
    let records = records(Name::Leases, seed(), 3000);
    let granted = with_facts(&records, |fact| matches!(fact, Fact::LeaseGranted { .. }));
    let kept = with_facts(&records, |f| matches!(f, Fact::LeaseKept { ttl_ms: 1.., .. }));
    let over = with_facts(&records, |f| matches!(f, Fact::LeaseKept { ttl_ms: 0, .. }));
    let revoked = records.iter().filter(|record| record.told.says.starts_with("revoked")).count();
    let gone = with_facts(&records, |fact| matches!(fact, Fact::Got { value: None, .. }));
    let attached = records.iter().filter(|record| record.operation.says.contains(" lease "));
    assert!(
        granted > 100 && kept > 100 && revoked > 20 && gone > 50,
        "{granted} {kept} {revoked} {gone}"
    );
    assert!(over > 0 && attached.count() > 300, "{over}");
}

#[test]
fn followers_are_told_every_change_once() {
    let mut arena = Arena::new(Planted::Nothing);
    let records = arena.run(&mut *Name::Watch.workload(), seed(), 2000, true);
    let mut writes = 0;
    let mut told: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for record in &records {
        let End::Ok { reply: Reply::Accepted(bytes), .. } = &record.end else { continue };
        match pgraft_kv::Reply::decode(bytes).unwrap() {
            pgraft_kv::Reply::History(history) => {
                let seen = told.entry(record.client).or_default();
                seen.extend(history.events.iter().map(|event| format!("{event:?}")));
            }
            pgraft_kv::Reply::DeleteRange { deleted, .. } => writes += deleted as usize,
            _ => writes += 1,
        }
    }
    assert_eq!(told.len(), 3, "half of the clients follow");
    for seen in told.values() {
        let distinct: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "told twice");
        assert!(seen.len() <= writes && seen.len() + 60 > writes, "{} of {writes}", seen.len());
    }
}

#[test]
fn people_can_read_what_happens() {
    let mut arena = Arena::new(Planted::Nothing);
    let mut all = Vec::new();
    for name in ALL {
        let records = arena.run(&mut *name.workload(), Seed::new(9), 40, true);
        all.push(format!("{name:?}"));
        all.extend(says_of(&records, 40));
    }
    let text = all.join("\n");
    for words in [
        "put r/hot ",
        "if value(r/hot) = ",
        " then put r/hot ",
        " else get r/hot -> ",
        "delete r/1 -> ",
        "grant lease 1 for ",
        "condition failed, ",
        "append 1 to a/",
        "transfer ",
        "600 in all",
        "changes of w/* from 1 -> ",
        "members -> 1 voter, 2 voter, 3 voter",
        "get t/* at revision ",
        "stale ",
    ] {
        assert!(text.contains(words), "\"{words}\" in\n{text}");
    }
}

#[test]
fn a_mixture_asks_by_weight_and_gives_answers_to_whom_asked() {
    let weights = [(Name::Register, 6), (Name::Bank, 3), (Name::Members, 1), (Name::Watch, 0)];
    let mut arena = Arena::new(Planted::Nothing);
    let records = arena.run(&mut Mixed::new(&weights), seed(), 2000, false);
    assert_eq!(contradiction(&records), None);
    let of = |name| records.iter().filter(|record| record.operation.workload == name).count();
    assert!((1100..1300).contains(&of(Name::Register)), "{}", of(Name::Register));
    assert!((500..700).contains(&of(Name::Bank)) && of(Name::Members) > 130);
    assert_eq!(of(Name::Watch), 0);
    assert!(with_facts(&records, |fact| matches!(fact, Fact::Balances { .. })) > 100);
}
