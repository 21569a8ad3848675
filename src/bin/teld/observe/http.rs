//! Metrics and health over HTTP, for a scraper on this host.

use super::picture::Observed;
use super::{listen, metrics};
use crate::config::Metrics;
use crate::wait::Stop;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use tel::Log;

/// A request's head, at most.
const MOST_HEAD: usize = 8 << 10;
/// How long a request may take to come, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(2);

/// The listening port.
pub struct Http {
    listener: TcpListener,
    most_clients: usize,
}

impl Http {
    /// # Errors
    /// Those of bind(2) and listen(2).
    pub fn bind(metrics: &Metrics) -> io::Result<Http> {
        let listener = TcpListener::bind(metrics.listen)?;
        listener.set_nonblocking(true)?;
        Ok(Http { listener, most_clients: metrics.most_clients })
    }

    /// Answers, one after the other, until it is to stop.
    pub fn serve(&self, observed: &Observed, stop: &Stop, log: &Log) {
        let accept = || self.listener.accept().map(|(connection, _)| connection);
        let answer = |connection| self.answer(connection, observed);
        listen::serve("metrics", self.listener.as_fd(), PATIENCE, accept, answer, stop, log);
    }

    fn answer(&self, mut connection: TcpStream, observed: &Observed) -> io::Result<()> {
        connection.set_nonblocking(false)?;
        connection.set_write_timeout(Some(PATIENCE))?;
        let head = head(&mut connection)?;
        let (status, kind, body) = self.respond(&head, observed);
        let is_head = head.starts_with("HEAD ");
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
            body.len(),
            if is_head { "" } else { &body },
        );
        connection.write_all(answer.as_bytes())
    }

    fn respond(&self, head: &str, observed: &Observed) -> (&'static str, &'static str, String) {
        const TEXT: &str = "text/plain";
        let mut words = head.lines().next().unwrap_or_default().split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if words.next().is_none_or(|version| !version.starts_with("HTTP/1.")) {
            return ("400 Bad Request", TEXT, "not a request\n".into());
        }
        if !matches!(method, "GET" | "HEAD") {
            return ("405 Method Not Allowed", TEXT, "GET and HEAD only\n".into());
        }
        let path = target.split('?').next().unwrap_or_default();
        if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
            return ("404 Not Found", TEXT, "there are /metrics, /healthz and /readyz\n".into());
        }
        let picture = match observed.picture() {
            Ok(picture) => picture,
            Err(error) => return ("500 Internal Server Error", TEXT, format!("{error}\n")),
        };
        match path {
            "/metrics" => ("200 OK", "text/plain; version=0.0.4", metrics::page(&picture, self.most_clients)),
            "/healthz" if picture.producer.closing => ("503 Service Unavailable", TEXT, "takes no more lines\n".into()),
            "/healthz" => ("200 OK", TEXT, "ok\n".into()),
            _ => match picture.troubles() {
                troubles if troubles.is_empty() && !picture.producer.closing => ("200 OK", TEXT, "ready\n".into()),
                troubles => ("503 Service Unavailable", TEXT, troubles.join("\n") + "\n"),
            },
        }
    }
}

/// The request's head.
fn head(connection: &mut TcpStream) -> io::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < MOST_HEAD {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        connection.set_read_timeout(Some(left))?;
        match connection.read(&mut piece)? {
            0 => break,
            count => head.extend_from_slice(&piece[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
