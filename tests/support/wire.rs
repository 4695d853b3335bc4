//! What may stand between a portal and Postgres: it passes everything on, and cuts the line once a transaction is committed
//! and before the portal hears of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use super::listen;

/// How a client of Postgres ends a transaction, in the protocol's words.
const COMMIT: &[u8] = b"COMMIT\0";

pub struct Wire {
    pub url: Url,
    trap: Arc<Trap>,
}

#[derive(Default)]
struct Trap {
    /// So many commits are still to go through before the one whose answer is lost; below zero: none is to be lost.
    ahead: AtomicI64,
    lost: AtomicUsize,
}

impl Wire {
    /// In front of this database.
    pub async fn to(database: &str) -> Self {
        let mut url: Url = database.parse().unwrap();
        let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
        let (listener, _) = listen().await;
        let address = listener.local_addr().unwrap();
        url.set_host(Some(&address.ip().to_string())).unwrap();
        url.set_port(Some(address.port())).unwrap();
        let trap = Arc::new(Trap { ahead: AtomicI64::new(-1), ..Trap::default() });
        let of_task = trap.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, trap) = (server.clone(), of_task.clone());
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        // Either side hanging up is how a connection ends.
                        let _ = pass(client, server, &trap).await;
                    }
                });
            }
        });
        Self { url, trap }
    }

    /// After so many commits, the next one is carried out and its answer lost.
    pub fn lose_an_answer_after(&self, commits: usize) {
        self.trap.ahead.store(commits.try_into().unwrap(), Ordering::SeqCst);
    }

    /// How many were.
    pub fn lost(&self) -> usize {
        self.trap.lost.load(Ordering::SeqCst)
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, trap: &Trap) -> std::io::Result<()> {
    let (mut asked, mut answered) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let mut loses = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read? {
                0 => return Ok(()),
                n => {
                    let commits = asked[..n].windows(COMMIT.len()).any(|window| window == COMMIT);
                    loses |= commits && trap.ahead.fetch_sub(1, Ordering::SeqCst) == 0;
                    server.write_all(&asked[..n]).await?;
                }
            },
            read = server.read(&mut answered) => match read? {
                0 => return Ok(()),
                // The server has said that it is done.
                _ if loses => {
                    trap.lost.fetch_add(1, Ordering::SeqCst);
                    return Ok(());
                }
                n => client.write_all(&answered[..n]).await?,
            },
        }
    }
}
