//! How a connection ended, and by whom: each case that weir tells apart.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use socket2::SockRef;
use weir_common::abi::flow::{By, Flow, How, mark, state::*};
use weir_tests::netns::Pair;

use crate::setting::{Setting, Watch, cookie, steps};

/// Ends a connection as the closure does, and gives its last record. What the closure gives stays until then.
fn ended<T>(end: impl FnOnce(&Setting, TcpStream, TcpStream) -> T) -> Flow {
    let setting = Setting::new();
    let mut watch = Watch::new(&setting, &[]);
    let (weir, peer) = setting.accepted(Pair::SERVER);
    let cookie = cookie(&weir);
    let _kept = end(&setting, weir, peer);
    watch.closed(cookie)
}

fn at_end(stream: &mut TcpStream) {
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

/// The next close sends RST, not FIN.
fn resets(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_fin_of_the_peer_first() {
    let flow = ended(|_, mut weir, peer| {
        drop(peer);
        at_end(&mut weir);
    });
    assert_eq!(flow.close(false, false), (How::Fin, By::Peer));
    let open = (SYN_RECV, ESTABLISHED);
    assert_eq!(steps(&flow), [open, (ESTABLISHED, CLOSE_WAIT), (CLOSE_WAIT, LAST_ACK), (LAST_ACK, CLOSE)]);
}

#[test]
fn a_fin_of_weir_first() {
    let flow = ended(|_, weir, mut peer| {
        drop(weir);
        at_end(&mut peer);
    });
    assert_eq!(flow.close(true, false), (How::Fin, By::Weir));
    let open = (SYN_RECV, ESTABLISHED);
    assert_eq!(steps(&flow), [open, (ESTABLISHED, FIN_WAIT1), (FIN_WAIT1, FIN_WAIT2), (FIN_WAIT2, CLOSE)]);
}

#[test]
fn a_reset_of_the_peer() {
    let flow = ended(|_, mut weir, peer| {
        resets(&peer);
        drop(peer);
        assert_eq!(weir.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
    assert_eq!(flow.close(false, false), (How::Rst, By::Peer));
    assert_eq!(steps(&flow), [(SYN_RECV, ESTABLISHED), (ESTABLISHED, CLOSE)]);
}

#[test]
fn a_reset_of_weir() {
    let flow = ended(|_, weir, mut peer| {
        resets(&weir);
        drop(weir);
        assert_eq!(peer.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
    assert_eq!(flow.close(true, false), (How::Rst, By::Weir));
    assert_eq!(steps(&flow), [(SYN_RECV, ESTABLISHED), (ESTABLISHED, CLOSE)]);
}

#[test]
fn a_reset_by_octets_that_weir_never_read() {
    let flow = ended(|_, weir, mut peer| {
        peer.write_all(b"unread").unwrap();
        weir.peek(&mut [0; 1]).unwrap();
        drop(weir);
        assert_eq!(peer.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
    assert_eq!(flow.close(true, false), (How::Rst, By::Weir));
}

#[test]
fn a_peer_that_falls_silent_under_octets_sent_is_a_timeout_of_the_kernel() {
    let flow = ended(|setting, mut weir, _peer| {
        // Given up after as many tries again as take half a second.
        setting.pair.server.sysctl("ipv4/tcp_retries2", "1");
        setting.pair.cut();
        weir.write_all(b"into the void").unwrap();
        assert_eq!(weir.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::TimedOut);
    });
    assert_ne!(flow.flags & mark::RTO, 0);
    assert_eq!(flow.close(false, false), (How::Timeout, By::Kernel));
    assert!(flow.retrans > 0, "{flow:?}");
}

#[test]
fn a_peer_that_falls_silent_after_weirs_fin_is_a_timeout_of_the_kernel() {
    let flow = ended(|setting, weir, peer| {
        setting.pair.server.sysctl("ipv4/tcp_orphan_retries", "1");
        setting.pair.cut();
        drop(weir);
        peer
    });
    assert_eq!(flow.close(true, false), (How::Timeout, By::Kernel));
    assert_eq!(steps(&flow)[1..], [(ESTABLISHED, FIN_WAIT1), (FIN_WAIT1, CLOSE)]);
}

#[test]
fn a_peer_that_answers_no_keepalive_is_a_timeout_that_weir_read() {
    let flow = ended(|setting, mut weir, _peer| {
        setting.pair.cut();
        let probes = socket2::TcpKeepalive::new().with_time(Duration::from_secs(1));
        let probes = probes.with_interval(Duration::from_secs(1)).with_retries(1);
        SockRef::from(&weir).set_tcp_keepalive(&probes).unwrap();
        assert_eq!(weir.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::TimedOut);
    });
    assert_eq!(flow.close(false, true), (How::Timeout, By::Kernel));
    assert_eq!(flow.flags & mark::EXPIRED, 0, "no retransmission: only weir knows");
}
