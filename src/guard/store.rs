//! What was seen of a guarded environment, and what explains it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

use crate::deploy::DeployId;
use crate::kube::sources::Source;

/// What an object ran before, and whether that is news.
#[derive(Debug, PartialEq, Eq)]
pub enum Noted {
    /// Somebody noted it already, or something newer.
    Known,
    /// It runs something else now. None: it is new itself.
    Changed { before: Option<BTreeMap<String, String>> },
}

/// What each object was last seen to run, by its uid.
pub async fn all(db: &PgPool, cluster: &str) -> sqlx::Result<HashMap<String, String>> {
    let rows = sqlx::query!("select uid, runs from guarded_sources where cluster = $1", cluster);
    Ok(rows.fetch_all(db).await?.into_iter().map(|row| (row.uid, row.runs)).collect())
}

/// Notes what an object runs, and locks its row until the commit: of several replicas one finds it changed.
pub async fn note(tx: &mut PgConnection, cluster: &str, source: &Source) -> sqlx::Result<Noted> {
    let Source { namespace, kind, name, uid, resource_version, generation, runs, images, .. } = source;
    let inserted = sqlx::query!(
        "insert into guarded_sources (cluster, uid, namespace, kind, name, resource_version, generation, runs, images)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict do nothing",
        cluster,
        uid,
        namespace,
        kind,
        name,
        resource_version,
        *generation,
        runs,
        Json(images) as _,
    )
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(Noted::Changed { before: None });
    }
    let row = sqlx::query!(
        r#"select resource_version, generation, runs, images as "images: Json<BTreeMap<String, String>>"
           from guarded_sources where cluster = $1 and uid = $2 for update"#,
        cluster,
        uid,
    )
    .fetch_one(&mut *tx)
    .await?;
    if row.runs == *runs || row.resource_version >= *resource_version {
        return Ok(Noted::Known);
    }
    sqlx::query!(
        "update guarded_sources set resource_version = $3, generation = $4, runs = $5, images = $6
         where cluster = $1 and uid = $2",
        cluster,
        uid,
        resource_version,
        *generation,
        runs,
        Json(images) as _,
    )
    .execute(&mut *tx)
    .await?;
    // A newer API server fills in a default that an older one did not know: nobody changed anything.
    if generation.is_some() && row.generation == *generation {
        return Ok(Noted::Known);
    }
    Ok(Noted::Changed { before: Some(row.images.0) })
}

/// Lets what a deploy wrote explain this change. False: it explained one already.
pub async fn credit(
    tx: &mut PgConnection,
    deploy: DeployId,
    marker: &str,
    cluster: &str,
    source: &Source,
) -> sqlx::Result<bool> {
    let credited = sqlx::query!(
        "insert into guard_credits (marker, deploy, cluster, uid, runs) values ($5, $1, $2, $3, $4) on conflict do nothing",
        deploy.0,
        cluster,
        source.uid,
        source.runs,
        marker,
    );
    Ok(credited.execute(tx).await?.rows_affected() == 1)
}

/// Whether all of this kind was seen here before.
pub async fn has_baseline(
    tx: &mut PgConnection,
    cluster: &str,
    namespace: &str,
    kind: &str,
) -> sqlx::Result<bool> {
    let taken = sqlx::query_scalar!(
        r#"select exists (select 1 from guard_baselines where cluster = $1 and namespace = $2 and kind = $3) as "taken!""#,
        cluster,
        namespace,
        kind,
    );
    taken.fetch_one(tx).await
}

/// All of this kind was noted, in these namespaces.
pub async fn take_baseline(
    db: &PgPool,
    cluster: &str,
    namespaces: &BTreeSet<String>,
    kind: &str,
) -> sqlx::Result<()> {
    let namespaces: Vec<String> = namespaces.iter().cloned().collect();
    sqlx::query!(
        "insert into guard_baselines (cluster, namespace, kind) select $1, namespace, $3 from unnest($2::text[]) as namespace
         on conflict do nothing",
        cluster,
        &namespaces,
        kind,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets, a day later, what was deleted.
pub async fn gone(db: &PgPool, cluster: &str, uid: &str) -> sqlx::Result<()> {
    sqlx::query!("update guarded_sources set gone = now() where cluster = $1 and uid = $2", cluster, uid)
        .execute(db)
        .await?;
    sqlx::query!("delete from guarded_sources where gone < now() - interval '1 day'").execute(db).await?;
    Ok(())
}
