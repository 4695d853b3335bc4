//! How often one address may try to sign in, or show a token that is none. The limits are per replica: they keep a
//! flood from the database and from the identity provider, which has its own limit on guessing.

use std::convert::Infallible;
use std::net::IpAddr;
use std::num::NonZeroU32;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::wording;
use crate::app::App;
use crate::web::{Error, client_address};

/// Two steps a sign-in, and a whole office may share one address.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(60).expect("60 is not zero");
/// One more every second after that.
const A_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("60 is not zero");
/// Addresses that have been quiet are forgotten once this many are known.
const MANY: usize = 10_000;

pub struct AddressLimit(DefaultKeyedRateLimiter<IpAddr>);

impl Default for AddressLimit {
    fn default() -> Self {
        Self(RateLimiter::keyed(Quota::per_minute(A_MINUTE).allow_burst(AT_ONCE)))
    }
}

impl AddressLimit {
    pub fn allows(&self, address: IpAddr) -> bool {
        if self.0.len() > MANY {
            self.0.retain_recent();
        }
        self.0.check_key(&network(address)).is_ok()
    }
}

/// An argument of handlers that cost a query and a call to the provider: not too many from one address.
pub struct Unhurried;

impl FromRequestParts<App> for Unhurried {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        match client_address(parts, app.config.server.proxies) {
            Some(address) if !app.sign_in_limit.allows(address) => {
                Err(Error::TooMany(wording::TOO_MANY.into()))
            }
            _ => Ok(Self),
        }
    }
}

/// Where a request comes from, for handlers that hold nobody up but who fails too often.
pub struct Sender(Option<IpAddr>);

impl FromRequestParts<App> for Sender {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self(client_address(parts, app.config.server.proxies)))
    }
}

impl Sender {
    /// Counts what was shown and is no token: beyond the limit, nothing more is said of it or written to the log.
    pub fn fails(&self, app: &App) -> Result<(), Error> {
        match self.0 {
            Some(address) if !app.failed_tokens.allows(address) => {
                Err(Error::TooMany(wording::TOO_MANY.into()))
            }
            _ => Ok(()),
        }
    }
}

/// A household or a server gets a /64: counting single IPv6 addresses would limit nobody.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6((u128::from(six) & !u128::from(u64::MAX)).into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_runs_out_and_others_do_not() {
        let limit = AddressLimit::default();
        let (one, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        assert!((0..60).all(|_| limit.allows(one)));
        assert!(!limit.allows(one));
        assert!(limit.allows(other));
    }

    #[test]
    fn six_is_counted_by_network() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
