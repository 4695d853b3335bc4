//! An identity provider that lies as told: the protocol is right, the tokens are what a test makes of them.

use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::response::Redirect;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use pilothouse::demo::Keys;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{KEY, listen};

/// Makes the compact token from an honest header and honest claims.
type Forge = Box<dyn Fn(&Keys, Value, Value) -> String + Send>;

pub struct Forger {
    pub issuer: String,
    /// The mark of the development provider.
    marked: bool,
    nonce: Mutex<String>,
    forge: Mutex<Forge>,
    keys: Mutex<Keys>,
    /// Published beside the key that signs.
    spare: Mutex<Option<Value>>,
    userinfo: Mutex<Value>,
}

impl Forger {
    pub async fn start(marked: bool) -> Arc<Self> {
        let (listener, issuer) = listen().await;
        let forger = Arc::new(Self {
            issuer,
            marked,
            nonce: Mutex::default(),
            forge: Mutex::new(Box::new(honest)),
            keys: Mutex::new(Keys::from_pem(&KEY).unwrap()),
            spare: Mutex::default(),
            userinfo: Mutex::new(json!({ "sub": "1" })),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .with_state(forger.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        forger
    }

    /// From now on tokens are made so.
    pub fn forge(&self, how: impl Fn(&Keys, Value, Value) -> String + Send + 'static) {
        *self.forge.lock().unwrap() = Box::new(how);
    }

    /// From now on the claims of tokens are changed so, and signed honestly.
    pub fn claim(&self, change: impl Fn(&mut Value) + Send + 'static) {
        self.forge(move |keys, header, mut claims| {
            change(&mut claims);
            honest(keys, header, claims)
        });
    }

    /// Signs with another key from now on, and publishes it.
    pub fn rotate(&self, keys: Keys) {
        *self.keys.lock().unwrap() = keys;
    }

    /// Publishes a second key, as while a provider rotates.
    pub fn publish_also(&self, keys: &Keys) {
        *self.spare.lock().unwrap() = Some(keys.public()["keys"][0].clone());
    }

    /// A logout token for this session and person, made as tokens are made now.
    pub fn logout_token(&self, sid: Option<&str>, sub: Option<&str>) -> String {
        let now = Timestamp::now().as_second();
        let mut claims = json!({
            "iss": self.issuer,
            "aud": "pilothouse",
            "iat": now,
            "exp": now + 120,
            "jti": uuid::Uuid::now_v7(),
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        for (name, value) in [("sid", sid), ("sub", sub)] {
            if let Some(value) = value {
                claims[name] = json!(value);
            }
        }
        let keys = self.keys.lock().unwrap();
        let mut header = keys.header();
        header["typ"] = json!("logout+jwt");
        (self.forge.lock().unwrap())(&keys, header, claims)
    }

    pub fn userinfo(&self, claims: Value) {
        *self.userinfo.lock().unwrap() = claims;
    }
}

/// As it should be.
pub fn honest(keys: &Keys, header: Value, claims: Value) -> String {
    keys.sign(&header, &claims).unwrap()
}

async fn discovery(State(forger): State<Arc<Forger>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", forger.issuer);
    let mut document = json!({
        "issuer": forger.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"),
        "jwks_uri": at("/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
    });
    if forger.marked {
        document["pilothouse_development"] = json!(true);
    }
    Json(document)
}

async fn jwks(State(forger): State<Arc<Forger>>) -> Json<Value> {
    let mut set = forger.keys.lock().unwrap().public();
    let spare = forger.spare.lock().unwrap().clone();
    set["keys"].as_array_mut().unwrap().extend(spare);
    Json(set)
}

#[derive(Deserialize)]
struct Asked {
    redirect_uri: String,
    state: String,
    nonce: String,
}

async fn authorize(State(forger): State<Arc<Forger>>, Query(asked): Query<Asked>) -> Redirect {
    *forger.nonce.lock().unwrap() = asked.nonce;
    Redirect::to(&format!("{}?code=any&state={}", asked.redirect_uri, asked.state))
}

async fn token(State(forger): State<Arc<Forger>>) -> Json<Value> {
    let now = Timestamp::now().as_second();
    let claims = json!({
        "iss": forger.issuer,
        "aud": "pilothouse",
        "sub": "1",
        "nonce": *forger.nonce.lock().unwrap(),
        "iat": now,
        "exp": now + 300,
        "preferred_username": "maya",
        "groups": ["payments"],
    });
    let keys = forger.keys.lock().unwrap();
    let id_token = (forger.forge.lock().unwrap())(&keys, keys.header(), claims);
    Json(json!({ "access_token": "any", "token_type": "Bearer", "id_token": id_token }))
}

async fn userinfo(State(forger): State<Arc<Forger>>) -> Json<Value> {
    Json(forger.userinfo.lock().unwrap().clone())
}
