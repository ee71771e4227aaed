//! The store in memory behaves as the interface says of the host's.

use pgraft_sdk::native::Host;
use pgraft_sdk::{
    Command, Context, Error, Machine, Result, Rows, Trigger, effects, events, prefix_end, scan,
    scan_keys, storage, successor,
};

/// Runs the closure that the payload names, inside a machine.
struct Probe;

impl Machine for Probe {
    const NAME: &'static str = "probe";

    fn apply(ctx: &Context, command: &Command) -> Result<Vec<u8>> {
        match &command.payload[..] {
            b"marks" => marks(),
            b"pages" => pages(),
            b"effect" => Ok(effects::request("kind", b"payload").to_le_bytes().to_vec()),
            b"reject" => {
                write_everything();
                Err(Error::new(100, "as asked"))
            }
            b"accept" => {
                write_everything();
                Ok(ctx.time_ms.to_le_bytes().to_vec())
            }
            other => panic!("{other:?}"),
        }
    }

    fn react(_ctx: &Context, what: &Trigger) -> Result<()> {
        if let Trigger::Wake = what {
            write_everything();
        }
        Err(Error::new(101, "reactions can be rejected too"))
    }

    fn query(_ctx: &Context, request: &[u8]) -> Result<Vec<u8>> {
        storage::put(request, b"a query may not do this");
        Ok(Vec::new())
    }
}

fn write_everything() {
    storage::put(b"row", b"1");
    events::emit(b"topic", b"payload");
    effects::request("kind", b"payload");
    storage::wake_at(77);
}

fn marks() -> Result<Vec<u8>> {
    storage::put(b"a", b"0");
    let outer = storage::mark();
    storage::put(b"a", b"1");
    storage::put(b"b", b"1");
    let inner = storage::mark();
    assert!(storage::delete(b"a"));
    assert!(!storage::delete(b"none"));
    storage::rollback_to(inner);
    assert_eq!(storage::get(b"a"), Some(b"1".to_vec()));
    let inner = storage::mark();
    assert_eq!(storage::delete_range(b"a", b""), 2);
    storage::release(inner);
    assert_eq!(storage::size_of(b"a"), None);
    storage::rollback_to(outer);
    assert_eq!(storage::get(b"a"), Some(b"0".to_vec()));
    assert_eq!(storage::get(b"b"), None);
    Ok(Vec::new())
}

fn pages() -> Result<Vec<u8>> {
    let key = |number: u32| number.to_be_bytes();
    for number in 0..2500 {
        storage::put(&key(number), &[7; 100]);
    }
    // One page holds neither all rows nor all bytes; the iterator goes on.
    let rows: Vec<_> = scan(&key(100), &key(2400)).collect();
    assert_eq!(rows.len(), 2300);
    assert!(rows.iter().zip(100..).all(|((k, v), number)| *k == key(number) && v.len() == 100));
    assert_eq!(scan_keys(b"", b"").filter(|(_, value)| value.is_empty()).count(), 2500);
    assert_eq!(scan(&key(9), &key(9)).count() + scan(&key(9), &key(3)).count(), 0);

    let page = storage::scan(b"", b"", 3, 1 << 20, true, false);
    let last: Vec<_> = Rows::new(&page.rows).map(|(k, _)| k.to_vec()).collect();
    assert_eq!(last, [key(2499), key(2498), key(2497)]);
    assert!(page.more && page.count == 3);
    let tight = storage::scan(b"", b"", 10, 1, false, false);
    assert_eq!((tight.count, tight.more), (1, true), "a page holds a row, however large");
    assert_eq!(storage::count(b"", b"", 9), 9);
    assert_eq!(storage::get_many(&[key(1).to_vec(), b"none".to_vec()])[1], None);
    Ok(Vec::new())
}

#[test]
fn marks_nest() {
    let mut host: Host<Probe> = Host::new();
    host.apply(0, b"marks").expect("the probe is content");
    assert_eq!(host.rows().len(), 1);
}

#[test]
fn scans_go_page_by_page() {
    Host::<Probe>::new().apply(0, b"pages").expect("the probe is content");
}

#[test]
fn a_rejected_command_leaves_nothing() {
    let mut host: Host<Probe> = Host::new();
    let outcomes = host.apply_batch(5, &[b"accept", b"reject", b"accept"]);
    assert!(outcomes[0].is_ok() && outcomes[1].is_err() && outcomes[2].is_ok());
    assert_eq!((host.take_events().len(), host.effects().len()), (2, 2));
    let mut host: Host<Probe> = Host::new();
    assert!(host.apply(5, b"reject").is_err());
    assert!(host.rows().is_empty() && host.take_events().is_empty());
    assert!(host.effects().is_empty() && host.next_wake().is_none());
}

#[test]
fn a_rejected_reaction_leaves_nothing() {
    let mut host: Host<Probe> = Host::new();
    host.apply(5, b"accept").expect("the probe is content");
    assert_eq!(host.next_wake(), Some(77));
    assert_eq!(host.wake(76), Ok(false));
    let rows = host.rows().clone();
    assert!(host.wake(77).is_err());
    assert_eq!((host.rows(), host.next_wake()), (&rows, None));
}

#[test]
fn time_never_goes_back() {
    let mut host: Host<Probe> = Host::new();
    host.apply(5, b"accept").expect("the probe is content");
    assert_eq!(host.apply(3, b"accept"), Ok(5_u64.to_le_bytes().to_vec()));
}

#[test]
fn an_answered_effect_waits_no_more() {
    let mut host: Host<Probe> = Host::new();
    let id = host.apply(0, b"effect").expect("the probe is content");
    let id = u64::from_le_bytes(id.try_into().expect("an id has 8 bytes"));
    assert_eq!(host.effects()[0].id, id);
    assert!(host.effect_done(0, id, Ok(Vec::new())).is_err(), "the probe rejects reactions");
    assert!(host.effects().is_empty());
}

/// Canary: a write in a query must be seen.
#[test]
#[should_panic(expected = "a query or check wrote something")]
fn canary_a_query_that_writes() {
    let _ = Host::<Probe>::new().query(b"x");
}

#[test]
fn ends_of_ranges() {
    assert_eq!(successor(b"a"), b"a\0");
    assert_eq!(prefix_end(b"a"), b"b");
    assert_eq!(prefix_end(b"a\xff\xff"), b"b");
    assert_eq!(prefix_end(b"\xff"), b"");
    assert_eq!(prefix_end(b""), b"");
}
