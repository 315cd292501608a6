//! All that one process has for the next one, and where in the row of descriptors it stands.

use std::io;
use std::os::fd::OwnedFd;

use tokio::runtime::Handle;

use super::Giver;
use crate::control::port::{Handed, Secrets};
use crate::control::upgrade::message::{Manifest, Places, Secret, Sockets, VERSION};

/// Descriptors in a row.
#[derive(Default)]
struct Row(Vec<OwnedFd>);

impl Row {
    fn add(&mut self, descriptors: impl IntoIterator<Item = OwnedFd>) -> Places {
        let begin = self.0.len();
        self.0.extend(descriptors);
        begin..self.0.len()
    }

    fn add_one(&mut self, descriptor: &OwnedFd) -> io::Result<usize> {
        Ok(self.add([descriptor.try_clone()?]).start)
    }

    fn sockets(&mut self, handed: Handed) -> Sockets {
        let Handed { listener, address, port, sockets } = handed;
        let places = self.add(sockets);
        Sockets { listener: listener.to_string(), address: address.to_string(), port, places }
    }
}

impl Giver {
    /// The manifest, and the descriptors that it speaks of.
    pub(super) fn manifest(&self) -> io::Result<(Manifest, Vec<OwnedFd>)> {
        let mut row = Row::default();
        let parts = &self.parts;
        let sockets = parts.process.sockets()?.into_iter().map(|handed| row.sockets(handed)).collect();
        let management = parts.management.iter().map(|(address, fd)| Ok((*address, row.add_one(fd)?)));
        let management = management.collect::<io::Result<_>>()?;
        let metrics = parts.metrics.as_ref().map(|(address, fd)| io::Result::Ok((*address, row.add_one(fd)?)));
        let metrics = metrics.transpose()?;
        let upgrade = self.own.as_ref().map(|(path, fd)| io::Result::Ok((path.clone(), row.add_one(fd)?)));
        let upgrade = upgrade.transpose()?;
        let lock = parts.state.lock().transpose()?.map(|fd| row.add([fd]).start);
        let kernel = Handle::current().block_on(parts.kernel.give());
        let kernel = kernel.map(|given| (given.inventory, row.add(given.descriptors)));
        let Secrets { sticky_key, tickets } = parts.process.secrets();
        let digits = sticky_key.iter().flatten().map(|octet| format!("{octet:02x}")).collect();
        let manifest = Manifest {
            version: VERSION,
            pid: std::process::id(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            descriptors: row.0.len(),
            sockets,
            management,
            metrics,
            upgrade,
            lock,
            home: parts.home.clone(),
            sticky_key: Secret(digits),
            tickets: Secret(String::from_utf8(tickets).unwrap_or_default()),
            kernel,
        };
        Ok((manifest, row.0))
    }
}
