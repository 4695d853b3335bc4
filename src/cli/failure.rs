//! How a verb can end, for scripts a number and for people a sentence (wording.rs).

use std::io;
use std::path::PathBuf;

use crate::api::types::Problem;

/// What the process ends with. A script can rely on these numbers; `platform --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Refused = 3,
    Waiting = 4,
    Timeout = 5,
    Away = 6,
    NotSignedIn = 7,
    NotFound = 8,
    /// As shells say it of a process that SIGINT ended.
    Interrupted = 130,
}

/// Everything but a success. The message goes to standard error.
#[derive(Debug)]
pub enum Failure {
    /// The portal answered with a problem.
    Problem(Box<Problem>),
    /// No answer, or one of something before the portal.
    Away {
        portal: String,
        why: String,
    },
    /// Its certificate comes from nobody this machine trusts.
    Untrusted {
        portal: String,
        why: String,
    },
    /// Something answered that does not speak the portal's API.
    NotAPortal {
        portal: String,
        what: String,
    },
    NotSignedIn {
        portal: String,
        /// Why the portal does not take the token; empty where none was sent.
        said: String,
    },
    NoPortal,
    UnknownContext {
        name: String,
        known: Vec<String>,
    },
    NoService {
        folder: PathBuf,
    },
    SeveralServices {
        file: PathBuf,
        names: Vec<String>,
    },
    /// Nobody is there to ask: standard input or standard error is not a terminal.
    NobodyToAsk {
        what: &'static str,
        flag: &'static str,
        choices: Vec<String>,
    },
    /// The same, where several options would have to be given.
    OptionsMissing {
        flags: Vec<String>,
    },
    /// The person said no.
    NotAgreed,
    /// Nothing of that kind is there.
    Nothing {
        what: String,
        mend: String,
    },
    Usage(String),
    /// It did not end in time; what was asked for goes on.
    Timeout {
        id: i64,
        seconds: u64,
    },
    /// Ctrl-C while watching; what was asked for goes on.
    Interrupted {
        id: i64,
    },
    SignIn(String),
    /// A file, the terminal, this machine.
    Local(anyhow::Error),
    /// The reader of our output went away, as `head` does: no reason to complain.
    NobodyReads,
}

impl Exit {
    /// What an answer of the portal means to a script.
    pub fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Done,
            400 => Self::Usage,
            401 => Self::NotSignedIn,
            404 => Self::NotFound,
            403 | 409 | 412 | 422 => Self::Refused,
            502..=504 => Self::Away,
            _ => Self::Failed,
        }
    }
}

impl Failure {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Problem(problem) => Exit::of_status(problem.status),
            Self::Away { .. } | Self::Untrusted { .. } | Self::NotAPortal { .. } => Exit::Away,
            Self::NotSignedIn { .. } | Self::SignIn(_) => Exit::NotSignedIn,
            Self::NoPortal
            | Self::UnknownContext { .. }
            | Self::NoService { .. }
            | Self::SeveralServices { .. }
            | Self::NobodyToAsk { .. }
            | Self::OptionsMissing { .. }
            | Self::Usage(_) => Exit::Usage,
            Self::Nothing { .. } => Exit::NotFound,
            Self::Timeout { .. } => Exit::Timeout,
            Self::Interrupted { .. } => Exit::Interrupted,
            Self::NotAgreed | Self::Local(_) => Exit::Failed,
            Self::NobodyReads => Exit::Done,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Local(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::Local(error.into()),
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
