//! A browser without a screen: cookies, the headers browsers send by themselves, and no redirects but those a test
//! follows.

use std::collections::BTreeMap;
use std::sync::Mutex;

use pilothouse::demo::People;
use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};

pub struct Browser {
    client: reqwest::Client,
    base: String,
    /// The portal's cookies. The provider has none.
    pub cookies: Mutex<BTreeMap<String, String>>,
    /// Shown with every request: then it is a program, not a browser.
    token: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Browser {
    pub fn new(base: &str) -> Self {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        Self { client, base: base.into(), cookies: Mutex::default(), token: None }
    }

    /// A program that shows this token.
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.into());
        self
    }

    pub async fn get(&self, path: &str) -> Page {
        self.send(self.request(Method::GET, path)).await
    }

    /// Sends a form as one of the portal's own pages does.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Page {
        let request = self.request(Method::POST, path).header("sec-fetch-site", "same-origin");
        self.send(with_form(request.header("origin", &self.base), form)).await
    }

    /// A request to the portal, for tests that want their own headers.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Adds the cookies, sends, and keeps the cookies that come back.
    pub async fn send(&self, request: RequestBuilder) -> Page {
        read_whole(self.open(request).await).await
    }

    /// As [`Browser::send`], without reading the body: a stream has no end.
    pub async fn open(&self, request: RequestBuilder) -> Response {
        let jar = self.cookies.lock().unwrap().clone();
        let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if cookies.is_empty() { request } else { request.header(COOKIE, cookies.join("; ")) };
        let answer = request.send().await.unwrap();
        let mut jar = self.cookies.lock().unwrap();
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            let (value, attributes) = rest.split_once(';').unwrap_or((rest, ""));
            if attributes.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.into(), value.into());
            }
        }
        answer
    }

    /// Path and query of an address on this browser's site.
    pub fn path_of<'a>(&self, address: &'a str) -> &'a str {
        address.strip_prefix(&self.base).unwrap_or_else(|| panic!("{address} is not on {}", self.base))
    }

    /// Through the provider's pages and back, as far as the portal's answer to it.
    pub async fn sign_in(&self, people: &People, username: &str, next: &str) -> Page {
        let back = self.up_to_callback(people, username, next).await;
        self.get(&back).await
    }

    /// Through a [`super::forger::Forger`], which asks nothing.
    pub async fn sign_in_forged(&self) -> Page {
        let page = self.get("/sign-in/start").await;
        let page = read(self.client.get(page.location())).await;
        let back = page.location().strip_prefix(&self.base).unwrap().to_string();
        self.get(&back).await
    }

    /// The path and query with which the provider sends this person back to the portal.
    pub async fn up_to_callback(&self, people: &People, username: &str, next: &str) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        let page = self.get(&format!("/sign-in/start?{query}")).await;
        let at_provider = page.location().to_string();
        let page = read(self.client.get(&at_provider)).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        let person = people.all().iter().find(|person| person.username == username).unwrap();
        assert!(page.text.contains(&format!("value=\"{}\"", person.sub)), "{}", page.text);
        let mut form = page.hidden_fields();
        form.push(("person".into(), person.sub.clone()));
        let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let (authorize, _) = at_provider.split_once('?').unwrap();
        let page = read(with_form(self.client.post(authorize), &form)).await;
        page.location().strip_prefix(&self.base).unwrap().to_string()
    }
}

async fn read(request: RequestBuilder) -> Page {
    read_whole(request.send().await.unwrap()).await
}

async fn read_whole(answer: Response) -> Page {
    let (status, headers) = (answer.status(), answer.headers().clone());
    Page { status, headers, text: answer.text().await.unwrap() }
}

/// The request with a form as its body.
pub fn with_form(request: RequestBuilder, form: &[(&str, &str)]) -> RequestBuilder {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    request.header("content-type", "application/x-www-form-urlencoded").body(body)
}

impl Page {
    /// Where it sends the browser; panics, showing the page, if nowhere.
    pub fn location(&self) -> &str {
        match self.headers.get(LOCATION) {
            Some(location) => location.to_str().unwrap(),
            None => panic!("no redirect but {}: {}", self.status, self.text),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn hidden_fields(&self) -> Vec<(String, String)> {
        let fields = self.text.split("<input type=\"hidden\" ").skip(1);
        fields.map(|field| (attribute(field, "name"), attribute(field, "value"))).collect()
    }
}

/// An attribute of the tag that `html` begins in, unescaped as far as our forms need it.
fn attribute(html: &str, name: &str) -> String {
    let (_, rest) = html.split_once(&format!("{name}=\"")).unwrap();
    let (value, _) = rest.split_once('"').unwrap();
    value.replace("&#38;", "&").replace("&amp;", "&").replace("&#34;", "\"").replace("&#39;", "'")
}
