//! Questions, asked only where somebody can answer: standard input and standard error are both a terminal.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::failure::Failure;

/// What to say instead where nobody is there: what is missing, and the option that gives it.
#[derive(Clone, Copy, Debug)]
pub struct Missing<'a> {
    pub what: &'static str,
    pub flag: &'static str,
    pub choices: &'a [String],
}

impl From<Missing<'_>> for Failure {
    fn from(Missing { what, flag, choices }: Missing<'_>) -> Self {
        Self::NobodyToAsk { what, flag, choices: choices.to_vec() }
    }
}

pub fn somebody_is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// An answer that `read` takes; it is asked again until it does. An empty line means `usual`, where there is one.
pub fn until<T>(
    question: &str,
    usual: Option<&str>,
    missing: Missing<'_>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    if !somebody_is_there() {
        return Err(missing.into());
    }
    let hint = usual.map(|usual| format!(" [{usual}]")).unwrap_or_default();
    loop {
        let answer = line(&format!("{question}{hint} "))?;
        let answer = if answer.is_empty() { usual.unwrap_or_default() } else { &answer };
        match read(answer) {
            Ok(value) => return Ok(value),
            Err(why) => super::print::say(&why),
        }
    }
}

/// One of these.
pub fn one_of(question: &str, missing: Missing<'_>) -> Result<String, Failure> {
    let choices = missing.choices;
    let usual = choices.first().map(String::as_str);
    until(&format!("{question} ({})", choices.join(", ")), usual, missing, |answer| {
        let known = choices.iter().find(|choice| *choice == answer);
        known.cloned().ok_or_else(|| format!("One of: {}.", choices.join(", ")))
    })
}

/// Yes, or it ends here. `given`: it was said beforehand. Where nobody is there, what was written down counts as meant.
pub fn agree(question: &str, given: bool) -> Result<(), Failure> {
    if given || !somebody_is_there() {
        return Ok(());
    }
    match line(&format!("{question} [Y/n] "))?.to_lowercase().as_str() {
        "" | "y" | "yes" => Ok(()),
        _ => Err(Failure::NotAgreed),
    }
}

fn line(prompt: &str) -> Result<String, Failure> {
    let mut out = io::stderr();
    write!(out, "{prompt}")?;
    out.flush()?;
    let mut answer = String::new();
    match io::stdin().lock().read_line(&mut answer)? {
        // Ctrl-D.
        0 => Err(Failure::NotAgreed),
        _ => Ok(answer.trim().into()),
    }
}
