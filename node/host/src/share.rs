//! A machine's share of the applying thread: fuel that comes back with the time of the log.
//!
//! A bucket (its size: [`SHARE_BURST_S`] seconds of the share). A command runs while there is
//! anything in it, and is charged what it used, so the bucket may go below empty: then the machine
//! waits. All of it is a function of the log, so every replica refuses the same commands.

use crate::fields::{Malformed, Reader, Writer};
use crate::limits::SHARE_BURST_S;

/// What a machine has left. New: as much as it may save up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// Fuel used up and not come back yet.
    used: u64,
    /// The time of the log up to which it has come back, Unix milliseconds.
    at_ms: u64,
}

impl Share {
    /// Whether the machine may run at `now_ms`. `share_fuel` comes back each second; `u64::MAX` is
    /// no limit. Asking changes nothing: a replica that restarted, and asks again, must find what
    /// the others find.
    pub(crate) fn admits(self, share_fuel: u64, now_ms: u64) -> bool {
        let left = self.left_used(share_fuel, now_ms);
        share_fuel == u64::MAX || left == 0 || left < share_fuel.saturating_mul(SHARE_BURST_S)
    }

    /// The machine used fuel at `now_ms`.
    pub(crate) fn charge(&mut self, share_fuel: u64, fuel: u64, now_ms: u64) {
        if share_fuel != u64::MAX {
            self.used = self.left_used(share_fuel, now_ms).saturating_add(fuel);
            self.at_ms = self.at_ms.max(now_ms);
        }
    }

    /// What is used up still, after what has come back.
    fn left_used(self, share_fuel: u64, now_ms: u64) -> u64 {
        let passed_ms = u128::from(now_ms.saturating_sub(self.at_ms));
        let back = passed_ms * u128::from(share_fuel) / 1_000;
        self.used.saturating_sub(u64::try_from(back).unwrap_or(u64::MAX))
    }

    pub(crate) fn write(self, out: &mut Writer) {
        out.u64(self.used);
        out.u64(self.at_ms);
    }

    pub(crate) fn read(fields: &mut Reader<'_>) -> Result<Share, Malformed> {
        Ok(Share { used: fields.u64()?, at_ms: fields.u64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::Share;

    #[test]
    fn a_share_is_used_up_and_comes_back_with_time() {
        let mut share = Share::default();
        assert!(share.admits(1_000, 50));
        share.charge(1_000, 2_500, 50);
        assert!(!share.admits(1_000, 50), "more than two seconds of it are used");
        assert!(!share.admits(1_000, 550), "half a second brings 500 back: 2000 are used");
        assert!(share.admits(1_000, 551));
        share.charge(1_000, u64::MAX, 551);
        assert!(!share.admits(1_000, 60_000));
    }

    #[test]
    fn time_that_goes_back_brings_nothing_twice() {
        let mut share = Share::default();
        share.charge(1_000, 3_000, 0);
        assert!(!share.admits(1_000, 900));
        assert!(!share.admits(1_000, 100));
        assert!(!share.admits(1_000, 1_000));
        assert!(share.admits(1_000, 1_001));
    }

    #[test]
    fn asking_often_brings_no_less_back() {
        let mut share = Share::default();
        share.charge(999, 3_000, 0);
        // Each question by itself would round what came back in a millisecond to nothing.
        let admitted = (0..5_000).find(|now_ms| share.admits(999, *now_ms));
        let asked_once = (0..5_000).find(|now_ms| {
            let fresh = share;
            fresh.admits(999, *now_ms)
        });
        assert_eq!((admitted, asked_once), (Some(1_005), Some(1_005)));
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let mut share = Share::default();
        share.charge(u64::MAX, u64::MAX, 9);
        assert!(share.admits(u64::MAX, 0));
        assert_eq!(share, Share::default());
    }
}
