//! `GET /services/{name}/logs`: the newest lines of all pods, what they add up to, and the stream that goes on.

use askama::Template;
use askama_web::WebTemplate;
use axum::extract::{Path, State};
use axum_extra::extract::{Query, QueryRejection};
use jiff::Timestamp;

use super::asked::{self, Asked, Open, Since, Workload};
use super::histogram::Histogram;
use super::load::{Loaded, PAGE, Row, load};
use super::stream::capitals;
use super::wording;
use crate::app::App;
use crate::auth::CurrentUser;
use crate::kube::logs::{Level, Line};
use crate::web::{Error, Layout, Nav};

/// Lines in one `<pre>`; browsers skip drawing those that are full and off screen.
const CHUNK: usize = 200;

#[derive(Template, WebTemplate)]
#[template(path = "logs/show.html")]
pub struct Page {
    layout: Layout,
    service: String,
    environment: String,
    production: bool,
    /// The other environments, with the address of their logs.
    others: Vec<(String, String)>,
    path: String,
    asked: Asked,
    body: View,
}

/// What there is to show.
enum View {
    /// No workload, or several.
    Nothing {
        title: String,
        why: String,
    },
    Lines(Box<Lines>),
}

struct Lines {
    download: String,
    /// Empty where nothing will be added.
    stream: String,
    all: String,
    levels: Vec<Choice>,
    pods: Vec<Choice>,
    containers: Vec<Choice>,
    pods_title: String,
    containers_title: String,
    histogram: Histogram,
    chunks: Vec<Vec<Drawn>>,
    /// The pods' names as the lines have them: their place gives the colour.
    keys: String,
    state: (&'static str, String),
    linked: bool,
    failures: Vec<String>,
}

/// One box of a filter.
struct Choice {
    value: String,
    label: String,
    end: String,
    checked: bool,
}

/// A row as the template needs it.
enum Drawn {
    Line {
        at: String,
        time: String,
        level: &'static str,
        hue: usize,
        key: String,
        pieces: Vec<Piece>,
        linked: bool,
    },
    Marker {
        status: &'static str,
        words: String,
    },
}

/// A piece of a line: its classes, and whether it is what was searched for.
struct Piece {
    class: String,
    text: String,
    hit: bool,
}

pub async fn show(
    State(app): State<App>,
    user: CurrentUser,
    Path(name): Path<String>,
    layout: Layout,
    query: Result<Query<Asked>, QueryRejection>,
) -> Result<Page, Error> {
    let mut asked = Asked::read(query)?;
    let now = app.clock.now();
    let open = asked::open(&app, &user, &name, &asked).await?;
    let path = format!("/services/{}/logs", open.service.name);
    let body = match &open.workload {
        Workload::None => {
            wording::nothing(&open.service.name, &open.target.environment, &open.target.namespace)
        }
        Workload::Many(names) => wording::ambiguous(&open.service.name, names),
        Workload::One(place) => {
            let loaded = load(&open.client, place, &asked, now, &PAGE).await?;
            forget_full_filters(&mut asked, &loaded);
            return Ok(page(
                &app,
                layout,
                &open,
                path.clone(),
                draw(&open, &path, &asked, loaded, now),
                asked,
            ));
        }
    };
    let (title, why) = body;
    Ok(page(&app, layout, &open, path, View::Nothing { title, why }, asked))
}

fn page(app: &App, layout: Layout, open: &Open, path: String, body: View, asked: Asked) -> Page {
    let service = open.service.name.clone();
    let above = format!("/services/{service}");
    let layout = layout.at(Nav::Services, &[("Services", "/services"), (&service, &above), ("Logs", "")]);
    let environment = open.target.environment.clone();
    let others = app.config.environments.iter().map(|other| other.name()).filter(|name| *name != environment);
    let others = others.map(|name| (name.to_string(), format!("{path}?env={name}"))).collect();
    Page { layout, service, environment, production: open.production, others, path, asked, body }
}

/// All boxes ticked is no filter: pods of the next rollout are to be seen too.
fn forget_full_filters(asked: &mut Asked, loaded: &Loaded) {
    if loaded.pods.iter().all(|(name, _)| asked.pod.contains(name)) {
        asked.pod.clear();
    }
    if loaded.containers.keys().all(|name| asked.container.contains(name)) && loaded.containers.len() != 1 {
        asked.container.clear();
    }
    if asked.level.len() == Level::ALL.len() {
        asked.level.clear();
    }
}

fn draw(open: &Open, path: &str, asked: &Asked, loaded: Loaded, now: Timestamp) -> View {
    let env = &open.target.environment;
    let after = if loaded.positions.is_empty() { "-".into() } else { loaded.positions.to_string() };
    let several = loaded.containers.len() > 1;
    let mut keys: Vec<String> = Vec::new();
    let mut drawn = Vec::new();
    for row in &loaded.rows {
        drawn.push(drawn_row(row, several, &asked.q, &mut keys));
    }
    let mut chunks: Vec<Vec<Drawn>> = Vec::new();
    for row in drawn {
        match chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.push(row),
            None => chunks.push(vec![row]),
        }
    }
    let restarts = loaded.restarts.iter().map(|at| (*at, "bad", "Restart"));
    let from = asked.at.map_or(now - asked.since.span(), |at| at - Since::FiveMinutes.span());
    let until = asked.at.map_or(now, |at| (at + Since::FiveMinutes.span()).min(now));
    View::Lines(Box::new(Lines {
        download: format!("{path}/download?{}", asked.query(env, &[])),
        stream: if asked.previous {
            String::new()
        } else {
            format!("{path}/stream?{}", asked.query(env, &[("after", &after)]))
        },
        all: format!("{path}?env={env}"),
        levels: levels(asked, &loaded),
        pods_title: titled(asked.pod.len(), loaded.pods.len(), "pod"),
        containers_title: titled(asked.container.len(), loaded.containers.len(), "container"),
        pods: pods(asked, &loaded),
        containers: containers(asked, &loaded),
        histogram: Histogram::of(loaded.times.iter().copied(), restarts, from, until),
        keys: keys.join(" "),
        state: wording::state(asked, &loaded),
        linked: asked.at.is_some(),
        failures: loaded.failures,
        chunks,
    }))
}

fn drawn_row(row: &Row, several: bool, search: &str, keys: &mut Vec<String>) -> Drawn {
    match row {
        Row::Marker(marker) => {
            let (status, words) = wording::marker(marker);
            Drawn::Marker { status, words }
        }
        Row::Line { pod, container, line, linked } => {
            let short = wording::short(pod);
            let key = if several { format!("{short}/{container}") } else { short.to_string() };
            let place = keys.iter().position(|known| *known == key).unwrap_or_else(|| {
                keys.push(key.clone());
                keys.len() - 1
            });
            Drawn::Line {
                at: line.at.to_string(),
                time: wording::precise(line.at),
                level: capitals(line.level),
                hue: place % 6 + 1,
                key: format!("{key:<10}"),
                pieces: pieces(line, search),
                linked: *linked,
            }
        }
    }
}

/// Cuts the line's spans where a hit begins and ends. Case is ignored for ASCII letters, as in the browser.
fn pieces(line: &Line, search: &str) -> Vec<Piece> {
    let needle = search.trim().to_ascii_lowercase();
    let mut pieces = Vec::new();
    for span in &line.spans {
        let class = span.style.class();
        let mut rest = span.text.as_str();
        let mut add = |text: &str, hit: bool| {
            if !text.is_empty() {
                pieces.push(Piece { class: class.clone(), text: text.into(), hit });
            }
        };
        while let Some(at) = rest.to_ascii_lowercase().find(&needle).filter(|_| !needle.is_empty()) {
            add(&rest[..at], false);
            add(&rest[at..at + needle.len()], true);
            rest = &rest[at + needle.len()..];
        }
        add(rest, false);
    }
    pieces
}

fn levels(asked: &Asked, loaded: &Loaded) -> Vec<Choice> {
    let choice = |level: Level| Choice {
        value: level.name().into(),
        label: match level {
            Level::Error => "Error".into(),
            Level::Warn => "Warn".into(),
            Level::Info => "Info".into(),
            Level::Debug => "Debug".into(),
        },
        end: wording::rough(loaded.counts[level as usize]),
        checked: asked.takes(level),
    };
    Level::ALL.map(choice).into()
}

fn pods(asked: &Asked, loaded: &Loaded) -> Vec<Choice> {
    let choice = |(name, version): &(String, String)| Choice {
        label: wording::short(name).into(),
        end: version.clone(),
        checked: asked.pod.is_empty() || asked.pod.contains(name),
        value: name.clone(),
    };
    loaded.pods.iter().map(choice).collect()
}

fn containers(asked: &Asked, loaded: &Loaded) -> Vec<Choice> {
    let choice = |(name, lines): (&String, &usize)| Choice {
        label: name.clone(),
        end: wording::rough(*lines),
        checked: asked.container.is_empty() || asked.container.contains(name),
        value: name.clone(),
    };
    loaded.containers.iter().map(choice).collect()
}

fn titled(chosen: usize, all: usize, what: &str) -> String {
    match (chosen, all) {
        (0, 1) => format!("1 {what}"),
        (0, all) => format!("All {all} {what}s"),
        (chosen, all) => format!("{chosen} of {all} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::logs::Raw;

    #[test]
    fn hits_are_cut_out_of_the_line_whatever_their_case() {
        let raw = Raw {
            at: Timestamp::UNIX_EPOCH,
            bytes: b"Timeout after \x1b[31mtimeOUT\x1b[0m!".to_vec(),
            dropped: 0,
        };
        let line = Line::at_start(raw);
        let cut: Vec<_> = pieces(&line, " timeout ")
            .into_iter()
            .map(|piece| (piece.class, piece.text, piece.hit))
            .collect();
        let expected =
            [("", "Timeout", true), ("", " after ", false), ("a2", "timeOUT", true), ("", "!", false)];
        assert_eq!(cut, expected.map(|(class, text, hit)| (class.to_string(), text.to_string(), hit)));
        assert_eq!(pieces(&line, "").len(), 3);
    }

    #[test]
    fn a_choice_of_all_is_told_so() {
        assert_eq!(titled(0, 1, "pod"), "1 pod");
        assert_eq!(titled(0, 10, "pod"), "All 10 pods");
        assert_eq!(titled(2, 10, "pod"), "2 of 10 pods");
    }
}
