//! Breaking the glass: going ahead without the approval that an environment asks for, and in a freeze, when it can't wait.
//! Who may is configured, says why, and answers for it afterwards: everybody concerned is told, and it stays on a list until
//! somebody who could have approved it signs it off. What the guard found in a cluster stands on the same list.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::deploy::{Action, Deploy, DeployId, ImageChange, Place};
use super::gates::{self, Refusal};
use super::state::{Event, State};
use super::{store, wording};
use crate::app::App;
use crate::auth::{CurrentUser, DecidingUser, Identity, Person, access};
use crate::config::{Config, Environment};
use crate::events::{self, Entry, Origin};
use crate::notices::{self, Kind, News};
use crate::registry::ImageRef;
use crate::web::{Error, Result};

/// The shortest reason that says anything.
const LEAST_REASON: usize = 10;
/// What a page lists at most.
const LISTED: i64 = 200;

/// A wish to break the glass, as it was sent.
#[derive(Clone, Copy)]
pub struct Glass<'a> {
    /// The service's name, where it has to be typed.
    pub confirm: &'a str,
}

impl Glass<'_> {
    /// What has to be mended before it is broken: the field, and the sentence.
    pub(super) fn problem(
        self,
        reason: &str,
        name_to_type: Option<&str>,
    ) -> std::result::Result<(), (&'static str, String)> {
        if reason.trim().chars().count() < LEAST_REASON {
            return Err(("reason", wording::glass_needs_a_reason(LEAST_REASON)));
        }
        match name_to_type {
            Some(name) if self.confirm.trim() != name => Err(("confirm", wording::type_the_name(name))),
            Some(_) | None => Ok(()),
        }
    }
}

/// Refuses whoever may not, before anything is looked up for them. Their groups are those last known: an emergency does not
/// wait for an identity provider that is down as well.
pub fn let_break(user: &Person, environment: &Environment) -> Result<()> {
    gates::may_break_glass(user, environment.name(), &environment.glass_groups())
        .map_err(|refusal| Error::Forbidden(refusal.sentence()))
}

/// The form of what waits for an approval, or for the end of a freeze: for who may go on without, it has the second button.
pub fn form(config: &Config, user: &Person, deploy: &Deploy, now: Timestamp) -> Option<String> {
    let Place { service, environment: name, .. } = &deploy.place;
    let environment = config.environment(name)?;
    let is_frozen = || deploy.can_be_frozen() && environment.frozen(now).is_some();
    let waits = matches!(deploy.state, State::AwaitingApproval { .. })
        || (matches!(deploy.state, State::Queued) && is_frozen());
    if !waits || let_break(user, environment).is_err() {
        return None;
    }
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let form = match &deploy.action {
        Action::Deploy(change) => {
            query.append_pair("version", typed(change));
            query.append_pair("strategy", change.strategy.kind().name());
            "deploy"
        }
        Action::RollBack { release, .. } => {
            query.append_pair("release", &release.to_string());
            "rollback"
        }
        Action::Migrate(migration) => {
            if migration.runs.is_none() {
                query.append_pair("version", &migration.reference);
            }
            "migrate"
        }
        Action::Restart { .. } | Action::Scale { .. } => return None,
    };
    Some(format!("/services/{service}/{name}/{form}?{}", query.finish()))
}

/// What the form takes: the tag, so that it is found in the list; else the whole of what was asked for. It takes a tag
/// for one of the repository that runs.
fn typed(change: &ImageChange) -> &str {
    let Ok(asked) = change.reference.parse::<ImageRef>() else { return &change.reference };
    let runs = change.replaces.values().filter_map(|image| image.parse::<ImageRef>().ok());
    let is_a_tag = asked.tag() == Some(&*change.version) && asked.digest().is_none();
    let same = runs.into_iter().any(|image| image.name() == asked.name());
    if is_a_tag && same { &change.version } else { &change.reference }
}

/// A glass that was broken, and what became of it.
pub struct BrokenGlass {
    pub id: i64,
    /// None: the guard found it in the cluster.
    pub deploy: Option<DeployId>,
    pub title: String,
    target: String,
    pub environment: String,
    pub production: bool,
    cluster: String,
    namespace: String,
    pub by: Person,
    pub reason: String,
    pub at: Timestamp,
    pub review: Option<Review>,
    /// Groups whose members may sign it off.
    pub reviewers: Vec<String>,
    suspects: Vec<String>,
}

/// How somebody signed it off.
pub struct Review {
    pub by: String,
    pub note: String,
    pub at: Timestamp,
}

impl BrokenGlass {
    /// Whether this person may sign it off.
    pub fn may_sign_off(&self, person: &Person) -> std::result::Result<(), Refusal> {
        let broken = gates::Broken {
            by: &self.by,
            signed_off_by: self.review.as_ref().map(|review| review.by.as_str()),
            reviewers: &self.reviewers,
            suspects: &self.suspects,
        };
        broken.may_sign_off(person)
    }

    async fn is_visible_to(&self, app: &App, user: &CurrentUser) -> Result<bool> {
        Ok(self.by.identity == user.identity
            || access::may_view(app, user, &self.cluster, &self.namespace).await?)
    }
}

/// Something that went ahead without an approval.
pub struct Unapproved<'a> {
    pub deploy: Option<DeployId>,
    pub title: String,
    /// As the audit trail names it.
    pub target: &'a str,
    pub environment: &'a str,
    /// Empty: nobody is known to own it.
    pub team: &'a str,
    pub cluster: &'a str,
    pub namespace: &'a str,
    pub by: &'a Person,
    pub reason: &'a str,
}

/// Puts it on the list and tells everybody concerned, in the caller's transaction: whoever could have approved it, and
/// whoever may do the same.
pub async fn note(
    tx: &mut PgConnection,
    config: &Config,
    unapproved: &Unapproved<'_>,
    now: Timestamp,
) -> sqlx::Result<()> {
    let Unapproved { deploy, title, target, environment, team, cluster, namespace, by, reason } = unapproved;
    sqlx::query!(
        "insert into glass_reviews (deploy, title, target, environment, team, cluster, namespace, by_person, reason, at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        deploy.map(|id| id.0),
        title,
        *target,
        *environment,
        *team,
        *cluster,
        *namespace,
        Json(by) as _,
        *reason,
        now.to_sqlx() as _,
    )
    .execute(&mut *tx)
    .await?;
    let mut groups: BTreeSet<String> = reviewers(config, environment, team).into_iter().collect();
    groups.extend(config.environment(environment).map(Environment::glass_groups).unwrap_or_default());
    if deploy.is_none() {
        groups.extend(suspects(config, environment));
    }
    let news = News {
        kind: Kind::GlassBroken,
        deploy: deploy.map(|id| id.0),
        text: wording::glass_news(unapproved),
        people: &[],
        groups: &groups.into_iter().collect::<Vec<_>>(),
        by: Some(&by.identity),
    };
    notices::tell(tx, &news, now).await
}

/// Who could have approved it; where nobody is known to own it any more, the platform team.
fn reviewers(config: &Config, environment: &str, team: &str) -> Vec<String> {
    let found = config.environment(environment).filter(|_| !team.is_empty());
    found
        .map(|environment| environment.approvers_for(team))
        .filter(|groups| !groups.is_empty())
        .unwrap_or_else(|| config.access.platform.iter().cloned().collect())
}

/// Who gets past the guard: an object in a cluster names no person.
fn suspects(config: &Config, environment: &str) -> Vec<String> {
    let guard = config.environment(environment).and_then(|found| found.guard.as_ref());
    guard.iter().flat_map(|guard| &guard.break_glass).map(|group| group.get_ref().clone()).collect()
}

/// Which of the list.
enum Which {
    Waiting,
    Review(i64),
    Deploy(DeployId),
}

async fn load(db: &mut PgConnection, config: &Config, which: Which) -> sqlx::Result<Vec<BrokenGlass>> {
    let (review, deploy) = match which {
        Which::Waiting => (None, None),
        Which::Review(id) => (Some(id), None),
        Which::Deploy(id) => (None, Some(id.0)),
    };
    let rows = sqlx::query!(
        r#"select id, deploy, title, target, environment, team, cluster, namespace, by_person as "by: Json<Person>",
                  reason, at, reviewer ->> 'name' as reviewer, note, reviewed
           from glass_reviews
           where case when $1::bigint is not null then id = $1
                      when $2::bigint is not null then deploy = $2
                      else reviewed is null end
           order by at limit $3"#,
        review,
        deploy,
        LISTED,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| BrokenGlass {
            id: row.id,
            deploy: row.deploy.map(DeployId),
            title: row.title,
            target: row.target,
            production: config.environment(&row.environment).is_some_and(|found| found.production),
            reviewers: reviewers(config, &row.environment, &row.team),
            suspects: if row.deploy.is_none() { suspects(config, &row.environment) } else { Vec::new() },
            environment: row.environment,
            cluster: row.cluster,
            namespace: row.namespace,
            by: row.by.0,
            reason: row.reason,
            at: row.at.to_jiff(),
            review: row.reviewer.zip(row.reviewed).map(|(by, at)| Review {
                by,
                note: row.note,
                at: at.to_jiff(),
            }),
        })
        .collect())
}

/// What waits for a review where the person may look, longest first.
pub async fn to_review(app: &App, user: &CurrentUser) -> Result<Vec<BrokenGlass>> {
    let all = load(&mut *app.db.acquire().await?, &app.config, Which::Waiting).await?;
    let mut visible = Vec::new();
    for broken in all {
        if broken.is_visible_to(app, user).await? {
            visible.push(broken);
        }
    }
    Ok(visible)
}

/// The glass that a deploy broke.
pub async fn of_deploy(
    db: &mut PgConnection,
    config: &Config,
    deploy: &Deploy,
) -> sqlx::Result<Option<BrokenGlass>> {
    if !deploy.glass {
        return Ok(None);
    }
    Ok(load(db, config, Which::Deploy(deploy.id)).await?.pop())
}

/// Signs it off: the row leaves the list, and the deploy and the audit trail keep who looked and what they found.
pub async fn sign_off(
    app: &App,
    user: &DecidingUser,
    origin: &Origin,
    id: i64,
    note: &str,
) -> Result<std::result::Result<BrokenGlass, Refusal>> {
    let before = load(&mut *app.db.acquire().await?, &app.config, Which::Review(id)).await?.pop();
    if !before.ok_or(Error::NotFound)?.is_visible_to(app, user).await? {
        return Err(Error::NotFound);
    }
    let (now, note) = (app.clock.now(), note.trim());
    let mut tx = app.db.begin().await?;
    sqlx::query!("select id from glass_reviews where id = $1 for update", id).fetch_one(&mut *tx).await?;
    let mut broken = load(&mut tx, &app.config, Which::Review(id)).await?.pop().ok_or(Error::NotFound)?;

    let said = if note.is_empty() { Err(Refusal::FindingNeeded) } else { Ok(()) };
    if let Err(refusal) = broken.may_sign_off(user).and(said) {
        tx.rollback().await?;
        return Ok(Err(refusal));
    }

    if let Some(id) = broken.deploy {
        let mut deploy = store::lock(&mut tx, id).await?.ok_or(Error::NotFound)?;
        let event = Event::SignedOff { note: note.into() };
        store::record(&mut tx, &mut deploy, &user.name, &event, now).await?;
    }
    sqlx::query!(
        "update glass_reviews set reviewer = $2, note = $3, reviewed = $4 where id = $1",
        id,
        Json(&***user) as _,
        note,
        now.to_sqlx() as _,
    )
    .execute(&mut *tx)
    .await?;
    let entry = Entry {
        action: "glass.sign_off",
        target: broken.target.clone(),
        outcome: "done",
        detail: serde_json::json!({
            "review": id, "deploy": broken.deploy, "what": broken.title, "by": broken.by.name, "note": note,
        }),
    };
    events::audit(&mut tx, user, origin, now, entry).await?;
    tx.commit().await?;
    broken.review = Some(Review { by: user.name.clone(), note: note.into(), at: now });
    Ok(Ok(broken))
}

/// A deploy that failed, or that waits for somebody to go on, is told of to whoever asked for it and whoever approved it.
pub async fn tell_who_wanted_it(tx: &mut PgConnection, deploy: &Deploy, now: Timestamp) -> sqlx::Result<()> {
    let news = match deploy.waits_for_a_hand() {
        true => Some((Kind::WaitsForAHand, wording::hand_news(deploy))),
        false => wording::failure_news(deploy).map(|text| (Kind::DeployFailed, text)),
    };
    let Some((kind, text)) = news else { return Ok(()) };
    let approvers = store::approvers(tx, deploy.id).await?;
    let mut people: Vec<&Identity> = approvers.iter().map(|approver| &approver.person.identity).collect();
    // A machine reads nothing; the person behind it does, where they are known.
    let behind = deploy.requester.set_off_by.as_ref().and_then(|by| by.identity.as_ref());
    people.push(behind.unwrap_or(&deploy.requester.identity));
    let news = News { kind, deploy: Some(deploy.id.0), text, people: &people, groups: &[], by: None };
    notices::tell(tx, &news, now).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::samples;

    const RUNS: &str = "127.0.0.1:5000/payments/shop";

    #[test]
    fn the_form_is_asked_for_the_same_bytes() {
        let typed = |version: &str, reference: &str| {
            let runs = format!("{RUNS}:v1.0.0@sha256:{}", "b".repeat(64));
            let change = ImageChange {
                version: version.into(),
                reference: reference.into(),
                replaces: [("app".to_string(), runs)].into(),
                ..samples::change()
            };
            super::typed(&change).to_string()
        };
        assert_eq!(typed("v1.1.0", &format!("{RUNS}:v1.1.0")), "v1.1.0");
        assert_eq!(typed("v2", "other.example/a/b:v2"), "other.example/a/b:v2", "another repository’s");
        let digest = format!("{RUNS}@sha256:{}", "a".repeat(64));
        assert_eq!(typed("aaaaaaaa", &digest), digest);
        assert_eq!(typed("latest", RUNS), RUNS, "no tag was asked for");
    }
}
