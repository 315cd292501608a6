//! A connection from its first octet to its protocol: what a client says before it speaks HTTP, and in which version it
//! then does.

use std::rc::Rc;

use super::{announced, connection, secure};
use crate::listen::Client;
use crate::worker::{Registered, Worker};

/// Serves an accepted connection to its end.
pub async fn entered(worker: Rc<Worker>, client: Rc<Client>, registered: Registered) {
    if client.whence.is_proxy() && !Box::pin(announced::read(&worker, &client)).await {
        return;
    }
    let is_ready = match client.socket.tls() {
        Some(tls) => Box::pin(secure::secure(&worker, &client, tls)).await,
        None => true,
    };
    if is_ready {
        connection(worker, client, registered).await;
    }
}
