//! Style sheets, scripts, icons and fonts, inside the binary. Their address holds a hash of all of them,
//! so browsers may keep them for a year and a new release is seen at once.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

#[derive(RustEmbed)]
#[folder = "static/"]
struct Static;

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut names: Vec<_> = Static::iter().collect();
    names.sort();
    let mut hash = Sha256::new();
    for name in names {
        let file = Static::get(&name).expect("listed files exist");
        hash.update(name.as_bytes());
        hash.update(file.metadata.sha256_hash());
    }
    hex::encode(&hash.finalize()[..6])
});

static SPRITE: LazyLock<String> = LazyLock::new(|| url("icons/sprite.svg"));

/// The versioned address of a file below `static/`.
pub fn url(path: &str) -> String {
    format!("/static/{}/{path}", *VERSION)
}

/// The icon sprite, asked for dozens of times a page.
pub fn sprite() -> &'static str {
    &SPRITE
}

/// `GET /static/{version}/{*path}`. An old version still answers: a page open during an upgrade keeps working.
pub async fn serve(Path((_version, path)): Path<(String, String)>) -> Response {
    let Some(file) = Static::get(&path) else { return StatusCode::NOT_FOUND.into_response() };
    let headers = [
        (header::CONTENT_TYPE, file.metadata.mimetype().to_string()),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable".to_string()),
    ];
    (headers, file.data).into_response()
}
