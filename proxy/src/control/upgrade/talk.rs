//! Messages and descriptors over a Unix socket, each with a deadline.
//!
//! A message is its length (four octets, the highest first) and so much JSON. Descriptors go as ancillary data of single
//! octets, at most 253 at once, which is all that the kernel takes (`SCM_MAX_FD`).

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Descriptors of one message.
const AT_ONCE: usize = 253;
/// Octets of a message that asks or reports.
pub(super) const SHORT: usize = 1 << 20;
/// Octets of a message with tables in it.
pub(super) const LONG: usize = 256 << 20;
/// Octets that room is made for before they are there.
const AHEAD: usize = 64 << 10;

/// One end of a conversation.
#[derive(Debug)]
pub(super) struct Talk(UnixStream);

impl Talk {
    /// On a connected socket.
    pub(super) fn on(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        Ok(Self(stream))
    }

    /// Who is at the other end: process and user.
    pub(super) fn peer(&self) -> io::Result<(u32, u32)> {
        let peer = rustix::net::sockopt::socket_peercred(&self.0)?;
        Ok((peer.pid.as_raw_nonzero().get().unsigned_abs(), peer.uid.as_raw()))
    }

    /// Says something.
    pub(super) fn say<T: Serialize>(&mut self, message: &T, deadline: Instant) -> io::Result<()> {
        let json = serde_json::to_vec(message)?;
        let length = u32::try_from(json.len()).map_err(io::Error::other)?;
        self.0.set_write_timeout(Some(left(deadline)?))?;
        self.0.write_all(&[&length.to_be_bytes(), json.as_slice()].concat())
    }

    /// Hears something of at most `max` octets. The end of the conversation is [`io::ErrorKind::UnexpectedEof`].
    pub(super) fn hear<T: DeserializeOwned>(&mut self, max: usize, deadline: Instant) -> io::Result<T> {
        let mut length = [0; 4];
        self.fill(&mut length, deadline)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} octets")));
        }
        let mut json = Vec::new();
        while json.len() < length {
            // Whoever only says that much is to come gets no room for it.
            let begin = json.len();
            json.resize(length.min(begin + AHEAD), 0);
            self.fill(&mut json[begin..], deadline)?;
        }
        Ok(serde_json::from_slice(&json)?)
    }

    fn fill(&mut self, mut octets: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !octets.is_empty() {
            match self.read_some(octets, deadline)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => octets = &mut octets[n..],
            }
        }
        Ok(())
    }

    fn read_some(&mut self, octets: &mut [u8], deadline: Instant) -> io::Result<usize> {
        loop {
            self.0.set_read_timeout(Some(left(deadline)?))?;
            match self.0.read(octets) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => left(deadline).map(drop)?,
                other => return other,
            }
        }
    }

    /// Gives duplicates of descriptors.
    pub(super) fn give(&mut self, descriptors: &[BorrowedFd<'_>], deadline: Instant) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(AT_ONCE))];
        for some in descriptors.chunks(AT_ONCE) {
            self.0.set_write_timeout(Some(left(deadline)?))?;
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(some));
            sendmsg(self.0.as_fd(), &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
        }
        Ok(())
    }

    /// Takes so many descriptors; each is closed when a program is executed.
    pub(super) fn take(&mut self, count: usize, deadline: Instant) -> io::Result<Vec<OwnedFd>> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let expected = (count - taken.len()).min(AT_ONCE);
            let some = self.take_some(deadline)?;
            if some.len() != expected {
                let error = format!("{} descriptors came in place of {expected}: are there too many open?", some.len());
                return Err(io::Error::other(error));
            }
            taken.extend(some);
        }
        Ok(taken)
    }

    fn take_some(&mut self, deadline: Instant) -> io::Result<Vec<OwnedFd>> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        self.0.set_read_timeout(Some(left(deadline)?))?;
        let mut octet = [0];
        let received =
            recvmsg(self.0.as_fd(), &mut [IoSliceMut::new(&mut octet)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut taken = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                taken.extend(some);
            }
        }
        match received.flags.contains(ReturnFlags::CTRUNC) {
            true => Err(io::Error::other("not all descriptors came: are there too many open?")),
            false => Ok(taken),
        }
    }
}

/// What is left until then; none is an error.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Whether a process may take part: one of the same user, or root's.
pub(super) fn may(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> [Talk; 2] {
        let (one, other) = UnixStream::pair().expect("a pair");
        [one, other].map(|end| Talk::on(end).expect("a socket"))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn more_descriptors_than_one_message_holds_arrive_in_order_and_close_on_exec() {
        let [mut old, mut new] = pair();
        let files: Vec<_> = (0..600).map(|_| tempfile::tempfile().expect("a file")).collect();
        let inode = |fd: BorrowedFd<'_>| std::fs::File::from(fd.try_clone_to_owned().expect("open")).metadata();
        let inode = |fd: BorrowedFd<'_>| std::os::unix::fs::MetadataExt::ino(&inode(fd).expect("a file"));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let all: Vec<_> = files.iter().map(AsFd::as_fd).collect();
                old.say(&600, soon()).and_then(|()| old.give(&all, soon())).and_then(|()| old.say(&"after", soon()))
            });
            let count: usize = new.hear(SHORT, soon()).expect("a number");
            let taken = new.take(count, soon()).expect("descriptors");
            for (file, fd) in files.iter().zip(&taken) {
                assert_eq!(inode(file.as_fd()), inode(fd.as_fd()));
                let flags = rustix::io::fcntl_getfd(fd).expect("flags");
                assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
            }
            assert_eq!(new.hear::<String>(SHORT, soon()).expect("a word"), "after");
        });
    }

    #[test]
    fn a_length_that_is_a_lie_takes_no_memory_and_no_time() {
        let [mut liar, mut new] = pair();
        liar.0.write_all(&u32::MAX.to_be_bytes()).expect("written");
        let refused = new.hear::<String>(LONG, soon()).expect_err("too long");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        let [mut liar, mut new] = pair();
        liar.0.write_all(&[0x0f, 0xff, 0xff, 0xff, b'"']).expect("written");
        drop(liar);
        assert_eq!(new.hear::<String>(LONG, soon()).expect_err("torn").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn silence_ends_at_the_deadline_and_octets_one_by_one_do_not_move_it() {
        let [mut slow, mut new] = pair();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while begun.elapsed() < Duration::from_secs(5) && slow.0.write_all(&[0]).is_ok() {
                    std::thread::sleep(Duration::from_millis(20));
                    if begun.elapsed() < Duration::from_millis(60) {
                        let _ = slow.0.write_all(&[0, 0, 255]);
                    }
                }
            });
            let heard = new.hear::<String>(SHORT, begun + Duration::from_millis(200));
            assert!(heard.is_err());
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
            drop(new);
        });
    }

    #[test]
    fn fewer_descriptors_than_announced_are_an_error() {
        let [mut old, mut new] = pair();
        let file = tempfile::tempfile().expect("a file");
        old.give(&[file.as_fd()], soon()).expect("given");
        assert!(new.take(2, soon()).is_err());
    }
}
