//! What the task does while one process takes over from another, on either side.

use std::io;

use tokio::sync::oneshot;

use super::{Driver, Inputs};
use crate::kernel::handover::{Given, Inventory, Linked, Standing, Taken};
use crate::kernel::link::Mode;
use crate::kernel::steer;

/// A step of it.
pub(in crate::kernel) enum Hand {
    /// Duplicates of all that another process takes over.
    Give(oneshot::Sender<Option<Given>>),
    /// Change nothing from now on; who is denied?
    Freeze(oneshot::Sender<Standing>),
    /// Go on as before: nobody took over.
    Thaw(oneshot::Sender<()>),
    /// Begin, from where another process has been; the answer comes once its links run this one's program.
    Take(Option<Given>, Standing, oneshot::Sender<()>),
    /// The listeners are this process's.
    Steer(oneshot::Sender<()>),
}

impl Driver {
    /// Does a step, off this runtime's threads where it takes its time. Whoever asked may have gone.
    pub(super) async fn hand(mut self, step: Hand, inputs: &mut Inputs) -> Option<Self> {
        match step {
            Hand::Give(reply) => {
                let given = self.give();
                let given = given.inspect_err(|error| tracing::warn!(%error, "the kernel half is not handed over"));
                let _ = reply.send(given.ok());
                Some(self)
            }
            Hand::Freeze(reply) => {
                self.turn(inputs);
                self.rests = true;
                self.apart(|driver| drop(reply.send(driver.dropping.standing()))).await
            }
            Hand::Thaw(reply) => {
                self.rests = false;
                self.apart(|driver| {
                    driver.dropping.group().into_iter().for_each(|group| group.regain());
                    let _ = reply.send(());
                })
                .await
            }
            Hand::Take(given, standing, reply) => {
                let Taken { heirloom, listeners } = given.map(Taken::of).unwrap_or_default();
                self.dropping.inherit(heirloom, standing);
                (self.listeners_before, self.rests) = (listeners, false);
                let next = self.step(inputs, true).await?;
                let _ = reply.send(());
                Some(next)
            }
            Hand::Steer(reply) => {
                self.steer_waits = false;
                self.apart(|driver| {
                    driver.take_listeners();
                    let _ = reply.send(());
                })
                .await
            }
        }
    }

    fn take_listeners(&mut self) {
        if let Some(listeners) = self.listeners_before.take() {
            steer::take_over(listeners, &*self.beside.workers);
        }
        self.wanted.clone().into_iter().for_each(|wanted| self.follow_steer(&wanted));
        self.publish();
    }

    fn give(&mut self) -> io::Result<Given> {
        let (mut inventory, mut descriptors) = (Inventory::default(), Vec::new());
        if let Some(group) = self.dropping.group() {
            let (links, sources) = group.share()?;
            for (place, mode, link) in links {
                let native = mode == Mode::Native;
                inventory.links.push(Linked { index: place.index, name: place.name, native });
                descriptors.push(link);
            }
            inventory.sources = true;
            descriptors.extend(sources);
        }
        if let Some(steer) = &self.steer {
            inventory.listeners = true;
            descriptors.push(steer.share()?);
        }
        Ok(Given { inventory, descriptors })
    }
}
