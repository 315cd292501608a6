//! What opens which ticket, and for how long.

use super::*;

const HOUR: i64 = 3600;

fn tickets(now: i64) -> Arc<Tickets> {
    let tickets = Arc::new(Tickets::new("web", Ring::default()));
    tickets.rotate(Some(Duration::from_secs(3600)), now);
    tickets
}

#[test]
fn ticket_opens_for_one_period_after_its_key_at_least_and_then_no_more() {
    let tickets = tickets(0);
    let sealer = tickets.sealer([0; 32]);
    let early = sealer.encrypt(b"session").expect("a ticket");
    tickets.rotate(None, HOUR - 1);
    let late = sealer.encrypt(b"other").expect("a ticket");
    tickets.rotate(None, HOUR);
    assert_eq!(sealer.decrypt(&early).as_deref(), Some(&b"session"[..]));
    tickets.rotate(None, 2 * HOUR - 2);
    assert_eq!(sealer.decrypt(&late).as_deref(), Some(&b"other"[..]));
    tickets.rotate(None, 2 * HOUR);
    assert_eq!(sealer.decrypt(&late), None);
    assert_eq!(sealer.lifetime(), 3600);
}

#[test]
fn keys_are_forgotten_while_nobody_turned_them() {
    let tickets = tickets(0);
    let ticket = tickets.sealer([0; 32]).encrypt(b"session").expect("a ticket");
    tickets.rotate(None, 5 * HOUR);
    assert_eq!(tickets.sealer([0; 32]).decrypt(&ticket), None);
    // A clock that was set back: nobody knows how old the key is.
    let ticket = tickets.sealer([0; 32]).encrypt(b"session").expect("a ticket");
    tickets.rotate(None, HOUR);
    assert_ne!(tickets.sealer([0; 32]).encrypt(b"session").expect("a ticket")[..NAME_LEN], ticket[..NAME_LEN]);
}

#[test]
fn ticket_of_another_listener_or_client_authority_does_not_open() {
    let tickets = tickets(0);
    let ticket = tickets.sealer([1; 32]).encrypt(b"session").expect("a ticket");
    assert!(tickets.sealer([1; 32]).decrypt(&ticket).is_some());
    assert!(tickets.sealer([2; 32]).decrypt(&ticket).is_none());
    let other = Arc::new(Tickets::new("other", Ring::import(&tickets.export()).expect("keys")));
    assert!(other.sealer([1; 32]).decrypt(&ticket).is_none());
}

#[test]
fn ticket_cut_or_changed_anywhere_does_not_open() {
    let sealer = tickets(0).sealer([0; 32]);
    let ticket = sealer.encrypt(b"session").expect("a ticket");
    for at in 0..ticket.len() {
        let mut changed = ticket.clone();
        changed[at] ^= 1;
        assert_eq!(sealer.decrypt(&changed), None, "octet {at}");
        assert_eq!(sealer.decrypt(&ticket[..at]), None, "cut at {at}");
    }
}

#[test]
fn what_is_too_long_is_not_sealed() {
    let sealer = tickets(0).sealer([0; 32]);
    assert!(sealer.encrypt(&[0; SESSION_MAX]).is_some_and(|ticket| sealer.decrypt(&ticket).is_some()));
    assert!(sealer.encrypt(&[0; SESSION_MAX + 1]).is_none());
}

#[test]
fn keys_that_are_handed_over_open_and_seal_alike() {
    let (old, new) = (TicketBook::default(), TicketBook::default());
    let hour = Duration::from_secs(3600);
    let ticket = old.of("web", hour).sealer([0; 32]).encrypt(b"session").expect("a ticket");
    assert!(new.import(&old.export()));
    let sealer = new.of("web", hour).sealer([0; 32]);
    assert_eq!(sealer.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
    let back = sealer.encrypt(b"back").expect("a ticket");
    assert!(old.of("web", hour).sealer([0; 32]).decrypt(&back).is_some());
    for bad in [&b""[..], b"{", b"[]", br#"{"web":[{"name":"AA==","secret":"AA==","made":1}]}"#] {
        assert!(!new.import(bad), "{bad:?}");
    }
    assert!(new.of("web", hour).sealer([0; 32]).decrypt(&ticket).is_some());
}

#[test]
fn keys_of_listeners_that_are_gone_are_forgotten() {
    let book = TicketBook::default();
    let stays = book.of("web", Duration::from_secs(3600));
    drop(book.of("gone", Duration::from_secs(3600)));
    book.turn();
    assert_eq!(book.lock().keys().map(|name| &**name).collect::<Vec<_>>(), ["web"]);
    assert!(Arc::ptr_eq(&stays, &book.of("web", Duration::from_secs(3600))));
}

#[test]
fn secrets_are_not_printed() {
    let tickets = tickets(0);
    let printed = format!("{tickets:?} {:?} {:?}", tickets.sealer([0; 32]), TicketBook::default());
    assert_eq!(printed, "Tickets([redacted]) Sealer([redacted]) TicketBook([redacted])");
}
