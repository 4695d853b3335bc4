//! The manners of the `platform` command: the real binary against a small portal that speaks the API's contract. What
//! it sends, what it prints, how it ends.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::support::api::TOKEN;
use crate::support::desk::{COMMAND, Desk, finished};
use crate::support::{listen, until};

fn component(name: &str) -> String {
    format!("apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\n")
}

/// The lines that the product promises, letter by letter.
#[tokio::test]
async fn the_promised_lines_work_as_written() {
    let desk = Desk::new().await;
    let api = "/api/v1/services";
    let lines = [
        (
            "platform deploy --service=api --env=production",
            4,
            format!("POST {api}/api/environments/production/deploys"),
        ),
        ("platform status my-api --env=staging", 0, format!("GET {api}/my-api/environments/staging")),
        ("platform logs --service=api", 0, format!("GET {api}/api/environments/staging/logs?since=30m")),
        (
            "platform scale my-api --replicas=5 --env=production",
            0,
            format!("POST {api}/my-api/environments/production/scale"),
        ),
        (
            "platform rollback my-api --env=production --to-version=v1.2.3",
            0,
            format!("POST {api}/my-api/environments/production/rollback"),
        ),
        (
            "platform db migrate my-api --env=staging",
            0,
            format!("POST {api}/my-api/environments/staging/migrations"),
        ),
        ("platform whoami", 0, "GET /api/v1/whoami".into()),
    ];
    for (line, code, asked) in lines {
        let ran = desk.run(line).await;
        assert_eq!(ran.code, code, "{line}: {}", ran.err);
        assert!(desk.api.whats().contains(&asked), "{line} did not ask {asked}");
    }
}

#[tokio::test]
async fn the_service_is_the_one_of_the_folder() {
    let mut desk = Desk::new().await;
    desk.write("my-api/catalog-info.yaml", &component("my-api"));
    desk.write("my-api/src/main.rs", "");
    desk.folder.push("my-api/src");

    let ran = desk.run("platform deploy --env=staging").await;

    assert_eq!(ran.code, 0, "{}", ran.err);
    let heard = desk.api.heard();
    let deploy = heard.iter().find(|heard| heard.what.starts_with("POST")).unwrap();
    assert_eq!(deploy.what, "POST /api/v1/services/my-api/environments/staging/deploys");
    assert_eq!(deploy.body, json!({ "version": "v1.1.0", "reason": "", "take_over": false }));
    assert!(deploy.key.is_some());
}

#[tokio::test]
async fn several_services_in_a_folder_are_a_question() {
    let desk = Desk::new().await;
    desk.write("catalog-info.yaml", &format!("{}---\n{}", component("my-api"), component("checkout-api")));

    let ran = desk.run("platform status").await;
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("catalog-info.yaml has my-api, checkout-api."), "{}", ran.err);

    let ran = desk.at_a_terminal("platform status --env staging", "checkout-api\n").await;
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert_eq!(desk.api.whats(), ["GET /api/v1/services/checkout-api/environments/staging"]);
}

#[tokio::test]
async fn a_deploy_is_told_as_it_goes_and_ends_with_its_address() {
    let desk = Desk::new().await;
    let ran = desk.run("platform deploy checkout-api --env staging --version v1.1.0").await;
    assert_eq!(ran.err, "Deploy checkout-api v1.1.0 to staging\nRolling out: 1 of 2 pods\nsucceeded\n");
    assert_eq!(
        ran.out,
        format!("Done: Deploy checkout-api v1.1.0 to staging.\n{}/deploys/1\n", desk.api.base)
    );
}

#[tokio::test]
async fn a_migration_writes_its_log_to_standard_output_and_nothing_else() {
    let mut desk = Desk::new().await;
    desk.write("my-api/catalog-info.yaml", &component("my-api"));
    desk.folder.push("my-api");

    let ran = desk.run("platform db migrate --env=staging").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "step 1 of 2␛[2J\nstep 2 of 2\n"), "{}", ran.err);
    assert!(
        ran.err.ends_with(&format!(
            "Done: Migrate my-api with v1.0.0 in staging.\n{}/deploys/1\n",
            desk.api.base
        ))
    );

    let ran = desk.run("platform db migrate --env=staging --version v1.3.0").await;
    assert_eq!((ran.code, ran.out.lines().count()), (1, 2), "{}", ran.err);
    assert!(ran.err.contains("Failed: Migrate my-api with v1.3.0"), "{}", ran.err);
    let ran = desk.run("platform db migrate --env=production --reason columns").await;
    assert_eq!((ran.code, ran.out.as_str()), (4, ""), "{}", ran.err);
    let ran = desk.run("platform db migrate --env=staging --no-wait -o json").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()["action"], "migrate");
}

#[tokio::test]
async fn a_migration_is_a_question_to_whoever_is_there() {
    let desk = Desk::new().await;
    let ran = desk.at_a_terminal("platform db migrate my-api --env=staging", "n\n").await;
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("Run the migration of my-api in staging with the version that runs there?"));
    assert!(desk.api.whats().iter().all(|what| !what.starts_with("POST")));
    let ran = desk.at_a_terminal("platform db migrate my-api --env=staging --yes", "").await;
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("step 2 of 2"));
}

#[tokio::test]
async fn watching_survives_a_broken_connection() {
    let desk = Desk::new().await;
    let ran = desk.run("platform deploy checkout-api --env staging --version v2.0.0").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let whats = desk.api.whats();
    assert_eq!(whats.iter().filter(|what| what.ends_with("/events")).count(), 2);
    assert_eq!(whats.iter().filter(|what| what.starts_with("POST")).count(), 1);
}

/// One of each; `platform --help` lists them.
#[tokio::test]
async fn exit_codes_say_how_it_ended() {
    let desk = Desk::new().await;
    let cases = [
        ("platform restart checkout-api --env staging", 0, ""),
        ("platform deploy checkout-api --env staging --version v1.3.0", 1, "no DATABASE_URL"),
        ("platform deploy checkout-api --environmnt staging", 2, "'--environment'"),
        ("platform deploy checkout-api", 2, "Give --env, one of: staging, production."),
        ("platform scale checkout-api --env staging", 2, "Give --replicas."),
        (
            "platform deploy checkout-api --env staging --version v6.6.6",
            3,
            "Signature: there is none Ask security.",
        ),
        ("platform deploy checkout-api --env production", 4, ""),
        ("platform deploy checkout-api --env staging --version v0.0.1 --timeout 1s", 5, "platform wait"),
        ("platform status chekout-api", 8, "Did you mean checkout-api?"),
        ("platform status checkout-api --env stagign", 8, "Did you mean staging?"),
        ("platform db migrate my-api --env staging --version v0.0.1 --timeout 1s", 5, "platform wait"),
        ("platform wait 99", 8, "There is no such deploy."),
    ];
    for (line, code, told) in cases {
        let ran = desk.run(line).await;
        assert_eq!(ran.code, code, "{line}: {}", ran.err);
        assert!(ran.err.contains(told), "{line}: {}", ran.err);
    }

    let desk = desk.with("PLATFORM_TOKEN", "ph_bad");
    let ran = desk.run("platform whoami").await;
    assert_eq!((ran.code, ran.err.contains("platform login")), (7, true), "{}", ran.err);

    let desk = desk.with("PLATFORM_URL", "http://127.0.0.1:9");
    let ran = desk.run("platform whoami").await;
    assert_eq!((ran.code, ran.err.contains("http://127.0.0.1:9 does not answer")), (6, true), "{}", ran.err);
}

#[tokio::test]
async fn without_waiting_it_ends_at_once_and_wait_goes_on() {
    let desk = Desk::new().await;
    let ran = desk.run("platform deploy checkout-api --env staging --version v1.1.0 --no-wait -o json").await;
    let deploy: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, deploy["state"].as_str()), (0, Some("queued")));
    assert_eq!(desk.api.whats().len(), 1);

    for line in ["platform wait 1", "platform wait checkout-api --env staging"] {
        assert_eq!(desk.run(line).await.code, 0, "{line}");
    }
}

#[tokio::test]
async fn programs_get_json_or_yaml_and_people_a_table() {
    let desk = Desk::new().await;
    let table = desk.run("platform status checkout-api").await.out;
    assert_eq!(
        table,
        "ENVIRONMENT  HEALTH    VERSION  PODS  LAST DEPLOY\n\
         staging      healthy   v1.0.0   2/2   -\n\
         production   degraded  v1.0.0   1/2   -\n  1 of 2 pods: the image is not in the registry\n"
    );
    let status = desk.run("platform status checkout-api --env staging --output json").await.out;
    assert_eq!(serde_json::from_str::<Value>(&status).unwrap()["health"], "healthy");
    let yaml = desk.run("platform --output yaml status checkout-api --env staging").await.out;
    assert!(yaml.starts_with("environment: staging\n"), "{yaml}");
    // One request each: that is what makes it quick.
    assert_eq!(desk.api.whats().len(), 3);

    let logs = desk.run("platform logs checkout-api -e staging -o json --tail 1").await.out;
    assert_eq!(serde_json::from_str::<Value>(&logs).unwrap()["text"], "second");
}

#[tokio::test]
async fn colour_is_for_terminals_and_no_color_takes_it_away() {
    let desk = Desk::new().await;
    let line = "platform status checkout-api --env production";
    assert!(desk.at_a_terminal(line, "").await.out.contains("\u{1b}[31mdegraded"));
    assert!(!desk.run(line).await.out.contains('\u{1b}'));
    let desk = desk.with("NO_COLOR", "1");
    assert!(!desk.at_a_terminal(line, "").await.out.contains('\u{1b}'));
}

#[tokio::test]
async fn scale_asks_for_the_number() {
    let desk = Desk::new().await;
    let ran = desk.at_a_terminal("platform scale --service=api", "staging\nmany\n4\n").await;
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(
        ran.out.contains("2 of 2 pods of api are ready in staging. How many shall there be?"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("A whole number, 0 or more."), "{}", ran.out);
    let heard = desk.api.heard();
    let scale = heard.iter().find(|heard| heard.what.starts_with("POST")).unwrap();
    assert_eq!(scale.what, "POST /api/v1/services/api/environments/staging/scale");
    assert_eq!(scale.body, json!({ "replicas": 4, "reason": "" }));
}

#[tokio::test]
async fn a_version_that_nobody_named_is_agreed_upon() {
    let desk = Desk::new().await;
    let ran = desk.at_a_terminal("platform deploy checkout-api --env staging", "n\n").await;
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(
        ran.out.contains("Deploy checkout-api v1.1.0 to staging, where v1.0.0 runs? [Y/n]"),
        "{}",
        ran.out
    );
    assert!(!desk.api.whats().iter().any(|what| what.starts_with("POST")));

    let ran = desk.at_a_terminal("platform deploy checkout-api --env staging --yes", "").await;
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(!ran.out.contains("[Y/n]"));
}

#[tokio::test]
async fn an_approval_is_for_what_was_looked_at() {
    let desk = Desk::new().await;
    desk.run("platform deploy checkout-api --env production").await;
    desk.api.heard();

    // Nobody looks: it has to be said.
    assert_eq!(desk.run("platform approve 1").await.code, 2);
    assert_eq!(desk.run("platform approve 1 --digest d0").await.code, 3);
    let ran = desk.at_a_terminal("platform approve 1 --note fine", "y\n").await;
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("digest    d1"), "{}", ran.out);
    let decision = desk.api.heard().pop().unwrap();
    assert_eq!(decision.body, json!({ "approve": true, "note": "fine", "seen": "d1" }));

    let ran = desk.run("platform reject 1 --reason not-today").await;
    assert_eq!((ran.code, ran.out.starts_with("Rejected: ")), (0, true), "{}", ran.err);
    assert!(desk.run("platform inbox").await.out.contains("deploy v1.0.0 → v1.1.0"));
    assert!(desk.run("platform history --all").await.out.contains("awaiting approval"));
}

#[tokio::test]
async fn a_followed_log_goes_on_where_it_broke_off() {
    let desk = Desk::new().await;
    let ran = desk.run("platform logs my-api --env=staging --follow").await;
    assert_eq!(
        ran.out,
        "2026-11-23T14:10:01.204Z 9c7d-x2x9z first\n2026-11-23T14:10:01.204Z 9c7d-x2x9z second\n"
    );
    assert_eq!((ran.code, ran.err.as_str()), (3, "error: You may no longer read these logs.\n"));
}

#[tokio::test]
async fn a_person_signs_in_with_a_code_and_out_again() {
    let desk = Desk::fresh().await;
    assert_eq!(desk.run("platform whoami").await.code, 2);

    let ran = desk.run(&format!("platform login {} --name work --device", desk.api.base)).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("ABCD-EFGH") && ran.err.contains("You are maya@corp"), "{}", ran.err);

    // There is no keyring here, so it is a file, and nobody else's.
    let file = desk.home.path().join(".config/platform/tokens.toml");
    assert!(std::fs::read_to_string(&file).unwrap().contains(TOKEN));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(desk.run("platform whoami").await.code, 0);

    assert_eq!(desk.run("platform logout").await.code, 0);
    assert!(desk.api.whats().contains(&"DELETE /api/v1/tokens/7".to_string()));
    assert!(!std::fs::read_to_string(&file).unwrap().contains(TOKEN));
    assert_eq!(desk.run("platform whoami").await.code, 7);
}

#[tokio::test]
async fn a_person_signs_in_with_the_browser() {
    let desk = Desk::fresh().await;
    desk.write("browser", "#!/bin/sh\nexec curl --silent --location \"$1\" --output \"$HOME/page\"\n");
    let browser = desk.folder.join("browser");
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o700)).unwrap();
    let desk = desk.with("BROWSER", browser.to_str().unwrap());

    let ran = desk.run(&format!("platform login {}", desk.api.base)).await;

    assert_eq!(ran.code, 0, "{}", ran.err);
    let page = std::fs::read_to_string(desk.home.path().join("page")).unwrap();
    assert!(page.contains("You are signed in."), "{page}");
    assert_eq!(desk.run("platform whoami").await.code, 0);
}

#[tokio::test]
async fn a_proxy_is_gone_through() {
    let desk = Desk::new().await.with("PLATFORM_URL", "http://portal.invalid");
    let proxy = desk.api.base.clone();
    let desk = desk.with("HTTP_PROXY", &proxy);
    assert_eq!(desk.run("platform whoami").await.code, 0);
    assert_eq!(desk.api.whats(), ["GET http://portal.invalid/api/v1/whoami"]);
    let desk = desk.with("NO_PROXY", "portal.invalid");
    assert_eq!(desk.run("platform whoami").await.code, 6);
}

/// A real TLS server with an authority that nobody knows.
#[tokio::test]
async fn a_company_has_its_own_authority() {
    let desk = Desk::new().await;
    for made in [
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=Acme",
        "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -CA ca.pem -CAkey ca.key -subj /CN=localhost \
         -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE",
    ] {
        let mut openssl = desk.command("openssl");
        openssl.args(made.split_whitespace()).stdin(Stdio::null());
        let ran = finished(openssl, "").await;
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let body =
        r#"{"username":"maya@corp","name":"Maya","groups":[],"issuer":"i","subject":"1","machine":false}"#;
    desk.write("api/v1/whoami", &format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}"));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = desk.command("openssl");
    let serve = format!("s_server -accept 127.0.0.1:{port} -cert cert.pem -key key.pem -HTTP -quiet");
    let _server = server.args(serve.split(' ')).stdin(Stdio::null()).spawn().unwrap();
    until("it listens", async || TcpStream::connect(("127.0.0.1", port)).await.ok()).await;

    let desk = desk.with("PLATFORM_URL", &format!("https://localhost:{port}"));
    let ran = desk.run("platform whoami").await;
    assert_eq!((ran.code, ran.err.contains("--ca-file")), (6, true), "{}", ran.err);
    let ran = desk.run("platform whoami --ca-file ca.pem").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let file = desk.folder.join("ca.pem");
    let desk = desk.with("SSL_CERT_FILE", file.to_str().unwrap());
    assert_eq!(desk.run("platform whoami").await.code, 0);

    // Behind a proxy, which only sees where it goes: nobody listens on that port but through it.
    let (proxy, asked) = tunnel_to(port).await;
    let desk = desk.with("PLATFORM_URL", "https://localhost:9").with("HTTPS_PROXY", &proxy);
    let ran = desk.run("platform whoami").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(*asked.lock().unwrap(), ["CONNECT localhost:9 HTTP/1.1"]);
}

/// A proxy that takes every CONNECT to this port, and writes down what was asked for.
async fn tunnel_to(port: u16) -> (String, Arc<Mutex<Vec<String>>>) {
    let (listener, address) = listen().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = asked.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut client = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && client.read_line(&mut head).await.unwrap() > 0 {}
            heard.lock().unwrap().extend(head.lines().next().map(String::from));
            let mut server = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
    });
    (address, asked)
}

#[tokio::test]
async fn ctrl_c_ends_the_watching_and_not_the_deploy() {
    let desk = Desk::new().await;
    let mut command = desk.command(COMMAND);
    command.args("deploy checkout-api --env staging --version v0.0.1".split(' ')).stdin(Stdio::null());
    let child = command.spawn().unwrap();
    let watches = async || desk.api.whats().iter().any(|what| what.ends_with("/events")).then_some(());
    until("it watches", watches).await;
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());

    let output = child.wait_with_output().await.unwrap();

    assert_eq!(output.status.code(), Some(130));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("You no longer watch deploy 1. It goes on.\n  Watch it again: platform wait 1\n"),
        "{told}"
    );
}

#[tokio::test]
async fn several_portals_are_kept_apart() {
    let desk = Desk::fresh().await;
    let base = desk.api.base.clone();
    assert_eq!(desk.run(&format!("platform context add work {base} --environment staging")).await.code, 0);
    assert_eq!(desk.run("platform context add home http://127.0.0.1:9").await.code, 0);
    let desk = desk.with("PLATFORM_TOKEN", TOKEN);

    // The first one is the current one, and its environment is meant.
    assert_eq!(desk.run("platform restart api").await.code, 0);
    assert_eq!(desk.run("platform whoami --context home").await.code, 6);
    let ran = desk.run("platform whoami --context hoem").await;
    assert_eq!((ran.code, ran.err.contains("Did you mean home?")), (2, true), "{}", ran.err);

    assert_eq!(desk.run("platform context use home").await.code, 0);
    assert_eq!(desk.run("platform whoami").await.code, 6);
    let list = desk.run("platform context list").await.out;
    assert!(list.contains("*  home  http://127.0.0.1:9"), "{list}");
    assert_eq!(desk.run("platform context remove home").await.code, 0);
    assert_eq!(desk.run("platform whoami").await.code, 2);
}

#[tokio::test]
async fn names_are_completed_from_the_portal() {
    let desk = Desk::new().await.with("COMPLETE", "fish");
    let complete = async |line: &str| {
        let mut command = desk.command(COMMAND);
        command.arg("--").args(line.split(' ')).stdin(Stdio::null());
        let out = finished(command, "").await.out;
        out.lines().map(|line| line.split('\t').next().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(complete("platform status che").await, ["checkout-api"]);
    assert_eq!(complete("platform status checkout-api --env ").await, ["staging", "production"]);
    assert_eq!(complete("platform deploy my-api --env staging --version ").await, ["v1.1.0", "v1.0.0"]);
    assert_eq!(complete("platform sca").await, ["scale"]);

    let script = Desk::new().await.run("platform completion bash").await;
    assert!(script.out.contains("COMPLETE"), "{}", script.out);
}

#[tokio::test]
async fn a_raw_call_prints_what_comes() {
    let desk = Desk::new().await;
    let ran = desk.run("platform api services/checkout-api/environments/staging").await;
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()["version"], "v1.0.0");
    let ran = desk.run("platform api /api/v1/services/nothing").await;
    assert_eq!((ran.code, ran.err.as_str()), (8, "404 Not Found\n"));
    assert!(ran.out.contains("\"nearest\":[\"checkout-api\"]"), "{}", ran.out);
}

#[tokio::test]
async fn a_diff_shows_checks_and_changes() {
    let desk = Desk::new().await;
    let ran = desk.run("platform diff checkout-api --env staging").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("✓ You may change it: patch deployments\n"), "{}", ran.out);
    assert!(ran.out.ends_with("-  image: a:v1.0.0\n+  image: a:v1.1.0\n"), "{}", ran.out);
}

#[tokio::test]
async fn the_reference_is_what_the_command_says_of_itself() {
    let desk = Desk::fresh().await;
    let reference = desk.run("platform docs markdown").await.out;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == reference,
        "docs/cli.md is not what `platform docs markdown` prints: write it anew and look at the difference"
    );

    assert_eq!(desk.run("platform docs man manual").await.code, 0);
    let page = std::fs::read_to_string(desk.folder.join("manual/platform-deploy.1")).unwrap();
    assert!(page.contains("\\-\\-no\\-wait"), "{page}");
}
