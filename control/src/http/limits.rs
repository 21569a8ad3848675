//! How much anybody may ask: sizes and times of bodies, and how often.

use super::problem::Problem;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of a body, where a path takes one.
pub const SMALL_BODY: usize = 64 * 1024;
/// Bytes of a body that holds many clients.
pub const LARGE_BODY: usize = 1024 * 1024;
/// In so long a body must have come.
const BODY_TIME: Duration = Duration::from_secs(20);
/// Askers that are told apart; beyond that, new ones share what one has.
const MOST_ASKERS: usize = 10_000;

/// How often somebody may ask: so many at once, and so many a second in the long run.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// At once, after a pause.
    pub burst: f64,
    /// In the long run.
    pub per_second: f64,
}

/// Counts what each asker asks. An asker of whom nothing was heard for long is forgotten, and may ask as a new one.
#[derive(Debug)]
pub struct Limiter<K> {
    rate: Rate,
    buckets: Mutex<Buckets<K>>,
}

#[derive(Debug)]
struct Buckets<K> {
    of: HashMap<K, Bucket>,
    /// Of all who found no place.
    shared: Option<Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn at(self, rate: Rate, now: Instant) -> Bucket {
        let grown = now.saturating_duration_since(self.at).as_secs_f64() * rate.per_second;
        Bucket { left: (self.left + grown).min(rate.burst), at: now }
    }
}

impl<K: Eq + Hash> Limiter<K> {
    /// For askers who each may ask so often.
    pub fn new(rate: Rate) -> Limiter<K> {
        Limiter { rate, buckets: Mutex::new(Buckets { of: HashMap::new(), shared: None }) }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// In how many seconds the next one is answered, if this one is too many.
    pub fn take(&self, asker: K, now: Instant) -> Result<(), u64> {
        let rate = self.rate;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.of.len() >= MOST_ASKERS && !buckets.of.contains_key(&asker) {
            buckets.of.retain(|_, bucket| bucket.at(rate, now).left < rate.burst);
        }
        let full = Bucket { left: rate.burst, at: now };
        let bucket = if buckets.of.len() >= MOST_ASKERS && !buckets.of.contains_key(&asker) {
            buckets.shared.get_or_insert(full)
        } else {
            buckets.of.entry(asker).or_insert(full)
        };
        *bucket = bucket.at(rate, now);
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        let wait = Duration::from_secs_f64((1.0 - bucket.left) / rate.per_second);
        Err(wait.as_secs() + 1)
    }

    /// Whether this asker may ask now; counts nothing.
    ///
    /// # Errors
    /// As [`Limiter::take`].
    pub fn check(&self, asker: &K, now: Instant) -> Result<(), u64> {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bucket) = buckets.of.get(asker) else { return Ok(()) };
        let left = bucket.at(self.rate, now).left;
        if left >= 1.0 {
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - left) / self.rate.per_second).as_secs() + 1)
    }

    /// Whether this asker was counted lately.
    pub fn knows(&self, asker: &K) -> bool {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner).of.contains_key(asker)
    }
}

/// Whose address it is: of IPv6 the network of one customer, who has all addresses in it.
pub fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

/// Takes a body of at most [`SMALL_BODY`] whole before anything is done with it.
pub async fn small_body(request: Request, next: Next) -> Response {
    with_body(request, next, SMALL_BODY).await
}

/// Takes a body of at most [`LARGE_BODY`] whole before anything is done with it.
pub async fn large_body(request: Request, next: Next) -> Response {
    with_body(request, next, LARGE_BODY).await
}

async fn with_body(request: Request, next: Next, longest: usize) -> Response {
    let (head, body) = request.into_parts();
    let announced = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > longest) {
        return too_large(longest).into_response();
    }
    match whole(body, longest).await {
        Ok(bytes) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        Err(problem) => problem.into_response(),
    }
}

/// The bytes of a body.
///
/// # Errors
/// 413 if there are more than `longest`, 408 if they do not come, 400 if they break off.
pub async fn whole(body: Body, longest: usize) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(BODY_TIME, Limited::new(body, longest).collect()).await;
    match read {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(too_large(longest)),
        Ok(Err(_)) => Err(Problem::bad_request("the body broke off")),
        Err(_) => {
            let detail = format!("the body did not come within {} s", BODY_TIME.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

fn too_large(longest: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {longest} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3.0, per_second: 0.5 };

    #[test]
    fn after_the_burst_it_is_so_many_a_second() {
        let limiter = Limiter::new(RATE);
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(limiter.take("a", start), Ok(()));
        }
        assert_eq!(limiter.check(&"a", start), Err(3));
        assert_eq!(limiter.take("a", start), Err(3));
        assert_eq!(limiter.take("b", start), Ok(()), "another asker is not concerned");
        let later = start + Duration::from_secs(2);
        assert_eq!(limiter.check(&"a", later), Ok(()));
        assert_eq!(limiter.take("a", later), Ok(()));
        assert!(limiter.take("a", later).is_err());
        assert!(limiter.knows(&"a") && !limiter.knows(&"c"));
    }

    #[test]
    fn memory_is_bounded_and_nobody_is_freed_by_a_crowd() {
        let limiter = Limiter::new(RATE);
        let start = Instant::now();
        for _ in 0..4 {
            let _ = limiter.take(0, start);
        }
        for asker in 1..2 * MOST_ASKERS {
            let _ = limiter.take(asker, start);
        }
        assert_eq!(limiter.buckets.lock().unwrap().of.len(), MOST_ASKERS);
        assert!(limiter.take(0, start).is_err(), "it is still known");
        assert!(limiter.take(3 * MOST_ASKERS, start).is_err(), "the rest share one's part");
        let later = start + Duration::from_secs(60);
        assert_eq!(limiter.take(3 * MOST_ASKERS, later), Ok(()));
        assert_eq!(limiter.buckets.lock().unwrap().of.len(), 1, "who has not asked for long is forgotten");
    }

    #[test]
    fn an_address_stands_for_its_network() {
        let of = |text: &str| household(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
