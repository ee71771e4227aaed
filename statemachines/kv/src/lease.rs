//! Leases: time to live of keys, measured in log time.
//!
//! A lease ends when the machine is woken at or after its deadline and the deadline still
//! stands. The deadline moves with each keep-alive, and with the term: a new leader cannot have
//! heard the keep-alives that were on their way to the old one, so the first time the machine
//! deals with leases in a term, every lease has its full time from then on. A lease may live
//! longer than asked for, never shorter (ETCD.md A.5).

use pgraft_sdk::{prefix_end, scan_keys, storage};

use crate::limits::{
    LEASE_KEYS_PER_REVISION_MAX, LEASE_TTL_SECONDS_MAX, LEASE_TTL_SECONDS_MIN,
    LEASES_ENDED_PER_WAKE_MAX,
};
use crate::model::Reply;
use crate::rejection::Rejection;
use crate::rows::{
    LEASE, LEASE_TIME, Lease, TERM_START, TermStart, lease_keys, lease_row, lease_time_row, number,
    of_lease_time_row,
};
use crate::store::{Store, compaction, current};

/// Whether keys can be attached to it.
pub(crate) fn is_alive(id: i64) -> bool {
    alive(id).is_some()
}

fn alive(id: i64) -> Option<Lease> {
    let lease = Lease::decode(&storage::get(&lease_row(id))?);
    (!lease.ending).then_some(lease)
}

/// Asks to be woken when the next lease may end or compaction goes on.
pub(crate) fn set_timer() {
    let lease = first_deadline().map(|(time_ms, _)| time_ms);
    let compaction = compaction().and_then(|compaction| compaction.resume_at_ms);
    let next = lease.into_iter().chain(compaction).min();
    // 0 means "never" to the host; a deadline at 0 is as good at 1.
    storage::wake_at(next.map_or(0, |time_ms| time_ms.max(1)));
}

fn first_deadline() -> Option<(u64, i64)> {
    let page = storage::scan(&[LEASE_TIME], &[LEASE_TIME + 1], 1, 1 << 10, false, true);
    let mut rows = pgraft_sdk::Rows::new(&page.rows);
    rows.next().map(|(row, _)| of_lease_time_row(row))
}

fn term_start() -> Option<TermStart> {
    storage::get(TERM_START).map(|row| TermStart::decode(&row))
}

/// When a lease really ends.
fn deadline_ms(lease: &Lease, start: Option<TermStart>) -> u64 {
    let full_from_start = start.map_or(0, |start| start.time_ms + ttl_ms(lease.ttl_seconds));
    lease.deadline_ms.max(full_from_start)
}

fn ttl_ms(seconds: i64) -> u64 {
    assert!((LEASE_TTL_SECONDS_MIN..=LEASE_TTL_SECONDS_MAX).contains(&seconds), "ttl {seconds}");
    seconds as u64 * 1000
}

fn write(id: i64, lease: &Lease) {
    storage::put(&lease_row(id), &lease.encode());
    storage::put(&lease_time_row(lease.deadline_ms, id), &[]);
}

fn remove_time(id: i64, lease: &Lease) {
    let had = storage::delete(&lease_time_row(lease.deadline_ms, id));
    assert!(had, "lease {id} stands in the order of deadlines");
}

impl Store<'_> {
    /// The start of the present term, noted when it is the first time that leases care.
    fn enter_term(&self) -> TermStart {
        let term = self.context.term;
        match term_start() {
            Some(start) if start.term >= term => start,
            _ => {
                let start = TermStart { term, time_ms: self.context.time_ms };
                storage::put(TERM_START, &start.encode());
                start
            }
        }
    }

    /// A new lease.
    pub(crate) fn grant(&mut self, wish: i64, ttl: i64) -> Result<Reply, Rejection> {
        if ttl > LEASE_TTL_SECONDS_MAX {
            return Err(Rejection::LeaseTtlTooLarge);
        }
        let ttl_seconds = ttl.max(LEASE_TTL_SECONDS_MIN);
        let id = if wish == 0 { self.free_lease() } else { wish };
        if storage::size_of(&lease_row(id)).is_some() {
            return Err(Rejection::LeaseExists);
        }
        self.enter_term();
        let deadline_ms = self.context.time_ms + ttl_ms(ttl_seconds);
        write(id, &Lease { ttl_seconds, deadline_ms, ending: false });
        set_timer();
        Ok(Reply::LeaseGrant { revision: self.header(), id, ttl: ttl_seconds })
    }

    /// A positive id that nobody has, drawn from the entry's seed.
    fn free_lease(&self) -> i64 {
        let mut number = self.context.seed;
        loop {
            // splitmix64: the seed is the same for all commands of an entry.
            number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut id = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let id = ((id ^ (id >> 31)) & i64::MAX as u64) as i64;
            if id != 0 && storage::size_of(&lease_row(id)).is_none() {
                return id;
            }
        }
    }

    /// Ends a lease because somebody wants it.
    pub(crate) fn revoke(&mut self, id: i64) -> Result<Reply, Rejection> {
        let lease = alive(id).ok_or(Rejection::LeaseNotFound)?;
        self.enter_term();
        self.end(id, lease);
        set_timer();
        Ok(Reply::LeaseRevoke { revision: self.header() })
    }

    /// Gives a lease its full time again. One whose time is over ends here and now: it would be
    /// wrong to revive what others may already have seen end.
    pub(crate) fn keep_alive(&mut self, id: i64) -> Reply {
        let Some(lease) = alive(id) else {
            return Reply::LeaseKeepAlive { revision: self.header(), id, ttl: 0 };
        };
        let start = self.enter_term();
        let over = deadline_ms(&lease, Some(start)) <= self.context.time_ms;
        let ttl = if over {
            self.end(id, lease);
            0
        } else {
            remove_time(id, &lease);
            let deadline_ms = self.context.time_ms + ttl_ms(lease.ttl_seconds);
            write(id, &Lease { deadline_ms, ..lease });
            lease.ttl_seconds
        };
        set_timer();
        Reply::LeaseKeepAlive { revision: self.header(), id, ttl }
    }

    /// Ends the leases whose time is over; each in a revision of its own.
    pub(crate) fn end_due(&mut self) {
        if storage::count(&[LEASE_TIME], &[LEASE_TIME + 1], 1) == 0 {
            return;
        }
        let now_ms = self.context.time_ms;
        let start = self.enter_term();
        let end = lease_time_row(now_ms, -1);
        let due: Vec<(u64, i64)> = scan_keys(&[LEASE_TIME], &pgraft_sdk::successor(&end))
            .map(|(row, _)| of_lease_time_row(&row))
            .take(LEASES_ENDED_PER_WAKE_MAX)
            .collect();
        let mut deleted = 0;
        for (time_ms, id) in due {
            let row = storage::get(&lease_row(id)).expect("a deadline belongs to a lease");
            let lease = Lease::decode(&row);
            assert_eq!(lease.deadline_ms, time_ms, "lease {id} stands at its deadline");
            let deadline_ms = deadline_ms(&lease, Some(start));
            if lease.ending || deadline_ms <= now_ms {
                deleted += self.end(id, lease);
                self.finish();
            } else {
                remove_time(id, &lease);
                write(id, &Lease { deadline_ms, ..lease });
            }
            // The work of one entry is bounded; the other leases are still due at the next one.
            if deleted >= LEASE_KEYS_PER_REVISION_MAX {
                break;
            }
        }
    }

    /// Deletes the keys of a lease in sorted order, and the lease; when there are very many
    /// keys, the rest is left for the next wake-up, and nobody can use the lease until then.
    /// Returns how many keys it deleted.
    fn end(&mut self, id: i64, lease: Lease) -> usize {
        let prefix = lease_keys(id);
        let keys: Vec<Vec<u8>> = scan_keys(&prefix, &prefix_end(&prefix))
            .map(|(row, _)| row[prefix.len()..].to_vec())
            .take(LEASE_KEYS_PER_REVISION_MAX)
            .collect();
        for key in &keys {
            let state = current(key).expect("a key with a lease exists");
            assert_eq!(state.lease, id, "the key is attached to this lease");
            self.delete(key, state);
        }
        remove_time(id, &lease);
        if keys.len() < LEASE_KEYS_PER_REVISION_MAX {
            storage::delete(&lease_row(id));
        } else {
            let deadline_ms = self.context.time_ms;
            write(id, &Lease { deadline_ms, ending: true, ..lease });
        }
        keys.len()
    }

    /// How long a lease has left.
    pub(crate) fn time_to_live(&mut self, id: i64, with_keys: bool) -> Reply {
        let revision = self.header();
        let Some(lease) = alive(id) else {
            let (ttl, granted_ttl, keys) = (-1, 0, Vec::new());
            return Reply::LeaseTimeToLive { revision, id, ttl, granted_ttl, keys };
        };
        let left_ms = deadline_ms(&lease, term_start()).saturating_sub(self.context.time_ms);
        let keys = if with_keys {
            let prefix = lease_keys(id);
            let rows = scan_keys(&prefix, &prefix_end(&prefix));
            rows.map(|(row, _)| row[prefix.len()..].to_vec()).collect()
        } else {
            Vec::new()
        };
        let (ttl, granted_ttl) = ((left_ms / 1000) as i64, lease.ttl_seconds);
        Reply::LeaseTimeToLive { revision, id, ttl, granted_ttl, keys }
    }

    /// All leases.
    pub(crate) fn leases(&mut self) -> Reply {
        let rows = scan_keys(&[LEASE], &[LEASE + 1]);
        let ids = rows.map(|(row, _)| number(&row[1..]) as i64).filter(|id| is_alive(*id));
        Reply::Leases { revision: self.header(), ids: ids.collect() }
    }
}
