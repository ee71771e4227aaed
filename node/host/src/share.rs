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
    /// no limit.
    pub(crate) fn admits(&mut self, share_fuel: u64, now_ms: u64) -> bool {
        if share_fuel == u64::MAX {
            return true;
        }
        let passed_ms = u128::from(now_ms.saturating_sub(self.at_ms));
        let back = passed_ms * u128::from(share_fuel) / 1_000;
        self.used = self.used.saturating_sub(u64::try_from(back).unwrap_or(u64::MAX));
        self.at_ms = self.at_ms.max(now_ms);
        self.used == 0 || self.used < share_fuel.saturating_mul(SHARE_BURST_S)
    }

    /// The machine used fuel.
    pub(crate) fn charge(&mut self, share_fuel: u64, fuel: u64) {
        if share_fuel != u64::MAX {
            self.used = self.used.saturating_add(fuel);
        }
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
        share.charge(1_000, 2_500);
        assert!(!share.admits(1_000, 50), "more than two seconds of it are used");
        assert!(!share.admits(1_000, 550), "half a second brings 500 back: 2000 are used");
        assert!(share.admits(1_000, 551));
        share.charge(1_000, u64::MAX);
        assert!(!share.admits(1_000, 60_000));
    }

    #[test]
    fn time_that_goes_back_brings_nothing_twice() {
        let mut share = Share::default();
        share.charge(1_000, 3_000);
        assert!(!share.admits(1_000, 900));
        assert!(!share.admits(1_000, 100));
        assert!(!share.admits(1_000, 1_000));
        assert!(share.admits(1_000, 1_001));
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let mut share = Share::default();
        share.charge(u64::MAX, u64::MAX);
        assert!(share.admits(u64::MAX, 0));
        assert_eq!(share, Share::default());
    }
}
