//! What the drop program is told: from the configuration, and from which maps have entries.

use weir_common::abi::drop::{Conf, Limit, arm};

use crate::config::raw::Kernel;
use crate::config::value::KernelMode;

const SECOND_NS: u64 = 1_000_000_000;
/// All unknown sources together may send a fifth of a second's SYNs at once: the program's clock moves in steps, and a
/// burst must cover them.
const TOTAL_BURST: u64 = 5;

/// Which maps have entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Filled {
    /// ALLOW4.
    pub(super) allow4: bool,
    /// ALLOW6.
    pub(super) allow6: bool,
    /// DENY.
    pub(super) deny: bool,
    /// DENY4.
    pub(super) bans4: bool,
    /// DENY6.
    pub(super) bans6: bool,
}

/// The program's configuration.
pub(super) fn conf(kernel: &Kernel, seeds: [u64; 2], filled: Filled) -> Conf {
    let syn = &kernel.syn;
    let burst = if syn.burst == 0 { syn.rate * 2 } else { syn.burst };
    let arms = [
        (filled.allow4, arm::ALLOW4),
        (filled.allow6, arm::ALLOW6),
        (filled.deny, arm::DENY),
        (filled.bans4, arm::BANS4),
        (filled.bans6, arm::BANS6),
        (syn.rate > 0, arm::SOURCE),
        (syn.rate > 0 && syn.prefix_factor > 0, arm::PARENT),
        (syn.total > 0, arm::TOTAL),
    ];
    Conf {
        armed: arms.into_iter().filter(|(on, _)| *on).fold(0, |all, (_, bit)| all | bit),
        dry_run: u32::from(kernel.mode != KernelMode::Enforce),
        source: limit(syn.rate, burst),
        parent: limit(syn.rate * syn.prefix_factor, burst * syn.prefix_factor),
        total: limit(syn.total, syn.total / TOTAL_BURST),
        seeds,
        pressure: syn.pressure,
        samples: kernel.samples,
        ..Conf::IDLE
    }
}

/// So many a second, and so many at once, at least two.
fn limit(rate: u64, burst: u64) -> Limit {
    if rate == 0 {
        return Limit::OFF;
    }
    let t = SECOND_NS.div_ceil(rate);
    Limit { t, tolerance: t * (burst.max(2) - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Table;

    fn kernel(text: &str) -> Kernel {
        Kernel::from_toml(text).unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn nothing_is_armed_by_default_and_nothing_is_dropped() {
        let conf = conf(&kernel(""), [1, 2], Filled::default());
        assert_eq!((conf.armed, conf.dry_run, conf.samples, conf.pressure), (0, 1, 100, 10_000));
        assert_eq!(conf.seeds, [1, 2]);
        assert_eq!(
            (conf.source6, conf.parent4, conf.parent6),
            (Conf::IDLE.source6, Conf::IDLE.parent4, Conf::IDLE.parent6)
        );
    }

    #[test]
    fn maps_with_entries_are_armed_each_by_its_bit() {
        let filled = Filled { allow4: true, deny: true, bans6: true, ..Filled::default() };
        let conf = conf(&kernel("mode = \"enforce\""), [0; 2], filled);
        assert_eq!((conf.armed, conf.dry_run), (arm::ALLOW4 | arm::DENY | arm::BANS6, 0));
    }

    #[test]
    fn rates_become_costs_and_bursts_become_tolerances() {
        let syn = "syn = { rate = 300, prefix_factor = 4, total = 1000000 }";
        let conf = conf(&kernel(syn), [0; 2], Filled::default());
        assert_eq!(conf.armed, arm::SOURCE | arm::PARENT | arm::TOTAL);
        assert_eq!(conf.source, Limit { t: 3_333_334, tolerance: 3_333_334 * 599 });
        assert_eq!(conf.parent, Limit { t: 833_334, tolerance: 833_334 * 2399 });
        assert_eq!(conf.total, Limit { t: 1000, tolerance: 1000 * 199_999 });
    }

    #[test]
    fn neighbours_may_be_left_uncounted() {
        let conf = conf(&kernel("syn = { rate = 1, burst = 2, prefix_factor = 0 }"), [0; 2], Filled::default());
        assert_eq!((conf.armed, conf.parent), (arm::SOURCE, Limit::OFF));
        assert_eq!(conf.source.tolerance, SECOND_NS);
    }
}
