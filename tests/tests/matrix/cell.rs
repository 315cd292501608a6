//! One cell of the matrix: which protocol on which side, and a weir between both.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use weir_tests::tls::{Acceptor, Authority, Connector, Pipe};
use weir_tests::{Config, Gate, Origin, Weir};

use crate::client::{Client, Socket};
use crate::origin;

/// What is spoken on one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Http1,
    Http1Tls,
    H2c,
    H2Tls,
}

impl Side {
    const ALL: [Self; 4] = [Self::Http1, Self::Http1Tls, Self::H2c, Self::H2Tls];

    pub(crate) fn is_h2(self) -> bool {
        matches!(self, Self::H2c | Self::H2Tls)
    }

    pub(crate) fn is_secured(self) -> bool {
        matches!(self, Self::Http1Tls | Self::H2Tls)
    }

    fn alpn(self) -> &'static [&'static str] {
        if self.is_h2() { &["h2"] } else { &["http/1.1"] }
    }

    /// What a target says of it.
    fn protocol(self) -> &'static str {
        match self {
            Self::Http1 | Self::Http1Tls => "http1",
            Self::H2c => "h2c",
            Self::H2Tls => "h2",
        }
    }
}

/// What an origin tells besides its record.
#[derive(Default)]
pub(crate) struct Told {
    /// Exchanges that the proxy gave up.
    pub(crate) cancelled: AtomicUsize,
    /// WebSockets that are open.
    pub(crate) talking: AtomicUsize,
}

/// One cell.
pub(crate) struct Cell {
    pub(crate) front: Side,
    back: Side,
    pub(crate) origin: Origin,
    pub(crate) gate: Gate,
    pub(crate) weir: Weir,
    told: Arc<Told>,
    connector: Connector,
}

/// Runs a check in every cell, each with a weir of its own.
#[track_caller]
pub(crate) fn each(check: impl Fn(&mut Cell)) {
    for front in Side::ALL {
        for back in Side::ALL {
            let mut cell = Cell::new(front, back);
            eprintln!("cell: {cell:?}");
            check(&mut cell);
        }
    }
}

impl Cell {
    fn new(front: Side, back: Side) -> Self {
        let (authority, gate, told) = (Authority::new(), Gate::new(), Arc::new(Told::default()));
        let script = origin::script(back.is_h2(), gate.clone(), told.clone());
        let origin = match back.is_secured() {
            true => Origin::secured(Acceptor::new(&authority.certify(&["127.0.0.1"]), back.alpn()), script),
            false => Origin::scripted(script),
        };
        let config = Config::forwarding(origin.url()).without_kernel().without_client_bounds();
        let ca = config.file("origin-ca.pem", authority.pem());
        let mut target = format!("protocol = \"{}\"", back.protocol());
        if back.is_secured() {
            target += &format!("\n[route.target.tls]\nca = \"{ca}\"");
        }
        let mut config = config
            .replace(&format!("url = \"{}\"", origin.url()), &{ format!("url = \"{}\"\n{target}", origin.url()) });
        if front.is_secured() {
            config = config.secured(&[&authority.certify(&["test"])]);
        } else if front.is_h2() {
            config = config.h2c();
        }
        let connector = Connector::to("test").trusting(&authority).offering(front.alpn());
        Self { front, back, origin, gate, weir: config.start(), told, connector }
    }

    /// A connection of what is spoken in front.
    pub(crate) fn client(&self) -> Client {
        let pipe = match self.front.is_secured() {
            true => self.connector.connect(self.weir.web()).expect("TLS"),
            false => Pipe::connect(self.weir.web()).expect("a connection"),
        };
        Client::new(pipe, self.front.is_h2(), self.front.is_secured())
    }

    /// A WebSocket that was let through.
    pub(crate) fn websocket(&self) -> Socket {
        Socket::open(self.client())
    }

    /// How many exchanges the origin saw given up.
    pub(crate) fn cancelled(&self) -> usize {
        self.told.cancelled.load(Ordering::SeqCst)
    }

    /// How many WebSockets are open at the origin.
    pub(crate) fn talking(&self) -> usize {
        self.told.talking.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} before {:?}", self.front, self.back)
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.gate.open();
    }
}
