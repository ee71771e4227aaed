//! Every encoding comes back; no other bytes are taken, and none panic.

use pgraft_kv::*;

/// Chance of this test.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 0
    }

    fn number(&mut self) -> i64 {
        let shift = self.below(64);
        (self.below(u64::MAX) as i64) >> shift
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(12)).map(|_| self.below(256) as u8).collect()
    }

    fn many<T>(&mut self, mut one: impl FnMut(&mut Chance) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| one(self)).collect()
    }

    fn put(&mut self) -> Put {
        Put {
            key: self.bytes(),
            value: self.bytes(),
            lease: self.number(),
            prev_kv: self.flag(),
            ignore_value: self.flag(),
            ignore_lease: self.flag(),
        }
    }

    fn delete(&mut self) -> DeleteRange {
        DeleteRange { key: self.bytes(), range_end: self.bytes(), prev_kv: self.flag() }
    }

    fn range(&mut self) -> RangeRequest {
        use SortTarget::{Create, Key, Mod, Value, Version};
        let orders = [SortOrder::None, SortOrder::Ascend, SortOrder::Descend];
        RangeRequest {
            key: self.bytes(),
            range_end: self.bytes(),
            limit: self.number(),
            revision: self.number(),
            sort_order: orders[self.below(3) as usize],
            sort_target: [Key, Version, Create, Mod, Value][self.below(5) as usize],
            keys_only: self.flag(),
            count_only: self.flag(),
            min_mod_revision: self.number(),
            max_mod_revision: self.number(),
            min_create_revision: self.number(),
            max_create_revision: self.number(),
        }
    }

    fn compare(&mut self) -> Compare {
        use CompareResult::{Equal, Greater, Less, NotEqual};
        let target = match self.below(5) {
            0 => CompareTarget::Version(self.number()),
            1 => CompareTarget::Create(self.number()),
            2 => CompareTarget::Mod(self.number()),
            3 => CompareTarget::Value(self.bytes()),
            _ => CompareTarget::Lease(self.number()),
        };
        let result = [Equal, Greater, Less, NotEqual][self.below(4) as usize];
        Compare { key: self.bytes(), range_end: self.bytes(), result, target }
    }

    fn txn(&mut self, depth: usize) -> Txn {
        Txn {
            compare: self.many(Chance::compare),
            success: self.many(|chance| chance.op(depth)),
            failure: self.many(|chance| chance.op(depth)),
        }
    }

    fn op(&mut self, depth: usize) -> Op {
        match self.below(4) {
            0 => Op::Range(self.range()),
            1 => Op::DeleteRange(self.delete()),
            2 if depth < 3 => Op::Txn(self.txn(depth + 1)),
            _ => Op::Put(self.put()),
        }
    }

    fn command(&mut self) -> Command {
        let id = self.number();
        match self.below(7) {
            0 => Command::Put(self.put()),
            1 => Command::DeleteRange(self.delete()),
            2 => Command::Txn(self.txn(1)),
            3 => Command::Compact { revision: id },
            4 => Command::LeaseGrant { id, ttl: self.number() },
            5 => Command::LeaseRevoke { id },
            _ => Command::LeaseKeepAlive { id },
        }
    }

    fn query(&mut self) -> Query {
        match self.below(5) {
            0 => Query::Range(self.range()),
            1 => Query::LeaseTimeToLive { id: self.number(), keys: self.flag() },
            2 => Query::Leases,
            3 => Query::Status,
            _ => Query::History(HistoryRequest {
                key: self.bytes(),
                range_end: self.bytes(),
                start_revision: self.number(),
            }),
        }
    }

    fn pair(&mut self) -> KeyValue {
        KeyValue {
            key: self.bytes(),
            create_revision: self.number(),
            mod_revision: self.number(),
            version: self.number(),
            lease: self.number(),
            value: self.bytes(),
        }
    }

    fn event(&mut self) -> Event {
        let kind = if self.flag() { EventKind::Put } else { EventKind::Delete };
        Event { kind, kv: self.pair(), prev_revision: self.number() }
    }

    fn reply(&mut self, depth: usize) -> Reply {
        let revision = self.number();
        match self.below(12) {
            0 => Reply::Put { revision, prev_kv: self.flag().then(|| self.pair()) },
            1 => Reply::DeleteRange {
                revision,
                deleted: self.number(),
                prev_kvs: self.many(Chance::pair),
            },
            2 => Reply::Range(RangeReply {
                revision,
                kvs: self.many(Chance::pair),
                more: self.flag(),
                count: self.number(),
            }),
            3 if depth < 3 => Reply::Txn(TxnReply {
                revision,
                succeeded: self.flag(),
                responses: self.many(|chance| chance.reply(depth + 1)),
            }),
            4 => Reply::Compact { revision },
            5 => Reply::LeaseGrant { revision, id: self.number(), ttl: self.number() },
            6 => Reply::LeaseRevoke { revision },
            7 => Reply::LeaseKeepAlive { revision, id: self.number(), ttl: self.number() },
            8 => Reply::LeaseTimeToLive {
                revision,
                id: self.number(),
                ttl: self.number(),
                granted_ttl: self.number(),
                keys: self.many(Chance::bytes),
            },
            9 => Reply::Leases { revision, ids: self.many(Chance::number) },
            10 => Reply::Status(Status {
                revision,
                compact_revision: self.number(),
                compacting: self.flag(),
                keys: self.below(u64::MAX),
                tombstones: self.below(1000),
                changes: self.below(1000),
                leases: self.below(1000),
            }),
            _ => Reply::History(HistoryReply {
                revision,
                events: self.many(Chance::event),
                next_revision: self.number(),
            }),
        }
    }
}

/// Decodes as everything; a success must encode to the same bytes again.
fn decode_all(bytes: &[u8]) {
    if let Ok(value) = Command::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(value) = Query::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(value) = Reply::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(value) = Event::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
}

#[test]
fn values_come_back_and_mutations_do_not_panic() {
    let seed = 1;
    println!("seed {seed}");
    let mut chance = Chance(seed);
    for _ in 0..2000 {
        let command = chance.command();
        assert_eq!(Command::decode(&command.encode()), Ok(command.clone()));
        let query = chance.query();
        assert_eq!(Query::decode(&query.encode()), Ok(query.clone()));
        let reply = chance.reply(0);
        assert_eq!(Reply::decode(&reply.encode()), Ok(reply.clone()));
        let event = chance.event();
        assert_eq!(Event::decode(&event.encode()), Ok(event.clone()));
        for mut bytes in [command.encode(), query.encode(), reply.encode(), event.encode()] {
            for _ in 0..4 {
                let at = chance.below(bytes.len() as u64) as usize;
                bytes[at] = chance.below(256) as u8;
                decode_all(&bytes);
            }
            bytes.truncate(chance.below(bytes.len() as u64) as usize);
            decode_all(&bytes);
        }
    }
}

#[test]
fn a_list_that_claims_more_than_there_is_allocates_nothing() {
    // Format 1, a transaction with 2^62 compares; a put whose key has 2^62 bytes.
    let huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    assert!(Command::decode(&[&[1, 3][..], &huge].concat()).is_err());
    assert!(Command::decode(&[&[1, 1][..], &huge].concat()).is_err());
}

#[test]
fn nesting_ends_somewhere() {
    let nested = |levels: usize| {
        let mut txn = Txn::default();
        for _ in 1..levels {
            txn = Txn { success: vec![Op::Txn(txn)], ..Txn::default() };
        }
        Command::Txn(txn).encode()
    };
    assert!(Command::decode(&nested(TXN_DEPTH_MAX)).is_ok());
    assert!(Command::decode(&nested(TXN_DEPTH_MAX + 1)).is_err());
    assert!(Command::decode(&nested(5000)).is_err());
}

#[test]
fn codes_are_distinct_and_in_order() {
    let codes: Vec<u32> = Rejection::TABLE.iter().map(|(code, _)| *code).collect();
    assert!(codes.iter().all(|code| *code >= 100), "below 100 are the host's");
    assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
}

#[test]
fn ranges_of_prefixes() {
    assert_eq!(prefix_range(b"a/"), (b"a/".to_vec(), b"a0".to_vec()));
    assert_eq!(prefix_range(b""), (vec![0], vec![0]));
    assert_eq!(prefix_range(b"\xff"), (vec![0xff], vec![0]));
}
