//! A portal as a process of its own: what no task in a test can be, stopped in the middle of an instruction or killed.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::desk::COMMAND;
use super::{Browser, found};

pub struct Process {
    pub base: String,
    child: std::process::Child,
    folder: tempfile::TempDir,
}

impl Process {
    /// Started from this configuration, at an address of its own instead of `base`; ready when this returns.
    pub async fn start(configuration: &str, base: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let own = format!("http://127.0.0.1:{port}");
        let folder = tempfile::tempdir().unwrap();
        let head = format!("base_url = \"{base}\"");
        assert!(configuration.contains(&head));
        let text =
            configuration.replace(&head, &format!("base_url = \"{own}\"\nlisten = \"127.0.0.1:{port}\""));
        let config = folder.path().join("pilothouse.toml");
        std::fs::write(&config, text).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(COMMAND)
            .args(["serve", "--config"])
            .arg(&config)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let process = Self { base: own, child, folder };
        process.until_ready().await;
        process
    }

    async fn until_ready(&self) {
        let ready = found(async || {
            let asked = reqwest::get(format!("{}/readyz", self.base)).await;
            asked.is_ok_and(|answer| answer.status().is_success()).then_some(())
        });
        assert!(ready.await.is_some(), "not ready: {}", self.log());
    }

    /// A browser of this portal in which nobody has signed in.
    pub fn browser(&self) -> Browser {
        Browser::new(&self.base)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// `kill -9`, in the middle of whatever it does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As an upgrade asks it to end: it answers until nobody asks any more.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    pub async fn ended(&mut self) {
        let ended = found(async || self.child.try_wait().unwrap()).await;
        assert!(ended.is_some(), "it did not end: {}", self.log());
    }

    /// Not a single instruction more, until [`Process::go_on`].
    pub fn stop(&self) {
        self.signal("-STOP");
    }

    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Also of a stopped one.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
