//! What runs is not what was deployed last: somebody changed it with other means than the portal. The page says who, what
//! and when, with two ways on: put the release back, or deploy what runs.

use jiff::Timestamp;

use super::activity::Entry;
use super::wording;
use crate::deploy::version_of;
use crate::kube::{LiveWorkload, MakesPods, apply, ownership};

#[derive(Debug, PartialEq)]
pub struct Drift {
    pub title: String,
    /// Who wrote last, as far as the cluster knows.
    pub who: String,
    pub at: Option<Timestamp>,
    /// Container, what was deployed, what runs.
    pub images: Vec<(String, String, String)>,
    /// Where the release is put back; empty for who may not.
    pub restore: String,
    pub action: String,
    /// Where what runs is deployed, so that it becomes the release; empty for who may not.
    pub adopt: String,
}

/// None: it runs what landed last, or what another deploy of the portal wrote and failed with, or one is under way.
pub fn of(
    service: &str,
    landed: &Entry,
    recent: &[Entry],
    live: &LiveWorkload,
    may_change: bool,
) -> Option<Drift> {
    let release = landed.action.change()?;
    let here = || recent.iter().filter(|entry| entry.environment == landed.environment);
    let wrote_it = |entry: &Entry| {
        let change = entry.action.change();
        entry.state.is_active()
            || (entry.state.may_have_written()
                && change.is_some_and(|it| apply::runs_images(live, &it.images)))
    };
    if apply::runs_images(live, &release.images) || here().any(wrote_it) {
        return None;
    }
    let running = apply::images(live);
    let images: Vec<_> = release
        .images
        .iter()
        .map(|(container, image)| {
            let now = running.get(container).map_or("nothing".into(), |image| version_of(image));
            (container.clone(), version_of(image), now)
        })
        .collect();
    let main = release.images.keys().next().and_then(|container| running.get(container));
    let base = format!("/services/{service}/{}", landed.environment);
    let with = |verb: &str, version: &str| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        format!("{base}/{verb}?{}", query.append_pair("version", version).finish())
    };
    let writer = live.metadata().managed_fields.iter().flatten().next();
    Some(Drift {
        title: wording::drifted(&landed.environment),
        who: ownership::words(writer.and_then(|it| it.manager.as_deref()).unwrap_or_default()),
        at: writer.and_then(|it| it.time.as_ref()).map(|time| time.0),
        images,
        restore: if may_change { with("rollback", &release.version) } else { String::new() },
        action: format!("Restore {}", release.version),
        adopt: main.filter(|_| may_change).map(|image| with("deploy", image)).unwrap_or_default(),
    })
}
