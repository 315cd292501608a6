//! Each algorithm beside a plain oracle that keeps what it admitted, over seeded arrivals.

use super::*;

/// Arrivals of several keys: mostly close together, at times after a pause.
fn arrivals(seed: u64, count: usize, window: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut now = 0;
    (0..count).map(move |_| {
        now += match random.u32(..100) {
            0..40 => 0,
            40..80 => random.u64(..window / 200),
            80..97 => random.u64(..window / 8),
            _ => random.u64(..window * 2),
        };
        (random.u64(..3), now)
    })
}

/// Limits, windows in seconds and bursts that are small, odd, large.
fn shapes(seed: u64) -> (u64, u64, u64) {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let (limit, window) = (random.u64(1..40), random.u64(1..90));
    (limit, window, random.u64(0..=limit * 3))
}

/// What a key may do, in the oracle's words.
#[derive(Debug, PartialEq)]
enum Fate {
    Passes { remaining: u64, reset: u64, wait: u64 },
    Denied { retry_after: u64 },
}

fn fate(charge: &Charge) -> Fate {
    let passes = |left: &Standing, wait| Fate::Passes { remaining: left.remaining, reset: ns(left.reset), wait };
    match charge {
        Charge::Admitted(left) => passes(left, 0),
        Charge::Delayed(left, wait) => passes(left, ns(wait.time)),
        Charge::Denied { retry_after, .. } => Fate::Denied { retry_after: ns(*retry_after) },
    }
}

fn agree(text: &str, seed: u64, window: u64, mut oracle: impl FnMut(u64, u64) -> Fate) {
    let limiter = limiter(text);
    for (step, (name, now)) in arrivals(seed, 2000, window).enumerate() {
        let charge = charge(&limiter, key(name), now);
        assert_eq!(fate(&charge), oracle(name, now), "seed {seed}, step {step}, key {name} at {now}: {text}");
    }
}

/// A bucket of tokens, each worth the time in which it drips: full at first.
#[test]
fn token_bucket_is_a_bucket_of_tokens() {
    for seed in 0..60 {
        let (limit, window, burst) = shapes(seed);
        let text = format!("limit = {limit}\nwindow = \"{window}s\"\nburst = {burst}");
        let worth = (window * SECOND).div_ceil(limit);
        let depth = worth * if burst == 0 { limit } else { burst };
        let mut buckets = [(depth, 0); 3];
        agree(&text, seed, window * SECOND, |name, now| {
            let (level, seen) = &mut buckets[name as usize];
            *level = depth.min(*level + (now - *seen));
            *seen = now;
            if *level < worth {
                return Fate::Denied { retry_after: worth - *level };
            }
            *level -= worth;
            Fate::Passes { remaining: *level / worth, reset: depth - *level, wait: 0 }
        });
    }
}

/// A queue that lets one go each period, of which the last one's time is known.
#[test]
fn leaky_bucket_is_a_queue_that_is_let_go_one_by_one() {
    for seed in 0..60 {
        let (limit, window, burst) = shapes(seed);
        let delay_max = fastrand::Rng::with_seed(seed).u64(1..10_000);
        let text = format!(
            "algorithm = \"leaky_bucket\"\nlimit = {limit}\nwindow = \"{window}s\"\nburst = {burst}\n\
             delay_max = \"{delay_max}ms\""
        );
        let period = (window * SECOND).div_ceil(limit);
        let places = if burst == 0 { limit } else { burst };
        let longest = (delay_max * 1_000_000).min((places - 1) * period);
        let mut next_free = [0u64; 3];
        agree(&text, seed, window * SECOND, |name, now| {
            let free = &mut next_free[name as usize];
            let wait = free.saturating_sub(now);
            if wait > longest {
                return Fate::Denied { retry_after: wait - longest };
            }
            *free = (*free).max(now) + period;
            let reset = *free - now;
            // As many as could come now, one after the other.
            let remaining = (0..).take_while(|more| reset + more * period <= longest).count() as u64;
            Fate::Passes { remaining, reset, wait }
        });
    }
}

#[test]
fn leaky_bucket_without_delay_is_a_token_bucket() {
    let numbers = "limit = 7\nwindow = \"3s\"\nburst = 11";
    let (leaky, token) = (limiter(&format!("algorithm = \"leaky_bucket\"\n{numbers}")), limiter(numbers));
    for (name, now) in arrivals(1, 2000, 3 * SECOND) {
        assert_eq!(fate(&charge(&leaky, key(name), now)), fate(&charge(&token, key(name), now)));
    }
}

#[test]
fn fixed_window_counts_between_round_times() {
    for seed in 0..60 {
        let (limit, window, _) = shapes(seed);
        let text = format!("algorithm = \"fixed_window\"\nlimit = {limit}\nwindow = \"{window}s\"");
        let mut counts = std::collections::HashMap::new();
        agree(&text, seed, window * SECOND, |name, now| {
            let now = at(now).nanos();
            let number = now / (window * SECOND);
            let left = (number + 1) * window * SECOND - now;
            let count = counts.entry((name, number)).or_insert(0);
            if *count == limit {
                return Fate::Denied { retry_after: left };
            }
            *count += 1;
            Fate::Passes { remaining: limit - *count, reset: left, wait: 0 }
        });
    }
}

#[test]
fn fixed_windows_begin_at_round_unix_times_and_admit_twice_the_limit_at_their_border() {
    let rule = rule("algorithm = \"fixed_window\"\nlimit = 10\nwindow = \"60s\"");
    // The clock's origin is 17.25 s before a full minute.
    let epoch = Duration::from_millis(1_700_000_040_000 - 17_250 - 100_000_000);
    let limiter = Limiter::build(&rule, &Tables::new([0; 16], epoch));
    let border = 17_250 * 1_000_000;
    assert_eq!(admitted(&limiter, key(1), border - 1, 100), 10);
    assert_eq!(admitted(&limiter, key(1), border, 100), 10, "a new window");
    assert_eq!(
        admitted(&limiter, key(1), border - 1, 100),
        0,
        "a clock reading from before the border changes nothing"
    );
    assert_eq!(admitted(&limiter, key(1), border + 60 * SECOND - 1, 100), 0);
    assert_eq!(admitted(&limiter, key(1), border + 60 * SECOND, 100), 10);
}

#[test]
fn sliding_window_is_never_over_its_limit_and_never_denies_below_it() {
    for seed in 0..60 {
        let (limit, window, _) = shapes(seed);
        let text = format!("algorithm = \"sliding_window\"\nlimit = {limit}\nwindow = \"{window}s\"");
        let limiter = limiter(&text);
        let window = window * SECOND;
        let mut passed: [Vec<u64>; 3] = Default::default();
        for (name, now) in arrivals(seed, 2000, window) {
            let passed = &mut passed[name as usize];
            let within = |span: u64| passed.iter().filter(|&&then| then + span > now).count() as u64;
            match charge(&limiter, key(name), now) {
                Charge::Denied { .. } => {
                    assert!(within(window / 16 * 17) >= limit, "seed {seed} at {now}: denied below")
                }
                _ => {
                    assert!(within(window) < limit, "seed {seed} at {now}: over the limit");
                    passed.push(now);
                }
            }
        }
    }
}

#[test]
fn who_comes_when_it_was_told_is_admitted_and_not_before() {
    for (text, tight) in [
        ("limit = 7\nwindow = \"3s\"", true),
        ("limit = 7\nwindow = \"3s\"\nburst = 1", true),
        ("algorithm = \"leaky_bucket\"\nlimit = 7\nwindow = \"3s\"\ndelay_max = \"1s\"", true),
        ("algorithm = \"fixed_window\"\nlimit = 7\nwindow = \"3s\"", true),
        ("algorithm = \"sliding_window\"\nlimit = 7\nwindow = \"3s\"", true),
    ] {
        let limiter = limiter(text);
        let mut random = fastrand::Rng::with_seed(7);
        let mut now = 0;
        for _ in 0..200 {
            now += random.u64(..SECOND / 4);
            let Charge::Denied { retry_after, .. } = charge(&limiter, key(1), now) else { continue };
            let then = now + ns(retry_after);
            assert!(!tight || !admits(&limiter, key(1), then - 1), "{text}: too early at {now}");
            assert!(admits(&limiter, key(1), then), "{text}: denied at {then}, as told at {now}");
            now = then;
        }
    }
}

#[test]
fn largest_limits_are_counted_without_overflow() {
    for algorithm in ["token_bucket", "fixed_window", "sliding_window"] {
        let burst = if algorithm == "token_bucket" { "\nburst = 864_000_000_000" } else { "" };
        let text = format!("algorithm = \"{algorithm}\"\nlimit = 86_400_000_000\nwindow = \"24h\"{burst}");
        let limiter = Limiter::build(&rule(&text), &Tables::new([0; 16], Duration::from_secs(4_000_000_000)));
        match charge(&limiter, key(1), 0) {
            Charge::Admitted(left) => assert!(left.remaining >= 86_399_999_999, "{algorithm}: {left:?}"),
            other => panic!("{algorithm}: {other:?}"),
        }
    }
}
