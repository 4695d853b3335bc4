//! Connections, and how long a client may keep one waiting. `axum::serve` has no such limits: a client that never
//! ends its headers, or never reads its answer, would hold a connection and its buffers for good.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long clients are waited for.
#[derive(Clone, Copy)]
pub struct Patience {
    /// From the opening of a connection, or the end of an answer, to the end of the next headers. Longer than proxies
    /// keep an idle connection (60 s is usual), so that they close first and no request meets a closing one.
    pub headers: Duration,
    /// Without a byte being read of what was sent. Streams send a heartbeat, so theirs show, too.
    pub unread: Duration,
    /// Once the portal is asked to stop: how long it still answers, each time with the word that this connection ends. So
    /// nobody's next request meets a connection that closes, and who sends the requests has time to look elsewhere.
    pub leaving: Duration,
    /// For open requests to end after that.
    pub stopping: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(75),
            unread: Duration::from_secs(30),
            leaving: Duration::from_secs(3),
            stopping: Duration::from_secs(20),
        }
    }
}

/// Serves until the token is cancelled, then says so to whoever asks, and lets open requests end.
pub async fn serve(listener: TcpListener, router: Router, patience: Patience, shutdown: CancellationToken) {
    let open = GracefulShutdown::new();
    let mut gone = std::pin::pin!(async {
        shutdown.cancelled().await;
        tokio::time::sleep(patience.leaving).await;
    });
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or a client that is gone already: the next one may do better.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut gone => break,
        };
        let (router, leaves) = (router.clone(), shutdown.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            let answer = router.clone().oneshot(request.map(Body::new));
            let leaves = leaves.clone();
            async move {
                let mut answer = answer.await?;
                if leaves.is_cancelled() {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience.headers)
            .serve_connection(TokioIo::new(Box::pin(timed(stream, patience))), service);
        let connection = open.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(patience.stopping, open.shutdown()).await;
}

fn timed(stream: TcpStream, patience: Patience) -> TimeoutStream<TcpStream> {
    // Events are small and shall not wait for company.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(patience.unread));
    stream
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use axum::routing::get;
    use futures::StreamExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SHORT: Patience = Patience {
        headers: Duration::from_millis(200),
        unread: Duration::from_millis(200),
        leaving: Duration::from_millis(50),
        stopping: Duration::from_millis(200),
    };

    async fn serving(router: Router, shutdown: &CancellationToken) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, router, SHORT, shutdown.clone()));
        address
    }

    #[tokio::test]
    async fn who_never_ends_their_headers_is_dropped() {
        let address = serving(Router::new(), &CancellationToken::new()).await;
        for sent in ["", "GET / HTTP/1.1\r\nHost: portal\r\nX-Slow: "] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(sent.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let ended = tokio::time::timeout(Duration::from_secs(5), client.read_to_end(&mut answer)).await;
            assert!(ended.is_ok(), "{sent:?} still holds its connection");
        }
    }

    #[tokio::test]
    async fn who_reads_nothing_is_dropped() {
        let alive = Arc::new(());
        let held = alive.clone();
        let endless = move || {
            let held = held.clone();
            async move {
                let piece = vec![b'x'; 64 * 1024];
                Body::from_stream(futures::stream::repeat(piece).map(move |piece| {
                    let _held = &held;
                    Ok::<_, Infallible>(piece)
                }))
            }
        };
        let address = serving(Router::new().route("/", get(endless)), &CancellationToken::new()).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: portal\r\n\r\n").await.unwrap();
        // The handler's own clone, ours, and the body's.
        wait_for("the answer to begin", || Arc::strong_count(&alive) == 3).await;
        wait_for("the answer to be given up", || Arc::strong_count(&alive) == 2).await;
    }

    #[tokio::test]
    async fn stopping_lets_open_requests_end() {
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            "done"
        };
        let shutdown = CancellationToken::new();
        let address = serving(Router::new().route("/", get(slow)), &shutdown).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: portal\r\n\r\n").await.unwrap();
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(30)).await; // it is under way now
        shutdown.cancel();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("done"), "{answer}");
        assert!(TcpStream::connect(address).await.is_err(), "nobody new is let in");
    }

    async fn wait_for(what: &str, holds: impl Fn() -> bool) {
        for _ in 0..500 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain for {what}");
    }
}
