//! Limits that a golden script would be too long for.

use pgraft_kv::*;
use pgraft_sdk::Outcome;
use pgraft_sdk::native::Host;

fn puts(from: usize, count: usize) -> Vec<Op> {
    (from..from + count).map(|number| Op::Put(Put::new(format!("k{number:05}"), "v"))).collect()
}

fn success(ops: Vec<Op>) -> Txn {
    Txn { success: ops, ..Txn::default() }
}

fn apply(txn: Txn) -> Outcome {
    Host::<Kv>::new().apply(0, &Command::Txn(txn).encode())
}

fn refused(txn: Txn) -> bool {
    let code = apply(txn).err().map(|error| error.code);
    assert!(code.is_none() || code == Some(Rejection::TooManyOps.code()), "{code:?}");
    code.is_some()
}

#[test]
fn a_transaction_has_at_most_128_operations() {
    assert!(!refused(success(puts(0, TXN_OPS_MAX))));
    assert!(refused(success(puts(0, TXN_OPS_MAX + 1))));
    assert!(refused(Txn { failure: puts(0, TXN_OPS_MAX + 1), ..Txn::default() }));
    let compare = Compare {
        key: b"a".to_vec(),
        range_end: Vec::new(),
        result: CompareResult::Equal,
        target: CompareTarget::Version(0),
    };
    let compares = |count| Txn { compare: vec![compare.clone(); count], ..Txn::default() };
    assert!(!refused(compares(TXN_OPS_MAX)));
    assert!(refused(compares(TXN_OPS_MAX + 1)));
    // The largest of the three lists counts, not their sum.
    let (success, failure) = (puts(0, TXN_OPS_MAX), puts(0, TXN_OPS_MAX));
    assert!(!refused(Txn { success, failure, ..compares(TXN_OPS_MAX) }));
}

#[test]
fn nested_ones_share_what_is_left() {
    let nested = |outer: usize, inner: usize| {
        let mut ops = puts(0, outer - 1);
        ops.push(Op::Txn(success(puts(1000, inner))));
        success(ops)
    };
    assert!(!refused(nested(64, 64)));
    assert!(refused(nested(64, 65)));
    // Two nested ones each have all that is left.
    let twice = |inner: usize| {
        success(vec![Op::Txn(success(puts(0, inner))), Op::Txn(success(puts(1000, inner)))])
    };
    assert!(!refused(twice(126)));
    assert!(refused(twice(127)));
}

#[test]
fn the_deepest_transaction_is_carried_out() {
    let mut txn = success(puts(0, 1));
    for level in 1..TXN_DEPTH_MAX {
        let mut ops = puts(level, 1);
        ops.push(Op::Txn(txn));
        txn = success(ops);
    }
    let reply = apply(txn).expect("it is not too deep");
    let mut reply = Reply::decode(&reply).expect("the reply nests as deep as the command");
    for _ in 1..TXN_DEPTH_MAX {
        let Reply::Txn(TxnReply { mut responses, .. }) = reply else { panic!("{reply:?}") };
        reply = responses.pop().expect("a nested one is the last operation");
    }
}

#[test]
fn keys_of_more_than_3_mib_are_not_changed_together() {
    let mut host: Host<Kv> = Host::new();
    for number in 0..3100 {
        let key = [format!("{number:04}").into_bytes(), vec![b'k'; KEY_BYTES_MAX - 4]].concat();
        host.apply(0, &Command::Put(Put::new(key, "")).encode()).expect("the key is not too long");
    }
    let all = Command::DeleteRange(DeleteRange::prefix(b"")).encode();
    let error = host.apply(0, &all).expect_err("3100 keys of 1 KiB are more than 3 MiB");
    assert_eq!(error.code, Rejection::TooManyChanges.code());
    let most = Command::DeleteRange(DeleteRange::prefix(b"0")).encode();
    host.apply(0, &most).expect("1000 keys of 1 KiB are less");
}

/// Every history answer fits into what the host hands over, however long the keys are.
#[test]
fn history_is_answered_in_parts() {
    let mut host: Host<Kv> = Host::new();
    for number in 0..12 {
        let put = Put::new(format!("k{number}"), vec![7; 200_000]);
        host.apply(0, &Command::Put(put).encode()).expect("the value is not too long");
    }
    let (mut from, mut answers) = (1, 0);
    while from <= 13 {
        let (key, range_end) = prefix_range(b"k");
        let ask = Query::History(HistoryRequest { key, range_end, start_revision: from }).encode();
        let answer = host.query(&ask).expect("nothing is compacted");
        assert!(answer.len() < 2 << 20, "{} bytes", answer.len());
        match Reply::decode(&answer) {
            Ok(Reply::History(history)) => from = history.next_revision,
            other => panic!("{other:?}"),
        }
        answers += 1;
    }
    assert!(answers > 1, "one answer was enough");
}
