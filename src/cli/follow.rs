//! Watching a change until it ends. The connection may break and the portal may restart: it goes on where it was.

use std::time::{Duration, Instant};

use super::args::Watching;
use super::failure::{Exit, Failure};
use super::portal::Portal;
use super::print::{Out, note, say};
use super::progress::Progress;
use super::sse::Parser;
use super::wording;
use crate::api::types::Deploy;

/// How long the portal may be away, for example while it is replaced by a newer one, before that is the news.
const AWAY_AT_MOST: Duration = Duration::from_secs(60);
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What somebody asked for just now: shown to its end, or as far as it was wanted.
pub async fn watch(portal: &Portal, out: Out, deploy: Deploy, watching: &Watching) -> Result<Exit, Failure> {
    let seen = match watching.no_wait {
        true => deploy,
        false => {
            until(portal, deploy, watching.within.timeout, |deploy| {
                deploy.ended || deploy.state == "awaiting_approval" || deploy.waits_for_promotion
            })
            .await?
        }
    };
    tell(out, &seen)
}

/// Shows the progress until `enough`.
pub async fn until(
    portal: &Portal,
    deploy: Deploy,
    within: Duration,
    enough: impl Fn(&Deploy) -> bool,
) -> Result<Deploy, Failure> {
    until_shown(Progress::new(), portal, deploy, within, enough).await
}

/// The same, where something else writes to the terminal, too: nothing is drawn over.
pub async fn plainly_until(
    portal: &Portal,
    deploy: Deploy,
    within: Duration,
    enough: impl Fn(&Deploy) -> bool,
) -> Result<Deploy, Failure> {
    until_shown(Progress::plain(), portal, deploy, within, enough).await
}

async fn until_shown(
    mut progress: Progress,
    portal: &Portal,
    deploy: Deploy,
    within: Duration,
    enough: impl Fn(&Deploy) -> bool,
) -> Result<Deploy, Failure> {
    let id = deploy.id;
    progress.show(&deploy);
    if enough(&deploy) {
        return Ok(deploy);
    }
    tokio::select! {
        seen = events(portal, id, |deploy| {
            progress.show(deploy);
            enough(deploy)
        }) => seen,
        () = tokio::time::sleep(within) => Err(Failure::Timeout { id, seconds: within.as_secs() }),
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted { id }),
    }
}

/// Each state of the deploy as it comes, over as many connections as it takes.
async fn events(
    portal: &Portal,
    id: i64,
    mut enough: impl FnMut(&Deploy) -> bool,
) -> Result<Deploy, Failure> {
    let mut last_heard = Instant::now();
    loop {
        match connection(portal, id, &mut last_heard, &mut enough).await {
            Ok(Some(deploy)) => return Ok(deploy),
            // Broken off: the portal stops, or a proxy lost patience.
            Ok(None) => {}
            Err(Failure::Away { .. }) if last_heard.elapsed() < AWAY_AT_MOST => {}
            // 503 with a sentence: it is there, but can't look just now.
            Err(Failure::Problem(problem))
                if problem.status == 503 && last_heard.elapsed() < AWAY_AT_MOST => {}
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// The events of one connection; `None` where it ends before it is enough.
async fn connection(
    portal: &Portal,
    id: i64,
    last_heard: &mut Instant,
    enough: &mut impl FnMut(&Deploy) -> bool,
) -> Result<Option<Deploy>, Failure> {
    let mut stream = portal.stream(portal.url(&["deploys", &id.to_string(), "events"]), None).await?;
    let mut parser = Parser::default();
    while let Some(bytes) = portal.chunk(&mut stream).await? {
        *last_heard = Instant::now();
        for event in parser.push(&bytes).into_iter().filter(|event| event.name == "deploy") {
            let deploy: Deploy = serde_json::from_str(&event.data)
                .map_err(|error| portal.not_a_portal(format!("an event of another version: {error}")))?;
            if enough(&deploy) {
                return Ok(Some(deploy));
            }
        }
    }
    Ok(None)
}

/// Where it stands now, with its address; the exit code says the same to a script.
pub fn tell(out: Out, deploy: &Deploy) -> Result<Exit, Failure> {
    let told = wording::outcome(deploy);
    out.value(deploy, |paint| format!("{}\n{}\n", paint.tint(told.tint, &told.sentence), deploy.url))?;
    for line in wording::evidence(deploy) {
        say(&line);
    }
    match (told.hint, told.exit) {
        // What to do about a failure has to stand in a pipeline's log, too.
        (Some(hint), Exit::Failed | Exit::Refused) => say(&hint),
        (Some(hint), _) => note(&hint),
        (None, _) => {}
    }
    Ok(told.exit)
}
