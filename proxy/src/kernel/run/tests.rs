//! When what has failed is tried again, and that nobody waits for a machine that says nothing.

use std::collections::BTreeSet;

use super::*;
use crate::config::{Table as _, raw};
use crate::kernel::Listening;

fn backoff_after(failures: usize, now: Instant) -> Backoff {
    let mut backoff = Backoff::default();
    (0..failures).for_each(|_| backoff.note(true, now));
    backoff
}

#[test]
fn retries_come_after_one_second_then_twice_as_long_up_to_a_minute() {
    let mut backoff = Backoff::default();
    let mut now = Instant::from_nanos(1);
    assert!(backoff.is_due(now));
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        backoff.note(true, now);
        assert!(!backoff.is_due(now + Duration::from_secs(seconds) - Duration::from_millis(1)));
        now = now + Duration::from_secs(seconds);
        assert!(backoff.is_due(now));
    }
    backoff.note(false, now);
    assert!(backoff.is_due(now));
}

#[test]
fn what_works_meanwhile_is_tried_at_once_when_it_fails_again() {
    let now = Instant::from_nanos(1);
    let mut backoff = backoff_after(6, now);
    assert!(!backoff.is_due_if(true, now + Duration::from_secs(31)));
    assert!(!backoff.is_due_if(false, now));
    assert!(backoff.is_due_if(true, now));
    backoff.note(true, now);
    assert!(backoff.is_due_if(true, now + Duration::from_secs(1)), "after the shortest wait");
}

/// Two workers that serve and do nothing.
struct Idle;

impl Workers for Idle {
    fn count(&self) -> usize {
        2
    }

    fn cores(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn serve(&self) -> bool {
        true
    }

    fn stalls(&self, _: usize) -> bool {
        false
    }

    fn share_listeners(&self, _: usize, _: &std::sync::mpsc::Sender<Vec<Listening>>) -> bool {
        false
    }

    fn cut(&self, _: usize, _: &Arc<[IpNet]>) -> bool {
        true
    }
}

#[tokio::test]
async fn orders_are_answered_where_netlink_never_tells_of_an_interface() {
    let kernel = raw::Kernel::from_toml("").unwrap_or_else(|problems| panic!("{problems}"));
    let wanted = Wanted { kernel, bound: vec![], allow: vec![], bans: Arc::default(), rules: BTreeSet::new() };
    let (_wanted_out, wanted) = watch::channel(Arc::new(wanted));
    let (_network_out, network) = watch::channel(Arc::default());
    let (orders_out, orders) = mpsc::channel(1);
    let (_promotions_out, promotions) = mpsc::channel(1);
    let (_known_out, known) = mpsc::channel(1);
    let (status_out, mut status) = watch::channel(Arc::default());
    let obstacle = Some(Obstacle::Missing(vec!["CAP_BPF"]));
    let driver = Driver::new(
        Beside {
            clock: crate::worker::clock,
            workers: Arc::new(Idle),
            samples: Samples::channel().0,
            flows: Arc::new(Flows::new(None, obstacle.clone())),
            obstacle,
            status: status_out,
        },
        false,
    );
    let running = tokio::spawn(driver.run(Inputs { wanted, network, orders, promotions, known }));
    status.changed().await.expect("a status before anything else");
    let (reply, answer) = tokio::sync::oneshot::channel();
    let order = Order::List { offset: 0, limit: 1, reply };
    orders_out.send(order).await.unwrap_or_else(|_| panic!("the task is gone"));
    let answer = tokio::time::timeout(10 * NETWORK_WAIT, answer).await.expect("in time");
    assert_eq!(answer.expect("an answer"), (vec![], 0));
    running.abort();
}
