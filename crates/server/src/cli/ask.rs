//! What a person is asked before it happens: whether they mean it, and for secrets. Where nobody can
//! be asked, the command line must have said it.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use anyhow::Context as _;
use clap::Args;

use super::exit::usage;
use super::output::shown;

/// Bytes of a secret on standard input; the longest that the API takes is far shorter.
const SECRET_BYTES_MAX: u64 = 4_096;
const WEBHOOK_PASSWORD: &str = "CHATHOOK_WEBHOOK_PASSWORD";

#[derive(Debug, Clone, Default, Args)]
pub struct Consent {
    /// Do it without asking
    #[arg(long)]
    pub yes: bool,
}

/// Goes on only with a person's yes; `question` tells what will be lost.
pub fn consent(given: &Consent, question: &str) -> anyhow::Result<()> {
    if given.yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(usage(format!("{} Say --yes to do it where nobody can be asked.", shown(question))));
    }
    write!(io::stderr(), "{} [y/N] ", shown(question))?;
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(anyhow::anyhow!("Nothing was done.")),
    }
}

/// What a variable of the environment holds; one that is set to nothing counts as unset.
#[must_use]
pub fn text_of_env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// The password of a webhook's Basic auth: of the environment, else a person is asked.
pub fn webhook_password(elsewhere: &str) -> anyhow::Result<String> {
    let elsewhere = format!("set {WEBHOOK_PASSWORD}{elsewhere}");
    let asked = || secret_of_person("Password for Basic auth: ", &elsewhere);
    text_of_env(WEBHOOK_PASSWORD).map_or_else(asked, Ok)
}

/// The first line of standard input, for `--password-stdin`.
pub fn secret_of_stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    io::stdin().take(SECRET_BYTES_MAX).read_to_string(&mut text).context("Standard input is no text")?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() { Err(usage("Standard input holds no password.")) } else { Ok(line.to_owned()) }
}

/// A secret typed by a person, without an echo.
pub fn secret_of_person(prompt: &str, elsewhere: &str) -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        return Err(usage(format!("A password is needed, and nobody can be asked: {elsewhere}.")));
    }
    let secret = rpassword::prompt_password(prompt).context("The password cannot be read")?;
    if secret.is_empty() { Err(usage("The password is empty.")) } else { Ok(secret) }
}
