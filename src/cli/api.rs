//! `platform api`: one call as it is. The answer is printed as it comes, streams included.

use std::io::{self, Read as _, Write as _};

use anyhow::Context as _;
use clap::Args;
use reqwest::Method;
use url::Url;

use super::args::Globals;
use super::failure::{Exit, Failure};
use super::portal::Portal;
use super::print::say;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The path: /api/v1/whoami, or short: whoami. Questions may follow: services?q=pay
    #[arg(value_name = "PATH")]
    path: String,
    /// The method. [default: GET, or POST with --data]
    #[arg(long, short = 'X', value_name = "METHOD")]
    method: Option<Method>,
    /// The body, as JSON: the text itself, @FILE, or - for standard input.
    #[arg(long, short, value_name = "JSON")]
    data: Option<String>,
    /// A header, as NAME: VALUE; again for another.
    #[arg(long, short = 'H', value_name = "HEADER", value_parser = header)]
    header: Vec<(String, String)>,
    /// Prints status and headers first.
    #[arg(long, short)]
    include: bool,
}

pub async fn run(arguments: Arguments, globals: &Globals) -> Result<Exit, Failure> {
    let portal = Portal::of(globals)?;
    let url = address(&portal.context.url, &arguments.path)?;
    let usual = if arguments.data.is_some() { Method::POST } else { Method::GET };
    let mut request = portal.request(arguments.method.unwrap_or(usual), url);
    for (name, value) in &arguments.header {
        request = request.header(name, value);
    }
    if let Some(data) = &arguments.data {
        request = request.header("content-type", "application/json").body(body(data)?);
    }
    let mut response = portal.send(request).await?;
    let status = response.status();
    let mut out = io::stdout();
    if arguments.include {
        writeln!(out, "{:?} {status}", response.version())?;
        for (name, value) in response.headers() {
            writeln!(out, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        writeln!(out)?;
    }
    while let Some(bytes) = portal.chunk(&mut response).await? {
        out.write_all(&bytes)?;
        out.flush()?;
    }
    if !status.is_success() {
        say(&format!("{status}"));
    }
    Ok(Exit::of_status(status.as_u16()))
}

/// Whatever is typed, it stays at this portal: the token goes along.
fn address(base: &Url, path: &str) -> Result<Url, Failure> {
    let path = path.trim_start_matches('/');
    let path = if path.starts_with("api/") { path.to_string() } else { format!("api/v1/{path}") };
    let wrong = || Failure::Usage(format!("“{path}” is no path of the API"));
    let url = base.join(&path).map_err(|_| wrong())?;
    let stays = url.origin() == base.origin() && url.path().starts_with(&format!("{}api/", base.path()));
    if stays { Ok(url) } else { Err(wrong()) }
}

fn body(data: &str) -> anyhow::Result<Vec<u8>> {
    match (data, data.strip_prefix('@')) {
        ("-", _) => {
            let mut bytes = Vec::new();
            io::stdin().read_to_end(&mut bytes)?;
            Ok(bytes)
        }
        (_, Some(file)) => std::fs::read(file).with_context(|| format!("can’t read {file}")),
        _ => Ok(data.into()),
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as NAME: VALUE")?;
    Ok((name.trim().into(), value.trim().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config::portal_url;

    #[test]
    fn the_token_stays_at_the_portal() {
        let base = portal_url("http://localhost:1/base").unwrap();
        let at = |path: &str| address(&base, path).map(|url| url.to_string()).ok();
        let expected = |path: &str| Some(format!("http://localhost:1/base/api/{path}"));
        assert_eq!(at("/api/v1/whoami"), expected("v1/whoami"));
        assert_eq!(at("services?q=pay"), expected("v1/services?q=pay"));
        assert_eq!(at("/api/openapi.json"), expected("openapi.json"));
        assert_eq!(at("../../sign-out"), None);
        assert_eq!(at("//evil.example/api/"), expected("v1/evil.example/api/"));
    }
}
