//! Importing: files → entities → one transaction per configured path. What changed is written, what vanished is
//! deleted, and where nothing changed nothing is written. What could not be read keeps what was there.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::entity::EntityRef;
use super::mistake::{Mistake, Problem, nearest};
use super::parse::{self, Entity};
use super::walk;

/// Any number, the same for every replica: imports wait for each other.
const IMPORT_LOCK: i64 = 0x0070_696c_6f74_0002;
/// Rows a statement; keeps the arrays of one statement at a few megabytes.
const BATCH: usize = 2_000;
/// Looking for what was probably meant costs a comparison with every name.
const MOST_SUGGESTIONS: usize = 50;

/// Which paths an import is about.
#[derive(Clone, Debug)]
pub struct Request {
    pub paths: Vec<PathBuf>,
    /// Given on the command line, not by the configuration: other roots are left alone.
    pub by_hand: bool,
    /// Names of the configured environments.
    pub environments: Vec<String>,
}

/// What an import found and did.
#[derive(Debug, Default)]
pub struct Report {
    pub entities: usize,
    pub written: u64,
    pub deleted: u64,
    pub problems: Vec<Problem>,
    /// Of everything that was looked at; equal to that of the last import means there is nothing to do.
    pub fingerprint: u64,
}

/// Imports, unless nothing on disk changed since `last` (the fingerprint of an earlier report).
pub async fn import(db: &PgPool, request: Request, last: Option<u64>) -> anyhow::Result<Option<Report>> {
    let by_hand = request.by_hand;
    let read = tokio::task::spawn_blocking(move || read(&request, last));
    let Some((mut roots, fingerprint)) = read.await.context("reading the catalogue's files")? else {
        return Ok(None);
    };
    let mut report = Report { fingerprint, ..Report::default() };
    let names: Vec<String> = roots.iter().map(|root| root.name.to_string()).collect();
    if !by_hand {
        report.deleted += forget_other_roots(db, &names).await?;
    }
    let mut known = first_of_each(&mut roots);
    known.extend(elsewhere(db, &mut roots, &names).await?);
    tell_dangling(&mut roots, &known);
    for root in &mut roots {
        root.problems.sort();
        let (written, deleted) =
            store(db, root, by_hand).await.with_context(|| format!("storing {}", root.name))?;
        report.entities += root.entities.len();
        report.written += written;
        report.deleted += deleted;
        report.problems.append(&mut root.problems);
    }
    Ok(Some(report))
}

/// What was read under one path.
struct Root {
    name: Arc<str>,
    entities: Vec<Entity>,
    problems: Vec<Problem>,
    /// Files (or everything, where a folder could not be listed) whose earlier entities are kept.
    keep: Keep,
}

enum Keep {
    Everything,
    Files(HashSet<Arc<str>>),
}

impl Keep {
    fn holds(&self, file: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Files(files) => files.contains(file),
        }
    }
}

/// Reads every file of every path. None: nothing changed.
fn read(request: &Request, last: Option<u64>) -> Option<(Vec<Root>, u64)> {
    let found: Vec<_> = request.paths.iter().map(|path| walk::walk(path)).collect();
    let fingerprint = found.iter().fold(0_u64, |all, found| all.rotate_left(7) ^ found.fingerprint);
    if last == Some(fingerprint) {
        return None;
    }
    let mut roots = Vec::new();
    for (path, found) in request.paths.iter().zip(found) {
        let mut root = Root {
            name: walk::name(path),
            entities: Vec::new(),
            problems: found.problems,
            keep: if found.incomplete { Keep::Everything } else { Keep::Files(HashSet::new()) },
        };
        for file in &found.files {
            root.read(file, &request.environments);
        }
        roots.push(root);
    }
    Some((roots, fingerprint))
}

impl Root {
    fn read(&mut self, path: &std::path::Path, environments: &[String]) {
        let name = walk::name(path);
        let incomplete = match walk::read(path) {
            Ok(text) => {
                let parsed = parse::file(&name, &text, environments);
                self.entities.extend(parsed.entities);
                self.problems.extend(parsed.problems);
                parsed.incomplete
            }
            Err(problem) => {
                self.problems.push(problem);
                true
            }
        };
        if let (true, Keep::Files(files)) = (incomplete, &mut self.keep) {
            files.insert(name);
        }
    }
}

/// Keeps the first of several entities with one name and tells of the others. Returns who is known.
fn first_of_each(roots: &mut [Root]) -> HashSet<EntityRef> {
    let mut first: HashMap<EntityRef, (Arc<str>, u32)> = HashMap::new();
    let mut services: HashMap<String, String> = HashMap::new();
    for root in roots {
        let problems = &mut root.problems;
        root.entities.retain(|entity| {
            let reference = entity.reference();
            if let Some((file, line)) = first.get(&reference) {
                let (file, line) = (file.clone(), *line);
                let mistake = Mistake::Duplicate { reference: reference.to_string(), file, line };
                problems.push(mistake.at(&entity.file, entity.at));
                return false;
            }
            if reference.kind == "component" {
                let other = services.insert(reference.name.clone(), reference.namespace.clone());
                if let Some(namespace) = other {
                    let mistake = Mistake::SameServiceName { name: entity.name.clone(), namespace };
                    problems.push(mistake.at(&entity.file, entity.at));
                }
            }
            first.insert(reference, (entity.file.clone(), entity.at.line));
            true
        });
    }
    first.into_keys().collect()
}

/// Entities that are in the database and stay there. Those of other roots are first, so ours with the same name go.
async fn elsewhere(db: &PgPool, roots: &mut [Root], names: &[String]) -> sqlx::Result<HashSet<EntityRef>> {
    let rows =
        sqlx::query!("select kind, namespace, name, root, source, line from entities").fetch_all(db).await?;
    let mut known = HashSet::new();
    let mut taken = HashMap::new();
    for row in rows {
        let reference = EntityRef::new(&row.kind, &row.namespace, &row.name);
        if !names.contains(&row.root) {
            taken.insert(reference.clone(), (row.source, row.line));
            known.insert(reference);
        } else if roots.iter().any(|root| *root.name == *row.root && root.keep.holds(&row.source)) {
            known.insert(reference);
        }
    }
    for root in roots.iter_mut().filter(|_| !taken.is_empty()) {
        let problems = &mut root.problems;
        root.entities.retain(|entity| {
            let Some((file, line)) = taken.get(&entity.reference()) else { return true };
            let line = u32::try_from(*line).unwrap_or_default();
            let (reference, file) = (entity.reference().to_string(), file.as_str().into());
            problems.push(Mistake::Duplicate { reference, file, line }.at(&entity.file, entity.at));
            false
        });
    }
    Ok(known)
}

/// Names that nobody has are told, and kept: the other file may come tomorrow.
fn tell_dangling(roots: &mut [Root], known: &HashSet<EntityRef>) {
    let mut suggestions = 0;
    for root in roots {
        for entity in &root.entities {
            for reference in entity.references.iter().filter(|reference| !known.contains(&reference.to)) {
                suggestions += 1;
                let same_kind = known.iter().filter(|other| other.kind == reference.to.kind);
                let near = (suggestions <= MOST_SUGGESTIONS)
                    .then(|| nearest(&reference.to.name, same_kind.map(|other| other.name.as_str())))
                    .flatten();
                let mistake = Mistake::Dangling {
                    field: reference.field.clone(),
                    reference: reference.to.to_string(),
                    near: near.map(Into::into),
                };
                root.problems.push(mistake.at(&entity.file, reference.at));
            }
        }
    }
}

/// Deletes what came from paths that the configuration no longer names.
async fn forget_other_roots(db: &PgPool, names: &[String]) -> sqlx::Result<u64> {
    let mut tx = db.begin().await?;
    let gone = sqlx::query!("delete from entities where not by_hand and root <> all($1)", names)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    let problems = sqlx::query!("delete from import_problems where root <> all($1)", names)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    if gone + problems > 0 {
        notify(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(gone)
}

/// One root, one transaction. Returns how many entities were written and deleted.
async fn store(db: &PgPool, root: &Root, by_hand: bool) -> sqlx::Result<(u64, u64)> {
    let mut tx = db.begin().await?;
    sqlx::query!("select pg_advisory_xact_lock($1)", IMPORT_LOCK).fetch_one(&mut *tx).await?;
    let changed = changes(&mut tx, root).await?;
    let mut written = 0;
    for batch in changed.write.chunks(BATCH) {
        written += upsert(&mut tx, &root.name, batch, by_hand).await?;
    }
    let deleted = match changed.delete.as_slice() {
        [] => 0,
        ids => sqlx::query!("delete from entities where id = any($1)", ids)
            .execute(&mut *tx)
            .await?
            .rows_affected(),
    };
    let problems_changed = store_problems(&mut tx, root).await?;
    if written + deleted > 0 || problems_changed {
        notify(&mut tx).await?;
        tx.commit().await?;
    }
    Ok((written, deleted))
}

struct Changes<'a> {
    write: Vec<(&'a Entity, [u8; 32])>,
    delete: Vec<Uuid>,
}

/// What differs between the files and the table.
async fn changes<'a>(tx: &mut PgConnection, root: &'a Root) -> sqlx::Result<Changes<'a>> {
    let rows = sqlx::query!(
        "select id, kind, namespace, name, source, line, content_hash from entities where root = $1",
        &*root.name
    )
    .fetch_all(tx)
    .await?;
    let mut stored: HashMap<(&str, &str, &str), _> = rows
        .iter()
        .map(|row| ((row.kind.as_str(), row.namespace.as_str(), row.name.as_str()), row))
        .collect();
    let mut write = Vec::new();
    for entity in &root.entities {
        let hash: [u8; 32] = Sha256::digest(&entity.document).into();
        let same = stored.remove(&(&*entity.kind, &*entity.namespace, &*entity.name)).is_some_and(|row| {
            row.content_hash == hash && *row.source == *entity.file && row.line == line(entity)
        });
        if !same {
            write.push((entity, hash));
        }
    }
    let delete = stored.values().filter(|row| !root.keep.holds(&row.source)).map(|row| row.id).collect();
    Ok(Changes { write, delete })
}

fn line(entity: &Entity) -> i32 {
    i32::try_from(entity.at.line).unwrap_or(i32::MAX)
}

async fn upsert(
    tx: &mut PgConnection,
    root: &str,
    batch: &[(&Entity, [u8; 32])],
    by_hand: bool,
) -> sqlx::Result<u64> {
    let column = |pick: fn(&Entity) -> &str| -> Vec<String> {
        batch.iter().map(|(entity, _)| pick(entity).to_string()).collect()
    };
    let lines: Vec<i32> = batch.iter().map(|(entity, _)| line(entity)).collect();
    let hashes: Vec<Vec<u8>> = batch.iter().map(|(_, hash)| hash.to_vec()).collect();
    let ids = sqlx::query_scalar!(
        r#"
        insert into entities (id, root, by_hand, kind, namespace, name, source, line, content_hash, document)
        select gen_random_uuid(), $1, $2, kind, namespace, name, source, line, content_hash, document::jsonb
        from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::bytea[], $9::text[])
            as new (kind, namespace, name, source, line, content_hash, document)
        on conflict on constraint entities_ref do update
            set root = excluded.root, by_hand = excluded.by_hand, source = excluded.source, line = excluded.line,
                content_hash = excluded.content_hash, document = excluded.document, imported = now()
        returning id
        "#,
        root,
        by_hand,
        &column(|entity| &entity.kind),
        &column(|entity| &entity.namespace),
        &column(|entity| &entity.name),
        &column(|entity| &entity.file),
        &lines,
        &hashes,
        &column(|entity| &entity.document),
    )
    .fetch_all(&mut *tx)
    .await?;
    refer(tx, batch, &ids).await?;
    Ok(ids.len() as u64)
}

/// Replaces the references of entities that were just written. Their ids come by name: an upsert promises no order.
async fn refer(tx: &mut PgConnection, batch: &[(&Entity, [u8; 32])], ids: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query!("delete from entity_references where entity = any($1)", ids).execute(&mut *tx).await?;
    let rows: Vec<_> = batch
        .iter()
        .flat_map(|(entity, _)| entity.references.iter().map(move |reference| (entity, reference)))
        .collect();
    let column = |pick: &dyn Fn(&Entity) -> &str| -> Vec<String> {
        rows.iter().map(|(entity, _)| pick(entity).to_string()).collect()
    };
    let fields: Vec<String> = rows.iter().map(|(_, reference)| reference.field.clone()).collect();
    let targets: Vec<String> = rows.iter().map(|(_, reference)| reference.to.to_string()).collect();
    sqlx::query!(
        r#"
        insert into entity_references (entity, field, target)
        select entities.id, new.field, new.target
        from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
            as new (kind, namespace, name, field, target)
        join entities using (kind, namespace, name)
        "#,
        &column(&|entity| &entity.kind),
        &column(&|entity| &entity.namespace),
        &column(&|entity| &entity.name),
        &fields,
        &targets,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Replaces the problems of a root where they differ. True: they did.
async fn store_problems(tx: &mut PgConnection, root: &Root) -> sqlx::Result<bool> {
    type Row = (String, i32, i32, String, String, String);
    let mut now: Vec<Row> = root
        .problems
        .iter()
        .map(|problem| {
            let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
            let (line, column) = (number(problem.at.line), number(problem.at.column));
            // Postgres holds no NUL; a message may quote one.
            let text = |text: &str| text.replace('\0', "\u{fffd}");
            let severity = problem.severity.name().to_string();
            (text(&problem.file), line, column, text(&problem.what), text(&problem.mend), severity)
        })
        .collect();
    now.sort();
    let mut before: Vec<Row> = sqlx::query!(
        "select source, line, col, what, mend, severity from import_problems where root = $1",
        &*root.name
    )
    .map(|row| (row.source, row.line, row.col, row.what, row.mend, row.severity))
    .fetch_all(&mut *tx)
    .await?;
    before.sort();
    if now == before {
        return Ok(false);
    }
    sqlx::query!("delete from import_problems where root = $1", &*root.name).execute(&mut *tx).await?;
    let texts = |pick: fn(&Row) -> &String| -> Vec<String> { now.iter().map(pick).cloned().collect() };
    let numbers = |pick: fn(&Row) -> i32| -> Vec<i32> { now.iter().map(pick).collect() };
    sqlx::query!(
        r#"
        insert into import_problems (root, source, line, col, what, mend, severity)
        select $1, * from unnest($2::text[], $3::int[], $4::int[], $5::text[], $6::text[], $7::text[])
        "#,
        &*root.name,
        &texts(|row| &row.0),
        &numbers(|row| row.1),
        &numbers(|row| row.2),
        &texts(|row| &row.3),
        &texts(|row| &row.4),
        &texts(|row| &row.5),
    )
    .execute(tx)
    .await?;
    Ok(true)
}

/// Tells every replica to load the catalogue anew.
async fn notify(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select pg_notify('catalogue', '')").fetch_one(tx).await?;
    Ok(())
}
