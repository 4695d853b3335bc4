//! Where a request came from, for the audit trail and for limits.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;

use crate::app::App;
use crate::auth::UsedToken;
use crate::events::Origin;

impl FromRequestParts<App> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let address = client_address(parts, app.config.server.proxies);
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        Ok(Self {
            address: match parts.extensions.get::<UsedToken>() {
                Some(token) => format!("{address}, token {}", token.name),
                None => address,
            },
            request_id: super::request_id(&parts.headers),
        })
    }
}

/// Who is at the other end. `X-Forwarded-For` is written by anybody, so it counts only as far as the
/// configuration says how many proxies of our own have added to it: the last `proxies` entries are theirs.
pub fn client_address(parts: &Parts, proxies: usize) -> Option<IpAddr> {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    if proxies == 0 {
        return peer;
    }
    let forwarded = parts
        .headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect::<Vec<_>>();
    let ours = forwarded.len().checked_sub(proxies).and_then(|at| forwarded[at].parse().ok());
    ours.or(peer)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn address(forwarded: Option<&str>, proxies: usize) -> String {
        let mut parts = Request::new(()).into_parts().0;
        parts.extensions.insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 4000))));
        if let Some(value) = forwarded {
            parts.headers.insert("x-forwarded-for", value.parse().unwrap());
        }
        client_address(&parts, proxies).unwrap().to_string()
    }

    #[test]
    fn a_forwarded_address_counts_only_behind_our_own_proxies() {
        assert_eq!(address(Some("203.0.113.9"), 0), "10.0.0.1");
        assert_eq!(address(Some("203.0.113.9"), 1), "203.0.113.9");
        assert_eq!(address(Some("6.6.6.6, 203.0.113.9"), 1), "203.0.113.9"); // the first one is the client's own claim
        assert_eq!(address(Some("6.6.6.6, 203.0.113.9, 10.0.0.2"), 2), "203.0.113.9");
        assert_eq!(address(Some("nonsense"), 1), "10.0.0.1");
        assert_eq!(address(None, 1), "10.0.0.1");
    }
}
