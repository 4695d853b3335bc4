//! A real identity provider: the Keycloak that bin/test runs. Each test has a realm of its own, made from the one that
//! install/ ships, so tests do not disturb one another and what is shipped is what is tried.

use pilothouse::clock::Clock;
use pilothouse::server;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{Browser, Page, World, listen};

const REALM: &str = include_str!("../../install/keycloak-realm.json");
/// As in bin/lib/keycloak.sh.
const PASSWORD: &str = "only-for-this-machine";

/// A realm with the sample people (each one's password is their user name), and a portal that it is the provider of.
pub struct Realm {
    /// Where Keycloak answers.
    at: String,
    name: String,
    client: reqwest::Client,
}

impl Realm {
    pub async fn with_portal() -> (World, Self) {
        Self::with_portal_at(&address(), Clock::System).await
    }

    /// `at`: Keycloak, or what stands before it. The portal lives by this clock; Keycloak by its own.
    pub async fn with_portal_at(at: &str, clock: Clock) -> (World, Self) {
        server::prepare_process(); // before the first connection
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let realm = Self { at: at.into(), name: format!("test-{}", uuid::Uuid::now_v7().simple()), client };
        let world = World::builder()
            .issuer(&format!("{at}/realms/{}", realm.name))
            .replace("development = true", "client_secret = \"only-for-this-machine\"")
            .clock(clock)
            .start()
            .await;
        realm.create(&world.base).await;
        (world, realm)
    }

    async fn create(&self, portal: &str) {
        let mut realm: Value = serde_json::from_str(&REALM.replace("http://localhost:8080", portal)).unwrap();
        realm["realm"] = json!(self.name);
        for user in realm["users"].as_array_mut().unwrap() {
            user.as_object_mut().unwrap().remove("id"); // no two of a Keycloak may be the same
        }
        self.ask(Method::POST, "", realm).await;
    }

    /// As its administrator. `path` is within the realm.
    async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        let token: Value = self
            .client
            .post(format!("{}/realms/master/protocol/openid-connect/token", self.at))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("grant_type=password&client_id=admin-cli&username=admin&password={PASSWORD}"))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let realm = if path.is_empty() { String::new() } else { format!("/{}{path}", self.name) };
        let request = self
            .client
            .request(method.clone(), format!("{}/admin/realms{realm}", self.at))
            .bearer_auth(token["access_token"].as_str().unwrap());
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The person's own address, e.g. `/users/59aa…`.
    async fn user(&self, username: &str) -> String {
        let found =
            self.ask(Method::GET, &format!("/users?exact=true&username={username}"), json!(null)).await;
        format!("/users/{}", found[0]["id"].as_str().unwrap())
    }

    /// Ids of the person's sessions.
    pub async fn sessions(&self, username: &str) -> Vec<String> {
        let user = self.user(username).await;
        let sessions = self.ask(Method::GET, &format!("{user}/sessions"), json!(null)).await;
        sessions.as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap().into()).collect()
    }

    pub async fn end_session(&self, id: &str) {
        self.ask(Method::DELETE, &format!("/sessions/{id}"), json!(null)).await;
    }

    /// Signs the person out of everything.
    pub async fn sign_out(&self, username: &str) {
        let user = self.user(username).await;
        self.ask(Method::POST, &format!("{user}/logout"), json!(null)).await;
    }

    /// A new key, with which everything is signed from now on.
    pub async fn rotate_keys(&self) {
        let provider = json!({
            "name": "newer",
            "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "config": { "priority": ["1000"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"] },
        });
        self.ask(Method::POST, "/components", provider).await;
    }

    /// A browser that knows Keycloak, and the portal beside it.
    pub fn browser(&self, world: &World) -> TwoSites {
        TwoSites { portal: world.browser(), keycloak: Browser::new(&self.at) }
    }

    /// A browser in which this person signed in.
    pub async fn signed_in(&self, world: &World, username: &str) -> TwoSites {
        let browser = self.browser(world);
        let page = browser.sign_in(username).await;
        assert_eq!(page.location(), "/", "{}", page.text);
        browser
    }
}

/// One browser, with the cookies of both sites.
pub struct TwoSites {
    pub portal: Browser,
    pub keycloak: Browser,
}

impl TwoSites {
    /// Through Keycloak's own form, to the portal's answer.
    pub async fn sign_in(&self, username: &str) -> Page {
        let form = self.at_keycloak().await;
        assert_eq!(form.status, StatusCode::OK, "{}", form.text);
        let (_, rest) = form.text.split_once("action=\"").unwrap_or_else(|| panic!("no form: {}", form.text));
        let action = rest.split('"').next().unwrap().replace("&amp;", "&");
        let filled = [("username", username), ("password", username), ("credentialId", "")];
        let answer = self.keycloak.post(self.keycloak.path_of(&action), &filled).await;
        self.portal.get(self.portal.path_of(answer.location())).await
    }

    /// Keycloak's page, or its answer where it knows the person already.
    pub async fn at_keycloak(&self) -> Page {
        let start = self.portal.get("/sign-in/start").await;
        self.keycloak.get(self.keycloak.path_of(start.location())).await
    }
}

/// Where bin/test started it.
pub fn address() -> String {
    std::env::var("PILOTHOUSE_TEST_KEYCLOAK")
        .expect("PILOTHOUSE_TEST_KEYCLOAK is not set: run bin/test, or name the address of a Keycloak made by bin/lib/keycloak.sh")
}

/// Stands before Keycloak and can be closed, as if it were down. Keycloak goes by the address it is asked at, so the
/// issuer is here.
pub struct Front {
    pub at: String,
    /// Cancelled: closed, and what was open is cut.
    open: CancellationToken,
}

impl Front {
    pub async fn open() -> Self {
        let (listener, at) = listen().await;
        let open = CancellationToken::new();
        tokio::spawn(forward(listener, open.clone()));
        Self { at, open }
    }

    pub fn close(&self) {
        self.open.cancel();
    }

    /// At the same address as before.
    pub async fn open_again(&mut self) {
        let listener = TcpListener::bind(self.at.strip_prefix("http://").unwrap()).await.unwrap();
        self.open = CancellationToken::new();
        tokio::spawn(forward(listener, self.open.clone()));
    }
}

async fn forward(listener: TcpListener, open: CancellationToken) {
    let keycloak = address();
    let accept = async {
        loop {
            let (mut from, _) = listener.accept().await.unwrap();
            let mut to = TcpStream::connect(keycloak.strip_prefix("http://").unwrap()).await.unwrap();
            let open = open.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = open.cancelled() => {}
                    _ = copy_bidirectional(&mut from, &mut to) => {}
                }
            });
        }
    };
    tokio::select! {
        () = open.cancelled() => {}
        () = accept => {}
    }
}
