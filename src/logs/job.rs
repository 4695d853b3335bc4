//! The log of a migration's Job: the same live stream as a service's, but one that ends when the migration has and
//! everything was read. What was kept with the deploy stands in for a Job that is deleted.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use serde_json::Value;

use super::asked::{self, Asked, Since};
use super::stream::{Next, Running, item_json, resume};
use super::{download, wording};
use crate::app::App;
use crate::auth::{CurrentUser, StreamDoor, access};
use crate::deploy::{self, Deploy, DeployId, Moves};
use crate::kube::job::{self, LastLines};
use crate::kube::logs::{Item, Place, Positions};
use crate::kube::{Selector, Target, UserClient};
use crate::web::{Error, Result};

/// So long nothing came: look whether anything can.
const QUIET: Duration = Duration::from_millis(300);
/// A node that does not hand out the last lines must not hold everybody up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A migration's log that the person may read, with the client that reads it in their name.
pub struct JobLog {
    pub deploy: Deploy,
    pub place: Place,
    pub client: UserClient,
    target: Target,
}

/// The log of a deploy's Job. Not a migration, or not theirs to see: not there.
pub async fn open(app: &App, user: &CurrentUser, id: DeployId) -> Result<JobLog> {
    let deploy = deploy::visible(app, user, id).await?;
    let name = deploy.job_name().ok_or(Error::NotFound)?;
    let at = &deploy.place;
    let target = Target {
        service: at.service.clone(),
        team: at.team.clone(),
        environment: at.environment.clone(),
        cluster: at.cluster.clone(),
        namespace: at.namespace.clone(),
        selector: Selector::Name(at.service.clone()),
    };
    if !asked::may_read(app, user, &target).await? {
        let Target { service, environment, namespace, team, .. } = &target;
        return Err(Error::Forbidden(wording::may_not_read(service, environment, namespace, team)));
    }
    let client = app.clusters.get(&at.cluster).as_user(&access::kube_identity(app, user)?);
    let place = Place {
        cluster: at.cluster.clone(),
        namespace: at.namespace.clone(),
        selector: job::selector(&name),
        whose: None,
    };
    Ok(JobLog { deploy, place, client, target })
}

impl JobLog {
    /// What was kept of it. Empty while nothing was.
    pub async fn kept(&self, app: &App) -> Result<LastLines> {
        let mut db = app.db.acquire().await?;
        Ok(deploy::kept_log(&mut db, self.deploy.id).await?.unwrap_or_default())
    }

    /// All that a Job's log can hold.
    pub fn asked(&self) -> Asked {
        Asked { since: Since::SevenDays, ..Asked::default() }
    }
}

/// `GET /deploys/{id}/log/stream`
pub async fn stream(
    State(app): State<App>,
    user: CurrentUser,
    door: StreamDoor,
    Path(id): Path<DeployId>,
    headers: HeaderMap,
) -> Result<Response> {
    let resume = resume(&headers, "")?;
    let log = open(&app, &user, id).await?;
    door.open(follow(app, user, log, resume, item_json))
}

/// `GET /deploys/{id}/log`: all of it as a file, or what was kept.
pub async fn download(
    State(app): State<App>,
    user: CurrentUser,
    door: StreamDoor,
    Path(id): Path<DeployId>,
) -> Result<Response> {
    let log = open(&app, &user, id).await?;
    let name = log.deploy.job_name().unwrap_or_default();
    let kept = log.kept(&app).await?;
    let there = job::find(&log.client, &log.place.namespace, &name).await;
    if matches!(there, Ok(None)) {
        let lines = kept.lines.iter().map(|line| format!("{} {}\n", line.at, line.text));
        let headers = download::headers(&name, app.clock.now());
        return Ok((headers, lines.collect::<String>()).into_response());
    }
    download::file(&app, &door, &log.client, &log.place, &log.asked(), &name).await
}

/// The log from its beginning, or after a position, until the migration has ended and all of it was read. The last
/// event is called `end`.
pub fn follow(
    app: App,
    user: CurrentUser,
    log: JobLog,
    resume: Option<Positions>,
    draw: fn(&Item) -> Value,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    let asked = log.asked();
    let JobLog { deploy, place, client, target } = log;
    let moves = Moves::of(&app, deploy.id);
    let resume = Some(resume.unwrap_or_default());
    let running = Running::new(app.clone(), user, target, client, place, asked, resume, draw);
    let ended = deploy.state.is_end().then(|| Ended::now(&running));
    let follow = Follow { app, id: deploy.id, running, moves, ended };
    stream::unfold(Some(follow), |follow| async {
        let mut follow = follow?;
        match follow.next().await {
            Next::Event(event) => Some((Ok(event), Some(follow))),
            Next::Last(event) => Some((Ok(event), None)),
        }
    })
}

struct Follow {
    app: App,
    id: DeployId,
    running: Running,
    moves: Moves,
    /// Since the migration ended.
    ended: Option<Ended>,
}

struct Ended {
    at: Instant,
    /// How often the pods had been listed by then.
    listings: u64,
}

impl Ended {
    fn now(running: &Running) -> Self {
        Self { at: Instant::now(), listings: running.view.listings() }
    }
}

impl Follow {
    async fn next(&mut self) -> Next {
        loop {
            let Some(ended) = &self.ended else {
                tokio::select! {
                    next = self.running.next() => return next,
                    _ = self.moves.next() => {}
                }
                if self.is_over().await {
                    self.ended = Some(Ended::now(&self.running));
                }
                continue;
            };
            match tokio::time::timeout(QUIET, self.running.next()).await {
                Ok(next) => return next,
                Err(_) if self.running.view.is_read(ended.listings) || ended.at.elapsed() > PATIENCE => {
                    return Next::Last(Event::default().event("end").data("end"));
                }
                Err(_) => {}
            }
        }
    }

    async fn is_over(&self) -> bool {
        let ended = async { deploy::has_ended(&mut *self.app.db.acquire().await?, self.id).await };
        // A database that is away says nothing about the migration.
        ended.await.unwrap_or(false)
    }
}
