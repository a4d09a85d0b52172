//! The process that replaces this one: started with our command line, given our listeners, waited for.
//!
//! Both ends of one pair of sockets: the old process keeps one, the new one finds the other as its standard input.
//! Each listener is a packet of its name with the descriptor (SCM_RIGHTS, unix(7)), an empty name ends them, and one
//! packet back says that the new process is ready. A process that ends says so by the end of its stream.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Tells a process that its standard input is its predecessor.
const REPLACES: &str = "OUTRIGGER_REPLACES";
/// Goes before each name, so that no packet is empty: an empty one is the end of the stream.
const MARK: u8 = b'=';
/// The longest name: a service and a namespace, each a DNS label, and a few words.
const NAME_MAX: usize = 256;
/// How long a new process may take to be informed: a snapshot of thousands of services takes a tenth of a second, a control plane
/// that is away may need to be waited for. It gives up before the old one does, so that its reason is heard.
pub(crate) const INFORMED_WITHIN: Duration = Duration::from_secs(5);
/// How long it may take until it is ready, its start and what it is handed among it. Less than whoever asks for an upgrade waits,
/// 15 s, so that they hear what came of it. The file has no word for it: with a snapshot it is a matter of milliseconds, and a host
/// that has none and hears of no control plane is served better by the old process, however long one waits.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(10);

/// The new process, as the old one sees it.
#[derive(Debug)]
pub(crate) struct Successor {
    child: Child,
    talk: OwnedFd,
    within: Duration,
}

impl Successor {
    /// Starts the program that this process was started as, with the same words, and gives it `sockets`.
    ///
    /// # Errors
    /// When there is no such program, or it does not take them.
    pub(crate) fn start<'s>(sockets: impl Iterator<Item = (String, BorrowedFd<'s>)>) -> io::Result<Self> {
        let mut words = std::env::args_os();
        let program = words.next().ok_or(io::ErrorKind::NotFound)?;
        Self::start_program((program, words), sockets, READY_WITHIN)
    }

    fn start_program<'s>(
        (program, words): (OsString, impl Iterator<Item = OsString>),
        mut sockets: impl Iterator<Item = (String, BorrowedFd<'s>)>,
        within: Duration,
    ) -> io::Result<Self> {
        let (talk, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&talk, Timeout::Recv, Some(within))?;
        set_socket_timeout(&talk, Timeout::Send, Some(within))?;
        let child =
            Command::new(program).args(words).env(REPLACES, "1").stdin(Stdio::from(theirs)).spawn()?;
        let successor = Self { child, talk, within };
        // One that ended already is told of by its status, when it is waited for.
        let given = sockets.try_for_each(|(name, socket)| send(&successor.talk, &name, Some(socket)));
        match given.and_then(|()| send(&successor.talk, "", None)) {
            Err(why) if why.kind() != io::ErrorKind::BrokenPipe => Err(why),
            _ => Ok(successor),
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it is ready; one that is not in time is ended.
    ///
    /// # Errors
    /// When it ended, or took longer than it may: [`READY_WITHIN`].
    pub(crate) fn wait_until_ready(mut self) -> io::Result<()> {
        match receive(&self.talk) {
            Ok(Some(_)) => Ok(()),
            // A reset: it ended before it had read everything.
            Ok(None) => Err(ended(&mut self.child)?),
            Err(why) if why.kind() == io::ErrorKind::ConnectionReset => Err(ended(&mut self.child)?),
            Err(why) => {
                self.child.kill()?;
                self.child.wait()?;
                Err(late(self.within, &why))
            }
        }
    }
}

fn ended(child: &mut Child) -> io::Result<io::Error> {
    let status = child.wait()?;
    Ok(io::Error::other(format!("the new process ended: {status}; {DO}")))
}

fn late(within: Duration, why: &io::Error) -> io::Error {
    io::Error::other(format!("the new process was not ready within {within:?} and was ended ({why}); {DO}"))
}

/// What to do where it did not take over.
const DO: &str = "its log says why: mend that and ask again, this one goes on meanwhile";

/// The old process, as the new one sees it.
#[derive(Debug)]
pub(crate) struct Predecessor(OwnedFd);

impl Predecessor {
    /// Whom this process replaces; `None` when it was started by anybody else.
    pub(crate) fn of_this_process() -> io::Result<Option<Self>> {
        if std::env::var_os(REPLACES).is_none() {
            return Ok(None);
        }
        let talk = io::stdin().as_fd().try_clone_to_owned()?;
        set_socket_timeout(&talk, Timeout::Recv, Some(READY_WITHIN))?;
        Ok(Some(Self(talk)))
    }

    /// Its listeners, by name.
    pub(crate) fn receive(&mut self) -> io::Result<Vec<(String, OwnedFd)>> {
        let mut all = Vec::new();
        loop {
            match receive(&self.0)? {
                Some((name, Some(socket))) => all.push((name, socket)),
                Some((_, None)) => return Ok(all),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Tells it that everything that comes from now on is served here.
    pub(crate) fn tell_ready(&self) -> io::Result<()> {
        send(&self.0, "", None)
    }
}

fn send(talk: &OwnedFd, name: &str, socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let socket = socket.as_slice();
    if !socket.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(socket));
    }
    let words = [IoSlice::new(&[MARK]), IoSlice::new(name.as_bytes())];
    sendmsg(talk, &words, &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next packet; `None` when the other process ended.
fn receive(talk: &OwnedFd) -> io::Result<Option<(String, Option<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut words = [0; NAME_MAX + 1];
    let got = recvmsg(talk, &mut [IoSliceMut::new(&mut words)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let Some(name) = words.get(1..got.bytes) else { return Ok(None) };
    let sockets = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    Ok(Some((String::from_utf8_lossy(name).into_owned(), sockets.flatten().next())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listener_crosses_with_its_name_and_the_end_is_told() {
        let (near, far) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        send(&near, "outbound", Some(listener.as_fd())).unwrap();
        send(&near, "", None).unwrap();
        let mut given = Predecessor(far).receive().unwrap();
        let (name, socket) = given.pop().unwrap();
        assert_eq!((name.as_str(), given.len()), ("outbound", 0));
        assert_eq!(TcpListener::from(socket).local_addr().unwrap(), listener.local_addr().unwrap());
        assert!(receive(&near).unwrap().is_none(), "the other end is gone");
    }

    /// What is told of a program that was given nothing.
    fn told(program: &str, words: &[&str], within: Duration) -> io::Error {
        let none = std::iter::empty::<(String, BorrowedFd<'_>)>();
        let words = words.iter().map(Into::into);
        let successor = Successor::start_program((program.into(), words), none, within);
        successor.and_then(Successor::wait_until_ready).unwrap_err()
    }

    #[test]
    fn a_program_that_ends_at_once_is_told_with_its_status() {
        let told = told("false", &[], READY_WITHIN);
        // It may be gone before it was given anything.
        assert!(
            told.to_string().contains("exit status: 1") || told.kind() == io::ErrorKind::BrokenPipe,
            "{told}"
        );
    }

    #[test]
    fn a_program_that_is_not_ready_in_time_is_ended_and_told_with_what_to_do() {
        let told = told("sleep", &["600"], Duration::from_millis(50)).to_string();
        assert!(told.contains("not ready within 50ms and was ended") && told.contains(DO), "{told}");
    }
}
