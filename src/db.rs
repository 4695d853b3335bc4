//! Postgres: one pool, one set of forward-only migrations. All durable state lives here.

use std::time::Duration;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

/// Migrations are compiled in, so the binary and its schema cannot drift apart.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// Opens the pool and brings the schema up to date. Several replicas may start at once:
/// sqlx takes an advisory lock around the migrations.
pub async fn connect(url: &SecretString, max_connections: u32) -> anyhow::Result<PgPool> {
    let pool = PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(5))
        .connect(url.expose_secret())
        .await
        .context("cannot reach the database named by [database] url")?;
    MIGRATIONS.run(&pool).await.context("cannot bring the database schema up to date")?;
    Ok(pool)
}
