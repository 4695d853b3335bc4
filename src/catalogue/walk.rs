//! The files of the catalogue's folders. Whatever lies there, walking ends: links are followed once and only inside,
//! sizes and numbers are bounded, and what is not a file is not opened.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::mistake::{Mistake, Problem};
use super::yaml::Place;

const MAX_FILES: usize = 50_000;
const MAX_DEPTH: usize = 32;
/// One file; its documents are bounded again when they are read.
const MAX_BYTES: u64 = 32 * 1024 * 1024;
/// A problem of a whole file has no line.
const NOWHERE: Place = Place { line: 0, column: 0 };

/// What lies under a path.
#[derive(Debug, Default)]
pub struct Found {
    pub files: Vec<PathBuf>,
    pub problems: Vec<Problem>,
    /// Some of it could not be looked into, so what is not in `files` may still be there.
    pub incomplete: bool,
    /// Changes when any of it does.
    pub fingerprint: u64,
}

/// Lists the YAML files under a path, in the order of their names.
pub fn walk(root: &Path) -> Found {
    let mut walk =
        Walk { found: Found::default(), seen: HashSet::new(), hash: DefaultHasher::new(), inside: None };
    root.hash(&mut walk.hash);
    match fs::canonicalize(root).and_then(|real| Ok((fs::metadata(&real)?, real))) {
        Err(error) => walk.problem(root, Mistake::Unreadable { why: error.to_string() }),
        Ok((metadata, _)) if metadata.is_file() => walk.file(root, &metadata),
        Ok((_, real)) => {
            walk.seen.insert(real.clone());
            walk.inside = Some(real);
            walk.folder(root, 0);
        }
    }
    walk.found.fingerprint = walk.hash.finish();
    walk.found
}

/// Reads a file as text, or says why not.
pub fn read(path: &Path) -> Result<String, Problem> {
    let wrong = |mistake: Mistake| mistake.at(&name(path), NOWHERE);
    let unreadable = |error: std::io::Error| wrong(Mistake::Unreadable { why: error.to_string() });
    let file = fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong(Mistake::TooLarge { megabytes: MAX_BYTES >> 20 }));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&good[start..]).chars().count() + 1;
        Mistake::NotText.at(&name(path), Place { line: line as u32, column: column as u32 })
    })
}

/// A path as it stands in problems.
pub fn name(path: &Path) -> Arc<str> {
    path.to_string_lossy().replace(char::is_control, "\u{fffd}").into()
}

struct Walk {
    found: Found,
    seen: HashSet<PathBuf>,
    hash: DefaultHasher,
    /// The folder that links may not lead out of.
    inside: Option<PathBuf>,
}

impl Walk {
    fn problem(&mut self, path: &Path, mistake: Mistake) {
        mistake.what().hash(&mut self.hash);
        self.found.incomplete = true;
        self.found.problems.push(mistake.at(&name(path), NOWHERE));
    }

    fn folder(&mut self, path: &Path, depth: usize) {
        let mut entries = match fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => entries,
            Err(error) => return self.problem(path, Mistake::Unreadable { why: error.to_string() }),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            // Hidden folders hold history and tools, not the catalogue.
            if !entry.file_name().to_string_lossy().starts_with('.') {
                self.entry(&entry.path(), depth);
            }
        }
    }

    fn entry(&mut self, path: &Path, depth: usize) {
        let yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        let target = fs::canonicalize(path).and_then(|real| Ok((fs::metadata(&real)?, real)));
        let (metadata, real) = match target {
            Ok(target) => target,
            // A link to nothing, or to itself: of no concern unless it is named like a catalogue file.
            Err(_) if !yaml => return,
            Err(error) => return self.problem(path, Mistake::Unreadable { why: error.to_string() }),
        };
        if !(metadata.is_dir() || metadata.is_file() && yaml) {
            return;
        }
        if self.inside.as_ref().is_some_and(|root| !real.starts_with(root)) {
            return self.problem(path, Mistake::LeadsOutside);
        }
        if !self.seen.insert(real) {
            return;
        }
        if self.found.files.len() >= MAX_FILES || depth >= MAX_DEPTH {
            return self.problem(path, Mistake::TooMany { what: "files or folders", most: MAX_FILES });
        }
        if metadata.is_dir() { self.folder(path, depth + 1) } else { self.file(path, &metadata) }
    }

    fn file(&mut self, path: &Path, metadata: &Metadata) {
        (path, metadata.len(), metadata.modified().ok()).hash(&mut self.hash);
        self.found.files.push(path.to_path_buf());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("pilothouse-walk-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn links_are_followed_once_and_only_inside() {
        let root = folder("links");
        fs::create_dir_all(root.join("..data-like/real")).unwrap();
        fs::create_dir_all(root.join("team/.git")).unwrap();
        fs::write(root.join("team/catalog-info.yaml"), "a: 1\n").unwrap();
        fs::write(root.join("team/.git/catalog-info.yaml"), "a: 1\n").unwrap();
        fs::write(root.join("team/notes.txt"), "a\n").unwrap();
        symlink(&root, root.join("team/loop")).unwrap();
        symlink(root.join("self.yaml"), root.join("self.yaml")).unwrap();
        symlink("/etc/hostname", root.join("secret.yaml")).unwrap();
        symlink(root.join("team/catalog-info.yaml"), root.join("twice.yaml")).unwrap();

        let found = walk(&root);

        assert_eq!(found.files, [root.join("team/catalog-info.yaml")]);
        let told: Vec<_> = found.problems.iter().map(|problem| problem.what.clone()).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().any(|what| what.contains("leads out of")), "{told:?}");
        assert!(found.incomplete);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_change_changes_the_fingerprint() {
        let root = folder("fingerprint");
        let file = root.join("a.yaml");
        fs::write(&file, "a: 1\n").unwrap();
        let before = walk(&root).fingerprint;
        assert_eq!(walk(&root).fingerprint, before);
        fs::write(&file, "a: 12\n").unwrap();
        assert_ne!(walk(&root).fingerprint, before);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn text_that_is_not_utf8_is_told_with_its_place() {
        let root = folder("latin");
        let file = root.join("a.yaml");
        fs::write(&file, b"a: 1\nb: caf\xe9\n").unwrap();
        let problem = read(&file).unwrap_err();
        assert_eq!((problem.at, problem.what.as_str()), (Place { line: 2, column: 7 }, "is not UTF-8 text"));
        assert!(walk(&root.join("nowhere")).incomplete);
        fs::remove_dir_all(&root).unwrap();
    }
}
