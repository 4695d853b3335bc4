//! The service that a folder is about: the Components of the nearest catalog-info.yaml, upwards.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::failure::Failure;
use crate::catalogue::yaml;

const NAMES: [&str; 2] = ["catalog-info.yaml", "catalog-info.yml"];

#[derive(Debug, PartialEq)]
pub struct Found {
    pub file: PathBuf,
    /// At least one.
    pub services: Vec<String>,
}

/// A file without a Component (a group, a Location) says nothing about what is deployed: the search goes on above it.
pub fn find(folder: &Path) -> Result<Found, Failure> {
    for folder in folder.ancestors() {
        for file in NAMES.map(|name| folder.join(name)).into_iter().filter(|file| file.is_file()) {
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("can’t read {}", file.display()))?;
            let services = components(&text).with_context(|| format!("{} is no YAML", file.display()))?;
            if !services.is_empty() {
                return Ok(Found { file, services });
            }
        }
    }
    Err(Failure::NoService { folder: folder.into() })
}

fn components(text: &str) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for document in yaml::documents(text) {
        let entity = yaml::parse(document)
            .map_err(|wrong| anyhow::anyhow!("line {}: {}", wrong.at.line, wrong.what))?;
        let is_component = entity.get("kind").and_then(yaml::Node::text) == Some("Component");
        let name =
            entity.get("metadata").and_then(|metadata| metadata.get("name")).and_then(yaml::Node::text);
        names.extend(name.filter(|_| is_component).map(String::from));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: my-api\n";

    #[test]
    fn the_nearest_file_with_a_component_counts() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("src/handlers");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(root.path().join("catalog-info.yaml"), API).unwrap();
        std::fs::write(root.path().join("src/catalog-info.yaml"), "kind: Group\nmetadata: {name: team}\n")
            .unwrap();

        let found = find(&deep).unwrap();

        assert_eq!(found.services, ["my-api"]);
        assert_eq!(found.file, root.path().join("catalog-info.yaml"));
    }

    #[test]
    fn a_file_may_hold_several() {
        let text = format!("{API}---\n{}", API.replace("my-api", "my-worker"));
        assert_eq!(components(&text).unwrap(), ["my-api", "my-worker"]);
        assert_eq!(components("").unwrap(), [""; 0]);
        assert!(components("kind: [").is_err());
    }
}
