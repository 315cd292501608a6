//! Connect: a stream to an endpoint.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use io_uring::opcode;
use socket2::{Domain, SockAddr, Type};

use super::once;
use crate::ring::Socket;
use crate::ring::op::close::Descriptor;

/// Where to connect.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A stream socket in the file system.
    Unix(PathBuf),
}

/// Connects; dropping the future abandons the attempt and closes its descriptor. TCP_NODELAY is set.
pub async fn connect(endpoint: &Endpoint) -> io::Result<Socket> {
    let address = match endpoint {
        Endpoint::Tcp(address) => SockAddr::from(*address),
        Endpoint::Unix(path) => SockAddr::unix(path)?,
    };
    let tcp = matches!(endpoint, Endpoint::Tcp(_));
    let socket = socket2::Socket::new(Domain::from(i32::from(address.family())), Type::STREAM, None)?;
    if tcp {
        socket.set_tcp_nodelay(true)?;
    }
    let descriptor = Rc::new(Descriptor::new(socket.into()));
    let address = Box::new(address);
    let entry = opcode::Connect::new(descriptor.fd(), address.as_ptr().cast(), address.len()).build();
    once::start(entry, (Rc::clone(&descriptor), address)).await?;
    Ok(Socket::adopt(descriptor))
}
