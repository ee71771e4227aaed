//! Later versions of this machine, as tests of live upgrades need them; not part of what ships.
//!
//! Feature `next`: schema 2, in which each change row begins with the number of its schema.
//! Feature `torn`: schema 3, whose migration is rehearsed well and fails on the way in earnest, as
//! one does that meets rows which were written after the rehearsal.

use pgraft_sdk::{Context, Error, Progress, Result, scan, storage};

use crate::rows::CHANGE;

/// The schema of this version.
pub(crate) const SCHEMA: u32 = if cfg!(feature = "torn") { 3 } else { 2 };
/// Index of the first step, and the change row to go on with; only while a migration is under way.
const CURSOR: &[u8] = b"z";
/// A migration takes at least so many steps, however little there is.
const STEPS_MIN: u32 = 4;
/// Rows of the first step; each further one takes twice as many.
const PAGE_ROWS: usize = 16;
/// The step at which `torn` fails.
const TEARS_AT: u32 = 2;
/// Rejection: that step.
const TORN: u32 = 199;

/// Moves a page of change rows to the new schema.
///
/// # Errors
/// [`TORN`].
///
/// # Panics
/// `torn` instead of the error, when the migration began at an odd index.
pub(crate) fn migrate(ctx: &Context, from: u32, step: u32) -> Result<Progress> {
    let (began, start) = match storage::get(CURSOR) {
        Some(row) => {
            let (index, start) = row.split_first_chunk::<8>().expect(crate::rows::OURS);
            (u64::from_be_bytes(*index), start.to_vec())
        }
        None => (ctx.index, vec![CHANGE]),
    };
    if cfg!(feature = "torn") {
        storage::wake_at(0);
        // A rehearsal takes all its steps at one index.
        if step >= TEARS_AT && began != ctx.index {
            assert!(began.is_multiple_of(2), "torn at step {step}");
            return Err(Error::new(TORN, "torn"));
        }
    }
    let page = PAGE_ROWS << step.min(10);
    let rows: Vec<(Vec<u8>, Vec<u8>)> = scan(&start, &[CHANGE + 1]).take(page).collect();
    for (key, row) in &rows {
        let old = if from == 1 { &row[..] } else { &row[1..] };
        storage::put(key, &marked(old));
    }
    if rows.len() < page && step + 1 >= STEPS_MIN {
        storage::delete(CURSOR);
        return Ok(Progress::Done);
    }
    let next = rows.last().map_or(start, |(key, _)| [&key[..], &[0]].concat());
    storage::put(CURSOR, &[&began.to_be_bytes()[..], &next].concat());
    Ok(Progress::More)
}

/// A change row in this schema.
pub(crate) fn marked(row: &[u8]) -> Vec<u8> {
    [&[SCHEMA as u8], row].concat()
}

/// What is behind the mark.
pub(crate) fn unmarked(row: &[u8]) -> &[u8] {
    row.strip_prefix(&[SCHEMA as u8]).expect("a change row of this schema")
}
