//! Writing requests: put, delete, and transactions of them.
//!
//! A transaction goes through three steps. What can be said without the store is checked first
//! ([`validate`]); then the compares choose the branches, all against the state before it, and
//! what the chosen operations need is checked; only then is anything written. What fails after
//! that (a delete of too many keys) is undone by the SDK like any rejected command.

use std::collections::BTreeSet;

use crate::limits::{KEY_BYTES_MAX, TXN_OPS_MAX, VALUE_BYTES_MAX};
use crate::model::{
    Compare, CompareResult, CompareTarget, DeleteRange, Op, Put, RangeRequest, Reply, Txn, TxnReply,
};
use crate::range::{Found, Span, change_value, existing, pairs_of, walk};
use crate::rejection::Rejection;
use crate::rows::Current;
use crate::store::{Store, current, current_pair, readable};

/// What a put must be in itself.
pub(crate) fn check_put(put: &Put) -> Result<(), Rejection> {
    check_key(&put.key, &[])?;
    if put.value.len() > VALUE_BYTES_MAX {
        return Err(Rejection::ValueTooLarge(put.value.len()));
    }
    if put.ignore_value && !put.value.is_empty() {
        return Err(Rejection::ValueProvided);
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(Rejection::LeaseProvided);
    }
    Ok(())
}

/// What the ends of a range must be in themselves. An end may be one byte longer than a key:
/// the successor of the longest key.
pub(crate) fn check_key(key: &[u8], range_end: &[u8]) -> Result<(), Rejection> {
    if key.is_empty() {
        return Err(Rejection::EmptyKey);
    }
    let longest = key.len().max(range_end.len().saturating_sub(1));
    if longest > KEY_BYTES_MAX {
        return Err(Rejection::KeyTooLarge(longest));
    }
    Ok(())
}

/// What a transaction must be in itself, in all its branches.
pub(crate) fn validate(txn: &Txn) -> Result<(), Rejection> {
    validate_ops(txn, TXN_OPS_MAX)?;
    written_keys(&txn.success)?;
    written_keys(&txn.failure)?;
    Ok(())
}

fn validate_ops(txn: &Txn, ops_max: usize) -> Result<(), Rejection> {
    let ops = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    let left = ops_max.checked_sub(ops).ok_or(Rejection::TooManyOps)?;
    for compare in &txn.compare {
        check_key(&compare.key, &compare.range_end)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            Op::Range(range) => check_key(&range.key, &range.range_end)?,
            Op::Put(put) => check_put(put)?,
            Op::DeleteRange(delete) => check_key(&delete.key, &delete.range_end)?,
            Op::Txn(txn) => validate_ops(txn, left)?,
        }
    }
    Ok(())
}

/// The keys that a list of operations may put, and the spans it may delete. A key may be put
/// once and not also be deleted; only the two branches of one transaction may put the same key.
fn written_keys(ops: &[Op]) -> Result<(BTreeSet<&[u8]>, Vec<Span>), Rejection> {
    let mut deleted: Vec<Span> = ops
        .iter()
        .filter_map(|op| match op {
            Op::DeleteRange(delete) => Some(Span::new(&delete.key, &delete.range_end)),
            _ => None,
        })
        .collect();
    let mut put = BTreeSet::new();
    for op in ops {
        let Op::Txn(txn) = op else { continue };
        let (put_then, deleted_then) = written_keys(&txn.success)?;
        let (put_else, deleted_else) = written_keys(&txn.failure)?;
        let either: BTreeSet<&[u8]> = put_then.union(&put_else).copied().collect();
        for key in either {
            put_once(&mut put, &deleted, key)?;
        }
        deleted.extend(deleted_then);
        deleted.extend(deleted_else);
    }
    for op in ops {
        if let Op::Put(one) = op {
            put_once(&mut put, &deleted, &one.key)?;
        }
    }
    Ok((put, deleted))
}

fn put_once<'a>(
    put: &mut BTreeSet<&'a [u8]>,
    deleted: &[Span],
    key: &'a [u8],
) -> Result<(), Rejection> {
    if !put.insert(key) || deleted.iter().any(|span| span.contains(key)) {
        return Err(Rejection::DuplicateKey);
    }
    Ok(())
}

/// The branches that the compares chose.
struct Path<'t> {
    succeeded: bool,
    ops: &'t [Op],
    /// Of the nested transactions in `ops`, in their order.
    nested: Vec<Path<'t>>,
}

impl Store<'_> {
    /// Writes one key.
    pub(crate) fn put_request(&mut self, put: &Put) -> Result<Reply, Rejection> {
        let old = current(&put.key);
        check_needs(put, old)?;
        Ok(self.do_put(put, old))
    }

    /// Deletes a key or a range.
    pub(crate) fn delete_request(&mut self, delete: &DeleteRange) -> Result<Reply, Rejection> {
        let span = Span::new(&delete.key, &delete.range_end);
        let found = match &span {
            Span::One(key) => {
                let state = current(key).filter(Current::exists);
                state.map(|state| Found { key: key.clone(), state }).into_iter().collect()
            }
            Span::Many(..) => existing(&span),
        };
        self.admit(found.iter().map(|found| &found.key[..]))?;
        let prev_kvs = if delete.prev_kv { pairs_of(&found) } else { Vec::new() };
        for Found { key, state } in &found {
            self.delete(key, *state);
        }
        let deleted = found.len() as i64;
        Ok(Reply::DeleteRange { revision: self.header(), deleted, prev_kvs })
    }

    /// Carries out a transaction that was [`validate`]d.
    pub(crate) fn txn_request(&mut self, txn: &Txn) -> Result<TxnReply, Rejection> {
        let path = choose(txn);
        self.check_path(&path)?;
        self.run_path(&path)
    }

    fn check_path(&mut self, path: &Path<'_>) -> Result<(), Rejection> {
        for op in path.ops {
            match op {
                Op::Range(RangeRequest { revision, .. }) => {
                    // Earlier operations may raise the revision, but a read cannot ask for that.
                    readable(*revision, self.revision_before())?;
                }
                Op::Put(put) => check_needs(put, current(&put.key))?,
                Op::DeleteRange(_) | Op::Txn(_) => {}
            }
        }
        path.nested.iter().try_for_each(|nested| self.check_path(nested))
    }

    fn run_path(&mut self, path: &Path<'_>) -> Result<TxnReply, Rejection> {
        let mut nested = path.nested.iter();
        let mut responses = Vec::with_capacity(path.ops.len());
        for op in path.ops {
            responses.push(match op {
                Op::Range(range) => Reply::Range(self.range(range)?),
                Op::Put(put) => self.do_put(put, current(&put.key)),
                Op::DeleteRange(delete) => self.delete_request(delete)?,
                Op::Txn(_) => {
                    let path = nested.next().expect("each nested transaction has its path");
                    Reply::Txn(self.run_path(path)?)
                }
            });
        }
        Ok(TxnReply { revision: self.header(), succeeded: path.succeeded, responses })
    }

    fn do_put(&mut self, put: &Put, old: Option<Current>) -> Reply {
        let existing = old.filter(Current::exists);
        let prev_kv = existing.filter(|_| put.prev_kv).map(current_pair);
        let lease = match existing {
            Some(existing) if put.ignore_lease => existing.lease,
            _ => put.lease,
        };
        match existing {
            Some(existing) if put.ignore_value => {
                self.put(&put.key, &change_value(existing.change), lease, old);
            }
            _ => self.put(&put.key, &put.value, lease, old),
        }
        Reply::Put { revision: self.header(), prev_kv }
    }
}

/// What a put needs of the store.
fn check_needs(put: &Put, old: Option<Current>) -> Result<(), Rejection> {
    if put.lease != 0 && !crate::lease::is_alive(put.lease) {
        return Err(Rejection::LeaseNotFound);
    }
    let exists = old.is_some_and(|old| old.exists());
    if (put.ignore_value || put.ignore_lease) && !exists {
        return Err(Rejection::KeyNotFound);
    }
    Ok(())
}

fn choose(txn: &Txn) -> Path<'_> {
    let succeeded = txn.compare.iter().all(holds);
    let ops = if succeeded { &txn.success } else { &txn.failure };
    let nested = ops
        .iter()
        .filter_map(|op| match op {
            Op::Txn(txn) => Some(choose(txn)),
            _ => None,
        })
        .collect();
    Path { succeeded, ops, nested }
}

fn holds(compare: &Compare) -> bool {
    let mut any = false;
    let mut all = true;
    let mut look = |state: Current| {
        any = true;
        all = all && holds_for(compare, Some(state));
    };
    match Span::new(&compare.key, &compare.range_end) {
        Span::One(key) => current(&key).filter(Current::exists).into_iter().for_each(&mut look),
        span @ Span::Many(..) => walk(&span, u64::MAX, |_, state| look(state)),
    }
    if any { all } else { holds_for(compare, None) }
}

/// A missing key compares as zero everywhere, and never in its value.
fn holds_for(compare: &Compare, state: Option<Current>) -> bool {
    let number = |of: fn(&Current) -> i64| state.as_ref().map_or(0, of);
    let order = match &compare.target {
        CompareTarget::Version(given) => number(|state| state.version as i64).cmp(given),
        CompareTarget::Create(given) => number(|state| state.create as i64).cmp(given),
        CompareTarget::Mod(given) => number(|state| state.change.main as i64).cmp(given),
        CompareTarget::Lease(given) => number(|state| state.lease).cmp(given),
        CompareTarget::Value(given) => match state {
            None => return false,
            Some(state) => change_value(state.change).as_slice().cmp(given),
        },
    };
    match compare.result {
        CompareResult::Equal => order.is_eq(),
        CompareResult::Greater => order.is_gt(),
        CompareResult::Less => order.is_lt(),
        CompareResult::NotEqual => order.is_ne(),
    }
}
