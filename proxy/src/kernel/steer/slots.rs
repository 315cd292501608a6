//! Which worker takes the connections of which CPU, and whether that spreads them well. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use weir_common::abi::steer::slot;

use crate::base::Instant;

/// How far back connections count.
const WINDOW: Duration = Duration::from_secs(10);
/// Fewer in it say nothing.
const CONNECTIONS_MIN: u64 = 1000;

/// The slot of each CPU: its own worker's, or that of its number modulo the workers; a stalled worker's next neighbour.
pub(super) fn slots(cpus: usize, cores: &[usize], workers: usize, stalls: impl Fn(usize) -> bool) -> Vec<u32> {
    let own = |cpu: usize| (0..workers).find(|worker| cores.get(worker % cores.len().max(1)) == Some(&cpu));
    let alive = |worker: usize| (0..workers).map(|step| (worker + step) % workers).find(|worker| !stalls(*worker));
    let worker = |cpu: usize| {
        let worker = own(cpu).unwrap_or(cpu % workers.max(1));
        alive(worker).unwrap_or(worker)
    };
    (0..cpus).map(|cpu| slot(u32::try_from(worker(cpu)).unwrap_or(0))).collect()
}

/// Decides from what CPUs receive.
#[derive(Default)]
pub(super) struct Judge {
    past: VecDeque<(Instant, Vec<u64>)>,
    steers: bool,
}

impl Judge {
    /// Whether connections are to be steered by `slots`, where `counts` is how many each CPU has received so far.
    pub(super) fn steers(&mut self, counts: &[u64], slots: &[u32], workers: usize, now: Instant) -> bool {
        while self.past.len() > 1 && now.since(self.past[1].0) >= WINDOW {
            self.past.pop_front();
        }
        let whole = self.past.front().filter(|(since, _)| now.since(*since) >= WINDOW);
        let judged = whole.and_then(|(_, before)| load(counts, before, slots, workers));
        self.past.push_back((now, counts.to_vec()));
        if let Some((busiest, all)) = judged {
            // Times the mean, without fractions: between 1.5 and 2 it stays as it is.
            let share = busiest * workers as u64;
            self.steers = if self.steers { share <= 2 * all } else { 2 * share <= 3 * all };
        }
        self.steers
    }
}

/// What the busiest worker would have got, and all together.
fn load(counts: &[u64], before: &[u64], slots: &[u32], workers: usize) -> Option<(u64, u64)> {
    let mut each = vec![0_u64; workers];
    for (cpu, slot) in slots.iter().enumerate() {
        let new = counts.get(cpu)?.saturating_sub(before.get(cpu).copied().unwrap_or(0));
        *each.get_mut(weir_common::abi::steer::worker(*slot)? as usize)? += new;
    }
    let all: u64 = each.iter().sum();
    (all >= CONNECTIONS_MIN).then(|| (each.into_iter().max().unwrap_or(0), all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_goes_to_its_own_worker_and_others_by_their_number() {
        let none = |_| false;
        assert_eq!(slots(4, &[0, 1, 2, 3], 4, none), [1, 2, 3, 4]);
        assert_eq!(slots(4, &[2, 3], 2, none), [1, 2, 1, 2]);
        assert_eq!(slots(3, &[1], 1, none), [1, 1, 1]);
    }

    #[test]
    fn stalled_workers_connections_go_to_its_neighbour() {
        assert_eq!(slots(3, &[0, 1, 2], 3, |worker| worker == 1), [1, 3, 3]);
        assert_eq!(slots(3, &[0, 1, 2], 3, |worker| worker > 0), [1, 1, 1]);
        assert_eq!(slots(2, &[0, 1], 2, |_| true), [1, 2], "none is better");
    }

    /// What the judge says after a window in which each CPU got so many.
    fn verdict(judge: &mut Judge, got: &mut [u64; 4], more: [u64; 4], at: &mut u64) -> bool {
        let slots = [1, 2, 3, 4];
        for _ in 0..11 {
            judge.steers(&*got, &slots, 4, Instant::from_nanos(*at * 1_000_000_000));
            *at += 1;
        }
        got.iter_mut().zip(more).for_each(|(sum, n)| *sum += n);
        judge.steers(&*got, &slots, 4, Instant::from_nanos(*at * 1_000_000_000))
    }

    #[test]
    fn steering_begins_below_one_and_a_half_and_ends_above_twice_the_mean() {
        let (mut judge, mut got, mut at) = (Judge::default(), [0; 4], 0);
        assert!(!verdict(&mut judge, &mut got, [250, 250, 250, 249], &mut at), "too few to tell");
        assert!(!verdict(&mut judge, &mut got, [1510, 900, 800, 790], &mut at), "1.51 times the mean");
        assert!(verdict(&mut judge, &mut got, [1500, 900, 800, 800], &mut at), "1.5 times");
        assert!(verdict(&mut judge, &mut got, [2000, 1000, 500, 500], &mut at), "twice");
        assert!(!verdict(&mut judge, &mut got, [2001, 1000, 500, 499], &mut at), "above");
        assert!(!verdict(&mut judge, &mut got, [4000, 0, 0, 0], &mut at), "one queue");
    }
}
