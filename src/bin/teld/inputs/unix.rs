//! A Unix socket: streams of lines, as many as writers connect, or datagrams of whole lines.

use super::feed::{add, Feed, Stream};
use super::pace::{self, Read};
use super::place::{identity, Place};
use super::LAST;
use crate::socket_file;
use rustix::net::Shutdown;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tel::Level;

/// Connections at a time; more wait to be accepted.
const MOST_CONNECTIONS: usize = 1000;
/// How often it is seen to that the path still leads to this socket.
const LOOK: Duration = Duration::from_secs(1);
/// A pause that lets lines gather: a socket holds no more than net.unix.max_dgram_qlen datagrams, often 512, and of a
/// connection a few hundred writes.
const PAUSE: Duration = Duration::from_millis(1);
/// Asked of the system for the receiving side; it gives what it allows.
const RECEIVE: usize = 4 << 20;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Stream,
    Datagram,
}

/// Reads what writers send until the input is to stop; the socket is removed then.
///
/// # Errors
/// Those of making and reading it.
pub fn run(place: &Place, kind: Kind, feed: &Feed) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", place.path.display()));
    let mut first = true;
    while !feed.stop().is_asked() {
        if !std::mem::take(&mut first) {
            feed.say(Level::Warning, "unix", format_args!("{}: another one is there now", place.path.display()));
            add(&feed.counters.restarts, 1);
        }
        socket_file::make_way(&place.path).map_err(named)?;
        let made = match kind {
            Kind::Stream => UnixListener::bind(&place.path).map(Socket::Stream),
            Kind::Datagram => UnixDatagram::bind(&place.path).map(Socket::Datagram),
        };
        let socket = made.map_err(named)?;
        place.hand_out().map_err(named)?;
        let own = Own { place, is: identity(&place.path).map_err(named)? };
        feed.counters.set_trouble("");
        match socket {
            Socket::Stream(listener) => streams(&listener, &own, feed)?,
            Socket::Datagram(socket) => datagrams(&socket, &own, feed)?,
        }
        feed.counters.writers.store(0, Ordering::Relaxed);
    }
    Ok(())
}

enum Socket {
    Stream(UnixListener),
    Datagram(UnixDatagram),
}

/// The socket's file, for as long as it is ours.
struct Own<'a> {
    place: &'a Place,
    is: (u64, u64),
}

impl Own<'_> {
    fn is_there(&self) -> bool {
        identity(&self.place.path).ok() == Some(self.is)
    }
}

impl Drop for Own<'_> {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = fs::remove_file(&self.place.path);
        }
    }
}

struct Connection {
    socket: OwnedFd,
    stream: Stream,
}

fn streams(listener: &UnixListener, own: &Own<'_>, feed: &Feed) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut block = pace::block();
    let mut connections: Vec<Connection> = Vec::new();
    let mut looked = Instant::now();
    let mut deadline: Option<Instant> = None;
    let mut shut = false;
    loop {
        let stopping = shut || deadline.is_some();
        // The listener last, so that the others keep their places; at the end, and with all places taken, it is left out.
        let mut places: Vec<BorrowedFd<'_>> = connections.iter().map(|connection| connection.socket.as_fd()).collect();
        if !stopping && connections.len() < MOST_CONNECTIONS {
            places.push(listener.as_fd());
        }
        let found = feed.stop().wait(&places, Some(if stopping { Duration::ZERO } else { LOOK }))?;
        let mut worth_a_pause = false;
        let mut any = false;
        let mut index = 0;
        connections.retain_mut(|connection| {
            let ready = found.get(index).is_some_and(|found| found.readable);
            index += 1;
            if !ready {
                return true;
            }
            any = true;
            match pace::read(connection.socket.as_fd(), &mut block, &mut connection.stream) {
                Ok(Read::End) | Err(_) => {
                    connection.stream.end();
                    false
                }
                Ok(read) => {
                    worth_a_pause |= read == Read::Little;
                    true
                }
            }
        });
        if found.get(index).is_some_and(|found| found.readable) {
            accept(listener, &mut connections, feed)?;
        }
        feed.counters.writers.store(connections.len() as u64, Ordering::Relaxed);
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            if !own.is_there() {
                // Whoever is connected can still be read to its end only by waiting for it: the new place comes first.
                deadline.get_or_insert(Instant::now() + LAST);
            }
        }
        if feed.stop().is_asked() && !shut {
            shut = true;
            take_no_more(listener)?;
            // Who has connected may have written already.
            accept(listener, &mut connections, feed)?;
            connections.iter().try_for_each(|connection| take_no_more(&connection.socket))?;
        } else if worth_a_pause && !stopping {
            feed.stop().sleep(PAUSE);
        }
        // Once they are shut, what there is has an end.
        if (stopping && !any) || (!shut && deadline.is_some_and(|deadline| Instant::now() >= deadline)) {
            connections.iter_mut().for_each(|connection| connection.stream.end());
            return Ok(());
        }
    }
}

/// From now on writers are refused and know it: what they have written before is all there is to read.
fn take_no_more(socket: impl AsFd) -> io::Result<()> {
    Ok(rustix::net::shutdown(socket, Shutdown::Read)?)
}

/// Takes in those who have connected.
fn accept(listener: &UnixListener, connections: &mut Vec<Connection>, feed: &Feed) -> io::Result<()> {
    while connections.len() < MOST_CONNECTIONS {
        match listener.accept() {
            Ok((socket, _)) => {
                socket.set_nonblocking(true)?;
                connections.push(Connection { socket: socket.into(), stream: feed.stream() });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // That was the last one.
            Err(_) if feed.stop().is_asked() => break,
            // One that went away again, or no descriptors left: the others go on.
            Err(error) => {
                feed.say(Level::Warning, "accept", format_args!("cannot accept a connection: {error}"));
                break;
            }
        }
    }
    Ok(())
}

/// A datagram is one line or several: the last one needs no newline.
fn datagrams(socket: &UnixDatagram, own: &Own<'_>, feed: &Feed) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(socket, RECEIVE);
    let mut block = pace::block();
    let mut stream = feed.stream();
    let mut looked = Instant::now();
    let mut lost = false;
    let mut shut = false;
    loop {
        let found = feed.stop().wait(&[socket.as_fd()], Some(LOOK))?;
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            lost = !own.is_there();
        }
        loop {
            // Looked at each time: writers may go on for ever.
            if !shut && (lost || feed.stop().is_asked()) {
                shut = true;
                take_no_more(socket)?;
            }
            match socket.recv(&mut block) {
                Ok(count) => {
                    stream.block(&block[..count]);
                    stream.end();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && shut => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if found.first().is_some_and(|found| found.readable) {
            feed.stop().sleep(PAUSE);
        }
    }
}
