//! `outrigger token`: who may write to the control plane.

use std::process::ExitCode;

use api::access::{Role, TokenMade, TokenWords};
use api::{Label, Namespace};
use clap::{Args, Subcommand};

use super::apply::{By, NO_CONTROL};
use crate::failed::{Failed, NO};

/// Make, list or take back tokens. The first one closes the operators' listener to everybody without one.
#[derive(Args, Debug)]
pub(crate) struct Token {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make one; its secret is printed this once.
    Create {
        /// Its name: the author of what its holder writes.
        name: Label,
        /// reader, editor or admin.
        #[arg(long)]
        role: Role,
        /// Where; everywhere when left out.
        #[arg(long = "in", value_name = "NAMESPACE")]
        namespaces: Vec<Namespace>,
    },
    /// Show all, without their secrets.
    List,
    /// Take one back.
    Revoke {
        /// Its name.
        name: Label,
    },
}

impl Token {
    /// Makes, lists or takes back.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        let control = &self.by.control;
        match self.what {
            What::Create { name, role, namespaces } => {
                let words = TokenWords { name, role, namespaces };
                let body = serde_json::to_string(&words).map_err(|why| Failed::new(NO, why))?;
                let answer = control.ask(NO_CONTROL, ("POST", "/v1/tokens"), &self.by.headers(), &body)?;
                let made: TokenMade = answer.json()?;
                super::say(&format!("{}\n", made.secret))?;
            }
            What::List => {
                let tokens: Vec<TokenWords> =
                    control.ask(NO_CONTROL, ("GET", "/v1/tokens"), &[], "")?.json()?;
                super::say(&tokens.iter().map(told).collect::<String>())?;
            }
            What::Revoke { name } => {
                let path = format!("/v1/tokens/{name}");
                control.ask(NO_CONTROL, ("DELETE", &path), &self.by.headers(), "")?.good()?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn told(token: &TokenWords) -> String {
    let spaces: Vec<&str> = token.namespaces.iter().map(Namespace::as_str).collect();
    let spaces = if spaces.is_empty() { "all namespaces".to_owned() } else { spaces.join(", ") };
    format!("{} {} of {spaces}\n", token.name, token.role)
}
