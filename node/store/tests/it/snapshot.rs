//! Snapshots: the stream carries a state over, and nothing else gets in.

use bytes::Bytes;
use pgraft_replica::{Index, SnapshotMeta};
use pgraft_store::{Disk, ReadTables, SinkError, SnapshotSink, SnapshotSource, StateStore, limits};
use tempfile::TempDir;

use crate::world::{Chance, meta};

/// A state with small rows, empty rows, and one larger than a chunk.
fn filled(disk: &Disk) -> StateStore {
    let mut store = StateStore::open(disk, 0).unwrap();
    store.begin().unwrap();
    for key in 0..2_000_u32 {
        store.put(key % 3, &key.to_be_bytes(), &vec![key as u8; (key % 700) as usize]).unwrap();
    }
    store.put(1, b"", b"").unwrap();
    store.put(1, b"large", &vec![3; 700_000]).unwrap();
    store.put(77, b"emptied", b"").unwrap();
    store.delete(77, b"emptied").unwrap();
    store.set_meta(meta(42, 6));
    store.commit().unwrap();
    store
}

fn chunks(disk: &Disk) -> (SnapshotMeta, Vec<Bytes>) {
    let mut source = SnapshotSource::open(disk, 0).unwrap();
    let mut chunks = Vec::new();
    while let Some(chunk) = source.next_chunk().unwrap() {
        assert!(chunk.len() <= limits::CHUNK_BYTES_MAX);
        chunks.push(chunk);
    }
    assert!(source.next_chunk().unwrap().is_none());
    (source.meta(), chunks)
}

struct World {
    _dir: TempDir,
    disk: Disk,
    store: StateStore,
    meta: SnapshotMeta,
    chunks: Vec<Bytes>,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path());
    let store = filled(&disk);
    let (meta, chunks) = chunks(&disk);
    World { _dir: dir, disk, store, meta, chunks }
}

fn send(world: &World, chunks: &[Bytes]) -> Result<(), SinkError> {
    let mut sink = SnapshotSink::create(&world.disk, 1).unwrap();
    for chunk in chunks {
        sink.write(chunk)?;
    }
    sink.finish(&world.meta)
}

fn absent(world: &World) -> bool {
    let names = std::fs::read_dir(&world.disk.dir).unwrap();
    names
        .map(|name| name.unwrap().file_name())
        .all(|name| !name.to_str().unwrap().starts_with("state-1"))
}

#[test]
fn snapshot_carries_everything_over() {
    let world = world();
    assert!(world.chunks.len() > 4, "{} chunks", world.chunks.len());
    assert_eq!(world.meta, meta(42, 6).snapshot());
    send(&world, &world.chunks).unwrap();
    let copy = StateStore::open(&world.disk, 1).unwrap();
    assert_eq!(copy.meta(), world.store.meta());
    copy.verify_digests().unwrap();
    for machine in [0, 1, 2, 77] {
        assert_eq!(copy.digest(machine), world.store.digest(machine));
        assert_eq!(copy.size(machine), world.store.size(machine));
    }
    assert_eq!(copy.size_of(1, b"large").unwrap(), Some(700_000));
}

#[test]
fn stream_may_be_cut_anywhere() {
    let world = world();
    let mut chance = Chance::from_seed(11);
    let stream = world.chunks.concat();
    let mut sink = SnapshotSink::create(&world.disk, 1).unwrap();
    let mut rest = &stream[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at((1 + chance.below(50_000) as usize).min(rest.len()));
        sink.write(now).unwrap();
        rest = later;
    }
    sink.finish(&world.meta).unwrap();
    StateStore::open(&world.disk, 1).unwrap().verify_digests().unwrap();
}

#[test]
fn source_is_pinned_while_the_writer_goes_on() {
    let mut world = world();
    let mut source = SnapshotSource::open(&world.disk, 0).unwrap();
    let mut sink = SnapshotSink::create(&world.disk, 1).unwrap();
    sink.write(&source.next_chunk().unwrap().unwrap()).unwrap();
    world.store.begin().unwrap();
    world.store.delete_range(0, b"", b"").unwrap();
    world.store.set_meta(meta(43, 6));
    world.store.commit().unwrap();
    while let Some(chunk) = source.next_chunk().unwrap() {
        sink.write(&chunk).unwrap();
    }
    sink.finish(&world.meta).unwrap();
    assert_eq!(StateStore::open(&world.disk, 1).unwrap().meta().applied, Index(42));
}

#[test]
fn every_flipped_byte_is_refused() {
    let world = world();
    let stream = world.chunks.concat();
    let mut chance = Chance::from_seed(5);
    for round in 0..60 {
        // The first and last bytes are headers and trailer; the rest is chance.
        let place = match round {
            0..20 => round,
            20..40 => stream.len() - 1 - (round - 20) * 3,
            _ => chance.below(stream.len() as u64) as usize,
        };
        let mut bad = stream.clone();
        bad[place] ^= 1 << chance.below(8);
        let outcome = send(&world, &[bad.into()]);
        assert!(matches!(outcome, Err(SinkError::Malformed(_))), "byte {place}: {outcome:?}");
        assert!(absent(&world), "what was refused leaves no file");
    }
}

#[test]
fn lost_repeated_and_swapped_chunks_are_refused() {
    let world = world();
    let good = &world.chunks;
    let mut swapped = good.clone();
    swapped.swap(1, 2);
    let without = |place: usize| [&good[..place], &good[place + 1..]].concat();
    let repeated = [&good[..2], &good[1..]].concat();
    let last = good.len() - 1;
    let bad = [swapped, without(0), without(1), without(last - 1), without(last), repeated];
    for (case, chunks) in bad.iter().enumerate() {
        let outcome = send(&world, chunks);
        assert!(matches!(outcome, Err(SinkError::Malformed(_))), "case {case}: {outcome:?}");
    }
    let more = [good.clone(), vec![Bytes::from_static(b"more")]].concat();
    let outcome = send(&world, &more);
    assert!(matches!(outcome, Err(SinkError::Malformed(_))), "{outcome:?}");
    assert!(absent(&world));
}

#[test]
fn every_cut_end_is_refused() {
    let world = world();
    let stream = world.chunks.concat();
    let mut chance = Chance::from_seed(6);
    for _ in 0..20 {
        let cut = chance.below(stream.len() as u64) as usize;
        let outcome = send(&world, &[Bytes::copy_from_slice(&stream[..cut])]);
        assert!(matches!(outcome, Err(SinkError::Malformed(_))), "cut at {cut}: {outcome:?}");
    }
}

/// A chunk as anybody can make it: right checksum, any content.
fn forged(kind: u8, number: u64, body: &[u8]) -> Bytes {
    let mut chunk = b"PGSN".to_vec();
    chunk.extend_from_slice(&[kind, 1, 0, 0]);
    chunk.extend_from_slice(&number.to_le_bytes());
    chunk.extend_from_slice(&(body.len() as u32).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&chunk), body);
    chunk.extend_from_slice(&crc.to_le_bytes());
    chunk.extend_from_slice(body);
    chunk.into()
}

fn row(machine: u32, key: &[u8], value_bytes: u32, value: &[u8]) -> Vec<u8> {
    let mut row = machine.to_le_bytes().to_vec();
    row.extend_from_slice(&(key.len() as u32).to_le_bytes());
    row.extend_from_slice(&value_bytes.to_le_bytes());
    row.extend_from_slice(key);
    row.extend_from_slice(value);
    row
}

#[test]
fn forged_lengths_and_rows_are_refused() {
    let world = world();
    let header = &world.chunks[0];
    let bodies: [(&str, Vec<u8>); 5] = [
        ("value of 4 GiB", row(1, b"k", u32::MAX, b"")),
        ("key of 4 GiB", [&1_u32.to_le_bytes()[..], &[255; 8]].concat()),
        ("row cut short", row(1, b"k", 100, b"only this")),
        ("same key twice", [row(1, b"k", 1, b"a"), row(1, b"k", 1, b"b")].concat()),
        ("machines out of order", [row(2, b"k", 0, b""), row(1, b"k", 0, b"")].concat()),
    ];
    let trailer = forged(3, 2, &0_u32.to_le_bytes());
    for (case, body) in bodies {
        let outcome = send(&world, &[header.clone(), forged(2, 1, &body), trailer.clone()]);
        assert!(matches!(outcome, Err(SinkError::Malformed(_))), "{case}: {outcome:?}");
    }
    let mut long = forged(1, 0, b"").to_vec();
    long[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    let outcome = send(&world, &[long.into()]);
    assert!(matches!(outcome, Err(SinkError::Malformed(_))), "chunk of 4 GiB: {outcome:?}");
    let unannounced = forged(2, 1, &row(1, b"k", 1, b"a"));
    let outcome = send(&world, &[header.clone(), unannounced, trailer]);
    assert!(matches!(outcome, Err(SinkError::Mismatch(_))), "{outcome:?}");
    assert!(absent(&world));
}

#[test]
fn snapshot_of_another_state_is_refused() {
    let mut world = world();
    world.meta.index = Index(41);
    let chunks = world.chunks.clone();
    assert!(matches!(send(&world, &chunks), Err(SinkError::Mismatch(_))));
    assert!(absent(&world));
}
