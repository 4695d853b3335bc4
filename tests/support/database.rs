//! A database for each test, copied from one that has the schema already. Gone when the test is over.

use pilothouse::db::MIGRATIONS;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use url::Url;

pub struct Database {
    server: Url,
    name: String,
    url: Url,
}

impl Database {
    pub async fn new() -> Self {
        let server: Url = std::env::var("DATABASE_URL")
            .expect("DATABASE_URL is not set: run bin/test, or name a Postgres where databases may be made")
            .parse()
            .unwrap();
        let mut connection = PgConnection::connect(server.as_str()).await.unwrap();
        let template = template(&mut connection, &server).await;
        let name = format!("pilothouse_test_{}", uuid::Uuid::now_v7().simple());
        run(&mut connection, format!(r#"create database "{name}" template "{template}""#)).await;
        connection.close().await.unwrap();
        Self { url: with_name(&server, &name), server, name }
    }

    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// As if the server were gone: nobody may connect, and who is connected no longer is.
    pub async fn go_away(&self) {
        let mut connection = PgConnection::connect(self.server.as_str()).await.unwrap();
        run(&mut connection, format!(r#"alter database "{}" with allow_connections false"#, self.name)).await;
        let end =
            format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}'", self.name);
        run(&mut connection, end).await;
    }

    pub async fn come_back(&self) {
        let mut connection = PgConnection::connect(self.server.as_str()).await.unwrap();
        run(&mut connection, format!(r#"alter database "{}" with allow_connections true"#, self.name)).await;
    }
}

/// The database that tests are copied from, made by the first test that needs this version of the schema.
async fn template(connection: &mut PgConnection, server: &Url) -> String {
    let schema =
        MIGRATIONS.iter().fold(Sha256::new(), |hash, migration| hash.chain_update(&migration.checksum));
    let name = format!("pilothouse_template_{}", hex::encode(&schema.finalize()[..8]));
    run(connection, "select pg_advisory_lock(7146)".into()).await;
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(&name)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    if !exists {
        // Under another name until it is whole, so that an interrupted run leaves nothing half made.
        let draft = format!("{name}_draft");
        run(connection, format!(r#"drop database if exists "{draft}" with (force)"#)).await;
        run(connection, format!(r#"create database "{draft}""#)).await;
        let mut inside = PgConnection::connect(with_name(server, &draft).as_str()).await.unwrap();
        MIGRATIONS.run(&mut inside).await.unwrap();
        inside.close().await.unwrap();
        run(connection, format!(r#"alter database "{draft}" rename to "{name}""#)).await;
    }
    run(connection, "select pg_advisory_unlock(7146)".into()).await;
    name
}

async fn run(connection: &mut PgConnection, sql: String) {
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
}

fn with_name(server: &Url, name: &str) -> Url {
    let mut url = server.clone();
    url.set_path(name);
    url
}

impl Drop for Database {
    /// On a thread of its own: the test's runtime may be ending.
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = PgConnection::connect(server.as_str()).await.unwrap();
                run(&mut connection, format!(r#"drop database if exists "{name}" with (force)"#)).await;
            });
        });
        let _ = dropped.join(); // a test that failed says why itself
    }
}
