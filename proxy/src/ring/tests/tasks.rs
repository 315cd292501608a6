//! Tasks, wakes from other threads, timers and events.

use super::*;

#[test]
fn mailbox_carries_messages_of_other_threads() {
    run(small(), || async {
        let (mailbox, sender) = Mailbox::new(64);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let sender = sender.clone();
                thread::spawn(move || {
                    for mut number in 1..=1000_u64 {
                        while let Err(back) = sender.try_send(number) {
                            number = back;
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut sum = 0;
        for _ in 0..4000 {
            sum += mailbox.recv().await;
        }
        assert_eq!(sum, 4 * 500_500);
        assert!(mailbox.try_recv().is_none());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn wakers_work_and_die_on_other_threads() {
    let (wakers, woken) = mpsc::channel::<std::task::Waker>();
    let waking = thread::spawn(move || {
        for waker in woken {
            waker.wake();
        }
    });
    let late = run(small(), || async {
        let count = Rc::new(Cell::new(0));
        for _ in 0..8 {
            let (wakers, count) = (wakers.clone(), Rc::clone(&count));
            spawn(async move {
                for _ in 0..100 {
                    let mut sent = false;
                    std::future::poll_fn(|context| {
                        if std::mem::replace(&mut sent, true) {
                            return std::task::Poll::Ready(());
                        }
                        wakers.send(context.waker().clone()).unwrap();
                        std::task::Poll::Pending
                    })
                    .await;
                }
                count.set(count.get() + 1);
            });
        }
        while count.get() < 8 {
            turns(1).await;
        }
        // Of a task that never ends, and of this one: woken after the runtime is gone.
        let kept = Rc::new(RefCell::new(None));
        let keep = Rc::clone(&kept);
        spawn(async move {
            std::future::poll_fn::<(), _>(|context| {
                *keep.borrow_mut() = Some(context.waker().clone());
                std::task::Poll::Pending
            })
            .await;
        });
        turns(1).await;
        let here = std::future::poll_fn(|context| std::task::Poll::Ready(context.waker().clone())).await;
        [kept.take().unwrap(), here]
    });
    late.into_iter().for_each(|waker| wakers.send(waker).unwrap());
    drop(wakers);
    waking.join().unwrap();
}

#[test]
fn heavy_work_leaves_room_for_the_rest_of_each_turn() {
    run(small(), || async {
        const TASKS: usize = 8;
        const PIECES: usize = 50;
        let done = Rc::new(RefCell::new(Vec::new()));
        let before = stats().turns.get();
        for task in 0..TASKS {
            let done = Rc::clone(&done);
            spawn(async move {
                for _ in 0..PIECES {
                    heavy(16 << 10).await;
                    done.borrow_mut().push((stats().turns.get(), task));
                }
            });
        }
        while done.borrow().len() < TASKS * PIECES {
            turns(1).await;
        }
        let done = done.take();
        // Two pieces make a turn's share, and those who wait have their turns in order.
        let mut by_turn = std::collections::HashMap::<_, usize>::new();
        done.iter().for_each(|(turn, _)| *by_turn.entry(*turn).or_default() += 1);
        assert!(by_turn.values().all(|&pieces| pieces <= 2), "{by_turn:?}");
        assert!(stats().turns.get() - before >= (TASKS * PIECES / 2) as u64);
        let mut pieces = [0usize; TASKS];
        for (_, task) in done {
            pieces[task] += 1;
            let (least, most) = (pieces.iter().min().unwrap(), pieces.iter().max().unwrap());
            // The first one finds the share of its first turn untouched.
            assert!(most - least <= 3, "nobody is passed over: {pieces:?}");
        }
    });
}

#[test]
fn who_stops_waiting_for_a_turn_holds_nobody_up() {
    run(small(), || async {
        heavy(1 << 20).await;
        for _ in 0..100 {
            let gone = select2(std::future::ready(()), heavy(1)).await;
            assert!(matches!(gone, Either::Left(())));
            let mut waiting = std::pin::pin!(heavy(16 << 10));
            let polled = std::future::poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context))).await;
            assert!(polled.is_pending(), "there is nothing left of this turn");
        }
        heavy(1).await;
        heavy(1).await;
    });
}

#[test]
fn panic_ends_its_task_alone() {
    run(small(), || async {
        let flag = Rc::new(Cell::new(false));
        let dropped = Rc::clone(&flag);
        struct OnDrop(Rc<Cell<bool>>);
        impl Drop for OnDrop {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        spawn(async move {
            let _guard = OnDrop(dropped);
            yield_now().await;
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        turns(1).await;
        assert_eq!((stats().panics.get(), stats().tasks.get(), flag.get()), (1, 0, true));
    });
}

#[test]
fn tasks_and_operations_left_at_the_end_are_dropped() {
    let flag = Rc::new(Cell::new(0));
    let counted = Rc::clone(&flag);
    run(small(), || async move {
        for _ in 0..10 {
            let counted = Rc::clone(&counted);
            let (socket, peer) = sockets();
            spawn(async move {
                let _peer = peer;
                let _count = counted;
                let _ = socket.recv().await;
            });
        }
        turns(1).await;
        assert_eq!(Rc::strong_count(&counted), 12);
    });
    assert_eq!(Rc::strong_count(&flag), 1);
}

#[test]
fn runtime_runs_more_than_once_and_once_per_thread() {
    let mut runtime = Runtime::new(small()).unwrap();
    assert_eq!(Runtime::new(small()).err().unwrap().kind(), std::io::ErrorKind::AlreadyExists);
    for round in 0..3 {
        let got = runtime.run(async {
            let (socket, peer) = sockets();
            peer.send(vec![round].into()).await.unwrap();
            socket.recv().await.unwrap().unwrap()
        });
        assert_eq!(*got, [round]);
    }
}

#[test]
fn chunks_outlive_the_runtime() {
    let mut runtime = Runtime::new(small()).unwrap();
    let chunk = runtime.run(async {
        let (socket, peer) = sockets();
        peer.send(b"still here".to_vec().into()).await.unwrap();
        socket.recv().await.unwrap().unwrap()
    });
    drop(runtime);
    assert_eq!(&*chunk, b"still here");
}

#[test]
fn timers_expire_in_time_and_can_be_moved() {
    run(small(), || async {
        let begin = now();
        let timer = Timer::new();
        timer.set(Some(begin + Duration::from_millis(5)));
        timer.set(Some(begin + Duration::from_millis(40)));
        timer.expired().await;
        assert!(now().since(begin) >= Duration::from_millis(40));
        timer.set(Some(begin + Duration::from_secs(3600)));
        timer.set_after(Duration::from_millis(3));
        timer.expired().await;
        timer.set(None);
        assert_eq!(timer.deadline(), None);
        assert_eq!(timer.race(async { 7 }).await, Ok(7));
        timer.set_after(Duration::from_millis(3));
        assert_eq!(timer.race(std::future::pending::<()>()).await, Err(Elapsed));
        assert!(now().since(begin) < Duration::from_secs(20));
    });
}

#[test]
fn moving_a_deadline_later_does_not_touch_the_wheel() {
    run(small(), || async {
        let timer = Timer::new();
        for ms in 1..1000 {
            timer.set_after(Duration::from_millis(1000 + ms));
            timer.set(None);
        }
        assert_eq!(runtime::with(|driver| driver.timers.len()), 1);
        drop(timer);
        assert_eq!(runtime::with(|driver| driver.timers.len()), 0);
    });
}

#[test]
fn event_wakes_all_who_wait_and_is_not_lost() {
    run(small(), || async {
        let event = Event::new();
        let woken = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let (event, woken) = (event.clone(), Rc::clone(&woken));
            spawn(async move {
                event.wait().await;
                woken.set(woken.get() + 1);
            });
        }
        turns(1).await;
        event.notify();
        turns(1).await;
        assert_eq!(woken.get(), 3);
        event.notify();
        event.wait().await;
        let both = select2(event.wait(), async { 5 }).await;
        assert!(matches!(both, Either::Right(5)));
    });
}
