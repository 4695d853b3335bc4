//! `platform logs`: the lines of all pods, merged by time; with --follow as they are written.

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use reqwest::Response;

use super::args::{Globals, InEnvironment, OfService};
use super::failure::{Exit, Failure};
use super::pick;
use super::portal::Portal;
use super::print::{Format, Out, Paint, Tint, clean, note, text_out};
use super::sse::Parser;
use super::wording;
use crate::api::types::{LogItem, Page, Problem};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    of: OfService,
    #[command(flatten)]
    environment: InEnvironment,
    /// Goes on with new lines, until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// How far back.
    #[arg(long, value_enum, value_name = "TIME", default_value = "30m")]
    since: Since,
    /// Only the last lines of what is there.
    #[arg(long, short = 'n', value_name = "NUMBER", conflicts_with = "follow")]
    tail: Option<usize>,
    /// Only this pod; again for another.
    #[arg(long, value_name = "POD")]
    pod: Vec<String>,
    /// Only this container; again for another.
    #[arg(long, value_name = "CONTAINER")]
    container: Vec<String>,
    /// Only lines of this level; again for another.
    #[arg(long, value_name = "LEVEL")]
    level: Vec<String>,
    /// What containers said before they restarted last.
    #[arg(long, conflicts_with = "follow")]
    previous: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Since {
    #[value(name = "5m")]
    FiveMinutes,
    #[value(name = "30m")]
    HalfAnHour,
    #[value(name = "2h")]
    TwoHours,
    #[value(name = "12h")]
    TwelveHours,
    #[value(name = "7d")]
    SevenDays,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let portal = Portal::of(globals)?;
    let service = pick::service(&arguments.of)?;
    let environment = pick::environment_to_read(&portal, &service, &arguments.environment).await?;
    let out = Out::new(globals);
    let since = arguments.since.to_possible_value();
    let mut query = vec![
        ("since", since.as_ref().map(|since| since.get_name())),
        ("follow", arguments.follow.then_some("true")),
        ("previous", arguments.previous.then_some("true")),
    ];
    for (name, values) in
        [("pod", &arguments.pod), ("container", &arguments.container), ("level", &arguments.level)]
    {
        query.extend(values.iter().map(|value| (name, Some(value.as_str()))));
    }
    let url = portal.url_with(&["services", &service, "environments", &environment, "logs"], &query);
    if arguments.follow {
        return tokio::select! {
            ended = follow(&portal, url, |items| print(items, out)) => ended.map(|()| Exit::Done),
            // It was asked to go on until then, so this is no failure.
            _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
        };
    }
    let page: Page<LogItem> = portal.get(url).await?;
    let first = arguments.tail.map_or(0, |tail| page.items.len().saturating_sub(tail));
    if page.items.is_empty() {
        note(&wording::no_lines(&service, &environment));
    }
    print(&page.items[first..], out)?;
    Ok(Exit::Done)
}

/// Goes on where it broke off, so that no line is missing and none comes twice. Ends where the log itself does.
pub async fn follow(
    portal: &Portal,
    url: url::Url,
    mut show: impl FnMut(&[LogItem]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut last = None;
    loop {
        match portal.stream(url.clone(), last.as_deref()).await {
            Ok(stream) => match lines(portal, stream, &mut show, &mut last).await {
                Ok(Ending::Over) => return Ok(()),
                Ok(Ending::BrokeOff) | Err(Failure::Away { .. }) => note("The stream broke off; going on."),
                Err(failure) => return Err(failure),
            },
            // Before the first line there is nothing to go on with.
            Err(failure) if last.is_none() || failure.exit() != Exit::Away => return Err(failure),
            Err(_) => {}
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

enum Ending {
    BrokeOff,
    /// The portal says that nothing more comes.
    Over,
}

async fn lines(
    portal: &Portal,
    mut stream: Response,
    show: &mut impl FnMut(&[LogItem]) -> Result<(), Failure>,
    last: &mut Option<String>,
) -> Result<Ending, Failure> {
    let mut parser = Parser::default();
    while let Some(bytes) = portal.chunk(&mut stream).await? {
        for event in parser.push(&bytes) {
            match event.name.as_str() {
                "end" => return Ok(Ending::Over),
                "refused" => return Err(refused(event.data)),
                _ => {}
            }
            let items: Vec<LogItem> = serde_json::from_str(&event.data)
                .map_err(|error| portal.not_a_portal(format!("an event of another version: {error}")))?;
            show(&items)?;
            if event.id.is_some() {
                *last = event.id;
            }
        }
    }
    Ok(Ending::BrokeOff)
}

/// Said in the middle of a stream, where no status can be sent any more.
fn refused(detail: String) -> Failure {
    Failure::Problem(Box::new(Problem { status: 403, detail, ..Problem::default() }))
}

/// For people a line each. For programs an object a line, because a stream has no end that a list could close.
fn print(items: &[LogItem], out: Out) -> Result<(), Failure> {
    let mut text = String::new();
    for item in items {
        match out.format {
            Format::Table => text.push_str(&line(item, out.paint)),
            Format::Json => text.push_str(&serde_json::to_string(item).map_err(anyhow::Error::from)?),
            Format::Yaml => {
                let document = serde_saphyr::to_string(item).map_err(anyhow::Error::from)?;
                text.push_str(&format!("---\n{}", document.trim_end()));
            }
        }
        text.push('\n');
    }
    text_out(&text)
}

fn line(item: &LogItem, paint: Paint) -> String {
    match item {
        LogItem::Line { at, pod, level, text, .. } => {
            let tint = match level.as_str() {
                "error" | "fatal" => Tint::Bad,
                "warn" | "warning" => Tint::Warn,
                "debug" | "trace" => Tint::Dim,
                _ => Tint::Plain,
            };
            let at = at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
            let from = format!("{at} {}", clean(wording::short(pod)));
            format!("{} {}", paint.tint(Tint::Dim, &from), paint.tint(tint, &clean(text)))
        }
        LogItem::Mark { text } => paint.tint(Tint::Busy, &format!("-- {}", clean(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_and_where_and_moves_no_cursor() {
        let item = LogItem::Line {
            at: "2026-11-23T14:10:01.204Z".parse().unwrap(),
            pod: "checkout-api-6d4f8b9c7d-x2x9z".into(),
            container: "app".into(),
            level: "error".into(),
            text: "down\u{1b}[2J".into(),
        };
        assert_eq!(line(&item, Paint::NONE), "2026-11-23T14:10:01.204Z 9c7d-x2x9z down␛[2J");
        assert_eq!(
            line(&LogItem::Mark { text: "x2x9z restarted".into() }, Paint::NONE),
            "-- x2x9z restarted"
        );
    }
}
