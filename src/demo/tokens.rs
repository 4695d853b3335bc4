//! `/token` and `/userinfo`: a code becomes a signed ID token, once; a refresh token becomes the next.

use std::sync::{Arc, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum_extra::extract::Form;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Provider;
use super::authorize::Asked;

const CODE_LIVES: SignedDuration = SignedDuration::from_secs(60);
const TOKEN_LIVES: SignedDuration = SignedDuration::from_mins(5);

/// What a code stands for until it is used.
pub struct Code {
    sub: String,
    asked: Asked,
    until: Timestamp,
}

impl Code {
    pub fn new(sub: String, asked: Asked, now: Timestamp) -> Self {
        Self { sub, asked, until: now + CODE_LIVES }
    }
}

/// What a refresh token stands for.
pub struct SignIn {
    sub: String,
    asked: Asked,
    sid: String,
}

/// What an access token stands for.
pub struct Ticket {
    sub: String,
    until: Timestamp,
}

pub fn hand_out(provider: &Provider, code: Code) -> String {
    let secret = random();
    let now = provider.clock.now();
    let mut codes = provider.codes.lock().unwrap_or_else(PoisonError::into_inner);
    codes.retain(|_, code| code.until > now);
    codes.insert(secret.clone(), code);
    secret
}

#[derive(Deserialize)]
pub struct Exchange {
    #[serde(default)]
    grant_type: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    redirect_uri: String,
    #[serde(default)]
    code_verifier: String,
    #[serde(default)]
    refresh_token: String,
    client_id: Option<String>,
}

/// `POST /token`
pub async fn exchange(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    Form(wanted): Form<Exchange>,
) -> Response {
    let client = basic_client(&headers).or(wanted.client_id.clone()).unwrap_or_default();
    let sign_in = match wanted.grant_type.as_str() {
        "authorization_code" => begin(&provider, &wanted, &client),
        "refresh_token" => go_on(&provider, &wanted.refresh_token, &client),
        _ => return refuse("unsupported_grant_type"),
    };
    match sign_in {
        Some(sign_in) => grant(&provider, sign_in),
        None => refuse("invalid_grant"),
    }
}

/// RFC 6749, section 4.1.3; RFC 7636. A code that was tried is gone, whatever was wrong.
fn begin(provider: &Provider, wanted: &Exchange, client: &str) -> Option<SignIn> {
    let now = provider.clock.now();
    let code = provider.codes.lock().unwrap_or_else(PoisonError::into_inner).remove(&wanted.code);
    let code = code.filter(|code| code.until > now)?;
    let proof = URL_SAFE_NO_PAD.encode(Sha256::digest(&wanted.code_verifier));
    let fits = code.asked.client_id == client
        && code.asked.redirect_uri == wanted.redirect_uri
        && code.asked.code_challenge == proof;
    fits.then(|| SignIn { sub: code.sub, asked: code.asked, sid: random() })
}

/// RFC 6749, section 6. A refresh token is good once, as at providers that are strict.
fn go_on(provider: &Provider, token: &str, client: &str) -> Option<SignIn> {
    let sign_in = provider.sign_ins.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
    sign_in.filter(|sign_in| sign_in.asked.client_id == client)
}

fn grant(provider: &Provider, sign_in: SignIn) -> Response {
    let now = provider.clock.now();
    let Some(claims) = id_claims(provider, &sign_in, now) else { return refuse("invalid_grant") };
    let id_token = match provider.keys.sign(&provider.keys.header(), &claims) {
        Ok(token) => token,
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    };
    let (access_token, refresh_token) = (random(), random());
    let mut tickets = provider.tickets.lock().unwrap_or_else(PoisonError::into_inner);
    tickets.retain(|_, ticket| ticket.until > now);
    tickets.insert(access_token.clone(), Ticket { sub: sign_in.sub.clone(), until: now + TOKEN_LIVES });
    let scope = sign_in.asked.scope.clone();
    let mut sign_ins = provider.sign_ins.lock().unwrap_or_else(PoisonError::into_inner);
    sign_ins.insert(refresh_token.clone(), sign_in);
    Json(json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": TOKEN_LIVES.as_secs(),
        "id_token": id_token,
        "refresh_token": refresh_token,
        "scope": scope,
    }))
    .into_response()
}

/// `GET /userinfo`
pub async fn userinfo(State(provider): State<Arc<Provider>>, headers: HeaderMap) -> Response {
    let token =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let now = provider.clock.now();
    let tickets = provider.tickets.lock().unwrap_or_else(PoisonError::into_inner);
    let ticket = token.and_then(|token| tickets.get(token)).filter(|ticket| ticket.until > now);
    let claims = ticket.and_then(|ticket| Some(provider.people().by_sub(&ticket.sub)?.claims()));
    match claims {
        Some(claims) => Json(claims).into_response(),
        None => (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")])
            .into_response(),
    }
}

fn id_claims(provider: &Provider, sign_in: &SignIn, now: Timestamp) -> Option<Value> {
    let mut claims = provider.people().by_sub(&sign_in.sub)?.claims();
    for (name, value) in [
        ("iss", json!(provider.issuer)),
        ("aud", json!(sign_in.asked.client_id)),
        ("azp", json!(sign_in.asked.client_id)),
        ("iat", json!(now.as_second())),
        ("exp", json!((now + TOKEN_LIVES).as_second())),
        ("nonce", json!(sign_in.asked.nonce)),
        ("sid", json!(sign_in.sid)),
    ] {
        claims.insert(name.into(), value);
    }
    Some(Value::Object(claims))
}

/// The client's name from Basic authentication. The secret does not matter: everybody may use this provider.
fn basic_client(headers: &HeaderMap) -> Option<String> {
    let encoded = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let pair = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let name = pair.split_once(':').map_or(pair.as_str(), |(name, _)| name);
    let (decoded, _) = url::form_urlencoded::parse(name.as_bytes()).next()?;
    Some(decoded.into_owned())
}

fn refuse(why: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": why }))).into_response()
}

fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}
