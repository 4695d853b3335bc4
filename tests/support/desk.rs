//! A person's home and terminal, with the `platform` command and a portal of their own (api.rs).

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::api::{Api, TOKEN};

pub const COMMAND: &str = env!("CARGO_BIN_EXE_platform");

pub struct Desk {
    pub api: Api,
    pub home: tempfile::TempDir,
    pub folder: PathBuf,
    environment: Vec<(&'static str, String)>,
}

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Desk {
    /// Where somebody has given address and token by the environment, as a pipeline does.
    pub async fn new() -> Self {
        let desk = Self::fresh().await;
        let base = desk.api.base.clone();
        desk.with("PLATFORM_URL", &base).with("PLATFORM_TOKEN", TOKEN)
    }

    /// Where nobody has signed in yet.
    pub async fn fresh() -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("work");
        std::fs::create_dir(&folder).unwrap();
        Self { api: Api::start().await, home, folder, environment: Vec::new() }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.into()));
        self
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // Nothing of this machine: no proxy, no keyring, no display.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.home.path());
        command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere").env("TERM", "xterm");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.folder).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// As in a pipeline: nothing is a terminal.
    pub async fn run(&self, line: &str) -> Ran {
        let mut command = self.command(COMMAND);
        command.args(line.split_whitespace().skip(1)).stdin(Stdio::null());
        finished(command, "").await
    }

    /// As a person runs it, who types this.
    pub async fn at_a_terminal(&self, line: &str, typed: &str) -> Ran {
        let mut command = self.command("script");
        let line = line.replacen("platform", COMMAND, 1);
        if cfg!(target_os = "macos") {
            command.args(["-q", "/dev/null", "sh", "-c", &line]);
        } else {
            command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        }
        command.stdin(Stdio::piped());
        finished(command, typed).await
    }

    pub fn write(&self, file: &str, text: &str) {
        let path = self.folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

pub async fn finished(mut command: Command, typed: &str) -> Ran {
    let mut child = command.spawn().unwrap();
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(typed.as_bytes()).await.unwrap();
    }
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}
