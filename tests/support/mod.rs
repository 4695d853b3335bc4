//! A small world for each test: its own database, its own identity provider with the sample people, and a portal,
//! all in this process and on ports of their own. `world.as_("maya")` is a browser that really signed in.

pub mod api;
pub mod at_provider;
mod browser;
pub mod cluster;
mod database;
pub mod desk;
pub mod forger;
pub mod front;
pub mod gateway;
pub mod keycloak;
pub mod mutations;
pub mod process;
pub mod prometheus;
mod wait;
pub mod wire;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use pilothouse::app::App;
use pilothouse::clock::Clock;
use pilothouse::config::Config;
use pilothouse::demo::{Keys, People};
use pilothouse::server;
use tokio::net::TcpListener;

pub use at_provider::AtProvider;
pub use browser::{Browser, Page, with_form};
pub use database::Database;
pub use process::Process;
pub use prometheus::Prometheus;
pub use wait::{found, found_within, too_often, until, within};
pub use wire::Wire;

/// What `demo/people.toml` calls the people.
pub const SAMPLE_PEOPLE: &str = include_str!("../../demo/people.toml");

/// One key for all providers of the process: making one takes a second.
pub static KEY: LazyLock<String> = LazyLock::new(|| Keys::new_pem().unwrap());

pub struct World {
    pub app: App,
    /// `http://127.0.0.1:PORT`
    pub base: String,
    pub people: People,
    pub database: Database,
    /// What it goes over to its database, where a test wants to cut it.
    pub wire: Option<Wire>,
    /// None where a test brought another.
    provider: Option<AtProvider>,
    configuration: String,
}

/// What differs from the usual world.
pub struct Builder {
    clock: Clock,
    people: String,
    issuer: Option<String>,
    replaced: Vec<(String, String)>,
    over_a_wire: bool,
}

impl World {
    /// The usual world.
    pub async fn new() -> Self {
        Self::builder().start().await
    }

    /// Until its portal has imported and loaded the catalogue's files, this service among them.
    pub async fn has_read(&self, service: &str) {
        let read = async || self.app.catalogue.load().service(service).map(drop);
        until("the catalogue is read", read).await;
    }

    /// Until so many portals hear at once of a session or a token that ended.
    pub async fn hears(&self, portals: i64) {
        until("the portals listen", async || {
            let listen: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity
                 where datname = current_database() and state = 'idle' and query ilike 'listen \"session_ended\"%'",
            )
            .fetch_one(&self.app.db)
            .await
            .unwrap();
            (listen >= portals).then_some(())
        })
        .await;
    }

    pub fn builder() -> Builder {
        Builder {
            clock: Clock::System,
            people: SAMPLE_PEOPLE.into(),
            issuer: None,
            replaced: Vec::new(),
            over_a_wire: false,
        }
    }

    /// The identity provider, for tests that change what it says.
    pub fn provider(&self) -> &AtProvider {
        self.provider.as_ref().expect("the usual identity provider")
    }

    /// A browser in which nobody has signed in.
    pub fn browser(&self) -> Browser {
        Browser::new(&self.base)
    }

    pub fn configuration(&self) -> &str {
        &self.configuration
    }

    /// The same portal as a process of its own, which can be stopped and killed.
    pub async fn process(&self) -> Process {
        Process::start(&self.configuration, &self.base).await
    }

    /// A second portal on the same database, as another replica would be.
    pub async fn replica(&self) -> (App, Browser) {
        self.replica_where("", "").await
    }

    /// One on a machine whose clock is wrong.
    pub async fn replica_at(&self, clock: Clock) -> (App, Browser) {
        self.start_replica(self.configuration.clone(), clock).await
    }

    /// One whose configuration has other text somewhere.
    pub async fn replica_where(&self, old: &str, new: &str) -> (App, Browser) {
        assert!(self.configuration.contains(old), "the configuration has no {old:?}");
        self.start_replica(self.configuration.replace(old, new), self.app.clock.clone()).await
    }

    async fn start_replica(&self, text: String, clock: Clock) -> (App, Browser) {
        let config = Config::parse("pilothouse.toml", &text, Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let app = server::build(config, clock).await.unwrap();
        let (listener, base) = listen().await;
        tokio::spawn(server::run(app.clone(), listener));
        (app, Browser::new(&base))
    }

    /// A browser in which this person (a username of the sample people) has signed in, through all the pages.
    pub async fn as_(&self, username: &str) -> Browser {
        let browser = self.browser();
        let page = browser.sign_in(&self.people, username, "/").await;
        assert_eq!(page.location(), "/", "{username} was not let in: {}", page.text);
        browser
    }
}

impl Builder {
    /// Time as the test says. The identity provider lives by the same clock.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// More people than the sample has, as `people.toml` writes them.
    pub fn people(mut self, more: &str) -> Self {
        self.people.push_str(more);
        self
    }

    /// Another identity provider than the usual one.
    pub fn issuer(mut self, issuer: &str) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// With something between the portal and its database that can be cut.
    pub fn over_a_wire(mut self) -> Self {
        self.over_a_wire = true;
        self
    }

    /// With a client secret: then the portal keeps refresh tokens and asks the provider again.
    pub fn confidential(self) -> Self {
        self.replace("client_id = \"pilothouse\"", "client_id = \"pilothouse\"\nclient_secret = \"a secret\"")
    }

    /// Replaces text in the configuration; what is not there panics.
    pub fn replace(mut self, old: &str, new: &str) -> Self {
        self.replaced.push((old.into(), new.into()));
        self
    }

    pub async fn start(self) -> World {
        server::prepare_process();
        let people = People::parse(&self.people).unwrap();
        let (issuer, provider) = match self.issuer {
            Some(issuer) => (issuer, None),
            None => {
                let provider = AtProvider::start(people.clone(), self.clock.clone()).await;
                (provider.issuer.clone(), Some(provider))
            }
        };
        let database = Database::new().await;
        let (listener, base) = listen().await;
        let wire = if self.over_a_wire { Some(Wire::to(database.url()).await) } else { None };
        let url = wire.as_ref().map_or(database.url(), |wire| wire.url.as_str());
        let mut text = configuration(&base, url, &issuer, &state().join("cluster/pilothouse.kubeconfig"));
        for (old, new) in self.replaced {
            assert!(text.contains(&old), "the configuration has no {old:?}:\n{text}");
            text = text.replace(&old, &new);
        }
        let config = match Config::parse("pilothouse.toml", &text, Path::new(env!("CARGO_MANIFEST_DIR"))) {
            Ok(config) => config,
            Err(problems) => panic!("{problems}"),
        };
        let app = server::build(config, self.clock).await.unwrap();
        tokio::spawn(server::run(app.clone(), listener));
        // Before the first import there is no service to ask for, and on a busy machine it takes a moment. A catalogue may
        // also have none.
        let read = async || (!app.catalogue.load().services().is_empty()).then_some(());
        let _ = found_within(Duration::from_secs(5), read).await;
        World { app, base, people, database, wire, provider, configuration: text }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.app.shutdown.cancel(); // the database goes next, by its own Drop
    }
}

/// A listener on a free port, and its address.
pub async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (listener, address)
}

/// How often something is tried: as this variable says (`bench/faults` sets it), else as often as `bin/test` has time for.
pub fn rounds(variable: &str, short: usize) -> usize {
    std::env::var(variable).ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(short).max(1)
}

/// Whether this is a long run of `bench/faults`, in which no other test runs beside this one.
pub fn is_alone(variable: &str) -> bool {
    std::env::var_os(variable).is_some()
}

/// The folder of the development cluster.
pub fn state() -> PathBuf {
    std::env::var_os("PILOTHOUSE_TEST_STATE")
        .expect("PILOTHOUSE_TEST_STATE is not set: run bin/test, or bin/cluster up and name its state folder")
        .into()
}

fn configuration(base: &str, database: &str, issuer: &str, kubeconfig: &Path) -> String {
    let kubeconfig = kubeconfig.display();
    format!(
        r#"
[server]
base_url = "{base}"
company = "Acme"

[database]
url = "{database}"
max_connections = 8

[oidc]
issuer = "{issuer}"
client_id = "pilothouse"
development = true

[access]
platform = ["platform"]

[[access.role]]
name = "edit"
description = "Deploy, restart and scale"
cluster_role = "edit"
environments = ["staging"]
approvers = ["{{team}}-managers"]
# of the role

[catalogue]
paths = ["demo/catalogue"]

[registry."127.0.0.1:5000"]
insecure = true

[[cluster]]
name = "dev"
kubeconfig = "{kubeconfig}"

[[environment]]
name = "staging"
cluster = "dev"
namespace = "{{team}}-{{environment}}"

[[environment]]
name = "production"
cluster = "dev"
namespace = "{{team}}-{{environment}}"
production = true
requires = "staging"
approvals = 1
approvers = ["{{team}}-managers"]
soak = "1s"
"#
    )
}
