//! The registry client against the real registry of the development cluster, also behind a front that asks for
//! passwords and tokens the way public registries do.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use pilothouse::config;
use pilothouse::registry::{ImageRef, Registry, RegistryError};
use pilothouse::server::prepare_process;

use crate::support::front::{Door, Front, registry_host};

const IMAGE: &str = "payments/checkout-api";

fn image(host: &str, tag: &str) -> ImageRef {
    format!("{host}/{IMAGE}{tag}").parse().unwrap()
}

fn client(host: &str, password: Option<&str>) -> Registry {
    prepare_process();
    let entry = config::Registry {
        insecure: true,
        username: password.map(|_| "portal".into()),
        password: password.map(Into::into),
    };
    Registry::new(&BTreeMap::from([(host.to_string(), entry)])).unwrap()
}

#[tokio::test]
async fn versions_stand_newest_first_with_the_commit_they_were_built_from() {
    let host = registry_host();
    let tags = client(&host, None).tags(&image(&host, "")).await.unwrap();

    let names: Vec<_> = tags.iter().map(|tag| tag.name.as_str()).collect();
    let newest = names.iter().position(|name| *name == "v1.5.0").unwrap();
    let oldest = names.iter().position(|name| *name == "v1.0.0").unwrap();
    assert!(newest < oldest, "{names:?}");
    let first = &tags[oldest];
    assert_eq!(first.created, Some("2026-06-02T09:14:00Z".parse().unwrap()));
    assert_eq!(first.revision.as_deref(), Some("3f1c9a5e0b7d4c2f8a6e1d9b5c3f7a2e4d8b6c10"));
    assert_eq!(first.source.as_deref(), Some("https://git.example/sample/service"));
}

#[tokio::test]
async fn a_tag_and_its_digest_name_the_same_bytes() {
    let host = registry_host();
    let registry = client(&host, None);

    let by_tag = registry.resolve(&image(&host, ":v1.1.0")).await.unwrap();
    let pinned = image(&host, ":v1.1.0").with_digest(&by_tag.digest);
    assert_eq!(registry.resolve(&pinned).await.unwrap(), by_tag);
    assert_eq!(by_tag.platforms.len(), 1);
    assert!(by_tag.platforms[0].starts_with("linux/"));
    assert!(registry.origin(&pinned).await.unwrap().created.is_some());
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let host = registry_host();
    let registry = client(&host, None);

    let gone = image(&host, ":v9.9.9");
    assert_eq!(registry.resolve(&gone).await, Err(RegistryError::NotFound(gone.to_string())));
    let nobody: ImageRef = format!("{host}/nobody/nothing").parse().unwrap();
    assert_eq!(registry.tags(&nobody).await, Err(RegistryError::NotFound(nobody.to_string())));
    let unknown = gone.with_digest(&format!("sha256:{}", "0".repeat(64)).parse().unwrap());
    assert_eq!(registry.resolve(&unknown).await, Err(RegistryError::NotFound(unknown.to_string())));
}

#[tokio::test]
async fn a_host_that_nobody_configured_may_not_be_private() {
    let registry = client("somewhere.else:5000", None);
    for host in [registry_host().as_str(), "localhost:5000", "169.254.169.254", "[::1]:5000", "127.1:5000"] {
        let refused = registry.resolve(&image(host, ":v1.0.0")).await;
        assert_eq!(refused, Err(RegistryError::NotConfigured(host.into())));
    }
}

#[tokio::test]
async fn a_registry_that_is_away_is_said_to_be_away() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let away = client(&free, None).tags(&image(&free, "")).await;
    assert!(matches!(away, Err(RegistryError::Unreachable { .. })), "{away:?}");
}

#[tokio::test]
async fn a_token_is_bought_once_and_used_for_the_rest() {
    let front = Front::start(Door::Bearer).await;
    let registry = client(&front.host, Some("secret"));

    let tags = registry.tags(&image(&front.host, "")).await.unwrap();
    assert!(tags.iter().all(|tag| tag.digest.is_some()), "{tags:?}");
    assert_eq!(front.tokens.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_password_is_given_only_where_it_is_asked_for() {
    let front = Front::start(Door::Basic).await;
    assert!(client(&front.host, Some("secret")).resolve(&image(&front.host, ":v1.0.0")).await.is_ok());
    for wrong in [Some("guess"), None] {
        let refused = client(&front.host, wrong).resolve(&image(&front.host, ":v1.0.0")).await;
        assert!(matches!(refused, Err(RegistryError::Denied { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn swapped_bytes_are_not_believed() {
    let front = Front::start(Door::SwapsBytes).await;
    let odd = client(&front.host, None).resolve(&image(&front.host, ":v1.0.0")).await;
    assert!(
        matches!(&odd, Err(RegistryError::Odd { why, .. }) if why.contains("are not sha256:")),
        "{odd:?}"
    );
}

#[tokio::test]
async fn an_api_call_is_not_led_elsewhere() {
    let front = Front::start(Door::Redirects).await;
    let odd = client(&front.host, None).tags(&image(&front.host, "")).await;
    assert!(matches!(odd, Err(RegistryError::Odd { .. })), "{odd:?}");
}
